//! Looks at the channels of sysv-channel, and sends and receives their values, from a shell.

#![forbid(unsafe_code)]

mod args;
mod call;
mod doctor;
mod ending;
mod failure;
mod generate;
mod input;
mod json;
mod list;
mod output;
mod progress;
mod queue;
mod recv;
mod remove;
mod send;
mod show;
mod tap;
mod target;
mod text;
mod top;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Color, Command};
use ending::Ending;
use failure::Failure;
use text::BAD;

/// How a command came to its end.
enum Finished {
    /// With its work done.
    Done,
    /// With its work done, and this exit code of its own.
    With(u8),
    /// Before that.
    Ended(Ending),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    }
    .write_global();
    match run(&arguments.command) {
        Ok(Finished::Done) => ExitCode::SUCCESS,
        Ok(Finished::With(code)) => ExitCode::from(code),
        Ok(Finished::Ended(ending)) => ExitCode::from(ending.code()),
        Err(failure) => {
            complain(&failure);
            ExitCode::from(failure.code())
        }
    }
}

fn run(command: &Command) -> Result<Finished, Failure> {
    let done = |()| Finished::Done;
    match command {
        Command::List(arguments) => list::run(arguments).map(done),
        Command::Show(arguments) => show::run(arguments).map(done),
        Command::Schema(arguments) => show::schema(&arguments.name).map(done),
        Command::Top(arguments) => top::run(arguments),
        Command::Recv(arguments) => recv::run(arguments),
        Command::Send(arguments) => send::run(arguments),
        Command::Call(arguments) => call::run(arguments).map(done),
        Command::Peek(arguments) => tap::peek(arguments),
        Command::Tap(arguments) => tap::run(arguments),
        Command::Rm(arguments) => remove::rm(arguments).map(done),
        Command::Sweep(arguments) => remove::sweep(arguments).map(done),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Queue(command) => queue::run(command),
        Command::Completions(arguments) => generate::completions(arguments).map(done),
        Command::Man(arguments) => generate::man(arguments).map(done),
    }
}

/// Says in one line on standard error what went wrong.
fn complain(failure: &Failure) {
    anstream::eprintln!("{BAD}sysv-channel:{BAD:#} {failure}");
}
