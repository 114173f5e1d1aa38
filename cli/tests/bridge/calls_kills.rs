//! Servers, clients and bridges that are killed: each call ends with its reply or an error that is true.

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sysv_channel::rpc::{CallError, Client, Server, ServerOptions};

use crate::calls::{LONG, options};
use crate::cuts::Network;
use crate::pair::{Pair, address};
use crate::stage::until;

/// A process of its own, killed if the test ends before it.
struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

const ROLE: &str = "BRIDGE_TEST_ROLE";

impl Program {
    fn start(role: &str, name: &str) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", "calls_kills::program", "--nocapture"])
            .env(ROLE, format!("{role}/{name}"));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Program { child, lines }
    }

    /// Waits until it says this.
    fn says(&mut self, words: &str) {
        loop {
            let line = self.lines.next().expect("it is alive").unwrap();
            // The test harness says something before it.
            if line.ends_with(words) {
                return;
            }
        }
    }

    fn kill(&mut self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What this binary is when it is started as a [`Program`].
#[test]
fn program() {
    let Ok(role) = env::var(ROLE) else { return };
    let (role, name) = role.split_once('/').unwrap();
    match role {
        "adds one" => {
            let server: Server<u32, u32> = ServerOptions::new().stand_by(name, LONG).unwrap();
            println!("bound");
            server.serve(|number| number + 1).unwrap();
        }
        "takes one" => {
            let server: Server<u32, u32> = ServerOptions::new().stand_by(name, LONG).unwrap();
            println!("bound");
            let _request = server.recv().unwrap();
            println!("received");
            loop {
                thread::park();
            }
        }
        "waits" => {
            let client: Client<u32, u32> = options().connect(name).unwrap();
            let _call = client.call(&1);
        }
        _ => unreachable!(),
    }
}

#[test]
fn the_death_of_the_server_there_is_told_with_what_it_had_received() {
    let pair = Pair::new("bridge server dies");
    let mut server = Program::start("takes one", pair.there.name());
    let _bridges = [pair.serve(), pair.call()];
    let client: Client<u32, u32> = options().connect(pair.here.name()).unwrap();
    let first = client.start(&1).unwrap();
    server.says("received");
    let second = client.start(&2).unwrap();
    let stream = client.stream(&3).unwrap();
    // The requests stand before the server, which will not receive them.
    until(|| {
        let lanes = sysv_channel::inspect(pair.there.name()).unwrap().lanes;
        lanes.iter().map(|lane| lane.waiting_values).sum::<u64>() == 2
    });
    server.kill();
    let outcome = first.wait();
    assert!(matches!(outcome, Err(CallError::ServerDied { received: true, .. })), "{outcome:?}");
    let outcome = second.wait();
    assert!(matches!(outcome, Err(CallError::ServerDied { received: false, .. })), "{outcome:?}");
    let outcome = { stream }.next().unwrap();
    assert!(matches!(outcome, Err(CallError::ServerDied { received: false, .. })), "{outcome:?}");
    // The next one has the next calls, and the same client.
    let mut next = Program::start("adds one", pair.there.name());
    next.says("bound");
    assert_eq!(call_again(&client, 4).unwrap(), 5);
}

/// Calls until it is not told that no server had the request: where one has just gone, the next is not waited for.
fn call_again(client: &Client<u32, u32>, request: u32) -> Result<u32, CallError> {
    loop {
        match client.call(&request) {
            Err(CallError::ServerDied { received: false, .. }) => thread::yield_now(),
            outcome => return outcome,
        }
    }
}

#[test]
fn the_death_of_the_bridge_there_is_told_as_what_cannot_be_known() {
    let pair = Pair::new("bridge call dies");
    let server = Server::<u32, u32>::bind(pair.there.name()).unwrap();
    let (serve, mut call) = (pair.serve(), Some(pair.call()));
    let client: Client<u32, u32> = options().connect(pair.here.name()).unwrap();
    let started = client.start(&1).unwrap();
    let request = server.recv().unwrap().unwrap();
    drop(call.take());
    let outcome = started.wait();
    assert!(matches!(outcome, Err(CallError::ServerDied { received: true, .. })), "{outcome:?}");
    until(|| request.is_cancelled());
    serve.says("`bridge call` has gone");
    // Without a bridge no call is received.
    let late = client.call_timeout(&2, Duration::from_millis(50));
    let is_true = |error: &CallError| {
        let (CallError::Timeout { received, .. } | CallError::ServerDied { received, .. }) = error
        else {
            return false;
        };
        !received
    };
    assert!(late.as_ref().is_err_and(is_true), "{late:?}");
    let _call = pair.call();
    let calling = thread::spawn(move || call_again(&client, 3));
    let request = server.recv().unwrap().unwrap();
    assert_eq!(*request.query(), 3);
    request.reply(&4).unwrap();
    assert_eq!(calling.join().unwrap().unwrap(), 4);
}

#[test]
fn the_death_of_the_bridge_here_cancels_its_calls() {
    let pair = Pair::new("bridge serve dies");
    let server = Server::<u32, u32>::bind(pair.there.name()).unwrap();
    let (mut serve, _call) = (Some(pair.serve()), pair.call());
    let client: Client<u32, u32> = options().connect(pair.here.name()).unwrap();
    let started = client.start(&1).unwrap();
    let request = server.recv().unwrap().unwrap();
    drop(serve.take());
    let outcome = started.wait();
    assert!(matches!(outcome, Err(CallError::ServerDied { received: true, .. })), "{outcome:?}");
    until(|| request.is_cancelled());
    let _serve = pair.serve();
    let calling = thread::spawn(move || call_again(&client, 3));
    server.recv().unwrap().unwrap().reply(&4).unwrap();
    assert_eq!(calling.join().unwrap().unwrap(), 4);
}

#[test]
fn the_death_of_a_client_cancels_its_calls() {
    let pair = Pair::new("bridge client dies");
    let server = Server::<u32, u32>::bind(pair.there.name()).unwrap();
    let _bridges = [pair.serve(), pair.call()];
    let mut client = Program::start("waits", pair.here.name());
    let request = server.recv().unwrap().unwrap();
    assert!(!request.is_cancelled());
    client.kill();
    until(|| request.is_cancelled());
}

#[test]
fn callers_are_told_when_the_network_is_cut_and_call_again_when_it_is_back() {
    let pair = Pair::new("bridge calls cut");
    let server = Server::<u32, u32>::bind(pair.there.name()).unwrap();
    let near = address("tcp");
    let network = Network::between(&near, &pair.address);
    let _call = pair.call();
    let _serve = pair.bridge(&["serve", pair.here.name(), "--key", &pair.key, "--connect", &near]);
    let client: Client<u32, u32> = options().connect(pair.here.name()).unwrap();
    for round in 0..5 {
        let call = client.start(&round).unwrap();
        let mut stream = client.stream(&round).unwrap();
        // Two that are under way at a time come in any order.
        let two = [(), ()].map(|()| server.recv().unwrap().unwrap().into_parts().1);
        let (streams, calls): (Vec<_>, Vec<_>) =
            two.into_iter().partition(|responder| responder.is_stream());
        let [mut responder] = <[_; 1]>::try_from(streams).unwrap();
        let [request] = <[_; 1]>::try_from(calls).unwrap();
        responder.part(&7).unwrap();
        assert_eq!(stream.next().unwrap().unwrap(), 7);
        network.cut();
        let outcome = call.wait();
        assert!(
            matches!(outcome, Err(CallError::ServerDied { received: true, .. })),
            "{outcome:?}"
        );
        let outcome = stream.next().unwrap();
        assert!(
            matches!(outcome, Err(CallError::ServerDied { received: true, .. })),
            "{outcome:?}"
        );
        until(|| request.is_cancelled() && responder.is_cancelled());
        network.restore();
        let own = client.try_clone().unwrap();
        let calling = thread::spawn(move || call_again(&own, round + 100));
        let request = server.recv().unwrap().unwrap();
        assert_eq!(*request.query(), round + 100);
        request.reply(&1).unwrap();
        assert_eq!(calling.join().unwrap().unwrap(), 1);
    }
}

#[test]
fn calls_that_may_be_repeated_survive_any_of_the_processes() {
    let pair = Pair::new("bridge repeated");
    let mut server = Program::start("adds one", pair.there.name());
    let (mut serve, mut call) = (Some(pair.serve()), Some(pair.call()));
    let client: Client<u32, u32> = options().repeatable().connect(pair.here.name()).unwrap();
    assert_eq!(client.call(&1).unwrap(), 2);
    for round in 0..3 {
        server.kill();
        server = Program::start("adds one", pair.there.name());
        assert_eq!(client.call(&(round + 10)).unwrap(), round + 11);
        drop(call.take());
        call = Some(pair.call());
        assert_eq!(client.call(&(round + 20)).unwrap(), round + 21);
        drop(serve.take());
        serve = Some(pair.serve());
        assert_eq!(client.call(&(round + 30)).unwrap(), round + 31);
    }
}

/// What a caller was told of each call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Replied,
    MayHave,
    Never,
}

#[test]
fn each_call_is_executed_once_at_most_and_ends_with_what_is_true() {
    let pair = Pair::new("bridge calls killed");
    let executed = Mutex::new(HashMap::<u64, u32>::new());
    let server = Server::<u64, u64>::bind(pair.there.name()).unwrap();
    let closer = server.closer();
    const CALLERS: u64 = 8;
    let (done, made) = (AtomicBool::new(false), AtomicU64::new(0));
    let told = Mutex::new(HashMap::<u64, Told>::new());
    thread::scope(|scope| {
        let executed = &executed;
        let serving = scope.spawn(move || {
            server.serve_concurrently(4, |number| {
                *executed.lock().unwrap().entry(number).or_default() += 1;
                // Some take longer than others.
                (0..number % 40 * 500).for_each(|_| std::hint::spin_loop());
                number * 3
            })
        });
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (done, made, told, name) = (&done, &made, &told, pair.here.name());
                scope.spawn(move || {
                    let mut client: Option<Client<u64, u64>> = None;
                    for number in 0.. {
                        if done.load(Ordering::Relaxed) {
                            return;
                        }
                        // Where no client keeps the server's channel it may be gone for a while.
                        let client = match &client {
                            Some(client) => client,
                            None => client.insert(options().connect(name).unwrap()),
                        };
                        let call = number * CALLERS + caller;
                        let outcome = match client.call_timeout(&call, Duration::from_secs(30)) {
                            Ok(reply) => {
                                assert_eq!(reply, call * 3);
                                Told::Replied
                            }
                            Err(
                                CallError::ServerDied { received, .. }
                                | CallError::Timeout { received, .. },
                            ) => {
                                if received {
                                    Told::MayHave
                                } else {
                                    Told::Never
                                }
                            }
                            Err(error) => panic!("{error}"),
                        };
                        told.lock().unwrap().insert(call, outcome);
                        match outcome {
                            Told::Replied => drop(made.fetch_add(1, Ordering::Relaxed)),
                            // A server that was killed is not waited for.
                            Told::MayHave | Told::Never => thread::yield_now(),
                        }
                    }
                })
            })
            .collect();
        let (mut serve, mut call) = (Some(pair.serve()), Some(pair.call()));
        let mut random = u64::from(std::process::id()) | 1;
        for _ in 0..15 {
            // Marsaglia's xorshift: any moment will do.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let enough = made.load(Ordering::Relaxed) + 30 + random % 50;
            until(|| {
                assert!(!callers.iter().any(|caller| caller.is_finished()));
                made.load(Ordering::Relaxed) >= enough
            });
            if random & 0x100 != 0 {
                drop(serve.take());
                serve = Some(pair.serve());
            }
            if random & 0x300 != 0x100 {
                drop(call.take());
                call = Some(pair.call());
            }
        }
        done.store(true, Ordering::Relaxed);
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        closer.close();
        serving.join().unwrap().unwrap();
    });
    let (executed, told) = (executed.into_inner().unwrap(), told.into_inner().unwrap());
    for (call, outcome) in &told {
        let times = executed.get(call).copied().unwrap_or(0);
        match outcome {
            Told::Replied => assert_eq!(times, 1, "call {call}"),
            Told::MayHave => assert!(times <= 1, "call {call}: {times}"),
            Told::Never => assert_eq!(times, 0, "call {call}"),
        }
    }
    let count = |what| told.values().filter(|&&told| told == what).count();
    println!(
        "{} calls: {} replied, {} may have been executed, {} never",
        told.len(),
        count(Told::Replied),
        count(Told::MayHave),
        count(Told::Never)
    );
    assert!(count(Told::Replied) > 300);
}
