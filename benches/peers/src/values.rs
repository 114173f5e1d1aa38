//! What is sent.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::hint::black_box;

use bincode::config::{Configuration, Fixint, LittleEndian};
use iceoryx2::prelude::ZeroCopySend;
use sysv_channel::codec::Bytes;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::Failure;

/// How both sides wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wait {
    /// By looking time and again.
    Spin,
    /// By sleeping in the kernel.
    Block,
}

/// The codec as this crate has it, for those that bring none.
pub const CODEC: Configuration<LittleEndian, Fixint> =
    bincode::config::standard().with_fixed_int_encoding();

/// A kind of values, each of which is numbered.
pub trait Value: Clone + Send + 'static {
    /// One of so many bytes, where a value of this kind can have any number of them.
    fn sized(len: usize) -> Self;
    fn set_id(&mut self, id: u64);
    fn id(&self) -> u64;
}

/// A small one that serde knows.
pub trait Small: Value + Serialize + DeserializeOwned {
    /// As many bytes as one takes, encoded.
    const LEN: usize;
    /// Encodes without any channel.
    fn encode(&self, out: &mut [u8]) -> Result<usize, Failure>;
    fn decode(bytes: &[u8]) -> Result<Self, Failure>;
}

/// The small struct: 44 bytes, encoded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub id: u64,
    pub ts: u64,
    pub price: f64,
    pub qty: u32,
    pub symbol: String,
}

impl Order {
    pub fn new(id: u64) -> Self {
        Order { id, ts: 1_700_000_000, price: 101.25, qty: 300, symbol: "ACMEWXYZ".to_owned() }
    }
}

impl Value for Order {
    fn sized(_: usize) -> Self {
        Order::new(0)
    }

    fn set_id(&mut self, id: u64) {
        self.id = id;
    }

    fn id(&self) -> u64 {
        self.id
    }
}

impl Small for Order {
    const LEN: usize = 44;

    #[inline]
    fn encode(&self, out: &mut [u8]) -> Result<usize, Failure> {
        Ok(bincode::serde::encode_into_slice(self, out, CODEC)?)
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<Self, Failure> {
        Ok(bincode::serde::decode_from_slice(bytes, CODEC)?.0)
    }
}

/// The same as plain old data: 48 bytes, the next size without padding.
#[derive(
    Debug, Clone, Copy, Serialize, Deserialize, FromBytes, IntoBytes, Immutable, ZeroCopySend,
)]
#[repr(C)]
pub struct Tick {
    pub id: u64,
    pub ts: u64,
    pub price: f64,
    pub qty: u32,
    pub flags: u32,
    pub symbol: [u8; 16],
}

impl Value for Tick {
    fn sized(_: usize) -> Self {
        let Order { id, ts, price, qty, .. } = Order::new(0);
        Tick { id, ts, price, qty, flags: 0, symbol: *b"ACMEWXYZ        " }
    }

    fn set_id(&mut self, id: u64) {
        self.id = id;
    }

    fn id(&self) -> u64 {
        self.id
    }
}

impl Small for Tick {
    const LEN: usize = size_of::<Tick>();

    #[inline]
    fn encode(&self, out: &mut [u8]) -> Result<usize, Failure> {
        out[..Self::LEN].copy_from_slice(self.as_bytes());
        Ok(Self::LEN)
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<Self, Failure> {
        Tick::read_from_bytes(bytes).map_err(|_| "that is no tick".into())
    }
}

/// Owned by the sender, and by the receiver after it was received. The id is in the first bytes.
impl Value for Bytes {
    fn sized(len: usize) -> Self {
        Bytes::from(vec![7; len])
    }

    fn set_id(&mut self, id: u64) {
        self[..8].copy_from_slice(&id.to_le_bytes());
    }

    fn id(&self) -> u64 {
        id_of(self)
    }
}

/// Bytes that are written and read in the channel's own memory. Either all of them, or only the
/// first eight: then what is measured is the hand-over alone.
#[derive(Clone)]
pub struct Lent<const ALL: bool> {
    pub bytes: Vec<u8>,
}

impl<const ALL: bool> Lent<ALL> {
    /// Writes into the channel's memory.
    #[inline]
    pub fn fill(&self, memory: &mut [u8]) {
        let len = if ALL { self.bytes.len() } else { 8 };
        memory[..len].copy_from_slice(&self.bytes[..len]);
    }

    /// Reads the channel's memory, and says which id is there.
    #[inline]
    pub fn look(memory: &[u8]) -> u64 {
        if ALL {
            let words = memory.chunks_exact(8).map(id_of);
            black_box(words.fold(0, u64::wrapping_add));
        }
        id_of(memory)
    }
}

impl<const ALL: bool> Value for Lent<ALL> {
    fn sized(len: usize) -> Self {
        Lent { bytes: vec![7; len] }
    }

    fn set_id(&mut self, id: u64) {
        self.bytes[..8].copy_from_slice(&id.to_le_bytes());
    }

    fn id(&self) -> u64 {
        id_of(&self.bytes)
    }
}

#[inline]
pub fn id_of(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |&first| u64::from_le_bytes(first))
}
