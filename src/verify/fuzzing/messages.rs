//! A channel whose queue and segment others write to.

use std::cell::RefCell;
use std::time::Duration;

use super::envelope::Envelope;
use super::{Channel, Options, Receiver, Sender};
use crate::codec::{Bincode, Bytes, Codec, Raw, Reader};
use crate::control::{ENVELOPE, TYPE_WORD, lane_word, slot_word};
use crate::error::{AttachError, RecvError, SendError};
use crate::ring::LINE;
use crate::sys::{Deadline, MessageBuffer, MessageSelect, Ordering, Wait};
use crate::tag::{Select, Tag};
use crate::verify::fuzzing::Script;

const LANES: usize = 2;
const INLINE_LIMIT: usize = 128;
const CAPACITY: usize = 4096;
/// Above what goes in one record, so that others can make a longer value of fragments.
const MAX_VALUE: u64 = 3000;

/// What is taken before a call says that there is nothing more: messages, records and slots are
/// fewer, and nothing is reported twice.
const ENOUGH: usize = 10_000;

thread_local! {
    // The end of the thread removes them.
    static MIXED: RefCell<Rig<Bincode>> = RefCell::new(Rig::new(INLINE_LIMIT));
    /// Any bytes are a value here, so whatever passes for one is seen.
    static RING_ONLY: RefCell<Rig<Raw>> = RefCell::new(Rig::new(0));
    static MIXED_RAW: RefCell<Rig<Raw>> = RefCell::new(Rig::new(INLINE_LIMIT));
    static SHARED: RefCell<Rig<Raw>> = RefCell::new(Rig::shared());
}

struct Rig<C: Codec<Bytes>> {
    channel: Channel<Bytes, C>,
    /// The segment as it was before an endpoint attached.
    fresh: Vec<u8>,
    sender: Option<Sender<Bytes, C>>,
    receiver: Option<Receiver<Bytes, C>>,
    /// A second one, where there may be several.
    other: Option<Receiver<Bytes, C>>,
    /// Whether others wrote to the segment.
    overwritten: bool,
}

/// Runs a script of what both ends do and what others write to queue and segment meanwhile.
pub fn messages(data: &[u8]) {
    let mut script = Script(data);
    match script.below(4) {
        0 => MIXED.with_borrow_mut(|rig| rig.run(&mut script)),
        1 => RING_ONLY.with_borrow_mut(|rig| rig.run(&mut script)),
        2 => MIXED_RAW.with_borrow_mut(|rig| rig.run(&mut script)),
        _ => SHARED.with_borrow_mut(|rig| rig.run(&mut script)),
    }
}

impl<C: Codec<Bytes>> Rig<C> {
    fn new(inline_limit: usize) -> Self {
        let options = Channel::options().inline_limit(inline_limit);
        Rig::of(options.capacity(CAPACITY).return_capacity(CAPACITY))
    }

    /// One with several receivers.
    fn shared() -> Self {
        Rig::of(Channel::options().inline_limit(INLINE_LIMIT).capacity(0).receivers(3))
    }

    fn of(options: Options<Bytes, C>) -> Self {
        let options = options.lanes(LANES).max_value(MAX_VALUE).spin(Duration::ZERO);
        let channel = options.private().expect("a private channel");
        let mut fresh = vec![0; channel.control.segment.len()];
        channel.control.segment.copy_out(0, &mut fresh);
        remove_on_panic(&channel);
        Rig { channel, fresh, sender: None, receiver: None, other: None, overwritten: false }
    }

    fn run(&mut self, script: &mut Script<'_>) {
        self.begin();
        while !script.is_over() {
            self.step(script);
        }
        self.end();
    }

    /// Makes the channel what it was when it was new.
    fn begin(&mut self) {
        self.sender = None;
        self.receiver = None;
        self.other = None;
        self.overwritten = false;
        let control = &self.channel.control;
        control.segment.copy_in(0, &self.fresh);
        if let Some(queue) = control.queue {
            let mut message = MessageBuffer::with_capacity(0);
            while queue.receive(MessageSelect::Any, &mut message, Wait::No, true).is_ok() {}
        }
        self.new_sender();
        self.new_receiver();
    }

    fn new_sender(&mut self) {
        self.sender = None;
        self.sender = attached(self.channel.sender());
    }

    fn new_receiver(&mut self) {
        self.receiver = None;
        self.receiver = attached(self.channel.receiver());
        if self.is_shared() {
            self.other = None;
            self.other = attached(self.channel.receiver());
        }
    }

    fn is_shared(&self) -> bool {
        self.channel.control.layout().has_receivers()
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 16 {
            0 => {
                let tag = tag(script);
                let len = script.below(INLINE_LIMIT + ENVELOPE + 16);
                let text = script.bytes(len);
                self.put(tag, text);
            }
            1 | 2 => {
                let (tag, envelope) = (tag(script), self.envelope(script));
                let mut text = [0; ENVELOPE + INLINE_LIMIT];
                envelope.write(&mut text);
                let len = script.below(INLINE_LIMIT);
                let bytes = script.bytes(len);
                text[ENVELOPE..][..bytes.len()].copy_from_slice(bytes);
                self.put(tag, &text[..ENVELOPE + bytes.len()]);
            }
            3 => {
                let at = script.below(self.fresh.len());
                let len = usize::from(script.byte()).min(self.fresh.len() - at);
                self.overwrite(at, script.bytes(len));
            }
            4 | 5 => {
                let at = script.below(self.channel.control.layout().words() / 8) * 8;
                self.overwrite(at, &script.number().to_le_bytes());
            }
            6 | 7 => self.overwrite_record(script),
            8 => self.overwrite_slot(script),
            9 => {
                let Some(sender) = &self.sender else { return };
                let value = value(script);
                let sent = if script.byte() % 2 == 0 {
                    sender.try_send_tagged(tag(script), &value)
                } else {
                    sender.send_tagged_timeout(tag(script), &value, Duration::ZERO)
                };
                if let Err(error) = sent {
                    expect_send_error(&error);
                }
            }
            10 => {
                let Some(receiver) = &self.receiver else { return };
                let tag = tag(script);
                let select = match script.byte() % 4 {
                    0 => Select::Any,
                    1 => Select::Exactly(tag),
                    2 => Select::UpTo(tag),
                    _ => Select::Except(tag),
                };
                received(receiver.try_recv_matching(select).map(|message| message.value));
            }
            11 => {
                let Some(receiver) = &self.receiver else { return };
                received(receiver.recv_timeout(Duration::ZERO));
            }
            12 if self.is_shared() => self.receive_with_guard(script),
            12 => self.send_back(script),
            13 => {
                let Some(sender) = &self.sender else { return };
                received(sender.try_recv_back::<Bytes>());
            }
            14 => self.new_receiver(),
            _ => self.new_sender(),
        }
    }

    /// A message of others; a full queue takes no more.
    fn put(&self, tag: Tag, text: &[u8]) {
        let Some(queue) = self.channel.control.queue else { return };
        let mut message = MessageBuffer::with_capacity(text.len());
        message.text_mut_full().copy_from_slice(text);
        message.set_type(tag.get());
        message.set_len(text.len());
        let _ = queue.send(&message, Wait::No);
    }

    fn envelope(&self, script: &mut Script<'_>) -> Envelope {
        let (inline, lane) = (script.byte() % 2 == 0, script.below(LANES + 1));
        if inline {
            let len = script.number() as u32 as usize;
            let (generation, number) = (script.number(), script.number());
            Envelope::Inline { len, lane, generation, number }
        } else {
            Envelope::Descriptor { lane, position: self.position(lane, script) }
        }
    }

    /// A position, mostly one near the head of the lane.
    fn position(&self, lane: usize, script: &mut Script<'_>) -> u64 {
        let lane = lane.min(LANES - 1);
        let head = self.channel.control.lane_word(lane, lane_word::HEAD);
        match script.byte() {
            255 => script.number(),
            near => head.load(Ordering::Relaxed).wrapping_add(u64::from(near)),
        }
    }

    fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        self.overwritten = true;
        self.channel.control.segment.copy_in(at, bytes);
    }

    /// A record of others: a stamp that is right, and any length, tag and flags.
    fn overwrite_record(&mut self, script: &mut Script<'_>) {
        if self.is_shared() {
            return self.overwrite_slot(script);
        }
        let lane = script.below(LANES);
        let position = self.position(lane, script);
        let layout = *self.channel.control.layout();
        let back = script.byte() % 4 == 0;
        let ring = if back { layout.return_ring(lane) } else { layout.ring(lane) };
        let at = ring.lines_at + (position % ring.lines) as usize * LINE;
        let stamp = position.wrapping_add(1) | u64::from(script.byte() % 8) << 61;
        let (len, tag, flags) = (script.number(), script.byte(), script.byte());
        let word = len & 0xffff_ffff | u64::from(tag) << 32 | u64::from(flags % 32) << 56;
        self.overwrite(at, &stamp.to_le_bytes());
        self.overwrite(at + 8, &word.to_le_bytes());
        self.channel.control.claim_lane(lane);
    }

    /// A message that seems to have been in a dead receiver's hand.
    fn overwrite_slot(&mut self, script: &mut Script<'_>) {
        if !self.channel.control.layout().has_queue() {
            return;
        }
        let layout = *self.channel.control.layout();
        let slot = script.below(layout.slots());
        let at = layout.slot(slot);
        let (type_, order, envelope) = (script.number(), script.number(), self.envelope(script));
        let mut text = [0; ENVELOPE];
        envelope.write(&mut text);
        self.overwrite(at, &type_.to_le_bytes());
        self.overwrite(at + TYPE_WORD, &text);
        let words = layout.slot_words(slot);
        self.overwrite(words + slot_word::ORDER, &order.to_le_bytes());
        if self.is_shared() {
            // Any receiver's that was or is there, and some that never were.
            let owner = u64::from(script.byte() % 8) << 8 | u64::from(script.byte() % 6);
            self.overwrite(words + slot_word::OWNER, &owner.to_le_bytes());
            self.overwrite(words + slot_word::TAG, &script.number().to_le_bytes());
            self.overwrite(words + slot_word::DELIVERIES, &script.number().to_le_bytes());
        }
    }

    /// A value is handed over, or given back.
    fn receive_with_guard(&self, script: &mut Script<'_>) {
        let first = script.byte() % 2 == 0;
        let Some(receiver) = (if first { &self.receiver } else { &self.other }) else { return };
        match receiver.recv_guard_timeout(Duration::ZERO) {
            Ok(value) if script.byte() % 2 == 0 => received(Ok(value.done())),
            Ok(value) => assert!(value.len() as u64 <= MAX_VALUE),
            Err(error) => expect_recv_error(&error),
        }
    }

    fn send_back(&self, script: &mut Script<'_>) {
        let Some(receiver) = &self.receiver else { return };
        let make = |reader: Reader<'_>, _, origin| C::decode(reader).map(|_| origin);
        match receiver.receive_from(Select::Any, Deadline::now(), make) {
            Ok(origin) => {
                if let Err(error) = receiver.send_back(origin, &value(script)) {
                    expect_send_error(&error);
                }
            }
            Err(error) => expect_recv_error(&error),
        }
    }

    /// Receives everything, which ends; and what only the queue was told of does not matter after.
    fn end(&mut self) {
        for left in (0..ENOUGH).rev() {
            let Some(receiver) = &self.receiver else { return };
            // Not `try_recv`: that believes for a while that no sender leaves a message uncounted.
            match receiver.recv_timeout(Duration::ZERO) {
                Ok(value) => received(Ok(value)),
                Err(error) if error.is_timeout() || error.is_disconnected() => break,
                Err(error) => expect_recv_error(&error),
            }
            assert!(left > 0, "receiving goes on without end");
        }
        if self.overwritten {
            return;
        }
        let (Some(sender), Some(receiver)) = (&self.sender, &self.receiver) else {
            panic!("a channel of which only the queue was written to has both ends");
        };
        let longest = self.channel.control.max_value() as usize;
        for len in [0, 1, INLINE_LIMIT, longest.min(CAPACITY / 8)] {
            let value = Bytes::from(vec![len as u8; len]);
            sender.try_send(&value).expect("an empty channel has room");
            assert_eq!(receiver.try_recv().expect("a value that was sent"), value);
        }
    }
}

impl<C: Codec<Bytes>> Drop for Rig<C> {
    fn drop(&mut self) {
        // Closing believes what the segment says of values that wait.
        self.begin();
    }
}

/// Removes the channel's objects when an input fails, which ends the process.
fn remove_on_panic<C: Codec<Bytes>>(channel: &Channel<Bytes, C>) {
    let (segment, set) = (channel.control.segment.id(), channel.control.set);
    let queue = channel.control.queue;
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let _ = (segment.remove(), queue.map(|queue| queue.remove()), set.remove());
        hook(info);
    }));
}

fn tag(script: &mut Script<'_>) -> Tag {
    Tag::new(script.number() as i64).unwrap_or_default()
}

fn value(script: &mut Script<'_>) -> Bytes {
    let len = script.below(CAPACITY);
    vec![len as u8; len].into()
}

fn attached<E>(end: Result<E, AttachError>) -> Option<E> {
    match end {
        Ok(end) => Some(end),
        Err(AttachError::Corrupt { what, .. }) => {
            assert!(!what.is_empty());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn received(result: Result<Bytes, RecvError>) {
    match result {
        Ok(value) => assert!(value.len() as u64 <= MAX_VALUE, "{} bytes", value.len()),
        Err(error) => expect_recv_error(&error),
    }
}

/// Others can damage values, and cannot make the kernel or the crate itself fail.
fn expect_recv_error(error: &RecvError) {
    match error {
        RecvError::Corrupt { what, .. } => assert!(!what.is_empty()),
        RecvError::Decode { error, .. } => assert!(!error.to_string().is_empty()),
        RecvError::Empty { .. }
        | RecvError::Timeout { .. }
        | RecvError::SlotsFull { .. }
        | RecvError::HeldTooMany { .. }
        | RecvError::NoSelection { .. }
        | RecvError::Disconnected { .. } => {}
        error => panic!("{error}"),
    }
}

fn expect_send_error(error: &SendError) {
    match error {
        SendError::Corrupt { what, .. } => assert!(!what.is_empty()),
        SendError::Full { .. }
        | SendError::Timeout { .. }
        | SendError::TooLong { .. }
        | SendError::NeedsWaiting { .. }
        | SendError::Disconnected { .. } => {}
        error => panic!("{error}"),
    }
}
