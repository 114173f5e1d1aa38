//! Servers that pass requests on, and end calls as the calls behind them ended.

#![cfg(not(loom))]

mod common;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

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
    let error = told(|channel| CallError::Send(SendError::Forked { channel }));
    assert!(matches!(error, CallError::ServerDied { received: false, .. }), "{error}");
    let error = told(|server| CallError::Timeout { server, received: true });
    assert!(matches!(error, CallError::Unsendable { .. }), "{error}");
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
