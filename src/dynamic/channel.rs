//! A channel whose type is not there, and its two ends.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use super::coding::{DynamicCodec, write_encoded};
use super::error::DynamicError;
use super::options::DynamicOptions;
use super::shape::Shape;
use super::value::Value;
use crate::channel::{Channel, Closer, Receiver, Sender};
use crate::codec::{Raw, Reader};
use crate::error::{AttachError, RecvError, SendError};
use crate::name::{Handle, Name};
use crate::sys::Deadline;
use crate::tag::{Message, Select, Tag};

/// How long a value is waited for that was used and then begun again by its sender, which is about to write it.
const BEGUN_AGAIN: Duration = Duration::from_millis(100);

/// A channel that was opened with the shape that it carries, or created with one: any but a server's or a mailbox.
///
/// ```
/// # #[cfg(feature = "bincode")] {
/// use sysv_channel::Channel;
/// use sysv_channel::dynamic::{DynamicChannel, Value};
///
/// # let name = format!("doc-dynamic-{}", std::process::id());
/// # let name = name.as_str();
/// // A program that has the type:
/// let rx = Channel::<(u64, String)>::create(name)?.receiver()?;
///
/// // One that has not:
/// let channel = DynamicChannel::open(name)?;
/// assert_eq!(channel.shape().text(), "(u64,str)");
/// let tx = channel.sender()?;
/// tx.send(&Value::from(vec![7.into(), "seven".into()]))?;
/// assert_eq!(rx.recv()?, (7, "seven".to_owned()));
///
/// let error = tx.send(&Value::from(vec![7.into(), 7.into()])).unwrap_err();
/// assert!(error.to_string().contains("$[1]: expected text, found 7"));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DynamicChannel {
    channel: Channel<Vec<u8>, Raw>,
    codec: DynamicCodec,
}

impl DynamicChannel {
    pub(super) fn new(channel: Channel<Vec<u8>, Raw>, codec: DynamicCodec) -> Self {
        DynamicChannel { channel, codec }
    }

    /// Opens a channel that was created, with default [`DynamicOptions`].
    ///
    /// # Errors
    /// As [`DynamicOptions::open`].
    pub fn open(name: impl Into<Name>) -> Result<DynamicChannel, DynamicError> {
        DynamicOptions::new().open(name)
    }

    /// Creates a channel of the codec's shape, with default [`DynamicOptions`].
    ///
    /// # Errors
    /// As [`DynamicOptions::create`].
    pub fn create(
        name: impl Into<Name>,
        codec: DynamicCodec,
    ) -> Result<DynamicChannel, DynamicError> {
        DynamicOptions::new().create(name, codec)
    }

    /// What a channel is opened or created with.
    pub fn options() -> DynamicOptions {
        DynamicOptions::new()
    }

    /// The shape of its values.
    pub fn shape(&self) -> &Shape {
        self.codec.shape()
    }

    /// How its values are encoded.
    pub fn codec(&self) -> &DynamicCodec {
        &self.codec
    }

    /// A handle to this channel.
    pub fn handle(&self) -> Handle {
        self.channel.handle()
    }

    /// The same channel with its values as they are encoded, for a program that passes them on unread: nothing is
    /// checked, decoded or encoded.
    ///
    /// ```
    /// # #[cfg(feature = "bincode")] {
    /// use sysv_channel::Channel;
    /// use sysv_channel::dynamic::DynamicChannel;
    ///
    /// # let name = format!("doc-dynamic-bytes-{}", std::process::id());
    /// # let (from, to) = (&format!("{name}-from"), &format!("{name}-to"));
    /// let orders = Channel::<(u16, String)>::create(from)?;
    /// let copies = Channel::<(u16, String)>::create(to)?;
    /// let rx = DynamicChannel::open(from)?.bytes().receiver()?;
    /// let tx = DynamicChannel::open(to)?.bytes().sender()?;
    ///
    /// orders.sender()?.send(&(7, "seven".to_owned()))?;
    /// tx.send(&rx.recv()?)?;
    /// assert_eq!(copies.receiver()?.recv()?, (7, "seven".to_owned()));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bytes(&self) -> Channel<Vec<u8>, Raw> {
        self.channel.clone()
    }

    /// Attaches a sender.
    ///
    /// # Errors
    /// As [`Channel::sender`](crate::Channel::sender).
    pub fn sender(&self) -> Result<DynamicSender, AttachError> {
        Ok(DynamicSender { sender: self.channel.sender()?, codec: self.codec.clone() })
    }

    /// Attaches a receiver: it takes the values that it receives from others.
    ///
    /// # Errors
    /// As [`Channel::receiver`](crate::Channel::receiver).
    pub fn receiver(&self) -> Result<DynamicReceiver, AttachError> {
        Ok(DynamicReceiver { receiver: self.channel.receiver()?, codec: self.codec.clone() })
    }
}

impl fmt::Debug for DynamicChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicChannel")
            .field("channel", &self.channel)
            .field("codec", &self.codec)
            .finish()
    }
}

/// The sending side of a [`DynamicChannel`].
pub struct DynamicSender {
    sender: Sender<Vec<u8>, Raw>,
    codec: DynamicCodec,
}

impl DynamicSender {
    /// Sends a value, and waits while the channel is full.
    ///
    /// # Errors
    /// [`SendError::Encode`] if it is not of the channel's shape, with the path to the place; else as
    /// [`Sender::send`](crate::Sender::send).
    pub fn send(&self, value: &Value) -> Result<(), SendError> {
        self.send_by(Tag::DEFAULT, value, Deadline::never())
    }

    /// Sends a value if there is room now.
    ///
    /// # Errors
    /// As [`send`](DynamicSender::send) and [`Sender::try_send`](crate::Sender::try_send).
    pub fn try_send(&self, value: &Value) -> Result<(), SendError> {
        self.send_by(Tag::DEFAULT, value, Deadline::now())
    }

    /// Sends a value, and waits at most `timeout` for room.
    ///
    /// # Errors
    /// As [`send`](DynamicSender::send) and [`Sender::send_timeout`](crate::Sender::send_timeout).
    pub fn send_timeout(&self, value: &Value, timeout: Duration) -> Result<(), SendError> {
        self.send_by(Tag::DEFAULT, value, Deadline::after(timeout))
    }

    /// Like [`send`](DynamicSender::send), with a tag that the receiver can select by.
    ///
    /// # Errors
    /// As [`send`](DynamicSender::send).
    pub fn send_tagged(&self, tag: Tag, value: &Value) -> Result<(), SendError> {
        self.send_by(tag, value, Deadline::never())
    }

    fn send_by(&self, tag: Tag, value: &Value, deadline: Deadline) -> Result<(), SendError> {
        let encoded = self.codec.encode(value);
        self.sender.send_as(tag, 0, |out| write_encoded(&encoded, out), deadline)
    }

    /// What ends a call that waits for room, as [`Sender::closer`](crate::Sender::closer).
    pub fn closer(&self) -> Closer {
        self.sender.closer()
    }

    /// The shape of the channel's values.
    pub fn shape(&self) -> &Shape {
        self.codec.shape()
    }
}

impl fmt::Debug for DynamicSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicSender").field("codec", &self.codec).finish_non_exhaustive()
    }
}

/// The receiving side of a [`DynamicChannel`].
pub struct DynamicReceiver {
    receiver: Receiver<Vec<u8>, Raw>,
    codec: DynamicCodec,
}

impl DynamicReceiver {
    /// Receives the next value, and waits until there is one.
    ///
    /// # Errors
    /// As [`Receiver::recv`](crate::Receiver::recv).
    pub fn recv(&self) -> Result<Value, RecvError> {
        Ok(self.receive(Select::Any, Deadline::never())?.value)
    }

    /// Receives the next value if there is one now.
    ///
    /// # Errors
    /// As [`Receiver::try_recv`](crate::Receiver::try_recv).
    pub fn try_recv(&self) -> Result<Value, RecvError> {
        Ok(self.receive(Select::Any, Deadline::now())?.value)
    }

    /// Receives the next value, and waits at most `timeout` for it.
    ///
    /// # Errors
    /// As [`Receiver::recv_timeout`](crate::Receiver::recv_timeout).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Value, RecvError> {
        Ok(self.receive(Select::Any, Deadline::after(timeout))?.value)
    }

    /// Receives the next value that `select` asks for, with its tag, and waits until there is one. What any channel
    /// has is received with [`Select::Any`].
    ///
    /// # Errors
    /// As [`Receiver::recv_matching`](crate::Receiver::recv_matching).
    pub fn recv_matching(&self, select: Select) -> Result<Message<Value>, RecvError> {
        self.receive(select, Deadline::never())
    }

    fn receive(&self, select: Select, deadline: Deadline) -> Result<Message<Value>, RecvError> {
        self.receive_and(select, deadline, |message| message)
    }

    /// Receives what `take` makes of a value, which is handed over after that.
    ///
    /// A sender that sees another receiver come begins a value in fragments again, also while that one uses it: so what
    /// was used and not handed over is not used again if the same comes next.
    fn receive_and<R>(
        &self,
        select: Select,
        deadline: Deadline,
        take: impl Fn(Message<Value>) -> R,
    ) -> Result<R, RecvError> {
        let used = RefCell::new(None);
        let receive = |deadline| {
            self.receiver.receive_as(select, deadline, |mut reader: Reader<'_>, tag| {
                let bytes = reader.read_vec(reader.remaining())?;
                let mut used = used.borrow_mut();
                if !matches!(&*used, Some((as_tag, as_bytes, _)) if (*as_tag, as_bytes) == (tag, &bytes)) {
                    let value = self.codec.decode(&bytes)?;
                    *used = Some((tag, bytes, take(Message { tag, value })));
                }
                Ok(())
            })
        };
        let mut received = receive(deadline);
        // To use it may have taken longer than the call was to wait.
        if used.borrow().is_some() && matches!(received, Err(RecvError::Timeout { .. })) {
            received = receive(Deadline::after(BEGUN_AGAIN));
        }
        received.map(|()| used.into_inner().expect("a value was received").2)
    }

    /// Receives the next value that `select` asks for, and has it used before it is handed over. Where the process ends
    /// inside of `take`, the next receiver gets it: it comes at least once, and so to a file or a pipe that can fail.
    ///
    /// A value that goes in fragments may be taken back by its sender while `take` uses it: then `take` gets the next one,
    /// for which a call that has waited as long as it was to may wait 100 milliseconds more.
    ///
    /// # Errors
    /// As [`recv_matching`](DynamicReceiver::recv_matching).
    ///
    /// ```
    /// # #[cfg(feature = "bincode")] {
    /// # use sysv_channel::{Channel, Select, dynamic::DynamicChannel};
    /// # let name = format!("doc-dynamic-with-{}", std::process::id());
    /// # let name = name.as_str();
    /// let channel = Channel::<(u64, String)>::create(name)?;
    /// channel.sender()?.send(&(7, "seven".to_owned()))?;
    /// let rx = DynamicChannel::open(name)?.receiver()?;
    /// let tag = rx.recv_with(Select::Any, |message| {
    ///     println!("{:?}", message.value);
    ///     message.tag
    /// })?;
    /// assert_eq!(tag.get(), 1);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_with<R>(
        &self,
        select: Select,
        take: impl Fn(Message<Value>) -> R,
    ) -> Result<R, RecvError> {
        self.receive_and(select, Deadline::never(), take)
    }

    /// Like [`recv_with`](DynamicReceiver::recv_with), and waits at most `timeout` for a value.
    ///
    /// # Errors
    /// As [`recv_with`](DynamicReceiver::recv_with), and [`RecvError::Timeout`] if none came.
    pub fn recv_with_timeout<R>(
        &self,
        select: Select,
        timeout: Duration,
        take: impl Fn(Message<Value>) -> R,
    ) -> Result<R, RecvError> {
        self.receive_and(select, Deadline::after(timeout), take)
    }

    /// The values one after another, until the senders have come and gone, or the call is
    /// [closed](DynamicReceiver::closer). An error is an item; [`RecvError::Disconnected`] is the end.
    pub fn iter(&self) -> impl Iterator<Item = Result<Value, RecvError>> {
        let mut over = false;
        std::iter::from_fn(move || {
            let next = (!over).then(|| self.recv())?;
            over = matches!(next, Err(RecvError::Removed { .. } | RecvError::Closed { .. }));
            Some(next).filter(|next| !matches!(next, Err(RecvError::Disconnected { .. })))
        })
    }

    /// What ends a call that waits for a value, as [`Receiver::closer`](crate::Receiver::closer).
    pub fn closer(&self) -> Closer {
        self.receiver.closer()
    }

    /// The shape of the channel's values.
    pub fn shape(&self) -> &Shape {
        self.codec.shape()
    }
}

impl fmt::Debug for DynamicReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicReceiver").field("codec", &self.codec).finish_non_exhaustive()
    }
}
