//! The local end of a link for values: a channel that may not be there yet, or not any more.

use std::num::NonZeroU64;
use std::thread;
use std::time::{Duration, Instant};

use sysv_channel::bridge::{BridgeError, Inlet, Outlet};
use sysv_channel::dynamic::{DynamicChannel, DynamicCodec, DynamicError};
use sysv_channel::{AttachError, Channel, InspectError, OpenError, SystemErrorKind};

use super::link::Link;
use crate::failure::{Code, Failure};

/// How long a place is waited for that another process has: a killed one is gone when the kernel has freed its memory. No
/// system call waits for that.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);

/// An end of a channel, with what the channel carries.
pub(crate) struct Local<E> {
    pub(crate) end: E,
    pub(crate) codec: DynamicCodec,
}

/// Makes the channel of a link, for values of this codec, unless it is there: a durable one, since it is to remember
/// what was put.
pub(crate) fn create(link: &Link, codec: DynamicCodec) -> Result<DynamicChannel, Failure> {
    let options = DynamicChannel::options().channel(Channel::options().durable());
    let options = options.owner(link.options.owner);
    Ok(options.open_or_create(link.options.name.clone(), codec)?)
}

/// The channel of a link, attached by `attach`; `None` if there is none now.
fn attach<E>(
    link: &Link,
    attach: impl Fn(&DynamicChannel) -> Result<E, BridgeError>,
) -> Result<Option<Local<E>>, Failure> {
    // What comes from or goes to another machine takes longer than a spinning thread is of use, and zenoh needs the
    // processors.
    let local = Channel::options().max_value(u64::MAX).spin(Duration::ZERO);
    let options = DynamicChannel::options().channel(local).owner(link.options.owner);
    let channel = match options.open(link.options.name.clone()) {
        Ok(channel) => channel,
        Err(error) if is_not_there(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let began = Instant::now();
    let attached = loop {
        match attach(&channel) {
            Err(error) if is_taken(&error) && began.elapsed() < PATIENCE => {
                if link.endings.ended().is_some() {
                    return Ok(None);
                }
                thread::sleep(PAUSE);
            }
            attached => break attached,
        }
    };
    match attached {
        Ok(end) => Ok(Some(Local { end, codec: channel.codec().clone() })),
        Err(error) if is_removed(&error) => Ok(None),
        Err(error) => Err(Failure::new(Code::Refused, error)),
    }
}

/// The channel's outlet.
pub(crate) fn outlet(link: &Link) -> Result<Option<Local<Outlet>>, Failure> {
    attach(link, |channel| Outlet::attach(&channel.bytes()))
}

/// The channel's inlet of this link.
pub(crate) fn inlet(link: &Link) -> Result<Option<Local<Inlet>>, Failure> {
    let number = NonZeroU64::new(link.number()).unwrap_or(NonZeroU64::MIN);
    attach(link, |channel| Inlet::attach(&channel.bytes(), number))
}

/// Of a channel that does not exist, or is being made or removed in this moment: looking takes no lock, and sees it half
/// made. One that its creator left so is no channel either, and its next creator makes it anew.
fn is_not_there(error: &DynamicError) -> bool {
    match error {
        DynamicError::Inspect(
            InspectError::NotFound { .. }
            | InspectError::Unfinished { .. }
            | InspectError::Incomplete { .. },
        )
        | DynamicError::Open(OpenError::NotFound { .. }) => true,
        DynamicError::Inspect(InspectError::System(error))
        | DynamicError::Open(OpenError::System(error)) => error.kind() == SystemErrorKind::Removed,
        _ => false,
    }
}

/// Whether another process has the place, perhaps one that was killed and is not gone yet.
fn is_taken(error: &BridgeError) -> bool {
    matches!(
        error,
        BridgeError::Attach(
            AttachError::ReceiverExists { .. } | AttachError::LanesExhausted { .. }
        ) | BridgeError::LinkInUse { .. }
            | BridgeError::LinksExhausted { .. }
            | BridgeError::Busy { .. }
    )
}

fn is_removed(error: &BridgeError) -> bool {
    match error {
        BridgeError::Attach(AttachError::Removed { .. }) => true,
        BridgeError::System { error, .. } => error.kind() == SystemErrorKind::Removed,
        _ => false,
    }
}
