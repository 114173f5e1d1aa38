//! `recv`: values of a channel, as lines of JSON.
//!
//! A value is handed over when its line is written: one that could not be written stays in the channel for the next
//! receiver, and so does one that a signal comes before.

use std::cell::RefCell;
use std::process;

use sysv_channel::dynamic::{DynamicChannel, DynamicReceiver, Value};
use sysv_channel::{Message, RecvError, Select};

use crate::Finished;
use crate::args::RecvArguments;
use crate::ending::{Ending, Endings, Peer};
use crate::failure::{Code, Failure};
use crate::json;
use crate::output::Output;
use crate::progress::Progress;

pub(crate) fn run(arguments: &RecvArguments) -> Result<Finished, Failure> {
    let endings = Endings::watch(Peer::Reader)?;
    let options = DynamicChannel::options().owner(arguments.owner.owner).max_value(u64::MAX);
    let options = if arguments.follow { options.stays_open() } else { options };
    let receiver = options.open(arguments.name.clone())?.receiver().map_err(refused)?;
    let closer = receiver.closer();
    endings.on_end(move || closer.close());
    let mut printer = Printer {
        output: RefCell::new(Output::new(&endings)?),
        progress: RefCell::new(Progress::of_output(arguments.quiet, arguments.count)),
    };
    let printed = print_all(arguments, &receiver, &mut printer)?;
    let ended = endings.ended().map_or(Finished::Done, Finished::Ended);
    match printed.undecodable {
        0 => Ok(ended),
        values => Err(Failure::failed(format!(
            "{values} of the values are none of this channel's type and were left out; look for the program \
             that sent them"
        ))),
    }
}

#[derive(Default)]
struct Printed {
    values: u64,
    undecodable: u64,
}

fn print_all(
    arguments: &RecvArguments,
    receiver: &DynamicReceiver,
    printer: &mut Printer,
) -> Result<Printed, Failure> {
    let select = arguments.tag.map_or(Select::Any, Select::Exactly);
    let wanted = arguments.count.unwrap_or(u64::MAX);
    let mut printed = Printed::default();
    while printed.values < wanted && printer.output.get_mut().has_room()? {
        let print = |message| printer.print(message);
        let received = match arguments.timeout {
            Some(timeout) => receiver.recv_with_timeout(select, timeout, print),
            None => receiver.recv_with(select, print),
        };
        match received {
            Ok(()) => printed.values += 1,
            Err(error @ RecvError::Decode { .. }) => {
                printed.undecodable += 1;
                printer.progress.get_mut().clear();
                crate::complain(&Failure::failed(error));
            }
            Err(RecvError::Closed { .. }) => break,
            // It can only be that no sender is left, and then --follow has the receiver wait on.
            Err(RecvError::Disconnected { .. }) if arguments.count.is_none() => break,
            Err(RecvError::Disconnected { .. }) => {
                let what =
                    format!("the senders have gone after {} of {wanted} values", printed.values);
                return Err(Failure::new(
                    Code::Empty,
                    format!("{what}; --follow waits for others"),
                ));
            }
            Err(RecvError::Timeout { .. }) if arguments.count.is_none() && printed.values > 0 => {
                break;
            }
            Err(RecvError::Timeout { .. }) => {
                let what = format!("no value came in time for {}", arguments.name);
                return Err(Failure::new(
                    Code::Empty,
                    format!("{what}; wait longer with --timeout, or without it"),
                ));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(printed)
}

fn refused(error: sysv_channel::AttachError) -> Failure {
    Failure::new(Code::Refused, error).and("`sysv-channel peek` and `tap` look without receiving")
}

struct Printer {
    output: RefCell<Output>,
    progress: RefCell<Progress>,
}

impl Printer {
    /// Prints a value that is not handed over yet. Where that fails the process ends here and now, and the value
    /// stays in the channel.
    fn print(&self, message: Message<Value>) {
        let mut output = self.output.borrow_mut();
        let written = json::line(&message.value)
            .map_err(|error| Failure::failed(format!("a value is no JSON: {error}")))
            .and_then(|line| output.line(line.as_bytes()));
        match written {
            Ok(true) => self.progress.borrow_mut().value(1),
            Ok(false) => {
                self.progress.borrow().clear();
                process::exit(Ending::OutputClosed.code().into());
            }
            Err(failure) => {
                self.progress.borrow().clear();
                crate::complain(&failure.and("the value stays in the channel"));
                process::exit(Code::Failed as i32);
            }
        }
    }
}
