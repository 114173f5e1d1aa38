//! `top`: all channels, and links to other machines, as they go, in a terminal.

#[cfg(feature = "zenoh")]
mod links;
#[cfg(feature = "zenoh")]
mod links_table;
mod rates;
mod screen;

use std::io::{self, IsTerminal};
use std::process;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::style::force_color_output;
use ratatui::widgets::TableState;

use crate::Finished;
use crate::args::TopArguments;
use crate::ending::{Ending, Endings, Peer, terminal_is_gone};
use crate::failure::{Code, Failure};
use crate::output::has_colours;
use rates::{Row, Sampler};

/// How long to wait for a key in one call, which is how soon a signal is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// By what the lines are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Name,
    Rate,
    Waiting,
}

impl Order {
    fn next(self) -> Self {
        match self {
            Order::Name => Order::Rate,
            Order::Rate => Order::Waiting,
            Order::Waiting => Order::Name,
        }
    }

    fn sort(self, rows: &mut [Row]) {
        rows.sort_by(|a, b| {
            let by_name = || a.title.cmp(&b.title);
            match self {
                Order::Name => by_name(),
                Order::Rate => b.rate().total_cmp(&a.rate()).then_with(by_name),
                Order::Waiting => b.waiting.cmp(&a.waiting).then_with(by_name),
            }
        });
    }
}

/// What is drawn.
struct View {
    rows: Vec<Row>,
    #[cfg(feature = "zenoh")]
    links: links::Links,
    table: TableState,
    order: Order,
    paused: bool,
    interval: Duration,
    has_colours: bool,
    /// Why the last look showed nothing.
    error: Option<String>,
}

impl View {
    fn look(&mut self, sampler: &mut Sampler) {
        let chosen = self.chosen().map(|row| row.seen.handle);
        match sampler.sample() {
            Ok(rows) => {
                self.rows = rows;
                self.error = None;
            }
            Err(error) => self.error = Some(error.to_string()),
        }
        self.sort(chosen);
        #[cfg(feature = "zenoh")]
        self.links.look();
    }

    /// Brings the lines into order; the chosen channel stays chosen.
    fn sort(&mut self, chosen: Option<sysv_channel::Handle>) {
        self.order.sort(&mut self.rows);
        let at = self.rows.iter().position(|row| Some(row.seen.handle) == chosen);
        let last = self.rows.len().checked_sub(1);
        self.table
            .select(at.or_else(|| last.map(|last| self.table.selected().unwrap_or(0).min(last))));
    }

    fn chosen(&self) -> Option<&Row> {
        self.rows.get(self.table.selected()?)
    }

    /// Does what a key says; `false` if it is to leave.
    fn press(&mut self, key: KeyEvent) -> bool {
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return false,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
            KeyCode::Down | KeyCode::Char('j') => self.table.select_next(),
            KeyCode::Up | KeyCode::Char('k') => self.table.select_previous(),
            KeyCode::Home => self.table.select_first(),
            KeyCode::End => self.table.select(self.rows.len().checked_sub(1)),
            KeyCode::Char('s') => {
                let chosen = self.chosen().map(|row| row.seen.handle);
                self.order = self.order.next();
                self.sort(chosen);
            }
            KeyCode::Char('p') => self.paused = !self.paused,
            _ => {}
        }
        true
    }
}

pub(crate) fn run(arguments: &TopArguments) -> Result<Finished, Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let what = "top needs a terminal for its output and its keys; `sysv-channel list` and `list --json` \
                    are for pipes";
        return Err(Failure::new(Code::Usage, what));
    }
    let endings = Endings::watch(Peer::Terminal)?;
    // What the drawing library says in place of a colour that it may not use ends other attributes too: it is given none.
    let has_colours = has_colours();
    force_color_output(has_colours);
    let mut terminal = ratatui::try_init()?;
    let finished = watch(&mut terminal, arguments.interval, has_colours, &endings);
    let restored = ratatui::try_restore().and_then(|()| terminal.show_cursor());
    // Then it is no failure that the terminal cannot be written. Its handle would complain of that to standard error,
    // which has gone with it, and so panic: it is not dropped.
    if terminal_is_gone() {
        let hang_up = Ending::Signal(Signal::SIGHUP);
        process::exit(endings.ended().unwrap_or(hang_up).code().into());
    }
    restored?;
    finished
}

fn watch(
    terminal: &mut DefaultTerminal,
    interval: Duration,
    has_colours: bool,
    endings: &Endings,
) -> Result<Finished, Failure> {
    let mut sampler = Sampler::default();
    let mut view = View {
        rows: Vec::new(),
        #[cfg(feature = "zenoh")]
        links: links::Links::default(),
        table: TableState::default(),
        order: Order::Name,
        paused: false,
        interval,
        has_colours,
        error: None,
    };
    loop {
        let looked = Instant::now();
        if !view.paused {
            view.look(&mut sampler);
        }
        terminal.draw(|frame| screen::draw(frame, &mut view))?;
        loop {
            if let Some(ending) = endings.ended() {
                return Ok(Finished::Ended(ending));
            }
            let Some(left) = interval.checked_sub(looked.elapsed()) else { break };
            if !event::poll(left.min(LOOK))? {
                continue;
            }
            match event::read()? {
                Event::Key(key) if key.kind == KeyEventKind::Press => {
                    if !view.press(key) {
                        return Ok(Finished::Done);
                    }
                }
                Event::Resize(..) => {}
                _ => continue,
            }
            terminal.draw(|frame| screen::draw(frame, &mut view))?;
        }
    }
}
