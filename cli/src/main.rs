//! Looks at the channels of sysv-channel, and sends and receives their values, from a shell.

#![deny(unsafe_code)]

mod args;
#[cfg(feature = "zenoh")]
mod bridge;
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
mod startup;
mod tap;
mod target;
mod text;
mod top;

use std::io::{self, Write};
use std::process::ExitCode;

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use clap::Parser;
use clap::error::ErrorKind;

use args::{Arguments, Color, Command, QueueCommand};
use ending::Ending;
use failure::Failure;
use text::{BAD, shown};

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
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return wrong(error),
    };
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

/// Prints the help that was asked for, or says in one line what is wrong with the arguments.
fn wrong(mut error: clap::Error) -> ExitCode {
    let is_help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if !is_help {
        complain(&Failure::usage(&mut error));
        return ExitCode::from(2);
    }
    let printed = match startup::output_is_closed() && !error.use_stderr() {
        true => Err(closed()),
        false => error.print().map_err(|error| output::unwritable(&error)),
    };
    match printed {
        Ok(()) => ExitCode::from(error.exit_code() as u8),
        Err(failure) => {
            complain(&failure);
            ExitCode::from(failure.code())
        }
    }
}

fn closed() -> Failure {
    Failure::failed(
        "standard output is closed, so what is printed would be lost; give it a file or a pipe, or /dev/null",
    )
}

fn run(command: &Command) -> Result<Finished, Failure> {
    let prints = !matches!(
        command,
        Command::Send(_) | Command::Rm(_) | Command::Queue(QueueCommand::Send(_))
    );
    if prints && startup::output_is_closed() {
        return Err(closed());
    }
    let done = |()| Finished::Done;
    match command {
        Command::List(arguments) => list::run(arguments).map(done),
        Command::Show(arguments) => show::run(arguments).map(done),
        Command::Schema(arguments) => show::schema(&arguments.name).map(done),
        Command::Top(arguments) => top::run(arguments),
        Command::Recv(arguments) => recv::run(arguments),
        Command::Send(arguments) => send::run(arguments),
        Command::Call(arguments) => call::run(arguments),
        Command::Peek(arguments) => tap::peek(arguments),
        Command::Tap(arguments) => tap::run(arguments),
        Command::Rm(arguments) => Ok(remove::rm(arguments)),
        Command::Sweep(arguments) => remove::sweep(arguments).map(done),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Queue(command) => queue::run(command),
        #[cfg(feature = "zenoh")]
        Command::Bridge(command) => bridge::run(command),
        Command::Completions(arguments) => generate::completions(arguments).map(done),
        Command::Man(arguments) => generate::man(arguments).map(done),
    }
}

/// Says in one line on standard error what went wrong. Where that cannot be written the exit code alone says it.
fn complain(failure: &Failure) {
    say(format!("{BAD}sysv-channel:{BAD:#} {failure}\n"));
}

/// Says in one line on standard error what is worth knowing, and no failure.
fn note(text: &str) {
    say(format!("sysv-channel: {}\n", shown(text)));
}

/// Writes a line in one go, so that it stays whole beside those of other processes.
fn say(line: String) {
    let mut output = io::stderr();
    let line = match AutoStream::choice(&output) {
        ColorChoice::Never => strip_str(&line).to_string(),
        _ => line,
    };
    let _ = output.write_all(line.as_bytes());
}
