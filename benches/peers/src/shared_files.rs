//! The files of iceoryx2, which both processes share.

use std::fs;
use std::path::PathBuf;

use iceoryx2::prelude::*;

use crate::Failure;
use crate::process::unused_name;

/// Each thread has its own ports; the thread-safe service lets them be made in another one.
pub type Kind = ipc_threadsafe::Service;

/// Where the files of both processes are, removed with its owner.
pub struct Files(PathBuf);

impl Files {
    /// Also their address.
    pub fn make() -> Result<(Self, String), Failure> {
        let files = std::env::temp_dir().join(unused_name());
        fs::create_dir(&files)?;
        let address = files.to_str().ok_or("the temporary directory is no text")?.to_owned();
        Ok((Files(files), address))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        // It leaves a segment with the state of all nodes, under the prefix that it was given.
        let prefix = self.0.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let prefix = format!("{prefix}-");
        for segment in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            if segment.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)) {
                let _ = fs::remove_file(segment.path());
            }
        }
    }
}

pub fn node(files: &str) -> Result<Node<Kind>, Failure> {
    set_log_level(LogLevel::Error);
    let mut config = Config::default();
    let prefix = files.rsplit('/').next().unwrap_or_default();
    config.global.prefix = format!("{prefix}-").as_str().try_into()?;
    config.global.set_root_path(&files.try_into()?);
    Ok(NodeBuilder::new().config(&config).create::<Kind>()?)
}
