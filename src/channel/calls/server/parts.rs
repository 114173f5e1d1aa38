//! Sending a stream of replies, part by part.

use super::Caller;
use crate::channel::calls::credit;
use crate::channel::encoded::Encoded;
use crate::channel::returns::{Due, PartSent, PartWait, Stream, Waiting};
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
        credit::is_ahead(control, lane, stream.slot, due.call, stream.sent, 0).is_some()
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
        let (returns, to) = (&self.returns, self.origin);
        let gone = || SendError::Disconnected { channel: self.channel() };
        loop {
            let waits = !until.has_passed();
            let waiting = match returns.send_part(to, head, part, *due, stream, waits)? {
                PartSent::Gone => return Ok(()),
                PartSent::No(PartWait::Gone) => return Err(gone()),
                PartSent::No(_) if !waits => {
                    return Err(SendError::Full { channel: self.channel() });
                }
                PartSent::No(_) => None,
                PartSent::Waits(ticket) => Some(ticket),
            };
            // A part that lies with what waits for room stays there meanwhile, whether the receiver is closed or not.
            let ended = loop {
                let by = drained_by.map_or(until, |drained| until.earlier(drained));
                let it = Waiting { to, due: *due, stream: *stream, part: waiting.clone() };
                match returns.await_part(it, by, drained_by.is_some()) {
                    PartWait::Closed => *drained_by = Some(Deadline::after(returns.drain())),
                    ended => break ended,
                }
            };
            if let Some(ticket) = &waiting
                && returns.end_wait(to, ticket)
            {
                stream.count(part.len());
                return Ok(());
            }
            match ended {
                PartWait::Room | PartWait::Closed => {}
                PartWait::Gone => return Err(gone()),
                PartWait::Late if drained_by.is_some_and(Deadline::has_passed) => {
                    return Err(SendError::Closed { channel: self.channel() });
                }
                PartWait::Late if due.deadline.has_passed() => return Err(gone()),
                PartWait::Late => return Err(SendError::Full { channel: self.channel() }),
            }
        }
    }
}
