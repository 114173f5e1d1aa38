//! What a value is by its shape, and where it is something else.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt::Display;

use super::error::{ValueError, step};
use super::shape::{Content, Enum, Integer, Node, Shape};
use super::value::{Value, spelled};

/// How deep options, sequences, maps and enums may nest in a binary codec, as its receivers count.
const LEVELS: u32 = 128;
/// How deep arrays and objects may nest in JSON, as serde_json counts.
const JSON_LEVELS: u32 = 127;
/// How deep places may nest in all, so that no stack overflows, whatever shape and value say.
pub(super) const MAX_DEPTH: u32 = 640;
/// Of a list in a message.
const MAX_LISTED: usize = 12;

/// What a value is checked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// A format that does not describe itself.
    Binary,
    /// JSON as serde_json reads it into the type itself.
    Json,
}

/// A value and the place in the shape where it stands.
#[derive(Clone, Copy)]
pub(super) struct Place<'v> {
    pub(super) shape: &'v Shape,
    pub(super) node: usize,
    pub(super) value: &'v Value,
    pub(super) form: Form,
    /// A map's key, which may be text that stands for something else.
    pub(super) is_key: bool,
}

/// What a value is, by the shape of its place.
pub(super) enum Part<'v> {
    Unit,
    Bool(bool),
    /// Also negative ones, by their bits.
    Integer(Integer, u128),
    F32(f32),
    F64(f64),
    Char(char),
    Str(&'v str),
    Bytes(Cow<'v, [u8]>),
    None,
    Some(Place<'v>),
    Seq(Vec<Place<'v>>),
    Map(Vec<(Place<'v>, Place<'v>)>),
    Tuple(Vec<Place<'v>>),
    Struct(Vec<(&'v str, Place<'v>)>),
    Variant {
        number: u32,
        name: &'v str,
        content: Option<Place<'v>>,
    },
    /// Of an unknown shape.
    Whatever(&'v Value),
}

impl Shape {
    /// Checks that a value is one of this shape, and so can be encoded by a binary codec.
    ///
    /// # Errors
    /// [`ValueError`] says at which place something else stands, and what belongs there; or where a map has a key, or a
    /// struct a field, twice.
    pub fn check(&self, value: &Value) -> Result<(), ValueError> {
        self.check_for(Form::Binary, value)
    }

    pub(super) fn check_for(&self, form: Form, value: &Value) -> Result<(), ValueError> {
        let levels = if form == Form::Json { JSON_LEVELS } else { LEVELS };
        self.place(form, value).check(levels, MAX_DEPTH).map_err(|error| error.within("$"))
    }

    pub(super) fn place<'v>(&'v self, form: Form, value: &'v Value) -> Place<'v> {
        Place { shape: self, node: self.root(), value, form, is_key: false }
    }
}

impl<'v> Place<'v> {
    fn at(self, node: usize, value: &'v Value) -> Place<'v> {
        Place { node, value, is_key: false, ..self }
    }

    fn check(self, levels: u32, depth: u32) -> Result<(), ValueError> {
        let too_deep = || ValueError::from("the value nests deeper than its receiver would follow");
        let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
        let part = self.part()?;
        // Each reader counts in its own way.
        let enters = match (&part, self.form) {
            (Part::Seq(_) | Part::Map(_), _) => true,
            (Part::Some(_), form) => form == Form::Binary,
            (Part::Bytes(_), Form::Binary) => !matches!(self.node(), Node::Bytes),
            (Part::Variant { content, .. }, form) => form == Form::Binary || content.is_some(),
            (Part::Bytes(_) | Part::Tuple(_) | Part::Struct(_), form) => form == Form::Json,
            _ => false,
        };
        let levels = levels.checked_sub(enters.into()).ok_or_else(too_deep)?;
        let check = |place: Place<'_>, step: &dyn Fn() -> String| {
            place.check(levels, depth).map_err(|error| error.within(&step()))
        };
        match part {
            Part::Some(inner) => inner.check(levels, depth),
            Part::Seq(places) | Part::Tuple(places) => {
                for (i, place) in places.into_iter().enumerate() {
                    check(place, &|| format!("[{i}]"))?;
                }
                Ok(())
            }
            Part::Map(entries) => {
                let mut given = HashSet::with_capacity(entries.len());
                for (i, (key, value)) in entries.into_iter().enumerate() {
                    let name = || match key.value {
                        Value::String(text) => step(text),
                        Value::Integer(number) => format!("[{number}]"),
                        _ => format!("[entry {i}]"),
                    };
                    check(key, &|| format!("{}: the key", name()))?;
                    // Which of the two values is meant, only the sender knows.
                    let mut identity = Vec::new();
                    key.identify(&mut identity)?;
                    if !given.insert(identity) {
                        return Err(ValueError::from("the key is given twice").within(&name()));
                    }
                    check(value, &name)?;
                }
                Ok(())
            }
            Part::Struct(fields) => {
                for (name, place) in fields {
                    check(place, &|| step(name))?;
                }
                Ok(())
            }
            Part::Variant { name, content: Some(content), .. } => check(content, &|| step(name)),
            Part::Whatever(value) => value.check_unshaped(levels),
            _ => Ok(()),
        }
    }

    fn node(&self) -> &'v Node {
        self.shape.behind_newtypes(self.node).1
    }

    /// What the value is here, without looking into its parts.
    pub(super) fn part(self) -> Result<Part<'v>, ValueError> {
        let value = self.value;
        match self.node() {
            Node::Unit => match value {
                Value::Null => Ok(Part::Unit),
                _ => Err(self.not("null")),
            },
            Node::Bool => match value {
                Value::Bool(value) => Ok(Part::Bool(*value)),
                Value::String(text) if self.is_key && (text == "true" || text == "false") => {
                    Ok(Part::Bool(text == "true"))
                }
                _ => Err(self.not("true or false")),
            },
            Node::Integer { of, nonzero } => match self.integer(*of)? {
                0 if *nonzero => Err(format!("a {} here must not be 0", of.name()).into()),
                bits => Ok(Part::Integer(*of, bits)),
            },
            Node::F32 => match *value {
                Value::F32(number) => self.finite(number.into()).map(|()| Part::F32(number)),
                _ => {
                    let wide = self.float("f32")?;
                    let number = wide as f32;
                    if number.is_infinite() && wide.is_finite() {
                        return Err(format!("{wide:?} does not fit an f32").into());
                    }
                    Ok(Part::F32(number))
                }
            },
            Node::F64 => self.float("f64").map(Part::F64),
            Node::Char => match value.as_str().map(|text| (text.chars().next(), text)) {
                Some((Some(c), text)) if text.len() == c.len_utf8() => Ok(Part::Char(c)),
                _ => Err(self.not("text of one character")),
            },
            Node::Str => match value {
                Value::String(text) => Ok(Part::Str(text)),
                _ => Err(self.not("text")),
            },
            Node::Bytes => self.bytes(),
            Node::Any => Ok(Part::Whatever(value)),
            Node::Option(inner) => self.option(*inner),
            Node::Foreign(_) => {
                Err("only the two programs know what is here: the shape has no parts".into())
            }
            // What a type writes where people are to read it, as an address, is not in its shape.
            Node::Seq(_) | Node::Tuple(_) | Node::Array(..) | Node::Struct(_)
                if self.is_text_in_json() =>
            {
                Ok(Part::Whatever(value))
            }
            Node::Seq(element) if self.shape.is_byte(*element) && self.form == Form::Binary => {
                self.bytes()
            }
            Node::Seq(element) => match value {
                Value::Seq(values) => {
                    Ok(Part::Seq(values.iter().map(|value| self.at(*element, value)).collect()))
                }
                Value::Bytes(bytes) if self.shape.is_byte(*element) => {
                    Ok(Part::Bytes(Cow::Borrowed(bytes)))
                }
                _ => Err(self.not("an array")),
            },
            Node::Map(key, content) => self.map(*key, *content),
            Node::Tuple(nodes) => {
                let values = self.values(nodes.len())?;
                let places = nodes.iter().zip(values).map(|(&node, value)| self.at(node, value));
                Ok(Part::Tuple(places.collect()))
            }
            Node::Array(node, length) => {
                let values = self.values(*length)?;
                Ok(Part::Tuple(values.iter().map(|value| self.at(*node, value)).collect()))
            }
            Node::Struct(fields) => self.fields(fields),
            Node::Enum(of) => self.variant(of),
            // None is left behind newtypes.
            Node::Newtype(_) => Err(self.not("something else")),
        }
    }

    /// Whether it is text in JSON, in which people are to read some types.
    fn is_text_in_json(&self) -> bool {
        self.form == Form::Json && matches!(self.value, Value::String(_))
    }

    /// Says what is here in place of what belongs here.
    fn not(&self, expected: &str) -> ValueError {
        let found = match self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Integer(number) => number.to_string(),
            Value::LargeInteger(number) => number.to_string(),
            Value::F32(number) => format!("{number:?}"),
            Value::F64(number) => format!("{number:?}"),
            Value::String(text) => {
                let short: String = text.chars().take(40).collect();
                format!("{short:?}{}", if short.len() < text.len() { "…" } else { "" })
            }
            Value::Bytes(bytes) => format!("an array of {} bytes", bytes.len()),
            Value::Some(_) => "something that may be missing".to_owned(),
            Value::Seq(values) => format!("an array of {}", values.len()),
            Value::Map(entries) => format!("an object of {}", entries.len()),
        };
        format!("expected {expected}, found {found}").into()
    }

    /// The bits of the integer that the value is.
    fn integer(&self, of: Integer) -> Result<u128, ValueError> {
        let does_not_fit = |number: &dyn Display| {
            let article = if of.name().starts_with('i') { "an" } else { "a" };
            Err(format!("{number} does not fit {article} {}", of.name()).into())
        };
        let (number, large) = match self.value {
            Value::Integer(number) => (Some(*number), None),
            Value::LargeInteger(number) => (None, Some(*number)),
            // A key is text in JSON, and a number beyond 64 bits is inexact in most programs that read it.
            Value::String(text) if self.is_key || matches!(of, Integer::I128 | Integer::U128) => {
                match (text.parse::<i128>(), text.parse::<u128>()) {
                    (Ok(number), _) => (Some(number), None),
                    (_, Ok(number)) => (None, Some(number)),
                    _ => return Err(self.not("an integer")),
                }
            }
            Value::F64(number)
                if number.fract() == 0.0 && number.abs() >= 1e18 && of.leaves_out(*number) =>
            {
                return does_not_fit(&format_args!("{number:e}"));
            }
            Value::F64(number) if number.fract() == 0.0 && number.abs() >= 1e18 => {
                return Err(format!(
                    "{number} has lost its last digits: an integer of more than 64 bits is given as text, \
                     or read by its shape"
                )
                .into());
            }
            _ => return Err(self.not("an integer")),
        };
        match (number, large) {
            (Some(number), _) => {
                let (min, max) = of.range();
                match (min..=max).contains(&number) {
                    true => Ok(number as u128),
                    false => does_not_fit(&number),
                }
            }
            (_, Some(large)) if of == Integer::U128 => Ok(large),
            (_, large) => does_not_fit(&large.unwrap_or_default()),
        }
    }

    fn finite(&self, number: f64) -> Result<(), ValueError> {
        match spelled(number) {
            Some(text) if self.form == Form::Json => {
                Err(format!("JSON has no number for {text}, and its receiver takes no text").into())
            }
            _ => Ok(()),
        }
    }

    fn float(&self, name: &str) -> Result<f64, ValueError> {
        let number = match self.value {
            Value::F32(number) => f64::from(*number),
            Value::F64(number) => *number,
            Value::Integer(number) => *number as f64,
            Value::LargeInteger(number) => *number as f64,
            Value::String(text) => match text.as_str() {
                "NaN" => f64::NAN,
                "Infinity" => f64::INFINITY,
                "-Infinity" => f64::NEG_INFINITY,
                text => match text.parse::<f64>() {
                    Ok(number) if self.is_key && number.is_finite() => number,
                    _ => return Err(self.not(&format!("an {name}"))),
                },
            },
            _ => return Err(self.not(&format!("an {name}"))),
        };
        self.finite(number).map(|()| number)
    }

    fn bytes(self) -> Result<Part<'v>, ValueError> {
        match self.value {
            Value::Bytes(bytes) => Ok(Part::Bytes(Cow::Borrowed(bytes))),
            Value::Seq(values) => {
                let byte = |(i, value): (usize, &'v Value)| {
                    let bits = self.at(self.node, value).integer(Integer::U8);
                    bits.map(|bits| bits as u8).map_err(|error| error.within(&format!("[{i}]")))
                };
                let bytes: Result<_, _> = values.iter().enumerate().map(byte).collect();
                bytes.map(|bytes| Part::Bytes(Cow::Owned(bytes)))
            }
            value if self.is_text_in_json() => Ok(Part::Whatever(value)),
            _ => Err(self.not("an array of bytes")),
        }
    }

    /// The bytes of a value that is nothing else.
    pub(super) fn plain_bytes(self) -> Result<Vec<u8>, ValueError> {
        match self.bytes().map_err(|error| error.within("$"))? {
            Part::Bytes(bytes) => Ok(bytes.into_owned()),
            _ => Err(self.not("an array of bytes")),
        }
    }

    fn option(self, inner: usize) -> Result<Part<'v>, ValueError> {
        let nullable = self.shape.may_be_null(inner);
        let some = |value| {
            let place = Place { node: inner, value, ..self };
            if self.form == Form::Json && nullable && place.is_written_as_null() {
                let what = "a Some of what JSON writes as null would come back as None";
                return Err(what.into());
            }
            Ok(Part::Some(place))
        };
        match self.value {
            Value::Null => Ok(Part::None),
            Value::Some(inner) => some(inner),
            // serde_json's reader knows nothing of such a map.
            value => match value.some_of_null().filter(|_| nullable && self.form == Form::Binary) {
                Some(inner) => some(inner),
                None => some(value),
            },
        }
    }

    fn is_written_as_null(&self) -> bool {
        matches!(self.value, Value::Null) || matches!(self.part(), Ok(Part::Unit | Part::None))
    }

    fn map(self, key: usize, content: usize) -> Result<Part<'v>, ValueError> {
        let entry = |name: &'v Value, value: &'v Value| {
            let key = Place { node: key, value: name, is_key: true, ..self };
            (key, self.at(content, value))
        };
        match self.value {
            Value::Map(entries) => {
                Ok(Part::Map(entries.iter().map(|(key, value)| entry(key, value)).collect()))
            }
            Value::Seq(pairs) if self.form == Form::Binary => {
                let pair = |pair: &'v Value| match pair {
                    Value::Seq(pair) => match &pair[..] {
                        [key, value] => Ok(entry(key, value)),
                        _ => Err(()),
                    },
                    _ => Err(()),
                };
                let pairs: Result<Vec<_>, ()> = pairs.iter().map(pair).collect();
                pairs.map(Part::Map).map_err(|()| self.not("an object, or an array of pairs"))
            }
            _ => Err(self.not("an object")),
        }
    }

    /// As many values as a tuple has.
    fn values(&self, length: usize) -> Result<&'v [Value], ValueError> {
        match self.value {
            Value::Seq(values) if values.len() == length => Ok(values),
            _ => Err(self.not(&format!("an array of {length}"))),
        }
    }

    fn fields(self, fields: &'v [(String, usize)]) -> Result<Part<'v>, ValueError> {
        let Value::Map(entries) = self.value else { return Err(self.not("an object")) };
        let mut given = HashMap::with_capacity(entries.len());
        for (key, value) in entries {
            let Some(name) = key.as_str() else {
                return Err("a field's name is no text".into());
            };
            if given.insert(name, value).is_some() {
                return Err(format!("field {name:?} is given twice").into());
            }
        }
        let mut places = Vec::with_capacity(fields.len());
        for (name, node) in fields {
            match given.remove(name.as_str()) {
                Some(value) => places.push((name.as_str(), self.at(*node, value))),
                // serde_json takes it for `None`.
                None if self.form == Form::Json && self.is_option(*node) => {}
                None => return Err(format!("missing field {name:?}").into()),
            }
        }
        match given.keys().min() {
            None => Ok(Part::Struct(places)),
            Some(name) => Err(format!(
                "unknown field {name:?}; {}",
                one_of("expected", fields.iter().map(|(name, _)| name.as_str()))
            )
            .into()),
        }
    }

    fn is_option(&self, node: usize) -> bool {
        matches!(self.shape.behind_newtypes(node).1, Node::Option(_))
    }

    /// The number of the variant that the value names.
    fn variant_of(&self, of: &'v Enum) -> Option<(usize, &'v str, Option<&'v Value>)> {
        let (name, content) = match self.value {
            Value::String(name) => (name.as_str(), None),
            Value::Map(entries) => match &entries[..] {
                [(Value::String(name), content)] => (name.as_str(), Some(content)),
                _ => return None,
            },
            _ => return None,
        };
        let number = of.variants.iter().position(|variant| variant.names.iter().any(|n| n == name));
        Some((number?, name, content))
    }

    fn variant(self, of: &'v Enum) -> Result<Part<'v>, ValueError> {
        let named = |name: &str| format!("variant {name:?} of {}", of.name);
        let Some((number, name, content)) = self.variant_of(of) else {
            let names = of.variants.iter().map(|variant| variant.names[0].as_str());
            let name = match self.value {
                Value::String(name) => name,
                Value::Map(entries) => match &entries[..] {
                    [(Value::String(name), _)] => name,
                    _ => return Err(self.not("a variant, as an object of one entry")),
                },
                _ => return Err(self.not("a variant, as \"Name\" or {\"Name\": content}")),
            };
            // An enum that is text in JSON has no variants that are, as an address has none.
            let has_names = of.variants.iter().any(|one| matches!(one.content, Content::None));
            if self.is_text_in_json() && !has_names {
                return Ok(Part::Whatever(self.value));
            }
            return Err(format!("no {}; {}", named(name), one_of("expected", names)).into());
        };
        let content = match (&of.variants[number].content, content) {
            (Content::None, None | Some(Value::Null)) => None,
            (Content::None, Some(_)) => {
                return Err(format!("{} has no content", named(name)).into());
            }
            (Content::Refused, _) => {
                return Err(format!("no receiver takes {}", named(name)).into());
            }
            (Content::Of(node), Some(value)) => Some(self.at(*node, value)),
            (Content::Of(_), None) => {
                let what = format!("{} has content, as in {{{name:?}: content}}", named(name));
                return Err(what.into());
            }
        };
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Part::Variant { number, name, content })
    }
}

/// A list of names, cut where it is long.
fn one_of<'n>(before: &str, names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<_> = names.map(|name| format!("{name:?}")).collect();
    match names.len() {
        0 => format!("{before} none"),
        1 => format!("{before} {}", names[0]),
        len if len <= MAX_LISTED => format!("{before} one of {}", names.join(", ")),
        len => format!(
            "{before} one of {} and {} more",
            names[..MAX_LISTED].join(", "),
            len - MAX_LISTED
        ),
    }
}
