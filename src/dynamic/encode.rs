//! Drives a codec's serializer by a shape.

use serde::ser::{Error, Serialize, SerializeMap, SerializeSeq, SerializeTuple, Serializer};

use super::check::{Form, Part, Place};
use super::shape::Integer;

/// A value whose shape was checked before.
impl Serialize for Place<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.part().map_err(S::Error::custom)? {
            Part::Unit => serializer.serialize_unit(),
            Part::Bool(value) => serializer.serialize_bool(value),
            Part::Integer(of, bits) => match of {
                Integer::I8 => serializer.serialize_i8(bits as i8),
                Integer::I16 => serializer.serialize_i16(bits as i16),
                Integer::I32 => serializer.serialize_i32(bits as i32),
                Integer::I64 => serializer.serialize_i64(bits as i64),
                Integer::I128 => serializer.serialize_i128(bits as i128),
                Integer::U8 => serializer.serialize_u8(bits as u8),
                Integer::U16 => serializer.serialize_u16(bits as u16),
                Integer::U32 => serializer.serialize_u32(bits as u32),
                Integer::U64 => serializer.serialize_u64(bits as u64),
                Integer::U128 => serializer.serialize_u128(bits),
            },
            Part::F32(number) => serializer.serialize_f32(number),
            Part::F64(number) => serializer.serialize_f64(number),
            Part::Char(c) => serializer.serialize_char(c),
            Part::Str(text) => serializer.serialize_str(text),
            Part::Bytes(bytes) => serializer.serialize_bytes(&bytes),
            Part::None => serializer.serialize_none(),
            Part::Some(inner) => serializer.serialize_some(&inner),
            Part::Seq(places) => {
                let mut seq = serializer.serialize_seq(Some(places.len()))?;
                for place in &places {
                    seq.serialize_element(place)?;
                }
                seq.end()
            }
            Part::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in &entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
            Part::Tuple(places) => fields(serializer, places.iter()),
            // The names would have to live as long as the program, and binary codecs write none.
            Part::Struct(places) if self.form == Form::Binary => {
                fields(serializer, places.iter().map(|(_, place)| place))
            }
            Part::Struct(places) => {
                let mut map = serializer.serialize_map(Some(places.len()))?;
                for (name, place) in &places {
                    map.serialize_entry(name, place)?;
                }
                map.end()
            }
            Part::Variant { number, name, content } => match (self.form, content) {
                (Form::Binary, None) => serializer.serialize_unit_variant("", number, ""),
                (Form::Binary, Some(content)) => {
                    serializer.serialize_newtype_variant("", number, "", &content)
                }
                (Form::Json, None) => serializer.serialize_str(name),
                (Form::Json, Some(content)) => {
                    let mut map = serializer.serialize_map(Some(1))?;
                    map.serialize_entry(name, &content)?;
                    map.end()
                }
            },
            Part::Whatever(value) => value.serialize(serializer),
        }
    }
}

fn fields<'p, 'v: 'p, S: Serializer>(
    serializer: S,
    places: impl ExactSizeIterator<Item = &'p Place<'v>>,
) -> Result<S::Ok, S::Error> {
    let mut tuple = serializer.serialize_tuple(places.len())?;
    for place in places {
        tuple.serialize_element(place)?;
    }
    tuple.end()
}
