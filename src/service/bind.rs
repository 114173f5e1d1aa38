//! Binding a name, and standing by for it.

use std::time::Duration;

use super::{ATTEMPTS, BindError, Kind, Protocol, Service};
use crate::channel::Untyped;
use crate::codec::Codec;
use crate::error::{AttachError, OpenError};
use crate::name::Name;
use crate::ring::LINE;
use crate::sys::Deadline;
use crate::{Channel, Options, Owner, Receiver};

/// What of each ring is used while little goes, in bytes: there may be hundreds of clients.
const WINDOW: usize = if cfg!(loom) { 2 * LINE } else { 64 << 10 };

/// What a server or a mailbox is bound with.
#[derive(Debug, Clone)]
pub(crate) struct BindOptions {
    /// How many clients or addresses can be connected at one time.
    pub(crate) lanes: usize,
    pub(crate) inline_limit: usize,
    /// The sizes of the rings, if they are named.
    pub(crate) capacity: Option<usize>,
    pub(crate) reply_capacity: Option<usize>,
    pub(crate) max_value: u64,
    pub(crate) max_waiting: Option<usize>,
    pub(crate) mode: u32,
    pub(crate) owner: Owner,
    pub(crate) spin: Option<Duration>,
}

impl BindOptions {
    pub(crate) fn new(inline_limit: usize) -> Self {
        BindOptions {
            lanes: 256,
            inline_limit,
            capacity: None,
            reply_capacity: None,
            max_value: 64 << 20,
            max_waiting: None,
            mode: 0o600,
            owner: Owner::Myself,
            spin: None,
        }
    }

    /// The options of the channel.
    pub(crate) fn channel<T, C: Codec<T>>(&self, protocol: Protocol) -> Options<T, C> {
        let options = Channel::options()
            .inline_limit(self.inline_limit)
            .lanes(self.lanes)
            .max_value(self.max_value)
            .mode(self.mode)
            .owner(self.owner);
        let options = match self.capacity {
            Some(bytes) => options.capacity(bytes),
            None => options.window(WINDOW),
        };
        let options = match self.reply_capacity {
            Some(bytes) => options.return_capacity(bytes),
            None => options.return_window(WINDOW),
        };
        let options = match self.max_waiting {
            Some(values) => options.max_waiting(values),
            None => options,
        };
        protocol.apply(options, self.spin)
    }

    /// Binds the name, and waits until the deadline for its place.
    pub(crate) fn bind<T, C: Codec<T>>(
        &self,
        protocol: Protocol,
        name: Name,
        deadline: Deadline,
    ) -> Result<Receiver<(), Untyped>, BindError> {
        let kind = protocol.kind;
        self.check(kind, Some(&name))?;
        // One that waits for the place waits no longer for the lock.
        let lock_wait = if deadline.is_now() { None } else { deadline.remaining() };
        let options = self.channel::<T, C>(protocol).lock_wait(lock_wait.unwrap_or(Duration::MAX));
        for _ in 0..ATTEMPTS {
            let channel = match options.create(name.clone()) {
                Err(OpenError::AlreadyExists { .. }) => match options.open(name.clone()) {
                    Err(OpenError::NotFound { .. }) => continue,
                    channel => channel,
                },
                channel => channel,
            };
            let channel = channel.map_err(|error| BindError::of_open(kind, error))?;
            match channel.untyped().receiver_by(deadline) {
                Ok(receiver) => return Ok(receiver),
                Err(AttachError::ReceiverExists { pid, .. }) => {
                    let service = Service::new(kind, name);
                    return Err(if deadline.is_now() {
                        BindError::AlreadyBound { service, pid }
                    } else {
                        BindError::Timeout { service }
                    });
                }
                // Its last user removed it meanwhile.
                Err(AttachError::Removed { .. }) => {}
                Err(error) => return Err(BindError::Attach(error)),
            }
        }
        Err(BindError::Open(OpenError::Unsettled { name }))
    }

    /// Makes a service without a name.
    pub(crate) fn private<T, C: Codec<T>>(
        &self,
        protocol: Protocol,
    ) -> Result<Receiver<(), Untyped>, BindError> {
        let kind = protocol.kind;
        self.check(kind, None)?;
        let channel = self.channel::<T, C>(protocol).private();
        let channel = channel.map_err(|error| BindError::of_open(kind, error))?;
        channel.untyped().receiver().map_err(BindError::Attach)
    }

    /// What would be no service: a channel of which one direction is missing.
    fn check(&self, kind: Kind, name: Option<&Name>) -> Result<(), BindError> {
        let missing = match self {
            BindOptions { capacity: Some(0), inline_limit: 0, .. } => "capacity is 0: no request",
            BindOptions { reply_capacity: Some(0), .. } => "reply_capacity is 0: no reply",
            _ => return Ok(()),
        };
        let service = name.map(|name| Service::new(kind, name.clone()));
        Err(BindError::InvalidOptions { service, what: format!("{missing} could be sent") })
    }
}
