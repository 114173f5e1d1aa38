//! Sleep and wake.
//!
//! ```text
//! waker:   make it so; fence(SeqCst)
//!          t = parked.load; if t != 0 { post; parked.compare_exchange(t, 0) }
//! sleeper: parked.swap(next ticket); fence(SeqCst)
//!          if it is so { parked.swap(0); go on }
//!          wait(bell, deadline); parked.swap(0); look again
//! ```
//!
//! On a feed, a channel with neither queue nor way back, a fence with every value costs half the
//! speed of a stream of small ones. There the waker's fence is left to the sleeper: it makes the
//! kernel fence every processor that runs a process of the channel (`sys::heavy_barrier`). A process
//! that cannot be registered for that says so in the header, as does one that never spins and so
//! sleeps for every value; from then on every waker fences, and sleepers leave the kernel alone once
//! they know that all have seen it. Models take this barrier for a fence on either side. Where a
//! caller sleeps for every reply it would cost more than the fences: with 16 and 64 callers 12
//! microseconds a call, against 5.
//!
//! The two fences make sure that the waker sees the ticket or the sleeper sees the work. The post
//! comes before `parked` is cleared: a waker that is stopped or killed between the two costs a
//! wake-up for nothing, and never one that is missing. Tickets are never used twice, so a late
//! waker cannot clear the ticket of a later sleeper. A post is a hint: no party waits for one to
//! arrive, and after each wake-up the state is looked at afresh.

use std::task::Waker;
use std::time::Duration;

use super::{Control, Listener, WaitError, lane_word, semaphores, word};
use crate::sys::{self, Deadline, Fault, Ordering, SystemError, fault};

/// How long a sleeper first sleeps that cannot make the others' processors fence.
const UNFENCED_PARK: Duration = Duration::from_millis(1);

/// How long a sleeper first sleeps before it looks whether the channel's objects are still there. Each
/// time it takes twice as long, `LOOKS_DOUBLED` times: a look costs an idle process 80 microseconds.
const LOOK_FOR_OBJECTS: Duration = Duration::from_secs(1);
const LOOKS_DOUBLED: u32 = 6;

/// Where one side sleeps: a semaphore, and the word that says whether it does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doorbell {
    parked_at: usize,
    pub(super) bell: u16,
}

impl Doorbell {
    /// The semaphore that is posted to.
    pub(crate) fn semaphore(self) -> u16 {
        self.bell
    }
}

/// How a sleep ended.
pub(super) enum Parked<R> {
    /// There was no need for it.
    Found(R),
    /// A peer rang.
    Rung,
    /// Something posted; it may have been the kernel, for a peer that died.
    Posted,
    /// It timed out, and no party rang.
    Elapsed,
}

impl Control {
    /// The bell that the receiver at this place sleeps on.
    #[inline]
    pub(crate) fn receiver_bell(&self, place: usize) -> Doorbell {
        let layout = self.layout();
        Doorbell {
            parked_at: layout.receiver(place).parked,
            bell: semaphores::receiver_bell(layout, place),
        }
    }

    /// The bell that the sender on `lane` sleeps on.
    #[inline]
    pub(crate) fn lane_bell(&self, lane: usize) -> Doorbell {
        Doorbell {
            parked_at: self.layout().lane(lane) + lane_word::PARKED,
            bell: semaphores::lane_bell(lane),
        }
    }

    /// Wakes the party that sleeps at the bell, after something was made so. A refusal of the kernel's
    /// is kept for a call that can tell it.
    #[inline(always)]
    pub(crate) fn notify(&self, doorbell: Doorbell) {
        if let Err(error) = self.try_notify(doorbell) {
            self.keep_unwoken(error);
        }
    }

    /// The same, for a caller that can tell of a refusal.
    #[inline(always)]
    pub(crate) fn try_notify(&self, doorbell: Doorbell) -> Result<(), SystemError> {
        if !fault(Fault::NoRingFence) {
            self.waker_fence();
        }
        let ticket = self.word(doorbell.parked_at).load(Ordering::Relaxed);
        if ticket == 0 { Ok(()) } else { self.wake(doorbell, ticket) }
    }

    /// Wakes every receiver that sleeps, after something was made so.
    #[inline(always)]
    pub(crate) fn notify_receivers(&self) {
        if let Err(error) = self.try_notify_receivers() {
            self.keep_unwoken(error);
        }
    }

    /// The same, for a caller that can tell of a refusal.
    ///
    /// Of several receivers all are rung that sleep: one that is woken alone may stop or die before it looks,
    /// and the value would lie there although others are idle.
    #[inline(always)]
    pub(crate) fn try_notify_receivers(&self) -> Result<(), SystemError> {
        if !self.layout().has_receivers() {
            return self.try_notify(self.receiver_bell(0));
        }
        self.wake_receivers()
    }

    /// Wakes every receiver that has a ticket.
    // NB: apart from the callers, whose channels have one receiver mostly: a feed is slower with this in the middle.
    #[inline(never)]
    fn wake_receivers(&self) -> Result<(), SystemError> {
        if !fault(Fault::NoRingFence) {
            self.waker_fence();
        }
        let ticket = |place| {
            let ticket = self.word(self.layout().receiver(place).parked).load(Ordering::Relaxed);
            (ticket != 0).then_some((place, ticket))
        };
        let mut parked: Vec<(usize, u64)> =
            (0..self.layout().receivers).filter_map(ticket).collect();
        if parked.is_empty() {
            return Ok(());
        }
        if fault(Fault::OneReceiverRung) {
            parked.truncate(1);
        }
        let bell = |&(place, _): &(usize, u64)| semaphores::receiver_bell(self.layout(), place);
        point!("wake.before");
        // As in `wake`.
        semaphores::post_all(self.set, &parked.iter().map(bell).collect::<Vec<_>>())?;
        point!("wake.posted");
        for (place, ticket) in parked {
            self.clear_ticket(self.layout().receiver(place).parked, ticket);
        }
        Ok(())
    }

    /// Whether a receiver sleeps, as far as it said so.
    pub(crate) fn is_receiver_parked(&self) -> bool {
        let parked = |place| self.word(self.layout().receiver(place).parked);
        (0..self.layout().receivers).any(|place| parked(place).load(Ordering::Relaxed) != 0)
    }

    /// Orders what was made so before a look at a word that a sleeper wrote.
    #[inline(always)]
    pub(crate) fn waker_fence(&self) {
        // Both pair with `sleeper_fence`.
        if self.only_streams() && self.word(word::FENCED).load(Ordering::Relaxed) == 0 {
            sys::light_barrier();
        } else {
            sys::fence(Ordering::SeqCst);
        }
    }

    /// The sleeper's fence; `false` if a waker may have gone without its own.
    fn sleeper_fence(&self) -> bool {
        if !self.only_streams() || self.all_fence.load(Ordering::Relaxed) {
            // SeqCst: pairs with `waker_fence`.
            sys::fence(Ordering::SeqCst);
            return true;
        }
        let told = self.word(word::FENCED).load(Ordering::Relaxed) != 0;
        let fenced = sys::heavy_barrier();
        // A waker that had not seen FENCED before the barrier, or before it slept, sees it after.
        self.all_fence.store(told, Ordering::Relaxed);
        if !fenced {
            self.word(word::FENCED).swap(1, Ordering::Relaxed);
        }
        fenced
    }

    /// Whether values only stream by: no system call with each, as a queue needs, and no reply that
    /// is slept for after each.
    #[inline]
    fn only_streams(&self) -> bool {
        self.queue.is_none() && self.layout().return_lines == 0
    }

    /// Says whether this process can go without fences where it wakes others, and whether it will
    /// sleep so often that these had better fence.
    // NB: measured with a struct there and back on one core, both sides sleeping for each: 4.6 us, 5.5
    // without the second.
    fn register_waker(&self, spin: Duration) {
        if self.only_streams() && (!sys::register_waker() || spin.is_zero()) {
            self.word(word::FENCED).swap(1, Ordering::Relaxed);
        }
    }

    #[cold]
    #[inline(never)]
    fn wake(&self, doorbell: Doorbell, ticket: u64) -> Result<(), SystemError> {
        if fault(Fault::ClearBeforePost) {
            self.word(doorbell.parked_at).swap(0, Ordering::Relaxed);
        }
        point!("wake.before");
        // If the kernel refuses, the ticket stands: the next waker may have the right to post.
        semaphores::post(self.set, doorbell.bell)?;
        point!("wake.posted");
        self.clear_ticket(doorbell.parked_at, ticket);
        Ok(())
    }

    fn clear_ticket(&self, parked_at: usize, ticket: u64) {
        // Relaxed: only says that a post is on its way; a newer ticket stays.
        let parked = self.word(parked_at);
        let _ = parked.compare_exchange(ticket, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Makes a bell its new owner's, which looks for `spin` before it sleeps: no ticket, no posts.
    pub(crate) fn reset_bell(&self, bell: Doorbell, spin: Duration) -> Result<(), SystemError> {
        self.register_waker(spin);
        self.word(bell.parked_at).swap(0, Ordering::Relaxed);
        point!("attach.unparked");
        semaphores::empty(self.set, bell.bell)
    }

    /// Sleeps at the bell, once, unless `look` finds something first. `parks` says how many times
    /// this call slept before.
    pub(super) fn park<R, E: From<WaitError>>(
        &self,
        doorbell: Doorbell,
        listener: Option<&Listener>,
        deadline: Deadline,
        parks: u32,
        look: impl FnOnce() -> Result<Option<R>, E>,
    ) -> Result<Parked<R>, E> {
        self.poll_removed_now_and_then();
        let parked = self.word(doorbell.parked_at);
        parked.swap(self.next_ticket(), Ordering::Relaxed);
        point!("park.parked");
        let fenced = fault(Fault::NoParkFence) || self.sleeper_fence();
        let found = match () {
            () if fault(Fault::NoRecheck) => Ok(None),
            () if self.is_removed() => Err(E::from(self.removed())),
            () => look(),
        };
        let until = || self.park_timeout(deadline, fenced, parks);
        let rung = match (&found, listener) {
            (Ok(None), Some(listener)) if !fault(Fault::ListenerIgnored) => listener.sleep(until()),
            (Ok(None), _) => semaphores::sleep(self.set, doorbell.bell, until()),
            _ => Ok(true),
        };
        point!("park.woken");
        // A waker that is alive clears the ticket. Where it still stands, the post may be one that
        // the kernel made for a dead process.
        let cleared = parked.swap(0, Ordering::Relaxed) == 0;
        match (found?, rung) {
            (Some(found), _) => Ok(Parked::Found(found)),
            (None, Ok(_)) if self.is_removed() => Err(E::from(self.removed())),
            // A listener may have taken several posts for one.
            (None, Ok(true))
                if cleared && (listener.is_none() || fault(Fault::ListenerTrusted)) =>
            {
                Ok(Parked::Rung)
            }
            (None, Ok(true)) => Ok(Parked::Posted),
            (None, Ok(false)) if deadline.has_passed() => {
                Err(E::from(WaitError::Timeout { channel: self.name() }))
            }
            (None, Ok(false)) => {
                if fenced && self.poll_removed() {
                    return Err(E::from(self.removed()));
                }
                Ok(Parked::Elapsed)
            }
            (None, Err(error)) => Err(E::from(self.wait_error(error))),
        }
    }

    /// Says that an end sleeps which waits elsewhere: what is made so after this wakes the task that its
    /// listener knows. The end looks once more before it waits.
    pub(crate) fn arm(&self, doorbell: Doorbell, waker: &Waker) {
        self.word(doorbell.parked_at).swap(self.next_ticket(), Ordering::Relaxed);
        if !fault(Fault::NoParkFence) && !self.sleeper_fence() {
            // A waker may have gone without its fence: the next look comes soon.
            waker.wake_by_ref();
        }
    }

    /// The end waits no more.
    pub(crate) fn disarm(&self, doorbell: Doorbell) {
        self.word(doorbell.parked_at).swap(0, Ordering::Relaxed);
    }

    /// How long to sleep at a time.
    ///
    /// Briefly where a waker may have gone without its fence.
    /// The kernel wakes no sleeper here when the queue or the segment alone is removed, so a sleeper looks
    /// now and then whether they are still there.
    ///
    /// In a model nothing times out: a wake-up that is lost there is one for good. A process
    /// that notices in a model that an object is gone tells the others.
    fn park_timeout(&self, deadline: Deadline, fenced: bool, parks: u32) -> Deadline {
        if cfg!(loom) {
            return deadline;
        }
        let timeout = match fenced {
            false => UNFENCED_PARK,
            true => LOOK_FOR_OBJECTS * (1 << parks.min(LOOKS_DOUBLED)),
        };
        let sooner = deadline.remaining().is_some_and(|left| left < timeout);
        if sooner { deadline } else { Deadline::after(timeout) }
    }

    /// A ticket that no sleeper had before, and not zero.
    fn next_ticket(&self) -> u64 {
        loop {
            let ticket = self.word(word::TICKET).fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            if ticket != 0 {
                return ticket;
            }
        }
    }
}
