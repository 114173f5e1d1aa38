//! What the codec of JSON promises beside the others.

use serde_json::Value;

use super::*;
use crate::codec::json::LEVELS;

fn encode<T: Serialize + DeserializeOwned>(value: &T) -> Vec<u8> {
    <Json as SerdeCodec>::encode(value)
}

fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    <Json as SerdeCodec>::decode(bytes)
}

fn unwillingness<T: Serialize + DeserializeOwned>(value: &T) -> String {
    Json::unwillingness(value)
}

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + fmt::Debug>(value: T) {
    let bytes = encode(&value);
    assert_eq!(decode(&bytes), Ok(value), "{}", String::from_utf8_lossy(&bytes));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Nothing,
    Number(i64),
    Text(String),
    Many(Vec<Untagged>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Point { x: f32 },
    Other(Limits),
    Nothing,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat<K: std::hash::Hash + Eq> {
    id: u128,
    #[serde(flatten)]
    limits: Limits,
    #[serde(flatten)]
    #[serde(bound(deserialize = "K: DeserializeOwned"))]
    more: HashMap<K, Tagged>,
}

fn limits() -> Limits {
    Limits { limit: None, level: 1, boost: Some(0) }
}

#[test]
fn types_that_ask_what_the_input_holds_come_back() {
    comes_back(limits());
    comes_back(vec![Untagged::Number(-1), Untagged::Text("é\"\u{1}".into())]);
    comes_back(Untagged::Many(vec![Untagged::Nothing, Untagged::Many(vec![])]));
    comes_back(vec![Tagged::Point { x: 0.1 }, Tagged::Nothing, Tagged::Other(limits())]);
    let more = HashMap::from([("a".to_owned(), Tagged::Nothing)]);
    comes_back(Flat { id: u128::MAX, limits: limits(), more });
    comes_back(serde_json::json!({"a": [1, -1, 1.5, null, true, {"b": "c"}], "": {}}));
    for schema in [
        <Json as Codec<Untagged>>::schema(),
        <Json as Codec<Tagged>>::schema(),
        <Json as Codec<Flat<String>>>::schema(),
        <Json as Codec<Value>>::schema(),
    ] {
        assert_eq!(schema.undecodable(), None);
    }
}

#[test]
fn numbers_and_keys_of_all_kinds_come_back() {
    comes_back((u128::MAX, i128::MIN, u64::MAX, i64::MIN, '\u{10ffff}', "\u{7f}".to_owned()));
    comes_back(BTreeMap::from([(-1_i128, 'a'), (i128::MAX, '"')]));
    comes_back(BTreeMap::from([(true, ()), (false, ())]));
    comes_back(BTreeMap::from([('"', Some(1)), ('b', None)]));
    comes_back(BTreeMap::from([(Side::Buy, 1), (Side::Sell, 2)]));
    comes_back((f64::MIN_POSITIVE, f64::MAX, 5e-324, f32::MIN_POSITIVE, f32::MAX));
    assert!(decode::<f64>(&encode(&-0.0)).unwrap().is_sign_negative());
    proptest!(|(wide in any::<f64>(), narrow in any::<f32>())| {
        if wide.is_finite() && narrow.is_finite() {
            let (a, b) = decode::<(f64, f32)>(&encode(&(wide, narrow))).unwrap();
            prop_assert_eq!((a.to_bits(), b.to_bits()), (wide.to_bits(), narrow.to_bits()));
        }
    });
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Side {
    Buy,
    Sell,
}

#[test]
fn floats_without_a_number_are_refused_and_not_null() {
    for float in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let message = unwillingness(&(1_u8, vec![Meters(float)]));
        assert!(message.starts_with("(u8, Vec<Meters>).1[]: JSON has no number"), "{message}");
        unwillingness(&(float as f32));
        unwillingness(&Some(float));
        unwillingness(&BTreeMap::from([(1, Some(float))]));
    }
    unwillingness(&Tagged::Point { x: f32::NAN });
}

#[test]
fn a_some_that_would_come_back_as_none_is_refused() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Newtype(Option<u8>);
    comes_back(vec![Some(Some(1)), None]);
    comes_back(vec![Some(Newtype(Some(1))), None]);
    for message in [
        unwillingness(&Some(None::<u8>)),
        unwillingness(&(0, Some(Some(None::<u8>)))),
        unwillingness(&vec![Some(())]),
        unwillingness(&Some(Marker)),
        unwillingness(&Some(Newtype(None))),
        unwillingness(&Some(Value::Null)),
        unwillingness(&Some(Untagged::Nothing)),
    ] {
        assert!(message.contains("would come back as None"), "{message}");
    }
}

#[test]
fn what_cannot_be_decoded_again_is_refused_when_it_is_encoded() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct NoDefault {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        list: Vec<u8>,
    }
    comes_back(NoDefault { list: vec![1] });
    let message = unwillingness(&NoDefault { list: vec![] });
    assert!(message.starts_with("NoDefault: no receiver could decode"), "{message}");
    assert!(message.contains("missing field `list`"), "{message}");
    // serde reads the keys of a flattened map as text alone.
    let more = HashMap::from([(7_u32, Tagged::Nothing)]);
    unwillingness(&Flat { id: 0, limits: limits(), more });
    // A field twice.
    let more = HashMap::from([("id".to_owned(), Tagged::Nothing)]);
    unwillingness(&Flat { id: 0, limits: limits(), more });
    unwillingness(&BTreeMap::from([((1, 2), 3)]));
    unwillingness(&BTreeMap::from([(Some(1), 3), (None, 4)]));
    // What serde buffers to look at it has no 128 bits.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Wide {
        Number(u128),
    }
    unwillingness(&Wide::Number(1));
    unwillingness(&Wide::Number(u128::MAX));
    let never = <Json as Codec<Unwritten>>::schema();
    assert!(
        never.undecodable().unwrap_or_default().contains("reads `id` and never writes it"),
        "{never:?}"
    );
}

#[test]
fn a_skipped_field_of_a_tuple_is_an_error_that_names_type_and_place() {
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Pair(
        #[serde(skip_serializing_if = "is_zero")] u8,
        #[serde(skip_serializing_if = "is_zero")] u8,
    );
    fn is_zero(value: &u8) -> bool {
        *value == 0
    }
    comes_back(Pair(5, 7));
    let message = unwillingness(&Pair(0, 5));
    assert!(message.starts_with("Pair: `Pair` is written with 1 field"), "{message}");
    // Beside values whose shape is not known, too.
    let message = unwillingness(&(Value::from(1), vec![Pair(0, 5)]));
    assert!(message.starts_with("(Value, Vec<Pair>).1[]: `Pair` is written with"), "{message}");
}

#[derive(Debug, Serialize, Deserialize)]
struct Unwritten {
    #[serde(skip_serializing)]
    #[allow(dead_code)]
    id: u8,
}

#[test]
fn nesting_is_bounded_on_both_sides() {
    fn bounded<T>(value: impl Fn(u32) -> T, deepest: u32)
    where
        T: Serialize + DeserializeOwned + PartialEq + fmt::Debug,
    {
        comes_back(value(deepest));
        let message = unwillingness(&value(deepest + 1));
        assert!(message.contains("nest more than 127 deep"), "{message}");
        unwillingness(&value(4000));
    }
    let next = |l| List { next: Some(Box::new(l)) };
    bounded(|levels| (0..levels).fold(List::default(), |l, _| next(l)), LEVELS - 1);
    bounded(|levels| (0..levels).fold(Tree::default(), |t, _| Tree(vec![t])), LEVELS - 1);
    let again = |w| Wrapped::Again(Box::new(w));
    bounded(|levels| (0..levels).fold(Wrapped::End, |w, _| again(w)), LEVELS);
    bounded(|levels| (0..levels).fold(Value::Null, |v, _| Value::from(vec![v])), LEVELS);
    let many = |u| Untagged::Many(vec![u]);
    bounded(|levels| (0..levels).fold(Untagged::Nothing, |u, _| many(u)), LEVELS);
    comes_back(vec![vec![Some(vec![1])]; 1000]);
    for bomb in ["[", "{\"Again\":", "{\"next\":", "[{\"a\":"] {
        let bomb = bomb.repeat(1 << 20);
        assert!(decode::<Value>(bomb.as_bytes()).is_err());
        assert!(decode::<Tree>(bomb.as_bytes()).is_err());
        assert!(decode::<List>(bomb.as_bytes()).is_err());
        assert!(decode::<Wrapped>(bomb.as_bytes()).is_err());
        assert!(decode::<Untagged>(bomb.as_bytes()).is_err());
    }
}
