//! The way back without a layer above it: for tests, models and fuzzing, which send plain values back.

use super::{Due, Origin};
use crate::channel::receiver::Receiver;
use crate::channel::sender::OnDisconnect;
use crate::channel::sender::Sender;
use crate::codec::{Codec, Writer};
use crate::error::{RecvError, SendError};
use crate::sys::Deadline;
use crate::transfer;

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Receives the next value, with who sent it.
    #[cfg(test)]
    pub(crate) fn recv_from(&self) -> Result<(T, Origin), RecvError> {
        self.receive_call(Deadline::never(), |reader, origin| Ok((C::decode(reader)?, origin)))
    }

    /// Sends a value to the sender of another one, which waits for it without end.
    pub(crate) fn send_back<R>(&self, to: Origin, value: &R) -> Result<(), SendError>
    where
        C: Codec<R>,
    {
        // No sender here cancels a call of any number.
        let due = Due { call: 1, deadline: Deadline::never() };
        transfer::sending::<R, _, _>(|| {
            let encode = |out: &mut Writer<'_>| transfer::encode::<R, C>(value, out);
            self.caller(to).reply_behind(&[], due, encode)
        })
    }
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// Receives what the receiver sent back, and waits until there is something or no receiver.
    #[cfg(test)]
    pub(crate) fn recv_back<R>(&self) -> Result<R, RecvError>
    where
        C: Codec<R>,
    {
        self.receive_back(Deadline::never())
    }

    /// The same, if there is something now.
    pub(crate) fn try_recv_back<R>(&self) -> Result<R, RecvError>
    where
        C: Codec<R>,
    {
        self.receive_back(Deadline::now())
    }

    fn receive_back<R>(&self, deadline: Deadline) -> Result<R, RecvError>
    where
        C: Codec<R>,
    {
        let give_up = |_: &Self| Ok(OnDisconnect::GiveUp);
        let reply =
            self.accept_back_unless(deadline, |_| false, |reader| Some(C::decode(reader)), give_up);
        reply?.map_err(|error| RecvError::Decode { channel: self.control.name(), error })
    }
}
