//! What every serde codec promises, checked on each of them.

#[cfg(feature = "bincode")]
mod borrowed;
#[cfg(feature = "json")]
mod json;
mod receiver;
mod sender;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[cfg(feature = "bincode")]
use super::Bincode;
#[cfg(feature = "json")]
use super::Json;
#[cfg(feature = "postcard")]
use super::Postcard;
use super::guard::{EMPTY_ELEMENTS, LEVELS};
use super::{Bytes, Codec, DecodeError, EncodeError, Reader, Writer};
use receiver::*;
use sender::*;

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
        elements_that_a_type_leaves_unread_are_refused
        an_error_names_the_type_and_what_was_expected
        nesting_is_bounded
        an_error_that_a_type_ignores_does_not_lift_the_bounds
        malformed_scalars_are_refused
        types_that_need_a_self_describing_format_are_refused
        a_skipped_field_is_an_error_that_names_field_and_type
        a_skipped_field_of_a_tuple_is_an_error_that_names_type_and_place
        a_field_without_bytes_that_is_read_is_an_error_that_names_its_place
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
        let said = refusal.starts_with("Record: 1 byte follows the value");
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

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct List {
    next: Option<Box<List>>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Tree(Vec<Tree>);

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Directory(BTreeMap<u8, Directory>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Wrapped {
    Again(Box<Wrapped>),
    End,
}

fn bulk_bytes_are_encoded_as_serde_bytes_does<C: SerdeCodec>() {
    let plain: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let bytes = C::encode(&Bytes::from(plain.clone()));
    assert_eq!(bytes, C::encode(&serde_bytes::ByteBuf::from(plain.clone())));
    assert_eq!(bytes, C::encode(&plain));
    assert_eq!(C::decode::<Bytes>(&bytes), Ok(Bytes::from(plain)));
}

fn a_name_fits_the_channel_header<C: Codec<u8>>() {
    assert!((1..=63).contains(&C::NAME.len()));
}
