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
    pub struct Order { id: u64, side: Side, price: Option<f64> }
    pub enum Side { Buy, Sell(f64), Limit { price: f64, days: u8 } }
    pub struct Unit;
    pub struct Empty {}
    pub struct Newtype(u8);
    pub struct Pair(u8, String);
    pub struct Single(u8, #[serde(skip)] u16);
    pub struct None();
    #[serde(rename = "bool")]
    pub struct NamedLikeAWord;
    #[serde(rename = "a struct, \"quoted\"\\\n")]
    pub struct Quoted { #[serde(rename = "the field: {}")] field: u8, #[serde(rename = "\u{1f980}")] crab: char }
    pub struct All {
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
    pub struct Internal { order_id: u8 }
    pub struct Aliased { #[serde(alias = "a", alias = "z")] id: u8, name: String }
    pub enum Choice { #[serde(alias = "Uno", alias = "Un")] One(u8), Two(u16), #[serde(alias = "Tre")] Three }
    pub enum OnlyOne { #[serde(alias = "Uno")] One(u8) }
    pub struct Wrapper<T> { inner: T, more: Vec<T> }
    pub struct Tree { left: Option<Box<Tree>>, children: Vec<Tree>, named: BTreeMap<String, Tree>, value: u32 }
    pub enum Expression {
        Add(Box<Expression>, Box<Expression>),
        Negate { of: Box<Expression>, twice: bool },
        Call(Vec<Call>),
        Literal(f64),
        Nothing,
    }
    pub struct Call { first: Expression, name: String, rest: Option<Box<Call>> }
    /// Variants that are named as enums around them are.
    pub enum Add { Add(Option<Box<Add>>), Vec(Vec<Add>), Other }
    #[serde(transparent)]
    pub struct Nested(Vec<Nested>);
    pub struct List(u8, Option<Box<List>>);
    pub struct Level { inner: inner::Level }
    pub enum Digit { A, B, C(u8), D, E, F(Option<Sign>), G, H, I, J }
    pub enum Sign { Plus, Minus }
    pub enum WithOther { Buy, Sell(u8), #[serde(other)] Unknown }
    pub enum Kinds { Unit, Newtype(()), One(u8, #[serde(skip)] u16), Tuple(u8, Option<()>), Empty {}, Nothing() }
    pub enum Never {}
    pub struct Numbers {
        bool: bool, i: (i8, i16, i32, i64), u: (u8, u16, u32, u64), c: (char, String),
        #[serde(rename = "f32")] single: f32, double: f64,
    }
    pub struct Some_ { #[serde(rename = "Some")] some: Option<u8> }
    pub struct Keys {
        numbers: BTreeMap<i16, u8>, wide: BTreeMap<u64, ()>, bools: BTreeMap<bool, u8>, chars: BTreeMap<char, u8>,
        pairs: BTreeMap<(u8, String), u8>, options: BTreeMap<Option<u8>, u8>, bytes: BTreeMap<Vec<u8>, bool>,
        maps: BTreeMap<String, BTreeMap<Vec<i8>, Option<u8>>>,
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Key {
    Red,
    Blue(u8),
    Green,
}

mod inner {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub struct Level {
        up: Option<Box<super::Level>>,
        here: Option<Box<Level>>,
    }
}
