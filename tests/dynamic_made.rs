//! Channels and servers that are made of a shape, by programs that have no type, and values that are passed on unread.

mod common;
#[path = "dynamic_values/random.rs"]
mod random;
#[allow(dead_code, reason = "some of them are used here")]
#[path = "dynamic_values/types.rs"]
mod types;

use std::thread;

use std::time::Duration;

use common::{Stage, dynamic, encoded, until};
use random::Random;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sysv_channel::codec::{Bincode, Codec, Json, Postcard};
use sysv_channel::dynamic::{
    DynamicChannel, DynamicClient, DynamicCodec, DynamicError, DynamicOptions, DynamicServer, Value,
};
use sysv_channel::rpc::{
    BindError, CallError, Client, ClientOptions, ConnectError, ReplyError, ServeError, Server,
    ServerOptions,
};
use sysv_channel::{Channel, ChannelKind, OpenError, SendError, inspect};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    symbol: String,
    tags: Vec<Option<u16>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Answer {
    Done(u64),
    Refused { why: String },
}

fn order(id: u64) -> Order {
    Order { id, symbol: "ACME".to_owned(), tags: vec![Some(7), None] }
}

const ORDER: &str = r#"{"id":7,"symbol":"ACME","tags":[7,null]}"#;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// What a program does that stands between two others and has the types of neither.
#[test]
fn values_are_passed_on_unread() {
    let (from, to) = (Stage::new("dynamic from"), Stage::new("dynamic to"));
    let orders = Channel::<(u64, String), Json>::create(from.name()).unwrap();
    let copies = Channel::<(u64, String), Json>::create(to.name()).unwrap();
    let untyped = DynamicChannel::open(from.name()).unwrap();
    let passing = (untyped.bytes(), DynamicChannel::open(to.name()).unwrap().bytes());
    assert_eq!(passing.0.handle(), orders.handle());
    drop(untyped);

    let (tx, rx) = (orders.sender().unwrap(), copies.receiver().unwrap());
    let passing = thread::spawn(move || {
        let (rx, tx) = (passing.0.receiver().unwrap(), passing.1.sender().unwrap());
        let mut passed = 0;
        for value in rx.iter() {
            tx.send(&value.unwrap()).unwrap();
            passed += 1;
        }
        passed
    });
    // As messages, by the ring, and in fragments.
    let lengths = [3, 5_000, 300_000];
    let values = lengths.map(|len| (len as u64, "x".repeat(len)));
    tx.send(&values[0]).unwrap();
    tx.send(&values[1]).unwrap();
    assert_eq!([rx.recv().unwrap(), rx.recv().unwrap()], values[..2]);
    let sending = thread::spawn(move || tx.send(&values[2]).map(|()| values));
    let last = rx.recv().unwrap();
    assert_eq!(last, sending.join().unwrap().unwrap()[2]);
    assert_eq!(passing.join().unwrap(), lengths.len());
}

#[test]
fn calls_are_passed_on_unread() {
    let stage = Stage::new("dynamic client bytes");
    let server = Server::<(u8, String), Option<u16>, Json>::bind(stage.name()).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || server.serve(|(number, _)| Some(number.into())));
    let client = DynamicClient::connect(stage.name()).unwrap();
    let bytes = client.bytes();
    assert_eq!(bytes.call(&br#"[7,"seven"]"#.to_vec()).unwrap(), b"7");
    // What is its own, and what others make of it, are the server's too.
    let other = bytes.try_clone().unwrap();
    let started = other.start(&br#"[8,""]"#.to_vec()).unwrap();
    assert_eq!(started.wait().unwrap(), b"8");
    // Nobody looked at it before the server did.
    let error = bytes.call(&b"[]".to_vec()).unwrap_err();
    assert!(matches!(error, sysv_channel::rpc::CallError::Unreadable { .. }), "{error}");
    closer.close();
    serving.join().unwrap().unwrap();
}

/// Answers the order by its number: with a refusal, with a value that is no answer, or with a stream.
fn answer(server: &DynamicServer) -> Result<(), ServeError> {
    for request in server.incoming() {
        let (order, mut port) = request?.into_parts();
        let id = order.get("id").and_then(Value::as_integer).unwrap();
        let done = |id: i128| Value::variant("Done", id);
        match id {
            0 => port.reply(&json(r#"{"Refused":{"why":"no number"}}"#)).unwrap(),
            1 => {
                let error = port.reply(&json(r#"{"Refused":{"why":1}}"#)).unwrap_err();
                assert!(matches!(error, ReplyError::Send(SendError::Encode { .. })), "{error}");
                assert!(
                    error.to_string().contains("$.Refused.why: expected text, found 1"),
                    "{error}"
                );
            }
            2 => {
                assert!(port.is_stream());
                port.part(&done(20)).unwrap();
                let error = port.part(&json(r#""Done""#)).unwrap_err();
                assert!(error.to_string().contains("$: variant \"Done\""), "{error}");
                port.try_part(&done(21)).unwrap();
                port.part_timeout(&done(22), Duration::from_secs(9)).unwrap();
                port.finish().unwrap();
            }
            3 => drop(port),
            id => port.reply(&done(id)).unwrap(),
        }
    }
    Ok(())
}

fn typed_clients<C>(test: &'static str)
where
    C: Codec<Order> + Codec<Answer> + Codec<u8>,
{
    let stage = Stage::new(test);
    let (request, reply) = (dynamic::<C, Order>(), dynamic::<C, Answer>());
    let server = DynamicServer::bind(stage.name(), request, reply).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || answer(&server));

    let client = Client::<Order, Answer, C>::connect(stage.name()).unwrap();
    let refused = Answer::Refused { why: "no number".to_owned() };
    assert_eq!(client.call(&order(0)).unwrap(), refused);
    let error = client.call(&order(1)).unwrap_err();
    assert!(matches!(&error, CallError::Unsendable { .. }), "{error}");
    assert!(error.to_string().contains("$.Refused.why"), "{error}");
    let parts: Result<Vec<_>, _> = client.stream(&order(2)).unwrap().collect();
    assert_eq!(parts.unwrap(), [20, 21, 22].map(Answer::Done));
    assert!(matches!(client.call(&order(3)).unwrap_err(), CallError::Dropped { .. }));
    // By fragments too.
    let long = Order { symbol: "x".repeat(3 << 20), ..order(4) };
    assert_eq!(client.call(&long).unwrap(), Answer::Done(4));
    let again = DynamicClient::connect(stage.name()).unwrap();
    let seven = json(&serde_json::to_string(&order(7)).unwrap());
    assert_eq!(again.call(&seven).unwrap(), Value::variant("Done", 7));

    // Who has another type is told where it differs.
    let error = Client::<u8, Answer, C>::connect(stage.name()).unwrap_err();
    assert!(matches!(error, ConnectError::Open(OpenError::WrongType { .. })), "{error}");
    let error = Client::<Order, u8, C>::connect(stage.name()).unwrap_err();
    assert!(error.to_string().contains("reply"), "{error}");
    closer.close();
    serving.join().unwrap().unwrap();
}

#[test]
fn a_server_without_types_serves_typed_clients() {
    typed_clients::<Bincode>("dynamic server bincode");
    typed_clients::<Postcard>("dynamic server postcard");
    typed_clients::<Json>("dynamic server json");
}

#[test]
fn clients_of_another_type_are_told_the_first_difference_both_ways() {
    #[derive(Serialize, Deserialize)]
    #[serde(rename = "Order")]
    struct Earlier {
        id: u64,
        symbol: String,
        tags: Vec<Option<u8>>,
    }
    let stage = Stage::new("dynamic server other");
    let (request, reply) = (dynamic::<Bincode, Order>(), dynamic::<Bincode, Answer>());
    let server = DynamicServer::bind(stage.name(), request.clone(), reply.clone()).unwrap();
    let error = Client::<Earlier, Answer>::connect(stage.name()).unwrap_err();
    assert!(matches!(error, ConnectError::Open(OpenError::WrongType { .. })), "{error}");
    assert!(error.to_string().contains("u8 here, u16 there"), "{error}");
    let error = Client::<Order, Answer, Postcard>::connect(stage.name()).unwrap_err();
    assert!(matches!(error, ConnectError::Open(OpenError::WrongCodec { .. })), "{error}");
    let error = Server::<Earlier, Answer>::bind(stage.name()).unwrap_err();
    assert!(error.to_string().contains("u8 here, u16 there"), "{error}");
    let error = Server::<Order, Answer>::bind(stage.name()).unwrap_err();
    assert!(matches!(error, BindError::AlreadyBound { .. }), "{error}");
    drop(server);

    let typed = Server::<Earlier, Answer>::bind(stage.name()).unwrap();
    let bind = || DynamicServer::bind(stage.name(), request.clone(), reply.clone());
    let error = bind().unwrap_err();
    assert!(
        matches!(error, DynamicError::Bind(BindError::Open(OpenError::WrongType { .. }))),
        "{error}"
    );
    assert!(error.to_string().contains("u16 here, u8 there"), "{error}");
    drop(typed);

    let postcard = dynamic::<Postcard, Answer>();
    let error = DynamicServer::bind(stage.name(), request, postcard).unwrap_err();
    assert!(matches!(error, DynamicError::CodecsDiffer { .. }), "{error}");
    assert!(error.to_string().contains("postcard"), "{error}");
}

#[test]
fn a_name_of_another_kind_is_told_as_one() {
    let stage = Stage::new("dynamic other kind");
    let (request, reply) = (dynamic::<Bincode, Order>(), dynamic::<Bincode, Answer>());
    let channel = Channel::<Order>::create(stage.name()).unwrap();
    let bind = |request: &DynamicCodec, reply: &DynamicCodec| {
        DynamicServer::bind(stage.name(), request.clone(), reply.clone()).unwrap_err()
    };
    let json = dynamic::<Json, Order>();
    for error in [bind(&request, &reply), bind(&json, &json)] {
        let expected = ChannelKind::Server;
        let is_told = matches!(&error, DynamicError::WrongKind { found: ChannelKind::Channel, expected: told, .. } if *told == expected);
        assert!(is_told, "{error}");
        assert!(error.to_string().contains("is a channel, not a server"), "{error}");
    }
    drop(channel);

    let _server = DynamicServer::bind(stage.name(), request.clone(), reply).unwrap();
    let error = DynamicOptions::new().open_or_create(stage.name(), request).unwrap_err();
    assert!(error.to_string().contains("is a server, not a channel"), "{error}");
}

/// A server without types stands in for a typed one, and the other way round, with the clients of both.
#[test]
fn typed_servers_and_servers_without_types_take_each_others_places() {
    let stage = Stage::new("dynamic server places");
    let typed = Server::<Order, Answer>::bind(stage.name()).unwrap();
    let client = ClientOptions::new().repeatable().connect::<_, _, Bincode>(stage.name()).unwrap();
    let client: Client<Order, Answer> = client;
    let first = client.start(&order(5)).unwrap();
    // What one client knows of the shapes is enough to stand by.
    let seen = DynamicClient::connect(stage.name()).unwrap();
    let shapes = [seen.request_shape(), seen.reply_shape()];
    assert_eq!(shapes[0].text(), "Order{id:u64,symbol:str,tags:seq<option<u16>>}");
    assert_eq!(shapes[1].text(), "Answer[Done(u64)|Refused{why:str}]");
    let (request, reply) = (seen.request_codec().clone(), seen.reply_codec().clone());
    let (name, ten) = (stage.name().to_owned(), Duration::from_secs(10));
    let standby = thread::spawn(move || {
        let options = DynamicOptions::new().server(ServerOptions::new().clients(9));
        let server = options.stand_by(name, request, reply, ten).unwrap();
        let request = server.recv().unwrap().unwrap();
        assert_eq!(request.client().unwrap().pid(), std::process::id());
        assert_eq!(request.query().get("id"), Some(&5.into()));
        assert!(request.remaining().unwrap() <= ten && !request.is_cancelled());
        request.reply(&Value::variant("Done", 5)).unwrap();
        assert!(matches!(server.try_recv(), Err(ServeError::Empty { .. })));
        let late = server.recv_timeout(Duration::from_millis(1));
        assert!(matches!(late, Err(ServeError::Timeout { .. })));
        server
    });
    drop(typed);
    assert_eq!(first.wait().unwrap(), Answer::Done(5));
    let server = standby.join().unwrap();

    let cancelled = client.start(&order(6)).unwrap();
    let request = server.recv().unwrap().unwrap();
    drop(cancelled);
    until(|| request.is_cancelled());
    let error = request.reply(&Value::variant("Done", 6)).unwrap_err();
    assert!(matches!(error, ReplyError::ClientGone { .. }), "{error}");

    drop(server);
    let typed = Server::<Order, Answer>::bind(stage.name()).unwrap();
    let second = client.start(&order(8)).unwrap();
    let request = typed.recv().unwrap().unwrap();
    assert_eq!(request.query(), &order(8));
    request.reply(&Answer::Done(8)).unwrap();
    assert_eq!(second.wait().unwrap(), Answer::Done(8));
}

#[test]
fn a_request_that_is_not_of_its_shape_is_told_to_its_caller_alone() {
    let stage = Stage::new("dynamic server unreadable");
    let codecs = [dynamic::<Bincode, (u8, bool)>(), dynamic::<Bincode, u8>()];
    let [request, reply] = codecs;
    let server = DynamicServer::bind(stage.name(), request, reply).unwrap();
    let client = DynamicClient::connect(stage.name()).unwrap();
    let wrong = client.bytes().start(&vec![7, 2]).unwrap();
    let right = client.bytes().start(&vec![7, 1]).unwrap();
    let request = server.recv().unwrap().unwrap();
    assert_eq!(request.query(), &Value::from(vec![7.into(), true.into()]));
    request.reply(&8.into()).unwrap();
    assert!(matches!(wrong.wait(), Err(CallError::Unreadable { .. })));
    assert_eq!(right.wait().unwrap(), [8]);
}

/// A server that has the types of neither side, between a typed client and a typed server.
#[test]
fn a_program_between_client_and_server_passes_calls_on() {
    let (front, back) = (Stage::new("dynamic front"), Stage::new("dynamic back"));
    let server = Server::<Order, Answer>::bind(back.name()).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || server.serve(|order| Answer::Done(order.id + 1)));
    let onwards = DynamicClient::connect(back.name()).unwrap();
    let seen = inspect(back.name()).unwrap();
    // The codec of the whole is that of its parts.
    let request = DynamicCodec::of_channel(&seen).unwrap();
    assert_eq!(request.shape().text(), onwards.request_shape().text());
    let reply = onwards.reply_codec().clone();
    let between = DynamicServer::bind(front.name(), request, reply).unwrap().into_bytes();
    let ending = between.closer();
    let passing =
        thread::spawn(move || between.serve(|request| onwards.bytes().call(&request).unwrap()));
    let client = Client::<Order, Answer>::connect(front.name()).unwrap();
    assert_eq!(client.call(&order(1)).unwrap(), Answer::Done(2));
    let long = Order { symbol: "x".repeat(300_000), ..order(2) };
    assert_eq!(client.call(&long).unwrap(), Answer::Done(3));
    ending.close();
    closer.close();
    passing.join().unwrap().unwrap();
    serving.join().unwrap().unwrap();
}

#[test]
fn a_channel_that_is_created_with_a_shape_is_one_of_that_type() {
    let stage = Stage::new("dynamic created");
    let ring_only = Channel::options().inline_limit(0).capacity(8192).lanes(1).max_value(99_000);
    let options = DynamicOptions::new().channel(ring_only);
    let untyped = options.create(stage.name(), dynamic::<Bincode, Order>()).unwrap();
    let made = inspect(stage.name()).unwrap();
    let typed = Channel::<Order>::open(stage.name()).unwrap();
    assert_eq!(typed.handle(), untyped.handle());
    {
        let (tx, rx) = (untyped.sender().unwrap(), typed.receiver().unwrap());
        tx.send(&json(ORDER)).unwrap();
        assert_eq!(rx.recv().unwrap(), order(7));
        let error = tx.send(&json(r#"{"id":7,"symbol":"ACME","tags":[70000]}"#)).unwrap_err();
        assert!(error.to_string().contains("$.tags[0]: 70000 does not fit a u16"), "{error}");
    }
    {
        let (tx, rx) = (typed.sender().unwrap(), untyped.receiver().unwrap());
        tx.send(&order(8)).unwrap();
        assert_eq!(rx.recv().unwrap().get("id"), Some(&8.into()));
    }
    let error = Channel::<(u64, String)>::open(stage.name()).unwrap_err();
    assert!(matches!(error, OpenError::WrongType { .. }), "{error}");
    let error = Channel::<Order, Json>::open(stage.name()).unwrap_err();
    assert!(matches!(error, OpenError::WrongCodec { .. }), "{error}");
    let error = options.create(stage.name(), dynamic::<Bincode, Order>()).unwrap_err();
    let exists = matches!(error, DynamicError::Open(OpenError::AlreadyExists { .. }));
    assert!(exists, "{error}");
    drop((untyped, typed));

    // The other way round, what the typed side makes is the same in all that is to be seen.
    let ring_only = Channel::<Order>::options().inline_limit(0).capacity(8192).lanes(1);
    let typed = ring_only.max_value(99_000).create(stage.name()).unwrap();
    let like = inspect(stage.name()).unwrap();
    assert_eq!(
        (&made.type_name, &made.schema, &made.codec),
        (&like.type_name, &like.schema, &like.codec)
    );
    assert_eq!(made.shape, like.shape);
    let opened = DynamicOptions::new().open_or_create(stage.name(), dynamic::<Bincode, Order>());
    assert_eq!(opened.unwrap().handle(), typed.handle());
    let error = DynamicOptions::new().open_or_create(stage.name(), dynamic::<Bincode, Answer>());
    let error = error.unwrap_err();
    assert!(matches!(error, DynamicError::Open(OpenError::WrongType { .. })), "{error}");
}

/// A restarted program finds the values of its durable channel, whichever side has the type.
#[test]
fn a_durable_channel_is_adopted_by_either_side() {
    let stage = Stage::new("dynamic durable");
    let durable = DynamicOptions::new().channel(Channel::options().durable().mode(0o640));
    let codec = dynamic::<Postcard, Order>();
    let untyped = durable.open_or_create(stage.name(), codec.clone()).unwrap();
    untyped.bytes().sender().unwrap().send(&codec.encode(&json(ORDER)).unwrap()).unwrap();
    drop(untyped);
    let typed = Channel::<Order, Postcard>::options().durable().mode(0o640);
    let typed = typed.create(stage.name()).unwrap();
    assert_eq!(typed.receiver().unwrap().recv().unwrap(), order(7));
    typed.sender().unwrap().send(&order(8)).unwrap();
    drop(typed);
    let untyped = durable.create(stage.name(), codec).unwrap();
    let value = untyped.receiver().unwrap().recv().unwrap();
    assert_eq!(value.get("id"), Some(&8.into()));
    let error = DynamicChannel::create(stage.name(), untyped.codec().clone()).unwrap_err();
    assert!(matches!(error, DynamicError::Open(OpenError::AlreadyExists { .. })), "{error}");

    // Of a type that has no name of its own, each program makes one.
    let stage = Stage::new("dynamic durable unnamed");
    let untyped = durable.create(stage.name(), dynamic::<Bincode, (u8, Vec<String>)>()).unwrap();
    untyped.sender().unwrap().send(&json(r#"[7,["seven"]]"#)).unwrap();
    drop(untyped);
    let typed = Channel::<(u8, Vec<String>)>::options().durable().mode(0o640);
    let typed = typed.create(stage.name()).unwrap();
    assert_eq!(typed.receiver().unwrap().recv().unwrap(), (7, vec!["seven".to_owned()]));
}

/// Random values of a type through a channel and a server that know its shape alone, and typed peers.
fn random_values<T, C>(test: &'static str)
where
    T: Serialize + DeserializeOwned + Send + 'static,
    C: Codec<T>,
{
    const VALUES: usize = 500;
    let stage = Stage::new(test);
    let untyped = DynamicChannel::create(stage.name(), dynamic::<C, T>()).unwrap();
    // Of those that the codec takes: JSON leaves some out.
    let mut random = Random::of(16);
    let values = std::iter::repeat_with(|| random.value::<T>())
        .filter(|value| encoded::<C, T>(value).is_ok());
    let values: Vec<T> = values.take(VALUES).collect();
    let typed = Channel::<T, C>::open(stage.name()).unwrap();
    let (tx, back) = (typed.sender().unwrap(), untyped.receiver().unwrap());
    let mut seen = Vec::new();
    for value in &values {
        tx.send(value).unwrap();
        seen.push(back.recv().unwrap());
    }
    drop((tx, back));
    let (tx, back) = (untyped.sender().unwrap(), typed.receiver().unwrap());
    for (value, seen) in values.iter().zip(&seen) {
        tx.send(seen).unwrap();
        assert_eq!(encoded::<C, T>(&back.recv().unwrap()), encoded::<C, T>(value), "{seen:?}");
    }
    drop((tx, back, typed, untyped));

    let server = DynamicServer::bind(stage.name(), dynamic::<C, T>(), dynamic::<C, T>()).unwrap();
    let client = Client::<T, T, C>::connect(stage.name()).unwrap();
    for value in &values {
        let call = client.start(value).unwrap();
        let (query, responder) = server.recv().unwrap().unwrap().into_parts();
        responder.reply(&query).unwrap();
        assert_eq!(encoded::<C, T>(&call.wait().unwrap()), encoded::<C, T>(value), "{query:?}");
    }
}

#[test]
fn random_values_come_through_what_is_made_of_a_shape() {
    random_values::<types::Order, Bincode>("dynamic random order");
    random_values::<types::Tree, Postcard>("dynamic random tree");
    random_values::<types::Expression, Bincode>("dynamic random expression");
    random_values::<types::Keys, Postcard>("dynamic random keys");
    random_values::<types::Choice, Json>("dynamic random choice");
    random_values::<Vec<Option<Option<types::Newtype>>>, Bincode>("dynamic random options");
}
