//! Connecting to what is bound.

use std::time::Duration;

use super::{ATTEMPTS, ConnectError, Protocol};
use crate::channel::Untyped;
use crate::codec::Codec;
use crate::control::BRIEFLY;
use crate::error::{AttachError, OpenError};
use crate::name::Name;
use crate::sys::{Deadline, Fault, fault};
use crate::{Channel, Owner, Sender};

/// What is trusted and expected of a server or a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectOptions {
    pub(crate) owner: Owner,
    pub(crate) max_value: u64,
    pub(crate) spin: Option<Duration>,
}

impl ConnectOptions {
    pub(crate) const fn new() -> Self {
        ConnectOptions { owner: Owner::Myself, max_value: 64 << 20, spin: None }
    }

    /// Takes a place at the service of this name, and waits so long for it to be bound.
    pub(crate) fn connect<T, C: Codec<T>>(
        &self,
        protocol: Protocol,
        name: &Name,
        wait: Duration,
    ) -> Result<Sender<(), Untyped>, ConnectError> {
        let kind = protocol.kind;
        let options = Channel::<T, C>::options().owner(self.owner).max_value(self.max_value);
        let options = protocol.apply(options, self.spin).lock_wait(wait.max(BRIEFLY));
        let deadline = Deadline::after(wait);
        // What a handle stands for was there, and does not come again.
        let is_named = !matches!(name, Name::Handle(_));
        for _ in 0..ATTEMPTS {
            let creation = if is_named { deadline.remaining() } else { Some(Duration::ZERO) };
            let options = options.clone().wait_for_creation(creation.unwrap_or(Duration::MAX));
            let channel = options.open(name.clone());
            let channel = channel.map_err(|error| ConnectError::of_open(kind, error))?;
            match channel.untyped().sender() {
                // Removed since it was opened: the name may have another.
                Err(AttachError::Removed { .. }) if is_named && !fault(Fault::ConnectedOnce) => {}
                sender => return sender.map_err(|error| ConnectError::of_attach(kind, error)),
            }
        }
        Err(ConnectError::Open(OpenError::Unsettled { name: name.clone() }))
    }
}
