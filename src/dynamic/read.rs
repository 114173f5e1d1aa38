//! Reads a value of a shape from an input that describes itself.
//!
//! The input says what there is, and the shape only where an integer may have more than 64 bits, which JSON's readers
//! take for a float. So whatever the input holds is read, and [`Shape::check`] says what is wrong with it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::shape::{Content, Integer, Node, Shape};
use super::value::{AnyValue, Value, expected, scalars};

impl Shape {
    /// Reads a value from a format that describes itself, such as JSON.
    ///
    /// [`Value`]'s own `Deserialize` takes no shape, and a reader of JSON then makes a float of an integer of more than
    /// 64 bits: with the shape it stays what it is, but for one within an option of an option. What is read is not
    /// checked.
    ///
    /// # Errors
    /// Those of the format.
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// use sysv_channel::dynamic::{Shape, Value};
    ///
    /// let shape: Shape = "seq<u128>".parse()?;
    /// let mut json = serde_json::Deserializer::from_str("[340282366920938463463374607431768211455]");
    /// assert_eq!(shape.read(&mut json)?, Value::from(vec![Value::from(u128::MAX)]));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read<'de, D: Deserializer<'de>>(&self, deserializer: D) -> Result<Value, D::Error> {
        Read { shape: self, node: Some(self.root()), is_pair: false }.deserialize(deserializer)
    }
}

/// Options in options: a shape that is no type's may have them without end.
const MAX_OPTIONS: usize = 128;

/// A place of the input, and that in the shape if there is one.
#[derive(Clone, Copy)]
struct Read<'s> {
    shape: &'s Shape,
    node: Option<usize>,
    /// It is an entry, as a pair, of the map that stands there.
    is_pair: bool,
}

impl<'s> Read<'s> {
    fn at(self, node: Option<usize>) -> Self {
        Read { node, is_pair: false, ..self }
    }

    fn node(self) -> Option<&'s Node> {
        self.node.map(|node| self.shape.behind_newtypes(node).1)
    }

    /// What is here where something is, for what may be missing.
    fn behind_options(mut self) -> Self {
        for _ in 0..MAX_OPTIONS {
            match self.node() {
                Some(Node::Option(inner)) => self.node = Some(*inner),
                _ => break,
            }
        }
        self
    }

    /// The place of an entry of this name.
    fn entry(self, name: &Value) -> Option<usize> {
        match self.node()? {
            Node::Map(_, value) => Some(*value),
            Node::Struct(fields) => {
                let name = name.as_str()?;
                fields.iter().find(|(field, _)| field == name).map(|&(_, node)| node)
            }
            Node::Enum(of) => {
                let name = name.as_str()?;
                let variant =
                    of.variants.iter().find(|variant| variant.names.iter().any(|n| n == name))?;
                match variant.content {
                    Content::Of(node) => Some(node),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The place of an element, in an array of whatever is here.
    fn element(self, number: usize) -> Self {
        match self.node() {
            Some(Node::Map(key, _)) if self.is_pair && number == 0 => self.at(Some(*key)),
            Some(Node::Map(_, value)) if self.is_pair => self.at(Some(*value)),
            // A map whose keys JSON does not take.
            Some(Node::Map(..)) => Read { is_pair: true, ..self },
            Some(Node::Seq(node) | Node::Array(node, _)) => self.at(Some(*node)),
            Some(Node::Tuple(nodes)) => self.at(nodes.get(number).copied()),
            _ => self.at(None),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Read<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let is_wide = |place: Self| {
            let node = place.node();
            matches!(node, Some(Node::Integer { of: Integer::I128 | Integer::U128, .. }))
        };
        match self.node() {
            Some(Node::Integer { of: Integer::I128, .. }) => deserializer.deserialize_i128(self),
            Some(Node::Integer { of: Integer::U128, .. }) => deserializer.deserialize_u128(self),
            // What may be null is null, or a map that says so, whatever else it may be.
            Some(Node::Option(inner)) if self.shape.may_be_null(*inner) => {
                deserializer.deserialize_any(self.behind_options())
            }
            Some(Node::Option(inner)) => match self.at(Some(*inner)) {
                inner if is_wide(inner) => deserializer.deserialize_option(inner),
                inner => inner.deserialize(deserializer),
            },
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Read<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    scalars! {
        visit_bool bool,
        visit_i64 i64,
        visit_u64 u64,
        visit_i128 i128,
        visit_u128 u128,
        visit_f32 f32,
        visit_f64 f64,
        visit_char char,
        visit_str &str,
        visit_string String,
        visit_bytes &[u8],
        visit_byte_buf Vec<u8>,
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        self.deserialize(inner)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        self.deserialize(inner)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::with_capacity(expected(seq.size_hint()));
        while let Some(value) = seq.next_element_seed(self.element(values.len()))? {
            values.push(value);
        }
        Ok(Value::Seq(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::with_capacity(expected(map.size_hint()));
        while let Some(key) = map.next_key::<Value>()? {
            let place = self.at(self.entry(&key));
            entries.push((key, map.next_value_seed(place)?));
        }
        Ok(Value::Map(entries))
    }
}
