//! A value longer than half the ring, written straight into it in fragments.

use super::producer::{Producer, Reservation};
use super::{Flags, LINE};
use crate::sys::bytes::{Piece, Pieces, WriteError, Writer};
use crate::tag::Tag;

/// Lines of a fragment, 8 KiB: long enough to cost little, short enough that the consumer copies one out
/// while the producer writes the next.
const FRAGMENT_LINES: usize = 8192 / LINE;

/// What was written by [`Producer::stream`]. The last fragment is not published yet.
pub(crate) struct Streamed<R> {
    /// What the writing closure returned.
    pub(crate) result: R,
    /// Payload bytes of the last fragment.
    pub(crate) last: usize,
    /// What the last fragment is to be published as.
    pub(crate) flags: Flags,
}

struct Fragments<'a, E> {
    producer: &'a mut Producer,
    tag: Tag,
    reservation: Option<Reservation>,
    /// Whether a fragment was published.
    started: bool,
    wait: &'a mut dyn FnMut(&mut Producer, usize) -> Result<Reservation, E>,
    failure: Option<E>,
}

impl<E> Pieces for Fragments<'_, E> {
    fn next(&mut self) -> Result<Piece, WriteError> {
        if let Some(full) = self.reservation.take() {
            self.producer.publish(full.len, self.tag, Flags::part(!self.started, false));
            self.started = true;
        }
        let len = self.producer.fragment_len(self.tag);
        match (self.wait)(self.producer, len) {
            Ok(reservation) => {
                let reservation = Reservation { len, ..reservation };
                self.reservation = Some(reservation);
                Ok(Piece { start: self.producer.start_of(reservation), len })
            }
            Err(error) => {
                self.failure = Some(error);
                Err(WriteError::Interrupted)
            }
        }
    }
}

impl Producer {
    /// Payload bytes of a fragment with `tag`.
    pub(crate) fn fragment_len(&self, tag: Tag) -> usize {
        let header = LINE - self.max_payload(tag) % LINE;
        // A quarter of a small ring, so that there is room for the next while one is copied out.
        let lines = (self.max_payload(tag).div_ceil(LINE) / 2).clamp(1, FRAGMENT_LINES);
        lines * LINE - header
    }

    /// Lets `write` encode into one fragment after another.
    ///
    /// `wait` is asked for room of a given length, after the fragment before was published; what it
    /// fails with ends the writing. More than `limit` bytes in all are refused. The last fragment is
    /// left to be published by the caller, also if it is the only one.
    pub(crate) fn stream<R, E>(
        &mut self,
        tag: Tag,
        limit: usize,
        wait: &mut dyn FnMut(&mut Producer, usize) -> Result<Reservation, E>,
        write: impl FnOnce(&mut Writer<'_>) -> R,
    ) -> Result<Streamed<R>, E> {
        let mut fragments = Fragments {
            producer: self,
            tag,
            reservation: None,
            started: false,
            wait,
            failure: None,
        };
        // SAFETY: each piece lies in the segment, which the producer keeps mapped, in lines that are
        // free until they are published, which happens when the next piece is asked for.
        let written = unsafe { Writer::in_pieces(&mut fragments) }.map(|mut writer| {
            writer.limit(limit);
            let result = write(&mut writer);
            (result, writer.in_current_piece())
        });
        match (written, fragments.failure) {
            (Ok((result, last)), None) => {
                let flags = if fragments.started { Flags::LAST } else { Flags::WHOLE };
                Ok(Streamed { result, last, flags })
            }
            (_, Some(error)) => Err(error),
            (Err(_), None) => unreachable!("a writer is refused its first piece by `wait` alone"),
        }
    }
}
