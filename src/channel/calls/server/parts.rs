//! Sending a stream of replies, part by part.

use std::time::Duration;

use super::Caller;
use crate::channel::calls::credit;
use crate::channel::encoded::Encoded;
use crate::channel::returns::{Due, PartWait, Stream};
use crate::codec::{EncodeError, Writer};
use crate::error::SendError;
use crate::sys::Deadline;

impl Caller {
    /// Whether it still reads the stream of replies to this call.
    pub(crate) fn reads(&self, call: u64, stream: Stream) -> bool {
        let (control, lane) = (self.returns.control(), self.origin.lane);
        credit::is_ahead(control, lane, stream.slot, call, stream.sent).is_some()
    }

    /// How long a handler goes on that waits for this caller, once the receiver is closed.
    pub(crate) fn drain(&self) -> Duration {
        self.returns.drain()
    }

    /// A part in this process's memory, where it can wait until it may go.
    pub(crate) fn encode_part(
        &self,
        encode: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<Encoded, SendError> {
        self.returns.encode(encode)
    }

    /// Sends a part behind a head, if it may go now.
    pub(crate) fn send_part(
        &self,
        head: &[u8],
        part: &[u8],
        due: Due,
        stream: &mut Stream,
    ) -> Result<PartWait, SendError> {
        self.returns.send_part(self.origin, head, part, due, stream)
    }

    /// Waits until a part of so many bytes may go, with what stands in front; ends with `Closed` when the
    /// receiver is closed, unless the caller of this knows.
    pub(crate) fn await_part(
        &self,
        due: Due,
        stream: Stream,
        len: usize,
        until: Deadline,
        knows_closed: bool,
    ) -> PartWait {
        self.returns.await_part(self.origin, due, stream, len, until, knows_closed)
    }
}
