//! Actors: reply against deadline against death, and what an asker is told of a forwarded port.

use std::time::Duration;

use loom::thread;

use super::{finds, finds_killed, holds, holds_killed};
use crate::actor::{Address, AskError, Mailbox, MailboxOptions, ReplyTo};
use crate::model::{Process, check_kills_to, check_to, expire_deadlines};
use crate::sys::Fault;

/// All that these actors are told: a question.
type Question = ReplyTo<u8>;

fn options() -> MailboxOptions {
    // Room for one question in a message, and for one answer of one line.
    MailboxOptions::new().addresses(2).inline_limit(64).capacity(2 * 64).reply_capacity(4 * 64)
}

fn mailbox(name: &'static str) -> Mailbox<Question> {
    options().bind(name).unwrap()
}

fn address(name: &'static str) -> Address<Question> {
    Address::connect_timeout(name, Duration::ZERO).unwrap()
}

fn ask(address: &Address<Question>) -> Result<u8, AskError> {
    address.ask_timeout(|reply| reply, Duration::MAX)
}

#[test]
fn a_reply_against_the_deadline() {
    let model = || {
        let mailbox = mailbox("deadline");
        let address = address("deadline");
        let actor = thread::spawn(move || {
            for number in 1..=2 {
                let reply = mailbox.recv().unwrap().unwrap();
                let _ = reply.send(&number);
            }
            mailbox
        });
        let clock = thread::spawn(expire_deadlines);
        let first = address.ask_timeout(|reply| reply, Duration::from_secs(1));
        clock.join().unwrap();
        match first {
            Ok(1) => assert_eq!(ask(&address).unwrap(), 2),
            // Told or not: the actor needs two questions to end.
            Err(AskError::Timeout { .. }) => assert_eq!(ask(&address).unwrap(), 2),
            Err(AskError::Tell(error)) if error.is_timeout() => {
                assert_eq!(ask(&address).unwrap(), 1);
                assert_eq!(ask(&address).unwrap(), 2);
            }
            other => panic!("{other:?}"),
        }
        drop(actor.join().unwrap());
    };
    holds("reply against deadline", model);
    finds("reply against deadline", &[Fault::AskNotCompared, Fault::NoRecheck], model);
}

#[test]
fn an_ask_while_the_next_actor_takes_the_place_is_answered_by_it() {
    let model = || {
        let before = mailbox("restart");
        let address = address("restart");
        drop(before);
        let next = thread::spawn(|| {
            let mailbox = mailbox("restart");
            let reply = mailbox.recv().unwrap().unwrap();
            reply.send(&1).unwrap();
            mailbox
        });
        // Its predecessor was gone before: no actor died.
        assert_eq!(ask(&address).unwrap(), 1);
        drop(next.join().unwrap());
    };
    holds("ask during a restart", model);
    finds("ask during a restart", &[Fault::ServingNotAwaited], model);
}

#[test]
fn the_asker_of_a_killed_actor_is_told() {
    let model = |step| {
        let process = Process::new();
        let theirs = process.enter(|| mailbox("killed"));
        let address = address("killed");
        let dying = process.kill_at(step).spawn(move || {
            let reply = theirs.recv().unwrap().unwrap();
            reply.send(&1).is_ok()
        });
        let clock = thread::spawn(move || {
            let replied = dying.join();
            expire_deadlines();
            replied
        });
        // The deadline passes once the actor is gone: a party that had told it something knows before.
        let answer = address.ask_timeout(|reply| reply, Duration::from_secs(1));
        let replied = clock.join().unwrap() == Some(true);
        match answer {
            Ok(reply) => assert_eq!(reply, 1),
            Err(AskError::Died { .. }) => assert!(!replied, "its reply stood there"),
            // It was gone before, and there is no other.
            Err(AskError::Tell(error)) => assert!(error.is_timeout(), "{error}"),
            Err(error) => panic!("{error}"),
        }
    };
    holds_killed("actor killed", model);
    finds_killed("actor killed", &[Fault::NoUndo, Fault::LaneBellsNotArmed], model);
}

#[test]
fn the_asker_is_told_also_where_a_standby_has_the_place_at_once() {
    let model = |step| {
        let process = Process::new();
        let theirs = process.enter(|| mailbox("standby"));
        let address = address("standby");
        let dying = process.kill_at(step).spawn(move || {
            let reply = theirs.recv().unwrap().unwrap();
            reply.send(&1).is_ok()
        });
        let standby = thread::spawn(|| {
            let mailbox: Mailbox<Question> = options().stand_by("standby", Duration::MAX).unwrap();
            mailbox.try_recv().is_ok_and(|reply| reply.unwrap().send(&2).is_ok())
        });
        let clock = thread::spawn(move || {
            let replied = dying.join();
            standby.join().unwrap();
            expire_deadlines();
            replied
        });
        let answer = address.ask_timeout(|reply| reply, Duration::from_secs(1));
        let replied = clock.join().unwrap() == Some(true);
        match answer {
            Ok(1 | 2) => {}
            Err(AskError::Died { .. }) => assert!(!replied, "its reply stood there"),
            Err(AskError::Tell(error)) => assert!(error.is_timeout(), "{error}"),
            other => panic!("{other:?}"),
        }
    };
    let (steps, executions) = check_kills_to(0, model);
    println!("actor killed beside a standby: at each of {steps} steps, {executions} executions");
    finds_killed("actor killed beside a standby", &[Fault::SuccessorNotSeen], model);
}

#[test]
fn the_asker_is_told_when_the_holder_of_the_forwarded_port_is_killed() {
    let model = |step| {
        let home = mailbox("home");
        let closer = home.closer();
        let process = Process::new();
        let theirs = process.enter(|| mailbox("holder"));
        let (asked, holder) = (address("home"), address("holder"));
        let forwarding = thread::spawn(move || {
            let reply = home.recv().unwrap().unwrap();
            holder.tell_timeout(&reply, Duration::MAX).unwrap();
            // Its replies come by while it receives.
            assert!(home.recv().unwrap().is_none());
        });
        let dying = process.kill_at(step).spawn(move || {
            let reply = theirs.recv().unwrap().unwrap();
            reply.send(&1).unwrap();
        });
        let successor = thread::spawn(move || {
            if dying.join().is_none() {
                // What the dead one had not received waits for the next.
                drop(mailbox("holder").try_recv());
            }
        });
        match ask(&asked) {
            Ok(reply) => assert_eq!(reply, 1),
            Err(AskError::Dropped { .. }) => {}
            other => panic!("{other:?}"),
        }
        closer.close();
        forwarding.join().unwrap();
        successor.join().unwrap();
    };
    let (steps, executions) = check_kills_to(0, model);
    println!("holder killed: at each of {steps} steps, {executions} executions");
    let faults = [Fault::HolderNotWatched, Fault::HoldersNotLookedAt];
    finds_killed("holder killed", &faults, model);
}

#[test]
fn an_asker_is_told_when_a_forwarded_port_is_dropped() {
    let model = || {
        let home = mailbox("home");
        let closer = home.closer();
        let theirs = mailbox("holder");
        let (asked, holder) = (address("home"), address("holder"));
        let asking = thread::spawn(move || {
            assert!(ask(&asked).unwrap_err().is_dropped());
            closer.close();
        });
        let reply = home.recv().unwrap().unwrap();
        holder.tell_timeout(&reply, Duration::MAX).unwrap();
        let dropping = thread::spawn(move || drop(theirs.recv().unwrap()));
        assert!(home.recv().unwrap().is_none());
        asking.join().unwrap();
        dropping.join().unwrap();
    };
    let executions = check_to(1, model);
    println!("forwarded port dropped: {executions} executions");
    finds("forwarded port dropped", &[Fault::HoldersNotLookedAt], model);
}

#[test]
fn an_actor_in_a_private_mailbox_that_is_killed_is_died_or_gone_at_once() {
    let model = |step| {
        let process = Process::new();
        let theirs: Mailbox<Question> = process.enter(|| options().private().unwrap());
        let address = theirs.address();
        // Keeps the mailbox.
        let kept = address.clone();
        assert!(kept.is_alive().unwrap());
        let dying = process.kill_at(step).spawn(move || {
            let reply = theirs.recv().unwrap().unwrap();
            reply.send(&1).is_ok()
        });
        // No deadline, and no other actor: it is told of this one's end, whenever that is.
        let answer = ask(&address);
        let replied = dying.join() == Some(true);
        match answer {
            Ok(reply) => assert_eq!(reply, 1),
            Err(error) => assert!(error.is_died() && !replied, "{error}"),
        }
        assert!(ask(&kept).unwrap_err().is_died());
        assert!(!kept.is_alive().unwrap());
    };
    holds_killed("private actor killed", model);
    finds_killed("private actor killed", &[Fault::NoUndo], model);
}

/// Where an actor is told of another's end, and of numbers.
fn parent() -> Mailbox<u8> {
    MailboxOptions::new().addresses(1).inline_limit(64).capacity(2 * 64).private().unwrap()
}

#[test]
fn a_mailbox_is_told_of_the_end_of_an_actor_that_it_watches() {
    let model = |step| {
        let process = Process::new();
        let theirs = process.enter(|| mailbox("watched"));
        let parent = parent();
        let _watch = address("watched").watch_into(&parent, 1).unwrap();
        let dying = process.kill_at(step).spawn(move || drop(theirs));
        assert_eq!(parent.recv().unwrap(), Some(1));
        assert!(parent.try_recv().unwrap_err().is_empty());
        dying.join();
    };
    holds_killed("end watched into a mailbox", model);
    let faults = [Fault::EndNotTold, Fault::NoUndo, Fault::LaneBellsNotArmed];
    finds_killed("end watched into a mailbox", &faults, model);
}

#[test]
fn what_an_actor_told_comes_before_word_of_its_end() {
    let model = || {
        let process = Process::new();
        let theirs = process.enter(|| mailbox("tells"));
        let parent = parent();
        let told = parent.address();
        process.enter(|| told.is_alive().unwrap());
        let _watch = address("tells").watch_into(&parent, 1).unwrap();
        let ending = process.spawn(move || {
            told.tell(&2).unwrap();
            drop(theirs);
            told
        });
        assert_eq!(parent.recv().unwrap(), Some(2));
        assert_eq!(parent.recv().unwrap(), Some(1));
        ending.join();
    };
    holds("told before its end", model);
    finds("told before its end", &[Fault::EndOvertakes, Fault::EndNotTold], model);
}
