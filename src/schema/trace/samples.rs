//! The values handed to a type while it is traced, in the order in which they are tried.

/// Zero first: that a type forbids it is a part of its shape.
pub(super) const INTEGERS: &[i64] =
    &[0, 1, 2, 7, 16, 100, 1000, 2000, 60_000, 1_000_000_000, -1, -100];
pub(super) const FLOATS: &[f64] = &[0.0, 1.0, 0.5, 100.0, -1.0];
pub(super) const BOOLEANS: &[bool] = &[false, true];
pub(super) const CHARACTERS: &[char] = &['a', 'A', '0', '-'];
pub(super) const BYTES: [u8; 64] = [0; 64];
pub(super) const BYTES_LENGTHS: &[usize] = &[0, 16, 1, 4, 8, 12, 20, 32, 64, 2, 3, 6];
pub(super) const LENGTHS: &[usize] = &[1, 1, 2, 3, 4, 5, 6, 8, 12, 16, 20, 32];
/// What no enum calls a variant.
pub(super) const NO_VARIANT: &str = "\0";
/// One of each format that types commonly parse from text.
pub(super) const STRINGS: &[&str] = &[
    "",
    "a",
    "0",
    "1970-01-01T00:00:00Z",
    "1970-01-01",
    "00:00:00",
    "1970-01-01T00:00:00",
    "1970-01-01 00:00:00",
    "+00:00",
    "UTC",
    "127.0.0.1",
    "::1",
    "127.0.0.1:80",
    "127.0.0.0/8",
    "http://localhost/",
    "00000000-0000-0000-0000-000000000000",
    "1.0.0",
    "a@example.org",
    "text/plain",
    "USD",
];

/// The lists are gone through again and again.
pub(super) fn sample<T: Copy>(list: &[T], number: usize) -> T {
    list[number % list.len()]
}
