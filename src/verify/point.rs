//! Named points between two steps, at which the kill tests end the process.
//!
//! With the feature `fail-points` each is a fail point of the crate `fail`; without it there is
//! nothing there.

/// A point with a name, `file.place`.
macro_rules! point {
    ($name:literal) => {
        #[cfg(feature = "fail-points")]
        fail::fail_point!($name);
    };
}
