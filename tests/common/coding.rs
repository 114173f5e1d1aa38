//! Encodings of typed values, beside the codecs that know their shapes alone.

use std::any::type_name;

use sysv_channel::codec::{Codec, Writer};
use sysv_channel::dynamic::DynamicCodec;

/// The codec that knows a type's shape alone.
pub(crate) fn dynamic<C: Codec<T>, T>() -> DynamicCodec {
    DynamicCodec::new(C::NAME, C::schema().text()).unwrap_or_else(|error| {
        panic!("{}: {error}: {}", type_name::<T>(), C::schema());
    })
}

/// The encoding, or why there is none.
pub(crate) fn encoded<C: Codec<T>, T>(value: &T) -> Result<Vec<u8>, String> {
    let mut memory = vec![0; 1 << 16];
    let mut writer = Writer::new(&mut memory);
    C::encode(value, &mut writer).map_err(|error| error.to_string())?;
    assert!(writer.fits());
    let len = writer.len();
    memory.truncate(len);
    Ok(memory)
}
