//! Values that know whether they are whole, and the channels and handles that carry them.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sysv_channel::codec::{Bytes, Codec};
use sysv_channel::{Channel, DefaultCodec, Handle, Key, Options};

/// The three shapes of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    Mixed,
    RingOnly,
    QueueOnly,
}

impl Shape {
    pub(crate) const ALL: [Shape; 3] = [Shape::Mixed, Shape::RingOnly, Shape::QueueOnly];

    /// The shape that `Debug` calls so; mixed if there is none.
    pub(crate) fn named(name: &str) -> Self {
        let named = |shape: &Shape| format!("{shape:?}") == name;
        Shape::ALL.into_iter().find(named).unwrap_or(Shape::Mixed)
    }

    /// Options with sizes so small that everything runs full quickly.
    pub(crate) fn options<T>(self) -> Options<T, DefaultCodec>
    where
        DefaultCodec: Codec<T>,
    {
        let options = Channel::<T>::options().lanes(4);
        match self {
            Shape::Mixed => options.capacity(16 << 10).inline_limit(256),
            Shape::RingOnly => options.capacity(16 << 10).inline_limit(0),
            Shape::QueueOnly => options.capacity(0).inline_limit(4096),
        }
    }

    /// A length for a parcel's body that takes every path there is, mostly the short ones.
    pub(crate) fn some_len(self, id: u64) -> usize {
        let len = |bound: u64| (id.wrapping_mul(0x9e37_79b9) % bound) as usize;
        match (self, id % 16) {
            (_, 0..10) => len(200),
            (Shape::QueueOnly, _) => len(4000),
            (_, 15) => len(60_000),
            _ => len(7000),
        }
    }
}

/// A value that shows whether it arrived whole.
#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
pub(crate) struct Parcel {
    pub(crate) sender: u64,
    pub(crate) id: u64,
    body: Bytes,
}

impl Parcel {
    pub(crate) fn new(sender: u64, id: u64, len: usize) -> Self {
        let seed = sender.wrapping_mul(0x51_7cc1).wrapping_add(id);
        let byte =
            |at: usize| ((at as u64).wrapping_add(seed).wrapping_mul(0x9e37_79b1) >> 8) as u8;
        Parcel { sender, id, body: (0..len).map(byte).collect::<Vec<_>>().into() }
    }

    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether it is what [`Parcel::new`] made.
    pub(crate) fn is_whole(&self) -> bool {
        *self == Parcel::new(self.sender, self.id, self.len())
    }

    /// Panics unless it is whole.
    pub(crate) fn check(&self) {
        assert!(self.is_whole(), "sender {}, id {}: damaged", self.sender, self.id);
    }
}

/// What opens one very channel, as text.
pub(crate) fn write_handle(handle: Handle) -> String {
    let (key, incarnation) = handle_parts(handle);
    format!("{key} {incarnation}")
}

pub(crate) fn read_handle(text: &str) -> Handle {
    let (key, incarnation) = text.split_once(' ').expect("two numbers");
    let parts: (i32, u64) = (key.parse().expect("a key"), incarnation.parse().expect("a number"));
    recode(&parts)
}

/// The key of a private channel.
pub(crate) fn key_of(handle: Handle) -> Key {
    Key::new(handle_parts(handle).0).expect("a channel's key is not zero")
}

fn handle_parts(handle: Handle) -> (i32, u64) {
    recode(&handle)
}

/// The same data as another type.
fn recode<A: Serialize, B: DeserializeOwned>(value: &A) -> B {
    let config = bincode::config::standard();
    let bytes = bincode::serde::encode_to_vec(value, config).expect("it can be encoded");
    bincode::serde::decode_from_slice(&bytes, config).expect("it can be decoded").0
}
