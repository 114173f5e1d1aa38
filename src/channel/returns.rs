//! The way back: from the receiver to the sender of a value.
//!
//! A server's or a mailbox's channel has a second ring in each lane. The receiver writes to it and
//! never waits for it; the sender waits for it on the same bell on which it waits for room and for
//! the receiver's death. Each reply begins with the generation of the lane's owner that it is for,
//! so an owner never reads what was meant for the last one.
//!
//! A reply longer than half the ring goes in fragments, straight into the ring while the sender
//! takes them as fast. What it does not take in a moment that is bounded is kept in this process,
//! up to the channel's longest value in all; so is one that finds the ring full. It goes when the
//! sender has made room: the sender then rings the receiver, which looks after what waits whenever
//! it looks for values. So the receiver never waits for a sender that is slow. Parts of a stream are another matter: see
//! `parts`.
//!
//! | file | subject |
//! |---|---|
//! | `chunks` | a reply that goes as it is encoded |
//! | `waiting` | replies that wait for room in this process |
//! | `parts` | replies that are streams |
//! | `outstanding` | requests that a reply is due to |
//! | `plain` | values that come back without a head of a layer above, for tests and models |

mod chunks;
mod outstanding;
mod parts;
#[cfg(all(any(test, fuzzing), feature = "bincode"))]
mod plain;
#[cfg(all(test, not(loom), feature = "bincode"))]
mod tests;
mod waiting;

use std::collections::VecDeque;
use std::ops::DerefMut;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use crossbeam_utils::CachePadded;

pub(super) use self::parts::{PartSent, Waiting};
pub(crate) use self::parts::{PartWait, Stream};

use self::chunks::ChunkedReply;
use self::parts::WaitingHandler;
use self::waiting::PendingReply;
use super::calls::has_cancelled;
use super::encoded::{Chunk, Encoded, NotEncoded};
use super::lane_damage;
use super::origin::Origin;
use super::sender::not_woken;
use crate::codec::{EncodeError, WriteError, Writer};
use crate::control::{ADDRESS, Control, Listener, semaphores};
use crate::error::SendError;
use crate::ring::{Damage, Flags, Producer, Reservation};
use crate::sys::bytes::in_chunks;
use crate::sys::thread::current_id;
use crate::sys::{AtomicU64, Deadline, Fault, Mutex, Ordering, fault};
use crate::tag::Tag;

/// How long a reply in fragments waits for its sender to make room, at a time and in all.
const WAIT: Duration = Duration::from_micros(100);
const WAIT_IN_ALL: Duration = Duration::from_millis(1);

/// The call that a reply is due to.
#[derive(Clone, Copy)]
pub(crate) struct Due {
    pub(crate) call: u64,
    /// Until when its caller waits.
    pub(crate) deadline: Deadline,
}

/// The rings back to all senders, as the receiver's process writes them, from any of its threads.
pub(super) struct ReplyProducers {
    control: Arc<Control>,
    /// The receiver's place among the receivers.
    place: usize,
    /// How long to look for room.
    spin: Duration,
    /// Each on lines of its own: handlers on several threads answer different lanes at one time.
    lanes: Box<[CachePadded<Mutex<ReplyLane>>]>,
    /// The lanes whose replies wait for room, and how many they are.
    waiting: Mutex<Vec<usize>>,
    waiting_lanes: AtomicU64,
    /// Not zero while the receiver waits until no reply is due.
    watched: AtomicU64,
    /// Not zero once the receiver was closed, until a call has said so.
    closed: AtomicU64,
    /// For how many nanoseconds handlers go on that wait until their callers have taken parts, once the
    /// receiver is closed.
    drain: AtomicU64,
    /// The thread that received last.
    receiving: AtomicU64,
    /// Handlers on other threads that wait until their callers have taken parts, and how many they are.
    handlers: Mutex<Vec<WaitingHandler>>,
    handlers_wait: AtomicU64,
    /// What sleeps at the receiver's bell in its place, if something does.
    listener: Mutex<Weak<Listener>>,
    /// How often another thread of this process had a call end that waits for values.
    nudges: AtomicU64,
}

/// The way back to one lane's owner.
#[derive(Default)]
struct ReplyLane {
    /// Missing before the first reply.
    producer: Option<Producer>,
    waiting: VecDeque<PendingReply>,
    /// Of requests that were received and not answered yet: the owner that sent it, and its call. See
    /// `calls::RequestGuard`.
    outstanding: VecDeque<(u64, Due)>,
    /// What those that wait take of this process's memory, in bytes.
    kept: usize,
    /// Whether the receiver is gone, and the ring another's to write.
    closed: bool,
    /// Whether a reply goes into the ring as it is encoded: others wait for its end.
    busy: bool,
}

/// An encoded reply, in this process's memory.
struct Reply<'a> {
    /// Whom it is for.
    generation: u64,
    /// What the layer above puts in front of the value.
    head: &'a [u8],
    value: &'a [u8],
    /// How many bytes beyond the longest value may be kept where this has to wait.
    beyond: u64,
}

impl Reply<'_> {
    fn len(&self) -> usize {
        ADDRESS + self.head.len() + self.value.len()
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), WriteError> {
        out.write(&self.generation.to_le_bytes())?;
        out.write(self.head)?;
        out.write(self.value)
    }
}

impl ReplyProducers {
    pub(super) fn new(control: Arc<Control>, place: usize, spin: Duration) -> Self {
        let lanes = if control.layout().return_lines > 0 { control.layout().lanes } else { 0 };
        let lanes =
            (0..lanes).map(|_| CachePadded::new(Mutex::new(ReplyLane::default()))).collect();
        ReplyProducers {
            control,
            place,
            spin,
            lanes,
            waiting: Mutex::default(),
            waiting_lanes: AtomicU64::new(0),
            watched: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            drain: AtomicU64::new(0),
            receiving: AtomicU64::new(0),
            handlers: Mutex::default(),
            handlers_wait: AtomicU64::new(0),
            listener: Mutex::default(),
            nudges: AtomicU64::new(0),
        }
    }

    /// The receiver has a thread that sleeps at its bell.
    pub(super) fn has_listener(&self, listener: &Arc<Listener>) {
        let mut ours = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        *ours = Arc::downgrade(listener);
    }

    fn listener(&self) -> Option<Arc<Listener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    pub(super) fn set_drain(&self, drain: Duration) {
        let nanoseconds = u64::try_from(drain.as_nanos()).unwrap_or(u64::MAX);
        self.drain.store(nanoseconds, Ordering::Relaxed);
    }

    pub(super) fn drain(&self) -> Duration {
        Duration::from_nanos(self.drain.load(Ordering::Relaxed))
    }

    /// This thread receives.
    #[inline]
    pub(super) fn is_received_here(&self) {
        // Relaxed, and not written where nothing changes: a handler on this thread finds what it wrote.
        let here = current_id();
        if self.receiving.load(Ordering::Relaxed) != here {
            self.receiving.store(here, Ordering::Relaxed);
        }
    }

    /// Has a value encoded, and sends it behind a head of the layer above, without waiting: what finds
    /// no room is kept, and goes while the receiver receives and the caller of the call that it is `due`
    /// to waits for it.
    ///
    /// Encoding is the user's code, which may do anything, also answer the same sender: so it runs
    /// while no lock is taken, into memory of this process. From there a long reply goes into the ring
    /// chunk by chunk.
    // NB: through the first cache, and what is long by itself not even through that. A reply of 64 KiB
    // that is encoded whole before it goes takes a fifth longer.
    pub(super) fn send_value(
        &self,
        to: Origin,
        head: &[u8],
        encode: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
        due: Option<Due>,
    ) -> Result<(), SendError> {
        self.check(to)?;
        let max = usize::try_from(self.max_value()).unwrap_or(usize::MAX);
        let mut chunk = Chunk::take().map_err(|error| self.unencodable(error))?;
        let mut chunks = ChunkedReply::new(self, to, head);
        let mut put = |chunk: &[u8], more: &[u8]| chunks.put(chunk, more);
        let ((encoded, too_long), len) = in_chunks(chunk.memory(), max, &mut put, |writer| {
            let encoded = encode(writer);
            (encoded, writer.is_too_long())
        });
        // Asked first, since a Serialize can go on after an error of its serializer.
        if too_long {
            return Err(self.too_long());
        }
        let sent = match chunks.failure.take() {
            Some(failure) => Err(failure),
            None => {
                encoded.map_err(|error| self.unencodable(error))?;
                let value = &chunk.memory()[..len];
                if !chunks.has_begun() {
                    let reply = Reply { generation: to.generation, head, value, beyond: 0 };
                    return self.send(to, &reply, due);
                }
                chunks.finish(value)
            }
        };
        drop(chunks);
        match sent {
            Err(SendError::Full { .. }) => {
                drop(chunk);
                self.keep_value(to, head, encode, due)
            }
            sent => sent,
        }
    }

    /// The same of a long value that found too little room: it is kept until there is more.
    #[cold]
    fn keep_value(
        &self,
        to: Origin,
        head: &[u8],
        encode: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
        due: Option<Due>,
    ) -> Result<(), SendError> {
        let value = self.encode(encode)?;
        self.send(to, &Reply { generation: to.generation, head, value: &value, beyond: 0 }, due)
    }

    /// Encodes a value into this process's memory.
    pub(super) fn encode(
        &self,
        encode: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<Encoded, SendError> {
        Encoded::new(self.max_value(), encode).map_err(|error| match error {
            NotEncoded::TooLong => self.too_long(),
            NotEncoded::Failed(error) => self.unencodable(error),
        })
    }

    /// Sends encoded bytes behind a head of the layer above, without waiting. What has to wait is kept as long as
    /// that is not so many bytes `beyond` the longest value.
    pub(super) fn send_bytes(
        &self,
        to: Origin,
        head: &[u8],
        value: &[u8],
        due: Option<Due>,
        beyond: u64,
    ) -> Result<(), SendError> {
        self.check(to)?;
        if value.len() as u64 > self.max_value() {
            return Err(self.too_long());
        }
        self.send(to, &Reply { generation: to.generation, head, value, beyond }, due)
    }

    /// Refuses what cannot be answered: on a channel that is a parent process's or gone, and to a sender
    /// that is gone or cannot be.
    fn check(&self, to: Origin) -> Result<(), SendError> {
        let control = &*self.control;
        if !control.is_ours() {
            return Err(SendError::Forked { channel: control.name() });
        }
        if control.is_removed() {
            return Err(control.removed().into());
        }
        if to.lane >= self.lanes.len() {
            let what = format!(
                "the value's origin is lane {}, and there are {}: another program wrote over it",
                to.lane,
                self.lanes.len()
            );
            return Err(SendError::Corrupt { channel: control.name(), what });
        }
        if !self.is_there(to.lane, to.generation) {
            return Err(SendError::Disconnected { channel: control.name() });
        }
        Ok(())
    }

    fn send(&self, to: Origin, reply: &Reply<'_>, due: Option<Due>) -> Result<(), SendError> {
        let mut way = self.way(to.lane);
        // Once more: encoding may have taken its time.
        self.check(to)?;
        if way.closed {
            return Err(SendError::Disconnected { channel: self.control.name() });
        }
        if way.waiting.is_empty() && !self.is_busy(&way) {
            let sent = match self.send_now(&mut way, to.lane, reply) {
                Err(SendError::Full { .. }) => false,
                sent => sent? || self.stream(&mut way, to, reply)?,
            };
            if sent {
                return Ok(());
            }
        }
        self.send_later(&mut way, to.lane, reply, due)
    }

    pub(super) fn control(&self) -> &Control {
        &self.control
    }

    /// Rings the sender for a reply that went whole.
    fn notify(&self, lane: usize) -> Result<(), SendError> {
        let rung = self.control.try_notify(self.control.lane_bell(lane));
        rung.or_else(|error| not_woken(&self.control, error))
    }

    #[cold]
    fn damaged(&self, lane: usize, damage: Damage) -> SendError {
        SendError::Corrupt { channel: self.control.name(), what: lane_damage(lane, damage) }
    }

    #[cold]
    fn unencodable(&self, error: EncodeError) -> SendError {
        SendError::Encode { channel: self.control.name(), error }
    }

    /// The longest reply without its head, in bytes.
    pub(super) fn max_value(&self) -> u64 {
        self.control.layout().max_value
    }

    #[cold]
    fn too_long(&self) -> SendError {
        let max = self.max_value();
        SendError::TooLong { channel: self.control.name(), max, option: "max_value" }
    }

    /// Whether the lane's owner is still the one that asked.
    pub(super) fn is_there(&self, lane: usize, generation: u64) -> bool {
        Origin { lane, generation }.is_there(&self.control)
    }

    /// Whether the way is another reply's until that is whole.
    fn is_busy(&self, way: &ReplyLane) -> bool {
        way.busy && !fault(Fault::WayNotKept)
    }

    /// Sends a reply in one record; `false` if it is too long for that.
    fn send_now(
        &self,
        way: &mut ReplyLane,
        lane: usize,
        reply: &Reply<'_>,
    ) -> Result<bool, SendError> {
        let damaged = |damage| self.damaged(lane, damage);
        let producer = self.producer(way, lane).map_err(damaged)?;
        let (tag, len) = (Tag::DEFAULT, reply.len());
        let whole = len <= producer.max_payload(tag);
        let room = if whole { producer.reserve(len, tag) } else { producer.reserve_available(tag) };
        let Some(room) = room.map_err(damaged)? else {
            return Err(SendError::Full { channel: self.control.name() });
        };
        if whole {
            let written = producer.fill(room, |writer| reply.write(writer));
            debug_assert!(written.is_ok());
            producer.publish(len, tag, Flags::WHOLE);
            self.notify(lane)?;
        }
        Ok(whole)
    }

    /// Sends a reply in fragments while the sender takes them; `false` if it stopped to.
    ///
    /// Fragments that went for nothing do no harm: the next reply's first ends them.
    fn stream(
        &self,
        way: &mut ReplyLane,
        to: Origin,
        reply: &Reply<'_>,
    ) -> Result<bool, SendError> {
        let damaged = |damage| self.damaged(to.lane, damage);
        let producer = self.producer(way, to.lane).map_err(damaged)?;
        let tag = Tag::DEFAULT;
        let mut left = WAIT_IN_ALL;
        let mut find_room =
            |producer: &mut Producer, len: usize| self.find_room(producer, to, len, &mut left);
        let streamed =
            match producer.stream(tag, reply.len(), &mut find_room, |out| reply.write(out)) {
                Ok(streamed) => streamed,
                Err(SendError::Full { .. }) => return Ok(false),
                Err(error) => return Err(error),
            };
        debug_assert!(streamed.result.is_ok());
        producer.publish(streamed.last, tag, streamed.flags);
        self.notify(to.lane).map(|()| true)
    }

    /// Room for a fragment, waited for in a moment that is bounded.
    fn find_room(
        &self,
        producer: &mut Producer,
        to: Origin,
        len: usize,
        left: &mut Duration,
    ) -> Result<Reservation, SendError> {
        self.control.notify(self.control.lane_bell(to.lane));
        let mut look = || {
            if !self.is_there(to.lane, to.generation) {
                return Err(SendError::Disconnected { channel: self.control.name() });
            }
            let room = producer.reserve(len, Tag::DEFAULT);
            room.map_err(|damage| self.damaged(to.lane, damage))
        };
        if let Some(room) = look()? {
            return Ok(room);
        }
        let wait = self.spin.saturating_mul(4).min(WAIT).min(*left);
        let until = Deadline::after(wait);
        let end = self.control.receiving_end(self.place, to.lane);
        let found = self.control.spin(wait, until, end, look)?;
        *left = left.saturating_sub(wait - until.remaining().unwrap_or(wait).min(wait));
        found.ok_or_else(|| SendError::Full { channel: self.control.name() })
    }

    fn way(&self, lane: usize) -> impl DerefMut<Target = ReplyLane> {
        self.lanes[lane].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the receiver: its call that waits ends.
    pub(super) fn close_receiver(&self) {
        self.closed.swap(1, Ordering::Relaxed);
        self.notify_receiver();
    }

    /// A call has said so: the next one waits again.
    pub(super) fn reopen_receiver(&self) {
        self.closed.swap(0, Ordering::Relaxed);
    }

    pub(super) fn is_receiver_closed(&self) -> bool {
        // Relaxed: `ring` and `park` order it.
        self.closed.load(Ordering::Relaxed) != 0
    }

    /// Has a call end that waits for values, so that its layer looks around.
    pub(super) fn nudge_receiver(&self) {
        // Release: pairs with the Acquire in `nudges`, which comes before that look.
        self.nudges.fetch_add(1, Ordering::Release);
        self.notify_receiver();
    }

    /// How often one did. A receiver that parks has the fence that `notify` pairs with.
    pub(super) fn nudges(&self) -> u64 {
        self.nudges.load(Ordering::Acquire)
    }

    pub(super) fn notify_receiver(&self) {
        self.control.notify(self.control.receiver_bell(self.place));
    }

    /// Sends nothing more: before the receiver's role is given up, since its next owner writes.
    pub(super) fn close(&self) {
        for lane in 0..self.lanes.len() {
            self.way(lane).closed = true;
        }
    }

    fn is_waited_for(&self, lane: usize, to: u64, due: Option<Due>) -> bool {
        self.is_there(lane, to)
            && due.is_none_or(|Due { call, deadline }| {
                !deadline.has_passed() && !has_cancelled(&self.control, lane, call)
            })
    }

    /// Whether the lane has an owner, by the semaphore that the kernel keeps true: one that was
    /// killed leaves its generation behind. Where the kernel refuses to say, the owner may be there.
    pub(super) fn is_owned(&self, lane: usize) -> bool {
        lane < self.control.layout().lanes
            && semaphores::is_zero(self.control.set, semaphores::lane_role(lane)) != Ok(true)
    }

    fn producer<'w>(
        &self,
        way: &'w mut ReplyLane,
        lane: usize,
    ) -> Result<&'w mut Producer, Damage> {
        if way.producer.is_none() {
            let layout = self.control.return_ring_of(lane);
            // What a predecessor's last reply was does not matter here: it needs no descriptor.
            let (producer, _) = Producer::attach(self.control.segment.clone(), layout)?;
            way.producer = Some(producer);
        }
        Ok(way.producer.as_mut().expect("it was just attached"))
    }
}
