//! What every serde codec promises, checked on each of them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use proptest::prelude::*;
use serde::de::{DeserializeOwned, Deserializer, SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeMap, SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};

#[cfg(feature = "bincode")]
use super::Bincode;
#[cfg(feature = "json")]
use super::Json;
#[cfg(feature = "postcard")]
use super::Postcard;
use super::guard::{EMPTY_ELEMENTS, LEVELS};
use super::{Bytes, Codec, DecodeError, EncodeError, Reader, WriteError, Writer};

/// A codec of all serde types, and its library on its own.
trait SerdeCodec {
    fn encode_into<T: Serialize + DeserializeOwned>(
        value: &T,
        out: &mut Writer<'_>,
    ) -> Result<(), EncodeError>;
    fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError>;
    fn library_encodes<T: Serialize>(value: &T) -> Vec<u8>;

    fn encode<T: Serialize + DeserializeOwned>(value: &T) -> Vec<u8> {
        let mut memory = vec![0; 1 << 16];
        let mut writer = Writer::new(&mut memory);
        Self::encode_into(value, &mut writer).unwrap();
        assert!(writer.fits());
        let length = writer.len();
        memory.truncate(length);
        memory
    }

    /// Why a value is not encoded, though there would be room.
    fn unwillingness<T: Serialize + DeserializeOwned>(value: &T) -> String {
        let mut memory = vec![0; 1 << 16];
        match Self::encode_into(value, &mut Writer::new(&mut memory)) {
            Ok(()) => panic!("a {} was encoded", std::any::type_name::<T>()),
            Err(error) => error.to_string(),
        }
    }

    fn refusal<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> String {
        match Self::decode::<T>(bytes) {
            Ok(_) => panic!("{bytes:?} were taken for a {}", std::any::type_name::<T>()),
            Err(error) => error.to_string(),
        }
    }
}

#[cfg(feature = "bincode")]
impl SerdeCodec for Bincode {
    fn encode_into<T: Serialize + DeserializeOwned>(
        value: &T,
        out: &mut Writer<'_>,
    ) -> Result<(), EncodeError> {
        <Bincode as Codec<T>>::encode(value, out)
    }

    fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
        <Bincode as Codec<T>>::decode(Reader::new(bytes))
    }

    fn library_encodes<T: Serialize>(value: &T) -> Vec<u8> {
        let configuration =
            bincode::config::standard().with_fixed_int_encoding().with_little_endian();
        bincode::serde::encode_to_vec(value, configuration).unwrap()
    }
}

#[cfg(feature = "postcard")]
impl SerdeCodec for Postcard {
    fn encode_into<T: Serialize + DeserializeOwned>(
        value: &T,
        out: &mut Writer<'_>,
    ) -> Result<(), EncodeError> {
        <Postcard as Codec<T>>::encode(value, out)
    }

    fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
        <Postcard as Codec<T>>::decode(Reader::new(bytes))
    }

    fn library_encodes<T: Serialize>(value: &T) -> Vec<u8> {
        postcard::to_allocvec(value).unwrap()
    }
}

#[cfg(feature = "json")]
impl SerdeCodec for Json {
    fn encode_into<T: Serialize + DeserializeOwned>(
        value: &T,
        out: &mut Writer<'_>,
    ) -> Result<(), EncodeError> {
        <Json as Codec<T>>::encode(value, out)
    }

    fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
        <Json as Codec<T>>::decode(Reader::new(bytes))
    }

    fn library_encodes<T: Serialize>(value: &T) -> Vec<u8> {
        serde_json::to_vec(value).unwrap()
    }
}

macro_rules! for_json_too {
    ($($test:ident)*) => {
        mod every_codec {
            for_each_codec! { $($test)* }
            #[cfg(feature = "json")]
            mod json_codec {
                $(#[test] fn $test() { super::super::$test::<super::super::Json>() })*
            }
        }
    };
}

macro_rules! for_each_codec {
    ($($test:ident)*) => {
        #[cfg(feature = "bincode")]
        mod bincode_codec {
            $(#[test] fn $test() { super::super::$test::<super::super::Bincode>() })*
        }
        #[cfg(feature = "postcard")]
        mod postcard_codec {
            $(#[test] fn $test() { super::super::$test::<super::super::Postcard>() })*
        }
    };
}

for_json_too! {
    values_come_back_and_the_encoding_is_the_librarys
    what_is_not_exactly_one_value_is_refused
    hostile_bytes_are_decoded_or_refused
    another_number_of_elements_than_announced_is_an_error
    an_error_that_a_serialize_ignores_is_an_error_all_the_same
    a_serialize_that_fails_is_an_error
    a_writer_that_is_full_counts_and_one_that_refuses_says_why
    a_name_fits_the_channel_header
}

/// The promises of those that write no names and no types.
mod binary {
    for_each_codec! {
        a_hostile_length_is_refused_at_once
        a_size_hint_never_exceeds_the_bytes_left
        elements_without_bytes_are_bounded
        nesting_is_bounded
        an_error_that_a_type_ignores_does_not_lift_the_bounds
        malformed_scalars_are_refused
        types_that_need_a_self_describing_format_are_refused
        a_skipped_field_is_an_error_that_names_field_and_type
        what_the_receiver_refuses_for_its_depth_the_sender_refuses
        what_the_receiver_refuses_for_its_emptiness_the_sender_refuses
        bulk_bytes_are_encoded_as_serde_bytes_does
        a_sequence_of_unknown_length_is_an_error
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Meters(f64);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Marker;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Node {
    Leaf,
    Number(i64),
    Pair(String, Option<u16>),
    Branch { left: Option<Box<Node>>, children: Vec<Node>, names: BTreeMap<String, Node> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Record {
    small: (bool, u8, i8, u16, i16),
    wide: (u32, i32, u64, i64),
    widest: (u128, i128),
    floats: (f32, Meters),
    character: char,
    text: String,
    bulk: Bytes,
    array: [u16; 3],
    nothing: ((), Marker),
    node: Node,
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        Just(Node::Leaf),
        any::<i64>().prop_map(Node::Number),
        any::<(String, Option<u16>)>().prop_map(|(text, number)| Node::Pair(text, number)),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        (
            proptest::option::of(inner.clone().prop_map(Box::new)),
            proptest::collection::vec(inner.clone(), 0..3),
            proptest::collection::btree_map(any::<String>(), inner, 0..3),
        )
            .prop_map(|(left, children, names)| Node::Branch { left, children, names })
    })
}

fn record() -> impl Strategy<Value = Record> {
    let numbers = (any::<(bool, u8, i8, u16, i16)>(), any::<(u32, i32, u64, i64)>());
    let others = (any::<(u128, i128)>(), any::<(f32, f64)>(), any::<[u16; 3]>());
    (numbers, others, any::<(char, String, Vec<u8>)>(), node()).prop_map(
        |((small, wide), (widest, (float, meters), array), (character, text, bulk), node)| Record {
            small,
            wide,
            widest,
            floats: (float, Meters(meters)),
            character,
            text,
            bulk: bulk.into(),
            array,
            nothing: ((), Marker),
            node,
        },
    )
}

fn values_come_back_and_the_encoding_is_the_librarys<C: SerdeCodec>() {
    proptest!(|(record in record())| {
        let bytes = C::encode(&record);
        prop_assert_eq!(&bytes, &C::library_encodes(&record));
        prop_assert_eq!(C::decode::<Record>(&bytes), Ok(record));
    });
}

fn what_is_not_exactly_one_value_is_refused<C: SerdeCodec>() {
    proptest!(ProptestConfig::with_cases(32), |(record in record())| {
        let mut bytes = C::encode(&record);
        for length in 0..bytes.len() {
            prop_assert!(C::decode::<Record>(&bytes[..length]).is_err());
        }
        bytes.push(0);
        let refusal = C::refusal::<Record>(&bytes);
        let said = refusal.starts_with("1 byte follows the value");
        prop_assert!(said || refusal.contains("trailing characters"), "{}", refusal);
    });
}

fn hostile_bytes_are_decoded_or_refused<C: SerdeCodec>() {
    proptest!(|(record in record(), flips in proptest::collection::vec(any::<u16>(), 1..8))| {
        let mut bytes = C::encode(&record);
        for flip in flips {
            let bit = usize::from(flip) % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        let _ = C::decode::<Record>(&bytes);
    });
    proptest!(|(bytes in proptest::collection::vec(any::<u8>(), 0..256))| {
        let _ = C::decode::<Record>(&bytes);
        let _ = C::decode::<Node>(&bytes);
        let _ = C::decode::<Vec<HashMap<u8, Option<String>>>>(&bytes);
    });
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u8>,
    level: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    boost: Option<u8>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Change {
    Nothing,
    Set {
        level: u8,
        #[serde(skip_serializing_if = "String::is_empty")]
        note: String,
    },
}

fn a_skipped_field_is_an_error_that_names_field_and_type<C: SerdeCodec>() {
    let whole = Limits { limit: Some(1), level: 2, boost: Some(3) };
    assert_eq!(C::decode(&C::encode(&whole)), Ok(whole));
    let message = C::unwillingness(&Limits { limit: None, level: 0, boost: Some(0) });
    assert!(message.starts_with("Limits.limit: this field of `Limits` is skipped"), "{message}");
    let nested = (7_u8, vec![Change::Nothing, Change::Set { level: 1, note: String::new() }]);
    let message = C::unwillingness(&nested);
    assert!(message.starts_with("(u8, Vec<Change>).1[]::Set.note: this field of"), "{message}");
    assert!(message.contains("`Change::Set` is skipped"), "{message}");
}

/// Announces other numbers of elements than it writes.
#[derive(Debug, Clone, Copy)]
enum Liar {
    Seq(usize, usize),
    Tuple(usize, usize),
    TupleStruct(usize, usize),
    TupleVariant(usize, usize),
    Map(usize, usize),
    /// Keys and values, in the order of the letters.
    Pairs(&'static str),
    Struct(usize, usize),
    StructVariant(usize, usize),
}

impl Serialize for Liar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{
            SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
            SerializeTupleVariant,
        };
        macro_rules! written {
            ($start:expr, $count:expr, $write:ident, $($element:expr),*) => {{
                let mut compound = $start?;
                for _ in 0..$count {
                    compound.$write($($element),*)?;
                }
                compound.end()
            }};
        }
        match *self {
            Liar::Seq(announced, count) => {
                written!(serializer.serialize_seq(Some(announced)), count, serialize_element, &1_u8)
            }
            Liar::Tuple(announced, count) => {
                written!(serializer.serialize_tuple(announced), count, serialize_element, &1_u8)
            }
            Liar::TupleStruct(announced, count) => {
                let start = serializer.serialize_tuple_struct("Pair", announced);
                written!(start, count, serialize_field, &1_u8)
            }
            Liar::TupleVariant(announced, count) => {
                let start = serializer.serialize_tuple_variant("Shape", 0, "Box", announced);
                written!(start, count, serialize_field, &1_u8)
            }
            Liar::Map(announced, count) => {
                written!(serializer.serialize_map(Some(announced)), count, serialize_entry, "k", &1)
            }
            Liar::Pairs(order) => {
                let mut map = serializer.serialize_map(Some(order.len() / 2))?;
                for letter in order.chars() {
                    match letter {
                        'k' => map.serialize_key("k")?,
                        _ => map.serialize_value("v")?,
                    }
                }
                map.end()
            }
            Liar::Struct(announced, count) => {
                let start = serializer.serialize_struct("Order", announced);
                written!(start, count, serialize_field, "id", &1_u8)
            }
            Liar::StructVariant(announced, count) => {
                let start = serializer.serialize_struct_variant("Shape", 0, "Box", announced);
                written!(start, count, serialize_field, "id", &1_u8)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Liar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            serde::de::IgnoredAny::deserialize(deserializer)?;
        }
        Ok(Liar::Seq(0, 0))
    }
}

fn another_number_of_elements_than_announced_is_an_error<C: SerdeCodec>() {
    let kinds = [
        (Liar::Seq as fn(usize, usize) -> Liar, "a sequence"),
        (Liar::Tuple, "a tuple"),
        (Liar::TupleStruct, "`Pair`"),
        (Liar::TupleVariant, "`Shape::Box`"),
        (Liar::Map, "a map"),
        (Liar::Struct, "`Order`"),
        (Liar::StructVariant, "`Shape::Box`"),
    ];
    for (kind, what) in kinds {
        for (announced, written) in [(2, 1), (2, 3), (1, 0), (0, 1)] {
            let message = C::unwillingness(&vec![kind(announced, written)]);
            let told = message.starts_with("Vec<Liar>[]: ")
                && message.contains(what)
                && message.contains(&format!("announced {announced}"))
                && message.contains(&format!("wrote {written}"));
            assert!(told, "{message}");
        }
        let mut memory = [0; 64];
        let mut writer = Writer::new(&mut memory);
        assert_eq!(C::encode_into(&kind(2, 2), &mut writer), Ok(()));
    }
    for order in ["kkvv", "vk", "kv-k", "vv"] {
        let message = C::unwillingness(&Liar::Pairs(order));
        assert!(message.contains("a map") && message.contains("Liar"), "{order}: {message}");
    }
    let message = C::unwillingness(&Liar::Struct(2, 1));
    assert!(message.contains("last `id`"), "{message}");
}

fn what_the_receiver_refuses_for_its_depth_the_sender_refuses<C: SerdeCodec>() {
    fn bounded<C: SerdeCodec, T>(value: impl Fn(u32) -> T, deepest: u32)
    where
        T: Serialize + DeserializeOwned + PartialEq + fmt::Debug,
    {
        assert_eq!(C::decode(&C::encode(&value(deepest))), Ok(value(deepest)));
        let message = C::unwillingness(&value(deepest + 1));
        assert!(message.contains("nest more than 128 deep"), "{message}");
        assert!(message.len() < 500, "{message}");
        // Far beyond, the stack stays bounded too.
        C::unwillingness(&value(4000));
    }
    let next = |l| List { next: Some(Box::new(l)) };
    bounded::<C, _>(|levels| (0..levels).fold(List::default(), |l, _| next(l)), LEVELS);
    bounded::<C, _>(|levels| (0..levels).fold(Tree::default(), |t, _| Tree(vec![t])), LEVELS - 1);
    let entry = |d| Directory(BTreeMap::from([(1, d)]));
    bounded::<C, _>(|levels| (0..levels).fold(Directory::default(), |d, _| entry(d)), LEVELS - 1);
    let again = |w| Wrapped::Again(Box::new(w));
    bounded::<C, _>(|levels| (0..levels).fold(Wrapped::End, |w, _| again(w)), LEVELS - 1);
    // Two that stand side by side are no deeper than one.
    let twins = (Some(Some(1)), vec![Some(1); 1000]);
    assert_eq!(C::decode(&C::encode(&twins)), Ok(twins));
}

fn what_the_receiver_refuses_for_its_emptiness_the_sender_refuses<C: SerdeCodec>() {
    let most = vec![(); EMPTY_ELEMENTS];
    assert_eq!(C::decode(&C::encode(&most)), Ok(most));
    let message = C::unwillingness(&vec![Marker; EMPTY_ELEMENTS + 1]);
    assert!(message.contains("more than 65536 elements of the value take no bytes"), "{message}");
    let halves = |count| vec![vec![(); EMPTY_ELEMENTS / 2]; count];
    assert_eq!(C::decode(&C::encode(&halves(2))), Ok(halves(2)));
    C::unwillingness(&halves(3));
    // Elements that take bytes are as many as there is room for.
    let many = vec![1_u8; EMPTY_ELEMENTS / 2];
    assert_eq!(C::decode(&C::encode(&many)), Ok(many));
}

/// Goes on after a field that could not be written.
#[derive(Debug, Deserialize)]
struct Careless(#[allow(dead_code)] u8, #[allow(dead_code)] u8);

impl Serialize for Careless {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTupleStruct;
        let mut fields = serializer.serialize_tuple_struct("Careless", 2)?;
        let _ = fields.serialize_field(&Liar::Seq(2, 1));
        fields.serialize_field(&1_u8)?;
        fields.end()
    }
}

fn an_error_that_a_serialize_ignores_is_an_error_all_the_same<C: SerdeCodec>() {
    let message = C::unwillingness(&Careless(1, 1));
    assert!(message.contains("Careless") && message.contains("announced 2"), "{message}");
}

fn a_hostile_length_is_refused_at_once<C: SerdeCodec>() {
    for length in [17, 1 << 32, 1 << 60, u64::MAX] {
        let mut bytes = C::encode(&length);
        bytes.resize(16, 0);
        let message = C::refusal::<String>(&bytes);
        assert!(message.contains("ends too early"), "{message}");
        C::refusal::<Bytes>(&bytes);
        C::refusal::<serde_bytes::ByteBuf>(&bytes);
        C::refusal::<Vec<u8>>(&bytes);
        C::refusal::<Vec<u64>>(&bytes);
        C::refusal::<Box<[Record]>>(&bytes);
        C::refusal::<BTreeMap<u64, u64>>(&bytes);
        C::refusal::<HashMap<String, Vec<u8>>>(&bytes);
    }
    let message = C::refusal::<Vec<u64>>(&C::encode(&(1_u64 << 60)));
    assert_eq!(
        message,
        format!("a sequence claims {} elements, but 0 bytes are left", 1_u64 << 60)
    );
}

/// A collection that trusts its size hint, as one that reserves would.
#[derive(Debug, PartialEq)]
struct SizeHint(Option<usize>);

impl Serialize for SizeHint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq([0_u8; 0])
    }
}

impl<'de> Deserialize<'de> for SizeHint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HintVisitor;

        impl<'de> Visitor<'de> for HintVisitor {
            type Value = SizeHint;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<SizeHint, A::Error> {
                let hint = elements.size_hint();
                while elements.next_element::<()>()?.is_some() {}
                Ok(SizeHint(hint))
            }
        }

        deserializer.deserialize_seq(HintVisitor)
    }
}

fn a_size_hint_never_exceeds_the_bytes_left<C: SerdeCodec>() {
    assert_eq!(C::decode(&C::encode(&60_000_u64)), Ok(SizeHint(Some(0))));
    let mut bytes = C::encode(&60_000_u64);
    bytes.extend([7; 4]);
    let with_rest = C::decode::<(SizeHint, [u8; 4])>(&bytes);
    assert_eq!(with_rest, Ok((SizeHint(Some(4)), [7; 4])));
}

fn elements_without_bytes_are_bounded<C: SerdeCodec>() {
    let most = EMPTY_ELEMENTS as u64;
    assert_eq!(C::decode::<Vec<()>>(&C::encode(&most)).map(|units| units.len()), Ok(65_536));
    C::refusal::<Vec<()>>(&C::encode(&(most + 1)));
    C::refusal::<Vec<()>>(&C::encode(&u64::MAX));
    C::refusal::<HashMap<(), ()>>(&C::encode(&u64::MAX));

    // Bytes that follow make the first check pass, not the count.
    let mut bytes = C::encode(&(most + 1));
    bytes.resize(1000, 0);
    let message = C::refusal::<(Vec<Marker>, [u8; 3])>(&bytes);
    assert_eq!(message, "more than 65536 elements of the value take no bytes");

    // Many sequences share the one budget.
    let halves = |count: usize| C::encode(&vec![most / 2; count]);
    assert_eq!(C::decode::<Vec<Vec<()>>>(&halves(2)).map(|halves| halves.len()), Ok(2));
    C::refusal::<Vec<Vec<()>>>(&halves(3));
    C::refusal::<Vec<Vec<()>>>(&halves(8000));
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct List {
    next: Option<Box<List>>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Tree(Vec<Tree>);

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Directory(BTreeMap<u8, Directory>);

fn nesting_is_bounded<C: SerdeCodec>() {
    let list = |levels| (0..levels).fold(List::default(), |l, _| List { next: Some(Box::new(l)) });
    let deepest = list(LEVELS);
    assert_eq!(C::decode(&C::encode(&deepest)), Ok(deepest));
    let message = C::refusal::<List>(&C::library_encodes(&list(LEVELS + 1)));
    assert!(message.contains("nest more than 128 deep"), "{message}");

    let bomb = |level: &[u8]| level.repeat(1 << 20);
    C::refusal::<List>(&bomb(&[1]));
    C::refusal::<Option<Tree>>(&bomb(&C::encode(&1_u64)));
    C::refusal::<Directory>(&bomb(&C::encode(&(1_u64, 0_u8))));
    C::refusal::<Node>(&bomb(&C::encode(&(3_u32, 1_u8))));
    C::refusal::<Wrapped>(&bomb(&C::encode(&0_u32)));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Wrapped {
    Again(Box<Wrapped>),
    End,
}

/// A list of unit lists, each of which may be unreadable.
#[derive(Debug, Serialize)]
struct Lenient(Vec<()>);

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Lenient(Vec::deserialize(deserializer).unwrap_or_default()))
    }
}

fn an_error_that_a_type_ignores_does_not_lift_the_bounds<C: SerdeCodec>() {
    let greedy = C::encode(&vec![EMPTY_ELEMENTS as u64 + 1; 2000]);
    let lists = C::decode::<Vec<Lenient>>(&greedy).unwrap_or_default();
    assert!(lists.iter().all(|list| list.0.is_empty()));
}

fn malformed_scalars_are_refused<C: SerdeCodec>() {
    C::refusal::<bool>(&[2]);
    C::refusal::<char>(&[0xff; 4]);
    assert_eq!(C::refusal::<Option<()>>(&[2]), "an option begins with 0 or 1, not 2");
    let message = C::refusal::<String>(&C::encode(&Bytes::from(vec![b'a', 0xff])));
    assert!(message.starts_with("a string is not UTF-8"), "{message}");
    let message = C::refusal::<Node>(&C::encode(&4_u32));
    assert!(message.contains("variant index 0 <= i < 4"), "{message}");
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u64),
}

fn types_that_need_a_self_describing_format_are_refused<C: SerdeCodec>() {
    let message = C::refusal::<Untagged>(&C::encode(&7_u64));
    assert!(message.contains("does not describe itself"), "{message}");
    let message = C::refusal::<IgnoredAny>(&C::encode(&7_u64));
    assert!(message.contains("does not describe itself"), "{message}");
}

#[derive(Debug, Serialize)]
struct IgnoredAny;

impl<'de> Deserialize<'de> for IgnoredAny {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| IgnoredAny)
    }
}

fn bulk_bytes_are_encoded_as_serde_bytes_does<C: SerdeCodec>() {
    let plain: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let bytes = C::encode(&Bytes::from(plain.clone()));
    assert_eq!(bytes, C::encode(&serde_bytes::ByteBuf::from(plain.clone())));
    assert_eq!(bytes, C::encode(&plain));
    assert_eq!(C::decode::<Bytes>(&bytes), Ok(Bytes::from(plain)));
}

#[derive(Debug, Deserialize)]
struct Unwilling;

impl Serialize for Unwilling {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("not today"))
    }
}

fn a_serialize_that_fails_is_an_error<C: SerdeCodec>() {
    let mut memory = [0; 16];
    let error = C::encode_into(&(1_u8, Unwilling), &mut Writer::new(&mut memory)).unwrap_err();
    let message = error.to_string();
    assert!(message == "not today" || message.contains("Serialize failed"), "{message}");
    assert_eq!(error.write_error(), None);
}

#[derive(Debug, Deserialize)]
enum Endless {
    Sequence,
    Map,
}

impl Serialize for Endless {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Endless::Sequence => serializer.serialize_seq(None)?.end(),
            Endless::Map => serializer.serialize_map(None)?.end(),
        }
    }
}

fn a_sequence_of_unknown_length_is_an_error<C: SerdeCodec>() {
    for endless in [Endless::Sequence, Endless::Map] {
        let mut memory = [0; 16];
        let error = C::encode_into(&endless, &mut Writer::new(&mut memory)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Endless: a sequence must say its length: collect it into a Vec first"
        );
    }
}

fn a_writer_that_is_full_counts_and_one_that_refuses_says_why<C: SerdeCodec>() {
    let value = (1_u64, "a string".to_string());
    let mut memory = [0; 6];
    let mut writer = Writer::new(&mut memory);
    assert_eq!(C::encode_into(&value, &mut writer), Ok(()));
    assert_eq!((writer.len(), writer.fits()), (C::encode(&value).len(), false));

    let mut writer = Writer::new(&mut memory);
    writer.limit(5);
    let error = C::encode_into(&value, &mut writer).unwrap_err();
    assert_eq!(error.write_error(), Some(WriteError::TooLong { limit: 5 }));
    assert_eq!(error.to_string(), "the encoded value is longer than 5 bytes");
}

fn a_name_fits_the_channel_header<C: Codec<u8>>() {
    assert!((1..=63).contains(&C::NAME.len()));
}

#[cfg(feature = "bincode")]
mod borrowed {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct View<'a> {
        id: u64,
        name: &'a str,
        #[serde(borrow)]
        parts: Vec<&'a [u8]>,
    }

    #[derive(Serialize, Deserialize)]
    struct Owner(u64, String, Vec<Bytes>);

    fn encoded() -> Vec<u8> {
        let parts = vec![vec![1].into(), vec![].into(), vec![2, 3].into()];
        <Bincode as SerdeCodec>::encode(&Owner(7, "ABC".into(), parts))
    }

    #[test]
    fn strings_and_bytes_are_read_in_place() {
        let bytes = encoded();
        let view: View<'_> = Bincode::decode_borrowed(&bytes).unwrap();
        let expected = View { id: 7, name: "ABC", parts: vec![&[1][..], &[], &[2, 3]] };
        assert_eq!(view, expected);
        assert!(bytes.as_ptr_range().contains(&view.name.as_ptr()));
        assert!(bytes.as_ptr_range().contains(&view.parts[2].as_ptr()));
    }

    #[test]
    fn what_is_not_exactly_one_value_is_refused() {
        let mut bytes = encoded();
        for length in 0..bytes.len() {
            assert!(Bincode::decode_borrowed::<View<'_>>(&bytes[..length]).is_err());
        }
        bytes.push(0);
        assert!(Bincode::decode_borrowed::<View<'_>>(&bytes).is_err());
    }

    #[test]
    fn hostile_bytes_are_refused() {
        assert!(Bincode::decode_borrowed::<&str>(&[0xff; 16]).is_err());
        assert!(Bincode::decode_borrowed::<&str>(b"\x01\0\0\0\0\0\0\0\xff").is_err());
        assert!(Bincode::decode_borrowed::<Vec<&str>>(&[0xff; 16]).is_err());
        assert!(Bincode::decode_borrowed::<Vec<()>>(&[0xff; 8]).is_err());
        assert!(Bincode::decode_borrowed::<List>(&[1; 1 << 20]).is_err());
    }
}

#[cfg(feature = "json")]
mod json {
    use serde_json::Value;

    use super::super::json::LEVELS;
    use super::*;

    fn encode<T: Serialize + DeserializeOwned>(value: &T) -> Vec<u8> {
        <Json as SerdeCodec>::encode(value)
    }

    fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
        <Json as SerdeCodec>::decode(bytes)
    }

    fn unwillingness<T: Serialize + DeserializeOwned>(value: &T) -> String {
        Json::unwillingness(value)
    }

    fn comes_back<T: Serialize + DeserializeOwned + PartialEq + fmt::Debug>(value: T) {
        let bytes = encode(&value);
        assert_eq!(decode(&bytes), Ok(value), "{}", String::from_utf8_lossy(&bytes));
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Nothing,
        Number(i64),
        Text(String),
        Many(Vec<Untagged>),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Point { x: f32 },
        Other(Limits),
        Nothing,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Flat<K: std::hash::Hash + Eq> {
        id: u128,
        #[serde(flatten)]
        limits: Limits,
        #[serde(flatten)]
        #[serde(bound(deserialize = "K: DeserializeOwned"))]
        more: HashMap<K, Tagged>,
    }

    fn limits() -> Limits {
        Limits { limit: None, level: 1, boost: Some(0) }
    }

    #[test]
    fn types_that_ask_what_the_input_holds_come_back() {
        comes_back(limits());
        comes_back(vec![Untagged::Number(-1), Untagged::Text("é\"\u{1}".into())]);
        comes_back(Untagged::Many(vec![Untagged::Nothing, Untagged::Many(vec![])]));
        comes_back(vec![Tagged::Point { x: 0.1 }, Tagged::Nothing, Tagged::Other(limits())]);
        let more = HashMap::from([("a".to_owned(), Tagged::Nothing)]);
        comes_back(Flat { id: u128::MAX, limits: limits(), more });
        comes_back(serde_json::json!({"a": [1, -1, 1.5, null, true, {"b": "c"}], "": {}}));
        for schema in [
            <Json as Codec<Untagged>>::schema(),
            <Json as Codec<Tagged>>::schema(),
            <Json as Codec<Flat<String>>>::schema(),
            <Json as Codec<Value>>::schema(),
        ] {
            assert_eq!(schema.undecodable(), None);
        }
    }

    #[test]
    fn numbers_and_keys_of_all_kinds_come_back() {
        comes_back((u128::MAX, i128::MIN, u64::MAX, i64::MIN, '\u{10ffff}', "\u{7f}".to_owned()));
        comes_back(BTreeMap::from([(-1_i128, 'a'), (i128::MAX, '"')]));
        comes_back(BTreeMap::from([(true, ()), (false, ())]));
        comes_back(BTreeMap::from([('"', Some(1)), ('b', None)]));
        comes_back(BTreeMap::from([(Side::Buy, 1), (Side::Sell, 2)]));
        comes_back((f64::MIN_POSITIVE, f64::MAX, 5e-324, f32::MIN_POSITIVE, f32::MAX));
        assert!(decode::<f64>(&encode(&-0.0)).unwrap().is_sign_negative());
        proptest!(|(wide in any::<f64>(), narrow in any::<f32>())| {
            if wide.is_finite() && narrow.is_finite() {
                let (a, b) = decode::<(f64, f32)>(&encode(&(wide, narrow))).unwrap();
                prop_assert_eq!((a.to_bits(), b.to_bits()), (wide.to_bits(), narrow.to_bits()));
            }
        });
    }

    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    enum Side {
        Buy,
        Sell,
    }

    #[test]
    fn floats_without_a_number_are_refused_and_not_null() {
        for float in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let message = unwillingness(&(1_u8, vec![Meters(float)]));
            assert!(message.starts_with("(u8, Vec<Meters>).1[]: JSON has no number"), "{message}");
            unwillingness(&(float as f32));
            unwillingness(&Some(float));
            unwillingness(&BTreeMap::from([(1, Some(float))]));
        }
        unwillingness(&Tagged::Point { x: f32::NAN });
    }

    #[test]
    fn a_some_that_would_come_back_as_none_is_refused() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Newtype(Option<u8>);
        comes_back(vec![Some(Some(1)), None]);
        comes_back(vec![Some(Newtype(Some(1))), None]);
        for message in [
            unwillingness(&Some(None::<u8>)),
            unwillingness(&(0, Some(Some(None::<u8>)))),
            unwillingness(&vec![Some(())]),
            unwillingness(&Some(Marker)),
            unwillingness(&Some(Newtype(None))),
            unwillingness(&Some(Value::Null)),
            unwillingness(&Some(Untagged::Nothing)),
        ] {
            assert!(message.contains("would come back as None"), "{message}");
        }
    }

    #[test]
    fn what_cannot_be_decoded_again_is_refused_when_it_is_encoded() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct NoDefault {
            #[serde(skip_serializing_if = "Vec::is_empty")]
            list: Vec<u8>,
        }
        comes_back(NoDefault { list: vec![1] });
        let message = unwillingness(&NoDefault { list: vec![] });
        assert!(message.starts_with("NoDefault: no receiver could decode"), "{message}");
        assert!(message.contains("missing field `list`"), "{message}");
        // serde reads the keys of a flattened map as text alone.
        let more = HashMap::from([(7_u32, Tagged::Nothing)]);
        unwillingness(&Flat { id: 0, limits: limits(), more });
        // A field twice.
        let more = HashMap::from([("id".to_owned(), Tagged::Nothing)]);
        unwillingness(&Flat { id: 0, limits: limits(), more });
        unwillingness(&BTreeMap::from([((1, 2), 3)]));
        unwillingness(&BTreeMap::from([(Some(1), 3), (None, 4)]));
        // What serde buffers to look at it has no 128 bits.
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        #[serde(untagged)]
        enum Wide {
            Number(u128),
        }
        unwillingness(&Wide::Number(1));
        unwillingness(&Wide::Number(u128::MAX));
        let never = <Json as Codec<Unwritten>>::schema();
        assert!(
            never.undecodable().unwrap_or_default().contains("missing field `id`"),
            "{never:?}"
        );
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Unwritten {
        #[serde(skip_serializing)]
        #[allow(dead_code)]
        id: u8,
    }

    #[test]
    fn nesting_is_bounded_on_both_sides() {
        fn bounded<T>(value: impl Fn(u32) -> T, deepest: u32)
        where
            T: Serialize + DeserializeOwned + PartialEq + fmt::Debug,
        {
            comes_back(value(deepest));
            let message = unwillingness(&value(deepest + 1));
            assert!(message.contains("nest more than 127 deep"), "{message}");
            unwillingness(&value(4000));
        }
        let next = |l| List { next: Some(Box::new(l)) };
        bounded(|levels| (0..levels).fold(List::default(), |l, _| next(l)), LEVELS - 1);
        bounded(|levels| (0..levels).fold(Tree::default(), |t, _| Tree(vec![t])), LEVELS - 1);
        let again = |w| Wrapped::Again(Box::new(w));
        bounded(|levels| (0..levels).fold(Wrapped::End, |w, _| again(w)), LEVELS);
        bounded(|levels| (0..levels).fold(Value::Null, |v, _| Value::from(vec![v])), LEVELS);
        let many = |u| Untagged::Many(vec![u]);
        bounded(|levels| (0..levels).fold(Untagged::Nothing, |u, _| many(u)), LEVELS);
        comes_back(vec![vec![Some(vec![1])]; 1000]);
        for bomb in ["[", "{\"Again\":", "{\"next\":", "[{\"a\":"] {
            let bomb = bomb.repeat(1 << 20);
            assert!(decode::<Value>(bomb.as_bytes()).is_err());
            assert!(decode::<Tree>(bomb.as_bytes()).is_err());
            assert!(decode::<List>(bomb.as_bytes()).is_err());
            assert!(decode::<Wrapped>(bomb.as_bytes()).is_err());
            assert!(decode::<Untagged>(bomb.as_bytes()).is_err());
        }
    }
}
