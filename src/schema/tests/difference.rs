//! What is said of two shapes that differ.

use super::original;
use crate::schema::{Schema, difference};

#[test]
fn differences_name_the_place() {
    let cases = [
        ("u32", "u64", "type u32 here, u64 there"),
        ("Order{a:u8}", "Trade{a:u8}", "type Order{a:u8} here, Trade{a:u8} there"),
        ("A{b:B{c:seq<u8>}}", "A{b:B{c:seq<i8>}}", "A.b.c[]: u8 here, i8 there"),
        ("A{b:map<u8,str>}", "A{b:map<u8,bytes>}", "A.b.value: str here, bytes there"),
        ("A{b:(u8,u8)}", "A{b:(u8,u16)}", "A.b.1: u8 here, u16 there"),
        ("A{b:(u8,u8)}", "A{b:(u8,u8,u8)}", "A.b: (u8,u8) here, (u8,u8,u8) there"),
        ("A{b:array<u8,4>}", "A{b:array<u8,8>}", "A.b: array<u8,4> here, array<u8,8> there"),
        ("A[B|C(u8)]", "A[B(u8)|C(u8)]", "A::B: B here, B(u8) there"),
        ("A{b:^A}", "A{b:u8}", "A.b: ^A here, u8 there"),
        ("?A", "A{b:u8}", "type ?A here, A{b:u8} there"),
        ("a@1", "a@2", "type a@1 here, a@2 there"),
        ("T(size=8,align=8)", "T(size=9,align=8)", "T.0: size=8 here, size=9 there"),
        ("A{\"b:c\":u8}", "A{\"b:c\":i8}", "A.\"b:c\": u8 here, i8 there"),
        ("A{b:u8}", "A{}", "A: field `b` missing there"),
        ("A{b:u8,c:u8}", "A{c:u8,b:u8}", "A: field `b` here where `c` is there"),
        ("A{b|c:(u8)}", "A{b|c:(u16)}", "A.c: u8 here, u16 there"),
    ];
    for (mine, theirs, expected) in cases {
        assert_eq!(difference(mine, theirs), expected);
    }
}

#[test]
fn a_text_cut_short_is_compared_as_far_as_it_goes() {
    let mine = Schema::of::<original::Order>();
    for (end, _) in mine.text().char_indices() {
        let cut = format!("{}…", &mine.text()[..end]);
        let found = difference(mine.text(), &cut);
        assert!(found.contains("beyond what is stored"), "{cut}: {found}");
    }
    assert_eq!(difference(mine.text(), "Order{id:u32,side:Si…"), "Order.id: u64 here, u32 there");
    assert_eq!(
        difference(mine.text(), "Order{number:u32,side:Si…"),
        "Order: field `number` missing here"
    );
    assert_eq!(difference(mine.text(), "Order{num…"), "Order: field `num…` missing here");
}

#[test]
fn hostile_texts_are_survived() {
    let mine = Schema::of::<original::Order>();
    let mut hostile = vec![
        String::new(),
        "…".into(),
        "\"".into(),
        "\"\\".into(),
        "Order{id:u64,side:".into(),
        "Order}}}".into(),
        "Order{::::,,,||||}".into(),
        "Order{id:u64,\u{1b}[2J\u{202e}evil\n:u8}".into(),
        "é(ü|…,…)…".into(),
    ];
    for bracket in ["(", "{", "[", "<", "()", ":", "a{b:", "…", "\u{301}"] {
        hostile.push(bracket.repeat(2048 / bracket.len()));
        hostile.push(format!("Order{}…", bracket.repeat(2048 / bracket.len())));
    }
    for theirs in &hostile {
        for (a, b) in [(mine.text(), theirs.as_str()), (theirs, mine.text()), (theirs, theirs)] {
            let line = difference(a, b);
            assert!(!line.is_empty() && line.chars().count() <= 400);
            assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line}");
        }
    }
}
