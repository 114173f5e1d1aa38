//! Named points between two steps, at which the kill tests end the process.
//!
//! With `--cfg fail_points` each is a fail point of the crate `fail`; without it there is
//! nothing there.

/// A point with a name, `file.place`.
macro_rules! point {
    ($name:literal) => {
        #[cfg(fail_points)]
        fail::fail_point!($name);
    };
}
