//! The deserializer that a traced type runs against: it notes each call and answers with samples.

use std::ops::Range;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::samples::{
    BOOLEANS, BYTES, BYTES_LENGTHS, CHARACTERS, FLOATS, INTEGERS, NO_VARIANT, STRINGS, sample,
};
use super::{Kind, Stop, Token, Trace};

/// The deserializer for one node.
pub(super) struct Tracer<'t> {
    pub(super) trace: &'t mut Trace,
    pub(super) node: usize,
}

impl<'t> Tracer<'t> {
    /// Notes a compound node and goes on with it, or with the ancestor that it repeats.
    fn note<V>(
        self,
        kind: Kind,
        label: &'static str,
        names: &'static [&'static str],
        children: usize,
    ) -> Result<Tracer<'t>, Stop> {
        let node = self.trace.note::<V>(self.node, kind, label, names, children)?;
        Ok(Tracer { trace: self.trace, node })
    }

    /// Shows the visitor the sample with a number, and whether it is lent.
    fn leaf<V, R>(
        self,
        label: &'static str,
        visit: impl FnOnce(usize, bool) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        let Tracer { trace, node } = self;
        let node = trace.note::<V>(node, Kind::Leaf, label, &[], 0)?;
        let sample = trace.nodes[node].sample;
        let number = trace.varied(node).map_or(sample, |number| sample + number);
        let entry = &trace.nodes[node];
        let lent = !trace.owned || entry.untaken || entry.loan;
        let result = visit(number, lent);
        trace.nodes[node].loan |= trace.owned && lent && result.is_ok();
        trace.heed(node, &result);
        result
    }

    fn child(&self) -> usize {
        self.trace.nodes[self.node].first_child
    }

    /// Hands each child to the visitor once.
    fn fields<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let children = self.trace.children(self.node);
        let count = children.len();
        let mut fields = Fields { trace: &mut *self.trace, children };
        let result = visitor.visit_seq(&mut fields);
        let left = fields.children.len();
        if left == count {
            self.trace.heed(self.node, &result);
        }
        if result.is_ok() && left > 0 {
            self.trace.shrink(self.node, count - left);
        }
        result
    }
}

macro_rules! leaves {
    ($($method:ident, $visit:ident, $label:literal, $samples:expr, $convert:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
            self.leaf::<V, _>($label, |number, _| visitor.$visit($convert(sample($samples, number))))
        }
    )*};
}

impl<'de> Deserializer<'de> for Tracer<'_> {
    type Error = Stop;

    fn is_human_readable(&self) -> bool {
        false
    }

    leaves! {
        deserialize_bool, visit_bool, "bool", BOOLEANS, |value| value;
        deserialize_i8, visit_i8, "i8", INTEGERS, |value| value as i8;
        deserialize_i16, visit_i16, "i16", INTEGERS, |value| value as i16;
        deserialize_i32, visit_i32, "i32", INTEGERS, |value| value as i32;
        deserialize_i64, visit_i64, "i64", INTEGERS, |value| value;
        deserialize_i128, visit_i128, "i128", INTEGERS, |value| value as i128;
        deserialize_u8, visit_u8, "u8", INTEGERS, |value| value as u8;
        deserialize_u16, visit_u16, "u16", INTEGERS, |value| value as u16;
        deserialize_u32, visit_u32, "u32", INTEGERS, |value| value as u32;
        deserialize_u64, visit_u64, "u64", INTEGERS, |value| value as u64;
        deserialize_u128, visit_u128, "u128", INTEGERS, |value| value as u128;
        deserialize_f32, visit_f32, "f32", FLOATS, |value| value as f32;
        deserialize_f64, visit_f64, "f64", FLOATS, |value| value;
        deserialize_char, visit_char, "char", CHARACTERS, |value| value;
        deserialize_string, visit_string, "str", STRINGS, str::to_owned;
        deserialize_byte_buf, visit_byte_buf, "bytes", BYTES_LENGTHS, |length| vec![0; length];
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.leaf::<V, _>("str", |number, lent| match sample(STRINGS, number) {
            text if lent => visitor.visit_borrowed_str(text),
            text => visitor.visit_string(text.to_owned()),
        })
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.leaf::<V, _>("bytes", |number, lent| match sample(BYTES_LENGTHS, number) {
            length if lent => visitor.visit_borrowed_bytes(&BYTES[..length]),
            length => visitor.visit_byte_buf(vec![0; length]),
        })
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.leaf::<V, _>("()", |_, _| visitor.visit_unit())
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let Tracer { trace, node } = self.note::<V>(Kind::Unit, name, &[], 0)?;
        let result = visitor.visit_unit();
        trace.heed(node, &result);
        result
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let tracer = self.note::<V>(Kind::Newtype, name, &[], 1)?;
        tracer.trace.enter(tracer.child(), |inner| visitor.visit_newtype_struct(inner))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let tracer = self.note::<V>(Kind::Option, "option", &[], 1)?;
        if tracer.trace.wants_some(tracer.node) {
            tracer.trace.enter(tracer.child(), |inner| visitor.visit_some(inner))
        } else {
            visitor.visit_none()
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let tracer = self.note::<V>(Kind::Sequence, "seq", &[], 1)?;
        let mut elements = Repeated::new(tracer);
        let result = visitor.visit_seq(&mut elements);
        elements.heed(&result);
        result
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let tracer = self.note::<V>(Kind::Map, "map", &[], 2)?;
        let mut entries = Repeated::new(tracer);
        let result = visitor.visit_map(&mut entries);
        entries.heed(&result);
        result
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.note::<V>(Kind::Tuple, "tuple", &[], length)?.fields(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.note::<V>(Kind::TupleStruct, name, &[], length)?.fields(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.note::<V>(Kind::Struct, name, fields, fields.len())?.fields(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let Tracer { trace, node } = self.note::<V>(Kind::Enum, name, variants, variants.len())?;
        let Some(chosen) = trace.choose(node) else {
            return Err(Stop::Noted);
        };
        trace.open_enums.push((node, chosen));
        trace.nodes[node].chosen = chosen;
        let content = trace.nodes[node].first_child + chosen;
        let variant = Variant { trace: &mut *trace, node, content, name: variants[chosen], chosen };
        let mut result = visitor.visit_enum(variant);
        // A recursion may have taken another variant meanwhile.
        trace.nodes[node].chosen = chosen;
        if !trace.takes_others.contains_key(trace.nodes[node].visitor) {
            // It did not even ask which variant.
            trace.heed(node, &result);
        }
        if let Err(Stop::Refused | Stop::Untaken) = result {
            trace.refuse(node);
            result = Err(Stop::Noted);
        }
        if result.is_ok() {
            let entry = &mut trace.nodes[content];
            if entry.kind == Kind::Unknown {
                (entry.kind, entry.label) = (Kind::Unit, variants[chosen]);
            }
            let base = trace.nodes[node].base.filter(|&base| {
                let variant = trace.nodes[node].first_child + base;
                !trace.nodes[variant].stuck
            });
            trace.nodes[node].base = base.or(Some(chosen));
        }
        trace.settle(content);
        trace.settle(node);
        result
    }

    /// Of the rest of the type the shape is found all the same.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.trace.asks.get_or_insert(self.node);
        self.leaf::<V, _>("any", |number, _| match number % 4 {
            0 => visitor.visit_unit(),
            1 => visitor.visit_u64(0),
            2 => visitor.visit_borrowed_str(""),
            _ => visitor.visit_bool(false),
        })
    }

    /// A name is asked for by what it is the key of, or the tag.
    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
        let parent = self.trace.nodes[self.node].parent;
        Err(self.trace.ask(parent))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_any(visitor)
    }
}

/// The fields of a struct or tuple, each once.
struct Fields<'t> {
    trace: &'t mut Trace,
    children: Range<usize>,
}

impl<'de> SeqAccess<'de> for &mut Fields<'_> {
    type Error = Stop;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Stop> {
        let Some(child) = self.children.next() else {
            return Ok(None);
        };
        self.trace.enter(child, |tracer| seed.deserialize(tracer)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.children.len())
    }
}

/// The elements of a sequence or entries of a map, which all are of one shape.
struct Repeated<'t> {
    trace: &'t mut Trace,
    node: usize,
    child: usize,
    left: usize,
    /// Whether it was asked for any.
    asked: bool,
}

impl<'t> Repeated<'t> {
    fn new(tracer: Tracer<'t>) -> Repeated<'t> {
        let (child, left) = (tracer.child(), tracer.trace.length(tracer.node));
        Repeated { trace: tracer.trace, node: tracer.node, child, left, asked: false }
    }

    fn heed<R>(self, result: &Result<R, Stop>) {
        if !self.asked {
            self.trace.heed(self.node, result);
        }
    }
}

impl<'de> SeqAccess<'de> for Repeated<'_> {
    type Error = Stop;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Stop> {
        self.asked = true;
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.trace.enter(self.child, |tracer| seed.deserialize(tracer)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for Repeated<'_> {
    type Error = Stop;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Stop> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Stop> {
        self.trace.enter(self.child + 1, |tracer| seed.deserialize(tracer))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The variant that an enum is to become.
struct Variant<'t> {
    trace: &'t mut Trace,
    node: usize,
    content: usize,
    name: &'static str,
    chosen: usize,
}

impl<'t> Variant<'t> {
    fn content<V>(
        self,
        kind: Kind,
        names: &'static [&'static str],
        children: usize,
    ) -> Result<Tracer<'t>, Stop> {
        Tracer { trace: self.trace, node: self.content }.note::<V>(kind, self.name, names, children)
    }
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Stop;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Stop> {
        let visitor = self.trace.nodes[self.node].visitor;
        if !self.trace.takes_others.contains_key(visitor) {
            let other = seed.deserialize(BorrowedStrDeserializer::<Stop>::new(NO_VARIANT));
            self.trace.takes_others.insert(visitor, other.is_ok());
            self.trace.progress = true;
            return Err(Stop::Noted);
        }
        // Names first: with aliases there are more names than indices.
        if self.trace.nodes[self.node].by_index {
            let index = self.chosen as u32;
            return Ok((seed.deserialize(index.into_deserializer())?, self));
        }
        match seed.deserialize(BorrowedStrDeserializer::<Stop>::new(self.name)) {
            Ok(value) => {
                self.trace.nodes[self.content].token = Some(Token::of(&value));
                Ok((value, self))
            }
            Err(_) => {
                self.trace.nodes[self.node].by_index = true;
                self.trace.progress = true;
                Err(Stop::Noted)
            }
        }
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Stop;

    fn unit_variant(self) -> Result<(), Stop> {
        self.content::<()>(Kind::Unit, &[], 0).map(drop)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Stop> {
        let tracer = self.content::<S>(Kind::Newtype, &[], 1)?;
        tracer.trace.enter(tracer.child(), |inner| seed.deserialize(inner))
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Stop> {
        self.content::<V>(Kind::TupleStruct, &[], length)?.fields(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.content::<V>(Kind::Struct, fields, fields.len())?.fields(visitor)
    }
}
