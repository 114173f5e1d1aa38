//! How far a long transfer is, for a person who watches.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A line on standard error that counts values, and bytes where their number is known. There is none where
/// standard error is no terminal, or where the values themselves go to one.
pub(crate) struct Progress {
    bar: ProgressBar,
    values: u64,
}

impl Progress {
    /// For values that come from standard input, of whose length a file says how much there is.
    pub(crate) fn of_input(quiet: bool) -> Self {
        let wanted = !quiet && !io::stdin().is_terminal();
        let length = || {
            let file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
            let metadata = file.metadata().ok()?;
            metadata.is_file().then_some(metadata.len())
        };
        Progress::new(wanted, length())
    }

    /// For values that go to standard output, of which `values` are wanted.
    pub(crate) fn of_output(quiet: bool, values: Option<u64>) -> Self {
        let wanted = !quiet && !io::stdout().is_terminal();
        Progress::new(wanted, None).with_values(values)
    }

    fn new(wanted: bool, bytes: Option<u64>) -> Self {
        if !wanted || !io::stderr().is_terminal() {
            return Progress { bar: ProgressBar::hidden(), values: 0 };
        }
        let (bar, template) = match bytes {
            Some(bytes) => (
                ProgressBar::new(bytes),
                "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            ),
            None => (ProgressBar::no_length(), "{spinner} {human_pos} values {per_sec} {elapsed}"),
        };
        Progress { bar, values: 0 }.styled(template)
    }

    fn with_values(self, values: Option<u64>) -> Self {
        let Some(values) = values else { return self };
        self.bar.set_length(values);
        self.styled("{wide_bar} {human_pos}/{human_len} values {per_sec} {eta}")
    }

    fn styled(self, template: &str) -> Self {
        if !self.bar.is_hidden() {
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style);
            }
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
        self
    }

    /// Another value is through, of so many bytes of input.
    pub(crate) fn value(&mut self, bytes: u64) {
        self.values += 1;
        self.bar.inc(bytes);
        if !self.bar.is_hidden() && self.values.is_multiple_of(1024) {
            self.bar.set_message(format!("{} values", crate::text::grouped(self.values)));
        }
    }

    /// Takes the line away, so that what is said next stands by itself.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
