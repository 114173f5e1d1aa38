//! What can go wrong with a channel, an enum for each direction.
//!
//! An error's text names its channel and says what to do; what it was caused by is part of that text.
//! So no error has a source: a program that prints both would print it twice.

mod attach;
mod bridge;
#[cfg(not(loom))]
mod inspect;
mod open;
mod receive;
mod send;
pub(crate) mod text;

pub use attach::AttachError;
pub use bridge::BridgeError;
#[cfg(not(loom))]
pub use inspect::InspectError;
pub use open::OpenError;
pub use receive::RecvError;
pub(crate) use send::PIECE;
pub use send::SendError;
