//! Many clients of one server, and what those that are slow, stopped or dead cost it: nothing.
//!
//! `CLIENTS=100000 cargo test --test isolation come_call_once` has so many come and go.

#![cfg(not(loom))]

mod common;

use std::mem;
use std::time::{Duration, Instant};

use common::kernel::{Footprint, forked};
use common::{Child, Stage, at_any_moment, halt, listen, play, random, say, until};
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use serde::{Deserialize, Serialize};
use sysv_channel::codec::Bytes;
use sysv_channel::rpc::{Client, ClientOptions, ConnectError, Pending, Server, ServerOptions};

/// Asks for as many bytes, each of them the number.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
struct Want {
    number: u64,
    len: usize,
}

type Store = Server<Want, (u64, Bytes)>;
type Caller = Client<Want, (u64, Bytes)>;

/// Longer than a test may take: what ends a call is what its caller is told.
const FOR_EVER: Duration = Duration::from_secs(1000);

fn connect(name: &str) -> Result<Caller, ConnectError> {
    ClientOptions::new().deadline(FOR_EVER).connect(name)
}

fn check(number: u64, len: usize, reply: (u64, Bytes)) {
    assert_eq!((reply.0, reply.1.len()), (number, len));
    assert!(reply.1.iter().all(|&byte| byte == number as u8), "{number}: torn");
}

fn call(client: &Caller, number: u64, len: usize) {
    check(number, len, client.call(&Want { number, len }).unwrap());
}

/// The parts that this binary plays when it is started as a child.
#[test]
fn child() {
    play(|role, arguments| {
        let name = arguments[0];
        let number = |at: usize| arguments[at].parse::<usize>().unwrap();
        match role {
            "server" => {
                let options = ServerOptions::new().clients(number(1)).capacity(4096);
                let options = options.reply_capacity(4096).max_value(1 << 20);
                let server: Store = options.bind(name).unwrap();
                say("bound");
                let give = |want: Want| (want.number, vec![want.number as u8; want.len].into());
                server.serve(give).unwrap();
            }
            "clients" => {
                let clients: Vec<_> = (0..number(1)).map(|_| connect(name).unwrap()).collect();
                say("connected");
                while listen() == "call" {
                    call_all(&clients);
                    say("called");
                }
            }
            "calls on" => {
                let client = connect(name).unwrap();
                for number in 0.. {
                    call(&client, number, 100);
                    say(number);
                }
            }
            "takes nothing" => {
                let client = connect(name).unwrap();
                let want = Want { number: 7, len: number(1) };
                // More than there is room for.
                let _pending: Vec<_> = (0..30).map(|_| client.start(&want).unwrap()).collect();
                halt("started");
            }
            "takes long replies" => {
                let client = connect(name).unwrap();
                say("connected");
                for round in 0.. {
                    call(&client, round, number(1));
                }
            }
            "floods" => {
                let client = connect(name).unwrap();
                let (calls, len) = (number(1), number(2));
                for number in 0..calls as u64 {
                    let want = Want { number, len };
                    // Nobody takes the replies. A request that finds no room is another's turn.
                    if let Ok(pending) = client.start_timeout(&want, FOR_EVER) {
                        mem::forget(pending);
                    }
                }
                halt("flooded");
            }
            "nursery" => {
                visit(name, number(1) as u64);
                say("gone");
            }
            _ => unreachable!("no such role: {role}"),
        }
    });
}

/// Has every client call once, all at the same time.
fn call_all(clients: &[Caller]) {
    let want = |at: usize| Want { number: at as u64, len: at % 50 };
    let wants: Vec<Want> = (0..clients.len()).map(want).collect();
    let pending: Vec<Pending<_, _>> =
        clients.iter().zip(&wants).map(|(client, want)| client.start(want).unwrap()).collect();
    for (pending, want) in pending.into_iter().zip(&wants) {
        check(want.number, want.len, pending.wait().unwrap());
    }
}

fn server(stage: &Stage, clients: usize) -> Child {
    let mut server = Child::start("server", &[stage.name(), &clients.to_string()], |command| {
        // The kernel has a long reply's memory back as soon as it is freed, and counts it so.
        command.env("MALLOC_MMAP_THRESHOLD_", "65536");
    });
    server.expect("bound");
    server
}

#[test]
fn a_thousand_clients_are_served_at_once_and_one_more_is_told_so() {
    let stage = Stage::new("a thousand");
    let _server = server(&stage, 1000);
    let start = |_| stage.child("clients", &["250"]);
    let mut groups: Vec<Child> = (0..4).map(start).collect();
    groups.iter_mut().for_each(|clients| clients.expect("connected"));
    for _ in 0..3 {
        groups.iter_mut().for_each(|clients| clients.tell("call"));
        groups.iter_mut().for_each(|clients| clients.expect("called"));
    }
    let error = connect(stage.name()).unwrap_err();
    assert!(matches!(error, ConnectError::TooManyClients { clients: 1000, .. }), "{error}");
    // A quarter of them dies, and their places are free at once.
    drop(groups.pop());
    let clients: Vec<Caller> = (0..250).map(|_| connect(stage.name()).unwrap()).collect();
    assert!(connect(stage.name()).is_err());
    call_all(&clients);
    groups.iter_mut().for_each(|clients| clients.tell("call"));
    groups.iter_mut().for_each(|clients| clients.expect("called"));
}

#[test]
fn clients_that_are_stopped_stop_no_other() {
    let stage = Stage::new("stopped");
    let _server = server(&stage, 4);
    let mut stopped: Vec<Child> = (0..3).map(|_| stage.child("calls on", &[])).collect();
    let other = connect(stage.name()).unwrap();
    for round in 0..20 {
        let before: Vec<u64> =
            stopped.iter_mut().map(|client| client.hear().parse().unwrap()).collect();
        // At any moment: also in the middle of a call.
        at_any_moment(300);
        stopped.iter().for_each(Child::stop);
        for number in 0..20 {
            call(&other, number, [0, 100, 10_000][round % 3]);
        }
        stopped.iter().for_each(Child::go_on);
        for (client, before) in stopped.iter_mut().zip(before) {
            until(|| client.hear().parse::<u64>().unwrap() > before + 1);
        }
    }
}

#[test]
fn clients_that_never_take_their_replies_stop_no_other() {
    let stage = Stage::new("takes nothing");
    let _server = server(&stage, 3);
    for len in ["10", "1000", "3000", "300000"] {
        let mut idle = stage.child("takes nothing", &[len]);
        idle.expect("started");
        let other = connect(stage.name()).unwrap();
        for number in 0..50 {
            call(&other, number, 100);
        }
        call(&other, 1, 500_000);
    }
}

/// How much more memory a server may have than before, in KiB: the most that it keeps of one
/// client's long replies, those that it makes in this moment, and the allocator's.
const KEPT: u64 = 3 << 10;

#[test]
fn nothing_grows_in_a_server_whose_clients_flood_it_and_take_nothing() {
    let stage = Stage::new("flood");
    let server = server(&stage, 8);
    let other = connect(stage.name()).unwrap();
    // What is made once: also the longest reply that there is.
    call(&other, 1, 1_000_000);
    let before = Footprint::of(server.id());
    for (calls, len) in [("20000", "0"), ("2000", "1500"), ("300", "600000")] {
        let mut flood = stage.child("floods", &[calls, len]);
        flood.expect("flooded");
        call(&other, 2, 0);
        let now = Footprint::of(server.id());
        now.assert_not_above(before, KEPT);
        drop(flood);
    }
}

#[test]
fn a_client_that_is_killed_while_it_takes_a_long_reply_leaves_nothing_at_the_server() {
    let stage = Stage::new("long reply, killed");
    let server = server(&stage, 2);
    let other = connect(stage.name()).unwrap();
    call(&other, 1, 1_000_000);
    let before = Footprint::of(server.id());
    for round in 0..30 {
        let mut client = if round % 3 == 0 {
            // Its reply stands in the ring, and the rest of it waits in the server.
            let mut client = stage.child("takes nothing", &["1000000"]);
            client.expect("started");
            // Whatever was asked before has been answered when the second call is.
            (0..2).for_each(|_| call(&other, round, 10));
            client
        } else {
            stage.child("takes long replies", &["1000000"])
        };
        if round % 3 != 0 {
            client.expect("connected");
            at_any_moment(3000);
        }
        client.kill();
        call(&other, round, 2000);
    }
    // Less than one such reply.
    until(|| Footprint::of(server.id()).memory < before.memory + 900);
    Footprint::of(server.id()).assert_not_above(before, 900);
    // Both places are free.
    drop(other);
    let both: Vec<Caller> = (0..2).map(|_| connect(stage.name()).unwrap()).collect();
    call_all(&both);
}

/// Has so many clients come and go, each in a process of its own, one after another: a quarter by
/// themselves, the others killed after their call, in its middle, and at any moment.
fn visit(name: &str, clients: u64) {
    for number in 0..clients {
        let visitor = forked(|| {
            let client = connect(name).unwrap();
            let want = Want { number, len: (number % 50) as usize };
            match number % 4 {
                0 => check(number, want.len, client.call(&want).unwrap()),
                1 => {
                    check(number, want.len, client.call(&want).unwrap());
                    raise(Signal::SIGKILL).unwrap();
                }
                2 => {
                    let _pending = client.start(&want).unwrap();
                    raise(Signal::SIGKILL).unwrap();
                }
                _ => loop {
                    call(&client, number, if number % 8 == 3 { 20_000 } else { 10 });
                },
            }
        });
        if number % 4 == 3 {
            let end = Instant::now() + Duration::from_micros(random(2000));
            while Instant::now() < end {}
            kill(visitor, Signal::SIGKILL).unwrap();
        }
        match waitpid(visitor, None).unwrap() {
            WaitStatus::Exited(_, 0) => assert_eq!(number % 4, 0),
            WaitStatus::Signaled(_, Signal::SIGKILL, _) => assert_ne!(number % 4, 0),
            other => panic!("client {number}: {other:?}"),
        }
    }
}

#[test]
fn clients_that_come_call_once_and_go_or_are_killed_leave_nothing() {
    let clients: u64 = std::env::var("CLIENTS").map_or(2000, |clients| clients.parse().unwrap());
    let stage = Stage::new("come and go");
    let server = server(&stage, 8);
    let visitors = |clients: u64| {
        // Two at a time.
        let part = clients.div_ceil(2).to_string();
        let nurseries = [&part, &part].map(|part| stage.child("nursery", &[part]));
        nurseries.into_iter().for_each(|nursery| assert_eq!(nursery.finish(), ["gone"]));
        stage.goes_on();
    };
    // What is made once.
    visitors(100);
    let (before, objects) = (Footprint::of(server.id()), stage.objects());
    let start = Instant::now();
    for gone in (0..clients).step_by(5000) {
        visitors((clients - gone).min(5000));
    }
    let after = Footprint::of(server.id());
    println!(
        "{clients} clients in {:.1} s, three quarters of them killed; the server before: \
         {before:?}, and after: {after:?}",
        start.elapsed().as_secs_f64()
    );
    after.assert_not_above(before, 256);
    assert_eq!(stage.objects(), objects);
    // Every place is free.
    let all: Vec<Caller> = (0..8).map(|_| connect(stage.name()).unwrap()).collect();
    assert!(matches!(connect(stage.name()), Err(ConnectError::TooManyClients { clients: 8, .. })));
    call_all(&all);
    drop(all);
    server.kill();
    // Nobody uses it any more, and it holds no request.
    sysv_channel::sweep().unwrap();
    assert_eq!(stage.objects(), []);
}
