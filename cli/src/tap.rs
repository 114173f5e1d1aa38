//! `tap` and `peek`: what goes through a channel, and what waits in it. Neither takes a value.

use std::time::Duration;

use anstyle::Style;
use serde::Serialize;
use sysv_channel::dynamic::{self, DynamicCodec};
use sysv_channel::{Tap, Tapped, inspect};

use crate::Finished;
use crate::args::{PeekArguments, TapArguments};
use crate::ending::{Endings, Peer};
use crate::failure::{Code, Failure};
use crate::json::{escaped, line};
use crate::list::process;
use crate::output::{Output, has_colours};
use crate::queue::hex_of;
use crate::text::{bytes, count};

/// How long to wait for a value in one call, which is how soon a signal is looked for.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) fn run(arguments: &TapArguments) -> Result<Finished, Failure> {
    let endings = Endings::watch(Peer::Reader)?;
    let mut tap = sysv_channel::tap(arguments.name.clone())?;
    // Bytes are shown where the type does not tell what they are.
    let codec = DynamicCodec::of_channel(tap.channel());
    if let Err(error) = &codec {
        crate::note(&format!("{error}; values are shown as hex digits"));
    }
    let decode = |tapped: &Tapped| codec.as_ref().ok()?.decode(&tapped.bytes).ok();
    let mut output = Output::new(&endings)?;
    let mut left = arguments.count.unwrap_or(u64::MAX);
    while left > 0 && !tap.is_over() && output.has_room()? {
        let Some(tapped) = tap.next_timeout(LOOK) else { continue };
        let value = decode(&tapped);
        let line = match arguments.json {
            true => json_of(&tapped, value.as_ref())?,
            false => text_of(&tap, &tapped, value.as_ref())?,
        };
        if !output.line(line.as_bytes())? {
            break;
        }
        left -= 1;
    }
    if tap.missed() > 0 {
        let values = count(tap.missed(), "value", "values");
        crate::note(&format!("{values} went by too fast to be seen"));
    }
    Ok(endings.ended().map_or(Finished::Done, Finished::Ended))
}

fn json_of(tapped: &Tapped, value: Option<&dynamic::Value>) -> Result<String, Failure> {
    line(&Object {
        lane: tapped.lane,
        tag: tapped.tag.get(),
        bytes: tapped.bytes.len(),
        value,
        hex: value.is_none().then(|| hex_of(&tapped.bytes)),
    })
    .map_err(no_json)
}

/// A line of `tap --json`. serde_json's own value would not hold each integer.
#[derive(Serialize)]
struct Object<'v> {
    lane: usize,
    tag: i64,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'v dynamic::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

fn no_json(error: serde_json::Error) -> Failure {
    Failure::failed(format!("a value is no JSON: {error}"))
}

/// A line for a person: who sent it, how long it is, and the value.
fn text_of(tap: &Tap, tapped: &Tapped, value: Option<&dynamic::Value>) -> Result<String, Failure> {
    let value = match value {
        Some(value) => escaped(serde_json::to_string(value).map_err(no_json)?),
        None => hex_of(&tapped.bytes),
    };
    let lanes = inspect(tap.channel().handle).map(|seen| seen.lanes).unwrap_or_default();
    let sender = lanes.iter().find(|lane| lane.lane == tapped.lane && lane.attached);
    let sender = sender.map_or_else(|| "gone".to_owned(), |lane| process(lane.pid));
    // What is written does not go through anstream, which would leave styles out where they are not wanted.
    let dim = if has_colours() { Style::new().dimmed() } else { Style::new() };
    let head = format!("{sender:>7}  tag {}  {:>9}", tapped.tag, bytes(tapped.bytes.len() as u64));
    Ok(format!("{dim}{head}{dim:#}  {value}\n"))
}

pub(crate) fn peek(arguments: &PeekArguments) -> Result<Finished, Failure> {
    let endings = Endings::watch(Peer::Reader)?;
    let mut tap = sysv_channel::tap(arguments.name.clone())?;
    let codec = DynamicCodec::of_channel(tap.channel())?;
    let waiting = tap.channel().stats.waiting;
    if waiting == 0 {
        let what = format!("no value waits in {}", arguments.name);
        return Err(Failure::new(
            Code::Empty,
            format!("{what}; `sysv-channel tap` shows those that come"),
        ));
    }
    let mut output = Output::new(&endings)?;
    let mut left = waiting.min(arguments.count.unwrap_or(u64::MAX));
    while left > 0 && output.has_room()? {
        // Received meanwhile.
        let Some(tapped) = tap.try_next() else { break };
        let value = codec.decode(&tapped.bytes).map_err(|error| {
            Failure::failed(format!("a value of {} cannot be decoded: {error}", arguments.name))
                .and("`sysv-channel tap --json` shows its bytes")
        })?;
        if !output.line(line(&value).map_err(no_json)?.as_bytes())? {
            break;
        }
        left -= 1;
    }
    Ok(endings.ended().map_or(Finished::Done, Finished::Ended))
}
