//! How a command ends: its exit code, and one line that says what went wrong and what to do.

use std::fmt;
use std::io;

use clap::error::ContextValue;
use sysv_channel::codec::Raw;
use sysv_channel::dynamic::DynamicError;
use sysv_channel::rpc::{CallError, ConnectError};
use sysv_channel::{
    ChannelKind, InspectError, InvalidName, Name, OpenError, Owner, Queue, QueueError,
    QueueRecvError, QueueSendError, RecvError, SendError, SystemError, SystemErrorKind,
};

use crate::text::shown;

/// The exit codes, as the help and the man page document them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// The command failed.
    Failed = 1,
    /// The arguments, or a value that was to be sent, are wrong.
    Usage = 2,
    /// There is no such channel, queue or server.
    NotFound = 3,
    /// Nothing was there, or nothing came in time.
    Empty = 4,
    /// It is in use, holds values, is another user's, or carries another type.
    Refused = 5,
}

/// Why a command did not do what it was told.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    text: String,
}

impl Failure {
    pub(crate) fn new(code: Code, text: impl fmt::Display) -> Self {
        Failure { code, text: in_the_tools_words(&text.to_string()) }
    }

    pub(crate) fn failed(text: impl fmt::Display) -> Self {
        Failure::new(Code::Failed, text)
    }

    /// Of wrong arguments: what clap says in paragraphs, in a line.
    pub(crate) fn usage(error: &mut clap::Error) -> Self {
        // What was given may hold line ends, which would be taken for clap's own.
        let given: Vec<_> = error
            .context()
            .filter_map(|(kind, value)| match value {
                ContextValue::String(text) => Some((kind, ContextValue::String(shown(text)))),
                ContextValue::Strings(texts) => {
                    let texts = texts.iter().map(|text| shown(text)).collect();
                    Some((kind, ContextValue::Strings(texts)))
                }
                _ => None,
            })
            .collect();
        for (kind, value) in given {
            error.insert(kind, value);
        }
        let rendered = error.render().to_string();
        let mut said = Vec::new();
        for paragraph in rendered.split("\n\n") {
            let lines: Vec<_> = paragraph.lines().map(str::trim).collect();
            said.push(lines.join(" "));
        }
        let help = "For more information, try";
        let said: Vec<_> = said
            .iter()
            .filter(|paragraph| !paragraph.starts_with(help))
            .map(|paragraph| {
                paragraph.trim_start_matches("error: ").replacen("Usage: ", "usage: ", 1)
            })
            .collect();
        Failure::new(Code::Usage, said.join("; "))
    }

    pub(crate) fn code(&self) -> u8 {
        self.code as u8
    }

    /// The same, where a server was looked for.
    pub(crate) fn of_server(mut self) -> Self {
        if let Some(rest) = self.text.strip_prefix(NO_CHANNEL) {
            self.text = format!("there is no server{rest}");
        }
        self
    }

    /// The same, with what is known beside it.
    pub(crate) fn and(mut self, more: impl fmt::Display) -> Self {
        self.text = format!("{}; {more}", self.text);
        self
    }
}

impl fmt::Display for Failure {
    /// One line, whatever stood in the shared memory that the text speaks of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.text))
    }
}

/// What the library calls otherwise, since it speaks to programs.
const WORDS: [(&str, &str); 7] = [
    ("`unlink`", "`sysv-channel rm --force`"),
    ("with unlink", "with `sysv-channel rm --force`"),
    ("by unlink", "by `sysv-channel rm --force`"),
    ("(unlink, ipcrm)", "(by `sysv-channel rm`, ipcrm)"),
    (
        "close one, or create it for more (Options::receivers)",
        "end one, or have it created for more receivers",
    ),
    ("create it with a greater max_value", "have it created for longer values (max_value)"),
    ("`list` says", "`sysv-channel list` says"),
];

/// A message of the library in the tool's words. Names, which stand in quotes, stay what they are.
fn in_the_tools_words(text: &str) -> String {
    let parts = text.split('"').enumerate().map(|(at, part)| match at % 2 {
        0 => WORDS.iter().fold(part.to_owned(), |part, (theirs, ours)| part.replace(theirs, ours)),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("\"")
}

/// There is no channel of that name, but a bare queue may be there.
fn not_found(name: &Name) -> Failure {
    let queue = Queue::<Vec<u8>, Raw>::options().owner(Owner::Anyone).open(name.clone());
    match queue {
        Err(QueueError::NotFound { .. } | QueueError::IsChannel { .. }) => Failure::new(
            Code::NotFound,
            format!("{NO_CHANNEL} {name}; `sysv-channel list` shows those of this ipc namespace"),
        ),
        // Also one that may not be opened.
        _ => Failure::new(
            Code::Refused,
            format!(
                "{name} is a bare queue and no channel; `sysv-channel queue show`, `queue recv` and `queue send` \
                 are for bare queues"
            ),
        ),
    }
}

const NO_CHANNEL: &str = "there is no channel";

fn not_owned(object: &str, uid: u32, creator_uid: u32, advice: &str) -> Failure {
    let what = format!("{object} belongs to user {uid} and was created by user {creator_uid}");
    Failure::new(Code::Refused, format!("{what}; {advice}"))
}

fn code_of(error: &SystemError) -> Code {
    match error.kind() {
        SystemErrorKind::NotFound | SystemErrorKind::Removed => Code::NotFound,
        SystemErrorKind::PermissionDenied => Code::Refused,
        _ => Code::Failed,
    }
}

impl From<SystemError> for Failure {
    fn from(error: SystemError) -> Self {
        Failure::new(code_of(&error), error)
    }
}

impl From<InvalidName> for Failure {
    fn from(error: InvalidName) -> Self {
        Failure::new(Code::Usage, error)
    }
}

impl From<InspectError> for Failure {
    fn from(error: InspectError) -> Self {
        let code = match &error {
            InspectError::InvalidName(_) => Code::Usage,
            InspectError::NotFound { .. } => Code::NotFound,
            InspectError::KeyCollision { .. } => Code::Refused,
            InspectError::System(error) => code_of(error),
            _ => Code::Failed,
        };
        match error {
            InspectError::NotFound { name } => not_found(&name),
            error => Failure::new(code, error),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let code = match &error {
            OpenError::InvalidName(_) => Code::Usage,
            OpenError::NotFound { .. } => Code::NotFound,
            OpenError::AlreadyExists { .. }
            | OpenError::KeyCollision { .. }
            | OpenError::NotOwned { .. }
            | OpenError::WrongMode { .. }
            | OpenError::WrongType { .. }
            | OpenError::WrongCodec { .. }
            | OpenError::Busy { .. }
            | OpenError::Attach(_) => Code::Refused,
            OpenError::System(error) => code_of(error),
            _ => Code::Failed,
        };
        match error {
            OpenError::NotFound { name } => not_found(&name),
            OpenError::NotOwned { object, uid, creator_uid } => {
                not_owned(&object, uid, creator_uid, "do it as that user")
            }
            error => Failure::new(code, error),
        }
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        let code = match &error {
            QueueError::InvalidName(_) | QueueError::InvalidOption(_) => Code::Usage,
            QueueError::NotFound { .. } | QueueError::Removed { .. } => Code::NotFound,
            QueueError::IsChannel { name } => {
                let what = format!(
                    "{name} is a channel and no bare queue; use the commands `show`, `send`, `recv` and \
                     `rm`, which are for channels"
                );
                return Failure::new(Code::Refused, what);
            }
            QueueError::NotOwned { object, uid, creator_uid } => {
                let advice = "if you trust them, say `--owner any`";
                return not_owned(object, *uid, *creator_uid, advice);
            }
            QueueError::System(error) => code_of(error),
            _ => Code::Failed,
        };
        Failure::new(code, error)
    }
}

impl From<QueueRecvError> for Failure {
    fn from(error: QueueRecvError) -> Self {
        let code = match &error {
            QueueRecvError::Empty { .. } | QueueRecvError::Timeout { .. } => Code::Empty,
            QueueRecvError::Removed { .. } => Code::NotFound,
            QueueRecvError::System(error) => code_of(error),
            _ => Code::Failed,
        };
        Failure::new(code, error)
    }
}

impl From<QueueSendError> for Failure {
    fn from(error: QueueSendError) -> Self {
        let code = match &error {
            QueueSendError::Full { .. } | QueueSendError::Timeout { .. } => Code::Empty,
            QueueSendError::Removed { .. } => Code::NotFound,
            QueueSendError::TooLong { .. } => Code::Usage,
            QueueSendError::System(error) => code_of(error),
            _ => Code::Failed,
        };
        Failure::new(code, error)
    }
}

impl From<DynamicError> for Failure {
    fn from(error: DynamicError) -> Self {
        match error {
            DynamicError::Inspect(error) => error.into(),
            DynamicError::Open(OpenError::NotOwned { object, uid, creator_uid }) => {
                not_owned(&object, uid, creator_uid, "if you trust them, say `--owner any`")
            }
            DynamicError::Open(error) => error.into(),
            DynamicError::WrongKind { name, found, .. } => {
                let (kind, way) = match found {
                    ChannelKind::Server => ("a server", "`sysv-channel call` calls it"),
                    ChannelKind::Mailbox => {
                        ("a mailbox", "`sysv-channel peek` and `tap` show its messages")
                    }
                    _ => ("a channel", "`sysv-channel send` and `recv` are for channels"),
                };
                Failure::new(Code::Refused, format!("{name} is {kind}; {way}"))
            }
            DynamicError::Connect(error) => error.into(),
            error => Failure::new(Code::Refused, error),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Open(error) => error.into(),
            ConnectError::NotFound { .. } => Failure::new(Code::NotFound, error),
            error => Failure::new(Code::Refused, error),
        }
    }
}

impl From<RecvError> for Failure {
    fn from(error: RecvError) -> Self {
        let code = match &error {
            RecvError::Empty { .. } | RecvError::Timeout { .. } => Code::Empty,
            RecvError::Removed { .. } => Code::NotFound,
            RecvError::NoSelection { .. } => Code::Usage,
            _ => Code::Failed,
        };
        Failure::new(code, error)
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let code = match &error {
            SendError::Full { .. } | SendError::Timeout { .. } => Code::Empty,
            SendError::Removed { .. } => Code::NotFound,
            SendError::Encode { .. } => {
                return Failure::new(Code::Usage, error)
                    .and("`sysv-channel schema` prints the type");
            }
            SendError::TooLong { .. } => Code::Usage,
            _ => Code::Failed,
        };
        Failure::new(code, error)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Send(error) => error.into(),
            CallError::Wait(error) => error.into(),
            CallError::Reconnect(error) => error.into(),
            error if error.is_timeout() => Failure::new(Code::Empty, error),
            error => Failure::failed(error),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::failed(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sysv_channel::AttachError;

    #[test]
    fn what_to_do_is_said_in_the_tools_words() {
        let name = Name::from("by unlink");
        let said = |text: &dyn fmt::Display| Failure::failed(text).to_string();
        let removed = said(&OpenError::HoldsValues { name: name.clone() });
        assert!(
            removed.contains("\"by unlink\"") && removed.ends_with("by `sysv-channel rm --force`"),
            "{removed}"
        );
        let damaged = said(&InspectError::Damaged {
            key: sysv_channel::Key::new(7).unwrap(),
            what: "x".to_owned(),
        });
        assert!(damaged.ends_with("remove it with `sysv-channel rm --force`"), "{damaged}");
        let full =
            said(&AttachError::ReceiversExhausted { channel: name.clone().into(), receivers: 2 });
        assert!(full.ends_with("have it created for more receivers"), "{full}");
        let long = said(&SendError::TooLong { channel: name.into(), max: 9, option: "max_value" });
        assert!(long.ends_with("have it created for longer values (max_value)"), "{long}");
    }
}
