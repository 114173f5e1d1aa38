//! Writing to and reading from raw memory that another process may be changing.
//!
//! A slice promises that no other thread writes; shared memory cannot promise that. So encoded values
//! go out through [`Writer`] and come in through [`Reader`], which copy with raw pointers and touch
//! each byte once: what was checked is what is used, whatever the other side does meanwhile.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

/// Why a [`Writer`] takes no more bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// The value is longer than the limit that the writer was given.
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The channel could not take the next piece of a long value (the send operation says why).
    Interrupted,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::TooLong { limit } => {
                write!(f, "the encoded value is longer than {limit} bytes")
            }
            WriteError::Interrupted => f.write_str("the channel took no further piece"),
        }
    }
}

impl std::error::Error for WriteError {}

/// A piece of memory that a [`Writer`] may fill.
pub(crate) struct Piece {
    pub(crate) start: *mut u8,
    pub(crate) len: usize,
}

/// Where a long value goes, piece by piece.
pub(crate) trait Pieces {
    /// Takes the current piece, full, and lends the next one (never an empty one).
    fn next(&mut self) -> Result<Piece, WriteError>;

    /// Takes the first `len` bytes of the current piece, and `bytes` behind them, for which it has no
    /// room, and lends the next piece; `None` if the pieces are to be filled with `bytes`.
    fn take(&mut self, _len: usize, _bytes: &[u8]) -> Result<Option<Piece>, WriteError> {
        Ok(None)
    }
}

/// What takes bytes that follow each other, given in two parts.
pub(crate) type Put<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), WriteError> + 'a;

/// Private memory that is filled again and again.
struct Chunks<'a> {
    memory: &'a mut [u8],
    filled: bool,
    put: &'a mut Put<'a>,
}

impl Chunks<'_> {
    fn lend(&mut self) -> Piece {
        self.filled = true;
        Piece { start: self.memory.as_mut_ptr(), len: self.memory.len() }
    }
}

impl Pieces for Chunks<'_> {
    fn next(&mut self) -> Result<Piece, WriteError> {
        if self.filled {
            (self.put)(self.memory, &[])?;
        }
        Ok(self.lend())
    }

    fn take(&mut self, len: usize, bytes: &[u8]) -> Result<Option<Piece>, WriteError> {
        // What is short is copied once more, and not put by itself.
        if bytes.len() < self.memory.len() / 4 {
            return Ok(None);
        }
        (self.put)(&self.memory[..len], bytes)?;
        Ok(Some(self.lend()))
    }
}

/// Lets `write` encode up to `limit` bytes into `memory`, which must not be empty; whenever that is
/// full, `put` has what stands there, and the bytes that follow it. Says how much stands there at last.
pub(crate) fn in_chunks<R>(
    memory: &mut [u8],
    limit: usize,
    put: &mut Put<'_>,
    write: impl FnOnce(&mut Writer<'_>) -> R,
) -> (R, usize) {
    let mut chunks = Chunks { memory, filled: false, put };
    // SAFETY: each piece is all of the memory, which is borrowed for as long as the writer lives, and
    // which `Chunks` reads alone while the writer waits for it.
    let writer = unsafe { Writer::in_pieces(&mut chunks) };
    let mut writer = writer.expect("the first piece is lent without a put");
    writer.limit(limit);
    let result = write(&mut writer);
    (result, writer.in_current_piece())
}

/// The memory that a codec encodes into: bounded, and counting past its end.
///
/// Bytes beyond the end of the memory are counted and dropped, so that one pass tells the encoded
/// length whether or not the value fitted; the channel then encodes again into enough space.
///
/// ```
/// use sysv_channel::codec::Writer;
///
/// let mut memory = [0; 4];
/// let mut writer = Writer::new(&mut memory);
/// writer.write(b"abc")?;
/// assert_eq!(writer.len(), 3);
/// assert!(writer.fits());
/// writer.write(b"def")?;
/// assert_eq!(writer.len(), 6);
/// assert!(!writer.fits());
/// # Ok::<(), sysv_channel::codec::WriteError>(())
/// ```
pub struct Writer<'a> {
    start: *mut u8,
    cursor: *mut u8,
    end: *mut u8,
    /// Bytes in pieces already taken, or counted after the memory was full.
    elsewhere: usize,
    overflowed: bool,
    limit: usize,
    too_long: bool,
    pieces: Option<&'a mut dyn Pieces>,
    memory: PhantomData<&'a mut [u8]>,
}

impl<'a> Writer<'a> {
    /// A writer into `memory`.
    pub fn new(memory: &'a mut [u8]) -> Self {
        let len = memory.len();
        // SAFETY: the slice is borrowed mutably for 'a, so its memory is writable for that long.
        unsafe { Writer::from_raw(memory.as_mut_ptr(), len) }
    }

    /// A writer into `len` bytes from `start`.
    ///
    /// # Safety
    /// The memory must stay mapped and writable for 'a. Other processes may access it.
    #[inline]
    pub(crate) unsafe fn from_raw(start: *mut u8, len: usize) -> Self {
        Writer {
            start,
            cursor: start,
            // SAFETY: the caller vouches for `len` bytes from `start`.
            end: unsafe { start.add(len) },
            elsewhere: 0,
            overflowed: false,
            limit: usize::MAX,
            too_long: false,
            pieces: None,
            memory: PhantomData,
        }
    }

    /// A writer that fills one piece after another.
    ///
    /// # Safety
    /// Each piece must stay mapped and writable until the next is asked for or 'a ends.
    pub(crate) unsafe fn in_pieces(pieces: &'a mut dyn Pieces) -> Result<Self, WriteError> {
        let first = pieces.next()?;
        // SAFETY: the caller vouches for the pieces.
        let mut writer = unsafe { Writer::from_raw(first.start, first.len) };
        writer.pieces = Some(pieces);
        Ok(writer)
    }

    /// Refuses values longer than `limit` bytes in all.
    #[inline]
    pub(crate) fn limit(&mut self, limit: usize) {
        self.limit = limit;
        // The current piece ends at the limit, so that `write` has one comparison to make.
        let left = self.end as usize - self.cursor as usize;
        let room = left.min(limit.saturating_sub(self.len()));
        // SAFETY: `room` is at most what is left of the piece.
        self.end = unsafe { self.cursor.add(room) };
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`WriteError`] when the value becomes longer than the channel's maximum, or when the channel
    /// cannot take the next piece of a long value. Memory that is full is not an error.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if bytes.len() <= self.end as usize - self.cursor as usize {
            // SAFETY: the range was checked against the end of the memory that `from_raw` vouches
            // for, and `bytes` is private memory, so the two do not overlap.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.cursor, bytes.len()) };
            // SAFETY: the same check keeps the cursor at or below the end.
            self.cursor = unsafe { self.cursor.add(bytes.len()) };
            return Ok(());
        }
        // NB: through a copy, so that a writer which only inlined code uses has no address and is
        // kept in registers. Measured with a plain struct: 11.6 ns a value sent, 13.3 without.
        // SAFETY: no memory at all.
        let nothing = unsafe { Writer::from_raw(self.cursor, 0) };
        let mut copy = std::mem::replace(self, nothing);
        let written = copy.write_past_the_end(bytes);
        *self = copy;
        written
    }

    #[cold]
    #[inline(never)]
    fn write_past_the_end(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if self.too_long || self.len().saturating_add(bytes.len()) > self.limit {
            return self.refuse();
        }
        // Out while they are asked for the next.
        let Some(pieces) = self.pieces.take() else {
            self.overflowed = true;
            // Nothing shorter that comes later may go into the gap.
            self.end = self.cursor;
            self.elsewhere = self.elsewhere.saturating_add(bytes.len());
            return Ok(());
        };
        let written = self.write_in_pieces(pieces, bytes);
        self.pieces = Some(pieces);
        written
    }

    fn write_in_pieces(
        &mut self,
        pieces: &mut dyn Pieces,
        mut bytes: &[u8],
    ) -> Result<(), WriteError> {
        let before = self.cursor as usize - self.start as usize;
        if let Some(next) = pieces.take(before, bytes)? {
            self.elsewhere += before + bytes.len();
            self.begin(next);
            return Ok(());
        }
        loop {
            let room = (self.end as usize - self.cursor as usize).min(bytes.len());
            // SAFETY: `room` is at most what is left of the piece, and `bytes` is private memory.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.cursor, room) };
            // SAFETY: as above.
            self.cursor = unsafe { self.cursor.add(room) };
            bytes = &bytes[room..];
            if bytes.is_empty() {
                return Ok(());
            }
            let next = pieces.next()?;
            self.elsewhere += self.cursor as usize - self.start as usize;
            self.begin(next);
        }
    }

    /// Goes on with the next piece.
    fn begin(&mut self, next: Piece) {
        self.start = next.start;
        self.cursor = next.start;
        let room = next.len.min(self.limit.saturating_sub(self.elsewhere));
        // SAFETY: `in_pieces`' caller vouches for the piece, and `room` is at most its length.
        self.end = unsafe { next.start.add(room) };
    }

    #[cold]
    fn refuse(&mut self) -> Result<(), WriteError> {
        self.too_long = true;
        // A Serialize may go on after an error: nothing shorter may follow.
        self.end = self.cursor;
        Err(WriteError::TooLong { limit: self.limit })
    }

    /// Whether the value was refused for its length.
    #[inline]
    pub(crate) fn is_too_long(&self) -> bool {
        self.too_long
    }

    /// Why the last [`write`](Writer::write) that failed did.
    #[cfg(any(feature = "bincode", feature = "postcard"))]
    #[inline]
    pub(crate) fn refusal(&self) -> WriteError {
        if self.too_long {
            WriteError::TooLong { limit: self.limit }
        } else {
            WriteError::Interrupted
        }
    }

    /// How many bytes were written so far, those that did not fit included.
    #[inline]
    pub fn len(&self) -> usize {
        (self.cursor as usize - self.start as usize).saturating_add(self.elsewhere)
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether all that was written fitted into the memory.
    #[inline]
    pub fn fits(&self) -> bool {
        !self.overflowed
    }

    /// How many bytes stand in the current piece.
    pub(crate) fn in_current_piece(&self) -> usize {
        self.cursor as usize - self.start as usize
    }
}

impl fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("len", &self.len()).field("fits", &self.fits()).finish()
    }
}

/// Why a [`Reader`] gives no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// It was asked for more bytes than the value has.
    TooShort {
        /// How many bytes were asked for.
        wanted: usize,
        /// How many were left.
        left: usize,
    },
    /// There is no memory for bytes that the value has.
    NoMemory {
        /// How many bytes were to be allocated.
        len: usize,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::TooShort { wanted, left } => {
                let bytes = if *wanted == 1 { "byte" } else { "bytes" };
                write!(f, "the value ends too early: {wanted} {bytes} expected, {left} left")
            }
            ReadError::NoMemory { len } => write!(
                f,
                "there is no memory for the value's {len} bytes: the process is at its limit \
                 (RLIMIT_AS, ulimit -v) or the system at its own"
            ),
        }
    }
}

impl std::error::Error for ReadError {}

/// The bytes of one encoded value, each of which can be read once.
///
/// Over shared memory nothing can be looked at twice, so a writer that changes bytes behind the
/// reader's back cannot change them between a check and a use. A length found in the bytes is
/// compared with what is left before anything is allocated.
///
/// ```
/// use sysv_channel::codec::Reader;
///
/// let mut reader = Reader::new(b"\x02hi");
/// let [length] = reader.read_array::<1>()?;
/// assert_eq!(reader.read_vec(length.into())?, b"hi");
/// assert_eq!(reader.remaining(), 0);
/// assert!(reader.read_array::<1>().is_err());
/// # Ok::<(), sysv_channel::codec::ReadError>(())
/// ```
pub struct Reader<'a> {
    cursor: *const u8,
    end: *const u8,
    /// The vector that these bytes are all of, if its memory may be taken along.
    vector: Option<&'a mut Vec<u8>>,
    /// How many bytes the value has behind these, for which there was no memory.
    missing: usize,
    memory: PhantomData<&'a [u8]>,
}

impl<'a> Reader<'a> {
    /// A reader over private memory.
    pub fn new(bytes: &'a [u8]) -> Self {
        let range = bytes.as_ptr_range();
        let Range { start: cursor, end } = range;
        Reader { cursor, end, vector: None, missing: 0, memory: PhantomData }
    }

    /// A reader over the beginning of a value that has `missing` bytes more, for which there was no
    /// memory: reading as far as those is an error that says so.
    pub(crate) fn of_beginning(bytes: &'a [u8], missing: usize) -> Self {
        Reader { missing, ..Reader::new(bytes) }
    }

    /// A reader over all of a vector, which becomes the value if that is nothing but its bytes.
    pub(crate) fn of_vector(bytes: &'a mut Vec<u8>) -> Self {
        let range = bytes.as_ptr_range();
        let Range { start: cursor, end } = range;
        Reader { cursor, end, vector: Some(bytes), missing: 0, memory: PhantomData }
    }

    /// A reader over `len` bytes from `start` that other processes may be changing.
    ///
    /// # Safety
    /// The memory must stay mapped and readable for 'a.
    #[inline]
    pub(crate) unsafe fn from_shared(start: *const u8, len: usize) -> Self {
        Reader {
            cursor: start,
            // SAFETY: the caller vouches for `len` bytes from `start`.
            end: unsafe { start.add(len) },
            vector: None,
            missing: 0,
            memory: PhantomData,
        }
    }

    /// How many bytes are left.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.at_hand() + self.missing
    }

    #[inline]
    fn at_hand(&self) -> usize {
        self.end as usize - self.cursor as usize
    }

    /// The error that there is no memory for the rest, if so.
    pub(crate) fn no_memory(&self) -> Option<ReadError> {
        (self.missing > 0).then(|| ReadError::NoMemory { len: self.remaining() })
    }

    /// Moves the next bytes into `out`.
    ///
    /// # Errors
    /// [`ReadError`] when fewer than `out.len()` are left; nothing is consumed then.
    #[inline]
    pub fn read(&mut self, out: &mut [u8]) -> Result<(), ReadError> {
        let from = self.take(out.len())?;
        // SAFETY: `take` checked the range; `out` is private memory.
        unsafe { std::ptr::copy_nonoverlapping(from, out.as_mut_ptr(), out.len()) };
        Ok(())
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`ReadError`] when fewer than `N` are left; nothing is consumed then.
    #[inline]
    pub fn read_array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let mut array = [0; N];
        self.read(&mut array)?;
        Ok(array)
    }

    /// The next `len` bytes as a vector, copied once and not zeroed first. All bytes of a value that
    /// came in fragments are not copied again.
    ///
    /// # Errors
    /// [`ReadError`] when fewer than `len` are left, or when there is no memory for them; nothing is
    /// allocated or consumed then.
    #[inline]
    pub fn read_vec(&mut self, len: usize) -> Result<Vec<u8>, ReadError> {
        let from = self.take(len)?;
        if let Some(vector) = self.vector.take_if(|vector| vector.len() == len) {
            return Ok(std::mem::take(vector));
        }
        let mut bytes = Vec::new();
        if bytes.try_reserve_exact(len).is_err() {
            // SAFETY: `take` moved the cursor from here by `len`.
            self.cursor = unsafe { self.cursor.sub(len) };
            return Err(ReadError::NoMemory { len });
        }
        // SAFETY: `take` checked the range, and the vector was just allocated with room for it.
        unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), len) };
        // SAFETY: the first `len` bytes were initialised by the copy.
        unsafe { bytes.set_len(len) };
        Ok(bytes)
    }

    /// The rest as text, as far as it is any; where there is no memory for it, that.
    pub(crate) fn read_text(mut self) -> String {
        let bytes = match self.read_vec(self.remaining()) {
            Ok(bytes) => bytes,
            Err(error) => return error.to_string(),
        };
        String::from_utf8(bytes).unwrap_or_else(|error| {
            let valid = error.utf8_error().valid_up_to();
            let mut bytes = error.into_bytes();
            bytes.truncate(valid);
            String::from_utf8(bytes).unwrap_or_default()
        })
    }

    /// Appends the rest to `bytes`.
    ///
    /// # Errors
    /// [`ReadError::NoMemory`], with what `bytes` would be as a whole.
    pub(crate) fn append_to(mut self, bytes: &mut Vec<u8>) -> Result<(), ReadError> {
        let len = self.remaining();
        // Where there is not memory enough to grow by doubling, there may be for what is needed.
        if bytes.try_reserve(len).is_err() && bytes.try_reserve_exact(len).is_err() {
            return Err(ReadError::NoMemory { len: bytes.len().saturating_add(len) });
        }
        let from = self.take(len)?;
        // SAFETY: the room just reserved begins at the vector's end.
        let end = unsafe { bytes.as_mut_ptr().add(bytes.len()) };
        // SAFETY: `take` checked the range, and the vector has room for it behind its end.
        unsafe { std::ptr::copy_nonoverlapping(from, end, len) };
        // SAFETY: the copy initialised `len` bytes behind the old end.
        unsafe { bytes.set_len(bytes.len() + len) };
        Ok(())
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<*const u8, ReadError> {
        if len > self.at_hand() {
            return Err(self.refusal(len));
        }
        let from = self.cursor;
        // SAFETY: the check keeps the cursor at or below the end.
        self.cursor = unsafe { self.cursor.add(len) };
        Ok(from)
    }
}

impl Reader<'_> {
    #[cold]
    fn refusal(&self, wanted: usize) -> ReadError {
        let left = self.remaining();
        match self.no_memory() {
            Some(error) if wanted <= left => error,
            _ => ReadError::TooShort { wanted, left },
        }
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("remaining", &self.remaining()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_kept_within_the_memory_and_beyond() {
        for (memory, limit) in [(8, 4), (4, 4), (2, 4), (0, 4)] {
            let mut memory = vec![0; memory];
            let mut writer = Writer::new(&mut memory);
            writer.limit(limit);
            writer.write(b"ab").unwrap();
            writer.write(b"cd").unwrap();
            assert_eq!(writer.len(), 4);
            assert_eq!(writer.write(b"e"), Err(WriteError::TooLong { limit }));
            assert!(writer.is_too_long());
        }
    }

    #[test]
    fn nothing_follows_what_was_refused_or_did_not_fit() {
        let mut memory = [0; 4];
        let mut writer = Writer::new(&mut memory);
        writer.limit(3);
        assert!(writer.write(b"long").is_err());
        assert!(writer.write(b"a").is_err());
        assert!(writer.is_too_long());

        let mut writer = Writer::new(&mut memory);
        writer.write(b"too long").unwrap();
        writer.write(b"a").unwrap();
        assert_eq!((writer.len(), writer.fits()), (9, false));
        assert_eq!(memory, [0; 4]);
    }

    #[test]
    fn a_vector_is_handed_on_only_whole() {
        let bytes = b"all of it".to_vec();
        let (mut whole, at) = (bytes.clone(), bytes.as_ptr());
        let mut reader = Reader::of_vector(&mut whole);
        assert_eq!(reader.read_array(), Ok(*b"all "));
        assert_eq!(reader.read_vec(5).unwrap(), b"of it");
        assert_eq!(whole, bytes);

        let mut whole = bytes;
        let mut reader = Reader::of_vector(&mut whole);
        let taken = reader.read_vec(9).unwrap();
        assert_eq!((taken.as_ptr(), reader.remaining()), (at, 0));
        assert_eq!(reader.read_vec(1), Err(ReadError::TooShort { wanted: 1, left: 0 }));
        assert_eq!(taken, b"all of it");
        assert!(whole.is_empty());
    }

    #[test]
    fn what_there_is_no_memory_for_is_an_error_and_never_a_shorter_value() {
        let mut reader = Reader::of_beginning(b"beginning", 100);
        assert_eq!(reader.remaining(), 109);
        assert_eq!(reader.read_array(), Ok(*b"begin"));
        let error = Err(ReadError::NoMemory { len: 104 });
        assert_eq!(reader.read_vec(reader.remaining()), error);
        assert_eq!(reader.read_array::<5>().map(drop), error.clone().map(drop));
        let wanted = ReadError::TooShort { wanted: 105, left: 104 };
        assert_eq!(reader.read_vec(105), Err(wanted));
        assert_eq!(reader.read_vec(4).unwrap(), b"ning");
        assert_eq!(reader.read_array::<1>(), Err(ReadError::NoMemory { len: 100 }));
    }

    #[test]
    fn text_ends_where_it_is_none() {
        assert_eq!(Reader::new(b"").read_text(), "");
        assert_eq!(Reader::new("größer".as_bytes()).read_text(), "größer");
        assert_eq!(Reader::new(&"größer".as_bytes()[..3]).read_text(), "gr");
        assert_eq!(Reader::new(b"\xff\xff").read_text(), "");
        let text = Reader::of_beginning(b"a", 1 << 30).read_text();
        assert!(text.contains("no memory") && text.contains("1073741825"), "{text}");
    }

    #[test]
    fn what_is_written_in_chunks_is_put_in_order_and_once() {
        for limit in [usize::MAX, 60, 59] {
            let (mut memory, mut all) = ([0; 8], Vec::new());
            let mut puts = 0;
            let mut put = |chunk: &[u8], more: &[u8]| {
                puts += 1;
                all.extend_from_slice(chunk);
                all.extend_from_slice(more);
                Ok(())
            };
            let ((written, len), left) = in_chunks(&mut memory, limit, &mut put, |writer| {
                // As short as may be, longer than what is left, and longer than the memory.
                let lengths = [1, 1, 7, 8, 3, 0, 1, 20, 9, 2, 8];
                let mut next = 0;
                let write = |len: usize| {
                    let bytes: Vec<u8> = (next..next + len as u8).collect();
                    next += len as u8;
                    writer.write(&bytes)
                };
                (lengths.into_iter().try_for_each(write), writer.len())
            });
            if limit == 59 {
                assert_eq!((written, len), (Err(WriteError::TooLong { limit }), 52));
                continue;
            }
            assert_eq!((written, len), (Ok(()), 60));
            all.extend_from_slice(&memory[..left]);
            assert!(all.into_iter().eq(0..60), "{puts} puts");
        }
        let mut refuse = |_: &[u8], _: &[u8]| Err(WriteError::Interrupted);
        let (written, _) = in_chunks(&mut [0; 4], usize::MAX, &mut refuse, |writer| {
            let first = writer.write(b"abcd");
            [first, writer.write(b"e"), writer.write(b"f"), writer.write(b"ghijkl")]
        });
        assert_eq!(written[0], Ok(()));
        assert_eq!(written[1..], [Err(WriteError::Interrupted); 3]);
    }

    #[test]
    fn pieces_are_filled_to_the_last_byte_up_to_the_limit() {
        struct Thirds([u8; 9], usize);
        impl Pieces for Thirds {
            fn next(&mut self) -> Result<Piece, WriteError> {
                self.1 += 3;
                let piece = self.0.get_mut(self.1 - 3..self.1).ok_or(WriteError::Interrupted)?;
                Ok(Piece { start: piece.as_mut_ptr(), len: 3 })
            }
        }
        let mut thirds = Thirds([0; 9], 0);
        // SAFETY: the pieces are parts of an array that outlives the writer.
        let mut writer = unsafe { Writer::in_pieces(&mut thirds) }.unwrap();
        writer.limit(8);
        writer.write(b"abcd").unwrap();
        writer.write(b"efgh").unwrap();
        assert_eq!((writer.len(), writer.in_current_piece()), (8, 2));
        assert_eq!(writer.write(b"i"), Err(WriteError::TooLong { limit: 8 }));
        assert_eq!(&thirds.0, b"abcdefgh\0");
    }
}
