//! What a client is connected with.

use std::sync::Arc;
use std::time::Duration;

use super::Client;
use crate::channel::Untyped;
use crate::codec::Codec;
use crate::name::Name;
use crate::rpc::{ConnectError, protocol};
#[cfg(not(loom))]
use crate::service::Carried;
use crate::service::ConnectOptions;
use crate::{Owner, Sender};

/// What a client is connected with.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    wait: Duration,
    pub(super) deadline: Duration,
    pub(super) repeatable: bool,
    connect: ConnectOptions,
    /// The types of the server's header, if they are not those that this program names.
    #[cfg(not(loom))]
    carried: Option<Carried>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions::new()
    }
}

impl ClientOptions {
    /// The defaults that each method names.
    pub fn new() -> Self {
        let ten_seconds = Duration::from_secs(10);
        ClientOptions {
            wait: ten_seconds,
            deadline: ten_seconds,
            repeatable: false,
            connect: ConnectOptions::new(),
            #[cfg(not(loom))]
            carried: None,
        }
    }

    /// How long [`connect`](ClientOptions::connect) waits for a server that was not bound yet, or that is gone with
    /// all its clients; default ten seconds.
    pub fn wait_for_server(mut self, time: Duration) -> Self {
        self.wait = time;
        self
    }

    /// The deadline of a call that names none; default ten seconds.
    pub fn deadline(mut self, time: Duration) -> Self {
        self.deadline = time;
        self
    }

    /// Says that a call may be repeated: one whose server died or was closed is then made again,
    /// until its deadline. No server executes it twice; the next one may execute it again. From the second repetition
    /// on there is a pause before each, of one millisecond at first and up to a tenth of a second: a server that passes
    /// requests on may be there and [say](crate::rpc::Responder::fail) of each that the server behind it is gone.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// The longest encoded request or reply that the server may be bound for, in bytes; default
    /// 64 MiB.
    pub fn max_value(mut self, bytes: u64) -> Self {
        self.connect.max_value = bytes;
        self
    }

    /// Whose servers may be called; default [`Owner::Myself`].
    pub fn owner(mut self, owner: Owner) -> Self {
        self.connect.owner = owner;
        self
    }

    /// How long a call looks for its reply before it sleeps. See [`Options::spin`](crate::Options::spin).
    pub fn spin(mut self, time: Duration) -> Self {
        self.connect.spin = Some(time);
        self
    }

    /// Connects to a server of the types that its header names.
    #[cfg(not(loom))]
    pub(crate) fn carried(mut self, carried: Carried) -> Self {
        self.carried = Some(carried);
        self
    }

    /// Connects a client.
    ///
    /// What a client is connected to is the server's place, which stays as long as a server or a client is there. So
    /// one connects at once, as others stay connected, while a server is gone that another client is connected to and
    /// that may be started again: its first call tells whether there is one. That waits for the next server where the
    /// last was dropped, and where it was killed says so ([`CallError::ServerDied`](crate::rpc::CallError::ServerDied),
    /// not received) unless it may be [repeated](ClientOptions::repeatable).
    ///
    /// ```
    /// use std::time::Duration;
    /// use sysv_channel::rpc::{Client, ClientOptions, Server};
    ///
    /// # let name = format!("doc-connect-again-{}", std::process::id());
    /// # let name = name.as_str();
    /// let server = Server::<u32, u32>::bind(name)?;
    /// let first = Client::<u32, u32>::connect(name)?;
    /// drop(server);
    ///
    /// let options = ClientOptions::new().wait_for_server(Duration::ZERO);
    /// let second: Client<u32, u32> = options.connect(name)?;
    /// assert!(second.try_call(&7).unwrap_err().is_server_died());
    ///
    /// drop((first, second));
    /// let refused = options.connect::<u32, u32, sysv_channel::DefaultCodec>(name);
    /// assert!(refused.is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ConnectError::TooManyClients`] if the server has no place left, [`ConnectError::NotFound`] if there
    /// is neither a server nor another client, [`ConnectError::Open`] if it serves other types or longer values;
    /// [`ConnectError::Attach`] otherwise.
    pub fn connect<Q, R, C>(&self, name: impl Into<Name>) -> Result<Client<Q, R, C>, ConnectError>
    where
        C: Codec<Q> + Codec<R>,
    {
        let name = Arc::new(name.into());
        let sender = self.sender::<Q, R, C>(&name, self.wait)?;
        Ok(Client::new(name, self.clone(), sender))
    }

    /// Takes a place at the server of this name, and waits so long for it.
    pub(super) fn sender<Q, R, C>(
        &self,
        name: &Name,
        wait: Duration,
    ) -> Result<Sender<(), Untyped>, ConnectError>
    where
        C: Codec<Q> + Codec<R>,
    {
        let protocol = protocol::<Q, R, C>();
        #[cfg(not(loom))]
        let protocol = protocol.carrying(self.carried.as_ref());
        self.connect.connect::<Q, C>(protocol, name, wait)
    }
}
