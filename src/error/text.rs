//! What the texts of errors share.

use std::fmt;

use crate::name::{Handle, Name};
use crate::sys::process;

/// What an error is about, by its name.
pub(crate) struct Named<'a> {
    pub(crate) what: &'static str,
    pub(crate) name: &'a Name,
}

/// What the layer that the user meets calls a thing with a name.
pub(crate) type Words = fn(&Name) -> Named<'_>;

/// An error whose text can be in the words of a layer.
pub(crate) trait Describe {
    fn describe(&self, named: Words, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// Its text in such words.
    fn in_words_of(&self, named: Words) -> InWords<'_, Self> {
        InWords { error: self, named }
    }
}

/// An error in the words of a layer, to be displayed.
pub(crate) struct InWords<'a, E: ?Sized> {
    error: &'a E,
    named: Words,
}

impl<E: Describe + ?Sized> fmt::Display for InWords<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.describe(self.named, f)
    }
}

pub(crate) fn channel(name: &Name) -> Named<'_> {
    Named { what: "channel", name }
}

pub(crate) fn queue(name: &Name) -> Named<'_> {
    Named { what: "message queue", name }
}

#[cfg(not(loom))]
pub(crate) fn segment(name: &Name) -> Named<'_> {
    Named { what: "shared-memory segment", name }
}

#[cfg(not(loom))]
pub(crate) fn semaphores(name: &Name) -> Named<'_> {
    Named { what: "semaphore set", name }
}

pub(crate) fn server(name: &Name) -> Named<'_> {
    Named { what: "server", name }
}

pub(crate) fn mailbox(name: &Name) -> Named<'_> {
    Named { what: "mailbox", name }
}

impl Named<'_> {
    /// How one of its options is made larger.
    pub(super) fn enlarge(&self) -> &'static str {
        match self.what {
            "server" => "bind it with a greater ServerOptions::",
            "mailbox" => "bind it with a greater MailboxOptions::",
            _ => "create it with a greater ",
        }
    }

    /// Whether it replies.
    pub(super) fn replies(&self) -> bool {
        matches!(self.what, "server" | "mailbox")
    }

    /// What its users take, and how there are more.
    pub(super) fn places(&self) -> (&'static str, &'static str) {
        match self.what {
            "server" => ("place", "bind it for more (ServerOptions::clients)"),
            "mailbox" => ("place", "bind it for more (MailboxOptions::addresses)"),
            _ => ("lane", "create it with more (Options::lanes)"),
        }
    }

    /// What a program does to use it.
    fn ways_in(&self) -> &'static str {
        match self.what {
            "server" | "mailbox" => "bind or connect",
            _ => "create or open",
        }
    }
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Name::Text(text) => write!(f, "{} {text:?}", self.what),
            Name::Key(key) | Name::Handle(Handle { key, .. }) => {
                write!(f, "the {} at key {key}", self.what)
            }
        }
    }
}

/// A process as messages name it: by the number that the kernel told.
pub(crate) struct Process(pub(crate) i32);

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // What the kernel says of a process that has no number here.
            0 => f.write_str("a process of another pid namespace"),
            pid => write!(f, "process {pid}"),
        }
    }
}

/// What there is to say of users that an object's owner or creator may be.
pub(crate) struct Unmapped<'a>(pub(crate) &'a [u32]);

impl fmt::Display for Unmapped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.iter().find(|&&uid| process::is_overflow_uid(uid)) {
            Some(uid) => write!(
                f,
                "; but {uid} is here every user that this process's user namespace does not map \
                 (see user_namespaces(7)), which Owner::Anyone alone trusts"
            ),
            None => Ok(()),
        }
    }
}

/// What the lanes of a channel are called by the layer that the user meets, and which of its rings that
/// layer can do without.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spelling {
    pub(crate) lanes: &'static str,
    pub(crate) no_ring: bool,
    pub(crate) no_return_ring: bool,
}

impl Spelling {
    pub(crate) const CHANNEL: Spelling =
        Spelling { lanes: "lanes", no_ring: true, no_return_ring: true };
    pub(crate) const SERVER: Spelling =
        Spelling { lanes: "clients", no_ring: false, no_return_ring: false };
    pub(crate) const MAILBOX: Spelling =
        Spelling { lanes: "addresses", no_ring: true, ..Spelling::SERVER };
}

pub(super) fn removed(f: &mut fmt::Formatter<'_>, named: &Named<'_>) -> fmt::Result {
    write!(
        f,
        "{named} was removed (unlink, ipcrm), or this process left its ipc namespace: what it held is \
         lost; {} it again",
        named.ways_in()
    )
}

pub(super) fn forked(f: &mut fmt::Formatter<'_>, named: &Named<'_>) -> fmt::Result {
    write!(
        f,
        "this endpoint of {named} belongs to the parent of this forked process: {} it again in the \
         child",
        named.ways_in()
    )
}

pub(super) fn damaged(f: &mut fmt::Formatter<'_>, named: &Named<'_>, what: &str) -> fmt::Result {
    write!(f, "the shared memory of {named} is damaged: {what}")
}
