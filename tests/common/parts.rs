//! Parts of streams of replies, of servers and of actors.

use std::fmt::Debug;

use sysv_channel::codec::Bytes;

/// How far behind a reader may be, in bytes, where no ring is smaller.
pub(crate) const WINDOW: u64 = 256 << 10;

/// A part of so many bytes, which says which it is.
pub(crate) fn part(number: u64, len: usize) -> Bytes {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(len.max(8), number as u8);
    bytes.into()
}

/// Sends parts of so many bytes until the next would have to wait; how many went.
pub(crate) fn fill<E: Debug>(
    len: usize,
    mut try_part: impl FnMut(&Bytes) -> Result<(), E>,
    would_wait: impl Fn(&E) -> bool,
) -> u64 {
    let mut sent = 0;
    loop {
        match try_part(&part(sent, len)) {
            Ok(()) => sent += 1,
            Err(error) if would_wait(&error) => return sent,
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Whether so many parts of 1000 bytes are what the window has: each counts for a bit more.
pub(crate) fn fills_the_window(parts: u64) -> bool {
    parts.saturating_sub(1) * 1064 < WINDOW && parts * 1110 > WINDOW
}
