//! A sender as a task's sink.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_sink::Sink;

use super::sender::{Progress, Sender};
use crate::codec::{Codec, DefaultCodec, Writer};
use crate::error::SendError;
use crate::sys::Deadline;
use crate::tag::Tag;
use crate::transfer::{self, Refusal};

/// A [`Sender`] that a task sends with: a [`Sink`], which waits while the channel is full.
///
/// It keeps one value at most, that for which there was no room; where the sink is dropped meanwhile, that
/// value is not sent. [`into_inner`](SenderSink::into_inner) gives it back, or else the last one whose sending
/// failed.
pub struct SenderSink<T, C: Codec<T> = DefaultCodec> {
    /// There until `into_inner` takes it.
    sender: Option<Sender<T, C>>,
    /// The value that waits for room.
    waiting: Option<T>,
    /// The last value whose sending failed.
    refused: Option<T>,
    progress: Progress,
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// This sender as a [`Sink`]. Each value is sent as by [`send_async`](Sender::send_async).
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// # use std::pin::Pin;
    /// use futures_sink::Sink;
    ///
    /// # smol::block_on(async {
    /// let (tx, rx) = sysv_channel::channel::<u32>()?;
    /// let mut sink = tx.into_sink();
    /// // With `SinkExt` of futures-util: `sink.send(7).await?`.
    /// poll_fn(|context| Pin::new(&mut sink).poll_ready(context)).await?;
    /// Pin::new(&mut sink).start_send(7)?;
    /// poll_fn(|context| Pin::new(&mut sink).poll_flush(context)).await?;
    /// assert_eq!(rx.recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_sink(self) -> SenderSink<T, C> {
        SenderSink {
            sender: Some(self),
            waiting: None,
            refused: None,
            progress: Progress::until(Deadline::never()),
        }
    }
}

impl<T, C: Codec<T>> SenderSink<T, C> {
    /// The sender, and the value that was not sent, if there is one.
    pub fn into_inner(mut self) -> (Sender<T, C>, Option<T>) {
        let sender = self.sender.take().expect(TAKEN);
        self.progress.end(&sender);
        (sender, self.waiting.take().or_else(|| self.refused.take()))
    }

    /// The sender, to be looked at.
    pub fn get_ref(&self) -> &Sender<T, C> {
        self.sender.as_ref().expect(TAKEN)
    }

    /// Sends the value that waits.
    fn poll_waiting(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let Some(value) = &self.waiting else { return Poll::Ready(Ok(())) };
        let encode = |out: &mut Writer<'_>| transfer::encode::<T, C>(value, out);
        let sender = self.sender.as_ref().expect(TAKEN);
        let sent = self.progress.poll::<T, _, _>(sender, context, Tag::DEFAULT, &encode);
        if let Poll::Ready(sent) = &sent {
            let went = sent.as_ref().map_or_else(Refusal::was_sent, |()| true);
            let value = self.waiting.take();
            self.refused = value.filter(|_| !went);
        }
        sent
    }
}

/// What is said of a sink without a sender.
const TAKEN: &str = "a sink has its sender until it is taken apart";

impl<T, C: Codec<T>> Drop for SenderSink<T, C> {
    fn drop(&mut self) {
        if let Some(sender) = &self.sender {
            self.progress.end(sender);
        }
    }
}

impl<T: Unpin, C: Codec<T>> Sink<T> for SenderSink<T, C> {
    type Error = SendError;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        self.poll_waiting(context)
    }

    fn start_send(mut self: Pin<&mut Self>, value: T) -> Result<(), SendError> {
        let this = &mut *self;
        let sender = this.sender.as_ref().expect(TAKEN);
        if this.waiting.is_some() {
            // The caller did not wait until the sink was ready.
            this.refused = Some(value);
            return Err(SendError::Full { channel: sender.control.name() });
        }
        match sender.try_send(&value) {
            Err(SendError::Full { .. } | SendError::NeedsWaiting { .. }) => {
                this.waiting = Some(value);
                Ok(())
            }
            Err(error) if !error.was_sent() => {
                this.refused = Some(value);
                Err(error)
            }
            sent => sent,
        }
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        self.poll_waiting(context)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        self.poll_waiting(context)
    }
}

impl<T, C: Codec<T>> fmt::Debug for SenderSink<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SenderSink")
            .field("sender", self.get_ref())
            .field("waits", &self.waiting.is_some())
            .finish()
    }
}
