//! `send`: JSON into a channel, checked by the shape of its values.

use sysv_channel::SendError;
use sysv_channel::dynamic::{DynamicChannel, DynamicSender, Value};

use crate::Finished;
use crate::args::SendArguments;
use crate::ending::Endings;
use crate::failure::{Code, Failure};
use crate::input::{Input, Line};
use crate::progress::Progress;

pub(crate) fn run(arguments: &SendArguments) -> Result<Finished, Failure> {
    let endings = Endings::watch(false)?;
    let options = DynamicChannel::options().owner(arguments.owner.owner).max_value(u64::MAX);
    let sender = options
        .open(arguments.name.clone())?
        .sender()
        .map_err(|error| Failure::new(Code::Refused, error))?;
    let closer = sender.closer();
    endings.on_end(move || closer.close());
    if arguments.value != "-" {
        let value = value_of(arguments.value.as_bytes())?;
        return match send(&sender, arguments, &value) {
            Err(SendError::Closed { .. }) => Ok(ended(&endings)),
            sent => Ok(sent.map(|()| Finished::Done)?),
        };
    }
    let mut progress = Progress::of_input(arguments.quiet);
    let mut input = Input::new(&endings)?;
    loop {
        let (line, number) = match input.line()? {
            Line::Text(line, number) => (line, number),
            Line::End => return Ok(Finished::Done),
            Line::Ended(ending) => return Ok(Finished::Ended(ending)),
        };
        if line.trim_ascii().is_empty() {
            continue;
        }
        let unsent =
            |failure: Failure| failure.and(format!("line {number} and what follows was not sent"));
        let value = value_of(&line).map_err(unsent)?;
        match send(&sender, arguments, &value) {
            Ok(()) => progress.value(line.len() as u64 + 1),
            Err(SendError::Closed { .. }) => return Ok(ended(&endings)),
            Err(error) => return Err(unsent(error.into())),
        }
    }
}

fn ended(endings: &Endings) -> Finished {
    endings.ended().map_or(Finished::Done, Finished::Ended)
}

fn send(sender: &DynamicSender, arguments: &SendArguments, value: &Value) -> Result<(), SendError> {
    match arguments.timeout {
        Some(timeout) => sender.send_timeout(value, timeout),
        None => sender.send_tagged(arguments.tag, value),
    }
}

/// A value from JSON.
pub(crate) fn value_of(json: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(json).map_err(|error| {
        Failure::new(Code::Usage, format!("this is no JSON: {error}; quote text, as '\"text\"'"))
    })
}
