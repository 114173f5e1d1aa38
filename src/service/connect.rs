//! Connecting to what is bound.

use std::time::Duration;

use super::{ConnectError, Protocol};
use crate::channel::Untyped;
use crate::codec::Codec;
use crate::control::BRIEFLY;
use crate::name::Name;
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
        // What a handle stands for was there, and does not come again.
        let creation = if matches!(name, Name::Handle(_)) { Duration::ZERO } else { wait };
        let options = Channel::<T, C>::options()
            .owner(self.owner)
            .max_value(self.max_value)
            .wait_for_creation(creation)
            .lock_wait(wait.max(BRIEFLY));
        let channel = protocol.apply(options, self.spin).open(name.clone());
        let channel = channel.map_err(|error| ConnectError::of_open(kind, error))?;
        channel.untyped().sender().map_err(|error| ConnectError::of_attach(kind, error))
    }
}
