//! Random use of a channel against lists that say what must come and when it may be full.
//!
//! The lists know the kernel's one order, each sender's own where there is no queue, System V
//! selection, and the room in queue and rings to the line.

#[path = "../common/kernel.rs"]
#[allow(dead_code, reason = "shared with other tests, and used in part")]
mod kernel;
mod reference;

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use reference::{Lane, Place, Reference, Value, fragments, header, lines, longest_record};
use sysv_channel::codec::Raw;
use sysv_channel::{
    AttachError, Channel, Key, OpenError, Receiver, RecvError, Select, SendError, Sender, Tag,
    TrustedPeers,
};

type Bytes = Vec<u8>;

/// Bytes in front of a value on the queue.
const ENVELOPE: usize = 16;

/// What must come comes long before.
const HANGS: Duration = Duration::from_secs(20);

/// What the channel is created with.
#[derive(Debug, Clone)]
struct Plan {
    inline_limit: usize,
    capacity: usize,
    queue_capacity: u64,
    lanes: usize,
    max_value: usize,
}

impl Plan {
    fn has_queue(&self) -> bool {
        self.inline_limit > 0
    }

    fn goes_inline(&self, len: usize) -> bool {
        self.has_queue() && len <= self.inline_limit
    }

    fn has_ring(&self) -> bool {
        self.capacity > 0
    }

    /// The longest value at all.
    fn longest(&self) -> usize {
        if self.has_ring() { self.max_value } else { self.max_value.min(self.inline_limit) }
    }
}

/// Lengths at and around each limit, and others.
#[derive(Debug, Clone, Copy)]
enum Length {
    Bytes(usize),
    Inline(isize),
    Record(isize),
    Longest(isize),
}

impl Length {
    fn of(self, plan: &Plan, tag: Tag) -> usize {
        let near = |limit: usize, by: isize| limit.saturating_add_signed(by);
        match self {
            Length::Bytes(len) => len,
            Length::Inline(by) => near(plan.inline_limit, by),
            Length::Record(by) if plan.has_ring() => near(longest_record(plan.capacity, tag), by),
            Length::Record(by) | Length::Longest(by) => near(plan.longest(), by),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Send { who: Index, tag: usize, length: Length, laps: u64, timed: bool },
    SendAll { who: Index, lengths: Vec<usize> },
    SendLong { who: Index, tag: usize, extra: usize },
    Receive { select: usize, tag: usize, how: usize },
    ReceiveBatch { max: usize },
    ReceiveInPlace,
    DieWithAValueInHand,
    AddSender { clone: bool },
    DropSender { who: Index },
    AddReceiver,
    DropReceiver,
}

/// Tags of few and of many bits; where there is no queue, a tag also tells the lane.
const TAGS: [i64; 4] = [16, 32, (1 << 24) + 16, i64::MAX - 31];

fn tag(at: usize, lane: usize) -> Tag {
    Tag::new(TAGS[at] + lane as i64).unwrap()
}

fn plan(shape: usize) -> impl Strategy<Value = Plan> {
    let inline = prop_oneof![1..100_usize, Just(1024), 1..4000_usize];
    let capacity = prop_oneof![3 => Just(4096_usize), 1 => Just(16384)];
    let queue = prop_oneof![0..100_u64, 0..10_000_u64];
    (inline, capacity, queue, 1..4_usize, 0..20_000_usize).prop_map(
        move |(inline, capacity, queue, lanes, max)| {
            let inline_limit = if shape == 1 { 0 } else { inline };
            let capacity = if shape == 2 { 0 } else { capacity };
            Plan {
                inline_limit,
                capacity,
                queue_capacity: (inline_limit + ENVELOPE) as u64 + queue,
                lanes,
                max_value: capacity.max(inline_limit) + max,
            }
        },
    )
}

fn length() -> impl Strategy<Value = Length> {
    prop_oneof![
        1 => Just(Length::Bytes(0)),
        3 => (1..200_usize).prop_map(Length::Bytes),
        2 => (0..3000_usize).prop_map(Length::Bytes),
        2 => (-1..2_isize).prop_map(Length::Inline),
        2 => (-1..2_isize).prop_map(Length::Record),
        1 => (-1..2_isize).prop_map(Length::Longest),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let who = any::<Index>;
    let tag = 0..TAGS.len();
    prop_oneof![
        14 => (who(), tag.clone(), length(), 0..3_u64, any::<bool>()).prop_map(
            |(who, tag, length, laps, timed)| Step::Send { who, tag, length, laps, timed }
        ),
        1 => (who(), prop::collection::vec(2..300_usize, 0..6))
            .prop_map(|(who, lengths)| Step::SendAll { who, lengths }),
        1 => (who(), tag.clone(), 0..30_000_usize)
            .prop_map(|(who, tag, extra)| Step::SendLong { who, tag, extra }),
        8 => (0..6_usize, tag, 0..3_usize)
            .prop_map(|(select, tag, how)| Step::Receive { select, tag, how }),
        1 => (0..6_usize).prop_map(|max| Step::ReceiveBatch { max }),
        1 => Just(Step::ReceiveInPlace),
        1 => Just(Step::DieWithAValueInHand),
        2 => any::<bool>().prop_map(|clone| Step::AddSender { clone }),
        1 => who().prop_map(|who| Step::DropSender { who }),
        3 => Just(Step::AddReceiver),
        1 => Just(Step::DropReceiver),
    ]
}

/// A channel, and what it must do.
struct World {
    plan: Plan,
    channel: Channel<Bytes, Raw>,
    senders: Vec<(usize, Sender<Bytes, Raw>)>,
    receiver: Option<Receiver<Bytes, Raw>>,
    senders_came: bool,
    receiver_came: bool,
    reference: Reference,
    /// Values made so far.
    made: u64,
    sent: u64,
}

impl World {
    fn new(plan: Plan, name: &str) -> Self {
        // SAFETY: the name is this test's own, and nothing but this crate attaches the segment.
        let trust = unsafe { TrustedPeers::promise() };
        let options = Channel::<Bytes, Raw>::options()
            .inline_limit(plan.inline_limit)
            .capacity(plan.capacity)
            .lanes(plan.lanes)
            .max_value(plan.max_value as u64)
            .in_place(trust);
        let channel = options.create(name).unwrap();
        if plan.has_queue() {
            let objects = kernel::objects(Key::from_name(name));
            let queue = objects.into_iter().find(|object| object.kind == kernel::Kind::Queue);
            queue.unwrap().set_capacity(plan.queue_capacity);
        }
        let reference = Reference {
            lanes: vec![Lane::new(plan.capacity); plan.lanes],
            queue: Default::default(),
            slot: None,
            has_queue: plan.has_queue(),
        };
        World {
            plan,
            channel,
            senders: Vec::new(),
            receiver: None,
            senders_came: false,
            receiver_came: false,
            reference,
            made: 0,
            sent: 0,
        }
    }

    /// A value that no other is equal to. In its lane's ring, each of its words looks like the
    /// stamp that its line will have so many laps later.
    fn value(&mut self, lane: usize, tag: Tag, len: usize, laps: u64) -> Bytes {
        self.made += 1;
        let stamp = self.reference.lanes[lane].stamp(lines(len, tag), laps);
        let header = header(tag) as u64 / 8;
        let words = std::iter::once(self.made).chain((1..).map(|at| stamp + (header + at) / 8));
        words.flat_map(u64::to_le_bytes).take(len).collect()
    }

    fn receiver_is_gone(&self) -> bool {
        self.receiver_came && self.receiver.is_none()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send { who, tag: at, length, laps, timed } => {
                if self.senders.is_empty() {
                    return;
                }
                let who = who.index(self.senders.len());
                let tag = tag(at, self.senders[who].0);
                let len = length.of(&self.plan, tag);
                if timed && self.plan.has_ring() && len > longest_record(self.plan.capacity, tag) {
                    // It would leave its first fragments, which `SendLong` is about.
                    return;
                }
                let bytes = self.value(self.senders[who].0, tag, len, laps);
                self.send(who, tag, bytes, timed);
            }
            Step::SendAll { who, lengths } => self.send_all(who, &lengths),
            Step::SendLong { who, tag, extra } => self.send_long(who, tag, extra),
            Step::Receive { select, tag: at, how } => {
                let tag = tag(at, at % self.plan.lanes);
                let select = match select {
                    0 => Select::Exactly(tag),
                    1 => Select::UpTo(tag),
                    2 => Select::Except(tag),
                    _ => Select::Any,
                };
                self.receive(select, how);
            }
            Step::ReceiveBatch { max } => self.receive_batch(max),
            Step::ReceiveInPlace => self.receive_in_place(),
            Step::DieWithAValueInHand => self.die_with_a_value_in_hand(),
            Step::AddSender { clone } => self.add_sender(clone),
            Step::DropSender { who } => {
                if !self.senders.is_empty() {
                    self.senders.remove(who.index(self.senders.len()));
                }
            }
            Step::AddReceiver => match (self.channel.receiver(), &self.receiver) {
                (Ok(receiver), None) => {
                    self.receiver = Some(receiver);
                    self.receiver_came = true;
                }
                (Err(AttachError::ReceiverExists { pid, .. }), Some(_)) => {
                    assert_eq!(pid, std::process::id() as i32);
                }
                (attached, _) => panic!("{attached:?}"),
            },
            Step::DropReceiver => self.receiver = None,
        }
    }

    fn add_sender(&mut self, clone: bool) {
        let free = (0..self.plan.lanes).find(|lane| self.senders.iter().all(|it| it.0 != *lane));
        let sender = match self.senders.last() {
            Some((_, last)) if clone => last.try_clone(),
            _ => self.channel.sender(),
        };
        match (sender, free) {
            (Ok(sender), Some(lane)) => {
                self.senders.push((lane, sender));
                self.senders_came = true;
            }
            (Err(AttachError::LanesExhausted { lanes, .. }), None) => {
                assert_eq!(lanes, self.plan.lanes);
            }
            (attached, free) => panic!("{attached:?} with {free:?} free"),
        }
    }

    fn send(&mut self, who: usize, tag: Tag, bytes: Bytes, timed: bool) {
        let (lane, sender) = &self.senders[who];
        let lane = *lane;
        let result = if timed {
            sender.send_tagged_timeout(tag, &bytes, Duration::ZERO)
        } else {
            sender.try_send_tagged(tag, &bytes)
        };
        let full = match &result {
            Err(error) => {
                if timed {
                    error.is_timeout()
                } else {
                    error.is_full()
                }
            }
            Ok(()) => false,
        };
        let about = format!("{} bytes, tag {tag}, lane {lane}: {result:?}", bytes.len());
        if self.receiver_is_gone() {
            assert!(matches!(result, Err(SendError::Disconnected { .. })), "{about}");
            return;
        }
        let plan = &self.plan;
        // A ring alone is asked for room before the value is looked at.
        let no_room_at_all = !plan.has_queue() && self.reference.lanes[lane].may_be_full();
        if bytes.len() > plan.longest() {
            let max = plan.longest() as u64;
            let refused =
                matches!(result, Err(SendError::TooLong { max: said, .. }) if said == max);
            assert!(refused || full && no_room_at_all, "{about}");
            return;
        }
        if plan.goes_inline(bytes.len()) {
            let text = ENVELOPE + bytes.len();
            assert_eq!(full, self.reference.queue_is_full(text, plan.queue_capacity), "{about}");
            if !full {
                result.unwrap();
                self.sent += 1;
                self.reference.push(Value { tag, bytes, lane, record: None });
            }
            return;
        }
        let longest = longest_record(plan.capacity, tag);
        if bytes.len() > longest {
            let (needs, len) = (longest, bytes.len());
            let refused = matches!(result, Err(SendError::NeedsWaiting { len: said, max, .. }) if said == len && max == needs);
            assert!(refused || full && no_room_at_all, "{about}");
            return;
        }
        let queue_full =
            plan.has_queue() && self.reference.queue_is_full(ENVELOPE, plan.queue_capacity);
        let lines = lines(bytes.len(), tag);
        let sent = result.is_ok();
        assert!(sent || full, "{about}");
        let before = format!("{:?}", self.reference.lanes[lane]);
        let possible = self.reference.lanes[lane].sent(lines, self.made, queue_full, sent);
        assert!(possible, "{about}: {lines} lines, queue full: {queue_full}, {before}");
        if sent {
            self.sent += 1;
            self.reference.push(Value { tag, bytes, lane, record: Some(self.made) });
        }
    }

    /// As many as surely go, since it waits while there is no room.
    fn send_all(&mut self, who: Index, lengths: &[usize]) {
        if self.senders.is_empty() || self.receiver_is_gone() || lengths.is_empty() {
            return;
        }
        let who = who.index(self.senders.len());
        let lane = self.senders[who].0;
        let mut values = Vec::new();
        for &len in lengths {
            let len = len.min(self.plan.longest());
            let bytes = self.value(lane, Tag::DEFAULT, len, 1);
            let inline = self.plan.goes_inline(len);
            let text = if inline { ENVELOPE + len } else { ENVELOPE };
            let no_queue = self.plan.has_queue()
                && self.reference.queue_is_full(text, self.plan.queue_capacity);
            let lines = lines(len, Tag::DEFAULT);
            if no_queue || !inline && !self.reference.lanes[lane].has_room(lines) {
                break;
            }
            let record = if inline { None } else { Some(self.made) };
            if !inline {
                assert!(self.reference.lanes[lane].sent(lines, self.made, false, true));
            }
            values.push(bytes.clone());
            self.reference.push(Value { tag: Tag::DEFAULT, bytes, lane, record });
        }
        assert_eq!(self.senders[who].1.send_all(&values).unwrap(), values.len());
        self.sent += values.len() as u64;
    }

    /// A value in fragments goes when everything before it was received and it was itself.
    fn send_long(&mut self, who: Index, tag_at: usize, extra: usize) {
        if self.senders.is_empty() || self.receiver.is_none() || !self.plan.has_ring() {
            return;
        }
        let who = who.index(self.senders.len());
        let lane = self.senders[who].0;
        let tag = tag(tag_at, lane);
        let len = (longest_record(self.plan.capacity, tag) + 1 + extra).min(self.plan.max_value);
        if len <= longest_record(self.plan.capacity, tag).max(self.plan.inline_limit) {
            return;
        }
        let bytes = self.value(lane, tag, len, 1);
        let mut sender = self.senders.remove(who);
        let sent = thread::scope(|scope| {
            let (sender, bytes) = (&mut sender.1, &bytes);
            let thread = scope.spawn(move || sender.send_tagged_timeout(tag, bytes, HANGS));
            loop {
                let receiver = self.receiver.as_ref().unwrap();
                let message = receiver.recv_matching_timeout(Select::Any, HANGS).unwrap();
                if message.value == *bytes {
                    assert_eq!(message.tag, tag);
                    break;
                }
                self.check(Select::Any, Some(message.tag), &message.value);
            }
            thread.join().unwrap()
        });
        sent.unwrap();
        self.sent += 1;
        self.senders.push(sender);
        if self.reference.has_queue {
            assert_eq!(self.reference.len(), 0);
        } else {
            assert!(self.reference.lanes[lane].waiting.is_empty());
        }
        self.reference.lanes[lane].streamed(&fragments(len, self.plan.capacity, tag));
    }

    /// A value came: it must be one that may come now.
    fn check(&mut self, select: Select, tag: Option<Tag>, bytes: &[u8]) {
        let places = self.reference.next(select);
        let expected = |place: &&Place| {
            let value = self.reference.at(**place);
            value.bytes == bytes && tag.is_none_or(|tag| tag == value.tag)
        };
        let Some(&place) = places.iter().find(expected) else {
            let places: Vec<_> = places.iter().map(|place| self.reference.at(*place)).collect();
            panic!(
                "{tag:?} {:?}... came for {select:?}, not one of {places:?}",
                &bytes[..bytes.len().min(8)]
            );
        };
        self.reference.take(place);
    }

    /// What is said when nothing may come.
    fn check_nothing(&self, error: &RecvError, timed: bool) {
        let gone = self.senders_came && self.senders.is_empty();
        let right = match error {
            RecvError::Disconnected { .. } => gone,
            RecvError::Empty { .. } => !gone && !timed,
            RecvError::Timeout { .. } => !gone && timed,
            _ => false,
        };
        assert!(right, "{error:?}, senders gone: {gone}");
    }

    fn receive(&mut self, select: Select, how: usize) {
        let Some(receiver) = &self.receiver else { return };
        let nothing = self.reference.next(select).is_empty();
        let timed = how == 1;
        let result = match how {
            0 if !nothing => receiver.recv_matching_timeout(select, HANGS),
            1 => receiver.recv_matching_timeout(select, Duration::ZERO),
            _ => receiver.try_recv_matching(select),
        };
        match result {
            Err(RecvError::NoSelection { .. }) => {
                assert!(!self.plan.has_queue() && select != Select::Any);
            }
            Ok(message) => self.check(select, Some(message.tag), &message.value),
            Err(error) => {
                assert!(nothing, "{error:?} with {:?}", self.reference);
                let selecting = !matches!(select, Select::Any);
                // Values that were passed over are left, but none is asked for.
                assert!(self.reference.len() == 0 || selecting);
                self.check_nothing(&error, timed);
            }
        }
    }

    fn receive_batch(&mut self, max: usize) {
        let Some(receiver) = &self.receiver else { return };
        let lanes = &self.reference.lanes;
        let alike = lanes.iter().any(|lane| lane.waiting.iter().any(|it| it.bytes.len() < 2));
        // Without their tags, short values of different lanes look the same.
        if self.reference.len() == 0 || alike {
            return;
        }
        let mut batch = Vec::new();
        let received = receiver.recv_batch(&mut batch, max).unwrap();
        assert_eq!((received, batch.len()), (max.min(self.reference.len()), received));
        for bytes in batch {
            self.check(Select::Any, None, &bytes);
        }
    }

    fn receive_in_place(&mut self) {
        let Some(receiver) = &self.receiver else { return };
        let lent = receiver.try_recv_in_place().map(|lease| {
            assert!(matches!(receiver.try_recv(), Err(RecvError::Reentrant { .. })));
            (lease.tag(), lease.to_vec())
        });
        match lent {
            Ok((tag, bytes)) => self.check(Select::Any, Some(tag), &bytes),
            Err(error) => {
                assert_eq!(self.reference.len(), 0);
                self.check_nothing(&error, false);
            }
        }
    }

    /// As a killed receiver leaves it: the value was looked at, and never handed over.
    fn die_with_a_value_in_hand(&mut self) {
        let Some(receiver) = self.receiver.take() else { return };
        let Ok(lease) = receiver.try_recv_in_place() else { return };
        let (tag, bytes) = (lease.tag(), lease.to_vec());
        std::mem::forget(lease);
        let places = self.reference.next(Select::Any);
        let in_hand = places.into_iter().find(|place| {
            let value = self.reference.at(*place);
            (value.tag, &value.bytes) == (tag, &bytes)
        });
        if let Place::Queue(index) = in_hand.expect("a value that may come") {
            self.reference.slot = self.reference.queue.remove(index);
        }
    }

    /// Everything that is left comes, and the figures are right.
    fn finish(mut self, name: &str) {
        if self.receiver.is_none() {
            self.step(Step::AddReceiver);
        }
        let stats = self.channel.stats().unwrap();
        assert_eq!(stats.sent_values, self.sent);
        assert_eq!(stats.depth() as usize, self.reference.len());
        assert_eq!(stats.queued as usize, self.reference.queue.len());
        assert_eq!((stats.senders, stats.receivers, stats.users), (self.senders.len(), 1, 1));
        while self.reference.len() > 0 {
            self.receive(Select::Any, 0);
        }
        self.receive(Select::Any, 2);
        assert_eq!(self.channel.stats().unwrap().depth(), 0);
        drop(self);
        assert!(matches!(Channel::<Bytes, Raw>::open(name), Err(OpenError::NotFound { .. })));
    }
}

/// Removes the channel also when the test fails.
struct Unlinked<'a>(&'a str);

impl Drop for Unlinked<'_> {
    fn drop(&mut self) {
        let _ = Channel::<Bytes, Raw>::unlink(self.0);
    }
}

fn run(plan: Plan, steps: Vec<Step>) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("sysv-channel model {}.{count}", std::process::id());
    let _unlinked = Unlinked(&name);
    let mut world = World::new(plan, &name);
    // Most runs are about a channel with both ends.
    world.add_sender(false);
    world.step(Step::AddReceiver);
    for step in steps {
        world.step(step);
    }
    world.finish(&name);
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mixed_channel_does_what_lists_say(plan in plan(0), steps in steps()) {
        run(plan, steps);
    }

    #[test]
    fn a_ring_only_channel_does_what_lists_say(plan in plan(1), steps in steps()) {
        run(plan, steps);
    }

    #[test]
    fn a_queue_only_channel_does_what_lists_say(plan in plan(2), steps in steps()) {
        run(plan, steps);
    }
}
