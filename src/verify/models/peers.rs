//! Which clients have gone, and which process a client is.

use loom::thread;

use super::calls::client;
use super::{finds, finds_killed, holds, holds_killed};
use crate::model::Process;
use crate::rpc::{Client, ClientId, Event, Request, Server, ServerOptions};
use crate::sys::Fault;

fn server(name: &'static str, clients: usize) -> Server<u8, u8> {
    let options = ServerOptions::new().clients(clients).capacity(2 * 64).reply_capacity(2 * 64);
    options.bind(name).unwrap()
}

/// The client that has gone.
fn gone(server: &Server<u8, u8>) -> ClientId {
    match server.next_event().unwrap().unwrap() {
        Event::ClientGone(client) => client,
        Event::Request(request) => panic!("{request:?}"),
    }
}

/// A client of its own process that the server knows already.
fn known(server: &Server<u8, u8>, name: &'static str) -> (Process, Client<u8, u8>, ClientId) {
    let process = Process::new();
    let theirs = process.enter(|| client(name));
    let first = 1;
    let call = process.enter(|| theirs.start(&first).unwrap());
    let Some(Event::Request(request)) = server.next_event().unwrap() else { panic!() };
    let id = request.client_id();
    request.reply(&1).unwrap();
    process.enter(|| call.wait().unwrap());
    (process, theirs, id)
}

#[test]
fn a_server_that_sleeps_is_told_of_a_client_that_is_killed() {
    let model = |step| {
        let server = server("killed", 2);
        let (process, theirs, id) = known(&server, "killed");
        let dying = process.kill_at(step).spawn(move || {
            let _ = theirs.call(&2);
        });
        loop {
            match server.next_event().unwrap().unwrap() {
                Event::Request(request) => {
                    assert_eq!(request.client_id(), id);
                    let _ = request.reply(&1);
                }
                Event::ClientGone(gone) => {
                    assert_eq!(gone, id);
                    break;
                }
            }
        }
        assert!(server.try_next_event().unwrap_err().is_empty(), "it is told of once");
        dying.join();
    };
    holds_killed("client killed", model);
    finds_killed("client killed", &[Fault::GoneNotLookedFor, Fault::NoUndo], model);
}

/// A client ends, and another one has its lane before the server looks.
#[test]
fn a_server_is_told_of_a_client_whose_lane_another_has_at_once() {
    let model = || {
        let server = server("taken", 1);
        let (process, theirs, id) = known(&server, "taken");
        let changing = thread::spawn(move || {
            // It dies: it says no goodbye.
            process.spawn(move || std::mem::forget(theirs)).join();
            client("taken")
        });
        assert_eq!(gone(&server), id);
        drop(changing.join().unwrap());
    };
    holds("lane taken", model);
    finds("lane taken", &[Fault::OwnerNotTold], model);
}

/// A client is killed, and another takes its lane while the server asks which process it was.
#[test]
fn a_request_is_never_taken_for_one_of_the_process_that_has_the_lane_next() {
    let model = || {
        let server = server("process", 1);
        let process = Process::new();
        let theirs = process.enter(|| client("process"));
        let first = 1;
        let call = process.enter(|| theirs.start(&first).unwrap());
        let request: Request<u8, u8> = server.recv().unwrap().unwrap();
        let pid = request.client().unwrap().pid();
        process.enter(|| std::mem::forget(call));
        let changing = thread::spawn(move || {
            process.spawn(move || std::mem::forget(theirs)).join();
            Process::new().enter(|| std::mem::forget(client("process")));
        });
        let peer = request.client();
        assert!(peer.is_none_or(|peer| peer.pid() == pid), "{peer:?}, {pid}");
        changing.join().unwrap();
        assert_eq!(request.client(), None);
    };
    holds("process of a client", model);
    finds("process of a client", &[Fault::SameMark], model);
}
