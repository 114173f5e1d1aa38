//! Random values of any type that deserializes: a deserializer that makes them up.

use std::fmt;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess,
    VariantAccess, Visitor, value::StrDeserializer,
};

/// How deep values nest before they take the shortest way out.
const DEEP: usize = 6;

/// How many parts that can be left out a value has, at most about.
const PARTS: usize = 6;

/// SplitMix64: <https://prng.di.unimi.it/splitmix64.c>.
pub(crate) struct Random {
    state: u64,
    /// How many parts the value that is being made may still have.
    parts: usize,
}

impl Random {
    pub(crate) fn of(seed: u64) -> Self {
        Random { state: seed, parts: 0 }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A number of any length in bits, at the ends of ranges more often than chance would have it.
    fn bits(&mut self) -> u128 {
        let wide = u128::from(self.next()) << 64 | u128::from(self.next());
        match self.below(4) {
            0 => 0_u128.wrapping_sub(u128::from(self.next() % 3)),
            1 => (1_u128 << self.below(128)).wrapping_sub(u128::from(self.next() % 2)),
            _ => wide >> self.below(128),
        }
    }

    fn float(&mut self) -> f64 {
        match self.below(8) {
            0 => [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MAX][self.below(5)],
            1 => self.next() as i32 as f64,
            2 => self.next() as i64 as f64 / 1000.0,
            _ => Some(f64::from_bits(self.next())).filter(|number| !number.is_nan()).unwrap_or(0.5),
        }
    }

    fn single(&mut self) -> f32 {
        match self.below(4) {
            0 => self.float() as f32,
            _ => Some(f32::from_bits(self.next() as u32)).filter(|n| !n.is_nan()).unwrap_or(0.5),
        }
    }

    fn character(&mut self) -> char {
        match self.below(4) {
            0 => char::from_u32(self.next() as u32 % 0x11_0000).unwrap_or('\u{fffd}'),
            1 => ['"', '\\', '\0', '…', '\u{1f980}'][self.below(5)],
            _ => char::from(b'a' + self.below(26) as u8),
        }
    }

    fn text(&mut self) -> String {
        match self.below(8) {
            0 => ["true", "7", "-1", "NaN", "Infinity", "Some", "127.0.0.1", "::1"][self.below(8)]
                .to_owned(),
            _ => (0..self.below(6)).map(|_| self.character()).collect(),
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(9)).map(|_| self.next() as u8).collect()
    }

    /// A value of a type; another one where the type refuses what was made up.
    pub(crate) fn value<T: DeserializeOwned>(&mut self) -> T {
        for _ in 0..10_000 {
            self.parts = PARTS;
            if let Ok(value) = T::deserialize(Made { random: self, depth: 0 }) {
                return value;
            }
        }
        panic!("{} refuses everything", std::any::type_name::<T>());
    }
}

struct Made<'r> {
    random: &'r mut Random,
    depth: usize,
}

impl Made<'_> {
    fn inner(&mut self) -> Made<'_> {
        Made { random: self.random, depth: self.depth + 1 }
    }

    /// Whether the value may grow here.
    fn grows(&self) -> bool {
        self.depth <= DEEP && self.random.parts > 0
    }

    fn length(&mut self) -> usize {
        let length = if self.grows() { self.random.below(4) } else { 0 };
        self.random.parts = self.random.parts.saturating_sub(length);
        length
    }
}

#[derive(Debug)]
pub(crate) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl std::error::Error for Refused {}

impl de::Error for Refused {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Refused
    }
}

macro_rules! scalars {
    ($($method:ident $visit:ident $make:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            let make = $make;
            visitor.$visit(make(self.random))
        }
    )*};
}

impl<'de> Deserializer<'de> for Made<'_> {
    type Error = Refused;

    scalars! {
        deserialize_bool visit_bool |random: &mut Random| random.below(2) == 1;
        deserialize_i8 visit_i8 |random: &mut Random| random.bits() as i8;
        deserialize_i16 visit_i16 |random: &mut Random| random.bits() as i16;
        deserialize_i32 visit_i32 |random: &mut Random| random.bits() as i32;
        deserialize_i64 visit_i64 |random: &mut Random| random.bits() as i64;
        deserialize_i128 visit_i128 |random: &mut Random| random.bits() as i128;
        deserialize_u8 visit_u8 |random: &mut Random| random.bits() as u8;
        deserialize_u16 visit_u16 |random: &mut Random| random.bits() as u16;
        deserialize_u32 visit_u32 |random: &mut Random| random.bits() as u32;
        deserialize_u64 visit_u64 |random: &mut Random| random.bits() as u64;
        deserialize_u128 visit_u128 |random: &mut Random| random.bits();
        deserialize_f32 visit_f32 Random::single;
        deserialize_f64 visit_f64 Random::float;
        deserialize_char visit_char Random::character;
        deserialize_str visit_string Random::text;
        deserialize_string visit_string Random::text;
        deserialize_bytes visit_byte_buf Random::bytes;
        deserialize_byte_buf visit_byte_buf Random::bytes;
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        let grows = self.grows() && self.random.below(3) > 0;
        self.random.parts = self.random.parts.saturating_sub(usize::from(grows));
        match grows {
            true => visitor.visit_some(self.inner()),
            false => visitor.visit_none(),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        let left = self.length();
        visitor.visit_seq(Parts { made: self, left })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        left: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_seq(Parts { made: self, left })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        left: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_seq(Parts { made: self, left })
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Refused> {
        let left = self.length();
        visitor.visit_map(Parts { made: self, left })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_seq(Parts { made: self, left: fields.len() })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        // The last variant of a type that contains itself is to contain nothing.
        let last = variants.len().checked_sub(1).ok_or(Refused)?;
        let chosen = if self.grows() { self.random.below(variants.len()) } else { last };
        self.random.parts = self.random.parts.saturating_sub(1);
        visitor.visit_enum(Variant { made: self, name: variants[chosen] })
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        Err(Refused)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        Err(Refused)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        Err(Refused)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

struct Parts<'r> {
    made: Made<'r>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Parts<'_> {
    type Error = Refused;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refused> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(self.made.inner()).map(Some)
    }
}

impl<'de> MapAccess<'de> for Parts<'_> {
    type Error = Refused;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refused> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refused> {
        seed.deserialize(self.made.inner())
    }
}

struct Variant<'r> {
    made: Made<'r>,
    name: &'static str,
}

impl<'de, 'r> EnumAccess<'de> for Variant<'r> {
    type Error = Refused;
    type Variant = Made<'r>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Made<'r>), Refused> {
        Ok((seed.deserialize(StrDeserializer::<Refused>::new(self.name))?, self.made))
    }
}

impl<'de> VariantAccess<'de> for Made<'_> {
    type Error = Refused;

    fn unit_variant(self) -> Result<(), Refused> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(
        mut self,
        seed: S,
    ) -> Result<S::Value, Refused> {
        seed.deserialize(self.inner())
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}
