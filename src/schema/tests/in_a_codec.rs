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

/// All places where a type can stand.
macro_rules! everywhere {
    ($why_not:ident, $type:ty) => {{
        #[derive(Serialize, Deserialize)]
        struct Field {
            before: u8,
            it: $type,
            after: Vec<u8>,
        }
        #[derive(Serialize, Deserialize)]
        struct Last {
            before: u8,
            it: $type,
        }
        #[derive(Serialize, Deserialize)]
        enum Variant {
            Other(u8),
            It($type),
            Both { it: $type, after: u8 },
        }
        #[derive(Serialize, Deserialize)]
        struct Within(Option<Vec<(u8, Variant)>>);
        [
            $why_not::<$type>(),
            $why_not::<Field>(),
            $why_not::<Last>(),
            $why_not::<Variant>(),
            $why_not::<Within>(),
            $why_not::<HashMap<u8, $type>>(),
        ]
    }};
}

/// Read from a map with the names of its fields, and from nothing else.
#[derive(Serialize)]
struct ByNames {
    a: u8,
}

impl<'de> Deserialize<'de> for ByNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = ByNames;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("names")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<ByNames, A::Error> {
                let mut by_names = ByNames { a: 0 };
                while let Some(key) = map.next_key::<String>()? {
                    match &*key {
                        "a" => by_names.a = map.next_value()?,
                        _ => drop(map.next_value::<serde::de::IgnoredAny>()?),
                    }
                }
                Ok(by_names)
            }
        }
        deserializer.deserialize_struct("ByNames", &["a"], Names)
    }
}

#[test]
fn a_type_that_is_read_by_names_alone_is_refused_wherever_it_stands() {
    for why in everywhere!(why_not, ByNames) {
        assert!(why.contains("takes `ByNames` only with the names of its fields"), "{why}");
        assert!(why.contains("codec::Json"), "{why}");
    }
    assert!(Schema::of::<(u8, ByNames)>().undecodable().unwrap().starts_with("`(u8, ByNames).1`"));
    #[cfg(feature = "json")]
    assert_eq!(why_not_as_json::<ByNames>(), "");
}

/// Written as a tuple, and read as a sequence.
struct Rgb([u8; 3]);

impl Serialize for Rgb {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Rgb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        bytes.try_into().map(Rgb).map_err(|_| D::Error::custom("three bytes expected"))
    }
}

/// Written as a `char`, and read as text.
struct Letter(char);

impl Serialize for Letter {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_char(self.0)
    }
}

impl<'de> Deserialize<'de> for Letter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.chars().next().map(Letter).ok_or_else(|| D::Error::custom("a letter expected"))
    }
}

/// Written with a sign, and read without.
struct Signed(u32);

impl Serialize for Signed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(self.0 as i32)
    }
}

impl<'de> Deserialize<'de> for Signed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(Signed)
    }
}

#[test]
fn a_type_that_is_written_as_another_kind_than_it_is_read_is_refused_wherever_it_stands() {
    let refused =
        [everywhere!(why_not, Rgb), everywhere!(why_not, Letter), everywhere!(why_not, Signed)];
    let how = [
        ("is written as a tuple of 3 fields and read as seq<u8>", "a length is read where u8 is"),
        ("is written as char and read as str", "a length is read where char is written"),
        ("is written as i32 and read as u32", "u32 is read where i32 is written"),
    ];
    for (refused, (kinds, scalars)) in refused.into_iter().zip(how) {
        for why in refused {
            assert!(why.contains(kinds) && why.contains(scalars), "{why}");
        }
    }
    #[cfg(feature = "json")]
    assert_eq!(why_not_as_json::<(Rgb, Letter)>(), "");
    #[cfg(feature = "postcard")]
    {
        let schema = <crate::codec::Postcard as Codec<(u8, Signed)>>::schema();
        assert!(schema.undecodable().unwrap().contains("u32 is read where i32 is written"));
    }
}

#[test]
fn a_type_that_only_borrows_is_refused_with_the_reason() {
    /// As `&str`, but for its lifetime.
    #[derive(Serialize)]
    struct Lent(&'static str);
    impl<'de> Deserialize<'de> for Lent {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            <&str>::deserialize(deserializer).map(|_| Lent(""))
        }
    }
    #[derive(Serialize)]
    struct LentBytes(#[serde(with = "serde_bytes")] &'static [u8]);
    impl<'de> Deserialize<'de> for LentBytes {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            <&[u8]>::deserialize(deserializer).map(|_| LentBytes(b""))
        }
    }
    for why in [why_not::<Lent>(), why_not::<Option<(u8, Lent)>>(), why_not::<Vec<LentBytes>>()] {
        assert!(why.contains("only text or bytes that it borrows from the input"), "{why}");
        assert!(!why.contains("Json"), "{why}");
    }
}

#[cfg(feature = "json")]
#[test]
fn what_json_refuses_is_not_told_to_use_json() {
    #[derive(Serialize, Deserialize)]
    struct Exchanged {
        #[serde(rename(serialize = "right"))]
        left: u8,
        #[serde(rename(serialize = "left"))]
        right: u8,
    }
    let (open, why) =
        (crate::Channel::<Exchanged, crate::codec::Json>::private(), "change the type");
    let message = open.unwrap_err().to_string();
    assert!(message.contains(why) && !message.contains("Json"), "{message}");
}

#[cfg(feature = "json")]
#[test]
fn numbers_that_serde_json_shows_as_maps_are_refused_where_they_are_asked_for() {
    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Id {
        Number(u64),
        Text(String),
    }
    #[derive(Serialize, Deserialize)]
    struct Reading {
        #[serde(flatten)]
        more: HashMap<String, u8>,
    }
    fn why_not<T: Serialize + DeserializeOwned>() -> String {
        let encode = |value: &T, out: &mut crate::codec::Writer<'_>| {
            <crate::codec::Json as Codec<T>>::encode(value, out)
        };
        let decode = <crate::codec::Json as Codec<T>>::decode;
        let schema = Schema::checked::<T>(encode, decode, crate::schema::Format::NumbersAsMaps);
        schema.undecodable().unwrap_or_default().to_owned()
    }
    assert!(why_not::<(u8, Id)>().starts_with("`(u8, Id).1` asks the input what it holds"));
    for why in [why_not::<Id>(), why_not::<Reading>(), why_not::<(serde_json::Value, Id)>()] {
        assert!(why.contains("`arbitrary_precision` of serde_json"), "{why}");
    }
    assert_eq!(why_not::<(u8, f64, serde_json::Value)>(), "");
    // No crate of these tests switches it on.
    assert_eq!(why_not_as_json::<(Id, Reading)>(), "");
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
