//! How a bare semaphore set is made, initialised and found.
//!
//! System V makes a set and gives it its values in two calls, and a program that opens it in between
//! sees zeros, or whatever. Stevens's answer: a set's time of the last operation, `sem_otime`, is 0
//! until the first one. So a creator sets all values and then does an operation that changes nothing,
//! and a program that opens the set waits until `sem_otime` is there.

use std::time::Duration;

use super::{HIGHEST, Semaphores, SemaphoresError};
use crate::bare::BareError;
use crate::control::Owner;
use crate::name::Name;
use crate::private::Private;
use crate::sys::{
    Deadline, Key, SemOp, SemaphoreSet, SystemError, SystemErrorKind, at_exit, pause,
};

/// How often something starts again when others get in between.
const ATTEMPTS: usize = 100;

/// How long a set's creator may take to initialise it, unless the user says otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks whether a set was initialised: twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// How [`Semaphores`] are made and found, see [`Semaphores::options`].
///
/// ```
/// use std::time::Duration;
/// use sysv_channel::Semaphores;
///
/// let set = Semaphores::options().mode(0o660).private(&[1, 0])?;
/// let patient = Semaphores::options().initialised_within(Duration::from_secs(60)).at_least(2);
/// assert_eq!(patient.open(set.key())?.values()?, [1, 0]);
/// # Ok::<(), sysv_channel::SemaphoresError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SemaphoresOptions {
    mode: u32,
    owner: Owner,
    at_least: usize,
    patience: Duration,
    accept_uninitialised: bool,
}

impl SemaphoresOptions {
    pub(super) fn new() -> Self {
        SemaphoresOptions {
            mode: 0o600,
            owner: Owner::Myself,
            at_least: 0,
            patience: PATIENCE,
            accept_uninitialised: false,
        }
    }

    /// The permissions of a set to be created, nine bits; 0600 unless set. Acquiring and releasing need
    /// write permission, values and waiting for zero read permission. The umask does not count. The
    /// creator needs both, to initialise it.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Whose sets are opened; only this user's own unless set.
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }

    /// How many semaphores a set that is opened must have at least, as the number that a C program
    /// gives to semget; 0 unless set.
    pub fn at_least(mut self, count: usize) -> Self {
        self.at_least = count;
        self
    }

    /// How long opening waits until a set's creator has initialised it, which takes microseconds; 5
    /// seconds unless set.
    pub fn initialised_within(mut self, timeout: Duration) -> Self {
        self.patience = timeout;
        self
    }

    /// Opens a set whether or not it was initialised: for programs that do so without an operation,
    /// and before their first one, and to repair or remove what a killed creator left.
    pub fn accept_uninitialised(mut self) -> Self {
        self.accept_uninitialised = true;
        self
    }

    /// Creates a set that must not exist yet, with a semaphore for each of `values`, 0 to 32,767.
    ///
    /// A program that opens it by this crate has it with these values. One that does not look at `sem_otime`
    /// may see zeros for some microseconds.
    ///
    /// # Errors
    /// [`SemaphoresError::AlreadyExists`] if there is one, [`SemaphoresError::IsChannel`] if a channel
    /// has the name, [`SemaphoresError::InvalidOption`] or [`SemaphoresError::InvalidName`] for what
    /// cannot be; [`SemaphoresError::System`] otherwise. Nothing is left behind then.
    pub fn create(
        self,
        name: impl Into<Name>,
        values: &[u16],
    ) -> Result<Semaphores, SemaphoresError> {
        let name = name.into();
        let key = SemaphoresError::key_of(&name)?;
        self.check(values)?;
        SemaphoresError::check_no_channel(&name, key)?;
        self.make(name, key, values)
    }

    /// Opens an existing set, of however many semaphores, once it is initialised.
    ///
    /// # Errors
    /// [`SemaphoresError::NotFound`] if there is none, [`SemaphoresError::NotInitialised`] if its creator
    /// has not initialised it [in time](SemaphoresOptions::initialised_within),
    /// [`SemaphoresError::TooFew`] if it has fewer semaphores than
    /// [`at_least`](SemaphoresOptions::at_least) says, [`SemaphoresError::NotOwned`] if it is another
    /// user's, [`SemaphoresError::IsChannel`] if a channel has the name,
    /// [`SemaphoresError::InvalidName`]; [`SemaphoresError::System`] otherwise.
    pub fn open(self, name: impl Into<Name>) -> Result<Semaphores, SemaphoresError> {
        let name = name.into();
        let key = SemaphoresError::key_of(&name)?;
        self.find(&name, key)
    }

    /// Opens the set, which must have at least as many semaphores as there are `values`, or creates it
    /// with these if there is none. Of many processes that do so at once, one creates it.
    ///
    /// # Errors
    /// As [`open`](SemaphoresOptions::open) and [`create`](SemaphoresOptions::create).
    pub fn open_or_create(
        mut self,
        name: impl Into<Name>,
        values: &[u16],
    ) -> Result<Semaphores, SemaphoresError> {
        let name = name.into();
        let key = SemaphoresError::key_of(&name)?;
        self.check(values)?;
        self.at_least = self.at_least.max(values.len());
        for _ in 0..ATTEMPTS {
            match self.find(&name, key) {
                Err(SemaphoresError::NotFound { .. } | SemaphoresError::Removed { .. }) => {}
                result => return result,
            }
            match self.make(name.clone(), key, values) {
                Err(SemaphoresError::AlreadyExists { .. }) => {}
                result => return result,
            }
        }
        self.find(&name, key)
    }

    /// Creates a set with a random key, and removes it when the `Semaphores` are dropped.
    ///
    /// Others open it by its [`key`](Semaphores::key). It is removed too when the process exits by
    /// itself; one that is killed leaves it behind.
    ///
    /// # Errors
    /// As [`create`](SemaphoresOptions::create), but for what a name is refused for.
    pub fn private(self, values: &[u16]) -> Result<Semaphores, SemaphoresError> {
        self.check(values)?;
        let entry = at_exit::begin().ok_or(SemaphoresError::Exiting)?;
        loop {
            let key = Key::random();
            match self.make(Name::Key(key), key, values) {
                Err(SemaphoresError::AlreadyExists { .. }) => {}
                made => {
                    let mut semaphores = made?;
                    let set = semaphores.set;
                    let private = Private::new(entry, move || drop(set.remove()));
                    semaphores._private = Some(private.ok_or(SemaphoresError::Exiting)?);
                    return Ok(semaphores);
                }
            }
        }
    }

    fn check(&self, values: &[u16]) -> Result<(), SemaphoresError> {
        SemaphoresError::check_mode(self.mode)?;
        check_values(values)?;
        if values.is_empty() || values.len() < self.at_least {
            return Err(SemaphoresError::InvalidOption(format!(
                "a set of {} semaphores cannot have at least {}: give a value for each",
                values.len(),
                self.at_least.max(1)
            )));
        }
        Ok(())
    }

    fn make(&self, name: Name, key: Key, values: &[u16]) -> Result<Semaphores, SemaphoresError> {
        let set = SemaphoreSet::create(key, values.len(), self.mode)
            .map_err(|error| SemaphoresError::absent(error, &name))?;
        set.set_values(values).and_then(|()| mark_initialised(set)).inspect_err(|_| {
            // The first error tells more than a second would.
            let _ = set.remove();
        })?;
        Ok(Semaphores { set, key, count: values.len(), _private: None })
    }

    fn find(&self, name: &Name, key: Key) -> Result<Semaphores, SemaphoresError> {
        let deadline = Deadline::after(self.patience);
        let mut next = FIRST_PAUSE;
        loop {
            let opened = SemaphoreSet::open(key);
            SemaphoresError::check_no_channel(name, key)?;
            let set = opened.map_err(|error| SemaphoresError::absent(error, name))?;
            match self.look(set, key) {
                Err(SemaphoresError::NotInitialised { .. }) if !deadline.has_passed() => {}
                // Its creator gave up, or another program removed it: there may be another by now.
                Err(SemaphoresError::Removed { .. }) if !deadline.has_passed() => {}
                result => return result,
            }
            pause(next.min(deadline.remaining().unwrap_or(LONGEST_PAUSE)));
            next = (next * 2).min(LONGEST_PAUSE);
        }
    }

    fn look(&self, set: SemaphoreSet, key: Key) -> Result<Semaphores, SemaphoresError> {
        let stat = set.stat()?;
        let object = || set.name().to_string();
        if !self.owner.allows(&stat.ownership) {
            return Err(SemaphoresError::NotOwned {
                object: object(),
                uid: stat.ownership.uid,
                creator_uid: stat.ownership.creator_uid,
            });
        }
        if stat.count < self.at_least {
            return Err(SemaphoresError::TooFew {
                object: object(),
                count: stat.count,
                wanted: self.at_least,
            });
        }
        if stat.last_operation == 0 && !self.accept_uninitialised {
            return Err(SemaphoresError::NotInitialised {
                object: object(),
                id: set.id(),
                waited: self.patience,
                set_by: set.last_pid(0).ok().filter(|&pid| pid != 0),
            });
        }
        Ok(Semaphores { set, key, count: stat.count, _private: None })
    }
}

impl Semaphores {
    /// Mode, owner and how long to wait for a creator, where the defaults do not serve.
    pub fn options() -> SemaphoresOptions {
        SemaphoresOptions::new()
    }

    /// Creates a set that must not exist yet, with a semaphore for each of `values` and mode 0600.
    ///
    /// # Errors
    /// See [`SemaphoresOptions::create`].
    ///
    /// ```
    /// use sysv_channel::{Key, Semaphores};
    ///
    /// # let path = std::env::temp_dir();
    /// let key = Key::from_path(path, b'm')?;
    /// let set = Semaphores::create(key, &[1])?;
    /// assert!(Semaphores::create(key, &[1]).unwrap_err().is_already_exists());
    /// set.remove()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create(name: impl Into<Name>, values: &[u16]) -> Result<Self, SemaphoresError> {
        Self::options().create(name, values)
    }

    /// Opens an existing set of this user, once it is initialised.
    ///
    /// # Errors
    /// See [`SemaphoresOptions::open`].
    pub fn open(name: impl Into<Name>) -> Result<Self, SemaphoresError> {
        Self::options().open(name)
    }

    /// Opens the set, or creates it with these values if there is none.
    ///
    /// # Errors
    /// See [`SemaphoresOptions::open_or_create`].
    pub fn open_or_create(name: impl Into<Name>, values: &[u16]) -> Result<Self, SemaphoresError> {
        Self::options().open_or_create(name, values)
    }

    /// Creates a set with a random key, which is removed on drop.
    ///
    /// # Errors
    /// See [`SemaphoresOptions::private`].
    pub fn private(values: &[u16]) -> Result<Self, SemaphoresError> {
        Self::options().private(values)
    }
}

/// Does an operation that changes nothing, by which `sem_otime` tells that the values are there.
fn mark_initialised(set: SemaphoreSet) -> Result<(), SystemError> {
    // The one is impossible at 32,767, the other at 0. Both are, if other programs change the value
    // between them, which have then done an operation themselves.
    let (up, down) = (SemOp::add(0, 1), SemOp::add(0, -1));
    let mut tries = 0;
    loop {
        for ops in [[up, down], [down, up]] {
            match set.operate(&ops, Deadline::now()) {
                Err(error)
                    if matches!(
                        error.kind(),
                        SystemErrorKind::WouldBlock | SystemErrorKind::Overflow
                    ) && tries < ATTEMPTS =>
                {
                    tries += 1;
                }
                done => return done,
            }
        }
        if set.stat()?.last_operation != 0 {
            return Ok(());
        }
    }
}

pub(super) fn check_values(values: &[u16]) -> Result<(), SemaphoresError> {
    match values.iter().find(|value| **value > HIGHEST) {
        Some(value) => Err(SemaphoresError::InvalidOption(format!(
            "a semaphore counts to {HIGHEST}, and cannot be {value}"
        ))),
        None => Ok(()),
    }
}
