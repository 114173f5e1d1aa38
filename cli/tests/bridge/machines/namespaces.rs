//! Machines that are namespaces: each has System V objects and a network of its own, and a cable joins the two.
//!
//! No namespace and no device has a name that another process sees: the kernel removes all of them with the last process
//! or descriptor that uses them, however the test ends.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, Command};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use sysv_channel::Channel;
use sysv_channel::codec::Raw;

use crate::pair::address;

/// What the cable's end is called on both machines.
const DEVICE: &str = "cable";

/// The channels of a machine, by what they are for.
pub(super) const OUTBOUND: &str = "outbound";
pub(super) const INBOUND: &str = "inbound";

pub(super) struct Machine {
    side: usize,
    ipc: Option<File>,
    network: Option<File>,
    /// Where its bridge listens.
    pub(super) address: String,
    /// Where the status sockets are.
    pub(super) runtime: tempfile::TempDir,
}

/// Two machines; whether a cable joins them, which can be cut, or both are on this machine's loopback.
pub(super) fn machines() -> ([Machine; 2], bool) {
    let mut machines = [0, 1].map(|side| Machine {
        side,
        ipc: None,
        network: None,
        address: address("tcp"),
        runtime: tempfile::tempdir().unwrap(),
    });
    match [(); 2].map(|()| apart(CloneFlags::CLONE_NEWIPC, "ipc")) {
        [Ok(first), Ok(second)] => {
            [machines[0].ipc, machines[1].ipc] = [Some(first), Some(second)];
        }
        [Err(error), _] | [_, Err(error)] => {
            println!("no ipc namespaces here ({error}): both machines have the same one");
        }
    }
    let joined = join(&mut machines);
    if let Err(error) = &joined {
        for machine in &mut machines {
            machine.network = None;
        }
        println!("no network namespaces here ({error}): loopback, and no link is cut");
    }
    (machines, joined.is_ok())
}

/// A new namespace of this kind, in which no process is yet.
fn apart(kind: CloneFlags, name: &'static str) -> io::Result<File> {
    let made = thread::spawn(move || {
        // It is this thread's alone, which ends.
        unshare(kind)?;
        File::open(format!("/proc/thread-self/ns/{name}"))
    });
    made.join().expect("the thread panics nowhere")
}

/// Gives each machine a network, and joins the two.
fn join(machines: &mut [Machine; 2]) -> io::Result<()> {
    for machine in machines.iter_mut() {
        machine.network = Some(apart(CloneFlags::CLONE_NEWNET, "net")?);
    }
    let [here, there] = &*machines;
    let far = there.network.as_ref().map_or(-1, AsRawFd::as_raw_fd);
    let far = format!("/proc/{}/fd/{far}", process::id());
    here.ip(&format!("link add {DEVICE} type veth peer name {DEVICE} netns {far}"))?;
    let [here, there] = machines;
    for machine in [here, there] {
        let host = format!("10.0.0.{}", machine.side + 1);
        machine.ip(&format!("addr add {host}/24 dev {DEVICE}"))?;
        machine.ip("link set lo up")?;
        machine.ip(&format!("link set {DEVICE} up"))?;
        machine.address = format!("tcp/{host}:7447");
    }
    Ok(())
}

impl Machine {
    /// The channel's name, which nothing else has on either machine, in whichever namespace they are.
    pub(super) fn channel(&self, purpose: &str) -> String {
        format!("machines {} {} {purpose}", process::id(), self.side)
    }

    fn enters(&self) -> impl Fn() -> nix::Result<()> + Send + Sync + 'static {
        let spaces =
            [(&self.ipc, CloneFlags::CLONE_NEWIPC), (&self.network, CloneFlags::CLONE_NEWNET)];
        let spaces = spaces.map(|(space, kind)| {
            (space.as_ref().map(|space| space.try_clone().expect("a descriptor is free")), kind)
        });
        move || {
            spaces.iter().try_for_each(|(space, kind)| match space {
                Some(space) => setns(space, *kind),
                None => Ok(()),
            })
        }
    }

    /// Has the command run on this machine, and end with the thread that starts it.
    pub(super) fn runs(&self, mut command: Command) -> Command {
        let enters = self.enters();
        // SAFETY: between fork and exec the closure makes system calls and nothing else.
        unsafe {
            command.pre_exec(move || {
                prctl::set_pdeathsig(Signal::SIGKILL)?;
                Ok(enters()?)
            });
        }
        command
    }

    /// Calls it in a thread that is on this machine.
    pub(super) fn inside<R: Send>(&self, call: impl FnOnce() -> R + Send) -> R {
        let enters = self.enters();
        thread::scope(|scope| {
            let called = scope.spawn(move || {
                enters().expect("a namespace that was made can be entered");
                call()
            });
            called.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs `ip` here.
    fn ip(&self, arguments: &str) -> io::Result<()> {
        let mut command = Command::new("ip");
        command.args(arguments.split(' '));
        let output = self.runs(command).output();
        let output = output.map_err(|error| io::Error::other(format!("ip: {error}")))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("ip {arguments}: {}", said.trim())))
    }

    /// Takes this machine's end of the cable down, or up again.
    pub(super) fn link(&self, state: &str) {
        self.ip(&format!("link set {DEVICE} {state}")).unwrap();
    }

    /// Has the network delay and lose some packets, where the kernel can do that.
    pub(super) fn is_a_bad_network(&self) -> bool {
        let mut command = Command::new("tc");
        let what = format!("qdisc add dev {DEVICE} root netem delay 1ms loss 0.5%");
        command.args(what.split(' '));
        self.runs(command).output().is_ok_and(|output| output.status.success())
    }

    pub(super) fn runtime(&self) -> &Path {
        self.runtime.path()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for purpose in [OUTBOUND, INBOUND] {
            let name = self.channel(purpose);
            let _ = self.inside(|| Channel::<Vec<u8>, Raw>::unlink(&*name));
        }
    }
}
