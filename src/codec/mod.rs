//! Values to bytes and back.
//!
//! A [`Codec`] is a type that a channel carries as a parameter: `Bincode` (the default) and
//! `Postcard` for whatever serde can describe, `Json` for types that ask the input what it holds,
//! [`Raw`] for bytes, `Pod` for C structs. It encodes
//! straight into the channel's memory through a [`Writer`] and decodes straight out of it through a
//! [`Reader`].
//!
//! The bytes that a codec decodes may come from a broken or hostile program. So whatever they say,
//! decoding ends, with a value or a [`DecodeError`], in time and memory proportional to their
//! length and on a bounded stack. The binary serde codecs get this from one deserializer of ours,
//! which takes the shape of a value in hand and leaves only scalars to the codec's library.
//!
//! What the receiver would refuse, or read as something else, the sender refuses with an
//! [`EncodeError`] that names type and field; what could never be decoded is refused when a channel
//! is opened ([`Schema::undecodable`]). But what a type's own `Deserialize` says of a single value, as
//! in a `try_from`, is found out by decoding it alone: `Json` does so with each value that it encodes,
//! the binary codecs leave it to the receiver.

#[cfg(feature = "bincode")]
mod bincode;
mod bytes;
#[cfg(any(feature = "bincode", feature = "postcard"))]
mod encoder;
mod error;
#[cfg(any(feature = "bincode", feature = "postcard"))]
mod guard;
#[cfg(feature = "json")]
mod json;
#[cfg(any(feature = "bincode", feature = "postcard"))]
mod noted;
#[cfg(feature = "pod")]
mod pod;
#[cfg(feature = "postcard")]
mod postcard;
mod raw;
#[cfg(any(feature = "bincode", feature = "postcard", feature = "json"))]
mod structure;
#[cfg(all(test, any(feature = "bincode", feature = "postcard")))]
mod tests;

#[cfg(feature = "bincode")]
pub use self::bincode::Bincode;
pub use self::bytes::Bytes;
pub use self::error::{DecodeError, EncodeError};
#[cfg(feature = "json")]
pub use self::json::Json;
#[cfg(feature = "pod")]
pub use self::pod::Pod;
#[cfg(feature = "postcard")]
pub use self::postcard::Postcard;
pub use self::raw::Raw;
pub use crate::schema::Schema;
pub use crate::sys::bytes::{ReadError, Reader, WriteError, Writer};

/// The codec of channels and queues that name none.
#[cfg(feature = "bincode")]
pub type DefaultCodec = Bincode;

/// The codec of channels and queues that name none: without the feature `bincode`, bytes only.
#[cfg(not(feature = "bincode"))]
pub type DefaultCodec = Raw;

/// How values of type `T` become bytes and bytes become values of type `T`.
///
/// A program can bring its own:
///
/// ```
/// use sysv_channel::codec::{Codec, DecodeError, EncodeError, Reader, Schema, Writer};
///
/// /// Temperatures as hundredths of a degree, big-endian, as the sensor's firmware has them.
/// struct Centidegrees;
///
/// impl Codec<f32> for Centidegrees {
///     const NAME: &'static str = "centidegrees";
///
///     fn encode(value: &f32, out: &mut Writer<'_>) -> Result<(), EncodeError> {
///         Ok(out.write(&((value * 100.0) as i16).to_be_bytes())?)
///     }
///
///     fn decode(mut input: Reader<'_>) -> Result<f32, DecodeError> {
///         let value = i16::from_be_bytes(input.read_array()?);
///         match input.remaining() {
///             0 => Ok(f32::from(value) / 100.0),
///             left => Err(DecodeError::new(format!("{left} bytes follow the temperature"))),
///         }
///     }
///
///     fn schema() -> Schema {
///         Schema::bytes("temperature")
///     }
/// }
///
/// assert_eq!(Centidegrees::decode(Reader::new(&[0x08, 0x34]))?, 21.0);
/// # Ok::<(), DecodeError>(())
/// ```
pub trait Codec<T>: 'static {
    /// The encoding's name, at most 63 bytes: it stands in the channel's header, and a program that
    /// opens the channel with another one is refused. A change of the encoding needs a new name.
    const NAME: &'static str;

    /// Appends the value's encoding to `out`.
    ///
    /// A channel may call this more than once for a value that is sent once, so it must write the
    /// same bytes each time.
    ///
    /// # Errors
    /// [`EncodeError`] when the value cannot be encoded or `out` refuses more bytes. The channel
    /// then drops what was written.
    fn encode(value: &T, out: &mut Writer<'_>) -> Result<(), EncodeError>;

    /// Makes a value of the whole input.
    ///
    /// # Errors
    /// [`DecodeError`] when the input is not exactly one encoded value: too short, too long or
    /// malformed in any way. It must not panic, nor allocate more than the input justifies.
    fn decode(input: Reader<'_>) -> Result<T, DecodeError>;

    /// The shape of `T`, which both ends of a channel must agree on.
    fn schema() -> Schema;
}
