//! Request and response, over peers that are a file each.

mod iceoryx;
mod ipc;
mod pair;
mod peer;
mod rpc;
mod unix;

pub use pair::Setting;
pub use peer::Work;

use peer::Peer;

use crate::cores::Cores;
use crate::figures::Offer;
use crate::values::Wait;
use crate::{Failure, figures::Start};

/// All of them.
pub fn offers(cores: Cores, setting: Setting) -> Vec<Offer> {
    vec![
        offer::<rpc::Rpc>(cores, setting),
        offer::<ipc::IpcChannel>(cores, setting),
        offer::<unix::Unix>(cores, setting),
        offer::<iceoryx::Iceoryx>(cores, setting),
    ]
}

fn offer<P: Peer + 'static>(cores: Cores, setting: Setting) -> Offer {
    let start: Start = Box::new(move || pair::start::<P>(cores, setting));
    let yields = setting.wait == Wait::Block && !P::BLOCKS;
    Offer { peer: P::NAME, yields, start: Ok(start) }
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
