//! Other users: whose objects are refused, who is kept out, and that nobody's are removed but ours.

#![cfg(not(loom))]

mod common;

use std::cell::Cell;
use std::os::unix::process::CommandExt;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::kernel::{self, Kind, Mapping, Object};
use common::{Child, Parcel, Shape, Stage, follow_orders, halt, listen, order, play, say, until};
use nix::libc::{self, EACCES};
use nix::unistd::{Pid, Uid, gettid, getuid, seteuid, setuid};
use serde::{Deserialize, Serialize};
use sysv_channel::actor::{self, Address, Mailbox, MailboxOptions, ReplyTo, TellError};
use sysv_channel::rpc::{self, CallError, Client, Server};
use sysv_channel::{
    Channel, DefaultCodec, Key, OpenError, Options, Owner, SendError, sweep, sweep_all,
};

/// Users without rights, and a group.
const NOBODY: u32 = 65534;
const SOMEBODY: u32 = 65533;
const GROUP: u32 = 65532;

/// The parts that this binary plays when it is started as a child.
#[test]
fn child() {
    play(|role, arguments| {
        let name = arguments[0];
        let key = Key::from_name(name);
        let shape = arguments.get(1).copied().map_or(Shape::Mixed, Shape::named);
        match role {
            "user" => follow_orders(name, &shape.options()),
            "group user" => {
                let owner = Owner::User(arguments[2].parse().unwrap());
                follow_orders(name, &shared(shape).owner(owner));
            }
            "read" => {
                for object in kernel::objects(key) {
                    let errno = object.read().err().and_then(|error| error.raw_os_error());
                    say(format_args!("{:?} {}", object.kind, errno.unwrap_or(0)));
                }
            }
            "squat" => {
                let kind = Kind::ALL[arguments[1].parse::<usize>().unwrap()];
                let object = match arguments[2] {
                    "used" => Object::foreign(kind, key),
                    _ => Object::untouched(kind, key),
                };
                object.set_mode(u16::from_str_radix(arguments[3], 8).unwrap());
                object.set_owner(arguments[4].parse().unwrap());
            }
            "give up rights" => {
                let tx = Channel::<Parcel>::open(name).unwrap().sender().unwrap();
                say("attached");
                listen();
                setuid(Uid::from_raw(NOBODY)).unwrap();
                let error = tx.send(&Parcel::new(1, 7, 9)).unwrap_err();
                say(format_args!("{} {error}", matches!(error, SendError::NotWoken { .. })));
                // It is no loss of the value: whoever wakes the receiver next has it received.
                halt("sent");
            }
            "sweep" => sweep_apart(name),
            "open user" => follow_orders(name, &shape.options().mode(0o666)),
            "open as" => {
                let owner = match arguments[2] {
                    "myself" => Owner::Myself,
                    "anyone" => Owner::Anyone,
                    user => Owner::User(user.parse().unwrap()),
                };
                let opened = shape.options::<Parcel>().mode(0o666).owner(owner).open(name);
                say(opened.map_or_else(|refused| refused.to_string(), |_| "opened".to_owned()));
            }
            "start nothing" => {
                kernel::allow_no_processes();
                let OpenError::System(refused) = Channel::<Parcel>::create(name).unwrap_err()
                else {
                    panic!("of another kind")
                };
                say(format_args!("{:?} {refused}", refused.kind()));
            }
            "pass for a creator" => pass_for_a_creator(key),
            _ => unreachable!("no such role: {role}"),
        }
    });
}

/// Whether this process may start others as another user; says so if not.
fn can_be_another_user() -> bool {
    let root = getuid().is_root();
    if !root {
        println!("skipped: only root can start a process of another user");
    }
    root
}

fn shared(shape: Shape) -> Options<Parcel, DefaultCodec> {
    shape.options().mode(0o660)
}

// ---------------------------------------------------------------------- kept out

#[test]
fn default_mode_keeps_others_out_of_reading_as_well() {
    if !can_be_another_user() {
        return;
    }
    for shape in Shape::ALL {
        let stage = Stage::new("read");
        let channel = shape.options::<Parcel>().create(stage.name()).unwrap();
        let tx = channel.sender().unwrap();
        tx.send(&Parcel::new(1, 1, 1)).unwrap();
        let expected: Vec<_> = stage
            .objects()
            .into_iter()
            .map(|object| format!("{:?} {EACCES}", object.kind))
            .collect();
        // Neither another user nor one of the same group.
        for group in [NOBODY, 0] {
            let child = stage.child_in_group(NOBODY, group, "read", &[]);
            assert_eq!(child.finish(), expected, "{shape:?}");
        }
        assert_eq!(channel.receiver().unwrap().recv().unwrap().id, 1);
    }
}

#[test]
fn group_shares_a_channel_by_its_mode_and_an_allowed_owner() {
    if !can_be_another_user() {
        return;
    }
    for shape in Shape::ALL {
        let stage = Stage::new("group");
        let name = format!("{shape:?}");
        let member = |user, owner: u32| {
            let arguments = [&*name, &*owner.to_string()];
            stage.child_in_group(user, GROUP, "group user", &arguments)
        };
        let mut receiver = member(SOMEBODY, SOMEBODY);
        order(&mut receiver, &["create", "receive 0"]);
        // The mode alone opens it to nobody who does not trust its owner, and trust to nobody whom
        // the mode keeps out.
        let mut wary = member(NOBODY, 1);
        wary.tell("open");
        assert!(wary.hear().contains("belongs to user 65533"));
        let mut outside =
            stage.child_in_group(NOBODY, NOBODY, "group user", &[&name, &SOMEBODY.to_string()]);
        outside.tell("open");
        let refused = outside.hear();
        assert!(refused.contains("Permission denied"), "{shape:?}: {refused}");

        let mut sender = member(NOBODY, SOMEBODY);
        order(&mut sender, &["open", "send 5"]);
        order(&mut receiver, &["receive 5", "close"]);
        // The last user has no right to remove what the creator owns; the next creator has.
        order(&mut sender, &["close"]);
        assert!(!stage.objects().is_empty());
        order(&mut receiver, &["create", "close"]);
        assert_eq!(stage.objects(), [], "{shape:?}");
    }
}

// ---------------------------------------------------------------------- refused

#[test]
fn object_of_another_user_is_refused_unless_that_user_is_trusted() {
    if !can_be_another_user() {
        return;
    }
    for shape in Shape::ALL {
        let stage = Stage::new("another user");
        let mut child = stage.child_of(NOBODY, "user", &[&format!("{shape:?}")]);
        order(&mut child, &["create", "send 1"]);
        let before = stage.objects();
        let options = shape.options::<Parcel>();
        let owner = |owner| options.clone().owner(owner);
        let wrong = owner(Owner::User(1));
        for refused in [
            options.open(stage.name()),
            options.create(stage.name()),
            wrong.open(stage.name()),
            wrong.open_or_create(stage.name()),
        ] {
            expect_not_owned(refused.unwrap_err());
        }
        expect_not_owned(Channel::<Parcel>::unlink(stage.name()).unwrap_err());
        assert_eq!(stage.objects(), before);
        let rx = owner(Owner::User(NOBODY)).open(stage.name()).unwrap().receiver().unwrap();
        assert_eq!(rx.recv().unwrap().id, 0);
        drop(rx);
        owner(Owner::Anyone).open(stage.name()).unwrap();
        order(&mut child, &["close"]);
        assert_eq!(stage.objects(), [], "{shape:?}");

        // The other way round the kernel would refuse as well.
        let channel = options.create(stage.name()).unwrap();
        let mut child = stage.child_of(NOBODY, "user", &[&format!("{shape:?}")]);
        for order in ["open", "create"] {
            child.tell(order);
            let refused = child.hear();
            assert!(refused.contains("belongs to user 0"), "{refused}");
        }
        drop(channel);
    }
}

fn expect_not_owned(refused: OpenError) {
    assert!(matches!(refused, OpenError::NotOwned { creator_uid: NOBODY, .. }), "{refused}");
    assert!(refused.to_string().contains("65534"), "{refused}");
}

#[test]
fn object_that_another_user_created_and_gave_away_is_refused() {
    if !can_be_another_user() {
        return;
    }
    let stage = Stage::new("given away");
    let mut child = stage.child_of(NOBODY, "user", &[]);
    order(&mut child, &["create"]);
    stage.objects().into_iter().for_each(|object| object.set_owner(0));
    let refused = Channel::<Parcel>::open(stage.name()).unwrap_err();
    assert!(
        matches!(refused, OpenError::NotOwned { uid: 0, creator_uid: NOBODY, .. }),
        "{refused}"
    );
}

#[test]
fn key_squatted_by_another_user_is_refused_with_an_error_that_names_the_owner() {
    if !can_be_another_user() {
        return;
    }
    let kinds = Kind::ALL.into_iter().enumerate();
    let squats = kinds.flat_map(|(number, kind)| {
        ["used", "untouched"].into_iter().flat_map(move |used| {
            // Given away or not, and open to everybody or not.
            [("600", NOBODY), ("666", NOBODY), ("600", 0), ("666", 0)]
                .map(|(mode, owner)| (number, kind, used, mode, owner))
        })
    });
    for (number, kind, used, mode, owner) in squats {
        let stage = Stage::new("squatted");
        let arguments = [&*number.to_string(), used, mode, &*owner.to_string()];
        stage.child_of(NOBODY, "squat", &arguments).finish();
        let before = stage.objects();
        assert_eq!(before.len(), 1);
        for shape in Shape::ALL {
            let options = shape.options::<Parcel>();
            let wrong = options.clone().owner(Owner::User(1));
            for refused in [
                options.create(stage.name()),
                options.open(stage.name()),
                options.open_or_create(stage.name()),
                wrong.create(stage.name()),
                wrong.open(stage.name()),
                wrong.open_or_create(stage.name()),
            ] {
                let refused = refused.unwrap_err();
                let text = refused.to_string();
                assert!(
                    matches!(refused, OpenError::NotOwned { uid, creator_uid: NOBODY, .. } if uid == owner),
                    "{shape:?} {kind:?} {used} {mode}: {text}"
                );
                assert!(text.contains(&before[0].id.to_string()), "{text}");
            }
            expect_not_owned(Channel::<Parcel>::unlink(stage.name()).unwrap_err());
            assert_eq!(stage.objects(), before);
        }
    }
}

#[test]
fn owner_that_a_user_namespace_does_not_map_is_not_trusted() {
    if !can_be_another_user() {
        return;
    }
    for shape in Shape::ALL {
        let stage = Stage::new("unmapped");
        let name = format!("{shape:?}");
        let open_as = |owner: &str, map: Option<&'static str>| {
            let arguments = [stage.name(), &name, owner];
            let apart = |command: &mut std::process::Command| kernel::unshare_users(command, map);
            Child::start("open as", &arguments, apart).finish().remove(0)
        };
        let mut creator = stage.child_of(SOMEBODY, "open user", &[&name]);
        order(&mut creator, &["create"]);
        // Every user reads as 65534 there, this process included.
        let refused = open_as("myself", None);
        assert!(refused.contains("belongs to user 65534"), "{refused}");
        assert!(refused.contains("user namespace"), "{refused}");
        // Only this process's own user is mapped.
        let refused = open_as("65534", Some("0 0 1"));
        assert!(refused.contains("user namespace"), "{refused}");
        assert_eq!(open_as("anyone", Some("0 0 1")), "opened");
        order(&mut creator, &["close"]);
        // Where all are mapped, 65534 is a user like any other.
        let mut nobody = stage.child_of(NOBODY, "open user", &[&name]);
        order(&mut nobody, &["create"]);
        let other = [stage.name(), &name, "65534"];
        assert_eq!(Child::start("open as", &other, |_| {}).finish(), ["opened"]);
        order(&mut nobody, &["close"]);
    }
}

#[test]
fn limit_of_processes_is_named() {
    if !can_be_another_user() {
        return;
    }
    let stage = Stage::new("no processes");
    let told = stage.child_of(NOBODY, "start nothing", &[]).finish().remove(0);
    assert!(told.starts_with("LimitReached"), "{told}");
    assert!(told.contains("RLIMIT_NPROC"), "{told}");
    assert_eq!(stage.objects(), []);
}

// ---------------------------------------------------------------------- never removed

/// Nothing that is asked of the crate under this name removes anything.
fn expect_untouched(name: &str) {
    let key = Key::from_name(name);
    let before = kernel::objects(key);
    let options = Shape::Mixed.options::<Parcel>();
    for options in [options.clone(), options.owner(Owner::User(1))] {
        for refused in [options.create(name), options.open(name), options.open_or_create(name)] {
            let refused = refused.unwrap_err();
            assert!(refused.to_string().contains("65534"), "{refused}");
        }
    }
    expect_not_owned(Channel::<Parcel>::unlink(name).unwrap_err());
    assert_eq!(sweep().unwrap(), []);
    assert_eq!(sweep_all().unwrap(), []);
    assert_eq!(kernel::objects(key), before);
}

#[test]
fn nothing_makes_us_remove_an_object_that_another_user_made() {
    if !can_be_another_user() {
        return;
    }
    let stage = Stage::new("forged");
    // Of its own, because a sweep concerns every channel of a namespace.
    stage.child_apart("sweep", &[]).finish();
}

fn sweep_apart(name: &str) {
    let key = Key::from_name(name);
    let remove = |kind| {
        let objects = kernel::objects(key).into_iter().filter(|object| object.kind == kind);
        objects.for_each(Object::remove);
    };
    // A forger can do no better than to use this very crate, and be killed.
    let forge = || {
        let mut child = Child::start("user", &[name, "Mixed"], |command| {
            command.uid(NOBODY).gid(NOBODY);
        });
        order(&mut child, &["create"]);
        child.kill();
        assert_eq!(kernel::objects(key).len(), 3);
    };
    let clean = || Kind::ALL.into_iter().for_each(remove);

    forge();
    expect_untouched(name);
    // All of it, or only the set, lists as ours by owner, and as the forger's by creator.
    for given in [&[Kind::Set][..], &Kind::ALL] {
        for object in kernel::objects(key).into_iter().filter(|object| given.contains(&object.kind))
        {
            object.set_owner(0);
        }
        expect_untouched(name);
    }
    // A set of ours, which a killed creator left, and the rest the forger's; with all of the rest or
    // with one of the two; given away.
    for removed in [None, Some(Kind::Queue), Some(Kind::Segment)] {
        for given in [false, true] {
            clean();
            forge();
            remove(Kind::Set);
            removed.into_iter().for_each(remove);
            if given {
                kernel::objects(key).into_iter().for_each(|object| object.set_owner(0));
            }
            Object::signed_set(key, 4);
            expect_untouched(name);
        }
    }
    // Our set and our segment, and a queue of the forger's.
    clean();
    let mut child = Child::start("user", &[name, "Mixed"], |_| {});
    order(&mut child, &["create"]);
    child.kill();
    remove(Kind::Queue);
    let squat = [name, "2", "untouched", "666", "0"];
    Child::start("squat", &squat, |command| {
        command.uid(NOBODY).gid(NOBODY);
    })
    .finish();
    expect_untouched(name);
    clean();
}

#[test]
fn forged_header_in_a_trusted_users_channel_removes_nothing_of_ours() {
    if !can_be_another_user() {
        return;
    }
    for header in [false, true] {
        let stage = Stage::new("forged for ours");
        let mut child = stage.child("pass for a creator", &[]);
        child.expect("done");
        let segment = stage.objects().into_iter().find(|object| object.kind == Kind::Segment);
        if header {
            // And it says that it is a channel's, of another layout.
            let memory = Mapping::of(segment.unwrap(), 4096).unwrap();
            memory.word(8).store(99, Ordering::Relaxed);
            let magic = u64::from_le_bytes(*b"SysVChan");
            memory.word(0).store(magic, Ordering::Relaxed);
        }
        let before = stage.objects();
        assert_eq!(before.len(), 2);
        let options = Shape::RingOnly.options::<Parcel>().owner(Owner::User(NOBODY));
        for refused in [
            options.open(stage.name()),
            options.create(stage.name()),
            options.open_or_create(stage.name()),
        ] {
            let refused = refused.unwrap_err();
            assert!(matches!(refused, OpenError::KeyCollision { .. }), "{refused}");
            assert_eq!(stage.objects(), before);
        }
    }
}

/// A segment of root's that is no channel's, and over it a set of another user's that is signed by
/// the process that made the segment: as if that user had waited for its process number.
fn pass_for_a_creator(key: Key) {
    Object::foreign(Kind::Segment, key);
    seteuid(Uid::from_raw(NOBODY)).unwrap();
    Object::signed_set(key, 4);
    seteuid(Uid::from_raw(0)).unwrap();
    halt("done");
}

// ---------------------------------------------------------------------- rights given up

#[test]
fn sender_that_may_not_wake_the_receiver_any_more_says_so() {
    if !can_be_another_user() {
        return;
    }
    let stage = Stage::new("rights given up");
    let channel = Shape::RingOnly.options::<Parcel>().create(stage.name()).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let mut child = stage.child("give up rights", &["RingOnly"]);
    child.expect("attached");
    thread::scope(|scope| {
        let (say, thread) = mpsc::channel();
        let receiver = scope.spawn(move || {
            say.send(gettid()).unwrap();
            (rx.recv().unwrap(), rx.recv().unwrap())
        });
        let thread = thread.recv().unwrap();
        until(|| kernel::is_asleep(thread));
        child.tell("go");
        let said = child.hear();
        assert!(said.starts_with("true the value was sent"), "{said}");
        assert!(said.contains("semop") && said.contains("Permission denied"), "{said}");
        child.expect("sent");
        // It sleeps on until one comes that may wake it, and then receives both.
        tx.send(&Parcel::new(2, 8, 9)).unwrap();
        let (one, other) = receiver.join().unwrap();
        let mut ids = [one.id, other.id];
        ids.sort_unstable();
        assert_eq!(ids, [7, 8]);
    });
}

/// Longer than a test may take.
const FOR_EVER: Duration = Duration::from_secs(1000);

/// Makes this thread, and no other, another user's or root's again.
fn become_user(user: libc::uid_t) {
    const AS_IT_IS: libc::uid_t = libc::uid_t::MAX;
    // SAFETY: changes nothing but this thread's effective user.
    let changed = unsafe { libc::syscall(libc::SYS_setresuid, AS_IT_IS, user, AS_IT_IS) };
    assert_eq!(changed, 0);
}

/// Does something as a user that may wake nobody.
fn without_rights<R>(what: impl FnOnce() -> R) -> R {
    become_user(NOBODY);
    let done = what();
    become_user(0);
    done
}

/// Runs it in a thread of its own, which sleeps by now.
fn asleep<R: Send + 'static>(
    what: impl FnOnce() -> R + Send + 'static,
) -> (thread::JoinHandle<R>, Pid) {
    let (say, said) = mpsc::channel();
    let thread = thread::spawn(move || {
        say.send(gettid()).unwrap();
        what()
    });
    let id = said.recv().unwrap();
    until(|| kernel::is_asleep(id));
    (thread, id)
}

/// A message with a reply port.
#[derive(Serialize, Deserialize, Debug)]
struct Asked(ReplyTo<u32>);

#[test]
fn of_values_sent_at_once_those_before_one_that_wakes_nobody_are_counted_with_it() {
    if !can_be_another_user() {
        return;
    }
    let stage = Stage::new("batch without rights");
    let channel = Channel::<u32>::options().inline_limit(0).create(stage.name()).unwrap();
    let values = [0, 1, 2, 3];
    // Which of them wakes nobody.
    for unheard in [0, 1, 2] {
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let receive = move || -> Vec<u32> { (0..4).map(|_| rx.recv().unwrap()).collect() };
        let (receiving, thread) = asleep(receive);
        let asked = Cell::new(0);
        let sent = tx.send_all(values.iter().inspect(|&&value| {
            asked.set(asked.get() + 1);
            until(|| kernel::is_asleep(thread));
            if value == unheard {
                become_user(NOBODY);
            }
        }));
        become_user(0);
        match sent {
            Err(SendError::NotWoken { .. }) => assert_eq!(unheard, 0),
            sent => assert_eq!(sent.unwrap() as u32, unheard + 1),
        }
        assert_eq!(asked.get(), unheard + 1);
        // What is left, and nothing twice.
        let left = &values[unheard as usize + 1..];
        assert_eq!(tx.send_all(left).unwrap(), left.len());
        assert_eq!(receiving.join().unwrap(), values);
    }
}

#[test]
fn a_port_is_passed_on_with_a_value_that_was_sent_and_wakes_nobody() {
    if !can_be_another_user() {
        return;
    }
    let home = Mailbox::<Asked>::private().unwrap();
    let closer = home.closer();
    let address = home.address();
    let asking = thread::spawn(move || address.ask_timeout(Asked, FOR_EVER));
    let message = home.recv().unwrap().unwrap();
    let channel = Channel::<Asked>::options().inline_limit(0).private().unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let (receiving, _) = asleep(move || rx.recv().unwrap());
    let error = without_rights(|| tx.send(&message)).unwrap_err();
    assert!(matches!(error, SendError::NotWoken { .. }), "{error}");
    let left = message.0.send(&1);
    assert!(matches!(left, Err(actor::ReplyError::PassedOn { .. })), "{left:?}");
    // It wakes by itself, now and then.
    let Asked(reply) = receiving.join().unwrap();
    let forwarding = thread::spawn(move || home.recv().unwrap().is_none());
    reply.send(&7).unwrap();
    assert_eq!(asking.join().unwrap().unwrap(), 7);
    closer.close();
    assert!(forwarding.join().unwrap());
}

#[test]
fn a_call_that_wakes_no_server_is_cancelled_and_its_caller_told() {
    if !can_be_another_user() {
        return;
    }
    for start in [false, true] {
        let stage = Stage::new("call without rights");
        let server: Server<u32, u32> = Server::bind(stage.name()).unwrap();
        let client = Client::<u32, u32>::connect(stage.name()).unwrap();
        let other = client.try_clone().unwrap();
        let (serving, _) = asleep(move || {
            let request = server.recv().unwrap().unwrap();
            let query = *request.query();
            request.reply(&0).unwrap();
            query
        });
        let error = without_rights(|| match start {
            true => client.start(&1).map(drop),
            false => client.call(&1).map(drop),
        });
        let error = error.unwrap_err();
        assert!(matches!(error, CallError::Send(SendError::NotWoken { .. })), "{error}");
        assert!(error.to_string().starts_with("the request is cancelled"), "{error}");
        let other = other.call(&2).map_err(|error| error.to_string());
        assert_eq!(serving.join().unwrap(), 2, "executed what its caller had given up");
        assert_eq!(other.unwrap(), 0);
    }
}

#[test]
fn a_reply_that_wakes_no_client_is_sent_and_its_server_told() {
    if !can_be_another_user() {
        return;
    }
    let stage = Stage::new("reply without rights");
    let server: Server<u32, u32> = Server::bind(stage.name()).unwrap();
    let client = Client::<u32, u32>::connect(stage.name()).unwrap();
    let (calling, thread) = asleep(move || client.call_timeout(&1, FOR_EVER));
    let request = server.recv().unwrap().unwrap();
    until(|| kernel::is_asleep(thread));
    let error = without_rights(|| request.reply(&2)).unwrap_err();
    assert!(matches!(error, rpc::ReplyError::Send(SendError::NotWoken { .. })), "{error}");
    assert!(error.to_string().starts_with("the value was sent"), "{error}");
    assert_eq!(calling.join().unwrap().unwrap(), 2);
}

#[test]
fn a_message_and_a_reply_that_wake_nobody_are_sent_and_their_sender_told() {
    if !can_be_another_user() {
        return;
    }
    let stage = Stage::new("told without rights");
    let mailbox: Mailbox<Asked> = MailboxOptions::new().mode(0o666).bind(stage.name()).unwrap();
    // The others are let in by the queue, and not by the bells.
    let set = stage.objects().into_iter().find(|object| object.kind == Kind::Set).unwrap();
    let ask = || {
        let address = Address::<Asked>::connect(stage.name()).unwrap();
        let (asking, thread) = asleep(move || address.ask_timeout(Asked, FOR_EVER));
        let message = mailbox.recv().unwrap().unwrap();
        until(|| kernel::is_asleep(thread));
        (asking, message)
    };
    let (asking, Asked(port)) = ask();
    set.set_mode(0o600);
    let error = without_rights(|| port.send(&1)).unwrap_err();
    set.set_mode(0o666);
    assert!(matches!(error, actor::ReplyError::Send(SendError::NotWoken { .. })), "{error}");
    assert!(error.to_string().starts_with("the value was sent"), "{error}");
    assert_eq!(asking.join().unwrap().unwrap(), 1);

    let (asking, message) = ask();
    let address = Address::<Asked>::connect(stage.name()).unwrap();
    let (receiving, _) = asleep(move || (mailbox.recv().unwrap().unwrap(), mailbox));
    set.set_mode(0o600);
    let error = without_rights(|| address.tell(&message)).unwrap_err();
    set.set_mode(0o666);
    assert!(matches!(error, TellError::Send(SendError::NotWoken { .. })), "{error}");
    assert!(error.to_string().starts_with("the value was sent"), "{error}");
    let left = message.0.send(&1);
    assert!(matches!(left, Err(actor::ReplyError::PassedOn { .. })), "{left:?}");
    let (Asked(port), _mailbox) = receiving.join().unwrap();
    port.send(&2).unwrap();
    assert_eq!(asking.join().unwrap().unwrap(), 2);
}
