//! A second serde codec: smaller than bincode with fixed-width integers, slower to decode.

use postcard::de_flavors;
use postcard::ser_flavors::Flavor as SerializeFlavor;
use serde::Serialize;
use serde::de::DeserializeOwned;
#[cfg(not(loom))]
use serde::de::DeserializeSeed;

use super::guard::{self, Input, Scalars};
use super::{Codec, DecodeError, EncodeError, Reader, Schema, Writer, encoder, noted};

/// Any serde type in [postcard's encoding][specification]: integers take as many bytes as they need.
///
/// Smaller than `Bincode` where numbers are small, and slower. The same limits hold, and the same
/// types work.
///
/// ```
/// use sysv_channel::codec::{Codec, Postcard, Reader, Writer};
///
/// let value = (7_u64, String::from("ABC"));
/// let mut memory = [0; 64];
/// let mut writer = Writer::new(&mut memory);
/// Postcard::encode(&value, &mut writer)?;
/// let length = writer.len();
/// assert_eq!(memory[..length], *b"\x07\x03ABC");
///
/// let decoded: (u64, String) = Postcard::decode(Reader::new(&memory[..length]))?;
/// assert_eq!(decoded, value);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [specification]: https://postcard.jamesmunns.com
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Postcard;

impl<T: Serialize + DeserializeOwned> Codec<T> for Postcard {
    const NAME: &'static str = "postcard 1";

    #[inline]
    fn encode(value: &T, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        encoder::encode(value, out, Variable).map(drop)
    }

    #[inline]
    fn decode(input: Reader<'_>) -> Result<T, DecodeError> {
        guard::decode(input, Variable)
    }

    fn schema() -> Schema {
        noted::schema::<_, T>(Variable)
    }
}

#[cfg(not(loom))]
impl Postcard {
    /// Encodes a value whose type is not there to be compared with.
    pub(crate) fn encode_untyped(
        value: &impl Serialize,
        out: &mut Writer<'_>,
    ) -> Result<(), EncodeError> {
        encoder::encode_untyped(value, out, Variable)
    }

    /// Decodes what `seed` makes of the input.
    pub(crate) fn decode_seed<'de, S: DeserializeSeed<'de>>(
        seed: S,
        input: Reader<'_>,
    ) -> Result<S::Value, DecodeError> {
        guard::decode_seed(seed, input, Variable)
    }
}

/// A [`Writer`] as postcard wants it; postcard's errors have no room for ours.
struct Sink<'a, 'b>(&'a mut Writer<'b>);

impl SerializeFlavor for Sink<'_, '_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.write(bytes).map_err(|_| postcard::Error::SerializeBufferFull)
    }

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    #[inline]
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// postcard's scalars, of variable width.
#[derive(Clone, Copy)]
struct Variable;

impl Scalars for Variable {
    #[inline]
    fn read<T: DeserializeOwned>(
        &mut self,
        _: &'static str,
        input: &mut impl Input,
    ) -> Result<T, DecodeError> {
        let source = Source { input, scalar: [0; 8] };
        T::deserialize(&mut postcard::Deserializer::from_flavor(source)).map_err(decode_error::<T>)
    }

    #[inline(always)]
    fn write<T: Serialize>(
        &mut self,
        _: &'static str,
        value: T,
        out: &mut Writer<'_>,
    ) -> Result<(), EncodeError> {
        // A scalar fails for the writer's refusal alone.
        let mut serializer = postcard::Serializer { output: Sink(out) };
        value.serialize(&mut serializer).map_err(|_| out.refusal().into())
    }
}

struct Source<'a, I> {
    input: &'a mut I,
    /// Where a float's or character's bytes stand while postcard looks at them.
    scalar: [u8; 8],
}

impl<'a, I: Input> de_flavors::Flavor<'a> for Source<'a, I> {
    type Remainder = ();
    type Source = ();

    #[inline]
    fn pop(&mut self) -> postcard::Result<u8> {
        let mut byte = [0];
        self.input.read(&mut byte).map_err(|_| postcard::Error::DeserializeUnexpectedEnd)?;
        Ok(byte[0])
    }

    /// Never asked for: a scalar does not borrow.
    fn try_take_n(&mut self, _length: usize) -> postcard::Result<&'a [u8]> {
        Err(postcard::Error::WontImplement)
    }

    #[inline]
    fn try_take_n_temp<'b>(&'b mut self, length: usize) -> postcard::Result<&'b [u8]>
    where
        'a: 'b,
    {
        let bytes = self.scalar.get_mut(..length).ok_or(postcard::Error::WontImplement)?;
        self.input.read(bytes).map_err(|_| postcard::Error::DeserializeUnexpectedEnd)?;
        Ok(bytes)
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cold]
fn decode_error<T>(error: postcard::Error) -> DecodeError {
    let scalar = std::any::type_name::<T>();
    DecodeError::new(match error {
        postcard::Error::DeserializeUnexpectedEnd => {
            format!("the value ends too early, within a {scalar}")
        }
        other => format!("postcard: {other}"),
    })
}
