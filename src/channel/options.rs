//! What a channel is created and opened with.

use std::marker::PhantomData;
use std::time::Duration;

use super::{Channel, Local};
use crate::codec::Codec;
use crate::control::{
    self, Control, ENVELOPE, Heads, Layout, MAX_LANES, MAX_RECEIVERS, Owner, Wanted,
};
use crate::error::OpenError;
use crate::error::text::Spelling;
use crate::name::Name;
use crate::ring::{LINE, TrustedPeers};
use crate::schema::Schema;
use crate::sys::{Key, MIN_RING_LINES, memory_is_counted, message_limits, process};

/// A ring whose creator names no size: what it has, in bytes. Four times the L2 of usual processors, so
/// that lines which are written anew have left the other core's.
const LARGE: usize = if cfg!(loom) { 8 * LINE } else { 4 << 20 };

/// The window of it that is used while little goes.
const WINDOW: usize = if cfg!(loom) { 2 * LINE } else { 256 << 10 };

/// What all rings of such a channel have, where the kernel counts memory before it is used, and what each
/// has at least.
const COUNTED_TOTAL: usize = 8 << 20;
const COUNTED_MIN: usize = 16 << 10;

/// What options are read for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Open,
    /// To create a channel, if there is none.
    Create,
    Private,
}

/// The size of a lane's ring.
#[derive(Debug, Clone, Copy)]
enum RingSize {
    /// So many bytes.
    Exactly(usize),
    /// Large, and this window of it while little goes.
    Window(usize),
}

impl RingSize {
    /// Lines of the ring and of its window; or what is wrong with the option. `counted` says how many
    /// rings the channel has, if the kernel counts memory before it is used.
    fn lines(
        self,
        option: &str,
        or_none: bool,
        counted: Option<usize>,
    ) -> Result<(u64, u64), String> {
        let lines = |bytes: usize| (bytes.next_power_of_two() / LINE) as u64;
        match (self, counted) {
            (RingSize::Exactly(0), _) => Ok((0, 0)),
            (RingSize::Exactly(bytes), _) => {
                if !(MIN_CAPACITY..=MAX_CAPACITY).contains(&bytes) {
                    let or_none = if or_none { ", or 0 for no ring" } else { "" };
                    return Err(format!(
                        "{option} is {bytes}, and may be {MIN_CAPACITY} to {MAX_CAPACITY}{or_none}"
                    ));
                }
                Ok((lines(bytes), lines(bytes)))
            }
            (RingSize::Window(window), None) => Ok((lines(LARGE), lines(window))),
            (RingSize::Window(window), Some(rings)) => {
                let share = (COUNTED_TOTAL / rings + 1).next_power_of_two() / 2;
                let share = share.max(COUNTED_MIN);
                let lines = lines(share.min(window));
                Ok((lines, lines))
            }
        }
    }
}

/// The smallest ring, in bytes.
const MIN_CAPACITY: usize = MIN_RING_LINES * LINE;

/// The largest ring.
const MAX_CAPACITY: usize = 1 << 40;

/// How often a name may appear or vanish between looking and making.
const ATTEMPTS: usize = 100;

/// What a channel is created and opened with.
///
/// The sizes are the creator's to choose; a program that opens the channel takes them as they are. Three
/// shapes come from two of them:
///
/// | shape | options | |
/// |---|---|---|
/// | mixed (default) | | small values are queue messages, larger ones go through the sender's ring; the kernel keeps one order over all senders and selects by tag |
/// | ring only | `inline_limit(0)` | no system call while both sides are busy; order for each sender; no selection |
/// | queue only | `capacity(0)` | many small values, selection, [several receivers](Options::receivers); nothing longer than `inline_limit` |
///
/// ```
/// use std::time::Duration;
/// use sysv_channel::Channel;
///
/// # let name = format!("doc-options-{}", std::process::id());
/// # let name = name.as_str();
/// let feed = Channel::<u64>::options()
///     .inline_limit(0)
///     .capacity(1 << 20)
///     .lanes(1)
///     .create(name)?;
/// let same = Channel::<u64>::options().wait_for_creation(Duration::from_secs(1)).open(name)?;
/// # Ok::<(), sysv_channel::OpenError>(())
/// ```
#[derive(Debug)]
pub struct Options<T, C> {
    inline_limit: usize,
    lanes: usize,
    receivers: usize,
    capacity: RingSize,
    return_capacity: RingSize,
    max_value: u64,
    max_waiting: Option<usize>,
    mode: u32,
    owner: Owner,
    durable: bool,
    stays_open: bool,
    spin: Option<Duration>,
    wait_for_creation: Duration,
    schema: Option<Schema>,
    codec: &'static str,
    any_type: bool,
    heads: Heads,
    calls: bool,
    lock_wait: Duration,
    trust: Option<TrustedPeers>,
    /// How errors name the options.
    spelling: Spelling,
    value: PhantomData<fn(T) -> C>,
}

impl<T, C: Codec<T>> Options<T, C> {
    pub(super) fn new() -> Self {
        Options {
            inline_limit: 1024,
            lanes: 32,
            receivers: 1,
            capacity: RingSize::Window(WINDOW),
            return_capacity: RingSize::Exactly(0),
            max_value: 64 << 20,
            max_waiting: None,
            mode: 0o600,
            owner: Owner::Myself,
            durable: false,
            stays_open: false,
            spin: None,
            wait_for_creation: Duration::ZERO,
            schema: None,
            codec: C::NAME,
            any_type: false,
            heads: Heads::default(),
            calls: false,
            lock_wait: Duration::MAX,
            trust: None,
            spelling: Spelling::CHANNEL,
            value: PhantomData,
        }
    }

    /// The longest encoded value, in bytes, that travels as a message of the queue; default 1,024.
    /// Zero makes a channel without a queue.
    ///
    /// A creator is refused more than `kernel.msgmax` less 16. The queue holds
    /// `kernel.msgmnb` bytes in all, 16,384 by default.
    pub fn inline_limit(mut self, bytes: usize) -> Self {
        self.inline_limit = bytes;
        self
    }

    /// How many senders there can be at one time, 1 to 4,096; default 32. A lane costs two
    /// semaphores, and memory only once it is used.
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.lanes = lanes;
        self
    }

    /// How many receivers there can be at one time, 1 to 64; default 1. More than one needs a channel
    /// of small messages alone: `capacity(0)`.
    ///
    /// Each value goes to one of them, whichever the kernel gives it to, and counts as received when that one
    /// has handed it over: at once with [`recv`](crate::Receiver::recv), or when its work is done with
    /// [`recv_guard`](crate::Receiver::recv_guard). A value whose receiver dies before goes to another, so none
    /// is lost, and none comes twice unless its receiver died or gave it back. A receiver is told that the
    /// senders are gone once no other has a value in hand that could still come back.
    ///
    /// A receiver costs two semaphores, and room for one message.
    ///
    /// ```
    /// use sysv_channel::Channel;
    ///
    /// let jobs = Channel::<u32>::options().capacity(0).receivers(2).private()?;
    /// let (tx, one, two) = (jobs.sender()?, jobs.receiver()?, jobs.receiver()?);
    /// tx.send_all(&[1, 2])?;
    /// let given_up = one.recv_guard()?;
    /// assert_eq!((*given_up, two.recv()?), (1, 2));
    /// // As if its process had died:
    /// drop(given_up);
    /// let again = two.recv_guard()?;
    /// assert_eq!((*again, again.deliveries()), (1, 2));
    /// again.done();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn receivers(mut self, receivers: usize) -> Self {
        self.receivers = receivers;
        self
    }

    /// The size of each sender's ring, in bytes: 4 KiB to 1 TiB, rounded up to a power of two. Zero
    /// makes a channel without rings; what is between is refused.
    ///
    /// By default it is 4 MiB of address space, of which 256 KiB are used, and cost memory, until the
    /// sender streams values of more than 176 bytes, or the receiver falls more than half of that behind. Where the kernel counts
    /// memory before it is used (`vm.overcommit_memory` is 2), it is 256 KiB, or less if there are more
    /// than 32 senders. A process that locks all its memory, by mlockall(2) with `MCL_FUTURE`, has
    /// all of it at once: name a size there.
    ///
    /// A value that takes more than half of it, 16 bytes of its own included, goes in fragments, and
    /// [`send`](crate::Sender::send) returns only when it was received: a larger ring makes that rarer. By
    /// default these are values of 2 MiB and more; on a channel with a queue, whose rings must take a value
    /// back that cannot be announced, of 128 KiB and more, unless a capacity is named.
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = RingSize::Exactly(bytes);
        self
    }

    /// Rings of the default size, of which so many bytes are used while little goes.
    pub(crate) fn window(mut self, bytes: usize) -> Self {
        self.capacity = RingSize::Window(bytes);
        self
    }

    /// The size of the ring from the receiver back to each sender, in bytes, as
    /// [`capacity`](Options::capacity); default 0: none.
    pub(crate) fn return_capacity(mut self, bytes: usize) -> Self {
        self.return_capacity = RingSize::Exactly(bytes);
        self
    }

    /// The same as [`window`](Options::window).
    pub(crate) fn return_window(mut self, bytes: usize) -> Self {
        self.return_capacity = RingSize::Window(bytes);
        self
    }

    /// The longest encoded value at all, in bytes, 1 or more; default 64 MiB. It bounds the memory in which a
    /// receiver collects a value that comes in fragments, for each sender.
    ///
    /// The creator's counts; a program that opens a channel says how long it is ready to collect, and is refused
    /// with [`OpenError::LongerValues`] if that is less.
    pub fn max_value(mut self, bytes: u64) -> Self {
        self.max_value = bytes;
        self
    }

    /// How many values wait to be received at most, over all senders; by default as many as there are
    /// bytes for: [`inline_limit`](Options::inline_limit) and [`capacity`](Options::capacity) say how many.
    /// Beyond, [`send`](crate::Sender::send) waits and [`try_send`](crate::Sender::try_send) says
    /// [`Full`](crate::SendError::Full). The bytes still count as well.
    ///
    /// The kernel keeps the bound, so that no process that dies takes a place along: all messages of the
    /// queue have one length then, and the queue holds as many.
    ///
    /// - On a channel with rings every value goes through its sender's ring, short ones too, and has 16
    ///   bytes of the queue: `values` is at most `kernel.msgmnb` / 16, which is 1,024 by default.
    /// - On a queue-only channel every message is as long as the longest: at most
    ///   `kernel.msgmnb` / (`inline_limit` + 16).
    /// - A channel without a queue (`inline_limit(0)`) is refused: its senders share nothing by which they
    ///   could count.
    ///
    /// The value that a receiver has in hand does not count, nor does one that it gave back. One that goes in fragments counts once it is
    /// complete, and one that its sender took back until the receiver's next call.
    ///
    /// ```
    /// use sysv_channel::Channel;
    ///
    /// let channel = Channel::<String>::options().max_waiting(2).private()?;
    /// let (tx, rx) = (channel.sender()?, channel.receiver()?);
    /// tx.send(&"one".to_owned())?;
    /// channel.sender()?.send(&"two".to_owned())?;
    /// assert!(tx.try_send(&"three".to_owned()).unwrap_err().is_full());
    /// assert_eq!(rx.recv()?, "one");
    /// tx.try_send(&"three".to_owned())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_waiting(mut self, values: usize) -> Self {
        self.max_waiting = Some(values);
        self
    }

    /// The permission bits of the three objects; default 0600. They must let the creator read and
    /// write. A group shares a channel with 0660 and [`owner`](Options::owner).
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Whose channels may be opened; default [`Owner::Myself`].
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }

    /// Makes a channel that only [`Channel::unlink`] removes; default: the last user does. Neither its
    /// senders nor its receivers are told that the other side is gone, and values wait in the kernel for the next
    /// receiver.
    ///
    /// A [private](Options::private) channel is never durable: it goes with its last user, whatever is said here, and
    /// its ends are told as by default.
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Has the receiver of this program, whichever program created the channel, wait on when all senders are gone,
    /// since others will come, as servers and mailboxes do; by default, calls that wait end then. What ends it is
    /// [`Receiver::closer`](crate::Receiver::closer).
    ///
    /// ```
    /// use std::time::Duration;
    /// use sysv_channel::Channel;
    ///
    /// let collected = Channel::<u32>::options().stays_open().private()?;
    /// let rx = collected.receiver()?;
    /// for client in 1..=2 {
    ///     collected.sender()?.send(&client)?;
    ///     assert_eq!(rx.recv()?, client);
    /// }
    /// assert!(rx.recv_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stays_open(mut self) -> Self {
        self.stays_open = true;
        self
    }

    /// How long a call looks for itself before it sleeps; default 20 microseconds, about what it
    /// costs to be woken, and zero on a machine with one processor.
    ///
    /// With zero, for processes that share a processor, a value that is slept for costs least and
    /// one in a stream some nanoseconds more. Whatever the time, peers that go are noticed.
    pub fn spin(mut self, time: Duration) -> Self {
        self.spin = Some(time);
        self
    }

    /// How long [`open`](Options::open) waits for a channel that is not created yet; default:
    /// not at all.
    pub fn wait_for_creation(mut self, time: Duration) -> Self {
        self.wait_for_creation = time;
        self
    }

    /// Names the schema by hand, instead of tracing the shape of `T`: for types that cannot be
    /// traced, and for changes of meaning that a shape does not show. See [`Schema::named`].
    ///
    /// A program that names it vouches for the type: one that is refused as
    /// [undecodable](OpenError::Undecodable) is taken then, and values of it that cannot be decoded
    /// are errors of the receiver.
    pub fn schema(mut self, schema: Schema) -> Self {
        self.schema = Some(schema);
        self
    }

    /// Opens a channel of this codec, whose values the layer above encodes and decodes.
    #[cfg(not(loom))]
    pub(crate) fn codec(mut self, name: &'static str) -> Self {
        self.codec = name;
        self
    }

    /// Opens a channel whatever it carries: for the layer above, which says by itself what its
    /// bytes are.
    pub(crate) fn any_type(mut self) -> Self {
        self.any_type = true;
        self
    }

    /// Has errors name the options as the layer above does.
    pub(crate) fn spelling(mut self, spelling: Spelling) -> Self {
        self.spelling = spelling;
        self
    }

    /// Says whether what is sent are requests: no caller waits for one once the channel has no user.
    pub(crate) fn calls(mut self, calls: bool) -> Self {
        self.calls = calls;
        self
    }

    /// Says what a layer above puts in front of values and replies.
    pub(crate) fn heads(mut self, heads: Heads) -> Self {
        self.heads = heads;
        self
    }

    /// How long [`open`](Options::open) waits for another process that opens or removes the channel
    /// in this moment, which takes some microseconds; five seconds at most, and by default.
    pub(crate) fn lock_wait(mut self, time: Duration) -> Self {
        self.lock_wait = time;
        self
    }

    /// Allows [`Receiver::recv_in_place`](crate::Receiver::recv_in_place), which lends slices of
    /// the channel's memory.
    pub fn in_place(mut self, trust: TrustedPeers) -> Self {
        self.trust = Some(trust);
        self
    }

    /// Creates the channel; adopts an unused one of the same kind, with the values that it holds.
    ///
    /// A [`Key`](crate::Key) creates a channel that has no name, and is opened by that key. A
    /// [`Handle`](crate::Handle) stands for a channel that was created before, and creates none.
    ///
    /// # Errors
    /// [`OpenError::AlreadyExists`] if a process uses it, or `name` is a handle;
    /// [`OpenError::OtherOptions`] if an unused one is durable or holds values, and was created with
    /// other options; [`OpenError::KeyCollision`] if its key belongs to something else;
    /// [`OpenError::InvalidOptions`] for options that cannot be, [`OpenError::Undecodable`] for a type
    /// that cannot be decoded; [`OpenError`] otherwise. Nothing is left behind then.
    pub fn create(&self, name: impl Into<Name>) -> Result<Channel<T, C>, OpenError> {
        let wanted = self.wanted(name.into(), Purpose::Create)?;
        self.channel(self.make(&wanted)?)
    }

    /// Opens the channel, and waits for a creator if
    /// [`wait_for_creation`](Options::wait_for_creation) says so. A [`Key`](crate::Key) opens whatever
    /// channel has it, also one that has a name.
    ///
    /// # Errors
    /// [`OpenError::NotFound`] if there is no such channel; [`OpenError::WrongType`],
    /// [`OpenError::WrongCodec`] or [`OpenError::LongerValues`] if it is not what this program
    /// expects; [`OpenError::NotOwned`] if it is another user's; [`OpenError`] otherwise.
    pub fn open(&self, name: impl Into<Name>) -> Result<Channel<T, C>, OpenError> {
        let wanted = self.wanted(name.into(), Purpose::Open)?;
        let control = control::wait_for(self.wait_for_creation, || control::open(&wanted))?;
        self.channel(control)
    }

    /// Opens the channel, or creates it if there is none.
    ///
    /// One that its last users left with values in it is opened as they left it: a receiver gets
    /// the values and is then told that the senders are gone. A receiver that keeps a mailbox
    /// [creates](Options::create) it, which begins a new life with the old values.
    ///
    /// # Errors
    /// As [`open`](Options::open), but for [`OpenError::NotFound`] of what is no handle, and as
    /// [`create`](Options::create), but for [`OpenError::AlreadyExists`].
    pub fn open_or_create(&self, name: impl Into<Name>) -> Result<Channel<T, C>, OpenError> {
        let wanted = self.wanted(name.into(), Purpose::Create)?;
        for _ in 0..ATTEMPTS {
            match control::open(&wanted) {
                Err(OpenError::NotFound { .. }) => {}
                result => return self.channel(result?),
            }
            match self.make(&wanted) {
                Err(OpenError::AlreadyExists { .. }) => {}
                result => return self.channel(result?),
            }
        }
        Err(OpenError::Unsettled { name: wanted.name })
    }

    /// Creates a channel without a name, at a random key, to be found through its
    /// [`handle`](Channel::handle) only. Its last user removes it, values included.
    ///
    /// # Errors
    /// [`OpenError::InvalidOptions`] for options that cannot be, [`OpenError::Undecodable`] for a type
    /// that cannot be decoded, [`OpenError::System`] if the kernel refuses; [`OpenError`] otherwise.
    /// Nothing is left behind then.
    pub fn private(&self) -> Result<Channel<T, C>, OpenError> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let wanted = self.wanted(Name::Key(Key::private()), Purpose::Private)?;
            match self.make(&wanted) {
                Ok(control) => return self.channel(control),
                // Another object has the key already: draw another.
                Err(
                    error @ (OpenError::AlreadyExists { .. }
                    | OpenError::KeyCollision { .. }
                    | OpenError::NotOwned { .. }
                    | OpenError::OtherOptions { .. }
                    | OpenError::WrongVersion { .. }
                    | OpenError::Corrupt { .. }
                    | OpenError::Busy { .. }),
                ) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or(OpenError::UndoIgnored))
    }

    /// Creates, if the kernel's limits allow a channel of these sizes.
    fn make(&self, wanted: &Wanted) -> Result<Control, OpenError> {
        if self.inline_limit > message_limits().0.saturating_sub(ENVELOPE) {
            return Err(wanted.invalid(self.inline_limit_refused()));
        }
        control::create(wanted)
    }

    fn inline_limit_refused(&self) -> String {
        let (msgmax, _) = message_limits();
        let longest = msgmax.saturating_sub(ENVELOPE);
        format!(
            "inline_limit is {}, and may be at most {longest}: the sysctl kernel.msgmax is {msgmax}, \
             less {ENVELOPE} bytes of envelope",
            self.inline_limit,
        )
    }

    fn channel(&self, control: Control) -> Result<Channel<T, C>, OpenError> {
        // On a single processor, a side that spins keeps the other from doing what it waits for.
        let alone = process::online_cpus() == 1;
        let default = if alone { Duration::ZERO } else { Duration::from_micros(20) };
        let spin = self.spin.unwrap_or(default);
        let local = Local { spin, trust: self.trust, stays_open: self.stays_open };
        Ok(Channel::from_control(control.shared(self.heads)?, local))
    }

    fn wanted(&self, name: Name, purpose: Purpose) -> Result<Wanted, OpenError> {
        let schema = self.schema.clone().unwrap_or_else(C::schema);
        if let Some(why) = schema.undecodable() {
            return Err(OpenError::Undecodable { name, why: why.to_owned() });
        }
        let private = purpose == Purpose::Private;
        let layout = self.layout(purpose != Purpose::Open).map_err(|what| {
            let name = (!private).then(|| name.clone());
            OpenError::InvalidOptions { name, what }
        })?;
        Ok(Wanted {
            name,
            layout,
            mode: self.mode,
            durable: self.durable && !private,
            private,
            calls: self.calls,
            owner: self.owner,
            schema,
            codec: self.codec,
            any_type: self.any_type,
            spelling: self.spelling,
            lock_wait: self.lock_wait,
        })
    }

    /// Where everything stands; or which option cannot be, and what it may be.
    fn layout(&self, creates: bool) -> Result<Layout, String> {
        if !(1..=MAX_LANES).contains(&self.lanes) {
            let option = self.spelling.lanes;
            return Err(format!("{option} is {}, and may be 1 to {MAX_LANES}", self.lanes));
        }
        if self.mode & !0o777 != 0 || self.mode & 0o600 != 0o600 {
            return Err(format!(
                "mode is {:04o}: it must be permission bits, and let the owner read and write",
                self.mode
            ));
        }
        // More than the sysctl can be set to; what it is set to matters to a creator alone.
        if self.inline_limit > i32::MAX as usize - ENVELOPE {
            return Err(self.inline_limit_refused());
        }
        if self.max_value == 0 {
            return Err("max_value is 0, and must be at least 1".to_owned());
        }
        if self.inline_limit == 0 && matches!(self.capacity, RingSize::Exactly(0)) {
            return Err("inline_limit and capacity are both 0: no path is left".to_owned());
        }
        if !(1..=MAX_RECEIVERS).contains(&self.receivers) {
            return Err(format!(
                "receivers is {}, and may be 1 to {MAX_RECEIVERS}",
                self.receivers
            ));
        }
        let max_waiting = self.max_waiting.map_or(0, |values| values as u64);
        if self.max_waiting == Some(0) {
            return Err("max_waiting is 0, and must be at least 1".to_owned());
        }
        if max_waiting > 0 && self.inline_limit == 0 {
            return Err(
                "max_waiting needs a queue, in which the kernel counts, and inline_limit is 0: leave one of \
                 them out, or bound each sender's bytes with capacity"
                    .to_owned(),
            );
        }
        let Spelling { no_return_ring, .. } = self.spelling;
        let sizes = [self.capacity, self.return_capacity];
        let rings = sizes.iter().filter(|size| !matches!(size, RingSize::Exactly(0))).count();
        let window = sizes.iter().any(|size| matches!(size, RingSize::Window(_)));
        let counted = (creates && window && memory_is_counted()).then_some(rings * self.lanes);
        let (ring_lines, ring_window) =
            self.capacity.lines("capacity", self.spelling.no_ring, counted)?;
        let (return_lines, return_window) =
            self.return_capacity.lines("reply_capacity", no_return_ring, counted)?;
        let layout = Layout {
            lanes: self.lanes,
            receivers: self.receivers,
            ring_lines,
            ring_window,
            return_lines,
            return_window,
            inline_limit: self.inline_limit,
            max_value: self.max_value,
            max_waiting,
        };
        if self.receivers > 1 && !layout.is_queue_only() {
            return Err(format!(
                "receivers is {}: several need a channel without rings, whose values are messages \
                 alone, by a capacity of 0 and an inline_limit above 0",
                self.receivers
            ));
        }
        if !layout.is_sound() {
            return Err(format!(
                "{} is {} and capacity is {}: their product is more than an address space holds",
                self.spelling.lanes,
                self.lanes,
                ring_lines as usize * LINE
            ));
        }
        Ok(layout)
    }
}

impl<T, C> Clone for Options<T, C> {
    fn clone(&self) -> Self {
        Options { schema: self.schema.clone(), value: PhantomData, ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of the ring and of its window.
    fn sizes(size: RingSize, counted: Option<usize>) -> (usize, usize) {
        let (lines, window) = size.lines("capacity", true, counted).unwrap();
        (lines as usize * LINE, window as usize * LINE)
    }

    #[test]
    fn rings_are_smaller_where_memory_is_counted_in_advance() {
        let (window, exactly) = (RingSize::Window(WINDOW), RingSize::Exactly(1 << 20));
        assert_eq!(sizes(window, None), (LARGE, WINDOW));
        for (rings, bytes) in [(1, WINDOW), (32, WINDOW), (33, 128 << 10), (8192, COUNTED_MIN)] {
            assert_eq!(sizes(window, Some(rings)), (bytes, bytes), "{rings} rings");
            assert_eq!(sizes(exactly, Some(rings)), (1 << 20, 1 << 20));
        }
        let together = |rings: usize| rings * sizes(RingSize::Window(64 << 10), Some(rings)).0;
        assert!((1..512).all(|rings| together(rings) <= COUNTED_TOTAL));
    }
}
