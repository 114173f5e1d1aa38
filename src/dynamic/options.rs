//! What a channel or a server is opened with, where its type is not there.

use std::time::Duration;

use super::channel::DynamicChannel;
use super::client::DynamicClient;
use super::coding::DynamicCodec;
use super::error::DynamicError;
use crate::channel::Channel;
use crate::codec::Raw;
use crate::control::Owner;
use crate::inspect::{ChannelKind, Inspection, inspect};
use crate::name::Name;
use crate::rpc::ClientOptions;
use crate::schema::Schema;
use crate::service::Carried;

/// What a channel or a server is opened with, where its type is not there.
#[derive(Debug, Clone)]
pub struct DynamicOptions {
    owner: Owner,
    max_value: u64,
    stays_open: bool,
    deadline: Duration,
}

impl Default for DynamicOptions {
    fn default() -> Self {
        DynamicOptions::new()
    }
}

impl DynamicOptions {
    /// The defaults that each method names.
    pub fn new() -> Self {
        DynamicOptions {
            owner: Owner::Myself,
            max_value: 64 << 20,
            stays_open: false,
            deadline: Duration::from_secs(10),
        }
    }

    /// Whose channels may be opened; default [`Owner::Myself`].
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }

    /// The longest encoded value that the channel may take, in bytes; default 64 MiB. A value of many small parts takes
    /// some fifty times as much memory as its encoding.
    pub fn max_value(mut self, bytes: u64) -> Self {
        self.max_value = bytes;
        self
    }

    /// Has receivers wait on when all senders are gone, as [`Options::stays_open`](crate::Options::stays_open) does.
    pub fn stays_open(mut self) -> Self {
        self.stays_open = true;
        self
    }

    /// The deadline of a client's call that names none; default ten seconds.
    pub fn deadline(mut self, time: Duration) -> Self {
        self.deadline = time;
        self
    }

    /// Opens a channel that was created.
    ///
    /// # Errors
    /// [`DynamicError::Inspect`] if there is no such channel; [`DynamicError`] otherwise.
    pub fn open(&self, name: impl Into<Name>) -> Result<DynamicChannel, DynamicError> {
        let name = name.into();
        let seen = look(&name, ChannelKind::Channel)?;
        let codec = DynamicCodec::of(&name, &seen.codec, &seen.schema)?;
        // What is opened is what was looked at, or is refused.
        let schema = Schema::carried(seen.type_name, seen.schema);
        let options = Channel::<Vec<u8>, Raw>::options().owner(self.owner);
        let options = options.max_value(self.max_value).schema(schema).codec(codec.name());
        let options = if self.stays_open { options.stays_open() } else { options };
        Ok(DynamicChannel::new(options.open(name)?, codec))
    }

    /// Connects to a server that is bound now.
    ///
    /// # Errors
    /// [`DynamicError::Inspect`] if there is no such server, [`DynamicError::Connect`] if there is no place at it;
    /// [`DynamicError`] otherwise.
    pub fn connect(&self, name: impl Into<Name>) -> Result<DynamicClient, DynamicError> {
        let name = name.into();
        let seen = look(&name, ChannelKind::Server)?;
        let [request, reply] = DynamicCodec::of_calls(&name, &seen.codec, &seen.schema)?;
        let schema = Schema::carried(seen.type_name, seen.schema);
        let carried = Carried { schema, codec: request.name() };
        let options = ClientOptions::new().owner(self.owner).max_value(self.max_value);
        let options = options.deadline(self.deadline).carried(carried);
        Ok(DynamicClient::new(options.connect::<Vec<u8>, Vec<u8>, Raw>(name)?, request, reply))
    }
}

fn look(name: &Name, expected: ChannelKind) -> Result<Inspection, DynamicError> {
    let seen = inspect(name.clone())?;
    match seen.kind == expected {
        true => Ok(seen),
        false => Err(DynamicError::WrongKind { name: name.clone(), found: seen.kind, expected }),
    }
}
