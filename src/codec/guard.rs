//! A serde deserializer that hostile bytes cannot turn against the process.
//!
//! Neither bincode nor postcard is safe here on its own: a length prefix of 2^60 becomes an
//! allocation or, for elements without bytes, a loop of that many turns, and a recursive type
//! overflows the stack. The two formats differ only in how they write scalars; structure is the
//! same: options are a byte, lengths a `u64`, variants a `u32`, fields follow one another. So
//! [`Guard`] reads the structure itself and leaves the scalars to the library ([`Scalars`]).
//!
//! - A length is compared with the bytes left before anything is made of it. Bytes and strings are
//!   then copied once, into memory that was not zeroed first.
//! - Elements that take no bytes are counted over the whole value, at most [`EMPTY_ELEMENTS`].
//! - What the bytes can nest (options, sequences, maps, enums) nests at most [`LEVELS`] deep.
//!   Structs and tuples need no count: a type can contain itself only through one of the four.
//!   They cost nothing that way.

use std::any::type_name;
use std::marker::PhantomData;

use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer,
    MapAccess, SeqAccess, VariantAccess, Visitor,
};

use serde::ser::Serialize;

use super::{DecodeError, EncodeError, ReadError, Reader, Writer};

/// How deep options, sequences, maps and enums may nest in a value.
pub(super) const LEVELS: u32 = 128;

/// How many elements of sequences and maps in one value may take no bytes, such as `()`.
pub(super) const EMPTY_ELEMENTS: usize = 65_536;

pub(super) const TOO_DEEP: &str =
    "options, sequences, maps and enums nest more than 128 deep in the value";
pub(super) const TOO_MANY_EMPTY: &str = "more than 65536 elements of the value take no bytes";

/// Bytes that are consumed in order.
pub(super) trait Input {
    fn remaining(&self) -> usize;
    fn read(&mut self, out: &mut [u8]) -> Result<(), ReadError>;
    /// The error that there is no memory for the rest, if so.
    fn no_memory(&self) -> Option<ReadError>;
}

/// An input that can show a visitor its next bytes.
pub(super) trait Lend<'de>: Input {
    fn visit_bytes<V: Visitor<'de>>(&mut self, len: usize, to: V) -> Result<V::Value, DecodeError>;
    fn visit_str<V: Visitor<'de>>(&mut self, len: usize, to: V) -> Result<V::Value, DecodeError>;
}

/// What the format's own scalars are.
pub(super) const A_LENGTH: &str = "a length";
pub(super) const A_VARIANT: &str = "a variant's number";
pub(super) const AN_OPTION: &str = "an option's first byte";

/// How a format writes numbers, `bool` and `char`; `what` is the type of one that is a part of the
/// value, and else what it is for.
pub(super) trait Scalars {
    fn read<T: DeserializeOwned>(
        &mut self,
        what: &'static str,
        input: &mut impl Input,
    ) -> Result<T, DecodeError>;
    fn write<T: Serialize>(
        &mut self,
        what: &'static str,
        value: T,
        out: &mut Writer<'_>,
    ) -> Result<(), EncodeError>;
}

impl Input for Reader<'_> {
    #[inline]
    fn remaining(&self) -> usize {
        Reader::remaining(self)
    }

    #[inline]
    fn read(&mut self, out: &mut [u8]) -> Result<(), ReadError> {
        Reader::read(self, out)
    }

    fn no_memory(&self) -> Option<ReadError> {
        Reader::no_memory(self)
    }
}

impl<'de> Lend<'de> for Reader<'_> {
    #[inline]
    fn visit_bytes<V: Visitor<'de>>(&mut self, len: usize, to: V) -> Result<V::Value, DecodeError> {
        to.visit_byte_buf(self.read_vec(len)?)
    }

    #[inline]
    fn visit_str<V: Visitor<'de>>(&mut self, len: usize, to: V) -> Result<V::Value, DecodeError> {
        match String::from_utf8(self.read_vec(len)?) {
            Ok(string) => to.visit_string(string),
            Err(error) => Err(not_utf8(error.utf8_error())),
        }
    }
}

impl Input for &[u8] {
    #[inline]
    fn remaining(&self) -> usize {
        self.len()
    }

    #[inline]
    fn read(&mut self, out: &mut [u8]) -> Result<(), ReadError> {
        out.copy_from_slice(take(self, out.len())?);
        Ok(())
    }

    fn no_memory(&self) -> Option<ReadError> {
        None
    }
}

impl<'de> Lend<'de> for &'de [u8] {
    #[inline]
    fn visit_bytes<V: Visitor<'de>>(&mut self, len: usize, to: V) -> Result<V::Value, DecodeError> {
        to.visit_borrowed_bytes(take(self, len)?)
    }

    #[inline]
    fn visit_str<V: Visitor<'de>>(&mut self, len: usize, to: V) -> Result<V::Value, DecodeError> {
        match std::str::from_utf8(take(self, len)?) {
            Ok(string) => to.visit_borrowed_str(string),
            Err(error) => Err(not_utf8(error)),
        }
    }
}

#[inline]
fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Result<&'a [u8], ReadError> {
    let error = ReadError::TooShort { wanted: len, left: bytes.len() };
    let (taken, rest) = bytes.split_at_checked(len).ok_or(error)?;
    *bytes = rest;
    Ok(taken)
}

#[cold]
fn not_utf8(error: std::str::Utf8Error) -> DecodeError {
    DecodeError::new(format!("a string is not UTF-8: {error}"))
}

/// Decodes the whole input.
#[inline]
pub(super) fn decode<'de, F, I, T>(input: I, format: F) -> Result<T, DecodeError>
where
    F: Scalars,
    I: Lend<'de>,
    T: Deserialize<'de>,
{
    let decoded = decode_seed(PhantomData::<T>, input, format);
    decoded.map_err(|error| error.within_type(type_name::<T>()))
}

/// The same, of what a seed makes of it.
#[inline]
pub(super) fn decode_seed<'de, F, I, S>(
    seed: S,
    input: I,
    format: F,
) -> Result<S::Value, DecodeError>
where
    F: Scalars,
    I: Lend<'de>,
    S: DeserializeSeed<'de>,
{
    let mut guard = Guard { input, levels: LEVELS, empty: EMPTY_ELEMENTS, format };
    let decoded = seed.deserialize(&mut guard);
    // What a library says of bytes that it did not get leaves out why.
    let value = decoded.map_err(|error| guard.input.no_memory().map_or(error, Into::into))?;
    match guard.input.remaining() {
        0 => Ok(value),
        left => Err(trailing(left)),
    }
}

#[cold]
fn trailing(left: usize) -> DecodeError {
    let bytes_follow = if left == 1 { "byte follows" } else { "bytes follow" };
    DecodeError::new(format!("{left} {bytes_follow} the value: it was encoded from another type"))
}

struct Guard<F, I> {
    input: I,
    /// How many more levels may be entered.
    levels: u32,
    /// How many more elements may take no bytes.
    empty: usize,
    format: F,
}

impl<F: Scalars, I: Input> Guard<F, I> {
    #[inline]
    fn scalar<T: DeserializeOwned>(&mut self, what: &'static str) -> Result<T, DecodeError> {
        self.format.read(what, &mut self.input)
    }

    /// The length of a string or bytes.
    #[inline]
    fn byte_length(&mut self) -> Result<usize, DecodeError> {
        let length = self.scalar::<u64>(A_LENGTH)?;
        // A length beyond usize cannot be met either, and the input says so.
        Ok(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// The length of a sequence or map, each element of which takes a byte or counts as empty.
    #[inline]
    fn length(&mut self) -> Result<usize, DecodeError> {
        let length = self.scalar::<u64>(A_LENGTH)?;
        match usize::try_from(length) {
            Ok(length) if length <= self.input.remaining().saturating_add(self.empty) => Ok(length),
            _ => Err(too_many(length, self.input.remaining())),
        }
    }

    /// Enters a level. It is not given back after an error, so that a type which goes on after one
    /// cannot make the bytes be read over and over.
    #[inline]
    fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        if self.levels == 0 {
            return Err(too_deep());
        }
        self.levels -= 1;
        let value = read(self)?;
        self.levels += 1;
        Ok(value)
    }

    /// Reads `length` elements, which count as empty as far as they outnumber the bytes they took.
    #[inline]
    fn elements<T>(
        &mut self,
        read: impl FnOnce(&mut Elements<'_, F, I>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let left = self.length()?;
        self.nested(|guard| {
            let before = guard.input.remaining();
            let mut elements = Elements::new(&mut *guard, left);
            let value = read(&mut elements)?;
            if elements.left > 0 {
                return Err(unread(elements.left));
            }
            let taken = before - guard.input.remaining();
            guard.empty =
                guard.empty.checked_sub(left.saturating_sub(taken)).ok_or_else(too_many_empty)?;
            Ok(value)
        })
    }
}

#[cold]
fn too_many(length: u64, left: usize) -> DecodeError {
    DecodeError::new(format!("a sequence claims {length} elements, but {left} bytes are left"))
}

#[cold]
fn unread(left: usize) -> DecodeError {
    let elements =
        if left == 1 { "element of a sequence was" } else { "elements of a sequence were" };
    DecodeError::new(format!(
        "{left} {elements} left unread: the type's Deserialize stops early, or the value was encoded \
         from another type"
    ))
}

/// Of an entry of a map beside its key, in bytes, as far as one can guess.
const ENTRY: usize = 32;

#[cold]
fn no_room(elements: usize, len: usize) -> DecodeError {
    DecodeError::new(format!(
        "there is no memory for a sequence of {elements} elements, which take {len} bytes: the \
         process is at its limit (RLIMIT_AS, ulimit -v) or the system at its own"
    ))
}

#[cold]
fn too_many_empty() -> DecodeError {
    DecodeError::new(TOO_MANY_EMPTY)
}

#[cold]
fn too_deep() -> DecodeError {
    DecodeError::new(TOO_DEEP)
}

#[cold]
fn unsupported(what: &str) -> DecodeError {
    DecodeError::new(format!(
        "{what} cannot be decoded from a format that does not describe itself: the type must not \
         use serde's flatten, tag or untagged attributes"
    ))
}

macro_rules! scalars {
    ($($method:ident $visit:ident $type:ty,)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            visitor.$visit(self.scalar::<$type>(stringify!($type))?)
        }
    )*};
}

impl<'de, F: Scalars, I: Lend<'de>> Deserializer<'de> for &mut Guard<F, I> {
    type Error = DecodeError;

    scalars! {
        deserialize_bool visit_bool bool,
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128,
        deserialize_f32 visit_f32 f32,
        deserialize_f64 visit_f64 f64,
        deserialize_char visit_char char,
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let length = self.byte_length()?;
        self.input.visit_str(length, visitor)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let length = self.byte_length()?;
        self.input.visit_bytes(length, visitor)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_bytes(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.scalar::<u8>(AN_OPTION)? {
            0 => visitor.visit_none(),
            1 => self.nested(|guard| visitor.visit_some(guard)),
            other => Err(DecodeError::new(format!("an option begins with 0 or 1, not {other}"))),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.elements(|elements| visitor.visit_seq(elements))
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(Fields { guard: self, left: length })
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_tuple(length, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.elements(|elements| visitor.visit_map(elements))
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.nested(|guard| visitor.visit_enum(guard))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, DecodeError> {
        Err(unsupported("a value of unknown type"))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, DecodeError> {
        Err(unsupported("a field's name"))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(
        self,
        _visitor: V,
    ) -> Result<V::Value, DecodeError> {
        Err(unsupported("an ignored value"))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The fields of a struct or tuple: as many as the type has.
struct Fields<'a, F, I> {
    guard: &'a mut Guard<F, I>,
    left: usize,
}

impl<'de, F: Scalars, I: Lend<'de>> SeqAccess<'de> for Fields<'_, F, I> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.guard).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The elements of a sequence or map: as many as the bytes say.
struct Elements<'a, F, I> {
    guard: &'a mut Guard<F, I>,
    left: usize,
    /// How many are left when room for them is looked for: before the first, if they are many.
    look_at: usize,
}

/// Of elements: fewer take so little memory that it is not looked for.
const MANY: usize = 4096;

impl<'a, F: Scalars, I: Input> Elements<'a, F, I> {
    #[inline]
    fn new(guard: &'a mut Guard<F, I>, left: usize) -> Self {
        // More than the bytes hold may be announced, of which there will never be so many.
        let many = left >= MANY && guard.input.remaining() >= MANY;
        Elements { guard, left, look_at: if many { left } else { usize::MAX } }
    }

    /// Looks whether there is memory for the elements, `size` bytes each, before a collection grows
    /// by them: that ends the process where there is none. No more is asked for than the bytes that
    /// are there can become, whatever number of elements they announce.
    ///
    /// One that grows by doubling takes twice as much in the end. It is not kept: whatever else
    /// allocates between this and the growing may still take it.
    #[cold]
    fn look_for_room(&self, size: usize) -> Result<(), DecodeError> {
        let len = self.hint().saturating_mul(size);
        match Vec::<u8>::new().try_reserve_exact(len.saturating_mul(2)) {
            Ok(()) => Ok(()),
            Err(_) => Err(no_room(self.left, len)),
        }
    }

    /// A collection reserves what the hint says, so it must not exceed what the bytes can hold.
    #[inline]
    fn hint(&self) -> usize {
        self.left.min(self.guard.input.remaining())
    }
}

impl<'de, F: Scalars, I: Lend<'de>> SeqAccess<'de> for Elements<'_, F, I> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        if self.left == self.look_at {
            self.look_for_room(size_of::<T::Value>())?;
        }
        self.left -= 1;
        seed.deserialize(&mut *self.guard).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

impl<'de, F: Scalars, I: Lend<'de>> MapAccess<'de> for Elements<'_, F, I> {
    type Error = DecodeError;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        if self.left == self.look_at {
            self.look_for_room(size_of::<K::Value>() + ENTRY)?;
        }
        self.left -= 1;
        seed.deserialize(&mut *self.guard).map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        seed.deserialize(&mut *self.guard)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

impl<'de, F: Scalars, I: Lend<'de>> EnumAccess<'de> for &mut Guard<F, I> {
    type Error = DecodeError;
    type Variant = Self;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), DecodeError> {
        let index: u32 = self.scalar(A_VARIANT)?;
        let variant =
            seed.deserialize(IntoDeserializer::<DecodeError>::into_deserializer(index))?;
        Ok((variant, self))
    }
}

impl<'de, F: Scalars, I: Lend<'de>> VariantAccess<'de> for &mut Guard<F, I> {
    type Error = DecodeError;

    #[inline]
    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, DecodeError> {
        seed.deserialize(self)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_tuple(length, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}
