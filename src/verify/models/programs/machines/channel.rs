//! A channel as lists: those of `tests/model`, with who is attached and who waits.

use std::collections::{BTreeMap, VecDeque};

use super::super::checker::{At, Machine, Outcome, Step, Then};
use super::super::language::{How, Kind, Operation, Program, Role, Scene, Size, Wanted};
use super::super::lists::{Lane, Place, Reference, Value, fragments, lines};
use crate::{Select, Tag};

/// Bytes in front of a value on the queue.
const ENVELOPE: usize = 16;

pub(in crate::verify::models::programs) const LANES: usize = 3;

/// How the last receiver went.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Left {
    /// By itself: senders are told at once.
    Cleanly,
    /// Senders are told when they next have to wait.
    Killed,
}

#[derive(Clone, Debug)]
pub(super) struct Line {
    scene: Scene,
    lists: Reference,
    /// The sender on each lane, and how many it has had.
    owners: Vec<Option<usize>>,
    tenures: Vec<usize>,
    receiver: Option<usize>,
    receivers: usize,
    senders_came: bool,
    left: Option<Left>,
    /// Who sent a value, by lane and tenure, and under which receiver one in fragments was.
    origins: BTreeMap<u8, (usize, usize)>,
    announced: BTreeMap<u8, usize>,
    /// Records of killed senders that their lanes' next owners announce.
    leftovers: Vec<Option<Value>>,
    /// What was sent back to each lane's owner, and whether in fragments.
    answers: Vec<VecDeque<(u8, bool)>>,
    /// What the one that attends has received.
    attended: Vec<u8>,
    /// The value that a reply is being made to.
    in_hand: Option<u8>,
    removed: bool,
    /// Whether the queue was removed by hand, which no user has noticed yet.
    queue_gone: bool,
    /// The lanes in whose rings something may stand that the lists do not know, and whether
    /// something such stands on the queue.
    littered: Vec<bool>,
    /// The lanes whose last value in fragments may be handed over and not freed yet.
    unsettled: Vec<bool>,
    queue_littered: bool,
}

impl Line {
    pub(super) fn new(program: &Program) -> Self {
        let scene = program.scene;
        let mut line = Line {
            scene,
            lists: Reference {
                lanes: vec![Lane::new(scene.lines() * 64); LANES],
                queue: VecDeque::new(),
                slot: None,
                has_queue: scene.has_queue(),
            },
            owners: vec![None; LANES],
            tenures: vec![0; LANES],
            receiver: None,
            receivers: 0,
            senders_came: program.past,
            left: program.past.then_some(Left::Cleanly),
            origins: BTreeMap::new(),
            announced: BTreeMap::new(),
            leftovers: vec![None; LANES],
            answers: vec![VecDeque::new(); LANES],
            attended: Vec::new(),
            in_hand: None,
            removed: false,
            queue_gone: false,
            littered: vec![false; LANES],
            unsettled: vec![false; LANES],
            queue_littered: false,
        };
        for (party, it) in program.parties.iter().enumerate().filter(|(_, it)| it.attached) {
            match it.role {
                Role::Receiver => line.take_receiver(party),
                _ => line.take_lane(party, line.owners.iter().position(Option::is_none).unwrap()),
            }
        }
        line
    }

    fn take_receiver(&mut self, party: usize) {
        (self.receiver, self.left) = (Some(party), None);
        self.receivers += 1;
    }

    fn take_lane(&mut self, party: usize, lane: usize) {
        self.owners[lane] = Some(party);
        self.tenures[lane] += 1;
        self.senders_came = true;
        self.answers[lane].clear();
    }

    fn lane_of(&self, party: usize) -> Option<usize> {
        self.owners.iter().position(|&owner| owner == Some(party))
    }

    fn senders_are_gone(&self) -> bool {
        self.senders_came && self.owners.iter().all(Option::is_none)
    }

    /// Every value that waits, in its place.
    fn place_of(&self, id: u8) -> Option<Place> {
        let is_it = |value: &Value| value.bytes[0] == id;
        if self.lists.slot.as_ref().is_some_and(is_it) {
            return Some(Place::Slot);
        }
        if let Some(at) = self.lists.queue.iter().position(is_it) {
            return Some(Place::Queue(at));
        }
        (0..LANES)
            .find(|&lane| self.lists.lanes[lane].waiting.front().is_some_and(is_it))
            .map(Place::Lane)
    }

    /// Takes back what its sender gave up.
    fn withdraw(&mut self, id: u8) {
        if let Some(place) = self.place_of(id) {
            self.lists.take(place);
        } else {
            for lane in &mut self.lists.lanes {
                lane.waiting.retain(|value| value.bytes[0] != id);
            }
        }
        // Its fragments stay for a while, and its descriptor.
        if let Some((lane, _)) = self.origins.get(&id) {
            self.littered[*lane] = true;
        }
        self.queue_littered = true;
    }

    fn text(&self, size: Size) -> usize {
        if size == Size::Small { ENVELOPE + self.scene.len(size) } else { ENVELOPE }
    }

    fn by_ring(&self, size: Size) -> bool {
        !self.scene.has_queue() || size != Size::Small
    }

    fn is_littered(&self, lane: usize) -> bool {
        let narrow = self.scene.queue_capacity() < 1000;
        self.littered[lane] || self.queue_littered && narrow
    }

    /// The same with the value sent, and whether there surely was room for it; `None` if there
    /// surely was none.
    fn with_value(&self, at: At, lane: usize, size: Size, kind: Kind) -> Option<(Self, bool)> {
        let mut to = self.clone();
        let id = at.value();
        if let Some(leftover) = to.leftovers[lane].take() {
            to.lists.push(leftover);
        }
        let tag = Tag::new(kind.number()).unwrap();
        let capacity = self.scene.lines() * 64;
        let queue_full = self.scene.has_queue()
            && to.lists.queue_is_full(self.text(size), self.scene.queue_capacity());
        let len = self.scene.len(size);
        let mut has_room = !queue_full;
        to.origins.insert(id, (lane, self.tenures[lane]));
        let mut record = None;
        if self.by_ring(size) {
            record = Some(u64::from(id));
            let ring = &mut to.lists.lanes[lane];
            let pieces = if size == Size::Long {
                fragments(len, capacity, tag)
            } else {
                vec![lines(len, tag)]
            };
            for (index, &lines) in pieces.iter().enumerate() {
                let last = index + 1 == pieces.len();
                let number =
                    if last { u64::from(id) } else { 1000 + u64::from(id) * 8 + index as u64 };
                // Room is asked for before it is known how long the last piece is.
                has_room &= ring.has_room(pieces[0]);
                let mut with = ring.clone();
                if with.sent(lines, number, false, true) {
                    *ring = with;
                    if !last {
                        ring.take(number);
                    }
                } else if size == Size::Long || self.littered[lane] {
                    // The lists do not know how far the receiver has come with it.
                    (record, to.littered[lane]) = (None, true);
                } else {
                    return None;
                }
            }
        }
        if queue_full && !self.queue_littered {
            return None;
        }
        // It makes room when it looks for values.
        has_room &= at.collecting || !self.is_littered(lane);
        to.lists.push(Value { tag, bytes: vec![id], lane, record });
        if size == Size::Long {
            to.announced.insert(id, self.receivers);
        }
        Some((to, has_room))
    }

    fn send(&self, at: At, size: Size, kind: Kind, how: How) -> Vec<Step<Self>> {
        let Some(lane) = self.lane_of(at.party) else { return self.absent() };
        if size == Size::Long {
            return self.send_long(at, lane, kind, how);
        }
        let disconnected = || Step::is(self.clone(), Outcome::Disconnected);
        if self.removed {
            return vec![disconnected()];
        }
        if self.left == Some(Left::Cleanly) {
            return vec![disconnected()];
        }
        let mut all = Vec::new();
        let sent = self.with_value(at, lane, size, kind);
        let sure = sent.as_ref().is_some_and(|(_, sure)| *sure);
        all.extend(sent.map(|(to, _)| Step { sure, ..Step::is(to, Outcome::Done) }));
        if self.left == Some(Left::Killed) {
            all.push(Step { sure: !sure, ..disconnected() });
        } else if how != How::Wait && (!sure || self.is_littered(lane) || self.unsettled[lane]) {
            let mut to = self.clone();
            // What its predecessor left may have taken the room.
            if let Some(leftover) = to.leftovers[lane].take() {
                to.lists.push(leftover);
            }
            all.push(Step { sure: !sure, ..Step::is(to, Outcome::NotNow) });
        }
        all
    }

    /// First it is announced, with its last fragment; it is done when it was received.
    fn send_long(&self, at: At, lane: usize, kind: Kind, how: How) -> Vec<Step<Self>> {
        let id = at.value();
        let given_up = |outcome| {
            let mut to = self.clone();
            to.withdraw(id);
            Step::is(to, outcome)
        };
        let mut all = Vec::new();
        if at.phase == 0 && self.removed {
            return vec![Step::is(self.clone(), Outcome::Disconnected)];
        }
        if at.phase == 0 {
            if let Some((to, has_room)) = self.with_value(at, lane, Size::Long, kind) {
                let sure = has_room || at.collecting && self.can_stream(lane, kind);
                all.push(Step { sure, ..Step::phase(to, 1) });
            }
        } else if self.place_of(id).is_none() && !self.waits_anywhere(id) {
            let mut to = self.clone();
            to.unsettled[lane] = true;
            return vec![Step::is(to, Outcome::Done)];
        } else if self.announced.get(&id) != Some(&self.receivers) {
            // Another receiver has come: it begins again.
            let mut to = self.clone();
            to.withdraw(id);
            all.push(Step::phase(to, 0).perhaps());
        }
        if self.left.is_some() || self.removed {
            all.push(given_up(Outcome::Disconnected));
        } else if how == How::Timed {
            all.push(given_up(Outcome::NotNow));
        }
        all
    }

    fn waits_anywhere(&self, id: u8) -> bool {
        self.lists.lanes.iter().any(|lane| lane.waiting.iter().any(|value| value.bytes[0] == id))
    }

    /// Whether all fragments go through the lane's ring while the receiver collects them: what it
    /// passed over stays.
    fn can_stream(&self, lane: usize, kind: Kind) -> bool {
        let waits = |value: &Value| value.lane == lane && value.record.is_some();
        let queued = self.lists.queue.iter().chain(&self.lists.slot);
        let mut before = queued.chain(&self.lists.lanes[lane].waiting).filter(|value| waits(value));
        if before.next().is_none() {
            return true;
        }
        let capacity = self.scene.lines() * 64;
        let tag = Tag::new(kind.number()).unwrap();
        let mut ring = self.lists.lanes[lane].clone();
        let pieces = fragments(self.scene.len(Size::Long), capacity, tag);
        pieces.iter().enumerate().all(|(index, &lines)| {
            let number = 5000 + index as u64;
            let fits = ring.has_room(pieces[0]) && ring.sent(lines, number, false, true);
            if fits {
                ring.take(number);
            }
            fits
        })
    }

    fn absent(&self) -> Vec<Step<Self>> {
        vec![Step::is(self.clone(), Outcome::Absent)]
    }

    fn receive(&self, at: At, wanted: Wanted, how: How) -> Vec<Step<Self>> {
        if self.receiver != Some(at.party) {
            return self.absent();
        }
        if self.removed {
            return vec![Step::is(self.clone(), Outcome::Disconnected)];
        }
        let mut all: Vec<_> = self
            .taken(wanted)
            .into_iter()
            .map(|(to, id)| Step::is(to, Outcome::Value(id)))
            .collect();
        let is = |outcome| Step::is(self.clone(), outcome);
        if all.is_empty() {
            let gone = self.senders_are_gone();
            if gone {
                all.push(is(Outcome::Disconnected));
            }
            if how != How::Wait {
                all.push(Step { sure: !gone, ..is(Outcome::NotNow) });
            }
        }
        all
    }

    /// The same with a value taken, and which.
    fn taken(&self, wanted: Wanted) -> Vec<(Self, u8)> {
        let tag = |kind: Kind| Tag::new(kind.number()).unwrap();
        let select = match wanted {
            Wanted::Any => Select::Any,
            Wanted::Exactly(kind) => Select::Exactly(tag(kind)),
            Wanted::UpTo(kind) => Select::UpTo(tag(kind)),
            Wanted::Except(kind) => Select::Except(tag(kind)),
        };
        let places = self.lists.next(select).into_iter();
        places
            .map(|place| {
                let mut to = self.clone();
                let id = self.lists.at(place).bytes[0];
                to.lists.take(place);
                (to, id)
            })
            .collect()
    }

    fn reply(&self, at: At, size: Size) -> Vec<Step<Self>> {
        if at.phase == 0 {
            let mut all = Vec::new();
            for step in self.receive(at, Wanted::Any, How::Wait) {
                all.push(match step.then {
                    Then::Is(Outcome::Value(id)) => {
                        let mut to = step.to;
                        to.in_hand = Some(id);
                        Step { sure: step.sure, ..Step::phase(to, 1) }
                    }
                    _ => step,
                });
            }
            return all;
        }
        let mut to = self.clone();
        let id = to.in_hand.take().expect("it was just taken");
        let (lane, tenure) = self.origins[&id];
        let unheard = Step::is(to.clone(), Outcome::Unheard(id));
        if self.removed {
            return vec![unheard];
        }
        if self.tenures[lane] == tenure && self.owners[lane].is_some() {
            to.answers[lane].push_back((id, size == Size::Long));
            return vec![Step::is(to, Outcome::Value(id))];
        }
        // That the lane has another owner is seen, not that it has none.
        vec![unheard, Step::is(to, Outcome::Value(id))]
    }

    fn hear(&self, at: At) -> Vec<Step<Self>> {
        let Some(lane) = self.lane_of(at.party) else { return self.absent() };
        let mut to = self.clone();
        let gone = self.left.is_some();
        let disconnected = Step::is(self.clone(), Outcome::Disconnected);
        if self.removed {
            return vec![disconnected];
        }
        match to.answers[lane].pop_front() {
            Some((id, in_fragments)) => {
                let heard = Step::is(to, Outcome::Value(id));
                if in_fragments && gone {
                    vec![heard.perhaps(), disconnected]
                } else {
                    vec![Step { sure: !in_fragments || at.collecting, ..heard }]
                }
            }
            None if gone => vec![disconnected],
            None => Vec::new(),
        }
    }

    /// Receives until all others are done.
    fn attend(&self, at: At) -> Vec<Step<Self>> {
        let ended = Outcome::All(self.attended.clone());
        let mut all = self.receive(at, Wanted::Any, How::Wait);
        for step in &mut all {
            step.then = match step.then {
                Then::Is(Outcome::Value(id)) => {
                    step.to.attended.push(id);
                    Then::Phase(0)
                }
                Then::Is(Outcome::Disconnected) => Then::Is(ended.clone()),
                Then::Is(ref other) => Then::Is(other.clone()),
                Then::Phase(phase) => Then::Phase(phase),
            };
        }
        if at.alone && self.receiver == Some(at.party) && !self.removed {
            all.push(Step::is(self.clone(), ended));
        }
        all
    }

    /// The same once a user has noticed, and told the others, that it was removed.
    fn noticed(&self) -> Self {
        Line { removed: true, queue_gone: false, ..self.clone() }
    }

    /// An operation that needs the queue notices that it is gone; one that sleeps, or waits for something else,
    /// does not.
    fn steps_without_queue(&self, at: At) -> Vec<Step<Self>> {
        let noticed = self.noticed().steps(at);
        let receives = match at.operation {
            Operation::Leave(role) => return self.leave(at, role),
            Operation::Unlink => return vec![Step::is(self.noticed(), Outcome::Done)],
            Operation::Ipcrm => return vec![Step::is(self.clone(), Outcome::NotFound)],
            Operation::Receive(..) | Operation::ReceiveInPlace | Operation::Attend => true,
            Operation::Send(Size::Bulk | Size::Long, ..) => false,
            _ => return noticed,
        };
        let waits = at.operation.how() == How::Wait;
        let mut all: Vec<_> = noticed.into_iter().map(|it| Step { sure: !waits, ..it }).collect();
        if receives {
            // A dead receiver may have had a value in hand.
            let mut rest = self.clone();
            rest.lists.queue.clear();
            rest.queue_gone = false;
            for mut step in rest.steps(at) {
                step.to.queue_gone = true;
                all.push(step);
            }
        } else if !waits {
            all.push(Step::is(self.clone(), Outcome::NotNow));
        }
        all
    }

    fn attach(&self, at: At, role: Role) -> Vec<Step<Self>> {
        if self.removed {
            return vec![Step::is(self.clone(), Outcome::Disconnected)];
        }
        let is = |outcome| vec![Step::is(self.clone(), outcome)];
        if role == Role::Receiver {
            if let Some(receiver) = self.receiver {
                let mine = receiver == at.party;
                return is(if mine { Outcome::Absent } else { Outcome::Taken });
            }
            let mut to = self.clone();
            to.take_receiver(at.party);
            return vec![Step::is(to, Outcome::Done)];
        }
        if self.lane_of(at.party).is_some() {
            return is(Outcome::Absent);
        }
        let free = (0..LANES).filter(|&lane| self.owners[lane].is_none());
        let taken = free.map(|lane| {
            let mut to = self.clone();
            to.take_lane(at.party, lane);
            Step::is(to, Outcome::Done)
        });
        taken.collect()
    }

    fn leave(&self, at: At, role: Role) -> Vec<Step<Self>> {
        let mut to = self.clone();
        let here = match role {
            Role::Receiver => to.receiver == Some(at.party),
            _ => to.lane_of(at.party).is_some(),
        };
        if !here {
            return self.absent();
        }
        to.give_up(at.party, Left::Cleanly);
        vec![Step::is(to, Outcome::Done)]
    }

    fn give_up(&mut self, party: usize, left: Left) {
        if self.receiver == Some(party) {
            (self.receiver, self.left) = (None, Some(left));
        }
        if let Some(lane) = self.lane_of(party) {
            self.owners[lane] = None;
            self.tenures[lane] += 1;
        }
    }
}

impl Machine for Line {
    fn steps(&self, at: At) -> Vec<Step<Self>> {
        if self.queue_gone {
            return self.steps_without_queue(at);
        }
        match at.operation {
            Operation::Attach(role) => self.attach(at, role),
            Operation::Leave(role) => self.leave(at, role),
            Operation::Send(size, kind, how) => self.send(at, size, kind, how),
            Operation::Hear => self.hear(at),
            Operation::Receive(wanted, how) => self.receive(at, wanted, how),
            Operation::ReceiveInPlace => self.receive(at, Wanted::Any, How::Wait),
            Operation::Reply(size) => self.reply(at, size),
            Operation::Attend => self.attend(at),
            Operation::Unlink | Operation::Ipcrm if self.removed => {
                vec![Step::is(self.clone(), Outcome::NotFound)]
            }
            Operation::Unlink => vec![Step::is(self.noticed(), Outcome::Done)],
            Operation::Ipcrm => {
                vec![Step::is(Line { queue_gone: true, ..self.clone() }, Outcome::Done)]
            }
            other => unreachable!("{other:?} is none of a channel's"),
        }
    }

    fn half_done(&self, at: At) -> Vec<Self> {
        let mut all = Vec::new();
        match at.operation {
            // A message in the hand of a dead receiver is the next one's.
            Operation::Receive(..) | Operation::ReceiveInPlace | Operation::Reply(_)
                if self.receiver == Some(at.party) && self.lists.has_queue =>
            {
                let wanted = match at.operation {
                    Operation::Receive(wanted, _) => wanted,
                    _ => Wanted::Any,
                };
                for (_, id) in self.taken(wanted) {
                    if let Some(Place::Queue(index)) = self.place_of(id) {
                        let mut to = self.clone();
                        to.lists.slot = to.lists.queue.remove(index);
                        all.push(to);
                    }
                }
            }
            Operation::Send(size, kind, _) => {
                if let Some(lane) = self.lane_of(at.party) {
                    // What it has written may keep its place.
                    let mut to = self.clone();
                    to.littered[lane] = true;
                    all.push(to.clone());
                    if self.lists.has_queue && size != Size::Small {
                        let tag = Tag::new(kind.number()).unwrap();
                        let value = Value { tag, bytes: vec![at.value()], lane, record: None };
                        to.leftovers[lane] = Some(value);
                        to.origins.insert(at.value(), (lane, self.tenures[lane]));
                        all.push(to);
                    }
                }
            }
            Operation::Leave(role) => {
                // It may have said goodbye and still have the role.
                if role == Role::Receiver && self.receiver == Some(at.party) {
                    all.push(self.clone());
                }
            }
            _ => {}
        }
        all
    }

    fn die(&mut self, party: usize) {
        self.give_up(party, Left::Killed);
    }
}
