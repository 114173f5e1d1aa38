//! Which process is at the other end, as far as the kernel vouches for it.
//!
//! The kernel notes which process operated on a semaphore last (GETPID of semctl(2)). For a lane's role that is
//! the lane's owner, which raised it: no other process of this crate changes a role that is owned. The kernel
//! gives the number that the process has in the pid namespace of the process that asks.
//!
//! A killed owner leaves its generation in the segment, and a successor has the role for a moment before it
//! raises that. So each owner raises the role by a number that it draws, and writes it into the lane after its
//! generation. A process that asks reads that number, finds it in the role after the kernel's answer, and
//! finds the generation unchanged then: the answer was about this owner and no other.
//!
//! System V keeps no user with a semaphore. That of the process comes from procfs; the process had its
//! lane before and after that was read, so it was alive, and no other had its number.

use super::origin::Origin;
use crate::control::{Control, lane_word, semaphores};
use crate::sys::{Ordering, process};

/// The process that sent a request or asked an actor, as the kernel knew it when this was asked for.
///
/// What the kernel vouches for, and what not:
///
/// - The process with this number had the connection by which the request came, and had not ended. A
///   process that has called exec(2) since is still the same process. A number is used again
///   once its process is gone: keep a `pidfd`, or compare connections
///   ([`ClientId`](crate::rpc::ClientId)) and not numbers.
/// - The user is that of the process when it was asked for, and not when the request was sent: a process that
///   sends a request and then executes a set-user-id program that becomes another user is told with that
///   one's number. While its real, effective and saved user differ there is none.
/// - A process that may use the channel may also write to it, and to its semaphores: so it can have
///   another process's number stand there, and a request of its own in another's ring. Among users who share a
///   channel ([`mode`](crate::rpc::ServerOptions::mode) 0660 or 0666) this says who a well-behaved peer
///   is, for logs, limits and debuggers; it is no proof. What the kernel enforces is the mode: bind a server for each
///   user or group whose rights differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    pid: u32,
    uid: Option<u32>,
}

impl Peer {
    /// The number of the process, in the pid namespace of this one.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The number of the user that the process runs as, in the user namespace of this process.
    ///
    /// `None` where procfs is not mounted, belongs to another pid namespace or hides the process (`hidepid`),
    /// where the user has no number here, and while the process is of several users at a time, as in a
    /// set-user-id program.
    pub fn uid(&self) -> Option<u32> {
        self.uid
    }
}

impl Origin {
    /// The process that has the lane, if that is still the sender's.
    pub(super) fn peer(self, control: &Control) -> Option<Peer> {
        let pid = self.pid(control)?;
        let uid = process::user_of(pid);
        // It had the lane before and after, so no other process had its number meanwhile.
        let pid = self.pid(control).filter(|&again| again == pid)?;
        Some(Peer { pid: pid as u32, uid })
    }

    /// The number of that process; one that this process's pid namespace does not have is none.
    fn pid(self, control: &Control) -> Option<i32> {
        if self.lane >= control.layout().lanes {
            return None;
        }
        // Acquire: pairs with the owner's Release, which comes after its generation. A successor's mark is
        // seen with the successor's generation.
        let mark = control.lane_word(self.lane, lane_word::OWNER_MARK).load(Ordering::Acquire);
        let role = semaphores::lane_role(self.lane);
        let pid = control.set.last_pid(role).ok()?;
        // A successor raises the role by another number in the very step that has the kernel note its pid.
        let is_owners =
            control.set.value(role).is_ok_and(|value| value > 0 && value as u64 == mark);
        (pid > 0 && is_owners && self.is_there(control)).then_some(pid)
    }
}
