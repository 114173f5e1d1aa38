//! Request and response between processes.

#![cfg(not(loom))]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::Duration;

use common::kernel::{self, Kind, has_ended, is_asleep};
use common::{Child, Stage, halt, listen, play, say, until};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sysv_channel::codec::Bytes;
use sysv_channel::rpc::{
    BindError, CallError, Client, ClientOptions, ConnectError, ReplyError, Server, ServerOptions,
};

type Calculator = Server<(String, u64), u64>;
type Caller = Client<(String, u64), u64>;

/// The parts that this binary plays when it is started as a child.
#[test]
fn child() {
    play(|role, arguments| {
        let name = arguments[0];
        match role {
            "server" => {
                let server = Calculator::bind(name).unwrap();
                say("bound");
                server.serve(answer).unwrap();
            }
            "server of another time" => {
                let server = Calculator::bind(name).unwrap();
                say(kernel::time_namespace());
                server.serve(answer).unwrap();
            }
            "client of another time" => {
                let client = Caller::connect(name).unwrap();
                say(kernel::time_namespace());
                let timeout = Duration::from_micros(listen().parse().unwrap());
                let request = ask("add one", 1);
                let call = client.start_timeout(&request, timeout).unwrap();
                say("started");
                say(format_args!("{:?}", call.wait().map_err(|error| error.is_timeout())));
            }
            "standby" => {
                say("waiting");
                let server: Calculator =
                    ServerOptions::new().stand_by(name, Duration::from_secs(60)).unwrap();
                say("bound");
                server.serve(answer).unwrap();
            }
            "takes one" => {
                let server = Calculator::bind(name).unwrap();
                say("bound");
                let _request = server.recv().unwrap();
                halt("received");
            }
            "idle standby" => {
                say("waiting");
                let _server: Calculator =
                    ServerOptions::new().stand_by(name, Duration::from_secs(60)).unwrap();
                halt("bound");
            }
            "takes none" => {
                let _server = Calculator::bind(name).unwrap();
                halt("bound");
            }
            "takes some" => {
                let server = Calculator::bind(name).unwrap();
                say("bound");
                listen();
                let take = |_| server.recv().unwrap().unwrap();
                let taken: Vec<_> = (0..arguments[1].parse().unwrap()).map(take).collect();
                taken.iter().for_each(|request| say(request.query().1));
                halt("received");
            }
            "records" => {
                let server = Calculator::bind(name).unwrap();
                say("bound");
                for request in server.incoming() {
                    let request = request.unwrap();
                    say(request.query().1);
                    request.reply(&0).unwrap();
                }
            }
            "asks one thing" => {
                let client = Caller::connect(name).unwrap();
                let request = ask("add one", 1);
                let _pending = client.start(&request).unwrap();
                halt("started");
            }
            "asks and waits" => {
                let client = Caller::connect(name).unwrap();
                say("connected");
                let _ = client.call_timeout(&ask("add one", 1), Duration::from_secs(1000));
            }
            "client" => {
                let client = Caller::connect(name).unwrap();
                let calls: u64 = arguments[1].parse().unwrap();
                for number in 0..calls {
                    assert_eq!(client.call(&("add one".to_owned(), number)).unwrap(), number + 1);
                }
            }
            "client that goes on" => {
                let client = Caller::connect(name).unwrap();
                say("connected");
                for number in 0.. {
                    assert_eq!(client.call(&("add one".to_owned(), number)).unwrap(), number + 1);
                }
            }
            _ => unreachable!("no such role: {role}"),
        }
    });
}

fn answer((what, number): (String, u64)) -> u64 {
    match &what[..] {
        "add one" => number + 1,
        "panic" => panic!("asked to panic with {number}"),
        _ => number,
    }
}

fn ask(what: &str, number: u64) -> (String, u64) {
    (what.to_owned(), number)
}

fn started(stage: &Stage, role: &str) -> Child {
    let mut child = stage.child(role, &[]);
    child.expect("bound");
    child
}

#[test]
fn processes_that_know_a_name_and_two_types_call_each_other() {
    let stage = Stage::new("calls");
    let _server = started(&stage, "server");
    let clients: Vec<Child> = (0..3).map(|_| stage.child("client", &["200"])).collect();
    clients.into_iter().for_each(|client| drop(client.finish()));
}

#[test]
fn a_client_waits_for_the_server_to_exist() {
    let stage = Stage::new("waits for a server");
    let name = stage.name().to_owned();
    let client = thread::spawn(move || Caller::connect(name).unwrap().call(&ask("add one", 1)));
    let _server = started(&stage, "server");
    assert_eq!(client.join().unwrap().unwrap(), 2);
    let soon = ClientOptions::new().wait_for_server(Duration::from_millis(1));
    let missing = soon.connect::<u8, u8, sysv_channel::codec::Bincode>("no such server");
    let missing = missing.unwrap_err();
    assert!(matches!(missing, ConnectError::NotFound { .. }), "{missing}");
    assert!(missing.to_string().starts_with("server \"no such server\" is not there"), "{missing}");
}

#[test]
fn requests_and_replies_of_any_size_arrive_whole() {
    let stage = Stage::new("any size");
    let options = ServerOptions::new().capacity(16 << 10).reply_capacity(16 << 10);
    let server: Server<Bytes, Bytes> = options.bind(stage.name()).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || server.serve(|bytes| bytes));
    let client = Client::<Bytes, Bytes>::connect(stage.name()).unwrap();
    for len in [0, 1, 100, 7000, 8000, 8200, 16 << 10, 100_000, 1 << 20, 5 << 20] {
        let bytes: Vec<u8> = (0..len).map(|at: usize| (at / 7 + len) as u8).collect();
        let reply = client.call(&Bytes::from(bytes.clone())).unwrap();
        assert!(*reply == *bytes, "{len}");
    }
    closer.close();
    serving.join().unwrap().unwrap();
}

#[test]
fn server_that_looks_for_requests_all_the_time_sends_the_rest_of_a_reply() {
    let stage = Stage::new("spinning server");
    // Longer than the test may take.
    let options = ServerOptions::new().reply_capacity(4096).spin(Duration::from_secs(1000));
    let server: Server<u32, Bytes> = options.bind(stage.name()).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || server.serve(|len| Bytes::from(vec![7; len as usize])));
    let client = Client::<u32, Bytes>::connect(stage.name()).unwrap();
    let reply = client.call_timeout(&(64 << 10), Duration::from_secs(5)).unwrap();
    assert_eq!(reply.len(), 64 << 10);
    // Nor does it look on when it is closed.
    closer.close();
    serving.join().unwrap().unwrap();
}

#[test]
fn a_reply_that_is_too_long_is_an_error_for_its_caller() {
    let stage = Stage::new("long reply");
    let options = ServerOptions::new().reply_capacity(4096).max_value(10_000);
    let server: Server<u32, Bytes> = options.bind(stage.name()).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || server.serve(|len| vec![7; len as usize].into()));
    let client = Client::<u32, Bytes>::connect(stage.name()).unwrap();
    let error = client.call(&20_000).unwrap_err();
    assert!(
        matches!(&error, CallError::Unsendable { why, .. } if why.contains("10000")),
        "{error}"
    );
    assert_eq!(client.call(&9_000).unwrap().len(), 9_000);
    closer.close();
    serving.join().unwrap().unwrap();
}

#[test]
fn replies_come_in_any_order() {
    let stage = Stage::new("any order");
    let server = Server::<u64, u64>::bind(stage.name()).unwrap();
    let answering = thread::spawn(move || {
        let mut requests: Vec<_> = (0..3).map(|_| server.recv().unwrap().unwrap()).collect();
        while let Some(request) = requests.pop() {
            let square = request.query() * request.query();
            request.reply(&square).unwrap();
        }
    });
    let client = Client::<u64, u64>::connect(stage.name()).unwrap();
    let started = [&2, &3, &4].map(|number| client.start(number).unwrap());
    assert_eq!(started.map(|call| call.wait().unwrap()), [4, 9, 16]);
    answering.join().unwrap();
}

#[test]
fn callers_have_their_turns_however_many_requests_of_another_stand_there() {
    const MANY: u64 = 8;
    let stage = Stage::new("callers in turn");
    let server = Server::<u64, u64>::bind(stage.name()).unwrap();
    let clients = [(); 3].map(|()| Client::<u64, u64>::connect(stage.name()).unwrap());
    let started: Vec<_> = (0..MANY).map(|_| clients[0].start(&0).unwrap()).collect();
    let others = [(&clients[1], &1), (&clients[2], &2)];
    let others = others.map(|(client, number)| client.start(number).unwrap());
    let mut order = Vec::new();
    for _ in 0..MANY + 2 {
        let request = server.recv().unwrap().unwrap();
        let number = *request.query();
        order.push(number);
        request.reply(&number).unwrap();
    }
    let last = order.iter().rposition(|&number| number != 0).unwrap();
    assert!(last <= 3, "{order:?}");
    started.into_iter().for_each(|call| assert_eq!(call.wait().unwrap(), 0));
    others.into_iter().for_each(|call| assert_ne!(call.wait().unwrap(), 0));
}

#[test]
fn several_threads_answer_at_a_time() {
    let stage = Stage::new("threads");
    let server = Server::<u64, u64>::bind(stage.name()).unwrap();
    let closer = server.closer();
    // Each handler waits for the other: one thread alone would never reply.
    let meeting = &Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(move || {
            let served = server.serve_concurrently(2, |number| {
                meeting.wait();
                number + 1
            });
            served.unwrap();
        });
        let calls = [1, 2].map(|number| {
            let client = Client::<u64, u64>::connect(stage.name()).unwrap();
            scope.spawn(move || client.call(&number).unwrap())
        });
        assert_eq!(calls.map(|call| call.join().unwrap()), [2, 3]);
        closer.close();
    });
}

#[test]
fn long_replies_of_several_threads_to_one_client_arrive_whole() {
    for capacity in [4096, 64 << 10, 1 << 20] {
        let stage = Stage::new("long replies of several");
        let options = ServerOptions::new().reply_capacity(capacity);
        let server: Server<u32, (Vec<u32>, Bytes)> = options.bind(stage.name()).unwrap();
        let closer = server.closer();
        // Number by number, and all at once.
        let reply = |len: u32| ((0..len / 4).collect(), Bytes::from(vec![len as u8; len as usize]));
        let serving = thread::spawn(move || server.serve_concurrently(4, reply));
        let client = Client::<u32, (Vec<u32>, Bytes)>::connect(stage.name()).unwrap();
        let lengths: Vec<u32> = (0..200).map(|round| round * 7919 % 50_000).collect();
        let started: Vec<_> =
            lengths.iter().map(|len| client.start_timeout(len, FOR_EVER).unwrap()).collect();
        for (call, &len) in started.into_iter().zip(&lengths) {
            assert!(call.wait().unwrap() == reply(len), "{len} of {capacity}");
        }
        closer.close();
        serving.join().unwrap().unwrap();
    }
}

#[test]
fn a_reply_that_finds_too_little_room_at_any_point_of_it_is_kept() {
    for len in (0..10_000).step_by(250) {
        let stage = Stage::new("kept at any point");
        let options = ServerOptions::new().reply_capacity(16 << 10).drain(FOR_EVER);
        let server: Server<u32, Vec<u32>> = options.bind(stage.name()).unwrap();
        let client = Client::<u32, Vec<u32>>::connect(stage.name()).unwrap();
        let started = [&0, &1].map(|call| client.start_timeout(call, FOR_EVER).unwrap());
        let reply: Vec<u32> = (0..len).collect();
        for _ in 0..2 {
            // The client takes none before both are sent.
            server.recv().unwrap().unwrap().reply(&reply).unwrap();
        }
        let draining = thread::spawn(move || drop(server));
        for call in started {
            assert!(call.wait().unwrap() == reply, "{len} numbers");
        }
        draining.join().unwrap();
    }
}

#[test]
fn a_handlers_panic_is_an_error_for_its_caller_alone() {
    let stage = Stage::new("panic");
    let _server = started(&stage, "server");
    let client = Caller::connect(stage.name()).unwrap();
    let error = client.call(&ask("panic", 7)).unwrap_err();
    assert!(
        matches!(&error, CallError::Panicked { message: why, .. } if why == "asked to panic with 7")
    );
    assert_eq!(client.call(&ask("add one", 7)).unwrap(), 8);
}

#[test]
fn a_handlers_panic_in_one_of_several_threads_stops_none_of_them() {
    let stage = Stage::new("panics in threads");
    let server = Calculator::bind(stage.name()).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || server.serve_concurrently(2, answer));
    let client = Caller::connect(stage.name()).unwrap();
    for number in 0..6 {
        let error = client.call(&ask("panic", number)).unwrap_err();
        assert!(matches!(error, CallError::Panicked { .. }), "{error}");
    }
    assert_eq!(client.call(&ask("add one", 7)).unwrap(), 8);
    closer.close();
    serving.join().unwrap().unwrap();
}

/// A number that panics while it is encoded if it is 1, and while it is decoded if it is 2.
#[derive(Debug, PartialEq)]
struct Fragile(u64);

impl Serialize for Fragile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_ne!(self.0, 1, "broke");
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        assert_ne!(number, 2, "broke");
        Ok(Fragile(number))
    }
}

#[test]
fn a_value_that_panics_at_the_server_is_an_error_for_its_caller_alone() {
    let stage = Stage::new("fragile");
    let server = Server::<Fragile, Fragile>::bind(stage.name()).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || {
        server.serve(|Fragile(number)| Fragile(if number == 3 { 1 } else { number }))
    });
    let client = Client::<Fragile, Fragile>::connect(stage.name()).unwrap();
    for _ in 0..3 {
        let error = client.call(&Fragile(2)).unwrap_err();
        assert!(
            matches!(&error, CallError::Unreadable { why, .. } if why.contains("broke")),
            "{error}"
        );
        let error = client.call(&Fragile(3)).unwrap_err();
        assert!(
            matches!(&error, CallError::Panicked { message: why, .. } if why.contains("broke")),
            "{error}"
        );
        assert_eq!(client.call(&Fragile(4)).unwrap(), Fragile(4));
    }
    closer.close();
    serving.join().unwrap().unwrap();
}

#[test]
fn a_request_that_is_dropped_is_an_error_for_its_caller() {
    let stage = Stage::new("dropped");
    let server = Server::<u64, u64>::bind(stage.name()).unwrap();
    let client = Client::<u64, u64>::connect(stage.name()).unwrap();
    let call = client.start(&1).unwrap();
    drop(server.recv().unwrap());
    assert!(matches!(call.wait(), Err(CallError::Dropped { .. })));
}

#[test]
fn a_server_does_not_start_what_is_late_or_cancelled() {
    let stage = Stage::new("late");
    let server = Server::<u64, u64>::bind(stage.name()).unwrap();
    let client = Client::<u64, u64>::connect(stage.name()).unwrap();
    let error = client.call_timeout(&1, Duration::from_millis(1)).unwrap_err();
    assert!(matches!(error, CallError::Timeout { received: false, .. }), "{error}");
    drop(client.start(&2).unwrap());
    let gone = client.try_clone().unwrap();
    let call = gone.start(&3).unwrap();
    // The call goes on without its client.
    drop(gone);
    drop(call);
    assert!(server.try_recv().unwrap_err().is_empty());

    let call = client.start(&4).unwrap();
    let request = server.recv().unwrap().unwrap();
    let (query, port) = request.into_parts();
    assert_eq!(query, 4);
    let ten_seconds = Duration::from_secs(10);
    let left = port.remaining().unwrap();
    assert!(left > Duration::from_secs(1) && left <= ten_seconds && !port.is_cancelled());
    drop(call);
    assert!(port.is_cancelled());
    assert!(matches!(port.reply(&40), Err(ReplyError::ClientGone { .. })));
    let call = client.start_timeout(&5, Duration::from_millis(5)).unwrap();
    let request = server.recv().unwrap().unwrap();
    assert!(matches!(call.wait(), Err(CallError::Timeout { received: true, .. })));
    let (_, port) = request.into_parts();
    assert!(port.is_cancelled());
    assert!(matches!(port.reply(&50), Err(ReplyError::ClientGone { .. })));
}

#[test]
fn what_became_late_or_was_dropped_while_the_server_was_stopped_is_never_started() {
    let stage = Stage::new("late in another process");
    let mut server = started(&stage, "records");
    let client = Caller::connect(stage.name()).unwrap();
    assert_eq!(client.call(&ask("first", 1)).unwrap(), 0);
    server.expect("1");
    server.stop();
    for number in 10..30 {
        let error = client.call_timeout(&ask("late", number), Duration::from_millis(1));
        let error = error.unwrap_err();
        assert!(matches!(error, CallError::Timeout { received: false, .. }), "{error}");
    }
    server.go_on();
    assert_eq!(client.call(&ask("in time", 5)).unwrap(), 0);
    server.expect("5");
    server.stop();
    // As many at once as a client likes.
    let request = ask("dropped", 30);
    drop((0..50).map(|_| client.start(&request).unwrap()).collect::<Vec<_>>());
    let (second, third) = (ask("second", 2), ask("third", 3));
    let call = client.start(&second).unwrap();
    drop(client.start(&request).unwrap());
    drop(client.start(&request).unwrap());
    let last = client.start(&third).unwrap();
    server.go_on();
    assert_eq!((call.wait().unwrap(), last.wait().unwrap()), (0, 0));
    server.expect("2");
    server.expect("3");
}

#[test]
fn replying_to_a_client_that_was_killed_is_an_error_that_the_server_can_ignore() {
    let stage = Stage::new("reply to the dead");
    let server: Calculator = ServerOptions::new().clients(1).bind(stage.name()).unwrap();
    for role in ["asks one thing", "asks and waits"] {
        let mut client = stage.child(role, &[]);
        client.hear();
        let (_, port) = server.recv().unwrap().unwrap().into_parts();
        if role == "asks and waits" {
            let process = client.id();
            until(|| is_asleep(process) || has_ended(process));
        }
        assert!(!port.is_cancelled());
        client.kill();
        assert!(port.is_cancelled(), "{role}");
        let error = port.reply(&2).unwrap_err();
        assert!(matches!(error, ReplyError::ClientGone { .. }), "{error}");
        // The next one has the place, and not its reply.
        let next = Caller::connect(stage.name()).unwrap();
        let request = ask("add one", 5);
        let call = next.start(&request).unwrap();
        server.recv().unwrap().unwrap().reply(&6).unwrap();
        assert_eq!(call.wait().unwrap(), 6);
    }
}

#[test]
fn the_caller_of_a_reply_that_finds_no_room_is_told() {
    const LONGEST: usize = 64 << 10;
    let stage = Stage::new("no room for a reply");
    let options = ServerOptions::new().reply_capacity(4096).max_value(LONGEST as u64);
    let server: Server<u32, Bytes> = options.bind(stage.name()).unwrap();
    let client: Client<u32, Bytes> = Client::connect(stage.name()).unwrap();
    let [first, second] = [&1, &2].map(|call| client.start_timeout(call, FOR_EVER).unwrap());
    let long = Bytes::from(vec![7; LONGEST - 1000]);
    server.recv().unwrap().unwrap().reply(&long).unwrap();
    let error = server.recv().unwrap().unwrap().reply(&long).unwrap_err();
    assert!(matches!(error, ReplyError::Full { .. }), "{error}");
    thread::scope(|scope| {
        let closer = server.closer();
        let serving = scope.spawn(move || server.serve(|_| Bytes::default()));
        let error = second.wait().unwrap_err();
        assert!(
            matches!(&error, CallError::Unsendable { why, .. } if why.contains("unread")),
            "{error}"
        );
        assert_eq!(first.wait().unwrap(), long);
        closer.close();
        serving.join().unwrap().unwrap();
    });
}

#[test]
fn requests_keep_no_channel_when_server_and_clients_are_gone() {
    let stage = Stage::new("killed with a request");
    // As a last user that goes, and as what a sweep finds.
    for swept in [false, true] {
        let server = started(&stage, "records");
        server.stop();
        let other = (!swept).then(|| Caller::connect(stage.name()).unwrap());
        let mut client = stage.child("asks and waits", &[]);
        client.expect("connected");
        let process = client.id();
        until(|| is_asleep(process));
        client.kill();
        server.kill();
        assert_eq!(stage.objects().len(), 2);
        match other {
            Some(last) => drop(last),
            None => drop(sysv_channel::sweep().unwrap()),
        }
        assert_eq!(stage.objects(), []);
    }
}

#[test]
fn a_client_that_has_its_reply_and_goes_at_once_is_no_error() {
    let stage = Stage::new("goes at once");
    let server = Server::<u64, u64>::bind(stage.name()).unwrap();
    let name = stage.name().to_owned();
    let calling = thread::spawn(move || {
        for number in 0..2000 {
            let client = Client::<u64, u64>::connect(name.as_str()).unwrap();
            assert_eq!(client.call(&number).unwrap(), number);
        }
    });
    for _ in 0..2000 {
        let request = server.recv().unwrap().unwrap();
        let number = *request.query();
        request.reply(&number).unwrap();
    }
    calling.join().unwrap();
}

#[test]
fn what_a_client_cancelled_is_not_taken_for_the_next_clients_call() {
    let stage = Stage::new("cancelled before");
    let server: Server<u64, u64> = ServerOptions::new().clients(1).bind(stage.name()).unwrap();
    let first = Client::<u64, u64>::connect(stage.name()).unwrap();
    drop(first.start(&1).unwrap());
    drop(first);
    let second = Client::<u64, u64>::connect(stage.name()).unwrap();
    let call = second.start(&2).unwrap();
    server.recv().unwrap().unwrap().reply(&4).unwrap();
    assert_eq!(call.wait().unwrap(), 4);
}

#[test]
fn a_full_server_says_so_to_a_client_that_does_not_wait() {
    let stage = Stage::new("full");
    let options = ServerOptions::new().capacity(4096);
    let server: Server<Bytes, u64> = options.bind(stage.name()).unwrap();
    let client = Client::<Bytes, u64>::connect(stage.name()).unwrap();
    let bytes = Bytes::from(vec![0; 1000]);
    let started: Vec<_> = (0..3).map(|_| client.start(&bytes).unwrap()).collect();
    assert!(client.try_call(&bytes).unwrap_err().is_full());
    let error = client.call_timeout(&bytes, Duration::from_millis(1)).unwrap_err();
    assert!(matches!(error, CallError::Timeout { received: false, .. }), "{error}");
    let answering = thread::spawn(move || {
        for _ in 0..3 {
            server.recv().unwrap().unwrap().reply(&1).unwrap();
        }
    });
    started.into_iter().for_each(|call| assert_eq!(call.wait().unwrap(), 1));
    answering.join().unwrap();
}

#[test]
fn as_many_clients_as_there_are_places() {
    let stage = Stage::new("places");
    let options = ServerOptions::new().clients(1000).capacity(4096).reply_capacity(4096);
    let server: Server<u64, u64> = options.bind(stage.name()).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || server.serve(|number| number + 1));
    let connect = || Client::<u64, u64>::connect(stage.name());
    let clients: Vec<_> = (0..1000).map(|_| connect().unwrap()).collect();
    let error = connect().unwrap_err();
    assert!(matches!(error, ConnectError::TooManyClients { clients: 1000, .. }), "{error}");
    assert!(error.to_string().contains(stage.name()), "{error}");
    for (number, client) in clients.iter().enumerate() {
        assert_eq!(client.call(&(number as u64)).unwrap(), number as u64 + 1);
    }
    drop(clients);
    assert_eq!(connect().unwrap().call(&7).unwrap(), 8);
    closer.close();
    serving.join().unwrap().unwrap();
}

#[test]
fn there_is_one_server_of_a_name_and_it_is_of_its_types() {
    let stage = Stage::new("one server");
    let server = started(&stage, "server");
    let error = Calculator::bind(stage.name()).unwrap_err();
    assert!(matches!(error, BindError::AlreadyBound { pid, .. } if pid == server.id() as i32));
    assert!(error.to_string().contains("stand by"), "{error}");
    assert!(error.to_string().contains(stage.name()), "{error}");
    let error = Client::<u64, u64>::connect(stage.name()).unwrap_err();
    assert!(error.to_string().contains("request"), "{error}");
    let briefly = ServerOptions::new();
    let error = briefly
        .stand_by::<(String, u64), u64, sysv_channel::codec::Bincode>(
            stage.name(),
            Duration::from_millis(1),
        )
        .unwrap_err();
    assert!(matches!(error, BindError::Timeout { .. }), "{error}");
    assert!(error.to_string().contains(stage.name()), "{error}");
}

#[test]
fn the_caller_of_a_server_that_dies_is_told_whether_it_had_the_request() {
    for (role, received) in [("takes one", true), ("takes none", false)] {
        let stage = Stage::new("server dies");
        let mut server = started(&stage, role);
        let client = Caller::connect(stage.name()).unwrap();
        thread::scope(|scope| {
            let (tell, told) = mpsc::channel();
            let call = scope.spawn(move || {
                tell.send(nix::unistd::gettid()).unwrap();
                let outcome = client.call(&ask("add one", 1));
                (client, outcome)
            });
            let caller = told.recv().unwrap();
            if received {
                server.expect("received");
            }
            until(|| is_asleep(format_args!("self/task/{caller}")));
            server.kill();
            let (client, outcome) = call.join().unwrap();
            let error = outcome.unwrap_err();
            assert!(
                matches!(error, CallError::ServerDied { received: it, .. } if it == received),
                "{role}: {error}"
            );
            // The same client finds the next server, which does not execute the old request.
            let server = Calculator::bind(stage.name()).unwrap();
            assert!(server.try_recv().unwrap_err().is_empty(), "{role}");
            let closer = server.closer();
            let serving = scope.spawn(move || server.serve(answer));
            assert_eq!(client.call(&ask("add one", 5)).unwrap(), 6);
            closer.close();
            serving.join().unwrap().unwrap();
        });
    }
}

#[test]
fn each_of_many_callers_is_told_whether_the_server_that_died_had_its_request() {
    for taken in [0, 3, 6] {
        let stage = Stage::new("many callers");
        let mut server = stage.child("takes some", &[&taken.to_string()]);
        server.expect("bound");
        // One thread each for three clients, and three calls of one more.
        let outcomes = thread::scope(|scope| {
            let calls: Vec<_> = (0..3)
                .map(|number| {
                    let client = Caller::connect(stage.name()).unwrap();
                    let (tell, told) = mpsc::channel();
                    let call = scope.spawn(move || {
                        tell.send(nix::unistd::gettid()).unwrap();
                        (number, client.call(&ask("add one", number)))
                    });
                    let caller = told.recv().unwrap();
                    until(|| is_asleep(format_args!("self/task/{caller}")));
                    call
                })
                .collect();
            let several = Caller::connect(stage.name()).unwrap();
            let requests = [3, 4, 5].map(|number| ask("add one", number));
            let pending = requests.each_ref().map(|request| several.start(request).unwrap());
            server.tell("take");
            let mut received: Vec<u64> =
                (0..taken).map(|_| server.hear().parse().unwrap()).collect();
            server.expect("received");
            server.kill();
            received.sort_unstable();
            let mut outcomes: Vec<_> = calls.into_iter().map(|call| call.join().unwrap()).collect();
            outcomes.extend((3..).zip(pending.map(|call| call.wait())));
            (received, outcomes)
        });
        let (received, outcomes) = outcomes;
        for (number, outcome) in outcomes {
            let Err(CallError::ServerDied { received: it, .. }) = outcome else {
                panic!("{number}: {outcome:?}");
            };
            assert_eq!(it, received.contains(&number), "{number} of {received:?}");
        }
        // What it had not received, nobody executes.
        let next = Calculator::bind(stage.name()).unwrap();
        assert!(next.try_recv().unwrap_err().is_empty());
    }
}

/// Whether somebody waits for the server's place.
fn stands_by(stage: &Stage) -> bool {
    // Semaphore 4 of a channel's set is the receiver's role.
    let sets = stage.objects().into_iter().filter(|object| object.kind == Kind::Set);
    sets.map(|set| set.waiting_for_zero(4)).sum::<usize>() > 0
}

#[test]
fn a_standby_has_the_requests_that_a_dead_server_had_not_received() {
    let stage = Stage::new("standby");
    let server = started(&stage, "takes none");
    let client = Caller::connect(stage.name()).unwrap();
    let mut standby = stage.child("standby", &[]);
    standby.expect("waiting");
    until(|| stands_by(&stage));
    let requests: Vec<_> = (0..5).map(|number| ask("add one", number)).collect();
    let calls: Vec<_> = requests.iter().map(|request| client.start(request).unwrap()).collect();
    server.kill();
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.wait().unwrap(), number as u64 + 1);
    }
    standby.expect("bound");
}

#[test]
fn calls_that_may_be_repeated_survive_their_server() {
    let stage = Stage::new("repeatable");
    let mut server = started(&stage, "takes one");
    let client: Caller = ClientOptions::new().repeatable().connect(stage.name()).unwrap();
    let mut standby = stage.child("standby", &[]);
    standby.expect("waiting");
    until(|| stands_by(&stage));
    thread::scope(|scope| {
        let call = scope.spawn(move || client.call(&ask("add one", 1)));
        server.expect("received");
        server.kill();
        assert_eq!(call.join().unwrap().unwrap(), 2);
    });
}

#[test]
fn a_call_that_a_dead_server_had_received_is_never_told_as_not_received() {
    for started_first in [false, true] {
        let stage = Stage::new("received before");
        let mut server = started(&stage, "takes one");
        let client: Caller = ClientOptions::new().repeatable().connect(stage.name()).unwrap();
        let mut standby = stage.child("idle standby", &[]);
        standby.expect("waiting");
        until(|| stands_by(&stage));
        let outcome = thread::scope(|scope| {
            let call = scope.spawn(move || {
                let (request, timeout) = (ask("add one", 1), Duration::from_secs(2));
                if started_first {
                    client.start_timeout(&request, timeout).unwrap().wait()
                } else {
                    client.call_timeout(&request, timeout)
                }
            });
            server.expect("received");
            server.kill();
            // The next server has the place and takes nothing.
            standby.expect("bound");
            call.join().unwrap()
        });
        let received = matches!(outcome, Err(CallError::Timeout { received: true, .. }));
        assert!(received, "{outcome:?}");
    }
}

#[test]
fn a_client_that_is_killed_frees_its_place_and_stops_no_other() {
    let stage = Stage::new("client killed");
    let options = ServerOptions::new().clients(2);
    let server: Calculator = options.bind(stage.name()).unwrap();
    let closer = server.closer();
    let served = &AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(move || {
            let served = server.serve_concurrently(2, |request| {
                served.fetch_add(1, Ordering::Relaxed);
                answer(request)
            });
            served.unwrap();
        });
        let other = Caller::connect(stage.name()).unwrap();
        for number in 0..20 {
            let mut client = stage.child("client that goes on", &[]);
            client.expect("connected");
            let before = served.load(Ordering::Relaxed);
            until(|| served.load(Ordering::Relaxed) > before + 5);
            client.kill();
            assert_eq!(other.call(&ask("add one", number)).unwrap(), number + 1);
        }
        closer.close();
    });
}

#[test]
fn clients_that_come_call_once_and_go_leave_nothing() {
    let stage = Stage::new("come and go");
    let server: Server<u64, u64> = ServerOptions::new().clients(2).bind(stage.name()).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || server.serve(|number| number));
    let before = stage.objects();
    for number in 0..2_000 {
        let client = Client::<u64, u64>::connect(stage.name()).unwrap();
        assert_eq!(client.call(&number).unwrap(), number);
    }
    assert_eq!(stage.objects(), before);
    closer.close();
    serving.join().unwrap().unwrap();
    assert!(stage.objects().is_empty());
}

#[test]
fn a_client_finds_a_server_whose_channel_was_removed() {
    let stage = Stage::new("removed");
    let server = started(&stage, "server");
    let client = Caller::connect(stage.name()).unwrap();
    assert_eq!(client.call(&ask("add one", 1)).unwrap(), 2);
    server.kill();
    sysv_channel::Channel::<()>::unlink(stage.name()).unwrap();
    let _server = started(&stage, "server");
    assert_eq!(client.call(&ask("add one", 2)).unwrap(), 3);
}

/// Longer than a test may take.
const FOR_EVER: Duration = Duration::from_secs(1000);

/// Runs it in a thread of its own; says when that sleeps, or has ended.
fn asleep<R: Send + 'static>(
    what: impl FnOnce() -> R + Send + 'static,
) -> (thread::JoinHandle<R>, impl Fn() -> bool) {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        tell.send(nix::unistd::gettid()).unwrap();
        what()
    });
    let id = told.recv().unwrap();
    let rests = move || {
        let path = format!("/proc/self/task/{id}");
        !std::path::Path::new(&path).exists() || is_asleep(format_args!("self/task/{id}"))
    };
    (thread, rests)
}

#[test]
fn a_caller_hears_of_a_death_although_the_next_server_does_not_serve_yet() {
    let stage = Stage::new("idle standby");
    let mut server = started(&stage, "takes one");
    let client = Caller::connect(stage.name()).unwrap();
    let mut standby = stage.child("idle standby", &[]);
    standby.expect("waiting");
    until(|| stands_by(&stage));
    let request = ask("add one", 1);
    let call = client.start_timeout(&request, FOR_EVER).unwrap();
    server.expect("received");
    server.kill();
    standby.expect("bound");
    let error = call.wait().unwrap_err();
    assert!(matches!(error, CallError::ServerDied { received: true, .. }), "{error}");
}

#[test]
fn a_caller_hears_at_once_that_the_channel_was_removed_and_finds_the_next() {
    for (role, received) in [("takes one", true), ("takes none", false)] {
        let stage = Stage::new("removed in a call");
        let mut server = started(&stage, role);
        let client = Caller::connect(stage.name()).unwrap();
        let (calling, rests) = asleep(move || {
            let outcome = client.call_timeout(&ask("add one", 1), FOR_EVER);
            (client, outcome)
        });
        if received {
            server.expect("received");
        }
        until(rests);
        sysv_channel::Channel::<()>::unlink(stage.name()).unwrap();
        let (client, outcome) = calling.join().unwrap();
        let error = outcome.unwrap_err();
        assert!(
            matches!(error, CallError::ServerDied { received: it, .. } if it == received),
            "{role}: {error}"
        );
        let _server = started(&stage, "server");
        assert_eq!(client.call(&ask("add one", 2)).unwrap(), 3);
    }
}

#[test]
fn a_call_that_was_received_is_not_executed_again_when_the_channel_is_removed_then() {
    let stage = Stage::new("removed when received");
    let bind = || -> Server<u64, u64> {
        ServerOptions::new().drain(Duration::ZERO).bind(stage.name()).unwrap()
    };
    for _ in 0..100 {
        let server = bind();
        let client = Client::<u64, u64>::connect(stage.name()).unwrap();
        let calling = thread::spawn(move || client.call_timeout(&1, FOR_EVER));
        let request = server.recv().unwrap();
        sysv_channel::Channel::<()>::unlink(stage.name()).unwrap();
        drop((request, server));
        let next = bind();
        while !calling.is_finished() {
            assert!(next.try_recv().is_err_and(|error| error.is_empty()), "executed twice");
            thread::yield_now();
        }
        match calling.join().unwrap().unwrap_err() {
            CallError::ServerDied { received: true, .. } | CallError::Dropped { .. } => {}
            error => panic!("{error}"),
        }
    }
}

#[test]
fn a_reply_that_came_before_the_channel_was_removed_is_its_callers() {
    let stage = Stage::new("replied and removed");
    for len in [9, 20_000, 100_000] {
        let server: Server<u32, Bytes> =
            ServerOptions::new().drain(Duration::ZERO).bind(stage.name()).unwrap();
        let client = Client::<u32, Bytes>::connect(stage.name()).unwrap();
        let start = |call| client.start_timeout(call, FOR_EVER).unwrap();
        let [none, first, second] = [&0, &1, &2].map(start);
        let requests = [(); 3].map(|()| server.recv().unwrap().unwrap());
        let [_, one, two] = requests;
        one.reply(&vec![7; 9].into()).unwrap();
        two.reply(&vec![7; len].into()).unwrap();
        sysv_channel::Channel::<()>::unlink(stage.name()).unwrap();
        // Also for a call that hears of the removal before it is waited for.
        let error = none.wait().unwrap_err();
        assert!(matches!(error, CallError::ServerDied { received: true, .. }), "{error}");
        assert_eq!(first.wait().unwrap().len(), 9);
        match second.wait() {
            Ok(reply) => assert_eq!(reply.len(), len),
            // The rest of this one was not there.
            Err(CallError::ServerDied { received: true, .. }) => assert_eq!(len, 100_000),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_caller_that_waits_has_the_reply_that_came_before_the_channel_was_removed() {
    let stage = Stage::new("removed right behind the reply");
    for _ in 0..200 {
        let server: Server<u64, u64> = Server::bind(stage.name()).unwrap();
        let client = Client::<u64, u64>::connect(stage.name()).unwrap();
        let (calling, rests) = asleep(move || client.call_timeout(&1, FOR_EVER));
        let request = server.recv().unwrap().unwrap();
        until(rests);
        request.reply(&2).unwrap();
        sysv_channel::Channel::<()>::unlink(stage.name()).unwrap();
        assert_eq!(calling.join().unwrap().unwrap(), 2);
    }
}

#[test]
fn a_client_that_only_tries_finds_the_server_after_a_removal() {
    let stage = Stage::new("tries after a removal");
    let server = started(&stage, "server");
    let client = Caller::connect(stage.name()).unwrap();
    assert_eq!(client.try_call(&ask("add one", 1)).unwrap(), 2);
    sysv_channel::Channel::<()>::unlink(stage.name()).unwrap();
    server.kill();
    let _next = started(&stage, "server");
    let error = client.try_call(&ask("add one", 2)).unwrap_err();
    assert!(matches!(error, CallError::ServerDied { received: false, .. }), "{error}");
    assert_eq!(client.try_call(&ask("add one", 3)).unwrap(), 4);
}

#[test]
fn a_call_that_is_made_again_in_vain_says_that_it_had_been_received() {
    let stage = Stage::new("made again in vain");
    let server: Server<u64, u64> = Server::bind(stage.name()).unwrap();
    let client = ClientOptions::new().repeatable();
    let client: Client<u64, u64> = client.connect(stage.name()).unwrap();
    let (calling, rests) = asleep(move || client.call_timeout(&1, Duration::from_secs(1)));
    let request = server.recv().unwrap();
    server.closer().close();
    drop((request, server));
    // It waits for the next server, of the same channel.
    until(rests);
    sysv_channel::Channel::<()>::unlink(stage.name()).unwrap();
    match calling.join().unwrap().unwrap_err() {
        CallError::ServerDied { received: true, .. }
        | CallError::Timeout { received: true, .. } => {}
        error => panic!("{error}"),
    }
}

#[test]
fn a_server_that_was_closed_gives_its_place_up_when_it_has_served() {
    for threads in [1, 2] {
        let stage = Stage::new("served to the end");
        let server: Server<u64, u64> = Server::bind(stage.name()).unwrap();
        let client = Client::<u64, u64>::connect(stage.name()).unwrap();
        let closer = server.closer();
        let serving = thread::spawn(move || {
            let served = match threads {
                1 => server.serve(|number| number + 1),
                threads => server.serve_concurrently(threads, |number| number + 1),
            };
            served.unwrap();
            server
        });
        assert_eq!(client.call(&1).unwrap(), 2);
        closer.close();
        let server = serving.join().unwrap();
        let error = client.try_call(&2).unwrap_err();
        assert!(matches!(error, CallError::ServerDied { received: false, .. }), "{error}");
        assert!(server.try_recv().unwrap().is_none());
        let next: Server<u64, u64> = Server::bind(stage.name()).unwrap();
        let call = client.start(&3).unwrap();
        next.recv().unwrap().unwrap().reply(&4).unwrap();
        // The first takes nothing with it.
        drop(server);
        assert_eq!(call.wait().unwrap(), 4);
        let call = client.start(&5).unwrap();
        next.recv().unwrap().unwrap().reply(&6).unwrap();
        assert_eq!(call.wait().unwrap(), 6);
    }
}

#[test]
fn a_started_call_waits_for_the_next_server_where_the_last_was_closed() {
    let stage = Stage::new("started without a server");
    let server: Server<u64, u64> = Server::bind(stage.name()).unwrap();
    let client = Client::<u64, u64>::connect(stage.name()).unwrap();
    drop(server);
    let error = client.start_timeout(&1, Duration::from_millis(1)).map(drop).unwrap_err();
    assert!(matches!(error, CallError::Timeout { received: false, .. }), "{error}");
    let (starting, rests) = asleep(move || {
        let started = client.start_timeout(&2, FOR_EVER).unwrap();
        started.wait()
    });
    until(rests);
    let server: Server<u64, u64> = Server::bind(stage.name()).unwrap();
    let request = server.recv().unwrap().unwrap();
    let double = request.query() * 2;
    request.reply(&double).unwrap();
    assert_eq!(starting.join().unwrap().unwrap(), 4);
}

#[test]
fn a_server_without_room_for_replies_is_refused() {
    let stage = Stage::new("no replies");
    let bound: Result<Calculator, _> = ServerOptions::new().reply_capacity(0).bind(stage.name());
    let error = bound.unwrap_err();
    assert!(matches!(error, BindError::InvalidOptions { .. }), "{error}");
    assert!(error.to_string().contains("reply_capacity"), "{error}");
}

#[test]
fn a_server_tells_nothing_there_from_time_over_and_from_closed() {
    let stage = Stage::new("three ends");
    let server = Calculator::bind(stage.name()).unwrap();
    assert!(server.try_recv().unwrap_err().is_empty());
    assert!(server.recv_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    assert!(!server.is_closed());
    server.closer().close();
    assert!(server.is_closed());
    assert!(server.recv().unwrap().is_none());
    assert!(server.try_recv().unwrap().is_none());
    assert!(server.recv_timeout(FOR_EVER).unwrap().is_none());
}

#[test]
fn calls_by_the_thousand_can_be_started_before_the_first_is_waited_for() {
    let stage = Stage::new("thousands");
    let server = Server::<u64, Bytes>::bind(stage.name()).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || server.serve(|number| vec![number as u8; 200].into()));
    let client = Client::<u64, Bytes>::connect(stage.name()).unwrap();
    let numbers: Vec<u64> = (0..5000).collect();
    let calls: Vec<_> =
        numbers.iter().map(|number| client.start_timeout(number, FOR_EVER).unwrap()).collect();
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(*call.wait().unwrap(), *vec![number as u8; 200]);
    }
    closer.close();
    serving.join().unwrap().unwrap();
}

#[test]
fn the_longest_value_is_that_of_the_request_and_of_the_reply_alone() {
    // In one record, and in fragments.
    [64 << 10, 4096].into_iter().for_each(longest_values);
}

fn longest_values(capacity: usize) {
    let stage = Stage::new("longest");
    let options = ServerOptions::new().max_value(10_000);
    let options = options.capacity(capacity).reply_capacity(capacity);
    let server: Server<Bytes, Bytes> = options.bind(stage.name()).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || {
        server.serve(|bytes| if bytes.is_empty() { vec![0; 30_000].into() } else { bytes })
    });
    let client = Client::<Bytes, Bytes>::connect(stage.name()).unwrap();
    // In front of the bytes stand eight that say how many they are.
    assert_eq!(client.call(&vec![7; 9_992].into()).unwrap().len(), 9_992);
    let error = client.call(&vec![7; 9_993].into()).unwrap_err();
    assert!(error.to_string().contains("10000 bytes"), "{error}");
    let error = client.call(&Bytes::from(Vec::new())).unwrap_err();
    assert!(
        matches!(&error, CallError::Unsendable { why, .. } if why.contains("10000")),
        "{error}"
    );
    closer.close();
    serving.join().unwrap().unwrap();

    let stage = Stage::new("longest reply");
    let server: Server<u32, Bytes> = options.bind(stage.name()).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || server.serve(|len| vec![7; len as usize].into()));
    let client = Client::<u32, Bytes>::connect(stage.name()).unwrap();
    assert_eq!(client.call(&9_992).unwrap().len(), 9_992);
    assert!(matches!(client.call(&9_993).unwrap_err(), CallError::Unsendable { .. }));
    closer.close();
    serving.join().unwrap().unwrap();
}

#[test]
fn a_client_that_reads_nothing_stops_no_server_however_long_that_looks_around() {
    for spin in [Duration::from_secs(1000), Duration::MAX] {
        let stage = Stage::new("spins for ever");
        let options = ServerOptions::new().reply_capacity(4096).spin(spin);
        let options = options.drain(Duration::from_millis(1));
        let server: Server<u32, Bytes> = options.bind(stage.name()).unwrap();
        let closer = server.closer();
        let serving = thread::spawn(move || server.serve(|len| vec![7; len as usize].into()));
        let idle = Client::<u32, Bytes>::connect(stage.name()).unwrap();
        let _reads_nothing = idle.start(&(1 << 20)).unwrap();
        let other = Client::<u32, Bytes>::connect(stage.name()).unwrap();
        assert_eq!(other.call_timeout(&10, FOR_EVER).unwrap().len(), 10);
        closer.close();
        serving.join().unwrap().unwrap();
    }
}

#[test]
fn a_reply_that_is_finished_waits_for_no_other_clients_handler() {
    let stage = Stage::new("finished reply");
    let server: Server<u32, Bytes> =
        ServerOptions::new().reply_capacity(4096).bind(stage.name()).unwrap();
    let closer = server.closer();
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let (enter, entered) = mpsc::channel::<()>();
    let enter = std::sync::Mutex::new(enter);
    let (serving, _) = asleep(move || {
        server.serve_concurrently(2, |len| {
            if len == 0 {
                enter.lock().unwrap().send(()).unwrap();
                released.lock().unwrap().recv().unwrap();
            }
            vec![7; len as usize].into()
        })
    });
    let connect = || Client::<u32, Bytes>::connect(stage.name()).unwrap();
    let (first, others) = (connect(), [connect(), connect(), connect()]);
    let call = first.start_timeout(&(1 << 20), FOR_EVER).unwrap();
    let block = |client: &Client<u32, Bytes>| drop(client.call_timeout(&0, FOR_EVER).unwrap());
    thread::scope(|scope| {
        for client in others {
            scope.spawn(move || block(&client));
        }
        // One handler waits for the release, and one for the other's.
        (0..2).for_each(|_| entered.recv().unwrap());
        assert_eq!(call.wait().unwrap().len(), 1 << 20);
        (0..3).for_each(|_| release.send(()).unwrap());
    });
    closer.close();
    serving.join().unwrap().unwrap();
}

#[test]
fn a_reply_under_way_when_the_server_is_closed_arrives_whole() {
    for threads in [1, 2] {
        let stage = Stage::new("closed under way");
        let server: Server<u32, Bytes> =
            ServerOptions::new().drain(FOR_EVER).bind(stage.name()).unwrap();
        let closer = server.closer();
        let closed = std::sync::Arc::new(AtomicU64::new(0));
        let tell = closed.clone();
        let answer = move |len| {
            closer.close();
            tell.store(1, Ordering::Relaxed);
            Bytes::from(vec![7; len as usize])
        };
        let (serving, rests) = asleep(move || match threads {
            1 => server.serve(answer),
            threads => server.serve_concurrently(threads, answer),
        });
        let client = Client::<u32, Bytes>::connect(stage.name()).unwrap();
        let len = 10 << 20;
        let call = client.start_timeout(&len, FOR_EVER).unwrap();
        // The handler has closed the server, which waits for this client, or has ended.
        until(|| closed.load(Ordering::Relaxed) > 0 && rests());
        assert_eq!(call.wait().unwrap().len(), len as usize);
        serving.join().unwrap().unwrap();
    }
}

#[test]
fn what_a_server_that_is_dropped_has_received_is_answered_and_the_rest_goes_back() {
    let stage = Stage::new("dropped server");
    let server: Calculator = ServerOptions::new().drain(FOR_EVER).bind(stage.name()).unwrap();
    let client = Caller::connect(stage.name()).unwrap();
    let (one, two) = (ask("one", 1), ask("two", 2));
    let received = client.start_timeout(&one, FOR_EVER).unwrap();
    let not_received = client.start_timeout(&two, FOR_EVER).unwrap();
    let (query, port) = server.recv().unwrap().unwrap().into_parts();
    let (dropping, rests) = asleep(move || drop(server));
    until(rests);
    port.reply(&(query.1 + 10)).unwrap();
    dropping.join().unwrap();
    assert_eq!(received.wait().unwrap(), 11);
    let error = not_received.wait().unwrap_err();
    assert!(matches!(error, CallError::ServerDied { received: false, .. }), "{error}");
}

#[test]
fn a_server_that_is_dropped_waits_for_its_drain_and_no_longer() {
    let stage = Stage::new("drain");
    let options = ServerOptions::new().drain(Duration::from_millis(10));
    let server: Calculator = options.bind(stage.name()).unwrap();
    let client = Caller::connect(stage.name()).unwrap();
    let one = ask("one", 1);
    let call = client.start_timeout(&one, FOR_EVER).unwrap();
    let request = server.recv().unwrap().unwrap();
    drop(server);
    let error = call.wait().unwrap_err();
    assert!(matches!(error, CallError::ServerDied { received: true, .. }), "{error}");
    assert!(matches!(request.reply(&1).unwrap_err(), ReplyError::ClientGone { .. }));
}

#[test]
fn a_request_that_a_closing_server_drops_is_repeated_if_its_client_allows_it() {
    for repeatable in [true, false] {
        let stage = Stage::new("dropped in closing");
        let server = Calculator::bind(stage.name()).unwrap();
        let options = ClientOptions::new().deadline(FOR_EVER);
        let options = if repeatable { options.repeatable() } else { options };
        let client: Caller = options.connect(stage.name()).unwrap();
        let calling = thread::spawn(move || client.call(&ask("add one", 1)));
        let request = server.recv().unwrap().unwrap();
        server.closer().close();
        drop(request);
        if !repeatable {
            let error = calling.join().unwrap().unwrap_err();
            assert!(matches!(error, CallError::ServerDied { received: true, .. }), "{error}");
            continue;
        }
        // The server that is closed does not take the call again.
        assert!(server.recv().unwrap().is_none());
        drop(server);
        let next = Calculator::bind(stage.name()).unwrap();
        let request = next.recv().unwrap().unwrap();
        assert_eq!(request.query().1, 1);
        request.reply(&2).unwrap();
        assert_eq!(calling.join().unwrap().unwrap(), 2);
    }
}

#[test]
fn a_caller_is_told_why_although_the_reason_is_longer_than_the_longest_value() {
    let stage = Stage::new("long reason");
    let server: Server<u32, Bytes> = ServerOptions::new().max_value(16).bind(stage.name()).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || {
        server.serve(|len| match len {
            0 => panic!("a reason of more than sixteen bytes"),
            len => vec![7; len as usize].into(),
        })
    });
    let client = Client::<u32, Bytes>::connect(stage.name()).unwrap();
    let error = client.call_timeout(&0, FOR_EVER).unwrap_err();
    assert!(
        matches!(&error, CallError::Panicked { message: why, .. } if why == "a reason of more"),
        "{error}"
    );
    let error = client.call_timeout(&100, FOR_EVER).unwrap_err();
    assert!(matches!(&error, CallError::Unsendable { why, .. } if why.len() == 16), "{error}");
    closer.close();
    serving.join().unwrap().unwrap();
}

/// A child in a time namespace whose clock is a day ahead; none where that is not allowed.
fn of_another_time(stage: &Stage, role: &str) -> Option<Child> {
    let mut child = Child::start(role, &[stage.name()], kernel::unshare_time);
    if child.hear() == kernel::time_namespace() {
        println!("skipped: no time namespace of our own");
        return None;
    }
    Some(child)
}

#[test]
fn a_server_in_another_time_namespace_is_called() {
    let stage = Stage::new("server ahead");
    let Some(server) = of_another_time(&stage, "server of another time") else { return };
    let client = Caller::connect(stage.name()).unwrap();
    for number in 0..3 {
        assert_eq!(client.call_timeout(&ask("add one", number), FOR_EVER).unwrap(), number + 1);
    }
    drop(server);
}

#[test]
fn a_deadline_from_another_time_namespace_is_kept() {
    let stage = Stage::new("client ahead");
    let server = Calculator::bind(stage.name()).unwrap();
    let Some(mut client) = of_another_time(&stage, "client of another time") else { return };
    let timeout = Duration::from_secs(1000);
    client.tell(&timeout.as_micros().to_string());
    client.expect("started");
    let request = server.recv().unwrap().unwrap();
    let (_, responder) = request.into_parts();
    let remaining = responder.remaining().unwrap();
    assert!(!remaining.is_zero() && remaining <= timeout, "{remaining:?}");
    responder.reply(&2).unwrap();
    client.expect("Ok(2)");
    assert_eq!(client.finish(), Vec::<String>::new());

    let mut client = of_another_time(&stage, "client of another time").unwrap();
    client.tell("1");
    client.expect("started");
    client.expect("Err(true)");
    // It is late, and is not started.
    let received = server.try_recv();
    assert!(matches!(&received, Err(error) if error.is_empty()), "{received:?}");
    assert_eq!(client.finish(), Vec::<String>::new());
}

/// What a handler is asked to do with its own server.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug)]
enum Inward {
    Call,
    TryCall,
    Wait,
    /// Starts a call, and has its reply when it is next asked.
    Later,
    Reply,
    /// Calls another server.
    Other,
    Nothing,
}

/// Does so; replies with what came of it.
fn inward(own: &Client<Inward, String>, other: &Client<u64, u64>, what: Inward) -> String {
    let outcome = match what {
        Inward::Call => own.call_timeout(&Inward::Nothing, FOR_EVER),
        Inward::TryCall => own.try_call(&Inward::Nothing),
        Inward::Wait => own.start_timeout(&Inward::Nothing, FOR_EVER).and_then(|call| call.wait()),
        Inward::Other => other.call_timeout(&7, FOR_EVER).map(|number| number.to_string()),
        _ => Ok("nothing".to_owned()),
    };
    match outcome {
        Ok(said) => said,
        Err(CallError::OwnServer { .. }) => "own server".to_owned(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_handler_that_calls_its_own_server_is_told_at_once() {
    let (stage, other_stage) = (Stage::new("inward"), Stage::new("outward"));
    let other = Server::<u64, u64>::bind(other_stage.name()).unwrap();
    let other_closer = other.closer();
    let other = thread::spawn(move || other.serve(|number| number));
    for threads in [0, 1] {
        let server = Server::<Inward, String>::bind(stage.name()).unwrap();
        let (closer, name) = (server.closer(), stage.name().to_owned());
        let outward = other_stage.name().to_owned();
        let serving = thread::spawn(move || {
            let handler = |what| {
                let own = Client::<Inward, String>::connect(name.as_str()).unwrap();
                let other = Client::<u64, u64>::connect(outward.as_str()).unwrap();
                inward(&own, &other, what)
            };
            match threads {
                0 => server.serve(handler),
                threads => server.serve_concurrently(threads, handler),
            }
        });
        let client = Client::<Inward, String>::connect(stage.name()).unwrap();
        for what in [Inward::Call, Inward::TryCall, Inward::Wait] {
            assert_eq!(client.call_timeout(&what, FOR_EVER).unwrap(), "own server", "{what:?}");
        }
        assert_eq!(client.call_timeout(&Inward::Other, FOR_EVER).unwrap(), "7");
        assert_eq!(client.call_timeout(&Inward::Nothing, FOR_EVER).unwrap(), "nothing");
        closer.close();
        serving.join().unwrap().unwrap();
    }
    other_closer.close();
    other.join().unwrap().unwrap();
}

#[test]
fn a_handler_calls_its_own_server_where_another_thread_answers() {
    let stage = Stage::new("inward by two");
    let server = Server::<Inward, String>::bind(stage.name()).unwrap();
    let (closer, name) = (server.closer(), stage.name().to_owned());
    let serving = thread::spawn(move || {
        server.serve_concurrently(2, |what| match what {
            Inward::Call => {
                let own = Client::<Inward, String>::connect(name.as_str()).unwrap();
                own.call_timeout(&Inward::Nothing, FOR_EVER).unwrap()
            }
            _ => "nothing".to_owned(),
        })
    });
    let client = Client::<Inward, String>::connect(stage.name()).unwrap();
    for _ in 0..100 {
        assert_eq!(client.call_timeout(&Inward::Call, FOR_EVER).unwrap(), "nothing");
    }
    closer.close();
    serving.join().unwrap().unwrap();
}

#[test]
fn a_handler_has_the_reply_of_its_own_server_to_a_call_that_it_started_before() {
    let stage = Stage::new("inward later");
    let server = Server::<Inward, String>::bind(stage.name()).unwrap();
    let (closer, name) = (server.closer(), stage.name().to_owned());
    let serving = thread::spawn(move || {
        let own = Client::<Inward, String>::connect(name.as_str()).unwrap();
        let mut started = None;
        server.serve(|what| match what {
            Inward::Later => {
                started = Some(own.start_timeout(&Inward::Nothing, FOR_EVER).unwrap());
                "started".to_owned()
            }
            // The server has answered it by now: it takes from each client in turn.
            Inward::Reply => match started.take().unwrap().wait() {
                Ok(said) => format!("it said {said}"),
                Err(CallError::OwnServer { .. }) => "own server".to_owned(),
                Err(error) => panic!("{error}"),
            },
            _ => "nothing".to_owned(),
        })
    });
    let client = Client::<Inward, String>::connect(stage.name()).unwrap();
    assert_eq!(client.call_timeout(&Inward::Later, FOR_EVER).unwrap(), "started");
    for _ in 0..10 {
        assert_eq!(client.call_timeout(&Inward::Nothing, FOR_EVER).unwrap(), "nothing");
    }
    assert_eq!(client.call_timeout(&Inward::Reply, FOR_EVER).unwrap(), "it said nothing");
    closer.close();
    serving.join().unwrap().unwrap();
}

#[test]
fn a_handler_whose_client_is_of_a_removed_channel_is_told_that_its_server_has_the_next() {
    let stage = Stage::new("inward again");
    let first = Server::<Inward, String>::bind(stage.name()).unwrap();
    let own = Client::<Inward, String>::connect(stage.name()).unwrap();
    drop(first);
    sysv_channel::Channel::<()>::unlink(stage.name()).unwrap();
    let server = Server::<Inward, String>::bind(stage.name()).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || {
        server.serve(|what| match what {
            Inward::Call => match own.call_timeout(&Inward::Nothing, FOR_EVER) {
                Err(CallError::OwnServer { .. }) => "own server".to_owned(),
                other => panic!("{other:?}"),
            },
            _ => "nothing".to_owned(),
        })
    });
    let client = Client::<Inward, String>::connect(stage.name()).unwrap();
    assert_eq!(client.call_timeout(&Inward::Call, FOR_EVER).unwrap(), "own server");
    closer.close();
    serving.join().unwrap().unwrap();
}

#[test]
fn a_server_that_is_closed_loses_no_reply_to_a_client_that_waits_for_room() {
    for len in [8, 3000, 60_000] {
        let stage = Stage::new("full client");
        let options = ServerOptions::new().capacity(4096).drain(FOR_EVER);
        // What a reply begins with says which server made it.
        let bind = || -> Server<u32, Bytes> { options.bind(stage.name()).unwrap() };
        let serve = |server: Server<u32, Bytes>, number: u8| {
            let closer = server.closer();
            let answered = AtomicU64::new(0);
            let answer = |call| {
                // No reply was taken by now.
                if number == 1 && answered.fetch_add(1, Ordering::Relaxed) == 99 {
                    closer.close();
                }
                let mut bytes = vec![number; len];
                bytes[4..8].copy_from_slice(&u32::to_le_bytes(call));
                bytes.into()
            };
            server.serve(answer).unwrap();
            answered.into_inner()
        };
        let first = bind();
        let client = Client::<u32, Bytes>::connect(stage.name()).unwrap();
        let (answered, replies) = thread::scope(|scope| {
            let first = scope.spawn(|| serve(first, 1));
            let calls: Vec<u32> = (0..1000).collect();
            let (made, making) = mpsc::channel();
            let asking = scope.spawn(move || {
                let start = |call| client.start_timeout(call, FOR_EVER).unwrap();
                let pending: Vec<_> = calls.iter().map(start).collect();
                made.send(()).unwrap();
                let wait = pending.into_iter().map(|pending| pending.wait().unwrap());
                wait.collect::<Vec<Bytes>>()
            });
            let answered = first.join().unwrap();
            let second = bind();
            let closer = second.closer();
            let serving = scope.spawn(|| serve(second, 2));
            making.recv().unwrap();
            let replies = asking.join().unwrap();
            closer.close();
            serving.join().unwrap();
            (answered, replies)
        });
        assert_eq!(answered, 100);
        let of_first = replies.iter().filter(|reply| reply[0] == 1).count();
        assert_eq!((replies.len(), of_first), (1000, 100), "{len}");
        for (call, reply) in replies.iter().enumerate() {
            assert_eq!(reply[4..8], (call as u32).to_le_bytes());
        }
    }
}

#[test]
fn a_server_that_ends_waits_for_no_reply_that_no_client_waits_for() {
    for given_up in ["before", "meanwhile", "late"] {
        let stage = Stage::new("given up");
        let options = ServerOptions::new().drain(FOR_EVER);
        let server: Server<u32, Bytes> = options.bind(stage.name()).unwrap();
        let client = Client::<u32, Bytes>::connect(stage.name()).unwrap();
        let timeout = if given_up == "late" { Duration::from_millis(200) } else { FOR_EVER };
        let start = |call| client.start_timeout(call, timeout).unwrap();
        // The ring takes the first reply, and this client none.
        let mut pending: Vec<_> = [1, 2, 3].iter().map(start).collect();
        for len in [9, 100_000, 100_000] {
            let request = server.recv().unwrap().unwrap();
            request.reply(&vec![7; len].into()).unwrap();
        }
        let first = pending.remove(0);
        match given_up {
            "before" => {
                drop(pending);
                drop(server);
            }
            "meanwhile" => {
                let (dropping, rests) = asleep(move || drop(server));
                until(rests);
                drop(pending);
                dropping.join().unwrap();
            }
            _ => drop(server),
        }
        if given_up != "late" {
            assert_eq!(first.wait().unwrap().len(), 9);
        }
    }
}

#[test]
fn a_server_that_ends_waits_for_no_request_in_hand_whose_caller_waits_no_more() {
    for given_up in ["before", "meanwhile", "late"] {
        let stage = Stage::new("given up in hand");
        let server: Calculator = ServerOptions::new().drain(FOR_EVER).bind(stage.name()).unwrap();
        let client = Caller::connect(stage.name()).unwrap();
        let other = Caller::connect(stage.name()).unwrap();
        let timeout = if given_up == "late" { Duration::from_millis(300) } else { FOR_EVER };
        let (one, two) = (ask("one", 1), ask("two", 2));
        let mut pending = Some(client.start_timeout(&one, timeout).unwrap());
        let (_, in_hand) = server.recv().unwrap().unwrap().into_parts();
        let waited_for = other.start_timeout(&two, FOR_EVER).unwrap();
        let (_, answered) = server.recv().unwrap().unwrap().into_parts();
        if given_up == "before" {
            pending = None;
        }
        let (dropping, rests) = asleep(move || drop(server));
        until(&rests);
        assert!(!dropping.is_finished(), "what is waited for was left");
        answered.reply(&3).unwrap();
        if given_up == "meanwhile" {
            pending = None;
        }
        // It is still neither answered nor dropped.
        dropping.join().unwrap();
        assert_eq!(waited_for.wait().unwrap(), 3);
        drop((pending, in_hand));
    }
}

#[test]
fn a_server_that_ends_does_not_wait_for_a_client_that_is_killed() {
    let stage = Stage::new("killed in hand");
    let server: Calculator = ServerOptions::new().drain(FOR_EVER).bind(stage.name()).unwrap();
    let mut client = stage.child("asks one thing", &[]);
    client.expect("started");
    let (_, in_hand) = server.recv().unwrap().unwrap().into_parts();
    let (dropping, rests) = asleep(move || drop(server));
    until(rests);
    assert!(!dropping.is_finished());
    client.kill();
    dropping.join().unwrap();
    drop(in_hand);
}

#[test]
fn a_server_that_ends_answers_what_it_has_in_hand_also_when_a_reply_became_late() {
    let stage = Stage::new("late and in hand");
    let server: Server<u32, Bytes> =
        ServerOptions::new().drain(FOR_EVER).bind(stage.name()).unwrap();
    let slow = Client::<u32, Bytes>::connect(stage.name()).unwrap();
    let other = Client::<u32, Bytes>::connect(stage.name()).unwrap();
    // The ring takes the first reply, and this client none.
    let soon = Duration::from_secs(1);
    let _late = [&1, &2].map(|call| slow.start_timeout(call, soon).unwrap());
    for len in [9, 100_000] {
        server.recv().unwrap().unwrap().reply(&vec![7; len].into()).unwrap();
    }
    let received = other.start_timeout(&3, FOR_EVER).unwrap();
    let (_, port) = server.recv().unwrap().unwrap().into_parts();
    let _later = slow.start_timeout(&4, soon * 2).unwrap();
    let (_, later) = server.recv().unwrap().unwrap().into_parts();
    let dropping = thread::spawn(move || drop(server));
    until(|| later.is_cancelled());
    drop(later);
    port.reply(&vec![7; 9].into()).unwrap();
    assert_eq!(received.wait().unwrap().len(), 9);
    dropping.join().unwrap();
}

#[test]
fn a_call_that_timed_out_keeps_no_server() {
    let stage = Stage::new("timed out");
    let server: Server<u32, Bytes> =
        ServerOptions::new().drain(FOR_EVER).bind(stage.name()).unwrap();
    let client = Client::<u32, Bytes>::connect(stage.name()).unwrap();
    let first = client.start_timeout(&1, FOR_EVER).unwrap();
    let (one, two) = (server.recv().unwrap().unwrap(), 2);
    let second = client.start_timeout(&two, Duration::from_millis(200)).unwrap();
    let two = server.recv().unwrap().unwrap();
    assert!(second.wait().unwrap_err().is_timeout());
    // The client has said so, and this is not kept where it finds no room.
    one.reply(&vec![7; 9].into()).unwrap();
    let late = two.reply(&vec![7; 100_000].into()).unwrap_err();
    assert!(matches!(late, ReplyError::ClientGone { .. }), "{late}");
    drop(server);
    assert_eq!(first.wait().unwrap().len(), 9);
}

#[test]
fn a_reply_that_panics_while_it_is_decoded_is_the_error_of_its_own_call() {
    let stage = Stage::new("another's panic");
    let server: Server<u32, Fragile> = Server::bind(stage.name()).unwrap();
    let client = Client::<u32, Fragile>::connect(stage.name()).unwrap();
    let first = client.start(&1).unwrap();
    let request = server.recv().unwrap().unwrap();
    request.reply(&Fragile(2)).unwrap();
    let second = client.start(&2).unwrap();
    server.recv().unwrap().unwrap().reply(&Fragile(0)).unwrap();
    assert_eq!(second.wait().unwrap(), Fragile(0));
    assert!(matches!(first.wait().unwrap_err(), CallError::Decode { .. }));
}

#[test]
fn a_tried_call_that_may_be_repeated_is_made_again_as_any_other() {
    let stage = Stage::new("tried again");
    let server = Calculator::bind(stage.name()).unwrap();
    let options = ClientOptions::new().deadline(FOR_EVER).repeatable();
    let client: Caller = options.connect(stage.name()).unwrap();
    let calling = thread::spawn(move || client.try_call(&ask("add one", 1)));
    let request = server.recv().unwrap().unwrap();
    server.closer().close();
    drop((request, server));
    let next = Calculator::bind(stage.name()).unwrap();
    next.recv().unwrap().unwrap().reply(&2).unwrap();
    assert_eq!(calling.join().unwrap().unwrap(), 2);
}

/// A request that cannot be sent, if it says so.
#[derive(Deserialize)]
struct Sendable(bool, Bytes);

impl Serialize for Sendable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            true => (self.0, &self.1).serialize(serializer),
            false => Err(serde::ser::Error::custom("it is not sendable")),
        }
    }
}

#[test]
fn a_client_is_answered_wherever_its_ring_stood_when_its_server_went() {
    // What is used of a ring by default holds 1,024 of these.
    for calls in 1018..1030 {
        let stage = Stage::new("end of a window");
        let server: Server<Sendable, usize> = Server::bind(stage.name()).unwrap();
        let options = ClientOptions::new().deadline(FOR_EVER);
        let client: Client<Sendable, usize> = options.connect(stage.name()).unwrap();
        let short = Sendable(true, Bytes::default());
        for _ in 0..calls {
            let call = client.start(&short).unwrap();
            server.recv().unwrap().unwrap().reply(&1).unwrap();
            assert_eq!(call.wait().unwrap(), 1);
        }
        let unserved = client.start(&short).unwrap();
        let refused = Sendable(false, Bytes::default());
        assert!(matches!(client.call(&refused), Err(CallError::Send(_))));
        drop(server);
        assert!(matches!(unserved.wait(), Err(CallError::ServerDied { received: false, .. })));
        let server: Server<Sendable, usize> = Server::bind(stage.name()).unwrap();
        let closer = server.closer();
        let serving = thread::spawn(move || server.serve(|request: Sendable| request.1.len()));
        let long = Sendable(true, vec![7; 100_000].into());
        assert_eq!(client.call(&long).unwrap(), 100_000, "after {calls} calls");
        closer.close();
        serving.join().unwrap().unwrap();
    }
}
