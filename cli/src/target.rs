//! How a channel or a queue is named on the command line.

use sysv_channel::{Key, Name};

/// Reads a NAME.
///
/// A name of eight hex digits behind `0x` is a key, as `list` shows it for what has no name. Where a
/// channel was given such a name, or one that begins with `ftok:` or `name:`, its user puts `name:` in front of it.
pub(crate) fn name(text: &str) -> Result<Name, String> {
    if let Some(name) = text.strip_prefix("name:") {
        return checked(name);
    }
    if let Some(file) = text.strip_prefix("ftok:") {
        return ftok(file);
    }
    let digits = text.strip_prefix("0x").filter(|digits| {
        (1..=8).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    });
    match digits {
        Some(digits) => {
            let raw = u32::from_str_radix(digits, 16).map_err(|error| error.to_string())?;
            let key = Key::new(raw as i32);
            key.map(Name::Key)
                .ok_or_else(|| "key 0 is IPC_PRIVATE, which nothing is found by".to_owned())
        }
        None => checked(text),
    }
}

fn checked(name: &str) -> Result<Name, String> {
    match name.len() {
        1..=255 => Ok(Name::from(name)),
        length => Err(format!("a name has 1 to 255 bytes, this one has {length}")),
    }
}

/// `PATH:PROJECT`, where the project is a number from 1 to 255 or one character, as C programs write it.
fn ftok(text: &str) -> Result<Name, String> {
    let wanted = "write ftok:PATH:PROJECT, with a project from 1 to 255 or one letter";
    let (path, project) = text.rsplit_once(':').ok_or(wanted)?;
    let number = match project.as_bytes() {
        &[letter] if !letter.is_ascii_digit() => letter,
        _ => project.parse().map_err(|_| wanted)?,
    };
    Key::from_path(path, number).map(Name::Key).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keys_and_files_are_told_apart() {
        let key = |raw| Name::Key(Key::new(raw).unwrap());
        assert_eq!(name("orders"), Ok(Name::from("orders")));
        assert_eq!(name("0x50acd6de"), Ok(key(0x50acd6de)));
        assert_eq!(name("0xffffffff"), Ok(key(-1)));
        assert_eq!(name("0xorders"), Ok(Name::from("0xorders")));
        assert_eq!(name("0x123456789"), Ok(Name::from("0x123456789")));
        assert_eq!(name("name:0x1"), Ok(Name::from("0x1")));
        assert_eq!(name("name:name:x"), Ok(Name::from("name:x")));
        let of_file = |project| Name::Key(Key::from_path("/etc/passwd", project).unwrap());
        assert_eq!(name("ftok:/etc/passwd:65"), Ok(of_file(65)));
        assert_eq!(name("ftok:/etc/passwd:A"), Ok(of_file(65)));
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for bad in
            ["", "0x0", "name:", "ftok:/etc/passwd", "ftok:/etc/passwd:300", "ftok:/no/file:1"]
        {
            assert!(name(bad).is_err(), "{bad}");
        }
        assert!(name(&"x".repeat(256)).is_err());
    }
}
