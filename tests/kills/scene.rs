//! What travels on a channel while somebody is killed.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sysv_channel::codec::Bytes;
use sysv_channel::{Channel, DefaultCodec, Options};

use crate::common::kernel::Kind;
use crate::common::{Shape, Stage};

/// Sizes of channel and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Load {
    /// Short values.
    Small,
    /// Values that go by ring, in one record.
    Bulk,
    /// Both, in turn.
    Mixed,
    /// Values longer than the ring, between short ones.
    Fragments,
    /// A queue that holds three values.
    FullQueue,
    /// A ring that holds two.
    FullRing,
    /// A queue that holds two descriptors, and a sender that waits for a moment only and tries
    /// again.
    GivingUp,
}

/// A channel under a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scene {
    pub(crate) load: Load,
    pub(crate) shape: Shape,
}

impl Scene {
    pub(crate) const ALL: [Scene; 13] = [
        Scene { load: Load::Small, shape: Shape::Mixed },
        Scene { load: Load::Small, shape: Shape::RingOnly },
        Scene { load: Load::Small, shape: Shape::QueueOnly },
        Scene { load: Load::Bulk, shape: Shape::Mixed },
        Scene { load: Load::Bulk, shape: Shape::RingOnly },
        Scene { load: Load::Mixed, shape: Shape::Mixed },
        Scene { load: Load::Mixed, shape: Shape::RingOnly },
        Scene { load: Load::Fragments, shape: Shape::Mixed },
        Scene { load: Load::Fragments, shape: Shape::RingOnly },
        Scene { load: Load::FullQueue, shape: Shape::QueueOnly },
        Scene { load: Load::FullQueue, shape: Shape::Mixed },
        Scene { load: Load::FullRing, shape: Shape::RingOnly },
        Scene { load: Load::GivingUp, shape: Shape::Mixed },
    ];

    /// Creates the channel, empty.
    pub(crate) fn create(self, stage: &Stage) -> Channel<Parcel> {
        let channel = self.options().create(stage.name()).expect("nobody uses it");
        if self.load == Load::GivingUp {
            let objects = stage.objects();
            let queue = objects.into_iter().find(|object| object.kind == Kind::Queue);
            queue.expect("a queue").set_capacity(40);
        }
        channel
    }

    pub(crate) fn options(self) -> Options<Parcel, DefaultCodec> {
        let options = Channel::<Parcel>::options().lanes(4);
        // By default a window of the ring is used, which ends now and then.
        let options = match self.load {
            _ if self.shape == Shape::QueueOnly => options.capacity(0),
            Load::Fragments | Load::FullRing => options.capacity(4 << 10),
            Load::Mixed => options.capacity(64 << 10),
            _ => options,
        };
        match self.shape {
            Shape::Mixed if self.load != Load::FullQueue => options.inline_limit(256),
            Shape::RingOnly => options.inline_limit(0),
            Shape::QueueOnly | Shape::Mixed => options.inline_limit(5_000),
        }
    }

    /// The length of a value's body.
    fn len(self, id: u64) -> usize {
        let varied =
            |from: u64, to: u64| (from + id.wrapping_mul(0x9e37_79b9) % (to - from)) as usize;
        match self.load {
            Load::Small => varied(0, 100),
            Load::Bulk => varied(500, 7_000),
            Load::GivingUp => varied(500, 1_000),
            Load::Mixed if id.is_multiple_of(2) => varied(0, 100),
            Load::Mixed => varied(300, 20_000),
            Load::Fragments if id.is_multiple_of(3) => varied(0, 100),
            Load::Fragments => varied(4_000, 30_000),
            Load::FullQueue => 4_800,
            Load::FullRing => 1_200,
        }
    }

    pub(crate) fn parcel(self, sender: u64, id: u64) -> Parcel {
        Parcel { sender, id, body: pattern(sender, id, self.len(id)).into() }
    }

    /// Whether the receiver waits until the channel is full.
    pub(crate) fn fills_up(self) -> bool {
        matches!(self.load, Load::FullQueue | Load::FullRing | Load::GivingUp)
    }

    /// How many values can be sent while nobody receives.
    pub(crate) fn values_without_receiver(self) -> u64 {
        // The second one goes in fragments, and its sender waits until it was received.
        if self.load == Load::Fragments { 1 } else { 2 }
    }

    /// How a child is told of it.
    pub(crate) fn index(self) -> usize {
        Scene::ALL.iter().position(|scene| *scene == self).expect("one of them")
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {:?}", self.load, self.shape)
    }
}

/// A value that shows whether it arrived whole.
#[derive(Debug, PartialEq)]
pub(crate) struct Parcel {
    pub(crate) sender: u64,
    pub(crate) id: u64,
    body: Bytes,
}

impl Parcel {
    /// Panics unless it is whole.
    pub(crate) fn check(&self) {
        let expected = pattern(self.sender, self.id, self.body.len());
        assert!(*self.body == *expected, "sender {}, id {}: torn", self.sender, self.id);
    }
}

fn pattern(sender: u64, id: u64, len: usize) -> Vec<u8> {
    let seed = sender.wrapping_mul(0x51_7cc1).wrapping_add(id);
    let byte = |at: usize| ((at as u64).wrapping_add(seed).wrapping_mul(0x9e37_79b1) >> 8) as u8;
    (0..len).map(byte).collect()
}

impl Serialize for Parcel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.sender, self.id, Tripwire, &self.body).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Parcel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (sender, id, Tripwire, body) = Deserialize::deserialize(deserializer)?;
        Ok(Parcel { sender, id, body })
    }
}

/// A point in the middle of a value.
struct Tripwire;

impl Serialize for Tripwire {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fail::fail_point!("value.encode");
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Tripwire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fail::fail_point!("value.decode");
        <()>::deserialize(deserializer)?;
        Ok(Tripwire)
    }
}
