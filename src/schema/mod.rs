//! What two programs compare at `open` to find out whether they mean the same type.
//!
//! A [`Schema`] is a canonical text of a type's shape, as serde sees it, and a hash of that text. The
//! shape is learnt by running the type's own `Deserialize` against a deserializer that has no input:
//! it notes what is asked of it and answers with sample values ([`trace`]). When the hashes of two
//! programs differ, [`difference()`] compares the texts and names the first place.

mod difference;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
pub(crate) mod shapes;
#[cfg(test)]
mod tests;
mod trace;

use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use difference::difference;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
use trace::Written;
use trace::{Trace, Untaken};

#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
use crate::codec::{DecodeError, EncodeError, Reader, Writer};
use crate::transfer;

/// The shape of a type: what both ends of a channel must agree on.
///
/// The [text](Schema::text) spells the shape out; two schemas are compatible if their
/// [fingerprints](Schema::fingerprint) are equal. Whether a field or a variant is added, removed,
/// renamed, retyped or moved, the fingerprint changes. The names are those that serde uses, so
/// `#[serde(rename)]` counts and the module that a type stands in does not.
///
/// | in Rust | in the text |
/// |---|---|
/// | `u8` ... `i128`, `f32`, `f64`, `bool`, `char`, `()` | the same |
/// | `String`, byte strings | `str`, `bytes` |
/// | `Option<T>`, `Vec<T>`, `HashMap<K, V>` | `option<T>`, `seq<T>`, `map<K,V>` |
/// | `(A, B)`; more than three alike, as in `[T; 9]` | `(A,B)`; `array<T,9>` |
/// | structs | `Unit`, `Newtype(T)`, `Tuple(A,B)`, `Tuple(A,)`, `Struct{a:A,b:B}` |
/// | enums | `Name[Unit\|Newtype(T)\|Tuple(A,B)\|Struct{a:A}]` |
/// | the enclosing `Tree` again | `^Tree`; `^^Tree` for the second `Tree` outwards |
/// | a variant that `Deserialize` always refuses | `Name(?)` |
/// | a number that must not be zero, as `NonZeroU8` | `nonzero<u8>` |
/// | another name of the variant before, by `#[serde(alias)]` | `Name[A\|=B]` |
/// | an enum that takes variants it does not know, by `#[serde(other)]` | `Name[A\|B\|*]` |
///
/// # Limits
///
/// - What serde does not see is not in the shape: fields under `#[serde(skip)]`, the width of a
///   field with its own `with` module, and any change of meaning (metres that become feet). Raise a
///   version with [`Schema::named`] for those.
/// - With `#[serde(alias)]` the aliases are part of the shape.
/// - Some types cannot be traced: they ask the input what it holds (`#[serde(untagged)]`,
///   `#[serde(flatten)]`, JSON values), read differently depending on values read before, refuse
///   every sample value before the rest of the shape is known, panic, nest more than 128 deep or
///   have more than 32,768 parts. Of those only the name is compared; [`Schema::is_traced`] says so.
/// - The first of these cannot be decoded at all unless the codec's format describes itself, and
///   channels refuse them: [`Schema::undecodable`] says why. So they do where a sample value does
///   not come back from its own encoding, as with `#[serde(skip_serializing)]` on a field that is
///   read. With names, as in JSON, the names that are written are compared with those that are read;
///   without, the kinds of scalars are, one after the other.
/// - So they do where a type takes its fields only by their names, or only text and bytes that it
///   borrows.
/// - Of what a type demands of its values, only that a number must not be zero is in the shape, not
///   the limits of a `Duration`, say.
/// - Tracing builds and drops a few values of the type: its `Deserialize` and `Drop` run. A panic
///   in them is caught, though the panic hook still prints it, and a program built with
///   `panic = "abort"` ends.
///
/// # Examples
///
/// ```
/// use serde::Deserialize;
/// use sysv_channel::Schema;
///
/// #[derive(Deserialize)]
/// enum Side { Buy, Sell(f64) }
///
/// #[derive(Deserialize)]
/// struct Order { id: u64, symbol: String, side: Side, tags: Vec<u32> }
///
/// let schema = Schema::of::<Order>();
/// assert_eq!(schema.text(), "Order{id:u64,symbol:str,side:Side[Buy|Sell(f64)],tags:seq<u32>}");
/// assert!(schema.is_traced());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    name: String,
    text: String,
    fingerprint: u128,
    traced: bool,
    obstacle: Option<Obstacle>,
}

/// Why no value of the type can be decoded, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Obstacle {
    /// The type asks the input what it holds.
    Asks(String),
    /// What its `Serialize` writes is not what its `Deserialize` reads.
    Differs(String),
}

/// What a codec's format tells of what a value holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Neither names nor kinds.
    Bare,
    /// Both, as in JSON.
    #[cfg(feature = "json")]
    Described,
    /// JSON, where serde_json shows a number as a map to a type that asks what it is.
    #[cfg(feature = "json")]
    NumbersAsMaps,
}

impl Schema {
    /// The schema of `T`, traced through its `Deserialize`; by name alone where that cannot be done.
    ///
    /// It takes some microseconds for a small type, as many passes as the largest enum has variants.
    ///
    /// # Examples
    ///
    /// ```
    /// use sysv_channel::Schema;
    ///
    /// assert_eq!(Schema::of::<Option<(u8, String)>>().text(), "option<(u8,str)>");
    /// assert_ne!(Schema::of::<u32>().fingerprint(), Schema::of::<u64>().fingerprint());
    /// ```
    pub fn of<T: DeserializeOwned>() -> Schema {
        let mut trace = Trace::new();
        let complete = run(|| trace.run::<T>(|_, value| drop(value))).unwrap_or(false);
        Schema::of_trace::<T>(&trace, complete, Format::Bare, None)
    }

    /// The schema of `T` in a codec: the values that tracing builds are encoded, decoded and encoded
    /// again, so that a type which does not read what it writes is found out.
    #[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
    pub(crate) fn checked<T: Serialize + DeserializeOwned>(
        encode: impl Fn(&T, &mut Writer<'_>) -> Result<(), EncodeError>,
        decode: impl Fn(Reader<'_>) -> Result<T, DecodeError>,
        format: Format,
    ) -> Schema {
        let self_describing = format != Format::Bare;
        let mut trace = if self_describing { Trace::new() } else { Trace::without_loans() };
        let mut written = Written::new(self_describing);
        let mut differs = None;
        let mut show = |trace: &Trace, sample: T, lengths: bool| {
            if differs.is_some() {
                return;
            }
            let compare = || {
                // What a sample's Serialize refuses says nothing of other values, nor does a sample
                // that leaves out a field.
                let bytes = encoded(&sample, &encode)?;
                if !written.follow(trace, &sample) {
                    return None;
                }
                comes_back_as_another(bytes, &encode, &decode, lengths)
            };
            differs = catch_unwind(AssertUnwindSafe(compare)).unwrap_or_default();
        };
        let first = |trace: &Trace, sample: T| show(trace, sample, true);
        let complete = run(|| trace.run::<T>(first)).unwrap_or(false);
        let further = |trace: &Trace, sample: T| show(trace, sample, false);
        run(|| trace.vary::<T>(further));
        let short = short_type_name(std::any::type_name::<T>());
        let difference = match (written.never_right(), differs) {
            (Some(wrong), _) => Some(format!("`{short}{}`: {}", wrong.path, wrong.how)),
            (None, Some(how)) => {
                let place = written.unlike().map(|(path, how)| format!("`{short}{path}` {how}: "));
                Some(format!("{}{how}", place.unwrap_or_else(|| format!("`{short}`: "))))
            }
            (None, None) => None,
        };
        Schema::of_trace::<T>(&trace, complete, format, difference)
    }

    /// `difference` says how values are not what their encoding is decoded to.
    fn of_trace<T>(
        trace: &Trace,
        complete: bool,
        format: Format,
        difference: Option<String>,
    ) -> Schema {
        let short = short_type_name(std::any::type_name::<T>());
        let asks = match format {
            Format::Bare => trace.asking_path().map(|path| asks_where(&short, &path)),
            #[cfg(feature = "json")]
            Format::Described => None,
            #[cfg(feature = "json")]
            Format::NumbersAsMaps => {
                trace.asking_path_of_others().map(|path| asks_for_numbers(&short, &path))
            }
        };
        let untaken = || trace.untaken().filter(|_| format == Format::Bare);
        let untaken = || untaken().map(|(path, what)| takes_other(&short, &path, &what));
        let asks = asks.or_else(untaken).map(Obstacle::Asks);
        // serde's name counts, but it leaves out the generic arguments that Rust's has.
        let name = match trace.root_name() {
            Some(name) if short.split('<').next() != Some(name) => name.to_owned(),
            _ => short,
        };
        let text = if complete {
            trace.text()
        } else {
            let mut text = "?".to_owned();
            write_name(&mut text, &name);
            text
        };
        let differs = || difference.map(|how| Obstacle::Differs(differs_how(&how, format)));
        let obstacle = asks.or_else(differs);
        Schema { obstacle, ..Schema::from_text(name, text, complete) }
    }

    /// The schema of the same type in a codec whose format describes itself, as JSON does: types
    /// that ask the input what it holds can be decoded then.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde::Deserialize;
    /// use sysv_channel::Schema;
    ///
    /// #[derive(Deserialize)]
    /// #[serde(untagged)]
    /// enum Id { Number(u64), Text(String) }
    ///
    /// assert!(Schema::of::<Id>().undecodable().is_some());
    /// assert!(Schema::of::<Id>().self_describing().undecodable().is_none());
    /// ```
    pub fn self_describing(mut self) -> Schema {
        self.obstacle.take_if(|obstacle| matches!(obstacle, Obstacle::Asks(_)));
        self
    }

    /// The schema that a channel's header spells out.
    #[cfg(not(loom))]
    pub(crate) fn carried(name: String, text: String) -> Schema {
        Schema::from_text(name, text, true)
    }

    /// Why no value of the type could be decoded, if that was found out: creating or opening a
    /// channel with such a schema is refused.
    ///
    /// # Examples
    ///
    /// ```
    /// use sysv_channel::Schema;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Order { id: u64, #[serde(flatten)] rest: std::collections::HashMap<String, u8> }
    ///
    /// let why = Schema::of::<Order>().undecodable().map(str::to_owned).unwrap_or_default();
    /// assert!(why.starts_with("`Order` asks the input what it holds"));
    /// assert_eq!(Schema::named("order", 1).undecodable(), None);
    /// ```
    pub fn undecodable(&self) -> Option<&str> {
        match &self.obstacle {
            Some(Obstacle::Asks(why) | Obstacle::Differs(why)) => Some(why),
            None => None,
        }
    }

    /// A schema by hand, for types that cannot be traced or whose meaning changes: only `name` and
    /// `version` are compared.
    ///
    /// # Examples
    ///
    /// ```
    /// use sysv_channel::Schema;
    ///
    /// let schema = Schema::named("order", 2);
    /// assert_eq!(schema.text(), "order@2");
    /// assert_ne!(schema, Schema::named("order", 1));
    /// ```
    pub fn named(name: impl Into<String>, version: u32) -> Schema {
        let name = name.into();
        let mut text = String::new();
        write_name(&mut text, &name);
        let _ = write!(text, "@{version}");
        Schema::from_text(name, text, false)
    }

    /// The schema of byte strings whose content only the two programs know.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(sysv_channel::Schema::bytes("Bytes").text(), "Bytes<bytes>");
    /// ```
    pub fn bytes(name: &str) -> Schema {
        let mut text = String::new();
        write_name(&mut text, name);
        text.push_str("<bytes>");
        Schema::from_text(name.to_owned(), text, false)
    }

    /// The schema of a struct that travels as its own bytes: the last segment of `name`, `size` and
    /// `align` in bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// let schema = sysv_channel::Schema::layout("market::Order", 48, 8);
    /// assert_eq!(schema.text(), "Order(size=48,align=8)");
    /// ```
    pub fn layout(name: &str, size: usize, align: usize) -> Schema {
        let name = short_type_name(name);
        let mut text = String::new();
        write_name(&mut text, &name);
        let _ = write!(text, "(size={size},align={align})");
        Schema::from_text(name, text, false)
    }

    /// The schema of several types that belong together, each by its role.
    pub(crate) fn both(name: &str, parts: [(&str, &Schema); 2]) -> Schema {
        let obstacle = parts.iter().find_map(|(_, schema)| schema.obstacle.clone());
        let parts = parts.map(|(role, schema)| format!("{role}:{}", schema.text));
        let text = format!("{name}{{{}}}", parts.join(","));
        Schema { obstacle, ..Schema::from_text(name.to_owned(), text, false) }
    }

    /// The type's short name: serde's, or Rust's without the path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The canonical text of the shape; `?Name` if the type could not be traced.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The 128-bit FNV-1a hash of the text, the same on every machine and for every compiler.
    ///
    /// Source: the FNV hash, [RFC 9923](https://www.rfc-editor.org/rfc/rfc9923). It guards against
    /// mistakes, not against a program that looks for a collision.
    pub fn fingerprint(&self) -> u128 {
        self.fingerprint
    }

    /// Whether the text is the shape itself, found by [`Schema::of`], and not only a name.
    pub fn is_traced(&self) -> bool {
        self.traced
    }

    fn from_text(name: String, text: String, traced: bool) -> Schema {
        let fingerprint = fnv1a(text.as_bytes());
        Schema { name, text, fingerprint, traced, obstacle: None }
    }
}

/// Runs a type's own code; `None` where it panics.
fn run<R>(trace: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(|| transfer::tracing(trace))).ok()
}

/// What helps where a codec's format does not describe itself.
const OTHER_TYPE: &str = "change the type, or name a codec whose format describes itself \
                          (codec::Json, feature `json`)";

fn asks_where(name: &str, path: &str) -> String {
    format!(
        "`{name}{path}` asks the input what it holds, and the codec's format does not say: that is \
         how serde reads `flatten`, `untagged` and `tag = \"...\"`, and values that may be of any \
         kind; {OTHER_TYPE}"
    )
}

#[cfg(feature = "json")]
fn asks_for_numbers(name: &str, path: &str) -> String {
    format!(
        "`{name}{path}` asks the input what it holds, and is shown numbers as maps: a crate of this \
         program switches on the feature `arbitrary_precision` of serde_json (`cargo tree -e features \
         -i serde_json` says which); switch it off, or change the type, as to one without `flatten`, \
         `untagged` and `tag = \"...\"`"
    )
}

fn takes_other(name: &str, path: &str, what: &Untaken) -> String {
    match what {
        Untaken::Struct(of) => format!(
            "`{name}{path}` takes `{of}` only with the names of its fields (its Visitor has no \
             visit_seq), and the codec's format writes none; {OTHER_TYPE}"
        ),
        Untaken::Loan => format!(
            "`{name}{path}` takes only text or bytes that it borrows from the input (its Visitor has \
             visit_borrowed_str or visit_borrowed_bytes alone), and a channel lends none, because \
             the value outlives the input; use a type that takes its own, as String, Vec<u8> and \
             codec::Bytes do"
        ),
        Untaken::Other => format!(
            "`{name}{path}` does not take the kind of value that its Deserialize asks for: its \
             Visitor lacks the method for it; {OTHER_TYPE}"
        ),
    }
}

fn differs_how(how: &str, format: Format) -> String {
    let cure = if format == Format::Bare { OTHER_TYPE } else { "change the type" };
    format!(
        "its Deserialize does not read what its Serialize writes; {how}. Look for \
         `skip_serializing`, `skip_deserializing`, names that differ in `rename`, a skipped variant \
         before others, or a `with` module; {cure}"
    )
}

/// How a sample with this encoding is not what the encoding is decoded to.
///
/// The bytes of one that comes back need not be the same: a time that is left has become shorter. But
/// those of values that change places, and places again, are.
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
fn comes_back_as_another<T>(
    first: Vec<u8>,
    encode: impl Fn(&T, &mut Writer<'_>) -> Result<(), EncodeError>,
    decode: impl Fn(Reader<'_>) -> Result<T, DecodeError>,
    lengths: bool,
) -> Option<String> {
    const MAX_PLACES: usize = 4;
    let mut bytes = first.clone();
    for turn in 0..MAX_PLACES {
        bytes = match decode(Reader::new(&bytes)) {
            Err(error) => return Some(format!("what it writes is not read: {error}")),
            Ok(value) => encoded(&value, &encode)?,
        };
        match (bytes == first, turn) {
            (true, 0) => return None,
            (true, _) => return Some("parts of a value come back in other places".to_owned()),
            // The elements of a hash map may come in another order.
            (false, 0) if lengths && bytes.len() != first.len() => {
                let (before, after) = (first.len(), bytes.len());
                return Some(format!("a value of {before} bytes comes back as one of {after}"));
            }
            (false, _) => {}
        }
    }
    None
}

/// The encoding of a sample, if it has one.
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
fn encoded<T>(
    sample: &T,
    encode: impl Fn(&T, &mut Writer<'_>) -> Result<(), EncodeError>,
) -> Option<Vec<u8>> {
    let mut memory = vec![0; 512];
    loop {
        let mut writer = Writer::new(&mut memory);
        encode(sample, &mut writer).ok()?;
        let (len, fits) = (writer.len(), writer.fits());
        memory.resize(len, 0);
        if fits {
            return Some(memory);
        }
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn fnv1a(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

/// Writes a name that the text's own punctuation cannot be mistaken for: as it is, or in quotes.
///
/// Only ASCII is looked at, because what Unicode calls a letter changes with the compiler.
fn write_name(out: &mut String, name: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || !c.is_ascii();
    if !name.is_empty() && name.chars().all(plain) {
        out.push_str(name);
        return;
    }
    quote_name(out, name);
}

/// What stands for a type where no bracket follows.
const WORDS: [&str; 18] = [
    "bool", "i8", "i16", "i32", "i64", "i128", "u8", "u16", "u32", "u64", "u128", "f32", "f64",
    "char", "str", "bytes", "any", "_",
];

fn is_a_word(name: &str) -> bool {
    WORDS.contains(&name)
}

fn quote_name(out: &mut String, name: &str) {
    out.push('"');
    for c in name.chars() {
        if c.is_ascii_control() {
            out.extend(c.escape_unicode());
        } else {
            if matches!(c, '"' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
    }
    out.push('"');
}

/// `std::any::type_name` without the paths, which differ between programs.
pub(crate) fn short_type_name(full: &str) -> String {
    let mut short = String::with_capacity(full.len());
    let mut segment = 0;
    let mut characters = full.chars().peekable();
    while let Some(c) = characters.next() {
        if c == ':' && characters.next_if_eq(&':').is_some() {
            short.truncate(segment);
            continue;
        }
        short.push(c);
        if !(c.is_alphanumeric() || matches!(c, '_' | '{' | '}')) {
            segment = short.len();
        }
    }
    short
}
