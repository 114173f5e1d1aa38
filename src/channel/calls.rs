//! What request and response need of the two ends beside what every channel does.
//!
//! A caller has to know whether its request was consumed, and by which receiver. On a channel
//! without a queue the head says whether. Two facts each prove that it was a receiver which is
//! gone:
//!
//! - `RECEIVER_START`, where each receiver writes the head that it found when it took the role, has
//!   reached the request's end;
//! - the request was consumed, and after the caller saw that there was no receiver.
//!
//! A caller that may repeat its call does so for one of these alone, and otherwise leaves its request
//! where the next receiver finds it: so no receiver executes a call twice. A caller that may not, and
//! finds no receiver, wants to be sure that its request will not be consumed any more, and becomes a new
//! owner of its lane: what a former owner sent is executed no more. The two fences there make sure that
//! either the caller sees the request consumed or the receiver sees the caller gone.
//!
//! | file | subject |
//! |---|---|
//! | `client` | the sender: a request, its reply, and what became of it |
//! | `tasks` | the sender's side, where a task waits |
//! | `credit` | streams of replies: how much may be on its way |
//! | `away` | a stream from a process that holds an actor's reply port |
//! | `end` | the sender: told of the receiver's end without a call that waits for it |
//! | `server` | the receiver: who sent a request, closing, draining |
//! | `peers` | the receiver: which senders have gone |

mod away;
mod client;
pub(super) mod credit;
mod end;
mod peers;
mod server;
mod tasks;

pub(crate) use client::{SenderBell, Unanswered};
pub(crate) use end::EndWatch;
pub(crate) use server::{Caller, Parts, ReceiverBell, RequestGuard};

use std::marker::PhantomData;
use std::sync::Arc;

use super::Channel;
use crate::codec::{Codec, DecodeError, EncodeError, Reader, Writer};
use crate::control::{Control, lane_word};
use crate::schema::Schema;
use crate::sys::{AtomicU64, Ordering};

/// How many cancelled calls a lane remembers behind one that is waited for.
const CANCELLED: u64 = 7;

/// The codec of a channel whose values the layer above encodes and decodes by closures, behind heads of
/// its own.
pub(crate) struct Untyped;

impl Codec<()> for Untyped {
    const NAME: &'static str = "untyped";

    fn encode(_: &(), _: &mut Writer<'_>) -> Result<(), EncodeError> {
        Ok(())
    }

    fn decode(_: Reader<'_>) -> Result<(), DecodeError> {
        Ok(())
    }

    fn schema() -> Schema {
        Schema::bytes("Untyped")
    }
}

impl<T, C: Codec<T>> Channel<T, C> {
    /// The same channel, which was just opened by a handle; errors name it as its creator did.
    pub(crate) fn called_as_created(mut self) -> Self {
        if let Some(control) = Arc::get_mut(&mut self.control) {
            control.called_as_created();
        }
        self
    }

    /// The same channel, for a layer above that says by itself what its bytes are.
    pub(crate) fn untyped(self) -> Channel<(), Untyped> {
        let Channel { control, local, .. } = self;
        Channel { control, local, value: PhantomData }
    }
}

/// Tells the callers on a lane where a receiver that has just taken the role begins: its predecessors
/// consumed the requests before.
pub(super) fn publish_receiver_start(control: &Control, lane: usize) {
    // Relaxed: a predecessor's store came before it gave up the role, and a role changes hands in
    // the kernel.
    let layout = control.layout().ring(lane);
    let head = control.word(layout.head_at).load(Ordering::Relaxed);
    // Release: pairs with the Acquire in `was_consumed_by_a_predecessor`; a caller that sees this
    // sees the replies of the predecessors.
    control.lane_word(lane, lane_word::RECEIVER_START).swap(head, Ordering::Release);
    point!("attach.receiver_start");
}

/// Whether the caller waits no more for the reply to a call.
pub(super) fn has_cancelled(control: &Control, lane: usize, call: u64) -> bool {
    call < not_waited_for(control, lane).load(Ordering::Relaxed)
        || cancelled(control, lane, call).load(Ordering::Relaxed) == call
}

fn cancelled(control: &Control, lane: usize, call: u64) -> &AtomicU64 {
    control.lane_word(lane, lane_word::CANCELLED + (1 + call % CANCELLED) as usize * 8)
}

/// The caller waits for no call with a smaller number than this.
fn not_waited_for(control: &Control, lane: usize) -> &AtomicU64 {
    control.lane_word(lane, lane_word::CANCELLED)
}

/// Forgets what former owners of the lane cancelled and read: their calls had the same numbers.
pub(super) fn forget_calls(control: &Control, lane: usize) {
    credit::forget_streams(control, lane);
    not_waited_for(control, lane).swap(0, Ordering::Relaxed);
    for call in 0..CANCELLED {
        cancelled(control, lane, call).swap(0, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::thread;

    use super::*;
    use crate::Channel;
    use crate::codec::Raw;
    use crate::control::Heads;
    use crate::error::RecvError;
    use crate::sys::Deadline;
    use crate::tag::Tag;

    /// Values and replies, with the heads that the channel's layer has, from a program that puts one
    /// byte more in front.
    #[test]
    fn nothing_longer_than_the_longest_value_is_received_behind_any_head() {
        let heads = [(0, 0), (16, 9), (22, 9)].map(|(value, reply)| Heads { value, reply });
        // In messages, in messages beside records, in records, and in fragments.
        let shapes = [(2048, 0, 1000), (256, 4096, 1000), (0, 4096, 1000), (0, 4096, 9000)];
        for heads in heads {
            for (inline_limit, capacity, max) in shapes {
                let options = Channel::<Vec<u8>, Raw>::options().inline_limit(inline_limit);
                let options = options.capacity(capacity).return_capacity(4096);
                let channel = options.max_value(max as u64).heads(heads).private().unwrap();
                for more in [0, 1] {
                    let about = format!("{heads:?}, {inline_limit}, {capacity}, {max} + {more}");
                    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
                    let len = heads.value + max + more;
                    let encode = |out: &mut Writer<'_>| Ok(out.write(&vec![7; len])?);
                    let sent = thread::scope(|scope| {
                        let tx = scope.spawn(move || {
                            let never = Deadline::never();
                            let sent = tx.send_as(Tag::DEFAULT, heads.value + more, encode, never);
                            (tx, sent)
                        });
                        let got =
                            rx.receive_call(Deadline::never(), |reader, _| Ok(reader.remaining()));
                        match got {
                            Ok(got) => assert!(more == 0 && got == len, "{about}: {got}"),
                            Err(RecvError::Corrupt { .. }) => assert_eq!(more, 1, "{about}"),
                            Err(error) => panic!("{about}: {error}"),
                        }
                        tx.join().unwrap().0
                    });
                    drop((sent, rx));

                    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
                    let head = vec![1; heads.reply + more];
                    let caller = rx.caller(tx.origin());
                    caller.reply_with(&head, &vec![7; max]).unwrap();
                    let mut got = None;
                    let end = loop {
                        let taken = tx.take_replies(|reader| got = Some(reader.remaining()));
                        if taken.is_err() || got.is_some() {
                            break taken;
                        }
                        // What did not go at once goes while this receives.
                        assert!(rx.try_recv().unwrap_err().is_empty(), "{about}");
                    };
                    match end {
                        Ok(()) => assert_eq!((more, got), (0, Some(heads.reply + max)), "{about}"),
                        Err(RecvError::Corrupt { .. }) => assert_eq!((more, got), (1, None)),
                        Err(error) => panic!("{about}: {error}"),
                    }
                }
            }
        }
    }
}
