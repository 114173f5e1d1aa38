//! What the tool says of itself. `SNAPSHOTS=overwrite cargo test -p sysv-channel-cli` writes the files anew.

use std::path::Path;

use snapbox::{Data, assert_data_eq};

use crate::stage::{fails, prints};

/// Each command, as it is called.
const COMMANDS: [&str; 19] = [
    "",
    "list",
    "show",
    "schema",
    "top",
    "recv",
    "send",
    "call",
    "peek",
    "tap",
    "rm",
    "sweep",
    "doctor",
    "queue",
    "queue send",
    "queue recv",
    "queue show",
    "completions",
    "man",
];

/// What every build prints: `bridge` is there with a feature only, and has its help read by its own tests.
fn printed(arguments: &[&str]) -> String {
    let help = prints(arguments);
    help.lines()
        .filter(|line| !line.starts_with("  bridge "))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn help_texts_are_as_they_were_read_last() {
    for command in COMMANDS {
        let mut arguments: Vec<_> = command.split_whitespace().collect();
        arguments.push("--help");
        let file = match command {
            "" => "sysv-channel".to_owned(),
            command => command.replace(' ', "-"),
        };
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/tool/help/{file}.txt"));
        assert_data_eq!(printed(&arguments), Data::read_from(&path, None).raw());
    }
}

#[test]
fn every_command_has_its_help_read() {
    let help = printed(&["--help"]);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = commands
        .take_while(|line| !line.is_empty())
        .map(|line| line.split_whitespace().next().unwrap());
    for command in listed {
        assert!(COMMANDS.contains(&command), "{command} is missing in COMMANDS");
    }
}

#[test]
fn wrong_arguments_are_told_with_what_is_right() {
    for (arguments, words) in [
        (&["nosuch"][..], "unrecognized subcommand 'nosuch'"),
        (&["show"], "<NAME>"),
        (&["show", ""], "a name has 1 to 255 bytes"),
        (&["show", "0x0"], "IPC_PRIVATE"),
        (&["top", "--interval", "0"], "0.1 to 3600"),
        (&["queue", "recv", "x", "--tag", "0"], "from 1"),
        (&["queue", "recv", "x", "--tag", "1", "--up-to", "2"], "cannot be used with"),
        (&["queue", "recv", "x", "--count", "0"], "0"),
        (&["queue", "send", "x", "--owner", "root"], "mine, any or the number of a user"),
    ] {
        let said = fails(arguments, 2);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    // What was given moves no terminal, and looks like nothing that the tool says itself.
    for given in ["\u{1b}[31m", "a\n\nUsage: b", "\u{9b}\u{202e}"] {
        for arguments in [&["show", "x", given][..], &[given], &["top", "--interval", given]] {
            let said = fails(arguments, 2);
            assert!(!said.chars().any(char::is_control) && !said.contains('\u{202e}'), "{said:?}");
        }
    }
    assert!(fails(&["top"], 2).contains("terminal"));
}

#[test]
fn completions_and_man_pages_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = prints(&["completions", shell]);
        assert!(script.contains("sweep") && script.contains("doctor"), "{shell}");
    }
    let page = prints(&["man"]);
    assert!(page.contains(".TH sysv\\-channel 1") || page.contains(".TH sysv-channel 1"), "{page}");
    assert!(page.contains("Exit codes"), "{page}");
    let directory = tempfile::tempdir().unwrap();
    prints(&["man", "--directory", directory.path().to_str().unwrap()]);
    for page in ["sysv-channel.1", "sysv-channel-list.1", "sysv-channel-queue-send.1"] {
        assert!(directory.path().join(page).exists(), "{page}");
    }
}
