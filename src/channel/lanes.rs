//! All lanes, as the receiver looks at them: in turns.

use std::time::Duration;

use super::Delivery;
use super::lane_consumer::{LaneConsumer, NextRecord};
use crate::control::{Control, End};
use crate::error::RecvError;
use crate::ring::Peeked;
use crate::sys::{Deadline, Moment};

/// How many values in a row come from one lane while others wait.
const BURST: usize = 32;

/// A lane's burst may be one request longer for each so many empty lanes that the receiver passed before
/// it found this one.
///
/// A caller that runs on another processor asks again before the server looks for the next request, and
/// one that sleeps does not. With a fixed burst the first would always use all of it, and the second none.
// NB: measured with six callers that call without a pause, each of 200 us: in bursts of 32 one had 108
// calls and another 2,926, by this rule 1,824 and 1,880.
const LOOKS_FOR_ONE_MORE: usize = 16;

/// Why a receiver stopped looking.
struct Closed;

/// The lanes that were ever owned, and whose turn it is.
pub(super) struct Lanes {
    /// The receiver's place among the receivers.
    place: usize,
    consumers: Vec<LaneConsumer>,
    /// The lane that a value last came from, which rings are looked at first; and how many values
    /// came from it in a row.
    turn: usize,
    burst: usize,
    /// How many may come from it in a row.
    longest_burst: usize,
    /// Whether a value is a request, whose sender asks again as soon as it has its reply.
    requests: bool,
    /// When [`Lanes::next_record`] saw that no request was there, if the one that it found last came after
    /// that.
    pub(super) seen_empty: Option<Moment>,
}

impl Lanes {
    pub(super) fn new(control: &Control, place: usize) -> Self {
        Lanes {
            place,
            consumers: Vec::new(),
            turn: 0,
            burst: 0,
            longest_burst: BURST,
            requests: control.layout().return_lines > 0,
            seen_empty: None,
        }
    }

    /// Learns of lanes that were claimed since the last look.
    #[inline]
    pub(super) fn see_claimed(&mut self, control: &Control) {
        for lane in self.consumers.len()..control.claimed() {
            self.consumers.push(LaneConsumer::new(control, lane));
        }
    }

    /// This end, and the sender that a value last came from.
    #[inline]
    pub(super) fn end(&self, control: &Control) -> End {
        let claimed = self.turn < self.consumers.len();
        control.receiving_end(self.place, if claimed { self.turn } else { 0 })
    }

    /// The next value of a channel without a queue, and its lane, if it is a record that comes while this
    /// spins. Else [`Lanes::next`] sees to it, and `spin` says how long its caller is to spin. Before each
    /// look that follows, `flush` sends what waits; after one that found nothing, `closed` says whether to stop.
    // NB: this waits a second time, for the one case that a busy channel sees, because a `Delivery` in a
    // `Result` is handed up through memory, where the processor waits for its parts. So nothing larger
    // than a word goes up here: measured with a plain struct of 48 bytes, 12 ns a value.
    #[inline(always)]
    pub(super) fn next_record<'i>(
        &'i mut self,
        control: &'i Control,
        deadline: Deadline,
        spin: &mut Duration,
        flush: impl Fn(),
        closed: impl Fn() -> bool,
    ) -> Option<(usize, NextRecord<'i>)> {
        let mut peeked = self.peek(control);
        let empty = peeked == Peeked::Empty;
        if self.requests {
            self.seen_empty = empty.then(Moment::now);
        }
        if empty && !deadline.is_now() {
            let seen = control.spin(*spin, deadline, self.end(control), || {
                flush();
                match self.peek(control) {
                    Peeked::Empty if closed() => Err(Closed),
                    Peeked::Empty => Ok(None),
                    seen => Ok(Some(seen)),
                }
            });
            if let Ok(Some(seen)) = seen {
                peeked = seen;
            }
        }
        match peeked {
            Peeked::Value => {
                let lane = self.turn;
                let next = self.consumers.get_mut(lane)?.peeked_record(control)?;
                self.burst += 1;
                Some((lane, next))
            }
            // Padding, for one: the value behind it is about to come.
            Peeked::Other => None,
            Peeked::Empty => {
                *spin = Duration::ZERO;
                None
            }
        }
    }

    /// Looks at what is there most often.
    #[inline(always)]
    fn peek(&mut self, control: &Control) -> Peeked {
        if self.consumers.len() < control.claimed() {
            return Peeked::Other;
        }
        let seen = self.in_turns(|consumer| match consumer.peek() {
            Peeked::Empty => None,
            seen => Some(seen),
        });
        if seen.is_some() {
            // Counted when it is in hand. Where it is no whole value, the longer look that follows
            // begins with this lane.
            self.burst -= 1;
        }
        seen.unwrap_or(Peeked::Empty)
    }

    /// The next value of a channel without a queue.
    #[inline]
    pub(super) fn next(
        &mut self,
        control: &Control,
        deadline: Deadline,
    ) -> Result<Option<Delivery>, RecvError> {
        self.in_turns(|consumer| consumer.next(control, deadline).transpose()).transpose()
    }

    /// The next value of a channel without a queue, behind those that are held.
    pub(super) fn next_behind(
        &mut self,
        control: &Control,
        deadline: Deadline,
    ) -> Result<Option<Delivery>, RecvError> {
        self.in_turns(|consumer| consumer.next_behind(control, deadline).transpose()).transpose()
    }

    /// Has what is held found again.
    pub(super) fn rewind(&mut self) {
        self.consumers.iter_mut().for_each(LaneConsumer::rewind);
    }

    /// Asks one lane after another until one has something; the same one first for a while.
    #[inline(always)]
    fn in_turns<R>(&mut self, mut ask: impl FnMut(&mut LaneConsumer) -> Option<R>) -> Option<R> {
        if self.burst >= self.longest_burst {
            self.burst = 0;
            self.turn += 1;
        }
        for looks in 0..self.consumers.len() {
            if self.turn >= self.consumers.len() {
                self.turn = 0;
            }
            let found = ask(&mut self.consumers[self.turn]);
            if found.is_some() {
                if self.requests && self.burst == 0 {
                    self.longest_burst = (1 + looks / LOOKS_FOR_ONE_MORE).min(BURST);
                }
                self.burst += 1;
                return found;
            }
            self.burst = 0;
            self.turn += 1;
        }
        None
    }

    /// Collects what fragments there are.
    pub(super) fn collect(
        &mut self,
        control: &Control,
        deadline: Deadline,
    ) -> Result<(), RecvError> {
        self.consumers.iter_mut().try_for_each(|consumer| consumer.collect(control, deadline))
    }

    /// Whether the lane was ever owned.
    pub(super) fn contains(&self, lane: usize) -> bool {
        lane < self.consumers.len()
    }

    /// A value came from the lane.
    #[inline]
    pub(super) fn turn_to(&mut self, lane: usize) {
        self.turn = lane;
    }

    /// A lane that a value has come from.
    #[inline]
    pub(super) fn consumer_mut(&mut self, lane: usize) -> &mut LaneConsumer {
        &mut self.consumers[lane]
    }

    /// The same, to look at.
    #[inline]
    pub(super) fn consumer(&self, lane: usize) -> &LaneConsumer {
        &self.consumers[lane]
    }
}
