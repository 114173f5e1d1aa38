//! How `top` looks.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table};
use sysv_channel::{Inspection, LaneInfo, ReceiverInfo};

use super::rates::Row;
use super::{Order, View};
use crate::json;
use crate::list::process;
use crate::text::{bytes, count, grouped, shown};

/// Cells of a bar.
const BAR: usize = 10;
/// Lines for the chosen channel at most, its title included.
const DETAIL: u16 = 12;

pub(super) fn draw(frame: &mut Frame, view: &mut View) {
    let wanted = view.chosen().map_or(0, |row| 3 + row.seen.receivers.len() + row.seen.lanes.len());
    let detail = (wanted as u16).min(DETAIL).min(frame.area().height / 2);
    #[cfg(feature = "zenoh")]
    let links = super::links_table::height(&view.links).min(frame.area().height / 3);
    #[cfg(not(feature = "zenoh"))]
    let links = 0;
    let rows = [
        Constraint::Length(1),
        Constraint::Min(2),
        Constraint::Length(links),
        Constraint::Length(detail),
        Constraint::Length(1),
    ];
    let areas: [Rect; 5] = Layout::vertical(rows).areas(frame.area());
    let [top, middle, _, bottom, keys] = areas;
    frame.render_widget(heading(view), top);
    table(frame, middle, view);
    #[cfg(feature = "zenoh")]
    super::links_table::draw(frame, areas[2], &view.links);
    if let Some(row) = view.chosen() {
        frame.render_widget(chosen(row), bottom);
    }
    let order = match view.order {
        Order::Name => "name",
        Order::Rate => "rate",
        Order::Waiting => "waiting",
    };
    let pause = if view.paused { "p goes on" } else { "p pauses" };
    frame.render_widget(
        Line::from(format!("q leaves  arrows choose  s order: {order}  {pause}")).dim(),
        keys,
    );
    if !view.has_colours {
        for cell in &mut frame.buffer_mut().content {
            (cell.fg, cell.bg) = (Color::Reset, Color::Reset);
        }
    }
}

fn heading(view: &View) -> Line<'static> {
    if let Some(error) = &view.error {
        return Line::from(shown(error)).red();
    }
    let channels = count(view.rows.len() as u64, "channel", "channels");
    let rate: f64 = view.rows.iter().filter_map(|row| row.sent).sum();
    let every = format!("every {} s", view.interval.as_secs_f64());
    let mut spans = vec![
        "sysv-channel".bold(),
        Span::from(format!("  {channels}  {} values/s  {every}", grouped(rate.round() as u64))),
    ];
    if view.paused {
        spans.push("  paused".yellow());
    }
    Line::from(spans)
}

fn table(frame: &mut Frame, area: Rect, view: &mut View) {
    let right = |title: &'static str| Cell::from(Line::from(title).right_aligned());
    let titles = [
        Cell::from("NAME"),
        Cell::from("KIND"),
        right("IN/s"),
        right("OUT/s"),
        right("BYTES/s"),
        Cell::from("FULL"),
        right("WAITING"),
        Cell::from("RECEIVER"),
        Cell::from("SENDERS"),
    ];
    let widths = [
        Constraint::Min(12),
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(10),
        Constraint::Length(BAR as u16),
        Constraint::Length(9),
        Constraint::Length(14),
        Constraint::Length(14),
    ];
    let rows = view.rows.iter().map(|row| {
        let number = |text: String| Cell::from(Line::from(text).right_aligned());
        TableRow::new(vec![
            Cell::from(row.title.clone()),
            Cell::from(json::kind(row.seen.kind)),
            number(per_second(row.sent)),
            number(per_second(row.received)),
            number(bytes_per_second(row.bytes)),
            bar(row.fill),
            number(grouped(row.waiting)),
            receivers(&row.seen.receivers),
            senders(&row.seen),
        ])
    });
    let table = Table::new(rows.collect::<Vec<_>>(), widths)
        .header(TableRow::new(titles).bold())
        .row_highlight_style(Style::new().reversed());
    frame.render_stateful_widget(table, area, &mut view.table);
}

pub(super) fn per_second(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".to_owned(), |rate| grouped(rate.round() as u64))
}

pub(super) fn bytes_per_second(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".to_owned(), |rate| bytes(rate.round() as u64))
}

/// A bar, red where the channel is nearly full.
fn bar(fill: f64) -> Cell<'static> {
    // What is there is seen, however little it is.
    let cells = ((fill * BAR as f64).round() as usize).clamp(usize::from(fill > 0.0), BAR);
    let colour = match fill {
        0.9.. => Color::Red,
        0.5.. => Color::Yellow,
        _ => Color::Green,
    };
    Cell::from(Line::from(vec![
        Span::from("█".repeat(cells)).fg(colour),
        "░".repeat(BAR - cells).dim(),
    ]))
}

/// The receiver, or how many there are, and whether they sleep.
fn receivers(receivers: &[ReceiverInfo]) -> Cell<'static> {
    let sleep = receivers.iter().filter(|receiver| receiver.sleeps).count();
    match receivers {
        [] => Cell::from("-".dim()),
        [one] if one.sleeps => Cell::from(format!("{} sleeps", process(one.pid))),
        [one] => Cell::from(process(one.pid).green()),
        several => Cell::from(format!("{}, {sleep} sleep", several.len())),
    }
}

/// The senders; one that sleeps waits for room or for a reply.
fn senders(seen: &Inspection) -> Cell<'static> {
    let attached: Vec<&LaneInfo> = seen.lanes.iter().filter(|lane| lane.attached).collect();
    let sleep = attached.iter().filter(|lane| lane.sleeps).count();
    match attached[..] {
        [] => Cell::from("-".dim()),
        [one] if one.sleeps => Cell::from(format!("{} sleeps", process(one.pid)).yellow()),
        [one] => Cell::from(process(one.pid).green()),
        _ if sleep > 0 => Cell::from(format!("{}, {sleep} sleep", attached.len()).yellow()),
        _ => Cell::from(attached.len().to_string().green()),
    }
}

/// The chosen channel: what it carries, and each of its ends.
fn chosen(row: &Row) -> Paragraph<'static> {
    let seen = &row.seen;
    let mut lines = vec![
        Line::from(vec![
            Span::from(row.title.clone()).bold(),
            Span::from(format!("  {}", shown(&seen.schema))),
        ]),
        Line::from(format!(
            "{} sent, {} received, {}; {}",
            grouped(seen.stats.sent_values),
            grouped(seen.stats.received_values),
            count(seen.users as u64, "user", "users"),
            shown(&seen.codec),
        ))
        .dim(),
    ];
    let state = |sleeps| if sleeps { "sleeps" } else { "awake" };
    lines.extend(seen.receivers.iter().map(|receiver| {
        let received = count(receiver.received_values, "value", "values");
        Line::from(format!(
            "receiver {:<9} {:<6}  {received} received",
            process(receiver.pid),
            state(receiver.sleeps)
        ))
    }));
    lines.extend(seen.lanes.iter().map(|lane| {
        let (who, state) = match lane.attached {
            true => (process(lane.pid), state(lane.sleeps)),
            false => ("-".to_owned(), "gone"),
        };
        let waits =
            format!("{} in its ring, {}", grouped(lane.waiting_values), bytes(lane.waiting_bytes));
        Line::from(format!(
            "sender   {who:<9} {state:<6}  {} sent; {waits}",
            grouped(lane.sent_values)
        ))
    }));
    Paragraph::new(lines)
}
