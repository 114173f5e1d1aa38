//! Giving the lock back, and removing what nobody uses any more.

use super::find::{Evidence, Found, ignore_gone, look, remove_rest};
use super::header::Mapped;
use super::semaphores::{self, USERS};
use super::{Control, Owner, SLOTS, word};
use crate::error::OpenError;
use crate::name::{Handle, Name};
use crate::ring::Consumer;
use crate::sys::{
    Deadline, Fault, Key, MessageQueue, Ordering, SemaphoreSet, SystemError, fault, process,
};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What to do with the lock after looking.
pub(super) enum Then {
    /// Become a user.
    Use(Box<Control>),
    /// The set may be gone: look it up again.
    Again,
}

/// A set whose lock this process holds.
pub(super) struct Locked {
    pub(super) set: SemaphoreSet,
}

impl Locked {
    /// Does something under the lock and gives it back.
    pub(super) fn run(
        self,
        action: impl FnOnce(&Locked) -> Result<Then, OpenError>,
    ) -> Result<Option<Control>, OpenError> {
        match action(&self) {
            Ok(Then::Use(control)) => match semaphores::unlock_as_user(self.set) {
                Ok(()) => Ok(Some(*control)),
                Err(error) => {
                    control.forget();
                    Err(error.into())
                }
            },
            Ok(Then::Again) => {
                // The set is gone in most cases, and its lock with it.
                let _ = semaphores::unlock(self.set);
                Ok(None)
            }
            Err(error) => {
                let _ = semaphores::unlock(self.set);
                // The last user may have found the lock taken meanwhile and left the rest to us.
                if !fault(Fault::NoSecondLook) {
                    tidy(self.set, Evidence::Signature);
                }
                Err(error)
            }
        }
    }
}

/// Removes the channel on this set if nobody uses it and nobody has to find it.
///
/// Whoever gives the lock back looks once more, so that the last user never has to wait for it.
pub(super) fn tidy(set: SemaphoreSet, evidence: Evidence<'_>) {
    let attempt = || -> Result<(), OpenError> {
        while set.value(USERS)? == 0 {
            if !semaphores::lock(set, Deadline::immediate())? {
                return Ok(());
            }
            let unused = set.value(USERS)? == 0;
            if unused && remove_if_idle(set, false, evidence)? {
                return Ok(());
            }
            semaphores::unlock(set)?;
            if unused {
                // Kept for its values, or because it is durable: nobody could come meanwhile.
                return Ok(());
            }
        }
        Ok(())
    };
    // Nothing is lost when this fails: a creator of the name or `sweep` finds the rest.
    let _ = attempt();
}

/// With the lock held and nobody using it: removes the channel unless it has to stay.
///
/// Gives the lock back itself only by removing the set; says whether it did.
pub(super) fn remove_if_idle(
    set: SemaphoreSet,
    even_with_values: bool,
    evidence: Evidence<'_>,
) -> Result<bool, OpenError> {
    let Some(key) = Key::new(set.key()) else { return Ok(false) };
    match look(key, set, Owner::Myself, evidence) {
        Ok(Found::Whole(mapped, queue)) => {
            let control = Control::new(mapped, set, queue);
            let stays = !even_with_values
                && (control.header.durable || !control.header.private && control.holds_values());
            let removed = if stays { Ok(false) } else { control.remove_all().map(|()| true) };
            control.forget();
            Ok(removed?)
        }
        Ok(Found::Rest { segment, queue }) => {
            remove_rest(segment, queue)?;
            set.remove()?;
            Ok(true)
        }
        Err(error) => {
            let _ = semaphores::unlock(set);
            Err(error)
        }
    }
}

impl Control {
    pub(super) fn new(mapped: Mapped, set: SemaphoreSet, queue: Option<MessageQueue>) -> Self {
        let Mapped { segment, header } = mapped;
        let all_fence = AtomicBool::new(false);
        let name = match &*header.name {
            "" => Name::Key(header.key),
            name => Name::from(name),
        };
        let name = Arc::new(name);
        Control { segment, set, queue, header, name, all_fence, token: process::token() }
    }

    /// Drops the mapping without having been a user.
    pub(super) fn forget(mut self) {
        // No process has the token zero, so dropping does nothing else.
        self.token = 0;
    }

    /// Forgets the peers of the last life: they count neither as come nor as gone.
    pub(super) fn begin_new_life(&self) {
        for at in [word::SENDERS_CAME, word::RECEIVER_CAME] {
            // Relaxed: under the lock, which whoever comes next has to take.
            self.word(at).store(0, Ordering::Relaxed);
        }
    }

    /// A handle to this very channel.
    pub(crate) fn handle(&self) -> Handle {
        Handle { key: self.header.key, incarnation: self.header.incarnation }
    }

    /// Gives the use up, and removes the channel if it was the last.
    pub(super) fn close(&self) {
        if semaphores::leave(self.set).is_ok() && !fault(Fault::NotTidied) {
            tidy(self.set, Evidence::Known(self));
        }
    }

    /// Whether a value waits that nobody has received.
    pub(super) fn holds_values(&self) -> bool {
        let layout = self.layout();
        if let Some(queue) = self.queue {
            // Every bulk value has its descriptor in the queue or in a slot.
            let in_slots =
                (0..SLOTS).any(|slot| self.word(layout.slot(slot)).load(Ordering::Relaxed) != 0);
            return in_slots || queue.stat().is_ok_and(|stat| stat.messages > 0);
        }
        (0..self.claimed()).any(|lane| {
            Consumer::attach(self.segment.clone(), layout.ring(lane))
                .is_ok_and(|consumer| consumer.holds_value())
        })
    }

    /// Removes queue and segment; the set and its lock stay.
    pub(super) fn remove_objects(&self) -> Result<(), SystemError> {
        remove_rest(Some(self.segment.id()), self.queue)
    }

    pub(super) fn remove_all(&self) -> Result<(), SystemError> {
        self.remove_objects()?;
        ignore_gone(self.set.remove())
    }

    /// How many messages the kernel's queue holds.
    pub(crate) fn queued(&self) -> Result<u64, SystemError> {
        self.queue.map_or(Ok(0), |queue| Ok(queue.stat()?.messages))
    }

    /// Whether a receiver has ever come.
    pub(crate) fn receiver_came(&self) -> bool {
        self.word(word::RECEIVER_CAME).load(Ordering::Relaxed) != 0
    }

    /// Whether a sender has ever come.
    pub(crate) fn senders_came(&self) -> bool {
        self.word(word::SENDERS_CAME).load(Ordering::Relaxed) != 0
    }
}
