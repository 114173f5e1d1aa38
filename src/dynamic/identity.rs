//! When two values of a shape are one and the same, so that no map has both as keys.

use super::check::{Part, Place};
use super::error::ValueError;

impl<'v> Place<'v> {
    /// What is the same for two values that the receiver takes for the same, however they are written here.
    pub(super) fn identity(self) -> Result<String, ValueError> {
        let of_all = |places: &mut dyn Iterator<Item = Place<'v>>| {
            let parts: Result<Vec<_>, _> = places.map(Place::identity).collect();
            parts.map(|parts| format!("{parts:?}"))
        };
        Ok(match self.part()? {
            Part::Unit | Part::None => "null".to_owned(),
            Part::Bool(value) => value.to_string(),
            Part::Integer(_, bits) => bits.to_string(),
            Part::F32(number) => number.to_bits().to_string(),
            Part::F64(number) => number.to_bits().to_string(),
            Part::Char(c) => c.to_string(),
            Part::Str(text) => text.to_owned(),
            Part::Bytes(bytes) => format!("{bytes:?}"),
            Part::Some(inner) => format!("some {}", inner.identity()?),
            Part::Seq(places) | Part::Tuple(places) => of_all(&mut places.into_iter())?,
            Part::Struct(fields) => of_all(&mut fields.into_iter().map(|(_, place)| place))?,
            // In an order of their own, which the receiver may not see.
            Part::Map(entries) => {
                let pair =
                    |(key, value): (Place<'v>, Place<'v>)| Ok((key.identity()?, value.identity()?));
                let mut pairs: Vec<_> =
                    entries.into_iter().map(pair).collect::<Result<_, ValueError>>()?;
                pairs.sort_unstable();
                format!("{pairs:?}")
            }
            Part::Variant { number, content, .. } => match content {
                Some(content) => format!("{number} {}", content.identity()?),
                None => number.to_string(),
            },
            Part::Whatever(value) => format!("{value:?}"),
        })
    }
}
