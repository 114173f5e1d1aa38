//! When two values of a shape are one and the same, so that no map has both as keys.

use super::check::{Part, Place};
use super::error::ValueError;

impl<'v> Place<'v> {
    /// Appends what is the same for two values of this place that the receiver takes for the same, however they are
    /// written here, and no beginning of another's. Its length is of the order of the value's.
    pub(super) fn identify(self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let text = |out: &mut Vec<u8>, bytes: &[u8]| {
            out.extend(bytes.len().to_le_bytes());
            out.extend_from_slice(bytes);
        };
        match self.part()? {
            Part::Unit | Part::None => out.push(0),
            Part::Bool(value) => out.push(value.into()),
            Part::Integer(_, bits) => out.extend(bits.to_le_bytes()),
            Part::F32(number) => out.extend(number.to_le_bytes()),
            Part::F64(number) => out.extend(number.to_le_bytes()),
            Part::Char(c) => out.extend(u32::from(c).to_le_bytes()),
            Part::Str(value) => text(out, value.as_bytes()),
            Part::Bytes(bytes) => text(out, &bytes),
            Part::Some(inner) => {
                out.push(1);
                inner.identify(out)?;
            }
            Part::Seq(places) | Part::Tuple(places) => {
                out.extend(places.len().to_le_bytes());
                places.into_iter().try_for_each(|place| place.identify(out))?;
            }
            Part::Struct(fields) => {
                fields.into_iter().try_for_each(|(_, place)| place.identify(out))?;
            }
            // The receiver may not see in which order they are given.
            Part::Map(entries) => {
                let pair = |(key, value): (Place<'v>, Place<'v>)| {
                    let mut pair = Vec::new();
                    key.identify(&mut pair)?;
                    value.identify(&mut pair).map(|()| pair)
                };
                let pairs: Result<Vec<_>, ValueError> = entries.into_iter().map(pair).collect();
                let mut pairs = pairs?;
                pairs.sort_unstable();
                out.extend(pairs.len().to_le_bytes());
                pairs.iter().for_each(|pair| out.extend_from_slice(pair));
            }
            Part::Variant { number, content, .. } => {
                out.extend(number.to_le_bytes());
                content.map_or(Ok(()), |content| content.identify(out))?;
            }
            Part::Whatever(value) => text(out, format!("{value:?}").as_bytes()),
        }
        Ok(())
    }
}
