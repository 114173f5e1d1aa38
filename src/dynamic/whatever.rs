//! What can be said of a value of which no shape is known, and which goes as JSON: its receiver counts its levels, and
//! keeps one of two values that have the same key.

use std::borrow::Cow;
use std::collections::HashSet;

use super::error::{ValueError, step};
use super::value::Value;

impl Value {
    /// Checks what is so of JSON of any type. `levels` says how deep arrays and objects may nest.
    pub(super) fn check_unshaped(&self, levels: u32) -> Result<(), ValueError> {
        let deeper = |more: u32| {
            let too_deep = "the value nests deeper than its receiver would follow";
            levels.checked_sub(more).ok_or_else(|| ValueError::from(too_deep))
        };
        match self {
            // Of null it is an object; of others it is counted too, so that no stack overflows.
            Value::Some(inner) => inner.check_unshaped(deeper(1)?),
            Value::Bytes(_) => deeper(1).map(drop),
            Value::Seq(values) => {
                let levels = deeper(1)?;
                let check = |(i, value): (usize, &Value)| {
                    value.check_unshaped(levels).map_err(|error| error.within(&format!("[{i}]")))
                };
                values.iter().enumerate().try_for_each(check)
            }
            Value::Map(entries) => {
                let names: Option<Vec<_>> =
                    entries.iter().map(|(key, _)| key.as_json_key()).collect();
                let Some(names) = names else { return check_pairs(entries, deeper(2)?) };
                let levels = deeper(1)?;
                let mut given = HashSet::with_capacity(entries.len());
                for (name, (_, value)) in names.iter().zip(entries) {
                    if !given.insert(name) {
                        return Err(ValueError::from("the key is given twice").within(&step(name)));
                    }
                    value.check_unshaped(levels).map_err(|error| error.within(&step(name)))?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// How an object of JSON has it as a key.
    fn as_json_key(&self) -> Option<Cow<'_, str>> {
        match self {
            Value::String(text) => Some(Cow::Borrowed(text)),
            Value::Bool(value) => Some(Cow::Owned(value.to_string())),
            Value::Integer(number) => Some(Cow::Owned(number.to_string())),
            Value::LargeInteger(number) => Some(Cow::Owned(number.to_string())),
            Value::F32(number) => Some(Cow::Owned(format!("{number:?}"))),
            Value::F64(number) => Some(Cow::Owned(format!("{number:?}"))),
            _ => None,
        }
    }
}

/// Entries that are an array of pairs, since JSON takes a key of them for none.
fn check_pairs(entries: &[(Value, Value)], levels: u32) -> Result<(), ValueError> {
    for (i, (key, value)) in entries.iter().enumerate() {
        for (part, value) in [key, value].into_iter().enumerate() {
            let within = |error: ValueError| error.within(&format!("[{i}][{part}]"));
            value.check_unshaped(levels).map_err(within)?;
        }
    }
    Ok(())
}
