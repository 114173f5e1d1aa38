//! What finds each fault: a program, or nothing and why.

use crate::sys::Fault;

const PINS: &str = include_str!("pinned.txt");

/// The faults and programs of such lines, without those that no program finds.
pub(super) fn read(text: &str) -> impl Iterator<Item = (Fault, &str)> {
    lines(text).filter(|(_, program)| !program.starts_with("- "))
}

pub(super) fn pinned() -> impl Iterator<Item = (Fault, &'static str)> {
    read(PINS)
}

fn lines(text: &str) -> impl Iterator<Item = (Fault, &str)> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let (name, program) = line.split_once(": ").expect("a fault's name before the program");
        let fault = Fault::ALL.iter().find(|fault| format!("{fault:?}") == name);
        (*fault.unwrap_or_else(|| panic!("no fault {name}")), program)
    })
}

#[test]
fn models_say_of_every_fault_which_program_finds_it_or_why_none_does() {
    for &fault in Fault::ALL {
        let pins = lines(PINS).filter(|pin| pin.0 == fault).count();
        assert_eq!(pins, 1, "pinned.txt says so often what finds {fault:?}");
    }
}
