//! A client's lane at its server: requests go, replies come, and what is known of the calls between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::incoming::{Incoming, Item};
use super::shared::Shared;
use crate::channel::{Credit, STREAMS, Unanswered, Untyped, charge};
use crate::codec::{Codec, DecodeError, Reader};
use crate::error::{RecvError, SendError};
use crate::name::Name;
use crate::rpc::error::CallError;
use crate::rpc::{RequestHead, self_call};
use crate::service::reply::{self, Status};
use crate::sys::{Deadline, Fault, fault};
use crate::transfer::Refusal;
use crate::{Sender, panics};

/// The connection, which is made again when the server's channel was removed.
pub(super) struct Connection<R> {
    pub(super) sender: Sender<(), Untyped>,
    /// Whether its channel was removed: the next call has another.
    pub(super) removed: bool,
    last_call: u64,
    pub(super) calls: Calls<R>,
    /// The reply to the call that is made now, if it came while its request was still being sent: a
    /// server answers a long request in the moment in which it hands it over.
    early: Option<Result<R, CallError>>,
}

impl<R> Drop for Connection<R> {
    fn drop(&mut self) {
        // A server starts none of the calls that were started, and another client has the lane.
        self.sender.end_generation();
    }
}

/// The calls that were started and whose outcome was not taken yet.
pub(super) struct Calls<R> {
    started: BTreeMap<u64, Started<R>>,
    /// How many outcomes came.
    outcomes: u64,
    /// Calls that are waited for, and of which something came since the waiting threads were last told.
    pub(super) news: Vec<u64>,
    /// The slots of streams that are read, a bit each.
    slots: u64,
}

/// A call that was started.
pub(super) struct Started<R> {
    /// Where its request ends in the ring.
    end: u64,
    /// Whether a thread waits for it, or did.
    awaited: bool,
    /// What became of it, if that is known.
    outcome: Option<Outcome<R>>,
    /// Of one whose replies are a stream.
    stream: Option<StreamOf<R>>,
}

/// A stream of replies, as its connection knows it.
pub(super) struct StreamOf<R> {
    incoming: Arc<Incoming<R>>,
    /// The lane's slot for it, while the lane is the one that it was started on.
    slot: Option<usize>,
    /// Whether its last part came, or why there is none.
    ended: bool,
}

/// What became of a call.
pub(super) struct Outcome<R> {
    /// As the how manieth outcome it came.
    pub(super) place: u64,
    pub(super) result: Result<R, CallError>,
}

/// How a request is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Waits for room, and its caller for the reply.
    Call,
    /// Does not wait for room.
    TryCall,
    /// Waits for room; its caller waits for the reply later, if at all.
    Start,
}

/// How waiting for a reply ended without one.
pub(super) enum NoReply {
    /// The deadline of this wait passed.
    Late,
    /// Another thread wants the connection.
    Interrupted,
    /// There will be none.
    Failed(CallError),
}

impl<R> Calls<R> {
    /// The earliest outcome of these calls: which of them it is, and what; 0 is no call.
    pub(super) fn take_first(&mut self, calls: &[u64]) -> Option<(usize, Result<R, CallError>)> {
        let place = |call| Some(self.started.get(call)?.outcome.as_ref()?.place);
        let known = calls.iter().enumerate().filter_map(|(at, call)| Some((place(call)?, at)));
        let (_, at) = known.min()?;
        Some((at, self.take(calls[at])?.result))
    }

    /// The outcome of a call, if it is known.
    pub(super) fn take(&mut self, call: u64) -> Option<Outcome<R>> {
        let outcome = self.started.get_mut(&call)?.outcome.take()?;
        self.started.remove(&call);
        Some(outcome)
    }

    pub(super) fn is_known(&self, call: u64) -> bool {
        self.started.get(&call).is_some_and(|started| started.outcome.is_some())
    }

    /// A thread waits for these calls. Says which of them ends first in the ring, and where.
    pub(super) fn await_all(&mut self, calls: &[u64]) -> Option<(u64, u64)> {
        let mut first: Option<(u64, u64)> = None;
        for &call in calls {
            let Some(started) = self.started.get_mut(&call) else { continue };
            started.awaited = true;
            if first.is_none_or(|(_, end)| started.end < end) {
                first = Some((call, started.end));
            }
        }
        first
    }

    /// A slot for another stream.
    fn take_slot(&mut self) -> Option<usize> {
        let slot = self.slots.trailing_ones() as usize;
        (slot < STREAMS).then(|| {
            self.slots |= 1 << slot;
            slot
        })
    }

    /// The streams that were started are of a lane that is no more.
    fn forget_slots(&mut self) {
        self.slots = 0;
        let streams = self.started.values_mut().filter_map(|started| started.stream.as_mut());
        streams.for_each(|stream| stream.slot = None);
    }

    /// Something came of a call; says whether a thread waits for it.
    fn tell(&mut self, call: u64, awaited: bool) -> bool {
        if awaited {
            self.news.push(call);
        }
        awaited
    }

    /// What became of a call that was started.
    fn settle(&mut self, call: u64, result: impl FnOnce() -> Result<R, CallError>) -> bool {
        let Some(it) = self.started.get_mut(&call).filter(|it| !it.is_settled()) else {
            return false;
        };
        let result = result();
        match &mut it.stream {
            Some(stream) => {
                stream.incoming.put(Item::Last(result));
                stream.ended = true;
            }
            None => {
                it.outcome = Some(Outcome { place: self.outcomes, result });
                self.outcomes += 1;
            }
        }
        let awaited = it.awaited;
        self.tell(call, awaited)
    }

    /// Keeps the reply to a call that is waited for later; says whether a thread waits for it now. The
    /// client waits no more for others.
    fn note<C: Codec<R>>(&mut self, server: &Arc<Name>, mut reader: Reader<'_>) -> bool {
        reply::read_head(&mut reader)
            .is_some_and(|(call, status)| self.note_of::<C>(server, call, status, reader))
    }

    fn note_of<C: Codec<R>>(
        &mut self,
        server: &Arc<Name>,
        call: u64,
        status: Status,
        reader: Reader<'_>,
    ) -> bool {
        let is_stream = self.started.get(&call).is_some_and(|it| it.stream.is_some());
        match status {
            Status::Part | Status::End if is_stream => {
                self.note_part::<C>(server, call, status, reader)
            }
            // A caller that reads no stream takes the reply alone.
            Status::Part => false,
            status => self.settle(call, || read_guarded::<R, C>(server, status, reader)),
        }
    }

    /// The same of a part of a stream, or its end.
    fn note_part<C: Codec<R>>(
        &mut self,
        server: &Arc<Name>,
        call: u64,
        status: Status,
        reader: Reader<'_>,
    ) -> bool {
        let Some(it) = self.started.get_mut(&call) else { return false };
        let Some(stream) = it.stream.as_mut().filter(|stream| !stream.ended) else { return false };
        match status {
            Status::Part if stream.incoming.is_full() => {
                let what = "its server sends more of a stream of replies than the client takes: another \
                            program wrote over it";
                let channel = server.clone();
                let error = RecvError::Corrupt { channel, what: what.to_owned() };
                stream.incoming.put(Item::Last(Err(CallError::Wait(error))));
                stream.ended = true;
            }
            Status::Part => {
                let charge = charge(reader.remaining());
                let part = read_guarded::<R, C>(server, Status::Reply, reader);
                stream.incoming.put(Item::Part(charge, part));
            }
            _ => {
                stream.incoming.put(Item::End);
                stream.ended = true;
            }
        }
        let awaited = it.awaited;
        self.tell(call, awaited)
    }
}

impl<R> Started<R> {
    fn new(end: u64, stream: Option<StreamOf<R>>) -> Self {
        Started { end, awaited: false, outcome: None, stream }
    }

    /// Whether nothing more comes of it.
    fn is_settled(&self) -> bool {
        self.outcome.is_some() || self.stream.as_ref().is_some_and(|stream| stream.ended)
    }
}

impl<R> Connection<R> {
    pub(super) fn new(sender: Sender<(), Untyped>) -> Self {
        let calls = Calls { started: BTreeMap::new(), outcomes: 0, news: Vec::new(), slots: 0 };
        Connection { sender, removed: false, last_call: 0, calls, early: None }
    }

    /// Sends a request, and waits until `room_by` for room; says what the call's number is and where the
    /// request ends in the ring.
    pub(super) fn ask<V, D, C>(
        &mut self,
        shared: &Shared<R>,
        request: &V,
        deadline: Deadline,
        room_by: Deadline,
        how: How,
    ) -> Result<(u64, u64), CallError>
    where
        D: Codec<V>,
        C: Codec<R>,
    {
        self.ask_for::<V, D, C>(shared, request, deadline, room_by, how, None)
    }

    /// Starts a call whose replies are a stream.
    pub(super) fn start_stream<V, C>(
        &mut self,
        shared: &Shared<R>,
        request: &V,
        deadline: Deadline,
        room_by: Deadline,
        incoming: &Arc<Incoming<R>>,
    ) -> Result<(u64, Credit), CallError>
    where
        C: Codec<V> + Codec<R>,
    {
        if self.removed {
            self.reconnect::<C>(shared, room_by)?;
        }
        let Some(slot) = self.calls.take_slot() else {
            return Err(CallError::TooManyStreams { server: shared.server(), most: STREAMS });
        };
        let call = self.last_call + 1;
        let stream = (incoming, slot);
        let asked =
            self.ask_for::<V, C, C>(shared, request, deadline, room_by, How::Start, Some(stream));
        match asked {
            Ok((_, end)) => {
                // Parts may have come while the request was still being sent.
                if let Some(started) = self.calls.started.get_mut(&call) {
                    started.end = end;
                }
                Ok((call, self.sender.stream_of(slot, call)))
            }
            Err(error) => {
                self.calls.started.remove(&call);
                self.calls.slots &= !(1 << slot);
                self.sender.stream_of(slot, call).close();
                Err(error)
            }
        }
    }

    fn ask_for<V, D, C>(
        &mut self,
        shared: &Shared<R>,
        request: &V,
        deadline: Deadline,
        room_by: Deadline,
        how: How,
        stream: Option<(&Arc<Incoming<R>>, usize)>,
    ) -> Result<(u64, u64), CallError>
    where
        D: Codec<V>,
        C: Codec<R>,
    {
        let wait = how != How::TryCall;
        self.last_call += 1;
        let call = self.last_call;
        let slot = stream.map(|(_, slot)| slot);
        let head = RequestHead { call, slot, deadline }.write(shared.clock);
        if self.removed {
            self.reconnect::<C>(shared, room_by)?;
        }
        if !self.calls.started.is_empty() {
            // The server has no room for more than a ring of replies, and something beside it.
            self.take_replies::<C>(&shared.name);
        }
        loop {
            if how != How::Start && self_call::is_served_here(&self.sender) {
                return Err(CallError::OwnServer { server: shared.server() });
            }
            let Connection { sender, calls, early, .. } = &mut *self;
            *early = None;
            if let Some((incoming, slot)) = stream {
                // Each time: the last attempt may have been on another lane.
                incoming.clear();
                calls.slots |= 1 << slot;
                let stream =
                    StreamOf { incoming: incoming.clone(), slot: Some(slot), ended: false };
                calls.started.insert(call, Started::new(0, Some(stream)));
                sender.open_stream(slot, call);
            }
            // The server may have to be rid of its replies before it has room.
            let sent = sender.send_behind::<V, D>(&head, request, room_by, |mut reader| {
                let Some((answered, status)) = reply::read_head(&mut reader) else { return };
                if answered == call && slot.is_none() && !fault(Fault::EarlyReplyLost) {
                    *early = Some(read_guarded::<R, C>(&shared.name, status, reader));
                } else {
                    calls.note_of::<C>(&shared.name, answered, status, reader);
                }
            });
            let error = match sent {
                Ok(end) => return Ok((call, end)),
                // It was sent, whatever became of waking the server.
                Err(_) if early.is_some() => return Ok((call, 0)),
                Err(error) => error,
            };
            let next = match error {
                // Servers may come and go for longer than the caller has time.
                SendError::Disconnected { .. } if wait && room_by.has_passed() => {
                    return Err(CallError::Timeout { server: shared.server(), received: false });
                }
                // There is no server: one may come until the deadline.
                SendError::Disconnected { .. } if wait => self.sender.wait_for_receiver(room_by),
                error => Err(error),
            };
            match next {
                Ok(()) => {}
                Err(SendError::Disconnected { .. } | SendError::Removed { .. }) if wait => {
                    self.reconnect::<C>(shared, room_by)?;
                }
                Err(SendError::Disconnected { .. } | SendError::Removed { .. }) => {
                    // The next call has another.
                    self.removed = self.sender.is_removed();
                    return Err(CallError::ServerDied { server: shared.server(), received: false });
                }
                Err(SendError::Timeout { .. }) => {
                    return Err(CallError::Timeout { server: shared.server(), received: false });
                }
                Err(SendError::Full { .. }) => {
                    return Err(CallError::Full { server: shared.server() });
                }
                Err(error) => {
                    if error.was_sent() {
                        self.cancel(call);
                    }
                    return Err(CallError::Send(error));
                }
            }
        }
    }

    /// Keeps a call whose request was just sent, for the thread or task that waits for it later.
    pub(super) fn keep_started(&mut self, call: u64, end: u64) {
        self.calls.started.insert(call, Started::new(end, None));
        if let Some(result) = self.early.take() {
            self.calls.settle(call, || result);
        }
    }

    /// Makes the connection again, to the channel that has the name now.
    pub(super) fn reconnect<C: Codec<R>>(
        &mut self,
        shared: &Shared<R>,
        deadline: Deadline,
    ) -> Result<(), CallError> {
        let wait = deadline.remaining().unwrap_or(Duration::MAX);
        let sender = shared.connect(wait).map_err(CallError::Reconnect)?;
        self.give_up::<C>(&shared.name);
        self.calls.forget_slots();
        shared.listens_at(sender.bell());
        self.sender = sender;
        self.removed = false;
        Ok(())
    }

    /// Waits for the reply to a call whose request was just sent.
    pub(super) fn reply<C: Codec<R>>(
        &mut self,
        shared: &Shared<R>,
        call: u64,
        end: u64,
        deadline: Deadline,
    ) -> Result<R, CallError> {
        if let Some(outcome) = self.early.take() {
            return outcome;
        }
        let accept = |calls: &mut Calls<R>, mut reader: Reader<'_>| {
            let (answered, status) = reply::read_head(&mut reader)?;
            if answered == call {
                if status == Status::Part {
                    // A caller that reads no stream takes the reply alone.
                    return None;
                }
                return Some(read_outcome(&shared.name, status, reader, |reader| {
                    C::decode(reader)
                }));
            }
            calls.note_of::<C>(&shared.name, answered, status, reader);
            None
        };
        match self.wait::<C, _>(shared, end, deadline, || false, accept) {
            Ok(outcome) => outcome,
            Err(NoReply::Failed(error)) => Err(error),
            Err(NoReply::Late | NoReply::Interrupted) => {
                let received = self.sender.was_consumed(end);
                self.cancel(call);
                Err(CallError::Timeout { server: shared.server(), received })
            }
        }
    }

    /// Waits until a call that a thread waits for has its outcome. `first` is the one whose request ends
    /// first in the ring: of the calls that are waited for it is the first whose server can be gone.
    pub(super) fn wait_for_any<C: Codec<R>>(
        &mut self,
        shared: &Shared<R>,
        first: (u64, u64),
        until: Deadline,
    ) -> Result<(), NoReply> {
        let (call, end) = first;
        let accept = |calls: &mut Calls<R>, reader: Reader<'_>| {
            calls.note::<C>(&shared.name, reader).then_some(())
        };
        let waited = self.wait::<C, _>(shared, end, until, || shared.is_wanted(), accept);
        match waited {
            Err(NoReply::Failed(error)) => {
                self.calls.settle(call, || Err(error));
                Ok(())
            }
            waited => waited,
        }
    }

    fn wait<C: Codec<R>, A>(
        &mut self,
        shared: &Shared<R>,
        end: u64,
        deadline: Deadline,
        interrupted: impl Fn() -> bool,
        accept: impl Fn(&mut Calls<R>, Reader<'_>) -> Option<A>,
    ) -> Result<A, NoReply> {
        loop {
            let Connection { sender, calls, .. } = &mut *self;
            let stay = shared.options.repeatable;
            let accept = |reader: Reader<'_>| accept(calls, reader);
            return match sender.wait_for_reply(end, deadline, stay, &interrupted, accept) {
                Ok(accepted) => Ok(accepted),
                Err(Unanswered::Interrupted) => Err(NoReply::Interrupted),
                Err(Unanswered::Died) => {
                    let server = shared.server();
                    Err(NoReply::Failed(CallError::ServerDied { server, received: true }))
                }
                // A server that has come in this moment takes the request.
                Err(Unanswered::NoReceiver) if sender.has_receiver().is_ok_and(|there| there) => {
                    if deadline.has_passed() {
                        return Err(NoReply::Late);
                    }
                    continue;
                }
                Err(Unanswered::NoReceiver | Unanswered::Failed(RecvError::Removed { .. })) => {
                    let certain = self.give_up::<C>(&shared.name);
                    self.removed = self.sender.is_removed();
                    let received = !certain || self.sender.was_consumed(end);
                    let server = shared.server();
                    Err(NoReply::Failed(CallError::ServerDied { server, received }))
                }
                Err(Unanswered::Failed(RecvError::Timeout { .. } | RecvError::Empty { .. })) => {
                    Err(NoReply::Late)
                }
                Err(Unanswered::Failed(error)) => Err(NoReply::Failed(CallError::Wait(error))),
            };
        }
    }

    /// Takes the replies that are there.
    pub(super) fn take_replies<C: Codec<R>>(&mut self, server: &Arc<Name>) {
        let Connection { sender, calls, .. } = self;
        // What is wrong with the lane is told to a call that waits.
        let _ = sender.take_replies(|reader| {
            calls.note::<C>(server, reader);
        });
    }

    /// Tells the server that this client waits no more for a call's reply.
    pub(super) fn cancel(&self, call: u64) {
        let waits = |(&other, started): (&u64, &Started<R>)| {
            (other != call && !started.is_settled()).then_some(other)
        };
        let waited_for = self.calls.started.iter().find_map(waits).unwrap_or(self.last_call + 1);
        self.sender.cancel(call, waited_for);
    }

    /// Has nothing more to do with a call, and tells the server if that is not known to be done with it.
    /// Returns what was known, to be dropped where no lock is taken.
    pub(super) fn forget(&mut self, call: u64) -> Option<Started<R>> {
        let started = self.calls.started.remove(&call)?;
        if let Some(slot) = started.stream.as_ref().and_then(|stream| stream.slot) {
            self.calls.slots &= !(1 << slot);
        }
        if !started.is_settled() {
            self.cancel(call);
        }
        Some(started)
    }

    /// The same of a call whose deadline has passed: says whether a server had received its request.
    pub(super) fn forget_late(&mut self, call: u64) -> bool {
        let received = self.was_received(call);
        self.forget(call);
        received
    }

    /// Whether a server had received the request of a call.
    pub(super) fn was_received(&self, call: u64) -> bool {
        let end = self.calls.started.get(&call).map(|started| started.end);
        end.is_none_or(|end| self.sender.was_consumed(end))
    }

    /// Sees to it that no server receives any more what none has received by now; says whether that
    /// is certain.
    fn give_up<C: Codec<R>>(&mut self, server: &Arc<Name>) -> bool {
        self.take_replies::<C>(server);
        let certain = self.sender.renew_generation().is_ok();
        let left = |(&call, started): (&u64, &Started<R>)| {
            (!started.is_settled()).then_some((call, started.end))
        };
        let left: Vec<_> = self.calls.started.iter().filter_map(left).collect();
        for (call, end) in left {
            let received = !certain || self.sender.was_consumed(end);
            let server = server.clone();
            self.calls.settle(call, || Err(CallError::ServerDied { server, received }));
        }
        certain
    }
}

/// What a reply says that is read inside of another call: the panic of its decoder is its own error.
fn read_guarded<R, C: Codec<R>>(
    server: &Arc<Name>,
    status: Status,
    reader: Reader<'_>,
) -> Result<R, CallError> {
    read_outcome(server, status, reader, |reader| panics::decoding(|| C::decode(reader)))
}

/// What a reply says behind its head.
#[inline]
fn read_outcome<R>(
    server: &Arc<Name>,
    status: Status,
    reader: Reader<'_>,
    decode: impl FnOnce(Reader<'_>) -> Result<R, DecodeError>,
) -> Result<R, CallError> {
    if status == Status::Reply {
        return decode(reader).map_err(|error| CallError::Decode { server: server.clone(), error });
    }
    Err(failure(server.clone(), status, reader))
}

/// Why there is no reply, as a reply says it behind its head.
#[cold]
fn failure(server: Arc<Name>, status: Status, reader: Reader<'_>) -> CallError {
    match status {
        Status::Panicked => CallError::Panicked { server, message: reader.read_text() },
        // The handler ended a stream that this caller does not read, without a reply.
        Status::Reply | Status::Dropped | Status::Part | Status::End => {
            CallError::Dropped { server }
        }
        Status::Closed => CallError::ServerDied { server, received: true },
        Status::NotReceived => CallError::ServerDied { server, received: false },
        Status::NotPassedOn => CallError::NotPassedOn { server, why: reader.read_text() },
        Status::Late => CallError::Timeout { server, received: true },
        Status::Unreadable => CallError::Unreadable { server, why: reader.read_text() },
        Status::Unsendable => CallError::Unsendable { server, why: reader.read_text() },
    }
}
