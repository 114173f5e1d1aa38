//! The counterpart of the tracer: it goes along a traced shape with a value's `Serialize`, and notes
//! where that writes something else than `Deserialize` asked for.

use std::collections::HashSet;
use std::fmt;

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::{Kind, Trace};

/// What the values of a type write, beside what the type reads.
#[derive(Default)]
pub(in crate::schema) struct Written {
    /// The fields go by their names, and numbers and text are told apart by the reader.
    self_describing: bool,
    /// Where in the value the serializer is.
    path: String,
    /// Structs and tuples that were written with the fields that are read.
    right: HashSet<usize>,
    /// Those that were not.
    wrong: Vec<Wrong>,
    /// The first place that is written in another way than it is read. Such a value may come back all
    /// the same: many encode a tuple like a struct.
    unlike: Option<(String, String)>,
    /// The first place where nothing is written and something is read.
    nothing: Option<(String, String)>,
}

/// A struct or tuple that was written with other fields than are read.
pub(in crate::schema) struct Wrong {
    node: usize,
    /// Where in the value.
    pub(in crate::schema) path: String,
    pub(in crate::schema) how: String,
}

impl Written {
    pub(in crate::schema) fn new(self_describing: bool) -> Written {
        Written { self_describing, ..Written::default() }
    }

    /// Goes along a value; false if a struct or tuple in it has other fields than are read.
    pub(in crate::schema) fn follow<T: Serialize>(&mut self, trace: &Trace, value: &T) -> bool {
        let before = self.wrong.len();
        self.path.clear();
        // What a value's Serialize refuses says nothing of others.
        let _ = value.serialize(Follower { trace, written: self, node: Some(0) });
        self.wrong.len() == before
    }

    /// The first place where other fields are written than are read, or nothing at all, and how.
    pub(in crate::schema) fn otherwise(self) -> Option<(String, String)> {
        let wrong = self.wrong.into_iter().next().map(|wrong| (wrong.path, wrong.how));
        wrong.or(self.nothing)
    }

    /// One that no value wrote with the fields that are read.
    pub(in crate::schema) fn never_right(&self) -> Option<&Wrong> {
        self.wrong.iter().find(|wrong| !self.right.contains(&wrong.node))
    }

    /// The first place that is written in another way than it is read, and how.
    pub(in crate::schema) fn unlike(&self) -> Option<&(String, String)> {
        self.unlike.as_ref()
    }
}

/// The serializer of one place; without a node where nothing is known of what is read there.
struct Follower<'w> {
    trace: &'w Trace,
    written: &'w mut Written,
    node: Option<usize>,
}

impl<'w> Follower<'w> {
    /// The node that the place has, and its kind. What a newtype wraps may be written without it.
    fn settle(&mut self, newtype: bool) -> Option<(usize, Kind)> {
        loop {
            let node = self.node?;
            let entry = &self.trace.nodes[node];
            match entry.kind {
                Kind::Reference(ancestor) => self.node = Some(ancestor),
                Kind::Newtype if !newtype => self.node = Some(entry.first_child),
                Kind::Unknown | Kind::Refused => return None,
                kind => return Some((node, kind)),
            }
        }
    }

    fn child(&self, number: usize) -> Option<usize> {
        self.node.map(|node| self.trace.nodes[node].first_child + number)
    }

    /// Writes what stands below this place.
    fn below<T: Serialize + ?Sized>(
        &mut self,
        node: Option<usize>,
        step: &str,
        value: &T,
    ) -> fmt::Result {
        let length = self.written.path.len();
        self.written.path.push_str(step);
        let result =
            value.serialize(Follower { trace: self.trace, written: &mut *self.written, node });
        self.written.path.truncate(length);
        result
    }

    /// The place is written in another way than it is read: nothing is known of what is in it.
    fn unlike(&mut self, writes: &str) {
        if let Some(node) = self.node
            && self.written.unlike.is_none()
        {
            let how = self.how(node, writes);
            self.written.unlike = Some((self.written.path.clone(), how));
        }
        self.node = None;
    }

    fn how(&self, node: usize, writes: &str) -> String {
        let mut reads = String::new();
        self.trace.write(node, &mut reads);
        let reads = crate::schema::difference::shorten(&reads);
        format!("is written as {writes} and read as {reads}")
    }

    /// The place is written without any byte.
    fn without_bytes(&mut self, what: &str) {
        if let Some(node) = self.node
            && !self.written.self_describing
            && self.written.nothing.is_none()
            && self.trace.takes_bytes(node)
        {
            let how = format!("it {}", self.how(node, what));
            self.written.nothing = Some((self.written.path.clone(), how));
        }
    }

    fn leaf(mut self, label: &str) -> fmt::Result {
        let known = self.settle(false);
        let numbers = self.written.self_describing;
        match known {
            None => {}
            Some((node, Kind::Leaf)) => {
                let read = self.trace.nodes[node].label;
                let text = |label| matches!(label, "str" | "bytes");
                if !(numbers || read == label || read == "any" || text(read) && text(label)) {
                    self.unlike(label);
                }
            }
            Some((_, Kind::Sequence)) if label == "bytes" => {}
            Some(_) => self.unlike(label),
        }
        Ok(())
    }

    fn nothing(mut self, what: &str) -> fmt::Result {
        self.without_bytes(what);
        match self.settle(false) {
            None | Some((_, Kind::Unit | Kind::Nothing)) => {}
            Some((node, Kind::Leaf)) if matches!(self.trace.nodes[node].label, "()" | "any") => {}
            Some((node, Kind::Struct | Kind::Tuple | Kind::TupleStruct))
                if self.trace.nodes[node].children == 0 => {}
            Some((_, Kind::Option)) if self.written.self_describing => {}
            Some(_) => self.unlike(what),
        }
        Ok(())
    }

    /// Goes to the content of a variant.
    fn variant(mut self, index: u32, variant: &'static str) -> Self {
        match self.settle(false) {
            None => {}
            Some((node, Kind::Enum)) => {
                let entry = &self.trace.nodes[node];
                let by_name = entry.names.iter().position(|&name| name == variant);
                let number = by_name.unwrap_or(index as usize);
                if number >= entry.children {
                    let (what, count) = (format!("variant `{variant}`"), entry.children);
                    self.unlike(&format!("{what} as number {index} of an enum of {count}"));
                } else if number != index as usize && !self.written.self_describing {
                    self.unlike(&format!("variant `{variant}` as number {index}"));
                } else {
                    self.node = self.child(number);
                }
            }
            Some(_) => self.unlike(&format!("variant `{variant}` of an enum")),
        }
        self
    }

    fn elements(mut self, kind: Kind, what: &str) -> Parts<'w> {
        match self.settle(false) {
            None => {}
            Some((_, found)) if found == kind => {}
            Some((node, Kind::Leaf))
                if self.written.self_describing
                    || matches!(self.trace.nodes[node].label, "str" | "bytes" | "any") =>
            {
                self.node = None;
            }
            Some(_) if self.written.self_describing => self.node = None,
            Some(_) => self.unlike(what),
        }
        Parts::new(self, "", None)
    }

    /// Begins a struct, a tuple or the content of a variant, which announces so many fields.
    fn fields(mut self, name: &'static str, announced: usize) -> Parts<'w> {
        if announced == 0 {
            self.without_bytes("no field");
        }
        match self.settle(false) {
            None | Some((_, Kind::Tuple | Kind::TupleStruct | Kind::Struct)) => {}
            Some(_) if self.written.self_describing => self.node = None,
            Some(_) => {
                let what = if name.is_empty() { "a tuple" } else { name };
                self.unlike(&format!("{what} of {announced} fields"));
            }
        }
        Parts::new(self, name, Some(announced))
    }
}

macro_rules! leaves {
    ($($method:ident $type:ty, $label:literal;)*) => {$(
        fn $method(self, _: $type) -> fmt::Result {
            self.leaf($label)
        }
    )*};
}

impl<'w> Serializer for Follower<'w> {
    type Ok = ();
    type Error = fmt::Error;
    type SerializeSeq = Parts<'w>;
    type SerializeTuple = Parts<'w>;
    type SerializeTupleStruct = Parts<'w>;
    type SerializeTupleVariant = Parts<'w>;
    type SerializeMap = Parts<'w>;
    type SerializeStruct = Parts<'w>;
    type SerializeStructVariant = Parts<'w>;

    leaves! {
        serialize_bool bool, "bool";
        serialize_i8 i8, "i8";
        serialize_i16 i16, "i16";
        serialize_i32 i32, "i32";
        serialize_i64 i64, "i64";
        serialize_i128 i128, "i128";
        serialize_u8 u8, "u8";
        serialize_u16 u16, "u16";
        serialize_u32 u32, "u32";
        serialize_u64 u64, "u64";
        serialize_u128 u128, "u128";
        serialize_f32 f32, "f32";
        serialize_f64 f64, "f64";
        serialize_char char, "char";
        serialize_str &str, "str";
        serialize_bytes &[u8], "bytes";
    }

    fn serialize_none(mut self) -> fmt::Result {
        match self.settle(false) {
            None | Some((_, Kind::Option)) => {}
            Some(_) if self.written.self_describing => {}
            Some(_) => self.unlike("an option"),
        }
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(mut self, value: &T) -> fmt::Result {
        let inner = match self.settle(false) {
            None => None,
            Some((_, Kind::Option)) => self.child(0),
            Some(_) if self.written.self_describing => self.node,
            Some(_) => {
                self.unlike("an option");
                None
            }
        };
        self.below(inner, "", value)
    }

    fn serialize_unit(self) -> fmt::Result {
        self.nothing("()")
    }

    fn serialize_unit_struct(self, name: &'static str) -> fmt::Result {
        self.nothing(name)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> fmt::Result {
        self.variant(index, variant).nothing(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        mut self,
        _name: &'static str,
        value: &T,
    ) -> fmt::Result {
        let inner = match self.settle(true) {
            Some((_, Kind::Newtype)) => self.child(0),
            _ => self.node,
        };
        self.below(inner, "", value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> fmt::Result {
        let mut content = self.variant(index, variant);
        let inner = match content.settle(true) {
            Some((_, Kind::Newtype)) => content.child(0),
            _ => content.node,
        };
        content.below(inner, &format!("::{variant}"), value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Parts<'w>, fmt::Error> {
        Ok(self.elements(Kind::Sequence, "a sequence"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Parts<'w>, fmt::Error> {
        Ok(self.elements(Kind::Map, "a map"))
    }

    fn serialize_tuple(self, length: usize) -> Result<Parts<'w>, fmt::Error> {
        Ok(self.fields("", length))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        length: usize,
    ) -> Result<Parts<'w>, fmt::Error> {
        Ok(self.fields(name, length))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Parts<'w>, fmt::Error> {
        Ok(self.variant(index, variant).fields(variant, length).within_variant())
    }

    fn serialize_struct(self, name: &'static str, length: usize) -> Result<Parts<'w>, fmt::Error> {
        Ok(self.fields(name, length))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Parts<'w>, fmt::Error> {
        Ok(self.variant(index, variant).fields(variant, length).within_variant())
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> fmt::Result {
        self.leaf("str")
    }

    fn is_human_readable(&self) -> bool {
        self.written.self_describing
    }
}

/// The fields of a struct, tuple or variant, the elements of a sequence, or the entries of a map.
struct Parts<'w> {
    place: Follower<'w>,
    /// The struct's or variant's; a tuple has none.
    name: &'static str,
    /// Of fields.
    announced: Option<usize>,
    /// How many were written.
    count: usize,
    /// The fields that were written or skipped, where they have names.
    names: Vec<&'static str>,
    /// How long the path was before.
    path: usize,
}

impl<'w> Parts<'w> {
    fn new(place: Follower<'w>, name: &'static str, announced: Option<usize>) -> Self {
        let path = place.written.path.len();
        Parts { place, name, announced, count: 0, names: Vec::new(), path }
    }

    fn within_variant(self) -> Self {
        self.place.written.path.push_str("::");
        self.place.written.path.push_str(self.name);
        self
    }

    /// The child with this number, if there is one.
    fn child(&self, number: usize) -> Option<usize> {
        let children = self.place.node.map_or(0, |node| self.place.trace.nodes[node].children);
        if number < children { self.place.child(number) } else { None }
    }

    fn numbered<T: Serialize + ?Sized>(&mut self, value: &T) -> fmt::Result {
        let (number, child) = (self.count, self.child(self.count));
        self.count += 1;
        self.place.below(child, &format!(".{number}"), value)
    }

    fn named<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> fmt::Result {
        let read = self.place.node.map_or(&[][..], |node| self.place.trace.nodes[node].names);
        let number = read.iter().position(|&name| name == key).unwrap_or(self.names.len());
        let child = self.child(number);
        self.names.push(key);
        self.place.below(child, &format!(".{key}"), value)
    }

    fn finish(self, read_as: Kind) -> fmt::Result {
        if let Some(node) = self.place.node
            && self.place.trace.nodes[node].kind == read_as
        {
            match self.difference(node, read_as) {
                None => {
                    self.place.written.right.insert(node);
                }
                Some(how) => {
                    let path = self.place.written.path.clone();
                    self.place.written.wrong.push(Wrong { node, path, how });
                }
            }
        }
        self.place.written.path.truncate(self.path);
        Ok(())
    }

    /// How the fields that were written are not those that are read.
    fn difference(&self, node: usize, read_as: Kind) -> Option<String> {
        let (name, entry) = (self.name, &self.place.trace.nodes[node]);
        if read_as != Kind::Struct {
            let (written, read) = (self.announced?, entry.children);
            let fields = if written == 1 { "field" } else { "fields" };
            return (written != read).then(|| {
                format!("`{name}` is written with {written} {fields} and read with {read}")
            });
        }
        // With aliases it is not known which names are of one field.
        let aliases = entry.names.len() != entry.children;
        let absent = |from: &[&'static str], names: &[&'static str]| {
            let absent = names.iter().filter(|name| !from.contains(name));
            absent.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        };
        let unread = absent(entry.names, &self.names);
        let unwritten = if aliases { String::new() } else { absent(&self.names, entry.names) };
        let other = match self.place.written.self_describing {
            true => !(unread.is_empty() && unwritten.is_empty()),
            // Without names it is their number that tells.
            false => self.names.len() != entry.children,
        };
        let what = match (unread.as_str(), unwritten.as_str()) {
            _ if !other => return None,
            ("", "") => "other fields than it reads".to_owned(),
            (unread, "") => format!("{unread}, which it does not read"),
            ("", unwritten) => {
                return Some(format!("`{name}` reads {unwritten} and never writes it"));
            }
            (unread, unwritten) => format!("{unread} where it reads {unwritten}"),
        };
        Some(format!("`{name}` writes {what}"))
    }
}

impl SerializeSeq for Parts<'_> {
    type Ok = ();
    type Error = fmt::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> fmt::Result {
        self.place.below(self.child(0), "[]", value)
    }

    fn end(self) -> fmt::Result {
        Ok(())
    }
}

impl SerializeMap for Parts<'_> {
    type Ok = ();
    type Error = fmt::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> fmt::Result {
        self.place.below(self.child(0), ".key", key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> fmt::Result {
        self.place.below(self.child(1), ".value", value)
    }

    fn end(self) -> fmt::Result {
        Ok(())
    }
}

impl SerializeTuple for Parts<'_> {
    type Ok = ();
    type Error = fmt::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> fmt::Result {
        self.numbered(value)
    }

    fn end(self) -> fmt::Result {
        Ok(())
    }
}

macro_rules! numbered_fields {
    ($($compound:ident)*) => {$(
        impl $compound for Parts<'_> {
            type Ok = ();
            type Error = fmt::Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> fmt::Result {
                self.numbered(value)
            }

            fn end(self) -> fmt::Result {
                self.finish(Kind::TupleStruct)
            }
        }
    )*};
}

macro_rules! named_fields {
    ($($compound:ident)*) => {$(
        impl $compound for Parts<'_> {
            type Ok = ();
            type Error = fmt::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> fmt::Result {
                self.named(key, value)
            }

            /// Another value may have it.
            fn skip_field(&mut self, key: &'static str) -> fmt::Result {
                self.names.push(key);
                Ok(())
            }

            fn end(self) -> fmt::Result {
                self.finish(Kind::Struct)
            }
        }
    )*};
}

numbered_fields! { SerializeTupleStruct SerializeTupleVariant }
named_fields! { SerializeStruct SerializeStructVariant }
