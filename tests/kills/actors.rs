//! Rounds in which an actor, its standby, the holder of a forwarded reply port or an asker is killed.
//!
//! Two mailboxes: the one that is asked, and that of a holder which answers in its place. Nobody has
//! a deadline that could pass: whoever waits for ever for what it is to be told is seen to hang.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use sysv_channel::Key;
use sysv_channel::actor::{Address, AskError, Mailbox, MailboxOptions, ReplyTo};

use crate::common::kernel::{self, Object};
use crate::common::{Stage, at_any_moment, until};
use crate::ledger::Ledger;
use crate::rounds::{Outcome, in_hand, see_off, tally};
use crate::scene::{Load, Parcel, Scene};
use crate::victim::{End, Last, Role, Victim};

/// What the actors are told.
#[derive(Serialize, Deserialize)]
pub(crate) enum Note {
    Told(Parcel),
    /// Asks for the parcel back.
    Echo(Parcel, ReplyTo<Parcel>),
    /// Has the holder answer.
    Forward(Parcel, ReplyTo<Parcel>),
    End,
}

/// Longer than a round may take.
const FOR_EVER: Duration = Duration::from_secs(1000);

pub(crate) fn options(scene: Scene) -> MailboxOptions {
    let inline_limit = match scene.load {
        Load::FullQueue => 5_000,
        _ => 256,
    };
    // Two askers, one that is killed, the holder, those that end the actors, and dead ones.
    let options = MailboxOptions::new().addresses(8).inline_limit(inline_limit);
    match scene.load {
        Load::Fragments | Load::FullRing => options.capacity(4 << 10).reply_capacity(4 << 10),
        _ => options,
    }
}

/// Where the holder has its messages.
pub(crate) fn holder_of(name: &str) -> String {
    format!("{name} holder")
}

/// What an actor received, or was asked to answer.
#[derive(Default)]
pub(crate) struct Work {
    received: Vec<(u64, u64)>,
    executed: Vec<(u64, u64)>,
}

/// What is done with each parcel before it is answered: a victim says so.
pub(crate) enum Did {
    Receive,
    Execute,
}

/// Acts on notes until it is told to end, or has had so many.
pub(crate) fn act(
    mailbox: &Mailbox<Note>,
    name: &str,
    notes: u64,
    mut did: impl FnMut(Did, &Parcel),
) {
    let holder = Address::<Note>::connect(holder_of(name)).expect("there is a holder");
    for _ in 0..notes {
        match mailbox.recv().expect("a note").expect("it is not closed") {
            Note::Told(parcel) => {
                parcel.check();
                did(Did::Receive, &parcel);
            }
            Note::Echo(parcel, reply) => {
                parcel.check();
                did(Did::Execute, &parcel);
                // The asker may have been killed, or the actor that was asked.
                let _ = reply.send(&parcel);
            }
            Note::Forward(parcel, reply) => {
                let forwarded = holder.tell_timeout(&Note::Echo(parcel, reply), FOR_EVER);
                forwarded.expect("a holder comes");
            }
            Note::End => break,
        }
    }
}

/// An actor in this process.
struct Player<'scope> {
    name: String,
    playing: Option<ScopedJoinHandle<'scope, Work>>,
}

impl<'scope> Player<'scope> {
    /// Takes the mailbox `name`, as soon as it is free and others have come before, and says so.
    fn start(
        scope: &'scope Scope<'scope, '_>,
        stage: &'scope Stage,
        name: String,
        scene: Scene,
        others_have_come: impl Fn() -> bool + Send + 'scope,
    ) -> (Self, mpsc::Receiver<()>) {
        let (tell, told) = mpsc::channel();
        let mailbox = name.clone();
        let playing = scope.spawn(move || {
            until(others_have_come);
            let mailbox: Mailbox<Note> =
                options(scene).stand_by(mailbox, FOR_EVER).expect("the mailbox becomes free");
            // Nobody listens where it is free from the start.
            let _ = tell.send(());
            let mut work = Work::default();
            act(&mailbox, stage.name(), u64::MAX, |did, parcel| match did {
                Did::Receive => work.received.push((parcel.sender, parcel.id)),
                Did::Execute => work.executed.push((parcel.sender, parcel.id)),
            });
            work
        });
        (Player { name, playing: Some(playing) }, told)
    }

    /// Ends it when it has done all that it was told before.
    fn end(mut self) -> Work {
        self.tell_end();
        let playing = self.playing.take().expect("it plays");
        playing.join().expect("the actor did well")
    }

    fn tell_end(&self) {
        let address = Address::<Note>::connect(self.name.as_str()).expect("the mailbox is there");
        address.tell(&Note::End).expect("it is read");
    }
}

impl Drop for Player<'_> {
    fn drop(&mut self) {
        // Where a check failed: its thread would play on.
        if self.playing.is_some() {
            self.tell_end();
        }
    }
}

/// What an asker was told.
#[derive(Default)]
struct Asked {
    /// How many notes it told.
    told: u64,
    replied: BTreeSet<(u64, u64)>,
    died: u64,
    dropped: u64,
}

/// The senders of parcels that are told, and of those that are asked for.
const ASKS: u64 = 1000;

/// Tells and asks, until it is enough.
fn ask_until_enough(name: &str, scene: Scene, number: u64, enough: &AtomicBool) -> Asked {
    let address = Address::<Note>::connect(name).expect("an actor comes, and there is a place");
    let mut asked = Asked::default();
    for round in 0.. {
        // Looked at before, so that the last goes to the actors that are there now.
        let last = enough.load(Ordering::Relaxed);
        tell(&address, scene, number, round);
        asked.told += 1;
        for (kind, id) in [(Note::Echo as Kind, 2 * round), (Note::Forward, 2 * round + 1)] {
            match ask(&address, scene, number, id, kind) {
                Ok(()) => drop(asked.replied.insert((ASKS + number, id))),
                Err(AskError::Died { .. }) => asked.died += 1,
                Err(AskError::Dropped { .. }) => asked.dropped += 1,
                Err(error) => panic!("{error}"),
            }
        }
        if last {
            break;
        }
    }
    asked
}

pub(crate) type Kind = fn(Parcel, ReplyTo<Parcel>) -> Note;

pub(crate) fn tell(address: &Address<Note>, scene: Scene, number: u64, id: u64) {
    let note = Note::Told(scene.parcel(number, id));
    address.tell_timeout(&note, FOR_EVER).expect("an actor comes");
}

/// Asks for a parcel back, and checks that it is that one.
pub(crate) fn ask(
    address: &Address<Note>,
    scene: Scene,
    number: u64,
    id: u64,
    kind: Kind,
) -> Result<(), AskError> {
    let sender = ASKS + number;
    let reply = address.ask_timeout(|reply| kind(scene.parcel(sender, id), reply), FOR_EVER)?;
    reply.check();
    assert_eq!((reply.sender, reply.id), (sender, id), "the reply to another ask");
    Ok(())
}

/// The id of a parcel that several askers at a time have forwarded: one that never goes in
/// fragments. Of two actors that send such to each other, one may find no room for its reply.
pub(crate) fn forwarded(id: u64) -> u64 {
    3 * id
}

/// Both mailboxes of a round, removed at its end whatever happens.
struct Mailboxes {
    stage: Stage,
}

impl Mailboxes {
    fn new(round: &'static str) -> Self {
        Mailboxes { stage: Stage::new(round) }
    }

    fn holder(&self) -> String {
        holder_of(self.stage.name())
    }

    fn objects(&self) -> Vec<Object> {
        [self.stage.objects(), kernel::objects(Key::from_name(&self.holder()))].concat()
    }

    fn nothing_is_left(&self) {
        if !self.objects().is_empty() {
            sysv_channel::sweep().expect("sets are listed");
        }
        assert_eq!(self.objects(), [], "left behind");
    }
}

impl Drop for Mailboxes {
    fn drop(&mut self) {
        kernel::objects(Key::from_name(&self.holder())).into_iter().for_each(Object::remove);
    }
}

/// Who acts in a round, beside the asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Actor,
    Standby,
    Holder,
}

/// An asker goes on through the death of an actor, and hears of each ask what became of it.
pub(crate) fn kill_actor(part: Part, scene: Scene, end: &End) -> Outcome {
    let mailboxes = Mailboxes::new("actor killed");
    let (stage, name) = (&mailboxes.stage, mailboxes.stage.name());
    let enough = &AtomicBool::new(false);
    let (outcome, values) = thread::scope(|scope| {
        let start = |role, end: &End| Victim::start(name, role, scene, 0, end);
        let play = |name| Player::start(scope, stage, name, scene, || true);
        // The one that stays, and those that are killed.
        let (stays, victims) = match part {
            Part::Actor => (play(mailboxes.holder()).0, vec![start(Role::Actor, end)]),
            Part::Standby => {
                let actor = start(Role::Actor, &End::Outside);
                until(actor.has_come());
                (play(mailboxes.holder()).0, vec![actor, start(Role::Standby, end)])
            }
            Part::Holder => (play(name.to_owned()).0, vec![start(Role::Holder, end)]),
        };
        let asking = scope.spawn(move || ask_until_enough(name, scene, 0, enough));
        let successor = if part == Part::Holder { mailboxes.holder() } else { name.to_owned() };
        // One standby at a time, or the victim might wait for ever.
        let standby = (part != Part::Standby).then(|| {
            let has_come = victims[0].has_come();
            Player::start(scope, stage, successor.clone(), scene, has_come)
        });
        let lasts = if part == Part::Standby && *end != End::Outside {
            let [actor, standby] = <[Victim; 2]>::try_from(victims).ok().expect("two of them");
            at_any_moment(2_000);
            actor.signal(Signal::SIGKILL);
            vec![actor.last(), standby.last()]
        } else {
            see_off(victims, end)
        };
        let (next, comes) = standby.unwrap_or_else(|| play(successor));
        comes.recv().expect("another has the mailbox");
        enough.store(true, Ordering::Relaxed);
        let asked = asking.join().expect("asking went well");
        // The holder first: what it has to say to the other mailbox is read there.
        let works = if part == Part::Holder {
            [next.end(), stays.end()]
        } else {
            [stays.end(), next.end()]
        };
        asked.check(&lasts, &works, part);
        // The actor before a standby is killed at any moment.
        let any = if part == Part::Standby { &End::Outside } else { end };
        let may_be_lost = lasts.iter().map(|last| in_hand(last, any));
        let ledger = receptions(&lasts, &works, [(0, asked.told, false)]);
        ledger.check(may_be_lost.sum());
        (tally(&lasts), ledger.receptions())
    });
    mailboxes.nothing_is_left();
    Outcome { values, ..outcome }
}

fn receptions(
    lasts: &[Last],
    works: &[Work],
    sent: impl IntoIterator<Item = (u64, u64, bool)>,
) -> Ledger {
    let mut ledger = Ledger::default();
    for (sender, id) in lasts.iter().flat_map(Last::received) {
        ledger.received(sender, id);
    }
    for &(sender, id) in works.iter().flat_map(|work| &work.received) {
        ledger.received(sender, id);
    }
    sent.into_iter().for_each(|(sender, count, killed)| ledger.sent(sender, count, killed));
    ledger
}

impl Asked {
    /// Panics unless what was executed is what the asker was told, and it was told of an end no
    /// more often than one came.
    fn check(&self, lasts: &[Last], works: &[Work], part: Part) {
        let ends = lasts.len() as u64;
        let mut executed: Vec<(u64, u64)> =
            lasts.iter().flat_map(Last::executed).map(|id| (ASKS, id)).collect();
        executed.extend(works.iter().flat_map(|work| &work.executed));
        let once: BTreeSet<_> = executed.iter().copied().collect();
        assert_eq!(once.len(), executed.len(), "executed twice: {executed:?}");
        let never: Vec<_> = self.replied.difference(&once).collect();
        assert!(never.is_empty(), "a reply to what nobody executed: {never:?}");
        let (told, not) = match part {
            Part::Holder => (self.dropped, self.died),
            Part::Actor | Part::Standby => (self.died, self.dropped),
        };
        assert!(told <= ends, "told {told} times of {ends} ends");
        assert_eq!(not, 0, "told of an end that was none");
    }
}

/// How often a thread of this process went to sleep; `None` once it has ended.
fn sleeps(thread: impl std::fmt::Display) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/self/task/{thread}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
    line.map(str::to_owned)
}

/// An ask that begins when the next actor has the place and has not said so yet is that one's to
/// answer, and not taken for one that its predecessor died with.
pub(crate) fn ask_while_the_next_actor_takes_the_place() {
    const POINT: &str = "attach.role";
    let stage = Stage::new("next actor");
    let name = stage.name();
    let before = Mailbox::<ReplyTo<u64>>::bind(name).expect("nobody has the mailbox");
    let address = Address::<ReplyTo<u64>>::connect(name).expect("the mailbox is there");
    drop(before);
    let (come, comes) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel::<()>();
    let (come, goes_on) = (Mutex::new(come), Mutex::new(goes_on));
    fail::cfg_callback(POINT, move || {
        come.lock().expect("nothing panics under it").send(()).expect("the test listens");
        goes_on.lock().expect("nothing panics under it").recv().expect("the test goes on");
    })
    .expect("a fail point");
    thread::scope(|scope| {
        let (heard, hears) = mpsc::channel::<()>();
        scope.spawn(move || {
            let mailbox = Mailbox::<ReplyTo<u64>>::bind(name).expect("its last actor has gone");
            // Not before the asker has heard that another actor is there.
            hears.recv().expect("the test goes on");
            let reply = mailbox.recv().expect("a message").expect("it is not closed");
            reply.send(&7).expect("the asker waits");
        });
        comes.recv().expect("the next actor has the place");
        let (tell, told) = mpsc::channel();
        let asking = scope.spawn(move || {
            tell.send(nix::unistd::gettid()).expect("the test listens");
            address.ask_timeout(|reply| reply, FOR_EVER)
        });
        let asker = told.recv().expect("the asker runs");
        until(|| kernel::is_asleep(format_args!("self/task/{asker}")));
        let slept = sleeps(asker);
        go_on.send(()).expect("the next actor waits for it");
        until(|| sleeps(asker) != slept);
        heard.send(()).expect("the next actor waits for it");
        let answer = asking.join().expect("asking went well");
        assert_eq!(answer.expect("nobody died"), 7);
    });
    fail::remove(POINT);
}

/// An asker's death hurts neither the actors nor another asker, and frees its place.
pub(crate) fn kill_asker(scene: Scene, end: &End) -> Outcome {
    let mailboxes = Mailboxes::new("asker killed");
    let (stage, name) = (&mailboxes.stage, mailboxes.stage.name());
    let (outcome, values) = thread::scope(|scope| {
        let (holder, _) = Player::start(scope, stage, mailboxes.holder(), scene, || true);
        let (actor, _) = Player::start(scope, stage, name.to_owned(), scene, || true);
        let enough = &AtomicBool::new(true);
        let other = || {
            let asked = ask_until_enough(name, scene, 1, enough);
            assert_eq!((asked.replied.len(), asked.died, asked.dropped), (2, 0, 0));
        };
        other();
        let victim = Victim::start(name, Role::Asker, scene, 0, end);
        let address = Address::<Note>::connect(name).expect("there is a place");
        for id in 0..10 {
            ask(&address, scene, 2, id, Note::Echo).expect("a reply");
            ask(&address, scene, 2, forwarded(id), Note::Forward).expect("a reply");
        }
        let lasts = see_off(vec![victim], end);
        // All places but the holder's and this asker's are free again.
        let next: Vec<_> =
            (0..6).map(|_| Address::<Note>::connect(name).expect("a place")).collect();
        for (number, address) in (3..).zip(&next) {
            ask(address, scene, number, 1, Note::Echo).expect("a reply");
            ask(address, scene, number, forwarded(2), Note::Forward).expect("a reply");
        }
        drop((next, address));
        let works = [holder.end(), actor.end()];
        let sent = [(0, lasts[0].sent(), lasts[0].killed), (1, 1, false)];
        let ledger = receptions(&[], &works, sent);
        ledger.check(0);
        (tally(&lasts), ledger.receptions())
    });
    mailboxes.nothing_is_left();
    Outcome { values, ..outcome }
}
