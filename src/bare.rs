//! What the bare objects share: how a queue, a segment or a set is named, and what is refused before the kernel
//! is asked.

use crate::control;
use crate::name::{InvalidName, Name};
use crate::sys::{Key, SystemError, SystemErrorKind};

/// The error of one kind of object.
pub(crate) trait BareError: From<InvalidName> + From<SystemError> {
    /// The name or key stands for a channel.
    fn is_channel(name: Name) -> Self;
    /// An option cannot be.
    fn invalid_option(what: String) -> Self;
    /// There is no such object.
    fn not_found(name: Name) -> Self;
    /// There is one already.
    fn already_exists(name: Name) -> Self;

    fn check_mode(mode: u32) -> Result<(), Self> {
        if mode > 0o777 {
            let what = format!("mode {mode:#o} has more than the nine permission bits");
            return Err(Self::invalid_option(what));
        }
        Ok(())
    }

    fn key_of(name: &Name) -> Result<Key, Self> {
        match name {
            Name::Handle(_) => Err(Self::is_channel(name.clone())),
            name => Ok(name.key()?),
        }
    }

    /// Refuses what stands for a channel: its values, memory and roles are not to be changed under it.
    fn check_no_channel(name: &Name, key: Key) -> Result<(), Self> {
        match control::is_channel(key)? {
            true => Err(Self::is_channel(name.clone())),
            false => Ok(()),
        }
    }

    /// What it means that the object of that name cannot be made or found.
    fn absent(error: SystemError, name: &Name) -> Self {
        match error.kind() {
            SystemErrorKind::NotFound => Self::not_found(name.clone()),
            SystemErrorKind::AlreadyExists => Self::already_exists(name.clone()),
            _ => error.into(),
        }
    }
}

/// Implements the trait by the variants, which the errors of all three kinds have.
macro_rules! bare_error {
    ($error:ident) => {
        impl crate::bare::BareError for $error {
            fn is_channel(name: crate::Name) -> Self {
                $error::IsChannel { name }
            }

            fn invalid_option(what: String) -> Self {
                $error::InvalidOption(what)
            }

            fn not_found(name: crate::Name) -> Self {
                $error::NotFound { name }
            }

            fn already_exists(name: crate::Name) -> Self {
                $error::AlreadyExists { name }
            }
        }
    };
}

pub(crate) use bare_error;
