//! Creating, opening, closing and removing, by several at once, with death in between.

use loom::thread;

use super::{finds, finds_killed, holds, holds_killed, mixed, open, ring_only};
use crate::codec::Schema;
use crate::control;
use crate::model::Process;
use crate::sys::{Fault, MessageQueue, SegmentId, SemaphoreSet};
use crate::{Channel, Name, OpenError, SendError};

/// Nothing stands under the key.
fn nothing_is_left(name: &str) {
    let key = Name::from(name).key().unwrap();
    assert!(SemaphoreSet::open(key).is_err(), "a semaphore set is left");
    assert!(SegmentId::open(key).is_err(), "a segment is left");
    assert!(MessageQueue::open(key).is_err(), "a queue is left");
}

fn use_once(channel: &Channel<u8>) {
    use_between(channel, channel);
}

fn use_between(one: &Channel<u8>, other: &Channel<u8>) {
    let (tx, rx) = (one.sender().unwrap(), other.receiver().unwrap());
    tx.send(&7).unwrap();
    assert_eq!(rx.recv().unwrap(), 7);
}

#[test]
fn a_creator_killed_anywhere_is_no_obstacle_to_the_next() {
    let model = |step| {
        let creator = Process::new().kill_at(step).spawn(|| {
            drop(mixed(2).create("born").unwrap());
        });
        creator.join();
        let channel = mixed(2).create("born").unwrap();
        use_once(&channel);
        drop(channel);
        nothing_is_left("born");
    };
    holds_killed("creator killed, then another creates", model);
    finds_killed("creator killed, then another creates", &[Fault::MagicFirst], model);
}

#[test]
fn an_opener_finds_a_whole_channel_or_none() {
    let model = |step| {
        let creator = Process::new();
        let creator = creator.kill_at(step).spawn(|| mixed(2).create("found"));
        match mixed(2).open("found") {
            Ok(channel) => use_once(&channel),
            Err(OpenError::NotFound { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        drop(creator.join());
        let channel = mixed(2).open_or_create("found").unwrap();
        use_once(&channel);
        drop(channel);
        nothing_is_left("found");
    };
    holds_killed("creator killed while another opens", model);
    let faults = [Fault::MagicFirst, Fault::NoUndo];
    finds_killed("creator killed while another opens", &faults, model);
}

#[test]
fn of_two_creators_both_have_a_channel_that_works() {
    let model = || {
        let other = thread::spawn(|| ring_only(2).open_or_create("both"));
        let mine = ring_only(2).open_or_create("both").unwrap();
        let theirs = other.join().unwrap().unwrap();
        use_between(&mine, &theirs);
        drop((mine, theirs));
        nothing_is_left("both");
    };
    holds("two creators", model);
    finds("two creators", &[Fault::NoLock], model);
}

#[test]
fn of_two_creators_with_other_options_both_have_a_channel_that_works() {
    let model = || {
        let other = thread::spawn(|| ring_only(2).lanes(2).open_or_create("sizes"));
        let mine = ring_only(2).open_or_create("sizes").unwrap();
        let theirs = other.join().unwrap().unwrap();
        use_between(&mine, &theirs);
        drop((mine, theirs));
        nothing_is_left("sizes");
    };
    holds("two creators with other options", model);
    finds("two creators with other options", &[Fault::UnsignedNotClaimed], model);
}

#[test]
fn a_creator_killed_anywhere_is_in_the_way_of_no_options_and_no_removal() {
    let model = |step| {
        let creator = Process::new().kill_at(step).spawn(|| {
            drop(mixed(2).lanes(2).create("born").unwrap());
        });
        creator.join();
        let channel = mixed(2).create("born").unwrap();
        use_once(&channel);
        drop(channel);
        nothing_is_left("born");
    };
    holds_killed("creator killed, then another creates otherwise", model);
    let model = |step| {
        let creator = Process::new().kill_at(step).spawn(|| {
            drop(mixed(2).create("born").unwrap());
        });
        creator.join();
        match Channel::<u8>::unlink("born") {
            Ok(()) | Err(OpenError::NotFound { .. }) => nothing_is_left("born"),
            Err(error) => panic!("{error}"),
        }
    };
    holds_killed("creator killed, then unlinked", model);
}

#[test]
fn unlinking_leaves_a_creator_that_is_alive_a_channel_that_works_or_tells_it() {
    let model = || {
        let remover = thread::spawn(|| Channel::<u8>::unlink("fresh"));
        let channel = ring_only(2).create("fresh").unwrap();
        let unlinked = remover.join().unwrap();
        match channel.sender() {
            Ok(tx) => {
                drop(tx);
                use_once(&channel);
            }
            Err(error) => assert!(error.is_removed() && unlinked.is_ok()),
        }
        drop(channel);
        nothing_is_left("fresh");
    };
    holds("unlink against create", model);
}

#[test]
fn the_last_to_go_removes_the_objects() {
    let model = || {
        let mine = ring_only(2).create("last").unwrap();
        let other = Process::new();
        let handle = mine.handle();
        let theirs = other.enter(|| open(handle));
        let other = other.spawn(move || drop(theirs));
        drop(mine);
        other.join().unwrap();
        nothing_is_left("last");
    };
    holds("two go at once", model);
    finds("two go at once", &[Fault::UnusedNotRemoved], model);
}

/// Removes the set by hand, and nothing else.
fn remove_set(name: &str) {
    SemaphoreSet::open(Name::from(name).key().unwrap()).unwrap().remove().unwrap();
}

#[test]
fn the_last_to_go_remove_what_a_removed_set_left() {
    let model = |step| {
        let mine = mixed(2).create("last").unwrap();
        let other = Process::new();
        let handle = mine.handle();
        let theirs = other.enter(|| open(handle));
        remove_set("last");
        let other = other.kill_at(step).spawn(move || drop(theirs));
        drop(mine);
        other.join();
        nothing_is_left("last");
    };
    holds_killed("two go at once without their set", model);
    finds_killed("two go at once without their set", &[Fault::OrphanLeft], model);
}

#[test]
fn a_queue_whose_segment_was_removed_by_hand_is_in_no_creators_way() {
    let model = |step| {
        let channel = mixed(2).create("rest").unwrap();
        use_once(&channel);
        // Once this user is gone, no process knows the queue.
        let user = Process::new();
        let theirs = user.enter(|| mixed(2).open("rest").unwrap());
        drop(channel);
        SegmentId::open(Name::from("rest").key().unwrap()).unwrap().remove().unwrap();
        user.kill_at(step).spawn(move || drop((theirs, mixed(2).open("rest")))).join();
        let next = mixed(2).create("rest").unwrap();
        use_once(&next);
        drop(next);
        nothing_is_left("rest");
    };
    holds_killed("creator after the segment was removed", model);
    finds_killed("creator after the segment was removed", &[Fault::QueueNotOwned], model);
}

#[test]
fn the_last_to_go_without_their_set_leave_a_creator_a_channel_that_works() {
    let model = || {
        let old = mixed(2).create("next").unwrap();
        remove_set("next");
        let creator = thread::spawn(|| mixed(2).create("next").unwrap());
        drop(old);
        let new = creator.join().unwrap();
        use_once(&new);
        drop(new);
        nothing_is_left("next");
    };
    holds("last goes without its set while another creates", model);
    let faults = [Fault::OrphanAdopted];
    finds("last goes without its set while another creates", &faults, model);
}

#[test]
fn unlinking_what_its_last_user_removes_says_that_it_was_removed_or_is_not_there() {
    let model = || {
        let old = mixed(2).create("gone").unwrap();
        remove_set("gone");
        let remover = thread::spawn(|| Channel::<u8>::unlink("gone"));
        drop(old);
        match remover.join().unwrap() {
            Ok(()) | Err(OpenError::NotFound { .. }) => nothing_is_left("gone"),
            Err(error) => panic!("{error}"),
        }
    };
    holds("last goes without its set while another unlinks", model);
}

#[test]
fn the_holder_of_the_lock_when_the_last_goes_removes_the_objects() {
    let model = || {
        let mine = ring_only(2).create("held").unwrap();
        let other = Process::new();
        // Fails after it had the lock: the type is another.
        let other = other.spawn(|| {
            let wrong = ring_only(2).schema(crate::Schema::named("other", 1));
            assert!(wrong.open("held").is_err());
        });
        drop(mine);
        other.join().unwrap();
        nothing_is_left("held");
    };
    holds("last goes while another looks", model);
    finds("last goes while another looks", &[Fault::NoSecondLook], model);
}

#[test]
fn a_user_that_is_refused_gives_the_lock_back() {
    let model = || {
        let mine = ring_only(2).create("refused").unwrap();
        let handle = mine.handle();
        // Of one process, whose undo entries would give the lock back too late.
        let other = thread::spawn(move || {
            let wrong = ring_only(2).schema(crate::Schema::named("other", 1));
            assert!(wrong.open("refused").is_err());
        });
        let again = open(handle);
        other.join().unwrap();
        use_once(&again);
        drop((mine, again));
        nothing_is_left("refused");
    };
    holds("refused while another opens", model);
    finds("refused while another opens", &[Fault::LockKept], model);
}

#[test]
fn a_killed_creator_of_a_private_channel_leaves_nothing_that_is_not_swept() {
    let model = |step| {
        let creator = Process::new().kill_at(step).spawn(|| drop(mixed(2).private().unwrap()));
        creator.join();
        control::sweep().unwrap();
        let left = SemaphoreSet::list().unwrap();
        assert!(left.is_empty(), "{left:?}");
    };
    holds_killed("private creator killed, then swept", model);
    finds_killed("private creator killed, then swept", &[Fault::UnsignedKept], model);
}

#[test]
fn sweeping_leaves_a_creator_that_is_alive_a_channel_that_works() {
    let model = || {
        let sweeper = thread::spawn(|| control::sweep().unwrap());
        let channel = ring_only(2).private().unwrap();
        sweeper.join().unwrap();
        use_once(&channel);
        drop(channel);
        let left = SemaphoreSet::list().unwrap();
        assert!(left.is_empty(), "{left:?}");
    };
    holds("sweep against a private creator", model);
    finds("sweep against a private creator", &[Fault::UnsignedNotClaimed], model);
}

#[test]
fn what_a_killed_last_user_left_is_swept() {
    let model = |step| {
        let user = Process::new();
        let theirs = user.enter(|| ring_only(2).create("swept").unwrap());
        let user = user.kill_at(step).spawn(move || drop(theirs));
        user.join();
        control::sweep().unwrap();
        nothing_is_left("swept");
    };
    holds_killed("last user killed, then swept", model);
    finds_killed("last user killed, then swept", &[Fault::NoUndo], model);
}

#[test]
fn sweeping_never_touches_a_channel_in_use() {
    let model = || {
        let mine = ring_only(2).create("used").unwrap();
        let handle = mine.handle();
        let sweeper = thread::spawn(|| control::sweep().unwrap());
        let other = open(handle);
        drop(mine);
        use_once(&other);
        sweeper.join().unwrap();
        drop(other);
        nothing_is_left("used");
    };
    holds("sweep against open and close", model);
}

#[test]
fn what_is_opened_while_it_is_swept_stays() {
    let model = || {
        drop(ring_only(2).durable().create("opened").unwrap());
        let sweeper = thread::spawn(|| control::sweep_all().unwrap());
        match ring_only(2).open("opened") {
            Ok(channel) => {
                use_once(&channel);
                sweeper.join().unwrap();
                assert!(ring_only(2).open("opened").is_ok());
                drop(channel);
                Channel::<u8>::unlink("opened").unwrap();
            }
            Err(OpenError::NotFound { .. }) => drop(sweeper.join().unwrap()),
            Err(error) => panic!("{error}"),
        }
        nothing_is_left("opened");
    };
    holds("sweep against open", model);
    finds("sweep against open", &[Fault::UsersLookedAtOnce], model);
}

#[test]
fn every_user_that_waits_hears_of_removal() {
    let model = || {
        let channel = ring_only(2).durable().create("removed").unwrap();
        let rx = channel.receiver().unwrap();
        let remover = thread::spawn(|| Channel::<u8>::unlink("removed").unwrap());
        assert!(rx.recv().unwrap_err().is_removed());
        remover.join().unwrap();
        drop((rx, channel));
        nothing_is_left("removed");
    };
    holds("removal against receive", model);
    finds("removal against receive", &[Fault::NoRemovalWake], model);
}

#[test]
fn a_sender_that_waits_for_room_hears_of_removal() {
    let model = || {
        let channel = ring_only(2).durable().create("removed").unwrap();
        let tx = channel.sender().unwrap();
        tx.send(&1).unwrap();
        let remover = thread::spawn(|| Channel::<u8>::unlink("removed").unwrap());
        assert!(tx.send(&2).unwrap_err().is_removed());
        remover.join().unwrap();
    };
    holds("removal against send", model);
    finds("removal against send", &[Fault::NoRemovalWake], model);
}

#[test]
fn nothing_is_sent_into_a_channel_that_was_removed() {
    let model = || {
        let channel = ring_only(4).durable().create("removed").unwrap();
        let tx = channel.sender().unwrap();
        let remover = thread::spawn(|| Channel::<u8>::unlink("removed").unwrap());
        let meanwhile = tx.send(&1);
        assert!(meanwhile.as_ref().map_or_else(SendError::is_removed, |()| true));
        remover.join().unwrap();
        // There is room, and no system call is made.
        assert!(tx.send(&2).unwrap_err().is_removed());
        assert!(tx.try_send(&3).unwrap_err().is_removed());
        drop((tx, channel));
        nothing_is_left("removed");
    };
    holds("removal against a busy sender", model);
    let faults = [Fault::RemovalNotMarked, Fault::RemovalNotLookedAt];
    finds("removal against a busy sender", &faults, model);
}

#[test]
fn a_value_in_fragments_that_was_received_counts_as_sent_where_the_channel_is_removed() {
    let model = || {
        let options = Channel::<String>::options().lanes(1).inline_limit(0).capacity(4 * 64);
        let channel = options.schema(Schema::named("string", 1)).durable();
        let channel = channel.create("removed").unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let sender = thread::spawn(move || tx.send(&"a".repeat(150)));
        let remover = thread::spawn(|| Channel::<String>::unlink("removed").unwrap());
        let received = rx.recv();
        let sent = sender.join().unwrap();
        match (&received, &sent) {
            (Ok(_), Ok(())) => {}
            (Err(received), Err(sent)) => assert!(received.is_removed() && sent.is_removed()),
            other => panic!("{other:?}"),
        }
        remover.join().unwrap();
    };
    holds("fragments against removal", model);
    let faults = [Fault::SentTakenBack, Fault::LongNotSettled];
    finds("fragments against removal", &faults, model);
}

#[test]
fn a_channel_whose_set_was_removed_by_hand_shares_nothing_with_its_successor() {
    let model = || {
        let options = || ring_only(4).durable();
        let old = options().create("removed").unwrap();
        let tx = old.sender().unwrap();
        let creator = thread::spawn(move || {
            let key = Name::from("removed").key().unwrap();
            SemaphoreSet::open(key).unwrap().remove().unwrap();
            let new = options().create("removed").unwrap();
            let rx = new.receiver().unwrap();
            (new, rx)
        });
        let meanwhile = tx.try_send(&1);
        assert!(meanwhile.as_ref().map_or_else(SendError::is_removed, |()| true));
        let (new, rx) = creator.join().unwrap();
        assert!(rx.try_recv().unwrap_err().is_empty());
        assert!(tx.try_send(&2).unwrap_err().is_removed());
        drop((tx, old));
        new.sender().unwrap().send(&3).unwrap();
        assert_eq!(rx.try_recv().unwrap(), 3);
        drop((rx, new));
        Channel::<u8>::unlink("removed").unwrap();
        nothing_is_left("removed");
    };
    holds("successor of a channel without its set", model);
    let faults = [Fault::OrphanAdopted, Fault::RemovalNotMarked];
    finds("successor of a channel without its set", &faults, model);
}

#[test]
fn a_successor_that_is_killed_leaves_the_next_one_nothing_that_has_users() {
    let model = |step| {
        let options = || ring_only(4).durable();
        let old = options().create("removed").unwrap();
        let tx = old.sender().unwrap();
        tx.send(&1).unwrap();
        let key = Name::from("removed").key().unwrap();
        SemaphoreSet::open(key).unwrap().remove().unwrap();
        let creator = Process::new().kill_at(step).spawn(move || {
            drop(options().create("removed").unwrap());
        });
        creator.join();
        let new = options().create("removed").unwrap();
        let rx = new.receiver().unwrap();
        // One that was killed before it could tell has told no user.
        let meanwhile = tx.try_send(&2);
        assert!(meanwhile.as_ref().map_or_else(SendError::is_removed, |()| true));
        assert!(rx.try_recv().unwrap_err().is_empty());
        new.sender().unwrap().send(&3).unwrap();
        assert_eq!(rx.try_recv().unwrap(), 3);
        drop((tx, old, rx, new));
        Channel::<u8>::unlink("removed").unwrap();
        nothing_is_left("removed");
    };
    holds_killed("successor of a channel without its set killed", model);
    let faults = [Fault::SettledEarly];
    finds_killed("successor of a channel without its set killed", &faults, model);
}

#[test]
fn a_peer_that_goes_after_a_removal_by_hand_is_no_normal_end() {
    let model = || {
        let channel = mixed(2).create("ended").unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        SegmentId::open(Name::from("ended").key().unwrap()).unwrap().remove().unwrap();
        let leaving = thread::spawn(move || drop(rx));
        // It is told of the end, and of nothing as long as its peer is there.
        let sent = tx.try_send(&1);
        assert!(sent.as_ref().map_or_else(SendError::is_removed, |()| true), "{sent:?}");
        leaving.join().unwrap();
        assert!(tx.try_send(&2).unwrap_err().is_removed());
        drop((tx, channel));
        nothing_is_left("ended");
        let channel = mixed(2).create("ended").unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        SegmentId::open(Name::from("ended").key().unwrap()).unwrap().remove().unwrap();
        drop(tx);
        assert!(rx.recv().unwrap_err().is_removed());
    };
    holds("peer goes after a removal by hand", model);
    finds("peer goes after a removal by hand", &[Fault::EndNotLookedAt], model);
}

#[test]
fn removal_never_looks_like_a_normal_end() {
    let model = || {
        let channel = ring_only(4).durable().create("removed").unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.send(&1).unwrap();
        tx.send(&2).unwrap();
        let remover = thread::spawn(|| Channel::<u8>::unlink("removed").unwrap());
        match rx.try_recv() {
            Ok(value) => assert_eq!(value, 1),
            Err(error) => assert!(error.is_removed(), "{error}"),
        }
        remover.join().unwrap();
        let mut values = rx.iter();
        assert!(values.next().unwrap().unwrap_err().is_removed());
        assert!(values.next().is_none());
        assert!(rx.try_recv().unwrap_err().is_removed());
        drop((tx, rx, channel));
        nothing_is_left("removed");
    };
    holds("removal against a busy receiver", model);
    let faults = [Fault::RemovalNotMarked, Fault::RemovalNotLookedAt];
    finds("removal against a busy receiver", &faults, model);
}

#[test]
fn a_caller_that_waits_for_its_reply_hears_of_removal() {
    let model = || {
        let options = ring_only(2).return_capacity(128).durable();
        let channel = options.create("removed").unwrap();
        let tx = channel.sender().unwrap();
        tx.send(&1).unwrap();
        let remover = thread::spawn(|| Channel::<u8>::unlink("removed").unwrap());
        assert!(tx.recv_back::<u8>().unwrap_err().is_removed());
        remover.join().unwrap();
        assert!(tx.try_recv_back::<u8>().unwrap_err().is_removed());
    };
    holds("removal against a call", model);
    finds("removal against a call", &[Fault::NoRemovalWake, Fault::RemovalNotLookedAt], model);
}

#[test]
fn a_user_that_finds_the_queue_gone_tells_those_who_sleep() {
    let model = || {
        let channel = super::mixed(2).durable().create("removed").unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let sender = thread::spawn(move || {
            let key = Name::from("removed").key().unwrap();
            MessageQueue::open(key).unwrap().remove().unwrap();
            assert!(tx.send(&1).unwrap_err().is_removed());
            tx
        });
        assert!(rx.recv().unwrap_err().is_removed());
        drop((rx, channel, sender.join().unwrap()));
        nothing_is_left("removed");
    };
    holds("queue removed by hand", model);
    finds("queue removed by hand", &[Fault::RemovalNotTold], model);
}
