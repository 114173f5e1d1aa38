//! Channels and servers without their types: both directions, what is refused, what stands in the memory.

mod common;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use common::{Stage, dynamic, encoded, until};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sysv_channel::actor::Mailbox;
use sysv_channel::codec::{Bincode, Codec, Json, Postcard, Raw, Reader, Writer};
use sysv_channel::dynamic::{
    DynamicChannel, DynamicClient, DynamicCodec, DynamicError, Shape, ShapeError, Value,
};
use sysv_channel::rpc::{CallError, Server};
use sysv_channel::{
    Channel, ChannelKind, Closer, InspectError, Message, OpenError, RecvError, Schema, Select,
    SendError, Tag,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    symbol: String,
    side: Side,
    legs: Vec<Leg>,
    note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Side {
    Buy,
    Sell(f64),
    Limit { price: f64, days: u8 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Leg {
    price: u8,
    size: i16,
}

fn order(id: u64) -> Order {
    Order {
        id,
        symbol: "ACME".to_owned(),
        side: Side::Limit { price: 1.5, days: 3 },
        legs: vec![Leg { price: 7, size: -1 }, Leg { price: 8, size: 1 }],
        note: None,
    }
}

const ORDER: &str = r#"{"id":7,"symbol":"ACME","side":{"Limit":{"price":1.5,"days":3}},"legs":[{"price":7,"size":-1},{"price":8,"size":1}],"note":null}"#;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn text(value: &Value) -> String {
    serde_json::to_string(value).unwrap()
}

fn both_ways<C: Codec<Order>>(test: &'static str) {
    let stage = Stage::new(test);
    let typed = Channel::<Order, C>::create(stage.name()).unwrap();
    let dynamic = DynamicChannel::open(stage.name()).unwrap();
    assert_eq!(dynamic.codec().name(), C::NAME);
    {
        let (tx, rx) = (typed.sender().unwrap(), dynamic.receiver().unwrap());
        tx.send(&order(7)).unwrap();
        assert_eq!(text(&rx.recv().unwrap()), ORDER);
        let tag = Tag::new(9).unwrap();
        tx.send_tagged(tag, &order(8)).unwrap();
        let message = rx.recv_matching(Select::Exactly(tag)).unwrap();
        assert_eq!((message.tag, message.value.get("id")), (tag, Some(&8.into())));
        assert!(rx.try_recv().unwrap_err().is_empty());
        tx.send(&order(9)).unwrap();
        drop(tx);
        assert_eq!(rx.iter().collect::<Result<Vec<_>, _>>().unwrap().len(), 1);
    }
    let (tx, rx) = (dynamic.sender().unwrap(), typed.receiver().unwrap());
    tx.send(&json(ORDER)).unwrap();
    assert_eq!(rx.recv().unwrap(), order(7));
    // By the ring, and in fragments, for which the sender waits.
    let receiving = thread::spawn(move || [rx.recv().unwrap(), rx.recv().unwrap()]);
    let long = [5_000, 300_000].map(|len| Order { symbol: "x".repeat(len), ..order(9) });
    for order in &long {
        tx.send(&json(&serde_json::to_string(order).unwrap())).unwrap();
    }
    assert_eq!(receiving.join().unwrap(), long);
}

#[test]
fn a_channel_is_used_in_both_directions_without_its_type() {
    both_ways::<Bincode>("dynamic bincode");
    both_ways::<Postcard>("dynamic postcard");
    both_ways::<Json>("dynamic json");
}

#[test]
fn what_a_receiver_would_refuse_is_not_sent_and_names_its_place() {
    let stage = Stage::new("dynamic refused");
    let typed = Channel::<Order>::create(stage.name()).unwrap();
    let rx = typed.receiver().unwrap();
    let tx = DynamicChannel::open(stage.name()).unwrap().sender().unwrap();
    let wrong = [
        ("\"price\":8", "\"price\":300", "$.legs[1].price: 300 does not fit a u8"),
        ("\"size\":1", "\"size\":-40000", "$.legs[1].size: -40000 does not fit an i16"),
        ("\"size\":1", "\"size\":1.5", "$.legs[1].size: expected an integer, found 1.5"),
        ("\"id\":7,", "", "$: missing field \"id\""),
        ("\"days\":3", "\"day\":3", "$.side.Limit: missing field \"days\""),
        (
            "\"id\":7",
            "\"id\":7,\"ib\":8",
            "$: unknown field \"ib\"; expected one of \"id\", \"symbol\", ",
        ),
        ("\"id\":7", "\"id\":7,\"id\":8", "$: field \"id\" is given twice"),
        (
            "{\"Limit\"",
            "{\"Limits\"",
            "$.side: no variant \"Limits\" of Side; expected one of \"Buy\", \"Sell\", \"Limit\"",
        ),
        (
            "{\"Limit\":{\"price\":1.5,\"days\":3}}",
            "\"Sell\"",
            "$.side: variant \"Sell\" of Side has content",
        ),
        (
            "{\"Limit\":{\"price\":1.5,\"days\":3}}",
            "{\"Buy\":1}",
            "$.side: variant \"Buy\" of Side has no",
        ),
        (
            "\"price\":1.5",
            "\"price\":\"dear\"",
            "$.side.Limit.price: expected an f64, found \"dear\"",
        ),
        ("\"ACME\"", "5", "$.symbol: expected text, found 5"),
        ("\"note\":null", "\"note\":7", "$.note: expected text, found 7"),
    ];
    for (right, wrong, expected) in wrong {
        let text = ORDER.replacen(right, wrong, 1);
        assert_ne!(text, ORDER, "{right}");
        let error = tx.send(&json(&text)).unwrap_err();
        assert!(matches!(error, SendError::Encode { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
    assert!(rx.try_recv().unwrap_err().is_empty());
    tx.send(&json(ORDER)).unwrap();
    assert_eq!(rx.recv().unwrap(), order(7));
}

#[test]
fn values_are_checked_at_the_edges_of_their_ranges() {
    let check = |shape: &str, value: Value| Shape::parse(shape).unwrap().check(&value);
    for (shape, min, max) in [
        ("i8", i128::from(i8::MIN), i128::from(i8::MAX)),
        ("i64", i64::MIN.into(), i64::MAX.into()),
        ("u32", 0, u32::MAX.into()),
        ("u64", 0, u64::MAX.into()),
    ] {
        check(shape, min.into()).unwrap();
        check(shape, max.into()).unwrap();
        assert!(check(shape, (min - 1).into()).unwrap_err().what().contains("does not fit"));
        assert!(check(shape, (max + 1).into()).unwrap_err().what().contains("does not fit"));
    }
    check("u128", u128::MAX.into()).unwrap();
    check("u128", u128::MAX.to_string().into()).unwrap();
    check("i128", i128::MIN.to_string().into()).unwrap();
    assert_eq!(
        check("i128", u128::MAX.into()).unwrap_err().what(),
        format!("{} does not fit an i128", u128::MAX)
    );
    assert!(check("u64", "7".into()).is_err());
    check("map<u64,()>", json(r#"{"7":null}"#)).unwrap();
    assert_eq!(
        check("map<u8,()>", json(r#"{"300":null}"#)).unwrap_err().to_string(),
        "$[\"300\"]: the key: 300 does not fit a u8"
    );
    assert!(check("nonzero<u8>", 0.into()).unwrap_err().what().contains("must not be 0"));
    assert_eq!(check("f32", 1e300.into()).unwrap_err().what(), "1e300 does not fit an f32");
    check("f32", "NaN".into()).unwrap();
    assert!(check("char", "ab".into()).is_err() && check("char", "".into()).is_err());
    assert_eq!(
        check("bytes", json("[1,256]")).unwrap_err().to_string(),
        "$[1]: 256 does not fit a u8"
    );
    assert_eq!(
        check("(u8,u8)", json("[1]")).unwrap_err().what(),
        "expected an array of 2, found an array of 1"
    );
    assert!(
        check("E[A(?)|B]", json(r#"{"A":1}"#)).unwrap_err().what().contains("no receiver takes")
    );
}

#[test]
fn a_map_has_each_key_once_however_it_is_written() {
    let check = |shape: &str, text: &str| {
        let shape = Shape::parse(shape).unwrap();
        shape.check(&shape.read(&mut serde_json::Deserializer::from_str(text)).unwrap())
    };
    for (shape, text, expected) in [
        ("map<str,u8>", r#"{"a":1,"b":2,"a":3}"#, "$.a: the key is given twice"),
        ("map<u64,u8>", r#"{"1":1,"01":2}"#, "$[\"01\"]: the key is given twice"),
        ("map<i8,u8>", r#"{"-1":1,"-01":2}"#, "$[\"-01\"]: the key is given twice"),
        ("(u8,map<bool,u8>)", r#"[1,{"true":1,"true":2}]"#, "$[1].true: the key is given twice"),
        ("map<f64,u8>", r#"{"1":1,"1.0":2}"#, "$[\"1.0\"]: the key is given twice"),
        ("map<char,map<E[A|B],u8>>", r#"{"x":{"A":1,"A":1}}"#, "$.x.A: the key is given twice"),
        ("map<(u8,i128),u8>", "[[[1,2],3],[[1,2],4]]", "$[entry 1]: the key is given twice"),
        ("map<option<str>,u8>", r#"[[null,1],[null,2]]"#, "$[entry 1]: the key is given twice"),
    ] {
        assert_eq!(check(shape, text).unwrap_err().to_string(), expected);
    }
    for (shape, text) in [
        ("map<u64,u8>", r#"{"1":1,"10":1,"0":1}"#),
        ("map<i8,u8>", r#"{"1":1,"-1":1}"#),
        ("map<(str,str),u8>", r#"[[["a, b","c"],1],[["a","b, c"],1]]"#),
        ("map<option<str>,u8>", r#"[[null,1],["null",2],["some null",3]]"#),
        ("map<seq<u8>,u8>", "[[[],1],[[1],2],[[1,1],2]]"),
        ("map<E[A|B(str)],u8>", r#"[["A",1],[{"B":""},2],[{"B":"0"},2]]"#),
    ] {
        check(shape, text).unwrap();
    }
    // What is nested deep is told apart in memory of its size.
    let nested = |inner: &str| format!("{}{inner}{}", "[".repeat(100), "]".repeat(100));
    let shape = format!("map<{}str{},u8>", "seq<".repeat(100), ">".repeat(100));
    let entries = |second| format!("[[{},1],[{},2]]", nested("\"a\""), nested(second));
    check(&shape, &entries("\"b\"")).unwrap();
    assert_eq!(
        check(&shape, &entries("\"a\"")).unwrap_err().to_string(),
        "$[entry 1]: the key is given twice"
    );
    // A receiver that reads into a map would keep one of both, and nobody would know.
    let codec = dynamic::<Json, BTreeMap<u8, u8>>();
    assert!(codec.encode(&json(r#"{"1":1,"01":2}"#)).is_err());
}

/// A reader of JSON that does not know the shape makes floats of them.
#[test]
fn integers_that_fit_nothing_say_so() {
    for (shape, text, expected) in [
        ("u64", "99999999999999999999", "1e20 does not fit a u64"),
        ("u64", "18446744073709551616", "1.8446744073709552e19 does not fit a u64"),
        ("i64", "-99999999999999999999", "-1e20 does not fit an i64"),
        ("u8", "99999999999999999999", "1e20 does not fit a u8"),
        ("u128", "-99999999999999999999", "-1e20 does not fit a u128"),
        ("u128", "999999999999999999999999999999999999999", "1e39 does not fit a u128"),
        ("i128", "-999999999999999999999999999999999999999", "-1e39 does not fit an i128"),
    ] {
        let error = Shape::parse(shape).unwrap().check(&json(text)).unwrap_err();
        assert_eq!(error.what(), expected);
    }
    for shape in ["u128", "i128"] {
        let error = Shape::parse(shape).unwrap().check(&json("99999999999999999999")).unwrap_err();
        assert!(error.what().contains("lost its last digits"), "{error}");
    }
}

/// What is refused for its depth by the typed side is refused by this side, and nothing else is.
#[test]
fn values_nest_as_deep_as_the_type_lets_them() {
    #[derive(Serialize, Deserialize)]
    struct List(u8, Option<Box<List>>);
    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Nested(Vec<Nested>);
    #[derive(Serialize, Deserialize)]
    enum Tree {
        Leaf,
        Node { of: Box<Tree> },
    }
    #[derive(Serialize, Deserialize)]
    struct Named {
        inner: BTreeMap<String, Named>,
        bytes: Vec<u8>,
    }
    fn check<C: Codec<T>, T>(typed: T, value: Value, depth: usize) {
        let codec = dynamic::<C, T>();
        let (typed, about) = (encoded::<C, T>(&typed), || format!("{} {depth}", C::NAME));
        let dynamic = codec.encode(&value);
        match typed {
            Ok(typed) => {
                assert_eq!(dynamic.as_ref(), Ok(&typed), "{}", about());
                assert_eq!(text(&codec.decode(&typed).unwrap()), text(&value), "{}", about());
            }
            Err(typed) => assert!(dynamic.is_err(), "{}: {typed}", about()),
        }
    }
    fn all<T: Serialize + DeserializeOwned>(typed: impl Fn() -> T, value: &Value, depth: usize) {
        check::<Bincode, T>(typed(), value.clone(), depth);
        check::<Postcard, T>(typed(), value.clone(), depth);
        check::<Json, T>(typed(), value.clone(), depth);
    }
    let nest = |depth: usize, leaf: Value, around: &dyn Fn(Value) -> Value| {
        (0..depth).fold(leaf, |inner, _| around(inner))
    };
    for depth in (1..4).chain(58..70).chain(120..135) {
        let list = |depth| (0..depth).fold(List(0, None), |l, _| List(0, Some(Box::new(l))));
        let leaf = Value::from(vec![0.into(), Value::Null]);
        all(|| list(depth), &nest(depth, leaf, &|l| vec![0.into(), l].into()), depth);

        let nested = |depth| (0..depth).fold(Nested(vec![]), |inner, _| Nested(vec![inner]));
        all(|| nested(depth), &nest(depth, vec![].into(), &|n| vec![n].into()), depth);

        let tree = |depth| (0..depth).fold(Tree::Leaf, |of, _| Tree::Node { of: Box::new(of) });
        let around = |of| Value::variant("Node", Value::fields([("of", of)]));
        all(|| tree(depth), &nest(depth, "Leaf".into(), &around), depth);

        let empty = || Named { inner: BTreeMap::new(), bytes: vec![7] };
        let named = |depth| {
            (0..depth).fold(empty(), |inner, _| Named {
                inner: BTreeMap::from([("a".to_owned(), inner)]),
                bytes: vec![],
            })
        };
        let bytes = |bytes| ("bytes", Value::Bytes(bytes));
        let leaf = Value::fields([("inner", Value::Map(vec![])), bytes(vec![7])]);
        let around = |n| Value::fields([("inner", Value::fields([("a", n)])), bytes(vec![])]);
        all(|| named(depth), &nest(depth, leaf, &around), depth);
    }
}

#[test]
fn a_server_is_called_without_its_types() {
    let stage = Stage::new("dynamic server");
    let server = Server::<Order, Result<(u64, Side), String>>::bind(stage.name()).unwrap();
    let closer = server.closer();
    let serving = thread::spawn(move || {
        for request in server.incoming() {
            let (order, mut port) = request.unwrap().into_parts();
            if order.id == 1 {
                port.part(&Err("first".to_owned())).unwrap();
            }
            port.reply(&Ok((order.id, order.side))).unwrap();
        }
    });
    let client = DynamicClient::connect(stage.name()).unwrap();
    assert!(client.request_shape().text().starts_with("Order{id:u64,"));
    assert!(client.reply_shape().text().starts_with("Result[Ok((u64,Side["));
    let reply = client.call(&json(ORDER)).unwrap();
    assert_eq!(text(&reply), r#"{"Ok":[7,{"Limit":{"price":1.5,"days":3}}]}"#);
    let error = client.call(&json("{}")).unwrap_err();
    assert!(matches!(error, CallError::Send(SendError::Encode { .. })), "{error}");
    assert!(error.to_string().contains("$: missing field \"id\""), "{error}");
    let parts = client.stream(&json(&ORDER.replacen('7', "1", 1))).unwrap();
    let parts: Vec<_> = parts.map(|part| text(&part.unwrap())).collect();
    assert_eq!(parts[0], r#"{"Err":"first"}"#);
    assert_eq!(parts.len(), 2);

    // The next server of the name is another one, and carries something else.
    closer.close();
    serving.join().unwrap();
    drop(client);
    let _server = Server::<u8, u8>::bind(stage.name()).unwrap();
    let error = DynamicChannel::open(stage.name()).unwrap_err();
    assert!(matches!(error, DynamicError::WrongKind { found: ChannelKind::Server, .. }), "{error}");
}

#[test]
fn a_server_of_other_types_that_takes_the_place_is_not_called() {
    let stage = Stage::new("dynamic other server");
    let first = Server::<u8, u8>::bind(stage.name()).unwrap();
    let client = DynamicClient::connect(stage.name()).unwrap();
    drop(first);
    Channel::<u8>::unlink(stage.name()).unwrap();
    let _second = Server::<u16, u8>::bind(stage.name()).unwrap();
    let error = client.call(&7.into()).unwrap_err();
    assert!(error.to_string().contains("u8 here, u16 there"), "{error}");
}

/// Ends the call of a sender also where a test fails.
struct Closes(Closer);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A sender of a long value sees its first receiver come, and begins the value again.
#[test]
fn a_long_value_is_used_once_although_it_is_begun_again() {
    let stage = Stage::new("dynamic begun again");
    let channel = Channel::<String>::options().inline_limit(0).capacity(4096).durable();
    let channel = channel.create(stage.name()).unwrap();
    let (tx, text) = (channel.sender().unwrap(), "x".repeat(2100));
    thread::scope(|scope| {
        // Where a test fails its sender is not waited for.
        let _closes = Closes(tx.closer());
        scope.spawn(move || (0..100).try_for_each(|n| tx.send(&format!("{n} {text}"))));
        for due in 0..100 {
            until(|| channel.stats().unwrap().waiting > 0);
            let used = RefCell::new(Vec::new());
            let take = |message: Message<Value>| {
                // No more than a chance for its sender to look who is there: the values are right without it, too.
                thread::sleep(Duration::from_millis(1));
                let text = message.value.as_str().unwrap().to_owned();
                used.borrow_mut().push(text.split(' ').next().unwrap().parse::<u32>().unwrap());
            };
            let rx = DynamicChannel::open(stage.name()).unwrap().receiver().unwrap();
            rx.recv_with_timeout(Select::Any, Duration::from_micros(500), take).unwrap();
            assert_eq!(used.into_inner(), [due]);
        }
    });
}

#[test]
fn what_cannot_be_used_without_its_type_is_refused_and_says_why() {
    let stage = Stage::new("dynamic unusable");
    let missing = DynamicChannel::open(stage.name()).unwrap_err();
    assert!(matches!(missing, DynamicError::Inspect(InspectError::NotFound { .. })), "{missing}");

    let named = |schema: Schema| Channel::<u8>::options().schema(schema).create(stage.name());
    let channel = named(Schema::named("order", 2)).unwrap();
    let error = DynamicChannel::open(stage.name()).unwrap_err();
    assert!(matches!(error, DynamicError::Untraced { .. }), "{error}");
    drop(channel);

    let channel = named(Schema::named("x".repeat(20_000), 2)).unwrap();
    let error = DynamicChannel::open(stage.name()).unwrap_err();
    let truncated = ShapeError::Truncated { len: 16_000 };
    assert!(matches!(&error, DynamicError::Shape { error, .. } if *error == truncated), "{error}");
    drop(channel);

    struct Own;
    impl Codec<u8> for Own {
        const NAME: &'static str = "my own";
        fn encode(
            value: &u8,
            out: &mut Writer<'_>,
        ) -> Result<(), sysv_channel::codec::EncodeError> {
            Ok(out.write(&[*value])?)
        }
        fn decode(mut input: Reader<'_>) -> Result<u8, sysv_channel::codec::DecodeError> {
            let [value] = input.read_array()?;
            Ok(value)
        }
        fn schema() -> Schema {
            Schema::of::<u8>()
        }
    }
    let channel = Channel::<u8, Own>::create(stage.name()).unwrap();
    let error = DynamicChannel::open(stage.name()).unwrap_err();
    assert!(matches!(error, DynamicError::UnknownCodec { .. }), "{error}");
    assert!(error.to_string().contains("raw"), "{error}");
    drop(channel);

    // Where only a text was given, no channel is named.
    let error = DynamicCodec::new("my own", "u8").unwrap_err().to_string();
    assert!(error.starts_with("the values are encoded by \"my own\", and"), "{error}");
    let error = DynamicCodec::new("raw", "u8 u8").unwrap_err().to_string();
    assert!(error.starts_with("the text is no shape"), "{error}");

    let channel = Channel::<u8>::options().max_value(1 << 30).create(stage.name()).unwrap();
    let error = DynamicChannel::open(stage.name()).unwrap_err();
    assert!(matches!(error, DynamicError::Open(OpenError::LongerValues { .. })), "{error}");
    DynamicChannel::options().max_value(1 << 30).open(stage.name()).unwrap();
    drop(channel);

    let _mailbox = Mailbox::<u8>::bind(stage.name()).unwrap();
    let error = DynamicClient::connect(stage.name()).unwrap_err();
    assert!(
        matches!(error, DynamicError::WrongKind { found: ChannelKind::Mailbox, .. }),
        "{error}"
    );
}

#[test]
fn shapes_of_sixteen_thousand_bytes_have_room_in_the_header() {
    let stage = Stage::new("dynamic long shape");
    let schema = Schema::named("x".repeat(15_998), 2);
    let channel = Channel::<Vec<u8>, Raw>::options().schema(schema).create(stage.name()).unwrap();
    let dynamic = DynamicChannel::open(stage.name()).unwrap();
    assert_eq!(dynamic.shape().text().len(), 16_000);
    dynamic.sender().unwrap().send(&json("[1,2,3]")).unwrap();
    assert_eq!(channel.receiver().unwrap().recv().unwrap(), [1, 2, 3]);
}

#[cfg(feature = "pod")]
#[test]
fn structs_of_c_are_their_bytes() {
    use sysv_channel::codec::Pod;

    let stage = Stage::new("dynamic pod");
    let typed = Channel::<[u16; 2], Pod>::create(stage.name()).unwrap();
    let dynamic = DynamicChannel::open(stage.name()).unwrap();
    typed.sender().unwrap().send(&[1, 258]).unwrap();
    let rx = dynamic.receiver().unwrap();
    assert_eq!(text(&rx.recv().unwrap()), "[1,0,2,1]");
    let error = dynamic.sender().unwrap().send(&json("[1,0,2]")).unwrap_err();
    assert!(error.to_string().contains("$: expected the 4 bytes of a struct, found 3"), "{error}");
}

#[test]
fn json_of_an_unknown_shape_goes_through_and_text_stands_for_what_people_read() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u64),
        Text(String),
    }
    let stage = Stage::new("dynamic untagged");
    let typed = Channel::<Untagged, Json>::create(stage.name()).unwrap();
    let dynamic = DynamicChannel::open(stage.name()).unwrap();
    assert!(dynamic.shape().is_opaque());
    let (tx, rx) = (dynamic.sender().unwrap(), typed.receiver().unwrap());
    tx.send(&"seven".into()).unwrap();
    assert_eq!(rx.recv().unwrap(), Untagged::Text("seven".to_owned()));
    tx.send(&json("[]")).unwrap();
    assert!(matches!(rx.recv().unwrap_err(), RecvError::Decode { .. }));

    // Its receiver would keep one of the two, and nobody would know.
    let rest = dynamic_json::<serde_json::Value>();
    for (text, expected) in [
        (r#"{"a":1,"b":2,"a":3}"#, "$.a: the key is given twice"),
        (r#"[{"a":{"b c":1,"b c":1}}]"#, "$[0].a[\"b c\"]: the key is given twice"),
        (r#"{"a":1,"\u0061":2}"#, "$.a: the key is given twice"),
    ] {
        assert_eq!(rest.encode(&json(text)).unwrap_err().to_string(), expected);
        let error = tx.send(&json(text)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let numbers = Value::Map(vec![(1.into(), 2.into()), ("1".into(), 3.into())]);
    assert!(rest.check(&numbers).unwrap_err().to_string().starts_with("$[\"1\"]"));
    rest.check(&json(r#"[{"a":1},{"a":{"a":[1,1]}}]"#)).unwrap();
    let nested = |levels| (0..levels).fold(Value::Null, |inner, _| vec![inner].into());
    for (levels, taken) in [(127, true), (128, false)] {
        let value = rest.encode(&nested(levels));
        assert_eq!(value.is_ok(), taken, "{levels}");
        let typed = serde_json::from_str::<serde_json::Value>(&text(&nested(levels)));
        assert_eq!(typed.is_ok(), taken, "{levels}");
    }

    let codec = dynamic_json::<(std::net::IpAddr, Option<Side>)>();
    codec.encode(&json(r#"["127.0.0.1","Buy"]"#)).unwrap();
    assert!(codec.encode(&json(r#"["127.0.0.1","By"]"#)).is_err());
    assert!(codec.encode(&json(r#"["127.0.0.1",{"Sell":"NaN"}]"#)).is_err());
    assert!(dynamic_json::<Option<Option<u8>>>().encode(&json(r#"{"Some":null}"#)).is_err());
}

fn dynamic_json<T: Serialize + DeserializeOwned>() -> DynamicCodec {
    dynamic::<Json, T>()
}

#[test]
fn shapes_that_no_schema_writes_are_refused() {
    let deep = |n: usize| "option<".repeat(n) + "u8" + &">".repeat(n);
    assert!(Shape::parse(&deep(100)).is_ok());
    let array = |n: usize| (0..n).fold("u8".to_owned(), |of, _| format!("array<{of},1000>"));
    assert!(Shape::parse(&array(1)).is_ok());
    let refused = [
        String::new(),
        deep(1_000_000),
        array(2),
        array(40),
        "array<u8,99999999999999999999999>".to_owned(),
        "A{a:^A}".to_owned(),
        "A(^A)".to_owned(),
        "A{a:(u8,B{b:^A})}".to_owned(),
        "array<^tuple,4>".to_owned(),
        "E[V(^V)]".to_owned(),
        "^".to_owned(),
        "^A".to_owned(),
        "option<^^option>".to_owned(),
        "A{a:u8".to_owned(),
        "A{a:u8}}".to_owned(),
        "\"a".to_owned(),
        "\"\\u{110000}\"".to_owned(),
        "\"\\x\"".to_owned(),
        "nonzero<f32>".to_owned(),
        "vec<u8>".to_owned(),
        "map<u8>".to_owned(),
        "(u8 u8)".to_owned(),
        "A[B|*|C]".to_owned(),
        "A(size=8)".to_owned(),
        "A{a|b:u8}".to_owned(),
        "u8\n".to_owned(),
        "(".repeat(100_000),
        "A[".repeat(100_000),
        format!("({})", "u8,".repeat(100_000)),
    ];
    for text in refused {
        let error = Shape::parse(&text).map(|_| ()).unwrap_err();
        assert!(matches!(error, ShapeError::Malformed { .. }), "{text:.80}: {error}");
    }
    // Without the check for types without end, these would be decoded for ever.
    for text in ["option<^option>", "A{a:seq<^A>}", "E[V(^E)|W]", "map<(),A(option<^A>)>"] {
        assert!(Shape::parse(text).is_ok(), "{text}");
    }
}

/// Shapes of which much is made without bytes, and that nest.
#[test]
fn hostile_shapes_take_bounded_memory_and_stack() {
    let wide = "array<(),60000>".to_owned();
    let nested = (0..100).fold("u8".to_owned(), |of, _| format!("A({of},)"));
    let endless =
        format!("R({},)", (0..90).fold("option<^R>".to_owned(), |of, _| format!("A({of},)")));
    let empties = "seq<array<(),60000>>".to_owned();
    let bytes = [
        vec![],
        vec![0; 64],
        vec![1; 4096],
        [60_000_u64.to_le_bytes().to_vec(), vec![]].concat(),
        [1_000_000_u64.to_le_bytes().to_vec(), vec![1; 1_000_000]].concat(),
    ];
    let names = [<Bincode as Codec<()>>::NAME, <Postcard as Codec<()>>::NAME];
    for shape in [wide, nested, endless, empties, "option<^option>".into(), "seq<^seq>".into()] {
        for name in names {
            let codec = DynamicCodec::new(name, &shape).unwrap();
            for bytes in &bytes {
                if let Ok(value) = codec.decode(bytes) {
                    assert_eq!(codec.encode(&value).as_ref(), Ok(bytes), "{shape:.80}");
                }
            }
        }
    }
    // A value that nests without end for one that follows it.
    let codec = DynamicCodec::new(names[0], "A(option<^A>,)").unwrap();
    let deep = (0..2_000).fold(vec![Value::Null].into(), |inner, _| Value::from(vec![inner]));
    assert!(codec.encode(&deep).unwrap_err().to_string().contains("nests deeper"));
}

#[test]
fn what_two_codecs_carry_is_compared() {
    let codec = |name: &str, shape: &str| DynamicCodec::new(name, shape).unwrap();
    let (bincode, json) = (<Bincode as Codec<()>>::NAME, <Json as Codec<()>>::NAME);
    let orders = codec(bincode, "Order{id:u64,side:Side[Buy|Sell(f64)]}");
    assert_eq!(orders.difference(&codec(bincode, orders.shape().text())), None);
    for (shape, difference) in [
        ("Order{id:u64,side:Side[Buy|Sell(f32)]}", "Order.side::Sell: f64 here, f32 there"),
        ("Order{id:u64}", "Order: field `side` missing there"),
        ("u64", "type Order{id:u64,side:Side[Buy|Sell(f64)]} here, u64 there"),
    ] {
        assert_eq!(orders.difference(&codec(bincode, shape)).unwrap(), difference);
    }
    let other = orders.difference(&codec(json, orders.shape().text()));
    assert_eq!(other.unwrap(), format!("codec: {bincode:?} here, {json:?} there"));
}
