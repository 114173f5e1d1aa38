//! What a channel or a server is opened with, where its type is not there.

use std::time::Duration;

use super::channel::DynamicChannel;
use super::client::DynamicClient;
use super::coding::DynamicCodec;
use super::error::DynamicError;
use super::server::DynamicServer;
use crate::channel::{Channel, Options};
use crate::codec::Raw;
use crate::control::Owner;
use crate::error::OpenError;
use crate::inspect::{ChannelKind, Inspection, inspect};
use crate::name::Name;
use crate::rpc::{BindError, ClientOptions, Server, ServerOptions, schema_of_calls};
use crate::schema::Schema;
use crate::service::Carried;

/// What a channel or a server is opened or made with, where its type is not there.
#[derive(Debug, Clone)]
pub struct DynamicOptions {
    channel: Options<Vec<u8>, Raw>,
    client: ClientOptions,
    server: ServerOptions,
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
            channel: Channel::options(),
            client: ClientOptions::new(),
            server: ServerOptions::new(),
        }
    }

    /// What channels are [created](DynamicOptions::create) and opened with: sizes, mode, whether they are durable. What
    /// was said here of a channel before, by the other methods, is no longer so. The
    /// [schema](crate::Options::schema) is that of the shape.
    pub fn channel(mut self, options: Options<Vec<u8>, Raw>) -> Self {
        self.channel = options;
        self
    }

    /// What servers are [bound](DynamicOptions::bind) with: sizes, mode, how many clients. What was said here of a
    /// server before, by the other methods, is no longer so.
    pub fn server(mut self, options: ServerOptions) -> Self {
        self.server = options;
        self
    }

    /// Whose channels and servers may be opened or taken over; default [`Owner::Myself`].
    pub fn owner(mut self, owner: Owner) -> Self {
        self.channel = self.channel.owner(owner);
        self.client = self.client.owner(owner);
        self.server = self.server.owner(owner);
        self
    }

    /// The longest encoded value that the channel may take, in bytes; default 64 MiB. A value of many small parts takes
    /// some fifty times as much memory as its encoding.
    pub fn max_value(mut self, bytes: u64) -> Self {
        self.channel = self.channel.max_value(bytes);
        self.client = self.client.max_value(bytes);
        self.server = self.server.max_value(bytes);
        self
    }

    /// Has receivers wait on when all senders are gone, as [`Options::stays_open`](crate::Options::stays_open) does.
    pub fn stays_open(mut self) -> Self {
        self.channel = self.channel.stays_open();
        self
    }

    /// The deadline of a client's call that names none; default ten seconds.
    pub fn deadline(mut self, time: Duration) -> Self {
        self.client = self.client.deadline(time);
        self
    }

    /// Opens a channel that was created.
    ///
    /// # Errors
    /// [`DynamicError::Inspect`] if there is no such channel; [`DynamicError`] otherwise.
    pub fn open(&self, name: impl Into<Name>) -> Result<DynamicChannel, DynamicError> {
        let name = name.into();
        let seen = look(&name, ChannelKind::Channel)?;
        let codec = DynamicCodec::of(Some(&name), &seen.codec, &seen.schema)?;
        // What is opened is what was looked at, or is refused.
        let schema = Schema::carried(seen.type_name, seen.schema);
        let options = self.channel.clone().schema(schema).codec(codec.name());
        Ok(DynamicChannel::new(options.open(name)?, codec))
    }

    /// Creates a channel of the codec's shape, with the options of [`channel`](DynamicOptions::channel): to programs
    /// that have the type it is one of that type. An unused one of the same kind is adopted, with the values that it holds.
    ///
    /// ```
    /// # #[cfg(feature = "bincode")] {
    /// use sysv_channel::Channel;
    /// use sysv_channel::dynamic::{DynamicChannel, DynamicOptions};
    ///
    /// # let name = format!("doc-dynamic-create-{}", std::process::id());
    /// # let (orders, journal) = (&format!("{name}-orders"), &format!("{name}-journal"));
    /// let orders = Channel::<(u64, String)>::create(orders)?;
    ///
    /// // A program that has not the type, and makes a channel like that one:
    /// let codec = DynamicChannel::open(orders.handle())?.codec().clone();
    /// let options = DynamicOptions::new().channel(Channel::options().capacity(1 << 20).lanes(1));
    /// let created = options.create(journal, codec)?;
    ///
    /// let journal = Channel::<(u64, String)>::open(journal)?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`DynamicError::Open`] as [`Options::create`](crate::Options::create).
    pub fn create(
        &self,
        name: impl Into<Name>,
        codec: DynamicCodec,
    ) -> Result<DynamicChannel, DynamicError> {
        Ok(DynamicChannel::new(self.shaped(&codec).create(name)?, codec))
    }

    /// Opens a channel of the codec's shape, or creates it if there is none.
    ///
    /// # Errors
    /// [`DynamicError::Open`] as [`Options::open_or_create`](crate::Options::open_or_create): so where the channel
    /// is of another shape or codec; [`DynamicError::WrongKind`] if it is a server or a mailbox.
    pub fn open_or_create(
        &self,
        name: impl Into<Name>,
        codec: DynamicCodec,
    ) -> Result<DynamicChannel, DynamicError> {
        let name = name.into();
        let opened = self.shaped(&codec).open_or_create(name.clone());
        let opened = opened.map_err(|error| told_kind(&name, ChannelKind::Channel, error));
        Ok(DynamicChannel::new(opened?, codec))
    }

    /// The options of a channel of this shape.
    fn shaped(&self, codec: &DynamicCodec) -> Options<Vec<u8>, Raw> {
        self.channel.clone().schema(codec.shape().schema()).codec(codec.name())
    }

    /// Connects to a server that is there now: it is not waited for. One that is gone counts as there as long as
    /// another client is connected to it, as with [`ClientOptions::connect`].
    ///
    /// # Errors
    /// [`DynamicError::Inspect`] if there is no such server nor client, [`DynamicError::Connect`] if there is no place at it;
    /// [`DynamicError`] otherwise.
    pub fn connect(&self, name: impl Into<Name>) -> Result<DynamicClient, DynamicError> {
        let name = name.into();
        let seen = look(&name, ChannelKind::Server)?;
        let [request, reply] = DynamicCodec::of_calls(&name, &seen.codec, &seen.schema)?;
        let schema = Schema::carried(seen.type_name, seen.schema);
        let carried = Carried { schema, codec: request.name() };
        let options = self.client.clone().carried(carried);
        Ok(DynamicClient::new(options.connect::<Vec<u8>, Vec<u8>, Raw>(name)?, request, reply))
    }

    /// Binds a server to a name, whose clients see the shapes of the two codecs as its types.
    ///
    /// # Errors
    /// [`DynamicError::CodecsDiffer`] unless requests and replies are encoded by one codec, [`DynamicError::WrongKind`]
    /// if the name is that of a channel or a mailbox, [`DynamicError::Bind`] as
    /// [`ServerOptions::bind`] has it: so where clients or another server are there whose types are others.
    pub fn bind(
        &self,
        name: impl Into<Name>,
        request: DynamicCodec,
        reply: DynamicCodec,
    ) -> Result<DynamicServer, DynamicError> {
        self.bind_by(name.into(), request, reply, |options, name| options.bind(name))
    }

    /// Waits until the name has no server, and then is the server, as [`ServerOptions::stand_by`].
    ///
    /// # Errors
    /// [`BindError::Timeout`](crate::rpc::BindError::Timeout) if the other server is there all the time; else as
    /// [`bind`](DynamicOptions::bind).
    pub fn stand_by(
        &self,
        name: impl Into<Name>,
        request: DynamicCodec,
        reply: DynamicCodec,
        timeout: Duration,
    ) -> Result<DynamicServer, DynamicError> {
        self.bind_by(name.into(), request, reply, |options, name| options.stand_by(name, timeout))
    }

    fn bind_by(
        &self,
        name: Name,
        request: DynamicCodec,
        reply: DynamicCodec,
        bind: impl FnOnce(ServerOptions, Name) -> Result<Server<Vec<u8>, Vec<u8>, Raw>, BindError>,
    ) -> Result<DynamicServer, DynamicError> {
        let codec = request.name();
        if codec != reply.name() {
            return Err(DynamicError::CodecsDiffer { name, request: codec, reply: reply.name() });
        }
        let schema = schema_of_calls(&request.shape().schema(), &reply.shape().schema());
        let options = self.server.clone().carried(Carried { schema, codec });
        let server = bind(options, name.clone());
        let server = server.map_err(|error| told_kind(&name, ChannelKind::Server, error));
        Ok(DynamicServer::new(server?, request, reply))
    }
}

/// Says of what has another type because it is of another kind that it is that.
fn told_kind(name: &Name, expected: ChannelKind, error: impl Into<DynamicError>) -> DynamicError {
    let error = error.into();
    let differs = match &error {
        DynamicError::Open(error) | DynamicError::Bind(BindError::Open(error)) => {
            matches!(error, OpenError::WrongType { .. } | OpenError::WrongCodec { .. })
        }
        _ => false,
    };
    match look(name, expected) {
        Err(wrong @ DynamicError::WrongKind { .. }) if differs => wrong,
        _ => error,
    }
}

fn look(name: &Name, expected: ChannelKind) -> Result<Inspection, DynamicError> {
    let seen = inspect(name.clone())?;
    match seen.kind == expected {
        true => Ok(seen),
        false => Err(DynamicError::WrongKind { name: name.clone(), found: seen.kind, expected }),
    }
}
