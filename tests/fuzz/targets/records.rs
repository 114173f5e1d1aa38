//! A ring whose memory others write to, under a script of what both sides do.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sysv_channel_fuzz::bounded;

/// Bytes for a value being written, and for errors.
const BOUND: usize = 1 << 16;

fuzz_target!(|data: &[u8]| bounded(BOUND, || sysv_channel::fuzzing::records(data)));
