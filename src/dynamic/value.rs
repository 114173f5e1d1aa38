//! A value that says itself what it is.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

/// A value of any type, as JSON would have it and without what JSON loses.
///
/// It serializes in a human-readable format as the typed value does with serde_json, so `serde_json::to_string` of it
/// is the typed value's, wherever that has one:
///
/// | in Rust | here | in JSON |
/// |---|---|---|
/// | `()`, unit structs, `None` | `Null` | `null` |
/// | integers | `Integer`; `LargeInteger` for a `u128` above `i128::MAX` | number |
/// | `f32`, `f64` | `F32`, `F64` | number; `"NaN"`, `"Infinity"` and `"-Infinity"` as [ProtoJSON] has them |
/// | `char`, `String` | `String` | text |
/// | bytes, `Vec<u8>` | `Bytes` | array of numbers |
/// | `Some(v)` | `v`; `Some(v)` if `v` can be null itself | `v`; `{"Some":null}` for `Some(None)` |
/// | sequences, tuples, tuple structs | `Seq` | array |
/// | newtypes | what is in them | the same |
/// | structs | `Map` by the fields' names | object |
/// | maps | `Map` | object; an array of pairs where a key is no text, number or `bool` |
/// | enums | `String` for a variant without content, else a `Map` of one entry | `"Name"`, `{"Name":content}` |
///
/// It deserializes from any format that describes itself. Two that stand for one typed value need not be equal: of
/// what comes from JSON, a key is text and a character cannot be told from a text. The [`Shape`](super::Shape) tells,
/// and takes each of these forms.
///
/// ```
/// use sysv_channel::dynamic::Value;
///
/// let order = Value::fields([("id", 7.into()), ("price", 1.5.into()), ("note", Value::Null)]);
/// assert_eq!(order.get("id"), Some(&Value::Integer(7)));
/// ```
///
/// [ProtoJSON]: https://protobuf.dev/programming-guides/json/
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing: a unit or `None`.
    #[default]
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// A whole number above `i128::MAX`.
    LargeInteger(u128),
    /// A number of single precision.
    F32(f32),
    /// A number of double precision.
    F64(f64),
    /// Text, a character, or a variant without content.
    String(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// What is there where what may be missing can itself be null.
    Some(Box<Value>),
    /// Elements in order.
    Seq(Vec<Value>),
    /// Entries in order: keys and values, fields and their names, or a variant and its content.
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// A struct of these fields.
    pub fn fields<'n>(fields: impl IntoIterator<Item = (&'n str, Value)>) -> Value {
        Value::Map(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// A variant with content.
    ///
    /// ```
    /// use sysv_channel::dynamic::Value;
    ///
    /// let sell = Value::variant("Sell", 1.5);
    /// assert_eq!(sell.get("Sell"), Some(&Value::F64(1.5)));
    /// ```
    pub fn variant(name: &str, content: impl Into<Value>) -> Value {
        Value::Map(vec![(name.into(), content.into())])
    }

    /// The field, entry or variant's content of this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let Value::Map(entries) = self else { return None };
        entries.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is a whole one, and not above `i128::MAX`.
    pub fn as_integer(&self) -> Option<i128> {
        match *self {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }

    pub(super) fn of_u128(number: u128) -> Value {
        i128::try_from(number).map_or(Value::LargeInteger(number), Value::Integer)
    }

    /// Whether it is null, or written as `Some`s of null.
    fn is_null_at_heart(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Some(inner) => inner.is_null_at_heart(),
            value => value.some_of_null().is_some(),
        }
    }

    /// What is in `{"Some": ...}`, if that is how null is written that is there.
    pub(super) fn some_of_null(&self) -> Option<&Value> {
        match self {
            Value::Map(entries) => match &entries[..] {
                [(key, value)] if key.as_str() == Some(SOME) && value.is_null_at_heart() => {
                    Some(value)
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether JSON takes it for a key.
    fn is_key(&self) -> bool {
        !matches!(
            self,
            Value::Null | Value::Bytes(_) | Value::Some(_) | Value::Seq(_) | Value::Map(_)
        )
    }
}

pub(super) const SOME: &str = "Some";

/// How a number that is none is spelled in a format that has no number for it.
pub(super) fn spelled(number: f64) -> Option<&'static str> {
    match number {
        number if number.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let readable = serializer.is_human_readable();
        let spelled = |number| spelled(number).filter(|_| readable);
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Integer(number) => match (u64::try_from(*number), i64::try_from(*number)) {
                (Ok(number), _) => serializer.serialize_u64(number),
                (_, Ok(number)) => serializer.serialize_i64(number),
                _ => serializer.serialize_i128(*number),
            },
            Value::LargeInteger(number) => serializer.serialize_u128(*number),
            Value::F32(number) => match spelled(f64::from(*number)) {
                Some(text) => serializer.serialize_str(text),
                None => serializer.serialize_f32(*number),
            },
            Value::F64(number) => match spelled(*number) {
                Some(text) => serializer.serialize_str(text),
                None => serializer.serialize_f64(*number),
            },
            Value::String(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Value::Some(inner) if !readable => serializer.serialize_some(inner),
            Value::Some(inner) if inner.is_null_at_heart() => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(SOME, inner)?;
                map.end()
            }
            Value::Some(inner) => inner.serialize(serializer),
            Value::Seq(elements) => {
                let mut seq = serializer.serialize_seq(Some(elements.len()))?;
                for element in elements {
                    seq.serialize_element(element)?;
                }
                seq.end()
            }
            Value::Map(entries) if readable && !entries.iter().all(|(key, _)| key.is_key()) => {
                let mut seq = serializer.serialize_seq(Some(entries.len()))?;
                for entry in entries {
                    seq.serialize_element(entry)?;
                }
                seq.end()
            }
            Value::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

/// Takes whatever the input says it holds.
pub(super) struct AnyValue;

/// How many elements room is made for before they have come.
pub(super) fn expected(hint: Option<usize>) -> usize {
    hint.unwrap_or(0).min(1024)
}

/// What a visitor takes as any other does.
macro_rules! scalars {
    ($($method:ident $type:ty,)*) => {$(
        fn $method<E: serde::de::Error>(self, value: $type) -> Result<Value, E> {
            AnyValue.$method(value)
        }
    )*};
}
pub(super) use scalars;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Value, E> {
        Ok(Value::of_u128(number))
    }

    fn visit_f32<E>(self, number: f32) -> Result<Value, E> {
        Ok(Value::F32(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::F64(number))
    }

    fn visit_char<E>(self, c: char) -> Result<Value, E> {
        Ok(Value::String(c.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.to_owned()))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(bytes))
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        Ok(match Value::deserialize(inner)? {
            // Only of what can be null itself does it matter that something is there.
            inner @ (Value::Null | Value::Some(_)) => Value::Some(Box::new(inner)),
            inner => inner,
        })
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        Value::deserialize(inner)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut elements = Vec::with_capacity(expected(seq.size_hint()));
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(Value::Seq(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::with_capacity(expected(map.size_hint()));
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Map(entries))
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, data: A) -> Result<Value, A::Error> {
        use de::VariantAccess;

        // A format that has enums of its own says only with the shape what a variant holds.
        let (name, content) = data.variant::<String>()?;
        content.unit_variant()?;
        Ok(Value::String(name))
    }
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl From<$type> for Value {
            fn from(number: $type) -> Value {
                Value::Integer(number.into())
            }
        }
    )*};
}

integers! { i8 i16 i32 i64 i128 u8 u16 u32 u64 }

impl From<u128> for Value {
    fn from(number: u128) -> Value {
        Value::of_u128(number)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<f32> for Value {
    fn from(number: f32) -> Value {
        Value::F32(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::F64(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::String(text)
    }
}

impl From<Vec<Value>> for Value {
    fn from(elements: Vec<Value>) -> Value {
        Value::Seq(elements)
    }
}
