//! Rounds in which receivers are killed that share a queue: with values in hand, at any step of taking, handing
//! over and giving back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use sysv_channel::{Channel, Receiver, SendError, Sender};

use crate::common::{Stage, random, until};
use crate::rounds::{Outcome, nothing_is_left, see_off, tally};
use crate::scene::{Parcel, Scene};
use crate::victim::{End, Role, Victim, gives_back};

/// One is killed, and another receives all the time.
pub(crate) fn kill_worker(scene: Scene, end: &End) -> Outcome {
    play("worker killed", scene, end, 1, true)
}

/// Three are killed at one time, and another comes after them.
pub(crate) fn kill_workers(scene: Scene, end: &End) -> Outcome {
    play("workers killed", scene, end, 3, false)
}

fn play(what: &'static str, scene: Scene, end: &End, victims: u64, beside: bool) -> Outcome {
    let stage = Stage::new(what);
    let channel = scene.options().receivers(3).create(stage.name()).expect("nobody uses it");
    let tx = channel.sender().unwrap();
    let survivor = beside.then(|| channel.receiver().unwrap());
    let start = |number| Victim::start(stage.name(), Role::Worker, scene, number, end);
    let victims: Vec<Victim> = (0..victims).map(start).collect();
    let enough = &AtomicBool::new(false);
    let (lasts, sent, received) = thread::scope(|scope| {
        let sending = scope.spawn(|| send_until_enough(tx, scene, &channel, enough));
        let receiving = survivor.map(|rx| scope.spawn(move || receive_all(&rx)));
        let lasts = see_off(victims, end);
        enough.store(true, Ordering::Relaxed);
        // What the killed ones had in hand comes to the one that is there, or to the next one.
        let received = match receiving {
            Some(receiving) => receiving.join().expect("receiving went well"),
            None => receive_all(&channel.receiver().unwrap()),
        };
        (lasts, sending.join().expect("sending went well"), received)
    });
    check(sent, &lasts, &received);
    assert_eq!(channel.stats().unwrap().depth(), 0);
    drop(channel);
    nothing_is_left(&stage);
    let values = received.len() + lasts.iter().map(|last| last.received().count()).sum::<usize>();
    Outcome { values: values as u64, ..tally(&lasts) }
}

/// Every value was received, and twice only those that a killed receiver told of: one of each, which it
/// had not come to hand over.
fn check(sent: u64, lasts: &[crate::victim::Last], received: &[u64]) {
    let mut told: BTreeMap<u64, u64> = received.iter().map(|&id| (id, 1)).collect();
    assert_eq!(told.len(), received.len(), "the same receiver had a value twice: {received:?}");
    for last in lasts {
        let ids: Vec<u64> = last.received().map(|(_, id)| id).collect();
        ids.iter().for_each(|&id| *told.entry(id).or_default() += 1);
    }
    assert!(told.keys().copied().eq(0..sent), "lost: {:?}", missing(sent, &told));
    let twice: u64 = told.values().map(|times| times - 1).sum();
    let killed = lasts.iter().filter(|last| last.killed).count() as u64;
    assert!(twice <= killed, "{twice} twice, {killed} killed: {told:?}");
    for (id, _) in told.iter().filter(|&(_, &times)| times > 1) {
        let in_hand = |last: &crate::victim::Last| {
            last.killed && last.received().last().is_some_and(|(_, last)| last == *id)
        };
        assert!(lasts.iter().any(in_hand), "{id} came twice, and was in no killed one's hand");
    }
}

fn missing(sent: u64, told: &BTreeMap<u64, u64>) -> Vec<u64> {
    (0..sent).filter(|id| !told.contains_key(id)).collect()
}

/// Sends until it is enough, now and then only when nothing waits; returns how many were sent.
fn send_until_enough(
    tx: Sender<Parcel>,
    scene: Scene,
    channel: &Channel<Parcel>,
    enough: &AtomicBool,
) -> u64 {
    for id in 0.. {
        loop {
            match tx.send(&scene.parcel(0, id)) {
                Ok(()) => break,
                // None has come in their place yet.
                Err(SendError::Disconnected { .. }) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        let is_enough = || enough.load(Ordering::Relaxed);
        if random(3) == 0 {
            // So that receivers sleep.
            until(|| is_enough() || channel.stats().is_ok_and(|stats| stats.queued == 0));
        }
        if is_enough() {
            return id + 1;
        }
    }
    unreachable!("parcels are numbered for ever")
}

/// Receives until the senders are gone and no value is in another's hand.
fn receive_all(rx: &Receiver<Parcel>) -> Vec<u64> {
    let mut received = Vec::new();
    loop {
        match rx.recv_guard() {
            Ok(job) if gives_back(&job) => drop(job),
            Ok(job) => {
                job.check();
                received.push(job.done().id);
            }
            Err(error) => {
                assert!(error.is_disconnected(), "{error}");
                return received;
            }
        }
    }
}
