//! One round: a channel under a load, somebody killed, and a look at everything that must hold.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender as Outbox};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use sysv_channel::{Receiver, SendError, Sender};

use crate::actors::{self, Part};
use crate::calls;
use crate::common::kernel::{has_ended, is_asleep};
use crate::common::{Shape, Stage, random, until};
use crate::ledger::Ledger;
use crate::lifetimes;
use crate::scene::{Load, Parcel, Scene};
use crate::streams;
use crate::victim::{End, Last, Role, Victim};
use crate::workers;

/// Whom a round kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whom {
    Sender,
    /// One that sends as a task.
    SenderTask,
    /// Three at once.
    Senders,
    Receiver,
    /// One that receives as a task.
    ReceiverTask,
    /// A sender and the receiver at once.
    Both,
    /// One of several receivers.
    Worker,
    /// All three of them at once.
    Workers,
    /// Somebody who comes or goes, alone on the channel.
    Alone(Role),
    /// A server of request and response.
    Server,
    /// One whose place a standby has at once, and whose client repeats its calls.
    ServerBesideStandby,
    /// One of its clients.
    Client,
    /// A server that replies in streams.
    StreamServer,
    /// A client that reads them.
    StreamReader,
    /// An actor, its standby, or one that holds a forwarded reply port.
    Actor(Part),
    /// Who tells and asks them.
    Asker,
    /// Three at once who come and go all the time.
    Visitors,
    /// One who creates a name again, whose set was removed by hand under its users.
    Successor,
}

impl Whom {
    /// Whether it can be in such a scene.
    pub(crate) fn plays_in(self, scene: &Scene) -> bool {
        match self {
            // Several receivers share a queue alone.
            Whom::Worker | Whom::Workers => scene.shape == Shape::QueueOnly,
            // A task that gives up does not know whether a long value was received in that moment.
            Whom::SenderTask => scene.load != Load::GivingUp,
            _ => true,
        }
    }
}

/// What a round did.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) kills: u64,
    pub(crate) values: u64,
    /// The points that victims came by, where they were counted.
    pub(crate) points: Vec<(String, u64)>,
}

/// The sender that comes after the killed ones.
const REPLACEMENT: u64 = 100;

/// Points that a receiver may come by between handing a value over and telling of it.
pub(crate) const AFTER_HAND_OVER: [&str; 13] = [
    "consume.out_of_order",
    "consume.head",
    "consume.before",
    "consume.head_hint",
    "slot.before",
    "slot.cleared",
    "fragmented.decided",
    "wake.before",
    "wake.posted",
    "semop.before",
    "semop.after",
    "space.given",
    "park.woken",
];

pub(crate) fn play(whom: Whom, scene: Scene, end: &End) -> Outcome {
    match whom {
        Whom::Sender => kill_senders(Role::Sender, scene, end, 1),
        Whom::SenderTask => kill_senders(Role::SenderTask, scene, end, 1),
        Whom::Senders => kill_senders(Role::Sender, scene, end, 3),
        Whom::Receiver => kill_receiver(Role::Receiver, scene, end),
        Whom::ReceiverTask => kill_receiver(Role::ReceiverTask, scene, end),
        Whom::Both => kill_both(scene, end),
        Whom::Worker => workers::kill_worker(scene, end),
        Whom::Workers => workers::kill_workers(scene, end),
        Whom::Alone(role) => lifetimes::play(role, scene, end),
        Whom::Server => calls::kill_server(scene, end, false),
        Whom::ServerBesideStandby => calls::kill_server(scene, end, true),
        Whom::Actor(part) => actors::kill_actor(part, scene, end),
        Whom::Asker => actors::kill_asker(scene, end),
        Whom::Client => calls::kill_client(scene, end),
        Whom::StreamServer => streams::kill_server(scene, end),
        Whom::StreamReader => streams::kill_reader(scene, end),
        Whom::Visitors => lifetimes::kill_visitors(scene, end),
        Whom::Successor => lifetimes::kill_successor(scene, end),
    }
}

/// Lets victims run, and ends those that do not end by themselves.
pub(crate) fn see_off(victims: Vec<Victim>, end: &End) -> Vec<Last> {
    if *end == End::Outside {
        // Any moment will do: before it opens, while it attaches, under full load.
        thread::sleep(Duration::from_micros(random(4_000)));
        if random(4) == 0 {
            for _ in 0..random(4) {
                victims.iter().for_each(|victim| victim.signal(Signal::SIGSTOP));
                thread::sleep(Duration::from_micros(random(300)));
                victims.iter().for_each(|victim| victim.signal(Signal::SIGCONT));
                thread::sleep(Duration::from_micros(random(300)));
            }
        }
        victims.iter().for_each(|victim| victim.signal(Signal::SIGKILL));
    }
    victims.into_iter().map(Victim::last).collect()
}

pub(crate) fn tally(lasts: &[Last]) -> Outcome {
    Outcome {
        kills: lasts.iter().filter(|last| last.killed).count() as u64,
        values: 0,
        points: lasts.iter().flat_map(Last::points).collect(),
    }
}

/// How many values killed receivers may have handed over and not told of.
pub(crate) fn in_hand(receiver: &Last, end: &End) -> u64 {
    match end {
        End::At(point) if !AFTER_HAND_OVER.contains(&&point.name[..]) => 0,
        _ => u64::from(receiver.killed),
    }
}

fn kill_senders(role: Role, scene: Scene, end: &End, count: u64) -> Outcome {
    let stage = Stage::new("senders killed");
    let channel = scene.create(&stage);
    let rx = channel.receiver().unwrap();
    let start = |number| Victim::start(stage.name(), role, scene, number, end);
    let victims: Vec<Victim> = (0..count).map(start).collect();
    let watched: Vec<u32> = victims.iter().map(Victim::id).collect();
    let (gone, goes) = mpsc::channel();
    let mut ledger = Ledger::default();
    let outcome = thread::scope(|scope| {
        let receiving = scope.spawn(move || {
            if scene.fills_up() {
                // Until it is full, or nobody is there who fills it.
                until(|| watched.iter().all(|&victim| has_stopped_running(victim)));
            }
            if scene.load == Load::GivingUp {
                // Whoever waits for a moment only gives up meanwhile, a few times.
                thread::sleep(Duration::from_millis(1));
            }
            receive_until_replaced(&rx, &gone)
        });
        let lasts = see_off(victims, end);
        if lasts.iter().any(|last| last.said("attached")) {
            // Whoever waits wakes without anybody else's help.
            goes.recv().expect("the receiver hears that the senders are gone");
        }
        let tx = channel.sender().unwrap();
        (0..3).for_each(|id| tx.send(&scene.parcel(REPLACEMENT, id)).unwrap());
        drop(tx);
        for (sender, id) in receiving.join().expect("receiving went well") {
            ledger.received(sender, id);
        }
        for (number, last) in lasts.iter().enumerate() {
            ledger.sent(number as u64, last.sent(), last.killed);
        }
        ledger.sent(REPLACEMENT, 3, false);
        tally(&lasts)
    });
    ledger.check(0);
    drop(channel);
    nothing_is_left(&stage);
    Outcome { values: ledger.receptions(), ..outcome }
}

/// Whether a process waits or has ended.
fn has_stopped_running(process: u32) -> bool {
    is_asleep(process) || has_ended(process)
}

/// Receives until the replacement's last value; says once that the senders are gone.
fn receive_until_replaced(rx: &Receiver<Parcel>, gone: &Outbox<()>) -> Vec<(u64, u64)> {
    let mut received = Vec::new();
    loop {
        match rx.recv() {
            Ok(parcel) => {
                parcel.check();
                received.push((parcel.sender, parcel.id));
                if (parcel.sender, parcel.id) == (REPLACEMENT, 2) {
                    return received;
                }
            }
            Err(error) => {
                assert!(error.is_disconnected(), "{error}");
                // Nobody listens any more once the replacement is there.
                let _ = gone.send(());
                thread::yield_now();
            }
        }
    }
}

fn kill_receiver(role: Role, scene: Scene, end: &End) -> Outcome {
    let stage = Stage::new("receiver killed");
    let channel = scene.create(&stage);
    let tx = channel.sender().unwrap();
    let victim = Victim::start(stage.name(), role, scene, 0, end);
    let process = victim.id();
    let (gone, goes) = mpsc::channel();
    let enough = &AtomicBool::new(false);
    let mut ledger = Ledger::default();
    let outcome = thread::scope(|scope| {
        let sending = scope.spawn(move || {
            if scene.load == Load::Small {
                // The receiver waits for the first value.
                until(|| has_stopped_running(process));
            }
            send_until_enough(&tx, scene, &gone, enough)
        });
        let lasts = see_off(vec![victim], end);
        let [last] = &lasts[..] else { unreachable!("one victim") };
        if last.said("attached") {
            goes.recv().expect("the sender hears that the receiver is gone");
        }
        last.received().for_each(|(sender, id)| ledger.received(sender, id));
        let rx = channel.receiver().unwrap();
        enough.store(true, Ordering::Relaxed);
        drain(&rx, &mut ledger);
        ledger.sent(0, sending.join().expect("sending went well"), false);
        ledger.check(in_hand(last, end));
        tally(&lasts)
    });
    // A value that the killed one had handed over, and not counted, does not wait.
    assert_eq!(channel.stats().unwrap().depth(), 0);
    drop(channel);
    nothing_is_left(&stage);
    Outcome { values: ledger.receptions(), ..outcome }
}

/// Sends until it is enough; says whenever the receiver is gone. Returns how many were sent.
fn send_until_enough(
    tx: &Sender<Parcel>,
    scene: Scene,
    gone: &Outbox<()>,
    enough: &AtomicBool,
) -> u64 {
    for id in 0.. {
        let parcel = scene.parcel(0, id);
        loop {
            match tx.send(&parcel) {
                Ok(()) => break,
                Err(SendError::Disconnected { .. }) => {
                    // Nobody listens any more once the replacement is there.
                    let _ = gone.send(());
                    thread::yield_now();
                }
                Err(error) => panic!("{error}"),
            }
        }
        if enough.load(Ordering::Relaxed) {
            return id + 1;
        }
    }
    unreachable!("parcels are numbered for ever")
}

/// Receives what is there and what comes, until all senders are gone.
fn drain(rx: &Receiver<Parcel>, ledger: &mut Ledger) {
    for parcel in rx {
        let parcel = parcel.expect("a value");
        parcel.check();
        ledger.received(parcel.sender, parcel.id);
    }
}

fn kill_both(scene: Scene, end: &End) -> Outcome {
    let stage = Stage::new("both killed");
    let channel = scene.create(&stage);
    let receiver = Victim::start(stage.name(), Role::Receiver, scene, 0, &End::Outside);
    let sender = Victim::start(stage.name(), Role::Sender, scene, 0, end);
    let lasts = if *end == End::Outside {
        see_off(vec![receiver, sender], end)
    } else {
        // The sender ends itself, and the receiver is killed as soon as that is seen.
        let sender = sender.last();
        receiver.signal(Signal::SIGKILL);
        vec![receiver.last(), sender]
    };
    let [receiver, sender] = &lasts[..] else { unreachable!("two victims") };
    let mut ledger = Ledger::default();
    receiver.received().for_each(|(sender, id)| ledger.received(sender, id));
    ledger.sent(0, sender.sent(), sender.killed);
    let (rx, tx) = (channel.receiver().unwrap(), channel.sender().unwrap());
    thread::scope(|scope| {
        scope.spawn(move || {
            (0..3).for_each(|id| tx.send(&scene.parcel(REPLACEMENT, id)).unwrap());
        });
        drain(&rx, &mut ledger);
    });
    ledger.sent(REPLACEMENT, 3, false);
    ledger.check(u64::from(receiver.killed));
    drop((rx, channel));
    nothing_is_left(&stage);
    Outcome { values: ledger.receptions(), ..tally(&lasts) }
}

/// Nothing stands under the name any more, after one sweep at most.
pub(crate) fn nothing_is_left(stage: &Stage) {
    if !stage.objects().is_empty() {
        sysv_channel::sweep().expect("sets are listed");
    }
    let left = stage.objects();
    assert!(left.is_empty(), "left behind: {left:?}");
}
