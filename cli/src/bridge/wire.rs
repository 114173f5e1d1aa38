//! What two bridges say to each other: each message begins with the version of the protocol, and is checked when it is
//! read.
//!
//! Messages are small, but for the values of a [`Batch`], which follow their message as they are.

use std::fmt;
use std::io::Read;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sysv_channel::Tag;
use sysv_channel::bridge::ValueId;
use sysv_channel::codec::{ReadError, Reader};
use zenoh::bytes::{ZBytes, ZBytesReader};

/// The version of the protocol that this program speaks.
const VERSION: u8 = 1;

/// The longest message, without the values that follow it, in bytes. A header has room for shapes of 16,000.
const LONGEST: usize = 64 << 10;

/// Of an entry: what stands before each value.
const ENTRY: usize = 40;

/// Of a piece of memory that small values are gathered in.
const CHUNK: usize = 16 << 10;

/// An `out` wants to send: the question to `KEY/hello`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// What the values that follow belong to; drawn anew for each hello.
    pub(crate) session: u64,
    /// The bridge that asks, which acknowledgements go to.
    pub(crate) from: u64,
    pub(crate) codec: String,
    pub(crate) shape: String,
}

/// What an `in` says to that.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// From here on it takes the values of this session, and of no other.
    Welcome {
        /// The bridge that answers, which values go to.
        instance: u64,
        /// The longest value that arrives there, in bytes.
        longest: u64,
        /// Of the values that were put last.
        known: Vec<[u8; 24]>,
    },
    /// The two channels do not carry the same values.
    Refused { channel: String, difference: String },
    /// Another `out` that is alive sends to it.
    Taken,
    /// There is no channel to put values into yet.
    NotReady { why: String },
}

/// From an `out` to its `in`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Down {
    pub(crate) session: u64,
    pub(crate) from: u64,
    pub(crate) what: DownWhat,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum DownWhat {
    /// So many values follow; the first has this number, from 1 in each session. The `out` may wait for them to be
    /// acknowledged, since it can take no more.
    Values { first: u64, count: u32, waits: bool },
    /// Values up to this number were sent before.
    Ping { sent: u64, stamp: u64 },
}

/// From an `in` to its `out`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Up {
    pub(crate) session: u64,
    pub(crate) what: UpWhat,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum UpWhat {
    /// All up to this number stand in the channel.
    Put { up_to: u64 },
    /// Nothing is taken any more, and all up to this number stand in the channel: a ping says that it was heard.
    Bye { up_to: u64 },
    /// The answer to a ping.
    Pong { received: u64, put: u64, stamp: u64 },
    /// Something is missing, or the session is not known: say hello again.
    Again,
    /// The channel does not take the value of this number.
    Refused { number: u64, channel: String, why: String },
}

/// Why a message was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WireError {
    /// The other bridge speaks this version.
    Version(u8),
    /// It is no message.
    Malformed,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Version(theirs) => write!(
                f,
                "the other bridge speaks version {theirs} of the protocol, this one version {VERSION}; update the \
                 older one"
            ),
            WireError::Malformed => f.write_str("what came is no message of a bridge"),
        }
    }
}

fn configuration() -> impl bincode::config::Config {
    bincode::config::standard().with_fixed_int_encoding().with_limit::<LONGEST>()
}

/// The bytes of a message. One that is too long, which no bridge writes, is cut to its version, and is not understood.
pub(crate) fn encode<M: Serialize>(message: &M) -> Vec<u8> {
    bincode::serde::encode_to_vec((VERSION, message), configuration())
        .unwrap_or_else(|_| vec![VERSION])
}

/// A message, and how many bytes of these it took.
pub(crate) fn decode_beginning<M: DeserializeOwned>(bytes: &[u8]) -> Result<(M, usize), WireError> {
    match bytes.first() {
        Some(&VERSION) => {}
        Some(&theirs) => return Err(WireError::Version(theirs)),
        None => return Err(WireError::Malformed),
    }
    let decoded = bincode::serde::decode_from_slice(&bytes[1..], configuration());
    decoded.map(|(message, read)| (message, read + 1)).map_err(|_| WireError::Malformed)
}

/// A message of which nothing follows.
pub(crate) fn decode<M: DeserializeOwned>(payload: &ZBytes) -> Result<M, WireError> {
    if payload.len() > LONGEST {
        return Err(WireError::Malformed);
    }
    let bytes = payload.to_bytes();
    match decode_beginning(&bytes)? {
        (message, read) if read == bytes.len() => Ok(message),
        _ => Err(WireError::Malformed),
    }
}

/// The longest [`Down`] in bytes, with its version.
const DOWN: usize = 64;

/// A message to an `in`, and at which byte its values begin.
pub(crate) fn decode_down(payload: &ZBytes) -> Result<(Down, usize), WireError> {
    let mut beginning = [0; DOWN];
    let len = payload.len().min(DOWN);
    let read = payload.reader().read_exact(&mut beginning[..len]);
    read.map_err(|_| WireError::Malformed)?;
    decode_beginning(&beginning[..len])
}

/// Values that go in one message. Each is copied once, into memory that the message is made of.
#[derive(Default)]
pub(crate) struct Batch {
    chunks: Vec<Vec<u8>>,
    count: u32,
    bytes: usize,
}

impl Batch {
    /// Adds a value; where there is no memory for it nothing is added.
    pub(crate) fn push(
        &mut self,
        id: ValueId,
        tag: Tag,
        mut bytes: Reader<'_>,
    ) -> Result<(), ReadError> {
        let len = bytes.remaining();
        let is_large = len >= CHUNK;
        let needed = if is_large { ENTRY } else { ENTRY + len };
        let has_room = |chunk: &Vec<u8>| chunk.capacity() - chunk.len() >= needed;
        if !self.chunks.last().is_some_and(has_room) {
            self.chunks.push(Vec::with_capacity(if is_large { ENTRY } else { CHUNK + ENTRY }));
        }
        let value = if is_large { Some(bytes.read_vec(len)?) } else { None };
        if let Some(chunk) = self.chunks.last_mut() {
            let before = chunk.len();
            chunk.extend_from_slice(&id.to_bytes());
            chunk.extend_from_slice(&tag.get().to_le_bytes());
            chunk.extend_from_slice(&(len as u64).to_le_bytes());
            if value.is_none() {
                let begin = chunk.len();
                chunk.resize(begin + len, 0);
                if let Err(error) = bytes.read(&mut chunk[begin..]) {
                    chunk.truncate(before);
                    return Err(error);
                }
            }
        }
        self.chunks.extend(value);
        self.count += 1;
        self.bytes += len;
        Ok(())
    }

    /// How many values it has.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The length of its values in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The message, whose first value has this number.
    pub(crate) fn message(self, session: u64, from: u64, first: u64, waits: bool) -> ZBytes {
        let what = DownWhat::Values { first, count: self.count, waits };
        let mut writer = ZBytes::writer();
        writer.append(encode(&Down { session, from, what }).into());
        self.chunks.into_iter().for_each(|chunk| writer.append(chunk.into()));
        writer.finish()
    }
}

/// The values of a [`Batch`], as they arrived.
pub(crate) struct Values<'p> {
    reader: ZBytesReader<'p>,
}

impl<'p> Values<'p> {
    pub(crate) fn of(payload: &'p ZBytes, begin: usize) -> Result<Self, WireError> {
        let mut reader = payload.reader();
        let mut beginning = [0; DOWN];
        let skipped = beginning.get_mut(..begin).ok_or(WireError::Malformed)?;
        reader.read_exact(skipped).map_err(|_| WireError::Malformed)?;
        Ok(Values { reader })
    }

    /// The next value, whose bytes are read into `memory`; how many there are.
    pub(crate) fn next(
        &mut self,
        memory: &mut Vec<u8>,
    ) -> Result<(ValueId, Tag, usize), WireError> {
        let mut entry = [0; ENTRY];
        self.reader.read_exact(&mut entry).map_err(|_| WireError::Malformed)?;
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&entry[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let mut id = [0; 24];
        id.copy_from_slice(&entry[..24]);
        let tag = Tag::new(word(24) as i64).ok_or(WireError::Malformed)?;
        let len = usize::try_from(word(32)).map_err(|_| WireError::Malformed)?;
        if len > self.reader.remaining() {
            return Err(WireError::Malformed);
        }
        if memory.len() < len || memory.len() > len.max(LARGE) {
            // What one large value took is not kept for small ones.
            *memory = vec![0; len];
        }
        self.reader.read_exact(&mut memory[..len]).map_err(|_| WireError::Malformed)?;
        Ok((ValueId::from_bytes(id), tag, len))
    }
}

/// Memory of this length is kept from one value to the next.
const LARGE: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> ValueId {
        ValueId::from_bytes([number; 24])
    }

    fn batch(lengths: &[usize]) -> Batch {
        let mut batch = Batch::default();
        for (number, &len) in lengths.iter().enumerate() {
            let bytes = vec![number as u8; len];
            let tag = Tag::new(number as i64 + 1).unwrap();
            batch.push(id(number as u8), tag, Reader::new(&bytes)).unwrap();
        }
        batch
    }

    #[test]
    fn values_are_read_back_as_they_were_written() {
        let lengths = [0, 1, 100, 20_000, CHUNK - 1, CHUNK, 3, 1 << 20, 5];
        let message = batch(&lengths).message(7, 8, 9, true);
        let (down, begin) = decode_down(&message).unwrap();
        assert!(
            matches!(down.what, DownWhat::Values { first: 9, count: 9, waits: true }),
            "{down:?}"
        );
        assert_eq!((down.session, down.from), (7, 8));
        let mut values = Values::of(&message, begin).unwrap();
        let mut memory = Vec::new();
        for (number, &len) in lengths.iter().enumerate() {
            let (read, tag, read_len) = values.next(&mut memory).unwrap();
            assert_eq!((read, tag.get(), read_len), (id(number as u8), number as i64 + 1, len));
            assert!(memory[..len].iter().all(|&byte| byte == number as u8));
        }
        assert_eq!(values.next(&mut memory), Err(WireError::Malformed));
    }

    /// Reads a message as each of its kinds, to its end.
    fn read(bytes: &[u8]) {
        let payload = ZBytes::from(bytes.to_vec());
        let _ = (decode::<Hello>(&payload), decode::<Answer>(&payload), decode::<Up>(&payload));
        if let Ok((down, begin)) = decode_down(&payload)
            && let DownWhat::Values { .. } = down.what
            && let Ok(mut values) = Values::of(&payload, begin)
        {
            let mut memory = Vec::new();
            while values.next(&mut memory).is_ok() {
                assert!(memory.len() <= bytes.len());
            }
        }
    }

    #[test]
    fn whatever_comes_is_read_or_refused() {
        let hello = Hello { session: 1, from: 2, codec: "bincode".into(), shape: "u8".into() };
        let known = vec![[3; 24]; 5];
        let messages = [
            encode(&hello),
            encode(&Answer::Welcome { instance: 1, longest: 2, known }),
            encode(&Up { session: 1, what: UpWhat::Put { up_to: 2 } }),
            batch(&[5, 50]).message(1, 2, 3, false).to_bytes().into_owned(),
        ];
        for message in messages {
            for len in 0..message.len() {
                read(&message[..len]);
            }
            for at in 0..message.len() {
                for byte in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut changed = message.clone();
                    changed[at] = byte;
                    read(&changed);
                    // Lengths are of eight bytes.
                    changed[at..].iter_mut().take(8).for_each(|other| *other = byte);
                    read(&changed);
                }
            }
        }
    }

    #[test]
    fn another_version_is_told() {
        let mut bytes = encode(&Answer::Taken);
        bytes[0] = 9;
        let error = decode::<Answer>(&bytes.into()).unwrap_err();
        assert_eq!(error, WireError::Version(9));
        assert!(error.to_string().contains("version 9"), "{error}");
        assert!(matches!(decode::<Answer>(&ZBytes::new()), Err(WireError::Malformed)));
        let mut longer = encode(&Answer::Taken);
        longer.push(0);
        assert!(matches!(decode::<Answer>(&longer.into()), Err(WireError::Malformed)));
    }
}
