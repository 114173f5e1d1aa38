//! A server and its clients.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use loom::thread::{self, JoinHandle};

use super::super::checker::Outcome;
use super::super::language::{Fate, How, Operation, Program, Role};
use super::{
    Attending, Part, TIMEOUT, enter, epilogue, failed, join_all, let_time_pass, process_of,
};
use crate::codec::Bincode;
use crate::rpc::{
    BindError, CallError, Client, ClientOptions, Pending, ServeError, Server, ServerOptions,
};

const NAME: &str = "calls";

fn options() -> ServerOptions {
    ServerOptions::new().clients(5).capacity(8 * 64).reply_capacity(4 * 64)
}

fn connect(role: Role) -> Client<u8, u8> {
    let options = ClientOptions::new().wait_for_server(Duration::ZERO).deadline(Duration::MAX);
    let options = if role == Role::Repeater { options.repeatable() } else { options };
    options.connect::<u8, u8, Bincode>(NAME).unwrap()
}

fn bound(result: Result<Server<u8, u8>, BindError>) -> Result<Server<u8, u8>, Outcome> {
    result.map_err(|error| match error {
        BindError::AlreadyBound { .. } => Outcome::Taken,
        error => failed(error),
    })
}

fn bind() -> Result<Server<u8, u8>, Outcome> {
    bound(options().bind(NAME))
}

/// Takes the server's place, now or once it is free.
fn take_place(operation: Operation) -> Result<Server<u8, u8>, Outcome> {
    match operation {
        Operation::StandBy => bound(options().stand_by::<u8, u8, Bincode>(NAME, Duration::MAX)),
        _ => bind(),
    }
}

fn called(outcome: Result<u8, CallError>) -> Outcome {
    match outcome {
        Ok(reply) => Outcome::Value(!reply),
        Err(CallError::Timeout { received, .. } | CallError::ServerDied { received, .. }) => {
            Outcome::Lost { received }
        }
        Err(CallError::Dropped { .. }) => Outcome::Refused,
        Err(CallError::Full { .. }) => Outcome::NotNow,
        Err(error) => failed(error),
    }
}

/// Does what a client does from here until it leaves; how many operations that were. What is pending at the end
/// of all is kept: to drop it is to cancel it.
fn use_client(
    part: &Part,
    first: usize,
    client: &Client<u8, u8>,
    kept: &mut VecDeque<Pending<u8, u8>>,
) -> usize {
    let values: Vec<u8> = (0..part.operations().len()).map(|index| part.value(index)).collect();
    let mut pending = VecDeque::new();
    let mut index = first;
    while let Some(&operation) = part.operations().get(index) {
        let value = &values[index];
        index += 1;
        part.saw(match operation {
            Operation::Call(How::Wait) => called(client.call(value)),
            Operation::Call(How::Timed) => called(client.call_timeout(value, TIMEOUT)),
            Operation::Call(How::Try) => called(client.try_call(value)),
            Operation::Start => match client.start(value) {
                Ok(call) => {
                    pending.push_back(call);
                    Outcome::Done
                }
                Err(error) => called(Err(error)),
            },
            Operation::Wait => match pending.pop_front() {
                Some(call) => called(call.wait()),
                None => Outcome::Absent,
            },
            Operation::Cancel => match pending.pop_back() {
                Some(call) => {
                    drop(call);
                    Outcome::Done
                }
                None => Outcome::Absent,
            },
            // Written down once it has left.
            Operation::Leave(_) => return index,
            _ => Outcome::Absent,
        });
    }
    *kept = pending;
    index
}

/// A client, and what it has started.
type Caller = (Option<Client<u8, u8>>, VecDeque<Pending<u8, u8>>);

fn play_client(part: &Part, mut client: Option<Client<u8, u8>>) -> Caller {
    let mut pending = VecDeque::new();
    let mut index = 0;
    while index < part.operations().len() {
        if let Some(mine) = client.take() {
            let next = use_client(part, index, &mine, &mut pending);
            if !matches!(part.operations()[next - 1], Operation::Leave(_)) || next == index {
                return (Some(mine), pending);
            }
            drop(mine);
            part.saw(Outcome::Done);
            index = next;
            continue;
        }
        part.saw(match part.operations()[index] {
            Operation::Attach(role) => {
                client = Some(connect(role));
                Outcome::Done
            }
            _ => Outcome::Absent,
        });
        index += 1;
    }
    (client, pending)
}

fn serve(
    server: &Option<Server<u8, u8>>,
    operation: Operation,
    elsewhere: &mut Vec<JoinHandle<()>>,
) -> Outcome {
    let Some(server) = server else { return Outcome::Absent };
    let received = match operation.how() {
        How::Try => server.try_recv(),
        _ => server.recv(),
    };
    match received {
        Ok(Some(request)) => {
            let value = *request.query();
            if operation == Operation::AnswerElsewhere {
                let answering = thread::spawn(move || drop(request.reply(&!value)));
                elsewhere.push(answering);
            } else if operation != Operation::Refuse {
                // The caller may have given up.
                let _ = request.reply(&!value);
            }
            Outcome::Value(value)
        }
        Ok(None) => Outcome::Failed("closed".to_owned()),
        Err(ServeError::Empty { .. }) => Outcome::NotNow,
        Err(error) => failed(error),
    }
}

/// Answers until the others are done.
fn serve_all(server: &Option<Server<u8, u8>>, attending: &Attending) -> Outcome {
    let closer = server.as_ref().map(Server::closer);
    attending.begin(move || {
        if let Some(closer) = closer {
            closer.close();
        }
    });
    let Some(server) = server else { return Outcome::Absent };
    let mut served = Vec::new();
    loop {
        match server.recv() {
            Ok(Some(request)) => {
                let query = *request.query();
                served.push(query);
                // The caller may have given up.
                let _ = request.reply(&!query);
            }
            Ok(None) => return Outcome::All(served),
            Err(error) => return failed(error),
        }
    }
}

fn play_server(
    part: &Part,
    mut server: Option<Server<u8, u8>>,
    attending: &Attending,
) -> Option<Server<u8, u8>> {
    let mut elsewhere = Vec::new();
    for &operation in part.operations() {
        part.saw(match operation {
            Operation::Attach(_) | Operation::StandBy if server.is_some() => Outcome::Absent,
            Operation::Attach(_) | Operation::StandBy => match take_place(operation) {
                Ok(bound) => {
                    server = Some(bound);
                    Outcome::Done
                }
                Err(outcome) => outcome,
            },
            Operation::Leave(_) => match server.take() {
                Some(_) => Outcome::Done,
                None => Outcome::Absent,
            },
            Operation::Serve => serve_all(&server, attending),
            operation => serve(&server, operation, &mut elsewhere),
        });
    }
    for answering in elsewhere {
        answering.join().unwrap();
    }
    server
}

/// What a party keeps.
enum Kept {
    Client { _it: Caller },
    Server(Option<Server<u8, u8>>),
}

pub(super) fn execute(program: &Arc<Program>, step: usize) {
    // The channel is there before any server.
    let keeper = options().channel::<u8, u8, Bincode>().create(NAME).unwrap();
    if program.past {
        let (server, client) = (bind().unwrap(), connect(Role::Client));
        let call = client.start(&7).unwrap();
        server.try_recv().unwrap().unwrap().reply(&8).unwrap();
        assert_eq!(call.wait().unwrap(), 8);
    }
    let parties: Vec<_> = (0..program.parties.len())
        .map(|party| {
            let process = process_of(program, party);
            let it = &program.parties[party];
            let kept = enter(process.as_ref(), || match it.role {
                Role::Server => Kept::Server(it.attached.then(|| bind().unwrap())),
                role => {
                    let client = it.attached.then(|| connect(role));
                    Kept::Client { _it: (client, VecDeque::new()) }
                }
            });
            (Part { program: program.clone(), party }, process, kept)
        })
        .collect();
    let attending = Rc::new(Attending::default());
    let started: Vec<_> = parties
        .into_iter()
        .map(|(part, process, kept)| {
            let attending = attending.clone();
            part.start(process, step, move |part| match kept {
                Kept::Client { _it: (client, _) } => {
                    Kept::Client { _it: play_client(&part, client) }
                }
                Kept::Server(server) => Kept::Server(play_server(&part, server, &attending)),
            })
        })
        .collect();
    let_time_pass(program);
    let mut kept = join_all(program, started, &attending);
    if program.parties.iter().all(|party| party.fate != Fate::Stopped) {
        // What was given up is executed by no server.
        let serves = |kept: &Option<Kept>| matches!(kept, Some(Kept::Server(Some(_))));
        let mut me = kept.iter().position(serves).unwrap_or(kept.len());
        if me < kept.len() && program.has(|operation| operation == Operation::Serve) {
            // One that was closed receives nothing more.
            kept[me] = None;
            epilogue(me, Operation::Leave(Role::Server), Outcome::Done);
            me = kept.len();
        }
        if me == kept.len() {
            let (server, outcome) = match bind() {
                Ok(server) => (Some(server), Outcome::Done),
                Err(outcome) => (None, outcome),
            };
            kept.push(Some(Kept::Server(server)));
            epilogue(me, Operation::Attach(Role::Server), outcome);
        }
        let Some(Kept::Server(server)) = &kept[me] else { unreachable!("it serves") };
        let answer = Operation::Answer(How::Try);
        while let Outcome::Value(_) = epilogue(me, answer, serve(server, answer, &mut Vec::new())) {
        }
    }
    drop((kept, keeper));
}
