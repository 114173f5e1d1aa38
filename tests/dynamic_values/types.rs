//! The types of the schema's tests, with values of them that are written too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

macro_rules! types {
    ($($item:item)*) => {$(
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        $item
    )*};
}

types! {
    pub(crate) struct Order { id: u64, side: Side, price: Option<f64> }
    pub(crate) enum Side { Buy, Sell(f64), Limit { price: f64, days: u8 } }
    pub(crate) struct Unit;
    pub(crate) struct Empty {}
    pub(crate) struct Newtype(u8);
    pub(crate) struct Pair(u8, String);
    pub(crate) struct Single(u8, #[serde(skip)] u16);
    pub(crate) struct None();
    #[serde(rename = "bool")]
    pub(crate) struct NamedLikeAWord;
    #[serde(rename = "a struct, \"quoted\"\\\n")]
    pub(crate) struct Quoted { #[serde(rename = "the field: {}")] field: u8, #[serde(rename = "\u{1f980}")] crab: char }
    pub(crate) struct All {
        #[serde(rename = "the unit, \"quoted\"")]
        unit: Unit,
        empty: Empty,
        newtype: Newtype,
        #[serde(default)]
        pair: Option<Pair>,
        #[serde(skip)]
        skipped: u64,
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    }
    #[serde(rename = "Order", rename_all = "kebab-case")]
    pub(crate) struct Internal { order_id: u8 }
    pub(crate) struct Aliased { #[serde(alias = "a", alias = "z")] id: u8, name: String }
    pub(crate) enum Choice { #[serde(alias = "Uno", alias = "Un")] One(u8), Two(u16), #[serde(alias = "Tre")] Three }
    pub(crate) enum OnlyOne { #[serde(alias = "Uno")] One(u8) }
    pub(crate) struct Wrapper<T> { inner: T, more: Vec<T> }
    pub(crate) struct Tree { left: Option<Box<Tree>>, children: Vec<Tree>, named: BTreeMap<String, Tree>, value: u32 }
    pub(crate) enum Expression {
        Add(Box<Expression>, Box<Expression>),
        Negate { of: Box<Expression>, twice: bool },
        Call(Vec<Call>),
        Literal(f64),
        Nothing,
    }
    pub(crate) struct Call { first: Expression, name: String, rest: Option<Box<Call>> }
    /// Variants that are named as enums around them are.
    #[allow(clippy::enum_variant_names, reason = "that is what is looked at")]
    pub(crate) enum Add { Add(Option<Box<Add>>), Vec(Vec<Add>), Other }
    #[serde(transparent)]
    pub(crate) struct Nested(Vec<Nested>);
    pub(crate) struct List(u8, Option<Box<List>>);
    pub(crate) struct Level { inner: inner::Level }
    pub(crate) enum Digit { A, B, C(u8), D, E, F(Option<Sign>), G, H, I, J }
    pub(crate) enum Sign { Plus, Minus }
    pub(crate) enum WithOther { Buy, Sell(u8), #[serde(other)] Unknown }
    pub(crate) enum Kinds { Unit, Newtype(()), One(u8, #[serde(skip)] u16), Tuple(u8, Option<()>), Empty {}, Nothing() }
    pub(crate) enum Never {}
    pub(crate) struct Numbers {
        bool: bool, i: (i8, i16, i32, i64), u: (u8, u16, u32, u64), c: (char, String),
        #[serde(rename = "f32")] single: f32, double: f64,
    }
    pub(crate) struct Some_ { #[serde(rename = "Some")] some: Option<u8> }
    pub(crate) struct Keys {
        numbers: BTreeMap<i16, u8>, wide: BTreeMap<u64, ()>, bools: BTreeMap<bool, u8>, chars: BTreeMap<char, u8>,
        pairs: BTreeMap<(u8, String), u8>, options: BTreeMap<Option<u8>, u8>, bytes: BTreeMap<Vec<u8>, bool>,
        maps: BTreeMap<String, BTreeMap<Vec<i8>, Option<u8>>>,
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Key {
    Red,
    Blue(u8),
    Green,
}

mod inner {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Level {
        up: Option<Box<super::Level>>,
        here: Option<Box<Level>>,
    }
}
