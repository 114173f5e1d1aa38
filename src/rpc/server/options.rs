//! What a server is bound with.

use std::time::Duration;

use super::Server;
#[cfg(all(test, loom))]
use crate::Options;
use crate::Owner;
use crate::codec::Codec;
use crate::name::Name;
use crate::rpc::{BindError, protocol};
use crate::service::BindOptions;
#[cfg(not(loom))]
use crate::service::Carried;
use crate::sys::Deadline;

/// What a server is bound with.
///
/// ```
/// use sysv_channel::rpc::{Server, ServerOptions};
///
/// # let name = format!("doc-options-rpc-{}", std::process::id());
/// # let name = name.as_str();
/// let server: Server<String, Vec<u8>> = ServerOptions::new().clients(1000).bind(name)?;
/// # Ok::<(), sysv_channel::rpc::BindError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ServerOptions {
    bind: BindOptions,
    drain: Duration,
    /// The types of the header, if they are not those that this program names.
    #[cfg(not(loom))]
    carried: Option<Carried>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions::new()
    }
}

impl ServerOptions {
    /// The defaults that each method names.
    pub fn new() -> Self {
        ServerOptions {
            bind: BindOptions::new(0),
            drain: Duration::from_secs(5),
            #[cfg(not(loom))]
            carried: None,
        }
    }

    /// How many clients can be connected at one time, 1 to 4,096; default 256.
    pub fn clients(mut self, clients: usize) -> Self {
        self.bind.lanes = clients;
        self
    }

    /// The size of each client's ring of requests, in bytes; by default 4 MiB of address space, of which
    /// 64 KiB are used until the client streams: see [`Options::capacity`](crate::Options::capacity).
    /// Requests that take more than half of it go in fragments.
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.bind.capacity = Some(bytes);
        self
    }

    /// The size of each client's ring of replies, in bytes; by default as
    /// [`capacity`](ServerOptions::capacity). Replies that take more than half of it go in fragments. What a client leaves unread beyond waits in the server's memory.
    pub fn reply_capacity(mut self, bytes: usize) -> Self {
        self.bind.reply_capacity = Some(bytes);
        self
    }

    /// The longest encoded request or reply, in bytes; default 64 MiB. Replies of as many bytes in
    /// all wait in the server's memory for a client that does not read.
    pub fn max_value(mut self, bytes: u64) -> Self {
        self.bind.max_value = bytes;
        self
    }

    /// The permission bits; default 0600. See [`Options::mode`](crate::Options::mode).
    pub fn mode(mut self, mode: u32) -> Self {
        self.bind.mode = mode;
        self
    }

    /// Whose channels may be taken over; default [`Owner::Myself`].
    pub fn owner(mut self, owner: Owner) -> Self {
        self.bind.owner = owner;
        self
    }

    /// How long the server looks for requests before it sleeps. See [`Options::spin`](crate::Options::spin).
    pub fn spin(mut self, time: Duration) -> Self {
        self.bind.spin = Some(time);
        self
    }

    /// How long a server that is closed or dropped goes on until what it has received is answered
    /// and the replies have gone; default five seconds. A handler that runs under
    /// [`serve`](Server::serve) or [`serve_concurrently`](Server::serve_concurrently) is waited for
    /// beside that. What no caller waits for any more, since it is dead, late or cancelled, is not
    /// waited for either, and its reply is thrown away.
    pub fn drain(mut self, time: Duration) -> Self {
        self.drain = time;
        self
    }

    /// Has the server's header name these types.
    #[cfg(not(loom))]
    pub(crate) fn carried(mut self, carried: Carried) -> Self {
        self.carried = Some(carried);
        self
    }

    /// Binds a server to a name. One whose last server died is taken over with the requests that
    /// wait there, and with the options of that server as long as clients are connected to it.
    ///
    /// # Errors
    /// [`BindError::AlreadyBound`] if there is a server, [`BindError::InvalidOptions`] for options
    /// that cannot be, [`BindError::LongerValues`] if clients of an earlier server may send longer
    /// requests, [`BindError::Open`] if its channel could not be created or opened;
    /// [`BindError::Attach`] otherwise.
    pub fn bind<Q, R, C>(&self, name: impl Into<Name>) -> Result<Server<Q, R, C>, BindError>
    where
        C: Codec<Q> + Codec<R>,
    {
        self.bind_by(name.into(), Deadline::now())
    }

    /// Waits until the name has no server, and then is the server: in the very moment in which the
    /// other one dies, with the requests that it had not received.
    ///
    /// # Errors
    /// [`BindError::Timeout`] if the other server is there all the time; else as
    /// [`bind`](ServerOptions::bind).
    pub fn stand_by<Q, R, C>(
        &self,
        name: impl Into<Name>,
        timeout: Duration,
    ) -> Result<Server<Q, R, C>, BindError>
    where
        C: Codec<Q> + Codec<R>,
    {
        self.bind_by(name.into(), Deadline::after(timeout))
    }

    fn bind_by<Q, R, C>(&self, name: Name, deadline: Deadline) -> Result<Server<Q, R, C>, BindError>
    where
        C: Codec<Q> + Codec<R>,
    {
        let protocol = protocol::<Q, R, C>();
        #[cfg(not(loom))]
        let protocol = protocol.carrying(self.carried.as_ref());
        let receiver = self.bind.bind::<Q, C>(protocol, name, deadline)?;
        Ok(Server::new(receiver, self.drain))
    }

    #[cfg(all(test, loom))]
    pub(crate) fn channel<Q, R, C>(&self) -> Options<Q, C>
    where
        C: Codec<Q> + Codec<R>,
    {
        self.bind.channel(protocol::<Q, R, C>())
    }
}
