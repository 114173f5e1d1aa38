//! What a value is sent as.

use std::cell::RefCell;

use crate::codec::{EncodeError, Reader, Writer};
use crate::control::links::Proof;

/// What a value is sent as: its encoding, perhaps behind a head of the layer above.
///
/// Asked for more than once where the first try finds too little room.
pub(in crate::channel) trait Encode {
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), EncodeError>;

    /// How many bytes of it are a head of the layer above, and so do not count against the longest
    /// value.
    #[inline]
    fn head(&self) -> usize {
        0
    }

    /// Whether it is a record wherever there are rings, also where it is short enough for a message.
    const IN_RING: bool = false;

    /// Told before any of it is published how it will be known afterwards whether it was sent.
    #[inline]
    fn goes_as(&self, _proof: Proof) {}

    /// Whether it takes what comes back while it waits for room.
    const TAKES_REPLIES: bool = false;

    /// Takes what came back.
    fn take_reply(&self, _reply: Reader<'_>) {}
}

/// A value behind a head of the layer above, which `encode` writes too.
pub(in crate::channel) struct Headed<F> {
    pub(in crate::channel) head: usize,
    pub(in crate::channel) encode: F,
}

impl<F: Fn(&mut Writer<'_>) -> Result<(), EncodeError>> Encode for Headed<F> {
    #[inline]
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        (self.encode)(out)
    }

    #[inline]
    fn head(&self) -> usize {
        self.head
    }
}

/// A request. While its sender waits for room it takes replies, since a server may make room for requests
/// only once its replies have gone.
pub(in crate::channel) struct Request<F, A> {
    pub(in crate::channel) value: Headed<F>,
    pub(in crate::channel) take_reply: RefCell<A>,
}

impl<F, A> Encode for Request<F, A>
where
    F: Fn(&mut Writer<'_>) -> Result<(), EncodeError>,
    A: FnMut(Reader<'_>),
{
    #[inline]
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.value.encode(out)
    }

    #[inline]
    fn head(&self) -> usize {
        self.value.head()
    }

    const TAKES_REPLIES: bool = true;

    fn take_reply(&self, reply: Reader<'_>) {
        (self.take_reply.borrow_mut())(reply);
    }
}

impl<F: Fn(&mut Writer<'_>) -> Result<(), EncodeError>> Encode for F {
    #[inline]
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        self(out)
    }
}
