//! What a mailbox is bound with.

use std::time::Duration;

use super::Mailbox;
#[cfg(all(test, feature = "bincode"))]
use crate::Options;
use crate::Owner;
use crate::actor::options::AddressOptions;
use crate::actor::{BindError, wire};
use crate::codec::Codec;
use crate::name::Name;
use crate::service::BindOptions;
use crate::sys::Deadline;

/// What a mailbox is bound with.
///
/// ```
/// use sysv_channel::actor::{Mailbox, MailboxOptions};
///
/// # let name = format!("doc-options-actor-{}", std::process::id());
/// # let name = name.as_str();
/// let mailbox: Mailbox<String> = MailboxOptions::new().addresses(1000).bind(name)?;
/// # Ok::<(), sysv_channel::actor::BindError>(())
/// ```
#[derive(Debug, Clone)]
pub struct MailboxOptions {
    bind: BindOptions,
}

impl Default for MailboxOptions {
    fn default() -> Self {
        MailboxOptions::new()
    }
}

impl MailboxOptions {
    /// The defaults that each method names.
    pub fn new() -> Self {
        MailboxOptions { bind: BindOptions::new(1024) }
    }

    /// How many addresses, watches and processes that hold forwarded reply ports can be connected
    /// at one time, 1 to 4,096; default 256.
    pub fn addresses(mut self, addresses: usize) -> Self {
        self.bind.lanes = addresses;
        self
    }

    /// The longest encoded message, in bytes, that waits in the kernel's queue; longer ones wait in
    /// a ring of their sender's; default 1,024. Nine of the bytes are the mailbox's own, and 22 in
    /// front of a forwarded reply. See [`Options::inline_limit`](crate::Options::inline_limit); 0
    /// counts as 1 here.
    pub fn inline_limit(mut self, bytes: usize) -> Self {
        self.bind.inline_limit = bytes.max(1);
        self
    }

    /// The size of each address's ring of longer messages, in bytes; by default 4 MiB of address space, of
    /// which 64 KiB are used until the address streams: see [`Options::capacity`](crate::Options::capacity).
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.bind.capacity = Some(bytes);
        self
    }

    /// The size of each address's ring of replies, in bytes, above 0; by default as
    /// [`capacity`](MailboxOptions::capacity). Replies that take more than half of it go in fragments, while the
    /// actor receives.
    pub fn reply_capacity(mut self, bytes: usize) -> Self {
        self.bind.reply_capacity = Some(bytes);
        self
    }

    /// The longest encoded message or reply, in bytes; default 64 MiB. A program that
    /// connects to a mailbox with a greater one allows for it with [`AddressOptions::max_value`].
    pub fn max_value(mut self, bytes: u64) -> Self {
        self.bind.max_value = bytes;
        self
    }

    /// How many messages wait at most, from all addresses; by default as many as there are bytes for. See
    /// [`Options::max_waiting`](crate::Options::max_waiting). Replies that go through this mailbox from another
    /// process count as well.
    ///
    /// ```
    /// use sysv_channel::actor::{Mailbox, MailboxOptions};
    ///
    /// let mailbox: Mailbox<String> = MailboxOptions::new().max_waiting(1).private()?;
    /// let address = mailbox.address();
    /// address.tell(&"one".to_owned())?;
    /// assert!(address.try_tell(&"two".to_owned()).unwrap_err().is_full());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_waiting(mut self, messages: usize) -> Self {
        self.bind.max_waiting = Some(messages);
        self
    }

    /// The permission bits; default 0600. See [`Options::mode`](crate::Options::mode).
    pub fn mode(mut self, mode: u32) -> Self {
        self.bind.mode = mode;
        self
    }

    /// Whose channels may be taken over, and whose mailboxes the addresses and reply ports may lead to
    /// that come to this one; default [`Owner::Myself`].
    pub fn owner(mut self, owner: Owner) -> Self {
        self.bind.owner = owner;
        self
    }

    /// How long the actor looks for messages before it sleeps. See [`Options::spin`](crate::Options::spin).
    pub fn spin(mut self, time: Duration) -> Self {
        self.bind.spin = Some(time);
        self
    }

    /// Binds a mailbox to a name. One whose last actor ended is taken over with the messages that
    /// wait there, and with the options of that actor as long as there are any or addresses are connected.
    ///
    /// # Errors
    /// [`BindError::AlreadyBound`] if there is an actor, [`BindError::InvalidOptions`] for options
    /// that cannot be, [`BindError::LongerValues`] if addresses of an earlier actor may send longer
    /// messages, [`BindError::Open`] if its channel could not be created or opened;
    /// [`BindError::Attach`] otherwise.
    pub fn bind<M, C: Codec<M>>(&self, name: impl Into<Name>) -> Result<Mailbox<M, C>, BindError> {
        self.bind_by(name.into(), Deadline::now())
    }

    /// Waits, at most `timeout`, until the mailbox has no actor, and becomes its actor: in the very
    /// moment in which the other one dies, with the messages that it had not received.
    ///
    /// # Errors
    /// [`BindError::Timeout`] if the other actor is there all the time; else as
    /// [`bind`](MailboxOptions::bind).
    pub fn stand_by<M, C: Codec<M>>(
        &self,
        name: impl Into<Name>,
        timeout: Duration,
    ) -> Result<Mailbox<M, C>, BindError> {
        self.bind_by(name.into(), Deadline::after(timeout))
    }

    /// Makes a mailbox without a name, which only processes find that are given its
    /// [`address`](Mailbox::address). It goes with its last user, messages included.
    ///
    /// # Errors
    /// [`BindError::InvalidOptions`] for options that cannot be, [`BindError::Open`] if its channel
    /// could not be created; [`BindError::Attach`] otherwise.
    pub fn private<M, C: Codec<M>>(&self) -> Result<Mailbox<M, C>, BindError> {
        let receiver = self.bind.private::<M, C>(wire::protocol::<M, C>())?;
        let name = Name::Handle(receiver.channel().handle());
        Ok(Mailbox::new(name, receiver, self.for_addresses()))
    }

    fn bind_by<M, C: Codec<M>>(
        &self,
        name: Name,
        deadline: Deadline,
    ) -> Result<Mailbox<M, C>, BindError> {
        let protocol = wire::protocol::<M, C>();
        let receiver = self.bind.bind::<M, C>(protocol, name.clone(), deadline)?;
        Ok(Mailbox::new(name, receiver, self.for_addresses()))
    }

    fn for_addresses(&self) -> AddressOptions {
        AddressOptions::new().owner(self.bind.owner).max_value(self.bind.max_value)
    }

    #[cfg(all(test, feature = "bincode"))]
    pub(crate) fn channel<M, C: Codec<M>>(&self) -> Options<M, C> {
        self.bind.channel(wire::protocol::<M, C>())
    }
}
