//! Taking the receiver's role, and giving it up.

#[cfg(not(loom))]
use std::cell::OnceCell;
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::mem;
use std::sync::Arc;

use super::Receiver;
use super::state::State;
use crate::channel::returns::ReplyProducers;
use crate::channel::sources::Sources;
use crate::channel::{Channel, Local, attach_error, calls, check_there};
use crate::codec::Codec;
use crate::control::{Control, semaphores, word};
use crate::error::AttachError;
use crate::sys::{Deadline, Fault, Ordering, fault, fence};

impl<T, C: Codec<T>> Channel<T, C> {
    /// Attaches the receiver.
    ///
    /// # Errors
    /// [`AttachError::ReceiverExists`] if there is one, [`AttachError::Removed`] if the channel was
    /// removed; [`AttachError`] otherwise.
    pub fn receiver(&self) -> Result<Receiver<T, C>, AttachError> {
        self.receiver_by(Deadline::now())
    }

    /// Attaches the receiver, waiting until the one that there is has gone.
    pub(crate) fn receiver_by(&self, deadline: Deadline) -> Result<Receiver<T, C>, AttachError> {
        Receiver::attach(self.control.clone(), self.local, deadline)
    }
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Takes the receiver's role, waiting until it is free, at most until `deadline`.
    pub(in crate::channel) fn attach(
        control: Arc<Control>,
        local: Local,
        deadline: Deadline,
    ) -> Result<Self, AttachError> {
        if !control.is_ours() {
            return Err(AttachError::Forked { channel: control.name() });
        }
        check_there(&control)?;
        let lanes = control.layout().lanes;
        let failed = |error| attach_error(&control, error);
        if !semaphores::take_receiver(control.set, lanes, deadline).map_err(failed)? {
            let pid = control.set.last_pid(semaphores::RECEIVER).map_err(failed)?;
            return Err(AttachError::ReceiverExists { channel: control.name(), pid });
        }
        let mut receiver = Receiver {
            local,
            state: RefCell::new(State {
                sources: Sources::new(&control),
                looked_at_senders: false,
            }),
            returns: Arc::new(ReplyProducers::new(control.clone(), local.spin)),
            closes_for_good: false,
            serving: false,
            released: Cell::new(false),
            wake_on: Cell::new(None),
            listener: RefCell::new(None),
            #[cfg(not(loom))]
            event: OnceCell::new(),
            #[cfg(not(loom))]
            in_task: Cell::new(false),
            value: PhantomData,
            // From here on dropping the receiver gives the role back.
            control,
        };
        let control = &receiver.control;
        let failed = |error| attach_error(control, error);
        control.reset_bell(control.receiver_bell(), local.spin).map_err(failed)?;
        point!("attach.role");
        // Release, both: a sender that sees a receiver's generation sees what its predecessor
        // answered, and one that sees that a receiver has come sees its generation. See `calls`.
        control.word(word::RECEIVER_GENERATION).fetch_add(1, Ordering::Release);
        control.word(word::RECEIVER_CAME).swap(1, Ordering::Release);
        point!("attach.receiver");
        // The generation comes before: a sender that sees the semaphore raised reads this receiver's.
        semaphores::serve(control.set, lanes).map_err(failed)?;
        point!("attach.serving");
        receiver.serving = true;
        let control = &receiver.control;
        control.word(word::RECEIVER_LEFT).swap(0, Ordering::Relaxed);
        if !fault(Fault::NoAttachFence) {
            // SeqCst: pairs with the fence of a sender that parks. This receiver sees its lane claimed,
            // or that sender sees that a receiver has come.
            fence(Ordering::SeqCst);
        }
        // Senders sleep that were there when the last receiver went, or that wait for the first one:
        // they have to look again.
        for lane in 0..control.claimed() {
            if !fault(Fault::ReceiverStartNotPublished) {
                calls::publish_receiver_start(control, lane);
            }
            control.notify(control.lane_bell(lane));
        }
        Ok(receiver)
    }
}

impl<T, C> Receiver<T, C> {
    /// Gives the role up, for good.
    pub(in crate::channel) fn release(&self) {
        if !self.control.is_ours() {
            // A forked child has no thread of its parent's.
            mem::forget(self.listener.take());
            return;
        }
        if self.released.replace(true) {
            return;
        }
        // Before another receiver sleeps at the bell.
        drop(self.listener.take());
        self.returns.close();
        // The hint comes before the role is given up, so that it is there when the bells ring.
        self.control.word(word::RECEIVER_LEFT).swap(1, Ordering::Relaxed);
        // A set that is gone needs no goodbye.
        let lanes = self.control.layout().lanes;
        let _ = semaphores::release_receiver(self.control.set, lanes, self.serving);
    }

    /// Whether it is the receiver no more.
    pub(in crate::channel) fn is_released(&self) -> bool {
        self.released.get()
    }
}

impl<T, C> Drop for Receiver<T, C> {
    fn drop(&mut self) {
        self.release();
    }
}
