//! The slots of a receiver that is alone: all are its own, also those that a predecessor left filled.

use super::{first_of, in_turn, slot_order, slot_tag, touch};
use crate::control::{Control, slot_word};
use crate::sys::Ordering;
use crate::tag::{Select, Tag};

pub(super) struct Sole {
    slots: Box<[Slot]>,
    /// How many of them have a message that is not held: mostly none has.
    waiting: usize,
    /// The number of the next message put into a slot.
    order: u64,
    /// Which slot is next in turn: so the last messages stand there for a while, for taps.
    next: usize,
}

/// What is known of a slot.
#[derive(Clone, Copy)]
struct Slot {
    /// The tag of the message in it.
    tag: Option<Tag>,
    /// Whether others are found behind it.
    held: bool,
    /// Whether the kernel can write to it.
    touched: bool,
}

impl Sole {
    pub(super) fn new(control: &Control) -> Self {
        // The first number is not zero: a slot that has it was never used, and its memory is not touched.
        let mut order = 1;
        let mut look = |slot| {
            let used = slot_order(control, slot) != 0;
            let tag = if used { slot_tag(control, slot) } else { None };
            if tag.is_some() {
                // Saturating: a predecessor's number may be whatever was scribbled there.
                order = order.max(slot_order(control, slot).saturating_add(1));
            }
            Slot { tag, held: false, touched: false }
        };
        let slots: Box<[_]> = (0..control.layout().slots()).map(&mut look).collect();
        let waiting = slots.iter().filter(|slot| slot.tag.is_some()).count();
        Sole { slots, waiting, order, next: 0 }
    }

    /// The slot whose message `select` asks for first.
    pub(super) fn filled(&self, control: &Control, select: Select) -> Option<usize> {
        if self.waiting == 0 {
            return None;
        }
        let filled = self.slots.iter().enumerate().filter(|(_, slot)| !slot.held);
        first_of(control, select, filled.filter_map(|(index, slot)| Some((index, slot.tag?))))
    }

    /// Whether there is any.
    pub(super) fn is_filled(&self) -> bool {
        self.waiting > 0
    }

    /// An empty slot, for the next message.
    pub(super) fn free(&mut self, control: &Control) -> Option<usize> {
        let empty = |&index: &usize| self.slots[index].tag.is_none();
        let index = in_turn(self.next, self.slots.len()).find(empty)?;
        if !self.slots[index].touched {
            touch(control, index);
            self.slots[index].touched = true;
        }
        control.slot_word(index, slot_word::ORDER).store(self.order, Ordering::Relaxed);
        Some(index)
    }

    /// The slot that was free has a message.
    pub(super) fn filled_with(&mut self, slot: usize, tag: Option<Tag>) {
        self.order = self.order.saturating_add(1);
        self.next = slot + 1;
        self.slots[slot].tag = tag;
        self.waiting += usize::from(tag.is_some());
    }

    pub(super) fn emptied(&mut self, slot: usize) {
        let slot = &mut self.slots[slot];
        self.waiting -= usize::from(slot.tag.is_some() && !slot.held);
        (slot.tag, slot.held) = (None, false);
    }

    pub(super) fn tag(&self, slot: usize) -> Option<Tag> {
        self.slots[slot].tag
    }

    /// The message stays where it is, and is not found again.
    pub(super) fn hold(&mut self, slot: usize) {
        let slot = &mut self.slots[slot];
        self.waiting -= usize::from(slot.tag.is_some() && !slot.held);
        slot.held = true;
    }

    /// Has what is held found again.
    pub(super) fn rewind(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.held = false);
        self.waiting = self.slots.iter().filter(|slot| slot.tag.is_some()).count();
    }
}
