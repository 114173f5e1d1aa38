//! Senders and a receiver.

use std::rc::Rc;
use std::sync::Arc;

use super::super::checker::Outcome;
use super::super::language::{Fate, How, Kind, Operation, Program, Role, Scene, Size, Wanted};
use super::super::machines::LANES;
use super::{
    Attending, Part, TIMEOUT, decoded, enter, epilogue, failed, join_all, let_time_pass,
    next_value, process_of,
};
use crate::codec::{Codec, DecodeError, EncodeError, Raw, Reader, Schema, Writer};
use crate::name::Name;
use crate::ring::TrustedPeers;
use crate::sys::MessageQueue;
use crate::sys::model::let_short_times_pass;
use crate::{
    AttachError, Channel, OpenError, Options, Receiver, RecvError, Select, SendError, Sender, Tag,
};

const NAME: &str = "program";

/// Lines of the ring back to a sender, and how long an answer in fragments is.
const RETURN_LINES: usize = 4;
const LONG_ANSWER: usize = 150;

type Value = Vec<u8>;

/// The codec of bytes, which writes down what is decoded.
struct Values;

impl Codec<Value> for Values {
    const NAME: &'static str = "values";

    fn encode(value: &Value, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        Raw::encode(value, out)
    }

    fn decode(input: Reader<'_>) -> Result<Value, DecodeError> {
        let value = <Raw as Codec<Value>>::decode(input)?;
        decoded(value[0]);
        Ok(value)
    }

    fn schema() -> Schema {
        <Raw as Codec<Value>>::schema()
    }
}

fn options(program: &Program) -> Options<Value, Values> {
    let scene = program.scene;
    let back = if scene == Scene::Answers { RETURN_LINES * 64 } else { 0 };
    let options = Channel::<Value, Values>::options();
    let options = match program.window() {
        Some(lines) => options.window(lines * 64),
        None => options.capacity(scene.lines() * 64),
    };
    options
        .lanes(LANES)
        .inline_limit(usize::from(scene.has_queue()))
        .return_capacity(back)
        .max_value(1000)
        .in_place(TrustedPeers::of_a_model())
}

fn tag(kind: Kind) -> Tag {
    Tag::new(kind.number()).unwrap()
}

/// What a party has.
struct Ends {
    channel: Channel<Value, Values>,
    sender: Option<Sender<Value, Values>>,
    receiver: Option<Receiver<Value, Values>>,
}

impl Ends {
    fn attach(&mut self, role: Role) -> Outcome {
        let attached = match role {
            Role::Receiver if self.receiver.is_none() => {
                self.channel.receiver().map(|receiver| self.receiver = Some(receiver))
            }
            Role::Sender if self.sender.is_none() => {
                self.channel.sender().map(|sender| self.sender = Some(sender))
            }
            _ => return Outcome::Absent,
        };
        match attached {
            Ok(()) => Outcome::Done,
            Err(AttachError::ReceiverExists { .. } | AttachError::LanesExhausted { .. }) => {
                Outcome::Taken
            }
            Err(AttachError::Removed { .. }) => Outcome::Disconnected,
            Err(error) => failed(error),
        }
    }

    fn leave(&mut self, role: Role) -> Outcome {
        let left = match role {
            Role::Receiver => self.receiver.take().map(drop).is_some(),
            _ => self.sender.take().map(drop).is_some(),
        };
        if left { Outcome::Done } else { Outcome::Absent }
    }

    fn send(&self, value: &Value, kind: Kind, how: How) -> Outcome {
        let Some(tx) = &self.sender else { return Outcome::Absent };
        let sent = match how {
            How::Wait => tx.send_tagged(tag(kind), value),
            How::Try => tx.try_send_tagged(tag(kind), value),
            How::Timed => tx.send_tagged_timeout(tag(kind), value, TIMEOUT),
        };
        match sent {
            Ok(()) => Outcome::Done,
            Err(SendError::Full { .. } | SendError::Timeout { .. }) => Outcome::NotNow,
            Err(SendError::Disconnected { .. } | SendError::Removed { .. }) => {
                Outcome::Disconnected
            }
            Err(error) => failed(error),
        }
    }

    fn receive(&self, scene: Scene, wanted: Wanted, how: How) -> Outcome {
        let Some(rx) = &self.receiver else { return Outcome::Absent };
        let select = match wanted {
            Wanted::Any => Select::Any,
            Wanted::Exactly(kind) => Select::Exactly(tag(kind)),
            Wanted::UpTo(kind) => Select::UpTo(tag(kind)),
            Wanted::Except(kind) => Select::Except(tag(kind)),
        };
        let received = match how {
            How::Wait => rx.recv_matching(select),
            How::Try => rx.try_recv_matching(select),
            How::Timed => rx.recv_matching_timeout(select, TIMEOUT),
        };
        value_of(scene, received.map(|message| message.value))
    }

    fn receive_in_place(&self, scene: Scene) -> Outcome {
        let Some(rx) = &self.receiver else { return Outcome::Absent };
        let value = rx.recv_in_place().map(|lease| {
            decoded(lease.bytes()[0]);
            lease.bytes().to_vec()
        });
        value_of(scene, value)
    }

    fn reply(&self, scene: Scene, size: Size) -> Outcome {
        let Some(rx) = &self.receiver else { return Outcome::Absent };
        let (value, origin) = match rx.recv_from() {
            Ok(received) => received,
            Err(error) => return value_of(scene, Err(error)),
        };
        let len = if size == Size::Long { LONG_ANSWER } else { 1 };
        match rx.send_back(origin, &vec![value[0]; len]) {
            Ok(()) => value_of(scene, Ok(value)),
            Err(SendError::Disconnected { .. } | SendError::Removed { .. }) => {
                Outcome::Unheard(value[0])
            }
            Err(error) => failed(error),
        }
    }

    fn hear(&self) -> Outcome {
        let Some(tx) = &self.sender else { return Outcome::Absent };
        match tx.recv_back::<Value>() {
            Ok(bytes) if [1, LONG_ANSWER].contains(&bytes.len()) => same(&bytes),
            Ok(bytes) => Outcome::Failed(format!("an answer of {} bytes", bytes.len())),
            Err(RecvError::Disconnected { .. } | RecvError::Removed { .. }) => {
                Outcome::Disconnected
            }
            Err(error) => failed(error),
        }
    }

    fn attend(&self, scene: Scene, attending: &Attending) -> Outcome {
        attending.begin(let_short_times_pass);
        let mut received = Vec::new();
        loop {
            match self.receive(scene, Wanted::Any, How::Timed) {
                Outcome::Value(id) => received.push(id),
                Outcome::NotNow | Outcome::Disconnected => return Outcome::All(received),
                other => return other,
            }
        }
    }

    fn perform(
        &mut self,
        scene: Scene,
        operation: Operation,
        value: u8,
        attending: &Attending,
    ) -> Outcome {
        match operation {
            Operation::Attach(role) => self.attach(role),
            Operation::Leave(role) => self.leave(role),
            Operation::Send(size, kind, how) => self.send(&vec![value; scene.len(size)], kind, how),
            Operation::Hear => self.hear(),
            Operation::Receive(wanted, how) => self.receive(scene, wanted, how),
            Operation::ReceiveInPlace => self.receive_in_place(scene),
            Operation::Reply(size) => self.reply(scene, size),
            Operation::Attend => self.attend(scene, attending),
            Operation::Ipcrm => remove_queue(),
            Operation::Unlink => match Channel::<Value, Values>::unlink(NAME) {
                Ok(()) => Outcome::Done,
                Err(OpenError::NotFound { .. }) => Outcome::NotFound,
                Err(error) => failed(error),
            },
            other => unreachable!("{other:?} is none of a channel's"),
        }
    }
}

/// Removes the queue alone.
fn remove_queue() -> Outcome {
    let key = Name::from(NAME).key().unwrap();
    match MessageQueue::open(key).and_then(|queue| queue.remove()) {
        Ok(()) => Outcome::Done,
        // There is none, or another was faster.
        Err(_) => Outcome::NotFound,
    }
}

fn same(bytes: &[u8]) -> Outcome {
    if bytes.iter().all(|&byte| byte == bytes[0]) {
        Outcome::Value(bytes[0])
    } else {
        Outcome::Failed("a value of several".to_owned())
    }
}

fn value_of(scene: Scene, received: Result<Value, RecvError>) -> Outcome {
    match received {
        Ok(bytes) => {
            let lens = [Size::Small, Size::Bulk, Size::Long].map(|size| scene.len(size));
            if lens.contains(&bytes.len()) {
                same(&bytes)
            } else {
                Outcome::Failed(format!("a value of {} bytes", bytes.len()))
            }
        }
        Err(RecvError::Empty { .. } | RecvError::Timeout { .. }) => Outcome::NotNow,
        Err(RecvError::Disconnected { .. } | RecvError::Removed { .. }) => Outcome::Disconnected,
        Err(error) => failed(error),
    }
}

/// Fills the first lane's ring once: with a record whose second and third line look like what will
/// stand there a lap later, and with others behind it.
fn past(scene: Scene, channel: &Channel<Value, Values>) {
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let mut values = Vec::new();
    match scene.lines() {
        0 => values.push(vec![0]),
        2 => values.extend([vec![0; 40], vec![0; 40]]),
        lines => {
            let mut imitation = vec![0; 3 * 64 - 16];
            for line in 1..3_u64 {
                let stamp = (lines as u64 + line + 1).to_le_bytes();
                imitation[line as usize * 64 - 16..][..8].copy_from_slice(&stamp);
            }
            values.push(imitation);
            values.extend((3..lines).map(|_| vec![0; 40]));
        }
    }
    for value in values {
        tx.send(&value).unwrap();
        assert_eq!(rx.recv().unwrap(), value);
    }
}

pub(super) fn execute(program: &Arc<Program>, step: usize) {
    let scene = program.scene;
    let channel = options(program).create(NAME).unwrap();
    if program.past {
        past(scene, &channel);
    }
    let handle = channel.handle();
    let attending = Rc::new(Attending::default());
    let parties: Vec<_> = (0..program.parties.len())
        .map(|party| {
            let process = process_of(program, party);
            let ends = enter(process.as_ref(), || {
                let channel = match process {
                    Some(_) => options(program).open(handle).unwrap(),
                    None => channel.clone(),
                };
                let mut ends = Ends { channel, sender: None, receiver: None };
                if program.parties[party].attached {
                    assert_eq!(ends.attach(program.parties[party].role), Outcome::Done);
                }
                ends
            });
            (Part { program: program.clone(), party }, process, ends)
        })
        .collect();
    let started: Vec<_> = parties
        .into_iter()
        .map(|(part, process, mut ends)| {
            let attending = attending.clone();
            part.start(process, step, move |part| {
                for (index, &operation) in part.operations().iter().enumerate() {
                    let value = part.value(index);
                    part.saw(ends.perform(part.program.scene, operation, value, &attending));
                }
                ends
            })
        })
        .collect();
    let_time_pass(program);
    let mut kept = join_all(program, started, &attending);
    if !program.removes() && program.parties.iter().all(|party| party.fate != Fate::Stopped) {
        end(program, channel, &mut kept);
    }
}

/// Receives what is left, and sends and receives through a lane that may be a dead sender's.
fn end(program: &Program, channel: Channel<Value, Values>, kept: &mut Vec<Option<Ends>>) {
    let scene = program.scene;
    let me = kept.len();
    kept.push(Some(Ends { channel, sender: None, receiver: None }));
    let has_receiver = |ends: &Option<Ends>| ends.as_ref().is_some_and(|it| it.receiver.is_some());
    let receiving = kept.iter().position(has_receiver).unwrap_or(me);
    let mut perform = |party: usize, operation: Operation| {
        let ends = kept[party].as_mut().expect("it lives");
        let value = next_value(party);
        let attending = Attending::default();
        epilogue(party, operation, ends.perform(scene, operation, value, &attending))
    };
    if receiving == me {
        perform(me, Operation::Attach(Role::Receiver));
    }
    let receive = Operation::Receive(Wanted::Any, How::Try);
    while let Outcome::Value(_) = perform(receiving, receive) {}
    perform(me, Operation::Attach(Role::Sender));
    let size = if scene == Scene::Messages { Size::Small } else { Size::Bulk };
    let rounds = if program.victim().is_some() { 4 } else { 1 };
    let mut sent = Outcome::NotNow;
    for _ in 0..rounds {
        sent = perform(me, Operation::Send(size, Kind::Five, How::Try));
        perform(receiving, receive);
    }
    // Whatever a dead sender left, there is room again once all is received.
    assert!(sent == Outcome::Done || rounds == 1, "the lane stays full: {sent:?}");
    while let Outcome::Value(_) = perform(receiving, receive) {}
}
