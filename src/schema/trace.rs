//! Finds the shape of a type by running its `Deserialize` without any input.
//!
//! The shape is a tree of nodes, one per position in the type; a child is a field, an element or a
//! variant. A pass builds one value: every call on the [`Tracer`] of a node notes what the type asked
//! for there and hands it samples. Passes are repeated until every node is done:
//!
//! - At an enum, a pass takes the first variant that is not done. All enums of a type advance
//!   together, so passes add up with variants and do not multiply.
//! - A node that asks for the same as one of its ancestors, for a visitor of the same Rust type, is a
//!   recursion. It becomes a reference, and the pass goes on with the ancestor's nodes, taking the
//!   shortest way out: `None`, no elements, the variant that was built first.
//! - A node whose samples are refused gets others in the next pass. One that refuses them all is
//!   stuck: its shape is known, and `Option`s, sequences and enums around it avoid it.
//!
//! Every pass must change something, or the type is not traceable. Samples never show in the text, but
//! for what is found out with them: that a number must not be zero, and that an enum takes variants
//! that it does not know.
//!
//! Further passes then vary the samples, to make values of all kinds ([`Trace::vary`]).

mod samples;
mod text;
mod tracer;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
mod written;

use std::any::type_name;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;

use serde::de::{self, Deserialize};

use samples::{INTEGERS, LENGTHS, sample};
use tracer::Tracer;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
pub(super) use written::Written;

const MAX_PASSES: usize = 10_000;
const MAX_STEPS: usize = 1_000_000;
const MAX_NODES: usize = 32_768;
/// Low enough for the 2 MiB stack of a thread, at some kilobytes a level in a debug build.
const MAX_DEPTH: usize = 128;
/// How many samples a node may refuse: at least as many as the longest list of them.
const MAX_REFUSALS: usize = 20;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
/// How many more values are made, if no sample is refused on the way.
const VARIATIONS: usize = 12;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
const MAX_VARYING_PASSES: usize = 36;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
const MAX_VARYING_STEPS: usize = 20_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Not visited yet.
    Unknown,
    /// `Deserialize` succeeds here without asking for anything.
    Nothing,
    /// A variant that fails before its content is asked for.
    Refused,
    Leaf,
    Option,
    Sequence,
    Map,
    Tuple,
    Unit,
    Newtype,
    TupleStruct,
    Struct,
    Enum,
    /// The same as the ancestor with this index.
    Reference(usize),
}

/// What an enum makes of a variant's name: the same of two names that are one variant's.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Token {
    discriminant: u64,
    /// It is a type with one value.
    without_bytes: bool,
}

impl Token {
    fn of<T>(value: &T) -> Token {
        let mut hasher = DefaultHasher::new();
        mem::discriminant(value).hash(&mut hasher);
        Token { discriminant: hasher.finish(), without_bytes: size_of::<T>() == 0 }
    }
}

struct Node {
    kind: Kind,
    /// The container's or variant's name; what kind of thing it is for those without.
    label: &'static str,
    /// Of fields or variants.
    names: &'static [&'static str],
    /// The Rust type of the visitor: tells `Wrapper<u32>` from `Wrapper<u64>`.
    visitor: &'static str,
    parent: usize,
    /// The children stand together, in the order of the type.
    first_child: usize,
    children: usize,
    /// The whole shape below is known.
    done: bool,
    /// No value can be built here.
    stuck: bool,
    refusals: usize,
    /// Which of its samples a leaf is at.
    sample: usize,
    /// A number that must not be zero.
    nonzero: bool,
    /// A varied sample was refused here.
    fixed: bool,
    /// The enum takes indices for variants, not names.
    by_index: bool,
    /// The variant that the enum took last.
    chosen: usize,
    /// The type took nothing here, for it is not of the kind that the type itself asks for.
    untaken: bool,
    /// Text or bytes that were taken only when they were lent.
    loan: bool,
    /// What the enum made of this variant's name.
    token: Option<Token>,
    /// The variant that was built first. Whatever it contains was built before, so taking it at
    /// every enum comes to an end.
    base: Option<usize>,
}

impl Node {
    fn new(parent: usize) -> Node {
        Node {
            kind: Kind::Unknown,
            label: "",
            names: &[],
            visitor: "",
            parent,
            first_child: 0,
            children: 0,
            done: false,
            stuck: false,
            refusals: 0,
            sample: 0,
            nonzero: false,
            fixed: false,
            by_index: false,
            chosen: 0,
            untaken: false,
            loan: false,
            token: None,
            base: None,
        }
    }
}

pub(super) struct Trace {
    /// The root is the first.
    nodes: Vec<Node>,
    /// The enums being built and the variant each took.
    open_enums: Vec<(usize, usize)>,
    /// Whether the enums that a visitor makes take variants that they do not know.
    takes_others: BTreeMap<&'static str, bool>,
    /// The number of the variation, from one on, once the shape is known.
    variation: usize,
    /// Texts and bytes are handed out as the type's own, not lent.
    owned: bool,
    /// Below a reference: take the shortest way out.
    recursing: bool,
    depth: usize,
    steps: usize,
    /// This pass found out something new.
    progress: bool,
    untraceable: bool,
    /// Where the type asks the input what it holds.
    asks: Option<usize>,
}

impl Trace {
    pub(super) fn new() -> Trace {
        Trace {
            nodes: vec![Node::new(0)],
            open_enums: Vec::new(),
            takes_others: BTreeMap::new(),
            variation: 0,
            owned: false,
            recursing: false,
            depth: 0,
            steps: 0,
            progress: false,
            untraceable: false,
            asks: None,
        }
    }

    #[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
    /// A trace for an input that lends the type neither text nor bytes.
    pub(super) fn without_loans() -> Trace {
        Trace { owned: true, ..Trace::new() }
    }

    /// Traces `T`, and shows the values that come out; true if its whole shape is known.
    pub(super) fn run<'de, T: Deserialize<'de>>(
        &mut self,
        mut show: impl FnMut(&Trace, T),
    ) -> bool {
        for _ in 0..MAX_PASSES {
            self.progress = false;
            // Whether a value came out does not matter here, only what was seen on the way.
            if let Ok(value) = self.enter(0, |tracer| T::deserialize(tracer)) {
                show(self, value);
            }
            if self.untraceable {
                return false;
            }
            if self.nodes[0].done || !self.progress {
                break;
            }
        }
        self.nodes[0].done && self.asks.is_none()
    }

    #[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
    /// Shows more values of the type that was traced: other numbers and texts, `None`s, more elements.
    pub(super) fn vary<'de, T: Deserialize<'de>>(&mut self, mut show: impl FnMut(&Trace, T)) {
        if !self.nodes[0].done || self.untraceable {
            return;
        }
        let start = self.steps;
        self.variation = 1;
        for _ in 0..MAX_VARYING_PASSES {
            // After a refusal the same again, with what was refused left as it was.
            if let Ok(value) = self.enter(0, |tracer| T::deserialize(tracer)) {
                show(self, value);
                self.variation += 1;
            }
            if self.variation > VARIATIONS || self.steps - start > MAX_VARYING_STEPS {
                break;
            }
        }
    }

    #[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
    /// Whether all tuple structs of this name, or variants of this enum, have so many fields.
    pub(super) fn all_have(&self, name: &str, variant: Option<&str>, fields: usize) -> bool {
        let mut named = self
            .nodes
            .iter()
            .filter(|entry| {
                let parent = &self.nodes[entry.parent];
                let of_enum = parent.kind == Kind::Enum && parent.label == name;
                entry.kind == Kind::TupleStruct
                    && entry.label == variant.unwrap_or(name)
                    && (variant.is_none() || of_enum)
            })
            .peekable();
        named.peek().is_some() && named.all(|entry| entry.children == fields)
    }

    #[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
    /// How many fields every tuple struct and tuple variant has, if they are alike.
    pub(super) fn fields_of_all(&self) -> Option<usize> {
        let tuples = || self.nodes.iter().filter(|entry| entry.kind == Kind::TupleStruct);
        let fields = tuples().next()?.children;
        tuples().all(|entry| entry.children == fields).then_some(fields)
    }

    /// The name that serde has for the root, if it has one.
    pub(super) fn root_name(&self) -> Option<&'static str> {
        let root = &self.nodes[0];
        let named = matches!(
            root.kind,
            Kind::Unit | Kind::Newtype | Kind::TupleStruct | Kind::Struct | Kind::Enum
        );
        named.then_some(root.label)
    }

    /// Visits one node and draws the conclusions from how that went.
    fn enter<R>(
        &mut self,
        node: usize,
        visit: impl FnOnce(Tracer<'_>) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        self.steps += 1;
        if self.depth == MAX_DEPTH || self.steps > MAX_STEPS {
            return Err(self.give_up());
        }
        let (recursing, open_enums) = (self.recursing, self.open_enums.len());
        self.depth += 1;
        let mut result = visit(Tracer { trace: self, node });
        self.depth -= 1;
        self.recursing = recursing;
        self.open_enums.truncate(open_enums);
        match result {
            Ok(_) if self.nodes[node].kind == Kind::Unknown => {
                self.nodes[node].kind = Kind::Nothing;
                self.progress = true;
            }
            Err(stop @ (Stop::Refused | Stop::Untaken)) => {
                // Nothing was asked for: what a newtype wraps is not taken.
                self.nodes[node].untaken |=
                    matches!(stop, Stop::Untaken) && self.nodes[node].kind == Kind::Unknown;
                self.refuse(node);
                result = Err(Stop::Noted);
            }
            _ => {}
        }
        self.settle(node);
        result
    }

    /// Notes whether a type took what it asked for. The last time counts: a type may be particular.
    fn heed<R>(&mut self, node: usize, result: &Result<R, Stop>) {
        self.nodes[node].untaken = matches!(result, Err(Stop::Untaken));
    }

    /// Notes what a node is, or checks that it still is that. Returns the node to go on with.
    fn note<V>(
        &mut self,
        node: usize,
        kind: Kind,
        label: &'static str,
        names: &'static [&'static str],
        children: usize,
    ) -> Result<usize, Stop> {
        if self.nodes[node].kind == Kind::Unknown {
            self.progress = true;
            if children > MAX_NODES - self.nodes.len().min(MAX_NODES) {
                return Err(self.give_up());
            }
            let visitor = type_name::<V>();
            if children > 0
                && let Some(ancestor) = self.ancestor(node, kind, label, visitor)
            {
                self.nodes[node].kind = Kind::Reference(ancestor);
            } else {
                let first_child = self.nodes.len();
                self.nodes.resize_with(first_child + children, || Node::new(node));
                let entry = &mut self.nodes[node];
                (entry.kind, entry.label, entry.names) = (kind, label, names);
                (entry.visitor, entry.first_child, entry.children) =
                    (visitor, first_child, children);
            }
        }
        let target = match self.nodes[node].kind {
            Kind::Reference(ancestor) => {
                self.recursing = true;
                ancestor
            }
            _ => node,
        };
        let entry = &self.nodes[target];
        if entry.kind != kind || entry.label != label || entry.names != names {
            return Err(self.give_up());
        }
        Ok(target)
    }

    /// The nearest ancestor that is the same type. A variant is none: it is a part of its enum.
    fn ancestor(&self, node: usize, kind: Kind, label: &str, visitor: &str) -> Option<usize> {
        if self.nodes[self.nodes[node].parent].kind == Kind::Enum {
            return None;
        }
        let mut at = node;
        while at != 0 {
            at = self.nodes[at].parent;
            let entry = &self.nodes[at];
            if entry.kind == kind && entry.label == label && entry.visitor == visitor {
                return Some(at);
            }
        }
        None
    }

    /// The type asks at this node for a name, as it does where it asks what the input holds, which no
    /// format tells that does not describe itself.
    fn ask(&mut self, node: usize) -> Stop {
        self.asks.get_or_insert(node);
        self.give_up()
    }

    /// Where the type asks the input what it holds, as the steps from the type to there.
    pub(super) fn asking_path(&self) -> Option<String> {
        Some(self.path(self.asks?))
    }

    #[cfg(feature = "json")]
    /// The same, for types other than serde_json's own.
    pub(super) fn asking_path_of_others(&self) -> Option<String> {
        let any = |entry: &Node| entry.kind == Kind::Leaf && entry.label == "any";
        let own = |visitor: &str| {
            visitor.trim_start_matches('<').starts_with("serde_json::")
                || visitor.ends_with("::IgnoredAny")
        };
        let other = self.nodes.iter().position(|entry| any(entry) && !own(entry.visitor));
        let by_name = || self.asks.filter(|&node| !any(&self.nodes[node]));
        other.or_else(by_name).map(|node| self.path(node))
    }

    /// The first place where the type does not take the kind of thing that it asks for: where that is
    /// and, if it is a struct's, text or bytes, what it asks for.
    pub(super) fn untaken(&self) -> Option<(String, Untaken)> {
        // A leaf's visitor may mean the sample and not its kind.
        let never = |entry: &Node| entry.untaken && entry.stuck && entry.kind != Kind::Leaf;
        let node = self.nodes.iter().position(|entry| entry.loan || never(entry))?;
        let entry = &self.nodes[node];
        let what = match entry.kind {
            Kind::Struct => Untaken::Struct(entry.label),
            Kind::Leaf => Untaken::Loan,
            _ => Untaken::Other,
        };
        Some((self.path(node), what))
    }

    /// Whether every value at this place has bytes, in a format without names; false where that is not
    /// known.
    #[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
    fn takes_bytes(&self, node: usize) -> bool {
        let entry = &self.nodes[node];
        match entry.kind {
            Kind::Unknown | Kind::Nothing | Kind::Refused | Kind::Unit => false,
            Kind::Leaf => !matches!(entry.label, "()" | "any"),
            Kind::Option | Kind::Sequence | Kind::Map | Kind::Enum => true,
            Kind::Tuple | Kind::TupleStruct | Kind::Struct | Kind::Newtype => {
                self.children(node).any(|child| self.takes_bytes(child))
            }
            Kind::Reference(_) => false,
        }
    }

    /// The steps from the type to a place.
    fn path(&self, node: usize) -> String {
        let mut at = node;
        let mut steps = Vec::new();
        while at != 0 {
            let parent = &self.nodes[self.nodes[at].parent];
            let number = at - parent.first_child;
            steps.push(match parent.kind {
                Kind::Struct if parent.names.len() == parent.children => {
                    format!(".{}", parent.names[number])
                }
                Kind::Struct | Kind::Tuple | Kind::TupleStruct => format!(".{number}"),
                Kind::Enum => format!("::{}", parent.names[number]),
                Kind::Sequence => "[]".to_owned(),
                Kind::Map if number == 0 => ".key".to_owned(),
                Kind::Map => ".value".to_owned(),
                _ => String::new(),
            });
            at = self.nodes[at].parent;
        }
        steps.into_iter().rev().collect()
    }

    fn give_up(&mut self) -> Stop {
        self.untraceable = true;
        Stop::Noted
    }

    /// The type refused the value that it was given at this node: try another next time.
    fn refuse(&mut self, node: usize) {
        let node = match self.nodes[node].kind {
            Kind::Reference(ancestor) => ancestor,
            _ => node,
        };
        if self.variation > 0 {
            if self.nodes[node].fixed {
                // What it had was not taken either: it was never built before.
                self.nodes[node].refusals += 1;
                self.next_sample(node);
            }
            return self.fix(node);
        }
        let entry = &mut self.nodes[node];
        match entry.kind {
            Kind::Enum if entry.children > 0 => {
                let variant = entry.first_child + entry.chosen;
                let name = entry.names[entry.chosen];
                let content = &mut self.nodes[variant];
                match content.kind {
                    Kind::Unknown => {
                        self.progress = true;
                        (content.kind, content.label) = (Kind::Refused, name);
                        (content.done, content.stuck) = (true, true);
                    }
                    Kind::Unit => {
                        self.progress |= !content.stuck;
                        content.stuck = true;
                    }
                    _ => self.refuse(variant),
                }
            }
            _ => {
                self.progress |= !entry.stuck;
                entry.nonzero |= entry.kind == Kind::Leaf
                    && entry.label.starts_with(['i', 'u'])
                    && sample(INTEGERS, entry.sample) == 0;
                entry.refusals += 1;
                entry.stuck |= entry.refusals > MAX_REFUSALS;
                self.next_sample(node);
            }
        }
    }

    fn next_sample(&mut self, node: usize) {
        // The first sample is tried everywhere.
        if self.nodes[node].kind != Kind::Unknown {
            self.nodes[node].sample += 1;
        }
        for child in self.children(node) {
            self.next_sample(child);
        }
    }

    /// Has a place keep the samples that it took.
    fn fix(&mut self, node: usize) {
        self.nodes[node].fixed = true;
        for child in self.children(node) {
            self.fix(child);
        }
    }

    /// Which variation the samples of a node are to have.
    fn varied(&self, node: usize) -> Option<usize> {
        let entry = &self.nodes[node];
        let varies = self.variation > 0 && !self.recursing && !entry.fixed;
        // Neighbours differ, so that values which take each other's places are seen.
        varies.then_some(self.variation + node)
    }

    fn children(&self, node: usize) -> std::ops::Range<usize> {
        let entry = &self.nodes[node];
        entry.first_child..entry.first_child + entry.children
    }

    /// Works out from the children whether a node is done or stuck.
    fn settle(&mut self, node: usize) {
        let entry = &self.nodes[node];
        if entry.done && entry.stuck {
            return;
        }
        let children = &self.nodes[self.children(node)];
        let done = entry.kind != Kind::Unknown && children.iter().all(|child| child.done);
        let stuck = match entry.kind {
            Kind::Option | Kind::Sequence | Kind::Map => false,
            Kind::Enum => children.iter().all(|child| child.stuck),
            _ => children.iter().any(|child| child.stuck),
        };
        let entry = &mut self.nodes[node];
        self.progress |= (done && !entry.done) || (stuck && !entry.stuck);
        entry.done |= done;
        entry.stuck |= stuck;
    }

    /// Whether to go into an option's, sequence's or map's content.
    fn wants(&self, node: usize) -> bool {
        let children = &self.nodes[self.children(node)];
        !self.recursing
            && children.iter().any(|child| !child.done)
            && children.iter().all(|child| !child.stuck)
    }

    /// Whether an option is to be `Some`. If a container refused `None`, every other try is.
    fn wants_some(&self, node: usize) -> bool {
        let entry = &self.nodes[node];
        let may = !self.recursing && !self.nodes[entry.first_child].stuck;
        if let Some(number) = self.varied(node) {
            return may && number % 2 == 1;
        }
        self.wants(node) || (may && entry.sample % 2 == 1)
    }

    /// How many elements or entries to hand out.
    fn length(&self, node: usize) -> usize {
        let entry = &self.nodes[node];
        if self.nodes[self.children(node)].iter().any(|child| child.stuck) {
            0
        } else if let Some(number) = self.varied(node) {
            number % 4
        } else if self.wants(node) || entry.refusals > 0 {
            sample(LENGTHS, entry.refusals)
        } else {
            0
        }
    }

    /// The variant to build next.
    fn choose(&self, node: usize) -> Option<usize> {
        let variants = &self.nodes[self.children(node)];
        if let Some(number) = self.varied(node) {
            let buildable = || (0..variants.len()).filter(|&i| !variants[i].stuck);
            return buildable().nth(number % buildable().count().max(1));
        }
        if !self.recursing
            && let Some(next) = variants.iter().position(|variant| !variant.done && !variant.stuck)
        {
            return Some(next);
        }
        let base = self.nodes[node].base.filter(|&base| !variants[base].stuck);
        base.or_else(|| {
            (0..variants.len())
                .find(|&i| !variants[i].stuck && !self.open_enums.contains(&(node, i)))
        })
    }

    /// Only as many children as the visitor took: a struct with aliases has more names than fields.
    fn shrink(&mut self, node: usize, taken: usize) {
        let children = self.children(node);
        if self.nodes[children.start + taken..children.end]
            .iter()
            .all(|child| child.kind == Kind::Unknown)
        {
            self.nodes[node].children = taken;
            self.progress = true;
        }
    }
}

/// What a type asks for and does not take.
pub(super) enum Untaken {
    /// A struct of this name, but for one whose fields come with their names.
    Struct(&'static str),
    /// Text or bytes, but for those that the input lends.
    Loan,
    Other,
}

/// Why a pass ends early.
#[derive(Debug)]
enum Stop {
    /// The type does not take that kind of thing.
    Untaken,
    /// The type did not like its sample.
    Refused,
    /// What follows from it has been noted.
    Noted,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sample value was refused while the type's shape was traced")
    }
}

impl std::error::Error for Stop {}

impl de::Error for Stop {
    fn custom<T: fmt::Display>(_: T) -> Stop {
        Stop::Refused
    }

    fn invalid_type(_: de::Unexpected<'_>, _: &dyn de::Expected) -> Stop {
        Stop::Untaken
    }
}
