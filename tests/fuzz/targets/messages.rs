//! A channel whose queue and segment others write to, under a script of what both ends do.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sysv_channel_fuzz::bounded;

/// Bytes for the longest value, in fragments and decoded, and for the first input the channels.
const BOUND: usize = 1 << 20;

fuzz_target!(|data: &[u8]| bounded(BOUND, || sysv_channel::fuzzing::messages(data)));
