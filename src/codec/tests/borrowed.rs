//! Values that borrow from the bytes they are decoded from.

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct View<'a> {
    id: u64,
    name: &'a str,
    #[serde(borrow)]
    parts: Vec<&'a [u8]>,
}

#[derive(Serialize, Deserialize)]
struct Owner(u64, String, Vec<Bytes>);

fn encoded() -> Vec<u8> {
    let parts = vec![vec![1].into(), vec![].into(), vec![2, 3].into()];
    <Bincode as SerdeCodec>::encode(&Owner(7, "ABC".into(), parts))
}

#[test]
fn strings_and_bytes_are_read_in_place() {
    let bytes = encoded();
    let view: View<'_> = Bincode::decode_borrowed(&bytes).unwrap();
    let expected = View { id: 7, name: "ABC", parts: vec![&[1][..], &[], &[2, 3]] };
    assert_eq!(view, expected);
    assert!(bytes.as_ptr_range().contains(&view.name.as_ptr()));
    assert!(bytes.as_ptr_range().contains(&view.parts[2].as_ptr()));
}

#[test]
fn what_is_not_exactly_one_value_is_refused() {
    let mut bytes = encoded();
    for length in 0..bytes.len() {
        assert!(Bincode::decode_borrowed::<View<'_>>(&bytes[..length]).is_err());
    }
    bytes.push(0);
    assert!(Bincode::decode_borrowed::<View<'_>>(&bytes).is_err());
}

#[test]
fn hostile_bytes_are_refused() {
    assert!(Bincode::decode_borrowed::<&str>(&[0xff; 16]).is_err());
    assert!(Bincode::decode_borrowed::<&str>(b"\x01\0\0\0\0\0\0\0\xff").is_err());
    assert!(Bincode::decode_borrowed::<Vec<&str>>(&[0xff; 16]).is_err());
    assert!(Bincode::decode_borrowed::<Vec<()>>(&[0xff; 8]).is_err());
    assert!(Bincode::decode_borrowed::<List>(&[1; 1 << 20]).is_err());
}
