//! Spells the tree of a traced type as its canonical text.

use super::{Kind, Trace};
use crate::schema::write_name;

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
            Kind::Unit => write_name(out, entry.label),
            Kind::Refused => {
                write_name(out, entry.label);
                out.push_str("(?)");
            }
            Kind::Newtype | Kind::TupleStruct => {
                write_name(out, entry.label);
                self.write_children(node, ['(', ')'], ',', out);
            }
            Kind::Struct => {
                write_name(out, entry.label);
                self.write_fields(node, out);
            }
            Kind::Enum => {
                write_name(out, entry.label);
                self.write_children(node, ['[', ']'], '|', out);
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

    fn write_tuple(&self, node: usize, out: &mut String) {
        let length = self.nodes[node].children;
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
