//! Actors that answer in parts.

#![cfg(not(loom))]

mod common;

use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use common::kernel::{self, is_asleep};
use common::parts::{self, fills_the_window, part};
use common::{Child, Stage, listen, play, say, until};
use nix::sys::wait::{WaitStatus, waitpid};
use serde::{Deserialize, Serialize};
use sysv_channel::actor::{
    Address, AskError, ConnectError, Mailbox, MailboxOptions, ReplyError, ReplyStream, ReplyTo,
    StreamTo, TellError,
};
use sysv_channel::codec::Bytes;
use sysv_channel::{Channel, RecvError, SendError};

/// Longer than a test may take.
const FOR_EVER: Duration = Duration::from_secs(1000);
const SHORT: Duration = Duration::from_millis(20);

/// What the actors of these tests are told.
#[derive(Serialize, Deserialize, Debug)]
enum Job {
    /// As many parts of so many bytes, without end for zero, from this number on.
    Rows {
        from: u64,
        parts: u64,
        len: usize,
        port: StreamTo<Bytes>,
    },
    /// Sends the first parts, and has others send the rest.
    Pass {
        first: u64,
        parts: u64,
        to: Vec<Address<Job>>,
        port: StreamTo<Bytes>,
    },
    /// Sends ten parts, and has another send the rest.
    PassOn {
        from: u64,
        parts: u64,
        to: Vec<Address<Job>>,
        port: StreamTo<Bytes>,
    },
    Echo(u64, ReplyTo<u64>),
    /// Has another actor reply.
    EchoBy(Box<Address<Job>>, u64, ReplyTo<u64>),
    /// Sends the first parts, and drops the port.
    Drop {
        first: u64,
        port: StreamTo<Bytes>,
    },
    Nothing,
}

fn rows(parts: u64, len: usize) -> impl FnOnce(StreamTo<Bytes>) -> Job {
    move |port| Job::Rows { from: 0, parts, len, port }
}

/// Streams as it is told, each stream on a thread of its own; `told` is told how each ended.
fn act(mailbox: &Mailbox<Job>, told: impl Fn(Result<(), ReplyError>) + Clone + Send + 'static) {
    let mut handlers = Vec::new();
    while let Some(job) = mailbox.recv().unwrap() {
        match job {
            Job::Rows { from, parts, len, port } => {
                let told = told.clone();
                handlers.push(thread::spawn(move || told(send(port, from, parts, len))));
            }
            Job::Pass { first, parts, mut to, mut port } => {
                (0..first).for_each(|number| port.part(&part(number, 1000)).unwrap());
                let next = to.remove(0);
                match to.is_empty() {
                    true => next.tell(&Job::Rows { from: first, parts, len: 1000, port }),
                    // The first of the others sends none by itself.
                    false => next.tell(&Job::PassOn { from: first, parts, to, port }),
                }
                .unwrap();
            }
            Job::PassOn { from, parts, to, mut port } => {
                let next = from + 10;
                (from..next).for_each(|number| port.part(&part(number, 1000)).unwrap());
                to[0].tell(&Job::Rows { from: next, parts, len: 1000, port }).unwrap();
            }
            Job::Echo(number, reply) => reply.send(&number).unwrap(),
            Job::EchoBy(other, number, reply) => other.tell(&Job::Echo(number, reply)).unwrap(),
            Job::Drop { first, mut port } => {
                (0..first).for_each(|number| port.part(&part(number, 1000)).unwrap());
            }
            Job::Nothing => {}
        }
    }
    handlers.into_iter().for_each(|handler| handler.join().unwrap());
}

fn ended(how: Result<(), ReplyError>) {
    say(match how {
        Ok(()) => "sent".to_owned(),
        Err(ReplyError::Gone { .. }) => "gone".to_owned(),
        Err(error) => error.to_string(),
    });
}

/// The parts that this binary plays when it is started as a child.
#[test]
fn child() {
    play(|role, arguments| {
        let name = match arguments.get(1) {
            Some(second) => format!("{} {second}", arguments[0]),
            None => arguments[0].to_owned(),
        };
        match role {
            "actor" => {
                let mailbox = Mailbox::bind(name).unwrap();
                say("bound");
                act(&mailbox, ended);
            }
            // Says how much went whenever a part has to wait, and goes on when it is told to.
            "counting actor" => {
                let options = MailboxOptions::new().reply_capacity(16 << 10);
                let mailbox: Mailbox<Job> = options.bind(name).unwrap();
                say("bound");
                let Some(Job::Rows { len, mut port, .. }) = mailbox.recv().unwrap() else {
                    panic!()
                };
                thread::spawn(move || {
                    let mut sent = 0;
                    loop {
                        match port.part_timeout(&part(sent, len), SHORT) {
                            Ok(()) => sent += 1,
                            Err(ReplyError::WouldWait { .. }) => {
                                say(sent);
                                listen();
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
                mailbox.recv().unwrap();
            }
            // Streams on the thread that receives.
            "actor of one thread" => {
                let mailbox = Mailbox::<Job>::bind(name).unwrap();
                say("bound");
                while let Some(job) = mailbox.recv().unwrap() {
                    match job {
                        Job::Rows { from, parts, len, port } => ended(send(port, from, parts, len)),
                        Job::Echo(number, reply) => reply.send(&number).unwrap(),
                        other => panic!("{other:?}"),
                    }
                }
            }
            "asker" => {
                let address = Address::<Job>::connect(arguments[0]).unwrap();
                let mut stream = match arguments.get(1) {
                    None => address.stream(rows(0, 1000)),
                    Some(_) => {
                        let to = vec![Address::connect(name).unwrap()];
                        address.stream(|port| Job::Pass { first: 1, parts: 0, to, port })
                    }
                }
                .unwrap();
                assert_eq!(stream.next().unwrap().unwrap(), part(0, 1000));
                say("reads");
                assert_eq!(listen(), "never told");
            }
            _ => unreachable!("no such role: {role}"),
        }
    });
}

fn send(mut port: StreamTo<Bytes>, from: u64, parts: u64, len: usize) -> Result<(), ReplyError> {
    let last = if parts == 0 { u64::MAX } else { parts };
    (from..last).try_for_each(|number| port.part(&part(number, len)))?;
    port.finish()
}

fn started(stage: &Stage, role: &str, arguments: &[&str], line: &str) -> Child {
    let mut child = stage.child(role, arguments);
    child.expect(line);
    child
}

fn connected(stage: &Stage) -> Address<Job> {
    Address::connect(stage.name()).unwrap()
}

/// Removes a second mailbox of a test, whatever happens.
struct Second(String);

impl Second {
    fn of(stage: &Stage) -> Self {
        Second(format!("{} second", stage.name()))
    }

    fn address(&self) -> Address<Job> {
        Address::connect(self.0.as_str()).unwrap()
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = Channel::<()>::unlink(self.0.as_str());
    }
}

/// The port of the stream that was asked for.
fn receive(mailbox: &Mailbox<Job>) -> StreamTo<Bytes> {
    match mailbox.recv().unwrap() {
        Some(Job::Rows { port, .. }) => port,
        other => panic!("{other:?}"),
    }
}

/// Sends parts until the next would have to wait; how many went.
fn fill(port: &mut StreamTo<Bytes>, len: usize) -> u64 {
    let would_wait = |error: &ReplyError| matches!(error, ReplyError::WouldWait { .. });
    parts::fill(len, |part| port.try_part(part), would_wait)
}

/// The next part, on the actor's own thread: what found no room in the ring goes while it looks for messages.
fn next(
    stream: &mut ReplyStream<Bytes>,
    mailbox: &Mailbox<Job>,
) -> Option<Result<Bytes, AskError>> {
    loop {
        match stream.try_next() {
            Poll::Ready(next) => return next,
            Poll::Pending => assert!(mailbox.try_recv().unwrap_err().is_empty()),
        }
    }
}

/// Reads parts in order up to the end of the stream; how many came, and the error that ended it, if one did.
fn read(
    stream: impl Iterator<Item = Result<Bytes, AskError>>,
    from: u64,
) -> (u64, Option<AskError>) {
    let mut number = from;
    for next in stream {
        match next {
            Ok(next) => assert_eq!(next, part(number, 1000)),
            Err(error) => return (number - from, Some(error)),
        }
        number += 1;
    }
    (number - from, None)
}

#[test]
fn parts_arrive_in_order_and_whole_however_long_and_many() {
    let stage = Stage::new("in order");
    let _actor = started(&stage, "actor", &[], "bound");
    let address = connected(&stage);
    for parts in [1, 2, 10, 3000] {
        assert_eq!(read(address.stream(rows(parts, 1000)).unwrap(), 0), (parts, None));
    }
    // On the actor's own thread, and longer than rings, windows and messages are; also where a reply that waits may
    // be no longer than one part.
    for (capacity, max) in [(4096, 2_000_000), (1 << 20, 64 << 20)] {
        let stage = Stage::new("long parts");
        let options = MailboxOptions::new().reply_capacity(capacity).max_value(max);
        let mailbox: Mailbox<Job> = options.bind(stage.name()).unwrap();
        let closer = mailbox.closer();
        let acting = thread::spawn(move || {
            while let Some(job) = mailbox.recv().unwrap() {
                let Job::Rows { len, port, .. } = job else { panic!("{job:?}") };
                send(port, 0, 20, len).unwrap();
            }
        });
        let address = connected(&stage);
        for len in [8, 3000, 9000, 70_000, 300_000, 1_999_900] {
            let mut number = 0;
            for next in address.stream(rows(20, len)).unwrap() {
                assert!(next.unwrap() == part(number, len), "{number} of {len}");
                number += 1;
            }
            assert_eq!(number, 20);
        }
        closer.close();
        acting.join().unwrap();
    }
}

#[test]
fn a_stream_ends_with_its_last_part_or_without_or_with_a_port_that_is_dropped() {
    let stage = Stage::new("ends");
    let mailbox = Mailbox::<Job>::bind(stage.name()).unwrap();
    let address = connected(&stage);
    let mut stream = address.stream(rows(1, 8)).unwrap();
    assert_eq!(stream.try_next(), Poll::Pending);
    assert_eq!(stream.next_timeout(SHORT), Poll::Pending);
    let mut port = receive(&mailbox);
    assert!(!port.is_cancelled());
    assert_eq!(port.remaining(), None);
    assert_eq!(port.asker().unwrap().pid(), std::process::id());
    port.part(&part(0, 8)).unwrap();
    assert_eq!(stream.try_next(), Poll::Ready(Some(Ok(part(0, 8)))));
    port.send(&part(1, 8)).unwrap();
    assert_eq!(stream.next(), Some(Ok(part(1, 8))));
    assert_eq!(stream.next(), None);
    assert_eq!(stream.try_next(), Poll::Ready(None));

    let stream = address.stream(rows(1, 8)).unwrap();
    receive(&mailbox).finish().unwrap();
    assert_eq!(stream.count(), 0);
    for parts in [0, 3] {
        let mut stream = address.stream(rows(1, 8)).unwrap();
        let mut port = receive(&mailbox);
        (0..parts).for_each(|number| port.part(&part(number, 1000)).unwrap());
        drop(port);
        let (came, error) = read(&mut stream, 0);
        assert_eq!(came, parts);
        assert!(error.unwrap().is_dropped());
        assert_eq!(stream.next(), None);
    }
    // A message that goes without its port.
    let error = address.stream::<Bytes>(|_| Job::Nothing).unwrap_err();
    assert!(error.is_dropped(), "{error}");

    // Without end where there is little room for what waits.
    let stage = Stage::new("little room");
    let options = MailboxOptions::new().reply_capacity(4096).max_value(1000);
    let mailbox: Mailbox<Job> = options.bind(stage.name()).unwrap();
    let mut stream = connected(&stage).stream(rows(1, 8)).unwrap();
    let mut port = receive(&mailbox);
    let sent = fill(&mut port, 500);
    port.finish().unwrap();
    for number in 0..sent {
        assert_eq!(next(&mut stream, &mailbox), Some(Ok(part(number, 500))));
    }
    assert_eq!(next(&mut stream, &mailbox), None);
}

#[test]
fn a_reader_that_does_not_take_holds_up_its_own_stream_alone() {
    let stage = Stage::new("back-pressure");
    // Where the window is not cut to a small ring.
    let options = MailboxOptions::new().reply_capacity(1 << 20);
    let mailbox: Mailbox<Job> = options.bind(stage.name()).unwrap();
    let (address, other) = (connected(&stage), connected(&stage));
    let mut slow = address.stream(rows(1, 8)).unwrap();
    let mut slow_port = receive(&mailbox);
    let sent = fill(&mut slow_port, 1000);
    assert!(fills_the_window(sent), "{sent}");
    let late = slow_port.part_timeout(&part(0, 8), SHORT);
    assert!(matches!(late, Err(ReplyError::WouldWait { .. })), "{late:?}");
    // Other streams and asks, of this address and of another, in turns.
    let mut beside = address.stream(rows(2, 8)).unwrap();
    let mut beside_port = receive(&mailbox);
    let mut theirs = other.stream(rows(3, 8)).unwrap();
    let mut their_port = receive(&mailbox);
    for number in 0..2000 {
        for (port, stream) in [(&mut beside_port, &mut beside), (&mut their_port, &mut theirs)] {
            port.try_part(&part(number, 500)).unwrap();
            assert_eq!(next(stream, &mailbox), Some(Ok(part(number, 500))));
        }
    }
    thread::scope(|scope| {
        let asking = scope.spawn(move || {
            let asked = (0..100)
                .map(|number| address.ask(|reply| Job::Echo(number, reply)).unwrap() == number);
            (asked.filter(|&same| same).count(), address)
        });
        for _ in 0..100 {
            let Some(Job::Echo(number, reply)) = mailbox.recv().unwrap() else { panic!() };
            reply.send(&number).unwrap();
        }
        assert_eq!(asking.join().unwrap().0, 100);
    });
    let would_wait = slow_port.try_part(&part(0, 8));
    assert!(matches!(would_wait, Err(ReplyError::WouldWait { .. })), "{would_wait:?}");
    // It goes on when its reader does.
    for number in 0..sent {
        assert_eq!(next(&mut slow, &mailbox), Some(Ok(part(number, 1000))));
    }
    assert_eq!(slow.try_next(), Poll::Pending);
    assert_eq!(fill(&mut slow_port, 1000), sent);
}

#[test]
fn a_handler_waits_for_its_reader_on_any_thread_and_goes_on_with_it() {
    for role in ["actor", "actor of one thread"] {
        let stage = Stage::new("waits");
        let mut actor = started(&stage, role, &[], "bound");
        let address = connected(&stage);
        let mut slow = address.stream(rows(5000, 1000)).unwrap();
        assert_eq!(slow.next(), Some(Ok(part(0, 1000))));
        if role == "actor" {
            let quick = connected(&stage);
            assert_eq!(read(quick.stream(rows(5000, 1000)).unwrap(), 0), (5000, None));
            actor.expect("sent");
            assert_eq!(quick.ask(|reply| Job::Echo(4, reply)).unwrap(), 4);
        }
        assert_eq!(read(slow, 1), (4999, None));
        actor.expect("sent");
        assert_eq!(address.ask(|reply| Job::Echo(5, reply)).unwrap(), 5);
    }
}

#[test]
fn dropping_a_stream_cancels_it_and_a_handler_that_waits_learns_of_it() {
    for role in ["actor", "actor of one thread"] {
        let stage = Stage::new("dropped");
        let mut actor = started(&stage, role, &[], "bound");
        let address = connected(&stage);
        for taken in [0, 1, 1000] {
            let mut stream = address.stream(rows(0, 1000)).unwrap();
            for number in 0..taken {
                assert_eq!(stream.next(), Some(Ok(part(number, 1000))));
            }
            drop(stream);
            actor.expect("gone");
        }
        // Their places are free again: there are more of them than those.
        for _ in 0..300 {
            assert_eq!(read(address.stream(rows(3, 1000)).unwrap(), 0), (3, None));
            actor.expect("sent");
        }
    }
    let stage = Stage::new("cancelled");
    let mailbox = Mailbox::<Job>::bind(stage.name()).unwrap();
    let stream = connected(&stage).stream(rows(0, 8)).unwrap();
    let mut port = receive(&mailbox);
    drop(stream);
    assert!(port.is_cancelled());
    assert!(matches!(port.part(&part(0, 8)), Err(ReplyError::Gone { .. })));
    assert!(matches!(port.finish(), Err(ReplyError::Gone { .. })));
}

#[test]
fn a_stream_has_a_deadline_if_it_is_to_have_one_and_says_how_much_came() {
    let stage = Stage::new("deadlines");
    let mailbox = Mailbox::<Job>::bind(stage.name()).unwrap();
    let address = connected(&stage);
    for parts in [0, 2] {
        let mut stream = address.stream_timeout(rows(0, 8), SHORT).unwrap();
        let mut port = receive(&mailbox);
        assert!(port.remaining().unwrap() <= SHORT);
        // It may be over before they are sent.
        let sent = (0..parts).take_while(|&number| port.part(&part(number, 1000)).is_ok()).count();
        let mut came = 0;
        let late = loop {
            match stream.next_timeout(FOR_EVER) {
                Poll::Ready(Some(Ok(_))) => came += 1,
                Poll::Ready(Some(Err(late))) => break late,
                other => panic!("{other:?}"),
            }
        };
        assert!(late.is_timeout() && came <= sent as u64, "{late}");
        match late {
            AskError::Timeout { .. } => assert_eq!(came, 0),
            AskError::Unfinished { parts, .. } => assert_eq!(parts, came),
            other => panic!("{other}"),
        }
        assert_eq!(stream.next(), None);
        assert!(port.is_cancelled());
        assert!(matches!(port.part(&part(0, 8)), Err(ReplyError::Gone { .. })));
    }
    // A handler that waits is told of it too.
    let _stream = address.stream_timeout(rows(0, 8), SHORT).unwrap();
    let mut port = receive(&mailbox);
    let sent = loop {
        match port.part(&part(0, 1000)) {
            Ok(()) => {}
            sent => break sent,
        }
    };
    assert!(matches!(sent, Err(ReplyError::Gone { .. })), "{sent:?}");
}

#[test]
fn a_forwarded_port_streams_from_where_it_is_also_from_the_middle_on() {
    let stage = Stage::new("forwarded");
    let second = Second::of(&stage);
    let _front = started(&stage, "actor", &[], "bound");
    let mut back = started(&stage, "actor", &["second"], "bound");
    let (front, holder) = (connected(&stage), second.address());
    for first in [0, 1, 1000] {
        let to = vec![holder.clone()];
        let pass = |port| Job::Pass { first, parts: 3000, to, port };
        assert_eq!(read(front.stream(pass).unwrap(), 0), (3000, None));
        back.expect("sent");
    }
    // Back home, where it goes on.
    let to = vec![holder.clone(), front.clone()];
    let pass = |port| Job::Pass { first: 7, parts: 3000, to, port };
    assert_eq!(read(front.stream(pass).unwrap(), 0), (3000, None));

    // A reader that does not take: others of the same holder go on, through the same home.
    let forwarded = |parts| {
        let to = vec![holder.clone()];
        move |port| Job::Pass { first: 0, parts, to, port }
    };
    let mut slow = front.stream(forwarded(2000)).unwrap();
    assert_eq!(slow.next(), Some(Ok(part(0, 1000))));
    assert_eq!(read(front.stream(forwarded(1500)).unwrap(), 0), (1500, None));
    back.expect("sent");
    for number in 0..100 {
        let other = Box::new(holder.clone());
        assert_eq!(front.ask(|reply| Job::EchoBy(other, number, reply)).unwrap(), number);
    }
    assert_eq!(read(slow, 1), (1999, None));
    back.expect("sent");
    // One that is dropped.
    for taken in [0, 500] {
        let mut stream = front.stream(forwarded(0)).unwrap();
        assert!(stream.by_ref().take(taken).all(|next| next.is_ok()));
        drop(stream);
        back.expect("gone");
    }
}

#[test]
fn a_forwarded_port_keeps_to_its_readers_window_and_drops_as_one_at_home() {
    let stage = Stage::new("window");
    let second = Second::of(&stage);
    // Less room for what waits than the window has.
    let options = MailboxOptions::new().reply_capacity(4096).max_value(5000);
    let home: Mailbox<Job> = options.bind(stage.name()).unwrap();
    let here = Mailbox::<Job>::bind(second.0.as_str()).unwrap();
    let holder = here.address();
    let address = connected(&stage);
    let mut stream = address.stream(rows(0, 8)).unwrap();
    holder.tell(&Job::Rows { from: 0, parts: 0, len: 8, port: receive(&home) }).unwrap();
    let mut port = receive(&here);
    assert!(!port.is_cancelled());
    let mut sent = 0;
    loop {
        match port.try_part(&part(sent, 1000)) {
            Ok(()) => sent += 1,
            Err(ReplyError::WouldWait { .. }) if fills_the_window(sent) => break,
            // It is its home's mailbox that is full.
            Err(ReplyError::WouldWait { .. }) => {
                assert!(home.try_recv().unwrap_err().is_empty());
            }
            Err(error) => panic!("{error}"),
        }
    }
    drop(port);
    for number in 0..sent {
        assert_eq!(next(&mut stream, &home), Some(Ok(part(number, 1000))));
    }
    assert!(next(&mut stream, &home).unwrap().unwrap_err().is_dropped());

    // Passed on in the middle, home and back.
    let mut stream = address.stream(rows(0, 8)).unwrap();
    let mut port = receive(&home);
    let mut came = 0;
    for round in 0..10 {
        let at_home = round % 2 == 0;
        for number in 0..100 {
            while let Err(error) = port.try_part(&part(round * 100 + number, 1000)) {
                assert!(matches!(error, ReplyError::WouldWait { .. }), "{error}");
                assert!(home.try_recv().unwrap_err().is_empty());
                if let Poll::Ready(next) = stream.try_next() {
                    assert_eq!(next, Some(Ok(part(came, 1000))));
                    came += 1;
                }
            }
        }
        let (to, by) = if at_home { (&holder, &here) } else { (&address, &home) };
        to.tell(&Job::Rows { from: 0, parts: 0, len: 8, port }).unwrap();
        port = receive(by);
    }
    port.finish().unwrap();
    for number in came..1000 {
        assert_eq!(next(&mut stream, &home), Some(Ok(part(number, 1000))));
    }
    assert_eq!(next(&mut stream, &home), None);
}

#[test]
fn the_death_of_the_actor_ends_a_stream_behind_all_that_came() {
    for role in ["actor", "actor of one thread"] {
        let stage = Stage::new("actor killed");
        let actor = started(&stage, role, &[], "bound");
        let address = connected(&stage);
        let mut stream = address.stream(rows(0, 1000)).unwrap();
        assert_eq!(stream.next(), Some(Ok(part(0, 1000))));
        if role == "actor" {
            assert_eq!(read(address.stream(rows(1500, 1000)).unwrap(), 0), (1500, None));
        }
        actor.kill();
        let (came, error) = read(&mut stream, 1);
        assert!(error.as_ref().is_some_and(AskError::is_died), "{error:?}");
        assert!(role != "actor" || came > 100, "{came}");
        assert_eq!(stream.next(), None);
        // The same address reads of the next actor.
        let _next = started(&stage, role, &[], "bound");
        assert_eq!(read(address.stream(rows(5, 1000)).unwrap(), 0), (5, None));
    }
}

/// Negative: a part that finds no room is kept by the actor and not waited for, as a reply is, and some of those that
/// were sent never come; in the next test, they do not come while the actor does something else.
#[test]
fn every_part_that_was_sent_comes_before_word_of_the_actors_death() {
    // In one piece, and in several.
    for (len, taken) in [(8, 50), (1000, 5), (9000, 1), (70_000, 0)] {
        let stage = Stage::new("all that was sent");
        let mut actor = started(&stage, "counting actor", &[], "bound");
        let address = connected(&stage);
        let mut stream = address.stream(rows(0, len)).unwrap();
        let first: u64 = actor.hear().parse().unwrap();
        assert!(first >= taken, "{first}");
        (0..taken).for_each(|number| assert_eq!(stream.next(), Some(Ok(part(number, len)))));
        actor.tell("on");
        let sent: u64 = actor.hear().parse().unwrap();
        actor.kill();
        for number in taken..sent {
            assert!(stream.next() == Some(Ok(part(number, len))), "{number} of {sent}, {len}");
        }
        let error = stream.next().unwrap().unwrap_err();
        assert!(error.is_died(), "{error}");
    }
}

#[test]
fn a_stream_goes_on_while_the_actor_does_something_else() {
    for closed in [false, true] {
        for (len, parts) in [(1000, 300), (40_000, 10)] {
            for how in ["finish", "send", "drop"] {
                let stage = Stage::new("busy");
                let options = MailboxOptions::new().reply_capacity(4096);
                let mailbox: Mailbox<Job> = options.bind(stage.name()).unwrap();
                let address = connected(&stage);
                let mut stream = address.stream(rows(0, 8)).unwrap();
                let mut port = receive(&mailbox);
                if closed {
                    mailbox.closer().close();
                }
                let handler = thread::spawn(move || {
                    (0..parts).try_for_each(|number| port.part(&part(number, len)))?;
                    match how {
                        "finish" => port.finish(),
                        "send" => port.send(&part(parts, len)),
                        _ => Ok(()),
                    }
                });
                let all = if how == "send" { parts + 1 } else { parts };
                for number in 0..all {
                    assert_eq!(stream.next(), Some(Ok(part(number, len))));
                }
                match stream.next() {
                    None => assert_ne!(how, "drop"),
                    Some(end) => assert!(how == "drop" && end.unwrap_err().is_dropped()),
                }
                handler.join().unwrap().unwrap();
            }
        }
    }
}

/// Negative: the actor is asked first how the stream ended.
#[test]
fn a_holder_that_gives_up_at_the_deadline_does_not_hide_it() {
    let stage = Stage::new("late");
    let _actor = started(&stage, "actor", &[], "bound");
    let address = connected(&stage);
    for _ in 0..20 {
        let stream = address.stream_timeout(rows(0, 1000), SHORT).unwrap();
        let (_, error) = read(stream, 0);
        assert!(error.as_ref().is_some_and(AskError::is_timeout), "{error:?}");
    }
}

#[test]
fn a_stream_whose_mailbox_is_removed_says_so() {
    let stage = Stage::new("removed");
    let mailbox = Mailbox::<Job>::bind(stage.name()).unwrap();
    let mut stream = connected(&stage).stream(rows(0, 1000)).unwrap();
    let mut port = receive(&mailbox);
    (0..3).for_each(|number| port.part(&part(number, 1000)).unwrap());
    Channel::<()>::unlink(stage.name()).unwrap();
    let (came, error) = read(&mut stream, 0);
    assert_eq!(came, 3);
    assert!(matches!(error, Some(AskError::Wait(RecvError::Removed { .. }))), "{error:?}");
    assert_eq!(stream.next(), None);
    assert!(matches!(port.part(&part(3, 1000)), Err(ReplyError::Gone { .. })));
}

#[test]
fn a_part_that_cannot_be_sent_is_what_its_asker_is_told() {
    let stage = Stage::new("too long");
    let options = MailboxOptions::new().reply_capacity(4096).max_value(10_000);
    let mailbox: Mailbox<Job> = options.bind(stage.name()).unwrap();
    let address = connected(&stage);
    let mut stream = address.stream(rows(0, 8)).unwrap();
    let mut port = receive(&mailbox);
    let in_pieces = port.try_part(&part(0, 3000)).unwrap_err();
    assert!(matches!(in_pieces, ReplyError::Send(SendError::NeedsWaiting { .. })), "{in_pieces}");
    assert!(in_pieces.to_string().contains("reply_capacity"), "{in_pieces}");
    let too_long = port.part(&part(0, 20_000)).unwrap_err();
    assert!(matches!(too_long, ReplyError::TooLong { max: 10_000, .. }), "{too_long}");
    // Others can follow.
    port.part(&part(0, 8)).unwrap();
    assert!(port.part(&part(1, 20_000)).is_err());
    drop(port);
    assert_eq!(stream.next(), Some(Ok(part(0, 8))));
    let error = stream.next().unwrap().unwrap_err();
    assert!(matches!(error, AskError::Unsendable { .. }), "{error}");
    assert!(error.to_string().contains("10000"), "{error}");
    assert_eq!(stream.next(), None);
}

#[test]
fn the_death_of_a_ports_holder_ends_a_stream_behind_all_that_it_sent() {
    let stage = Stage::new("holder killed");
    let second = Second::of(&stage);
    let _front = started(&stage, "actor", &[], "bound");
    let back = started(&stage, "actor", &["second"], "bound");
    let (front, holder) = (connected(&stage), second.address());
    let pass = |port| Job::Pass { first: 3, parts: 0, to: vec![holder], port };
    let mut stream = front.stream(pass).unwrap();
    for number in 0..2000 {
        assert_eq!(stream.next(), Some(Ok(part(number, 1000))));
    }
    back.kill();
    let (_, error) = read(&mut stream, 2000);
    assert!(error.as_ref().is_some_and(AskError::is_dropped), "{error:?}");
    assert_eq!(front.ask(|reply| Job::Echo(6, reply)).unwrap(), 6);
}

#[test]
fn the_death_of_the_home_ends_a_forwarded_stream_at_both_ends() {
    let stage = Stage::new("home killed");
    let second = Second::of(&stage);
    let front = started(&stage, "actor", &[], "bound");
    let mut back = started(&stage, "actor", &["second"], "bound");
    let (address, holder) = (connected(&stage), second.address());
    let pass = |port| Job::Pass { first: 3, parts: 0, to: vec![holder], port };
    let mut stream = address.stream(pass).unwrap();
    // The fourth is from the one that the port was passed to.
    (0..4).for_each(|number| assert_eq!(stream.next(), Some(Ok(part(number, 1000)))));
    front.kill();
    let (_, error) = read(&mut stream, 4);
    assert!(error.as_ref().is_some_and(AskError::is_died), "{error:?}");
    back.expect("gone");
}

#[test]
fn the_death_of_the_asker_ends_the_wait_of_its_handler_wherever_that_is() {
    for role in ["actor", "actor of one thread"] {
        let stage = Stage::new("asker killed");
        let mut actor = started(&stage, role, &[], "bound");
        let asker = started(&stage, "asker", &[], "reads");
        if role == "actor" {
            // It is far ahead by then, and waits.
            assert_eq!(read(connected(&stage).stream(rows(1500, 1000)).unwrap(), 0), (1500, None));
            actor.expect("sent");
        } else {
            until(|| is_asleep(actor.id()));
        }
        asker.kill();
        actor.expect("gone");
        assert_eq!(connected(&stage).ask(|reply| Job::Echo(7, reply)).unwrap(), 7);
    }
    let stage = Stage::new("asker far away killed");
    let second = Second::of(&stage);
    let _front = started(&stage, "actor", &[], "bound");
    let mut back = started(&stage, "actor", &["second"], "bound");
    for _ in 0..5 {
        let asker = started(&stage, "asker", &["second"], "reads");
        let (front, holder) = (connected(&stage), second.address());
        let pass = |port| Job::Pass { first: 0, parts: 1500, to: vec![holder], port };
        assert_eq!(read(front.stream(pass).unwrap(), 0), (1500, None));
        back.expect("sent");
        asker.kill();
        back.expect("gone");
    }
}

#[test]
fn a_mailbox_that_is_closed_lets_no_stream_wait_for_long() {
    for elsewhere in [false, true] {
        let stage = Stage::new("closed");
        let mailbox = Mailbox::<Job>::bind(stage.name()).unwrap();
        let closer = mailbox.closer();
        let stream = connected(&stage).stream(rows(0, 8)).unwrap();
        let port = receive(&mailbox);
        let (tell, told) = mpsc::channel();
        let sending = move || {
            tell.send(()).unwrap();
            send(port, 0, 0, 1000)
        };
        let outcome = thread::scope(|scope| {
            scope.spawn(move || {
                told.recv().unwrap();
                closer.close();
            });
            match elsewhere {
                false => sending(),
                true => {
                    let handler = scope.spawn(sending);
                    assert!(mailbox.recv().unwrap().is_none());
                    handler.join().unwrap()
                }
            }
        });
        assert!(matches!(outcome, Err(ReplyError::Closing { .. })), "{outcome:?}");
        drop(stream);
        // One that is dropped meanwhile.
        let stage = Stage::new("mailbox dropped");
        let mailbox = Mailbox::<Job>::bind(stage.name()).unwrap();
        let mut stream = connected(&stage).stream(rows(0, 8)).unwrap();
        let mut port = receive(&mailbox);
        fill(&mut port, 1000);
        let handler = thread::spawn(move || send(port, 0, 0, 1000));
        drop(mailbox);
        let error = stream.find_map(Result::err).unwrap();
        assert!(error.is_died(), "{error}");
        assert!(matches!(handler.join().unwrap(), Err(ReplyError::Gone { .. })));
    }
}

#[test]
fn a_stream_takes_a_place_until_its_end() {
    let stage = Stage::new("places");
    let mailbox: Mailbox<Job> = MailboxOptions::new().addresses(3).bind(stage.name()).unwrap();
    let address = connected(&stage);
    let streams = [1, 2].map(|parts| address.stream(rows(parts, 8)).unwrap());
    let full = address.stream(rows(3, 8)).unwrap_err();
    let AskError::Tell(TellError::Connect(ConnectError::TooManyClients { .. })) = full else {
        panic!("{full}")
    };
    receive(&mailbox).finish().unwrap();
    receive(&mailbox).send(&part(0, 1000)).unwrap();
    let counts = streams.map(|mut stream| (read(&mut stream, 0).0, stream));
    assert_eq!((counts[0].0, counts[1].0), (0, 1));
    let more = [1, 2].map(|parts| address.stream(rows(parts, 8)).unwrap());
    drop((counts, more));
}

#[test]
fn the_types_of_a_stream_are_part_of_the_message() {
    let stage = Stage::new("types");
    let _mailbox = Mailbox::<StreamTo<u32>>::bind(stage.name()).unwrap();
    assert!(Address::<StreamTo<u32>>::connect(stage.name()).is_ok());
    let text = |error: ConnectError| error.to_string();
    let other = text(Address::<StreamTo<String>>::connect(stage.name()).unwrap_err());
    let reply = text(Address::<ReplyTo<u32>>::connect(stage.name()).unwrap_err());
    for error in [other, reply] {
        assert!(error.contains("type") || error.contains("differ"), "{error}");
    }
}

#[test]
fn a_port_is_passed_on_by_a_send_that_succeeds_and_by_nothing_else() {
    let stage = Stage::new("passed on");
    let second = Second::of(&stage);
    let mailbox = Mailbox::<Job>::bind(stage.name()).unwrap();
    let here: Mailbox<Job> = MailboxOptions::new().max_waiting(1).bind(second.0.as_str()).unwrap();
    let mut stream = connected(&stage).stream(rows(0, 8)).unwrap();
    let job = Job::Rows { from: 0, parts: 0, len: 8, port: receive(&mailbox) };
    let holder = here.address();
    holder.tell(&Job::Drop { first: 0, port: dropped_port(&mailbox, &stage) }).unwrap();
    assert!(holder.try_tell(&job).unwrap_err().is_full());
    let Job::Rows { mut port, .. } = job else { unreachable!() };
    port.part(&part(0, 1000)).unwrap();
    assert_eq!(stream.next(), Some(Ok(part(0, 1000))));
    drop(here.recv().unwrap());
    let job = Job::Rows { from: 1, parts: 0, len: 8, port };
    holder.tell(&job).unwrap();
    assert!(holder.try_tell(&job).unwrap_err().to_string().contains("passed on already"));
    let Job::Rows { mut port, .. } = job else { unreachable!() };
    let error = port.part(&part(1, 1000)).unwrap_err();
    assert!(matches!(error, ReplyError::PassedOn { .. }), "{error}");
    // By its name, which is known here.
    assert!(error.to_string().contains(stage.name()), "{error}");
    let mut port = receive(&here);
    port.part(&part(1, 1000)).unwrap();
    assert_eq!(next(&mut stream, &mailbox), Some(Ok(part(1, 1000))));
    port.finish().unwrap();
    assert_eq!(next(&mut stream, &mailbox), None);
}

/// The port of a stream that nobody reads any more.
fn dropped_port(mailbox: &Mailbox<Job>, stage: &Stage) -> StreamTo<Bytes> {
    let stream = connected(stage).stream(rows(0, 8)).unwrap();
    let port = receive(mailbox);
    drop(stream);
    port
}

#[test]
fn a_forked_child_is_told_that_the_stream_is_its_parents_each_time() {
    let stage = Stage::new("forked");
    let mailbox = Mailbox::<Job>::bind(stage.name()).unwrap();
    let mut stream = connected(&stage).stream(rows(0, 8)).unwrap();
    let mut port = receive(&mailbox);
    let child = kernel::forked(|| {
        for _ in 0..2 {
            let next = stream.try_next();
            assert!(
                matches!(next, Poll::Ready(Some(Err(AskError::Wait(RecvError::Forked { .. }))))),
                "{next:?}"
            );
        }
        // An iteration over it ends.
        assert!(stream.by_ref().all(|next| next.is_err()));
        assert!(matches!(stream.try_next(), Poll::Ready(Some(Err(_)))));
    });
    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
    port.part(&part(0, 8)).unwrap();
    port.finish().unwrap();
    assert_eq!(stream.next(), Some(Ok(part(0, 8))));
    assert_eq!(stream.next(), None);
}
