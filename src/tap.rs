//! Seeing what goes through a channel, without taking part.

mod lane;
mod messages;

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use self::lane::LaneTap;
use self::messages::{Message, Messages, What};
use crate::codec::{Codec, DecodeError, Reader};
use crate::control::{Control, lane_word, semaphores};
use crate::error::InspectError;
use crate::inspect::{ChannelKind, Inspection};
use crate::name::Name;
use crate::sys::Ordering;
use crate::tag::Tag;
use crate::{actor, rpc, transfer};

/// How long a tap that waits sleeps between two looks, at least: since senders and receivers do not know of it, none
/// of them can ring it.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// By how much longer than a look the pause after it is: so a tap that waits takes about a fiftieth of a processor.
const PAUSE: u32 = 50;

/// The longest pause: where many values wait at first, a look at all of them may take long.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// How often a tap that begins looks for a moment in which no sender sends.
const QUIET_TRIES: usize = 5;

/// How much of a channel in use is copied in one look: so many values, and of their bytes so many.
const RECORDS: usize = 64;
const BYTES: usize = 64 << 10;

/// Watches what goes through a channel, a server's or a mailbox: it takes no role and no value, writes
/// nothing, and no process waits for it.
///
/// A value is seen while it waits, and after it was received for as long as its memory is not used again: in a
/// ring until the sender has come around it, by the queue until the receiver takes another message. What went
/// by faster is [missed](Tap::missed). The tap looks when it is asked, at most 1,000 times a second while it waits,
/// copies no more than 64 values or 64 KiB of each way in one look, and pauses fifty times as long as the look took, up
/// to 20 ms: so a tap that waits takes about a fiftieth of a processor. Of a slow channel everything is seen.
///
/// Values of a ring come in the order in which they were sent, as far as they are seen; by the queue, where one
/// that is just being received may be seen after the next, and of different senders or ways, in about that order.
/// A value in fragments is seen if its receiver is slow. Of messages that wait nothing is seen where the kernel cannot copy
/// them (it lacks `CONFIG_CHECKPOINT_RESTORE`). The channel's memory stays mapped, and in use, until the tap is
/// dropped.
///
/// ```
/// use sysv_channel::Channel;
/// use sysv_channel::codec::Bincode;
///
/// let name = format!("doc-tap-{}", std::process::id());
/// let name = name.as_str();
/// let orders = Channel::<(u64, String)>::create(name)?;
/// let (tx, rx) = (orders.sender()?, orders.receiver()?);
///
/// let mut tap = sysv_channel::tap(name)?;
/// tx.send(&(7, "seven".to_owned()))?;
/// let seen = tap.next().unwrap();
/// assert_eq!(seen.decode::<(u64, String), Bincode>()?, (7, "seven".to_owned()));
///
/// // It is still there for the receiver.
/// assert_eq!(rx.recv()?, (7, "seven".to_owned()));
/// assert_eq!(tap.missed(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Tap {
    control: Control,
    channel: Inspection,
    lanes: Vec<LaneTap>,
    messages: Option<Messages>,
    /// What was found and not shown.
    found: VecDeque<Tapped>,
    /// How many values were found so far, and had been sent before.
    seen: u64,
    sent_before: u64,
    missed: u64,
    last_look: Option<Look>,
    is_over: bool,
}

/// A look at the channel.
struct Look {
    at: Instant,
    /// How long it took.
    took: Duration,
    /// How many values had been sent.
    sent: u64,
    /// Whether it came to its end before all was seen.
    was_cut: bool,
}

/// A value that went through a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tapped {
    /// The lane of its sender, as in [`Inspection::lanes`].
    pub lane: usize,
    /// The tag that it was sent with.
    pub tag: Tag,
    /// The value as the channel's codec encoded it: of a server's channel the request, of a mailbox the message.
    pub bytes: Vec<u8>,
}

impl Tapped {
    /// Decodes the value, which is of another type if the channel is: [`Tap::channel`] says what it carries.
    ///
    /// Reply ports in it lead nowhere: they are the receiver's.
    ///
    /// # Errors
    /// A [`DecodeError`] if the bytes are no such value.
    pub fn decode<T, C: Codec<T>>(&self) -> Result<T, DecodeError> {
        transfer::tracing(|| C::decode(Reader::new(&self.bytes)))
    }
}

/// What a look found: a value with the head that a layer above put in front of it.
struct Found {
    lane: usize,
    tag: Tag,
    bytes: Vec<u8>,
    /// Where its last record stands, if it went through a ring.
    position: u64,
}

/// How much may be copied in one look.
#[derive(Clone, Copy)]
struct Budget {
    records: usize,
    bytes: usize,
}

impl Budget {
    const ALL: Budget = Budget { records: usize::MAX, bytes: usize::MAX };
    /// Of a channel in use.
    const USUAL: Budget = Budget { records: RECORDS, bytes: BYTES };

    /// What each of so many gets, so that one that is busy leaves something for the others.
    fn share(self, all: usize) -> Self {
        let share = |of: usize| (of / all.max(1)).max(1);
        Budget { records: share(self.records), bytes: share(self.bytes) }
    }

    fn spend(&mut self, bytes: usize) {
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn is_spent(&self) -> bool {
        self.records == 0 || self.bytes == 0
    }
}

/// Watches what goes through a channel, a server's or a mailbox, from now on; what waits comes first.
///
/// Its type is not needed, and no process is disturbed: see [`Tap`].
///
/// # Errors
/// An [`InspectError`] if there is no such channel, or none that can be read.
pub fn tap(name: impl Into<Name>) -> Result<Tap, InspectError> {
    let (control, channel) = Inspection::find(name.into())?;
    let claimed = if control.layout().has_ring() { control.claimed() } else { 0 };
    let lanes = (0..claimed).map(|lane| LaneTap::new(&control, lane, true)).collect();
    let messages = control.queue.map(|queue| Messages::new(&control, queue));
    let mut tap = Tap {
        control,
        channel,
        lanes,
        messages,
        found: VecDeque::new(),
        seen: 0,
        sent_before: 0,
        missed: 0,
        last_look: None,
        is_over: false,
    };
    // Senders count a value when it is there already: the figures fit where nothing was sent for a while. Of a
    // channel in use, nothing that is sent meanwhile counts as missed.
    for _ in 0..QUIET_TRIES {
        let before = tap.sent();
        thread::sleep(BETWEEN_LOOKS);
        tap.look(Budget::ALL);
        if tap.sent() == before {
            break;
        }
    }
    tap.sent_before = tap.sent().saturating_sub(tap.seen);
    tap.missed = 0;
    Ok(tap)
}

impl Tap {
    /// The channel, as it was when the tap began: its name, codec, type and schema.
    pub fn channel(&self) -> &Inspection {
        &self.channel
    }

    /// How many values went by without being seen since the tap began, as far as is known by now; of a mailbox
    /// those replies too that it passes on for its ports.
    ///
    /// A value that was on its way from the queue to its receiver when the tap last looked counts until it is seen.
    /// This is what senders have [counted](crate::Stats), less what was seen: the last value of a sender that was
    /// killed may not be counted, so that for each such one this may be less by one than what was missed.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Whether the channel was removed, and everything that was seen of it has been shown.
    pub fn is_over(&self) -> bool {
        self.is_over && self.found.is_empty()
    }

    /// The next value, if one was seen; it does not wait.
    pub fn try_next(&mut self) -> Option<Tapped> {
        if self.found.is_empty() && !(self.is_behind() && self.pause() > Duration::ZERO) {
            self.look(Budget::USUAL);
        }
        self.found.pop_front()
    }

    /// The next value; waits for it so long at most, and no longer than there is a channel.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Tapped> {
        let start = Instant::now();
        loop {
            if let Some(tapped) = self.found.pop_front() {
                return Some(tapped);
            }
            let left = timeout.saturating_sub(start.elapsed());
            thread::sleep(left.min(self.pause()));
            let found = self.try_next();
            if found.is_some() || self.is_over || left.is_zero() {
                return found;
            }
        }
    }

    /// How long the pause still is that follows the last look.
    fn pause(&self) -> Duration {
        self.last_look.as_ref().map_or(Duration::ZERO, |look| {
            let pause = (look.took * PAUSE).clamp(BETWEEN_LOOKS, LONGEST_PAUSE);
            pause.saturating_sub(look.at.elapsed())
        })
    }

    /// Whether others are at work, and more is there than the last look had budget for.
    fn is_behind(&self) -> bool {
        self.last_look.as_ref().is_some_and(|look| look.was_cut && look.sent != self.sent())
    }

    /// How many values all senders have sent.
    fn sent(&self) -> u64 {
        let sent = |lane| {
            // Relaxed: a figure that stands for itself.
            self.control.lane_word(lane, lane_word::SENT_VALUES).load(Ordering::Relaxed)
        };
        (0..self.control.claimed()).map(sent).fold(0, u64::wrapping_add)
    }

    fn look(&mut self, budget: Budget) {
        if self.is_over {
            return;
        }
        // Before the look: after the last user is gone nothing comes.
        let is_over = self.control.set.value(semaphores::USERS).is_err()
            || self.control.segment.id().stat().map_or(true, |stat| stat.removed)
            || self.control.queue.is_some_and(|queue| queue.stat().is_err());
        let (at, sent) = (Instant::now(), self.sent());
        let control = &self.control;
        if control.layout().has_ring() {
            let new = self.lanes.len()..control.claimed();
            self.lanes.extend(new.map(|lane| LaneTap::new(control, lane, false)));
        }
        self.lanes.iter_mut().for_each(|lane| lane.begin(control));
        let mut own = budget;
        let messages = self.messages.as_mut().map(|messages| messages.look(control, &mut own));
        let messages = messages.unwrap_or_default();
        for message in &messages {
            if let What::Record { lane, position } = message.what
                && let Some(lane) = self.lanes.get_mut(lane)
            {
                lane.see_announced(position);
            }
        }
        let mut was_cut = own.is_spent();
        let lanes = self.lanes.len();
        for lane in &mut self.lanes {
            let mut share = budget.share(lanes);
            lane.look(control, &mut share);
            was_cut |= share.is_spent();
        }
        self.show(messages);
        if !was_cut {
            // It falls again too: a value that a receiver was just taking from the queue stands in its slot later.
            self.missed = sent.wrapping_sub(self.sent_before).saturating_sub(self.seen);
        }
        self.last_look = Some(Look { at, took: at.elapsed(), sent, was_cut });
        self.is_over = is_over;
    }

    /// Brings what a look has found into the order in which it was sent.
    fn show(&mut self, messages: Vec<Message>) {
        // What no message on the queue announces was received before what waits there.
        let mut firsts = vec![u64::MAX; self.lanes.len()];
        for message in &messages {
            if let What::Record { lane, position } = message.what
                && let Some(first) = firsts.get_mut(lane)
            {
                *first = position.min(*first);
            }
        }
        for (lane, first) in firsts.into_iter().enumerate() {
            self.show_before(lane, first);
        }
        for message in messages {
            match message.what {
                What::Value(found) => self.show_one(found),
                What::Record { lane, position } => {
                    self.show_before(lane, position.saturating_add(1))
                }
            }
        }
        for lane in 0..self.lanes.len() {
            self.show_before(lane, u64::MAX);
        }
    }

    /// Shows what was found in a lane's ring before this position.
    fn show_before(&mut self, lane: usize, end: u64) {
        while let Some(found) =
            self.lanes.get_mut(lane).and_then(|lane| lane.take_found_before(end))
        {
            self.show_one(found);
        }
    }

    fn show_one(&mut self, found: Found) {
        self.seen += 1;
        let Found { lane, tag, mut bytes, .. } = found;
        if let Some(head) = head_of(self.channel.kind, &bytes) {
            bytes.drain(..head);
            self.found.push_back(Tapped { lane, tag, bytes });
        }
    }
}

/// Bytes in front of the value; `None` if it is none of the channel's type: a reply that a mailbox passes on.
fn head_of(kind: ChannelKind, bytes: &[u8]) -> Option<usize> {
    let head = match kind {
        ChannelKind::Channel => 0,
        ChannelKind::Server => rpc::REQUEST_HEAD,
        ChannelKind::Mailbox => actor::told_head(bytes)?,
    };
    (head <= bytes.len()).then_some(head)
}

/// The values one after another, until the channel is removed; waits for each.
impl Iterator for Tap {
    type Item = Tapped;

    fn next(&mut self) -> Option<Tapped> {
        self.next_timeout(Duration::MAX)
    }
}
