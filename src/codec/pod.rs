//! C structs as their own bytes.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Codec, DecodeError, EncodeError, Reader, Schema, Writer};

/// The codec of `repr(C)` structs without padding: the struct's memory is its encoding.
///
/// For talking to C programs and for the fastest fixed-size values. zerocopy's derives check that
/// every byte of the struct is data and that any bytes make a value.
///
/// ```
/// use sysv_channel::codec::{Codec, Pod, Reader, Writer};
/// use zerocopy::{FromBytes, Immutable, IntoBytes};
///
/// /// `struct order { uint64_t id; uint32_t quantity; uint32_t price; }`
/// #[derive(Debug, PartialEq, FromBytes, IntoBytes, Immutable)]
/// #[repr(C)]
/// struct Order {
///     id: u64,
///     quantity: u32,
///     price: u32,
/// }
///
/// let order = Order { id: 7, quantity: 2, price: 99 };
/// let mut memory = [0; 16];
/// Pod::encode(&order, &mut Writer::new(&mut memory))?;
/// assert_eq!(memory, order.as_bytes());
/// assert_eq!(Pod::decode(Reader::new(&memory)), Ok(order));
/// # Ok::<(), sysv_channel::codec::EncodeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pod;

impl<T: FromBytes + IntoBytes + Immutable + 'static> Codec<T> for Pod {
    const NAME: &'static str = "pod";

    #[inline]
    fn encode(value: &T, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        Ok(out.write(value.as_bytes())?)
    }

    #[inline]
    fn decode(mut input: Reader<'_>) -> Result<T, DecodeError> {
        if input.remaining() != size_of::<T>() {
            return Err(wrong_size::<T>(input.remaining()));
        }
        let mut value = T::new_zeroed();
        input.read(value.as_mut_bytes())?;
        Ok(value)
    }

    fn schema() -> Schema {
        Schema::layout(std::any::type_name::<T>(), size_of::<T>(), align_of::<T>())
    }
}

#[cold]
fn wrong_size<T>(found: usize) -> DecodeError {
    DecodeError::new(format!(
        "{found} bytes were received for {}, which has {}: both programs must lay it out alike",
        std::any::type_name::<T>(),
        size_of::<T>(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, FromBytes, IntoBytes, Immutable)]
    #[repr(C)]
    struct Order {
        id: u64,
        quantity: u32,
        price: f32,
    }

    const ORDER: Order = Order { id: 1 << 40, quantity: 3, price: 0.5 };

    #[test]
    fn a_struct_is_its_own_encoding() {
        let mut memory = [0; 16];
        let mut writer = Writer::new(&mut memory);
        assert_eq!(Pod::encode(&ORDER, &mut writer), Ok(()));
        assert_eq!(writer.len(), 16);
        assert_eq!(ORDER.as_bytes(), &memory[..]);
        assert_eq!(Pod::decode(Reader::new(&memory)), Ok(ORDER));
    }

    #[test]
    fn any_other_length_is_refused() {
        let memory = [0; 32];
        for length in (0..32).filter(|length| *length != size_of::<Order>()) {
            let decoded: Result<Order, _> = Pod::decode(Reader::new(&memory[..length]));
            let message = decoded.unwrap_err().to_string();
            assert!(message.starts_with(&format!("{length} bytes were received")), "{message}");
        }
    }
}
