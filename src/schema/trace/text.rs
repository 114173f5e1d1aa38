//! Spells the tree of a traced type as its canonical text.

use super::{Kind, Trace};
use crate::schema::{is_a_word, quote_name, write_name};

/// Arrays longer than this are written with their length.
const MAX_SPELLED_OUT: usize = 3;

impl Trace {
    /// The canonical text of what was traced.
    pub(in crate::schema) fn text(&self) -> String {
        let mut text = String::new();
        self.write(0, &mut text);
        text
    }

    pub(super) fn write(&self, node: usize, out: &mut String) {
        let entry = &self.nodes[node];
        match entry.kind {
            Kind::Unknown | Kind::Nothing => out.push('_'),
            Kind::Leaf if entry.nonzero => {
                out.push_str("nonzero<");
                out.push_str(entry.label);
                out.push('>');
            }
            Kind::Leaf => out.push_str(entry.label),
            Kind::Option | Kind::Sequence | Kind::Map => {
                out.push_str(entry.label);
                self.write_children(node, ['<', '>'], ',', out);
            }
            Kind::Tuple => self.write_tuple(node, out),
            // A struct's name that stands alone is not to be taken for a word of the text's own.
            Kind::Unit if is_a_word(entry.label) && !self.is_variant(node) => {
                quote_name(out, entry.label);
            }
            Kind::Unit => write_name(out, entry.label),
            Kind::Refused => {
                write_name(out, entry.label);
                out.push_str("(?)");
            }
            Kind::Newtype | Kind::TupleStruct => {
                write_name(out, entry.label);
                self.write_children(node, ['(', ')'], ',', out);
                // In a format with names, one field of a tuple is not the field of a newtype.
                if entry.kind == Kind::TupleStruct && entry.children == 1 {
                    out.pop();
                    out.push_str(",)");
                }
            }
            Kind::Struct => {
                write_name(out, entry.label);
                self.write_fields(node, out);
            }
            Kind::Enum => {
                write_name(out, entry.label);
                self.write_variants(node, out);
                if self.takes_others.get(entry.visitor) == Some(&true) {
                    out.pop();
                    out.push_str("|*]");
                }
            }
            Kind::Reference(ancestor) => self.write_reference(node, ancestor, out),
        }
    }

    fn write_children(&self, node: usize, brackets: [char; 2], separator: char, out: &mut String) {
        out.push(brackets[0]);
        for (i, child) in self.children(node).enumerate() {
            if i > 0 {
                out.push(separator);
            }
            self.write(child, out);
        }
        out.push(brackets[1]);
    }

    fn is_variant(&self, node: usize) -> bool {
        node != 0 && self.nodes[self.nodes[node].parent].kind == Kind::Enum
    }

    fn write_variants(&self, node: usize, out: &mut String) {
        out.push('[');
        for (i, child) in self.children(node).enumerate() {
            if i > 0 {
                out.push('|');
                if self.is_alias(node, i) {
                    out.push('=');
                }
            }
            self.write(child, out);
        }
        out.push(']');
    }

    /// Whether the enum takes one of its names for the same variant as the name before.
    fn is_alias(&self, node: usize, number: usize) -> bool {
        let range = self.children(node);
        let tokens = || self.nodes[range.clone()].iter().map(|child| child.token);
        let Some(token) = self.nodes[range.start + number].token else { return false };
        // What is no enum is the same for all of its values, unless it has but one.
        let tells = token.without_bytes || tokens().any(|other| other != Some(token));
        tells && self.nodes[range.start + number - 1].token == Some(token)
    }

    fn write_tuple(&self, node: usize, out: &mut String) {
        let length = self.nodes[node].children;
        if length == 0 {
            // `()` asks for a unit, which is no tuple in a format that describes itself.
            return out.push_str("(,)");
        }
        if length > MAX_SPELLED_OUT {
            let mut texts = self.children(node).map(|child| {
                let mut text = String::new();
                self.write(child, &mut text);
                text
            });
            if let Some(first) = texts.next()
                && texts.all(|text| text == first)
            {
                out.push_str(&format!("array<{first},{length}>"));
                return;
            }
        }
        self.write_children(node, ['(', ')'], ',', out);
    }

    fn write_fields(&self, node: usize, out: &mut String) {
        let entry = &self.nodes[node];
        // With aliases it is not known which name belongs to which field.
        let paired = entry.names.len() == entry.children;
        out.push('{');
        for (i, name) in entry.names.iter().enumerate() {
            if i > 0 {
                out.push(if paired { ',' } else { '|' });
            }
            write_name(out, name);
            if paired {
                out.push(':');
                self.write(entry.first_child + i, out);
            }
        }
        if !paired {
            out.push(':');
            self.write_children(node, ['(', ')'], ',', out);
        }
        out.push('}');
    }

    fn write_reference(&self, node: usize, ancestor: usize, out: &mut String) {
        let label = self.nodes[ancestor].label;
        let mut at = node;
        while at != ancestor {
            at = self.nodes[at].parent;
            if self.nodes[at].label == label {
                out.push('^');
            }
        }
        write_name(out, label);
    }
}
