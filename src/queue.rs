//! The bare typed message queue.
//!
//! A [`Queue`] is a System V message queue and nothing else: no control segment, no header, no
//! schema. What is sent is the tag as `mtype` and the encoded value as text, so a program in any
//! language can stand on the other side. Waiting, order and selection are the kernel's own, except
//! that System V has no timed calls: those poll.

mod error;
mod options;

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use error::{QueueError, QueueLimit, QueueRecvError, QueueSendError};
pub use options::QueueOptions;

use crate::bare::BareError;
#[cfg(feature = "bincode")]
use crate::codec::Bincode as DefaultCodec;
#[cfg(not(feature = "bincode"))]
use crate::codec::Raw as DefaultCodec;
use crate::codec::{Codec, Reader, Writer};
use crate::private::Private;
use crate::sys::{
    Deadline, Key, MessageBuffer, MessageQueue, MessageSelect, QueueStat, SystemErrorKind, Wait,
    at_exit, message_limits, pause,
};
use crate::tag::{Message, Select, Tag};
use crate::transfer;

/// Between two looks of a timed call: twice as long each time, from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// A buffer's first capacity; it grows up to `msgmax` when that is higher and a message needs it.
const USUAL_MESSAGE: usize = 8192;
/// Buffers that are kept for the next call.
const KEPT_BUFFERS: usize = 4;

/// A typed bare message queue: many senders, many receivers, and raw bytes on the wire.
///
/// The tag is the message's `mtype` and the encoded value its text. With the codec
/// [`Pod`](crate::codec) (feature `pod`) that is what C programs exchange as
/// `struct { long mtype; struct order o; }`, with [`Raw`](crate::codec::Raw) it is any bytes.
///
/// - **Worker pools.** Any number of processes may send and receive; the kernel gives each message
///   to one receiver, oldest first among those selected.
/// - **At most once.** A message belongs to the receiver that the kernel gave it to, and dies with
///   it. A [`Channel`](crate::Channel) does not lose it.
/// - **No schema.** Nothing says which type a queue carries. A message that is no `T` is an error
///   when it is received. Two names can share a key (1 in 4 billion), which nothing notices either.
/// - **Size.** A message is at most `kernel.msgmax` (usually 8192) bytes, and all together at most
///   the queue's capacity, `kernel.msgmnb` (usually 16384) unless changed. A value that can never
///   fit is an error, not a wait.
/// - **Lifetime.** The queue stays in the kernel, with what it holds, until
///   [`remove`](Queue::remove) or a reboot; only a [`private`](Queue::private) one is removed on
///   drop, or when its process exits.
/// - **No channel.** The name or key of a [`Channel`](crate::Channel) is refused: what lies on its
///   queue is the channel's.
///
/// All calls take `&self` and may be made from many threads. See
/// [msgop(2)](https://man7.org/linux/man-pages/man2/msgop.2.html).
///
/// ```
/// use sysv_channel::{Queue, Select, Tag};
///
/// let queue = Queue::<(u32, String)>::private()?;
/// let urgent = Tag::new(2).unwrap();
/// queue.send(&(1, "later".to_owned()))?;
/// queue.send_tagged(urgent, &(2, "first".to_owned()))?;
///
/// // Another process would say Queue::<(u32, String)>::open(key).
/// let message = queue.recv_matching(Select::Exactly(urgent))?;
/// assert_eq!((message.tag, message.value.1.as_str()), (urgent, "first"));
/// assert_eq!(queue.recv()?.0, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Queue<T, C = DefaultCodec> {
    queue: MessageQueue,
    key: Key,
    /// The longest message that the system takes, as last seen.
    longest: AtomicUsize,
    /// Taken by a call and given back after it: calls of many threads, and one from inside a
    /// Serialize, each have their own.
    buffers: Mutex<Vec<MessageBuffer>>,
    /// A private queue, which goes with this.
    private: Option<Arc<Private>>,
    carries: PhantomData<fn(T) -> (T, C)>,
}

impl<T, C: Codec<T>> Queue<T, C> {
    fn new(queue: MessageQueue, key: Key) -> Self {
        Queue {
            queue,
            key,
            longest: AtomicUsize::new(message_limits().0),
            buffers: Mutex::new(Vec::new()),
            private: None,
            carries: PhantomData,
        }
    }

    /// Has it removed when it is dropped, or when the process exits, which waits at the entry.
    fn removed_on_drop(mut self, entry: at_exit::Entry) -> Result<Self, QueueError> {
        let queue = self.queue;
        let private = Private::new(entry, move || drop(queue.remove()));
        self.private = Some(private.ok_or(QueueError::Exiting)?);
        Ok(self)
    }

    /// Sends a value with [`Tag::DEFAULT`], waiting while the queue is full.
    ///
    /// # Errors
    /// [`QueueSendError::TooLong`], at once, for a value that the queue can never take,
    /// [`QueueSendError::Encode`] for one that cannot be encoded, [`QueueSendError::Removed`] if the
    /// queue was removed; [`QueueSendError::System`] otherwise. The value was not sent then.
    pub fn send(&self, value: &T) -> Result<(), QueueSendError> {
        self.send_until(Tag::DEFAULT, value, Deadline::never())
    }

    /// Sends a value with a tag, waiting while the queue is full.
    ///
    /// # Errors
    /// As [`send`](Queue::send).
    pub fn send_tagged(&self, tag: Tag, value: &T) -> Result<(), QueueSendError> {
        self.send_until(tag, value, Deadline::never())
    }

    /// Sends a value if there is room now.
    ///
    /// # Errors
    /// [`QueueSendError::Full`], or as [`send`](Queue::send).
    pub fn try_send(&self, value: &T) -> Result<(), QueueSendError> {
        self.try_send_tagged(Tag::DEFAULT, value)
    }

    /// Sends a value with a tag if there is room now.
    ///
    /// # Errors
    /// [`QueueSendError::Full`], or as [`send`](Queue::send).
    pub fn try_send_tagged(&self, tag: Tag, value: &T) -> Result<(), QueueSendError> {
        self.send_until(tag, value, Deadline::now())
    }

    /// Sends a value, waiting at most that long.
    ///
    /// System V has no timed call, so while the queue is full this looks again after pauses of 50
    /// microseconds to 5 milliseconds; a sender that waits without a limit may get the room first.
    ///
    /// # Errors
    /// [`QueueSendError::Timeout`], or as [`send`](Queue::send).
    pub fn send_timeout(&self, value: &T, timeout: Duration) -> Result<(), QueueSendError> {
        self.send_until(Tag::DEFAULT, value, Deadline::after(timeout))
    }

    /// Sends a value with a tag, waiting at most that long; see [`send_timeout`](Queue::send_timeout).
    ///
    /// # Errors
    /// [`QueueSendError::Timeout`], or as [`send`](Queue::send).
    pub fn send_tagged_timeout(
        &self,
        tag: Tag,
        value: &T,
        timeout: Duration,
    ) -> Result<(), QueueSendError> {
        self.send_until(tag, value, Deadline::after(timeout))
    }

    fn send_until(&self, tag: Tag, value: &T, deadline: Deadline) -> Result<(), QueueSendError> {
        let mut buffer = self.buffer();
        let sent = transfer::sending::<T, _, _>(|| {
            self.encode(value, &mut buffer)?;
            buffer.set_type(tag.get());
            self.deliver(&buffer, deadline)
        });
        self.give_back(buffer);
        sent
    }

    fn encode(&self, value: &T, buffer: &mut MessageBuffer) -> Result<(), QueueSendError> {
        loop {
            let mut writer = Writer::new(buffer.text_mut_full());
            transfer::encode::<T, C>(value, &mut writer)?;
            let (len, fits) = (writer.len(), writer.fits());
            let max = self.longest_for(len);
            if len > max {
                return Err(self.too_long(len, max, QueueLimit::Message));
            }
            if fits {
                buffer.set_len(len);
                return Ok(());
            }
            buffer.grow(len);
        }
    }

    /// What the system takes, asked for again only when a message of `len` bytes would not go.
    fn longest_for(&self, len: usize) -> usize {
        let known = self.longest.load(Ordering::Relaxed);
        if len <= known {
            return known;
        }
        let now = message_limits().0;
        self.longest.store(now, Ordering::Relaxed);
        now
    }

    fn too_long(&self, len: usize, max: usize, limit: QueueLimit) -> QueueSendError {
        QueueSendError::TooLong { object: self.object(), len, max, limit }
    }

    fn deliver(&self, message: &MessageBuffer, deadline: Deadline) -> Result<(), QueueSendError> {
        let len = message.text().len();
        let mut next = FIRST_PAUSE;
        loop {
            match self.queue.send(message, Wait::No) {
                Err(error) if error.kind() == SystemErrorKind::WouldBlock => {}
                Err(error) if error.kind() == SystemErrorKind::TooLong => {
                    let max = message_limits().0;
                    self.longest.store(max, Ordering::Relaxed);
                    return Err(self.too_long(len, max, QueueLimit::Message));
                }
                sent => return Ok(sent?),
            }
            // The kernel would wait for ever for room that a queue this small never has. Even an
            // empty message takes one of as many places as the queue has bytes.
            let capacity = self.queue.stat()?.capacity as usize;
            if len.max(1) > capacity {
                return Err(self.too_long(len, capacity, QueueLimit::Capacity));
            }
            match deadline.remaining() {
                _ if deadline.is_now() => {
                    return Err(QueueSendError::Full { object: self.object() });
                }
                None => return Ok(self.queue.send(message, Wait::Forever)?),
                Some(Duration::ZERO) => {
                    return Err(QueueSendError::Timeout { object: self.object() });
                }
                Some(left) => pause(next.min(left)),
            }
            next = (next * 2).min(LONGEST_PAUSE);
        }
    }

    /// Receives the oldest value, waiting until there is one.
    ///
    /// # Errors
    /// [`QueueRecvError::Decode`] for a message that is no `T`, and [`QueueRecvError::Corrupt`] for
    /// one that is too long: it is taken off and reported once; [`QueueRecvError::Removed`] if the
    /// queue was removed; [`QueueRecvError::System`] otherwise.
    pub fn recv(&self) -> Result<T, QueueRecvError> {
        self.recv_matching(Select::Any).map(|message| message.value)
    }

    /// Receives the first selected value with its tag, waiting until there is one.
    ///
    /// # Errors
    /// As [`recv`](Queue::recv).
    pub fn recv_matching(&self, select: Select) -> Result<Message<T>, QueueRecvError> {
        self.recv_until(select, Deadline::never())
    }

    /// Receives the oldest value if there is one now.
    ///
    /// # Errors
    /// [`QueueRecvError::Empty`], or as [`recv`](Queue::recv).
    pub fn try_recv(&self) -> Result<T, QueueRecvError> {
        self.try_recv_matching(Select::Any).map(|message| message.value)
    }

    /// Receives the first selected value with its tag if there is one now.
    ///
    /// # Errors
    /// [`QueueRecvError::Empty`], or as [`recv`](Queue::recv).
    pub fn try_recv_matching(&self, select: Select) -> Result<Message<T>, QueueRecvError> {
        self.recv_until(select, Deadline::now())
    }

    /// Receives the oldest value, waiting at most that long.
    ///
    /// System V has no timed call, so while there is none this looks again after pauses of 50
    /// microseconds to 5 milliseconds; a receiver that waits without a limit gets the value first.
    ///
    /// # Errors
    /// [`QueueRecvError::Timeout`], or as [`recv`](Queue::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, QueueRecvError> {
        self.recv_matching_timeout(Select::Any, timeout).map(|message| message.value)
    }

    /// Receives the first selected value with its tag, waiting at most that long; see
    /// [`recv_timeout`](Queue::recv_timeout).
    ///
    /// # Errors
    /// [`QueueRecvError::Timeout`], or as [`recv`](Queue::recv).
    pub fn recv_matching_timeout(
        &self,
        select: Select,
        timeout: Duration,
    ) -> Result<Message<T>, QueueRecvError> {
        self.recv_until(select, Deadline::after(timeout))
    }

    fn recv_until(&self, select: Select, deadline: Deadline) -> Result<Message<T>, QueueRecvError> {
        let mut buffer = self.buffer();
        let received = self.take(select, &mut buffer, deadline).and_then(|()| self.decode(&buffer));
        self.give_back(buffer);
        received
    }

    fn take(
        &self,
        select: Select,
        buffer: &mut MessageBuffer,
        deadline: Deadline,
    ) -> Result<(), QueueRecvError> {
        let select = match select {
            Select::Any => MessageSelect::Any,
            Select::Exactly(tag) => MessageSelect::Exactly(tag.get()),
            Select::UpTo(tag) => MessageSelect::UpTo(tag.get()),
            Select::Except(tag) => MessageSelect::Except(tag.get()),
        };
        let wait = if deadline == Deadline::never() { Wait::Forever } else { Wait::No };
        let mut cut = false;
        let mut next = FIRST_PAUSE;
        loop {
            match self.queue.receive(select, buffer, wait, cut) {
                Ok(()) => break,
                Err(error) if error.kind() == SystemErrorKind::TooLong => {
                    // Longer than all that can be sent now: take it off, or it stays for ever.
                    cut = !self.grow_to_longest(buffer);
                }
                Err(error) if error.kind() == SystemErrorKind::NoMessage => {
                    match deadline.remaining() {
                        Some(left) if !left.is_zero() => pause(next.min(left)),
                        _ if deadline.is_now() => {
                            return Err(QueueRecvError::Empty { object: self.object() });
                        }
                        _ => return Err(QueueRecvError::Timeout { object: self.object() }),
                    }
                    next = (next * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        }
        // The last byte of the buffer is there to be seen filled by a message that was cut.
        if cut && buffer.text().len() == buffer.capacity() {
            return Err(QueueRecvError::Corrupt {
                object: self.object(),
                tag: Tag::new(buffer.type_()),
                longer_than: buffer.capacity() - 1,
            });
        }
        Ok(())
    }

    /// One byte more than the system's longest message; whether that is more than before.
    fn grow_to_longest(&self, buffer: &mut MessageBuffer) -> bool {
        let enough = message_limits().0.saturating_add(1);
        let grows = enough > buffer.capacity();
        buffer.grow(enough);
        grows
    }

    fn decode(&self, buffer: &MessageBuffer) -> Result<Message<T>, QueueRecvError> {
        let tag = Tag::new(buffer.type_()).unwrap_or_default();
        match C::decode(Reader::new(buffer.text())) {
            Ok(value) => Ok(Message { tag, value }),
            Err(error) => {
                let len = buffer.text().len();
                Err(QueueRecvError::decode(self.queue.name(), tag, len, error))
            }
        }
    }

    /// Shows the value at `index`, counted from the oldest, and leaves it there; `None` past the
    /// end. Other receivers may take it at any time.
    ///
    /// See `MSG_COPY` in [msgop(2)](https://man7.org/linux/man-pages/man2/msgop.2.html).
    ///
    /// # Errors
    /// [`QueueRecvError::System`] of kind
    /// [`Unsupported`](crate::SystemErrorKind::Unsupported) where the kernel was built without
    /// `CONFIG_CHECKPOINT_RESTORE`, or as [`recv`](Queue::recv).
    ///
    /// ```
    /// use sysv_channel::Queue;
    ///
    /// let queue = Queue::<u32>::private()?;
    /// queue.send(&7)?;
    /// assert_eq!(queue.peek(0)?.map(|message| message.value), Some(7));
    /// assert_eq!(queue.peek(1)?, None);
    /// assert_eq!(queue.recv()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn peek(&self, index: usize) -> Result<Option<Message<T>>, QueueRecvError> {
        let mut buffer = self.buffer();
        let seen = loop {
            match self.queue.peek(index, &mut buffer) {
                Ok(()) => break self.decode(&buffer).map(Some),
                Err(error) if error.kind() == SystemErrorKind::NoMessage => break Ok(None),
                Err(error) if error.kind() == SystemErrorKind::TooLong => {
                    if !self.grow_to_longest(&mut buffer) {
                        break Err(QueueRecvError::Corrupt {
                            object: self.object(),
                            tag: None,
                            longer_than: message_limits().0,
                        });
                    }
                }
                Err(error) => break Err(error.into()),
            }
        };
        self.give_back(buffer);
        seen
    }

    fn buffer(&self) -> MessageBuffer {
        let kept = self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| {
            let longest = self.longest.load(Ordering::Relaxed).min(USUAL_MESSAGE);
            MessageBuffer::with_capacity(longest + 1)
        })
    }

    fn give_back(&self, buffer: MessageBuffer) {
        let mut kept = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_BUFFERS {
            kept.push(buffer);
        }
    }
}

impl<T, C> Queue<T, C> {
    /// The key by which other processes open the queue.
    pub fn key(&self) -> Key {
        self.key
    }

    /// The kernel's number for the queue, as `ipcs -q` shows it.
    pub fn id(&self) -> i32 {
        self.queue.id()
    }

    /// Owner, mode, counts, capacity, last users and times.
    ///
    /// # Errors
    /// [`QueueError::Removed`] if the queue was removed, [`QueueError::System`] otherwise.
    pub fn stat(&self) -> Result<QueueStat, QueueError> {
        Ok(self.queue.stat()?)
    }

    /// Sets how many bytes of encoded values, and how many values, the queue holds.
    ///
    /// What it holds already stays. A sender that waits with a value longer than a lowered capacity
    /// goes on waiting until it is raised again.
    ///
    /// # Errors
    /// [`QueueError::InvalidOption`] for 0 and above 2,147,483,647; [`QueueError::System`] of kind
    /// [`PermissionDenied`](crate::SystemErrorKind::PermissionDenied) for others than the owner,
    /// and above `kernel.msgmnb` for others than root; [`QueueError::Removed`] if the queue was.
    pub fn set_capacity(&self, bytes: u64) -> Result<(), QueueError> {
        check_capacity(bytes)?;
        Ok(self.queue.set_capacity(bytes)?)
    }

    /// Gives the queue to a user and a group, and sets its nine permission bits.
    ///
    /// The creator keeps the right to change and remove it.
    ///
    /// # Errors
    /// [`QueueError::InvalidOption`] for more than nine bits, and for a user or group that the kernel
    /// does not know, as 4,294,967,295 (-1); [`QueueError::System`] of kind
    /// [`PermissionDenied`](crate::SystemErrorKind::PermissionDenied) for others than the owner;
    /// [`QueueError::Removed`] if the queue was.
    ///
    /// ```
    /// use sysv_channel::Queue;
    ///
    /// let queue = Queue::<u32>::private()?;
    /// let ownership = queue.stat()?.ownership;
    /// queue.set_permissions(ownership.uid, ownership.gid, 0o660)?;
    /// assert_eq!(queue.stat()?.ownership.mode, 0o660);
    /// # Ok::<(), sysv_channel::QueueError>(())
    /// ```
    pub fn set_permissions(&self, uid: u32, gid: u32, mode: u32) -> Result<(), QueueError> {
        QueueError::check_mode(mode)?;
        let set = self.queue.set_permissions(uid, gid, mode);
        // The kernel says EINVAL for a queue that is gone and for a number that no user has alike.
        if set.as_ref().is_err_and(|error| error.kind() == SystemErrorKind::Removed)
            && self.queue.stat().is_ok()
        {
            return Err(QueueError::InvalidOption(format!(
                "the kernel knows no user {uid} or no group {gid}: to keep one, give what `stat` says"
            )));
        }
        Ok(set?)
    }

    /// Removes the queue with all that it holds; every call that waits on it ends with `Removed`.
    ///
    /// # Errors
    /// [`QueueError::Removed`] if another process did; [`QueueError::System`] of kind
    /// [`PermissionDenied`](crate::SystemErrorKind::PermissionDenied) for others than the owner.
    pub fn remove(&self) -> Result<(), QueueError> {
        Ok(self.queue.remove()?)
    }

    fn object(&self) -> String {
        self.queue.name().to_string()
    }
}

/// The kernel takes the capacity for an `int`, and would cut what is longer.
fn check_capacity(bytes: u64) -> Result<(), QueueError> {
    if bytes == 0 {
        let what = "with a capacity of 0 bytes a queue takes no message";
        return Err(QueueError::InvalidOption(what.to_owned()));
    }
    if bytes > i32::MAX as u64 {
        let what = format!("a capacity of {bytes} bytes is more than the kernel's {}", i32::MAX);
        return Err(QueueError::InvalidOption(what));
    }
    Ok(())
}

impl<T, C> fmt::Debug for Queue<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("key", &self.key).field("id", &self.id()).finish()
    }
}
