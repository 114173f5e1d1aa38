//! What stands under a key, and whose it is.

use std::sync::Arc;

use super::header::{BadHeader, Mapped};
use super::ownership::check_mode;
use super::removal::raise_alarm;
use super::semaphores::{self, Ids, OwnIds, Signature};
use super::{Control, Header, Owner};
use crate::error::OpenError;
use crate::sys::{
    Fault, Key, MessageQueue, Ownership, Segment, SegmentId, SemaphoreSet, SystemError,
    SystemErrorKind, fault,
};

/// What stands under a key whose set is ours and locked.
pub(super) enum Identified {
    /// A finished channel.
    Channel(Mapped, Option<MessageQueue>),
    /// What is to be removed before a channel can be made here.
    Rest(Rest),
}

/// What a killed creator or remover left, or a removal by hand of one of a channel's objects, which
/// may have users.
pub(super) struct Rest {
    /// Of a channel that was finished once.
    pub(super) header: Option<Header>,
    segment: Option<Arc<Segment>>,
    queue: Option<MessageQueue>,
}

impl Rest {
    /// Removes it, and tells the processes that use it.
    pub(super) fn remove(&self) -> Result<(), SystemError> {
        remove_rest(self.segment.as_deref(), self.queue)
    }
}

/// The set under a key if it carries our signature, `None` if there is no channel.
pub(super) fn find_set(key: Key, owner: Owner) -> Result<Option<SemaphoreSet>, OpenError> {
    // Of one that is not signed its creator is about to sign it, or was killed: no channel either
    // way, yet.
    let signed =
        |found: (SemaphoreSet, Signature)| (found.1 == Signature::Signed).then_some(found.0);
    Ok(find_claim(key, owner)?.and_then(signed))
}

/// The set under a key if it is ours, or could be and is not signed.
pub(super) fn find_claim(
    key: Key,
    owner: Owner,
) -> Result<Option<(SemaphoreSet, Signature)>, OpenError> {
    let look = || -> Result<Option<(SemaphoreSet, Signature)>, OpenError> {
        let set = match SemaphoreSet::open(key) {
            Ok(set) => set,
            Err(error) if error.kind() == SystemErrorKind::NotFound => {
                // Another user may have taken the key in another of its spaces.
                find_beside(key, OwnIds::Nothing, owner)?;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        owner.check(set_name(set), &set.stat()?.ownership)?;
        match semaphores::inspect(set)? {
            signature @ (Signature::Signed | Signature::Unsigned) => Ok(Some((set, signature))),
            Signature::Foreign => Err(OpenError::KeyCollision { key, found: foreign_set(set) }),
        }
    };
    gone_is_none(look())
}

/// The segment and the queue under the key that can belong to the set there, or to one that was removed
/// before. If the set has recorded ids, only the objects with those ids are returned: what has the key and
/// another id was made after one of them was removed by hand. It is left alone, and refused if an untrusted
/// user made it.
fn find_beside(
    key: Key,
    own: OwnIds,
    owner: Owner,
) -> Result<(Option<SegmentId>, Option<MessageQueue>), OpenError> {
    let (segment, queue) = (find_segment(key)?, find_queue(key)?);
    if let Some(queue) = queue {
        owner.check(queue_name(key, queue), &queue.stat()?.ownership)?;
    }
    if let Some(segment) = segment {
        owner.check(segment_name(key, segment), &segment.stat()?.ownership)?;
    }
    let OwnIds::These(ids) = own else { return Ok((segment, queue)) };
    let segment = segment.filter(|segment| segment.id() == ids.segment);
    Ok((segment, queue.filter(|queue| Some(queue.id()) == ids.queue)))
}

/// Whether a channel of this crate stands under the key, as far as this user may see.
pub(crate) fn is_channel(key: Key) -> Result<bool, SystemError> {
    let signature = SemaphoreSet::open(key).and_then(semaphores::inspect);
    match signature.map_err(|error| (error.kind(), error)) {
        Ok(signature) => Ok(signature == Signature::Signed),
        // Programs give one key to objects of all three kinds, with permissions of their own.
        Err((
            SystemErrorKind::NotFound
            | SystemErrorKind::Removed
            | SystemErrorKind::PermissionDenied,
            _,
        )) => Ok(false),
        Err((_, error)) => Err(error),
    }
}

/// Looks at what stands under the key of a set that is ours and locked; some of it may be known.
pub(super) fn identify(
    key: Key,
    set: SemaphoreSet,
    owner: Owner,
    known: Option<&Control>,
) -> Result<Identified, OpenError> {
    identify_objects(key, set, owner, known, true)
}

/// The same of a channel whose permissions were changed.
pub(super) fn identify_with_any_mode(
    key: Key,
    set: SemaphoreSet,
    owner: Owner,
) -> Result<Identified, OpenError> {
    identify_objects(key, set, owner, None, false)
}

fn identify_objects(
    key: Key,
    set: SemaphoreSet,
    owner: Owner,
    known: Option<&Control>,
    same_mode: bool,
) -> Result<Identified, OpenError> {
    let own = semaphores::own(set)?;
    let (segment, queue) = find_beside(key, own, owner)?;
    let set_stat = set.stat()?;
    let check = |name: String, remover: String, ownership: &Ownership| {
        // Several owners may be trusted, but one process makes all the objects of a channel.
        let (creator, set_creator) = (ownership.creator_uid, set_stat.ownership.creator_uid);
        if creator == set_creator {
            return Ok(());
        }
        let why = format!("user {creator} made, and user {set_creator} the semaphore set");
        Err(OpenError::KeyCollision { key, found: left_alone(&name, &why, &remover) })
    };
    if let Some(queue) = queue {
        check(queue_name(key, queue), ipcrm_queue(queue), &queue.stat()?.ownership)?;
    }
    let Some(id) = segment else {
        let queue = unused(key, queue, own)?;
        return Ok(Identified::Rest(Rest { header: None, segment: None, queue }));
    };
    let stat = id.stat()?;
    check(segment_name(key, id), ipcrm_segment(id), &stat.ownership)?;
    let segment = match known {
        // There may be no room for a second mapping.
        Some(control) if control.segment.id() == id => control.segment.clone(),
        _ => Arc::new(id.attach(false)?),
    };
    let corrupt = |what: String| OpenError::Corrupt { key, what };
    let header = match Header::read(&segment) {
        Ok(header) => header,
        Err(BadHeader::Unfinished) => {
            let (creator, signer) = (stat.creator_pid, semaphores::signer(set)?);
            let why = match own {
                OwnIds::Nothing => BEFORE_SET,
                // Of a process in another pid namespace the kernel says 0: two are not one for that.
                OwnIds::Begun if creator == 0 || signer == 0 => "was made in another pid namespace",
                OwnIds::Begun if creator != signer => {
                    "was made by another process than the semaphore set"
                }
                OwnIds::Begun | OwnIds::These(_) => {
                    let queue = unused(key, queue, own)?;
                    return Ok(Identified::Rest(Rest {
                        header: None,
                        segment: Some(segment),
                        queue,
                    }));
                }
            };
            let why = format!("has no channel's header and {why}");
            let found = left_alone(&segment_name(key, id), &why, &ipcrm_segment(id));
            return Err(OpenError::KeyCollision { key, found });
        }
        Err(BadHeader::Version(found)) => {
            return Err(OpenError::WrongVersion { key, found, expected: super::layout::VERSION });
        }
        Err(BadHeader::Damaged(what)) => return Err(corrupt(what)),
    };
    if header.key != key {
        return Err(corrupt("it names another key".to_owned()));
    }
    let queue = header.own_queue(queue);
    let rest = |header, queue| {
        Ok(Identified::Rest(Rest { header: Some(header), segment: Some(segment.clone()), queue }))
    };
    let fits = set_stat.count == semaphores::count(header.layout.lanes, header.layout.receivers);
    if own == OwnIds::Nothing {
        // Its own set was removed by hand. Its users have not all noticed yet, and what one of them
        // still sends must not come to the users of the new set. A mapping may also be one that a
        // forked child has inherited: then values are lost, as with every removal.
        let in_use = stat.attached != 0 && !fault(Fault::OrphanAdopted);
        if in_use || !fits {
            return rest(header, queue);
        }
    }
    if !fits {
        return Err(corrupt(
            "its lanes and receivers are not those of the semaphore set".to_owned(),
        ));
    }
    let check_mode = |name: String, ownership: &Ownership| {
        if same_mode { check_mode(name, ownership, &header) } else { Ok(()) }
    };
    check_mode(set_name(set), &set_stat.ownership)?;
    check_mode(segment_name(key, id), &stat.ownership)?;
    let queue = match queue {
        _ if !header.layout.has_queue() => None,
        None => return rest(header, None),
        Some(queue) => {
            check_mode(queue_name(key, queue), &queue.stat()?.ownership)?;
            Some(queue)
        }
    };
    if own == OwnIds::Nothing {
        // From here on they are this set's.
        let ids = Ids { segment: id.id(), queue: queue.map(|queue| queue.id()) };
        semaphores::record_ids(set, Some(ids))?;
    }
    Ok(Identified::Channel(Mapped { segment, header }, queue))
}

/// What stands under a key without a set.
pub(super) enum Orphan {
    Nothing,
    /// A channel's segment and its queue.
    Left(Box<Rest>),
    /// What cannot be told from another program's, and how to remove it.
    Foreign(String),
}

/// Looks for what is left of a channel whose set was removed by hand.
pub(super) fn find_orphan(key: Key, owner: Owner) -> Result<Orphan, OpenError> {
    let left = |name: String, why: &str, remover: String| {
        Orphan::Foreign(left_alone(&name, why, &remover))
    };
    let (segment, queue) = find_beside(key, OwnIds::Nothing, owner)?;
    if find_set(key, owner)?.is_some() {
        // Its creator came meanwhile: what was found may be what it makes.
        return Ok(Orphan::Nothing);
    }
    let Some(id) = segment else {
        let why = "has no channel's header beside it and no semaphore set";
        let foreign = |queue: MessageQueue| left(queue_name(key, queue), why, ipcrm_queue(queue));
        return Ok(queue.map_or(Orphan::Nothing, foreign));
    };
    let segment = Arc::new(id.attach(false)?);
    let header = match Header::read(&segment) {
        Ok(header) => Some(header),
        // Its magic says what it is.
        Err(BadHeader::Version(_) | BadHeader::Damaged(_)) => None,
        Err(BadHeader::Unfinished) => {
            let why = "has no channel's header and no semaphore set beside it";
            return Ok(left(segment_name(key, id), why, ipcrm_segment(id)));
        }
    };
    // Where the header cannot be read, nothing says whose the queue is.
    let queue = header.as_ref().and_then(|header| header.own_queue(queue));
    Ok(Orphan::Left(Box::new(Rest { header, segment: Some(segment), queue })))
}

/// A queue without a header is ours only if the set has its id, or if a creator on this set had begun
/// and the queue is empty and was never used.
fn unused(
    key: Key,
    queue: Option<MessageQueue>,
    own: OwnIds,
) -> Result<Option<MessageQueue>, OpenError> {
    let Some(queue) = queue else { return Ok(None) };
    let stat = queue.stat()?;
    let untouched = stat.messages == 0 && stat.last_send.is_none() && stat.last_receive.is_none();
    let why = match own {
        OwnIds::Nothing => BEFORE_SET,
        OwnIds::Begun if !untouched => "was used",
        OwnIds::Begun | OwnIds::These(_) => return Ok(Some(queue)),
    };
    let why = format!("has no channel's header beside it and {why}");
    let found = left_alone(&queue_name(key, queue), &why, &ipcrm_queue(queue));
    Err(OpenError::KeyCollision { key, found })
}

/// Removes a channel's objects beyond recognition, if its set has their ids.
pub(super) fn remove_wreck(
    key: Key,
    set: SemaphoreSet,
    owner: Owner,
    refused: OpenError,
) -> Result<(), OpenError> {
    let own = semaphores::own(set)?;
    let OwnIds::These(_) = own else { return Err(refused) };
    let (segment, queue) = find_beside(key, own, owner)?;
    // Users that cannot be told are by the set, which goes next, or notice by themselves.
    let mapped = segment.and_then(|segment| segment.attach(false).ok());
    remove_rest(mapped.as_ref(), queue)?;
    // One that could not be mapped.
    Ok(segment.map_or(Ok(()), |segment| ignore_gone(segment.remove()))?)
}

pub(super) fn find_queue(key: Key) -> Result<Option<MessageQueue>, SystemError> {
    found(MessageQueue::open(key))
}

pub(super) fn find_segment(key: Key) -> Result<Option<SegmentId>, SystemError> {
    found(SegmentId::open(key))
}

fn found<O>(opened: Result<O, SystemError>) -> Result<Option<O>, SystemError> {
    match opened {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.kind() == SystemErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a channel's queue and segment, and tells the users to look: they find the segment gone.
pub(super) fn remove_rest(
    segment: Option<&Segment>,
    queue: Option<MessageQueue>,
) -> Result<(), SystemError> {
    if let Some(queue) = queue {
        ignore_gone(queue.remove())?;
    }
    if let Some(segment) = segment {
        ignore_gone(segment.id().remove())?;
        raise_alarm(segment);
    }
    Ok(())
}

/// A set that vanished is no error: it is looked up again by its key.
pub(super) fn gone_is_none<R>(
    result: Result<Option<R>, OpenError>,
) -> Result<Option<R>, OpenError> {
    match result {
        Err(OpenError::System(error)) if error.kind() == SystemErrorKind::Removed => Ok(None),
        result => result,
    }
}

pub(super) fn ignore_gone(removed: Result<(), SystemError>) -> Result<(), SystemError> {
    removed.or_else(|error| match error.kind() {
        SystemErrorKind::Removed => Ok(()),
        _ => Err(error),
    })
}

/// What an object is that may be another program's, why it does not pass for the channel's, and what
/// removes it.
fn left_alone(object: &str, why: &str, remover: &str) -> String {
    format!("{object}, which {why} (if it is left of a channel, {remover} removes it)")
}

/// The same of a set that no creator of a channel signed or could sign.
pub(super) fn foreign_set(set: SemaphoreSet) -> String {
    let remover = format!("`ipcrm -s {}`", set.id());
    left_alone(&set_name(set), "does not carry the signature of a channel's", &remover)
}

/// Why an object beside a new set is not that set's.
const BEFORE_SET: &str = "was there before the semaphore set";

fn ipcrm_queue(queue: MessageQueue) -> String {
    format!("`ipcrm -q {}`", queue.id())
}

fn ipcrm_segment(segment: SegmentId) -> String {
    format!("`ipcrm -m {}`", segment.id())
}

pub(super) fn queue_name(key: Key, queue: MessageQueue) -> String {
    format!("message queue {key} (id {})", queue.id())
}

pub(super) fn segment_name(key: Key, segment: SegmentId) -> String {
    format!("shared-memory segment {key} (id {})", segment.id())
}

pub(super) fn set_name(set: SemaphoreSet) -> String {
    format!("semaphore set {:#010x} (id {})", set.key(), set.id())
}
