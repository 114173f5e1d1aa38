//! A serializer around serde_json's that refuses what would not come back.

use std::cell::{Cell, RefCell};
use std::fmt::Display;

use serde::de::DeserializeOwned;
use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::LEVELS;
use crate::codec::EncodeError;
use crate::codec::structure::{OUT_OF_TURN, Of, miscounted};
use crate::schema::shapes::{self, ShapeOf};

const TOO_DEEP: &str = "arrays and objects nest more than 127 deep in the value";

/// What is known of a value while it is written.
pub(super) struct State {
    /// How many more levels may be entered.
    levels: Cell<u32>,
    shape_of: ShapeOf,
    /// How many fields every tuple is read with, as far as that is known.
    fields: Cell<usize>,
    /// A tuple may be read with another number of fields.
    doubtful: Cell<bool>,
    refused: RefCell<Option<EncodeError>>,
}

impl State {
    pub(super) fn of<T: DeserializeOwned>() -> Self {
        State {
            levels: Cell::new(LEVELS),
            shape_of: shapes::shape_of::<T>,
            fields: Cell::new(shapes::UNKNOWN),
            doubtful: Cell::new(false),
            refused: RefCell::new(None),
        }
    }

    /// What was refused first, also where a `Serialize` made nothing of it.
    pub(super) fn take_refused(&self) -> Option<EncodeError> {
        self.refused.take()
    }

    /// Whether a tuple may be read with another number of fields.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful.get()
    }

    /// The first refusal counts.
    fn refuse<E: Error>(&self, error: EncodeError) -> E {
        let custom = E::custom(&error);
        self.refused.borrow_mut().get_or_insert(error);
        custom
    }

    fn enter<E: Error>(&self, levels: u32) -> Result<(), E> {
        match self.levels.get().checked_sub(levels) {
            Some(left) => self.levels.set(left),
            None => return Err(self.refuse(EncodeError::refused(TOO_DEEP))),
        }
        Ok(())
    }

    fn announce(&self, name: &'static str, variant: &'static str, fields: usize) {
        let all = self.fields.get();
        let (all, so) = shapes::is_read_so(self.shape_of, all, name, variant, fields);
        self.fields.set(all);
        self.doubtful.set(self.doubtful.get() || !so);
    }

    fn leave(&self, levels: u32) {
        self.levels.set(self.levels.get() + levels);
    }

    /// Says where the refusal was, if `result` is one.
    fn within<R, E>(&self, result: Result<R, E>, step: impl FnOnce() -> String) -> Result<R, E> {
        if result.is_err() {
            let mut refused = self.refused.borrow_mut();
            *refused = refused.take().map(|error| error.within_step(step));
        }
        result
    }
}

/// A value, or a part of one, that is serialized through [`Checked`].
pub(super) struct Part<'v, T: ?Sized> {
    value: &'v T,
    state: &'v State,
    /// What is directly in a `Some`.
    in_some: bool,
}

impl<'v, T: ?Sized> Part<'v, T> {
    pub(super) fn of(value: &'v T, state: &'v State) -> Self {
        Part { value, state, in_some: false }
    }
}

impl<T: Serialize + ?Sized> Serialize for Part<'_, T> {
    fn serialize<S: Serializer>(&self, inner: S) -> Result<S::Ok, S::Error> {
        let Part { state, in_some, .. } = *self;
        self.value.serialize(Checked { inner, state, in_some })
    }
}

/// serde_json's serializer, or that of its keys, and what is refused beside it.
struct Checked<'s, S> {
    inner: S,
    state: &'s State,
    in_some: bool,
}

impl<'s, S: Serializer> Checked<'s, S> {
    fn null(&self) -> Result<(), S::Error> {
        if !self.in_some {
            return Ok(());
        }
        Err(self.state.refuse(EncodeError::refused(
            "a Some of what JSON writes as null would come back as None",
        )))
    }

    fn finite(&self, value: f64) -> Result<(), S::Error> {
        if value.is_finite() {
            return Ok(());
        }
        let what = format!("JSON has no number for {value}");
        Err(self.state.refuse(EncodeError::refused(&what)))
    }

    fn compound<C>(
        self,
        of: Of,
        announced: Option<usize>,
        levels: u32,
        begin: impl FnOnce(S) -> Result<C, S::Error>,
    ) -> Result<Compound<'s, C>, S::Error> {
        self.state.enter::<S::Error>(levels)?;
        let inner = begin(self.inner)?;
        Ok(Compound { inner, state: self.state, of, announced, written: 0, last: "", levels })
    }
}

macro_rules! scalars {
    ($($method:ident $type:ty,)*) => {$(
        fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.inner.$method(value)
        }
    )*};
}

impl<'s, S: Serializer> Serializer for Checked<'s, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Compound<'s, S::SerializeSeq>;
    type SerializeTuple = Compound<'s, S::SerializeTuple>;
    type SerializeTupleStruct = Compound<'s, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Compound<'s, S::SerializeTupleVariant>;
    type SerializeMap = Compound<'s, S::SerializeMap>;
    type SerializeStruct = Compound<'s, S::SerializeStruct>;
    type SerializeStructVariant = Compound<'s, S::SerializeStructVariant>;

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
        serialize_char char,
        serialize_str &str,
        serialize_bytes &[u8],
    }

    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        self.finite(value.into())?;
        self.inner.serialize_f32(value)
    }

    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        self.finite(value)?;
        self.inner.serialize_f64(value)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.null()?;
        self.inner.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_some(&Part { value, state: self.state, in_some: true })
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.null()?;
        self.inner.serialize_unit()
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        self.null()?;
        self.inner.serialize_unit_struct(name)
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let Checked { inner, state, in_some } = self;
        inner.serialize_newtype_struct(name, &Part { value, state, in_some })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let Checked { inner, state, .. } = self;
        state.enter::<S::Error>(1)?;
        let part = Part::of(value, state);
        let written = inner.serialize_newtype_variant(name, index, variant, &part);
        state.leave(1);
        state.within(written, || format!("::{variant}"))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.compound(Of::Sequence, length, 1, |inner| inner.serialize_seq(length))
    }

    fn serialize_tuple(self, length: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.compound(Of::Tuple, Some(length), 1, |inner| inner.serialize_tuple(length))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        length: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.state.announce(name, "", length);
        let begin = |inner: S| inner.serialize_tuple_struct(name, length);
        self.compound(Of::Struct(name), Some(length), 1, begin)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.state.announce(name, variant, length);
        let begin = |inner: S| inner.serialize_tuple_variant(name, index, variant, length);
        self.compound(Of::Variant(name, variant), Some(length), 2, begin)
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        let values = length.map(|length| length.saturating_mul(2));
        self.compound(Of::Map, values, 1, |inner| inner.serialize_map(length))
    }

    fn serialize_struct(
        self,
        name: &'static str,
        length: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        let begin = |inner: S| inner.serialize_struct(name, length);
        self.compound(Of::Struct(name), Some(length), 1, begin)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        let begin = |inner: S| inner.serialize_struct_variant(name, index, variant, length);
        self.compound(Of::Variant(name, variant), Some(length), 2, begin)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// What has parts, around serde_json's.
struct Compound<'s, C> {
    inner: C,
    state: &'s State,
    of: Of,
    /// How many parts are to come, if it said so.
    announced: Option<usize>,
    written: usize,
    /// The field written last, if it has a name.
    last: &'static str,
    /// How many levels it is.
    levels: u32,
}

impl<C> Compound<'_, C> {
    /// Writes a part, and counts it when it is written.
    fn part<E>(
        &mut self,
        step: impl FnOnce(&Self) -> String,
        write: impl FnOnce(&mut C) -> Result<(), E>,
    ) -> Result<(), E> {
        let written = write(&mut self.inner);
        self.state.within(written, || step(self))?;
        self.written += 1;
        Ok(())
    }

    fn numbered(&self) -> String {
        self.of.step(&self.written.to_string())
    }

    fn in_turn<E: Error>(&self, value: bool) -> Result<(), E> {
        if self.written.is_multiple_of(2) == value {
            return Err(self.state.refuse(EncodeError::refused(OUT_OF_TURN)));
        }
        Ok(())
    }

    fn finish<O, E: Error>(self, end: impl FnOnce(C) -> Result<O, E>) -> Result<O, E> {
        if self.announced.is_some_and(|announced| announced != self.written) {
            let announced = self.announced.unwrap_or_default();
            let error = miscounted(self.of, announced, self.written, self.last);
            return Err(self.state.refuse(error));
        }
        if matches!(self.of, Of::Map) && !self.written.is_multiple_of(2) {
            return Err(self.state.refuse(EncodeError::refused(OUT_OF_TURN)));
        }
        self.state.leave(self.levels);
        end(self.inner)
    }
}

impl<C: SerializeSeq> SerializeSeq for Compound<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        let part = Part::of(value, self.state);
        self.part(|_| "[]".to_owned(), |inner| inner.serialize_element(&part))
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.finish(C::end)
    }
}

impl<C: SerializeTuple> SerializeTuple for Compound<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        let part = Part::of(value, self.state);
        self.part(Self::numbered, |inner| inner.serialize_element(&part))
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.finish(C::end)
    }
}

impl<C: SerializeMap> SerializeMap for Compound<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        self.in_turn(false)?;
        let part = Part::of(key, self.state);
        self.part(|_| ".key".to_owned(), |inner| inner.serialize_key(&part))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        self.in_turn(true)?;
        let part = Part::of(value, self.state);
        self.part(|_| ".value".to_owned(), |inner| inner.serialize_value(&part))
    }

    fn end(self) -> Result<C::Ok, C::Error> {
        self.finish(C::end)
    }
}

macro_rules! numbered_fields {
    ($($compound:ident)*) => {$(
        impl<C: $compound> $compound for Compound<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                value: &T,
            ) -> Result<(), C::Error> {
                let part = Part::of(value, self.state);
                self.part(Self::numbered, |inner| inner.serialize_field(&part))
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.finish(C::end)
            }
        }
    )*};
}

macro_rules! named_fields {
    ($($compound:ident)*) => {$(
        impl<C: $compound> $compound for Compound<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), C::Error> {
                let part = Part::of(value, self.state);
                self.part(|of| of.of.step(key), |inner| inner.serialize_field(key, &part))?;
                self.last = key;
                Ok(())
            }

            /// The names that stay say which field it was: its default is read, if it has one.
            fn skip_field(&mut self, key: &'static str) -> Result<(), C::Error> {
                self.inner.skip_field(key)
            }

            fn end(self) -> Result<C::Ok, C::Error> {
                self.finish(C::end)
            }
        }
    )*};
}

numbered_fields! { SerializeTupleStruct SerializeTupleVariant }
named_fields! { SerializeStruct SerializeStructVariant }
