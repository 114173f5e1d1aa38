//! Finds out whether a type reads what it writes, scalar by scalar.
//!
//! The bytes alone do not always tell: three zeros are a tuple of three bytes as well as the beginning
//! of a length. So what each scalar is, and where it stands, is noted while a value is encoded, and
//! compared while it is decoded.

use std::cell::RefCell;

use serde::de::DeserializeOwned;
use serde::ser::Serialize;

use super::guard::{self, Input, Scalars};
use super::{DecodeError, EncodeError, Schema, Writer, encoder};
use crate::schema::Format;

/// The schema of `T`, the samples of which come back from their encoding.
pub(super) fn schema<F: Scalars + Copy, T: Serialize + DeserializeOwned>(format: F) -> Schema {
    let scalars = RefCell::new(Vec::new());
    Schema::checked::<T>(
        |value, out| {
            let noted = Noted { format, scalars: Vec::new(), len: 0 };
            *scalars.borrow_mut() = encoder::encode(value, out, noted)?.scalars;
            Ok(())
        },
        |input| {
            let (scalars, len) = (scalars.take(), input.remaining());
            guard::decode(input, Noted { format, scalars, len })
        },
        Format::Bare,
    )
}

/// The scalars of a format: noted when they are written, compared when they are read.
struct Noted<F> {
    format: F,
    /// Where each begins and what it is, in this order.
    scalars: Vec<(usize, &'static str)>,
    /// How many bytes the value has that is decoded.
    len: usize,
}

impl<F: Scalars> Scalars for Noted<F> {
    fn read<T: DeserializeOwned>(
        &mut self,
        what: &'static str,
        input: &mut impl Input,
    ) -> Result<T, DecodeError> {
        let at = self.len - input.remaining();
        let written = match self.scalars.binary_search_by_key(&at, |&(at, _)| at) {
            Ok(number) => self.scalars[number].1,
            // Bytes may be read one by one.
            Err(_) if at < self.len => "u8",
            Err(_) => what,
        };
        if written != what && !(is_a_byte(written) && is_a_byte(what)) {
            return Err(DecodeError::new(format!("{what} is read where {written} is written")));
        }
        self.format.read(what, input)
    }

    fn write<T: Serialize>(
        &mut self,
        what: &'static str,
        value: T,
        out: &mut Writer<'_>,
    ) -> Result<(), EncodeError> {
        self.scalars.push((out.len(), what));
        self.format.write(what, value, out)
    }
}

fn is_a_byte(what: &str) -> bool {
    matches!(what, "u8" | "i8" | "bool")
}
