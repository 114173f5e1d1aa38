//! What a receiver knows of the senders' coming and going.

use crate::channel::origin::Origin;
use crate::channel::receiver::{Receiver, WakeOn};
use crate::control::semaphores;
use crate::sys::{Fault, fault};

impl<T, C> Receiver<T, C> {
    /// Makes a call whose waiting ends as at its deadline with what `wake_on` names.
    pub(crate) fn waking_on<R>(&self, wake_on: WakeOn, call: impl FnOnce() -> R) -> R {
        self.wake_on.set(Some(wake_on));
        let result = call();
        self.wake_on.set(None);
        result
    }

    /// How often this process had a call end that waits for values.
    pub(crate) fn nudges(&self) -> u64 {
        self.returns.nudges()
    }

    /// Whether it did since its layer last looked.
    pub(in crate::channel) fn was_nudged(&self) -> bool {
        self.wake_on.get().is_some_and(|wake_on| self.nudges() != wake_on.nudges)
    }

    /// Whether a wake-up came since this was last asked that the kernel may have made for a sender that went.
    pub(crate) fn take_sender_may_have_gone(&self) -> bool {
        self.sender_may_have_gone.replace(false) && !fault(Fault::GoneNotLookedFor)
    }

    /// Whether the receiver has a descriptor, at which a thread may wait.
    pub(crate) fn waits_elsewhere(&self) -> bool {
        #[cfg(loom)]
        return false;
        #[cfg(not(loom))]
        self.event.get().is_some()
    }

    /// Whether one may have come that no call has seen.
    pub(crate) fn may_have_been_rung(&self) -> bool {
        let bell = self.control.receiver_bell(self.place);
        self.listener().is_some()
            || !matches!(semaphores::is_zero(self.control.set, bell.semaphore()), Ok(true))
    }

    /// Whether a sender is gone, however it went. Takes a system call where it did not say so.
    pub(crate) fn is_gone(&self, sender: Origin) -> bool {
        !sender.is_there(&self.control) || sender.was_killed(&self.control)
    }
}
