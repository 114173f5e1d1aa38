//! The counterpart of the guard: a serde serializer that writes nothing which its receiver refuses.
//!
//! The two formats write no names and no types, so a value that leaves a field out, or writes
//! another number of elements than it announced, is read as something else, without an error. And
//! what the guard refuses, for its depth or for its elements without bytes, is lost. So
//! [`Encoder`] writes the structure itself, counts what was written, and leaves the scalars to the
//! format's library ([`Scalars`]).
//!
//! Where the type says how many fields there are, the compiler does the counting: the check of a
//! plain struct leaves no instruction.

use std::any::type_name;
use std::fmt::Display;

use serde::de::DeserializeOwned;
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::guard::{
    A_LENGTH, A_VARIANT, AN_OPTION, EMPTY_ELEMENTS, LEVELS, Scalars, TOO_DEEP, TOO_MANY_EMPTY,
};
use super::structure::{self, OUT_OF_TURN, Of, miscounted, within_field, within_number};
use super::{EncodeError, Writer};
use crate::schema::shapes::{self, ShapeOf};

/// Encodes one value, and gives the format back.
#[inline]
pub(super) fn encode<F: Scalars, T: Serialize + DeserializeOwned>(
    value: &T,
    out: &mut Writer<'_>,
    format: F,
) -> Result<F, EncodeError> {
    let mut encoder = Encoder {
        out,
        empty: EMPTY_ELEMENTS,
        shape_of: shapes::shape_of::<T>,
        fields: shapes::UNKNOWN,
        doubtful: false,
        format,
    };
    let whole = Place { encoder: &mut encoder, levels: LEVELS };
    whole.part(value).map_err(|error| error.within_type(type_name::<T>()))?;
    if encoder.doubtful {
        structure::check(encoder.shape_of, value, false)?;
    }
    Ok(encoder.format)
}

/// Encodes a value that vouches for being written as it is read, and announces no tuple by a name.
#[cfg(not(loom))]
pub(super) fn encode_untyped<F: Scalars>(
    value: &impl Serialize,
    out: &mut Writer<'_>,
    format: F,
) -> Result<(), EncodeError> {
    let mut encoder = Encoder {
        out,
        empty: EMPTY_ELEMENTS,
        shape_of: shapes::shape_of::<()>,
        fields: shapes::UNKNOWN,
        doubtful: false,
        format,
    };
    Place { encoder: &mut encoder, levels: LEVELS }.part(value)
}

pub(super) struct Encoder<'a, 'b, F> {
    out: &'a mut Writer<'b>,
    /// How many more elements may take no bytes.
    empty: usize,
    shape_of: ShapeOf,
    /// How many fields every tuple is read with, as far as that is known.
    fields: usize,
    /// A part may be read as something else.
    doubtful: bool,
    format: F,
}

impl<F: Scalars> Encoder<'_, '_, F> {
    #[inline]
    fn scalar<T: Serialize>(&mut self, what: &'static str, value: T) -> Result<(), EncodeError> {
        self.format.write(what, value, self.out)
    }

    #[inline]
    fn announce(&mut self, name: &'static str, variant: &'static str, fields: usize) {
        if fields != self.fields {
            // NB: all in registers, which neither the encoder's address nor a struct would be.
            let (all, so) = shapes::is_read_so(self.shape_of, self.fields, name, variant, fields);
            self.fields = all;
            self.doubtful |= !so;
        }
    }
}

/// A place in the value, and the serializer of what stands there.
pub(super) struct Place<'e, 'a, 'b, F> {
    encoder: &'e mut Encoder<'a, 'b, F>,
    /// How many more levels may be entered.
    levels: u32,
}

impl<'e, 'a, 'b, F: Scalars> Place<'e, 'a, 'b, F> {
    #[inline]
    fn scalar<T: Serialize>(self, what: &'static str, value: T) -> Result<(), EncodeError> {
        self.encoder.scalar(what, value)
    }

    /// Goes on one level below.
    #[inline]
    fn enter(self) -> Result<Self, EncodeError> {
        match self.levels.checked_sub(1) {
            Some(levels) => Ok(Place { encoder: self.encoder, levels }),
            None => Err(too_deep()),
        }
    }

    /// Begins a variant, whose content is a level.
    #[inline]
    fn variant(self, index: u32) -> Result<Self, EncodeError> {
        self.encoder.scalar(A_VARIANT, index)?;
        self.enter()
    }

    /// Writes what stands here.
    #[inline]
    fn part<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        if size_of_val(value) > 0 {
            return value.serialize(self);
        }
        // What has nothing in memory has no bytes either, and none are read.
        let Place { encoder, levels } = self;
        let doubtful = encoder.doubtful;
        value.serialize(Place { encoder: &mut *encoder, levels })?;
        encoder.doubtful = doubtful;
        Ok(())
    }

    /// Something is without bytes that takes some in memory, as where a `with` module writes nothing
    /// for `None`.
    #[inline]
    fn nothing(self) {
        self.encoder.doubtful = true;
    }

    #[inline]
    fn fields(self, of: Of, announced: usize) -> Fields<'e, 'a, 'b, F> {
        let Place { encoder, levels } = self;
        if announced == 0 && !matches!(of, Of::Variant(..)) {
            encoder.doubtful = true;
        }
        Fields { encoder, levels, of, announced, written: 0, last: "" }
    }
}

#[cold]
fn too_deep() -> EncodeError {
    EncodeError::refused(TOO_DEEP)
}

macro_rules! scalars {
    ($($method:ident $type:ty,)*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<(), EncodeError> {
            self.scalar(stringify!($type), value)
        }
    )*};
}

impl<'e, 'a, 'b, F: Scalars> Serializer for Place<'e, 'a, 'b, F> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Elements<'e, 'a, 'b, F>;
    type SerializeTuple = Fields<'e, 'a, 'b, F>;
    type SerializeTupleStruct = Fields<'e, 'a, 'b, F>;
    type SerializeTupleVariant = Fields<'e, 'a, 'b, F>;
    type SerializeMap = Elements<'e, 'a, 'b, F>;
    type SerializeStruct = Fields<'e, 'a, 'b, F>;
    type SerializeStructVariant = Fields<'e, 'a, 'b, F>;

    scalars! {
        serialize_bool bool,
        serialize_i8 i8,
        serialize_i16 i16,
        serialize_i32 i32,
        serialize_i64 i64,
        serialize_i128 i128,
        serialize_u8 u8,
        serialize_u16 u16,
        serialize_u32 u32,
        serialize_u64 u64,
        serialize_u128 u128,
        serialize_f32 f32,
        serialize_f64 f64,
        serialize_char char,
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), EncodeError> {
        self.serialize_bytes(value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), EncodeError> {
        self.encoder.scalar(A_LENGTH, value.len() as u64)?;
        Ok(self.encoder.out.write(value)?)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), EncodeError> {
        self.scalar(AN_OPTION, 0_u8)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        self.encoder.scalar(AN_OPTION, 1_u8)?;
        self.enter()?.part(value)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), EncodeError> {
        self.nothing();
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), EncodeError> {
        self.nothing();
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
    ) -> Result<(), EncodeError> {
        self.variant(index).map(drop)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.variant(index)?.part(value).map_err(|error| error.within("::", variant))
    }

    #[inline]
    fn serialize_seq(self, length: Option<usize>) -> Result<Self::SerializeSeq, EncodeError> {
        Elements::begin(self, Of::Sequence, length)
    }

    #[inline]
    fn serialize_map(self, length: Option<usize>) -> Result<Self::SerializeMap, EncodeError> {
        Elements::begin(self, Of::Map, length)
    }

    #[inline]
    fn serialize_tuple(self, length: usize) -> Result<Self::SerializeTuple, EncodeError> {
        Ok(self.fields(Of::Tuple, length))
    }

    #[inline]
    fn serialize_tuple_struct(
        self,
        name: &'static str,
        length: usize,
    ) -> Result<Self::SerializeTupleStruct, EncodeError> {
        self.encoder.announce(name, "", length);
        Ok(self.fields(Of::Struct(name), length))
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self::SerializeTupleVariant, EncodeError> {
        self.encoder.announce(name, variant, length);
        self.serialize_struct_variant(name, index, variant, length)
    }

    #[inline]
    fn serialize_struct(
        self,
        name: &'static str,
        length: usize,
    ) -> Result<Self::SerializeStruct, EncodeError> {
        Ok(self.fields(Of::Struct(name), length))
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self::SerializeStructVariant, EncodeError> {
        Ok(self.variant(index)?.fields(Of::Variant(name, variant), length))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        self.serialize_str(&value.to_string())
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The fields of a struct, tuple or variant.
pub(super) struct Fields<'e, 'a, 'b, F> {
    encoder: &'e mut Encoder<'a, 'b, F>,
    /// How many more levels may be entered in them.
    levels: u32,
    of: Of,
    announced: usize,
    written: usize,
    /// The field written last, if it has a name.
    last: &'static str,
}

impl<F: Scalars> Fields<'_, '_, '_, F> {
    #[inline]
    fn named<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        let of = self.of;
        let place = Place { encoder: &mut *self.encoder, levels: self.levels };
        place.part(value).map_err(|error| within_field(error, of.variant(), key))?;
        // Counted when written: a `Serialize` that goes on after an error is found out at the end.
        self.written = self.written.wrapping_add(1);
        self.last = key;
        Ok(())
    }

    #[inline]
    fn numbered<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        let (of, number) = (self.of, self.written);
        let place = Place { encoder: &mut *self.encoder, levels: self.levels };
        place.part(value).map_err(|error| within_number(error, of.variant(), number))?;
        self.written = self.written.wrapping_add(1);
        Ok(())
    }

    #[inline]
    fn finish(self) -> Result<(), EncodeError> {
        if self.written != self.announced {
            return Err(miscounted(self.of, self.announced, self.written, self.last));
        }
        Ok(())
    }

    #[cold]
    fn skipped(&self, key: &'static str) -> EncodeError {
        let what = format!(
            "this field of {} is skipped (serde's `skip_serializing_if`), and this codec writes no \
             names: the receiver would take what follows for it; always write it, or use a codec \
             whose format describes itself, such as Json",
            self.of.name()
        );
        EncodeError::refused(&what).within_step(|| self.of.step(key))
    }
}

/// The elements of a sequence, or the entries of a map.
pub(super) struct Elements<'e, 'a, 'b, F> {
    encoder: &'e mut Encoder<'a, 'b, F>,
    /// How many more levels may be entered in them.
    levels: u32,
    of: Of,
    announced: usize,
    /// Values, not elements.
    written: usize,
    /// How long the encoding was before the first.
    start: usize,
}

impl<'e, 'a, 'b, F: Scalars> Elements<'e, 'a, 'b, F> {
    #[inline]
    fn begin(
        place: Place<'e, 'a, 'b, F>,
        of: Of,
        length: Option<usize>,
    ) -> Result<Self, EncodeError> {
        let Some(announced) = length else {
            return Err(EncodeError::refused(UNKNOWN_LENGTH));
        };
        place.encoder.scalar(A_LENGTH, announced as u64)?;
        let Place { encoder, levels } = place.enter()?;
        let start = encoder.out.len();
        Ok(Elements { encoder, levels, of, announced, written: 0, start })
    }

    #[inline]
    fn value<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
        step: &'static str,
    ) -> Result<(), EncodeError> {
        let place = Place { encoder: &mut *self.encoder, levels: self.levels };
        place.part(value).map_err(|error| error.within("", step))?;
        self.written = self.written.wrapping_add(1);
        Ok(())
    }

    #[inline]
    fn finish(self) -> Result<(), EncodeError> {
        if self.written != self.announced.wrapping_mul(self.of.each()) {
            let values = self.announced.wrapping_mul(self.of.each());
            return Err(miscounted(self.of, values, self.written, ""));
        }
        // As the guard counts them.
        let taken = self.encoder.out.len().wrapping_sub(self.start);
        if self.announced > taken {
            let empty = self.encoder.empty.checked_sub(self.announced - taken);
            self.encoder.empty = empty.ok_or_else(|| EncodeError::refused(TOO_MANY_EMPTY))?;
        }
        Ok(())
    }
}

const UNKNOWN_LENGTH: &str = "a sequence must say its length: collect it into a Vec first";

impl<F: Scalars> SerializeSeq for Elements<'_, '_, '_, F> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.value(value, "[]")
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl<F: Scalars> SerializeMap for Elements<'_, '_, '_, F> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        if !self.written.is_multiple_of(2) {
            return Err(EncodeError::refused(OUT_OF_TURN));
        }
        self.value(key, ".key")
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        if self.written.is_multiple_of(2) {
            return Err(EncodeError::refused(OUT_OF_TURN));
        }
        self.value(value, ".value")
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

impl<F: Scalars> SerializeTuple for Fields<'_, '_, '_, F> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.numbered(value)
    }

    #[inline]
    fn end(self) -> Result<(), EncodeError> {
        self.finish()
    }
}

macro_rules! numbered_fields {
    ($($compound:ident)*) => {$(
        impl<F: Scalars> $compound for Fields<'_, '_, '_, F> {
            type Ok = ();
            type Error = EncodeError;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                value: &T,
            ) -> Result<(), EncodeError> {
                self.numbered(value)
            }

            #[inline]
            fn end(self) -> Result<(), EncodeError> {
                self.finish()
            }
        }
    )*};
}

macro_rules! named_fields {
    ($($compound:ident)*) => {$(
        impl<F: Scalars> $compound for Fields<'_, '_, '_, F> {
            type Ok = ();
            type Error = EncodeError;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), EncodeError> {
                self.named(key, value)
            }

            fn skip_field(&mut self, key: &'static str) -> Result<(), EncodeError> {
                Err(self.skipped(key))
            }

            #[inline]
            fn end(self) -> Result<(), EncodeError> {
                self.finish()
            }
        }
    )*};
}

numbered_fields! { SerializeTupleStruct SerializeTupleVariant }
named_fields! { SerializeStruct SerializeStructVariant }
