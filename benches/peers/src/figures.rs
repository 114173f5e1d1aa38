//! What is measured.

use crate::harness::{self, Cores, Setting};
use crate::peer::{Failure, Wait, Work};
use crate::peers;
use crate::report::Report;

struct Figure {
    key: &'static str,
    title: &'static str,
    setting: Setting,
}

const fn call(key: &'static str, title: &'static str, wait: Wait, one_core: bool) -> Figure {
    Figure {
        key,
        title,
        setting: Setting { work: Work::Orders, wait, one_core, clients: 1, len: 0 },
    }
}

const fn rate(key: &'static str, title: &'static str, clients: usize) -> Figure {
    Figure {
        key,
        title,
        setting: Setting {
            work: Work::Orders,
            wait: Wait::Block,
            one_core: false,
            clients,
            len: 0,
        },
    }
}

const fn bulk(key: &'static str, title: &'static str, len: u64) -> Figure {
    Figure {
        key,
        title,
        setting: Setting { work: Work::Bulk, wait: Wait::Spin, one_core: false, clients: 1, len },
    }
}

/// The figure that the report begins with.
pub const CALL_SPIN: &str = "call_spin";

// Two that spin on one core would measure how long the kernel lets each.
const FIGURES: [Figure; 9] = [
    call(CALL_SPIN, "a call, spinning, two cores", Wait::Spin, false),
    call("call_block", "a call, sleeping, two cores", Wait::Block, false),
    call("call_block_one_core", "a call, sleeping, one core", Wait::Block, true),
    rate("calls_1", "calls of 1 client, sleeping", 1),
    rate("calls_4", "calls of 4 clients, sleeping", 4),
    rate("calls_16", "calls of 16 clients, sleeping", 16),
    rate("calls_64", "calls of 64 clients, sleeping", 64),
    bulk("bulk_64k", "a reply of 64 KiB, spinning", 64 << 10),
    bulk("bulk_1m", "a reply of 1 MiB, spinning", 1 << 20),
];

/// Measures every figure, or those whose keys begin with `only`.
pub fn measure(quick: bool, only: &str) -> Result<Report, Failure> {
    let cores = Cores::take()?;
    harness::stop_on_signals()?;
    let rounds = if quick { 41 } else { 201 };
    let mut report = Report::new(quick);
    for Figure { key, title, setting } in FIGURES {
        if !key.starts_with(only) {
            continue;
        }
        let mut ready = peers::start(cores, setting)?;
        let measured = harness::in_turns(cores, &mut ready, rounds);
        let described: Vec<_> = ready.iter().map(|peer| (peer.name(), peer.blocks())).collect();
        // All of them, also after a failure: so they leave nothing behind.
        let ended: Vec<_> = ready.into_iter().map(|peer| peer.end()).collect();
        let (samples, bare) = measured?;
        ended.into_iter().collect::<Result<(), _>>()?;
        report.bare(bare);
        for ((peer, blocks), samples) in described.into_iter().zip(samples) {
            let yields = setting.wait == Wait::Block && !blocks;
            report.add(key, title, peer, setting.clients, yields, samples);
        }
    }
    Ok(report)
}
