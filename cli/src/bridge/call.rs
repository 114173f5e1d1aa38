//! `bridge call`: a client of the local server, for the `bridge serve` with the same key.

use super::link::Link;
use crate::failure::Failure;

/// Carries calls until the link ends.
pub(crate) fn run(link: &Link) -> Result<(), Failure> {
    Err(Failure::failed(format!("{link} is not there yet")))
}
