//! How the links of bridges look: a table below that of the channels.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Stylize;
use ratatui::text::Line;
use ratatui::widgets::{Cell, Row, Table};

use super::links::{Bridge, Link, Links};
use super::screen::{bytes_per_second, per_second};
use crate::text::{count, grouped, shown};

/// Columns of a name and of a key at most.
const NAME: usize = 26;

/// The lines that it takes; none without bridges.
pub(super) fn height(links: &Links) -> u16 {
    let bridges = links.bridges.iter().map(|bridge| bridge.links.len().max(1)).sum::<usize>();
    match bridges + usize::from(links.error.is_some()) {
        0 => 0,
        lines => u16::try_from(lines + 1).unwrap_or(u16::MAX),
    }
}

pub(super) fn draw(frame: &mut Frame, area: Rect, links: &Links) {
    if area.height == 0 {
        return;
    }
    if let Some(error) = &links.error {
        let what = format!("the bridges cannot be asked: {}", shown(error));
        return frame.render_widget(Line::from(what).red(), area);
    }
    let right = |title: &'static str| Cell::from(Line::from(title).right_aligned());
    let titles = [
        Cell::from("LINK"),
        Cell::from("NAME"),
        Cell::from("KEY"),
        right("VALUES/s"),
        right("BYTES/s"),
        right("IN FLIGHT"),
        right("ROUND TRIP"),
        Cell::from("STATE"),
    ];
    let rows: Vec<_> = links.bridges.iter().flat_map(rows).collect();
    let (mut area, room) = (area, usize::from(area.height) - 1);
    if rows.len() > room {
        let more = rows.len() - room.saturating_sub(1);
        let more = count(more as u64, "more link", "more links");
        let last = Rect { y: area.bottom() - 1, height: 1, ..area };
        frame.render_widget(
            Line::from(format!("{more}; `sysv-channel bridge status` has all")).dim(),
            last,
        );
        area.height -= 1;
    }
    let nameless = links.bridges.iter().filter(|bridge| bridge.links.is_empty()).map(name_of);
    let nameless = nameless.map(|name| name.len()).max().unwrap_or(0);
    let widest = |text: fn(&Link) -> &str| {
        let all = links.bridges.iter().flat_map(|bridge| &bridge.links);
        let widest = all.map(|link| Line::from(shown(text(link))).width()).max().unwrap_or(0);
        Constraint::Length(widest.max(nameless).clamp(4, NAME) as u16)
    };
    let widths = [
        Constraint::Length(5),
        widest(|link| &link.status.name),
        widest(|link| &link.status.key),
        Constraint::Length(9),
        Constraint::Length(10),
        Constraint::Length(9),
        Constraint::Length(10),
        Constraint::Min(12),
    ];
    frame.render_widget(Table::new(rows, widths).header(Row::new(titles).bold()), area);
}

/// What stands for the names of a bridge's links that are not known.
fn name_of(bridge: &Bridge) -> String {
    format!("process {}", bridge.process)
}

/// The links of a bridge, or what is known of one that never told of any.
fn rows(bridge: &Bridge) -> Vec<Row<'static>> {
    let number = |text: String| Cell::from(Line::from(text).right_aligned());
    let fault = bridge.fault.as_ref().map(|why| Cell::from(shown(why).red()));
    if let (Some(fault), []) = (&fault, &bridge.links[..]) {
        let nothing = Cell::from("-");
        let mut cells = vec![nothing.clone(), Cell::from(name_of(bridge))];
        cells.push(nothing);
        cells.extend(std::iter::repeat_n(number("-".to_owned()), 4));
        cells.push(fault.clone());
        return vec![Row::new(cells)];
    }
    let row = |link: &Link| {
        let status = &link.status;
        let state = fault.clone().unwrap_or_else(|| state(&status.state));
        Row::new(vec![
            Cell::from(status.kind.to_string()),
            Cell::from(shown(&status.name)),
            Cell::from(shown(&status.key)),
            number(per_second(link.values)),
            number(bytes_per_second(link.bytes)),
            number(grouped(status.in_flight)),
            number(status.round_trip()),
            state,
        ])
    };
    bridge.links.iter().map(row).collect()
}

fn state(state: &str) -> Cell<'static> {
    let text = shown(state);
    match state {
        _ if state.starts_with("ended") => Cell::from(text.red()),
        _ if state.starts_with("waits") => Cell::from(text.yellow()),
        _ => Cell::from(text),
    }
}
