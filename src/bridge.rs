//! For programs that carry a channel's values far away: nothing is lost on the way, and nothing comes twice.
//!
//! A bridge is two processes, one on each machine, with whatever network between them. The one takes values out of a
//! channel by an [`Outlet`], which leaves each in the channel until it is told that it has arrived. The other puts them
//! into a channel by an [`Inlet`], which writes down in the channel which ones it has put. So both keep nothing to
//! themselves: where one is killed, or the network is cut, its successor goes on with exactly what is missing. A channel
//! without rings (`capacity(0)`) cannot tell whether a message went: of an inlet that is killed as it puts a value there
//! that value may come twice.
//!
//! - The outlet's process [gives out](Outlet::next) values, sends each with its [`ValueId`], and [settles](Outlet::settle)
//!   it when the other side says that it was put. At most [`WINDOW`] are on their way.
//! - When the two processes find each other, for the first time or again, the inlet's one first drops what it had received
//!   before and not put, and then says what it [knows](Inlet::known). The outlet's one [rewinds](Outlet::rewind), settles
//!   what is known, and sends the rest.
//!
//! Values pass as the bytes that they are. Whether both channels carry the same type is for the bridge to compare;
//! [`dynamic`](crate::dynamic) tells what a channel carries.
//!
//! The tool `sysv-channel bridge` is made of these, with zenoh between them.

pub use crate::channel::{Inlet, Outlet, ValueId};
pub use crate::error::BridgeError;

/// How many values an [`Outlet`] holds at most, and how many of the last ones an [`Inlet`] knows.
pub const WINDOW: usize = crate::control::WINDOW;
