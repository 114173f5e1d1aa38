//! Drives a codec's deserializer by a shape.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::check::MAX_DEPTH;
use super::shape::{Content, Enum, Integer, Node, Shape};
use super::value::{AnyValue, Value, expected, scalars};

/// How many parts a value may have beside those for which it has bytes: shapes of parts without bytes are the other
/// program's to choose.
const PARTS: usize = 1 << 18;
/// For each byte.
const PARTS_OF_A_BYTE: usize = 16;

/// Of a whole value, how many parts it may still have.
pub(super) struct Budget(Cell<usize>);

impl Budget {
    /// For a value that is encoded in so many bytes.
    pub(super) fn of(len: usize) -> Self {
        Budget(Cell::new(len.saturating_mul(PARTS_OF_A_BYTE).saturating_add(PARTS)))
    }
}

/// A place in a shape that is to be decoded.
#[derive(Clone, Copy)]
pub(super) struct Seed<'s> {
    shape: &'s Shape,
    node: usize,
    budget: &'s Budget,
    /// How many more places may be entered.
    depth: u32,
}

impl<'s> Seed<'s> {
    pub(super) fn of(shape: &'s Shape, budget: &'s Budget) -> Self {
        Seed { shape, node: shape.root(), budget, depth: MAX_DEPTH }
    }

    /// Goes on one place below.
    fn at<E: Error>(&self, node: usize) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Seed { node, depth, ..*self }),
            None => Err(E::custom("the value nests too deep for its shape")),
        }
    }

    fn node(&self) -> &'s Node {
        self.shape.behind_newtypes(self.node).1
    }

    fn unknown<E: Error>(&self) -> E {
        E::custom("a part of the value is of a type of which only the name is known")
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.budget.0.get().checked_sub(1);
        let too_many = || D::Error::custom("the value has more parts than its bytes account for");
        self.budget.0.set(left.ok_or_else(too_many)?);
        match self.node() {
            Node::Unit => deserializer.deserialize_unit(self),
            Node::Bool => deserializer.deserialize_bool(self),
            Node::Integer { of, .. } => match of {
                Integer::I8 => deserializer.deserialize_i8(self),
                Integer::I16 => deserializer.deserialize_i16(self),
                Integer::I32 => deserializer.deserialize_i32(self),
                Integer::I64 => deserializer.deserialize_i64(self),
                Integer::I128 => deserializer.deserialize_i128(self),
                Integer::U8 => deserializer.deserialize_u8(self),
                Integer::U16 => deserializer.deserialize_u16(self),
                Integer::U32 => deserializer.deserialize_u32(self),
                Integer::U64 => deserializer.deserialize_u64(self),
                Integer::U128 => deserializer.deserialize_u128(self),
            },
            Node::F32 => deserializer.deserialize_f32(self),
            Node::F64 => deserializer.deserialize_f64(self),
            Node::Char => deserializer.deserialize_char(self),
            Node::Str => deserializer.deserialize_string(self),
            Node::Bytes => deserializer.deserialize_byte_buf(self),
            // Each of these bytes alone would take as much memory as any value.
            Node::Seq(element) if self.shape.is_byte(*element) => {
                deserializer.deserialize_byte_buf(self)
            }
            Node::Option(_) => deserializer.deserialize_option(self),
            Node::Seq(_) => deserializer.deserialize_seq(self),
            Node::Map(..) => deserializer.deserialize_map(self),
            Node::Tuple(nodes) => deserializer.deserialize_tuple(nodes.len(), self),
            Node::Array(_, length) => deserializer.deserialize_tuple(*length, self),
            Node::Struct(fields) => deserializer.deserialize_tuple(fields.len(), self),
            Node::Enum(_) => deserializer.deserialize_enum("", &[], self),
            Node::Any | Node::Foreign(_) | Node::Newtype(_) => Err(self.unknown()),
        }
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of the shape that the channel carries")
    }

    scalars! {
        visit_bool bool,
        visit_f32 f32,
        visit_f64 f64,
        visit_char char,
        visit_str &str,
        visit_string String,
        visit_bytes &[u8],
        visit_byte_buf Vec<u8>,
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        self.visit_i128(number.into())
    }

    fn visit_i128<E: Error>(self, number: i128) -> Result<Value, E> {
        match self.node() {
            Node::Integer { nonzero: true, .. } if number == 0 => {
                Err(E::custom("a number that must not be zero is"))
            }
            _ => Ok(Value::Integer(number)),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        self.visit_i128(number.into())
    }

    fn visit_u128<E: Error>(self, number: u128) -> Result<Value, E> {
        match i128::try_from(number) {
            Ok(number) => self.visit_i128(number),
            Err(_) => Ok(Value::LargeInteger(number)),
        }
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Node::Option(inner) = self.node() else { return Err(self.unknown()) };
        let value = self.at::<D::Error>(*inner)?.deserialize(deserializer)?;
        Ok(match self.shape.may_be_null(*inner) {
            true => Value::Some(Box::new(value)),
            false => value,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::with_capacity(expected(seq.size_hint()));
        let mut next = |node: usize| seq.next_element_seed(self.at::<A::Error>(node)?);
        let too_few = || A::Error::custom("a value has fewer parts than its shape");
        match self.node() {
            Node::Seq(element) => {
                while let Some(value) = next(*element)? {
                    values.push(value);
                }
            }
            Node::Tuple(nodes) => {
                for &node in nodes {
                    values.push(next(node)?.ok_or_else(too_few)?);
                }
            }
            Node::Array(node, length) => {
                for _ in 0..*length {
                    values.push(next(*node)?.ok_or_else(too_few)?);
                }
            }
            Node::Struct(fields) => {
                let mut entries = Vec::with_capacity(fields.len());
                for (name, node) in fields {
                    let value = next(*node)?.ok_or_else(too_few)?;
                    entries.push((Value::from(name.as_str()), value));
                }
                return Ok(Value::Map(entries));
            }
            _ => return Err(self.unknown()),
        }
        Ok(Value::Seq(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let Node::Map(key, value) = self.node() else { return Err(self.unknown()) };
        let mut entries = Vec::with_capacity(expected(map.size_hint()));
        while let Some(key) = map.next_key_seed(self.at::<A::Error>(*key)?)? {
            entries.push((key, map.next_value_seed(self.at::<A::Error>(*value)?)?));
        }
        Ok(Value::Map(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Value, A::Error> {
        let Node::Enum(of) = self.node() else { return Err(self.unknown()) };
        let (number, content) = data.variant::<u32>()?;
        let variant = known(of, number).ok_or_else(|| {
            let last = of.variants.len();
            A::Error::custom(format!("variant {number} of {} is read, which has {last}", of.name))
        })?;
        let name = Value::from(variant.names[0].as_str());
        match variant.content {
            Content::None => content.unit_variant().map(|()| name),
            Content::Of(node) => {
                let value = content.newtype_variant_seed(self.at::<A::Error>(node)?)?;
                Ok(Value::Map(vec![(name, value)]))
            }
            Content::Refused => Err(A::Error::custom(format!(
                "no receiver takes variant {:?} of {}",
                variant.names[0], of.name
            ))),
        }
    }
}

/// The variant of this number, or that which stands for all others.
fn known(of: &Enum, number: u32) -> Option<&super::shape::Variant> {
    let last = of.variants.last().filter(|_| of.others);
    of.variants.get(number as usize).or(last)
}
