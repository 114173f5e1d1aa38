//! How a bare queue is made and found.

use std::fmt;
use std::marker::PhantomData;

use super::{Queue, QueueError, check_capacity};
use crate::bare::BareError;
use crate::codec::Codec;
use crate::control::Owner;
use crate::name::Name;
use crate::schema::Schema;
use crate::sys::{Key, MessageQueue, at_exit};

/// How often `open_or_create` starts again when others create and remove the queue meanwhile.
const ATTEMPTS: usize = 100;

/// How a [`Queue`] is made and found, see [`Queue::options`].
///
/// ```
/// use sysv_channel::Queue;
///
/// let queue = Queue::<u32>::options().mode(0o620).capacity(4096).private()?;
/// let stat = queue.stat()?;
/// assert_eq!((stat.ownership.mode, stat.capacity), (0o620, 4096));
/// # Ok::<(), sysv_channel::QueueError>(())
/// ```
pub struct QueueOptions<T, C> {
    mode: u32,
    capacity: Option<u64>,
    owner: Owner,
    schema: Option<Schema>,
    carries: PhantomData<fn() -> (T, C)>,
}

impl<T, C: Codec<T>> QueueOptions<T, C> {
    pub(super) fn new() -> Self {
        QueueOptions {
            mode: 0o600,
            capacity: None,
            owner: Owner::Myself,
            schema: None,
            carries: PhantomData,
        }
    }

    /// The permissions of a queue to be created, nine bits; 0600 unless set. Sending needs write
    /// permission, receiving read permission. The umask does not count.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// How many bytes of encoded values, and how many values, a queue to be created holds (its
    /// `msg_qbytes`); `kernel.msgmnb` unless set, and only root may go beyond that.
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.capacity = Some(bytes);
        self
    }

    /// Whose queues are opened; only this user's own unless set.
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }

    /// Vouches for a type that is refused as [undecodable](QueueError::Undecodable). Nothing else
    /// comes of the schema, since a queue carries none.
    pub fn schema(mut self, schema: Schema) -> Self {
        self.schema = Some(schema);
        self
    }

    /// Creates a queue that must not exist yet.
    ///
    /// # Errors
    /// [`QueueError::AlreadyExists`] if there is one, [`QueueError::IsChannel`] if a channel has the
    /// name, [`QueueError::InvalidOption`], [`QueueError::InvalidName`] or
    /// [`QueueError::Undecodable`] for what cannot be; [`QueueError::System`] otherwise. Nothing is left
    /// behind then.
    pub fn create(self, name: impl Into<Name>) -> Result<Queue<T, C>, QueueError> {
        let name = name.into();
        let key = QueueError::key_of(&name)?;
        self.check()?;
        QueueError::check_no_channel(&name, key)?;
        self.make(name, key)
    }

    /// Opens an existing queue; mode and capacity stay as they are.
    ///
    /// # Errors
    /// [`QueueError::NotFound`] if there is none, [`QueueError::NotOwned`] if it is another user's,
    /// [`QueueError::IsChannel`] if a channel has the name, [`QueueError::InvalidName`] or
    /// [`QueueError::Undecodable`] for what cannot be; [`QueueError::System`] otherwise.
    pub fn open(self, name: impl Into<Name>) -> Result<Queue<T, C>, QueueError> {
        let name = name.into();
        let key = QueueError::key_of(&name)?;
        self.check_type()?;
        self.find(name, key)
    }

    /// Opens the queue, or creates it if there is none.
    ///
    /// # Errors
    /// As [`open`](QueueOptions::open) and [`create`](QueueOptions::create).
    pub fn open_or_create(self, name: impl Into<Name>) -> Result<Queue<T, C>, QueueError> {
        let name = name.into();
        let key = QueueError::key_of(&name)?;
        self.check()?;
        for _ in 0..ATTEMPTS {
            match self.find(name.clone(), key) {
                Err(QueueError::NotFound { .. } | QueueError::Removed { .. }) => {}
                result => return result,
            }
            match self.make(name.clone(), key) {
                Err(QueueError::AlreadyExists { .. }) => {}
                result => return result,
            }
        }
        self.find(name, key)
    }

    /// Creates a queue with a random key, and removes it when the `Queue` is dropped.
    ///
    /// Others open it by its [`key`](Queue::key). It is removed too when the process exits by itself;
    /// one that is killed leaves it behind.
    ///
    /// # Errors
    /// As [`create`](QueueOptions::create), but for what a name is refused for.
    pub fn private(self) -> Result<Queue<T, C>, QueueError> {
        self.check()?;
        let entry = at_exit::begin().ok_or(QueueError::Exiting)?;
        loop {
            let key = Key::random();
            match self.make(Name::Key(key), key) {
                Err(QueueError::AlreadyExists { .. }) => {}
                made => return made?.removed_on_drop(entry),
            }
        }
    }

    fn check_type(&self) -> Result<(), QueueError> {
        let schema = self.schema.clone().unwrap_or_else(C::schema);
        match schema.undecodable() {
            Some(why) => Err(QueueError::Undecodable { why: why.to_owned() }),
            None => Ok(()),
        }
    }

    fn check(&self) -> Result<(), QueueError> {
        self.check_type()?;
        QueueError::check_mode(self.mode)?;
        self.capacity.map_or(Ok(()), check_capacity)
    }

    fn make(&self, name: Name, key: Key) -> Result<Queue<T, C>, QueueError> {
        let queue = MessageQueue::create(key, self.mode)
            .map_err(|error| QueueError::absent(error, &name))?;
        if let Some(bytes) = self.capacity
            && let Err(error) = queue.set_capacity(bytes)
        {
            // The first error tells more than a second would.
            let _ = queue.remove();
            return Err(error.into());
        }
        Ok(Queue::new(queue, key))
    }

    fn find(&self, name: Name, key: Key) -> Result<Queue<T, C>, QueueError> {
        let opened = MessageQueue::open(key);
        // A channel's set is there before its queue and after it, and some channels have no queue.
        QueueError::check_no_channel(&name, key)?;
        let queue = opened.map_err(|error| QueueError::absent(error, &name))?;
        let ownership = queue.stat()?.ownership;
        if !self.owner.allows(&ownership) {
            return Err(QueueError::NotOwned {
                object: queue.name().to_string(),
                uid: ownership.uid,
                creator_uid: ownership.creator_uid,
            });
        }
        Ok(Queue::new(queue, key))
    }
}

impl<T, C: Codec<T>> Queue<T, C> {
    /// Mode, capacity and owner, where the defaults do not serve.
    pub fn options() -> QueueOptions<T, C> {
        QueueOptions::new()
    }

    /// Creates a queue that must not exist yet, with mode 0600.
    ///
    /// # Errors
    /// See [`QueueOptions::create`].
    ///
    /// ```
    /// use sysv_channel::{Key, Queue};
    ///
    /// # let path = std::env::temp_dir();
    /// let key = Key::from_path(path, b'q')?;
    /// let queue = Queue::<u32>::create(key)?;
    /// assert!(Queue::<u32>::create(key).unwrap_err().is_already_exists());
    /// queue.remove()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create(name: impl Into<Name>) -> Result<Self, QueueError> {
        Self::options().create(name)
    }

    /// Opens an existing queue of this user.
    ///
    /// # Errors
    /// See [`QueueOptions::open`].
    pub fn open(name: impl Into<Name>) -> Result<Self, QueueError> {
        Self::options().open(name)
    }

    /// Opens the queue, or creates it if there is none.
    ///
    /// # Errors
    /// See [`QueueOptions::open_or_create`].
    pub fn open_or_create(name: impl Into<Name>) -> Result<Self, QueueError> {
        Self::options().open_or_create(name)
    }

    /// Creates a queue with a random key, which is removed on drop.
    ///
    /// # Errors
    /// See [`QueueOptions::private`].
    pub fn private() -> Result<Self, QueueError> {
        Self::options().private()
    }
}

impl<T, C> fmt::Debug for QueueOptions<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueOptions")
            .field("mode", &format_args!("{:#o}", self.mode))
            .field("capacity", &self.capacity)
            .field("owner", &self.owner)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Raw;
    use crate::sys::process;

    #[test]
    fn queue_given_to_another_user_is_refused() {
        if process::effective_uid() != 0 {
            println!("skipped: only root can tell what it gave away from what it may not use");
            return;
        }
        let queue = QueueOptions::<Vec<u8>, Raw>::new().private().unwrap();
        queue.set_permissions(65534, 65534, 0o666).unwrap();
        let open = |owner| QueueOptions::<Vec<u8>, Raw>::new().owner(owner).open(queue.key());
        let refused = open(Owner::Myself).unwrap_err().to_string();
        assert!(refused.contains("belongs to user 65534 and was created by user 0"), "{refused}");
        assert!(matches!(open(Owner::User(1)), Err(QueueError::NotOwned { uid: 65534, .. })));
        open(Owner::User(65534)).unwrap();
        open(Owner::Anyone).unwrap();
    }
}
