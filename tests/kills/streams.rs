//! Rounds in which the sender or the reader of a stream of replies is killed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sysv_channel::rpc::{CallError, ClientOptions, ReplyError};

use crate::calls::{self, Caller, Echo, OnDrop};
use crate::common::Stage;
use crate::rounds::{Outcome, nothing_is_left, see_off, tally};
use crate::scene::{Parcel, Scene};
use crate::victim::{End, Role, Victim};

/// How many parts a stream has; the last is the reply.
const PARTS: u64 = 5;

/// Longer than a round may take.
const FOR_EVER: Duration = Duration::from_secs(1000);

/// Answers so many requests, each with a stream of parcels that are numbered from it.
pub(crate) fn serve(server: &Echo, scene: Scene, requests: u64) -> u64 {
    let mut whole = 0;
    for request in server.incoming().take(usize::try_from(requests).unwrap_or(usize::MAX)) {
        let (parcel, mut port) = request.expect("a request").into_parts();
        parcel.check();
        let parcel = |part| scene.parcel(parcel.sender, parcel.id + part);
        let sent = (0..PARTS - 1).try_for_each(|part| port.part(&parcel(part)));
        match sent.and_then(|()| port.reply(&parcel(PARTS - 1))) {
            Ok(()) => whole += 1,
            Err(ReplyError::ClientGone { .. } | ReplyError::Closing { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    whole
}

/// Reads a stream to its end, which may be the server's: every part comes in order, and none is missing.
pub(crate) fn read(client: &Caller, scene: Scene, number: u64, id: u64) -> Result<(), CallError> {
    let mut parts = 0;
    for next in client.stream(&scene.parcel(number, id * 10))? {
        let parcel: Parcel = next?;
        parcel.check();
        assert_eq!(
            (parcel.sender, parcel.id),
            (number, id * 10 + parts),
            "a part of another place"
        );
        parts += 1;
    }
    assert_eq!(parts, PARTS, "a stream that ended well has all parts");
    Ok(())
}

/// A reader has all parts of a stream, or a part of them and the server's death.
pub(crate) fn kill_server(scene: Scene, end: &End) -> Outcome {
    let stage = Stage::new("stream's server killed");
    let victim = Victim::start(stage.name(), Role::StreamServer, scene, 0, end);
    let enough = &AtomicBool::new(false);
    let name = stage.name();
    let (outcome, values) = thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let options = ClientOptions::new().deadline(FOR_EVER);
            let client = options.connect(name).expect("a server, and a place");
            let mut whole = 0;
            for id in 0.. {
                // Looked at before, so that the last one goes to the server that is there now.
                let last = enough.load(Ordering::Relaxed);
                match read(&client, scene, 0, id) {
                    Ok(()) => whole += 1,
                    Err(CallError::ServerDied { .. }) => assert!(!last, "the server is there"),
                    Err(error) => panic!("{error}"),
                }
                if last {
                    break;
                }
            }
            whole
        });
        let lasts = see_off(vec![victim], end);
        let next = calls::bind(name, scene);
        let closing = OnDrop(next.closer());
        let serving = scope.spawn(move || serve(&next, scene, u64::MAX));
        enough.store(true, Ordering::Relaxed);
        let whole: u64 = reading.join().expect("reading went well");
        drop(closing);
        serving.join().expect("serving went well");
        (tally(&lasts), whole * PARTS)
    });
    nothing_is_left(&stage);
    Outcome { values, ..outcome }
}

/// A reader's death stops no other reader, and no handler.
pub(crate) fn kill_reader(scene: Scene, end: &End) -> Outcome {
    let stage = Stage::new("stream's reader killed");
    let server = calls::bind(stage.name(), scene);
    let closer = server.closer();
    let (outcome, values) = thread::scope(|scope| {
        let serving = scope.spawn(move || serve(&server, scene, u64::MAX));
        let closing = OnDrop(closer);
        let other = calls::connect(stage.name());
        let victim = Victim::start(stage.name(), Role::StreamReader, scene, 1, end);
        let reading = scope.spawn(move || {
            (0..20).for_each(|id| read(&other, scene, 2, id).expect("all parts"));
            other
        });
        let lasts = see_off(vec![victim], end);
        let other = reading.join().expect("reading went well");
        // The place is free again.
        let next = calls::connect(stage.name());
        read(&next, scene, 3, 1).expect("all parts");
        drop((next, other, closing));
        (tally(&lasts), serving.join().expect("serving went well") * PARTS)
    });
    nothing_is_left(&stage);
    Outcome { values, ..outcome }
}
