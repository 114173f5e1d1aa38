//! What goes through one lane's ring, as one sees it that takes no part.

use std::collections::VecDeque;

use super::{Budget, Found};
use crate::control::fragmented::{Fragmented, Outcome};
use crate::control::{Control, lane_word, word};
use crate::ring::{Observed, Observer};
use crate::sys::Ordering;
use crate::tag::Tag;

/// The longest value in fragments that is put together, in bytes.
const LONGEST: usize = 64 << 20;

/// Watches a lane's ring.
pub(super) struct LaneTap {
    lane: usize,
    observer: Observer,
    /// Below which position values are not taken back.
    announced: u64,
    /// What was found and not shown.
    found: VecDeque<Found>,
    payload: Vec<u8>,
    /// The value of which not all fragments were seen.
    partial: Option<Partial>,
    /// One of which all were: whether it was sent is not known yet.
    complete: Option<Partial>,
}

/// A value in fragments.
struct Partial {
    start: u64,
    last: u64,
    tag: Tag,
    bytes: Vec<u8>,
    /// Which receiver was there, for whom the value would be sent again.
    receiver: u64,
}

impl LaneTap {
    /// Watches from the oldest record that waits, or from the very first if the lane was not used `before`.
    pub(super) fn new(control: &Control, lane: usize, before: bool) -> Self {
        let (segment, layout) = (control.segment.clone(), control.layout().ring(lane));
        let observer = match before {
            true => Observer::new(segment, layout),
            false => Observer::from_the_first(segment, layout),
        };
        LaneTap {
            lane,
            observer,
            announced: u64::MAX,
            found: VecDeque::new(),
            payload: Vec::new(),
            partial: None,
            complete: None,
        }
    }

    /// Finds out up to where values are announced on the queue: what a look at the queue does not find was
    /// received then.
    pub(super) fn begin(&mut self, control: &Control) {
        if control.layout().has_queue() {
            // Acquire: pairs with the Release in `Sender::announce`: what is announced is not taken back.
            let announced = control.lane_word(self.lane, lane_word::ANNOUNCED);
            self.announced = announced.load(Ordering::Acquire);
        }
    }

    /// A message on the queue announces the value whose last record stands at `position`.
    pub(super) fn see_announced(&mut self, position: u64) {
        self.announced = self.announced.max(position.saturating_add(1));
    }

    /// The next value that was found, if it stands before this position.
    pub(super) fn take_found_before(&mut self, end: u64) -> Option<Found> {
        match self.found.front() {
            Some(found) if found.position < end => self.found.pop_front(),
            _ => None,
        }
    }

    /// Finds what came since the last look, as far as the budget goes.
    pub(super) fn look(&mut self, control: &Control, budget: &mut Budget) {
        while self.settle(control) {
            if budget.is_spent() {
                // What waits on the queue was looked at now. Older values would come out of order.
                if control.layout().has_queue() && self.observer.skip_consumed() {
                    self.partial = None;
                }
                return;
            }
            match self.observer.next(self.announced, &mut self.payload) {
                Observed::Record { position, tag, flags } => {
                    budget.spend(self.payload.len());
                    if flags.is_whole() {
                        let bytes = std::mem::take(&mut self.payload);
                        self.found.push_back(Found { lane: self.lane, tag, bytes, position });
                        continue;
                    }
                    if flags.is_first() {
                        let (bytes, receiver) = (Vec::new(), receiver(control));
                        self.partial =
                            Some(Partial { start: position, last: position, tag, bytes, receiver });
                    }
                    let Some(mut partial) = self.partial.take() else { continue };
                    if partial.bytes.len() + self.payload.len() > LONGEST {
                        continue;
                    }
                    partial.last = position;
                    partial.bytes.extend_from_slice(&self.payload);
                    *(if flags.is_last() { &mut self.complete } else { &mut self.partial }) =
                        Some(partial);
                }
                Observed::Lost => self.partial = None,
                Observed::Nothing => return,
            }
        }
    }

    /// Shows the value of which all fragments were seen once it is known to be sent; `false` if that is not
    /// known yet.
    fn settle(&mut self, control: &Control) -> bool {
        let Some(value) = self.complete.take() else { return true };
        let word = control.lane_word(self.lane, lane_word::FRAGMENTED);
        match Fragmented(word).outcome(value.start) {
            None => {
                self.complete = Some(value);
                return false;
            }
            Some(Outcome::Withdrawn) => {}
            // It is sent again to another receiver, as far as one can see.
            Some(Outcome::Another) if value.receiver != receiver(control) => {}
            Some(Outcome::Done | Outcome::Another) => {
                let Partial { last: position, tag, bytes, .. } = value;
                self.found.push_back(Found { lane: self.lane, tag, bytes, position });
            }
        }
        true
    }
}

/// Which receiver there is, or was last.
fn receiver(control: &Control) -> u64 {
    // Relaxed: a number that stands for itself.
    control.word(word::RECEIVER_GENERATION).load(Ordering::Relaxed)
}
