//! Which value it is, wherever it goes.

/// Tell the lane of a message and of a value in fragments from that of a record in an id.
pub(super) const MESSAGE: u64 = 1 << 32;
pub(super) const LONG: u64 = 1 << 33;

/// Which value of which channel: the same as long as it stands there, in every process that looks, and no
/// other value's.
///
/// ```
/// use std::time::Duration;
///
/// use sysv_channel::Channel;
/// use sysv_channel::bridge::{Outlet, ValueId};
/// use sysv_channel::codec::Raw;
///
/// let channel = Channel::<Vec<u8>, Raw>::private()?;
/// channel.sender()?.send(&vec![1])?;
/// let id = Outlet::attach(&channel)?.next(Duration::MAX, |id, _, _| id)?;
/// assert_eq!(ValueId::from_bytes(id.to_bytes()), id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId([u64; 3]);

impl ValueId {
    pub(super) fn from_words(words: [u64; 3]) -> Self {
        ValueId(words)
    }

    pub(super) fn words(self) -> [u64; 3] {
        self.0
    }

    /// Whether the value goes in fragments, and its sender may begin it again.
    pub(super) fn is_long(self) -> bool {
        self.0[1] & LONG != 0
    }

    /// Whether both values came by one lane, and in one way.
    pub(super) fn is_of_lane_of(self, other: ValueId) -> bool {
        self.0[..2] == other.0[..2]
    }

    /// The id as it travels.
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        for (part, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            part.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The id that has travelled. Bytes that no id was are the id of no value.
    pub fn from_bytes(bytes: [u8; 24]) -> Self {
        let word = |at: usize| {
            let part = std::array::from_fn(|index| bytes[at * 8 + index]);
            u64::from_le_bytes(part)
        };
        ValueId([word(0), word(1), word(2)])
    }
}
