//! Creating, opening, closing and removing, all under the lock semaphore.
//!
//! A creator makes the set, signs it and takes its lock in one atomic step, makes the segment and
//! the queue, and writes the header's magic last. A process that finds less than that, with the lock
//! free, has found what a killed process left: a creator starts again from the set, an opener removes
//! the rest and says that there is no channel. The set goes last, so that what is left can still be
//! locked.
//!
//! The same holds for what a removal by hand left. A creator adopts a channel whose set alone was removed,
//! with its values, if no process has it mapped; else the channel is removed under its users, by the
//! creator or by the first of them that closes it, which needs no lock for that. The
//! signature says whether that was decided: until then what stands beside the set is not its own,
//! also for the next creator, if the first is killed.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use super::find::{
    Identified, Orphan, Rest, find_claim, find_orphan, find_set, foreign_set, gone_is_none,
    identify, identify_with_any_mode, ignore_gone, remove_rest, remove_wreck, set_name,
};
use super::header::Mapped;
use super::lock::{Locked, Outcome, remove_unsigned};
use super::semaphores::{self, Ids, Signature, TRIAL, USERS};
use super::{Control, Header, Layout, Owner};
use crate::error::OpenError;
use crate::error::text::Spelling;
use crate::name::Name;
use crate::schema::{self, Schema};
use crate::sys::{
    self, Deadline, Fault, Key, MessageQueue, SegmentId, SemaphoreSet, SetStat, SystemError,
    SystemErrorKind, at_exit, fault, process,
};

/// How often a set may vanish or change hands while we look for it.
const ATTEMPTS: usize = 100;

/// How long to wait for the lock, which is held for a few system calls.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait for the lock where a call must not be stopped by a process that keeps it: long
/// enough for one that lost its processor meanwhile.
pub(crate) const BRIEFLY: Duration = Duration::from_millis(100);

/// What a program expects of a channel, and what it makes one with.
pub(crate) struct Wanted {
    pub(crate) name: Name,
    pub(crate) layout: Layout,
    pub(crate) mode: u32,
    pub(crate) durable: bool,
    pub(crate) private: bool,
    /// Whether its values are requests.
    pub(crate) calls: bool,
    pub(crate) owner: Owner,
    pub(crate) schema: Schema,
    pub(crate) codec: &'static str,
    /// Whether neither schema nor codec is compared.
    pub(crate) any_type: bool,
    /// How errors name the options.
    pub(crate) spelling: Spelling,
    /// How long to wait for the lock, at most as long as `LOCK_PATIENCE`.
    pub(crate) lock_wait: Duration,
}

impl Wanted {
    /// Says which of its options cannot be.
    pub(crate) fn invalid(&self, what: String) -> OpenError {
        let name = (!self.private).then(|| self.name.clone());
        OpenError::InvalidOptions { name, what }
    }

    fn header(&self, key: Key) -> Header {
        Header {
            layout: self.layout,
            key,
            incarnation: process::random(),
            mode: self.mode,
            durable: self.durable,
            private: self.private,
            calls: self.calls,
            queue: None,
            fingerprint: self.schema.fingerprint(),
            name: self.name.text().to_owned(),
            codec: super::cut(self.codec, super::layout::MAX_CODEC),
            type_name: super::cut(self.schema.name(), super::layout::MAX_TYPE),
            shape: super::cut(self.schema.text(), super::layout::MAX_SHAPE),
        }
    }

    /// Refuses a channel that is not the one asked for, or carries something else.
    fn check(&self, key: Key, header: &Header) -> Result<(), OpenError> {
        self.check_name(key, header)?;
        if self.any_type {
            return Ok(());
        }
        if header.codec != super::cut(self.codec, super::layout::MAX_CODEC) {
            let theirs = header.codec.clone();
            return Err(OpenError::WrongCodec {
                name: self.name.clone(),
                mine: self.codec,
                theirs,
            });
        }
        if header.fingerprint != self.schema.fingerprint() {
            return Err(OpenError::WrongType {
                name: self.name.clone(),
                mine: self.schema.name().to_owned(),
                theirs: header.type_name.clone(),
                difference: schema::difference(self.schema.text(), &header.shape),
            });
        }
        Ok(())
    }

    fn check_name(&self, key: Key, header: &Header) -> Result<(), OpenError> {
        let collision = |found: String| Err(OpenError::KeyCollision { key, found });
        match &self.name {
            Name::Text(text) if *text != header.name => {
                if header.name.is_empty() {
                    return collision("a channel without a name".to_owned());
                }
                collision(format!("the channel {:?}, whose name gives the same key", header.name))
            }
            Name::Handle(handle) if handle.incarnation != header.incarnation => {
                Err(OpenError::NotFound { name: self.name.clone() })
            }
            _ => Ok(()),
        }
    }

    fn semaphores(&self) -> usize {
        semaphores::count(self.layout.lanes, self.layout.receivers)
    }

    /// Whether a channel can be made on a set that another process made.
    fn fits(&self, stat: &SetStat) -> bool {
        stat.count == self.semaphores() && stat.ownership.mode == self.mode
    }

    /// Refuses what is left of a channel of another name.
    fn check_rest(&self, key: Key, rest: &Rest) -> Result<(), OpenError> {
        rest.header.as_ref().map_or(Ok(()), |header| self.check_name(key, header))
    }
}

/// Creates a channel, or adopts an unused one of the same kind with the values that it holds.
pub(crate) fn create(wanted: &Wanted) -> Result<Control, OpenError> {
    if let Name::Handle(_) = wanted.name {
        // It stands for a channel that was made, and no other is ever that one.
        return open(wanted)
            .and_then(|_| Err(OpenError::AlreadyExists { name: wanted.name.clone() }));
    }
    let key = wanted.name.key()?;
    let entry = begin(wanted)?;
    for _ in 0..ATTEMPTS {
        let (set, made) = match SemaphoreSet::create(key, wanted.semaphores(), wanted.mode) {
            Ok(set) => (set, true),
            Err(error) if error.kind() == SystemErrorKind::AlreadyExists => {
                match SemaphoreSet::open(key) {
                    Ok(set) => (set, false),
                    Err(error) if error.kind() == SystemErrorKind::NotFound => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(control) = gone_is_none(create_on(wanted, key, set, made))? {
            event!(DEBUG, control, %key, "the channel was created");
            return Ok(control.given_up_by(entry));
        }
    }
    Err(OpenError::Unsettled { name: wanted.name.clone() })
}

/// One attempt to create on a set that exists; `None`: it vanished, or another claimed it.
fn create_on(
    wanted: &Wanted,
    key: Key,
    set: SemaphoreSet,
    made: bool,
) -> Result<Option<Control>, OpenError> {
    if !made {
        let stat = set.stat()?;
        wanted.owner.check(set_name(set), &stat.ownership)?;
        match semaphores::inspect(set)? {
            Signature::Signed => {
                return lock(set, &wanted.name, wanted.lock_wait)?
                    .run(|locked| create_locked(wanted, key, locked));
            }
            Signature::Unsigned if wanted.fits(&stat) => {}
            Signature::Unsigned => {
                // A creator with other options makes it now, or was killed.
                if !semaphores::is_signed_soon(set)? {
                    remove_unsigned(set)?;
                }
                return Ok(None);
            }
            Signature::Foreign => {
                return Err(OpenError::KeyCollision { key, found: foreign_set(set) });
            }
        }
    }
    let claimed = Locked::sign(set).inspect_err(|_| {
        // A creation that fails leaves nothing. Another that signs it now finds it gone, and makes
        // a new one.
        if made && semaphores::inspect(set) == Ok(Signature::Unsigned) {
            let _ = set.remove();
        }
    });
    let Some(locked) = claimed? else { return Ok(None) };
    locked.run(|locked| {
        point!("create.claimed");
        create_locked(wanted, key, locked).inspect_err(|_| {
            // As above; this set is ours and no process could use it yet.
            let _ = set.remove();
        })
    })
}

/// Whether the kernel undoes what a dying process did to a semaphore.
///
/// First on the channel's own set, which costs no object that a killed creator could leave. What
/// comes of that may be another process's doing, so a bad outcome is tried again elsewhere.
fn undo_works(set: SemaphoreSet) -> Result<bool, SystemError> {
    process::undo_works(|trial| match trial {
        0 if set.value(TRIAL)? == 0 => process::is_undone(set, TRIAL).map(Some),
        _ => try_undo_apart(),
    })
}

/// The same on a set of its own at a random key, signed and locked; `None` if nothing was seen.
///
/// No other process that keeps to the protocol touches that set, and a killed creator's is swept as
/// what any killed creator leaves.
fn try_undo_apart() -> Result<Option<bool>, SystemError> {
    struct Trial(SemaphoreSet);
    impl Drop for Trial {
        fn drop(&mut self) {
            let _ = self.0.remove();
        }
    }
    let set = match SemaphoreSet::create(Key::private(), semaphores::count(1, 1), 0o600) {
        Ok(set) => set,
        Err(error) if error.kind() == SystemErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(error),
    };
    let trial = Trial(set);
    if !semaphores::sign(trial.0)? {
        return Ok(None);
    }
    process::is_undone(trial.0, USERS).map(Some)
}

/// Creates with the lock held.
fn create_locked(wanted: &Wanted, key: Key, locked: &Locked) -> Result<Outcome, OpenError> {
    let set = locked.set();
    if !undo_works(set)? {
        return Err(OpenError::UndoIgnored);
    }
    match identify(key, set, wanted.owner, None)? {
        Identified::Channel(mapped, queue) => {
            wanted.check_name(key, &mapped.header)?;
            if set.value(USERS)? != 0 {
                return Err(OpenError::AlreadyExists { name: wanted.name.clone() });
            }
            let same = mapped.header.same_channel(&wanted.header(key));
            let control = Control::new(mapped, set, queue);
            if same {
                control.begin_new_life();
                event!(
                    INFO,
                    control,
                    "a channel without users is used again, with the values that it holds"
                );
                return Ok(Outcome::Use(Box::new(control)));
            }
            if control.stays() {
                let refused = wanted.check(key, &control.header);
                let durable = control.header.durable;
                let difference = control.header.other_options(&wanted.header(key), wanted.spelling);
                control.detach();
                refused?;
                let name = wanted.name.clone();
                return Err(OpenError::OtherOptions { name, durable, difference });
            }
            let removed = control.remove_all();
            control.detach();
            removed?;
            Ok(Outcome::Retry)
        }
        Identified::Rest(rest) => {
            wanted.check_rest(key, &rest)?;
            rest.remove()?;
            let fits = wanted.fits(&set.stat()?);
            // Users of a channel of which another object was removed by hand keep their roles until
            // they notice. Those who sleep hear it from the kernel when the set goes.
            if !fits || set.value(USERS)? != 0 {
                set.remove()?;
                return Ok(Outcome::Retry);
            }
            build(wanted, key, set).map(|control| Outcome::Use(Box::new(control))).inspect_err(
                |_| {
                    // As above, also where the set is what a killed creator left.
                    let _ = set.remove();
                },
            )
        }
    }
}

/// Makes segment and queue under a set that is ours and locked.
fn build(wanted: &Wanted, key: Key, set: SemaphoreSet) -> Result<Control, OpenError> {
    let header = wanted.header(key);
    let Some(plan) = header.layout.plan() else {
        return Err(wanted.invalid("the rings do not fit into memory".to_owned()));
    };
    // An unfinished segment is known for ours by this process in the signature.
    semaphores::record_ids(set, None)?;
    point!("create.recorded");
    let id = SegmentId::create(key, plan, wanted.mode).map_err(|error| taken(key, error))?;
    let queue = Cell::new(None);
    let made = || -> Result<Control, OpenError> {
        let segment = Arc::new(id.attach(false)?);
        if header.layout.has_queue() {
            let made = MessageQueue::create(key, wanted.mode).map_err(|error| taken(key, error))?;
            queue.set(Some(made));
            bound_capacity(wanted, made)?;
        }
        let queue = queue.get();
        let queue_id = queue.map(|queue| queue.id());
        let header = Header { queue: queue_id, ..header };
        header.write(&segment);
        let recorded = queue_id.filter(|_| !fault(Fault::QueueNotOwned));
        // Before there is a user that could use them.
        semaphores::record_ids(set, Some(Ids { segment: id.id(), queue: recorded }))?;
        Header::publish(&segment);
        Ok(Control::new(Mapped { segment, header }, set, queue))
    };
    made().inspect_err(|_| {
        let _ = queue.get().map(|queue| queue.remove());
        let _ = id.remove();
    })
}

/// Has the queue hold what it is to hold; refuses one that holds less.
fn bound_capacity(wanted: &Wanted, queue: MessageQueue) -> Result<(), OpenError> {
    let layout = &wanted.layout;
    let capacity = queue.stat()?.capacity;
    let needed = layout.message_len() as u64;
    match layout.queue_capacity() {
        Some(bytes) if bytes > capacity => Err(wanted.invalid(format!(
            "max_waiting is {}, and may be at most {}: the sysctl kernel.msgmnb is {capacity} bytes, and \
             each value has {needed} of them",
            layout.max_waiting,
            capacity / needed
        ))),
        Some(bytes) if !fault(Fault::CapacityNotSet) => Ok(queue.set_capacity(bytes)?),
        None if needed > capacity => Err(wanted.invalid(format!(
            "an inline_limit of {} makes messages of {needed} bytes, and the queue holds {capacity}: \
             lower it, or raise the sysctl kernel.msgmnb",
            layout.inline_limit
        ))),
        _ => Ok(()),
    }
}

/// The error for another program's object under our key.
fn taken(key: Key, error: SystemError) -> OpenError {
    if error.kind() == SystemErrorKind::AlreadyExists {
        let found =
            format!("{}, which another program made while the channel was made", error.object());
        return OpenError::KeyCollision { key, found };
    }
    error.into()
}

/// Opens a channel that exists.
pub(crate) fn open(wanted: &Wanted) -> Result<Control, OpenError> {
    let key = wanted.name.key()?;
    let entry = begin(wanted)?;
    for _ in 0..ATTEMPTS {
        let Some(set) = find_set(key, wanted.owner)? else {
            return Err(OpenError::NotFound { name: wanted.name.clone() });
        };
        if let Some(control) = gone_is_none(open_on(wanted, key, set))? {
            event!(DEBUG, control, %key, "the channel was opened");
            return Ok(control.given_up_by(entry));
        }
    }
    Err(OpenError::Unsettled { name: wanted.name.clone() })
}

/// Keeps this process from exiting until the channel is made and can be given up.
fn begin(wanted: &Wanted) -> Result<at_exit::Entry, OpenError> {
    at_exit::begin().ok_or_else(|| OpenError::Exiting { name: wanted.name.clone() })
}

fn open_on(wanted: &Wanted, key: Key, set: SemaphoreSet) -> Result<Option<Control>, OpenError> {
    lock(set, &wanted.name, wanted.lock_wait)?.run(|locked| {
        match identify(key, locked.set(), wanted.owner, None)? {
            Identified::Channel(mapped, queue) => {
                wanted.check(key, &mapped.header)?;
                // Shared memory must not be what says how much of this process's memory may be used.
                let (mine, theirs) = (wanted.layout.max_value, mapped.header.layout.max_value);
                if theirs > mine {
                    return Err(OpenError::LongerValues {
                        name: wanted.name.clone(),
                        mine,
                        theirs,
                    });
                }
                Ok(Outcome::Use(Box::new(Control::new(mapped, locked.set(), queue))))
            }
            Identified::Rest(rest) => {
                wanted.check_rest(key, &rest)?;
                rest.remove()?;
                locked.set().remove()?;
                Err(OpenError::NotFound { name: wanted.name.clone() })
            }
        }
    })
}

/// Which channels `unlink` removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unlink {
    /// Also one that is in use or holds values.
    Any,
    /// None that has a user or holds a value.
    Unused,
}

/// Removes the channel: users that it has are told that it is gone. Of several that remove
/// it at once, the one that found it with the lock held has removed it, and the others find none.
pub(crate) fn unlink(name: &Name, owner: Owner, which: Unlink) -> Result<(), OpenError> {
    let key = name.key()?;
    // An exit waits until it is done: while it has a channel's lock, the last user leaves the channel
    // to it.
    let refused = || OpenError::Exiting { name: name.clone() };
    let _entry = at_exit::begin().ok_or_else(refused)?;
    let not_found = || OpenError::NotFound { name: name.clone() };
    for _ in 0..ATTEMPTS {
        match find_claim(key, owner)? {
            None => {
                let unlinked = unlink_without_set(key, name, owner).map(Some);
                if gone_is_none(unlinked)?.is_some() {
                    return Ok(());
                }
                // A user that closed it, or another remover, was faster.
            }
            Some((set, Signature::Signed)) => {
                if unlink_on(name, key, set, owner, which)? {
                    return Ok(());
                }
                if find_set(key, owner)? != Some(set) {
                    return Err(not_found());
                }
                // Another of its objects went meanwhile, by hand.
            }
            Some((set, _)) => {
                if let Name::Handle(_) = name {
                    return Err(not_found());
                }
                if remove_unsigned(set).or_else(gone_is_false)? {
                    return match gone_is_none(unlink_without_set(key, name, owner).map(Some)) {
                        Err(OpenError::NotFound { .. }) => Ok(()),
                        unlinked => unlinked.map(drop),
                    };
                }
                // Another process signed or removed it meanwhile.
            }
        }
    }
    Err(OpenError::Unsettled { name: name.clone() })
}

fn gone_is_false(error: SystemError) -> Result<bool, SystemError> {
    if error.kind() == SystemErrorKind::Removed { Ok(false) } else { Err(error) }
}

/// Removes the channel on this set; `false` if something of it went before.
fn unlink_on(
    name: &Name,
    key: Key,
    set: SemaphoreSet,
    owner: Owner,
    which: Unlink,
) -> Result<bool, OpenError> {
    let mut removed = false;
    let ended = lock(set, name, LOCK_PATIENCE).and_then(|locked| {
        locked.run(|_| {
            // With the lock held no process becomes a user, and where there is none no value comes.
            if which == Unlink::Unused {
                let users = set.value(USERS)?.into();
                if users > 0 {
                    return Err(OpenError::InUse { name: name.clone(), users });
                }
            }
            match identify_with_any_mode(key, set, owner) {
                Ok(Identified::Channel(mapped, queue)) => {
                    Wanted::named(name.clone()).check_name(key, &mapped.header)?;
                    let segment = mapped.segment.clone();
                    if which == Unlink::Unused {
                        let control = Control::new(mapped, set, queue);
                        let holds_values = control.holds_values();
                        control.detach();
                        if holds_values {
                            return Err(OpenError::HoldsValues { name: name.clone() });
                        }
                    }
                    remove_rest(Some(&segment), queue)?;
                }
                Ok(Identified::Rest(rest)) => {
                    Wanted::named(name.clone()).check_rest(key, &rest)?;
                    rest.remove()?;
                }
                // `unlink` is called to remove what no process can read or recognize any more.
                Err(
                    refused @ (OpenError::Corrupt { .. }
                    | OpenError::WrongVersion { .. }
                    | OpenError::KeyCollision { .. }),
                ) if which == Unlink::Any => remove_wreck(key, set, owner, refused)?,
                Err(error) => return Err(error),
            }
            // Those who sleep hear it from the kernel now. Those who are busy were told to look.
            ignore_gone(set.remove())?;
            removed = true;
            Ok(Outcome::Retry)
        })
    });
    gone_is_none(ended)?;
    Ok(removed)
}

/// Removes what is left of a channel whose set was removed by hand: the segment, which is known by
/// its header, and the queue that its creator made with it.
fn unlink_without_set(key: Key, name: &Name, owner: Owner) -> Result<(), OpenError> {
    let left = match find_orphan(key, owner)? {
        Orphan::Nothing => return Err(OpenError::NotFound { name: name.clone() }),
        Orphan::Foreign(found) => return Err(OpenError::KeyCollision { key, found }),
        Orphan::Left(rest) => rest,
    };
    Wanted::named(name.clone()).check_rest(key, &left)?;
    Ok(left.remove()?)
}

impl Wanted {
    /// Only the name counts.
    fn named(name: Name) -> Wanted {
        Wanted {
            name,
            layout: Layout {
                lanes: 1,
                receivers: 1,
                ring_lines: 0,
                ring_window: 0,
                return_lines: 0,
                return_window: 0,
                inline_limit: 1,
                max_waiting: 0,
                max_value: 0,
            },
            mode: 0,
            durable: false,
            private: false,
            calls: false,
            owner: Owner::Myself,
            schema: Schema::bytes(""),
            codec: "",
            any_type: true,
            spelling: Spelling::CHANNEL,
            lock_wait: LOCK_PATIENCE,
        }
    }
}

fn lock(set: SemaphoreSet, name: &Name, wait: Duration) -> Result<Locked, OpenError> {
    match Locked::take(set, Deadline::after(wait.min(LOCK_PATIENCE)))? {
        Some(locked) => Ok(locked),
        None => Err(OpenError::Busy { name: name.clone(), pid: set.last_pid(semaphores::LOCK)? }),
    }
}

/// Waits for `attempt` to find a channel that is not there yet.
///
/// The kernel has no call that waits for a System V object to appear, so this looks again after
/// pauses that grow from 50 microseconds to 5 milliseconds.
pub(crate) fn wait_for<R>(
    patience: Duration,
    attempt: impl Fn() -> Result<R, OpenError>,
) -> Result<R, OpenError> {
    let deadline = Deadline::after(patience);
    let mut pause = Duration::from_micros(50);
    loop {
        match attempt() {
            Err(OpenError::NotFound { .. }) if !deadline.has_passed() => {
                sys::pause(pause.min(deadline.remaining().unwrap_or(pause)));
                pause = (pause * 2).min(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}
