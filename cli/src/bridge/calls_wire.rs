//! What `bridge serve` and `bridge call` say to each other. Heads of messages are small; a request, a reply, a part or a
//! text follows its head as it is.
//!
//! Each side numbers its messages from 1 in each session, so that the other one notices where one is missing.

use std::fmt;
use std::io::Read;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zenoh::bytes::ZBytes;
use zenoh::sample::Sample;

use super::link::Link;
use super::wire::{self, WireError};

/// The longest head in bytes, with its version.
const HEAD: usize = 64;

/// So many calls of a session are under way at most.
pub(crate) const CALLS: usize = 1024;

/// Of their requests so many bytes at most, or one that is longer.
pub(crate) const BYTES: usize = 64 << 20;

/// So much of a stream is on its way at most, as [`charge`] counts, and one part beyond it.
pub(crate) const WINDOW: u64 = 256 << 10;

/// What a part of a stream counts for.
pub(crate) fn charge(bytes: usize) -> u64 {
    bytes as u64 + 64
}

/// A `serve` wants to pass calls on: the question to `KEY/calls/hello`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// What the calls that follow belong to; drawn anew for each hello.
    pub(crate) session: u64,
    /// The bridge that asks, which replies go to.
    pub(crate) from: u64,
    /// The longest reply that arrives there, in bytes.
    pub(crate) longest: u64,
}

/// What a `call` says to that.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// From here on it takes the calls of this session.
    Welcome {
        /// The bridge that answers, which calls go to.
        instance: u64,
        /// The longest request that arrives there, in bytes.
        longest: u64,
        served: Served,
    },
    /// There is no server to be called yet, or no room for another `serve`.
    NotReady { why: String },
}

/// What the server there is bound with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Served {
    pub(crate) codec: String,
    pub(crate) request: String,
    pub(crate) reply: String,
    pub(crate) max_value: u64,
    pub(crate) clients: u64,
    pub(crate) capacity: u64,
    pub(crate) reply_capacity: u64,
}

/// From a `serve` to its `call`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Down {
    pub(crate) session: u64,
    pub(crate) from: u64,
    pub(crate) number: u64,
    pub(crate) what: DownWhat,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum DownWhat {
    /// The request follows. Calls are numbered upwards.
    Request {
        call: u64,
        /// How long the caller waits on, in microseconds.
        left: Option<u64>,
        stream: bool,
    },
    /// The caller waits no more.
    Cancel {
        call: u64,
    },
    /// The caller has taken parts of its stream that counted for so much.
    Taken {
        call: u64,
        charge: u64,
    },
    Ping {
        stamp: u64,
    },
}

/// From a `call` to its `serve`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Up {
    pub(crate) session: u64,
    pub(crate) number: u64,
    pub(crate) what: UpWhat,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum UpWhat {
    /// The reply follows.
    Reply { call: u64 },
    /// A part of a stream follows.
    Part { call: u64 },
    /// There are no more parts.
    End { call: u64 },
    /// There is no reply; a text follows.
    Failed { call: u64, why: Why },
    /// The answer to a ping.
    Pong { stamp: u64 },
    /// The session is over, since the server is gone. Of the messages to it those up to this number were heeded; a text
    /// follows.
    Away { heeded: u64 },
    /// Something is missing, or the session is not known: say hello again. It has no number.
    Again,
}

/// Why a call failed, as the client there was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Why {
    /// The server is gone; whether it had received the request.
    Died {
        received: bool,
    },
    /// The deadline passed.
    Late,
    Panicked,
    Dropped,
    Unreadable,
    Unsendable,
    /// It cannot be sent to the server, now or later.
    NotPassedOn,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Died { received } => write!(f, "died, received: {received}"),
            Why::Late => f.write_str("late"),
            Why::Panicked => f.write_str("panicked"),
            Why::Dropped => f.write_str("dropped"),
            Why::Unreadable => f.write_str("unreadable"),
            Why::Unsendable => f.write_str("unsendable"),
            Why::NotPassedOn => f.write_str("not passed on"),
        }
    }
}

/// The longest request or reply that this bridge takes, in bytes.
pub(crate) fn longest(link: &Link) -> u64 {
    link.longest.saturating_sub(HEAD as u64)
}

/// The bridge that a liveliness token stands for.
pub(crate) fn bridge_of(token: &Sample) -> Option<u64> {
    let digits = token.key_expr().rsplit('/').next()?;
    u64::from_str_radix(digits, 16).ok()
}

/// A message whose bytes follow its head.
pub(crate) fn encode<M: Serialize>(head: &M, bytes: Vec<u8>) -> ZBytes {
    let head = wire::encode(head);
    if bytes.is_empty() {
        return head.into();
    }
    let mut writer = ZBytes::writer();
    writer.append(head.into());
    writer.append(bytes.into());
    writer.finish()
}

/// The head of a message, and what follows it.
pub(crate) fn decode<M: DeserializeOwned>(
    payload: &ZBytes,
) -> Result<(M, Following<'_>), WireError> {
    let mut beginning = [0; HEAD];
    let len = payload.len().min(HEAD);
    payload.reader().read_exact(&mut beginning[..len]).map_err(|_| WireError::Malformed)?;
    let (head, begin) = wire::decode_beginning(&beginning[..len])?;
    Ok((head, Following { payload, begin }))
}

/// The bytes behind a head.
pub(crate) struct Following<'p> {
    payload: &'p ZBytes,
    begin: usize,
}

impl Following<'_> {
    pub(crate) fn len(&self) -> usize {
        self.payload.len() - self.begin
    }

    /// Copies them; nothing where there is no memory for them.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(self.len()).ok()?;
        bytes.resize(self.len(), 0);
        let mut reader = self.payload.reader();
        let mut head = [0; HEAD];
        reader.read_exact(&mut head[..self.begin]).ok()?;
        reader.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    /// A text, as much of it as a message on a terminal may have.
    pub(crate) fn text(&self) -> String {
        const LONGEST: usize = 4096;
        let bytes =
            if self.len() <= 64 * LONGEST { self.bytes().unwrap_or_default() } else { Vec::new() };
        let text = String::from_utf8_lossy(&bytes);
        text.chars().take(LONGEST).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn downs() -> [DownWhat; 4] {
        let most = u64::MAX;
        [
            DownWhat::Request { call: most, left: Some(most), stream: true },
            DownWhat::Cancel { call: most },
            DownWhat::Taken { call: most, charge: most },
            DownWhat::Ping { stamp: most },
        ]
    }

    #[test]
    fn what_follows_a_head_is_read_back() {
        for len in [0, 1, 63, 64, 65, 100_000] {
            for what in downs() {
                let down = Down { session: u64::MAX, from: u64::MAX, number: u64::MAX, what };
                let message = encode(&down, vec![7; len]);
                let (read, following) = decode::<Down>(&message).unwrap();
                assert_eq!(format!("{read:?}"), format!("{down:?}"));
                assert_eq!(following.bytes().unwrap(), vec![7; len]);
            }
        }
    }

    #[test]
    fn whatever_comes_is_read_or_refused() {
        let why = Why::Died { received: true };
        let up = Up { session: 1, number: 2, what: UpWhat::Failed { call: 3, why } };
        let mut messages = vec![encode(&up, b"why".to_vec()).to_bytes().into_owned()];
        for what in downs() {
            let down = Down { session: 1, from: 2, number: 3, what };
            messages.push(encode(&down, vec![1; 50]).to_bytes().into_owned());
        }
        let read = |bytes: &[u8]| {
            let payload = ZBytes::from(bytes.to_vec());
            let followed = |following: Following<'_>| (following.bytes(), following.text());
            let _ = decode::<Down>(&payload).map(|(_, following)| followed(following));
            let _ = decode::<Up>(&payload).map(|(_, following)| followed(following));
        };
        for message in messages {
            (0..message.len()).for_each(|len| read(&message[..len]));
            for at in 0..message.len() {
                for byte in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut changed = message.clone();
                    changed[at..].iter_mut().take(8).for_each(|other| *other = byte);
                    read(&changed);
                }
            }
        }
        let other_version = ZBytes::from(vec![9; 30]);
        assert!(matches!(decode::<Up>(&other_version), Err(WireError::Version(9))));
    }
}
