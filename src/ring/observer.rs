//! A party that watches a ring and takes no part: it writes nothing, and neither side knows of it.
//!
//! ```text
//! producer                                observer
//!   reach.store(how far it may write)
//!   fence(Release)
//!   write over a record                     copy the record
//!                                           fence(Acquire)
//!                                           reach.load() <= position + lines: the copy is whole
//! ```
//!
//! A record that was consumed stands there until the producer writes over its lines, which it announces
//! first. A copy is taken for a record only if nothing of it can have been written over when it was made.
//! (H.-J. Boehm, "Can seqlocks get along with programming language memory models?", MSPC 2012.)

use std::sync::Arc;

use super::{FRAGMENT, Flags, PADDING, POSITION_LIMIT, Ring, RingLayout, STAMP_FLAGS};
use crate::sys::{Ordering, Segment, fence};
use crate::tag::Tag;

/// Watches a ring, from a position on.
pub(crate) struct Observer {
    ring: Ring,
    /// The position of the next record.
    next: u64,
}

/// What an observer saw.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Observed {
    /// A record, whose payload was copied.
    Record { position: u64, tag: Tag, flags: Flags },
    /// Records were written over before they were seen: it goes on at the oldest that waits.
    Lost,
    /// No record that was not seen.
    Nothing,
}

impl Observer {
    /// Watches from the oldest record that waits.
    pub(crate) fn new(segment: Arc<Segment>, layout: RingLayout) -> Self {
        let ring = Ring::new(segment, layout);
        // Relaxed: where it begins, no more; a record that is read has its stamp's order.
        let next = ring.head().load(Ordering::Relaxed).min(POSITION_LIMIT);
        Observer { ring, next }
    }

    /// Watches from the first record that there was.
    pub(crate) fn from_the_first(segment: Arc<Segment>, layout: RingLayout) -> Self {
        Observer { ring: Ring::new(segment, layout), next: 0 }
    }

    /// Copies the payload of the next record to `payload`. A value that is not below `announced` may still be
    /// taken back, and is left for later.
    pub(crate) fn next(&mut self, announced: u64, payload: &mut Vec<u8>) -> Observed {
        // Every record takes a line, so as many steps as there are lines suffice, whatever stands there.
        for _ in 0..self.ring.lines() {
            let position = self.next;
            // Acquire: pairs with the producer's Release store in `Producer::publish_record`.
            let stamp = self.ring.stamp(position).load(Ordering::Acquire);
            if stamp & !STAMP_FLAGS != position + 1 {
                return self.skip_lost();
            }
            if stamp & (PADDING | FRAGMENT) == 0 && position >= announced {
                return Observed::Nothing;
            }
            let Ok(record) = self.ring.record(position) else { return self.skip_lost() };
            if !record.flags.is_padding() {
                payload.resize(record.len, 0);
                self.ring.segment.copy_out(record.payload, payload);
            }
            if !self.is_whole(position) {
                return self.skip_lost();
            }
            self.next = record.end();
            if !record.flags.is_padding() {
                return Observed::Record { position, tag: record.tag, flags: record.flags };
            }
        }
        Observed::Nothing
    }

    /// Gives up what was not seen of the records that were consumed; `false` if there is nothing of that.
    pub(crate) fn skip_consumed(&mut self) -> bool {
        self.skip_lost() == Observed::Lost
    }

    /// Whether what was copied from this position on was not written over before.
    fn is_whole(&self, position: u64) -> bool {
        // Acquire: pairs with the Release fence in `Producer::extend_reach`: a copy that has anything of what
        // was written after it is followed by a load that sees how far that may go.
        fence(Ordering::Acquire);
        self.ring.reach().load(Ordering::Relaxed) <= position + self.ring.lines()
    }

    /// Goes on at the oldest record that waits, if that is further on.
    fn skip_lost(&mut self) -> Observed {
        // Relaxed: as in `new`.
        let head = self.ring.head().load(Ordering::Relaxed);
        // Nothing stands further on than that, but where the head was scribbled on.
        let ahead = self.next > head.saturating_add(self.ring.lines());
        if head >= POSITION_LIMIT || head <= self.next && !ahead {
            return Observed::Nothing;
        }
        self.next = head;
        Observed::Lost
    }
}
