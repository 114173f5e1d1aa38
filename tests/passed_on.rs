//! Servers that pass requests on, and end calls as the calls behind them ended.

#![cfg(not(loom))]

mod common;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::Stage;
use sysv_channel::SendError;
use sysv_channel::rpc::{CallError, Client, ClientOptions, ReplyError, Server};

type Front = Server<u32, u32>;
type Caller = Client<u32, u32>;

/// What a caller is told where the call behind its own ended so.
fn told(error: impl FnOnce(Arc<sysv_channel::Name>) -> CallError) -> CallError {
    let stage = Stage::new("passed on");
    let server = Front::bind(stage.name()).unwrap();
    let client = Caller::connect(stage.name()).unwrap();
    let call = client.start(&1).unwrap();
    let (_, responder) = server.recv().unwrap().unwrap().into_parts();
    responder.fail(&error(Arc::new("another".into()))).unwrap();
    let told = call.wait().unwrap_err();
    assert!(told.to_string().contains(stage.name()), "{told}");
    told
}

#[test]
fn a_caller_is_told_how_the_call_behind_its_own_ended() {
    let text = || "of the one behind".to_owned();
    let told_text = |error: &CallError| error.to_string().contains(&text());
    let error = told(|server| CallError::Panicked { server, message: text() });
    assert!(matches!(&error, CallError::Panicked { .. }) && told_text(&error), "{error}");
    let error = told(|server| CallError::Unreadable { server, why: text() });
    assert!(matches!(&error, CallError::Unreadable { .. }) && told_text(&error), "{error}");
    let error = told(|server| CallError::Unsendable { server, why: text() });
    assert!(matches!(&error, CallError::Unsendable { .. }) && told_text(&error), "{error}");
    assert!(matches!(told(|server| CallError::Dropped { server }), CallError::Dropped { .. }));
}

#[test]
fn a_caller_is_told_whether_the_server_behind_had_its_request() {
    for received in [true, false] {
        let error = told(|server| CallError::ServerDied { server, received });
        let is_true =
            matches!(error, CallError::ServerDied { received: told, .. } if told == received);
        assert!(is_true, "{error}");
    }
    // What ended in the passing client says whether it went as well.
    let error = told(|server| CallError::Timeout { server, received: false });
    assert!(matches!(error, CallError::ServerDied { received: false, .. }), "{error}");
    let error = told(|server| CallError::Full { server });
    assert!(matches!(error, CallError::ServerDied { received: false, .. }), "{error}");
}

#[test]
fn a_caller_is_told_that_the_call_behind_its_own_was_late() {
    let error = told(|server| CallError::Timeout { server, received: true });
    assert!(matches!(error, CallError::Timeout { received: true, .. }), "{error}");
    let error = told(|server| CallError::Unfinished { server, parts: 7 });
    assert!(matches!(error, CallError::Timeout { received: true, .. }), "{error}");
}

#[test]
fn a_caller_is_told_why_its_request_cannot_be_passed_on() {
    let too_long = |channel| SendError::TooLong { channel, max: 7, option: "max_value" };
    let error = told(|channel| CallError::Send(too_long(channel)));
    assert!(matches!(error, CallError::NotPassedOn { .. }), "{error}");
    assert!(error.to_string().contains("7 bytes"), "{error}");
    let error = told(|channel| CallError::Send(SendError::Forked { channel }));
    assert!(matches!(error, CallError::NotPassedOn { .. }), "{error}");
    let error = told(|server| CallError::Reentrant { server });
    assert!(matches!(error, CallError::NotPassedOn { .. }), "{error}");
    let text = || "of the one behind".to_owned();
    let error = told(|server| CallError::NotPassedOn { server, why: text() });
    assert!(matches!(&error, CallError::NotPassedOn { why, .. } if *why == text()), "{error}");
    // There may be such a server later, or never.
    let connect = |max_value, wait| {
        let options = ClientOptions::new().wait_for_server(wait).max_value(max_value);
        let stage = Stage::new("passed on connect");
        let _server = (max_value < u64::MAX).then(|| Front::bind(stage.name()).unwrap());
        options.connect::<u32, u32, _>(stage.name()).map(|_: Caller| ()).unwrap_err()
    };
    let error = told(|_| CallError::Reconnect(connect(u64::MAX, Duration::ZERO)));
    assert!(matches!(error, CallError::ServerDied { received: false, .. }), "{error}");
    let error = told(|_| CallError::Reconnect(connect(1, Duration::ZERO)));
    assert!(matches!(error, CallError::NotPassedOn { .. }), "{error}");
}

/// Has every request that comes within so long fail as this says; how many came.
fn fail_all(server: &Front, time: Duration, error: impl Fn() -> CallError) -> u32 {
    let (began, mut came) = (Instant::now(), 0);
    while began.elapsed() < time {
        if let Ok(Some(request)) = server.recv_timeout(Duration::from_millis(10)) {
            came += 1;
            // A caller that has gone has itself to blame.
            let _ = request.into_parts().1.fail(&error());
        }
    }
    came
}

type Call = fn(Caller) -> Result<u32, CallError>;
/// Each way of waiting for a call.
const CALLS: [Call; 5] = [
    |client| client.call(&1),
    |client| {
        // Others are pending.
        let _other = client.start(&2)?;
        client.call(&1)
    },
    |client| client.start(&1)?.wait(),
    |client| client.wait_any(&mut [client.start(&1)?]).unwrap().1,
    |mut client| smol::block_on(client.call_async(&1)),
];

#[test]
fn a_call_that_is_not_passed_on_for_a_while_is_repeated_with_pauses() {
    let stage = Stage::new("passed on slowly");
    let server = Front::bind(stage.name()).unwrap();
    let options = ClientOptions::new().repeatable().deadline(Duration::from_millis(300));
    let client = || -> Caller { options.connect(stage.name()).unwrap() };
    for (way, call) in CALLS.into_iter().enumerate() {
        let client = client();
        let calling = thread::spawn(move || call(client));
        let received = way % 2 == 0;
        let came = fail_all(&server, Duration::from_millis(400), || {
            let server = Arc::new("another".into());
            CallError::ServerDied { server, received }
        });
        let error = calling.join().unwrap().unwrap_err();
        let is_true = match &error {
            CallError::ServerDied { received: told, .. }
            | CallError::Timeout { received: told, .. } => *told || !received || came == 0,
            _ => false,
        };
        assert!(is_true, "{way}: {error}");
        // Ten times where none is lost, 0, 0, 1, 2, 4, ... milliseconds after each other, and the other once.
        assert!(came <= 11, "{way}: {came} times");
    }
}

#[test]
fn a_call_that_is_repeated_goes_on_when_its_pause_is_over() {
    let stage = Stage::new("passed on at last");
    let server = Front::bind(stage.name()).unwrap();
    let options = ClientOptions::new().repeatable().deadline(Duration::from_secs(1000));
    for call in CALLS {
        let client: Caller = options.connect(stage.name()).unwrap();
        let calling = thread::spawn(move || call(client));
        let mut failed = 0;
        while failed < 6 {
            let (query, responder) = server.recv().unwrap().unwrap().into_parts();
            failed += u32::from(query == 1);
            let server = Arc::new("another".into());
            responder.fail(&CallError::ServerDied { server, received: false }).unwrap();
        }
        server.recv().unwrap().unwrap().reply(&7).unwrap();
        assert_eq!(calling.join().unwrap(), Ok(7));
    }
}

#[test]
fn a_call_that_cannot_be_passed_on_is_not_repeated() {
    let stage = Stage::new("passed on never");
    let server = Front::bind(stage.name()).unwrap();
    let client: Caller = ClientOptions::new().repeatable().connect(stage.name()).unwrap();
    let calling = thread::spawn(move || (client.start(&1).unwrap().wait(), client.call(&2)));
    for _ in 0..2 {
        let channel = Arc::new("another".into());
        let refused = SendError::TooLong { channel, max: 7, option: "max_value" };
        let (_, responder) = server.recv().unwrap().unwrap().into_parts();
        responder.fail(&CallError::Send(refused)).unwrap();
    }
    let (started, called) = calling.join().unwrap();
    for error in [started.unwrap_err(), called.unwrap_err()] {
        assert!(matches!(error, CallError::NotPassedOn { .. }), "{error}");
    }
    assert!(server.try_recv().unwrap_err().is_empty());
}

#[test]
fn a_call_that_may_be_repeated_is_made_again_where_the_server_behind_had_it_not() {
    let stage = Stage::new("passed on again");
    let server = Front::bind(stage.name()).unwrap();
    let client: Caller = ClientOptions::new().repeatable().connect(stage.name()).unwrap();
    let calling = thread::spawn(move || {
        let started = client.start(&5).unwrap().wait();
        (started, client.call(&6))
    });
    for request in [5, 6] {
        let (first, responder) = server.recv().unwrap().unwrap().into_parts();
        assert_eq!(first, request);
        let server_behind = Arc::new("another".into());
        responder.fail(&CallError::ServerDied { server: server_behind, received: false }).unwrap();
        let again = server.recv().unwrap().unwrap();
        assert_eq!(*again.query(), request);
        again.reply(&(request * 10)).unwrap();
    }
    assert_eq!(calling.join().unwrap(), (Ok(50), Ok(60)));
}

#[test]
fn a_stream_ends_behind_its_parts_as_the_one_behind_ended() {
    let stage = Stage::new("passed on stream");
    let server = Front::bind(stage.name()).unwrap();
    let client = Caller::connect(stage.name()).unwrap();
    let mut stream = client.stream(&1).unwrap();
    let (_, mut responder) = server.recv().unwrap().unwrap().into_parts();
    responder.part(&7).unwrap();
    let server_behind = Arc::new("another".into());
    responder.fail(&CallError::ServerDied { server: server_behind, received: true }).unwrap();
    assert_eq!(stream.next(), Some(Ok(7)));
    let end = stream.next().unwrap().unwrap_err();
    assert!(matches!(end, CallError::ServerDied { received: true, .. }), "{end}");
    assert_eq!(stream.next(), None);
}

#[test]
fn a_stream_ends_as_late_as_the_one_behind() {
    let stage = Stage::new("passed on late");
    let server = Front::bind(stage.name()).unwrap();
    let client = Caller::connect(stage.name()).unwrap();
    for parts in [0, 2] {
        let mut stream = client.stream(&1).unwrap();
        let (_, mut responder) = server.recv().unwrap().unwrap().into_parts();
        for part in 0..parts {
            responder.part(&part).unwrap();
        }
        let server_behind = Arc::new("another".into());
        responder.fail(&CallError::Timeout { server: server_behind, received: true }).unwrap();
        assert!((0..parts).all(|part| stream.next() == Some(Ok(part))));
        let end = stream.next().unwrap().unwrap_err();
        match parts {
            0 => assert!(matches!(end, CallError::Timeout { received: true, .. }), "{end}"),
            _ => assert!(matches!(end, CallError::Unfinished { parts: 2, .. }), "{end}"),
        }
        assert_eq!(stream.next(), None);
    }
}

#[test]
fn a_caller_that_has_gone_is_not_told() {
    let stage = Stage::new("passed on to none");
    let server = Front::bind(stage.name()).unwrap();
    let client = Caller::connect(stage.name()).unwrap();
    let call = client.start_timeout(&1, Duration::from_secs(60)).unwrap();
    let (_, responder) = server.recv().unwrap().unwrap().into_parts();
    drop(call);
    let server_behind = Arc::new("another".into());
    let told = responder.fail(&CallError::Dropped { server: server_behind });
    assert!(matches!(told, Err(ReplyError::ClientGone { .. })), "{told:?}");
}
