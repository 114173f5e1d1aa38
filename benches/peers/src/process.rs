//! The other side's process.

use std::env;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getppid};

use crate::{Failure, cores, stop};

/// A process of this program, on a core of its own, which stands still except while it is measured.
pub struct Server(Child);

impl Server {
    /// Starts this program on a core, for a part that `main` knows.
    pub fn start(core: usize, part: &[&str]) -> Result<Self, Failure> {
        let mut command = Command::new(env::current_exe()?);
        let child = command.args(["--on", &core.to_string()]).args(part).spawn()?;
        let server = Server(child);
        stop::adopt(server.pid());
        Ok(server)
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }

    pub fn stand_still(&self) -> Result<(), Failure> {
        kill(self.pid(), Signal::SIGSTOP)?;
        match waitpid(self.pid(), Some(WaitPidFlag::WUNTRACED))? {
            WaitStatus::Stopped(..) => Ok(()),
            ended => Err(format!("the server ended: {ended:?}").into()),
        }
    }

    pub fn go_on(&self) -> Result<(), Failure> {
        Ok(kill(self.pid(), Signal::SIGCONT)?)
    }

    /// Waits for its good end.
    pub fn end(mut self) -> Result<(), Failure> {
        let status = self.0.wait()?;
        stop::forget(self.pid());
        if status.success() { Ok(()) } else { Err(format!("the server: {status}").into()) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After a good end there is nobody left to kill.
        let _ = self.0.kill();
        stop::forget(self.pid());
        let _ = self.0.wait();
    }
}

/// For a server's process: stays on its core, and ends with its parent.
pub fn pin_as_child(core: &str) -> Result<(), Failure> {
    set_pdeathsig(Signal::SIGKILL)?;
    if getppid() == Pid::from_raw(1) {
        return Err("the benchmark is gone".into());
    }
    cores::pin(core.parse()?)
}

/// A name that no other run of this program uses.
pub fn unused_name() -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    format!("peers-{}-{number}", std::process::id())
}
