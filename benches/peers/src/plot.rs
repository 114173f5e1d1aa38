//! todo
use crate::Failure;
use std::path::Path;
pub fn draw(_: &Path, _: &Path) -> Result<(), Failure> {
    Ok(())
}
