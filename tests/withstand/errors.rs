//! Options that cannot be, and what every error says.

use std::error::Error;
use std::sync::Arc;

use sysv_channel::codec::{DecodeError, EncodeError, Raw};
use sysv_channel::{
    AttachError, Channel, Key, Name, OpenError, Options, RecvError, SendError, SystemError,
};

use super::{reads, unique_name};

type Bytes = Vec<u8>;

fn msgmax() -> usize {
    std::fs::read_to_string("/proc/sys/kernel/msgmax").unwrap().trim().parse().unwrap()
}

#[test]
fn options_that_cannot_be_are_refused_with_what_can() {
    let options = Channel::<Bytes, Raw>::options;
    let above = (msgmax() - 15).to_string();
    let at_most = (msgmax() - 16).to_string();
    let wrong: Vec<(Options<Bytes, Raw>, Vec<&str>)> = vec![
        (options().lanes(0), vec!["lanes is 0", "1 to 4096"]),
        (options().lanes(4097), vec!["lanes is 4097", "1 to 4096"]),
        (options().lanes(usize::MAX), vec!["lanes is", "1 to 4096"]),
        (options().mode(0o1600), vec!["mode is 1600", "permission bits"]),
        (options().mode(0o400), vec!["mode is 0400", "read and write"]),
        (options().mode(0), vec!["mode is 0000", "read and write"]),
        (options().mode(u32::MAX), vec!["mode is", "permission bits"]),
        (options().inline_limit(msgmax() - 15), vec![&above, &at_most, "kernel.msgmax"]),
        (options().inline_limit(usize::MAX), vec!["inline_limit", &at_most, "kernel.msgmax"]),
        (options().inline_limit(0).capacity(0), vec!["both 0", "no path"]),
        (options().capacity(1), vec!["capacity is 1,", "4096 to 1099511627776", "or 0"]),
        (options().capacity(4095), vec!["capacity is 4095", "4096 to 1099511627776"]),
        (options().return_capacity(100), vec!["return_capacity is 100", "4096 to 1099511627776"]),
        (options().max_value(0), vec!["max_value is 0", "at least 1"]),
        (options().capacity((1 << 40) + 1), vec!["capacity is 1099511627777", "1099511627776"]),
        (options().capacity(usize::MAX), vec!["capacity is", "1099511627776"]),
        (options().return_capacity(usize::MAX), vec!["return_capacity is", "1099511627776"]),
    ];
    for (options, words) in wrong {
        let name = unique_name("wrong options");
        for refused in [options.create(&*name), options.open_or_create(&*name), options.private()] {
            let error = refused.unwrap_err();
            assert!(matches!(error, OpenError::InvalidOptions(_)), "{error}");
            reads(&error, &[&["unusable channel options"], &words[..]].concat());
        }
        let left = Channel::<Bytes, Raw>::open(&*name);
        assert!(matches!(left, Err(OpenError::NotFound { .. })));
    }
}

#[test]
fn the_largest_that_can_be_is_made() {
    let options = Channel::<Bytes, Raw>::options;
    for options in [
        options().lanes(4096).capacity(4096),
        options().inline_limit(msgmax().min(16_384) - 16),
        options().mode(0o777),
        options().capacity(4096).return_capacity(4096).max_value(1500),
        options().capacity(16 << 30).lanes(2),
        options().max_value(u64::MAX),
    ] {
        let channel = options.private().unwrap();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        for len in [1, 1500] {
            let value = vec![5; len];
            tx.try_send(&value).unwrap();
            assert_eq!(rx.try_recv().unwrap(), value);
        }
    }
}

#[test]
fn names_have_a_length() {
    for (name, words) in
        [(String::new(), ["1 to 255", "has 0"]), ("n".repeat(256), ["1 to 255", "has 256"])]
    {
        let channel = Channel::<Bytes, Raw>::create(name.as_str());
        let error = channel.unwrap_err();
        assert!(matches!(error, OpenError::InvalidName(_)));
        assert!(error.source().is_none(), "its text says it already");
        reads(&error, &words);
        let error = Channel::<Bytes, Raw>::unlink(name.as_str()).unwrap_err();
        reads(&error, &words);
    }
    let longest = Channel::<Bytes, Raw>::create("n".repeat(255)).unwrap();
    Channel::<Bytes, Raw>::open("n".repeat(255)).unwrap();
    drop(longest);
}

/// How an error knows its channel.
fn orders() -> Arc<Name> {
    Arc::new(Name::from("orders"))
}

/// Every error names its channel, and its text says all: printed with its sources, as by anyhow, it
/// says nothing twice.
#[track_caller]
fn names_its_channel(error: &dyn Error, words: &[&str]) {
    reads(error, words);
    reads(error, &["channel \"orders\""]);
    assert!(error.source().is_none(), "{error}");
}

/// A system call's error, as one meets it.
fn system_error() -> SystemError {
    let removed = unique_name("removed");
    let channel = Channel::<Bytes, Raw>::create(&*removed).unwrap();
    Channel::<Bytes, Raw>::unlink(&*removed).unwrap();
    channel.stats().unwrap_err()
}

#[test]
fn every_open_error_reads_well() {
    let key = Key::new(0x162e).unwrap();
    let name = || Name::from("orders");
    let object = || "message queue 0x0000162e".to_owned();
    for (error, words) in [
        (OpenError::InvalidOptions("lanes is 0".into()), &["options", "lanes is 0"][..]),
        (OpenError::NotFound { name: name() }, &["\"orders\"", "ipc namespace", "wait for it"]),
        (OpenError::AlreadyExists { name: name() }, &["\"orders\"", "in use", "open it"]),
        (
            OpenError::KeyCollision { key, found: "a dog".into() },
            &["0x0000162e", "taken by a dog", "another name", "ipcrm"],
        ),
        (
            OpenError::NotOwned { object: object(), uid: 5, creator_uid: 6 },
            &["message queue 0x0000162e", "user 5", "user 6", "Options::owner"],
        ),
        (
            OpenError::WrongMode { object: object(), found: 0o666, expected: 0o600 },
            &["message queue 0x0000162e", "666", "600", "changed"],
        ),
        (
            OpenError::WrongVersion { key, found: 2, expected: 1 },
            &["0x0000162e", "version 2", "speaks 1", "build"],
        ),
        (
            OpenError::WrongType {
                name: name(),
                mine: "Order".into(),
                theirs: "Trade".into(),
                difference: "field id".into(),
            },
            &["\"orders\"", "carries Trade", "asked for Order", "field id"],
        ),
        (
            OpenError::WrongCodec { name: name(), mine: "raw", theirs: "postcard".into() },
            &["\"orders\"", "\"raw\"", "\"postcard\"", "same codec"],
        ),
        (OpenError::HoldsValues { name: name() }, &["\"orders\"", "holds values", "unlink"]),
        (OpenError::Corrupt { key, what: "odd".into() }, &["0x0000162e", "odd", "unlink"]),
        (
            OpenError::Busy { name: name(), pid: 42 },
            &["process 42", "the lock of channel \"orders\"", "stopped"],
        ),
        (
            OpenError::Busy { name: name(), pid: 0 },
            &["a process of another pid namespace holds", "lock"],
        ),
        (OpenError::UndoIgnored, &["SEM_UNDO", "gVisor"]),
        (OpenError::System(system_error()), &["msgctl", "message queue", "removed"]),
    ] {
        reads(&error, words);
        assert!(error.source().is_none(), "{error}: its text says it already");
    }
}

#[test]
fn every_attach_error_reads_well() {
    for (error, words) in [
        (
            AttachError::LanesExhausted { channel: orders(), lanes: 8 },
            &["all 8 lanes", "Options::lanes"][..],
        ),
        (AttachError::ReceiverExists { channel: orders(), pid: 42 }, &["process 42", "receiver"]),
        (AttachError::Removed { channel: orders() }, &["removed", "unlink", "ipcrm", "again"]),
        (AttachError::Forked { channel: orders() }, &["parent", "fork", "child"]),
        (AttachError::Corrupt { channel: orders(), what: "odd".into() }, &["damaged", "odd"]),
        (AttachError::System { channel: orders(), error: system_error() }, &["msgctl", "removed"]),
    ] {
        names_its_channel(&error, words);
    }
}

#[test]
fn every_send_error_reads_well() {
    for (error, words) in [
        (SendError::Full { channel: orders() }, &["full"][..]),
        (SendError::Timeout { channel: orders() }, &["full", "deadline"]),
        (SendError::Disconnected { channel: orders() }, &["receiver", "gone"]),
        (SendError::Removed { channel: orders() }, &["removed", "namespace", "again"]),
        (SendError::NoWayBack { channel: orders() }, &["no way back", "return_capacity"]),
        (
            SendError::NotWoken { channel: orders(), error: system_error() },
            &["was sent", "receiver", "sleeps", "woken", "msgctl"],
        ),
        (
            SendError::TooLong { channel: orders(), max: 77, option: "Options::max_value" },
            &["77 bytes", "Options::max_value"],
        ),
        (
            SendError::NeedsWaiting { channel: orders(), len: 9000, max: 8176 },
            &["9000", "8176", "fragments", "waits", "capacity"],
        ),
        (
            SendError::Encode { channel: orders(), error: EncodeError::new("a price is missing") },
            &["a price is missing"],
        ),
        (SendError::Reentrant { channel: orders() }, &["in the middle", "Serialize"]),
        (SendError::Forked { channel: orders() }, &["parent", "fork"]),
        (SendError::Corrupt { channel: orders(), what: "odd".into() }, &["damaged", "odd"]),
        (SendError::System { channel: orders(), error: system_error() }, &["msgctl", "removed"]),
    ] {
        names_its_channel(&error, words);
        assert_eq!(error.is_full(), matches!(error, SendError::Full { .. }));
        assert_eq!(error.is_timeout(), matches!(error, SendError::Timeout { .. }));
        assert_eq!(error.is_disconnected(), matches!(error, SendError::Disconnected { .. }));
        assert_eq!(error.is_removed(), matches!(error, SendError::Removed { .. }));
    }
}

#[test]
fn every_receive_error_reads_well() {
    for (error, words) in [
        (RecvError::Empty { channel: orders() }, &["empty"][..]),
        (RecvError::Timeout { channel: orders() }, &["empty", "deadline"]),
        (RecvError::Disconnected { channel: orders() }, &["other side", "gone"]),
        (RecvError::Removed { channel: orders() }, &["removed", "namespace", "again"]),
        (RecvError::NoWayBack { channel: orders() }, &["no way back", "return_capacity"]),
        (
            RecvError::NotWoken { channel: orders(), error: system_error() },
            &["sender", "room", "woken", "msgctl"],
        ),
        (
            RecvError::Decode { channel: orders(), error: DecodeError::new("no price") },
            &["dropped", "no price"],
        ),
        (RecvError::NoSelection { channel: orders() }, &["rings", "inline_limit", "tag"]),
        (RecvError::NotTrusted { channel: orders() }, &["in place", "Options::in_place"]),
        (RecvError::SlotsFull { channel: orders() }, &["dead receivers", "Select::Any"]),
        (RecvError::Reentrant { channel: orders() }, &["in the middle", "Deserialize"]),
        (RecvError::Forked { channel: orders() }, &["parent", "fork"]),
        (RecvError::Corrupt { channel: orders(), what: "odd".into() }, &["damaged", "odd"]),
        (RecvError::System { channel: orders(), error: system_error() }, &["msgctl", "removed"]),
    ] {
        names_its_channel(&error, words);
        assert_eq!(error.is_empty(), matches!(error, RecvError::Empty { .. }));
        assert_eq!(error.is_timeout(), matches!(error, RecvError::Timeout { .. }));
        assert_eq!(error.is_disconnected(), matches!(error, RecvError::Disconnected { .. }));
        assert_eq!(error.is_removed(), matches!(error, RecvError::Removed { .. }));
    }
}

#[test]
fn what_was_not_asked_for_is_refused() {
    let channel = Channel::<Bytes, Raw>::options().inline_limit(0).private().unwrap();
    let (_tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    assert!(matches!(rx.recv_in_place().unwrap_err(), RecvError::NotTrusted { .. }));
    assert!(matches!(rx.try_recv_in_place().unwrap_err(), RecvError::NotTrusted { .. }));
    let select = sysv_channel::Select::UpTo(sysv_channel::Tag::DEFAULT);
    assert!(matches!(rx.recv_matching(select).unwrap_err(), RecvError::NoSelection { .. }));
    assert!(matches!(rx.try_recv_matching(select).unwrap_err(), RecvError::NoSelection { .. }));
}

/// The option that an error names is the one that helps.
#[test]
fn what_is_too_long_names_the_option_that_says_so() {
    let too_long = |options: Options<Bytes, Raw>, len: usize, in_place: bool| {
        let channel = options.private().unwrap();
        let (tx, _rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let sent = if in_place { tx.send_with(len, |_| ()) } else { tx.send(&vec![0; len]) };
        sent.unwrap_err()
    };
    let options = Channel::<Bytes, Raw>::options;
    for (error, option) in [
        (too_long(options().max_value(100), 101, false), "Options::max_value"),
        (too_long(options().capacity(0).inline_limit(100), 101, false), "Options::inline_limit"),
        (too_long(options().capacity(0).inline_limit(100), 101, true), "Options::inline_limit"),
        (too_long(options().max_value(100), 101, true), "Options::max_value"),
        (too_long(options().capacity(4096), 4000, true), "Options::capacity"),
    ] {
        assert!(matches!(error, SendError::TooLong { .. }), "{error}");
        reads(&error, &[option, "the channel at key 0x"]);
    }
}

#[test]
fn a_channel_without_a_way_back_says_so_on_both_sides() {
    let channel = Channel::<Bytes, Raw>::private().unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    tx.send(&vec![1]).unwrap();
    let (_, origin) = rx.recv_from(sysv_channel::Select::Any).unwrap();
    assert!(matches!(rx.send_back(origin, &vec![1]), Err(SendError::NoWayBack { .. })));
    assert!(matches!(tx.recv_back::<Bytes>(), Err(RecvError::NoWayBack { .. })));
    assert!(matches!(tx.try_recv_back::<Bytes>(), Err(RecvError::NoWayBack { .. })));
}
