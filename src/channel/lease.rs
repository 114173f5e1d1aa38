//! A value read in place.

use std::cell::RefMut;
use std::fmt;
use std::ops::Deref;

use super::Delivery;
use super::receiver::state::{State, received};
use crate::control::{Control, ReceiverWords};
use crate::ring::TrustedPeers;
use crate::tag::Tag;

/// The encoded bytes of a received value, lent from the channel's memory.
///
/// Dropping it hands the value over. Until then nothing else can be received, and the value counts
/// as not received: if the process dies, the next receiver gets it.
///
/// A value that does not go in one piece (see [`capacity`](crate::Options::capacity)) comes in fragments, and
/// its bytes stand in this process's own memory. It is handed over when it is lent, since its sender waits
/// for that: a process that dies with it takes it along.
pub struct Lease<'r> {
    control: &'r Control,
    state: RefMut<'r, State>,
    words: ReceiverWords,
    delivery: Delivery,
    trust: TrustedPeers,
}

impl<'r> Lease<'r> {
    /// Lends what is ready; of a value in fragments, what was handed over already.
    #[inline]
    pub(super) fn new(
        control: &'r Control,
        state: RefMut<'r, State>,
        words: ReceiverWords,
        delivery: Delivery,
        trust: TrustedPeers,
    ) -> Self {
        Lease { control, state, words, delivery, trust }
    }

    /// The encoded bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.state.sources.lend(self.control, &self.delivery, self.trust)
    }

    /// The tag that the value was sent with.
    pub fn tag(&self) -> Tag {
        self.state.sources.tag(&self.delivery)
    }
}

impl Deref for Lease<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes()
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if !self.control.is_ours() {
            // A forked child has a copy of the parent's lease.
            return;
        }
        received(self.control, &self.words, self.bytes().len());
        if !matches!(self.delivery, Delivery::Fragments { .. }) {
            self.state.sources.hand_over(self.control, &self.delivery);
        }
        self.state.sources.forget(&self.delivery);
    }
}

impl fmt::Debug for Lease<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("tag", &self.tag()).field("len", &self.bytes().len()).finish()
    }
}
