//! Rounds in which somebody is killed who creates, goes as the last, unlinks or sweeps.

use std::thread;

use sysv_channel::{Channel, OpenError};

use crate::common::Stage;
use crate::common::kernel::Kind;
use crate::ledger::Ledger;
use crate::points::Point;
use crate::rounds::{Outcome, nothing_is_left, see_off, tally};
use crate::scene::{Parcel, Scene};
use crate::victim::{End, Role, Victim};

/// Who comes after the victim.
const SUCCESSOR: u64 = 100;

/// Who sent before the channel was removed.
const PREDECESSOR: u64 = 101;

pub(crate) fn play(role: Role, scene: Scene, end: &End) -> Outcome {
    let stage = Stage::new("come and gone");
    let mut ledger = Ledger::default();
    let start = || Victim::start(stage.name(), role, scene, 0, end);
    let ends = |victim| see_off(vec![victim], end);
    let mut may_be_lost = 0;
    let lasts = match role {
        Role::Sender
        | Role::SenderTask
        | Role::ReceiverTask
        | Role::Receiver
        | Role::Server
        | Role::Client
        | Role::StreamServer
        | Role::StreamReader
        | Role::Actor
        | Role::Standby
        | Role::Holder
        | Role::Asker
        | Role::Worker => unreachable!("they have rounds of their own"),
        Role::Visitor => {
            let lasts = ends(start());
            assert!(lasts[0].killed || stage.objects().is_empty(), "left behind by the last user");
            lasts
        }
        Role::Creator => {
            let lasts = ends(start());
            ledger.sent(0, lasts[0].sent(), lasts[0].killed);
            lasts
        }
        Role::Last => {
            let channel = scene.options().create(stage.name()).unwrap();
            let tx = channel.sender().unwrap();
            let values = scene.values_without_receiver();
            (0..values).for_each(|id| tx.send(&scene.parcel(0, id)).unwrap());
            ledger.sent(0, values, false);
            drop((tx, channel));
            let lasts = ends(start());
            lasts[0].received().for_each(|(sender, id)| ledger.received(sender, id));
            may_be_lost = u64::from(lasts[0].killed);
            lasts
        }
        Role::Unlinker => {
            let channel = scene.options().durable().create(stage.name()).unwrap();
            drop(channel);
            ends(start())
        }
        Role::Sweeper => {
            // Somebody who died as the last user left this.
            let left = Victim::start(stage.name(), Role::Visitor, scene, 0, &left_behind());
            let mut lasts = vec![left.last()];
            lasts.extend(ends(start()));
            lasts
        }
    };
    let outcome = tally(&lasts);
    if role == Role::Unlinker {
        // The next one finds it whole, half removed or gone.
        match Channel::<Parcel>::unlink(stage.name()) {
            Ok(()) => assert!(lasts[0].killed, "it was unlinked already"),
            Err(OpenError::NotFound { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    follow(&stage, scene, &mut ledger);
    ledger.check(may_be_lost);
    nothing_is_left(&stage);
    Outcome { values: ledger.receptions(), ..outcome }
}

/// Creators, openers and last users of one name get in each other's way until they are killed.
pub(crate) fn kill_visitors(scene: Scene, end: &End) -> Outcome {
    let stage = Stage::new("visitors killed");
    let visitors = (0..3).map(|_| Victim::start(stage.name(), Role::Visitor, scene, 0, end));
    let outcome = tally(&see_off(visitors.collect(), end));
    let mut ledger = Ledger::default();
    follow(&stage, scene, &mut ledger);
    ledger.check(0);
    nothing_is_left(&stage);
    Outcome { values: ledger.receptions(), ..outcome }
}

/// Somebody is killed who creates a name again whose set was removed by hand under its users.
pub(crate) fn kill_successor(scene: Scene, end: &End) -> Outcome {
    let stage = Stage::new("successor killed");
    let old = scene.options().create(stage.name()).unwrap();
    let tx = old.sender().unwrap();
    tx.send(&scene.parcel(PREDECESSOR, 0)).unwrap();
    let set = stage.objects().into_iter().find(|object| object.kind == Kind::Set).unwrap();
    set.remove();
    let lasts = see_off(vec![Victim::start(stage.name(), Role::Creator, scene, 0, end)], end);
    let mut ledger = Ledger::default();
    ledger.sent(0, lasts[0].sent(), lasts[0].killed);
    // What is sent here is for nobody, be it told or not.
    let _ = tx.try_send(&scene.parcel(PREDECESSOR, 1));
    follow(&stage, scene, &mut ledger);
    ledger.check(0);
    drop((tx, old));
    nothing_is_left(&stage);
    Outcome { values: ledger.receptions(), ..tally(&lasts) }
}

/// Killed when everything is made and nobody has begun to close.
fn left_behind() -> End {
    End::At(Point { name: "header.published".to_owned(), pass: 1 })
}

/// A successor creates the channel, finds in it what the victim sent, and uses it.
fn follow(stage: &Stage, scene: Scene, ledger: &mut Ledger) {
    let channel = scene.options().create(stage.name()).unwrap();
    let (rx, tx) = (channel.receiver().unwrap(), channel.sender().unwrap());
    thread::scope(|scope| {
        scope.spawn(move || {
            (0..2).for_each(|id| tx.send(&scene.parcel(SUCCESSOR, id)).unwrap());
        });
        for parcel in &rx {
            let parcel = parcel.expect("a value");
            parcel.check();
            ledger.received(parcel.sender, parcel.id);
        }
    });
    ledger.sent(SUCCESSOR, 2, false);
}
