//! The bridge as a user runs it: real bridges and programs, over loopback.
//!
//! The tests wait for what a process says or does, never for time to pass.

mod calls;
mod calls_kills;
mod cuts;
mod ends;
mod help;
mod kills;
mod machines;
mod pair;
#[path = "../tool/screen.rs"]
#[allow(dead_code, reason = "the tests of the other commands use the rest")]
mod screen;
mod secure;
mod seen;
#[path = "../tool/stage.rs"]
#[allow(dead_code, reason = "the tests of the other commands use the rest")]
mod stage;
mod traced;
mod values;
