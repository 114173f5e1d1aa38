//! How long a call takes over the bridge, beside a query of bare zenoh and a call without a bridge, over loopback:
//! `cargo bench -p sysv-channel-cli --features zenoh --bench calls`.
//!
//! All take turns, each with its server in a process of its own.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{self, Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sysv_channel::Channel;
use sysv_channel::codec::Raw;
use sysv_channel::rpc::{Client, ClientOptions, Server};
use zenoh::{Config, Session, Wait};

const ROUNDS: usize = 7;
const CALLS: usize = 1000;
const LEN: usize = 1000;

/// A process that is killed at the end.
struct Program(Child);

impl Program {
    fn start(command: &mut Command) -> Self {
        Program(command.spawn().unwrap())
    }

    fn of_this(arguments: &[&str]) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let ready = BufReader::new(child.stdout.take().unwrap()).lines().next();
        assert!(ready.is_some());
        Program(child)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn session(way: &str, address: &str) -> Session {
    let mut config = Config::default();
    let endpoints = format!("[{address:?}]");
    let other = if way == "listen" { "connect" } else { "listen" };
    for (key, value) in [
        ("scouting/multicast/enabled", "false"),
        ("scouting/gossip/enabled", "false"),
        (&format!("{way}/endpoints"), &*endpoints),
        (&format!("{other}/endpoints"), "[]"),
    ] {
        config.insert_json5(key, value).unwrap();
    }
    zenoh::open(config).wait().unwrap()
}

/// The median time of a call, in microseconds.
fn median(mut call: impl FnMut()) -> f64 {
    let mut times: Vec<_> = (0..CALLS)
        .map(|_| {
            let began = Instant::now();
            call();
            began.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2].as_nanos() as f64 / 1000.0
}

fn main() {
    let arguments: Vec<_> = env::args().skip(1).filter(|it| it != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        ["server", name] => {
            let server = Server::<Vec<u8>, Vec<u8>>::bind(name).unwrap();
            println!("ready");
            server.serve(|bytes| bytes).unwrap();
        }
        ["zenoh", address] => {
            let session = session("listen", address);
            let answering = session.declare_queryable("echo").callback(|query| {
                let bytes = query.payload().unwrap().clone();
                query.reply("echo", bytes).wait().unwrap();
            });
            let _answering = answering.wait().unwrap();
            println!("ready");
            thread::park();
        }
        _ => {
            let names = ["here", "there"].map(|at| format!("bench calls {at} {}", process::id()));
            measure(&names);
            // What was killed left them.
            names.iter().for_each(|name| drop(Channel::<Vec<u8>, Raw>::unlink(&**name)));
        }
    }
}

fn measure([here, there]: &[String; 2]) {
    let id = process::id();
    let host = format!("127.1.{}.{}", id >> 8 & 0xff, id & 0xff);
    let (bare, bridged) = (format!("tcp/{host}:20001"), format!("tcp/{host}:20002"));
    let _server = Program::of_this(&["server", there]);
    let bridge = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sysv-channel"));
        Program::start(command.arg("bridge").args(arguments))
    };
    let _call = bridge(&["call", there, "--key", "bench/calls", "--listen", &bridged]);
    let _serve = bridge(&["serve", here, "--key", "bench/calls", "--connect", &bridged]);
    let _echo = Program::of_this(&["zenoh", &bare]);
    let session = session("connect", &bare);
    let waiting = || ClientOptions::new().wait_for_server(Duration::from_secs(60));
    let over: Client<Vec<u8>, Vec<u8>> = waiting().connect(&**here).unwrap();
    let local: Client<Vec<u8>, Vec<u8>> = waiting().connect(&**there).unwrap();
    let bytes = vec![7; LEN];
    println!("medians of {CALLS} calls of {LEN} bytes, in microseconds");
    println!("{:>12} {:>12} {:>12} {:>12}", "bridge", "zenoh", "more", "no bridge");
    for _ in 0..ROUNDS {
        let bridge = median(|| assert!(over.call(&bytes).unwrap().len() == LEN));
        let zenoh = median(|| {
            let replies = session.get("echo").payload(bytes.clone()).wait().unwrap();
            let reply = replies.recv().unwrap();
            assert!(reply.result().unwrap().payload().len() == LEN);
        });
        let local = median(|| assert!(local.call(&bytes).unwrap().len() == LEN));
        println!("{bridge:12.1} {zenoh:12.1} {:12.1} {local:12.1}", bridge - zenoh);
    }
}
