//! `bridge serve`: a local server, whose calls go to the `bridge call` with the same key.

use super::link::Link;
use crate::failure::Failure;

/// Carries calls until the link ends.
pub(crate) fn run(link: &Link) -> Result<(), Failure> {
    Err(Failure::failed(format!("{link} is not there yet")))
}
