//! What a receiver withstands.

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::ser::Serializer;

use super::*;

pub(super) fn a_hostile_length_is_refused_at_once<C: SerdeCodec>() {
    for length in [17, 1 << 32, 1 << 60, u64::MAX] {
        let mut bytes = C::encode(&length);
        bytes.resize(16, 0);
        let message = C::refusal::<String>(&bytes);
        assert!(message.contains("ends too early"), "{message}");
        C::refusal::<Bytes>(&bytes);
        C::refusal::<serde_bytes::ByteBuf>(&bytes);
        C::refusal::<Vec<u8>>(&bytes);
        C::refusal::<Vec<u64>>(&bytes);
        C::refusal::<Box<[Record]>>(&bytes);
        C::refusal::<BTreeMap<u64, u64>>(&bytes);
        C::refusal::<HashMap<String, Vec<u8>>>(&bytes);
    }
    let message = C::refusal::<Vec<u64>>(&C::encode(&(1_u64 << 60)));
    assert_eq!(
        message,
        format!("Vec<u64>: a sequence claims {} elements, but 0 bytes are left", 1_u64 << 60)
    );
}

/// A collection that trusts its size hint, as one that reserves would.
#[derive(Debug, PartialEq)]
struct SizeHint(Option<usize>);

impl Serialize for SizeHint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq([0_u8; 0])
    }
}

impl<'de> Deserialize<'de> for SizeHint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HintVisitor;

        impl<'de> Visitor<'de> for HintVisitor {
            type Value = SizeHint;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<SizeHint, A::Error> {
                let hint = elements.size_hint();
                while elements.next_element::<()>()?.is_some() {}
                Ok(SizeHint(hint))
            }
        }

        deserializer.deserialize_seq(HintVisitor)
    }
}

pub(super) fn a_size_hint_never_exceeds_the_bytes_left<C: SerdeCodec>() {
    assert_eq!(C::decode(&C::encode(&60_000_u64)), Ok(SizeHint(Some(0))));
    let mut bytes = C::encode(&60_000_u64);
    bytes.extend([7; 4]);
    let with_rest = C::decode::<(SizeHint, [u8; 4])>(&bytes);
    assert_eq!(with_rest, Ok((SizeHint(Some(4)), [7; 4])));
}

pub(super) fn elements_without_bytes_are_bounded<C: SerdeCodec>() {
    let most = EMPTY_ELEMENTS as u64;
    assert_eq!(C::decode::<Vec<()>>(&C::encode(&most)).map(|units| units.len()), Ok(65_536));
    C::refusal::<Vec<()>>(&C::encode(&(most + 1)));
    C::refusal::<Vec<()>>(&C::encode(&u64::MAX));
    C::refusal::<HashMap<(), ()>>(&C::encode(&u64::MAX));

    // Bytes that follow make the first check pass, not the count.
    let mut bytes = C::encode(&(most + 1));
    bytes.resize(1000, 0);
    let message = C::refusal::<(Vec<Marker>, [u8; 3])>(&bytes);
    assert_eq!(
        message,
        "(Vec<Marker>, [u8; 3]): more than 65536 elements of the value take no bytes"
    );

    // Many sequences share the one budget.
    let halves = |count: usize| C::encode(&vec![most / 2; count]);
    assert_eq!(C::decode::<Vec<Vec<()>>>(&halves(2)).map(|halves| halves.len()), Ok(2));
    C::refusal::<Vec<Vec<()>>>(&halves(3));
    C::refusal::<Vec<Vec<()>>>(&halves(8000));
}

pub(super) fn nesting_is_bounded<C: SerdeCodec>() {
    let list = |levels| (0..levels).fold(List::default(), |l, _| List { next: Some(Box::new(l)) });
    let deepest = list(LEVELS);
    assert_eq!(C::decode(&C::encode(&deepest)), Ok(deepest));
    let message = C::refusal::<List>(&C::library_encodes(&list(LEVELS + 1)));
    assert!(message.contains("nest more than 128 deep"), "{message}");

    let bomb = |level: &[u8]| level.repeat(1 << 20);
    C::refusal::<List>(&bomb(&[1]));
    C::refusal::<Option<Tree>>(&bomb(&C::encode(&1_u64)));
    C::refusal::<Directory>(&bomb(&C::encode(&(1_u64, 0_u8))));
    C::refusal::<Node>(&bomb(&C::encode(&(3_u32, 1_u8))));
    C::refusal::<Wrapped>(&bomb(&C::encode(&0_u32)));
}

/// Takes the first element of any number.
#[derive(Debug, PartialEq)]
struct First(u8);

impl Serialize for First {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq([self.0])
    }
}

impl<'de> Deserialize<'de> for First {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FirstVisitor;

        impl<'de> Visitor<'de> for FirstVisitor {
            type Value = First;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<First, A::Error> {
                Ok(First(elements.next_element()?.unwrap_or_default()))
            }
        }

        deserializer.deserialize_seq(FirstVisitor)
    }
}

pub(super) fn elements_that_a_type_leaves_unread_are_refused<C: SerdeCodec>() {
    assert_eq!(C::decode(&C::encode(&(vec![7_u8], 1_u8))), Ok((First(7), 1_u8)));
    let message = C::refusal::<(First, [u8; 3])>(&C::encode(&(vec![7_u8, 8, 9], 1_u8)));
    assert!(message.contains("2 elements of a sequence were left unread"), "{message}");
}

pub(super) fn an_error_names_the_type_and_what_was_expected<C: SerdeCodec>() {
    let bytes = C::encode(&(1_u8, 300_u16));
    let message = C::refusal::<(u8, u16)>(&bytes[..bytes.len() - 1]);
    assert!(message.starts_with("(u8, u16): the value ends too early, within a u16"), "{message}");
    let message = C::refusal::<Limits>(&[2]);
    assert_eq!(message, "Limits: an option begins with 0 or 1, not 2");
}

/// A list of unit lists, each of which may be unreadable.
#[derive(Debug, Serialize)]
struct Lenient(Vec<()>);

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Lenient(Vec::deserialize(deserializer).unwrap_or_default()))
    }
}

pub(super) fn an_error_that_a_type_ignores_does_not_lift_the_bounds<C: SerdeCodec>() {
    let greedy = C::encode(&vec![EMPTY_ELEMENTS as u64 + 1; 2000]);
    let lists = C::decode::<Vec<Lenient>>(&greedy).unwrap_or_default();
    assert!(lists.iter().all(|list| list.0.is_empty()));
}

pub(super) fn malformed_scalars_are_refused<C: SerdeCodec>() {
    C::refusal::<bool>(&[2]);
    C::refusal::<char>(&[0xff; 4]);
    assert_eq!(C::refusal::<Option<()>>(&[2]), "Option<()>: an option begins with 0 or 1, not 2");
    let message = C::refusal::<String>(&C::encode(&Bytes::from(vec![b'a', 0xff])));
    assert!(message.starts_with("String: a string is not UTF-8"), "{message}");
    let message = C::refusal::<Node>(&C::encode(&4_u32));
    assert!(message.contains("variant index 0 <= i < 4"), "{message}");
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u64),
}

pub(super) fn types_that_need_a_self_describing_format_are_refused<C: SerdeCodec>() {
    let message = C::refusal::<Untagged>(&C::encode(&7_u64));
    assert!(message.contains("does not describe itself"), "{message}");
    let message = C::refusal::<IgnoredAny>(&C::encode(&7_u64));
    assert!(message.contains("does not describe itself"), "{message}");
}

#[derive(Debug, Serialize)]
struct IgnoredAny;

impl<'de> Deserialize<'de> for IgnoredAny {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| IgnoredAny)
    }
}
