//! An actor, those that tell and ask it, and the holder of ports that it passes on.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::checker::Outcome;
use super::super::language::{Fate, How, Kind, Operation, Program, Role};
use super::{
    Attending, Part, TIMEOUT, enter, epilogue, failed, join_all, let_time_pass, process_of,
};
use crate::RecvError;
use crate::actor::{
    Address, AskError, BindError, Mailbox, MailboxOptions, ReplyTo, TellError, Watch,
};
use crate::codec::{Bincode, Codec, DecodeError, EncodeError, Reader, Schema, Writer};

const ACTOR: &str = "actor";
const HOLDER: &str = "holder";

/// A note, or a question with the port for its answer.
#[derive(Serialize, Deserialize)]
struct Letter(u8, Option<ReplyTo<u8, Letters>>);

/// The default codec, without tracing what it carries: that takes steps.
struct Letters;

impl Codec<Letter> for Letters {
    const NAME: &'static str = "letters";

    fn encode(value: &Letter, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        Bincode::encode(value, out)
    }

    fn decode(input: Reader<'_>) -> Result<Letter, DecodeError> {
        Bincode::decode(input)
    }

    fn schema() -> Schema {
        Schema::named("letter", 1)
    }
}

impl Codec<u8> for Letters {
    const NAME: &'static str = "letters";

    fn encode(value: &u8, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        Bincode::encode(value, out)
    }

    fn decode(input: Reader<'_>) -> Result<u8, DecodeError> {
        Bincode::decode(input)
    }

    fn schema() -> Schema {
        Schema::named("u8", 1)
    }
}

fn options() -> MailboxOptions {
    MailboxOptions::new().addresses(6).inline_limit(64).capacity(2 * 64).reply_capacity(4 * 64)
}

fn bind(name: &'static str) -> Result<Mailbox<Letter, Letters>, Outcome> {
    options().bind(name).map_err(|error| match error {
        BindError::AlreadyBound { .. } => Outcome::Taken,
        error => failed(error),
    })
}

fn connect(name: &'static str) -> Address<Letter, Letters> {
    Address::connect_timeout(name, Duration::ZERO).unwrap()
}

fn asked(answer: Result<u8, AskError>) -> Outcome {
    match answer {
        Ok(reply) => Outcome::Value(!reply),
        Err(AskError::Timeout { .. } | AskError::Tell(TellError::Timeout { .. })) => {
            Outcome::NotNow
        }
        Err(AskError::Died { .. }) => Outcome::Died,
        Err(AskError::Dropped { .. }) => Outcome::Refused,
        Err(error) => failed(error),
    }
}

/// What a party has.
#[derive(Default)]
struct Kept {
    address: Option<Address<Letter, Letters>>,
    mailbox: Option<Mailbox<Letter, Letters>>,
    watch: Option<Watch>,
    /// Where ports are passed on to.
    holder: Option<Address<Letter, Letters>>,
}

impl Kept {
    fn attach(&mut self, role: Role) -> Outcome {
        if self.address.is_some() || self.mailbox.is_some() {
            return Outcome::Absent;
        }
        let name = if role == Role::Holder { HOLDER } else { ACTOR };
        if role == Role::Asker {
            self.address = Some(connect(name));
            return Outcome::Done;
        }
        match bind(name) {
            Ok(mailbox) => self.mailbox = Some(mailbox),
            Err(outcome) => return outcome,
        }
        Outcome::Done
    }

    fn perform(&mut self, operation: Operation, value: u8, attending: &Attending) -> Outcome {
        match operation {
            Operation::Attach(role) => self.attach(role),
            Operation::Leave(_) => {
                let left = self.address.take().is_some() | self.mailbox.take().is_some();
                if left { Outcome::Done } else { Outcome::Absent }
            }
            Operation::Tell(kind) => self.tell(kind, value),
            Operation::Ask(how) => {
                let Some(address) = &self.address else { return Outcome::Absent };
                let timeout = if how == How::Timed { TIMEOUT } else { Duration::MAX };
                asked(address.ask_timeout(|reply| Letter(value, Some(reply)), timeout))
            }
            Operation::Watch => {
                let Some(address) = &self.address else { return Outcome::Absent };
                match address.watch() {
                    Ok(watch) => self.watch = Some(watch),
                    Err(error) => return failed(error),
                }
                Outcome::Done
            }
            Operation::AwaitEnd => {
                let Some(watch) = &self.watch else { return Outcome::Absent };
                watch.wait().map_or_else(failed, |()| Outcome::Done)
            }
            Operation::Attend => self.attend(attending),
            operation => self.serve(operation),
        }
    }

    fn tell(&self, kind: Kind, value: u8) -> Outcome {
        let Some(address) = &self.address else { return Outcome::Absent };
        let letter = Letter(value, None);
        let told = match kind {
            Kind::Five => address.tell_urgent_timeout(&letter, Duration::MAX),
            Kind::Six => address.tell_timeout(&letter, Duration::MAX),
        };
        told.map_or_else(failed, |()| Outcome::Done)
    }

    fn serve(&self, operation: Operation) -> Outcome {
        let Some(mailbox) = &self.mailbox else { return Outcome::Absent };
        let received = match operation.how() {
            How::Try => mailbox.try_recv(),
            _ => mailbox.recv(),
        };
        let letter = match received {
            Ok(Some(letter)) => letter,
            Ok(None) => return Outcome::Failed("closed".to_owned()),
            Err(RecvError::Empty { .. }) => return Outcome::NotNow,
            Err(error) => return failed(error),
        };
        let value = letter.0;
        match (operation, letter) {
            (Operation::Answer(_), Letter(_, Some(reply))) => {
                // The asker may have given up.
                let _ = reply.send(&!value);
            }
            (Operation::PassOn, letter @ Letter(_, Some(_))) => {
                let holder = self.holder.as_ref().expect("who passes on has its address");
                if let Err(error) = holder.tell_timeout(&letter, Duration::MAX) {
                    return failed(error);
                }
            }
            _ => {}
        }
        Outcome::Value(value)
    }

    fn attend(&self, attending: &Attending) -> Outcome {
        let closer = self.mailbox.as_ref().map(Mailbox::closer);
        attending.begin(move || {
            if let Some(closer) = closer {
                closer.close();
            }
        });
        let Some(mailbox) = &self.mailbox else { return Outcome::Absent };
        loop {
            match mailbox.recv() {
                Ok(Some(letter)) => drop(letter),
                Ok(None) => return Outcome::Done,
                Err(error) => return failed(error),
            }
        }
    }
}

pub(super) fn execute(program: &Arc<Program>, step: usize) {
    // The mailboxes are there before any actor.
    let keeper = options().channel::<Letter, Letters>().create(ACTOR).unwrap();
    let other = meets_holder(program)
        .then(|| options().channel::<Letter, Letters>().create(HOLDER).unwrap());
    if program.past {
        let (mailbox, address) = (bind(ACTOR).unwrap(), connect(ACTOR));
        address.tell(&Letter(0, None)).unwrap();
        assert_eq!(mailbox.recv().unwrap().unwrap().0, 0);
    }
    let attending = Rc::new(Attending::default());
    let parties: Vec<_> = (0..program.parties.len())
        .map(|party| {
            let process = process_of(program, party);
            let it = &program.parties[party];
            let kept = enter(process.as_ref(), || {
                // Boxed: it is moved through many frames of a small stack.
                let mut kept = Box::<Kept>::default();
                if it.operations.contains(&Operation::PassOn) {
                    kept.holder = Some(connect(HOLDER));
                }
                if it.attached {
                    assert_eq!(kept.attach(it.role), Outcome::Done);
                }
                kept
            });
            (Part { program: program.clone(), party }, process, kept)
        })
        .collect();
    let started: Vec<_> = parties
        .into_iter()
        .map(|(part, process, mut kept)| {
            let attending = attending.clone();
            part.start(process, step, move |part| {
                for (index, &operation) in part.operations().iter().enumerate() {
                    part.saw(kept.perform(operation, part.value(index), &attending));
                }
                kept
            })
        })
        .collect();
    let_time_pass(program);
    let mut kept = join_all(program, started, &attending);
    if program.parties.iter().all(|party| party.fate != Fate::Stopped) {
        end(program, &mut kept, &attending);
    }
    drop((kept, keeper, other));
}

/// Receives what is left.
fn end(program: &Program, kept: &mut Vec<Option<Box<Kept>>>, attending: &Attending) {
    let acts = |party: &usize| {
        let kept = kept[*party].as_ref();
        program.parties[*party].role == Role::Actor && kept.is_some_and(|it| it.mailbox.is_some())
    };
    let me = (0..kept.len()).find(acts).unwrap_or(kept.len());
    if me == kept.len() {
        kept.push(Some(Box::default()));
    }
    let actor = kept[me].as_mut().expect("it lives");
    let mut perform = |operation| epilogue(me, operation, actor.perform(operation, 0, attending));
    if program.has(|operation| operation == Operation::Attend) {
        // A mailbox that was closed receives nothing more.
        perform(Operation::Leave(Role::Actor));
    }
    perform(Operation::Attach(Role::Actor));
    // One that was killed may have told something and not counted it; the next party does.
    drop(connect(ACTOR));
    while let Outcome::Value(_) = perform(Operation::Answer(How::Try)) {}
    // What was passed on and not received is dropped, which its home is told.
    let holder = kept.iter_mut().flatten().zip(&program.parties);
    let mut holders =
        holder.filter(|(kept, party)| party.role == Role::Holder && kept.mailbox.is_some());
    let holder = holders.next().and_then(|(kept, _)| kept.mailbox.take());
    if let Some(holder) =
        holder.or_else(|| meets_holder(program).then(|| bind(HOLDER).ok()).flatten())
    {
        while let Ok(Some(letter)) = holder.try_recv() {
            drop(letter);
        }
    }
}

fn meets_holder(program: &Program) -> bool {
    program.parties.iter().any(|party| party.role == Role::Holder)
}
