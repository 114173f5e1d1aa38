//! Keys: the numbers by which processes find a System V object.

use std::fmt;
use std::io;
use std::num::NonZeroI32;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A System V key: the number that programs agree on to find the same object.
///
/// See `key_t` in [sysvipc(7)](https://man7.org/linux/man-pages/man7/sysvipc.7.html). It is never
/// 0, which is `IPC_PRIVATE`.
///
/// ```
/// use sysv_channel::Key;
///
/// let key = Key::from_name("orders");
/// assert_eq!(key, Key::from_name("orders"));
/// assert_eq!(Key::new(0x162e).unwrap().to_string(), "0x0000162e");
/// assert_eq!(Key::new(0), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(NonZeroI32);

impl Key {
    /// The key with this number; none for 0.
    pub fn new(raw: i32) -> Option<Key> {
        NonZeroI32::new(raw).map(Key)
    }

    /// The key that C programs get from [ftok(3)](https://man7.org/linux/man-pages/man3/ftok.3.html)
    /// for the same existing file and project number (1 to 255).
    ///
    /// It is made of the file's device (8 bits) and inode (16 bits) alone: two files can give the
    /// same key, and a file that is made anew gives another one. Between programs of this crate a
    /// name serves better.
    ///
    /// # Errors
    /// [`KeyError`] when the file cannot be looked at, or project is 0.
    ///
    /// ```
    /// use sysv_channel::Key;
    ///
    /// let key = Key::from_path("/etc/passwd", b'a')?;
    /// assert_eq!(key.raw() >> 24, i32::from(b'a'));
    /// # Ok::<(), sysv_channel::KeyError>(())
    /// ```
    pub fn from_path(path: impl AsRef<Path>, project: u8) -> Result<Key, KeyError> {
        let path = path.as_ref();
        if project == 0 {
            return Err(KeyError::ZeroProject { path: path.to_owned() });
        }
        let file = std::fs::metadata(path)
            .map_err(|source| KeyError::Path { path: path.to_owned(), source })?;
        let device = (file.dev() & 0xff) as u32;
        let inode = (file.ino() & 0xffff) as u32;
        let raw = u32::from(project) << 24 | device << 16 | inode;
        Key::new(raw as i32).ok_or_else(|| KeyError::ZeroProject { path: path.to_owned() })
    }

    /// The key of a name: the 64-bit FNV-1a hash of its bytes, upper half XOR lower half, and
    /// 0x7fffffff in place of 0.
    ///
    /// Other languages can compute it. Two names may share a key; a channel notices, a bare queue
    /// cannot.
    ///
    /// See [RFC 9923](https://www.rfc-editor.org/rfc/rfc9923) for the hash.
    pub fn from_name(name: &str) -> Key {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Key::folded(hash)
    }

    /// A key that no other program chooses by accident.
    pub(crate) fn random() -> Key {
        Key::folded(super::process::random())
    }

    /// A key for a channel without a name: 20 random bits, and 12 that follow from them, by which
    /// [`sweep`](crate::sweep) knows a set that its creator did not live to sign.
    pub(crate) fn private() -> Key {
        let random = (super::process::random() >> 44) as u32;
        // Zero is no key.
        [random, 1].into_iter().find_map(|low| Key::new(Key::checked(low))).expect("1 gives a key")
    }

    /// Whether the key is one that [`Key::private`] gives; one of 4,096 others passes too.
    pub(crate) fn is_private(self) -> bool {
        self.raw() == Key::checked(self.raw() as u32)
    }

    /// The lowest 20 bits, with a hash of them in front.
    fn checked(low: u32) -> i32 {
        let low = low & 0xf_ffff;
        let hash = (u64::from(low) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((hash >> 52) as u32 * (1 << 20) + low) as i32
    }

    fn folded(hash: u64) -> Key {
        Key::new((hash >> 32) as i32 ^ hash as i32).unwrap_or(Key(NonZeroI32::MAX))
    }

    /// The number.
    pub fn raw(self) -> i32 {
        self.0.get()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.raw())
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Key::new(i32::deserialize(deserializer)?)
            .ok_or_else(|| de::Error::custom("a System V key is never 0 (IPC_PRIVATE)"))
    }
}

/// Why a path gives no [`Key`].
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// The file could not be looked at.
    Path {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Project number 0 could give key 0, which is `IPC_PRIVATE`.
    ZeroProject {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Path { path, source } => write!(
                f,
                "no key from {}: {source}: ftok needs a file that exists and can be reached",
                path.display()
            ),
            KeyError::ZeroProject { path } => {
                write!(f, "no key from {}: give a project number from 1 to 255", path.display())
            }
        }
    }
}

// What the system said is part of the text, so it is no source: a program that prints both would print
// it twice.
impl std::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;
    use nix::libc;

    #[test]
    fn path_gives_the_key_of_ftok() {
        for (path, project) in [(c"/", 1), (c"/proc/self", 200), (c"/etc/passwd", 255)] {
            // SAFETY: the path is a C string.
            let raw = unsafe { libc::ftok(path.as_ptr(), project) };
            let key = Key::from_path(path.to_str().unwrap(), project as u8).unwrap();
            assert_eq!(key.raw(), raw);
        }
    }

    #[test]
    fn bad_paths_are_named() {
        let missing = Key::from_path("/no/such/file", 1).unwrap_err().to_string();
        assert!(missing.contains("/no/such/file"), "{missing}");
        let missing = Key::from_path("/no/such/file", 1).unwrap_err();
        assert!(missing.source().is_none(), "{missing}: its text says it already");
        let zero = Key::from_path("/", 0).unwrap_err().to_string();
        assert!(zero.contains("1 to 255"), "{zero}");
    }

    #[test]
    fn name_gives_the_documented_hash() {
        // The published FNV-1a 64 vectors "" = cbf29ce484222325 and "foobar" = 85944171f73967e8.
        assert_eq!(Key::from_name("").raw(), (0xcbf29ce4_u32 ^ 0x84222325) as i32);
        assert_eq!(Key::from_name("foobar").raw(), (0x85944171_u32 ^ 0xf73967e8) as i32);
    }

    #[test]
    fn private_keys_are_known_and_others_are_not() {
        for _ in 0..1000 {
            assert!(Key::private().is_private());
        }
        let names = (0..100_000).map(|name| Key::from_name(&format!("orders {name}")));
        let taken = names.filter(|key| key.is_private()).count();
        assert!(taken < 100, "{taken} of 100,000");
    }

    #[test]
    fn random_keys_differ() {
        assert_ne!(Key::random(), Key::random());
    }
}
