//! The first bytes of each queue message of a channel.

use super::ENVELOPE;

/// What a queue message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Envelope {
    /// The value itself follows, so many bytes, from the lane's owner of that generation: its message of
    /// that number, which tells it from the others on the queue.
    Inline { len: usize, lane: usize, generation: u64, number: u64 },
    /// The value is a record of a lane's ring.
    Descriptor { lane: usize, position: u64 },
}

const INLINE: u8 = 1;
const DESCRIPTOR: u8 = 2;

/// Generations of a lane's owners are below this. There is one for every microsecond of half a year.
pub(crate) const GENERATIONS: u64 = 1 << GENERATION_BITS;
const GENERATION_BITS: u32 = 44;

/// How many messages of one owner are told apart.
#[cfg(not(loom))]
pub(crate) const NUMBERS: u64 = 1 << (u64::BITS - GENERATION_BITS);

impl Envelope {
    /// Writes it to the front of a message's text.
    pub(crate) fn write(self, text: &mut [u8]) {
        let (len, kind, lane, last) = match self {
            Envelope::Inline { len, lane, generation, number } => {
                (len, INLINE, lane, generation % GENERATIONS + (number << GENERATION_BITS))
            }
            Envelope::Descriptor { lane, position } => (0, DESCRIPTOR, lane, position),
        };
        text[..4].copy_from_slice(&(len as u32).to_le_bytes());
        text[4..6].copy_from_slice(&[kind, 0]);
        text[6..8].copy_from_slice(&(lane as u16).to_le_bytes());
        text[8..ENVELOPE].copy_from_slice(&last.to_le_bytes());
    }

    /// How long the message's text is.
    pub(crate) fn text_len(self) -> usize {
        match self {
            Envelope::Inline { len, .. } => ENVELOPE + len,
            Envelope::Descriptor { .. } => ENVELOPE,
        }
    }

    /// Reads what stands at the front of a text; `None` if this crate did not write it.
    pub(crate) fn read(bytes: [u8; ENVELOPE]) -> Option<Self> {
        let [a, b, c, d, kind, zero, e, f, last @ ..] = bytes;
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        let lane = usize::from(u16::from_le_bytes([e, f]));
        let last = u64::from_le_bytes(last);
        match kind {
            INLINE if zero == 0 => {
                let (generation, number) = (last % GENERATIONS, last >> GENERATION_BITS);
                Some(Envelope::Inline { len, lane, generation, number })
            }
            DESCRIPTOR if zero == 0 && len == 0 => {
                Some(Envelope::Descriptor { lane, position: last })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for envelope in [
            Envelope::Inline { len: 0, lane: 0, generation: 1, number: 0 },
            Envelope::Inline {
                len: 8000,
                lane: 4095,
                generation: GENERATIONS - 1,
                number: (1 << 20) - 1,
            },
            Envelope::Descriptor { lane: 4095, position: 1 << 61 },
        ] {
            let mut text = [0xff; ENVELOPE];
            envelope.write(&mut text);
            assert_eq!(Envelope::read(text), Some(envelope));
        }
    }

    #[test]
    fn foreign_bytes_are_no_envelope() {
        assert_eq!(Envelope::read([0; ENVELOPE]), None);
        assert_eq!(Envelope::read([0xff; ENVELOPE]), None);
        assert_eq!(Envelope::read(*b"hello from a C p"), None);
    }
}
