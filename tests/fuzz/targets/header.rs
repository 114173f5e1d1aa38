//! Arbitrary bytes as the header of a segment.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sysv_channel_fuzz::bounded;

/// Bytes for a value being written, and for errors.
const BOUND: usize = 1 << 16;

fuzz_target!(|data: &[u8]| bounded(BOUND, || sysv_channel::fuzzing::header(data)));
