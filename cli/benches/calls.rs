//! How long a call takes over the bridge, beside a query of bare zenoh and a call without a bridge, over loopback:
//! `cargo bench -p sysv-channel-cli --features zenoh --bench calls`.
//!
//! All take turns, each with its server in a process of its own.

mod parties;

use std::env;
use std::process;
use std::thread;
use std::time::Duration;

use parties::{Program, bridge, host, median, session};
use sysv_channel::Channel;
use sysv_channel::codec::Raw;
use sysv_channel::rpc::{Client, ClientOptions, Server};
use zenoh::Wait;

const ROUNDS: usize = 7;
const CALLS: usize = 1000;
const LEN: usize = 1000;

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
    let host = host();
    let (bare, bridged) = (format!("tcp/{host}:20001"), format!("tcp/{host}:20002"));
    let _server = Program::of_this(&["server", there]);
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
        let bridge = median(CALLS, || assert!(over.call(&bytes).unwrap().len() == LEN));
        let zenoh = median(CALLS, || {
            let replies = session.get("echo").payload(bytes.clone()).wait().unwrap();
            let reply = replies.recv().unwrap();
            assert!(reply.result().unwrap().payload().len() == LEN);
        });
        let local = median(CALLS, || assert!(local.call(&bytes).unwrap().len() == LEN));
        println!("{bridge:12.1} {zenoh:12.1} {:12.1} {local:12.1}", bridge - zenoh);
    }
}
