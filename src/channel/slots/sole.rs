//! The slots of a receiver that is alone: all are its own, also those that a predecessor left filled.

use super::{first_of, in_turn, slot_order, slot_tag, touch};
use crate::control::{Control, slot_word};
use crate::sys::Ordering;
use crate::tag::{Select, Tag};

pub(super) struct Sole {
    /// The tags of the messages in the slots.
    tags: Box<[Option<Tag>]>,
    /// The number of the next message put into a slot.
    order: u64,
    /// Which slot is next in turn: so the last messages stand there for a while, for those who watch.
    next: usize,
}

impl Sole {
    pub(super) fn new(control: &Control) -> Self {
        let mut order = 0;
        let mut look = |slot| {
            let tag = slot_tag(control, slot);
            if tag.is_some() {
                // Saturating: a predecessor's number may be whatever was scribbled there.
                order = order.max(slot_order(control, slot).saturating_add(1));
            } else {
                touch(control, slot);
            }
            tag
        };
        let tags = (0..control.layout().slots()).map(&mut look).collect();
        Sole { tags, order, next: 0 }
    }

    /// The slot whose message `select` asks for first.
    pub(super) fn filled(&self, control: &Control, select: Select) -> Option<usize> {
        let filled = self.tags.iter().enumerate().filter_map(|(slot, &tag)| Some((slot, tag?)));
        first_of(control, select, filled)
    }

    /// Whether there is any.
    pub(super) fn is_filled(&self) -> bool {
        self.tags.iter().any(Option::is_some)
    }

    /// An empty slot, for the next message.
    pub(super) fn free(&mut self, control: &Control) -> Option<usize> {
        let slot = in_turn(self.next, self.tags.len()).find(|&slot| self.tags[slot].is_none())?;
        control.slot_word(slot, slot_word::ORDER).store(self.order, Ordering::Relaxed);
        Some(slot)
    }

    /// The slot that was free has a message.
    pub(super) fn filled_with(&mut self, slot: usize, tag: Option<Tag>) {
        self.order = self.order.saturating_add(1);
        self.next = slot + 1;
        self.tags[slot] = tag;
    }

    pub(super) fn emptied(&mut self, slot: usize) {
        self.tags[slot] = None;
    }

    pub(super) fn tag(&self, slot: usize) -> Option<Tag> {
        self.tags[slot]
    }
}
