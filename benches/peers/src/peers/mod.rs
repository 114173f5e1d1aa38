//! The peers, a file each.

mod iceoryx;
mod ipc;
mod rpc;
mod unix;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::harness::{self, Cores, Ready, Setting};
use crate::peer::{Failure, Peer, Wait, Work};

/// Starts them all, for one figure.
pub fn start(cores: Cores, setting: Setting) -> Result<Vec<Box<dyn Ready>>, Failure> {
    Ok(vec![
        harness::start::<rpc::Rpc>(cores, setting)?,
        harness::start::<ipc::IpcChannel>(cores, setting)?,
        harness::start::<unix::Unix>(cores, setting)?,
        harness::start::<iceoryx::Iceoryx>(cores, setting)?,
    ])
}

/// Plays the server of one, as a process of its own.
pub fn serve(peer: &str, work: &str, wait: &str, address: &str) -> Result<(), Failure> {
    let work = [Work::Orders, Work::Bulk].into_iter().find(|which| format!("{which:?}") == work);
    let wait = [Wait::Spin, Wait::Block].into_iter().find(|which| format!("{which:?}") == wait);
    let (Some(work), Some(wait)) = (work, wait) else { return Err("there is no such work".into()) };
    match peer {
        rpc::Rpc::NAME => rpc::Rpc::serve(address, work, wait),
        ipc::IpcChannel::NAME => ipc::IpcChannel::serve(address, work, wait),
        unix::Unix::NAME => unix::Unix::serve(address, work, wait),
        iceoryx::Iceoryx::NAME => iceoryx::Iceoryx::serve(address, work, wait),
        _ => Err(format!("there is no peer {peer:?}").into()),
    }
}

/// A name that no other run of this program uses.
fn unused_name() -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    format!("peers-{}-{number}", std::process::id())
}
