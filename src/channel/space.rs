//! Room in the queue, shared out among the senders that wait for it.
//!
//! A sender that finds the queue full asks for room: it writes how many bytes it needs into its lane,
//! sets the lane's bit in the bitmap `WANT_QUEUE`, tries once more and sleeps. The receiver counts
//! the bytes that it takes off the queue, shares them out among the lanes that ask, in turn, from
//! `QUEUE_NEXT` on, and wakes as many as it has bytes for. It writes into the lane how many bytes the
//! sender may send before it has to wait for its next turn: with little room one value, with much room
//! an equal share of the bytes, up to a sixteenth of the queue. What is shared out to no lane stands in
//! `QUEUE_FREE`. Several receivers do not count, and ask the kernel instead, as long as a lane asks.
//!
//! A sender in line has its bit in the bitmap `IN_LINE`, from its first try until it has sent or has
//! given up. While others are in line, a sender does not try the queue before them: it asks, and
//! waits for its turn. So a long message finds its room as surely as a short one. A call that does not
//! wait leaves room for those in line.
//!
//! Whether a wake-up is lost rests on `WANT_QUEUE` alone; the rest says who is first, and a wrong
//! word there costs a turn or a try. A woken sender can give up, die or stop and leave its room
//! unused, and the others asleep:
//!
//! - One that gives up shares out again, by what the kernel says: what was given to it, and what was
//!   kept for it while others waited behind it.
//! - One that dies has the kernel ring every lane: before its first place in line it arms their bells.
//!   A sender that is woken so takes the dead one out of the line and tries once, since the turn may have
//!   been the dead one's; the receiver may be busy elsewhere, and not look at the line for a long while.
//!   Where the lane has a new owner before that, the new owner passes the turn on.
//!   A call that does not wait, and finds no room to spare, takes the dead out as well.
//! - One that is stopped keeps its turn. A receiver that finds nothing for it on the queue, before it
//!   sleeps and every few milliseconds while it polls, asks the kernel how much room there is and wakes
//!   every sender that has room enough. A sender waits behind others only while the receiver is
//!   attached and does not sleep, and no longer than until it looks for the channel's queue, unless
//!   the receiver went on receiving meanwhile.
// NB: measured with 256 senders that send without a pause, on two processors: 2.4 ms a value when
// every one was woken for each message and all of them tried, 0.62 with blocking msgsnd, 0.02 so.

use std::sync::Arc;

use crate::control::{Control, ENVELOPE, lane_word, semaphores, word};
use crate::error::SendError;
use crate::sys::{AtomicU64, Fault, MessageQueue, Ordering, QueueStat, SystemError, fault, fence};

/// Into how many turns the whole queue is divided at least, so that one sender has no long turn while
/// others are on their way. With the queue's usual size, a turn is 1 KiB.
const TURNS: u64 = 16;

/// How many words of the bitmaps are in use: lanes that were never claimed have no bit.
#[inline]
fn words(control: &Control) -> usize {
    control.claimed().div_ceil(64)
}

/// A word of the lanes that ask for room.
#[inline]
fn want(control: &Control, index: usize) -> &AtomicU64 {
    control.word(word::WANT_QUEUE + index * 8)
}

/// A word of the lanes that are in line.
#[inline]
fn in_line(control: &Control, index: usize) -> &AtomicU64 {
    control.word(control.layout().in_line() + index * 8)
}

/// How many bytes the sender on a lane asks for, or was given.
fn share(control: &Control, lane: usize) -> &AtomicU64 {
    control.lane_word(lane, lane_word::QUEUE_SHARE)
}

fn free(control: &Control) -> &AtomicU64 {
    control.word(word::QUEUE_FREE)
}

/// The lane from which on the next turn is given.
fn next(control: &Control) -> &AtomicU64 {
    control.word(word::QUEUE_NEXT)
}

fn bit(lane: usize) -> u64 {
    1 << (lane % 64)
}

/// Whether a lane other than this one has its bit in a bitmap.
#[inline]
fn others<'c>(
    control: &'c Control,
    bitmap: impl Fn(&'c Control, usize) -> &'c AtomicU64,
    lane: usize,
) -> bool {
    (0..words(control)).any(|index| {
        let own = if index == lane / 64 { bit(lane) } else { 0 };
        // Relaxed: a hint.
        bitmap(control, index).load(Ordering::Relaxed) & !own != 0
    })
}

/// Takes so many bytes of what was shared out to no sender, if there are as many.
fn take_free(control: &Control, bytes: u64) -> bool {
    let free = free(control);
    // Relaxed, here and elsewhere: bytes that two count twice cost one of them a try.
    let left = free.load(Ordering::Relaxed);
    left >= bytes
        && free.compare_exchange(left, left - bytes, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Forgets what a lane's former owner asked for.
///
/// One that died in line may have had its turn, which the next sender has then: the kernel rang the
/// others, but where the lane has its new owner before they look, they find no dead sender.
pub(super) fn forget(control: &Control, lane: usize) {
    let (was_in_line, asked) = leave_line(control, lane);
    if (was_in_line || asked) && !fault(Fault::DeadTurnForgotten) {
        redistribute(control);
    }
}

// ------------------------------------------------------------------ turns

/// Wakes those whose turn it is, as many as there is room for in a queue of this capacity.
fn share_out(control: &Control, capacity: u64) {
    // A sender that asks again while this runs is not served twice.
    for _ in 0..control.claimed() {
        // Relaxed: the receiver and a sender that settles may give two turns at once, to one lane each.
        let from = next(control).load(Ordering::Relaxed);
        let Some(lane) = next_asking(control, usize::try_from(from).unwrap_or(0)) else { return };
        let left = free(control).load(Ordering::Relaxed).min(capacity);
        let needs = needs(control, lane);
        if needs > left {
            return;
        }
        let share = needs.max(share_of(control, left, capacity)).min(left);
        if !take_free(control, share) {
            // Another receiver or a sender took of it, or found more.
            continue;
        }
        if !give(control, lane, share) {
            free(control).fetch_add(share, Ordering::Relaxed);
        }
    }
}

/// How many bytes each lane that asks has of so many, if none needs more.
fn share_of(control: &Control, room: u64, capacity: u64) -> u64 {
    (room / asking(control).max(1)).min(capacity / TURNS)
}

/// Shares out what is free by what the kernel says: after a lane has left the line with its turn unused or still
/// to come, or after one of several receivers took a message.
fn redistribute(control: &Control) {
    // SeqCst: pairs with the fence in `yields`.
    fence(Ordering::SeqCst);
    if !is_asked_for(control) {
        return;
    }
    // A queue that is gone is noticed by the call that needs it.
    let Some(Ok(stat)) = control.queue.map(|queue| queue.stat()) else { return };
    // A lower number than the one that is there may be older.
    free(control).fetch_max(spare(control, &stat), Ordering::Relaxed);
    share_out(control, stat.capacity);
}

/// How much room there is that was given to no lane in line.
fn spare(control: &Control, stat: &QueueStat) -> u64 {
    let mut spare = stat.capacity.saturating_sub(stat.bytes);
    for index in 0..words(control) {
        // Acquire: pairs with the Release in `Place::take`; its share is none until it is given one.
        let line = in_line(control, index).load(Ordering::Acquire);
        let mut given = line & !want(control, index).load(Ordering::Relaxed);
        while given != 0 {
            let lane = index * 64 + given.trailing_zeros() as usize;
            given &= given - 1;
            if lane < control.layout().lanes {
                spare = spare.saturating_sub(share(control, lane).load(Ordering::Relaxed));
            }
        }
    }
    spare
}

// ------------------------------------------------------------------ the receiver

/// The receiver's part: what it has to share out.
pub(super) struct Space {
    /// How many bytes of text the queue holds.
    capacity: u64,
}

impl Space {
    pub(super) fn new(control: &Control) -> Self {
        // What the queue holds is asked for again whenever all are woken. A queue that is gone is
        // noticed by the call that needs it.
        let stat = control.queue.and_then(|queue| queue.stat().ok());
        // Of several receivers another may be about to share it out.
        if control.queue.is_some() && !control.layout().has_receivers() {
            free(control).swap(0, Ordering::Relaxed);
        }
        Space { capacity: stat.map_or(0, |stat| stat.capacity) }
    }

    /// A message of so many bytes was taken off the queue.
    pub(super) fn came_free(&mut self, control: &Control, bytes: usize) {
        if fault(Fault::QueueSpaceNotGiven) {
            return;
        }
        if control.layout().has_receivers() && !fault(Fault::RoomCounted) {
            // The other receivers make room too, and may be busy for long with what they took, as this one may:
            // what is not given now may not be given soon. So the kernel says how much there is.
            if is_asked_for(control) {
                redistribute(control);
            }
            return;
        }
        let free = free(control);
        let left = free.load(Ordering::Relaxed);
        if !self.is_waited_for(control) {
            // Room is there for any sender that comes.
            if left != 0 {
                free.swap(0, Ordering::Relaxed);
            }
            return;
        }
        free.swap(left.saturating_add(bytes as u64).min(self.capacity), Ordering::Relaxed);
        share_out(control, self.capacity);
    }

    /// There was no message for the receiver. With `sleeps` it will not look again on its own.
    pub(super) fn found_nothing(&mut self, control: &Control, queue: MessageQueue, sleeps: bool) {
        if fault(Fault::QueueSpaceNotGiven) || !is_asked_for(control) {
            return;
        }
        if !sleeps || fault(Fault::RestNotWoken) {
            return share_out(control, self.capacity);
        }
        // A queue that is gone is noticed by the call that needs it.
        let Ok(stat) = queue.stat() else { return };
        self.capacity = stat.capacity;
        self.wake_all(control, stat.capacity.saturating_sub(stat.bytes));
    }

    fn is_waited_for(&self, control: &Control) -> bool {
        let any = |index| {
            let bits = in_line(control, index).load(Ordering::Relaxed);
            bits | want(control, index).load(Ordering::Relaxed) != 0
        };
        (0..words(control)).any(any)
    }

    /// Wakes all that have room enough, of whom some may be dead or have no use for it.
    fn wake_all(&mut self, control: &Control, room: u64) {
        let share = share_of(control, room, self.capacity);
        let mut left = room;
        for index in 0..words(control) {
            let mut asking = want(control, index).load(Ordering::Acquire);
            while asking != 0 {
                let lane = index * 64 + asking.trailing_zeros() as usize;
                asking &= asking - 1;
                let needs = needs(control, lane);
                if lane < control.layout().lanes && needs <= room {
                    let share = needs.max(share);
                    left = left.saturating_sub(share);
                    give(control, lane, share);
                }
            }
        }
        if control.layout().has_receivers() {
            // What another receiver found since is more, and it shares that out.
            free(control).fetch_max(left, Ordering::Relaxed);
        } else {
            free(control).swap(left, Ordering::Relaxed);
        }
    }
}

/// Gives the sender on a lane its turn, with so many bytes; `false` if it has given up asking.
fn give(control: &Control, lane: usize, bytes: u64) -> bool {
    next(control).swap(lane as u64 + 1, Ordering::Relaxed);
    share(control, lane).swap(bytes, Ordering::Relaxed);
    // Release: pairs with the sender's Acquire in `Place`, which then sees its share.
    let asked = want(control, lane / 64).fetch_and(!bit(lane), Ordering::AcqRel);
    if asked & bit(lane) == 0 && !fault(Fault::TurnKept) {
        return false;
    }
    point!("space.given");
    control.notify(control.lane_bell(lane));
    true
}

/// Whether a lane asks for room.
fn is_asked_for(control: &Control) -> bool {
    // Relaxed: after the msgrcv that made room, or after the fence of a receiver that parks or of a
    // sender that leaves the line, as `Place::ask` and `yields` say.
    (0..words(control)).any(|index| want(control, index).load(Ordering::Relaxed) != 0)
}

/// How many lanes ask for room.
fn asking(control: &Control) -> u64 {
    let ask = |index| u64::from(want(control, index).load(Ordering::Relaxed).count_ones());
    (0..words(control)).map(ask).sum()
}

/// The lane that asks and is the next one in turn, from `lane` on.
fn next_asking(control: &Control, lane: usize) -> Option<usize> {
    let words = words(control);
    let lane = if lane < words * 64 { lane } else { 0 };
    let (first, before) = (lane / 64, bit(lane) - 1);
    (0..=words).find_map(|step| {
        let index = (first + step) % words.max(1);
        // Acquire: pairs with the sender's Release in `Place::ask`; what it needs is seen.
        let mut asking = want(control, index).load(Ordering::Acquire);
        if step == 0 {
            asking &= !before;
        } else if step == words {
            asking &= before;
        }
        let found = index * 64 + asking.trailing_zeros() as usize;
        (asking != 0 && found < control.layout().lanes).then_some(found)
    })
}

/// What the sender on a lane asks for; a number that no message has counts as the longest.
fn needs(control: &Control, lane: usize) -> u64 {
    let longest = control.layout().message_len() as u64;
    let needs = if lane < control.layout().lanes {
        share(control, lane).load(Ordering::Relaxed)
    } else {
        longest
    };
    needs.clamp(ENVELOPE as u64, longest)
}

// ------------------------------------------------------------------ the sender

/// Whether a sender may try to send so many bytes at once, of what it was given or because no other
/// is in line.
#[inline]
pub(super) fn may_try(control: &Control, lane: usize, granted: &mut u64, bytes: u64) -> bool {
    if !others(control, in_line, lane) {
        *granted = 0;
        return true;
    }
    match granted.checked_sub(bytes) {
        Some(left) => *granted = left,
        None => return false,
    }
    true
}

/// Whether there is room for so many bytes that no sender in line needs: for a call whose turn has not
/// come and that does not wait for it.
pub(super) fn has_spare(
    control: &Control,
    queue: MessageQueue,
    lane: usize,
    bytes: u64,
) -> Result<bool, SystemError> {
    let stat = queue.stat()?;
    let longest = control.layout().message_len() as u64;
    let kept = if others(control, want, lane) { longest } else { 0 };
    // Those in line may all be stopped, and the queue too small for two messages.
    Ok(stat.bytes == 0 || spare(control, &stat) >= bytes + kept)
}

/// Has the kernel ring the other lanes if this sender's process dies, before it waits in line.
pub(super) fn arm_others(control: &Control, lane: usize) -> Result<(), SystemError> {
    if fault(Fault::LineNotArmed) {
        return Ok(());
    }
    semaphores::arm_lanes(control.set, control.layout().lanes, lane)
}

/// The opposite, for a sender that goes.
pub(super) fn disarm_others(control: &Control, lane: usize) -> Result<(), SystemError> {
    if fault(Fault::LineNotArmed) {
        return Ok(());
    }
    semaphores::disarm_lanes(control.set, control.layout().lanes, lane)
}

/// Takes the dead out of the line; whether there were any.
pub(super) fn forget_dead(control: &Control) -> Result<bool, SystemError> {
    if fault(Fault::DeadKeepPlace) {
        return Ok(false);
    }
    let mut found = false;
    let values = control.set.values()?;
    for lane in 0..control.claimed().min(control.layout().lanes) {
        let (line, want) = (in_line(control, lane / 64), want(control, lane / 64));
        let waits = (line.load(Ordering::Relaxed) | want.load(Ordering::Relaxed)) & bit(lane) != 0;
        if waits && values.get(usize::from(semaphores::lane_role(lane))) == Some(&0) {
            line.fetch_and(!bit(lane), Ordering::Relaxed);
            // AcqRel: pairs with the Release in `Place::ask`. A new owner that asks already is seen to
            // sleep then, and asks again.
            want.fetch_and(!bit(lane), Ordering::AcqRel);
            control.notify(control.lane_bell(lane));
            found = true;
        }
    }
    Ok(found)
}

/// A sender's place in line; it leaves the line when this is dropped.
pub(super) struct Place {
    control: Arc<Control>,
    lane: usize,
    bytes: u64,
    /// Whether it asked for room and was not given any.
    asks: bool,
    /// How many values the receiver had received when this sender last found that it has to wait.
    seen: Option<u64>,
    /// Whether the message was sent.
    sent: bool,
}

impl Place {
    pub(super) fn take(control: Arc<Control>, lane: usize, bytes: u64) -> Self {
        share(&control, lane).swap(0, Ordering::Relaxed);
        // Release: pairs with the Acquire in `spare`.
        in_line(&control, lane / 64).fetch_or(bit(lane), Ordering::Release);
        point!("space.in_line");
        Place { control, lane, bytes, asks: false, seen: None, sent: false }
    }

    /// Asks the receiver for room and to ring this lane; what it was given since it asked before.
    pub(super) fn ask(&mut self) -> Option<u64> {
        if fault(Fault::QueueSpaceNotWanted) {
            return None;
        }
        let want = want(&self.control, self.lane / 64);
        // Acquire: pairs with the receiver's Release in `give`.
        if self.asks && want.load(Ordering::Acquire) & bit(self.lane) != 0 {
            return None;
        }
        if self.control.claimed() <= self.lane {
            // A program wrote over the number of lanes that the receiver looks at.
            self.control.claim_lane(self.lane);
        }
        let given = share(&self.control, self.lane).swap(self.bytes, Ordering::Relaxed);
        // Release: pairs with the receiver's Acquire in `next_asking`. For the rest, the msgsnd that
        // follows comes before the receiver's msgrcv, which then sees the bit, or after it, and finds
        // room: the kernel's lock of the queue decides. Where none follows, `yields` has a fence.
        want.fetch_or(bit(self.lane), Ordering::Release);
        point!("space.wanted");
        std::mem::replace(&mut self.asks, true).then_some(given)
    }

    /// Whether there is room for this sender that was shared out to no sender, and no sender asks for it.
    pub(super) fn takes_free(&self) -> bool {
        !others(&self.control, want, self.lane) && take_free(&self.control, self.bytes)
    }

    /// Whether this sender has to wait for its turn; the receiver wakes it then. It has not if no other is in
    /// line; if the receiver sleeps or is gone; if `recheck` finds a dead sender in line, whose turn it may
    /// have been; or if its park `timed_out` and the receiver has received nothing since this was last
    /// asked.
    // NB: found by a test of turns on a busy machine: a waker that is preempted by the sender that it
    // wakes has it recheck too, and one that then tried out of turn had eight times the room of another.
    pub(super) fn yields(&mut self, recheck: bool, timed_out: bool) -> Result<bool, SendError> {
        if recheck && forget_dead(&self.control).map_err(|error| self.control.wait_error(error))? {
            return Ok(false);
        }
        if !fault(Fault::NoYieldFence) {
            // SeqCst: pairs with the fence of a receiver that parks, and with that of a sender that
            // leaves the line. It sees that this sender asks, or this sender sees that it sleeps or has
            // left.
            fence(Ordering::SeqCst);
        }
        if !others(&self.control, in_line, self.lane) {
            return Ok(false);
        }
        if self.control.is_receiver_parked() && !fault(Fault::YieldsToSleeper) {
            return Ok(false);
        }
        let received = self.control.received_values();
        // Only a park that timed out shows that the receiver receives nothing. It rings for more
        // than turns, and in the middle of receiving a value too, so a ring shows no such thing.
        if self.seen.replace(received) == Some(received) && timed_out {
            return Ok(false);
        }
        self.control.has_receiver().map_err(|error| self.control.wait_error(error).into())
    }

    /// The message was sent.
    pub(super) fn has_sent(&mut self) {
        self.sent = true;
    }

    /// There was room for a sender whose turn it was not: those in line do not use it.
    pub(super) fn dissolve_line(&self) {
        for index in 0..words(&self.control) {
            let line = in_line(&self.control, index);
            if line.load(Ordering::Relaxed) != 0 {
                line.swap(0, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let control = &*self.control;
        if !control.is_ours() {
            // A forked child, where its parent's task is dropped.
            return;
        }
        let (_, asked) = leave_line(control, self.lane);
        let turn_came = self.asks && !asked;
        if (turn_came || !self.sent) && !fault(Fault::TurnKept) {
            // Its turn is not used, or another sender waits behind it for no reason any more.
            redistribute(control);
        }
    }
}

/// Takes a lane out of the line; whether it was in line, and whether it asked for room.
fn leave_line(control: &Control, lane: usize) -> (bool, bool) {
    let word = in_line(control, lane / 64);
    let was_in_line = word.fetch_and(!bit(lane), Ordering::Relaxed) & bit(lane) != 0;
    // Acquire: pairs with the Release in `give`.
    let asked = want(control, lane / 64).fetch_and(!bit(lane), Ordering::AcqRel) & bit(lane) != 0;
    (was_in_line, asked)
}

/// Has a sender look at the line, as it does before it first waits there.
#[cfg(all(test, loom))]
pub(crate) fn look_at_line<T, C: crate::codec::Codec<T>>(sender: &super::Sender<T, C>) {
    forget_dead(&sender.control).unwrap();
    sender.has_looked_at_line();
}

/// Leaves a sender in line, as one that stopped there, or is about to die.
#[cfg(all(test, loom))]
pub(crate) fn stay_in_line<T, C>(sender: &super::Sender<T, C>) {
    arm_others(&sender.control, sender.lane).unwrap();
    let bytes = sender.control.layout().message_len() as u64;
    std::mem::forget(Place::take(sender.control.clone(), sender.lane, bytes));
}
