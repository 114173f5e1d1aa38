//! `send`: JSON into a channel, checked by the shape of its values.

use sysv_channel::SendError;
use sysv_channel::dynamic::{DynamicChannel, DynamicSender, Shape, Value};

use crate::Finished;
use crate::args::SendArguments;
use crate::ending::{Endings, Peer};
use crate::failure::{Code, Failure};
use crate::input::{Input, Line};
use crate::progress::Progress;

pub(crate) fn run(arguments: &SendArguments) -> Result<Finished, Failure> {
    let endings = Endings::watch(Peer::None)?;
    let options = DynamicChannel::options().owner(arguments.owner.owner).max_value(u64::MAX);
    let sender = options
        .open(arguments.name.clone())?
        .sender()
        .map_err(|error| Failure::new(Code::Refused, error))?;
    let closer = sender.closer();
    endings.on_end(move || closer.close());
    if arguments.value != "-" {
        let value = value_of(sender.shape(), arguments.value.as_bytes())?;
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
        let value = value_of(sender.shape(), &line).map_err(unsent)?;
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

/// A value of this shape from one line of JSON.
pub(crate) fn value_of(shape: &Shape, json: &[u8]) -> Result<Value, Failure> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let exact = shape.read(&mut reader).and_then(|value| reader.end().map(|()| value));
    // Where something else stands than a large integer, it is the check that says so, with its place.
    exact.or_else(|_| serde_json::from_slice(json)).map_err(|error| unreadable(&error, json))
}

fn unreadable(error: &serde_json::Error, json: &[u8]) -> Failure {
    let said = error.to_string().replace(" at line 1 column ", " at column ");
    let is_word =
        json.trim_ascii_start().first().is_some_and(|byte| !b"{[\"-0123456789".contains(byte));
    let text = if said.starts_with("recursion limit exceeded") {
        format!("this JSON nests too deep, 127 levels can be read: {said}")
    } else if said.starts_with("number out of range") {
        format!("this JSON has a number that no type holds: {said}")
    } else if is_word {
        format!("this is no JSON: {said}; quote text, as '\"text\"'")
    } else {
        format!("this is no JSON: {said}")
    };
    Failure::new(Code::Usage, text)
}
