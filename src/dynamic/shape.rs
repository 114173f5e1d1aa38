//! The tree of a shape that is read back from its text.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use super::error::ShapeError;
use super::parse;
use crate::schema::Schema;

/// The shape of a type, as its [`Schema`](crate::Schema) spells it and a channel's header has it: what values are
/// encoded, decoded and checked by where the type itself is not there.
///
/// ```
/// use sysv_channel::Schema;
/// use sysv_channel::dynamic::{Shape, Value};
///
/// let shape: Shape = Schema::of::<(u8, Option<String>)>().text().parse()?;
/// assert_eq!(shape.text(), "(u8,option<str>)");
/// shape.check(&Value::from(vec![Value::from(7), Value::Null]))?;
///
/// let error = shape.check(&Value::from(vec![Value::from(300), Value::Null])).unwrap_err();
/// assert_eq!(error.to_string(), "$[0]: 300 does not fit a u8");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Shape {
    /// That of the whole; `own` of it is this shape's.
    text: Arc<str>,
    own: Range<usize>,
    nodes: Arc<[Node]>,
    root: usize,
    /// Where the text has the type of each field of the whole, if that is a struct.
    fields: Arc<[Range<usize>]>,
}

/// A place in a type. Others are named by their number; a recursion names one further out.
#[derive(Debug)]
pub(super) enum Node {
    Unit,
    Bool,
    Integer {
        of: Integer,
        nonzero: bool,
    },
    F32,
    F64,
    Char,
    Str,
    Bytes,
    /// Known by its name alone.
    Any,
    Option(usize),
    Seq(usize),
    Map(usize, usize),
    Newtype(usize),
    Tuple(Vec<usize>),
    Array(usize, usize),
    Struct(Vec<(String, usize)>),
    Enum(Enum),
    /// No shape of serde's: bytes that the codec alone knows, and their number if it is fixed.
    Foreign(Option<usize>),
}

#[derive(Debug)]
pub(super) struct Enum {
    pub(super) name: String,
    pub(super) variants: Vec<Variant>,
    /// The last variant stands for those that are not known.
    pub(super) others: bool,
}

#[derive(Debug)]
pub(super) struct Variant {
    /// The first is written, all are read.
    pub(super) names: Vec<String>,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    None,
    /// No receiver takes this variant.
    Refused,
    Of(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Integer {
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
}

impl Integer {
    pub(super) const ALL: [(&'static str, Integer); 10] = [
        ("i8", Integer::I8),
        ("i16", Integer::I16),
        ("i32", Integer::I32),
        ("i64", Integer::I64),
        ("i128", Integer::I128),
        ("u8", Integer::U8),
        ("u16", Integer::U16),
        ("u32", Integer::U32),
        ("u64", Integer::U64),
        ("u128", Integer::U128),
    ];

    pub(super) fn name(self) -> &'static str {
        Integer::ALL[self as usize].0
    }

    /// The smallest and the largest, but for those of a `u128` beyond this range.
    pub(super) fn range(self) -> (i128, i128) {
        match self {
            Integer::I8 => (i8::MIN.into(), i8::MAX.into()),
            Integer::I16 => (i16::MIN.into(), i16::MAX.into()),
            Integer::I32 => (i32::MIN.into(), i32::MAX.into()),
            Integer::I64 => (i64::MIN.into(), i64::MAX.into()),
            Integer::I128 => (i128::MIN, i128::MAX),
            Integer::U8 => (0, u8::MAX.into()),
            Integer::U16 => (0, u16::MAX.into()),
            Integer::U32 => (0, u32::MAX.into()),
            Integer::U64 => (0, u64::MAX.into()),
            Integer::U128 => (0, i128::MAX),
        }
    }

    /// Whether every integer that a reader makes this float of, since it has more than 64 bits, is out of range.
    pub(super) fn leaves_out(self, number: f64) -> bool {
        let (min, max) = self.range();
        match self {
            // The float next to the largest is above it, and may have been made of it.
            Integer::I128 => number < min as f64 || number > max as f64,
            Integer::U128 => number < 0.0 || number > u128::MAX as f64,
            // What fits into 64 bits is read as an integer.
            _ => number < min as f64 || number >= max as f64,
        }
    }
}

impl Shape {
    /// Reads a shape from its text.
    ///
    /// Whatever the text is, this ends with a shape or an error, in time and memory proportional to its length.
    ///
    /// # Errors
    /// [`ShapeError`] if the text was cut off, or is none that [`Schema`](crate::Schema) writes.
    pub fn parse(text: &str) -> Result<Shape, ShapeError> {
        let parse::Tree { nodes, root, fields } = parse::parse(text)?;
        let (nodes, fields) = (nodes.into(), fields.into());
        Ok(Shape { text: text.into(), own: 0..text.len(), nodes, root, fields })
    }

    /// The text that it was read from.
    pub fn text(&self) -> &str {
        &self.text[self.own.clone()]
    }

    /// Whether the type is known only by its name, so that values are hardly checked: in a codec whose format describes
    /// itself they can be used all the same.
    pub fn is_opaque(&self) -> bool {
        matches!(self.node(self.root), Node::Any)
    }

    pub(super) fn root(&self) -> usize {
        self.root
    }

    pub(super) fn node(&self, number: usize) -> &Node {
        &self.nodes[number]
    }

    /// The node behind newtypes, which leave no trace in any format.
    pub(super) fn behind_newtypes(&self, mut number: usize) -> (usize, &Node) {
        // Ends, since no type of a finite size is a newtype of itself: the parser refuses it.
        while let Node::Newtype(inner) = self.node(number) {
            number = *inner;
        }
        (number, self.node(number))
    }

    /// Whether a value here may be null in JSON, so that `Some` of it has to be told from `None`.
    pub(super) fn may_be_null(&self, number: usize) -> bool {
        matches!(self.behind_newtypes(number).1, Node::Unit | Node::Option(_) | Node::Any)
    }

    /// Whether it is a sequence of bytes, one by one.
    pub(super) fn is_byte(&self, number: usize) -> bool {
        matches!(self.behind_newtypes(number).1, Node::Integer { of: Integer::U8, nonzero: false })
    }

    /// A field of the outermost struct as a shape of its own.
    pub(super) fn field(&self, name: &str) -> Option<Shape> {
        let Node::Struct(fields) = self.node(self.root) else { return None };
        let at = fields.iter().position(|(field, _)| field == name)?;
        let (root, own) = (fields[at].1, self.fields.get(at)?.clone());
        Some(Shape { root, own, fields: Arc::default(), ..self.clone() })
    }

    /// What a channel's header says of the type whose shape this is.
    pub(super) fn schema(&self) -> Schema {
        // A type of the standard library's has no name of its own in its shape.
        let name = parse::type_name(self.text()).unwrap_or_else(|| self.text().to_owned());
        Schema::carried(name, self.text().to_owned())
    }
}

impl FromStr for Shape {
    type Err = ShapeError;

    fn from_str(text: &str) -> Result<Shape, ShapeError> {
        Shape::parse(text)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shape").field(&self.text()).finish()
    }
}
