//! The tool as a user runs it: real processes, pipes and a terminal.
//!
//! The tests wait for what a process says or does, never for time to pass.

mod ends;
mod help;
mod looking;
mod queue;
mod removing;
mod screen;
mod stage;
mod storm;
mod streams;
mod tapping;
mod terminal;
