//! The shapes that types have.

mod difference;
#[cfg(feature = "bincode")]
mod in_a_codec;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroI8, NonZeroU8, NonZeroU32, NonZeroU128};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::de::{DeserializeOwned, Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::{Schema, short_type_name};

fn text<T: DeserializeOwned>() -> String {
    let schema = Schema::of::<T>();
    assert!(schema.is_traced(), "not traced: {schema}");
    schema.to_string()
}

fn fallback<T: DeserializeOwned>() -> String {
    let schema = Schema::of::<T>();
    assert!(!schema.is_traced(), "traced: {schema}");
    schema.to_string()
}

/// A module of its own for each: only names that serde sees may count.
macro_rules! variants_of_order {
    ($($module:ident { $($item:item)* })*) => {$(
        #[allow(dead_code)]
        mod $module {
            use serde::Deserialize;
            $(#[derive(Deserialize)] $item)*
        }
    )*};
}

variants_of_order! {
    original {
        pub(super) struct Order { id: u64, side: Side, price: Option<f64> }
        enum Side { Buy, Sell(f64), Limit { price: f64, days: u8 } }
    }
    elsewhere {
        pub(super) struct Order { id: u64, side: Side, price: Option<f64> }
        enum Side { Buy, Sell(f64), Limit { price: f64, days: u8 } }
    }
    field_added {
        pub(super) struct Order { id: u64, side: Side, price: Option<f64>, note: String }
        enum Side { Buy, Sell(f64), Limit { price: f64, days: u8 } }
    }
    field_removed {
        pub(super) struct Order { id: u64, side: Side }
        enum Side { Buy, Sell(f64), Limit { price: f64, days: u8 } }
    }
    field_renamed {
        pub(super) struct Order { number: u64, side: Side, price: Option<f64> }
        enum Side { Buy, Sell(f64), Limit { price: f64, days: u8 } }
    }
    field_retyped {
        pub(super) struct Order { id: u64, side: Side, price: Option<f32> }
        enum Side { Buy, Sell(f64), Limit { price: f64, days: u8 } }
    }
    fields_reordered {
        pub(super) struct Order { side: Side, id: u64, price: Option<f64> }
        enum Side { Buy, Sell(f64), Limit { price: f64, days: u8 } }
    }
    variant_added {
        pub(super) struct Order { id: u64, side: Side, price: Option<f64> }
        enum Side { Buy, Sell(f64), Limit { price: f64, days: u8 }, Cancel }
    }
    variant_removed {
        pub(super) struct Order { id: u64, side: Side, price: Option<f64> }
        enum Side { Buy, Limit { price: f64, days: u8 } }
    }
    variants_reordered {
        pub(super) struct Order { id: u64, side: Side, price: Option<f64> }
        enum Side { Sell(f64), Buy, Limit { price: f64, days: u8 } }
    }
    variant_renamed {
        pub(super) struct Order { id: u64, side: Side, price: Option<f64> }
        enum Side { Bid, Sell(f64), Limit { price: f64, days: u8 } }
    }
    variant_retyped {
        pub(super) struct Order { id: u64, side: Side, price: Option<f64> }
        enum Side { Buy, Sell(u64), Limit { price: f64, days: u8 } }
    }
    variant_field_retyped {
        pub(super) struct Order { id: u64, side: Side, price: Option<f64> }
        enum Side { Buy, Sell(f64), Limit { price: f64, days: u16 } }
    }
}

#[test]
fn every_change_of_shape_changes_the_fingerprint() {
    let original = Schema::of::<original::Order>();
    assert_eq!(
        original.text(),
        "Order{id:u64,side:Side[Buy|Sell(f64)|Limit{price:f64,days:u8}],price:option<f64>}"
    );
    let changed = [
        (Schema::of::<field_added::Order>(), "Order: field `note` missing here"),
        (Schema::of::<field_removed::Order>(), "Order: field `price` missing there"),
        (Schema::of::<field_renamed::Order>(), "Order: field `id` here is `number` there"),
        (Schema::of::<field_retyped::Order>(), "Order.price: f64 here, f32 there"),
        (Schema::of::<fields_reordered::Order>(), "Order: field `id` here where `side` is there"),
        (Schema::of::<variant_added::Order>(), "Order.side: variant `Cancel` missing here"),
        (Schema::of::<variant_removed::Order>(), "Order.side: variant `Sell` missing there"),
        (
            Schema::of::<variants_reordered::Order>(),
            "Order.side: variant `Buy` here where `Sell` is there",
        ),
        (Schema::of::<variant_renamed::Order>(), "Order.side: variant `Buy` here is `Bid` there"),
        (Schema::of::<variant_retyped::Order>(), "Order.side::Sell: f64 here, u64 there"),
        (
            Schema::of::<variant_field_retyped::Order>(),
            "Order.side::Limit.days: u8 here, u16 there",
        ),
    ];
    for (schema, expected) in &changed {
        assert!(schema.is_traced());
        assert_eq!(schema.name(), "Order");
        assert_ne!(schema.fingerprint(), original.fingerprint(), "{expected}");
        assert_eq!(crate::schema::difference(original.text(), schema.text()), *expected);
    }
}

#[test]
fn the_module_of_a_type_does_not_count() {
    assert_eq!(Schema::of::<original::Order>(), Schema::of::<elsewhere::Order>());
}

#[test]
fn fingerprint_is_128_bit_fnv_1a_of_the_text() {
    assert_eq!(super::fnv1a(b""), 0x6c62272e07bb014262b821756295c58d);
    assert_eq!(super::fnv1a(b"foobar"), 0x343e1662793c64bf6f0d3597ba446f18);
}

#[test]
fn primitives_and_containers_are_spelled() {
    type Everything =
        (bool, (i8, i16, i32, i64), (u8, u16, u32), (u64, f32, f64), (char, String, i128, u128));
    assert_eq!(
        text::<Everything>(),
        "(bool,(i8,i16,i32,i64),(u8,u16,u32),(u64,f32,f64),(char,str,i128,u128))"
    );
    assert_eq!(text::<()>(), "()");
    assert_eq!(text::<Vec<Vec<u8>>>(), "seq<seq<u8>>");
    assert_eq!(text::<HashMap<String, BTreeMap<u8, Vec<char>>>>(), "map<str,map<u8,seq<char>>>");
    assert_eq!(text::<Option<Option<Option<u8>>>>(), "option<option<option<u8>>>");
    assert_eq!(text::<[u16; 3]>(), "(u16,u16,u16)");
    assert_eq!(text::<[[u16; 8]; 32]>(), "array<array<u16,8>,32>");
    assert_eq!(text::<Result<u8, String>>(), "Result[Ok(u8)|Err(str)]");
    assert_eq!(text::<serde_bytes::ByteBuf>(), "bytes");
}

#[test]
fn structs_of_all_kinds_are_spelled() {
    #[derive(Deserialize)]
    struct Unit;
    #[derive(Deserialize)]
    struct Empty {}
    #[derive(Deserialize)]
    struct Newtype(#[allow(dead_code)] u8);
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Pair(u8, String);
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct All {
        #[serde(rename = "the unit, \"quoted\"")]
        unit: Unit,
        empty: Empty,
        newtype: Newtype,
        #[serde(default)]
        pair: Option<Pair>,
        #[serde(skip)]
        skipped: u64,
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    }
    assert_eq!(
        text::<All>(),
        "All{\"the unit, \\\"quoted\\\"\":Unit,empty:Empty{},newtype:Newtype(u8),\
         pair:option<Pair(u8,str)>,data:bytes}"
    );
}

#[test]
fn default_on_a_field_changes_nothing() {
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Settings {
        #[serde(default)]
        size: u32,
        name: String,
    }
    assert_eq!(text::<Settings>(), "Settings{size:u32,name:str}");
}

#[test]
fn renames_of_serde_count() {
    #[derive(Deserialize)]
    #[serde(rename = "Order", rename_all = "kebab-case")]
    #[allow(dead_code)]
    struct Internal {
        order_id: u8,
    }
    assert_eq!(text::<Internal>(), "Order{order-id:u8}");
    assert_eq!(Schema::of::<Internal>().name(), "Order");
}

#[test]
fn aliases_are_part_of_the_shape() {
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Aliased {
        #[serde(alias = "a", alias = "z")]
        id: u8,
        name: String,
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Choice {
        #[serde(alias = "Uno")]
        One(u8),
        Two(u16),
    }
    assert_eq!(text::<Aliased>(), "Aliased{a|id|z|name:(u8,str)}");
    assert_eq!(text::<Choice>(), "Choice[One(u8)|=Uno(u8)|Two(u16)]");
}

#[test]
fn names_of_one_variant_are_told_from_those_of_others() {
    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum OnlyOne {
        #[serde(alias = "Eins", alias = "Uno")]
        One,
    }
    #[derive(Deserialize)]
    enum Middle {
        First,
        #[serde(alias = "Deux", alias = "Zwei")]
        Second,
        Third,
    }
    assert_eq!(text::<OnlyOne>(), "OnlyOne[Eins|=One|=Uno]");
    assert_eq!(text::<Middle>(), "Middle[First|Deux|=Second|=Zwei|Third]");
    assert_eq!(text::<Option<Middle>>(), "option<Middle[First|Deux|=Second|=Zwei|Third]>");
}

#[test]
fn what_is_encoded_otherwise_is_spelled_otherwise() {
    #[derive(Deserialize)]
    struct One(#[allow(dead_code)] u8);
    #[derive(Deserialize)]
    struct OneOfTwo(
        #[allow(dead_code)] u8,
        #[serde(skip)]
        #[allow(dead_code)]
        u8,
    );
    #[derive(Deserialize)]
    #[serde(rename = "u8")]
    struct NamedLikeAWord;
    #[derive(Deserialize)]
    enum Words {
        #[serde(rename = "u8")]
        Byte,
    }
    assert_eq!(text::<(One, OneOfTwo)>(), "(One(u8),OneOfTwo(u8,))");
    assert_eq!(text::<((), [u8; 0], (u8,))>(), "((),(,),(u8))");
    assert_eq!(text::<(u8, NamedLikeAWord, Words)>(), "(u8,\"u8\",Words[u8])");
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Wrapper<T> {
    inner: T,
    more: Vec<T>,
}

#[test]
fn generic_types_of_one_name_do_not_clash() {
    assert_eq!(
        text::<(Wrapper<u32>, Wrapper<u64>)>(),
        "(Wrapper{inner:u32,more:seq<u32>},Wrapper{inner:u64,more:seq<u64>})"
    );
    assert_eq!(
        text::<Wrapper<Option<Wrapper<u8>>>>(),
        "Wrapper{inner:option<Wrapper{inner:u8,more:seq<u8>}>,\
         more:seq<option<Wrapper{inner:u8,more:seq<u8>}>>}"
    );
    assert_eq!(Schema::of::<Wrapper<Vec<u8>>>().name(), "Wrapper<Vec<u8>>");
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Tree {
    left: Option<Box<Tree>>,
    children: Vec<Tree>,
    named: HashMap<String, Tree>,
    value: u32,
}

#[derive(Deserialize)]
#[allow(dead_code)]
enum Expression {
    Add(Box<Expression>, Box<Expression>),
    Negate { of: Box<Expression>, twice: bool },
    Call(Vec<Call>),
    Literal(f64),
    Nothing,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Call {
    first: Expression,
    name: String,
    rest: Option<Box<Call>>,
}

#[test]
fn recursive_types_end_in_a_reference() {
    assert_eq!(
        text::<Tree>(),
        "Tree{left:option<^Tree>,children:seq<^Tree>,named:map<str,^Tree>,value:u32}"
    );
    assert_eq!(
        text::<Expression>(),
        "Expression[Add(^Expression,^Expression)|Negate{of:^Expression,twice:bool}|\
         Call(seq<Call{first:^Expression,name:str,rest:option<^Call>}>)|Literal(f64)|Nothing]"
    );
    assert_eq!(
        text::<Call>(),
        "Call{first:Expression[Add(^Expression,^Expression)|Negate{of:^Expression,twice:bool}|\
         Call(seq<^^Call>)|Literal(f64)|Nothing],name:str,rest:option<^Call>}"
    );
}

#[test]
fn recursion_through_types_without_a_name_ends() {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Nested(#[allow(dead_code)] Vec<Nested>);
    #[derive(Deserialize)]
    struct List(#[allow(dead_code)] u8, #[allow(dead_code)] Option<Box<List>>);
    assert_eq!(text::<Nested>(), "seq<^seq>");
    assert_eq!(text::<List>(), "List(u8,option<^List>)");
}

#[test]
fn a_recursion_to_an_outer_type_of_the_same_name_counts_outwards() {
    assert_eq!(text::<Level>(), "Level{inner:Level{up:option<^^Level>,here:option<^Level>}}");
    assert_eq!(
        text::<levels::Level>(),
        "Level{up:option<Level{inner:^^Level}>,here:option<^Level>}"
    );
}

#[test]
fn endless_types_are_not_traced_for_ever() {
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Endless {
        itself: Box<Endless>,
    }
    assert_eq!(Schema::of::<Endless>().name(), "Endless");
}

#[test]
fn enums_add_up_and_do_not_multiply() {
    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Digit {
        A,
        B,
        C(u8),
        D,
        E,
        F(Option<Sign>),
        G,
        H,
        I,
        J,
    }
    #[derive(Deserialize)]
    enum Sign {
        Plus,
        Minus,
    }
    let digit = "Digit[A|B|C(u8)|D|E|F(option<Sign[Plus|Minus]>)|G|H|I|J]";
    assert_eq!(text::<[Digit; 20]>(), format!("array<{digit},20>"));
}

#[test]
fn types_that_check_their_values_are_traced() {
    #[derive(Deserialize)]
    #[serde(try_from = "u8")]
    struct Percent;
    impl TryFrom<u8> for Percent {
        type Error = &'static str;
        fn try_from(value: u8) -> Result<Percent, &'static str> {
            if (50..101).contains(&value) { Ok(Percent) } else { Err("not from 50 to 100") }
        }
    }
    #[derive(Deserialize)]
    #[serde(try_from = "String")]
    struct Address;
    impl TryFrom<String> for Address {
        type Error = std::net::AddrParseError;
        fn try_from(value: String) -> Result<Address, Self::Error> {
            value.parse::<SocketAddr>().map(|_| Address)
        }
    }
    assert_eq!(text::<(Percent, u16, Address, char)>(), "(nonzero<u8>,u16,str,char)");
}

#[test]
fn numbers_that_must_not_be_zero_have_a_shape_of_their_own() {
    assert_eq!(
        text::<(NonZeroU32, NonZeroI8, NonZeroU128)>(),
        "(nonzero<u32>,nonzero<i8>,nonzero<u128>)"
    );
    assert_eq!(text::<Vec<Option<NonZeroU8>>>(), "seq<option<nonzero<u8>>>");
    assert_ne!(text::<NonZeroU8>(), text::<u8>());
    let found = crate::schema::difference(&text::<(u8, NonZeroU8)>(), &text::<(u8, u8)>());
    assert_eq!(found, "1: nonzero<u8> here, u8 there");
}

#[test]
fn enums_that_take_unknown_variants_have_a_shape_of_their_own() {
    mod strict {
        #[derive(serde::Deserialize)]
        #[allow(dead_code)]
        pub(super) enum Side {
            Buy,
            Sell(u8),
            Unknown,
        }
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Side {
        Buy,
        Sell(u8),
        #[serde(other)]
        Unknown,
    }
    assert_eq!(text::<[Side; 2]>(), "(Side[Buy|Sell(u8)|Unknown|*],Side[Buy|Sell(u8)|Unknown|*])");
    let found = crate::schema::difference(&text::<strict::Side>(), &text::<Side>());
    assert_eq!(found, "Side: variant `*` missing here");
}

#[test]
fn a_type_that_refuses_all_samples_keeps_its_place_where_it_can() {
    #[derive(Deserialize)]
    #[serde(try_from = "String")]
    struct Secret;
    impl TryFrom<String> for Secret {
        type Error = &'static str;
        fn try_from(_: String) -> Result<Secret, &'static str> {
            Err("never")
        }
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Avoidable {
        maybe: Option<Secret>,
        many: Vec<Secret>,
        either: Either,
        last: Secret,
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Either {
        Secret(Secret),
        Open(u8),
    }
    assert_eq!(
        text::<Avoidable>(),
        "Avoidable{maybe:option<str>,many:seq<str>,either:Either[Secret(str)|Open(u8)],last:str}"
    );
    assert_eq!(fallback::<(Secret, u8)>(), "?\"(Secret, u8)\"");
}

#[test]
fn variants_that_are_always_refused_are_marked() {
    #[derive(Deserialize)]
    struct Local {
        #[allow(dead_code)]
        path: std::ffi::OsString,
    }
    assert_eq!(text::<Local>(), "Local{path:OsString[Unix(seq<u8>)|Windows(?)]}");
}

#[test]
fn types_of_the_standard_library_are_traced() {
    let (v4, v6) = ("array<u8,4>", "array<u8,16>");
    assert_eq!(text::<IpAddr>(), format!("IpAddr[V4({v4})|V6({v6})]"));
    assert_eq!(text::<SocketAddr>(), format!("SocketAddr[V4(({v4},u16))|V6(({v6},u16))]"));
    assert_eq!(text::<Duration>(), "Duration{secs:u64,nanos:u32}");
    assert_eq!(text::<SystemTime>(), "SystemTime{secs_since_epoch:u64,nanos_since_epoch:u32}");
    assert_eq!(text::<PathBuf>(), "str");
    assert_eq!(text::<std::ops::Bound<u8>>(), "Bound[Unbounded|Included(u8)|Excluded(u8)]");
    assert_eq!(text::<std::marker::PhantomData<u8>>(), "PhantomData");
    assert_eq!(text::<std::ffi::CString>(), "bytes");
}

#[test]
fn uninhabited_enums_are_traced() {
    #[derive(Deserialize)]
    enum Never {}
    assert_eq!(text::<Option<Never>>(), "option<Never[]>");
    assert_eq!(text::<Result<u8, Never>>(), "Result[Ok(u8)|Err(Never[])]");
}

#[test]
fn a_type_that_asks_for_nothing_is_traced() {
    struct Silent;
    impl<'de> Deserialize<'de> for Silent {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Silent, D::Error> {
            Ok(Silent)
        }
    }
    assert_eq!(text::<(Silent, u8)>(), "(_,u8)");
}

#[test]
fn a_sequence_of_fixed_length_is_traced() {
    struct Three;
    struct ThreeVisitor;
    impl<'de> Visitor<'de> for ThreeVisitor {
        type Value = Three;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("three numbers")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Three, A::Error> {
            for i in 0..3 {
                elements.next_element::<u16>()?.ok_or_else(|| Error::invalid_length(i, &self))?;
            }
            Ok(Three)
        }
    }
    impl<'de> Deserialize<'de> for Three {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Three, D::Error> {
            deserializer.deserialize_seq(ThreeVisitor)
        }
    }
    assert_eq!(text::<(Three, u8)>(), "(seq<u16>,u8)");
}

#[test]
fn types_that_ask_what_the_input_holds_fall_back_to_the_name() {
    #[derive(Deserialize)]
    #[serde(untagged)]
    #[allow(dead_code)]
    enum Untagged {
        Number(u8),
        Text(String),
    }
    #[derive(Deserialize)]
    #[serde(tag = "kind")]
    #[allow(dead_code)]
    enum Tagged {
        A { x: u8 },
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Flattened {
        id: u8,
        #[serde(flatten)]
        rest: HashMap<String, u8>,
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Holder {
        id: u64,
        deep: Vec<Option<Untagged>>,
    }
    assert_eq!(fallback::<Untagged>(), "?Untagged");
    assert_eq!(fallback::<Tagged>(), "?Tagged");
    assert_eq!(fallback::<Flattened>(), "?Flattened");
    assert_eq!(fallback::<Holder>(), "?Holder");
    assert_eq!(fallback::<Wrapper<Untagged>>(), "?\"Wrapper<Untagged>\"");
    assert_eq!(fallback::<Vec<serde::de::IgnoredAny>>(), "?\"Vec<IgnoredAny>\"");
    assert_ne!(Schema::of::<Untagged>().fingerprint(), Schema::of::<Tagged>().fingerprint());

    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Way {
        Here,
        There { name: String, by: (u8, HashMap<u8, Tagged>) },
    }
    let paths = [
        (Schema::of::<Untagged>(), "`Untagged` asks"),
        (Schema::of::<Flattened>(), "`Flattened` asks"),
        (Schema::of::<Holder>(), "`Holder.deep[]` asks"),
        (Schema::of::<Way>(), "`Way::There.by.1.value` asks"),
        (Schema::of::<Wrapper<Untagged>>(), "`Wrapper<Untagged>.inner` asks"),
        (Schema::of::<Vec<serde::de::IgnoredAny>>(), "`Vec<IgnoredAny>[]` asks"),
        (Schema::both("Rpc", [("a", &Schema::of::<u8>()), ("b", &Schema::of::<Way>())]), "`Way::"),
    ];
    for (schema, expected) in paths {
        let why = schema.undecodable().unwrap_or_default();
        assert!(why.starts_with(expected), "{expected}: {why}");
        assert_eq!(schema.self_describing().undecodable(), None);
    }
    assert_eq!(Schema::of::<Wrapper<u8>>().undecodable(), None);
}

#[test]
fn a_type_that_reads_by_what_it_read_before_falls_back() {
    #[derive(Serialize, Deserialize)]
    #[serde(tag = "t", content = "c")]
    enum Adjacent {
        A(u8),
        B(String),
    }
    assert_eq!(fallback::<Adjacent>(), "?Adjacent");
    // serde reads the tag as a name.
    let schema = Schema::of::<Adjacent>();
    assert!(schema.undecodable().unwrap_or_default().starts_with("`Adjacent` asks"), "{schema:?}");
}

#[test]
fn a_panic_in_deserialize_falls_back_to_the_name() {
    struct Bomb;
    impl<'de> Deserialize<'de> for Bomb {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Bomb, D::Error> {
            std::panic::resume_unwind(Box::new("a bomb"))
        }
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Carrier {
        bomb: Bomb,
    }
    assert_eq!(fallback::<Carrier>(), "?Carrier");
}

#[test]
fn hand_made_schemas_are_spelled() {
    let named = Schema::named("order", 3);
    assert_eq!((named.name(), named.text()), ("order", "order@3"));
    assert!(!named.is_traced());
    assert_ne!(named.fingerprint(), Schema::named("order", 4).fingerprint());
    assert_ne!(Schema::named("a@1", 2), Schema::named("a", 1));
    assert_eq!(Schema::named("two\nlines", 1).text(), "\"two\\u{a}lines\"@1");
    assert_eq!(Schema::bytes("Bytes").to_string(), "Bytes<bytes>");
    let layout = Schema::layout("market::v1::Tick<market::Price>", 24, 8);
    assert_eq!((layout.name(), layout.text()), ("Tick<Price>", "\"Tick<Price>\"(size=24,align=8)"));
}

#[test]
fn type_names_lose_their_paths() {
    assert_eq!(short_type_name("alloc::vec::Vec<(u8, a::b::C<d::E>)>"), "Vec<(u8, C<E>)>");
    assert_eq!(short_type_name("[&a::B; 4]"), "[&B; 4]");
    assert_eq!(short_type_name("a::f::{{closure}}::X"), "X");
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Level {
    inner: levels::Level,
}

mod levels {
    #[derive(serde::Deserialize)]
    #[allow(dead_code)]
    pub(super) struct Level {
        up: Option<Box<super::Level>>,
        here: Option<Box<Level>>,
    }
}
