//! Compiles the C halves of the examples.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Feeds a C source to the system's compiler; the program.
pub(crate) fn compile(
    directory: &Path,
    name: &str,
    source: &[u8],
) -> Result<PathBuf, Box<dyn Error>> {
    let program = directory.join(name);
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut cc = Command::new(&compiler)
        .args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-x", "c", "-", "-o"])
        .arg(&program)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run the C compiler {compiler}: {error}"))?;
    if let Some(mut stdin) = cc.stdin.take() {
        stdin.write_all(source)?;
    }
    let status = cc.wait()?;
    if !status.success() {
        return Err(format!("{compiler} ended with {status}").into());
    }
    Ok(program)
}

/// A directory of our own, removed with its owner; ftok makes keys of it.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new(example: &str) -> Result<Self, Box<dyn Error>> {
        let name = format!("sysv-channel-{example}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)
            .map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        Ok(Directory(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
