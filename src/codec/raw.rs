//! Bytes as themselves.

use super::{Bytes, Codec, DecodeError, EncodeError, Reader, Schema, Writer};

/// The codec of bytes: nothing is added, and a value is copied once each way.
///
/// ```
/// use sysv_channel::codec::{Codec, Raw, Reader};
///
/// let bytes: Vec<u8> = Raw::decode(Reader::new(b"as they are"))?;
/// assert_eq!(bytes, b"as they are");
/// # Ok::<(), sysv_channel::codec::DecodeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw;

impl Codec<Vec<u8>> for Raw {
    const NAME: &'static str = "raw";

    #[inline]
    fn encode(value: &Vec<u8>, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        Ok(out.write(value)?)
    }

    #[inline]
    fn decode(mut input: Reader<'_>) -> Result<Vec<u8>, DecodeError> {
        Ok(input.read_vec(input.remaining())?)
    }

    fn schema() -> Schema {
        Schema::bytes("bytes")
    }
}

impl Codec<Bytes> for Raw {
    const NAME: &'static str = <Raw as Codec<Vec<u8>>>::NAME;

    #[inline]
    fn encode(value: &Bytes, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        Ok(out.write(value)?)
    }

    #[inline]
    fn decode(input: Reader<'_>) -> Result<Bytes, DecodeError> {
        <Raw as Codec<Vec<u8>>>::decode(input).map(Bytes::from)
    }

    fn schema() -> Schema {
        <Raw as Codec<Vec<u8>>>::schema()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: PartialEq + std::fmt::Debug>(value: T)
    where
        Raw: Codec<T>,
    {
        let mut memory = [0; 8];
        let mut writer = Writer::new(&mut memory);
        assert_eq!(Raw::encode(&value, &mut writer), Ok(()));
        let length = writer.len();
        assert_eq!(Raw::decode(Reader::new(&memory[..length])), Ok(value));
    }

    #[test]
    fn bytes_are_their_own_encoding() {
        for bytes in [&b""[..], b"\0", b"12345678"] {
            round_trip(bytes.to_vec());
            round_trip(Bytes::from(bytes));
        }
    }

    #[test]
    fn both_byte_types_are_one_schema() {
        assert_eq!(<Raw as Codec<Vec<u8>>>::schema(), <Raw as Codec<Bytes>>::schema());
    }
}
