//! Reading in place, for programs that trust their peers.

use crate::sys::Segment;

/// The promise that every process on a channel keeps to this crate's protocol.
///
/// A slice of shared memory is sound only if no process writes to it while it is lent. A peer that goes
/// through this crate never does; another program with permission to attach the segment could.
///
/// ```
/// use sysv_channel::{Channel, TrustedPeers};
///
/// // SAFETY: the channel is private, and only this program opens it.
/// let trust = unsafe { TrustedPeers::promise() };
/// let channel = Channel::<String>::options().in_place(trust).private()?;
/// let (tx, rx) = (channel.sender()?, channel.receiver()?);
/// tx.send(&"lent, not copied".to_owned())?;
/// assert!(rx.recv_in_place()?.bytes().ends_with(b"not copied"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct TrustedPeers(());

impl TrustedPeers {
    /// Makes the promise.
    ///
    /// # Safety
    /// Every process that attaches the channel's segment, for as long as this process has it open,
    /// must do so through this crate. Mode 0600 and trust in one's own programs make it true.
    pub const unsafe fn promise() -> Self {
        TrustedPeers(())
    }

    /// The promise of a model, in which nothing but this crate has access to the memory.
    #[cfg(all(test, loom))]
    pub(crate) fn of_a_model() -> Self {
        TrustedPeers(())
    }
}

/// Lends bytes of a segment that a receiver has in hand.
pub(crate) fn lend(segment: &Segment, offset: usize, len: usize, _trust: TrustedPeers) -> &[u8] {
    // SAFETY: the bytes are a published record or a filled slot that was not consumed yet, which no
    // process that keeps to the protocol writes to; `TrustedPeers` promises that all do.
    unsafe { segment.lend(offset, len) }
}
