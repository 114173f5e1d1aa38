//! Taking a receiver's place, and giving it up.

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
    /// Attaches a receiver.
    ///
    /// # Errors
    /// [`AttachError::ReceiverExists`] if there is one already, [`AttachError::ReceiversExhausted`] if there are
    /// as many as [`Options::receivers`](crate::Options::receivers) says; [`AttachError::Removed`] if the channel was
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
        let place = take_place(&control, deadline)?;
        let words = control.layout().receiver(place);
        let mut receiver = Receiver {
            local,
            state: RefCell::new(State {
                sources: Sources::new(&control, place),
                looked_at_senders: false,
            }),
            returns: Arc::new(ReplyProducers::new(control.clone(), place, local.spin)),
            closes_for_good: false,
            place,
            words,
            serving: false,
            released: Cell::new(false),
            wake_on: Cell::new(None),
            sender_may_have_gone: Cell::new(false),
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
        control.reset_bell(control.receiver_bell(place), local.spin).map_err(failed)?;
        point!("attach.role");
        // Release, both: a sender that sees a receiver's generation sees what its predecessor
        // answered, and one that sees that a receiver has come sees its generation. See `calls`.
        let before = control.word(word::RECEIVER_GENERATION).fetch_add(1, Ordering::Release);
        receiver.state.get_mut().sources.serve(control, before.wrapping_add(1));
        control.word(word::RECEIVER_CAME).swap(1, Ordering::Release);
        point!("attach.receiver");
        event!(
            INFO,
            control,
            place = place,
            receivers_before = before,
            took_over =
                before > 0 && control.word(word::RECEIVER_LEFT).load(Ordering::Relaxed) == 0,
            "a receiver has attached"
        );
        // The generation comes before: a sender that sees the semaphore raised reads this receiver's.
        semaphores::serve(control.set, control.layout().lanes).map_err(failed)?;
        point!("attach.serving");
        receiver.serving = true;
        let control = &receiver.control;
        control.word(word::RECEIVER_LEFT).swap(0, Ordering::Relaxed);
        if !fault(Fault::NoAttachFence) {
            // SeqCst: pairs with the fence of a sender that parks. This receiver sees its lane claimed,
            // or that sender sees that a receiver has come.
            fence(Ordering::SeqCst);
        }
        if control.layout().has_receivers() && !fault(Fault::SuccessorNotTold) {
            // A receiver that the kernel rang for the last one here may have looked before this one said which it
            // is: it took the dead one for alive.
            control.notify_receivers();
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
        event!(DEBUG, self.control, place = self.place, "a receiver goes");
        // Before another receiver sleeps at the bell.
        drop(self.listener.take());
        self.returns.close();
        let control = &self.control;
        let say = || control.word(word::RECEIVER_LEFT).swap(1, Ordering::Relaxed);
        let layout = control.layout();
        // The hint comes before the role is given up, so that it is there when the bells ring.
        if !layout.has_receivers() {
            say();
        }
        // A set that is gone needs no goodbye.
        let _ = semaphores::release_receiver(control.set, layout, self.place, self.serving);
        // While others receive, it would have every send ask the kernel for nothing. A sender that the bells
        // ring asks by itself.
        if layout.has_receivers() && control.has_receiver() == Ok(false) {
            say();
        }
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

/// Takes a free place: of several receivers the first, of one its own, waiting until it is free.
fn take_place(control: &Control, deadline: Deadline) -> Result<usize, AttachError> {
    let (set, layout) = (control.set, control.layout());
    let failed = |error| attach_error(control, error);
    if !layout.has_receivers() {
        if semaphores::take_receiver(set, layout, 0, deadline).map_err(failed)? {
            return Ok(0);
        }
        let pid = set.last_pid(semaphores::RECEIVER).map_err(failed)?;
        return Err(AttachError::ReceiverExists { channel: control.name(), pid });
    }
    let values = set.values().map_err(failed)?;
    let receivers = layout.receivers;
    for place in 0..receivers {
        let role = semaphores::receiver_role(layout, place);
        let free = values.get(usize::from(role)) == Some(&0);
        if free && semaphores::take_receiver(set, layout, place, Deadline::now()).map_err(failed)? {
            return Ok(place);
        }
    }
    Err(AttachError::ReceiversExhausted { channel: control.name(), receivers })
}
