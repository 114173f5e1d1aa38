//! How a bare segment is made and found.

use super::{Segment, SegmentError};
use crate::bare::BareError;
use crate::control::Owner;
use crate::name::Name;
use crate::private::Private;
use crate::sys::{Key, SegmentId, SegmentStat, SystemErrorKind, at_exit};

/// How often `open_or_create` starts again when others create and remove the segment meanwhile.
const ATTEMPTS: usize = 100;

/// How a [`Segment`] is made and found, see [`Segment::options`].
///
/// ```
/// use sysv_channel::Segment;
///
/// let segment = Segment::options().mode(0o640).private(4096)?;
/// let reader = Segment::options().read_only().at_least(4096).open(segment.key())?;
/// assert!(reader.store_bytes(0, b"no").is_err());
/// # Ok::<(), sysv_channel::SegmentError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SegmentOptions {
    mode: u32,
    owner: Owner,
    read_only: bool,
    at_least: usize,
}

impl SegmentOptions {
    pub(super) fn new() -> Self {
        SegmentOptions { mode: 0o600, owner: Owner::Myself, read_only: false, at_least: 0 }
    }

    /// The permissions of a segment to be created, nine bits; 0600 unless set. Attaching needs read
    /// permission, and write permission unless it is [`read_only`](SegmentOptions::read_only). The
    /// umask does not count.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Whose segments are opened; only this user's own unless set.
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }

    /// Attaches for reading alone (`SHM_RDONLY`): stores are errors.
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// How many bytes a segment that is opened must have at least, as the size that a C program gives
    /// to shmget; 0 unless set.
    pub fn at_least(mut self, bytes: usize) -> Self {
        self.at_least = bytes;
        self
    }

    /// Creates a segment of `size` zero bytes that must not exist yet.
    ///
    /// The kernel counts its memory now, as far as `vm.overcommit_memory` has it count any.
    ///
    /// # Errors
    /// [`SegmentError::AlreadyExists`] if there is one, [`SegmentError::IsChannel`] if a channel has the
    /// name, [`SegmentError::InvalidOption`] or [`SegmentError::InvalidName`] for what cannot be;
    /// [`SegmentError::System`] otherwise, of kind
    /// [`LimitReached`](crate::SystemErrorKind::LimitReached) for a size beyond the kernel's limits,
    /// which it names. Nothing is left behind then.
    pub fn create(self, name: impl Into<Name>, size: usize) -> Result<Segment, SegmentError> {
        let name = name.into();
        let key = SegmentError::key_of(&name)?;
        self.check(size)?;
        SegmentError::check_no_channel(&name, key)?;
        self.make(name, key, size)
    }

    /// Opens an existing segment, of whatever size.
    ///
    /// # Errors
    /// [`SegmentError::NotFound`] if there is none, [`SegmentError::TooSmall`] if it has fewer bytes
    /// than [`at_least`](SegmentOptions::at_least) says, [`SegmentError::NotOwned`] if it is another
    /// user's, [`SegmentError::NotAllowed`] if its mode does not let this user in,
    /// [`SegmentError::IsChannel`] if a channel has the name, [`SegmentError::InvalidName`];
    /// [`SegmentError::System`] otherwise.
    pub fn open(self, name: impl Into<Name>) -> Result<Segment, SegmentError> {
        let name = name.into();
        let key = SegmentError::key_of(&name)?;
        self.find(name, key)
    }

    /// Opens the segment, which must have at least `size` bytes, or creates it if there is none.
    ///
    /// # Errors
    /// As [`open`](SegmentOptions::open) and [`create`](SegmentOptions::create).
    pub fn open_or_create(
        mut self,
        name: impl Into<Name>,
        size: usize,
    ) -> Result<Segment, SegmentError> {
        let name = name.into();
        let key = SegmentError::key_of(&name)?;
        self.check(size)?;
        self.at_least = self.at_least.max(size);
        for _ in 0..ATTEMPTS {
            match self.find(name.clone(), key) {
                Err(SegmentError::NotFound { .. } | SegmentError::Removed { .. }) => {}
                result => return result,
            }
            match self.make(name.clone(), key, size) {
                Err(SegmentError::AlreadyExists { .. } | SegmentError::Removed { .. }) => {}
                result => return result,
            }
        }
        self.find(name, key)
    }

    /// Creates a segment of `size` zero bytes with a random key, and removes it when the `Segment` is
    /// dropped.
    ///
    /// Others open it by its [`key`](Segment::key). It is removed too when the process exits by itself;
    /// one that is killed leaves it behind.
    ///
    /// # Errors
    /// As [`create`](SegmentOptions::create), but for what a name is refused for.
    pub fn private(self, size: usize) -> Result<Segment, SegmentError> {
        self.check(size)?;
        let entry = at_exit::begin().ok_or(SegmentError::Exiting)?;
        loop {
            let key = Key::random();
            match self.make(Name::Key(key), key, size) {
                Err(SegmentError::AlreadyExists { .. }) => {}
                made => {
                    let mut segment = made?;
                    let id = segment.memory.id();
                    let private = Private::new(entry, move || drop(id.remove()));
                    segment._private = Some(private.ok_or(SegmentError::Exiting)?);
                    return Ok(segment);
                }
            }
        }
    }

    fn check(&self, size: usize) -> Result<(), SegmentError> {
        SegmentError::check_mode(self.mode)?;
        if size == 0 {
            let what = "a segment has at least one byte";
            return Err(SegmentError::InvalidOption(what.to_owned()));
        }
        if size < self.at_least {
            return Err(SegmentError::InvalidOption(format!(
                "a segment of {size} bytes cannot have at least {}",
                self.at_least
            )));
        }
        Ok(())
    }

    fn make(&self, name: Name, key: Key, size: usize) -> Result<Segment, SegmentError> {
        let id = SegmentId::create_counted(key, size, self.mode)
            .map_err(|error| SegmentError::absent(error, &name))?;
        self.attach(id, key).inspect_err(|_| {
            // The first error tells more than a second would.
            let _ = id.remove();
        })
    }

    fn find(&self, name: Name, key: Key) -> Result<Segment, SegmentError> {
        let opened = SegmentId::open(key);
        // A channel's set is there before its segment and after it.
        SegmentError::check_no_channel(&name, key)?;
        let id = opened.map_err(|error| SegmentError::absent(error, &name))?;
        self.attach_found(id, key).map_err(|error| match error {
            // Between two of the calls.
            SegmentError::Removed { .. } => SegmentError::NotFound { name },
            error => error,
        })
    }

    fn attach_found(&self, id: SegmentId, key: Key) -> Result<Segment, SegmentError> {
        let stat = self.check_owner(id)?;
        if stat.size < self.at_least {
            return Err(SegmentError::TooSmall {
                object: id.name().to_string(),
                size: stat.size,
                wanted: self.at_least,
            });
        }
        let segment = self.attach(id, key)?;
        // What is mapped is what this says, whatever had the id before.
        self.check_owner(id)?;
        Ok(segment)
    }

    fn check_owner(&self, id: SegmentId) -> Result<SegmentStat, SegmentError> {
        let stat = id.stat()?;
        if self.owner.allows(&stat.ownership) {
            return Ok(stat);
        }
        Err(SegmentError::NotOwned {
            object: id.name().to_string(),
            uid: stat.ownership.uid,
            creator_uid: stat.ownership.creator_uid,
        })
    }

    fn attach(&self, id: SegmentId, key: Key) -> Result<Segment, SegmentError> {
        let memory = id.attach(self.read_only).map_err(|error| match error.kind() {
            SystemErrorKind::PermissionDenied => SegmentError::NotAllowed {
                object: id.name().to_string(),
                mode: id.stat().map_or(self.mode, |stat| stat.ownership.mode),
                read_only: self.read_only,
            },
            _ => error.into(),
        })?;
        Ok(Segment { memory, key, read_only: self.read_only, _private: None })
    }
}

impl Segment {
    /// Mode, owner, size and reading alone, where the defaults do not serve.
    pub fn options() -> SegmentOptions {
        SegmentOptions::new()
    }

    /// Creates a segment of `size` zero bytes that must not exist yet, with mode 0600.
    ///
    /// # Errors
    /// See [`SegmentOptions::create`].
    ///
    /// ```
    /// use sysv_channel::{Key, Segment};
    ///
    /// # let path = std::env::temp_dir();
    /// let key = Key::from_path(path, b's')?;
    /// let segment = Segment::create(key, 4096)?;
    /// assert!(Segment::create(key, 4096).unwrap_err().is_already_exists());
    /// segment.remove()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create(name: impl Into<Name>, size: usize) -> Result<Self, SegmentError> {
        Self::options().create(name, size)
    }

    /// Opens an existing segment of this user.
    ///
    /// # Errors
    /// See [`SegmentOptions::open`].
    pub fn open(name: impl Into<Name>) -> Result<Self, SegmentError> {
        Self::options().open(name)
    }

    /// Opens the segment, or creates it if there is none.
    ///
    /// # Errors
    /// See [`SegmentOptions::open_or_create`].
    pub fn open_or_create(name: impl Into<Name>, size: usize) -> Result<Self, SegmentError> {
        Self::options().open_or_create(name, size)
    }

    /// Creates a segment with a random key, which is removed on drop.
    ///
    /// # Errors
    /// See [`SegmentOptions::private`].
    pub fn private(size: usize) -> Result<Self, SegmentError> {
        Self::options().private(size)
    }
}
