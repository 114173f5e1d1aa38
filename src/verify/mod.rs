//! What shows that the rest is right, and does nothing in a build that ships.
//!
//! | | |
//! |---|---|
//! | `fault.rs` | steps that a model can have done wrong: a constant false outside of loom |
//! | `point.rs` | named points at which the kill tests end the process, with `--cfg fail_points` |
//! | `models/` | the crate's own models and their negatives, with `--cfg loom` |
//! | `models/programs/` | programs over the public API, generated, explored and compared with machines |
//! | `fuzzing/` | entry points of the fuzz targets, with `--cfg fuzzing` |
//!
//! `fault.rs` and `point.rs` know nothing else of the crate: every layer may use them.

#[macro_use]
mod point;

pub(crate) mod fault;
#[cfg(fuzzing)]
pub mod fuzzing;
#[cfg(all(test, loom))]
mod models;
