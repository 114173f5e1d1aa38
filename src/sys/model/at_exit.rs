//! Nothing: a model's process ends by being killed or by dropping what it has.

use std::sync::Weak;

use crate::sys::AtExit;

pub(crate) struct Entry;

pub(crate) fn begin() -> Option<Entry> {
    Some(Entry)
}

impl Entry {
    pub(crate) fn is(&self, _what: Weak<dyn AtExit>) -> bool {
        true
    }
}
