//! Programs that find a fault: lines of a fault's name, a colon and the program.

use crate::sys::Fault::{self, *};

pub(super) const PROGRAMS: &str = include_str!("pinned.txt");

/// Every fault that can be planted.
pub(super) const FAULTS: &[Fault] = &[
    StampStoreRelaxed,
    StampLoadRelaxed,
    StampBeforeHeader,
    NextStampNotCleared,
    FollowingLineNotFree,
    HeadRelaxed,
    TakeoverRelaxed,
    NoRingFence,
    NoParkFence,
    NoRecheck,
    ClearBeforePost,
    NoUndo,
    NoRemovalWake,
    UsersLookedAtOnce,
    NotTidied,
    LateStarted,
    NoLastLook,
    ItemsBellNotArmed,
    LaneBellsNotArmed,
    RoleNotChecked,
    SlotClearedEarly,
    LeftoverNotAnnounced,
    NoAttachFence,
    QueueSpaceNotWanted,
    QueueSpaceNotGiven,
    FullNotRung,
    RestNotWoken,
    YieldsToSleeper,
    NoYieldFence,
    NotRetracted,
    NoWalk,
    HeadIgnored,
    LongNotSettled,
    LongNotRung,
    LongNotRestarted,
    MagicFirst,
    NoLock,
    LockKept,
    UnsignedKept,
    UnsignedNotClaimed,
    NoSecondLook,
    AnnouncedIgnored,
    EventsBelieved,
    SpaceNotRung,
    OwnerRelaxed,
    NoRenewFence,
    AnswerNotAddressed,
    HalfAnswerKept,
    ServingNotAwaited,
    SuccessorNotSeen,
    ReceiverRelaxed,
    AskNotCompared,
    HoldersNotLookedAt,
    HolderNotWatched,
    TakenAskedLate,
    ReceiverStartNotPublished,
    ReceiverStartRelaxed,
    EndNotWatched,
    RemovalNotMarked,
    RemovalNotLookedAt,
    RemovalNotTold,
];

/// The faults and programs of such lines; the rest is said behind `#`.
pub(super) fn read(text: &str) -> impl Iterator<Item = (Fault, &str)> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let (name, program) = line.split_once(": ").expect("a fault's name before the program");
        let fault = FAULTS.iter().find(|fault| format!("{fault:?}") == name);
        (*fault.unwrap_or_else(|| panic!("no fault {name}")), program)
    })
}
