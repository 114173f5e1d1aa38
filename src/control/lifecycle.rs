//! Creating, opening, closing and removing, all under the lock semaphore.
//!
//! A creator makes the set, signs it and takes its lock in one atomic step, makes the segment and
//! the queue, and writes the header's magic last. Whoever finds less than that, with the lock free,
//! has found what a killed process left: a creator starts again from the set, an opener removes
//! the rest and says that there is no channel. The set goes last, so that whatever is left can
//! still be locked.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::header::{BadHeader, Mapped};
use super::ownership::check_mode;
use super::semaphores::{self, Claim, USERS};
use super::{Control, Header, Layout, Owner, SLOTS, word};
use crate::error::OpenError;
use crate::name::{Handle, Name};
use crate::ring::Consumer;
use crate::schema::{self, Schema};
use crate::sys::{
    self, Deadline, Fault, Key, MessageQueue, Ordering, SegmentId, SemaphoreSet, SystemError,
    SystemErrorKind, fault, process,
};

/// How often a set may vanish or change hands while we look for it.
const ATTEMPTS: usize = 100;

/// How long to wait for the lock, which is held for a few system calls.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// What a program expects of a channel, and what it makes one with.
pub(crate) struct Wanted {
    pub(crate) name: Name,
    pub(crate) layout: Layout,
    pub(crate) mode: u32,
    pub(crate) durable: bool,
    pub(crate) private: bool,
    pub(crate) huge_pages: bool,
    pub(crate) owner: Owner,
    pub(crate) schema: Schema,
    pub(crate) codec: &'static str,
}

impl Wanted {
    fn header(&self, key: Key) -> Header {
        Header {
            layout: self.layout,
            key,
            incarnation: process::random(),
            mode: self.mode,
            durable: self.durable,
            private: self.private,
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
        if header.codec != super::cut(self.codec, super::layout::MAX_CODEC) {
            let theirs = header.codec.clone();
            return Err(OpenError::WrongCodec { mine: self.codec, theirs });
        }
        if header.fingerprint != self.schema.fingerprint() {
            return Err(OpenError::WrongType {
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
}

/// What stands under a key whose set is ours and locked.
enum Found {
    /// A finished channel.
    Whole(Mapped, Option<MessageQueue>),
    /// What a killed creator or remover left.
    Rest { segment: Option<SegmentId>, queue: Option<MessageQueue> },
}

/// Creates a channel, or adopts an unused one of the same kind with the values that it holds.
pub(crate) fn create(wanted: &Wanted) -> Result<Control, OpenError> {
    let key = wanted.name.key()?;
    let count = semaphores::count(wanted.layout.lanes);
    for _ in 0..ATTEMPTS {
        let (set, made) = match SemaphoreSet::create(key, count, wanted.mode) {
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
            return Ok(control);
        }
    }
    Err(restless(key))
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
            Claim::Signed => {
                lock(set)?;
                return Locked { set }
                    .run(|locked| create_locked(wanted, key, locked, Evidence::Signature));
            }
            Claim::Virgin
                if stat.count == semaphores::count(wanted.layout.lanes)
                    && stat.ownership.mode == wanted.mode => {}
            _ => {
                let found = format!("{}, which is not of this crate", set_name(set));
                return Err(OpenError::KeyCollision { key, found });
            }
        }
    }
    if !semaphores::claim(set)? {
        return Ok(None);
    }
    Locked { set }.run(|locked| {
        create_locked(wanted, key, locked, Evidence::None).inspect_err(|_| {
            // A creation that fails leaves nothing; this set is ours and nobody could use it yet.
            let _ = set.remove();
        })
    })
}

/// Creates with the lock held.
fn create_locked(
    wanted: &Wanted,
    key: Key,
    locked: &Locked,
    evidence: Evidence<'_>,
) -> Result<Then, OpenError> {
    let set = locked.set;
    if !process::undo_works(set, semaphores::TRIAL)? {
        return Err(OpenError::UndoIgnored);
    }
    match look(key, set, wanted.owner, evidence)? {
        Found::Whole(mapped, queue) => {
            wanted.check_name(key, &mapped.header)?;
            if set.value(USERS)? != 0 {
                return Err(OpenError::AlreadyExists { name: wanted.name.clone() });
            }
            let same = mapped.header.same_channel(&wanted.header(key));
            let control = Control::new(mapped, set, queue);
            if same {
                // A new life: peers of the last one count neither as come nor as gone.
                for at in [word::SENDERS_CAME, word::RECEIVER_CAME] {
                    control.word(at).store(0, Ordering::Relaxed);
                }
                return Ok(Then::Use(Box::new(control)));
            }
            if control.header.durable || control.holds_values() {
                let refused = wanted.check(key, &control.header);
                control.forget();
                refused?;
                return Err(OpenError::HoldsValues { name: wanted.name.clone() });
            }
            control.remove_objects()?;
            control.forget();
            Ok(Then::Again)
        }
        Found::Rest { segment, queue } => {
            remove_rest(segment, queue)?;
            if set.stat()?.count != semaphores::count(wanted.layout.lanes) {
                set.remove()?;
                return Ok(Then::Again);
            }
            build(wanted, key, set).map(|control| Then::Use(Box::new(control))).inspect_err(|_| {
                // As above, also where the set is what a killed creator left.
                let _ = set.remove();
            })
        }
    }
}

/// Makes segment and queue under a set that is ours and locked.
fn build(wanted: &Wanted, key: Key, set: SemaphoreSet) -> Result<Control, OpenError> {
    let header = wanted.header(key);
    let Some(plan) = header.layout.plan() else {
        return Err(OpenError::InvalidOptions("the rings do not fit into memory".to_owned()));
    };
    // Whoever finds an unfinished segment knows it for ours by this process in the signature.
    semaphores::sign_again(set)?;
    let (id, huge) = SegmentId::create(key, plan, wanted.mode, wanted.huge_pages)
        .map_err(|error| taken(key, error))?;
    let made = || -> Result<Control, OpenError> {
        if wanted.huge_pages && !huge {
            // Not an error: the channel works the same. Said where the user can see it.
            eprintln!(
                "sysv-channel: no huge pages for {}, normal ones are used: raise vm.nr_hugepages",
                wanted.name
            );
        }
        let segment = Arc::new(id.attach(false)?);
        header.write(&segment);
        let queue = if header.layout.has_queue() {
            Some(MessageQueue::create(key, wanted.mode).map_err(|error| taken(key, error))?)
        } else {
            None
        };
        let fits = queue.map_or(Ok(()), |queue| check_capacity(queue, &header.layout));
        if let (Err(error), Some(queue)) = (fits, queue) {
            let _ = queue.remove();
            return Err(error);
        }
        Header::publish(&segment);
        Ok(Control::new(Mapped { segment, header: header.clone() }, set, queue))
    };
    made().inspect_err(|_| {
        let _ = id.remove();
    })
}

/// Refuses messages that the queue could never take: sending one would wait for ever.
fn check_capacity(queue: MessageQueue, layout: &Layout) -> Result<(), OpenError> {
    let capacity = queue.stat()?.capacity;
    let needed = layout.message_len() as u64;
    if needed <= capacity {
        return Ok(());
    }
    Err(OpenError::InvalidOptions(format!(
        "an inline_limit of {} makes messages of {needed} bytes, and the queue holds {capacity}: \
         lower it, or raise the sysctl kernel.msgmnb",
        layout.inline_limit
    )))
}

/// The error for an object of somebody else under our key.
fn taken(key: Key, error: SystemError) -> OpenError {
    if error.kind() == SystemErrorKind::AlreadyExists {
        let found = format!("{}, which is not of this channel", error.object());
        return OpenError::KeyCollision { key, found };
    }
    error.into()
}

/// Opens a channel that exists.
pub(crate) fn open(wanted: &Wanted) -> Result<Control, OpenError> {
    let key = wanted.name.key()?;
    for _ in 0..ATTEMPTS {
        let Some(set) = find_set(key, wanted.owner)? else {
            return Err(OpenError::NotFound { name: wanted.name.clone() });
        };
        if let Some(control) = gone_is_none(open_on(wanted, key, set))? {
            return Ok(control);
        }
    }
    Err(restless(key))
}

fn open_on(wanted: &Wanted, key: Key, set: SemaphoreSet) -> Result<Option<Control>, OpenError> {
    lock(set)?;
    Locked { set }.run(|locked| match look(key, locked.set, wanted.owner, Evidence::Signature)? {
        Found::Whole(mapped, queue) => {
            wanted.check(key, &mapped.header)?;
            Ok(Then::Use(Box::new(Control::new(mapped, locked.set, queue))))
        }
        Found::Rest { segment, queue } => {
            remove_rest(segment, queue)?;
            locked.set.remove()?;
            Err(OpenError::NotFound { name: wanted.name.clone() })
        }
    })
}

/// Removes the channel, in use or not: whoever uses it is told that it is gone.
pub(crate) fn unlink(name: &Name, owner: Owner) -> Result<(), OpenError> {
    let key = name.key()?;
    let Some(set) = find_set(key, owner)? else {
        return Err(OpenError::NotFound { name: name.clone() });
    };
    let removed = lock(set).and_then(|()| {
        Locked { set }.run(|_| {
            match look(key, set, owner, Evidence::Signature) {
                Ok(Found::Whole(mapped, queue)) => {
                    let wanted_name = Wanted::named(name.clone());
                    wanted_name.check_name(key, &mapped.header)?;
                    let id = mapped.segment.id();
                    remove_rest(Some(id), queue)?;
                }
                Ok(Found::Rest { segment, queue }) => remove_rest(segment, queue)?,
                // A header that nobody can read is what one comes here for; the segment's owner and
                // creator were checked before its content.
                Err(OpenError::Corrupt { .. } | OpenError::WrongVersion { .. }) => {
                    let queue = find_queue(key)?;
                    if let Some(queue) = queue {
                        owner.check(queue_name(key), &queue.stat()?.ownership)?;
                    }
                    remove_rest(find_segment(key)?, queue)?;
                }
                Err(error) => return Err(error),
            }
            set.remove()?;
            Ok(Then::Again)
        })
    });
    gone_is_none(removed).map(|_| ())
}

impl Wanted {
    /// Only the name counts.
    fn named(name: Name) -> Wanted {
        Wanted {
            name,
            layout: Layout {
                lanes: 1,
                ring_lines: 0,
                return_lines: 0,
                inline_limit: 1,
                max_value: 0,
            },
            mode: 0,
            durable: false,
            private: false,
            huge_pages: false,
            owner: Owner::Myself,
            schema: Schema::bytes(""),
            codec: "",
        }
    }
}

/// The set under a key if it carries our signature, `None` if there is no channel.
fn find_set(key: Key, owner: Owner) -> Result<Option<SemaphoreSet>, OpenError> {
    let look = || -> Result<Option<SemaphoreSet>, OpenError> {
        let set = match SemaphoreSet::open(key) {
            Ok(set) => set,
            Err(error) if error.kind() == SystemErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        owner.check(set_name(set), &set.stat()?.ownership)?;
        match semaphores::inspect(set)? {
            Claim::Signed => Ok(Some(set)),
            // Its creator is about to sign it, or was killed: no channel either way, yet.
            Claim::Virgin => Ok(None),
            Claim::Foreign => {
                let found = format!("{}, which is not of this crate", set_name(set));
                Err(OpenError::KeyCollision { key, found })
            }
        }
    };
    gone_is_none(look())
}

/// What says that an unfinished object under our key is ours.
#[derive(Clone, Copy)]
pub(super) enum Evidence<'a> {
    /// Nothing: the set was new or never signed, so nobody has made the others under it.
    None,
    /// The set's signature: whoever signed it may have been killed before the rest was finished.
    Signature,
    /// As above; and these objects were found when the channel was still whole.
    Known(&'a Control),
}

/// Looks at what stands under the key of a set that is ours and locked.
fn look(
    key: Key,
    set: SemaphoreSet,
    owner: Owner,
    evidence: Evidence<'_>,
) -> Result<Found, OpenError> {
    let queue = find_queue(key)?;
    let Some(id) = find_segment(key)? else {
        return Ok(Found::Rest { segment: None, queue: unused(key, queue, owner, evidence)? });
    };
    let stat = id.stat()?;
    owner.check(format!("shared-memory segment {key} (id {})", id.id()), &stat.ownership)?;
    let segment = match evidence {
        // There may be no room for a second mapping.
        Evidence::Known(control) if control.segment.id() == id => control.segment.clone(),
        _ => Arc::new(id.attach(false)?),
    };
    let corrupt = |what: String| OpenError::Corrupt { key, what };
    let header = match Header::read(&segment) {
        Ok(header) => header,
        Err(BadHeader::Unfinished)
            if !matches!(evidence, Evidence::None)
                && stat.creator_pid == semaphores::signer(set)? =>
        {
            let queue = unused(key, queue, owner, evidence)?;
            return Ok(Found::Rest { segment: Some(id), queue });
        }
        Err(BadHeader::Unfinished) => {
            let found =
                format!("shared-memory segment (id {}), which is not of this crate", id.id());
            return Err(OpenError::KeyCollision { key, found });
        }
        Err(BadHeader::Version(found)) => {
            return Err(OpenError::WrongVersion { found, expected: super::layout::VERSION });
        }
        Err(BadHeader::Damaged(what)) => return Err(corrupt(what)),
    };
    if header.key != key {
        return Err(corrupt("it names another key".to_owned()));
    }
    let set_stat = set.stat()?;
    if set_stat.count != semaphores::count(header.layout.lanes) {
        if let Evidence::None = evidence {
            // Its own set was removed by hand, and nobody can use what is left.
            if let Some(queue) = queue {
                owner.check(queue_name(key), &queue.stat()?.ownership)?;
            }
            return Ok(Found::Rest { segment: Some(id), queue });
        }
        return Err(corrupt("its lanes are not those of the semaphore set".to_owned()));
    }
    check_mode(set_name(set), &set_stat.ownership, &header)?;
    check_mode(format!("shared-memory segment {key}"), &stat.ownership, &header)?;
    if !header.layout.has_queue() {
        return Ok(Found::Whole(Mapped { segment, header }, None));
    }
    let Some(queue) = queue else {
        return Ok(Found::Rest { segment: Some(id), queue: None });
    };
    let ownership = queue.stat()?.ownership;
    owner.check(queue_name(key), &ownership)?;
    check_mode(queue_name(key), &ownership, &header)?;
    Ok(Found::Whole(Mapped { segment, header }, Some(queue)))
}

/// A queue without a header is ours only if it is empty and nobody ever used it, or we know it.
fn unused(
    key: Key,
    queue: Option<MessageQueue>,
    owner: Owner,
    evidence: Evidence<'_>,
) -> Result<Option<MessageQueue>, OpenError> {
    let Some(queue) = queue else { return Ok(None) };
    let stat = queue.stat()?;
    owner.check(queue_name(key), &stat.ownership)?;
    let ours = match evidence {
        Evidence::None => false,
        Evidence::Known(control) if control.queue == Some(queue) => true,
        _ => stat.messages == 0 && stat.last_send.is_none() && stat.last_receive.is_none(),
    };
    if ours {
        return Ok(Some(queue));
    }
    let found = format!("message queue (id {}), which another program uses", queue.id());
    Err(OpenError::KeyCollision { key, found })
}

fn find_queue(key: Key) -> Result<Option<MessageQueue>, SystemError> {
    found(MessageQueue::open(key))
}

fn find_segment(key: Key) -> Result<Option<SegmentId>, SystemError> {
    found(SegmentId::open(key))
}

fn found<O>(opened: Result<O, SystemError>) -> Result<Option<O>, SystemError> {
    match opened {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.kind() == SystemErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove_rest(segment: Option<SegmentId>, queue: Option<MessageQueue>) -> Result<(), SystemError> {
    if let Some(queue) = queue {
        ignore_gone(queue.remove())?;
    }
    if let Some(segment) = segment {
        ignore_gone(segment.remove())?;
    }
    Ok(())
}

fn ignore_gone(removed: Result<(), SystemError>) -> Result<(), SystemError> {
    removed.or_else(|error| match error.kind() {
        SystemErrorKind::Removed => Ok(()),
        _ => Err(error),
    })
}

fn queue_name(key: Key) -> String {
    format!("message queue {key}")
}

fn set_name(set: SemaphoreSet) -> String {
    format!("semaphore set {:#010x} (id {})", set.key(), set.id())
}

/// A set that vanished is no error: it is looked up again by its key.
fn gone_is_none<R>(result: Result<Option<R>, OpenError>) -> Result<Option<R>, OpenError> {
    match result {
        Err(OpenError::System(error)) if error.kind() == SystemErrorKind::Removed => Ok(None),
        result => result,
    }
}

fn restless(key: Key) -> OpenError {
    let what = format!("its objects were made and removed {ATTEMPTS} times while we looked");
    OpenError::Corrupt { key, what }
}

fn lock(set: SemaphoreSet) -> Result<(), OpenError> {
    if semaphores::lock(set, Deadline::after(LOCK_PATIENCE))? {
        return Ok(());
    }
    Err(OpenError::Busy { pid: set.last_pid(semaphores::LOCK)? })
}

/// What to do with the lock after looking.
enum Then {
    /// Become a user.
    Use(Box<Control>),
    /// The set may be gone: look it up again.
    Again,
}

/// A set whose lock this process holds.
struct Locked {
    set: SemaphoreSet,
}

impl Locked {
    /// Does something under the lock and gives it back.
    fn run(
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
    fn new(mapped: Mapped, set: SemaphoreSet, queue: Option<MessageQueue>) -> Self {
        let Mapped { segment, header } = mapped;
        let napped = AtomicBool::new(false);
        Control { segment, set, queue, header, napped, token: process::token() }
    }

    /// Drops the mapping without having been a user.
    fn forget(mut self) {
        // No process has the token zero, so dropping does nothing else.
        self.token = 0;
    }

    /// A handle to this very channel.
    pub(crate) fn handle(&self) -> Handle {
        Handle { key: self.header.key, incarnation: self.header.incarnation }
    }

    /// Gives the use up, and removes the channel if it was the last.
    pub(super) fn close(&self) {
        if semaphores::leave(self.set).is_ok() {
            tidy(self.set, Evidence::Known(self));
        }
    }

    /// Whether a value waits that nobody has received.
    fn holds_values(&self) -> bool {
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
    fn remove_objects(&self) -> Result<(), SystemError> {
        remove_rest(Some(self.segment.id()), self.queue)
    }

    fn remove_all(&self) -> Result<(), SystemError> {
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
