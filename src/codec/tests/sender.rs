//! What a sender is refused, so that no receiver is.

use serde::de::Deserializer;
use serde::ser::{Error as _, SerializeMap, SerializeSeq, Serializer};

use super::*;
use crate::codec::WriteError;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Change {
    Nothing,
    Set {
        level: u8,
        #[serde(skip_serializing_if = "String::is_empty")]
        note: String,
    },
}

pub(super) fn a_skipped_field_is_an_error_that_names_field_and_type<C: SerdeCodec>() {
    let whole = Limits { limit: Some(1), level: 2, boost: Some(3) };
    assert_eq!(C::decode(&C::encode(&whole)), Ok(whole));
    let message = C::unwillingness(&Limits { limit: None, level: 0, boost: Some(0) });
    assert!(message.starts_with("Limits.limit: this field of `Limits` is skipped"), "{message}");
    let nested = (7_u8, vec![Change::Nothing, Change::Set { level: 1, note: String::new() }]);
    let message = C::unwillingness(&nested);
    assert!(message.starts_with("(u8, Vec<Change>).1[]::Set.note: this field of"), "{message}");
    assert!(message.contains("`Change::Set` is skipped"), "{message}");
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Level(u8, #[serde(skip_serializing_if = "is_zero")] u8);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Book {
    level: Level,
    ids: Vec<u8>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Move {
    Stay,
    To(u8, #[serde(default, skip_serializing_if = "is_zero")] u8, u8),
}

mod elsewhere {
    use super::*;

    /// Of the same name, and another length.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(super) struct Level(pub(super) u8, pub(super) u8, pub(super) u8);
}

fn is_zero(value: &u8) -> bool {
    *value == 0
}

pub(super) fn a_skipped_field_of_a_tuple_is_an_error_that_names_type_and_place<C: SerdeCodec>() {
    let book = |second| Book { level: Level(1, second), ids: vec![1, 77] };
    assert_eq!(C::decode(&C::encode(&book(2))), Ok(book(2)));
    let message = C::unwillingness(&book(0));
    let told = message.starts_with("Book.level: `Level` is written with 1 field and read with 2");
    assert!(told && message.contains("skip_serializing_if"), "{message}");
    assert_eq!(C::decode(&C::encode(&book(2))), Ok(book(2)));

    let moves = |last| (7_u8, vec![Move::Stay, Move::To(1, last, 3)]);
    assert_eq!(C::decode(&C::encode(&moves(2))), Ok(moves(2)));
    let message = C::unwillingness(&moves(0));
    let told = "(u8, Vec<Move>).1[]::To: `To` is written with 2 fields and read with 3";
    assert!(message.starts_with(told), "{message}");

    let both = |second| (elsewhere::Level(1, 0, 2), Some(Level(1, second)));
    assert_eq!(C::decode(&C::encode(&both(2))), Ok(both(2)));
    let message = C::unwillingness(&both(0));
    assert!(message.starts_with("(Level, Option<Level>).1: `Level` is"), "{message}");

    // Renamed for one side alone, it is found all the same.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename(serialize = "Here", deserialize = "There"))]
    struct Renamed(u8, #[serde(skip_serializing_if = "is_zero")] u8);
    assert_eq!(C::decode(&C::encode(&Renamed(1, 2))), Ok(Renamed(1, 2)));
    C::unwillingness(&Renamed(1, 0));
}

/// As serde_with's `unwrap_or_skip`: nothing for `None`.
mod unwrap_or_skip {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        value: &Option<u8>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => value.serialize(serializer),
            None => serializer.serialize_unit(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u8>, D::Error> {
        u8::deserialize(deserializer).map(Some)
    }
}

pub(super) fn a_field_without_bytes_that_is_read_is_an_error_that_names_its_place<C: SerdeCodec>() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Perhaps {
        #[serde(with = "unwrap_or_skip")]
        a: Option<u8>,
        s: Vec<u8>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pair(u8, #[serde(with = "unwrap_or_skip")] Option<u8>);
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Change {
        Nothing,
        Set(#[serde(with = "unwrap_or_skip")] Option<u8>),
        Both {
            first: u8,
            #[serde(with = "unwrap_or_skip")]
            second: Option<u8>,
        },
    }
    let whole = (Perhaps { a: Some(7), s: vec![1, 9] }, Pair(1, Some(2)), Change::Set(Some(3)));
    assert_eq!(C::decode(&C::encode(&whole)), Ok(whole));
    let skipped = || Perhaps { a: None, s: vec![1, 9] };
    let refused = [
        (C::unwillingness(&skipped()), "Perhaps.a: it is written as () and read as u8"),
        (C::unwillingness(&Some(skipped())), "Option<Perhaps>.a: it is"),
        (C::unwillingness(&vec![skipped()]), "Vec<Perhaps>[].a: it is"),
        (C::unwillingness(&(1_u8, skipped())), "(u8, Perhaps).1.a: it is"),
        (C::unwillingness(&((), Pair(1, None))), "((), Pair).1.1: it is"),
        (C::unwillingness(&vec![Change::Nothing, Change::Set(None)]), "Vec<Change>[]::Set: it is"),
        (
            C::unwillingness(&Change::Both { first: 1, second: None }),
            "Change::Both.second: it is written as () and read as u8",
        ),
    ];
    for (message, expected) in refused {
        assert!(message.starts_with(expected), "{message}");
    }

    // What is read without bytes too is written.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Empty {
        #[serde(skip)]
        cached: u64,
    }
    let empty = (Empty { cached: 0 }, Box::new(()), Marker, [(); 2], Ok::<(), u8>(()));
    assert_eq!(C::decode(&C::encode(&empty)), Ok(empty));
}

/// Announces other numbers of elements than it writes.
#[derive(Debug, Clone, Copy)]
enum Liar {
    Seq(usize, usize),
    Tuple(usize, usize),
    TupleStruct(usize, usize),
    TupleVariant(usize, usize),
    Map(usize, usize),
    /// Keys and values, in the order of the letters.
    Pairs(&'static str),
    Struct(usize, usize),
    StructVariant(usize, usize),
}

impl Serialize for Liar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{
            SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
            SerializeTupleVariant,
        };
        macro_rules! written {
            ($start:expr, $count:expr, $write:ident, $($element:expr),*) => {{
                let mut compound = $start?;
                for _ in 0..$count {
                    compound.$write($($element),*)?;
                }
                compound.end()
            }};
        }
        match *self {
            Liar::Seq(announced, count) => {
                written!(serializer.serialize_seq(Some(announced)), count, serialize_element, &1_u8)
            }
            Liar::Tuple(announced, count) => {
                written!(serializer.serialize_tuple(announced), count, serialize_element, &1_u8)
            }
            Liar::TupleStruct(announced, count) => {
                let start = serializer.serialize_tuple_struct("Pair", announced);
                written!(start, count, serialize_field, &1_u8)
            }
            Liar::TupleVariant(announced, count) => {
                let start = serializer.serialize_tuple_variant("Shape", 0, "Box", announced);
                written!(start, count, serialize_field, &1_u8)
            }
            Liar::Map(announced, count) => {
                written!(serializer.serialize_map(Some(announced)), count, serialize_entry, "k", &1)
            }
            Liar::Pairs(order) => {
                let mut map = serializer.serialize_map(Some(order.len() / 2))?;
                for letter in order.chars() {
                    match letter {
                        'k' => map.serialize_key("k")?,
                        _ => map.serialize_value("v")?,
                    }
                }
                map.end()
            }
            Liar::Struct(announced, count) => {
                let start = serializer.serialize_struct("Order", announced);
                written!(start, count, serialize_field, "id", &1_u8)
            }
            Liar::StructVariant(announced, count) => {
                let start = serializer.serialize_struct_variant("Shape", 0, "Box", announced);
                written!(start, count, serialize_field, "id", &1_u8)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Liar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            serde::de::IgnoredAny::deserialize(deserializer)?;
        }
        Ok(Liar::Seq(0, 0))
    }
}

pub(super) fn another_number_of_elements_than_announced_is_an_error<C: SerdeCodec>() {
    let kinds = [
        (Liar::Seq as fn(usize, usize) -> Liar, "a sequence"),
        (Liar::Tuple, "a tuple"),
        (Liar::TupleStruct, "`Pair`"),
        (Liar::TupleVariant, "`Shape::Box`"),
        (Liar::Map, "a map"),
        (Liar::Struct, "`Order`"),
        (Liar::StructVariant, "`Shape::Box`"),
    ];
    for (kind, what) in kinds {
        for (announced, written) in [(2, 1), (2, 3), (1, 0), (0, 1)] {
            let message = C::unwillingness(&vec![kind(announced, written)]);
            let told = message.starts_with("Vec<Liar>[]: ")
                && message.contains(what)
                && message.contains(&format!("announced {announced}"))
                && message.contains(&format!("wrote {written}"));
            assert!(told, "{message}");
        }
        let mut memory = [0; 64];
        let mut writer = Writer::new(&mut memory);
        assert_eq!(C::encode_into(&kind(2, 2), &mut writer), Ok(()));
    }
    for order in ["kkvv", "vk", "kv-k", "vv"] {
        let message = C::unwillingness(&Liar::Pairs(order));
        assert!(message.contains("a map") && message.contains("Liar"), "{order}: {message}");
    }
    let message = C::unwillingness(&Liar::Struct(2, 1));
    assert!(message.contains("last `id`"), "{message}");
}

pub(super) fn what_the_receiver_refuses_for_its_depth_the_sender_refuses<C: SerdeCodec>() {
    fn bounded<C: SerdeCodec, T>(value: impl Fn(u32) -> T, deepest: u32)
    where
        T: Serialize + DeserializeOwned + PartialEq + fmt::Debug,
    {
        assert_eq!(C::decode(&C::encode(&value(deepest))), Ok(value(deepest)));
        let message = C::unwillingness(&value(deepest + 1));
        assert!(message.contains("nest more than 128 deep"), "{message}");
        assert!(message.len() < 500, "{message}");
        // Far beyond, the stack stays bounded too.
        C::unwillingness(&value(1000));
    }
    let next = |l| List { next: Some(Box::new(l)) };
    bounded::<C, _>(|levels| (0..levels).fold(List::default(), |l, _| next(l)), LEVELS);
    bounded::<C, _>(|levels| (0..levels).fold(Tree::default(), |t, _| Tree(vec![t])), LEVELS - 1);
    let entry = |d| Directory(BTreeMap::from([(1, d)]));
    bounded::<C, _>(|levels| (0..levels).fold(Directory::default(), |d, _| entry(d)), LEVELS - 1);
    let again = |w| Wrapped::Again(Box::new(w));
    bounded::<C, _>(|levels| (0..levels).fold(Wrapped::End, |w, _| again(w)), LEVELS - 1);
    // Two that stand side by side are no deeper than one.
    let twins = (Some(Some(1)), vec![Some(1); 1000]);
    assert_eq!(C::decode(&C::encode(&twins)), Ok(twins));
}

pub(super) fn what_the_receiver_refuses_for_its_emptiness_the_sender_refuses<C: SerdeCodec>() {
    let most = vec![(); EMPTY_ELEMENTS];
    assert_eq!(C::decode(&C::encode(&most)), Ok(most));
    let message = C::unwillingness(&vec![Marker; EMPTY_ELEMENTS + 1]);
    assert!(message.contains("more than 65536 elements of the value take no bytes"), "{message}");
    let halves = |count| vec![vec![(); EMPTY_ELEMENTS / 2]; count];
    assert_eq!(C::decode(&C::encode(&halves(2))), Ok(halves(2)));
    C::unwillingness(&halves(3));
    // Elements that take bytes are as many as there is room for.
    let many = vec![1_u8; EMPTY_ELEMENTS / 2];
    assert_eq!(C::decode(&C::encode(&many)), Ok(many));
}

/// Goes on after a field that could not be written.
#[derive(Debug, Deserialize)]
struct Careless(#[allow(dead_code)] u8, #[allow(dead_code)] u8);

impl Serialize for Careless {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTupleStruct;
        let mut fields = serializer.serialize_tuple_struct("Careless", 2)?;
        let _ = fields.serialize_field(&Liar::Seq(2, 1));
        fields.serialize_field(&1_u8)?;
        fields.end()
    }
}

pub(super) fn an_error_that_a_serialize_ignores_is_an_error_all_the_same<C: SerdeCodec>() {
    let message = C::unwillingness(&Careless(1, 1));
    assert!(message.contains("Careless") && message.contains("announced 2"), "{message}");
}

#[derive(Debug, Deserialize)]
struct Unwilling;

impl Serialize for Unwilling {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("not today"))
    }
}

pub(super) fn a_serialize_that_fails_is_an_error<C: SerdeCodec>() {
    let mut memory = [0; 16];
    let error = C::encode_into(&(1_u8, Unwilling), &mut Writer::new(&mut memory)).unwrap_err();
    let message = error.to_string();
    assert!(message == "not today" || message.contains("Serialize failed"), "{message}");
    assert_eq!(error.write_error(), None);
}

#[derive(Debug, Deserialize)]
enum Endless {
    Sequence,
    Map,
}

impl Serialize for Endless {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Endless::Sequence => serializer.serialize_seq(None)?.end(),
            Endless::Map => serializer.serialize_map(None)?.end(),
        }
    }
}

pub(super) fn a_sequence_of_unknown_length_is_an_error<C: SerdeCodec>() {
    for endless in [Endless::Sequence, Endless::Map] {
        let mut memory = [0; 16];
        let error = C::encode_into(&endless, &mut Writer::new(&mut memory)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Endless: a sequence must say its length: collect it into a Vec first"
        );
    }
}

pub(super) fn a_writer_that_is_full_counts_and_one_that_refuses_says_why<C: SerdeCodec>() {
    let value = (1_u64, "a string".to_string());
    let mut memory = [0; 6];
    let mut writer = Writer::new(&mut memory);
    assert_eq!(C::encode_into(&value, &mut writer), Ok(()));
    assert_eq!((writer.len(), writer.fits()), (C::encode(&value).len(), false));

    let mut writer = Writer::new(&mut memory);
    writer.limit(5);
    let error = C::encode_into(&value, &mut writer).unwrap_err();
    assert_eq!(error.write_error(), Some(WriteError::TooLong { limit: 5 }));
    assert_eq!(error.to_string(), "the encoded value is longer than 5 bytes");
}
