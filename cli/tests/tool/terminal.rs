//! `top`, in a terminal whose screen is read back.

use std::io::{Read, Write};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sysv_channel::Channel;

use crate::screen::{SIZE, Terminal};
use crate::stage::{Stage, until};

/// <https://no-color.org>: what the user says by an option goes before the environment.
#[test]
fn colours_are_used_as_environment_and_options_say() {
    let stage = Stage::new("colours");
    let channel = Channel::<u8>::create(stage.name()).unwrap();
    let _ends = (channel.sender().unwrap(), channel.receiver().unwrap());
    for (variable, option, has_colours) in
        [("", "auto", true), ("1", "auto", false), ("1", "always", true), ("", "never", false)]
    {
        let about = format!("NO_COLOR={variable} --color {option}");
        let tool = |command: &[&str]| {
            let tool = pty_process::blocking::Command::new(env!("CARGO_BIN_EXE_sysv-channel"));
            let tool = tool.env_remove("CLICOLOR").env_remove("CLICOLOR_FORCE");
            Terminal::of(tool.env("NO_COLOR", variable).args(["--color", option]).args(command))
        };
        let top = tool(&["top", "--interval", "0.1"]);
        top.choose(stage.name());
        // The chosen line is seen to its end, whatever stands in it.
        let is_whole = || {
            let Some((row, _)) = top.chosen() else { return false };
            let screen = top.screen.lock().unwrap();
            let mut cells = (0..SIZE.1).filter_map(|column| screen.screen().cell(row, column));
            cells.all(vt100::Cell::inverse)
        };
        until(is_whole);
        assert_eq!(top.coloured() > 0, has_colours, "top, {about}");
        top.press("q");
        assert_eq!(top.end(), Some(0));

        let listed = tool(&["list"]).output();
        assert!(String::from_utf8_lossy(&listed).contains(stage.name()), "{about}");
        assert_eq!(listed.contains(&b'\x1b'), has_colours, "list, {about}");
    }
}

#[test]
fn top_shows_rates_depth_and_who_waits_and_leaves_the_terminal_as_it_was() {
    let stage = Stage::new("top");
    let channel = Channel::<[u64; 4]>::options().max_waiting(4).create(stage.name()).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let top = Terminal::start(&["top", "--interval", "0.1"]);
    let me = std::process::id().to_string();
    until(|| top.line(stage.name()).is_some_and(|line| line.contains(&me)));
    until(|| top.is_alternate() && top.text().contains("q leaves"));
    // Values that wait are counted, and fill the bar.
    tx.send(&[1; 4]).unwrap();
    tx.send(&[2; 4]).unwrap();
    until(|| top.line(stage.name()).is_some_and(|line| line.contains("█████░░░░░")));
    // A rate is seen while values go through.
    until(|| {
        tx.send(&[3; 4]).unwrap();
        rx.recv().unwrap();
        let line = top.line(stage.name()).unwrap_or_default();
        let cells: Vec<_> = line[stage.name().len().min(line.len())..].split_whitespace().collect();
        cells.len() > 4 && cells[1] != "-" && cells[1] != "0" && cells[2] != "-" && cells[2] != "0"
    });
    rx.recv().unwrap();
    rx.recv().unwrap();
    // A receiver that waits is seen to sleep.
    let closer = rx.closer();
    let waits = thread::spawn(move || rx.recv().map(drop));
    until(|| top.line(stage.name()).is_some_and(|line| line.contains(&format!("{me} sleeps"))));
    closer.close();
    assert!(waits.join().unwrap().is_err());
    top.press("q");
    assert_eq!(top.end(), Some(0));
}

#[test]
fn keys_choose_order_and_pause() {
    let (first, second) = (Stage::new("top keys a"), Stage::new("top keys b"));
    let channels = [&first, &second].map(|stage| Channel::<u64>::create(stage.name()).unwrap());
    channels[1].sender().unwrap().send(&1).unwrap();
    let top = Terminal::start(&["top", "--interval", "0.1"]);
    until(|| top.line(first.name()).is_some() && top.line(second.name()).is_some());
    let place = |stage: &Stage| top.text().lines().position(|line| line.starts_with(stage.name()));
    until(|| place(&first) < place(&second));
    top.press("ss");
    until(|| top.text().contains("order: waiting") && place(&second) < place(&first));
    top.press("p");
    until(|| top.text().contains("p goes on"));
    top.press("\u{1b}[B\u{1b}[A");
    top.press("p");
    until(|| top.text().contains("p pauses"));
    // Ctrl-C is a key here.
    top.press("\u{3}");
    assert_eq!(top.end(), Some(0));
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let top = Terminal::start(&["top"]);
    until(|| top.is_alternate() && top.text().contains("q leaves"));
    kill(Pid::from_raw(top.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(top.end(), Some(143));
}

/// Without a terminal there are no keys, and nobody to see anything.
#[test]
fn top_ends_with_its_terminal() {
    // One that is sent SIGHUP, and one that sees the end of its terminal alone.
    for trap in ["true", "trap '' HUP"] {
        let _stage = Stage::new("top hang-up");
        let (mut pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(pty_process::Size::new(SIZE.0, SIZE.1)).unwrap();
        let script = format!("{trap}; exec \"$0\" top");
        let shell = pty_process::blocking::Command::new("sh");
        let shell = shell.args(["-c", &script, env!("CARGO_BIN_EXE_sysv-channel")]);
        let mut top = shell.env("TERM", "xterm-256color").spawn(pts).unwrap();
        let mut screen = vt100::Parser::new(SIZE.0, SIZE.1, 0);
        let mut bytes = [0; 4096];
        while !screen.screen().contents().contains("q leaves") {
            let read = pty.read(&mut bytes).unwrap();
            screen.process(&bytes[..read]);
        }
        drop(pty);
        let status = top.wait().unwrap();
        assert_eq!(status.code(), Some(129), "{trap}: {status}");
    }
}

#[test]
fn a_person_sees_how_far_a_long_transfer_is() {
    let stage = Stage::new("progress");
    let channel = Channel::<u64>::options().max_waiting(2).create(stage.name()).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let lines: String = (0..10).map(|number| format!("{number}\n")).collect();
    file.write_all(lines.as_bytes()).unwrap();
    let tool = pty_process::blocking::Command::new(env!("CARGO_BIN_EXE_sysv-channel"));
    let tool = tool.args(["send", stage.name()]).stdin(file.reopen().unwrap());
    let terminal = Terminal::of(tool);
    // Two values of two bytes went, of twenty bytes.
    until(|| terminal.text().contains("4 B/20 B"));
    let rx = channel.receiver().unwrap();
    (0..10).for_each(|number| assert_eq!(rx.recv().unwrap(), number));
    assert_eq!(terminal.end(), Some(0));
}
