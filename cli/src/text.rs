//! Texts for a person: escaped, counted, and in columns.

use std::time::{Duration, SystemTime};

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

pub(crate) const HEADING: Style = Style::new().bold();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const NOTABLE: Style = AnsiColor::Yellow.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default();

/// A text as it may go to a terminal. What other processes wrote may hold escape sequences, or characters
/// that turn the direction of a line: they are shown as `\u{1b}`.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' | '\r' => shown.extend(character.escape_default()),
            _ if is_escaped(character) => shown.extend(character.escape_unicode()),
            _ => shown.push(character),
        }
    }
    shown
}

/// Whether a terminal would not show it but do something.
pub(crate) fn is_escaped(character: char) -> bool {
    character.is_control() || is_invisible(character)
}

/// Marks of direction, and characters without a width: Unicode's `Bidi_Control`, and what joins or
/// separates.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Bytes in the largest unit of 1,024 that leaves a whole part.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut amount = count as f64 / 1024.0;
    let mut unit = 0;
    // What would be rounded to 1,024 of a unit is 1 of the next.
    while amount >= 1023.95 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

/// How long ago that was, in its two largest units.
pub(crate) fn age(since: SystemTime) -> String {
    duration(SystemTime::now().duration_since(since).unwrap_or_default())
}

fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// How many of a thing, with the thing in its number.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// A table: a heading and rows, each cell with a style.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Vec<(String, Style)>>,
    /// The columns whose cells stand at the right.
    right: Vec<usize>,
}

impl Table {
    pub(crate) fn new(heading: &[&str], right: &[usize]) -> Self {
        let heading = heading.iter().map(|&title| (title.to_owned(), HEADING)).collect();
        Table { rows: vec![heading], right: right.to_vec() }
    }

    pub(crate) fn row(&mut self, cells: Vec<(String, Style)>) {
        self.rows.push(cells);
    }

    /// The lines, without spaces at their ends.
    pub(crate) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|(cell, _)| cell.width()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            let mut gap = 0;
            for (column, (cell, style)) in row.iter().enumerate() {
                let missing = widths[column] - cell.width();
                let is_right = self.right.contains(&column);
                let before = gap + if is_right { missing } else { 0 };
                if !cell.is_empty() {
                    line.extend(std::iter::repeat_n(' ', before));
                    line += &format!("{style}{cell}{style:#}");
                    gap = 2 + if is_right { 0 } else { missing };
                } else {
                    gap += widths[column] + 2;
                }
            }
            text += &line;
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_moves_no_terminal() {
        assert_eq!(shown("plain äöü 漢字"), "plain äöü 漢字");
        assert_eq!(shown("\u{1b}[2J\n\u{202e}\u{7}"), "\\u{1b}[2J\\n\\u{202e}\\u{7}");
        assert_eq!(shown("\u{9b}31m"), "\\u{9b}31m");
    }

    #[test]
    fn numbers_are_read_at_a_glance() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        let sizes = [0, 1023, 1024, 1536, 1 << 20, (1 << 30) - 1, u64::MAX];
        let said = ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 GiB", "16.0 EiB"];
        assert_eq!(sizes.map(bytes), said);
        let times = [59, 61, 3661, 90_000].map(Duration::from_secs);
        assert_eq!(times.map(duration), ["59s", "1m01s", "1h01m", "1d01h"]);
    }

    #[test]
    fn columns_stand_below_each_other() {
        let mut table = Table::new(&["NAME", "N"], &[1]);
        table.row(vec![("漢字".to_owned(), Style::new()), ("7".to_owned(), Style::new())]);
        table.row(vec![("orders".to_owned(), Style::new()), ("10".to_owned(), Style::new())]);
        table.row(vec![(String::new(), Style::new()), ("3".to_owned(), Style::new())]);
        let text = anstream::adapter::strip_str(&table.text()).to_string();
        assert_eq!(text, "NAME     N\n漢字     7\norders  10\n         3\n");
    }
}
