//! Giving the use of a channel up, and removing what is not in use any more.

use super::envelope::Envelope;
use super::find::{gone_is_none, ignore_gone, remove_rest};
use super::fragmented::Fragmented;
use super::header::Mapped;
use super::lock::remove_if_unused;
use super::semaphores::{self, USERS};
use super::{Control, ENVELOPE, Heads, TYPE_WORD, lane_word, word};
use crate::error::OpenError;
use crate::name::{Handle, Name};
use crate::ring::Consumer;
use crate::sys::{
    AtExit, Fault, MessageBuffer, MessageQueue, Ordering, SemaphoreSet, SystemError,
    SystemErrorKind, at_exit, fault, process,
};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, Weak};

/// How often an exit looks whether a channel still holds values.
// NB: of 1,200 processes that exit while a thread sends and receives its own values, these left an
// empty channel: 27 without the looks and 0 with them, over a queue; 13 and 6, in rings.
const LOOKS_AT_EXIT: usize = if cfg!(loom) { 0 } else { 16 };

impl Control {
    pub(super) fn new(mapped: Mapped, set: SemaphoreSet, queue: Option<MessageQueue>) -> Self {
        let Mapped { segment, header } = mapped;
        let name = match &*header.name {
            "" => Name::Key(header.key),
            name => Name::from(name),
        };
        Control {
            alarms: AtomicU64::new(Control::alarms_now(&segment)),
            look_again: AtomicU64::new(0),
            unwoken: Mutex::default(),
            has_unwoken: AtomicBool::new(false),
            segment,
            set,
            queue,
            header,
            heads: Heads::default(),
            name: Arc::new(name),
            all_fence: AtomicBool::new(false),
            token: process::token(),
            closed: AtomicBool::new(false),
            entry: None,
        }
    }

    /// For the endpoints to share, of a layer that has such heads; given up at the latest when the
    /// process exits.
    pub(crate) fn shared(mut self, heads: Heads) -> Result<Arc<Control>, OpenError> {
        self.heads = heads;
        let control = Arc::new(self);
        let weak: Weak<Control> = Arc::downgrade(&control);
        match &control.entry {
            Some(entry) if entry.is(weak) => Ok(control),
            _ => Err(OpenError::Exiting { name: (*control.name).clone() }),
        }
    }

    /// Has it given up when the process exits.
    pub(super) fn given_up_by(mut self, entry: at_exit::Entry) -> Self {
        self.entry = Some(entry);
        self
    }

    /// Of a channel that this process does not use: dropping it does nothing but unmap it.
    pub(super) fn unused(mut self) -> Self {
        // No process has the token zero.
        self.token = 0;
        self
    }

    /// Unmaps the segment of a channel that this process does not use.
    pub(super) fn detach(self) {
        drop(self.unused());
    }

    /// Forgets the peers of the last life: they count neither as come nor as gone.
    pub(super) fn begin_new_life(&self) {
        for at in [word::SENDERS_CAME, word::RECEIVER_CAME] {
            // Relaxed: under the lock, which the next user has to take.
            self.word(at).store(0, Ordering::Relaxed);
        }
    }

    /// A handle to this very channel.
    pub(crate) fn handle(&self) -> Handle {
        Handle { key: self.header.key, incarnation: self.header.incarnation }
    }

    /// Gives the use up, once, and removes the channel if it was the last.
    pub(super) fn close(&self) {
        if self.closed.swap(true, std::sync::atomic::Ordering::Relaxed) {
            return;
        }
        let left = semaphores::leave(self.set).map_err(OpenError::from);
        if fault(Fault::UnusedNotRemoved) {
            return;
        }
        let given_up = left.and_then(|()| remove_if_unused(self.set, Some(self)));
        if gone_is_none(given_up.map(Some)).is_ok_and(|given_up| given_up.is_none()) {
            // As in `remove_if_unused`: what cannot be removed is left to the next creator.
            let _ = self.remove_without_set();
        }
    }

    /// Removes queue and segment of a channel whose set was removed by hand, and with it their lock.
    ///
    /// They are of no other channel, and of none that is to come: a creator adopts a segment without a
    /// set only if no process has it mapped, and this one has. So the first that closes removes them,
    /// by their ids; the others are told of a removal anyway.
    fn remove_without_set(&self) -> Result<(), SystemError> {
        let set_is_gone =
            self.set.stat().is_err_and(|error| error.kind() == SystemErrorKind::Removed);
        if !set_is_gone || fault(Fault::OrphanLeft) {
            return Ok(());
        }
        // In another ipc namespace all of them seem gone, and the ids are other objects'.
        let found = self.segment.id().attach(true)?;
        let is_mine = found.len() == self.segment.len()
            && found.word(word::INCARNATION).load(Ordering::Relaxed) == self.header.incarnation;
        if is_mine { self.remove_objects() } else { Ok(()) }
    }

    /// Whether the channel stays that has no user: for its next one, which has its values. Requests
    /// are none, since their callers are users.
    pub(super) fn stays(&self) -> bool {
        let header = &self.header;
        header.durable || !header.private && !header.calls && self.holds_values()
    }

    /// Whether a value waits that no receiver has received, and that was not taken back. Asked under the
    /// lock, with no endpoint attached but those of a process that exits.
    pub(crate) fn holds_values(&self) -> bool {
        let Some(queue) = self.queue else {
            return (0..self.claimed()).any(|lane| self.lane_holds(lane, None));
        };
        let layout = self.layout();
        // Every bulk value has its descriptor in the queue or in a slot.
        let in_slots = (0..layout.slots()).map(|slot| layout.slot(slot)).any(|slot| {
            // Relaxed, as below: the receiver that wrote it has let go of the channel, through its semaphores.
            self.word(slot).load(Ordering::Relaxed) != 0
                && self.segment.read(slot + TYPE_WORD, ENVELOPE, |mut text| {
                    text.read_array().is_ok_and(|text| self.stands_for_value(text))
                })
        });
        if in_slots {
            return true;
        }
        // A longer message, which this has no room for, is a value.
        let mut buffer = MessageBuffer::with_capacity(ENVELOPE);
        let queued = queue.stat().map_or(0, |stat| stat.messages);
        (0..queued as usize).any(|index| match queue.peek(index, &mut buffer) {
            Ok(()) => match buffer.text().first_chunk() {
                Some(text) => self.stands_for_value(*text),
                None => true,
            },
            Err(error) => error.kind() != SystemErrorKind::NoMessage,
        })
    }

    /// Whether the message that begins so stands for a value. Of one that is not of this crate the
    /// next receiver is to hear.
    fn stands_for_value(&self, text: [u8; ENVELOPE]) -> bool {
        match Envelope::read(text) {
            Some(Envelope::Descriptor { lane, position })
                if self.layout().has_ring() && lane < self.layout().lanes =>
            {
                self.lane_holds(lane, Some(position))
            }
            _ => true,
        }
    }

    /// Whether a value waits in a lane's ring: any, or the one whose last record stands there.
    fn lane_holds(&self, lane: usize, position: Option<u64>) -> bool {
        // Nothing is written: where the process exits, a thread of it may still receive.
        Consumer::holds_value(self.segment.clone(), self.layout().ring(lane), |start, last| {
            let long = Fragmented(self.lane_word(lane, lane_word::FRAGMENTED));
            let taken_back = start != last && !long.is_open(start);
            position.is_none_or(|position| position == last) && !taken_back
        })
    }

    /// Removes queue and segment; the set and its lock stay.
    pub(super) fn remove_objects(&self) -> Result<(), SystemError> {
        remove_rest(Some(&self.segment), self.queue)
    }

    pub(super) fn remove_all(&self) -> Result<(), SystemError> {
        self.remove_objects()?;
        ignore_gone(self.set.remove())
    }

    /// How many messages the kernel's queue holds.
    pub(crate) fn queued(&self) -> Result<u64, SystemError> {
        self.queue.map_or(Ok(0), |queue| Ok(queue.stat()?.messages))
    }

    /// Whether a receiver has ever come.
    pub(crate) fn receiver_came(&self) -> bool {
        self.word(word::RECEIVER_CAME).load(Ordering::Relaxed) != 0
    }

    /// Whether a sender has ever come.
    pub(crate) fn senders_came(&self) -> bool {
        self.word(word::SENDERS_CAME).load(Ordering::Relaxed) != 0
    }
}

impl AtExit for Control {
    fn at_exit(&self) {
        if !self.is_ours() {
            return;
        }
        self.close();
        // Of values that keep the channel a thread that is still running may receive the last.
        for _ in 0..LOOKS_AT_EXIT {
            if self.set.value(USERS) != Ok(0) {
                break;
            }
            std::thread::yield_now();
            let _ = remove_if_unused(self.set, Some(self));
        }
    }
}
