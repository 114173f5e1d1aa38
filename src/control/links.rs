//! What a channel remembers of the values that the inlets of bridges have put into it.
//!
//! A bridge takes a value from the channel far away only when it was put here, and sends it again when it does not
//! know whether it was. So an inlet writes down which value comes next before it publishes it, beside something that
//! tells afterwards whether it did, also when it was killed in between:
//!
//! - for a record its position, which the lane's tail has passed or not;
//! - for a value in fragments the state that `Fragmented` had before, which a value that was handed over has changed;
//! - for a message nothing does, until its sender says so: one that may not have gone counts as not put.
//!
//! The lane's next owner knows its tail before it has written anything, and settles then what the last owner
//! left open. The inlets of one link follow each other: one that attaches holds the channel's lock, and is refused
//! while the owner's mark stands in its lane's role.

use super::fragmented::Fragmented;
use super::layout::{LINKS, WINDOW, link_word, word};
use super::lock::Locked;
use super::{Control, lane_word, semaphores};
use crate::sys::{AtomicU64, Deadline, Fault, Ordering, SystemError, fault};

/// Which value of which channel: its incarnation, who sent it, and where it stands.
pub(crate) type Id = [u64; 3];

/// Set where the proof is the state before a value in fragments, which is below.
const LONG: u64 = 1 << 63;
/// Nothing tells whether it was put.
const UNKNOWN: u64 = u64::MAX;
/// It was put.
const PUT: u64 = u64::MAX - 1;

/// How it will be known whether a value was put.
#[derive(Clone, Copy)]
pub(crate) enum Proof {
    /// It is a record at this position.
    Record(u64),
    /// It goes in fragments, and the lane's word for them was this before.
    Long(u64),
    /// It is a message, and nothing tells.
    Message,
}

impl Proof {
    fn word(self) -> u64 {
        match self {
            Proof::Record(position) => position,
            Proof::Long(before) => before | LONG,
            Proof::Message => UNKNOWN,
        }
    }
}

/// The inlet that has a link, or had it last.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkOwner {
    pub(crate) lane: usize,
    pub(crate) mark: i16,
    pub(crate) generation: u64,
}

impl LinkOwner {
    /// The process that took or gave back the lane last.
    pub(crate) fn pid(self, control: &Control) -> Result<i32, SystemError> {
        control.set.last_pid(semaphores::lane_role(self.lane))
    }

    /// Whether it is there: by the semaphore that the kernel keeps true, and the generation, since a later sender may have
    /// drawn the same mark.
    fn is_there(self, control: &Control) -> Result<bool, SystemError> {
        let role = control.set.value(semaphores::lane_role(self.lane))?;
        let generation = control.lane_word(self.lane, lane_word::GENERATION);
        // Relaxed: one that has taken the lane and not said so yet is taken for this one for that long.
        Ok(role == self.mark as u16 && generation.load(Ordering::Relaxed) == self.generation)
    }
}

/// The words of one link.
#[derive(Clone, Copy)]
pub(crate) struct Link<'c> {
    control: &'c Control,
    at: usize,
}

/// What stands in the way of a link.
pub(crate) enum Refused {
    /// Another process has the link.
    InUse {
        pid: i32,
    },
    /// All that are remembered are in use.
    Exhausted,
    /// Another process has the lock, for too long.
    Busy {
        pid: i32,
    },
    System(SystemError),
}

impl From<SystemError> for Refused {
    fn from(error: SystemError) -> Self {
        Refused::System(error)
    }
}

impl<'c> Link<'c> {
    pub(crate) fn new(control: &'c Control, link: usize) -> Self {
        Link { control, at: control.layout().link(link) }
    }

    // Relaxed, all of these but where they say otherwise: a link has one owner at a time, and owners follow each
    // other by way of semaphores.
    fn word(&self, at: usize) -> &'c AtomicU64 {
        self.control.word(self.at + at)
    }

    fn get(&self, at: usize) -> u64 {
        self.word(at).load(Ordering::Relaxed)
    }

    fn set(&self, at: usize, value: u64) {
        self.word(at).store(value, Ordering::Relaxed);
    }

    fn entry(number: u64) -> usize {
        link_word::ENTRIES + (number % link_word::ENTRY_COUNT) as usize * link_word::ENTRY
    }

    fn proof(&self, number: u64) -> &'c AtomicU64 {
        self.word(Link::entry(number) + 24)
    }

    /// The number of the last value that was begun.
    pub(crate) fn begun(&self) -> u64 {
        self.get(link_word::BEGUN)
    }

    /// The owner, there or gone.
    pub(crate) fn owner(&self) -> Option<LinkOwner> {
        let owner = self.get(link_word::OWNER);
        let (lane, mark) = ((owner >> 16) as usize, owner as u16 as i16);
        let generation = self.get(link_word::GENERATION);
        let is_one = mark > 0 && lane < self.control.layout().lanes;
        is_one.then_some(LinkOwner { lane, mark, generation })
    }

    /// Whether it is written down of all values whether they were put.
    pub(crate) fn is_settled(&self) -> bool {
        self.get(link_word::SETTLED) == self.begun()
    }

    /// Writes down which value is put next, before any of it is published.
    pub(crate) fn begin(&self, number: u64, id: Id, proof: Proof) {
        if fault(Fault::LinkBegunFirst) {
            self.set(link_word::BEGUN, number);
        }
        for (part, value) in id.into_iter().enumerate() {
            self.set(Link::entry(number) + part * 8, value);
        }
        self.proof(number).store(proof.word(), Ordering::Relaxed);
        // Release: the entry comes before its number also where the process is killed between the two. Pairs with
        // nothing else: the next owner comes by way of a semaphore.
        self.word(link_word::BEGUN).store(number, Ordering::Release);
    }

    /// The value was put, of which nothing else tells.
    pub(crate) fn confirm(&self, number: u64) {
        self.proof(number).store(PUT, Ordering::Relaxed);
    }

    /// The value was not put after all: the next one has its number.
    pub(crate) fn take_back(&self, number: u64) {
        // In this order: where the process is killed between the two, the number is settled once more.
        // Wrapping, as where it is counted on: the number may be whatever was scribbled there.
        self.set(link_word::SETTLED, number.wrapping_sub(1));
        self.set(link_word::BEGUN, number.wrapping_sub(1));
    }

    /// Writes down whether the last value was put of which that is not known, for the next owner of the lane, whose
    /// ring ends at `tail`.
    fn settle(&self, lane: usize, tail: u64) {
        let number = self.begun();
        let put = match self.proof(number).load(Ordering::Relaxed) {
            UNKNOWN => false,
            PUT => true,
            proof if proof & LONG != 0 => {
                let word = self.control.lane_word(lane, lane_word::FRAGMENTED);
                Fragmented(word).settle(proof & !LONG)
            }
            position => tail > position || fault(Fault::LinkForgets),
        };
        if put {
            self.set(link_word::SETTLED, number);
        } else {
            self.take_back(number);
        }
    }

    /// What was put, oldest first: all that an outlet may hold and not know of.
    pub(crate) fn known(&self) -> Vec<Id> {
        let begun = self.begun();
        let id = |number| [0, 8, 16].map(|part| self.get(Link::entry(number) + part));
        (begun.saturating_sub(WINDOW as u64)..begun).map(|before| id(before + 1)).collect()
    }

    fn forget(&self, link: u64) {
        // In this order: a process that dies in between leaves a link that has no number.
        self.set(link_word::LINK, 0);
        self.set(link_word::OWNER, 0);
        self.set(link_word::BEGUN, 0);
        self.set(link_word::SETTLED, 0);
        // Release: as in `begin`.
        self.word(link_word::LINK).store(link, Ordering::Release);
    }

    /// Has the link for this owner. What its predecessor left open is settled.
    pub(crate) fn take(&self, owner: LinkOwner) {
        let came = self.control.word(word::LINKS_CAME).fetch_add(1, Ordering::Relaxed);
        self.set(link_word::CAME, came.wrapping_add(1));
        self.set(link_word::GENERATION, owner.generation);
        // Release: as in `begin`.
        let lane_and_mark = (owner.lane as u64) << 16 | u64::from(owner.mark as u16);
        self.word(link_word::OWNER).store(lane_and_mark, Ordering::Release);
    }
}

/// A link that no other process has, nor can take as long as this is there: it holds the channel's lock.
pub(crate) struct Claim {
    _locked: Locked,
    /// Which words are the link's.
    pub(crate) index: usize,
}

/// Finds the words of a link, or the ones that were unused longest.
pub(crate) fn claim(control: &Control, link: u64, patience: Deadline) -> Result<Claim, Refused> {
    match Locked::take(control.set, patience)? {
        Some(locked) => Ok(Claim { index: choose(control, link)?, _locked: locked }),
        None => Err(Refused::Busy { pid: control.set.last_pid(semaphores::LOCK)? }),
    }
}

fn choose(control: &Control, link: u64) -> Result<usize, Refused> {
    let all = || (0..LINKS).map(|index| (index, Link::new(control, index)));
    if let Some((index, found)) = all().find(|(_, other)| other.get(link_word::LINK) == link) {
        match found.owner() {
            Some(owner) if owner.is_there(control)? => {
                return Err(Refused::InUse { pid: owner.pid(control)? });
            }
            Some(_) => {}
            // Nothing was put, or its words were written over.
            None => found.forget(link),
        }
        return Ok(index);
    }
    let mut longest: Option<(u64, usize)> = None;
    for (index, other) in all() {
        let came = match other.get(link_word::LINK) {
            0 => 0,
            _ => other.get(link_word::CAME).max(1),
        };
        let in_use = came > 0
            && match other.owner() {
                Some(owner) => owner.is_there(control)?,
                None => false,
            };
        if !in_use && longest.is_none_or(|(before, _)| came < before) {
            longest = Some((came, index));
        }
    }
    let (_, index) = longest.ok_or(Refused::Exhausted)?;
    Link::new(control, index).forget(link);
    Ok(index)
}

/// Settles what the last owner of a lane left open, before the next one writes anything into its ring.
pub(crate) fn settle_lane(control: &Control, lane: usize, tail: u64) {
    // Relaxed: an inlet that had this lane counted itself before.
    if control.word(word::LINKS_CAME).load(Ordering::Relaxed) == 0 || fault(Fault::LinkNotSettled) {
        return;
    }
    for index in 0..LINKS {
        let link = Link::new(control, index);
        if link.owner().is_some_and(|owner| owner.lane == lane) && !link.is_settled() {
            link.settle(lane, tail);
        }
    }
}
