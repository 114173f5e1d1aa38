//! The slots of several receivers: each is taken for one message, and let go when that was handed over.
//!
//! A slot's owner word says whose it is: zero, or the receiver's place and generation. Its tag word says which tag
//! the value there has:
//!
//! | owner | tag word | |
//! |---|---|---|
//! | zero | zero | free: the next receiver that wants a message takes it |
//! | a receiver | zero | the receiver asks the kernel for a message, which writes to the slot perhaps |
//! | a receiver | a tag | the receiver has a value in hand |
//! | a receiver that is gone | any | it died: any receiver may take the slot, whose type word says whether a value is there |
//! | zero | a tag | a value that was given back |
//!
//! A receiver has one slot at most, and none between calls. It changes an owner word by compare-and-exchange
//! where the slot is not its own, from what it saw there. A receiver that is gone never writes again: whether it
//! is, the semaphore of its place says, or a later generation at that place. So a value is never two receivers'
//! at once. What else stands in a slot a receiver reads once it is the owner.
//!
//! A receiver looks for values of the dead and for those that were given back before it asks for another
//! message: when it attaches, before it sleeps, when it was woken, and every few milliseconds. A death rings
//! every receiver, through the kernel; so does one that gives back. As a receiver sees no such value before it
//! takes a message of its own, there are no more filled slots than receivers, but for those that selections
//! pass over.

use super::{first_of, in_turn, slot_tag, touch};
use crate::channel::sources::ASK_AGAIN;
use crate::control::{Control, semaphores, slot_word, word};
use crate::sys::{AtomicU64, Deadline, Fault, Ordering, SystemError, fault, fence};
use crate::tag::{Select, Tag};

/// Bits of an owner word that say the receiver's place, one more than it is. The generation is above.
const PLACE_BITS: u32 = 8;
const PLACE: u64 = (1 << PLACE_BITS) - 1;

/// No receiver's owner word.
const FREE: u64 = 0;

pub(super) struct Shared {
    place: usize,
    /// What the owner words of its slots say.
    me: u64,
    /// The tag of the message that it has in hand.
    tag: Option<Tag>,
    /// Which slot is next in turn, as in `Sole`.
    next: usize,
    /// For which selection, at which count of values given back, none was found that any receiver may take.
    none_found: Option<(Select, u64)>,
    /// When it asks the kernel again which receivers are gone.
    look_again: Deadline,
    /// The slots that the kernel can write to, a bit each.
    touched: u128,
}

/// The owner word of a slot.
fn owner(control: &Control, slot: usize) -> &AtomicU64 {
    control.slot_word(slot, slot_word::OWNER)
}

/// The word of a slot that says to others which tag the value there has.
fn tag_word(control: &Control, slot: usize) -> &AtomicU64 {
    control.slot_word(slot, slot_word::TAG)
}

/// A slot as one sees it that does not own it.
#[derive(Clone, Copy)]
struct Seen {
    slot: usize,
    owner: u64,
    tag: Option<Tag>,
}

impl Seen {
    fn of(control: &Control, slot: usize) -> Self {
        // Acquire: pairs with the Release of the owner that let the slot go or gave the value back, and with that
        // of one which said where it is before it took the slot.
        let owner = owner(control, slot).load(Ordering::Acquire);
        let tag = tag_word(control, slot).load(Ordering::Relaxed);
        Seen { slot, owner, tag: Tag::new(tag as i64) }
    }
}

/// Takes the slot out of these that is to be looked at next: one without a tag, in which a dead receiver may
/// have left a value, or the one whose value `select` asks for first.
fn next_of(control: &Control, select: Select, left: &mut Vec<Seen>) -> Option<Seen> {
    let unknown = left.iter().position(|seen| seen.tag.is_none());
    let first = || {
        let tagged = left.iter().filter_map(|seen| Some((seen.slot, seen.tag?)));
        let slot = first_of(control, select, tagged)?;
        left.iter().position(|seen| seen.slot == slot)
    };
    let at = unknown.or_else(first)?;
    Some(left.swap_remove(at))
}

impl Shared {
    pub(super) fn new(place: usize) -> Self {
        Shared {
            place,
            me: FREE,
            tag: None,
            next: 0,
            none_found: None,
            look_again: Deadline::now(),
            touched: 0,
        }
    }

    /// Says which receiver has the place, before it takes a slot.
    pub(super) fn serve(&mut self, control: &Control, generation: u64) {
        // Release: pairs with the Acquire in `is_gone`. What its predecessor did to a slot comes before.
        let said = control.word(control.layout().receiver(self.place).generation);
        said.swap(generation, Ordering::Release);
        self.me = generation << PLACE_BITS | (self.place as u64 + 1);
        point!("attach.generation");
    }

    /// Claims a value that any receiver may take: the first that `select` asks for. Whether receivers are gone is
    /// asked of the kernel if `ask_kernel`, and else now and then.
    #[inline(never)]
    pub(super) fn claim(
        &mut self,
        control: &Control,
        select: Select,
        ask_kernel: bool,
    ) -> Result<Option<usize>, SystemError> {
        // Acquire: pairs with the Release in `give_back`, whose slot is seen to be free.
        let given_back = control.word(word::GIVEN_BACK).load(Ordering::Acquire);
        let ask_kernel = ask_kernel || self.look_again.has_passed();
        if !ask_kernel && self.none_found == Some((select, given_back)) {
            return Ok(None);
        }
        if ask_kernel {
            self.look_again = Deadline::after(ASK_AGAIN);
        }
        let mut left: Vec<Seen> = (0..control.layout().slots())
            .map(|slot| Seen::of(control, slot))
            .filter(|seen| match seen.owner {
                FREE => seen.tag.is_some(),
                owner => ask_kernel || owner == self.me,
            })
            .collect();
        while let Some(seen) = next_of(control, select, &mut left) {
            let claimable = seen.owner == FREE || self.is_gone(control, seen.owner)?;
            if !claimable || !self.take(control, seen) {
                continue;
            }
            point!("slot.claimed");
            match slot_tag(control, seen.slot) {
                Some(tag) if select.matches(tag) => {
                    self.filled_with(control, seen.slot, Some(tag));
                    // There may be more that the dead left.
                    self.look_again = Deadline::now();
                    return Ok(Some(seen.slot));
                }
                // A dead receiver had not come to say the tag; or the slot was another's since the look, which
                // gave back another value.
                Some(_) => self.give_back(control, seen.slot),
                // The dead one had handed its value over, or had none.
                None => self.let_go(control, seen.slot),
            }
        }
        self.none_found = Some((select, given_back));
        Ok(None)
    }

    /// Whether there is a value that any receiver may take; it stays there. The call that follows asks the
    /// kernel, as this does.
    pub(super) fn is_ready(
        &mut self,
        control: &Control,
        ask_kernel: bool,
    ) -> Result<bool, SystemError> {
        for slot in 0..control.layout().slots() {
            let seen = Seen::of(control, slot);
            let ready = match seen.owner {
                FREE => seen.tag.is_some(),
                owner => {
                    let asked = ask_kernel || owner == self.me;
                    asked && self.is_gone(control, owner)? && slot_tag(control, slot).is_some()
                }
            };
            if ready {
                self.look_again = Deadline::now();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes an empty slot, for the next message.
    #[inline(never)]
    pub(super) fn take_free(&mut self, control: &Control) -> Result<Option<usize>, SystemError> {
        for look_at_dead in [false, true] {
            for slot in in_turn(self.next, control.layout().slots()) {
                let seen = Seen::of(control, slot);
                let wanted = match seen.owner {
                    FREE => seen.tag.is_none(),
                    owner => look_at_dead && self.is_gone(control, owner)?,
                };
                if !wanted || !self.take(control, seen) {
                    continue;
                }
                if slot_tag(control, slot).is_some() {
                    // A dead one's value; or the slot was another's since the look, which gave a value back.
                    self.give_back(control, slot);
                    continue;
                }
                tag_word(control, slot).swap(0, Ordering::Relaxed);
                // Relaxed: which of two is first does not matter where they were taken at once.
                let order = control.word(word::TAKEN).fetch_add(1, Ordering::Relaxed);
                control.slot_word(slot, slot_word::ORDER).swap(order, Ordering::Relaxed);
                if self.touched >> slot & 1 == 0 {
                    touch(control, slot);
                    self.touched |= 1 << slot;
                }
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    /// The slot that it took has a message.
    pub(super) fn filled_with(&mut self, control: &Control, slot: usize, tag: Option<Tag>) {
        self.tag = tag;
        self.next = slot + 1;
        let number = tag.map_or(0, |tag| tag.get() as u64);
        tag_word(control, slot).swap(number, Ordering::Relaxed);
    }

    pub(super) fn tag(&self) -> Option<Tag> {
        self.tag
    }

    /// Becomes the owner of a slot that was another receiver's, or free.
    fn take(&self, control: &Control, seen: Seen) -> bool {
        let word = owner(control, seen.slot);
        if fault(Fault::ClaimNotExclusive) {
            word.swap(self.me, Ordering::AcqRel);
            return true;
        }
        // Acquire: pairs with the Release in `let_go` and `give_back`; what the slot's last owner did there
        // comes before. Release: pairs with the Acquire in `Seen::of`, where this receiver's generation is seen.
        word.compare_exchange(seen.owner, self.me, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Whether an owner word is that of a receiver which will never write again. Its own is, since it has no
    /// slot when it asks: a call that panicked left it.
    fn is_gone(&self, control: &Control, owned_by: u64) -> Result<bool, SystemError> {
        if fault(Fault::OwnerNotAsked) {
            return Ok(true);
        }
        let layout = control.layout();
        let place = (owned_by & PLACE).checked_sub(1).map(|place| place as usize);
        let Some(place) = place.filter(|&place| place < layout.receivers) else {
            // No receiver writes this.
            return Ok(true);
        };
        // Acquire: pairs with the Release in `serve`.
        let generation = control.word(layout.receiver(place).generation).load(Ordering::Acquire);
        if owned_by == self.me || owned_by != generation << PLACE_BITS | (place as u64 + 1) {
            return Ok(true);
        }
        semaphores::is_zero(control.set, semaphores::receiver_role(layout, place))
    }

    /// Lets an empty slot go.
    #[inline(never)]
    pub(super) fn let_go(&mut self, control: &Control, slot: usize) {
        self.tag = None;
        tag_word(control, slot).swap(0, Ordering::Relaxed);
        // Release: pairs with the Acquire in `take`, and in `Seen::of`.
        owner(control, slot).swap(FREE, Ordering::Release);
        point!("slot.free");
        // SeqCst: pairs with the fence in `await_others`. That receiver sees the slot free, or this one sees
        // that it waits.
        fence(Ordering::SeqCst);
        let awaited = control.word(word::HAND_OVER_AWAITED);
        if awaited.load(Ordering::Relaxed) != 0
            && awaited.swap(0, Ordering::Relaxed) != 0
            && !fault(Fault::HandOverNotRung)
        {
            control.notify_receivers();
        }
    }

    /// Lets a slot go with the value in it, for any receiver.
    #[inline(never)]
    pub(super) fn give_back(&mut self, control: &Control, slot: usize) {
        let tag = slot_tag(control, slot);
        self.filled_with(control, slot, tag);
        self.tag = None;
        // Release: pairs with the Acquire in `take`, and in `Seen::of`.
        owner(control, slot).swap(FREE, Ordering::Release);
        point!("slot.given_back");
        // Release: pairs with the Acquire in `claim`.
        control.word(word::GIVEN_BACK).fetch_add(1, Ordering::Release);
        if !fault(Fault::GiveBackNotRung) {
            control.notify_receivers();
        }
    }
}

/// Whether another receiver may have a value in hand that `select` asks for: asked when the senders are
/// gone and nothing else is left. Then that receiver rings the one that asks when it lets go of it, also by
/// dying.
#[inline(never)]
pub(super) fn await_others(control: &Control, select: Select) -> bool {
    if fault(Fault::OthersNotAwaited) {
        return false;
    }
    control.word(word::HAND_OVER_AWAITED).swap(1, Ordering::Relaxed);
    // SeqCst: pairs with the fence in `let_go`.
    fence(Ordering::SeqCst);
    // A value that came there since the last look, or whose owner died, rings as well.
    let may_come = |seen: Seen| match seen.tag {
        Some(tag) => select.matches(tag),
        None => seen.owner != FREE,
    };
    (0..control.layout().slots()).any(|slot| may_come(Seen::of(control, slot)))
}
