//! Which process asks, and which clients have gone.

#![cfg(not(loom))]

mod common;

use std::collections::{HashMap, HashSet};
use std::os::unix::process::CommandExt;
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use common::kernel::{self, has_ended, is_asleep};
use common::{Child, Stage, at_any_moment, halt, listen, play, random, say, until};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Uid, geteuid, setresuid};
use serde::{Deserialize, Serialize};
use sysv_channel::actor::{Address, Mailbox, ReplyTo};
use sysv_channel::rpc::{
    Client, ClientId, ClientOptions, Event, Peer, Request, Server, ServerOptions,
};
use sysv_channel::{DefaultCodec, Owner};

/// A user that no process of this machine is.
const USER: u32 = 54321;

#[derive(Serialize, Deserialize)]
struct Question(ReplyTo<u64>);

/// The parts that this binary plays when it is started as a child.
#[test]
fn child() {
    play(|role, arguments| {
        let name = arguments[0];
        let client = || Client::<u64, u64>::connect(name).unwrap();
        match role {
            "calls" => {
                let client = client();
                for number in 0..arguments[1].parse().unwrap() {
                    let _ = client.call(&number);
                }
                halt("called");
            }
            "calls as another" => {
                let client = ClientOptions::new()
                    .owner(Owner::Anyone)
                    .connect::<u64, u64, DefaultCodec>(name);
                client.unwrap().call(&1).unwrap();
            }
            "calls for ever" => {
                let client = client();
                say("connected");
                for number in 0.. {
                    client.call(&number).unwrap();
                }
            }
            "calls and is of two users" => {
                let client = client();
                say(client.call(&1).unwrap());
                let user = Uid::from_raw(USER);
                setresuid(user, geteuid(), geteuid()).unwrap();
                say(client.call(&2).unwrap());
            }
            "starts a call and executes another program" => {
                let client = client();
                let request = 1;
                let _call = client.start_timeout(&request, Duration::from_secs(1000)).unwrap();
                let error = Command::new("sleep").arg("1000").exec();
                panic!("{error}");
            }
            "starts a call and takes its time" => {
                let client = client();
                let request = 1;
                let call = client.start_timeout(&request, Duration::from_secs(1000)).unwrap();
                say("started");
                listen();
                drop(call);
                drop(client);
                halt("dropped");
            }
            "calls and serves from another pid namespace" => {
                if !kernel::unshare_pids() {
                    return say("skipped");
                }
                let inside = kernel::forked(|| {
                    assert_eq!(std::process::id(), 1);
                    say(client().call(&1).unwrap());
                    let server = Server::<u64, u64>::bind(format!("{name} inside")).unwrap();
                    // The numbers of this namespace are not those of procfs.
                    let own = thread::spawn({
                        let own = Client::<u64, u64>::connect(format!("{name} inside")).unwrap();
                        move || own.call(&0)
                    });
                    let request = server.recv().unwrap().unwrap();
                    let peer = request.client().unwrap();
                    assert_eq!((peer.pid(), peer.uid()), (1, None));
                    request.reply(&0).unwrap();
                    own.join().unwrap().unwrap();
                    say("bound");
                    let request = server.recv().unwrap().unwrap();
                    assert_eq!(request.client(), None, "this namespace has no number for it");
                    request.reply(&0).unwrap();
                });
                assert_eq!(waitpid(inside, None), Ok(WaitStatus::Exited(inside, 0)));
            }
            "asks" => {
                let address = Address::<Question>::connect(name).unwrap();
                let _ = address.ask_timeout(Question, Duration::from_secs(1000));
            }
            "answers what is passed on" => {
                let mailbox = Mailbox::<Question>::bind(format!("{name} away")).unwrap();
                say("bound");
                let Question(reply) = mailbox.recv().unwrap().unwrap();
                say(reply.asker().unwrap().pid());
                assert!(!reply.is_cancelled());
                assert!(reply.remaining().unwrap() > Duration::from_secs(500));
                say("asked");
                listen();
                say(reply.is_cancelled());
                say(reply.asker().is_none());
            }
            _ => unreachable!("no such role: {role}"),
        }
    });
}

fn server(stage: &Stage) -> Server<u64, u64> {
    Server::bind(stage.name()).unwrap()
}

fn next_request(server: &Server<u64, u64>) -> Request<u64, u64> {
    match server.next_event().unwrap().unwrap() {
        Event::Request(request) => request,
        Event::ClientGone(client) => panic!("{client:?} is gone"),
    }
}

fn next_gone(server: &Server<u64, u64>) -> ClientId {
    match server.next_event().unwrap().unwrap() {
        Event::Request(request) => panic!("{request:?}"),
        Event::ClientGone(client) => client,
    }
}

fn me() -> Option<u32> {
    Some(geteuid().as_raw())
}

#[test]
fn a_client_is_the_process_that_made_the_call() {
    let stage = Stage::new("client");
    let server = server(&stage);
    let mut clients: Vec<Child> = (0..3).map(|_| stage.child("calls", &["2"])).collect();
    let mut calls = HashMap::new();
    for _ in 0..6 {
        let request = server.recv().unwrap().unwrap();
        let peer = request.client().unwrap();
        assert_eq!(peer.uid(), me());
        assert_eq!(calls.entry(peer.pid()).or_insert(request.client_id()), &request.client_id());
        assert!(!request.is_cancelled());
        assert!(request.remaining().unwrap() <= Duration::from_secs(10));
        request.reply(&0).unwrap();
    }
    assert_eq!(calls.values().collect::<HashSet<_>>().len(), 3);
    for client in &mut clients {
        client.expect("called");
        assert!(calls.contains_key(&client.id()));
    }
}

#[test]
fn a_client_that_is_gone_is_no_process_whoever_has_its_place() {
    let stage = Stage::new("client gone");
    let server: Server<u64, u64> = ServerOptions::new().clients(1).bind(stage.name()).unwrap();
    let mut client = stage.child("starts a call and takes its time", &[]);
    client.expect("started");
    let request = server.recv().unwrap().unwrap();
    let (pid, id) = (client.id(), request.client_id());
    assert_eq!(request.client().unwrap().pid(), pid);
    client.kill();
    assert_eq!(request.client(), None);
    assert!(request.is_cancelled());
    let next = Client::<u64, u64>::connect(stage.name()).unwrap();
    assert_eq!(request.client(), None);
    let calling = thread::spawn(move || next.call(&1));
    let (other, responder) = server.recv().unwrap().unwrap().into_parts();
    assert_eq!(responder.client().unwrap().pid(), std::process::id());
    assert_ne!(responder.client_id(), id);
    responder.reply(&other).unwrap();
    calling.join().unwrap().unwrap();
}

#[test]
fn a_client_that_drops_its_connection_is_no_process() {
    let stage = Stage::new("client dropped");
    let server = server(&stage);
    let mut client = stage.child("starts a call and takes its time", &[]);
    client.expect("started");
    let request = next_request(&server);
    assert_eq!(request.client().unwrap().pid(), client.id());
    client.tell("drop it");
    client.expect("dropped");
    assert_eq!(request.client(), None);
    assert_eq!(next_gone(&server), request.client_id());
}

#[test]
fn a_client_that_executes_another_program_is_the_same_process() {
    let stage = Stage::new("client executes");
    let server = server(&stage);
    let client = stage.child("starts a call and executes another program", &[]);
    let request = next_request(&server);
    until(|| {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", client.id())).unwrap();
        name == "sleep\n"
    });
    assert_eq!(request.client().unwrap().pid(), client.id());
    assert!(!request.is_cancelled());
    client.kill();
    assert_eq!(next_gone(&server), request.client_id());
}

#[test]
fn a_client_of_another_user_is_told_as_such_and_one_of_two_users_as_none() {
    if !geteuid().is_root() {
        return println!("skipped: only root can be other users");
    }
    let stage = Stage::new("client's user");
    let options = ServerOptions::new().mode(0o666).owner(Owner::Anyone);
    let server: Server<u64, u64> = options.bind(stage.name()).unwrap();
    let _client = stage.child_of(USER, "calls as another", &[]);
    let mut of_two = stage.child("calls and is of two users", &[]);
    let mut users = Vec::new();
    for _ in 0..3 {
        let request = server.recv().unwrap().unwrap();
        users.push(request.client().unwrap().uid());
        request.reply(&7).unwrap();
    }
    of_two.expect("7");
    of_two.expect("7");
    users.sort();
    assert_eq!(users, [None, Some(0), Some(USER)]);
}

#[test]
fn a_client_in_another_pid_namespace_has_the_number_of_this_one_or_none() {
    let stage = Stage::new("client's namespace");
    let server = server(&stage);
    let mut outer = stage.child("calls and serves from another pid namespace", &[]);
    let serving = thread::spawn(move || {
        let request = server.recv().unwrap()?;
        let peer = request.client();
        request.reply(&5).unwrap();
        peer
    });
    if let "skipped" = &outer.hear()[..] {
        Client::<u64, u64>::connect(stage.name()).unwrap().call(&0).unwrap();
        serving.join().unwrap();
        return println!("skipped: only root can make a pid namespace");
    }
    let peer = serving.join().unwrap().unwrap();
    assert!(peer.pid() != 1 && peer.pid() != outer.id(), "{peer:?}");
    assert_eq!(peer.uid(), me());
    outer.expect("bound");
    let inner = Client::<u64, u64>::connect(format!("{} inside", stage.name())).unwrap();
    inner.call(&1).unwrap();
    outer.finish();
}

/// Clients that are killed at any moment, while they call and between calls.
#[test]
fn a_server_is_told_of_each_client_that_goes_once_and_of_nothing_after() {
    let stage = Stage::new("clients go");
    let server: Server<u64, u64> = ServerOptions::new().clients(4).bind(stage.name()).unwrap();
    const CLIENTS: usize = 40;
    let name = stage.name().to_owned();
    let killing = thread::spawn(move || {
        let argument = "connected";
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..CLIENTS / 4 {
                        let mut client = Child::start("calls for ever", &[&name], |_| {});
                        client.expect(argument);
                        at_any_moment(3000);
                        if random(2) == 0 {
                            client.stop();
                            at_any_moment(500);
                        }
                        client.kill();
                    }
                });
            }
        });
        Client::<u64, u64>::connect(name).unwrap().call(&u64::MAX).unwrap();
    });
    let (mut there, mut gone) = (HashMap::<ClientId, u64>::new(), HashSet::new());
    let mut last = None;
    while last.is_none() || !there.is_empty() {
        match server.next_event().unwrap().unwrap() {
            Event::Request(request) => {
                let client = request.client_id();
                assert!(!gone.contains(&client), "{client:?} is back");
                let expected = there.entry(client).or_insert(0);
                if *request.query() == u64::MAX {
                    last = Some(client);
                } else {
                    assert_eq!(request.query(), expected);
                    *expected += 1;
                }
                let _ = request.reply(&0);
            }
            Event::ClientGone(client) => {
                assert!(there.remove(&client).is_some(), "{client:?} is not known");
                assert!(gone.insert(client), "{client:?} went twice");
            }
        }
    }
    killing.join().unwrap();
    assert!(gone.len() > 1 && gone.len() <= CLIENTS + 1, "{}", gone.len());
}

#[test]
fn a_server_that_is_busy_all_the_time_hears_of_a_client_that_goes() {
    let stage = Stage::new("busy");
    let server = server(&stage);
    let mut one = stage.child("calls", &["1"]);
    let request = next_request(&server);
    let id = request.client_id();
    request.reply(&0).unwrap();
    one.expect("called");
    let mut busy: Vec<Child> = (0..2).map(|_| stage.child("calls for ever", &[])).collect();
    busy.iter_mut().for_each(|client| client.expect("connected"));
    let mut one = Some(one);
    for served in 0.. {
        match server.next_event().unwrap().unwrap() {
            Event::Request(request) => request.reply(&0).unwrap(),
            Event::ClientGone(client) => {
                assert_eq!(client, id);
                break;
            }
        }
        if served == 100 {
            one.take().unwrap().kill();
        }
    }
}

#[test]
fn a_server_that_polls_or_waits_for_a_time_hears_of_a_client_that_goes() {
    let stage = Stage::new("polls");
    let server = server(&stage);
    for polls in [true, false] {
        let mut client = stage.child("calls", &["1"]);
        let request = next_request(&server);
        let id = request.client_id();
        request.reply(&0).unwrap();
        client.expect("called");
        assert!(server.try_next_event().unwrap_err().is_empty());
        assert!(server.next_event_timeout(Duration::from_millis(5)).unwrap_err().is_timeout());
        client.kill();
        let gone = loop {
            let event = match polls {
                true => server.try_next_event(),
                false => server.next_event_timeout(Duration::from_secs(100)),
            };
            match event {
                Ok(Some(Event::ClientGone(client))) => break client,
                Err(error) if polls && error.is_empty() => {}
                event => panic!("{event:?}"),
            }
        };
        assert_eq!(gone, id);
    }
}

#[test]
fn a_client_whose_place_another_has_at_once_is_told_of() {
    let stage = Stage::new("place taken");
    let server: Server<u64, u64> = ServerOptions::new().clients(1).bind(stage.name()).unwrap();
    for _ in 0..30 {
        let mut client = stage.child("calls", &["1"]);
        let request = next_request(&server);
        let id = request.client_id();
        request.reply(&0).unwrap();
        client.expect("called");
        let name = stage.name().to_owned();
        let next = thread::spawn(move || {
            client.kill();
            let next = Client::<u64, u64>::connect(name).unwrap();
            thread::park();
            next
        });
        assert_eq!(next_gone(&server), id);
        next.thread().unpark();
        drop(next.join().unwrap());
    }
}

/// Polls a future whenever it is woken, on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn a_task_hears_of_clients_that_go_and_so_does_a_thread_after_it() {
    let stage = Stage::new("task");
    let mut server = server(&stage);
    for in_task in [true, false, true, false] {
        let mut client = stage.child("calls", &["1"]);
        let event = block_on(server.next_event_async()).unwrap();
        let Some(Event::Request(request)) = event else { panic!("{event:?}") };
        let id = request.client_id();
        request.reply(&0).unwrap();
        client.expect("called");
        let main = nix::unistd::gettid();
        let killing = thread::spawn(move || {
            until(|| is_asleep(main));
            client.kill();
        });
        let gone = match in_task {
            true => block_on(server.next_event_async()).unwrap(),
            false => server.next_event().unwrap(),
        };
        assert!(matches!(gone, Some(Event::ClientGone(client)) if client == id), "{gone:?}");
        killing.join().unwrap();
    }
}

#[test]
fn a_server_that_is_closed_tells_of_nothing_more() {
    let stage = Stage::new("closed");
    let server = server(&stage);
    let client = stage.child("calls", &["1"]);
    drop(next_request(&server));
    client.kill();
    server.closer().close();
    assert!(server.next_event().unwrap().is_none());
}

#[test]
fn an_asker_is_the_process_that_asked_wherever_its_port_has_travelled() {
    let stage = Stage::new("asker");
    let mailbox = Mailbox::<Question>::bind(stage.name()).unwrap();
    let mut holder = stage.child("answers what is passed on", &[]);
    holder.expect("bound");
    let asker = stage.child("asks", &[]);
    let question = mailbox.recv().unwrap().unwrap();
    let peer: Peer = question.0.asker().unwrap();
    assert_eq!((peer.pid(), peer.uid()), (asker.id(), me()));
    assert!(!question.0.is_cancelled());
    assert!(question.0.remaining().unwrap() > Duration::from_secs(500));
    let away = Address::<Question>::connect(format!("{} away", stage.name())).unwrap();
    away.tell(&question).unwrap();
    assert_eq!(question.0.asker(), None, "it was passed on");
    assert_eq!(holder.hear(), asker.id().to_string());
    holder.expect("asked");
    asker.kill();
    holder.tell("look");
    holder.expect("true");
    holder.expect("true");
}

#[test]
fn an_asker_that_asks_something_else_or_is_killed_waits_no_more() {
    let stage = Stage::new("asks again");
    let mailbox = Mailbox::<Question>::bind(stage.name()).unwrap();
    let address = Address::<Question>::connect(stage.name()).unwrap();
    let ask = |timeout| address.ask_timeout(Question, timeout).unwrap_err();
    assert!(ask(Duration::from_millis(1)).is_timeout());
    let Question(late) = mailbox.recv().unwrap().unwrap();
    assert!(late.is_cancelled());
    assert_eq!(late.asker().unwrap().pid(), std::process::id());
    let asker = stage.child("asks", &[]);
    let Question(killed) = mailbox.recv().unwrap().unwrap();
    let process = asker.id();
    until(|| is_asleep(process) || has_ended(process));
    assert!(!killed.is_cancelled());
    asker.kill();
    assert!(killed.is_cancelled());
    assert_eq!(killed.asker(), None);
}
