//! Creating and opening a channel with default options.

use super::Channel;
use super::options::Options;
use super::receiver::Receiver;
use super::sender::Sender;
use crate::codec::{Codec, DefaultCodec};
use crate::control::{self, Owner, Unlink};
use crate::error::OpenError;
use crate::name::Name;

impl<T, C: Codec<T>> Channel<T, C> {
    /// What a channel is created or opened with.
    pub fn options() -> Options<T, C> {
        Options::new()
    }

    /// Creates a channel with default options; adopts an unused one of the same kind, with the
    /// values that it holds.
    ///
    /// # Errors
    /// As [`Options::create`].
    pub fn create(name: impl Into<Name>) -> Result<Self, OpenError> {
        Self::options().create(name)
    }

    /// Opens a channel that was created.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(name: impl Into<Name>) -> Result<Self, OpenError> {
        Self::options().open(name)
    }

    /// Opens a channel, or creates it with default options.
    ///
    /// # Errors
    /// As [`Options::open_or_create`].
    pub fn open_or_create(name: impl Into<Name>) -> Result<Self, OpenError> {
        Self::options().open_or_create(name)
    }

    /// Creates a channel that only processes find that are given its [`handle`](Channel::handle).
    ///
    /// # Errors
    /// As [`Options::private`].
    pub fn private() -> Result<Self, OpenError> {
        Self::options().private()
    }

    /// Removes a channel at once, also a durable one and one in use: its users are told that it
    /// is gone, and the values that it holds are lost.
    ///
    /// # Errors
    /// [`OpenError::NotFound`] if there is none, also where another process removes it in this moment:
    /// of several that do, one has `Ok`. [`OpenError::NotOwned`] if it is another user's,
    /// [`OpenError::KeyCollision`] if what is there is no channel or one of another name,
    /// [`OpenError::Busy`] if another process keeps its lock; [`OpenError`] otherwise.
    pub fn unlink(name: impl Into<Name>) -> Result<(), OpenError> {
        control::unlink(&name.into(), Owner::Myself, Unlink::Any)
    }

    /// Removes a channel that has no user and holds no value, also a durable one. It is not removed while
    /// a process opens it or sends into it.
    ///
    /// # Errors
    /// [`OpenError::InUse`] or [`OpenError::HoldsValues`] if it stays; else as
    /// [`unlink`](Channel::unlink), which also removes what cannot be read.
    ///
    /// ```
    /// use sysv_channel::{Channel, OpenError};
    ///
    /// let name = format!("doc-unlink-{}", std::process::id());
    /// let orders = Channel::<u64>::options().durable().create(&name)?;
    /// let refused = Channel::<u64>::unlink_unused(&name);
    /// assert!(matches!(refused, Err(OpenError::InUse { users: 1, .. })));
    ///
    /// orders.sender()?.send(&7)?;
    /// drop(orders);
    /// let refused = Channel::<u64>::unlink_unused(&name);
    /// assert!(matches!(refused, Err(OpenError::HoldsValues { .. })));
    ///
    /// Channel::<u64>::open(&name)?.receiver()?.recv()?;
    /// Channel::<u64>::unlink_unused(&name)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unlink_unused(name: impl Into<Name>) -> Result<(), OpenError> {
        control::unlink(&name.into(), Owner::Myself, Unlink::Unused)
    }
}

/// A private channel with its two ends, like [`std::sync::mpsc::channel`].
///
/// ```
/// let (tx, rx) = sysv_channel::channel::<u32>()?;
/// tx.send(&7)?;
/// assert_eq!(rx.recv()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`Options::private`], and [`OpenError::Attach`] if the ends could not be attached.
pub fn channel<T>() -> Result<(Sender<T>, Receiver<T>), OpenError>
where
    DefaultCodec: Codec<T>,
{
    let channel = Channel::<T>::private()?;
    let ends = || Ok((channel.sender()?, channel.receiver()?));
    ends().map_err(OpenError::Attach)
}
