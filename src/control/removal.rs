//! How the users of a channel learn that it was removed.
//!
//! The kernel tells the sleepers: it ends every wait on a set that is gone. Busy users make no system
//! call, so the remover raises a count in the header, in a line that both sides read with
//! every value. A user that sees it raised asks the kernel for the objects, once; if one is gone, every
//! later call of its process on this channel says Removed.
//!
//! A removal by hand, with `ipcrm`, raises nothing. The first user that notices raises the count for
//! the others and rings the sleepers. So does a process that creates or opens the name meanwhile: it
//! removes the other objects, before it makes a channel of its own. A sleeper asks the kernel when it
//! has slept for a second, then for two, and so on; a busy user with every thousandth value; a user
//! whose system calls are on other objects than the one that is gone, once a second.
//!
//! To a process that has gone to another ipc namespace all objects seem removed. The others look, find
//! them there, and go on.

use std::time::Duration;

use super::{Control, WaitError, semaphores, word};
use crate::sys::{Deadline, Fault, Ordering, Segment, SystemError, SystemErrorKind, fault};

/// What the count in the header never is: this process knows that the channel was removed.
const GONE: u64 = u64::MAX;

/// With how many values a busy user looks for the objects, a power of two.
// NB: the look is two or three system calls, half a microsecond each at most: a nanosecond a value.
pub(crate) const VALUES_BETWEEN_LOOKS: u64 = 1024;

/// How often a user looks that makes system calls anyway.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Tells the users of the channel in this segment to look for its objects. A segment that is shorter
/// than any channel's has no users.
pub(super) fn raise_alarm(segment: &Segment) {
    if segment.len() >= word::ALARMS + 8 && !fault(Fault::RemovalNotMarked) {
        // Relaxed: means something by itself; a user that looks asks the kernel.
        segment.word(word::ALARMS).fetch_add(1, Ordering::Relaxed);
    }
}

impl Control {
    /// The count of alarms that a user begins with.
    #[inline(always)]
    pub(super) fn alarms_now(segment: &Segment) -> u64 {
        segment.word(word::ALARMS).load(Ordering::Relaxed) & !(1 << 63)
    }

    /// Whether the channel was removed, as far as this process has noticed or was told.
    #[inline(always)]
    pub(crate) fn is_removed(&self) -> bool {
        // Relaxed: a user that learned of the removal from its remover sees the count that it raised.
        let alarms = Control::alarms_now(&self.segment);
        alarms != self.alarms.load(Ordering::Relaxed) && self.hear_alarm(alarms)
    }

    #[cold]
    #[inline(never)]
    fn hear_alarm(&self, alarms: u64) -> bool {
        if fault(Fault::RemovalNotLookedAt) {
            return false;
        }
        if self.alarms.load(Ordering::Relaxed) == GONE || self.poll_removed() {
            return true;
        }
        // A false alarm. Another thread may know better meanwhile, and then for good.
        let seen = |before| (before != GONE).then_some(alarms);
        let _ = self.alarms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, seen);
        false
    }

    /// The error for that.
    #[cold]
    pub(crate) fn removed(&self) -> WaitError {
        WaitError::Removed { channel: self.name() }
    }

    /// Refuses to say anything of a channel that was removed, for callers that may only ask, again and
    /// again.
    pub(crate) fn check_not_removed(&self) -> Result<(), WaitError> {
        self.poll_removed_now_and_then();
        if self.is_removed() { Err(self.removed()) } else { Ok(()) }
    }

    /// Asks the kernel whether the objects are there; says whether one is gone.
    pub(crate) fn poll_removed(&self) -> bool {
        let gone = |error: SystemError| error.kind() == SystemErrorKind::Removed;
        let removed = semaphores::is_zero(self.set, semaphores::LOCK).is_err_and(gone)
            || self.segment.id().stat().map_or_else(gone, |stat| stat.removed)
            || self.queued().is_err_and(gone);
        if removed {
            self.notice_removed();
        }
        removed
    }

    /// Asks the kernel, for one that finds its peer gone: a channel of which a part was removed by hand
    /// never seems to have ended by itself.
    pub(crate) fn was_removed(&self) -> bool {
        !fault(Fault::EndNotLookedAt) && self.poll_removed()
    }

    /// Looks if this process has not done so for a second.
    ///
    /// Models remove objects by hand only where a user notices by itself.
    pub(crate) fn poll_removed_now_and_then(&self) {
        if cfg!(loom)
            || !Deadline::from_number(self.look_again.load(Ordering::Relaxed)).has_passed()
        {
            return;
        }
        let next = Deadline::after(BETWEEN_LOOKS).to_number();
        self.look_again.store(next, Ordering::Relaxed);
        self.poll_removed();
    }

    /// From here on every call of this process says that the channel was removed. The other users are
    /// told to ask the kernel, and the sleepers are rung.
    #[cold]
    pub(crate) fn notice_removed(&self) {
        if self.alarms.swap(GONE, Ordering::Relaxed) == GONE || fault(Fault::RemovalNotTold) {
            return;
        }
        event!(WARN, self, "the channel was removed");
        raise_alarm(&self.segment);
        for lane in 0..self.claimed() {
            self.notify(self.lane_bell(lane));
        }
        self.notify_receivers();
    }

    /// Keeps the kernel's refusal to wake a peer, for a call that can tell it.
    #[cold]
    pub(super) fn keep_unwoken(&self, error: SystemError) {
        if error.kind() == SystemErrorKind::Removed {
            return self.notice_removed();
        }
        *self.unwoken.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
        self.has_unwoken.store(true, Ordering::Relaxed);
    }

    /// Whether there is a refusal to tell.
    pub(crate) fn has_unwoken(&self) -> bool {
        // Relaxed: the mutex orders the rest.
        self.has_unwoken.load(Ordering::Relaxed)
    }

    /// Why a peer could not be woken since this was last asked.
    #[inline]
    pub(crate) fn take_unwoken(&self) -> Option<SystemError> {
        if !self.has_unwoken() {
            return None;
        }
        self.has_unwoken.store(false, Ordering::Relaxed);
        self.unwoken.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}
