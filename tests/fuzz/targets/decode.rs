//! Arbitrary bytes as an encoded value, for each codec and a range of types.
//!
//! Whatever they are: a value or an error, in bounded memory, the same from private and from shared
//! memory; and a value encodes again to what decodes to the same.

#![no_main]

use std::collections::{BTreeMap, BTreeSet, HashMap, LinkedList, VecDeque};
use std::ffi::CString;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sysv_channel::codec::{Bincode, Bytes, Codec, Json, Pod, Postcard, Raw, Reader, Writer};
use sysv_channel::fuzzing::Memory;
use sysv_channel_fuzz::bounded;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Longest input: `-max_len` of the runs is below it.
const MAX: usize = 1 << 16;

/// Bytes that an error, or a value of an empty input, may take.
const BASE: usize = 4096;

static SHARED: LazyLock<Memory> = LazyLock::new(|| Memory::new(MAX));

#[derive(PartialEq, Serialize, Deserialize)]
struct Meters(f64);

#[derive(PartialEq, Serialize, Deserialize)]
struct Marker;

#[derive(PartialEq, Serialize, Deserialize)]
enum Node {
    Leaf,
    Number(i64),
    Pair(String, Option<u16>),
    Branch { left: Option<Box<Node>>, children: Vec<Node>, names: BTreeMap<String, Node> },
}

#[derive(Serialize, Deserialize)]
struct Order {
    small: (bool, u8, i8, u16, i16),
    wide: (u32, i32, u64, i64),
    widest: (u128, i128),
    floats: (f32, Meters),
    character: char,
    text: String,
    bulk: Bytes,
    array: [u16; 3],
    nothing: ((), Marker),
    choice: Result<Option<bool>, Box<str>>,
}

/// Types whose deserializing checks what it is given.
#[derive(Serialize, Deserialize)]
struct Choosy {
    duration: Duration,
    time: SystemTime,
    address: IpAddr,
    text: CString,
    path: PathBuf,
    number: NonZeroU16,
    range: Range<u32>,
}

#[derive(FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Pose {
    id: u64,
    place: [f32; 3],
    flags: u32,
}

/// Whether equal values have equal encodings of one length only.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// Nothing but the value's own encoding decodes to it.
    Unique,
    /// Others do: elements in another order or doubled, numbers with leading zeros, carries.
    Shorter,
    /// Others do, shorter ones too: numbers with an exponent, fields that are left out.
    Any,
}

/// The encoding; `None` of a value that no sender of the type sends, and other programs may.
fn encode<C: Codec<T>, T>(value: &T) -> Option<Vec<u8>> {
    // Shorter than the value may be: the writer counts on, and then it goes into enough.
    let mut memory = vec![0; 64];
    loop {
        let mut writer = Writer::new(&mut memory);
        if let Err(error) = C::encode(value, &mut writer) {
            // serde makes infinity, of either sign, of a number in JSON that is beyond an `f32`.
            let text = error.to_string();
            let infinite = text.ends_with(" inf") || text.ends_with(" -inf");
            assert!(
                C::NAME == <Json as Codec<f32>>::NAME && infinite,
                "a decoded value is not encoded: {error}"
            );
            return None;
        }
        let (len, fits) = (writer.len(), writer.fits());
        assert_eq!(fits, len <= memory.len(), "{len} bytes into {}", memory.len());
        memory.resize(len, 0);
        if fits {
            return Some(memory);
        }
    }
}

/// Decodes `bytes`, of each of which at most `factor` bytes may be made.
fn check<C: Codec<T>, T>(bytes: &[u8], factor: usize, form: Form) {
    let bound = BASE + factor * bytes.len();
    let private = bounded(bound, || C::decode(Reader::new(bytes)));
    let shared = bounded(bound, || SHARED.holding(bytes, C::decode));
    let (value, shared) = match (private, shared) {
        (Ok(value), Ok(shared)) => (value, shared),
        (Err(private), Err(shared)) => {
            assert_eq!(private, shared);
            assert!(!private.to_string().is_empty());
            return;
        }
        _ => panic!("private and shared memory are decoded differently"),
    };
    let Some(encoded) = encode::<C, T>(&value) else { return };
    let longer = encoded.len() > bytes.len();
    assert!(form == Form::Any || !longer, "{} bytes of {}", encoded.len(), bytes.len());
    if form == Form::Unique {
        assert_eq!(encoded, bytes);
    }
    assert!(
        Some(&encoded) == encode::<C, T>(&shared).as_ref(),
        "shared memory gives another value"
    );
    let Ok(again) = C::decode(Reader::new(&encoded)) else {
        panic!("what was encoded is not decoded");
    };
    assert!(
        Some(&encoded) == encode::<C, T>(&again).as_ref(),
        "what was encoded is decoded to another value"
    );
}

/// Decodes with each serde codec; `form` is that in fixed width.
fn serde<T: Serialize + DeserializeOwned>(codec: u8, bytes: &[u8], factor: usize, form: Form) {
    match codec % 3 {
        0 => check::<Bincode, T>(bytes, factor, form),
        1 => check::<Postcard, T>(bytes, factor, Form::Shorter),
        // The text is copied, and what a number or string with escapes is made of is kept beside.
        _ => check::<Json, T>(bytes, factor + JSON, Form::Any),
    }
}

/// Bytes that reading a byte of JSON may take beside the value.
const JSON: usize = 16;

/// What asks its input what it holds, which JSON alone says.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Asking {
    Number(i64),
    Text(String),
    Tagged(Tagged),
    Many(Vec<Asking>),
    Flat {
        id: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        #[serde(flatten)]
        rest: BTreeMap<String, bool>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Point { x: f32, y: Option<f64> },
    Nothing,
}

fuzz_target!(|data: &[u8]| {
    let [kind, codec, bytes @ ..] = data else { return };
    if bytes.len() > MAX {
        return;
    }
    let codec = *codec;
    // NB: the factors are the sizes in memory of what can take one byte, three times, since a vector
    // grows while its old elements are there; a map's node has room for eleven.
    match kind % 20 {
        0 => serde::<Order>(codec, bytes, 2, Form::Unique),
        1 => serde::<Node>(codec, bytes, 1024, Form::Shorter),
        2 => serde::<Vec<u64>>(codec, bytes, 24, Form::Unique),
        3 => serde::<Vec<()>>(codec, bytes, 1, Form::Unique),
        4 => serde::<Vec<Vec<((), Marker)>>>(codec, bytes, 72, Form::Unique),
        5 => serde::<BTreeMap<String, Vec<u16>>>(codec, bytes, 512, Form::Shorter),
        6 => serde::<BTreeSet<Bytes>>(codec, bytes, 512, Form::Shorter),
        7 => check_unordered(codec, bytes),
        8 => serde::<VecDeque<Option<Option<char>>>>(codec, bytes, 24, Form::Unique),
        9 => serde::<Choosy>(codec, bytes, 2, Form::Shorter),
        10 => serde::<Vec<Order>>(codec, bytes, 3 * size_of::<Order>(), Form::Unique),
        11 => serde::<String>(codec, bytes, 1, Form::Unique),
        12 => serde::<(Bytes, [Option<bool>; 4], u128)>(codec, bytes, 1, Form::Unique),
        13 => serde::<Vec<(f32, f64, bool)>>(codec, bytes, 24, Form::Unique),
        14 => serde::<()>(codec, bytes, 0, Form::Unique),
        15 => check::<Raw, Vec<u8>>(bytes, 1, Form::Unique),
        16 => check::<Raw, Bytes>(bytes, 1, Form::Unique),
        // Elements without bytes, which the codec counts, and each of which allocates.
        17 => serde::<LinkedList<()>>(codec, bytes, 65_536 * 24, Form::Unique),
        18 => check::<Pod, Pose>(bytes, 0, Form::Unique),
        // serde buffers what it looks at, and tries one variant after the other.
        _ => check::<Json, Asking>(bytes, 1024, Form::Any),
    }
});

/// A map of the standard library has no order to encode again in: it need only come back.
fn check_unordered(codec: u8, bytes: &[u8]) {
    fn check<C: Codec<HashMap<u16, ()>>>(bytes: &[u8]) {
        let bound = BASE + 64 * bytes.len();
        let Ok(map) = bounded(bound, || C::decode(Reader::new(bytes))) else { return };
        let encoded = encode::<C, _>(&map).expect("no floats are in it");
        assert!(C::decode(Reader::new(&encoded)).is_ok_and(|again| again == map));
    }
    match codec % 3 {
        0 => check::<Bincode>(bytes),
        1 => check::<Postcard>(bytes),
        _ => check::<Json>(bytes),
    }
}
