//! A terminal whose screen is read back.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::stage::until;

/// Lines and columns.
pub(crate) const SIZE: (u16, u16) = (40, 120);

/// Columns of a channel's name.
const NAME: u16 = 29;

/// The tool in a terminal of its own.
pub(crate) struct Terminal {
    keys: Arc<pty_process::blocking::Pty>,
    pub(crate) screen: Arc<Mutex<vt100::Parser>>,
    child: std::process::Child,
    /// Reads what it shows, all of which it returns.
    reader: Option<JoinHandle<Vec<u8>>>,
}

impl Terminal {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Terminal::of(
            pty_process::blocking::Command::new(env!("CARGO_BIN_EXE_sysv-channel")).args(arguments),
        )
    }

    pub(crate) fn of(command: pty_process::blocking::Command) -> Self {
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(pty_process::Size::new(SIZE.0, SIZE.1)).unwrap();
        let child = command.env("TERM", "xterm-256color").spawn(pts).unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(SIZE.0, SIZE.1, 0)));
        let keys = Arc::new(pty);
        let (output, shown) = (Arc::clone(&keys), Arc::clone(&screen));
        let reader = thread::spawn(move || {
            let (mut bytes, mut all) = ([0; 4096], Vec::new());
            // It ends with an error when the last process has let go of the terminal.
            while let Ok(read @ 1..) = (&*output).read(&mut bytes) {
                shown.lock().unwrap().process(&bytes[..read]);
                all.extend_from_slice(&bytes[..read]);
            }
            all
        });
        Terminal { keys, screen, child, reader: Some(reader) }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn press(&self, keys: &str) {
        (&*self.keys).write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    pub(crate) fn line(&self, begin: &str) -> Option<String> {
        self.text().lines().find(|line| line.starts_with(begin)).map(str::to_owned)
    }

    pub(crate) fn is_alternate(&self) -> bool {
        self.screen.lock().unwrap().screen().alternate_screen()
    }

    /// Which line is the chosen one, by its beginning.
    pub(crate) fn chosen(&self) -> Option<(u16, String)> {
        let screen = self.screen.lock().unwrap();
        let reversed = |row: &u16| screen.screen().cell(*row, 0).is_some_and(vt100::Cell::inverse);
        let row = (0..SIZE.0).find(reversed)?;
        Some((row, screen.screen().contents_between(row, 0, row, NAME)))
    }

    /// Chooses the line of a channel.
    pub(crate) fn choose(&self, name: &str) {
        loop {
            until(|| self.chosen().is_some() && self.line(name).is_some());
            let text = self.text();
            let (Some((row, chosen)), Some(wanted)) =
                (self.chosen(), text.lines().position(|line| line.starts_with(name)))
            else {
                continue;
            };
            if chosen.starts_with(name) {
                return;
            }
            self.press(if wanted < row.into() { "\u{1b}[A" } else { "\u{1b}[B" });
            until(|| self.chosen().is_some_and(|(_, now)| now != chosen));
        }
    }

    /// How many cells have a colour.
    pub(crate) fn coloured(&self) -> usize {
        let screen = self.screen.lock().unwrap();
        let cells = (0..SIZE.0).flat_map(|row| (0..SIZE.1).map(move |column| (row, column)));
        let cells = cells.filter_map(|(row, column)| screen.screen().cell(row, column));
        let plain = vt100::Color::Default;
        cells.filter(|cell| cell.fgcolor() != plain || cell.bgcolor() != plain).count()
    }

    /// All that it has written, when it has ended well.
    pub(crate) fn output(mut self) -> Vec<u8> {
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.reader.take().unwrap().join().unwrap()
    }

    pub(crate) fn end(mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        let terminal = &self;
        until(|| !terminal.is_alternate());
        assert!(!self.screen.lock().unwrap().screen().hide_cursor());
        code
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
