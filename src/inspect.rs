//! Looking at channels from outside: what there is, who uses it, what waits.
//!
//! Nothing is locked, taken or written, so no user of a channel is disturbed. No type is needed: a channel's
//! header says what it carries.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use crate::Stats;
use crate::channel::{in_hand, waiting_in_ring};
use crate::control::{Control, ReceiverWords, is_channel, lane_word, semaphores};
use crate::error::InspectError;
use crate::name::{Handle, Name};
use crate::sys::{
    Key, MessageQueue, Ordering, Ownership, QueueStat, SemaphoreSet, SystemError, SystemErrorKind,
};

/// What stands in this process's ipc namespace and has to do with this crate.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Listed {
    /// A channel, a server's or a mailbox.
    Channel(Box<Inspection>),
    /// A channel that cannot be looked at, or what is left of one.
    Unreadable {
        /// The key of its objects.
        key: Key,
        /// Who owns its semaphore set.
        ownership: Ownership,
        /// Why.
        error: InspectError,
    },
    /// A message queue that belongs to no channel: a bare [`Queue`](crate::Queue), or another program's.
    Queue {
        /// The kernel's number of the queue.
        id: i32,
        /// What the kernel says of it.
        stat: QueueStat,
    },
}

/// What a channel is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChannelKind {
    /// A [`Channel`](crate::Channel).
    Channel,
    /// Requests to a [`Server`](crate::rpc::Server).
    Server,
    /// A [`Mailbox`](crate::actor::Mailbox).
    Mailbox,
}

/// A channel as it was found: from its header, its figures, and the kernel.
///
/// While it is used its figures may be of different moments.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Inspection {
    /// Its name; `None` if it is private or was made by a key.
    pub name: Option<String>,
    /// The key of its objects.
    pub key: Key,
    /// This very channel, to open.
    pub handle: Handle,
    /// What it is used for.
    pub kind: ChannelKind,
    /// Owner, creator and mode of its semaphore set.
    pub ownership: Ownership,
    /// When it was created, to the second.
    pub created: SystemTime,
    /// The name of the codec of its values.
    pub codec: String,
    /// The short name of its type.
    pub type_name: String,
    /// The text of its [`Schema`](crate::Schema), which ends in an ellipsis where the header had no room for all
    /// of it.
    pub schema: String,
    /// Which senders, values and sizes it takes.
    pub shape: ChannelShape,
    /// `Channel`s that are open now; each of the ends of a channel keeps one.
    pub users: usize,
    /// The receivers that are attached now.
    pub receivers: Vec<ReceiverInfo>,
    /// How many processes stand by for the receiver's place.
    pub standbys: usize,
    /// The lanes that have a sender, or values of one that is gone.
    pub lanes: Vec<LaneInfo>,
    /// Messages that receivers have in hand now, or left there when they died.
    pub in_hand: usize,
    /// What the kernel says of its queue, if it has one.
    pub queue: Option<QueueStat>,
    /// Its figures since it was created. What was killed may have left its last value uncounted: see [`Stats`].
    pub stats: Stats,
    /// Bytes of its shared memory, most of which are in no memory until they are used.
    pub segment_bytes: u64,
    /// Bytes of it that are in memory; `None` where procfs does not say.
    pub resident_bytes: Option<u64>,
    /// Which process holds the lock of the channel now, as those that open and close it do for a moment:
    /// 0 for one of another pid namespace.
    pub lock_holder: Option<i32>,
    /// The lanes whose ring its sender, or another process, wrote over, so that it is not read any more.
    pub damaged_lanes: Vec<usize>,
}

/// The options that a channel was created with, as its header has them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelShape {
    /// Concurrent senders at most.
    pub lanes: usize,
    /// Concurrent receivers at most.
    pub receivers: usize,
    /// Bytes of each lane's ring; 0 where there is a queue alone.
    pub capacity: usize,
    /// Bytes of each lane's ring for replies; 0 where there are no replies.
    pub reply_capacity: usize,
    /// The longest encoded value that goes by the queue, in bytes; 0 where there is none.
    pub inline_limit: usize,
    /// The longest encoded value, in bytes.
    pub max_value: u64,
    /// How many values wait at most, if they are counted.
    pub max_waiting: Option<u64>,
    /// Whether [`unlink`](crate::Channel::unlink) alone removes it.
    pub durable: bool,
    /// Whether it has no name, and goes with its last user.
    pub private: bool,
}

/// A receiver that is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiverInfo {
    /// Its process; `None` if that is of another pid namespace.
    pub pid: Option<u32>,
    /// Whether it sleeps until something comes.
    pub sleeps: bool,
    /// Values that receivers at this place have received, as far as they [counted](Stats) them.
    pub received_values: u64,
}

/// A lane: a sender and its ring.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneInfo {
    /// Its number.
    pub lane: usize,
    /// Whether a sender has it; else the values of one that is gone wait there.
    pub attached: bool,
    /// The sender's process; `None` if there is none, or it is of another pid namespace.
    pub pid: Option<u32>,
    /// Whether the sender sleeps: until there is room, or for a reply.
    pub sleeps: bool,
    /// Values that wait in its ring. What waits on the queue is in [`Inspection::queue`].
    pub waiting_values: u64,
    /// Bytes that wait in its ring, those of half a value included.
    pub waiting_bytes: u64,
    /// Values that were sent by this lane, its former senders included, as far as they [counted](Stats) them.
    pub sent_values: u64,
    /// Encoded bytes of them.
    pub sent_bytes: u64,
}

/// What stands in this process's ipc namespace: channels, what is left of some, and message queues that belong
/// to none.
///
/// Other users' channels are listed too; what this user may not read is [`Listed::Unreadable`], and may be
/// another program's set of as many semaphores. No user of a channel is disturbed: see [`inspect`].
///
/// # Errors
/// A [`SystemError`] if the kernel does not list its objects; queues are listed from Linux 4.17 on.
///
/// ```
/// use sysv_channel::{Channel, Listed};
///
/// let name = format!("doc-list-{}", std::process::id());
/// let orders = Channel::<(u64, String)>::create(&name)?;
/// let listed = sysv_channel::list()?;
/// let mine = listed.iter().find_map(|listed| match listed {
///     Listed::Channel(channel) if channel.name.as_ref() == Some(&name) => Some(channel),
///     _ => None,
/// });
/// assert_eq!(mine.unwrap().schema, "(u64,str)");
/// # drop(orders);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn list() -> Result<Vec<Listed>, SystemError> {
    let mut listed = Vec::new();
    let mut channels = HashSet::new();
    for (set, stat) in SemaphoreSet::list()? {
        let Some(key) = Key::new(stat.ownership.key) else { continue };
        match Inspection::of(key, set) {
            Ok((_, inspection)) => listed.push(Listed::Channel(Box::new(inspection))),
            // It went meanwhile, or is no channel.
            Err(InspectError::NotFound { .. } | InspectError::KeyCollision { .. }) => continue,
            Err(InspectError::System(error))
                if error.kind() == SystemErrorKind::PermissionDenied
                    && !semaphores::could_be_channel(stat.count) =>
            {
                continue;
            }
            Err(error) => {
                listed.push(Listed::Unreadable { key, ownership: stat.ownership, error });
            }
        }
        channels.insert(key.raw());
    }
    for (queue, stat) in MessageQueue::list()? {
        if channels.contains(&stat.ownership.key) {
            continue;
        }
        // A channel may have been made since the sets were listed.
        let key = Key::new(stat.ownership.key);
        let set = key.and_then(|key| Some((key, SemaphoreSet::open(key).ok()?)));
        match set.map(|(key, set)| Inspection::of(key, set)) {
            Some(Ok((_, channel))) => listed.push(Listed::Channel(Box::new(channel))),
            // One that is being made or removed.
            _ if key.is_some_and(|key| is_channel(key) == Ok(true)) => {}
            // It went with its channel meanwhile.
            _ if queue.stat().is_err_and(|error| error.kind() == SystemErrorKind::Removed) => {}
            _ => listed.push(Listed::Queue { id: queue.id(), stat }),
        }
    }
    Ok(listed)
}

/// Looks at a channel, a server's or a mailbox, without its type: what it carries, who uses it, what waits.
///
/// Nothing is locked, taken or written: its users notice nothing. It need not be this user's; what the mode
/// lets this user read can be looked at.
///
/// # Errors
/// An [`InspectError`] if there is no such channel, or none that can be read.
///
/// ```
/// use sysv_channel::Channel;
///
/// let name = format!("doc-inspect-{}", std::process::id());
/// let name = name.as_str();
/// let orders = Channel::<u64>::create(name)?;
/// let tx = orders.sender()?;
/// tx.send(&7)?;
///
/// let seen = sysv_channel::inspect(name)?;
/// assert_eq!((seen.type_name.as_str(), seen.codec.as_str()), ("u64", "bincode 2, fixed-width, little-endian"));
/// assert_eq!(seen.lanes[0].pid, Some(std::process::id()));
/// assert_eq!((seen.receivers.len(), seen.stats.waiting), (0, 1));
/// # orders.receiver()?.recv()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn inspect(name: impl Into<Name>) -> Result<Inspection, InspectError> {
    Inspection::find(name.into()).map(|(_, inspection)| inspection)
}

impl Inspection {
    /// The channel of that name, to be looked at again, and what there is to see now.
    pub(crate) fn find(name: Name) -> Result<(Control, Self), InspectError> {
        let key = name.key()?;
        let not_found = || InspectError::NotFound { name: name.clone() };
        let set = SemaphoreSet::open(key).map_err(|error| match error.kind() {
            SystemErrorKind::NotFound => not_found(),
            _ => error.into(),
        })?;
        let (control, seen) = Inspection::of(key, set).map_err(|error| match error {
            InspectError::NotFound { .. } => not_found(),
            error => error,
        })?;
        match &name {
            Name::Text(text) if seen.name.as_deref() != Some(text) => {
                let found = match &seen.name {
                    Some(other) => format!("the channel {other:?}, whose name gives the same key"),
                    None => "a channel without a name".to_owned(),
                };
                Err(InspectError::KeyCollision { key, found })
            }
            Name::Handle(handle) if *handle != seen.handle => Err(not_found()),
            _ => Ok((control, seen)),
        }
    }

    fn of(key: Key, set: SemaphoreSet) -> Result<(Control, Self), InspectError> {
        let gone = |error| match error {
            InspectError::System(error) if error.kind() == SystemErrorKind::Removed => {
                InspectError::NotFound { name: Name::Key(key) }
            }
            error => error,
        };
        let look = || {
            let control = Control::observe(key, set)?;
            let inspection = Inspection::read(&control, set)?;
            Ok((control, inspection))
        };
        look().map_err(gone)
    }

    fn read(control: &Control, set: SemaphoreSet) -> Result<Self, SystemError> {
        let (header, layout) = (&control.header, control.layout());
        let stat = set.stat()?;
        let values = Values { set, values: set.values()? };
        let shape = ChannelShape {
            lanes: layout.lanes,
            receivers: layout.receivers,
            capacity: layout.ring_bytes(),
            reply_capacity: layout.return_bytes(),
            inline_limit: layout.inline_limit,
            max_value: layout.max_value,
            max_waiting: Some(layout.max_waiting).filter(|&values| values > 0),
            durable: header.durable,
            private: header.private,
        };
        let created = Duration::from_secs(stat.last_change.max(0) as u64);
        Ok(Inspection {
            name: Some(header.name.clone()).filter(|name| !name.is_empty()),
            key: header.key,
            handle: control.handle(),
            kind: ChannelKind::of(control),
            ownership: stat.ownership,
            created: SystemTime::UNIX_EPOCH + created,
            codec: header.codec.clone(),
            type_name: header.type_name.clone(),
            schema: header.shape.clone(),
            shape,
            users: values.at(semaphores::USERS).into(),
            receivers: receivers(control, &values),
            standbys: set.waiting_for_zero(semaphores::receiver_role(layout, 0))?.max(0) as usize,
            lanes: lanes(control, &values),
            in_hand: in_hand(control),
            queue: control.queue.map(|queue| queue.stat()).transpose()?,
            stats: Stats::read(control)?,
            segment_bytes: control.segment.len() as u64,
            resident_bytes: control.segment.id().resident(),
            lock_holder: (values.at(semaphores::LOCK) > 0)
                .then(|| set.last_pid(semaphores::LOCK))
                .transpose()?,
            damaged_lanes: (0..control.claimed())
                .filter(|&lane| {
                    let word = |at| control.lane_word(lane, at).load(Ordering::Relaxed);
                    let damaged = word(lane_word::DAMAGED_GENERATION);
                    damaged != 0 && damaged == word(lane_word::GENERATION)
                })
                .collect(),
        })
    }
}

impl ChannelKind {
    fn of(control: &Control) -> Self {
        let header = &control.header;
        match header.calls {
            true => ChannelKind::Server,
            // No type of serde's has such a part.
            false
                if header.shape.starts_with("Mailbox{message:")
                    && control.layout().return_lines > 0 =>
            {
                ChannelKind::Mailbox
            }
            false => ChannelKind::Channel,
        }
    }
}

/// The values of all semaphores of a set at one moment.
struct Values {
    set: SemaphoreSet,
    values: Vec<u16>,
}

impl Values {
    fn at(&self, index: u16) -> u16 {
        self.values.get(usize::from(index)).copied().unwrap_or_default()
    }

    /// The process that has this role, if it is held by one that has a number here.
    fn pid(&self, role: u16) -> Option<u32> {
        let pid = self.set.last_pid(role).ok()?;
        u32::try_from(pid).ok().filter(|&pid| pid > 0 && self.at(role) > 0)
    }
}

fn receivers(control: &Control, values: &Values) -> Vec<ReceiverInfo> {
    // Relaxed, as in `Stats`: each figure stands for itself.
    let word = |at| control.word(at).load(Ordering::Relaxed);
    let layout = control.layout();
    let attached = |&place: &usize| values.at(semaphores::receiver_role(layout, place)) > 0;
    let info = |place| {
        let ReceiverWords { parked, values: received, .. } = layout.receiver(place);
        ReceiverInfo {
            pid: values.pid(semaphores::receiver_role(layout, place)),
            sleeps: word(parked) != 0,
            received_values: word(received),
        }
    };
    (0..layout.receivers).filter(attached).map(info).collect()
}

fn lanes(control: &Control, values: &Values) -> Vec<LaneInfo> {
    let info = |lane| {
        let word = |at| control.lane_word(lane, at).load(Ordering::Relaxed);
        let role = semaphores::lane_role(lane);
        let (waiting_values, waiting_bytes) = waiting_in_ring(control, lane);
        let attached = values.at(role) > 0;
        LaneInfo {
            lane,
            attached,
            pid: values.pid(role),
            sleeps: attached && word(lane_word::PARKED) != 0,
            waiting_values,
            waiting_bytes,
            sent_values: word(lane_word::SENT_VALUES),
            sent_bytes: word(lane_word::SENT_BYTES),
        }
    };
    let all = (0..control.claimed()).map(info);
    all.filter(|lane| lane.attached || lane.waiting_values > 0).collect()
}
