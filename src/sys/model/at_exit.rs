//! Nothing: a model's process ends by being killed or by dropping what it has.

use std::sync::Weak;

use crate::sys::AtExit;

pub(crate) fn register(_what: Weak<dyn AtExit>) -> u64 {
    0
}

pub(crate) fn forget(_number: u64) {}
