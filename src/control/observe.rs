//! Looking at a channel that this process does not use: nothing is locked, and nothing written.

use std::sync::Arc;

use super::Control;
use super::find::{find_queue, find_segment, foreign_set};
use super::header::{BadHeader, Header, Mapped};
use super::layout::VERSION;
use super::semaphores::{self, OwnIds, Signature};
use crate::error::InspectError;
use crate::sys::{Key, SemaphoreSet};

impl Control {
    /// Maps the channel of this set read-only. No role, use or lock is taken, and a call that writes would end
    /// the process: what reads figures alone may be asked of it.
    ///
    /// The channel may be made or removed meanwhile.
    pub(crate) fn observe(key: Key, set: SemaphoreSet) -> Result<Control, InspectError> {
        let signature = match semaphores::inspect(set)? {
            // A creator may be about to sign it.
            Signature::Unsigned if semaphores::is_signed_soon(set)? => semaphores::inspect(set)?,
            signature => signature,
        };
        match signature {
            Signature::Signed => {}
            // Its key says whose it is.
            Signature::Unsigned if key.is_private() => {
                return Err(InspectError::Unfinished { key });
            }
            Signature::Unsigned | Signature::Foreign => {
                return Err(InspectError::KeyCollision { key, found: foreign_set(set) });
            }
        }
        let OwnIds::These(own) = semaphores::own(set)? else {
            return Err(InspectError::Unfinished { key });
        };
        let incomplete = |missing| InspectError::Incomplete { key, missing };
        let segment = find_segment(key)?.filter(|segment| segment.id() == own.segment);
        let segment = Arc::new(segment.ok_or(incomplete("segment"))?.attach(true)?);
        let header = Header::read(&segment).map_err(|bad| match bad {
            BadHeader::Unfinished => InspectError::Unfinished { key },
            BadHeader::Version(found) => {
                InspectError::WrongVersion { key, found, expected: VERSION }
            }
            BadHeader::Damaged(what) => InspectError::Damaged { key, what },
        })?;
        let damaged = |what: &str| InspectError::Damaged { key, what: what.to_owned() };
        if header.key != key {
            return Err(damaged("it names another key"));
        }
        let queue = header.own_queue(find_queue(key)?);
        if header.layout.has_queue() && queue.is_none() {
            return Err(incomplete("message queue"));
        }
        if set.stat()?.count != semaphores::count(header.layout.lanes, header.layout.receivers) {
            return Err(damaged("the set has another number of semaphores than it says"));
        }
        Ok(Control::new(Mapped { segment, header }, set, queue).unused())
    }
}
