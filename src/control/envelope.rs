//! The first bytes of each queue message of a channel.

use super::ENVELOPE;

/// What a queue message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Envelope {
    /// The value itself follows, so many bytes, from the lane's owner of that generation.
    Inline { len: usize, lane: usize, generation: u64 },
    /// The value is a record of a lane's ring.
    Descriptor { lane: usize, position: u64 },
}

const INLINE: u8 = 1;
const DESCRIPTOR: u8 = 2;

impl Envelope {
    /// Writes it to the front of a message's text.
    pub(crate) fn write(self, text: &mut [u8]) {
        let (len, kind, lane, last) = match self {
            Envelope::Inline { len, lane, generation } => (len, INLINE, lane, generation),
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
            INLINE if zero == 0 => Some(Envelope::Inline { len, lane, generation: last }),
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
            Envelope::Inline { len: 0, lane: 0, generation: 1 },
            Envelope::Inline { len: 8000, lane: 4095, generation: u64::MAX },
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
