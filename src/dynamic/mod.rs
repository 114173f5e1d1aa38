//! Channels and servers without their types, for tools: values say themselves what they are, and go as JSON.
//!
//! A channel's header carries the [shape](crate::Schema) of its type and the name of its codec. A program that was
//! never compiled with the type opens the channel with these: what it receives is a [`Value`], which serializes as the
//! type itself would, and what it sends is checked by the shape, so that the other side can read it.
//!
//! | | |
//! |---|---|
//! | [`Value`] | a value that says itself what it is |
//! | [`Shape`] | what a type looks like, read back from its text |
//! | [`DynamicChannel`], [`DynamicClient`] | a channel, and a client of a server, opened with the shapes that they carry |
//! | [`DynamicCodec`] | values to bytes and back, by a codec's name and a shape |

mod channel;
mod check;
mod client;
mod coding;
mod decode;
mod encode;
mod error;
mod options;
mod parse;
mod read;
mod shape;
mod value;

pub use channel::{DynamicChannel, DynamicReceiver, DynamicSender};
pub use client::{DynamicClient, DynamicReplyStream};
pub use coding::DynamicCodec;
pub use error::{DynamicError, ShapeError, ValueError};
pub use options::DynamicOptions;
pub use shape::Shape;
pub use value::Value;
