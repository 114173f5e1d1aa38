//! What a reply begins with: which request it is for, and what became of that.

use crate::codec::Reader;

/// Bytes in front of what a reply says: the number of the call or the ask, and the status.
pub(crate) const HEAD: usize = 9;

/// What a reply says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Status {
    /// The value that was asked for.
    Reply = 0,
    /// The handler's panic, as text.
    Panicked = 1,
    /// Nothing: the request or its reply port was dropped, or the port's holder died.
    Dropped = 2,
    /// Why the request could not be decoded, as text.
    Unreadable = 3,
    /// Why the reply could not be sent, as text.
    Unsendable = 4,
    /// Nothing: the server was closed and dropped the request.
    Closed = 5,
    /// A part of the value that was asked for; others come.
    Part = 6,
    /// Nothing: there are no more parts.
    End = 7,
    /// Nothing: the server to which the request was to be passed on had not received it, and never will.
    NotReceived = 8,
    /// Why the request cannot be passed on to another server, as text; none will receive it.
    NotPassedOn = 9,
    /// Nothing: the call by which the request was passed on had no reply until its deadline.
    Late = 10,
}

impl Status {
    pub(crate) fn read(byte: u8) -> Option<Self> {
        use Status::*;
        let all = [
            Reply,
            Panicked,
            Dropped,
            Unreadable,
            Unsendable,
            Closed,
            Part,
            End,
            NotReceived,
            NotPassedOn,
            Late,
        ];
        all.into_iter().find(|&is| is as u8 == byte)
    }

    fn has_value(self) -> bool {
        matches!(self, Status::Reply | Status::Part)
    }

    /// What goes of the bytes: all of a value or a part, and of a reason as much as the longest value has.
    pub(crate) fn cut(self, bytes: &[u8], max: u64) -> &[u8] {
        match usize::try_from(max) {
            Ok(max) if !self.has_value() && bytes.len() > max => &bytes[..max],
            _ => bytes,
        }
    }
}

/// The head of a reply.
pub(crate) fn head(number: u64, status: Status) -> [u8; HEAD] {
    let mut head = [status as u8; HEAD];
    head[..8].copy_from_slice(&number.to_le_bytes());
    head
}

/// Which request a reply is for, and what it says; `None` if it is no reply.
#[inline]
pub(crate) fn read_head(reader: &mut Reader<'_>) -> Option<(u64, Status)> {
    let number = u64::from_le_bytes(reader.read_array().ok()?);
    let [status] = reader.read_array().ok()?;
    Some((number, Status::read(status)?))
}
