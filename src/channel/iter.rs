//! A receiver's values one after another.

use std::fmt;

use super::receiver::Receiver;
use crate::codec::{Codec, DefaultCodec};
use crate::error::RecvError;

impl<T, C: Codec<T>> Receiver<T, C> {
    /// The values, one after another, until all senders are gone and nothing is left. A value that
    /// cannot be decoded is an item; any other error, as [`RecvError::Removed`] or [`RecvError::Closed`], is the
    /// last one.
    pub fn iter(&self) -> Iter<'_, T, C> {
        Iter { receiver: self, ended: false }
    }

    /// The values that are there now.
    pub fn try_iter(&self) -> TryIter<'_, T, C> {
        TryIter { receiver: self, ended: false }
    }
}

/// The values of a [`Receiver`], until all senders are gone.
pub struct Iter<'a, T, C = DefaultCodec> {
    receiver: &'a Receiver<T, C>,
    ended: bool,
}

impl<T, C: Codec<T>> Iterator for Iter<'_, T, C> {
    type Item = Result<T, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        next_of(&mut self.ended, || self.receiver.recv())
    }
}

impl<T, C> fmt::Debug for Iter<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Iter").field(self.receiver).finish()
    }
}

/// The values that a [`Receiver`] has now.
pub struct TryIter<'a, T, C = DefaultCodec> {
    receiver: &'a Receiver<T, C>,
    ended: bool,
}

impl<T, C: Codec<T>> Iterator for TryIter<'_, T, C> {
    type Item = Result<T, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        next_of(&mut self.ended, || self.receiver.try_recv())
    }
}

impl<T, C> fmt::Debug for TryIter<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TryIter").field(self.receiver).finish()
    }
}

/// The values of a [`Receiver`] that goes with this, until all senders are gone.
pub struct IntoIter<T, C = DefaultCodec> {
    receiver: Receiver<T, C>,
    ended: bool,
}

impl<T, C: Codec<T>> Iterator for IntoIter<T, C> {
    type Item = Result<T, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        next_of(&mut self.ended, || self.receiver.recv())
    }
}

impl<T, C> fmt::Debug for IntoIter<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IntoIter").field(&self.receiver).finish()
    }
}

/// The values of a [`Receiver`] as a task waits for them, until all senders are gone: a
/// [`Stream`](futures_core::Stream).
#[cfg(feature = "async")]
pub struct ReceiverStream<T, C = DefaultCodec> {
    receiver: Receiver<T, C>,
    ended: bool,
}

#[cfg(feature = "async")]
impl<T, C: Codec<T>> Receiver<T, C> {
    /// The values, one after another, as a task waits for them, until all senders are gone and nothing is
    /// left. Items are as those of [`iter`](Receiver::iter), waiting as in [`recv_async`](Receiver::recv_async).
    pub fn into_stream(self) -> ReceiverStream<T, C> {
        ReceiverStream { receiver: self, ended: false }
    }
}

#[cfg(feature = "async")]
impl<T, C> ReceiverStream<T, C> {
    /// The receiver, between two values.
    pub fn into_inner(self) -> Receiver<T, C> {
        self.receiver
    }

    /// The same, to be looked at.
    pub fn get_ref(&self) -> &Receiver<T, C> {
        &self.receiver
    }
}

#[cfg(feature = "async")]
impl<T, C: Codec<T>> futures_core::Stream for ReceiverStream<T, C> {
    type Item = Result<T, RecvError>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return std::task::Poll::Ready(None);
        }
        let received = this.receiver.poll_recv(context);
        received.map(|received| next_of(&mut this.ended, || received))
    }
}

#[cfg(feature = "async")]
impl<T, C> fmt::Debug for ReceiverStream<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReceiverStream").field(&self.receiver).finish()
    }
}

/// The next item; a value that could not be decoded is an item, any other error the last one.
fn next_of<T>(
    ended: &mut bool,
    receive: impl FnOnce() -> Result<T, RecvError>,
) -> Option<Result<T, RecvError>> {
    if *ended {
        return None;
    }
    match receive() {
        Ok(value) => Some(Ok(value)),
        Err(error @ (RecvError::Decode { .. } | RecvError::Corrupt { .. })) => Some(Err(error)),
        Err(error) => {
            *ended = true;
            (!error.is_disconnected() && !error.is_empty()).then_some(Err(error))
        }
    }
}

impl<'a, T, C: Codec<T>> IntoIterator for &'a Receiver<T, C> {
    type Item = Result<T, RecvError>;
    type IntoIter = Iter<'a, T, C>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T, C: Codec<T>> IntoIterator for Receiver<T, C> {
    type Item = Result<T, RecvError>;
    type IntoIter = IntoIter<T, C>;

    fn into_iter(self) -> Self::IntoIter {
        IntoIter { receiver: self, ended: false }
    }
}
