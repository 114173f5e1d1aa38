//! `bridge`: channels and calls between machines, over zenoh.
//!
//! A process has one session and a thread for each link. What a link carries, and how, is in `outgoing` and `incoming`,
//! `serve` and `call`: each has a function that returns when the link ends, by a signal or since it cannot go on.

pub(crate) mod args;
mod call;
mod calls_wire;
mod events;
mod file;
mod hello;
mod incoming;
mod link;
mod local;
mod log;
mod outgoing;
mod serve;
mod session;
pub(crate) mod status;
mod wire;

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tracing::{error, info};
use zenoh::Wait;

use crate::Finished;
use crate::ending::{Endings, Peer};
use crate::failure::Failure;
use args::{BridgeCommand, LinkArguments, SessionArguments};
use link::{Figures, Kind, Link, LinkOptions};
use log::TARGET;
use session::Addresses;

/// How long the session may take to tell others that it ends.
const CLOSING: Duration = Duration::from_secs(2);

pub(crate) fn run(command: &BridgeCommand) -> Result<Finished, Failure> {
    let one = |kind, link: &LinkArguments, session| {
        let (name, key) = (link.name.clone(), link.key.clone());
        let create = matches!(command, BridgeCommand::In(into) if into.create);
        let link = LinkOptions { kind, name, key, owner: link.owner.owner, create };
        carry(vec![link], with_arguments(Addresses::default(), session))
    };
    match command {
        BridgeCommand::Out(out) => one(Kind::Out, &out.link, &out.session),
        BridgeCommand::In(into) => one(Kind::In, &into.link, &into.session),
        BridgeCommand::Serve(serve) => one(Kind::Serve, &serve.link, &serve.session),
        BridgeCommand::Call(call) => one(Kind::Call, &call.link, &call.session),
        BridgeCommand::Run(run) => {
            let (links, addresses) = file::read(&run.file)?;
            carry(links, with_arguments(addresses, &run.session))
        }
        BridgeCommand::Status(arguments) => status::print(arguments).map(|()| Finished::Done),
    }
}

/// What the command line says goes before what a file says.
fn with_arguments(file: Addresses, arguments: &SessionArguments) -> Addresses {
    let or = |given: &[String], file| if given.is_empty() { file } else { given.to_vec() };
    Addresses {
        connect: or(&arguments.connect, file.connect),
        listen: or(&arguments.listen, file.listen),
        config: arguments.config.clone().or(file.config),
    }
}

/// Runs the links until all have come to an end.
fn carry(links: Vec<LinkOptions>, addresses: Addresses) -> Result<Finished, Failure> {
    let endings = Endings::watch(Peer::None)?;
    log::begin();
    let Some(opened) = session::open(&addresses, &endings)? else {
        return Ok(endings.ended().map_or(Finished::Done, Finished::Ended));
    };
    let (session, longest) = (opened.session, opened.longest);
    let (told, results) = mpsc::channel();
    let mut shown = Vec::new();
    for options in links {
        let figures = Arc::new(Figures::new(options.span()));
        shown.push((options.clone(), figures.clone()));
        let (session, endings) = (session.clone(), endings.clone());
        let link = Link { options, session, longest, endings, figures };
        let told = told.clone();
        thread::Builder::new().name(link.options.kind.to_string()).spawn(move || {
            let result = link.figures.span.in_scope(|| run_link(&link));
            let _ = told.send((link.to_string(), result));
        })?;
    }
    drop(told);
    let only = shown.len() == 1;
    let status = status::serve(shown);
    if let Err(error) = &status {
        crate::note(&format!("`bridge status` does not see this bridge: {error}"));
    }
    let mut first = None;
    for (link, result) in results {
        if let Err(failure) = result {
            if !only {
                crate::complain(&Failure::failed(format!("{link}: {failure}")));
            }
            first.get_or_insert(failure);
        }
    }
    drop(status);
    close(session);
    match (first, endings.ended()) {
        // The only one is what the command is about: its failure is the command's.
        (Some(failure), _) if only => Err(failure),
        // What was told long before is not what ended it.
        (_, Some(ending)) => Ok(Finished::Ended(ending)),
        (Some(failure), None) => Ok(Finished::With(failure.code())),
        (None, None) => Ok(Finished::Done),
    }
}

/// What a link's thread does.
fn run_link(link: &Link) -> Result<(), Failure> {
    info!(target: TARGET, "starts");
    let result = match link.options.kind {
        Kind::Out => outgoing::run(link),
        Kind::In => incoming::run(link),
        Kind::Serve => serve::run(link),
        Kind::Call => call::run(link),
    };
    match &result {
        Ok(()) => info!(target: TARGET, why = "a signal", "ended"),
        Err(failure) => {
            error!(target: TARGET, why = %failure, "ended");
            link.figures.ended(&failure.to_string());
        }
    }
    result
}

/// Has others told that the session ends, as far as that is done at once.
fn close(session: zenoh::Session) {
    let (told, closed) = mpsc::channel();
    let closing = thread::Builder::new().spawn(move || {
        let _ = told.send(session.close().wait());
    });
    if closing.is_ok() {
        let _ = closed.recv_timeout(CLOSING);
    }
}
