//! Options that cannot be, and what every error says.

use std::error::Error;
use std::sync::Arc;

use sysv_channel::actor::{AskError, MailboxOptions, TellError, WatchError};
use sysv_channel::codec::{DecodeError, EncodeError, Raw};
use sysv_channel::rpc::{BindError, CallError, Client, ServeError, Server, ServerOptions};
use sysv_channel::{
    AttachError, Channel, DefaultCodec, Key, Name, OpenError, Options, QueueError, RecvError,
    SendError, SystemError, actor, rpc,
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
        (options().max_value(0), vec!["max_value is 0", "at least 1"]),
        (options().capacity((1 << 40) + 1), vec!["capacity is 1099511627777", "1099511627776"]),
        (options().capacity(usize::MAX), vec!["capacity is", "1099511627776"]),
    ];
    for (options, words) in wrong {
        let name = unique_name("wrong options");
        for refused in [options.create(&*name), options.open_or_create(&*name), options.private()] {
            let error = refused.unwrap_err();
            assert!(matches!(error, OpenError::InvalidOptions { .. }), "{error}");
            reads(&error, &[&["with these options"], &words[..]].concat());
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
        options().capacity(4096).max_value(1500),
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
        (
            OpenError::InvalidOptions { name: Some("orders".into()), what: "lanes is 0".into() },
            &["channel \"orders\"", "options", "lanes is 0"][..],
        ),
        (
            OpenError::InvalidOptions { name: None, what: "lanes is 0".into() },
            &["private", "options", "lanes is 0"],
        ),
        (
            OpenError::NotFound { name: name() },
            &["channel \"orders\" is not there", "ipc namespace", "Queue"],
        ),
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
        (
            OpenError::WrongType {
                name: name(),
                mine: "Call".into(),
                theirs: "Call".into(),
                difference: "Call.request: u8 here, u16 there".into(),
            },
            &["\"orders\"", "another Call", "this program", "u8 here"],
        ),
        (
            OpenError::OtherOptions {
                name: name(),
                durable: false,
                difference: "lanes is 8, and 2 was asked for".into(),
            },
            &["\"orders\"", "still holds values", "lanes is 8", "unlink"],
        ),
        (
            OpenError::OtherOptions { name: name(), durable: true, difference: "so".into() },
            &["\"orders\"", "unused, but durable", "(so)", "unlink"],
        ),
        (
            OpenError::InUse { name: name(), users: 2 },
            &["\"orders\"", "2 open", "was not removed", "unlink"],
        ),
        (
            OpenError::HoldsValues { name: name() },
            &["\"orders\" holds values", "was not removed", "receive them first"],
        ),
        (OpenError::Unsettled { name: name() }, &["\"orders\"", "made and removed", "try again"]),
        (
            OpenError::Attach(AttachError::Removed { channel: orders() }),
            &["channel \"orders\" was removed"],
        ),
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
        (OpenError::Exiting { name: name() }, &["exiting", "\"orders\""]),
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
        (
            AttachError::ReceiversExhausted { channel: orders(), receivers: 4 },
            &["all its 4 receivers", "Options::receivers"],
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
        (
            SendError::NotWoken { channel: orders(), error: system_error() },
            &["was sent", "receiver", "sleeps", "woken", "msgctl"],
        ),
        (
            SendError::TooLong { channel: orders(), max: 77, option: "max_value" },
            &["77 bytes", "greater max_value"],
        ),
        (
            SendError::NeedsWaiting { channel: orders(), len: 9000, max: 8176 },
            &["9000", "8176", "fragments", "waits", "capacity"],
        ),
        (
            SendError::Encode { channel: orders(), error: EncodeError::new("a price is missing") },
            &["a price is missing"],
        ),
        (
            SendError::Reentrant { channel: orders() },
            &["in the middle", "Serialize", "iterator", "closure", "Sender::try_clone"],
        ),
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
        (RecvError::NoGuard { channel: orders() }, &["rings", "capacity of 0"]),
        (RecvError::SlotsFull { channel: orders() }, &["gave back", "died", "Select::Any"]),
        (RecvError::Reentrant { channel: orders() }, &["in the middle", "Deserialize", "Lease"]),
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

fn calculator() -> Arc<Name> {
    Arc::new(Name::from("calculator"))
}

/// As an error of a channel does: what it is about by its name, all of it once.
#[track_caller]
fn names(error: &dyn Error, object: &str, words: &[&str]) {
    reads(error, words);
    reads(error, &[object]);
    assert!(error.source().is_none(), "{error}");
    assert_eq!(error.to_string().matches("calculator").count(), 1, "{error}");
}

#[test]
fn every_error_of_a_call_names_its_server() {
    let server = calculator;
    let named = |error: &dyn Error, words: &[&str]| names(error, "server \"calculator\"", words);
    let service = || rpc::Service::server("calculator");
    named(
        &rpc::BindError::AlreadyBound { service: service(), pid: 42 },
        &["process 42", "stand_by"],
    );
    named(&rpc::BindError::Timeout { service: service() }, &["still", "deadline"]);
    let full = rpc::ConnectError::TooManyClients { service: service(), clients: 3 };
    named(&full, &["clients", "takes (3)", "ServerOptions::clients"]);
    for (error, words) in [
        (
            CallError::Timeout { server: server(), received: true },
            &["no reply", "deadline", "had received", "may have executed"][..],
        ),
        (CallError::Timeout { server: server(), received: false }, &["had not received"]),
        (CallError::Unfinished { server: server(), parts: 7 }, &["did not end in time", "7 of"]),
        (CallError::ServerDied { server: server(), received: true }, &["died", "may have"]),
        (CallError::ServerDied { server: server(), received: false }, &["died", "no server will"]),
        (CallError::Full { server: server() }, &["no room", "call"]),
        (CallError::OwnServer { server: server() }, &["handler", "serve_concurrently"]),
        (CallError::Reentrant { server: server() }, &["Serialize", "Client::try_clone"]),
        (CallError::Panicked { server: server(), message: "a b".into() }, &["panicked: a b"]),
        (CallError::Dropped { server: server() }, &["dropped the request"]),
        (CallError::Unreadable { server: server(), why: "a b".into() }, &["decode", ": a b"]),
        (CallError::Unsendable { server: server(), why: "a b".into() }, &["reply: a b"]),
        (
            CallError::Decode { server: server(), error: DecodeError::new("no price") },
            &["the reply of", "no price"],
        ),
    ] {
        named(&error, words);
        let is_timeout = matches!(error, CallError::Timeout { .. } | CallError::Unfinished { .. });
        assert_eq!(error.is_timeout(), is_timeout);
        assert_eq!(error.is_full(), matches!(error, CallError::Full { .. }));
        assert_eq!(error.is_server_died(), matches!(error, CallError::ServerDied { .. }));
    }
    for (error, words) in [
        (ServeError::Empty { server: server() }, &["no request"][..]),
        (ServeError::Timeout { server: server() }, &["no request", "deadline"]),
        (ServeError::Removed { server: server() }, &["removed", "unlink", "again"]),
    ] {
        named(&error, words);
        assert_eq!(error.is_empty(), matches!(error, ServeError::Empty { .. }));
        assert_eq!(error.is_timeout(), matches!(error, ServeError::Timeout { .. }));
        assert_eq!(error.is_removed(), matches!(error, ServeError::Removed { .. }));
    }
    for (error, words) in [
        (rpc::ReplyError::ClientGone { server: server() }, &["client", "gone"][..]),
        (rpc::ReplyError::Full { server: server() }, &["does not take", "no room"]),
        (
            rpc::ReplyError::TooLong { server: server(), max: 77 },
            &["77 bytes", "ServerOptions::max_value"],
        ),
    ] {
        named(&error, words);
    }
    // What the channel's error says is part of these, in their words.
    named(&CallError::Send(SendError::Forked { channel: server() }), &[]);
    named(&CallError::Wait(RecvError::Forked { channel: server() }), &[]);
    let refused = || SendError::NeedsWaiting { channel: server(), len: 50_000, max: 32_768 };
    let words = ["50000", "32768", "ServerOptions::capacity"];
    named(&CallError::Send(refused()), &words);
    let too_long = SendError::TooLong { channel: server(), max: 77, option: "max_value" };
    named(&CallError::Send(too_long), &["77 bytes", "ServerOptions::max_value"]);
    let service = rpc::Service::server("calculator");
    let gone = rpc::ConnectError::NotFound { service };
    named(&gone, &["not there", "start the program first that binds it"]);
    named(&CallError::Reconnect(gone), &[]);
    named(&ServeError::Receive(RecvError::Forked { channel: server() }), &[]);
    named(&rpc::ReplyError::Send(SendError::Forked { channel: server() }), &[]);
}

#[test]
fn every_error_of_an_actor_names_its_mailbox() {
    let (mailbox, name) = (calculator, || Name::from("calculator"));
    let named = |error: &dyn Error, words: &[&str]| names(error, "mailbox \"calculator\"", words);
    let service = || actor::Service::mailbox("calculator");
    named(
        &actor::BindError::AlreadyBound { service: service(), pid: 42 },
        &["process 42", "stand_by"],
    );
    named(&actor::BindError::Timeout { service: service() }, &["still", "deadline"]);
    let full = actor::ConnectError::TooManyClients { service: service(), clients: 3 };
    named(&full, &["addresses", "takes (3)", "MailboxOptions::addresses"]);
    named(&actor::ConnectError::Reentrant { service: service() }, &["Serialize", "clone"]);
    for (error, words) in [
        (TellError::Full { mailbox: mailbox() }, &["full", "tell"][..]),
        (TellError::Timeout { mailbox: mailbox() }, &["deadline", "not told"]),
        (TellError::Gone { mailbox: mailbox() }, &["no actor", "start one"]),
    ] {
        named(&error, words);
        assert_eq!(error.is_full(), matches!(error, TellError::Full { .. }));
        assert_eq!(error.is_timeout(), matches!(error, TellError::Timeout { .. }));
        assert_eq!(error.is_gone(), matches!(error, TellError::Gone { .. }));
    }
    for (error, words) in [
        (AskError::Timeout { mailbox: mailbox() }, &["no reply", "deadline", "ask_timeout"][..]),
        (AskError::Unfinished { mailbox: mailbox(), parts: 7 }, &["did not end in time", "7 of"]),
        (AskError::Died { mailbox: mailbox() }, &["ended", "ask again only"]),
        (AskError::Dropped { mailbox: mailbox() }, &["dropped", "holder died"]),
        (AskError::Unreadable { mailbox: mailbox(), why: "a b".into() }, &["decode", ": a b"]),
        (AskError::Unsendable { mailbox: mailbox(), why: "a b".into() }, &["sent: a b"]),
        (
            AskError::Decode { mailbox: mailbox(), error: DecodeError::new("no price") },
            &["the reply from", "no price"],
        ),
        (AskError::Tell(TellError::Full { mailbox: mailbox() }), &["full"]),
    ] {
        named(&error, words);
    }
    for (error, words) in [
        (actor::ReplyError::Gone { mailbox: mailbox() }, &["asker", "gone"][..]),
        (actor::ReplyError::PassedOn { mailbox: mailbox() }, &["passed on"]),
        (actor::ReplyError::WouldWait { mailbox: mailbox() }, &["behind", "StreamTo::part"]),
        (actor::ReplyError::Closing { mailbox: mailbox() }, &["closed", "within a second"]),
        (actor::ReplyError::Full { mailbox: mailbox() }, &["no room"]),
        (
            actor::ReplyError::TooLong { mailbox: mailbox(), max: 77 },
            &["77 bytes", "MailboxOptions::max_value"],
        ),
    ] {
        named(&error, words);
    }
    for (error, words) in [
        (WatchError::NoActor { mailbox: mailbox() }, &["no actor", "ten seconds", "start"][..]),
        (WatchError::Timeout { mailbox: mailbox() }, &["not ended", "deadline"]),
    ] {
        named(&error, words);
        assert!(error.is_timeout());
    }
    named(&TellError::Send(SendError::Forked { channel: mailbox() }), &[]);
    named(&AskError::Wait(RecvError::Forked { channel: mailbox() }), &[]);
    named(&WatchError::Watch(SendError::Forked { channel: mailbox() }), &[]);
    named(&actor::ReplyError::Send(SendError::Forked { channel: mailbox() }), &[]);
    let refused = || SendError::NeedsWaiting { channel: mailbox(), len: 50_000, max: 32_768 };
    let words = ["50000", "32768", "MailboxOptions::capacity"];
    named(&TellError::Send(refused()), &words);
    let gone = actor::ConnectError::NotFound { service: service() };
    named(&WatchError::Connect(gone), &["not there", "start the program first that binds it"]);
    named(&actor::ReplyError::Open(OpenError::NotFound { name: name() }), &[]);
}

/// Servers and mailboxes are refused in the words of their own options.
#[test]
fn options_are_named_as_their_user_knows_them() {
    let server = |options: ServerOptions, words: &[&str]| {
        let bound = options.bind::<u32, u32, DefaultCodec>(&*unique_name("words of a server"));
        let error = bound.unwrap_err();
        reads(&error, words);
        // The name has the crate's.
        let text = error.to_string().replace("sysv-channel", "");
        assert!(text.starts_with("server "), "{text}");
        assert!(!text.contains("lanes") && !text.contains("return_"), "{text}");
        assert!(!text.contains("channel") && !text.contains("inline"), "{text}");
    };
    server(ServerOptions::new().clients(0), &["clients is 0", "1 to 4096"]);
    server(ServerOptions::new().clients(5000), &["clients is 5000", "1 to 4096"]);
    server(ServerOptions::new().capacity(0), &["capacity is 0", "no request"]);
    server(ServerOptions::new().reply_capacity(0), &["reply_capacity is 0", "no reply"]);
    server(ServerOptions::new().reply_capacity(1), &["reply_capacity is 1,", "4096"]);
    server(
        ServerOptions::new().reply_capacity(usize::MAX),
        &["reply_capacity is", "1099511627776"],
    );
    server(ServerOptions::new().max_value(0), &["max_value is 0"]);
    let mailbox = |options: MailboxOptions, words: &[&str]| {
        let bound = options.private::<u32, DefaultCodec>();
        let error = bound.unwrap_err();
        reads(&error, words);
        let text = error.to_string();
        assert!(!text.contains("lanes") && !text.contains("return_"), "{text}");
    };
    mailbox(MailboxOptions::new().addresses(0), &["addresses is 0", "1 to 4096"]);
    mailbox(MailboxOptions::new().reply_capacity(0), &["reply_capacity is 0", "no reply"]);
    mailbox(MailboxOptions::new().reply_capacity(1), &["reply_capacity is 1,", "4096"]);
}

#[test]
fn a_server_is_told_that_clients_of_an_earlier_one_keep_its_options() {
    let name = unique_name("an earlier server");
    let bind = |max| ServerOptions::new().max_value(max).bind::<u32, u32, DefaultCodec>(&*name);
    let earlier = bind(8192).unwrap();
    let client = Client::<u32, u32>::connect(&*name).unwrap();
    drop(earlier);
    let error = bind(100).unwrap_err();
    assert!(matches!(error, BindError::LongerValues { mine: 100, theirs: 8192, .. }), "{error}");
    reads(&error, &["server \"", "ServerOptions::max_value(8192)", "earlier"]);
    drop(client);
    bind(100).unwrap();
}

#[test]
fn what_has_no_name_is_named_by_its_key() {
    let key = Key::new(0x162e).unwrap();
    let server = Arc::new(Name::from(key));
    let text = CallError::Dropped { server: server.clone() }.to_string();
    assert!(text.starts_with("the server at key 0x0000162e dropped"), "{text}");
    let text = OpenError::AlreadyExists { name: Name::from(key) }.to_string();
    assert!(text.starts_with("the channel at key 0x0000162e exists"), "{text}");
    let handle = Channel::<Bytes, Raw>::private().unwrap().handle();
    for text in [
        OpenError::NotFound { name: handle.into() }.to_string(),
        Channel::<Bytes, Raw>::open(handle).unwrap_err().to_string(),
        TellError::Gone { mailbox: Arc::new(handle.into()) }.to_string(),
        QueueError::IsChannel { name: handle.into() }.to_string(),
        QueueError::NotFound { name: Name::from(key) }.to_string(),
    ] {
        assert!(!text.contains("channel channel") && !text.contains("channel key"), "{text}");
        assert!(text.contains(" at key 0x"), "{text}");
    }
}

/// Two types of one name are told apart by what differs.
#[test]
fn server_of_other_types_says_what_differs() {
    let name = unique_name("other types");
    let _server = Server::<u8, u8>::bind(&*name).unwrap();
    let error = Client::<u16, u8>::connect(&*name).unwrap_err();
    reads(&error, &["another Call", "request", "u16 here", "u8 there"]);
    assert!(!error.to_string().contains("asked for Call"), "{error}");
}

#[test]
fn other_options_of_a_kept_channel_are_told() {
    let name = unique_name("other options");
    let options = || Channel::<Bytes, Raw>::options().lanes(8);
    drop(options().durable().create(&*name).unwrap());
    let cleanup = Unlink(&name);
    for (other, words) in [
        (options(), &["durable is true, and false was asked for"][..]),
        (options().durable().mode(0o660), &["mode is 0600, and 0660 was asked for"]),
        (options().durable().lanes(9), &["lanes is 8, and 9 was asked for"]),
        (options().durable().capacity(4096), &["capacity is the default, and 4096 was asked for"]),
    ] {
        let error = other.create(&*name).unwrap_err();
        assert!(matches!(error, OpenError::OtherOptions { durable: true, .. }), "{error}");
        reads(&error, words);
        assert!(!error.to_string().contains("values"), "{error}");
        assert_eq!(error.to_string().matches("was asked for").count(), 1, "{error}");
    }
    drop(cleanup);
}

struct Unlink<'a>(&'a str);

impl Drop for Unlink<'_> {
    fn drop(&mut self) {
        let _ = Channel::<Bytes, Raw>::unlink(self.0);
    }
}

/// A handle stands for a channel that was created: no other is created in its place.
#[test]
fn handle_creates_nothing() {
    let channel = Channel::<Bytes, Raw>::private().unwrap();
    let handle = channel.handle();
    let error = Channel::<Bytes, Raw>::create(handle).unwrap_err();
    assert!(matches!(error, OpenError::AlreadyExists { .. }), "{error}");
    Channel::<Bytes, Raw>::open_or_create(handle).unwrap();
    drop(channel);
    for refused in
        [Channel::<Bytes, Raw>::create(handle), Channel::<Bytes, Raw>::open_or_create(handle)]
    {
        let error = refused.unwrap_err();
        assert!(matches!(error, OpenError::NotFound { .. }), "{error}");
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
        (too_long(options().max_value(100), 101, false), "max_value"),
        (too_long(options().capacity(0).inline_limit(100), 101, false), "inline_limit"),
        (too_long(options().capacity(0).inline_limit(100), 101, true), "inline_limit"),
        (too_long(options().max_value(100), 101, true), "max_value"),
        (too_long(options().capacity(4096), 4000, true), "capacity"),
    ] {
        assert!(matches!(error, SendError::TooLong { .. }), "{error}");
        reads(&error, &[option, "the channel at key 0x"]);
    }
}
