//! Values of all types of the schema's tests, there and back without their types.

mod common;
#[path = "dynamic_values/random.rs"]
mod random;
#[path = "dynamic_values/types.rs"]
mod types;

use std::any::type_name;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroI8, NonZeroU8, NonZeroU32, NonZeroU128};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use common::{dynamic, encoded};
use random::Random;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sysv_channel::codec::{Bincode, Codec, Json, Postcard, Reader};
use sysv_channel::dynamic::{DynamicCodec, Value};
use types::*;

/// Of each type, in each codec.
const VALUES: u64 = 10_000;

/// What a type is, beside being one.
#[derive(Clone, Copy, PartialEq)]
enum Is {
    Plain,
    /// Written otherwise where people are to read it, or where null would have two meanings.
    Readable,
    /// Not known which names are of which field.
    Aliased,
}

/// Typed to dynamic to JSON to dynamic to typed is the same; so is the JSON of both.
fn binary<C: Codec<T>, T: Serialize + DeserializeOwned>(is: Is) {
    let codec = dynamic::<C, T>();
    let mut random = Random::of(7);
    for number in 0..VALUES {
        let typed: T = random.value();
        let bytes = encoded::<C, T>(&typed).unwrap();
        let about = || format!("{} number {number}, {:?}", type_name::<T>(), bytes);
        let value = codec.decode(&bytes).unwrap_or_else(|error| panic!("{}: {error}", about()));
        let back = |value: &Value, how: &str| {
            let back = codec.encode(value);
            let back = back.unwrap_or_else(|error| panic!("{} {how}: {error}: {value:?}", about()));
            assert_eq!(back, bytes, "{} {how}: {value:?}", about());
        };
        back(&value, "straight");
        let json = serde_json::to_string(&value).unwrap();
        let mut reader = serde_json::Deserializer::from_str(&json);
        back(&codec.shape().read(&mut reader).unwrap(), "by its shape");
        let read: Value = serde_json::from_str(&json).unwrap();
        match codec.check(&read) {
            Err(error) => {
                assert!(error.what().contains("lost its last digits"), "{}: {error}", about())
            }
            Ok(()) => back(&read, "from JSON"),
        }
        // Where serde_json can represent it, it is represented so.
        if is == Is::Plain
            && let Ok(text) = serde_json::to_string(&typed)
            && serde_json::from_str::<T>(&text)
                .is_ok_and(|again| encoded::<C, T>(&again).unwrap() == bytes)
        {
            assert_eq!(json, text, "{}", about());
        }
        let again = C::decode(Reader::new(&codec.encode(&read_exactly(&codec, &json)).unwrap()));
        assert_eq!(encoded::<C, T>(&again.unwrap()).unwrap(), bytes);
    }
}

fn read_exactly(codec: &DynamicCodec, json: &str) -> Value {
    codec.shape().read(&mut serde_json::Deserializer::from_str(json)).unwrap()
}

/// The same in the codec that is JSON, for the values that it takes.
fn as_json<T: Serialize + DeserializeOwned>() {
    let codec = dynamic::<Json, T>();
    let mut random = Random::of(7);
    let mut taken = 0;
    for number in 0..VALUES {
        let typed: T = random.value();
        let Ok(text) = encoded::<Json, T>(&typed) else { continue };
        taken += 1;
        let about = || format!("{} number {number}, {}", type_name::<T>(), text.escape_ascii());
        let value = codec.decode(&text).unwrap_or_else(|error| panic!("{}: {error}", about()));
        let back = codec.encode(&value).unwrap_or_else(|error| panic!("{}: {error}", about()));
        assert_eq!(back, text, "{}", about());
    }
    assert!(taken > VALUES / 100, "{}: {taken} were taken", type_name::<T>());
}

fn all<T: Serialize + DeserializeOwned>(is: Is) {
    binary::<Bincode, T>(is);
    binary::<Postcard, T>(is);
    if is != Is::Aliased {
        as_json::<T>();
    }
}

macro_rules! round_trips {
    ($($test:ident: $($type:ty $(as $is:ident)?),*;)*) => {$(
        #[test]
        fn $test() {
            $(all::<$type>(round_trips!(@ $($is)?));)*
        }
    )*};
    (@) => { Is::Plain };
    (@ $is:ident) => { Is::$is };
}

round_trips! {
    numbers_and_containers_come_back: (), bool, u8, i8, u16, i16, u32, i32, u64, i64, f32, f64, char, String,
        Numbers, Vec<Vec<u8>>, Vec<u16>, [u16; 3], [[u16; 8]; 3], [u8; 0], (u8,), ();
    wide_integers_come_back: u128, i128, Option<u128>, Vec<(i128, Option<NonZeroU128>)>, BTreeMap<u128, i128>;
    options_come_back: Option<u8>, Option<Option<Option<u8>>>, Option<()>, Option<Option<()>>, Option<Unit>,
        Option<Some_>, Option<Option<Some_>> as Readable, Vec<Option<Option<Newtype>>>;
    structs_come_back: Unit, Empty, Newtype, Pair, Single, types::None, NamedLikeAWord, Quoted, All, Internal, Order;
    maps_come_back: BTreeMap<String, BTreeMap<u8, Vec<char>>>, Keys, BTreeMap<Key, u8>, BTreeMap<Vec<Key>, u8>;
    aliases_come_back: Choice, OnlyOne, Aliased as Aliased;
    trees_come_back: Tree, Expression;
    recursions_come_back: Call, Add, Nested, List, Level, Wrapper<Option<Wrapper<u8>>>,
        (Wrapper<u32>, Wrapper<u64>);
    enums_come_back: Side, Digit, [Digit; 5], Result<u8, String>, WithOther, [WithOther; 2], Kinds, Option<Never>,
        Result<u8, Never>, std::ops::Bound<u8>;
    types_of_the_standard_library_come_back: Duration, SystemTime, PathBuf as Readable, IpAddr as Readable,
        SocketAddr as Readable, std::marker::PhantomData<u8>, (NonZeroU32, NonZeroI8, NonZeroU128),
        Vec<Option<NonZeroU8>>, serde_bytes::ByteBuf, std::ffi::OsString;
}
