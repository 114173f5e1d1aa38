//! Types that a codec could not carry.

use std::collections::{BTreeSet, HashSet};

use super::*;
use crate::codec::{Bincode, Codec};

fn why_not<T: Serialize + DeserializeOwned>() -> String {
    let schema = <Bincode as Codec<T>>::schema();
    assert_eq!(schema.fingerprint(), Schema::of::<T>().fingerprint());
    schema.undecodable().unwrap_or_default().to_owned()
}

#[test]
fn a_type_that_does_not_read_what_it_writes_is_undecodable() {
    #[derive(Serialize, Deserialize)]
    #[allow(dead_code)]
    struct Unwritten {
        #[serde(skip_serializing)]
        id: u8,
        name: String,
    }
    #[derive(Serialize, Deserialize)]
    struct Unread {
        #[serde(skip_deserializing)]
        id: u8,
        name: String,
    }
    #[derive(Serialize, Deserialize)]
    struct Deep(Option<Vec<(u8, Unread)>>);
    // serde numbers a skipped variant where it writes, and does not where it reads.
    #[derive(Serialize, Deserialize)]
    #[allow(dead_code)]
    enum Shifted {
        #[serde(skip)]
        Internal,
        Buy,
        Sell,
    }
    #[derive(Serialize, Deserialize)]
    struct OneWay {
        #[serde(serialize_with = "as_text")]
        price: u64,
    }
    fn as_text<S: serde::Serializer>(price: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(price)
    }
    #[derive(Clone, Serialize, Deserialize)]
    #[serde(into = "u16")]
    struct OtherForm(u64);
    impl From<OtherForm> for u16 {
        fn from(form: OtherForm) -> u16 {
            form.0 as u16
        }
    }
    let refused = [
        why_not::<Unwritten>(),
        why_not::<Unread>(),
        why_not::<Deep>(),
        why_not::<Shifted>(),
        why_not::<OneWay>(),
        why_not::<OtherForm>(),
    ];
    for why in refused {
        assert!(why.contains("does not read what its Serialize writes"), "{why}");
    }
}

#[cfg(feature = "json")]
fn why_not_as_json<T: Serialize + DeserializeOwned>() -> String {
    <crate::codec::Json as Codec<T>>::schema().undecodable().unwrap_or_default().to_owned()
}

#[test]
fn what_is_written_otherwise_than_it_is_read_is_named_with_its_place() {
    #[derive(Serialize, Deserialize)]
    #[allow(dead_code)]
    struct Unwritten {
        name: String,
        #[serde(skip_serializing)]
        id: u8,
    }
    #[derive(Serialize, Deserialize)]
    struct Unread {
        #[serde(skip_deserializing)]
        id: u8,
        name: String,
    }
    #[derive(Serialize, Deserialize)]
    #[allow(dead_code)]
    struct Short(u8, #[serde(skip_serializing)] u8);
    #[derive(Serialize, Deserialize)]
    #[allow(dead_code)]
    struct Deep<T> {
        first: u8,
        rest: Option<Vec<(u8, T)>>,
    }
    let refused = [
        (why_not::<Unwritten>(), "`Unwritten`: `Unwritten` reads `id` and never writes it"),
        (why_not::<Deep<Unwritten>>(), "`Deep<Unwritten>.rest[].1`: `Unwritten` reads `id` and"),
        (why_not::<Deep<Unread>>(), ".rest[].1`: `Unread` writes `id`, which it does not read"),
        (why_not::<Deep<Short>>(), ".rest[].1`: `Short` is written with 1 field and read with 2"),
    ];
    for (why, expected) in refused {
        assert!(why.contains(expected), "{why}");
    }
}

/// Written by one function, and read by derive.
macro_rules! written_by {
    ($($name:ident { $($item:tt)* } $self:ident, $serializer:ident => $written:expr;)*) => {$(
        #[derive(Deserialize)]
        #[allow(dead_code)]
        $($item)*

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&$self, $serializer: S) -> Result<S::Ok, S::Error> {
                $written
            }
        }
    )*};
}

#[test]
fn a_mismatch_that_the_first_sample_does_not_show_is_found() {
    use serde::ser::SerializeStruct;

    written_by! {
        Nothing { struct Nothing { note: Option<u8> } }
            self, serializer => match self.note {
                Some(_) => {
                    let mut fields = serializer.serialize_struct("Nothing", 1)?;
                    fields.serialize_field("note", &self.note)?;
                    fields.end()
                }
                None => serializer.serialize_unit(),
            };
        Letter { struct Letter { symbol: String } }
            self, serializer => match self.symbol.chars().next() {
                Some(letter) => {
                    let mut fields = serializer.serialize_struct("Letter", 1)?;
                    fields.serialize_field("symbol", &letter)?;
                    fields.end()
                }
                None => Err(serde::ser::Error::custom("no letter")),
            };
        Entries { struct Entries { values: std::collections::BTreeMap<String, u8> } }
            self, serializer => {
                let mut fields = serializer.serialize_struct("Entries", 1)?;
                if self.values.is_empty() {
                    fields.serialize_field("values", &self.values)?;
                } else {
                    let (text, number) = self.values.iter().next().unwrap();
                    fields.serialize_field("values", &(text, number))?;
                }
                fields.end()
            };
    }
    let refused = [
        (why_not::<Nothing>(), "`Nothing` is written as () and read as Nothing{note:"),
        (why_not::<(u8, Letter)>(), "`(u8, Letter).1.symbol` is written as char and read as str"),
        (
            why_not::<Entries>(),
            "`Entries.values` is written as a tuple of 2 fields and read as map<",
        ),
    ];
    for (why, expected) in refused {
        assert!(why.contains(expected), "{why}");
    }
}

#[cfg(feature = "json")]
#[test]
fn names_that_json_writes_and_does_not_read_are_found() {
    #[derive(Serialize, Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    struct Renamed {
        id: u8,
        #[serde(rename(serialize = "quantity", deserialize = "amount"))]
        amount: u8,
    }
    #[derive(Serialize, Deserialize)]
    struct Exchanged {
        #[serde(rename(serialize = "right"))]
        left: u8,
        #[serde(rename(serialize = "left"))]
        right: u8,
    }
    #[derive(Serialize, Deserialize)]
    #[allow(dead_code)]
    struct Unwritten {
        #[serde(skip_serializing, default)]
        id: u8,
        more: serde_json::Value,
    }
    #[derive(Serialize, Deserialize)]
    struct Outer {
        extra: serde_json::Value,
        inner: Vec<Renamed>,
    }
    let refused = [
        (why_not_as_json::<Renamed>(), "`Renamed` writes `quantity` where it reads `amount`"),
        (why_not_as_json::<Exchanged>(), "parts of a value come back in other places"),
        (why_not_as_json::<Unwritten>(), "`Unwritten` reads `id` and never writes it"),
        (why_not_as_json::<Outer>(), "`Outer.inner[]`: `Renamed` writes `quantity`"),
    ];
    for (why, expected) in refused {
        assert!(why.contains(expected), "{why}");
    }
    // Names do not travel, or are only skipped where nothing is lost.
    assert_eq!(why_not::<Renamed>(), "");
    #[derive(Serialize, Deserialize)]
    struct Skipping {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        perhaps: Option<u8>,
        #[serde(alias = "old")]
        new: u8,
        #[serde(flatten)]
        rest: HashMap<String, serde_json::Value>,
    }
    assert_eq!(why_not_as_json::<Skipping>(), "");
}

#[test]
fn types_that_read_what_they_write_are_taken() {
    #[derive(PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
    #[allow(dead_code)]
    enum Skipping {
        Buy,
        Sell(u8),
        #[serde(skip)]
        Internal,
    }
    #[derive(Serialize, Deserialize)]
    #[allow(dead_code)]
    struct Everything {
        #[serde(skip)]
        cached: u64,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        #[serde(default, rename(serialize = "a", deserialize = "b"))]
        renamed: u8,
        #[serde(alias = "old")]
        aliased: Option<Skipping>,
        seen: (HashSet<Skipping>, BTreeSet<String>, HashMap<u8, Vec<Skipping>>),
        #[serde(skip_serializing_if = "Option::is_none")]
        perhaps: Option<NonZeroU32>,
        address: SocketAddr,
        times: (SystemTime, Duration),
        paths: (PathBuf, std::ffi::CString, std::ffi::OsString),
        ranges: (std::ops::Range<u8>, std::ops::RangeInclusive<i64>, std::ops::Bound<char>),
        wide: (u128, i128, [u64; 9]),
        lots: HashMap<String, Box<Everything>>,
    }
    assert_eq!(why_not::<Everything>(), "");
    assert_eq!(why_not::<Skipping>(), "");
    assert_eq!(why_not::<Result<Box<str>, std::cell::RefCell<u8>>>(), "");
}

#[test]
fn a_sample_that_cannot_be_encoded_says_nothing() {
    #[derive(Deserialize)]
    struct Unwilling(#[allow(dead_code)] u8);
    impl Serialize for Unwilling {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    #[derive(Deserialize)]
    struct Explosive(#[allow(dead_code)] u8);
    impl Serialize for Explosive {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            std::panic::resume_unwind(Box::new("a bomb"))
        }
    }
    assert_eq!(why_not::<Unwilling>(), "");
    assert_eq!(why_not::<Explosive>(), "");
    assert_eq!(<Bincode as Codec<Explosive>>::schema().text(), "Explosive(u8)");
}
