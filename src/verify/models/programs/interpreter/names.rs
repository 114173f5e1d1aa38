//! Users of a name.

use std::sync::Arc;

use super::super::checker::Outcome;
use super::super::language::{Fate, Operation, Program, Role};
use super::{Part, Started, enter, epilogue, failed, process_of};
use crate::codec::{Bincode, Schema};
use crate::sys::model::objects_left;
use crate::{AttachError, Channel, OpenError, Options, SendError, control};

const NAME: &str = "name";

fn options() -> Options<u8, Bincode> {
    let options = Channel::<u8>::options().lanes(3).inline_limit(0).capacity(8 * 64);
    options.schema(Schema::named("u8", 1))
}

fn opened(result: Result<Channel<u8>, OpenError>, channel: &mut Option<Channel<u8>>) -> Outcome {
    match result {
        Ok(opened) => {
            *channel = Some(opened);
            Outcome::Done
        }
        Err(OpenError::NotFound { .. }) => Outcome::NotFound,
        Err(OpenError::AlreadyExists { .. }) => Outcome::Exists,
        Err(OpenError::WrongType { .. }) => Outcome::WrongType,
        Err(error) => failed(error),
    }
}

fn put(channel: Option<&Channel<u8>>, value: u8) -> Outcome {
    let Some(channel) = channel else { return Outcome::Absent };
    let tx = match channel.sender() {
        Ok(tx) => tx,
        Err(AttachError::Removed { .. }) => return Outcome::Disconnected,
        Err(error) => return failed(error),
    };
    match tx.try_send(&value) {
        Ok(()) => Outcome::Done,
        Err(SendError::Disconnected { .. } | SendError::Removed { .. }) => Outcome::Disconnected,
        Err(error) => failed(error),
    }
}

fn perform(channel: &mut Option<Channel<u8>>, operation: Operation, value: u8) -> Outcome {
    let done = |result: Result<(), OpenError>| match result {
        Ok(()) => Outcome::Done,
        Err(OpenError::NotFound { .. }) => Outcome::NotFound,
        Err(error) => failed(error),
    };
    match operation {
        Operation::Create
        | Operation::CreatePrivate
        | Operation::Open
        | Operation::OpenOrCreate
            if channel.is_some() =>
        {
            Outcome::Absent
        }
        Operation::Create => opened(options().create(NAME), channel),
        Operation::CreatePrivate => opened(options().private(), channel),
        Operation::Open => opened(options().open(NAME), channel),
        Operation::OpenOrCreate => opened(options().open_or_create(NAME), channel),
        Operation::OpenWrongly => {
            opened(options().schema(Schema::named("other", 1)).open(NAME), &mut None)
        }
        Operation::Put => put(channel.as_ref(), value),
        Operation::Leave(_) => match channel.take() {
            Some(_) => Outcome::Done,
            None => Outcome::Absent,
        },
        Operation::Unlink => done(Channel::<u8>::unlink(NAME)),
        Operation::Sweep => done(control::sweep().map(drop)),
        Operation::SweepAll => done(control::sweep_all().map(drop)),
        other => unreachable!("{other:?} is none of a name's"),
    }
}

pub(super) fn execute(program: &Arc<Program>, step: usize) {
    if program.past {
        assert_eq!(put(Some(&options().create(NAME).unwrap()), 0), Outcome::Done);
    }
    let parties: Vec<_> = (0..program.parties.len())
        .map(|party| {
            let process = process_of(program, party);
            let channel = enter(process.as_ref(), || {
                let attached = program.parties[party].attached;
                attached.then(|| options().open_or_create(NAME).unwrap())
            });
            (Part { program: program.clone(), party }, process, channel)
        })
        .collect();
    let started: Vec<_> = parties
        .into_iter()
        .map(|(part, process, mut channel)| {
            part.start(process, step, move |part| {
                for (index, &operation) in part.operations().iter().enumerate() {
                    part.saw(perform(&mut channel, operation, part.value(index)));
                }
                channel
            })
        })
        .collect();
    let mut kept: Vec<_> = started.into_iter().map(Started::join).collect();
    for (party, channel) in kept.iter_mut().enumerate() {
        if let Some(channel) = channel.as_mut().filter(|channel| channel.is_some()) {
            let leave = Operation::Leave(Role::User);
            epilogue(party, leave, perform(channel, leave, 0));
        }
    }
    if program.parties.iter().all(|party| party.fate != Fate::Stopped) {
        end(program);
    }
}

/// Whatever is left under the name, a creator has a channel that works.
fn end(program: &Program) {
    if program.victim().is_some() && program.has(|it| it == Operation::CreatePrivate) {
        // What has no name is swept.
        control::sweep_all().unwrap();
    }
    if program.victim().is_none() {
        let left = if objects_left().is_empty() {
            Outcome::NotFound
        } else {
            let rx = options().open(NAME).unwrap().receiver().unwrap();
            Outcome::Value(rx.try_iter().map(Result::unwrap).count() as u8)
        };
        epilogue(program.parties.len(), Operation::Wait, left);
    }
    if !objects_left().is_empty() || program.victim().is_some() {
        let channel = options().open_or_create(NAME).unwrap();
        let rx = channel.receiver().unwrap();
        for left in rx.try_iter() {
            left.unwrap();
        }
        channel.sender().unwrap().send(&7).unwrap();
        assert_eq!(rx.recv().unwrap(), 7);
    }
}
