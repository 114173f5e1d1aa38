//! `queue`: bare message queues, those of C programs too.

use std::time::{Duration, Instant};

use anstyle::Style;
use serde_json::json;
use sysv_channel::codec::Raw;
use sysv_channel::{Message, Queue, QueueError, QueueRecvError, QueueSendError, Select};

use crate::Finished;
use crate::args::{
    Format, QueueCommand, QueueRecvArguments, QueueSendArguments, QueueShowArguments,
};
use crate::ending::{Endings, Peer};
use crate::failure::{Code, Failure};
use crate::input::{Input, Line};
use crate::json;
use crate::output::{Output, print};
use crate::text::{HEADING, Table, age, bytes, count, grouped, shown};

type Bytes = Vec<u8>;

/// How long to wait in one call. System V cannot be told to stop waiting, so this is how soon a signal is
/// looked for; the library looks for messages more often.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) fn run(command: &QueueCommand) -> Result<Finished, Failure> {
    match command {
        QueueCommand::Send(arguments) => send(arguments),
        QueueCommand::Recv(arguments) => recv(arguments),
        QueueCommand::Show(arguments) => show(arguments).map(|()| Finished::Done),
    }
}

/// How much of a limit on waiting is left for the next call; `None` if it is over.
struct Patience {
    since: Instant,
    limit: Option<Duration>,
}

impl Patience {
    fn of(limit: Option<Duration>) -> Self {
        Patience { since: Instant::now(), limit }
    }

    fn next(&self) -> Option<Duration> {
        let Some(limit) = self.limit else { return Some(LOOK) };
        let left = limit.checked_sub(self.since.elapsed())?;
        Some(left.min(LOOK)).filter(|left| !left.is_zero())
    }
}

fn send(arguments: &QueueSendArguments) -> Result<Finished, Failure> {
    let endings = Endings::watch(Peer::None)?;
    let options = Queue::<Bytes, Raw>::options().owner(arguments.owner.owner);
    let queue = match arguments.create {
        true => options.open_or_create(arguments.name.clone())?,
        false => options.open(arguments.name.clone()).map_err(|error| match error {
            QueueError::NotFound { .. } => Failure::from(error).and("--create makes it"),
            error => error.into(),
        })?,
    };
    if arguments.message != "-" {
        let message = bytes_of(arguments.message.as_bytes(), arguments.hex, None)?;
        return put(&queue, arguments, &message, &endings);
    }
    let mut input = Input::new(&endings)?;
    loop {
        let (line, number) = match input.line()? {
            Line::Text(line, number) => (line, number),
            Line::End => return Ok(Finished::Done),
            Line::Ended(ending) => return Ok(Finished::Ended(ending)),
        };
        let message = bytes_of(&line, arguments.hex, Some(number))?;
        match put(&queue, arguments, &message, &endings) {
            Ok(Finished::Done) => {}
            Ok(ended) => return Ok(ended),
            Err(failure) => return Err(failure.and(format!("line {number} was not sent"))),
        }
    }
}

/// Sends one message, however long it takes.
fn put(
    queue: &Queue<Bytes, Raw>,
    arguments: &QueueSendArguments,
    message: &Bytes,
    endings: &Endings,
) -> Result<Finished, Failure> {
    let patience = Patience::of(arguments.timeout);
    loop {
        let sent = match patience.next() {
            Some(limit) => queue.send_tagged_timeout(arguments.tag, message, limit),
            None => {
                return queue
                    .try_send_tagged(arguments.tag, message)
                    .map(|()| Finished::Done)
                    .map_err(full);
            }
        };
        match sent {
            Ok(()) => return Ok(Finished::Done),
            Err(QueueSendError::Timeout { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(ending) = endings.ended() {
            return Ok(Finished::Ended(ending));
        }
    }
}

fn full(error: QueueSendError) -> Failure {
    match error {
        QueueSendError::Full { object } => Failure::new(
            Code::Empty,
            format!(
                "{object} is full and no room came; receive from it, or wait without --timeout"
            ),
        ),
        error => error.into(),
    }
}

/// A message from text or hex digits; `line` says where it stands.
fn bytes_of(text: &[u8], hex: bool, line: Option<u64>) -> Result<Bytes, Failure> {
    if !hex {
        return Ok(text.to_vec());
    }
    let digits: Vec<_> = text.iter().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    let pairs = digits.chunks(2).map(|pair| match pair {
        &[high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    pairs.collect::<Option<_>>().ok_or_else(|| {
        let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        Failure::new(
            Code::Usage,
            format!(
                "{place}these are no hex digits: {:?}; write two for each byte",
                String::from_utf8_lossy(text)
            ),
        )
    })
}

fn recv(arguments: &QueueRecvArguments) -> Result<Finished, Failure> {
    let endings = Endings::watch(Peer::Reader)?;
    let queue =
        Queue::<Bytes, Raw>::options().owner(arguments.owner.owner).open(arguments.name.clone())?;
    let select = match (arguments.tag, arguments.up_to, arguments.except) {
        (Some(tag), _, _) => Select::Exactly(tag),
        (_, Some(tag), _) => Select::UpTo(tag),
        (_, _, Some(tag)) => Select::Except(tag),
        _ => Select::Any,
    };
    let mut output = Output::new(&endings)?;
    let mut left = if arguments.follow { u64::MAX } else { arguments.count };
    while left > 0 && output.has_room()? {
        let Some(message) = take(&queue, select, arguments.timeout, &endings)? else { break };
        let line = line_of(&message, arguments.format.format);
        match output.line(line.as_bytes()) {
            Ok(true) => {}
            Ok(false) => {
                let what = "the reader of the output went while a message was on its way to it";
                put_back(&queue, &message).map_err(|lost| Failure::failed(what).and(lost))?;
                crate::note(&format!("{what}; {PUT_BACK}"));
                break;
            }
            Err(failure) => {
                return Err(match put_back(&queue, &message) {
                    Ok(()) => failure.and(PUT_BACK),
                    Err(lost) => failure.and(lost),
                });
            }
        }
        left -= 1;
    }
    Ok(endings.ended().map_or(Finished::Done, Finished::Ended))
}

/// Takes one message, or none if the command is to end.
fn take(
    queue: &Queue<Bytes, Raw>,
    select: Select,
    limit: Option<Duration>,
    endings: &Endings,
) -> Result<Option<Message<Bytes>>, Failure> {
    let patience = Patience::of(limit);
    loop {
        let taken = match patience.next() {
            Some(limit) => queue.recv_matching_timeout(select, limit),
            None => return queue.try_recv_matching(select).map(Some).map_err(empty),
        };
        match taken {
            Ok(message) => return Ok(Some(message)),
            Err(QueueRecvError::Timeout { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if endings.ended().is_some() {
            return Ok(None);
        }
    }
}

fn empty(error: QueueRecvError) -> Failure {
    match error {
        QueueRecvError::Empty { object } => Failure::new(
            Code::Empty,
            format!(
                "{object} has no such message and none came; wait without --timeout, or send one"
            ),
        ),
        error => error.into(),
    }
}

const PUT_BACK: &str = "the message is on the queue again, at its end";

/// Puts back a message that was taken and could not be written: at the end, for there is no other way. Where that
/// fails the text has the message.
fn put_back(queue: &Queue<Bytes, Raw>, message: &Message<Bytes>) -> Result<(), String> {
    queue.try_send_tagged(message.tag, &message.value).map_err(|error| {
        let line = line_of(message, Format::Json);
        format!("the message cannot be put back ({error}); it was {}", line.trim_end())
    })
}

fn line_of(message: &Message<Bytes>, format: Format) -> String {
    let body = &message.value;
    match format {
        Format::Text => format!("{}\n", text_of(body)),
        Format::Hex => format!("{}\n", hex_of(body)),
        Format::Length => format!("{}\n", body.len()),
        Format::Json => json_of(message) + "\n",
    }
}

/// A message as text: C programs often send the zero at a string's end, which is left out.
fn text_of(body: &[u8]) -> String {
    let body = body.strip_suffix(b"\0").unwrap_or(body);
    body.utf8_chunks()
        .map(|chunk| {
            let bytes = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
            shown(chunk.valid()) + &bytes.collect::<String>()
        })
        .collect()
}

pub(crate) fn hex_of(body: &[u8]) -> String {
    body.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn json_of(message: &Message<Bytes>) -> String {
    let (tag, length) = (message.tag.get(), message.value.len());
    let object = match std::str::from_utf8(&message.value) {
        Ok(text) => json!({ "type": tag, "length": length, "text": text }),
        Err(_) => json!({ "type": tag, "length": length, "hex": hex_of(&message.value) }),
    };
    json::escaped(object.to_string())
}

fn show(arguments: &QueueShowArguments) -> Result<(), Failure> {
    let queue =
        Queue::<Bytes, Raw>::options().owner(arguments.owner.owner).open(arguments.name.clone())?;
    let stat = queue.stat()?;
    let mut messages = Vec::new();
    while messages.len() < arguments.count
        && let Some(message) = queue.peek(messages.len())?
    {
        messages.push(message);
    }
    if arguments.json {
        let mut lines = format!("{}\n", json::queue(queue.id(), &stat));
        messages.iter().for_each(|message| lines += &line_of(message, Format::Json));
        return print(&lines);
    }
    let plain = |cell: String| (cell, Style::new());
    let mut facts = Table::default();
    let mut fact =
        |what: &str, value: String| facts.row(vec![plain(format!("  {what}")), plain(value)]);
    let ownership = &stat.ownership;
    let process = |pid: i32, when: Option<_>| match when {
        Some(when) => format!("{} ago, by process {pid}", age(when)),
        None => "never".to_owned(),
    };
    fact("id", queue.id().to_string());
    fact("key", queue.key().to_string());
    fact("owner", format!("user {}, mode {:04o}", ownership.uid, ownership.mode));
    let room = format!("{} of {}", bytes(stat.bytes), bytes(stat.capacity));
    fact("holds", format!("{}, {room}", count(stat.messages, "message", "messages")));
    fact("last send", process(stat.last_send_pid, stat.last_send));
    fact("last receive", process(stat.last_receive_pid, stat.last_receive));
    let mut text =
        format!("{HEADING}message queue {}{HEADING:#}\n", shown(&arguments.name.to_string()));
    text += &facts.text();
    if !messages.is_empty() {
        let mut table = Table::new(&["  TYPE", "BYTES", "MESSAGE"], &[0, 1]);
        for message in &messages {
            let body = match arguments.format.format {
                Format::Length => String::new(),
                format => line_of(message, format).trim_end().to_owned(),
            };
            let tag = format!("  {}", message.tag);
            table.row(vec![plain(tag), plain(grouped(message.value.len() as u64)), plain(body)]);
        }
        text.push('\n');
        text += &table.text();
        let hidden = stat.messages.saturating_sub(messages.len() as u64);
        if hidden > 0 {
            text += &format!("  and {}; --count shows more\n", count(hidden, "other", "others"));
        }
    }
    print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_and_shown_as_asked() {
        assert_eq!(bytes_of(b"00 fF\t10", true, None).unwrap(), [0, 255, 16]);
        assert_eq!(bytes_of(b"00 fF", false, None).unwrap(), b"00 fF");
        for odd in ["0", "0g", "\u{e4}\u{e4}"] {
            assert!(
                bytes_of(odd.as_bytes(), true, Some(3)).unwrap_err().to_string().contains("line 3")
            );
        }
        assert_eq!(text_of(b"hello\0"), "hello");
        assert_eq!(text_of(b"a\xff\x1b[b\n"), "a\\xff\\u{1b}[b\\n");
        assert_eq!(hex_of(&[0, 171]), "00ab");
    }
}
