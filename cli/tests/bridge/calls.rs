//! Calls, from clients here to a server there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use sysv_channel::rpc::{CallError, Client, ClientOptions, Server, ServerOptions};

use crate::pair::{Bridge, Pair};
use crate::stage::until;

/// What is waited for as long as the watchdog allows.
pub(crate) const LONG: Duration = Duration::from_secs(100);

impl Pair {
    pub(crate) fn serve(&self) -> Bridge {
        let (name, key) = (self.here.name(), &self.key);
        self.bridge(&["serve", name, "--key", key, "--connect", &self.address])
    }

    pub(crate) fn call(&self) -> Bridge {
        let (name, key) = (self.there.name(), &self.key);
        self.bridge(&["call", name, "--key", key, "--listen", &self.address])
    }
}

/// A client that waits for its server, and for its replies, as long as the watchdog allows.
pub(crate) fn options() -> ClientOptions {
    ClientOptions::new().wait_for_server(LONG).deadline(LONG)
}

#[test]
fn calls_of_any_size_have_their_replies() {
    let pair = Pair::new("bridge calls");
    let server = Server::<(String, Vec<u8>), (Vec<u8>, String)>::bind(pair.there.name()).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || server.serve(|(text, bytes)| (bytes, text)));
    let _bridges = [pair.call(), pair.serve()];
    let client: Client<(String, Vec<u8>), (Vec<u8>, String)> =
        options().connect(pair.here.name()).unwrap();
    for len in [0, 1, 1000, 100_000, 5 << 20, 3] {
        let (text, bytes) = (format!("of {len} bytes"), vec![7; len]);
        let reply = client.call(&(text.clone(), bytes.clone())).unwrap();
        assert!(reply == (bytes, text), "{len}");
    }
    closer.close();
    serving.join().unwrap().unwrap();
}

#[test]
fn calls_without_bytes_have_their_replies() {
    let pair = Pair::new("bridge calls of units");
    let server = Server::<(), ()>::bind(pair.there.name()).unwrap();
    thread::spawn(move || server.serve(|()| ()));
    let _bridges = [pair.serve(), pair.call()];
    let client: Client<(), ()> = options().connect(pair.here.name()).unwrap();
    for _ in 0..10 {
        client.call(&()).unwrap();
    }
}

#[test]
fn what_a_server_says_of_a_call_its_caller_is_told() {
    let pair = Pair::new("bridge errors");
    let server = Server::<u32, u32>::bind(pair.there.name()).unwrap();
    thread::spawn(move || {
        for request in server.incoming() {
            // Its channel is removed when the test is over.
            let Ok(request) = request else { break };
            match *request.query() {
                1 => drop(request),
                number => {
                    let (_, responder) = request.into_parts();
                    let server = Arc::new("behind".into());
                    let error = match number {
                        2 => CallError::Panicked { server, message: "at number 2".to_owned() },
                        3 => CallError::Unsendable { server, why: "number 3".to_owned() },
                        _ => CallError::Unreadable { server, why: "number 4".to_owned() },
                    };
                    responder.fail(&error).unwrap();
                }
            }
        }
    });
    let _bridges = [pair.serve(), pair.call()];
    let client: Client<u32, u32> = options().connect(pair.here.name()).unwrap();
    let told = |number| client.call(&number).unwrap_err();
    assert!(matches!(told(1), CallError::Dropped { .. }));
    assert!(matches!(told(2), CallError::Panicked { message, .. } if message == "at number 2"));
    assert!(matches!(told(3), CallError::Unsendable { why, .. } if why == "number 3"));
    assert!(matches!(told(4), CallError::Unreadable { why, .. } if why == "number 4"));
    // A stream as well.
    let end = client.stream(&2).unwrap().next().unwrap().unwrap_err();
    assert!(matches!(end, CallError::Panicked { message, .. } if message == "at number 2"));
}

#[test]
fn a_deadline_travels_as_time_left() {
    let pair = Pair::new("bridge deadline");
    let server = Server::<u32, u32>::bind(pair.there.name()).unwrap();
    let _bridges = [pair.serve(), pair.call()];
    let client: Client<u32, u32> = options().connect(pair.here.name()).unwrap();
    let timeout = Duration::from_millis(300);
    let calling = thread::spawn(move || (client.call_timeout(&1, timeout), client));
    let request = server.recv().unwrap().unwrap();
    let left = request.remaining().unwrap();
    assert!(left <= timeout, "{left:?}");
    let (outcome, client) = calling.join().unwrap();
    assert!(matches!(outcome, Err(CallError::Timeout { received: true, .. })), "{outcome:?}");
    until(|| request.is_cancelled());
    // One without a deadline has none there, and its server is the same.
    let stream = client.stream(&2).unwrap();
    assert_eq!(server.recv().unwrap().unwrap().remaining(), None);
    drop(stream);
}

#[test]
fn a_caller_that_gives_up_cancels_the_call_there() {
    let pair = Pair::new("bridge cancel");
    let server = Server::<u32, u32>::bind(pair.there.name()).unwrap();
    let _bridges = [pair.serve(), pair.call()];
    let client: Client<u32, u32> = options().connect(pair.here.name()).unwrap();
    let call = client.start(&1).unwrap();
    let request = server.recv().unwrap().unwrap();
    assert!(!request.is_cancelled());
    drop(call);
    until(|| request.is_cancelled());
    let stream = client.stream(&2).unwrap();
    let (_, mut responder) = server.recv().unwrap().unwrap().into_parts();
    responder.part(&5).unwrap();
    assert!(!responder.is_cancelled());
    drop(stream);
    until(|| responder.is_cancelled());
    // One that has not begun.
    let stream = client.stream(&3).unwrap();
    let request = server.recv().unwrap().unwrap();
    drop(stream);
    until(|| request.is_cancelled());
    // The client itself, with all that it called.
    let _call = client.start(&4).unwrap();
    let request = server.recv().unwrap().unwrap();
    drop((_call, client));
    until(|| request.is_cancelled());
}

#[test]
fn a_hundred_callers_wait_for_no_slow_one() {
    let pair = Pair::new("bridge callers");
    let server: Server<u64, u64> = ServerOptions::new().bind(pair.there.name()).unwrap();
    let _bridges = [pair.serve(), pair.call()];
    const SLOW: u64 = 40;
    // Those that are slow are answered when all others were.
    let serving = thread::spawn(move || {
        let mut slow = Vec::new();
        let mut fast = 0;
        while fast < 100 * 20 || slow.len() < SLOW as usize {
            let (number, responder) = server.recv().unwrap().unwrap().into_parts();
            if number < SLOW {
                slow.push((number, responder));
            } else {
                fast += 1;
                responder.reply(&(number * 2)).unwrap();
            }
        }
        slow.into_iter().for_each(|(number, responder)| responder.reply(&(number * 2)).unwrap());
        server
    });
    let barrier = Barrier::new(100);
    let name = pair.here.name();
    thread::scope(|scope| {
        for caller in 0..100 {
            let barrier = &barrier;
            scope.spawn(move || {
                let client: Client<u64, u64> = options().connect(name).unwrap();
                barrier.wait();
                let slow = (caller < SLOW).then(|| client.start(&caller).unwrap());
                for number in 0..20 {
                    let number = 1000 + caller * 100 + number;
                    assert_eq!(client.call(&number).unwrap(), number * 2);
                }
                if let Some(slow) = slow {
                    assert_eq!(slow.wait().unwrap(), caller * 2);
                }
            });
        }
    });
    serving.join().unwrap();
}

#[test]
fn a_slow_reader_of_a_stream_makes_the_server_wait() {
    let pair = Pair::new("bridge stream");
    let server = Server::<u64, (u64, Vec<u8>)>::bind(pair.there.name()).unwrap();
    let _bridges = [pair.serve(), pair.call()];
    const PARTS: u64 = 3000;
    const PART: usize = 4096;
    let sent = Arc::new(AtomicU64::new(0));
    let count = sent.clone();
    let serving = thread::spawn(move || {
        let mut streaming = Vec::new();
        for _ in 0..3 {
            let (up_to, mut responder) = server.recv().unwrap().unwrap().into_parts();
            let count = count.clone();
            streaming.push(thread::spawn(move || {
                for number in 0..up_to {
                    responder.part(&(number, vec![number as u8; PART])).unwrap();
                    if up_to == PARTS {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
                responder.finish().unwrap();
            }));
        }
        // What waits for room goes while the server receives.
        let _ = server.recv();
        streaming.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let client: Client<u64, (u64, Vec<u8>)> = options().connect(pair.here.name()).unwrap();
    let mut slow = client.stream(&PARTS).unwrap();
    assert_eq!(slow.next().unwrap().unwrap().0, 0);
    // Others go on meanwhile, one after another: time for all that the slow one's server may send.
    for up_to in [500, 501] {
        let numbers: Vec<u64> =
            client.stream(&up_to).unwrap().map(|part| part.unwrap().0).collect();
        assert_eq!(numbers, (0..up_to).collect::<Vec<_>>());
    }
    let ahead = sent.load(Ordering::Relaxed);
    // A window in each of the three ways, and what is in hand.
    assert!(ahead * PART as u64 <= 4 * (256 << 10), "{ahead} parts were sent");
    for number in 1..PARTS {
        let (read, bytes) = slow.next().unwrap().unwrap();
        assert_eq!(read, number);
        assert!(bytes == vec![number as u8; PART]);
    }
    assert!(slow.next().is_none());
    drop((slow, client));
    drop(serving);
}

#[test]
fn clients_of_other_types_are_refused_with_the_difference() {
    let pair = Pair::new("bridge call types");
    let server = Server::<(u32, String), u32>::bind(pair.there.name()).unwrap();
    thread::spawn(move || server.serve(|(number, _)| number));
    let _bridges = [pair.serve(), pair.call()];
    let client: Client<(u32, String), u32> = options().connect(pair.here.name()).unwrap();
    assert_eq!(client.call(&(7, "seven".to_owned())).unwrap(), 7);
    let refused = Client::<(u32, u32), u32>::connect(pair.here.name()).unwrap_err();
    assert!(refused.to_string().contains("Call.request.1: u32 here, str there"), "{refused}");
}

#[test]
fn a_server_of_other_types_is_served_once_nobody_is_connected_to_the_old_one() {
    let pair = Pair::new("bridge call new types");
    let server = Server::<u32, u32>::bind(pair.there.name()).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || server.serve(|number| number + 1));
    let (serve, _call) = (pair.serve(), pair.call());
    let client: Client<u32, u32> = options().connect(pair.here.name()).unwrap();
    assert_eq!(client.call(&1).unwrap(), 2);
    closer.close();
    serving.join().unwrap().unwrap();
    serve.says("is not bound meanwhile");
    // The bridge is a client of the old one for another moment.
    let mut server = Server::<String, String>::bind(pair.there.name());
    until(|| {
        server.is_ok() || {
            server = Server::bind(pair.there.name());
            false
        }
    });
    let server = server.unwrap();
    thread::spawn(move || server.serve(|text| text + "!"));
    serve.says("waits: ");
    drop(client);
    let client: Client<String, String> = {
        let mut connected = options().connect(pair.here.name());
        until(|| match &connected {
            Ok(_) => true,
            Err(_) => {
                connected = options().connect(pair.here.name());
                false
            }
        });
        connected.unwrap()
    };
    assert_eq!(client.call(&"new".to_owned()).unwrap(), "new!");
}

#[test]
fn a_name_that_has_a_server_here_is_told() {
    let pair = Pair::new("bridge serve taken");
    let there = Server::<u32, u32>::bind(pair.there.name()).unwrap();
    thread::spawn(move || there.serve(|number| number));
    let here = Server::<u32, u32>::bind(pair.here.name()).unwrap();
    let (serve, _call) = (pair.serve(), pair.call());
    serve.says("end it, since calls are to go to the server of `bridge call`");
    drop(here);
    let client: Client<u32, u32> = options().connect(pair.here.name()).unwrap();
    assert_eq!(client.call(&3).unwrap(), 3);
}

#[test]
fn what_is_waited_for_is_said_once() {
    let pair = Pair::new("bridge serve waits");
    let serve = pair.serve();
    serve.says("waits for `bridge call`, which is not there");
    let call = pair.call();
    call.says("waits for the server to be there");
    serve.says("is bound");
    let server = Server::<u32, u32>::bind(pair.there.name()).unwrap();
    thread::spawn(move || server.serve(|number| number));
    let client: Client<u32, u32> = options().connect(pair.here.name()).unwrap();
    assert_eq!(client.call(&3).unwrap(), 3);
    serve.says("carries calls");
    serve.stop();
    call.stop();
    let outcome = client.call_timeout(&4, Duration::from_millis(50));
    assert!(matches!(outcome, Err(CallError::Timeout { received: false, .. })), "{outcome:?}");
}

#[test]
fn two_bridges_serve_one_server() {
    let pair = Pair::new("bridge serve two");
    let other = crate::stage::Stage::new("bridge serve other");
    let server = Server::<u32, u32>::bind(pair.there.name()).unwrap();
    thread::spawn(move || server.serve(|number| number + 1));
    let second = ["serve", other.name(), "--key", &pair.key, "--connect", &pair.address];
    let _bridges = [pair.call(), pair.serve(), pair.bridge(&second)];
    let (told, calling) = mpsc::channel();
    thread::scope(|scope| {
        for name in [pair.here.name(), other.name()] {
            let told = told.clone();
            scope.spawn(move || {
                let client: Client<u32, u32> = options().connect(name).unwrap();
                (0..50).for_each(|number| assert_eq!(client.call(&number).unwrap(), number + 1));
                told.send(()).unwrap();
            });
        }
    });
    drop(told);
    assert_eq!(calling.iter().count(), 2);
}
