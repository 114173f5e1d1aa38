//! The texts of the errors of bare segments and semaphores.

use std::error::Error;
use std::time::Duration;

use sysv_channel::{
    Key, Segment, SegmentAccessError, SegmentError, SemaphoreOpError, Semaphores, SemaphoresError,
    SystemError,
};

use super::reads;

fn object() -> String {
    "an object 0x0000162e (id 7)".to_owned()
}

/// An error that the kernel gave: more than it allows.
fn system_error() -> SystemError {
    match Segment::create(Key::new(0x162e).unwrap(), usize::MAX) {
        Err(SegmentError::System(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn read_all<E: Error>(errors: Vec<(E, &[&str])>) {
    for (error, words) in errors {
        reads(&error, words);
        assert!(error.source().is_none(), "{error}: its text says it already");
    }
}

#[test]
fn every_error_of_a_segment_reads_well() {
    let name = || "texts".into();
    read_all::<SegmentError>(vec![
        (Segment::open("").unwrap_err(), &["1 to 255 bytes"]),
        (SegmentError::IsChannel { name: name() }, &["channel \"texts\"", "Channel::open"]),
        (SegmentError::InvalidOption("it".into()), &["unusable segment option: it"]),
        (SegmentError::NotFound { name: name() }, &["segment \"texts\" is not there", "create it"]),
        (SegmentError::AlreadyExists { name: name() }, &["\"texts\" exists", "open it", "ipcrm"]),
        (
            SegmentError::TooSmall { object: object(), size: 5, wanted: 9 },
            &["162e", "5 bytes", "at least 9", "never grows", "ipcrm"],
        ),
        (
            SegmentError::NotOwned { object: object(), uid: 5, creator_uid: 6 },
            &["162e", "user 5", "user 6", "SegmentOptions::owner"],
        ),
        (
            SegmentError::NotAllowed { object: object(), mode: 0o400, read_only: false },
            &["162e", "0o400", "ask its owner", "SegmentOptions::read_only"],
        ),
        (
            SegmentError::NotAllowed { object: object(), mode: 0o200, read_only: true },
            &["162e", "0o200", "read it", "ask its owner"],
        ),
        (SegmentError::Removed { object: object() }, &["162e", "was removed", "create or open"]),
        (SegmentError::Exiting, &["exiting", "private segments"]),
        (SegmentError::System(system_error()), &["shmget", "0x0000162e", "raise kernel.shm"]),
    ]);
    read_all::<SegmentAccessError>(vec![
        (
            SegmentAccessError::OutOfBounds { object: object(), size: 2048, range: 2040..2060 },
            &["162e", "has 2048 bytes; 2040..2060 was asked for"],
        ),
        (
            SegmentAccessError::Unaligned { object: object(), offset: 6, size: 4 },
            &["4 bytes", "multiple of 4", "6 of", "162e", "any offset"],
        ),
        (
            SegmentAccessError::ReadOnly { object: object() },
            &["162e", "reading alone", "read_only"],
        ),
        (SegmentAccessError::NoMemory { object: object(), len: 8 }, &["162e", "no memory", "8 b"]),
    ]);
}

#[test]
fn every_error_of_semaphores_reads_well() {
    let name = || "locks".into();
    let waited = Duration::from_secs(5);
    read_all::<SemaphoresError>(vec![
        (Semaphores::open("").unwrap_err(), &["1 to 255 bytes"]),
        (SemaphoresError::IsChannel { name: name() }, &["channel \"locks\"", "Channel::open"]),
        (SemaphoresError::InvalidOption("it".into()), &["unusable semaphore option: it"]),
        (SemaphoresError::NotFound { name: name() }, &["set \"locks\" is not there", "create it"]),
        (
            SemaphoresError::AlreadyExists { name: name() },
            &["\"locks\" exists", "open it", "ipcrm"],
        ),
        (
            SemaphoresError::NotInitialised { object: object(), id: 7, waited, set_by: None },
            &["162e", "within 5s", "creator ended", "ipcrm -s 7", "accept_uninitialised"],
        ),
        (
            SemaphoresError::NotInitialised { object: object(), id: 7, waited, set_by: Some(3) },
            &["162e", "process 3 has set values", "ipcrm -s 7", "accept_uninitialised"],
        ),
        (
            SemaphoresError::TooFew { object: object(), count: 2, wanted: 3 },
            &["162e", "2 semaphores", "at least 3", "never grows", "ipcrm"],
        ),
        (
            SemaphoresError::NoSuchSemaphore { object: object(), index: 2, count: 2 },
            &["162e", "2 semaphores, 0 to 1, and none 2"],
        ),
        (
            SemaphoresError::NotOwned { object: object(), uid: 5, creator_uid: 6 },
            &["162e", "user 5", "user 6", "SemaphoresOptions::owner"],
        ),
        (SemaphoresError::Removed { object: object() }, &["162e", "was removed", "create or open"]),
        (SemaphoresError::Exiting, &["exiting", "private semaphores"]),
        (SemaphoresError::System(system_error()), &["0x0000162e", "raise kernel.shm"]),
    ]);
    read_all::<SemaphoreOpError>(vec![
        (SemaphoreOpError::WouldBlock { object: object() }, &["162e", "not possible now"]),
        (SemaphoreOpError::Timeout { object: object() }, &["162e", "deadline", "last_pid"]),
        (
            SemaphoreOpError::NoSuchSemaphore { object: object(), index: 9, count: 2 },
            &["162e", "2 semaphores, 0 to 1, and none 9"],
        ),
        (
            SemaphoreOpError::InvalidAmount { object: object(), index: 1, amount: 40_000 },
            &["semaphore 1", "162e", "40000", "1 to 32767"],
        ),
        (
            SemaphoreOpError::TooMany { count: 501, error: system_error() },
            &["501 operations are too many", "0x0000162e"],
        ),
        (SemaphoreOpError::Overflow { object: object() }, &["162e", "32767", "release more"]),
        (SemaphoreOpError::NotHolder { object: object() }, &["162e", "forked", "acquire it here"]),
        (SemaphoreOpError::Removed { object: object() }, &["162e", "was removed"]),
        (SemaphoreOpError::System(system_error()), &["0x0000162e", "raise kernel.shm"]),
    ]);
}
