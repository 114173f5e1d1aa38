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
//! | [`DynamicServer`], [`DynamicOptions::create`] | a server that is bound with shapes, a channel that is created with one |
//! | [`DynamicCodec`] | values to bytes and back, by a codec's name and a shape |

//! The parts, one file each: `shape` and `parse` (the tree and its text), `check` (what a value is at a place), `whatever`
//! (what is so of any), `encode`, `decode` and `read` (by a shape, and from what describes itself), `coding` (the codecs),
//! `options`, `channel`, `client`, `server`.
//!
//! # Limits
//!
//! - Of what a type's own `Deserialize` says of a value (a `try_from`), only that a number must not be zero is in the
//!   shape: the rest is its receiver's error.
//! - A shape of more than 16,000 bytes is cut off in the header, and a type that cannot be traced has none: only a
//!   program that has the type can open these. With the codec `Json` the second is no obstacle.
//! - Of a struct with `#[serde(alias)]` it is not known which names are of one field: it is an array of its fields. Of an
//!   enum's variants the first name in the alphabet is written, and each is read.
//! - The bits of a NaN are lost in JSON.
//!
//! A tool that copies what comes into its own output, a line for each value, and ends with the senders:
//!
//! ```
//! # #[cfg(all(feature = "bincode", feature = "json"))] {
//! # use sysv_channel::Channel;
//! use sysv_channel::dynamic::DynamicChannel;
//!
//! # let name = format!("doc-dynamic-tool-{}", std::process::id());
//! # let name = name.as_str();
//! # let channel = Channel::<(u8, Option<String>)>::create(name)?;
//! # channel.sender()?.send(&(7, None))?;
//! for value in DynamicChannel::open(name)?.receiver()?.iter() {
//!     println!("{}", serde_json::to_string(&value?)?);
//! }
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod channel;
// Without a codec of serde's a value is bytes, and these have nothing to do.
#[cfg_attr(not(any(feature = "bincode", feature = "postcard")), allow(dead_code))]
mod check;
mod client;
mod coding;
#[cfg(any(feature = "bincode", feature = "postcard"))]
mod decode;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
mod encode;
mod error;
mod identity;
mod options;
mod parse;
mod read;
mod server;
#[cfg_attr(not(any(feature = "bincode", feature = "postcard")), allow(dead_code))]
mod shape;
mod value;
#[cfg_attr(not(any(feature = "bincode", feature = "postcard")), allow(dead_code))]
mod whatever;

pub use channel::{DynamicChannel, DynamicReceiver, DynamicSender};
pub use client::{DynamicClient, DynamicReplyStream};
pub use coding::DynamicCodec;
pub use error::{DynamicError, ShapeError, ValueError};
pub use options::DynamicOptions;
pub use server::{DynamicRequest, DynamicResponder, DynamicServer};
pub use shape::Shape;
pub use value::Value;
