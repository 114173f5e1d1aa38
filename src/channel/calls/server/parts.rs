//! Sending a stream of replies, part by part.

use super::Caller;
use crate::channel::calls::credit;
use crate::channel::encoded::Encoded;
use crate::channel::returns::{Due, PartWait, Stream};
use crate::codec::{EncodeError, Writer};
use crate::error::SendError;
use crate::sys::Deadline;

/// What was sent of a stream of replies, as its handler knows it.
pub(crate) struct Parts {
    pub(in crate::channel) due: Due,
    pub(in crate::channel) stream: Stream,
    /// Until when it goes on although the receiver was closed, once the handler has noticed.
    drained_by: Option<Deadline>,
}

impl Parts {
    /// A stream of which nothing was sent, to the caller's slot.
    pub(crate) fn new(due: Due, slot: usize) -> Self {
        Parts::resumed(due, slot, 0)
    }

    /// One that another handler has begun, which has sent so much.
    pub(crate) fn resumed(due: Due, slot: usize, sent: u64) -> Self {
        Parts { due, stream: Stream { slot, sent }, drained_by: None }
    }

    /// How much was sent.
    pub(crate) fn sent(&self) -> u64 {
        self.stream.sent
    }
}

impl Caller {
    /// Whether it still reads the stream of replies.
    pub(crate) fn reads(&self, parts: &Parts) -> bool {
        let (control, lane) = (self.returns.control(), self.origin.lane);
        let Parts { due, stream, .. } = parts;
        credit::is_ahead(control, lane, stream.slot, due.call, stream.sent).is_some()
    }

    /// A part in this process's memory, where it can wait until it may go.
    pub(crate) fn encode_part(
        &self,
        encode: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<Encoded, SendError> {
        self.returns.encode(encode)
    }

    /// Sends a part behind a head, and waits until then for the caller to take others.
    ///
    /// [`SendError::Full`] if the caller is too far behind, [`SendError::Disconnected`] if it reads no more, and
    /// [`SendError::Closed`] if the part has to wait although the receiver was closed, once its drain is over.
    pub(crate) fn send_part(
        &self,
        parts: &mut Parts,
        head: &[u8],
        part: &[u8],
        until: Deadline,
    ) -> Result<(), SendError> {
        let Parts { due, stream, drained_by } = parts;
        let (returns, len) = (&self.returns, head.len() + part.len());
        let gone = || SendError::Disconnected { channel: self.channel() };
        loop {
            match returns.send_part(self.origin, head, part, *due, stream)? {
                PartWait::Room => return Ok(()),
                PartWait::Gone => return Err(gone()),
                PartWait::Late | PartWait::Closed => {}
            }
            if until.has_passed() {
                return Err(SendError::Full { channel: self.channel() });
            }
            let until = drained_by.map_or(until, |drained| until.earlier(drained));
            let knows_closed = drained_by.is_some();
            match returns.await_part(self.origin, *due, *stream, len, until, knows_closed) {
                PartWait::Room => {}
                PartWait::Gone => return Err(gone()),
                PartWait::Closed => *drained_by = Some(Deadline::after(returns.drain())),
                PartWait::Late if drained_by.is_some_and(Deadline::has_passed) => {
                    return Err(SendError::Closed { channel: self.channel() });
                }
                PartWait::Late if due.deadline.has_passed() => return Err(gone()),
                PartWait::Late => return Err(SendError::Full { channel: self.channel() }),
            }
        }
    }
}
