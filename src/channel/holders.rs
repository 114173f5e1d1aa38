//! Which process holds an actor's reply port, where that is not the process that was asked.
//!
//! The actor that was asked, the port's home, sends the reply and has to notice when the process that
//! holds the port dies. So a holder writes into the block of the asker's lane which lane at the home
//! is its own, before the message that brought the port counts as received. That takes no room in the
//! home's queue, so no holder waits for a home that is full, and none goes unnoticed there.
//!
//! ```text
//! holder:  HOLDER.compare_exchange(what stood there, mine); HOLDERS.fetch_add; ring the home
//! home:    seen = HOLDERS; look at the lanes' HOLDER; park; sleep unless HOLDERS is another now
//! ```
//!
//! An asker waits for one ask at a time, and the asks of a lane are numbered over all its owners: what
//! stands in HOLDER about another ask than the lane's last is about one that is not waited for.

use std::sync::Arc;

use super::calls::{Parts, credit};
use super::origin::Origin;
use super::peer::Peer;
use super::ports::{
    DROPPED, FIRST_LANE, GENERATION, GENERATION_AT, NONE, PortId, WHO, is_last_ask, move_on,
    tell_receiver,
};
use super::receiver::Receiver;
use super::sender::Sender;
use crate::codec::Codec;
use crate::control::{Control, lane_word, word};
use crate::error::SendError;
use crate::name::Name;
use crate::sys::{Fault, Ordering, fault};

impl<T, C: Codec<T>> Sender<T, C> {
    /// The number of this sender's next ask, never zero.
    pub(crate) fn next_ask(&self) -> u64 {
        let last = self.control.lane_word(self.lane, lane_word::LAST_ASK);
        // Relaxed: the message that the ask is made with orders it.
        loop {
            let ask = last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            if ask != 0 {
                return ask;
            }
        }
    }

    /// What says at this channel, the home of reply ports, which of them this process holds.
    pub(crate) fn holding(&self) -> Holding {
        Holding { control: self.control.clone(), me: self.origin() }
    }

    /// Whether the channel is private and its receiver has gone: no other comes by its name.
    pub(crate) fn is_abandoned(&self) -> Result<bool, SendError> {
        Ok(self.control.header.private && self.receiver_is_gone()?)
    }
}

/// Says which reply ports a process holds, at their home, where it has a lane.
pub(crate) struct Holding {
    control: Arc<Control>,
    me: Origin,
}

impl Holding {
    /// This process holds the port. Returns what to [give it back](Holding::give_back) with.
    pub(crate) fn hold(&self, port: PortId) -> Option<u64> {
        if !self.control.is_ours() {
            return None;
        }
        let before = port.say(&self.control, port.held_by(self.me))?;
        tell_receiver(&self.control);
        Some(before)
    }

    /// The process that sent the port took it back.
    pub(crate) fn give_back(&self, port: PortId, before: u64) {
        if self.control.is_ours()
            && move_on(&self.control, port.lane, port.held_by(self.me), before)
        {
            tell_receiver(&self.control);
        }
    }

    /// The port is another process's now, which says so itself.
    pub(crate) fn pass_on(&self, port: PortId) {
        if self.control.is_ours() && port.lane < self.control.layout().lanes {
            move_on(&self.control, port.lane, port.held_by(self.me), NONE);
        }
    }

    /// The port was dropped.
    pub(crate) fn drop_port(&self, port: PortId) {
        if self.control.is_ours() && port.say(&self.control, port.with(DROPPED)).is_some() {
            tell_receiver(&self.control);
        }
    }

    /// Which receiver came last at the home.
    pub(crate) fn receiver(&self) -> u64 {
        // Acquire: as in `Sender::receiver`.
        self.control.word(word::RECEIVER_GENERATION).load(Ordering::Acquire)
    }

    /// Whether the receiver of that generation is gone from the home.
    pub(crate) fn has_ended(&self, receiver: u64) -> Result<bool, SendError> {
        let there = self.control.has_receiver();
        let there = there.map_err(|error| SendError::from(self.control.wait_error(error)))?;
        Ok(!there || self.receiver() != receiver)
    }

    /// Whether the asker of a port is still there, as far as it told.
    pub(crate) fn is_there(&self, asker: Origin) -> bool {
        asker.is_there(&self.control)
    }

    /// Whether the asker of a port was killed, which takes a system call.
    pub(crate) fn was_killed(&self, asker: Origin) -> bool {
        asker.was_killed(&self.control)
    }

    /// Whether the asker has asked nothing since.
    pub(crate) fn is_last_ask(&self, port: PortId) -> bool {
        is_last_ask(&self.control, port)
    }

    /// Whether the asker still reads a stream.
    pub(crate) fn reads(&self, asker: Origin, parts: &Parts) -> bool {
        let Parts { due, stream, .. } = parts;
        asker.lane < self.control.layout().lanes
            && credit::is_ahead(
                &self.control,
                asker.lane,
                stream.slot,
                due.call,
                stream.sent,
                credit::WINDOW,
            )
            .is_some()
    }

    /// Which process the asker of a port is.
    pub(crate) fn peer(&self, asker: Origin) -> Option<Peer> {
        asker.peer(&self.control)
    }

    /// How errors name the home.
    pub(crate) fn channel(&self) -> Arc<Name> {
        self.control.name()
    }

    /// The longest message that the home takes, in bytes.
    pub(crate) fn max_value(&self) -> u64 {
        self.control.max_value()
    }
}

/// A reply port that will not be answered.
#[derive(Clone, Copy)]
pub(crate) struct LostPort {
    port: PortId,
    holder: u64,
}

/// Where a lane's reply port is.
pub(crate) enum Whereabouts {
    /// With no other process.
    Here,
    /// With another process, which is there.
    Held,
    /// It was dropped, or its holder is gone.
    Lost(LostPort),
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Whether the channel is private: no other receiver comes by its name.
    pub(crate) fn is_private(&self) -> bool {
        self.control.header.private
    }

    /// How often holders said something, or senders came.
    pub(crate) fn holder_changes(&self) -> u64 {
        self.control.word(word::HOLDERS).load(Ordering::Acquire)
    }

    /// The lanes with a reply port that another process has, or had.
    pub(crate) fn lanes_with_holder(&self) -> Vec<usize> {
        let holder = |lane| self.control.lane_word(lane, lane_word::HOLDER);
        (0..self.control.claimed())
            .filter(|&lane| holder(lane).load(Ordering::Relaxed) != NONE)
            .collect()
    }

    /// Where the lane's reply port is.
    pub(crate) fn whereabouts(&self, lane: usize) -> Whereabouts {
        let control = &self.control;
        let holder = control.lane_word(lane, lane_word::HOLDER).load(Ordering::Acquire);
        let ask = control.lane_word(lane, lane_word::LAST_ASK).load(Ordering::Relaxed);
        let port = PortId { lane, ask };
        if !port.is_of(holder) {
            if holder != NONE {
                // Of an ask that is not waited for.
                move_on(control, lane, holder, NONE);
            }
            return Whereabouts::Here;
        }
        match holder & WHO {
            DROPPED => Whereabouts::Lost(LostPort { port, holder }),
            who => {
                let generation = holder >> GENERATION_AT & GENERATION;
                match who.checked_sub(FIRST_LANE) {
                    Some(of) if self.is_still_there(of as usize, generation) => {
                        self.ring_holder_of_the_dead(lane, of as usize);
                        Whereabouts::Held
                    }
                    _ => Whereabouts::Lost(LostPort { port, holder }),
                }
            }
        }
    }

    /// Rings the holder of a port that waits until its asker has taken parts of a stream, where the asker was killed:
    /// the kernel rings this receiver alone. Another may have the lane by now.
    fn ring_holder_of_the_dead(&self, lane: usize, holder: usize) {
        if !credit::parts_wait(&self.control, lane) {
            return;
        }
        let reads = credit::is_open(&self.control, lane, 0) && self.returns.is_owned(lane);
        if !reads && !fault(Fault::HolderOfDeadNotRung) {
            credit::forget_parts_wait(&self.control, lane);
            self.control.notify(self.control.lane_bell(holder));
        }
    }

    fn is_still_there(&self, lane: usize, generation: u64) -> bool {
        // By the semaphore that the kernel keeps true; a lane beyond the last has none.
        self.returns.is_owned(lane)
            && self.control.lane_word(lane, lane_word::GENERATION).load(Ordering::Relaxed)
                & GENERATION
                == generation
    }

    /// Gives a lost port up: says who asked and what, unless another holder has it now.
    pub(crate) fn give_up(&self, lost: LostPort) -> Option<(Origin, u64)> {
        let LostPort { port: PortId { lane, ask }, holder } = lost;
        // Acquire: as in `Origin::of_record`.
        let generation = self.control.lane_word(lane, lane_word::GENERATION);
        let asker = Origin { lane, generation: generation.load(Ordering::Acquire) };
        move_on(&self.control, lane, holder, NONE).then_some((asker, ask))
    }

    /// The port is here, at home. Returns what to [give it back](Receiver::give_back) with.
    pub(crate) fn take_home(&self, port: PortId) -> Option<u64> {
        port.say(&self.control, NONE)
    }

    /// The process that sent the port home took it back.
    pub(crate) fn give_back(&self, port: PortId, before: u64) {
        if before != NONE && move_on(&self.control, port.lane, NONE, before) {
            tell_receiver(&self.control);
        }
    }

    /// Whether a holder said something since it was last looked.
    pub(super) fn has_holder_changed(&self) -> bool {
        // Relaxed: `ring` and `park` order it.
        !fault(Fault::HoldersNotLookedAt)
            && self.wake_on.get().is_some_and(|wake_on| {
                self.control.word(word::HOLDERS).load(Ordering::Relaxed) != wake_on.told
            })
    }

    /// Whether waiting ends with every wake-up.
    pub(super) fn ends_on_any_wakeup(&self) -> bool {
        self.wake_on.get().is_some_and(|wake_on| wake_on.any_wakeup)
    }
}
