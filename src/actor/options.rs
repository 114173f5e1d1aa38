//! What an address connects with.

use crate::Owner;
use crate::service::ConnectOptions;

/// What an address trusts and expects of its mailbox.
///
/// Addresses and reply ports that come in a message have the options of the mailbox that it came
/// to, which are those that it was bound with, and [`Address::with`](super::Address::with) gives an
/// address others.
///
/// ```
/// use sysv_channel::actor::{Address, AddressOptions, Mailbox, MailboxOptions};
///
/// # let name = format!("doc-address-options-{}", std::process::id());
/// # let name = name.as_str();
/// let mailbox: Mailbox<String> = MailboxOptions::new().max_value(1 << 30).bind(name)?;
/// let address: Address<String> = AddressOptions::new().max_value(1 << 30).connect(name)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressOptions {
    pub(super) connect: ConnectOptions,
}

impl Default for AddressOptions {
    fn default() -> Self {
        AddressOptions::new()
    }
}

impl AddressOptions {
    /// The defaults that each method names.
    pub fn new() -> Self {
        AddressOptions { connect: ConnectOptions::new() }
    }

    /// Whose mailboxes are trusted; default [`Owner::Myself`].
    pub fn owner(mut self, owner: Owner) -> Self {
        self.connect.owner = owner;
        self
    }

    /// The longest encoded reply, in bytes, that this process is ready to collect: at least what the
    /// mailbox was [bound](super::MailboxOptions::max_value) with; default 64 MiB.
    pub fn max_value(mut self, bytes: u64) -> Self {
        self.connect.max_value = bytes;
        self
    }
}
