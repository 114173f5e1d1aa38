//! The header of a control segment: written once by the creator, copied once by each process that
//! opens the channel.

use std::sync::Arc;

use super::layout::{Layout, MAGIC, MAX_CODEC, MAX_SHAPE, MAX_TYPE, VERSION, lane_word, word};
use crate::error::text::Spelling;
use crate::name::MAX_NAME;
use crate::ring::LINE;
use crate::sys::{Fault, Key, MessageQueue, Ordering, Segment, fault};

/// Bit of the flags word: only `unlink` removes the channel.
const DURABLE: u64 = 1;
/// Bit of the flags word: the channel has no name, and is removed even if it holds values.
const PRIVATE: u64 = 2;
/// Bit of the flags word: what is sent are requests: no caller waits for one once no user is there.
const CALLS: u64 = 4;

/// A private copy of what the creator wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) layout: Layout,
    pub(crate) key: Key,
    pub(crate) incarnation: u64,
    pub(crate) mode: u32,
    pub(crate) durable: bool,
    pub(crate) private: bool,
    /// Whether its values are requests.
    pub(crate) calls: bool,
    /// The id of its queue, if it has one.
    pub(crate) queue: Option<i32>,
    pub(crate) fingerprint: u128,
    pub(crate) name: String,
    pub(crate) codec: String,
    pub(crate) type_name: String,
    pub(crate) shape: String,
}

/// Why a header cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// The magic is missing: the creator did not finish, or it is no header at all.
    Unfinished,
    Version(u64),
    Damaged(String),
}

impl Header {
    /// Writes everything but the magic.
    pub(crate) fn write(&self, segment: &Segment) {
        if fault(Fault::MagicFirst) {
            Header::publish(segment);
        }
        let layout = &self.layout;
        let set = |at: usize, value: u64| {
            // Relaxed, every one: `publish` follows with Release.
            segment.word(at).store(value, Ordering::Relaxed);
        };
        set(word::VERSION, VERSION);
        set(word::SIZE, segment.len() as u64);
        set(word::LANES, layout.lanes as u64);
        set(word::RECEIVERS, layout.receivers as u64);
        set(word::RING_LINES, layout.ring_lines);
        set(word::RING_WINDOW, layout.ring_window);
        set(word::RETURN_LINES, layout.return_lines);
        set(word::RETURN_WINDOW, layout.return_window);
        set(word::INLINE_LIMIT, layout.inline_limit as u64);
        set(word::MAX_VALUE, layout.max_value);
        set(word::MAX_WAITING, layout.max_waiting);
        set(word::FINGERPRINT_LOW, self.fingerprint as u64);
        set(word::FINGERPRINT_HIGH, (self.fingerprint >> 64) as u64);
        let durable = if self.durable { DURABLE } else { 0 };
        let private = if self.private { PRIVATE } else { 0 };
        let calls = if self.calls { CALLS } else { 0 };
        set(word::FLAGS, durable | private | calls);
        set(word::KEY, u64::from(self.key.raw() as u32));
        set(word::INCARNATION, self.incarnation);
        set(word::MODE, u64::from(self.mode));
        set(word::QUEUE, self.queue.map_or(0, |id| id as u64 + 1));
        for (len_at, text_at, text, max) in [
            (word::NAME_LEN, layout.name_at(), &self.name, MAX_NAME),
            (word::CODEC_LEN, layout.codec_at(), &self.codec, MAX_CODEC),
            (word::TYPE_LEN, layout.type_at(), &self.type_name, MAX_TYPE),
            (word::SHAPE_LEN, layout.shape_at(), &self.shape, MAX_SHAPE),
        ] {
            point!("header.text");
            let text = cut(text, max);
            segment.copy_in(text_at, text.as_bytes());
            set(len_at, text.len() as u64);
        }
    }

    /// Makes the header valid.
    pub(crate) fn publish(segment: &Segment) {
        // Release: pairs with the Acquire of `read`. Its writer can be killed between any two stores.
        point!("header.written");
        segment.word(word::MAGIC).store(MAGIC, Ordering::Release);
        point!("header.published");
    }

    /// Copies the header and checks it against the segment's real size.
    pub(crate) fn read(segment: &Segment) -> Result<Header, BadHeader> {
        let damaged = |what: &str| Err(BadHeader::Damaged(what.to_owned()));
        if segment.len() < word::WANT_QUEUE + LINE + lane_word::BLOCK {
            return Err(BadHeader::Unfinished);
        }
        // Acquire: pairs with the Release of `publish`, for a process that looks without the lock, which the
        // header's writer had.
        if segment.word(word::MAGIC).load(Ordering::Acquire) != MAGIC {
            return Err(BadHeader::Unfinished);
        }
        let get = |at: usize| segment.word(at).load(Ordering::Relaxed);
        let version = get(word::VERSION);
        if version != VERSION {
            return Err(BadHeader::Version(version));
        }
        let number = |at: usize| usize::try_from(get(at)).unwrap_or(usize::MAX);
        let layout = Layout {
            lanes: number(word::LANES),
            receivers: number(word::RECEIVERS),
            ring_lines: get(word::RING_LINES),
            ring_window: get(word::RING_WINDOW),
            return_lines: get(word::RETURN_LINES),
            return_window: get(word::RETURN_WINDOW),
            inline_limit: number(word::INLINE_LIMIT),
            max_value: get(word::MAX_VALUE),
            max_waiting: get(word::MAX_WAITING),
        };
        if !layout.is_sound() {
            return damaged("its sizes are impossible");
        }
        if layout.size() != Some(segment.len()) || number(word::SIZE) != segment.len() {
            return damaged("its sizes do not add up to that of the segment");
        }
        let text = |len_at: usize, text_at: usize, max: usize, what: &str| {
            let len = number(len_at);
            if len > max {
                return Err(BadHeader::Damaged(format!("its {what} is longer than {max} bytes")));
            }
            let mut bytes = vec![0; len];
            segment.copy_out(text_at, &mut bytes);
            String::from_utf8(bytes)
                .map_err(|_| BadHeader::Damaged(format!("its {what} is not UTF-8")))
        };
        let Some(key) = Key::new(get(word::KEY) as u32 as i32) else {
            return damaged("its key is zero");
        };
        let flags = get(word::FLAGS);
        Ok(Header {
            layout,
            key,
            incarnation: get(word::INCARNATION),
            mode: get(word::MODE) as u32 & 0o777,
            durable: flags & DURABLE != 0,
            private: flags & PRIVATE != 0,
            calls: flags & CALLS != 0,
            queue: get(word::QUEUE).checked_sub(1).and_then(|id| i32::try_from(id).ok()),
            fingerprint: u128::from(get(word::FINGERPRINT_HIGH)) << 64
                | u128::from(get(word::FINGERPRINT_LOW)),
            name: text(word::NAME_LEN, layout.name_at(), MAX_NAME, "name")?,
            codec: text(word::CODEC_LEN, layout.codec_at(), MAX_CODEC, "codec")?,
            type_name: text(word::TYPE_LEN, layout.type_at(), MAX_TYPE, "type")?,
            shape: text(word::SHAPE_LEN, layout.shape_at(), MAX_SHAPE, "shape")?,
        })
    }

    /// The queue under the channel's key, if it is the channel's.
    pub(crate) fn own_queue(&self, found: Option<MessageQueue>) -> Option<MessageQueue> {
        found.filter(|queue| self.queue == Some(queue.id()))
    }

    /// Which of its options are not those of another that was asked for, in words.
    pub(crate) fn other_options(&self, wanted: &Header, spelling: Spelling) -> String {
        let options = |header: &Header| {
            let layout = &header.layout;
            let bytes = |lines: u64, window: u64| match window < lines {
                true => "the default".to_owned(),
                false => (lines * LINE as u64).to_string(),
            };
            [
                ("name", format!("{:?}", header.name)),
                ("private", header.private.to_string()),
                (spelling.lanes, layout.lanes.to_string()),
                ("receivers", layout.receivers.to_string()),
                ("capacity", bytes(layout.ring_lines, layout.ring_window)),
                ("reply_capacity", bytes(layout.return_lines, layout.return_window)),
                ("inline_limit", layout.inline_limit.to_string()),
                ("max_value", layout.max_value.to_string()),
                (
                    "max_waiting",
                    match layout.max_waiting {
                        0 => "unbounded".to_owned(),
                        values => values.to_string(),
                    },
                ),
                ("mode", format!("{:04o}", header.mode)),
                ("durable", header.durable.to_string()),
            ]
        };
        let pairs = options(self).into_iter().zip(options(wanted));
        let differs = pairs.filter(|(is, wanted)| is != wanted).map(|((option, is), wanted)| {
            format!("{option} is {is}, and {} was asked for", wanted.1)
        });
        differs.collect::<Vec<_>>().join("; ")
    }

    /// Whether two headers agree in all but incarnation and queue id, which every channel has of its own, and the type's
    /// name, which programs may have otherwise for one shape.
    // NB: not inlined, since a creator's frame lies deep in the small stack of a model's first thread.
    #[inline(never)]
    pub(crate) fn same_channel(&self, other: &Header) -> bool {
        let own = Header {
            incarnation: other.incarnation,
            queue: other.queue,
            type_name: other.type_name.clone(),
            ..self.clone()
        };
        own == *other
    }
}

/// The text cut to what the header has room for, marked with an ellipsis.
pub(crate) fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mut end = max - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// The segment and the checked copy of its header.
pub(crate) struct Mapped {
    pub(crate) segment: Arc<Segment>,
    pub(crate) header: Header,
}
