//! Reads a shape's text, which stands in shared memory and may be anything.
//!
//! Depth and number of parts are bounded, each character is looked at once, and a recursion is one step back to a
//! place further out. What could be decoded for ever without input is refused: a type that contains itself other than
//! by an option, a sequence, a map or an enum, and arrays whose parts multiply beyond what any type's shape has.

use std::ops::Range;

use super::error::ShapeError;
use super::shape::{Content, Enum, Integer, Node, Variant};

/// Deeper than any type is traced.
const MAX_DEPTH: usize = 160;
/// Of parts, each element of an array counted: more than any type is traced with.
const MAX_PARTS: usize = 1 << 16;

type Parsed<T> = Result<T, ShapeError>;

/// What a text says.
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    /// Which of them is the whole.
    pub(super) root: usize,
    /// Where the text has the type of each field, if the whole is a struct.
    pub(super) fields: Vec<Range<usize>>,
}

pub(super) fn parse(text: &str) -> Parsed<Tree> {
    if text.ends_with('…') {
        return Err(ShapeError::Truncated { len: text.len() });
    }
    let mut parser = Parser::new(text);
    let (root, _) = parser.part()?;
    match parser.peek() {
        None => Ok(Tree { nodes: parser.nodes, root, fields: parser.fields }),
        Some(_) => parser.refuse("something follows the shape"),
    }
}

/// The name that a type gave itself, if it has one in the text of its shape.
pub(super) fn type_name(text: &str) -> Option<String> {
    let mut parser = Parser::new(text.strip_prefix('?').unwrap_or(text));
    let name = parser.name().ok()?.text;
    let rest = &parser.text[parser.at..];
    (!rest.starts_with('<') || rest == "<bytes>").then_some(name)
}

/// A place that is being read, to which a recursion may lead back.
struct Outer {
    label: String,
    node: usize,
    /// A value of it can end, whatever stands in it.
    ends: bool,
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    nodes: Vec<Node>,
    /// Where the types of the outermost struct's fields stand.
    fields: Vec<Range<usize>>,
    outer: Vec<Outer>,
    depth: usize,
}

/// A node and how many parts it has, elements of arrays counted.
type Counted = (usize, usize);

struct Name {
    text: String,
    quoted: bool,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Self {
        let (nodes, fields, outer) = (Vec::new(), Vec::new(), Vec::new());
        Parser { text, at: 0, nodes, fields, outer, depth: 0 }
    }

    fn refuse<T>(&self, what: &'static str) -> Parsed<T> {
        Err(ShapeError::Malformed { at: self.at, what })
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    /// Goes on behind a character, if it stands here.
    fn take(&mut self, c: char) -> bool {
        let there = self.peek() == Some(c);
        if there {
            self.at += c.len_utf8();
        }
        there
    }

    fn take_all(&mut self, text: &str) -> bool {
        let there = self.text[self.at..].starts_with(text);
        if there {
            self.at += text.len();
        }
        there
    }

    fn expect(&mut self, c: char, what: &'static str) -> Parsed<()> {
        if self.take(c) { Ok(()) } else { self.refuse(what) }
    }

    fn add(&mut self, node: Node) -> Parsed<usize> {
        if self.nodes.len() >= MAX_PARTS {
            return self.refuse("the shape has too many parts");
        }
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    fn leaf(&mut self, node: Node) -> Parsed<Counted> {
        Ok((self.add(node)?, 1))
    }

    /// Reads what stands within a place, and then makes its node.
    fn within(
        &mut self,
        label: &str,
        ends: bool,
        read: impl FnOnce(&mut Self) -> Parsed<(Node, usize)>,
    ) -> Parsed<Counted> {
        let number = self.add(Node::Any)?;
        self.outer.push(Outer { label: label.to_owned(), node: number, ends });
        let (node, parts) = read(self)?;
        self.outer.pop();
        self.nodes[number] = node;
        let parts = parts.saturating_add(1);
        if parts > MAX_PARTS {
            return self.refuse("the shape has too many parts");
        }
        Ok((number, parts))
    }

    /// A type.
    fn part(&mut self) -> Parsed<Counted> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.refuse("the shape nests too deep");
        }
        let part = match self.peek() {
            Some('^') => self.reference(),
            Some('(') => self.tuple(),
            Some('?') => {
                self.at += 1;
                self.name()?;
                self.leaf(Node::Any)
            }
            _ => self.named(),
        };
        self.depth -= 1;
        part
    }

    fn reference(&mut self) -> Parsed<Counted> {
        let mut outwards = 0;
        while self.take('^') {
            outwards += 1;
        }
        let label = self.name()?.text;
        let mut found = None;
        for (at, outer) in self.outer.iter().enumerate().rev() {
            if outer.label == label {
                outwards -= 1;
                if outwards == 0 {
                    found = Some((at, outer.node));
                    break;
                }
            }
        }
        let Some((at, node)) = found else {
            return self.refuse("a recursion leads to no place further out");
        };
        if !self.outer[at..].iter().any(|outer| outer.ends) {
            return self.refuse("a type contains itself without end");
        }
        Ok((node, 1))
    }

    fn tuple(&mut self) -> Parsed<Counted> {
        if self.take_all("()") {
            return self.leaf(Node::Unit);
        }
        if self.take_all("(,)") {
            return self.leaf(Node::Tuple(Vec::new()));
        }
        self.within("tuple", false, |parser| {
            let (children, parts, _) = parser.list()?;
            Ok((Node::Tuple(children), parts))
        })
    }

    /// Types in parentheses, and whether a comma follows the last.
    fn list(&mut self) -> Parsed<(Vec<usize>, usize, bool)> {
        self.expect('(', "a parenthesis is missing")?;
        let (mut children, mut parts, mut comma) = (Vec::new(), 0_usize, false);
        while !self.take(')') {
            if !children.is_empty() && !comma {
                return self.refuse("a comma is missing");
            }
            let (child, of) = self.part()?;
            children.push(child);
            parts = parts.saturating_add(of);
            comma = self.take(',');
        }
        Ok((children, parts, comma))
    }

    /// What begins with a name or a word.
    fn named(&mut self) -> Parsed<Counted> {
        let Name { text: name, quoted } = self.name()?;
        let word = if quoted { "" } else { name.as_str() };
        match self.peek() {
            Some('<') => self.container(word),
            Some('{') => self.within(&name, false, Parser::fields),
            Some('[') => self.within(&name, true, |parser| parser.variants(name.clone())),
            Some('(') if self.text[self.at..].starts_with("(size=") => self.layout(),
            Some('(') => self.within(&name, false, |parser| Ok(newtype_or_tuple(parser.list()?))),
            Some('@') => {
                self.at += 1;
                self.number()?;
                self.leaf(Node::Foreign(None))
            }
            _ => {
                let node = word_node(word);
                self.leaf(node)
            }
        }
    }

    /// What stands in angle brackets.
    fn container(&mut self, word: &str) -> Parsed<Counted> {
        if !matches!(word, "option" | "seq") && self.take_all("<bytes>") {
            return self.leaf(Node::Foreign(None));
        }
        self.at += 1;
        let one = |parser: &mut Self| {
            let (child, parts) = parser.part()?;
            parser.expect('>', "an angle bracket is missing")?;
            Ok((child, parts))
        };
        match word {
            "option" => self.within(word, true, |parser| {
                one(parser).map(|(child, parts)| (Node::Option(child), parts))
            }),
            "seq" => self.within(word, true, |parser| {
                one(parser).map(|(child, parts)| (Node::Seq(child), parts))
            }),
            "map" => self.within(word, true, |parser| {
                let (key, keys) = parser.part()?;
                parser.expect(',', "the values of a map are missing")?;
                let (value, values) = one(parser)?;
                Ok((Node::Map(key, value), keys.saturating_add(values)))
            }),
            "array" => self.within("tuple", false, |parser| {
                let (child, parts) = parser.part()?;
                parser.expect(',', "the length of an array is missing")?;
                let length = parser.number()?;
                parser.expect('>', "an angle bracket is missing")?;
                Ok((Node::Array(child, length), parts.saturating_mul(length)))
            }),
            "nonzero" => {
                let name = self.name()?.text;
                self.expect('>', "an angle bracket is missing")?;
                match Integer::ALL.iter().find(|(text, _)| *text == name) {
                    Some(&(_, of)) => self.leaf(Node::Integer { of, nonzero: true }),
                    None => self.refuse("what must not be zero is no integer"),
                }
            }
            _ => self.refuse("a word is not known"),
        }
    }

    /// `(size=48,align=8)`.
    fn layout(&mut self) -> Parsed<Counted> {
        self.take_all("(size=");
        let size = self.number()?;
        if !self.take_all(",align=") {
            return self.refuse("an alignment is missing");
        }
        self.number()?;
        self.expect(')', "a parenthesis is missing")?;
        self.leaf(Node::Foreign(Some(size)))
    }

    fn fields(&mut self) -> Parsed<(Node, usize)> {
        self.expect('{', "a brace is missing")?;
        let (mut fields, mut parts) = (Vec::new(), 0_usize);
        while !self.take('}') {
            if !fields.is_empty() {
                self.expect(',', "a comma is missing")?;
            }
            let name = self.name()?.text;
            if fields.is_empty() && self.peek() == Some('|') {
                return self.fields_by_number();
            }
            self.expect(':', "a field's type is missing")?;
            let from = self.at;
            let (child, of) = self.part()?;
            fields.push((name, child));
            if self.outer.len() == 1 {
                self.fields.push(from..self.at);
            }
            parts = parts.saturating_add(of);
        }
        Ok((Node::Struct(fields), parts))
    }

    /// Fields with further names, of which it is not known whose they are.
    fn fields_by_number(&mut self) -> Parsed<(Node, usize)> {
        while self.take('|') {
            self.name()?;
        }
        self.expect(':', "the types of the fields are missing")?;
        let (children, parts, _) = self.list()?;
        self.expect('}', "a brace is missing")?;
        Ok((Node::Tuple(children), parts))
    }

    fn variants(&mut self, name: String) -> Parsed<(Node, usize)> {
        self.expect('[', "a bracket is missing")?;
        let (mut variants, mut parts, mut others) = (Vec::<Variant>::new(), 0_usize, false);
        while !self.take(']') {
            if !variants.is_empty() {
                self.expect('|', "a bar is missing")?;
            }
            if self.take('*') {
                others = true;
                self.expect(']', "a bracket is missing")?;
                break;
            }
            let alias = self.take('=');
            let name = self.name()?.text;
            let (content, of) = self.content(&name)?;
            parts = parts.saturating_add(of).saturating_add(1);
            match variants.last_mut() {
                Some(before) if alias => before.names.push(name),
                _ => variants.push(Variant { names: vec![name], content }),
            }
        }
        Ok((Node::Enum(Enum { name, variants, others }), parts))
    }

    fn content(&mut self, name: &str) -> Parsed<(Content, usize)> {
        let (node, parts) = match self.peek() {
            Some('{') => self.within(name, false, Parser::fields)?,
            Some('(') if self.take_all("(?)") => return Ok((Content::Refused, 0)),
            Some('(') => self.within(name, false, |parser| Ok(newtype_or_tuple(parser.list()?)))?,
            _ => return Ok((Content::None, 0)),
        };
        Ok((Content::Of(node), parts))
    }

    fn number(&mut self) -> Parsed<usize> {
        let digits = self.text[self.at..].bytes().take_while(u8::is_ascii_digit).count();
        let number = self.text[self.at..self.at + digits].parse();
        match number {
            Ok(number) => {
                self.at += digits;
                Ok(number)
            }
            Err(_) => self.refuse("a number is missing"),
        }
    }

    /// A name, as it is or in quotes.
    fn name(&mut self) -> Parsed<Name> {
        if self.take('"') {
            return Ok(Name { text: self.quoted()?, quoted: true });
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || !c.is_ascii();
        let rest = &self.text[self.at..];
        let len = rest.find(|c| !plain(c)).unwrap_or(rest.len());
        if len == 0 {
            return self.refuse("a name is missing");
        }
        self.at += len;
        Ok(Name { text: rest[..len].to_owned(), quoted: false })
    }

    fn quoted(&mut self) -> Parsed<String> {
        let mut name = String::new();
        loop {
            let Some(c) = self.peek() else {
                return self.refuse("a quote is missing");
            };
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(name),
                '\\' if self.take_all("u{") => {
                    let rest = &self.text[self.at..];
                    let len = rest.find('}').filter(|&len| len <= 6);
                    let code = len.and_then(|len| u32::from_str_radix(&rest[..len], 16).ok());
                    let Some((len, c)) = len.zip(code.and_then(char::from_u32)) else {
                        return self.refuse("an escape stands for no character");
                    };
                    self.at += len + 1;
                    name.push(c);
                }
                '\\' => match self.peek() {
                    Some(c @ ('"' | '\\')) => {
                        self.at += 1;
                        name.push(c);
                    }
                    _ => return self.refuse("an escape stands for no character"),
                },
                c => name.push(c),
            }
        }
    }
}

/// One field without a comma behind it is a newtype's.
fn newtype_or_tuple((children, parts, comma): (Vec<usize>, usize, bool)) -> (Node, usize) {
    match children[..] {
        [child] if !comma => (Node::Newtype(child), parts),
        _ => (Node::Tuple(children), parts),
    }
}

/// What a word stands for; a name of a struct without fields is none.
fn word_node(word: &str) -> Node {
    match word {
        "bool" => Node::Bool,
        "f32" => Node::F32,
        "f64" => Node::F64,
        "char" => Node::Char,
        "str" => Node::Str,
        "bytes" => Node::Bytes,
        "any" => Node::Any,
        word => match Integer::ALL.iter().find(|(text, _)| *text == word) {
            Some(&(_, of)) => Node::Integer { of, nonzero: false },
            None => Node::Unit,
        },
    }
}
