//! The default codec: serde values in bincode 2's encoding with fixed-width integers.
//!
//! Fixed width because decoding it is loads and no branches, and because the encoded length of a
//! struct then does not depend on the numbers in it.

use bincode::config::{Configuration, Fixint, LittleEndian, standard};
use bincode::enc::write::Writer as BincodeWriter;
use bincode::error::{DecodeError as BincodeDecodeError, EncodeError as BincodeEncodeError};
use bincode::serde::{OwnedSerdeDecoder, encode_into_writer};
use serde::Serialize;
#[cfg(not(loom))]
use serde::de::DeserializeSeed;
use serde::de::{Deserialize, DeserializeOwned};

use super::guard::{self, Input, Scalars};
use super::{Codec, DecodeError, EncodeError, Reader, Schema, Writer, encoder, noted};

const CONFIGURATION: Configuration<LittleEndian, Fixint> =
    standard().with_fixed_int_encoding().with_little_endian();

/// The default codec: any serde type, in [bincode 2's encoding][specification] with fixed-width
/// little-endian integers.
///
/// Decoding withstands any bytes. A value may nest options, sequences, maps and enums 128 deep, and
/// hold 65,536 elements that take no bytes (such as `()`); a deeper or emptier one is refused by
/// sender and receiver alike.
///
/// The format does not describe itself. A type that asks its input what it holds (serde's `flatten`,
/// `tag`, `untagged`, JSON values) is refused when a channel is opened; a field that
/// `skip_serializing_if` skips, and a `Serialize` that announces another number of elements than it
/// writes, when the value is encoded. `Json` takes most of these.
///
/// That a tuple struct or tuple variant skips a field is seen by comparing with the type's shape
/// ([`Schema`]), which the first such value has traced; of a type that cannot be traced it is not.
///
/// So is a part that is written without bytes and read with some, as where a `with` module writes
/// nothing for `None`.
///
/// A value is not decoded before it is sent. One that the type's own `Deserialize` refuses (a
/// `try_from` that fails, a variant under `skip_deserializing`) is an error of the receiver.
///
/// A field of type `Vec<u8>` is slow, because serde takes it byte by byte: use [`Bytes`], see
/// there.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use sysv_channel::codec::{Bincode, Codec, Reader, Writer};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Order {
///     id: u64,
///     symbol: String,
/// }
///
/// let order = Order { id: 7, symbol: "ABC".into() };
/// let mut memory = [0; 64];
/// let mut writer = Writer::new(&mut memory);
/// Bincode::encode(&order, &mut writer)?;
/// let length = writer.len();
/// assert_eq!(memory[..length], *b"\x07\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0ABC");
///
/// let decoded: Order = Bincode::decode(Reader::new(&memory[..length]))?;
/// assert_eq!(decoded, order);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`Bytes`]: super::Bytes
/// [specification]: https://docs.rs/bincode/2.0.1/bincode/spec/index.html
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bincode;

impl<T: Serialize + DeserializeOwned> Codec<T> for Bincode {
    const NAME: &'static str = "bincode 2, fixed-width, little-endian";

    #[inline]
    fn encode(value: &T, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        encoder::encode(value, out, Fixed).map(drop)
    }

    #[inline]
    fn decode(input: Reader<'_>) -> Result<T, DecodeError> {
        guard::decode(input, Fixed)
    }

    fn schema() -> Schema {
        noted::schema::<_, T>(Fixed)
    }
}

impl Bincode {
    /// Decodes a value that may borrow strings and bytes from `bytes`, which are read in place.
    ///
    /// # Errors
    /// [`DecodeError`] when `bytes` are not exactly one encoded value.
    ///
    /// ```
    /// use serde::Deserialize;
    /// use sysv_channel::codec::Bincode;
    ///
    /// #[derive(Deserialize)]
    /// struct Order<'a> {
    ///     id: u64,
    ///     symbol: &'a str,
    /// }
    ///
    /// let order: Order<'_> =
    ///     Bincode::decode_borrowed(b"\x07\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0ABC")?;
    /// assert_eq!((order.id, order.symbol), (7, "ABC"));
    /// # Ok::<(), sysv_channel::codec::DecodeError>(())
    /// ```
    #[inline]
    pub fn decode_borrowed<'de, U: Deserialize<'de>>(bytes: &'de [u8]) -> Result<U, DecodeError> {
        guard::decode(bytes, Fixed)
    }
}

#[cfg(not(loom))]
impl Bincode {
    /// Encodes a value whose type is not there to be compared with.
    pub(crate) fn encode_untyped(
        value: &impl Serialize,
        out: &mut Writer<'_>,
    ) -> Result<(), EncodeError> {
        encoder::encode_untyped(value, out, Fixed)
    }

    /// Decodes what `seed` makes of the input.
    pub(crate) fn decode_seed<'de, S: DeserializeSeed<'de>>(
        seed: S,
        input: Reader<'_>,
    ) -> Result<S::Value, DecodeError> {
        guard::decode_seed(seed, input, Fixed)
    }
}

/// A [`Writer`] as bincode wants it; bincode's errors have no room for ours.
struct Sink<'a, 'b>(&'a mut Writer<'b>);

impl BincodeWriter for Sink<'_, '_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), BincodeEncodeError> {
        self.0.write(bytes).map_err(|_| BincodeEncodeError::UnexpectedEnd)
    }
}

/// bincode's scalars, fixed-width and little-endian.
#[derive(Clone, Copy)]
struct Fixed;

impl Scalars for Fixed {
    #[inline]
    fn read<T: DeserializeOwned>(
        &mut self,
        _: &'static str,
        input: &mut impl Input,
    ) -> Result<T, DecodeError> {
        let mut decoder = OwnedSerdeDecoder::from_reader(Source(input), CONFIGURATION);
        T::deserialize(decoder.as_deserializer()).map_err(decode_error::<T>)
    }

    #[inline]
    fn write<T: Serialize>(
        &mut self,
        _: &'static str,
        value: T,
        out: &mut Writer<'_>,
    ) -> Result<(), EncodeError> {
        // A scalar fails for the writer's refusal alone.
        encode_into_writer(value, Sink(out), CONFIGURATION).map_err(|_| out.refusal().into())
    }
}

struct Source<'a, I>(&'a mut I);

impl<I: Input> bincode::de::read::Reader for Source<'_, I> {
    #[inline]
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), BincodeDecodeError> {
        let left = self.0.remaining();
        self.0.read(bytes).map_err(|_| BincodeDecodeError::UnexpectedEnd {
            additional: bytes.len().saturating_sub(left),
        })
    }
}

#[cold]
fn decode_error<T>(error: BincodeDecodeError) -> DecodeError {
    let scalar = std::any::type_name::<T>();
    DecodeError::new(match error {
        BincodeDecodeError::UnexpectedEnd { additional } => {
            let missing =
                if additional == 1 { "1 byte is" } else { &*format!("{additional} bytes are") };
            format!("the value ends too early, within a {scalar}: {missing} missing")
        }
        BincodeDecodeError::InvalidBooleanValue(byte) => {
            format!("a bool is 0 or 1, not {byte}")
        }
        BincodeDecodeError::InvalidCharEncoding(bytes) => {
            format!("{bytes:02x?} do not begin with a character in UTF-8")
        }
        other => format!("bincode: {other}"),
    })
}
