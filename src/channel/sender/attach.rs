//! Taking a lane, becoming its owner, and giving it back.

use std::cell::{OnceCell, RefCell};
use std::marker::PhantomData;
use std::mem;
use std::sync::Arc;

use super::{Sender, State, Turn};
use crate::channel::replies::Replies;
use crate::channel::{Channel, Local, attach_error, calls, check_there, lane_damage, ports, space};
use crate::codec::Codec;
use crate::control::envelope::GENERATIONS;
use crate::control::{Control, lane_word, links, semaphores, word};
use crate::error::AttachError;
use crate::ring::Producer;
use crate::sys::{Deadline, Fault, MessageBuffer, Ordering, fault, ordering};

/// Memory for a message at first, in bytes: all that the kernel takes unless its msgmax was raised. It
/// grows with values that are longer, since the channel's limit is what another process wrote.
const USUAL_MESSAGE: usize = 8 << 10;

impl<T, C: Codec<T>> Channel<T, C> {
    /// Attaches a sender.
    ///
    /// # Errors
    /// [`AttachError::LanesExhausted`] if there are as many as the channel has lanes,
    /// [`AttachError::Removed`] if the channel was removed; [`AttachError`] otherwise.
    pub fn sender(&self) -> Result<Sender<T, C>, AttachError> {
        Sender::attach(self.control.clone(), self.local, None)
    }
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// Takes a free lane of the channel, the preferred one if that is free.
    pub(in crate::channel) fn attach(
        control: Arc<Control>,
        local: Local,
        preferred: Option<usize>,
    ) -> Result<Self, AttachError> {
        if !control.is_ours() {
            return Err(AttachError::Forked { channel: control.name() });
        }
        check_there(&control)?;
        let (lane, mark) = take_free_lane(&control, preferred)?;
        let bell = control.lane_bell(lane);
        let mut sender = Sender {
            lane,
            mark,
            generation: 0,
            bell,
            local,
            state: RefCell::new(State {
                producer: None,
                replies: None,
                message: None,
                messages: 0,
                unannounced: None,
                granted: 0,
                looked_at_receiver: false,
                armed: false,
                looked_at_line: false,
                park_timed_out: false,
                turn: Turn::Spare,
            }),
            closing: OnceCell::new(),
            listener: RefCell::new(None),
            value: PhantomData,
            // From here on dropping the sender gives the lane back.
            control,
        };
        sender.prepare()?;
        event!(
            DEBUG,
            sender.control,
            lane = sender.lane,
            owners_before = sender.generation - 1,
            "a sender has attached"
        );
        Ok(sender)
    }

    fn prepare(&mut self) -> Result<(), AttachError> {
        let control = &self.control;
        let state = self.state.get_mut();
        let reset = control.reset_bell(self.bell, self.local.spin);
        reset.map_err(|error| attach_error(control, error))?;
        if control.layout().has_ring() {
            let layout = control.ring_of(self.lane);
            let attached = Producer::attach(control.segment.clone(), layout);
            let (producer, last) = attached.map_err(|damage| AttachError::Corrupt {
                channel: control.name(),
                what: lane_damage(self.lane, damage),
            })?;
            let announced = control.lane_word(self.lane, lane_word::ANNOUNCED);
            let announced = announced.load(Ordering::Relaxed);
            if control.layout().has_queue() {
                let left = last.filter(|last| last.position >= announced && last.flags.is_last());
                state.unannounced = left.filter(|_| !fault(Fault::LeftoverNotAnnounced));
            }
            state.producer = Some(producer);
        }
        self.start_generation()?;
        let control = &self.control;
        // Release: pairs with the Acquire in `Origin::pid`, which then sees the generation too.
        let mark = control.lane_word(self.lane, lane_word::OWNER_MARK);
        mark.swap(self.mark as u64, Ordering::Release);
        point!("attach.marked");
        let state = self.state.get_mut();
        if control.layout().has_queue() {
            space::forget(control, self.lane);
            state.message = Some(MessageBuffer::with_capacity(
                control.layout().message_len().min(USUAL_MESSAGE),
            ));
        }
        control.claim_lane(self.lane);
        control.word(word::SENDERS_CAME).swap(1, Ordering::Relaxed);
        point!("attach.came");
        control.word(word::SENDER_LEFT).swap(0, Ordering::Relaxed);
        if control.layout().return_lines > 0 && !fault(Fault::OwnerNotTold) {
            // A receiver that looks after the lane's former owner learns that it is another's now.
            ports::tell_receiver(control);
        }
        // A predecessor may have died between its message and this. Relaxed: as in `send_envelope`.
        control.word(word::QUEUE_SENDS).fetch_add(1, Ordering::Relaxed);
        if state.unannounced.is_some() {
            self.announce_leftover_at_once();
        }
        Ok(())
    }

    /// Has the last owner's value not wait for this one's first. Where there is no room now, it does.
    #[cold]
    #[inline(never)]
    fn announce_leftover_at_once(&self) {
        let Some(queue) = self.control.queue else { return };
        let mut state = self.state.borrow_mut();
        if self.announce_leftover(&mut state, queue, Deadline::now()).is_ok() {
            self.control.notify_receivers();
        }
    }

    /// Becomes the lane's owner: what a former one sent has no sender any more.
    pub(in crate::channel) fn start_generation(&mut self) -> Result<(), AttachError> {
        let control = &self.control;
        let state = self.state.get_mut();
        let tail = state.producer.as_ref().map_or(0, Producer::end);
        links::settle_lane(control, self.lane, tail);
        if let Some(producer) = &state.producer {
            // Relaxed: ordered before the generation by its Release. Of a record that stands before
            // this, the receiver knows that its sender is gone.
            let owner_start = control.lane_word(self.lane, lane_word::OWNER_START);
            owner_start.store(producer.end(), Ordering::Relaxed);
            point!("attach.walked");
        }
        // Release: pairs with the receiver's Acquire load in `Origin`.
        let generation = control.lane_word(self.lane, lane_word::GENERATION);
        let order = ordering(Ordering::Release, Fault::OwnerRelaxed);
        // Relaxed: a former owner's. It is not zero, which is no sender's.
        self.generation = generation.load(Ordering::Relaxed) % (GENERATIONS - 1) + 1;
        generation.swap(self.generation, order);
        point!("attach.generation");
        if control.layout().return_lines > 0 {
            calls::forget_calls(control, self.lane);
            let replies = Replies::attach(control, self.lane, self.generation);
            state.replies = Some(replies.map_err(|damage| AttachError::Corrupt {
                channel: control.name(),
                what: lane_damage(self.lane, damage),
            })?);
        }
        Ok(())
    }
}

impl<T, C> Drop for Sender<T, C> {
    fn drop(&mut self) {
        if !self.control.is_ours() {
            // A forked child has no thread of its parent's.
            mem::forget(self.listener.take());
            return;
        }
        // Before another sender sleeps at the bell.
        drop(self.listener.take());
        // The hint comes before the role is given up, so that it is there when the bell rings.
        self.control.word(word::SENDER_LEFT).swap(1, Ordering::Relaxed);
        point!("goodbye.sender");
        event!(DEBUG, self.control, lane = self.lane, "a sender goes");
        // The place of a task whose future was leaked.
        self.state.get_mut().turn = Turn::Spare;
        // A set that is gone needs no goodbye.
        if self.state.get_mut().armed {
            let _ = space::disarm_others(&self.control, self.lane);
        }
        let layout = self.control.layout();
        let _ = semaphores::release_lane(self.control.set, layout, self.lane, self.mark);
    }
}

/// Takes the preferred lane or the first that is free; says which, and what its role was raised by.
fn take_free_lane(
    control: &Control,
    preferred: Option<usize>,
) -> Result<(usize, i16), AttachError> {
    let lanes = control.layout().lanes;
    let failed = |error| attach_error(control, error);
    let values = control.set.values().map_err(failed)?;
    let mark = semaphores::draw_mark();
    for lane in preferred.into_iter().chain(0..lanes) {
        let free = values.get(usize::from(semaphores::lane_role(lane))) == Some(&0);
        if free
            && semaphores::take_lane(control.set, control.layout(), lane, mark).map_err(failed)?
        {
            return Ok((lane, mark));
        }
    }
    Err(AttachError::LanesExhausted { channel: control.name(), lanes })
}
