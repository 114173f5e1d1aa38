//! Steps that a model can do wrong, to show that it would notice.

#[cfg(loom)]
use std::cell::Cell;
use std::sync::atomic::Ordering;

macro_rules! faults {
    ($($(#[$about:meta])* $fault:ident,)*) => {
        /// A step done wrong on purpose: a model that does not fail with it proves nothing.
        ///
        /// Outside of models no step is ever done wrong, and the question costs nothing.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Fault {
            $($(#[$about])* $fault,)*
        }

        #[cfg(all(test, loom))]
        impl Fault {
            /// Every fault, for the search for programs that find them.
            pub(crate) const ALL: &[Fault] = &[$(Fault::$fault),*];
        }
    };
}

faults! {
    /// The stamp is published Relaxed.
    StampStoreRelaxed,
    /// The stamp is loaded Relaxed.
    StampLoadRelaxed,
    /// The stamp is published before the header.
    StampBeforeHeader,
    /// The stamp of the following line is not cleared.
    NextStampNotCleared,
    /// The following line need not be free.
    FollowingLineNotFree,
    /// A window of the ring ends, whether or not there is room at the array's start.
    WindowEndedEarly,
    /// The head is published Relaxed.
    HeadRelaxed,
    /// A new owner of the ring loads the head Relaxed.
    TakeoverRelaxed,
    /// The waker has no fence.
    NoRingFence,
    /// The sleeper has no fence.
    NoParkFence,
    /// The sleeper does not look again once it is parked.
    NoRecheck,
    /// The waker clears the ticket before it posts.
    ClearBeforePost,
    /// An end sleeps at its bell although it has a listener.
    ListenerIgnored,
    /// A registrant of an end's listener is not told that another wait of the end is over.
    OthersNotTold,
    /// What woke a listener counts as what woke its end, although it was woken several times.
    ListenerTrusted,
    /// A server does not look which client is gone when the kernel may have rung for one.
    GoneNotLookedFor,
    /// A new owner of a lane does not say so to a receiver that looks after the former one.
    OwnerNotTold,
    /// A mailbox is not rung when an actor that it watches has ended.
    EndNotTold,
    /// The end of an actor is received before what that had told.
    EndOvertakes,
    /// The queue of a channel whose values are counted holds what the kernel gives it.
    CapacityNotSet,
    /// An inlet says that a value is begun before it has written down which one.
    LinkBegunFirst,
    /// A new owner of a lane does not settle what an inlet left open that had it before.
    LinkNotSettled,
    /// A value of an inlet that was killed counts as put, whether it was or not.
    LinkForgets,
    /// An outlet does not look whether a value in fragments was taken back before it says which one it is.
    LongTakenForNext,
    /// Messages of such a channel are as long as their values.
    NotPadded,
    /// All owners of a lane raise its role by the same number.
    SameMark,
    /// The kernel undoes nothing.
    #[cfg(loom)]
    NoUndo,
    /// The kernel wakes no sleeper when a set is removed.
    #[cfg(loom)]
    NoRemovalWake,
    /// Sweeping looks only once whether the channel is in use, before it has the lock.
    UsersLookedAtOnce,
    /// The last user does not look whether the channel is to be removed.
    UnusedNotRemoved,
    /// A caller that cancels does not ring the receiver for its reply that waits.
    CancelNotRung,
    /// A reply goes into the ring in the middle of another.
    WayNotKept,
    /// A thread that wants the connection of a client does not ring the one that has it.
    HolderNotRung,
    /// A thread that puts a client's connection back tells no other.
    PutBackUntold,
    /// A thread that waits for the replies of all has the outcome of another one's call, and does not wake it.
    FollowerNotWoken,
    /// A task that did not get a client's connection is not told when it is put back.
    TaskNotTold,
    /// A caller that takes a part of a stream does not ring the receiver for its handler that waits.
    CreditNotRung,
    /// The home of a reply port does not ring the process that holds it and waits for an asker that is dead.
    HolderOfDeadNotRung,
    /// A handler that waits until its caller has taken parts does not say so.
    PartsWaitNotSaid,
    /// A client throws the reply away that comes while its request is still being sent.
    EarlyReplyLost,
    /// A caller whose channel was removed does not look for its reply.
    ReplyLost,
    /// A server starts a request whose deadline has passed.
    LateStarted,
    /// Disconnected is believed without another look for values.
    NoLastLook,
    /// The receiver's bell is not armed by a sender that attaches.
    ItemsBellNotArmed,
    /// The lanes' bells are not armed by a receiver that attaches.
    LaneBellsNotArmed,
    /// The role is taken without looking whether it is free.
    RoleNotChecked,
    /// A slot is cleared before its value is decoded.
    SlotClearedEarly,
    /// A new owner does not send the descriptor that its predecessor may have left out.
    LeftoverNotAnnounced,
    /// A receiver that attaches has no fence before it looks which lanes are claimed.
    NoAttachFence,
    /// A sender that finds the queue full does not say so before it sleeps.
    QueueSpaceNotWanted,
    /// A receiver that takes a message does not look for senders that want the space.
    QueueSpaceNotGiven,
    /// A sender that finds the queue full does not ring the receiver.
    FullNotRung,
    /// A sender that waits for room does not have the kernel ring the others when it dies.
    LineNotArmed,
    /// A sender that died while it waited for room keeps its place in line.
    DeadKeepPlace,
    /// A new owner of a lane does not pass on the turn that its predecessor died with.
    DeadTurnForgotten,
    /// A sender that gives up keeps the turn that it was given.
    TurnKept,
    /// A receiver that finds nothing to receive leaves senders asleep for whom there is room.
    RestNotWoken,
    /// A sender leaves the room to others although the receiver sleeps and will wake none.
    YieldsToSleeper,
    /// A sender that leaves the room to others has no fence before it looks whether the receiver
    /// sleeps.
    NoYieldFence,
    /// A record is not taken back when its descriptor could not be sent.
    NotRetracted,
    /// A new owner starts at the head instead of behind the last record.
    NoWalk,
    /// A new receiver starts a lane at its first line instead of the head.
    HeadIgnored,
    /// A value in fragments is handed over without asking whether it was taken back.
    LongNotSettled,
    /// A sender of a value in fragments is rung only for room, not when its value is handed over.
    LongNotRung,
    /// A sender of a value in fragments does not start again for a new receiver.
    LongNotRestarted,
    /// The magic is written before the header.
    MagicFirst,
    /// The lock is not taken.
    NoLock,
    /// The lock is not given back where what was done under it failed.
    LockKept,
    /// A set that its creator did not live to sign is not swept.
    UnsignedKept,
    /// Such a set is swept without being signed before, as if its creator could not be alive.
    UnsignedNotClaimed,
    /// The holder of the lock gives it back without a look whether the channel became unused.
    NoSecondLook,
    /// Fragments are looked for behind values that may still be taken back.
    AnnouncedIgnored,
    /// The queue is taken for empty when no sender counted a message up.
    EventsBelieved,
    /// A waiting sender is not rung when the record in its way is taken, only with the next look.
    SpaceNotRung,
    /// A lane's generation is raised Relaxed, after its owner said where it begins.
    OwnerRelaxed,
    /// A caller that wants to be sure that its request will not be taken has no fence.
    NoRenewFence,
    /// A reply is read by any owner of the lane.
    ReplyNotAddressed,
    /// The fragments of a reply that was begun again count as its beginning.
    HalfReplyKept,
    /// A receiver that has the role counts as one that has said which it is.
    ServingNotAwaited,
    /// A sender that waits for a receiver's end does not see that another one has its role.
    SuccessorNotSeen,
    /// Which receiver came last is read Relaxed, before the replies of the one before it.
    ReceiverRelaxed,
    /// A receiver that drains is not rung when the last value in hand is let go.
    EndNotWatched,
    /// A caller that finds no receiver asks after that whether its request was taken.
    TakenAskedLate,
    /// A receiver that takes the role does not say where it begins.
    ReceiverStartNotPublished,
    /// Where the present receiver begins is read Relaxed, before its predecessors' replies.
    ReceiverStartRelaxed,
    /// A reply is taken for the reply to whatever is asked.
    AskNotCompared,
    /// The home of reply ports sleeps without another look at the processes that say that they hold one.
    HoldersNotLookedAt,
    /// A client or address whose channel was removed before it attached does not look for another.
    ConnectedOnce,
    /// One that finds its peer gone does not look whether the channel is.
    EndNotLookedAt,
    /// A remover of a channel does not say so in its header.
    RemovalNotMarked,
    /// A user does not look whether the header says so.
    RemovalNotLookedAt,
    /// A user that finds an object gone does not tell the others.
    RemovalNotTold,
    /// What was sent counts as not sent where the channel is gone before its receiver is woken.
    SentTakenBack,
    /// A creator adopts a channel whose set was removed by hand under its users.
    OrphanAdopted,
    /// The users of a channel whose set was removed by hand leave the rest.
    OrphanLeft,
    /// A creator that signs a set takes what stands beside it for that set's.
    SettledEarly,
    /// A creator does not say that the queue beside its set is the set's.
    QueueNotOwned,
    /// One of several receivers does not have the kernel ring the others when it dies.
    ReceiverBellsNotArmed,
    /// Of several receivers that sleep a sender rings the first alone.
    OneReceiverRung,
    /// A value is taken from a receiver without asking whether that is gone.
    OwnerNotAsked,
    /// A slot is taken whatever became of it since it was looked at.
    ClaimNotExclusive,
    /// A receiver that gives a value back does not ring the others.
    GiveBackNotRung,
    /// A receiver takes the senders for gone for good while another has a value in hand.
    OthersNotAwaited,
    /// One that hands a value over does not ring a receiver that waits for what becomes of it.
    HandOverNotRung,
    /// A receiver that takes a dead one's place does not ring the others.
    SuccessorNotTold,
    /// One of several receivers goes by its own count of the room that there is.
    RoomCounted,
    /// The home of a forwarded reply port does not look whether its holder is still there.
    HolderNotWatched,
}

/// Whether the step is to be done wrong.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) const fn fault(_fault: Fault) -> bool {
    false
}

/// Whether the step is to be done wrong.
#[cfg(loom)]
pub(crate) fn fault(fault: Fault) -> bool {
    FAULT.get() == Some(fault)
}

/// The ordering of an access, which the fault makes Relaxed.
#[inline(always)]
pub(crate) fn ordering(order: Ordering, relaxed_by: Fault) -> Ordering {
    if fault(relaxed_by) { Ordering::Relaxed } else { order }
}

#[cfg(loom)]
thread_local! {
    static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Does every such step wrong while `action` runs.
#[cfg(all(test, loom))]
pub(crate) fn with_fault<R>(fault: Fault, action: impl FnOnce() -> R) -> R {
    struct Mended;
    impl Drop for Mended {
        fn drop(&mut self) {
            FAULT.set(None);
        }
    }
    FAULT.set(Some(fault));
    let _mended = Mended;
    action()
}
