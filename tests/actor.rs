//! Actors in processes of their own.

#![cfg(not(loom))]

mod common;

use std::rc::Rc;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use common::kernel::{self, Kind, Object, is_asleep};
use common::{Child, Stage, halt, listen, play, say, until};
use serde::{Deserialize, Deserializer, Serialize};
use sysv_channel::actor::{
    Address, AddressOptions, AskError, BindError, ConnectError, Mailbox, MailboxOptions,
    ReplyError, ReplyTo, TellError, Watch,
};
use sysv_channel::codec::{Bincode, Bytes, Codec, Writer};
use sysv_channel::{Channel, Key, OpenError, RecvError, Schema, SendError};

/// What the actors of these tests are told.
#[derive(Serialize, Deserialize, Debug)]
enum Counter {
    Add(u64),
    Get(ReplyTo<u64>),
    /// Tells the number there is, whenever it changes.
    Watch(Address<Changed>),
    /// Has another counter answer.
    Ask(Address<Counter>, ReplyTo<u64>),
    /// Drops the port.
    Drop(ReplyTo<u64>),
    /// Keeps the port, and says so.
    Keep(ReplyTo<u64>),
    /// Has another counter keep the port.
    Lend(Address<Counter>, ReplyTo<u64>),
    /// Answers all the ports that were kept.
    Release,
    /// As many bytes.
    Long(u64, ReplyTo<Bytes>),
    /// Nothing but length.
    Ballast(Bytes),
    End,
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Changed(u64);

/// Counts, until it is told to end.
fn count(mailbox: &Mailbox<Counter>) {
    let (mut number, mut watching, mut kept) = (0, Vec::<Address<Changed>>::new(), Vec::new());
    while let Some(message) = mailbox.recv().unwrap() {
        match message {
            Counter::Add(more) => {
                number += more;
                watching.iter().for_each(|other| other.tell(&Changed(number)).unwrap());
            }
            Counter::Get(reply) => reply.send(&number).unwrap(),
            Counter::Watch(other) => watching.push(other),
            Counter::Ask(other, reply) => other.tell(&Counter::Get(reply)).unwrap(),
            Counter::Drop(reply) => drop(reply),
            Counter::Keep(reply) => {
                kept.push(reply);
                say("kept");
            }
            Counter::Lend(other, reply) => other.tell(&Counter::Keep(reply)).unwrap(),
            Counter::Release => {
                let answered = kept.drain(..).map(|reply| reply.send(&number).is_ok());
                say(format_args!("released {}", answered.filter(|&answered| answered).count()));
            }
            Counter::Long(len, reply) => reply.send(&vec![7; len as usize].into()).unwrap(),
            Counter::Ballast(_) => number += 1,
            Counter::End => break,
        }
    }
}

/// What is in a mailbox now.
fn now<M>(mailbox: &Mailbox<M>) -> Option<M>
where
    M: Serialize + serde::de::DeserializeOwned,
{
    match mailbox.try_recv() {
        Ok(message) => Some(message.expect("the mailbox is not closed")),
        Err(error) => {
            assert!(error.is_empty(), "{error}");
            None
        }
    }
}

/// Longer than a test may take: what ends an ask is what the asker is told.
const FOR_EVER: Duration = Duration::from_secs(1000);

/// The parts that this binary plays when it is started as a child.
#[test]
fn child() {
    play(|role, arguments| {
        let name = match arguments.get(1) {
            Some(second) => format!("{} {second}", arguments[0]),
            None => arguments[0].to_owned(),
        };
        match role {
            "counter" => {
                let mailbox = Mailbox::bind(name).unwrap();
                say("bound");
                count(&mailbox);
            }
            "counter that exits" => {
                let mailbox = Mailbox::<Counter>::bind(name).unwrap();
                say("bound");
                mailbox.recv().unwrap();
                // Without any destructor.
                std::process::exit(0);
            }
            "counter that aborts" => {
                let mailbox = Mailbox::<Counter>::bind(name).unwrap();
                say("bound");
                mailbox.recv().unwrap();
                std::process::abort();
            }
            "counter that closes" => {
                let mailbox = Mailbox::<Counter>::bind(name).unwrap();
                say("bound");
                mailbox.recv().unwrap();
                drop(mailbox);
                halt("closed");
            }
            "has another hold its port" => {
                let front = Address::<Counter>::connect(arguments[0]).unwrap();
                let back = Address::<Counter>::connect(name).unwrap();
                let outcome = front.ask_timeout(|reply| Counter::Lend(back, reply), FOR_EVER);
                say(format_args!("{outcome:?}"));
            }
            "takes one and halts" => {
                let mailbox = Mailbox::<Counter>::bind(name).unwrap();
                say("bound");
                listen();
                let taken: Vec<_> = (0..3).map(|_| mailbox.recv().unwrap()).collect();
                assert!(taken.iter().all(|message| matches!(message, Some(Counter::Add(1)))));
                halt("received");
            }
            "private counter" => {
                let mailbox = Mailbox::<Counter>::private().unwrap();
                let back = Address::<Address<Counter>>::connect(arguments[0]).unwrap();
                back.tell(&mailbox.address()).unwrap();
                listen();
                count(&mailbox);
            }
            "traces" => {
                // In an ipc namespace of its own, where a sample's key may be any object's.
                let key = Key::new(1).unwrap();
                let _set = Object::signed_set(key, 1);
                assert!(Schema::of::<Counter>().is_traced());
                assert!(Schema::of::<Vec<(Address<Counter>, ReplyTo<u64>)>>().is_traced());
                let left = kernel::objects(key);
                left.iter().for_each(|object| assert_eq!(object.last_at(0), 0, "it was locked"));
                say(left.len());
                left.into_iter().for_each(Object::remove);
            }
            "hold the lock" => {
                let objects = kernel::objects(Key::from_name(&name));
                objects.into_iter().find(|object| object.kind == Kind::Set).unwrap().take_lock();
                halt("held");
            }
            "takes none" => {
                let _mailbox = Mailbox::<Counter>::bind(name).unwrap();
                halt("bound");
            }
            _ => unreachable!("no such role: {role}"),
        }
    });
}

fn started(stage: &Stage, role: &str, second: &[&str]) -> Child {
    let mut child = stage.child(role, second);
    child.expect("bound");
    child
}

/// Removes a second channel of a test, whatever happens.
struct Second(String);

impl Second {
    fn of(stage: &Stage) -> Self {
        Second(format!("{} second", stage.name()))
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = Channel::<()>::unlink(self.0.as_str());
    }
}

#[test]
fn processes_that_know_a_name_and_a_type_tell_and_ask() {
    let stage = Stage::new("tell and ask");
    let child = started(&stage, "counter", &[]);
    let counter = Address::<Counter>::connect(stage.name()).unwrap();
    for number in 1..=100 {
        counter.tell(&Counter::Add(1)).unwrap();
        assert_eq!(counter.ask(Counter::Get).unwrap(), number);
    }
    let second = counter.clone();
    assert_eq!(second.ask(Counter::Get).unwrap(), 100);
    counter.tell(&Counter::End).unwrap();
    child.finish();
    drop((counter, second));
    assert_eq!(stage.objects(), []);
}

#[test]
fn replies_of_any_length_arrive_whole() {
    let stage = Stage::new("long replies");
    let _child = started(&stage, "counter", &[]);
    let counter = Address::<Counter>::connect(stage.name()).unwrap();
    for len in [0, 1000, 40_000, 1 << 20] {
        // What goes in fragments goes while the actor receives, as it does here.
        let reply = counter.ask(|reply| Counter::Long(len, reply)).unwrap();
        assert_eq!(reply.len() as u64, len);
        assert!(reply.iter().all(|&byte| byte == 7));
    }
}

#[test]
fn a_long_reply_arrives_although_its_actor_drops_its_mailbox_at_once() {
    let stage = Stage::new("long reply and the end");
    let mailbox = Mailbox::<Counter>::bind(stage.name()).unwrap();
    let address = mailbox.address();
    let asked = thread::spawn(move || {
        address.ask_timeout(|reply| Counter::Long(10_000_000, reply), FOR_EVER)
    });
    let Some(Counter::Long(len, reply)) = mailbox.recv().unwrap() else { panic!() };
    reply.send(&vec![7; len as usize].into()).unwrap();
    drop(mailbox);
    assert_eq!(asked.join().unwrap().unwrap().len(), 10_000_000);
}

#[test]
fn urgent_messages_overtake() {
    let stage = Stage::new("urgent");
    let mailbox = Mailbox::<u32>::bind(stage.name()).unwrap();
    let address = mailbox.address();
    for number in 0..5 {
        address.tell(&number).unwrap();
    }
    address.tell_urgent(&100).unwrap();
    address.try_tell_urgent(&101).unwrap();
    let received: Vec<u32> = std::iter::from_fn(|| now(&mailbox)).collect();
    assert_eq!(received, [100, 101, 0, 1, 2, 3, 4]);
}

#[test]
fn urgent_messages_overtake_long_ones_in_another_process() {
    let stage = Stage::new("urgent in a process");
    let actor = started(&stage, "counter", &[]);
    let counter = Address::<Counter>::connect(stage.name()).unwrap();
    assert_eq!(counter.ask(Counter::Get).unwrap(), 0);
    actor.stop();
    for len in [10, 5000, 10, 5000] {
        counter.tell(&Counter::Ballast(vec![0; len].into())).unwrap();
    }
    // From another address too, and behind its own.
    let other = counter.clone();
    other.tell(&Counter::Ballast(vec![0; 10].into())).unwrap();
    other.tell_urgent(&Counter::End).unwrap();
    actor.go_on();
    actor.finish();
    // None of those that it overtook was received.
    let next = Mailbox::<Counter>::bind(stage.name()).unwrap();
    let rest = std::iter::from_fn(|| now(&next));
    assert_eq!(rest.filter(|message| matches!(message, Counter::Ballast(_))).count(), 5);
}

#[test]
fn a_third_process_answers_through_a_forwarded_port() {
    let stage = Stage::new("forwarded");
    let second = Second::of(&stage);
    let _front = started(&stage, "counter", &[]);
    let _back = started(&stage, "counter", &["second"]);
    let front = Address::<Counter>::connect(stage.name()).unwrap();
    let back = Address::<Counter>::connect(second.0.as_str()).unwrap();
    back.tell(&Counter::Add(5)).unwrap();
    for _ in 0..50 {
        assert_eq!(front.ask(|reply| Counter::Ask(back.clone(), reply)).unwrap(), 5);
    }
    // Back home again: the port that the other one passes on.
    front.tell(&Counter::Add(7)).unwrap();
    let there_and_back = back.ask(|reply| Counter::Ask(front.clone(), reply)).unwrap();
    assert_eq!(there_and_back, 7);
}

#[test]
fn an_address_in_a_message_works() {
    let stage = Stage::new("address in a message");
    let child = started(&stage, "counter", &[]);
    let counter = Address::<Counter>::connect(stage.name()).unwrap();
    let changes = Mailbox::<Changed>::private().unwrap();
    counter.tell(&Counter::Watch(changes.address())).unwrap();
    counter.tell(&Counter::Add(2)).unwrap();
    counter.tell(&Counter::Add(3)).unwrap();
    assert_eq!(changes.recv().unwrap(), Some(Changed(2)));
    assert_eq!(changes.recv().unwrap(), Some(Changed(5)));
    // It uses the mailbox that has no name: killed as its last user, it would leave that behind.
    counter.tell(&Counter::End).unwrap();
    child.finish();
}

#[test]
fn a_port_that_is_dropped_says_so_at_home_and_away() {
    let stage = Stage::new("dropped");
    let second = Second::of(&stage);
    let _front = started(&stage, "counter", &[]);
    let front = Address::<Counter>::connect(stage.name()).unwrap();
    let error = front.ask(Counter::Drop).unwrap_err();
    assert!(error.is_dropped(), "{error}");

    let here = Mailbox::<Counter>::bind(second.0.as_str()).unwrap();
    let address = here.address();
    thread::scope(|scope| {
        let front = &stage;
        let ask = scope.spawn(move || {
            let front = Address::<Counter>::connect(front.name()).unwrap();
            front.ask(|reply| Counter::Ask(address, reply))
        });
        let Some(Counter::Get(reply)) = here.recv().unwrap() else { panic!("another message") };
        drop(reply);
        let error = ask.join().unwrap().unwrap_err();
        assert!(error.is_dropped(), "{error}");
    });
}

/// Asks in a thread; runs `then` once the asker sleeps; the outcome.
fn asked_while(
    address: Address<Counter>,
    message: impl FnOnce(ReplyTo<u64>) -> Counter + Send,
    then: impl FnOnce(),
) -> Result<u64, AskError> {
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let ask = scope.spawn(move || {
            tell.send(nix::unistd::gettid()).unwrap();
            address.ask_timeout(message, FOR_EVER)
        });
        let asker = told.recv().unwrap();
        until(|| is_asleep(format_args!("self/task/{asker}")));
        then();
        ask.join().unwrap()
    })
}

#[test]
fn the_asker_is_told_when_the_holder_of_a_forwarded_port_is_killed() {
    for _ in 0..10 {
        let stage = Stage::new("holder killed");
        let second = Second::of(&stage);
        let _front = started(&stage, "counter", &[]);
        let mut holder = started(&stage, "counter", &["second"]);
        let front = Address::<Counter>::connect(stage.name()).unwrap();
        let back = Address::<Counter>::connect(second.0.as_str()).unwrap();
        let mailbox = Mailbox::<Counter>::private().unwrap();
        let own = mailbox.address();
        let outcome = thread::scope(|scope| {
            // Forwards what it gets to the holder, which keeps it.
            scope.spawn(move || {
                let Some(Counter::Get(reply)) = mailbox.recv().unwrap() else { panic!() };
                back.tell(&Counter::Keep(reply)).unwrap();
                assert!(matches!(mailbox.recv().unwrap(), Some(Counter::End)));
            });
            let asked = own.clone();
            let outcome = asked_while(asked, Counter::Get, || {
                holder.expect("kept");
                holder.kill();
            });
            own.tell(&Counter::End).unwrap();
            outcome
        });
        assert!(outcome.as_ref().is_err_and(AskError::is_dropped), "{outcome:?}");
        assert_eq!(front.ask(Counter::Get).unwrap(), 0);
    }
}

#[test]
fn the_asker_is_told_when_the_actor_that_forwarded_its_port_is_killed() {
    let stage = Stage::new("home killed");
    let second = Second::of(&stage);
    let front = started(&stage, "counter", &[]);
    let mut back = started(&stage, "counter", &["second"]);
    let asked = Address::<Counter>::connect(stage.name()).unwrap();
    let holder = Address::<Counter>::connect(second.0.as_str()).unwrap();
    let lent = holder.clone();
    let outcome = asked_while(
        asked,
        |reply| Counter::Lend(lent, reply),
        || {
            back.expect("kept");
            front.kill();
        },
    );
    assert!(outcome.as_ref().is_err_and(AskError::is_died), "{outcome:?}");
    // The holder's reply goes nowhere, and the holder is told.
    holder.tell(&Counter::Release).unwrap();
    back.expect("released 0");
    assert_eq!(holder.ask(Counter::Get).unwrap(), 0);
    let _front = started(&stage, "counter", &[]);
    let asked = Address::<Counter>::connect(stage.name()).unwrap();
    assert_eq!(asked.ask(Counter::Get).unwrap(), 0);
}

#[test]
fn a_forwarded_reply_to_a_killed_asker_reaches_no_other() {
    let stage = Stage::new("asker killed");
    let second = Second::of(&stage);
    let front: Mailbox<Counter> = MailboxOptions::new().addresses(2).bind(stage.name()).unwrap();
    let name = stage.name().to_owned();
    let serving = thread::spawn(move || count(&front));
    let mut back = started(&stage, "counter", &["second"]);
    let holder = Address::<Counter>::connect(second.0.as_str()).unwrap();
    holder.tell(&Counter::Add(9)).unwrap();
    for _ in 0..5 {
        let asker = stage.child("has another hold its port", &["second"]);
        back.expect("kept");
        // One place is the holder's.
        asker.kill();
        let next = Address::<Counter>::connect(name.as_str()).unwrap();
        assert_eq!(next.ask(Counter::Get).unwrap(), 0);
        holder.tell(&Counter::Release).unwrap();
        back.expect("released 0");
        // Had the reply been taken for this one's, it would be 9.
        assert_eq!(next.ask(Counter::Get).unwrap(), 0);
        let error = next.ask_timeout(Counter::Keep, Duration::from_millis(1)).unwrap_err();
        assert!(error.is_timeout(), "{error}");
    }
    let next = Address::<Counter>::connect(name.as_str()).unwrap();
    next.tell(&Counter::End).unwrap();
    serving.join().unwrap();
}

#[test]
fn the_asker_is_told_when_the_actor_is_killed() {
    let stage = Stage::new("actor killed");
    let mut actor = started(&stage, "counter", &[]);
    let counter = Address::<Counter>::connect(stage.name()).unwrap();
    let outcome = asked_while(counter.clone(), Counter::Keep, || {
        actor.expect("kept");
        actor.kill();
    });
    assert!(outcome.as_ref().is_err_and(AskError::is_died), "{outcome:?}");
    // The same address finds the next actor.
    let _actor = started(&stage, "counter", &[]);
    assert_eq!(counter.ask(Counter::Get).unwrap(), 0);
}

#[test]
fn the_asker_is_told_when_another_actor_has_the_place_at_once() {
    let stage = Stage::new("actor replaced");
    let mut actor = started(&stage, "counter", &[]);
    let counter = Address::<Counter>::connect(stage.name()).unwrap();
    let name = stage.name().to_owned();
    let options = MailboxOptions::new();
    let standby = thread::spawn(move || {
        let mailbox: Mailbox<Counter> = options.stand_by(name, Duration::from_secs(60)).unwrap();
        count(&mailbox);
    });
    let outcome = asked_while(counter.clone(), Counter::Keep, || {
        actor.expect("kept");
        actor.kill();
    });
    assert!(outcome.as_ref().is_err_and(AskError::is_died), "{outcome:?}");
    counter.tell(&Counter::End).unwrap();
    standby.join().unwrap();
}

#[test]
fn an_ask_has_a_deadline_and_its_late_reply_reaches_no_other() {
    let stage = Stage::new("deadline");
    let mailbox = Mailbox::<Counter>::bind(stage.name()).unwrap();
    let counter = mailbox.address();
    let error = counter.ask_timeout(Counter::Get, Duration::from_millis(1)).unwrap_err();
    assert!(matches!(error, AskError::Timeout { .. }), "{error}");
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in [1, 2] {
                let Some(Counter::Get(reply)) = mailbox.recv().unwrap() else { panic!() };
                reply.send(&number).unwrap();
            }
        });
        assert_eq!(counter.ask(Counter::Get).unwrap(), 2);
    });
}

#[test]
fn telling_is_bounded() {
    let stage = Stage::new("bounded");
    let mailbox = Mailbox::<Counter>::bind(stage.name()).unwrap();
    let counter = mailbox.address();
    let told = (0..).take_while(|_| counter.try_tell(&Counter::Add(1)).is_ok()).count();
    assert!(told > 10);
    assert!(counter.try_tell(&Counter::Add(1)).unwrap_err().is_full());
    let soon = Duration::from_millis(1);
    assert!(counter.tell_timeout(&Counter::Add(1), soon).unwrap_err().is_timeout());
    let error = counter.ask_timeout(Counter::Get, soon).unwrap_err();
    assert!(matches!(error, AskError::Tell(TellError::Timeout { .. })), "{error}");
    drop(mailbox);
    assert!(counter.try_tell(&Counter::Add(1)).unwrap_err().is_gone());
}

#[test]
fn telling_an_actor_that_is_stopped_is_bounded_and_what_was_told_arrives() {
    let stage = Stage::new("stopped actor");
    for len in [10, 3000] {
        let ballast = || Counter::Ballast(vec![0; len].into());
        let actor = started(&stage, "counter", &[]);
        let counter = Address::<Counter>::connect(stage.name()).unwrap();
        assert_eq!(counter.ask(Counter::Get).unwrap(), 0);
        actor.stop();
        let soon = Duration::from_millis(1);
        let mut told = 0;
        let error = loop {
            match counter.try_tell(&ballast()) {
                Ok(()) => told += 1,
                Err(error) => break error,
            }
        };
        assert!(error.is_full() && told > 3, "{error}");
        assert!(counter.tell_timeout(&ballast(), soon).unwrap_err().is_timeout());
        assert!(counter.tell_urgent_timeout(&ballast(), soon).unwrap_err().is_timeout());
        assert!(counter.try_tell_urgent(&ballast()).unwrap_err().is_full());
        actor.go_on();
        // Each that was told, and none of the others.
        assert_eq!(counter.ask(Counter::Get).unwrap(), told);
        actor.kill();
    }
}

#[test]
fn the_asker_is_told_that_a_forwarded_reply_found_no_room() {
    let stage = Stage::new("no room");
    let home = Mailbox::<(u8, ReplyTo<Bytes>)>::bind(stage.name()).unwrap();
    let holder = Mailbox::<(u8, ReplyTo<Bytes>)>::private().unwrap();
    let passing = holder.address();
    thread::scope(|scope| {
        let asks = [1, 2].map(|number| {
            let asked = home.address();
            let ask = scope.spawn(move || asked.ask_timeout(|reply| (number, reply), FOR_EVER));
            let message = home.recv().unwrap().unwrap();
            passing.tell(&message).unwrap();
            ask
        });
        let held = [(); 2].map(|()| holder.recv().unwrap().unwrap().1);
        let [first, second] = held;
        // Longer than the way there, which nobody reads: it goes in fragments.
        let error = first.send(&vec![7; 100_000].into()).unwrap_err();
        assert!(matches!(error, ReplyError::Full { .. }), "{error}");
        let closer = home.closer();
        let reading = scope.spawn(move || home.recv().unwrap().is_none());
        let [one, two] = asks;
        // Although the process that held its port lives, and holds another one.
        let outcome = one.join().unwrap();
        assert!(matches!(outcome, Err(AskError::Unsendable { .. })), "{outcome:?}");
        second.send(&vec![7; 100].into()).unwrap();
        assert_eq!(two.join().unwrap().unwrap().len(), 100);
        closer.close();
        assert!(reading.join().unwrap());
    });
}

/// A number that panics while it is decoded if it is 2.
#[derive(Serialize, Debug)]
struct Fragile(u64);

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        assert_ne!(number, 2, "broke");
        Ok(Fragile(number))
    }
}

/// A port, and another one that may come behind what breaks.
#[derive(Serialize, Deserialize)]
struct Question(Option<ReplyTo<u64>>, Fragile, ReplyTo<u64>);

#[test]
fn the_asker_is_told_of_a_message_that_panics_while_it_is_decoded() {
    let stage = Stage::new("fragile");
    let mailbox = Mailbox::<Question>::bind(stage.name()).unwrap();
    let closer = mailbox.closer();
    let decoded = thread::spawn(move || {
        let (mut decoded, mut kept) = (0, None);
        loop {
            match mailbox.recv() {
                Ok(Some(Question(_, Fragile(3), reply))) => kept = Some(reply),
                Ok(Some(Question(_, Fragile(number), reply))) => {
                    decoded += 1;
                    reply.send(&number).unwrap();
                }
                Ok(None) => return (decoded, kept.is_some()),
                Err(RecvError::Decode { error, .. }) => {
                    assert!(error.to_string().contains("broke"))
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
    let address = Address::<Question>::connect(stage.name()).unwrap();
    let ask =
        |number| address.ask_timeout(|reply| Question(None, Fragile(number), reply), FOR_EVER);
    for _ in 0..3 {
        let error = ask(2).unwrap_err();
        assert!(
            matches!(&error, AskError::Unreadable { why, .. } if why.contains("broke")),
            "{error}"
        );
        assert_eq!(ask(4).unwrap(), 4);
    }
    closer.close();
    assert_eq!(decoded.join().unwrap(), (3, false));
}

#[test]
fn a_reply_that_panics_while_it_is_decoded_is_the_error_of_its_ask() {
    let mailbox = Mailbox::<Asked>::private().unwrap();
    let address = mailbox.address();
    let answering = thread::spawn(move || {
        for _ in 0..2 {
            let Asked(number, reply) = mailbox.recv().unwrap().unwrap();
            reply.send(&Fragile(number)).unwrap();
        }
    });
    let error = address.ask_timeout(|reply| Asked(2, reply), FOR_EVER).map(drop).unwrap_err();
    assert!(
        matches!(&error, AskError::Decode { error, .. } if error.to_string().contains("broke"))
    );
    assert_eq!(address.ask_timeout(|reply| Asked(4, reply), FOR_EVER).unwrap().0, 4);
    answering.join().unwrap();
}

/// Asks for something fragile.
#[derive(Serialize, Deserialize)]
struct Asked(u64, ReplyTo<Fragile>);

#[test]
fn a_port_in_a_message_that_panics_while_it_is_decoded_is_dropped() {
    let stage = Stage::new("fragile port");
    let mailbox = Mailbox::<Question>::bind(stage.name()).unwrap();
    let own = mailbox.address();
    let other = Mailbox::<ReplyTo<u64>>::private().unwrap();
    let asked = other.address();
    thread::scope(|scope| {
        let ask = scope.spawn(move || asked.ask_timeout(|reply| reply, FOR_EVER));
        let port = other.recv().unwrap().unwrap();
        // The port comes before what breaks.
        let asking = scope.spawn(move || {
            own.ask_timeout(|reply| Question(Some(port), Fragile(2), reply), FOR_EVER)
        });
        assert!(matches!(mailbox.recv(), Err(RecvError::Decode { .. })));
        assert!(matches!(asking.join().unwrap(), Err(AskError::Unreadable { .. })));
        // What its home is told of it comes by there.
        let home = other.closer();
        let looking = scope.spawn(move || other.recv());
        let outcome = ask.join().unwrap();
        assert!(outcome.as_ref().is_err_and(AskError::is_dropped), "{outcome:?}");
        home.close();
        assert!(looking.join().unwrap().unwrap().is_none());
    });
}

#[test]
fn a_port_in_a_message_that_was_not_told_still_answers() {
    let stage = Stage::new("not told");
    let mailbox = Mailbox::<Counter>::bind(stage.name()).unwrap();
    let full = Mailbox::<Counter>::private().unwrap();
    let other = full.address();
    while other.try_tell(&Counter::Add(1)).is_ok() {}
    let counter = mailbox.address();
    thread::scope(|scope| {
        let ask = scope.spawn(move || counter.ask(Counter::Get));
        let message = mailbox.recv().unwrap().unwrap();
        assert!(other.try_tell(&message).unwrap_err().is_full());
        let Counter::Get(reply) = message else { panic!() };
        reply.send(&7).unwrap();
        assert_eq!(ask.join().unwrap().unwrap(), 7);
    });
}

/// Ends the actor in a thread's back that waits for just that.
fn watched_while(watch: Watch, end: impl FnOnce()) -> Watch {
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let watching = scope.spawn(move || {
            tell.send(nix::unistd::gettid()).unwrap();
            watch.wait().unwrap();
            watch
        });
        let watcher = told.recv().unwrap();
        until(|| is_asleep(format_args!("self/task/{watcher}")));
        end();
        watching.join().unwrap()
    })
}

#[test]
fn a_watch_tells_of_an_end_however_it_comes() {
    let stage = Stage::new("watch");
    let ends = ["counter", "counter that exits", "counter that aborts", "counter that closes", ""];
    for role in ends {
        let killed = role.is_empty();
        let actor = started(&stage, if killed { "counter" } else { role }, &[]);
        let counter = Address::<Counter>::connect(stage.name()).unwrap();
        let watch = counter.watch().unwrap();
        // Neither a message nor a stop is an end.
        assert_eq!(watch.is_over().ok(), Some(false));
        actor.stop();
        assert!(watch.wait_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
        actor.go_on();
        let mut actor = Some(actor);
        let watch = watched_while(watch, || {
            if killed {
                actor.take().unwrap().kill();
            } else {
                counter.tell(&Counter::End).unwrap();
            }
        });
        assert!(watch.is_over().unwrap(), "{role}");
        watch.wait().unwrap();
        // Another actor is not the one that was watched.
        let _next = Mailbox::<Counter>::bind(stage.name()).unwrap();
        assert!(watch.is_over().unwrap(), "{role}");
        watch.wait().unwrap();
        assert!(!counter.watch().unwrap().is_over().unwrap());
    }
}

#[test]
fn a_watch_of_a_mailbox_that_was_removed_by_hand_is_over_for_good() {
    for kind in kernel::Kind::ALL {
        let stage = Stage::new("watch of a removed one");
        let _actor = started(&stage, "counter", &[]);
        let watch = Address::<Counter>::connect(stage.name()).unwrap().watch().unwrap();
        assert!(!watch.is_over().unwrap());
        stage.objects().into_iter().find(|object| object.kind == kind).unwrap().remove();
        until(|| watch.is_over().unwrap());
        for _ in 0..3 {
            assert!(watch.is_over().unwrap(), "{kind:?}");
            watch.wait().unwrap();
        }
    }
}

#[test]
fn several_watch_one_actor_and_one_watches_several() {
    let stage = Stage::new("watches");
    let second = Second::of(&stage);
    let first = started(&stage, "counter", &[]);
    let other = started(&stage, "counter", &["second"]);
    let watch = |name: &str| Address::<Counter>::connect(name).unwrap().watch().unwrap();
    let (one, two) = (watch(stage.name()), watch(stage.name()));
    let three = watch(&second.0);
    first.kill();
    one.wait().unwrap();
    two.wait().unwrap();
    assert!(!three.is_over().unwrap());
    other.kill();
    three.wait().unwrap();
}

#[test]
fn messages_wait_for_the_next_actor() {
    let stage = Stage::new("restart");
    let actor = started(&stage, "takes none", &[]);
    let counter = Address::<Counter>::connect(stage.name()).unwrap();
    for _ in 0..3 {
        counter.tell(&Counter::Add(1)).unwrap();
    }
    actor.kill();
    counter.tell(&Counter::Add(1)).unwrap();
    drop(counter);
    let _actor = started(&stage, "counter", &[]);
    let counter = Address::<Counter>::connect(stage.name()).unwrap();
    assert_eq!(counter.ask(Counter::Get).unwrap(), 4);
}

#[test]
fn a_mailbox_that_was_dropped_takes_nothing_and_that_of_a_killed_actor_does() {
    for role in ["counter that closes", "counter that exits", "counter"] {
        let stage = Stage::new("ended");
        let mut actor = started(&stage, role, &[]);
        let counter = Address::<Counter>::connect(stage.name()).unwrap();
        match role {
            "counter" => drop(actor.kill()),
            "counter that exits" => {
                counter.tell(&Counter::End).unwrap();
                actor.finish();
            }
            _ => {
                counter.tell(&Counter::End).unwrap();
                actor.expect("closed");
                assert!(!counter.is_alive().unwrap());
                assert!(counter.try_tell(&Counter::Add(1)).unwrap_err().is_gone());
                let soon = Duration::from_millis(1);
                assert!(counter.tell_timeout(&Counter::Add(1), soon).unwrap_err().is_timeout());
                let telling =
                    thread::spawn(move || counter.tell_timeout(&Counter::Add(7), FOR_EVER));
                let next = Mailbox::<Counter>::bind(stage.name()).unwrap();
                assert!(matches!(next.recv().unwrap(), Some(Counter::Add(7))));
                telling.join().unwrap().unwrap();
                continue;
            }
        }
        assert!(!counter.is_alive().unwrap());
        counter.try_tell(&Counter::Add(1)).unwrap();
        counter.tell_timeout(&Counter::Add(2), FOR_EVER).unwrap();
        let next = Mailbox::<Counter>::bind(stage.name()).unwrap();
        for expected in [1, 2] {
            let message = next.recv().unwrap();
            assert!(matches!(message, Some(Counter::Add(more)) if more == expected), "{role}");
        }
    }
}

#[test]
fn the_next_actor_has_what_a_killed_one_had_not_received_and_no_more() {
    let stage = Stage::new("some received");
    let mut actor = started(&stage, "takes one and halts", &[]);
    let counter = Address::<Counter>::connect(stage.name()).unwrap();
    let name = stage.name().to_owned();
    let standby = thread::spawn(move || {
        let mailbox: Mailbox<Counter> = MailboxOptions::new().stand_by(name, FOR_EVER).unwrap();
        let received = std::iter::from_fn(|| now(&mailbox));
        received.filter(|message| matches!(message, Counter::Add(1))).count()
    });
    for _ in 0..8 {
        counter.tell(&Counter::Add(1)).unwrap();
    }
    actor.tell("take");
    actor.expect("received");
    actor.kill();
    assert_eq!(standby.join().unwrap(), 5);
}

#[test]
fn an_address_finds_a_mailbox_that_was_removed_and_made_again() {
    let stage = Stage::new("made again");
    let actor = started(&stage, "counter", &[]);
    let counter = Address::<Counter>::connect(stage.name()).unwrap();
    counter.tell(&Counter::Add(1)).unwrap();
    assert_eq!(counter.ask(Counter::Get).unwrap(), 1);
    actor.kill();
    Channel::<()>::unlink(stage.name()).unwrap();
    assert!(counter.try_tell(&Counter::Add(1)).is_err());
    let _actor = started(&stage, "counter", &[]);
    counter.tell(&Counter::Add(2)).unwrap();
    assert_eq!(counter.ask(Counter::Get).unwrap(), 2);
}

#[test]
fn a_message_that_was_received_is_not_told_again_when_the_mailbox_is_removed_then() {
    let stage = Stage::new("removed when received");
    let bind = || -> Mailbox<Counter> {
        MailboxOptions::new().addresses(1).capacity(4096).bind(stage.name()).unwrap()
    };
    // As a message, as a record and in fragments.
    for (round, len) in [10, 1500, 6000].into_iter().cycle().take(90).enumerate() {
        let mailbox = bind();
        let address = Address::<Counter>::connect(stage.name()).unwrap();
        let telling = thread::spawn(move || {
            address.tell_timeout(&Counter::Ballast(vec![7; len].into()), FOR_EVER)
        });
        assert!(mailbox.recv().unwrap().is_some());
        Channel::<()>::unlink(stage.name()).unwrap();
        drop(mailbox);
        let next = bind();
        while !telling.is_finished() {
            let again = next.try_recv();
            assert!(again.is_err_and(|error| error.is_empty()), "{round}: {len} bytes told twice");
            thread::yield_now();
        }
        telling.join().unwrap().unwrap();
    }
}

#[test]
fn an_asker_has_the_reply_that_came_before_the_mailbox_was_removed() {
    let stage = Stage::new("removed right behind the reply");
    for _ in 0..200 {
        let mailbox = Mailbox::<Counter>::bind(stage.name()).unwrap();
        let address = Address::<Counter>::connect(stage.name()).unwrap();
        let (say, said) = mpsc::channel();
        let asking = thread::spawn(move || {
            say.send(nix::unistd::gettid()).unwrap();
            address.ask_timeout(Counter::Get, FOR_EVER)
        });
        let Some(Counter::Get(port)) = mailbox.recv().unwrap() else { panic!() };
        let thread = said.recv().unwrap();
        until(|| is_asleep(format_args!("self/task/{thread}")));
        port.send(&7).unwrap();
        Channel::<()>::unlink(stage.name()).unwrap();
        assert_eq!(asking.join().unwrap().unwrap(), 7);
    }
}

/// Nothing has died, and to ask again is in vain until there is a mailbox.
#[test]
fn an_asker_is_told_that_the_mailbox_was_removed() {
    let stage = Stage::new("removed while asked");
    let bound = || {
        let mailbox = Mailbox::<Counter>::bind(stage.name()).unwrap();
        (mailbox, Address::<Counter>::connect(stage.name()).unwrap())
    };
    let remove = || Channel::<()>::unlink(stage.name()).unwrap();
    let removed = |error: AskError| {
        assert!(matches!(error, AskError::Wait(RecvError::Removed { .. })), "{error:?}");
        assert!(error.to_string().contains("removed"), "{error}");
    };
    let untold = |error: AskError| {
        let gone = matches!(error, AskError::Tell(TellError::Send(SendError::Removed { .. })));
        assert!(gone, "{error:?}");
        assert!(error.to_string().contains("removed"), "{error}");
    };
    let (mailbox, address) = bound();
    removed(asked_while(address, Counter::Get, remove).unwrap_err());
    drop(mailbox);
    let (mailbox, mut address) = bound();
    let asking =
        thread::spawn(move || smol::block_on(address.ask_timeout_async(Counter::Get, FOR_EVER)));
    let Some(Counter::Get(_port)) = mailbox.recv().unwrap() else { panic!() };
    remove();
    removed(asking.join().unwrap().unwrap_err());

    // Before the message went.
    let unmade = |reply| {
        remove();
        Counter::Get(reply)
    };
    let (_mailbox, address) = bound();
    untold(address.ask_timeout(unmade, FOR_EVER).unwrap_err());
    let (_mailbox, mut address) = bound();
    let asking = address.ask_timeout_async(unmade, FOR_EVER);
    untold(smol::block_on(asking).unwrap_err());
    // The user's code has found it so.
    let (_mailbox, address) = bound();
    let told = address.ask_timeout(
        |reply| {
            remove();
            assert!(address.try_tell(&Counter::Add(1)).is_err());
            Counter::Get(reply)
        },
        FOR_EVER,
    );
    untold(told.unwrap_err());
}

#[test]
fn a_mailbox_has_one_actor_and_takes_its_own_messages() {
    let stage = Stage::new("one actor");
    let actor = started(&stage, "takes none", &[]);
    let error = Mailbox::<Counter>::bind(stage.name()).unwrap_err();
    assert!(matches!(error, BindError::AlreadyBound { pid, .. } if pid == actor.id() as i32));
    assert!(error.to_string().contains(stage.name()), "{error}");
    let error = Address::<u64>::connect(stage.name()).unwrap_err();
    assert!(matches!(error, ConnectError::Open(OpenError::WrongType { .. })), "{error}");
    assert!(Channel::<Counter>::open(stage.name()).is_err());
    let error = MailboxOptions::new()
        .stand_by::<Counter, sysv_channel::DefaultCodec>(stage.name(), Duration::from_millis(1))
        .unwrap_err();
    assert!(matches!(error, BindError::Timeout { .. }), "{error}");
    assert!(error.to_string().contains(stage.name()), "{error}");
}

#[test]
fn the_type_of_a_reply_is_part_of_the_message() {
    #[derive(Serialize, Deserialize)]
    struct Go(Address<Counter>);

    let stage = Stage::new("reply type");
    let _mailbox = Mailbox::<ReplyTo<u64>>::bind(stage.name()).unwrap();
    let error = Address::<ReplyTo<String>>::connect(stage.name()).unwrap_err();
    assert!(matches!(error, ConnectError::Open(OpenError::WrongType { .. })), "{error}");
    let text = sysv_channel::Schema::of::<Go>().text().to_owned();
    assert!(text.contains("Watch") && text.contains("Changed"), "{text}");
    assert!(sysv_channel::Schema::of::<Counter>().is_traced());
}

#[test]
fn a_closed_mailbox_ends_its_actors_call() {
    let stage = Stage::new("closed");
    // Asleep, and while it looks for messages for longer than the test may take.
    for spin in [Duration::ZERO, FOR_EVER] {
        let options = MailboxOptions::new().spin(spin);
        let mailbox: Mailbox<Counter> = options.bind(stage.name()).unwrap();
        let closer = mailbox.closer();
        let (tell, told) = mpsc::channel();
        let actor = thread::spawn(move || {
            tell.send(nix::unistd::gettid()).unwrap();
            count(&mailbox);
        });
        let actors = told.recv().unwrap();
        if spin.is_zero() {
            until(|| is_asleep(format_args!("self/task/{actors}")));
        } else {
            let counter = Address::<Counter>::connect(stage.name()).unwrap();
            assert_eq!(counter.ask(Counter::Get).unwrap(), 0);
        }
        closer.close();
        actor.join().unwrap();
    }
}

#[test]
fn ports_and_addresses_leave_nothing() {
    let stage = Stage::new("leaves nothing");
    let mailbox: Mailbox<Counter> = MailboxOptions::new().addresses(3).bind(stage.name()).unwrap();
    let actor = thread::spawn(move || count(&mailbox));
    for _ in 0..500 {
        let counter = Address::<Counter>::connect(stage.name()).unwrap();
        counter.ask(Counter::Get).unwrap();
    }
    Address::<Counter>::connect(stage.name()).unwrap().tell(&Counter::End).unwrap();
    actor.join().unwrap();
    assert_eq!(stage.objects(), []);
}

#[test]
fn an_ask_during_a_restart_is_answered_by_the_next_actor() {
    let stage = Stage::new("ask during a restart");
    let address = {
        let _first = Mailbox::<ReplyTo<u64>>::bind(stage.name()).unwrap();
        Address::<ReplyTo<u64>>::connect(stage.name()).unwrap()
    };
    for number in 0..3000 {
        thread::scope(|scope| {
            scope.spawn(|| {
                // Its predecessor is gone: nobody dies here.
                let mailbox = Mailbox::<ReplyTo<u64>>::bind(stage.name()).unwrap();
                mailbox.recv().unwrap().unwrap().send(&number).unwrap();
            });
            assert_eq!(address.ask_timeout(|reply| reply, FOR_EVER).unwrap(), number);
        });
    }
}

#[test]
fn a_private_mailbox_whose_actor_was_killed_is_gone_at_once() {
    let stage = Stage::new("private and killed");
    let addresses = Mailbox::<Address<Counter>>::bind(stage.name()).unwrap();
    for _ in 0..5 {
        let mut actor = stage.child("private counter", &[]);
        let counter = addresses.recv().unwrap().unwrap();
        assert!(counter.is_alive().unwrap());
        // Neither of these has been used when the actor dies.
        let (unused, asked) = (counter.clone(), counter.clone());
        let watch = counter.watch().unwrap();
        let outcome = asked_while(counter.clone(), Counter::Keep, || {
            actor.tell("count");
            actor.expect("kept");
            actor.kill();
        });
        assert!(outcome.as_ref().is_err_and(AskError::is_died), "{outcome:?}");
        watch.wait().unwrap();
        for address in [counter, unused] {
            let tell = |message: &Counter| address.tell_timeout(message, FOR_EVER);
            assert!(tell(&Counter::Add(1)).unwrap_err().is_gone());
            assert!(address.try_tell(&Counter::Add(1)).unwrap_err().is_gone());
            assert!(address.tell_urgent(&Counter::Add(1)).unwrap_err().is_gone());
            let error = address.ask_timeout(Counter::Get, FOR_EVER).unwrap_err();
            assert!(error.is_died(), "{error}");
            assert!(error.to_string().contains("never has another"), "{error}");
            assert!(!address.is_alive().unwrap());
        }
        // Its last user removed it.
        assert!(asked.ask_timeout(Counter::Get, FOR_EVER).unwrap_err().is_died());
        assert!(asked.tell_timeout(&Counter::Add(1), FOR_EVER).unwrap_err().is_gone());
    }
}

#[test]
fn a_private_mailbox_that_is_dropped_drops_the_ports_that_wait_there() {
    let stage = Stage::new("private and dropped");
    let home = Mailbox::<Counter>::bind(stage.name()).unwrap();
    let (address, closer) = (home.address(), home.closer());
    let private = Mailbox::<Counter>::private().unwrap();
    let outcome = thread::scope(|scope| {
        let ask = scope.spawn(move || address.ask_timeout(Counter::Keep, FOR_EVER));
        let message = home.recv().unwrap().unwrap();
        private.address().tell(&message).unwrap();
        // Of a longer one, and of one that was asked there, too.
        private.address().tell(&Counter::Ballast(vec![1; 5000].into())).unwrap();
        let receiving = scope.spawn(move || home.recv());
        let asked = private.address();
        let died = asked_while(asked, Counter::Keep, || drop(private));
        assert!(died.as_ref().is_err_and(AskError::is_died), "{died:?}");
        let outcome = ask.join().unwrap();
        closer.close();
        assert!(receiving.join().unwrap().unwrap().is_none());
        outcome
    });
    assert!(outcome.as_ref().is_err_and(AskError::is_dropped), "{outcome:?}");
}

#[test]
fn a_forwarded_reply_for_which_nobody_waits_keeps_no_mailbox() {
    let stage = Stage::new("forwarded and late");
    let home = Mailbox::<Counter>::bind(stage.name()).unwrap();
    let address = home.address();
    let error = address.ask_timeout(Counter::Keep, Duration::from_millis(1)).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let other = Mailbox::<Counter>::private().unwrap();
    other.address().tell(&home.recv().unwrap().unwrap()).unwrap();
    let Some(Counter::Keep(reply)) = other.recv().unwrap() else { panic!() };
    // It goes by the home, which receives no more.
    reply.send(&1).unwrap();
    drop((other, home, address));
    assert_eq!(stage.objects(), []);
}

#[test]
fn who_waits_for_room_in_a_private_mailbox_is_told_when_its_actor_is_killed() {
    let stage = Stage::new("private and full");
    let addresses = Mailbox::<Address<Counter>>::bind(stage.name()).unwrap();
    let actor = stage.child("private counter", &[]);
    let counter = addresses.recv().unwrap().unwrap();
    while counter.try_tell(&Counter::Add(1)).is_ok() {}
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let telling = scope.spawn(move || {
            tell.send(nix::unistd::gettid()).unwrap();
            counter.tell_timeout(&Counter::Add(1), FOR_EVER)
        });
        let teller = told.recv().unwrap();
        until(|| is_asleep(format_args!("self/task/{teller}")));
        actor.kill();
        let error = telling.join().unwrap().unwrap_err();
        assert!(error.is_gone() && error.to_string().contains("never has another"), "{error}");
    });
}

#[test]
fn a_mailbox_with_a_name_says_whether_it_has_an_actor() {
    let stage = Stage::new("is alive");
    let actor = started(&stage, "counter", &[]);
    let counter = Address::<Counter>::connect(stage.name()).unwrap();
    assert!(counter.is_alive().unwrap());
    actor.kill();
    assert!(!counter.is_alive().unwrap());
    // Told all the same: it waits for the next one.
    counter.tell(&Counter::Add(3)).unwrap();
    let _next = started(&stage, "counter", &[]);
    assert!(counter.is_alive().unwrap());
    assert_eq!(counter.ask(Counter::Get).unwrap(), 3);
    Channel::<()>::unlink(stage.name()).unwrap();
    assert!(!counter.is_alive().unwrap());
}

/// Asks that one process answers for others.
#[derive(Serialize, Deserialize)]
enum Deferred {
    Number(ReplyTo<u64>),
    /// The reply is a port, to be answered by whoever asked.
    Port(ReplyTo<ReplyTo<u64>>),
}

#[test]
fn a_port_is_answered_with_another_port_of_the_same_home() {
    let stage = Stage::new("port for a port");
    let home = Mailbox::<Deferred>::bind(stage.name()).unwrap();
    let closer = home.closer();
    let holder = Mailbox::<Deferred>::private().unwrap();
    let passing = holder.address();
    let asked = home.address();
    thread::scope(|scope| {
        let at_home = scope.spawn(move || {
            while let Some(message) = home.recv().unwrap() {
                passing.tell(&message).unwrap();
            }
        });
        let address = asked.clone();
        let number = scope.spawn(move || address.ask_timeout(Deferred::Number, FOR_EVER));
        let Some(Deferred::Number(first)) = holder.recv().unwrap() else { panic!() };
        let port = scope.spawn(move || asked.ask_timeout(Deferred::Port, FOR_EVER));
        let Some(Deferred::Port(second)) = holder.recv().unwrap() else { panic!() };
        second.send(&first).unwrap();
        // The one left behind was passed on.
        assert!(matches!(first.send(&1), Err(ReplyError::PassedOn { .. })));
        port.join().unwrap().unwrap().send(&2).unwrap();
        assert_eq!(number.join().unwrap().unwrap(), 2);
        closer.close();
        at_home.join().unwrap();
    });
}

#[test]
fn a_full_home_hears_who_holds_its_port_and_no_actor_waits_for_it() {
    let stage = Stage::new("full home");
    let second = Second::of(&stage);
    let home = Mailbox::<Counter>::bind(stage.name()).unwrap();
    let mut holder = started(&stage, "counter", &["second"]);
    let back = Address::<Counter>::connect(second.0.as_str()).unwrap();
    let (asked, filling) = (home.address(), home.address());
    let outcome = thread::scope(|scope| {
        let ask = scope.spawn(move || asked.ask_timeout(Counter::Keep, FOR_EVER));
        let message = home.recv().unwrap().unwrap();
        while filling.try_tell_urgent(&Counter::Add(1)).is_ok() {}
        back.tell(&message).unwrap();
        // It has received the message although its home has no room for as much as a word.
        holder.expect("kept");
        assert!(filling.try_tell_urgent(&Counter::Add(1)).unwrap_err().is_full());
        holder.kill();
        let closer = home.closer();
        let reading = scope.spawn(move || while home.recv().unwrap().is_some() {});
        let outcome = ask.join().unwrap();
        closer.close();
        reading.join().unwrap();
        outcome
    });
    assert!(outcome.as_ref().is_err_and(AskError::is_dropped), "{outcome:?}");
}

/// A port goes to and fro between two actors while another process keeps the lock of its home.
#[test]
fn a_home_whose_lock_is_kept_stops_no_actor_that_a_port_of_it_comes_to() {
    let stage = Stage::new("home kept");
    let home = Mailbox::<Counter>::bind(stage.name()).unwrap();
    let actors = [Mailbox::<Counter>::private().unwrap(), Mailbox::private().unwrap()];
    let addresses = [actors[0].address(), actors[1].address()];
    let asked = home.address();
    thread::scope(|scope| {
        let ask = scope.spawn(move || asked.ask_timeout(Counter::Get, FOR_EVER));
        let mut message = home.recv().unwrap().unwrap();
        for address in &addresses {
            address.tell(&Counter::Add(1)).unwrap();
        }
        actors.iter().for_each(|actor| drop(actor.recv().unwrap().unwrap()));
        let mut locking = stage.child("hold the lock", &[]);
        locking.expect("held");
        // Five seconds at each step would be the watchdog's end.
        for step in 0..100 {
            addresses[step % 2].tell(&message).unwrap();
            message = actors[step % 2].recv_timeout(FOR_EVER).unwrap().unwrap();
        }
        locking.kill();
        let Counter::Get(reply) = message else { panic!("{message:?}") };
        reply.send(&7).unwrap();
        let reading = home.closer();
        let reader = scope.spawn(move || while home.recv().unwrap().is_some() {});
        assert_eq!(ask.join().unwrap().unwrap(), 7);
        reading.close();
        reader.join().unwrap();
    });
}

#[test]
fn a_call_that_is_not_to_wait_ends_although_the_lock_of_its_mailbox_is_kept() {
    let stage = Stage::new("mailbox kept");
    let mailbox = Mailbox::<Counter>::bind(stage.name()).unwrap();
    let addresses: Vec<_> = (0..30).map(|_| mailbox.address()).collect();
    let mut locking = stage.child("hold the lock", &[]);
    locking.expect("held");
    // Five seconds each would be the watchdog's end.
    for address in &addresses {
        let busy =
            |error: &ConnectError| matches!(error, ConnectError::Open(OpenError::Busy { .. }));
        let told = address.try_tell(&Counter::Add(1));
        assert!(matches!(&told, Err(TellError::Connect(error)) if busy(error)), "{told:?}");
    }
    locking.kill();
    addresses.iter().for_each(|address| address.try_tell(&Counter::Add(1)).unwrap());
}

#[test]
fn standing_by_ends_in_time_although_the_lock_of_the_mailbox_is_kept() {
    let stage = Stage::new("standby beside a kept lock");
    let _mailbox = Mailbox::<Counter>::bind(stage.name()).unwrap();
    let mut locking = stage.child("hold the lock", &[]);
    locking.expect("held");
    // Five seconds each would be the watchdog's end.
    for _ in 0..30 {
        let timeout = Duration::from_millis(1);
        let error = MailboxOptions::new().stand_by::<Counter, Bincode>(stage.name(), timeout);
        let error = error.unwrap_err();
        assert!(matches!(error, BindError::Open(OpenError::Busy { .. })), "{error}");
    }
    locking.kill();
}

#[test]
fn a_port_dropped_or_without_room_while_its_home_is_full_is_told() {
    for answers in [false, true] {
        let stage = Stage::new("dropped at a full home");
        let home = Mailbox::<Counter>::bind(stage.name()).unwrap();
        let holder = Mailbox::<Counter>::private().unwrap();
        let (asked, filling, passing) = (home.address(), home.address(), holder.address());
        let closer = home.closer();
        thread::scope(|scope| {
            let ask = scope.spawn(move || asked.ask_timeout(Counter::Get, FOR_EVER));
            passing.tell(&home.recv().unwrap().unwrap()).unwrap();
            while filling.try_tell_urgent(&Counter::Add(1)).is_ok() {}
            let Some(Counter::Get(port)) = holder.recv().unwrap() else { panic!() };
            if answers {
                let error = port.send(&7).unwrap_err();
                assert!(matches!(error, ReplyError::Full { .. }), "{error}");
            } else {
                drop(port);
            }
            assert!(filling.try_tell_urgent(&Counter::Add(1)).unwrap_err().is_full());
            let reading = scope.spawn(move || while home.recv().unwrap().is_some() {});
            let error = ask.join().unwrap().unwrap_err();
            assert!(error.is_dropped() && error.to_string().contains("no room"), "{error}");
            closer.close();
            reading.join().unwrap();
        });
    }
}

#[test]
fn a_port_is_passed_on_by_a_send_that_succeeds_and_by_nothing_else() {
    let stage = Stage::new("passed on when sent");
    let mailbox = Mailbox::<Counter>::bind(stage.name()).unwrap();
    let closer = mailbox.closer();
    let counter = mailbox.address();
    let channel = Channel::<(Bytes, Counter)>::options().lanes(1).private().unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    thread::scope(|scope| {
        let ask = scope.spawn(move || counter.ask_timeout(Counter::Get, FOR_EVER));
        let message = mailbox.recv().unwrap().unwrap();
        // A log.
        let mut memory = [0; 1000];
        let error = Bincode::encode(&message, &mut Writer::new(&mut memory)).unwrap_err();
        assert!(error.to_string().contains("reply port"), "{error}");
        // A channel that has no room.
        while tx.try_send(&(Bytes::from(vec![0; 500]), Counter::End)).is_ok() {}
        let mut full = (Bytes::from(vec![0; 500]), message);
        assert!(tx.try_send(&full).unwrap_err().is_full());
        assert!(tx.send_timeout(&full, Duration::from_millis(1)).unwrap_err().is_timeout());
        // One that has.
        while rx.try_recv().is_ok() {}
        tx.send(&full).unwrap();
        // It went, and goes with no other.
        let error = tx.send(&full).unwrap_err();
        assert!(matches!(error, SendError::Encode { .. }), "{error}");
        assert!(error.to_string().contains("passed on already"), "{error}");
        let Counter::Get(left) = std::mem::replace(&mut full.1, Counter::End) else { panic!() };
        assert!(matches!(left.send(&1), Err(ReplyError::PassedOn { .. })));
        let Counter::Get(reply) = rx.recv().unwrap().1 else { panic!() };
        let home = scope.spawn(move || mailbox.recv());
        reply.send(&7).unwrap();
        assert_eq!(ask.join().unwrap().unwrap(), 7);
        closer.close();
        assert!(home.join().unwrap().unwrap().is_none());
    });
}

/// A value whose encoding panics.
struct Explosive;

impl Serialize for Explosive {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("no encoding");
    }
}

impl<'de> Deserialize<'de> for Explosive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer).map(|()| Explosive)
    }
}

#[test]
fn the_asker_is_told_when_encoding_the_reply_panics() {
    let stage = Stage::new("encoding panics");
    let mailbox = Mailbox::<ReplyTo<Explosive>>::bind(stage.name()).unwrap();
    let address = mailbox.address();
    thread::scope(|scope| {
        let ask = scope.spawn(move || address.ask_timeout(|reply| reply, FOR_EVER).map(drop));
        let reply = mailbox.recv().unwrap().unwrap();
        let panicked = scope.spawn(move || reply.send(&Explosive)).join();
        assert!(panicked.is_err());
        assert!(ask.join().unwrap().unwrap_err().is_dropped());
    });
}

#[test]
fn tracing_a_type_with_ports_and_addresses_leaves_the_kernel_alone() {
    let stage = Stage::new("tracing");
    let mut child = stage.child_apart("traces", &[]);
    child.expect("1");
    child.finish();
}

#[test]
fn addresses_and_ports_lead_to_mailboxes_of_any_length_of_value() {
    let stage = Stage::new("long values allowed");
    let second = Second::of(&stage);
    let options = MailboxOptions::new().max_value(65 << 20);
    let home: Mailbox<Counter> = options.bind(stage.name()).unwrap();
    let error = Address::<Counter>::connect(stage.name()).unwrap_err();
    assert!(matches!(error, ConnectError::LongerValues { .. }), "{error}");
    assert!(error.to_string().contains("AddressOptions::max_value(68157440)"), "{error}");
    let allows = AddressOptions::new().max_value(65 << 20);
    let by_name: Address<Counter> = allows.connect(stage.name()).unwrap();
    by_name.tell(&Counter::Add(1)).unwrap();
    // Its own address, and one that came to a mailbox which takes as long ones.
    home.address().tell(&Counter::Add(1)).unwrap();
    let other: Mailbox<Address<Counter>> = options.bind(second.0.as_str()).unwrap();
    other.address().tell(&home.address()).unwrap();
    other.recv().unwrap().unwrap().tell(&Counter::Add(1)).unwrap();
    // One that came to another mailbox.
    let short = Mailbox::<Address<Counter>>::private().unwrap();
    short.address().tell(&home.address()).unwrap();
    let came = short.recv().unwrap().unwrap();
    assert!(matches!(came.tell(&Counter::Add(1)).unwrap_err(), TellError::Connect(_)));
    came.with(allows).tell(&Counter::Add(1)).unwrap();
    assert_eq!(std::iter::from_fn(|| now(&home)).count(), 4);
    // A port sends only, so the holder needs to allow for nothing.
    let holder = Mailbox::<Counter>::private().unwrap();
    thread::scope(|scope| {
        let ask = scope.spawn(move || by_name.ask_timeout(Counter::Get, FOR_EVER));
        holder.address().tell(&home.recv().unwrap().unwrap()).unwrap();
        let Some(Counter::Get(reply)) = holder.recv().unwrap() else { panic!() };
        reply.send(&5).unwrap();
        let closer = home.closer();
        let reading = scope.spawn(move || home.recv());
        assert_eq!(ask.join().unwrap().unwrap(), 5);
        closer.close();
        assert!(reading.join().unwrap().unwrap().is_none());
    });
}

#[test]
fn a_mailbox_tells_closed_from_empty_and_from_the_time_that_passed() {
    let stage = Stage::new("closed or empty");
    let mailbox = Mailbox::<u32>::bind(stage.name()).unwrap();
    let soon = Duration::from_millis(1);
    assert!(mailbox.try_recv().unwrap_err().is_empty());
    assert!(mailbox.recv_timeout(soon).unwrap_err().is_timeout());
    assert!(mailbox.recv_timeout(Duration::ZERO).unwrap_err().is_timeout());
    assert!(!mailbox.is_closed());
    mailbox.closer().close();
    assert!(mailbox.is_closed());
    assert_eq!(mailbox.try_recv().unwrap(), None);
    assert_eq!(mailbox.recv_timeout(soon).unwrap(), None);
    assert_eq!(mailbox.recv().unwrap(), None);
}

#[test]
fn an_ask_whose_message_leaves_its_port_out_is_dropped_at_once() {
    let stage = Stage::new("port left out");
    let mailbox = Mailbox::<Counter>::bind(stage.name()).unwrap();
    let address = mailbox.address();
    let error = address.ask_timeout::<u64>(|_| Counter::Add(1), FOR_EVER).unwrap_err();
    assert!(error.is_dropped(), "{error}");
    // Kept by the asker, it answers nothing.
    let mut kept = None;
    let error = address.ask_timeout::<u64>(
        |reply| {
            kept = Some(reply);
            Counter::Add(1)
        },
        FOR_EVER,
    );
    assert!(error.unwrap_err().is_dropped());
    assert!(matches!(kept.unwrap().send(&1), Err(ReplyError::PassedOn { .. })));
    assert_eq!(std::iter::from_fn(|| now(&mailbox)).count(), 2);
}

/// Tells its address a message while it is encoded.
struct Nested(Option<Rc<Address<Nested>>>);

impl Serialize for Nested {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(address) = &self.0 {
            let error = address.tell(&Nested(None)).unwrap_err();
            assert!(matches!(error, TellError::Connect(ConnectError::Reentrant { .. })), "{error}");
        }
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Nested {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer).map(|()| Nested(None))
    }
}

#[test]
fn an_address_in_the_middle_of_a_call_refuses_another() {
    let stage = Stage::new("reentrant address");
    let mailbox = Mailbox::<Nested>::bind(stage.name()).unwrap();
    let address = Rc::new(mailbox.address());
    address.tell(&Nested(Some(address.clone()))).unwrap();
    assert!(now(&mailbox).is_some());
    assert!(now(&mailbox).is_none());
}

/// Stops its decoding, once, where a test says so.
struct Gate;

/// Where decoding says that it has come to the gate, and what opens it.
static GATE: Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>> = Mutex::new(None);

impl Serialize for Gate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Gate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer)?;
        let gate = GATE.lock().unwrap().take();
        if let Some((came, open)) = gate {
            came.send(()).unwrap();
            open.recv().unwrap();
        }
        Ok(Gate)
    }
}

type Gated = (ReplyTo<u64>, Gate, Bytes);

/// Sends a long value that holds a port, with a deadline that passes while the value is decoded:
/// what was decoded is nothing, and the port is still the sender's.
fn taken_back_while_it_is_decoded(
    stage: &Stage,
    send: impl Fn(&Gated) -> bool + Send,
    receive: impl Fn() -> bool + Send,
) {
    let home = Mailbox::<ReplyTo<u64>>::bind(stage.name()).unwrap();
    let asked = home.address();
    thread::scope(|scope| {
        let ask = scope.spawn(move || asked.ask_timeout(|reply| reply, FOR_EVER));
        let reply = home.recv().unwrap().unwrap();
        let value: Gated = (reply, Gate, vec![7; 100_000].into());
        let (came, comes) = mpsc::channel();
        let (open, opens) = mpsc::channel();
        *GATE.lock().unwrap() = Some((came, opens));
        let receiving = scope.spawn(move || while !receive() {});
        // On a busy machine the time may pass before it is decoded.
        while !{
            assert!(!send(&value), "it is decoded until the time has passed");
            comes.try_recv().is_ok()
        } {}
        open.send(()).unwrap();
        // The receiver goes on, with a value of another ask.
        let spare = Mailbox::<ReplyTo<u64>>::private().unwrap();
        let other = spare.address();
        let other = scope.spawn(move || other.ask_timeout(|reply| reply, FOR_EVER));
        let second: Gated = (spare.recv().unwrap().unwrap(), Gate, Bytes::default());
        assert!(send(&second));
        receiving.join().unwrap();
        // It dropped the second, and the first is alive.
        let (reply, ..) = value;
        reply.send(&3).unwrap();
        assert_eq!(ask.join().unwrap().unwrap(), 3);
        let closer = spare.closer();
        let looking = scope.spawn(move || spare.recv());
        assert!(other.join().unwrap().unwrap_err().is_dropped());
        closer.close();
        assert!(looking.join().unwrap().unwrap().is_none());
    });
}

#[test]
fn a_port_in_a_value_that_was_taken_back_while_it_was_decoded_is_still_its_senders() {
    let stage = Stage::new("taken back");
    let a_while = Duration::from_millis(100);
    let channel = Channel::<Gated>::options().capacity(4096).private().unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let send = move |value: &Gated| tx.send_timeout(value, a_while).is_ok();
    taken_back_while_it_is_decoded(&stage, send, move || rx.recv().unwrap().2.is_empty());

    let mailbox: Mailbox<Gated> = MailboxOptions::new().capacity(4096).private().unwrap();
    let address = mailbox.address();
    // Connected here, since that traces the type, which decodes samples.
    assert!(address.is_alive().unwrap());
    let send = move |value: &Gated| address.tell_timeout(value, a_while).is_ok();
    taken_back_while_it_is_decoded(&stage, send, move || {
        mailbox.recv().unwrap().unwrap().2.is_empty()
    });
}

/// Values whose encoded length is known; behind a tag of four bytes, bytes have eight that say how
/// many they are, and a port has 41.
#[derive(Serialize, Deserialize)]
enum Measured {
    Told(Bytes),
    Asked(Bytes, ReplyTo<u64>),
    /// As long a reply.
    Reply(u64, ReplyTo<Bytes>),
    /// The same from the actor that has this address.
    Forward(u64, Box<Address<Measured>>, ReplyTo<Bytes>),
}

/// Replies with as many bytes, and hands over how that went.
fn measure(mailbox: &Mailbox<Measured>, replied: &mpsc::Sender<Result<(), ReplyError>>) {
    while let Some(message) = mailbox.recv().unwrap() {
        let len = |len: u64| Bytes::from(vec![7; len as usize]);
        match message {
            Measured::Told(bytes) => assert!(bytes.iter().all(|&byte| byte == 7)),
            Measured::Asked(bytes, reply) => reply.send(&(bytes.len() as u64)).unwrap(),
            Measured::Reply(bytes, reply) => replied.send(reply.send(&len(bytes))).unwrap(),
            Measured::Forward(bytes, other, reply) => {
                other.tell(&Measured::Reply(bytes, reply)).unwrap();
            }
        }
    }
}

#[test]
fn the_longest_value_is_that_of_the_message_and_of_the_reply_alone() {
    // In the queue, in a ring, and in fragments.
    for max in [200, 10_000, 100_000_u64] {
        let stage = Stage::new("longest");
        let (replied, replies) = mpsc::channel();
        let options = MailboxOptions::new().max_value(max);
        let mailbox = options.bind::<Measured, _>(stage.name()).unwrap();
        let other = options.private::<Measured, _>().unwrap();
        let closers = [mailbox.closer(), other.closer()];
        let (address, away) = (mailbox.address(), other.address());
        let actors = [mailbox, other].map(|mailbox| {
            let replied = replied.clone();
            thread::spawn(move || measure(&mailbox, &replied))
        });

        let too_long =
            |error: &SendError| matches!(error, SendError::TooLong { max: it, .. } if *it == max);
        let longest = max as usize - 4 - 8;
        address.tell(&Measured::Told(vec![7; longest].into())).unwrap();
        address.tell_urgent(&Measured::Told(vec![7; longest].into())).unwrap();
        let told = address.tell(&Measured::Told(vec![7; longest + 1].into()));
        assert!(matches!(&told, Err(TellError::Send(error)) if too_long(error)), "{told:?}");

        let longest = max as usize - 4 - 8 - 41;
        let ask = |len| address.ask(|port| Measured::Asked(vec![7; len].into(), port));
        assert_eq!(ask(longest).unwrap(), longest as u64);
        let asked = ask(longest + 1).unwrap_err();
        assert!(
            matches!(&asked, AskError::Tell(TellError::Send(error)) if too_long(error)),
            "{asked}"
        );

        let longest = max - 8;
        for forward in [false, true] {
            let ask = |len| {
                address.ask(|port| match forward {
                    false => Measured::Reply(len, port),
                    true => Measured::Forward(len, Box::new(away.clone()), port),
                })
            };
            assert_eq!(ask(longest).unwrap().len() as u64, longest);
            replies.recv().unwrap().unwrap();
            let asked = ask(longest + 1).unwrap_err();
            assert!(matches!(asked, AskError::Unsendable { .. }), "{asked}");
            let replied = replies.recv().unwrap().unwrap_err();
            assert!(
                matches!(replied, ReplyError::TooLong { max: it, .. } if it == max),
                "{replied}"
            );
        }
        closers.iter().for_each(|closer| closer.close());
        actors.into_iter().for_each(|actor| actor.join().unwrap());
    }
}

#[test]
fn a_mailbox_without_room_for_replies_is_refused() {
    let stage = Stage::new("no replies");
    let options = MailboxOptions::new().reply_capacity(0);
    let bound = [
        options.bind::<u32, Bincode>(stage.name()).map(drop),
        options.stand_by::<u32, Bincode>(stage.name(), Duration::ZERO).map(drop),
        options.private::<u32, Bincode>().map(drop),
    ];
    for bound in bound {
        let error = bound.unwrap_err();
        assert!(matches!(error, BindError::InvalidOptions { .. }), "{error}");
        assert!(error.to_string().contains("reply_capacity"), "{error}");
    }
}

#[test]
fn the_asker_is_told_why_although_the_reason_is_longer_than_the_longest_value() {
    let stage = Stage::new("long reason");
    let mailbox: Mailbox<ReplyTo<Bytes>> =
        MailboxOptions::new().max_value(48).bind(stage.name()).unwrap();
    let (address, closer) = (mailbox.address(), mailbox.closer());
    let actor = thread::spawn(move || {
        while let Some(reply) = mailbox.recv().unwrap() {
            assert!(matches!(
                reply.send(&vec![7; 49].into()),
                Err(ReplyError::TooLong { max: 48, .. })
            ));
        }
    });
    let asked = address.ask_timeout(|port| port, Duration::MAX).unwrap_err();
    assert!(matches!(&asked, AskError::Unsendable { why, .. } if why.len() == 48), "{asked}");
    closer.close();
    actor.join().unwrap();
}
