//! Arbitrary text as the shape that a channel carries, and arbitrary bytes as a value of it.
//!
//! Whatever they are: a shape or an error, a value or an error, in bounded memory and on a bounded stack; and a value
//! encodes to what decodes to the same, also after it was JSON.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sysv_channel::codec::{Bincode, Codec, Json, Postcard};
use sysv_channel::dynamic::{DynamicCodec, Value};
use sysv_channel_fuzz::bounded;

/// Longest input: `-max_len` of the runs is below it.
const MAX: usize = 1 << 16;

/// For parts without bytes, of which a value may have a quarter of a million.
const BASE: usize = 128 << 20;

/// Bytes that may be made of each: sixteen parts, beside what a growing array had before.
const FACTOR: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let [codec, rest @ ..] = data else { return };
    if rest.len() > MAX {
        return;
    }
    // No shape has a line feed, which names have as an escape.
    let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    let Ok(shape) = std::str::from_utf8(&rest[..end]) else { return };
    let bytes = rest.get(end + 1..).unwrap_or_default();
    let name = match codec % 3 {
        0 => <Bincode as Codec<()>>::NAME,
        1 => <Postcard as Codec<()>>::NAME,
        _ => <Json as Codec<()>>::NAME,
    };
    bounded(BASE + FACTOR * rest.len(), || check(name, shape, bytes));
});

fn check(name: &str, shape: &str, bytes: &[u8]) {
    let codec = match DynamicCodec::new(name, shape) {
        Ok(codec) => codec,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert_eq!(codec.shape().text(), shape);
    let value = match codec.decode(bytes) {
        Ok(value) => value,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    // What JSON says need not be of the shape.
    let encoded = match codec.encode(&value) {
        Ok(encoded) => encoded,
        Err(error) => {
            let is_json = name == <Json as Codec<()>>::NAME;
            return assert!(is_json, "a decoded value is not encoded: {error}");
        }
    };
    let again = codec.decode(&encoded).expect("what was encoded is decoded");
    assert_eq!(codec.encode(&again).as_ref(), Ok(&encoded));
    // Numbers beyond 64 bits are not what they were, and the check says so.
    let json = serde_json::to_vec(&value).expect("any value is JSON");
    // Its reader follows not as deep as the binary codecs' does.
    if let Ok(read) = serde_json::from_slice::<Value>(&json)
        && codec.check(&read).is_ok()
    {
        let back = codec.encode(&read).expect("what was checked is encoded");
        assert!(codec.decode(&back).is_ok());
    }
}
