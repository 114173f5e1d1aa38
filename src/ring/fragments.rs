//! A value longer than half the ring, cut into fragments: as it is encoded straight into the ring
//! ([`Producer::stream`]), as its bytes come ([`Cutter`]), or one fragment at a time of bytes that are all
//! there ([`Producer::send_fragment`]).

use super::producer::{Producer, Reservation};
use super::{Damage, Flags, LINE};
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

/// A value whose bytes come one after another: it fills one record, or fragments. The ring is no other
/// value's meanwhile.
pub(crate) struct Cutter {
    tag: Tag,
    room: Reservation,
    /// How much of it is filled.
    filled: usize,
    /// Where it will be published.
    position: u64,
    /// Whether a fragment was published.
    started: bool,
}

impl Cutter {
    /// Begins with this room.
    pub(crate) fn new(producer: &Producer, tag: Tag, room: Reservation) -> Self {
        Cutter { tag, room, filled: 0, position: producer.tail(), started: false }
    }

    /// Whether the ring is still as this left it: it may have been found damaged, and attached anew.
    pub(crate) fn goes_on(&self, producer: &Producer) -> bool {
        producer.tail() == self.position
    }

    /// Writes what comes next. `find_room` is asked for room of a given length, after the fragment before
    /// was published; what it fails with ends the value.
    pub(crate) fn append<E>(
        &mut self,
        producer: &mut Producer,
        mut bytes: &[u8],
        mut find_room: impl FnMut(&mut Producer, usize) -> Result<Reservation, E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            if self.filled == self.room.len {
                producer.publish(self.filled, self.tag, Flags::part(!self.started, false));
                self.started = true;
                let room = find_room(producer, producer.fragment_len(self.tag));
                self.position = producer.tail();
                (self.room, self.filled) = (room?, 0);
            }
            let len = bytes.len().min(self.room.len - self.filled);
            let (now, later) = bytes.split_at(len);
            let written =
                producer.fill(self.room.part(self.filled, len), |writer| writer.write(now));
            debug_assert!(written.is_ok());
            self.filled += len;
            bytes = later;
        }
        Ok(())
    }

    /// Publishes the last fragment, or the whole value.
    pub(crate) fn finish(self, producer: &mut Producer) {
        producer.publish(self.filled, self.tag, Flags::part(!self.started, true));
    }
}

impl Producer {
    /// Publishes as much of a value as goes into one fragment, if there is room now; says how much went.
    /// `first` says whether the value begins with these bytes; it ends with them.
    pub(crate) fn send_fragment(
        &mut self,
        tag: Tag,
        bytes: &[u8],
        first: bool,
    ) -> Result<Option<usize>, Damage> {
        let len = bytes.len().min(self.fragment_len(tag));
        let Some(room) = self.reserve(len, tag)? else { return Ok(None) };
        let written = self.fill(room, |writer| writer.write(&bytes[..len]));
        debug_assert!(written.is_ok());
        self.publish(len, tag, Flags::part(first, len == bytes.len()));
        Ok(Some(len))
    }

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
