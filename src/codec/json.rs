//! A serde codec whose format describes itself: larger and slower, and for more types.
//!
//! serde_json writes and reads. What it would change in silence is refused while encoding by
//! `checked`, a serializer around serde_json's: NaN and infinities, which it writes as null; a
//! `Some` of what is written as null, which is read as `None`; and numbers of elements other than
//! announced. That the receiver can decode the rest is not to be seen from the outside of a type
//! (of `flatten`, say, or a field that is skipped and has no default), so it is tried.

mod checked;

use std::any::type_name;
use std::fmt;
use std::io;

use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::ser::Serialize;

use self::checked::{Part, State};
use super::{
    Codec, DecodeError, EncodeError, ReadError, Reader, Schema, WriteError, Writer, structure,
};
use crate::schema::Format;
use crate::schema::shapes;
use crate::transfer;

/// How deep arrays and objects may nest in a value: serde_json reads as deep and no deeper.
pub(super) const LEVELS: u32 = 127;

/// Any serde type as [JSON]: for types that other codecs refuse.
///
/// JSON describes itself, so types work that ask what the input holds: serde's `untagged`,
/// `tag = "..."` and `flatten`, fields that are skipped and have a default, `serde_json::Value`,
/// and numbers that are written now as text and now as numbers.
///
/// What would not come back is an error of the sender:
///
/// - floats that are NaN or infinite;
/// - `Some` of a value that JSON writes as null: `Some(None)`, `Some(())`;
/// - keys of maps that are no text, number, `bool` or enum variant without content;
/// - arrays and objects more than 127 deep;
/// - fields that a tuple struct or tuple variant skips, if the type's shape can be found
///   ([`Schema`]): those behind them would be taken for them;
/// - whatever its own decoding refuses: encoding decodes the value once to find out, so the type's
///   `Deserialize` runs at the sender too.
///
/// A type that writes other names than it reads is refused when a channel is opened. Of types that
/// ask what the input holds only the name is compared there.
///
/// serde reads flattened, tagged and untagged numbers wrong where any crate of the program switches on
/// the feature `arbitrary_precision` of serde_json. Types that ask what the input holds are refused
/// then, but for `serde_json::Value`.
///
/// A number beyond the range of an `f32` is read as infinity, which is what serde makes of it: no sender of
/// the same type writes one, but a program in another language may.
///
/// What is decoded to something else by an `untagged` enum whose variants are written alike stays
/// the type's own matter. Bytes are arrays of numbers.
///
/// ```
/// use std::collections::HashMap;
///
/// use serde::{Deserialize, Serialize};
/// use sysv_channel::Channel;
/// use sysv_channel::codec::Json;
///
/// #[derive(Serialize, Deserialize)]
/// struct Reading {
///     sensor: String,
///     #[serde(skip_serializing_if = "Option::is_none")]
///     unit: Option<String>,
///     #[serde(flatten)]
///     more: HashMap<String, Value>,
/// }
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// #[serde(untagged)]
/// enum Value { Number(f64), Text(String) }
///
/// # let name = format!("doc-json-{}", std::process::id());
/// # let name = name.as_str();
/// let channel = Channel::<Reading, Json>::create(name)?;
/// let (tx, rx) = (channel.sender()?, channel.receiver()?);
/// let more = HashMap::from([("state".to_owned(), Value::Text("open".to_owned()))]);
/// tx.send(&Reading { sensor: "door".to_owned(), unit: None, more })?;
/// assert_eq!(rx.recv()?.more["state"], Value::Text("open".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [JSON]: https://www.rfc-editor.org/rfc/rfc8259
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    const NAME: &'static str = "json";

    fn encode(value: &T, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        let text = write(value, out)?;
        // The copy is dropped as what it is: it stands for nothing outside of the process.
        let decoded = transfer::tracing(|| serde_json::from_slice::<T>(&text).map(drop));
        decoded.map_err(|error| {
            let what = format!("no receiver could decode this value: {error}");
            EncodeError::refused(&what).within_type(type_name::<T>())
        })
    }

    fn decode(mut input: Reader<'_>) -> Result<T, DecodeError> {
        let text = input.read_vec(input.remaining())?;
        look_for_room(text.len())?;
        serde_json::from_slice(&text).map_err(|error| {
            DecodeError::new(format!("JSON: {error}")).within_type(type_name::<T>())
        })
    }

    fn schema() -> Schema {
        let format =
            if shows_numbers_as_maps() { Format::NumbersAsMaps } else { Format::Described };
        Schema::checked::<T>(|value, out| write(value, out).map(drop), Self::decode, format)
    }
}

/// Whether serde_json shows a number as a map to a type that asks what it is. Any crate of the program
/// can switch that on, by the feature `arbitrary_precision`; flattened, tagged and untagged numbers are
/// not read then, or as the map that they seem to be.
fn shows_numbers_as_maps() -> bool {
    struct Shown;

    impl<'de> Visitor<'de> for Shown {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number")
        }

        fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
            Ok(false)
        }

        fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<bool, A::Error> {
            Ok(true)
        }
    }

    // A map that is not read to its end is an error behind the answer, as the case may be.
    serde_json::Deserializer::from_str("1.5").deserialize_any(Shown).unwrap_or(true)
}

/// Writes a value, without trying to decode it; the text.
fn write<T: Serialize + DeserializeOwned>(
    value: &T,
    out: &mut Writer<'_>,
) -> Result<Vec<u8>, EncodeError> {
    let mut sink = Sink { out, text: Vec::new(), refusal: None };
    let state = State::of::<T>();
    let mut json = serde_json::Serializer::new(&mut sink);
    let written = Part::of(value, &state).serialize(&mut json);
    if let Some(refusal) = sink.refusal {
        return Err(refusal.into());
    }
    if let Some(refused) = state.take_refused() {
        return Err(refused.within_type(type_name::<T>()));
    }
    match written {
        Ok(()) => {
            if state.is_doubtful() {
                structure::check(shapes::shape_of::<T>, value, true)?;
            }
            Ok(sink.text)
        }
        Err(error) => Err(EncodeError::new(error.to_string())),
    }
}

/// Looks whether there is memory to make a value of a long text: what is made of it in memory may be
/// some times as long, and ends the process where there is none.
fn look_for_room(len: usize) -> Result<(), DecodeError> {
    const LONG: usize = 1 << 20;
    const TIMES: usize = 4;
    if len >= LONG && Vec::<u8>::new().try_reserve_exact(len.saturating_mul(TIMES)).is_err() {
        return Err(ReadError::NoMemory { len }.into());
    }
    Ok(())
}

/// A [`Writer`] as serde_json wants it, which keeps what was written.
struct Sink<'a, 'b> {
    out: &'a mut Writer<'b>,
    text: Vec<u8>,
    refusal: Option<WriteError>,
}

impl io::Write for Sink<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).map_err(|error| {
            self.refusal = Some(error);
            io::Error::other(error)
        })?;
        self.text.try_reserve(bytes.len()).map_err(io::Error::other)?;
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
