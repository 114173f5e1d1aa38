//! A value that fails or panics half-way, when it is encoded or when it is decoded.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{self, Serialize, SerializeTuple, Serializer};
use sysv_channel::codec::Bytes;

/// What happens half-way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Trap {
    Error,
    Panic,
}

/// Half of its bytes, then perhaps a trap, then the other half.
#[derive(Debug)]
pub(crate) struct Trapped {
    pub(crate) id: u64,
    pub(crate) len: usize,
    /// Sprung by the so-manieth encoding, the first being 0.
    pub(crate) encoding: Option<(Trap, usize)>,
    /// Sprung by decoding.
    pub(crate) decoding: Option<Trap>,
    passes: AtomicUsize,
}

impl Trapped {
    pub(crate) fn good(id: u64, len: usize) -> Self {
        Trapped { id, len, encoding: None, decoding: None, passes: AtomicUsize::new(0) }
    }

    pub(crate) fn fails_to_encode(id: u64, len: usize, trap: Trap, pass: usize) -> Self {
        Trapped { encoding: Some((trap, pass)), ..Trapped::good(id, len) }
    }

    pub(crate) fn fails_to_decode(id: u64, len: usize, trap: Trap) -> Self {
        Trapped { decoding: Some(trap), ..Trapped::good(id, len) }
    }

    fn half(&self) -> Bytes {
        vec![self.id as u8; self.len / 2].into()
    }
}

impl Serialize for Trapped {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pass = self.passes.fetch_add(1, Ordering::Relaxed);
        let decoding = match self.decoding {
            None => 0_u8,
            Some(Trap::Error) => 1,
            Some(Trap::Panic) => 2,
        };
        let mut tuple = serializer.serialize_tuple(4)?;
        tuple.serialize_element(&self.id)?;
        tuple.serialize_element(&self.half())?;
        match self.encoding {
            Some((Trap::Error, at)) if at == pass => return Err(ser::Error::custom("sprung")),
            Some((Trap::Panic, at)) if at == pass => panic!("sprung"),
            _ => {}
        }
        tuple.serialize_element(&decoding)?;
        tuple.serialize_element(&self.half())?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Trapped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(4, TrappedVisitor)
    }
}

struct TrappedVisitor;

impl<'de> Visitor<'de> for TrappedVisitor {
    type Value = Trapped;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a trapped value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Trapped, A::Error> {
        let mut missing = || de::Error::custom("too short");
        let id: u64 = elements.next_element()?.ok_or_else(&mut missing)?;
        let half: Bytes = elements.next_element()?.ok_or_else(&mut missing)?;
        match elements.next_element::<u8>()?.ok_or_else(&mut missing)? {
            1 => return Err(de::Error::custom("sprung")),
            2 => panic!("sprung"),
            _ => {}
        }
        let other: Bytes = elements.next_element()?.ok_or_else(&mut missing)?;
        if half != other || half.iter().any(|&byte| byte != id as u8) {
            return Err(de::Error::custom("the bytes are not those that were sent"));
        }
        Ok(Trapped::good(id, half.len() * 2))
    }
}

/// What each test does quietly: panics that are expected say nothing.
pub(crate) fn without_backtraces<R>(body: impl FnOnce() -> R) -> R {
    static HOOKED: std::sync::Once = std::sync::Once::new();
    HOOKED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let sprung = info.payload().downcast_ref::<&str>() == Some(&"sprung");
            if !sprung {
                before(info);
            }
        }));
    });
    body()
}
