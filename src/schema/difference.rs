//! Compares two canonical texts and puts the first difference into words.
//!
//! The other text comes out of shared memory: it may be anything, and it may be cut off, which a
//! final `…` says. Both are parsed into small trees; what does not parse is compared by characters.

use std::iter::Peekable;
use std::str::CharIndices;

/// Deeper than any traced type is written; texts of brackets alone stop here.
const MAX_DEPTH: usize = 320;
/// Of a quoted part, in characters.
const MAX_QUOTED: usize = 60;
/// Of the whole line, in characters.
const MAX_LINE: usize = 400;

/// Describes in one line the first place where two canonical texts differ.
pub(crate) fn difference(mine: &str, theirs: &str) -> String {
    let line = match (parse(mine), parse(theirs)) {
        (Some(here), Some(there)) => {
            let path = if here.head == there.head { here.head.to_owned() } else { String::new() };
            compare(&here, &there, &path).unwrap_or_else(|| {
                if here.cut || there.cut {
                    "the difference lies beyond what is stored of the shape there".to_owned()
                } else {
                    "the shapes are spelled alike".to_owned()
                }
            })
        }
        _ => by_characters(mine, theirs),
    };
    line.chars().take(MAX_LINE).map(printable).collect()
}

/// Nothing out of shared memory is to move a terminal's cursor or turn its text round.
fn printable(c: char) -> char {
    let reorders =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || reorders { char::REPLACEMENT_CHARACTER } else { c }
}

/// One type, field or variant in a text.
struct Part<'a> {
    /// All of it.
    text: &'a str,
    /// What stands before the bracket.
    head: &'a str,
    bracket: Option<char>,
    items: Vec<Item<'a>>,
    /// The text ends within it.
    cut: bool,
}

struct Item<'a> {
    /// Of a field.
    name: Option<&'a str>,
    part: Part<'a>,
}

impl<'a> Item<'a> {
    /// What a field or variant goes by.
    fn key(&self) -> &'a str {
        self.name.unwrap_or(self.part.head)
    }

    /// The key as it is shown.
    fn label(&self) -> String {
        let broken = self.name.is_none() && self.part.cut && self.part.bracket.is_none();
        shorten(self.key()) + if broken { "…" } else { "" }
    }

    /// Whether the other's text breaks off within a name with which this one begins.
    fn may_be(&self, broken: &Item) -> bool {
        broken.name.is_none() && may_be(self.key(), &broken.part)
    }
}

struct Parser<'a> {
    text: &'a str,
    characters: Peekable<CharIndices<'a>>,
    truncated: bool,
}

fn parse(text: &str) -> Option<Part<'_>> {
    let whole = text.strip_suffix('…');
    let truncated = whole.is_some();
    let text = whole.unwrap_or(text);
    let mut parser = Parser { text, characters: text.char_indices().peekable(), truncated };
    let part = parser.part(0)?;
    parser.characters.peek().is_none().then_some(part)
}

impl<'a> Parser<'a> {
    fn peek(&mut self) -> Option<char> {
        self.characters.peek().map(|&(_, c)| c)
    }

    fn position(&mut self) -> usize {
        self.characters.peek().map_or(self.text.len(), |&(i, _)| i)
    }

    fn part(&mut self, depth: usize) -> Option<Part<'a>> {
        if depth > MAX_DEPTH {
            return None;
        }
        let start = self.position();
        self.skip_head();
        let head = &self.text[start..self.position()];
        let mut part = Part { text: head, head, bracket: None, items: Vec::new(), cut: false };
        let close = match self.peek() {
            Some('{') => '}',
            Some('(') => ')',
            Some('<') => '>',
            Some('[') => ']',
            Some(_) => return Some(part),
            None => {
                part.cut = self.truncated;
                return Some(part);
            }
        };
        part.bracket = self.characters.next().map(|(_, c)| c);
        loop {
            match self.peek() {
                Some(c) if c == close => {
                    self.characters.next();
                    break;
                }
                None if self.truncated => {
                    part.cut = true;
                    break;
                }
                None => return None,
                Some(_) => {}
            }
            let item = self.item(depth + 1)?;
            part.items.push(item);
            match self.peek() {
                Some(',' | '|') => {
                    self.characters.next();
                }
                Some(c) if c != close => return None,
                _ => {}
            }
        }
        part.text = &self.text[start..self.position()];
        Some(part)
    }

    fn item(&mut self, depth: usize) -> Option<Item<'a>> {
        let part = self.part(depth)?;
        if self.peek() == Some(':') && part.bracket.is_none() {
            self.characters.next();
            return Some(Item { name: Some(part.head), part: self.part(depth)? });
        }
        Some(Item { name: None, part })
    }

    /// Goes to the next punctuation that is not in quotes.
    fn skip_head(&mut self) {
        let mut quoted = false;
        while let Some(c) = self.peek() {
            match c {
                '"' => quoted = !quoted,
                '\\' if quoted => {
                    self.characters.next();
                }
                '{' | '}' | '(' | ')' | '<' | '>' | '[' | ']' | ',' | '|' | ':' if !quoted => break,
                _ => {}
            }
            self.characters.next();
        }
    }
}

/// `None` if no difference is seen; `path` is where the parts stand.
fn compare(mine: &Part, theirs: &Part, path: &str) -> Option<String> {
    if mine.head != theirs.head || mine.bracket != theirs.bracket {
        if may_be(mine.head, theirs) || may_be(theirs.head, mine) {
            return None;
        }
        let place = if path.is_empty() { "type".to_owned() } else { format!("{path}:") };
        return Some(format!("{place} {} here, {} there", quote(mine), quote(theirs)));
    }
    let noun = match mine.bracket {
        Some('{') => "field",
        Some('[') => "variant",
        _ => return compare_positions(mine, theirs, path),
    };
    for i in 0..mine.items.len().max(theirs.items.len()) {
        match (mine.items.get(i), theirs.items.get(i)) {
            (Some(_), None) if theirs.cut => return None,
            (None, Some(_)) if mine.cut => return None,
            (Some(here), Some(there)) if here.may_be(there) || there.may_be(here) => return None,
            (Some(here), Some(there)) if here.key() == there.key() => {
                let place = join(path, if noun == "field" { "." } else { "::" }, here.key());
                let found = compare(&here.part, &there.part, &place);
                if found.is_some() {
                    return found;
                }
            }
            _ => {
                let what = compare_keys(mine, theirs, i, noun);
                return Some(if path.is_empty() { what } else { format!("{path}: {what}") });
            }
        }
    }
    None
}

/// Whether a part whose text breaks off in its head can be the beginning of this one.
fn may_be(head: &str, broken: &Part) -> bool {
    broken.cut && broken.bracket.is_none() && head.starts_with(broken.head)
}

/// The fields or variants at one place go by different names, or one side has none there.
fn compare_keys(mine: &Part, theirs: &Part, i: usize, noun: &str) -> String {
    let key = |part: &Part| part.items.get(i).map(Item::label);
    let only = |part: &Part, other: &Part| {
        let item = part.items.get(i)?;
        // What a cut text lacks may stand in the rest.
        let absent = !other.cut && !other.items.iter().any(|o| o.key() == item.key());
        absent.then(|| item.label())
    };
    let same_number = mine.items.len() == theirs.items.len();
    match (only(mine, theirs), only(theirs, mine)) {
        (Some(here), Some(there)) if same_number => {
            format!("{noun} `{here}` here is `{there}` there")
        }
        (Some(here), _) => format!("{noun} `{here}` missing there"),
        (None, Some(there)) => format!("{noun} `{there}` missing here"),
        (None, None) => match (key(mine), key(theirs)) {
            (Some(here), Some(there)) => format!("{noun} `{here}` here where `{there}` is there"),
            _ => format!("a {noun} stands twice"),
        },
    }
}

fn compare_positions(mine: &Part, theirs: &Part, path: &str) -> Option<String> {
    let different = || {
        let place = if path.is_empty() { "type".to_owned() } else { format!("{path}:") };
        Some(format!("{place} {} here, {} there", quote(mine), quote(theirs)))
    };
    let (here, there) = (&mine.items, &theirs.items);
    if mine.head == "array" && mine.text != theirs.text && !theirs.cut && !mine.cut {
        return different();
    }
    let single = here.len() == 1 && there.len() == 1;
    for (i, (a, b)) in here.iter().zip(there).enumerate() {
        let place = match (mine.bracket, mine.head, i) {
            (Some('<'), "seq", _) => format!("{path}[]"),
            (Some('<'), "map", 0) => join(path, ".", "key"),
            (Some('<'), "map", _) => join(path, ".", "value"),
            (Some('('), ..) if !single => join(path, ".", &i.to_string()),
            _ => path.to_owned(),
        };
        let found = compare(&a.part, &b.part, &place);
        if found.is_some() {
            return found;
        }
    }
    let longer_is_cut = if here.len() > there.len() { theirs.cut } else { mine.cut };
    if here.len() == there.len() || longer_is_cut { None } else { different() }
}

fn join(path: &str, separator: &str, name: &str) -> String {
    let name = shorten(name);
    if path.is_empty() { name } else { format!("{path}{separator}{name}") }
}

fn quote(part: &Part) -> String {
    if part.text.is_empty() { "nothing".to_owned() } else { shorten(part.text) }
}

pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn by_characters(mine: &str, theirs: &str) -> String {
    let same = mine.chars().zip(theirs.chars()).take_while(|(a, b)| a == b).count();
    let rest = |text: &str| {
        let rest: String = text.chars().skip(same).take(MAX_QUOTED).collect();
        if rest.is_empty() { "nothing".to_owned() } else { format!("`{rest}`") }
    };
    format!("from character {}: {} here, {} there", same + 1, rest(mine), rest(theirs))
}
