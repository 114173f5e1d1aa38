//! Waiting for several receivers at once.

use std::fmt;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::Receiver;
use crate::actor::{Mailbox, Watch};
use crate::codec::Codec;
use crate::error::RecvError;
use crate::rpc::Server;
use crate::sys::thread::Parker;
use crate::sys::{self, Deadline};

/// Waits until one of several receivers, servers, mailboxes or watches has something, as crossbeam's `Select` does
/// with its `ready`.
///
/// It says which one, and takes nothing: the call that follows, `try_recv`, receives. A member is ready that has
/// a value, whose senders are gone, or that was removed; a [`Watch`](crate::actor::Watch), whose actor has ended. What it has may turn out to be nothing for the
/// caller, as a value that its sender took back, or a message that a mailbox passes on; so `try_recv`, and
/// not `recv`, is the call to make, and where it says that there is nothing, the set waits again.
///
/// System V has no wait for several things at once: a member costs a thread, from the first wait that has to
/// sleep until the member is dropped, which sleeps in the kernel in the caller's place. A set whose members
/// always have something starts none.
///
/// ```
/// use sysv_channel::WaitSet;
///
/// let (orders, from_customers) = sysv_channel::channel::<u64>()?;
/// let (news, from_markets) = sysv_channel::channel::<String>()?;
/// let customers = std::thread::spawn(move || orders.send(&7));
/// let markets = std::thread::spawn(move || news.send(&"open".to_owned()));
///
/// let mut set = WaitSet::new();
/// let order = set.add(&from_customers);
/// let report = set.add(&from_markets);
/// let (mut orders, mut reports) = (0, 0);
/// while let Some(ready) = set.ready()? {
///     let received = match ready {
///         _ if ready == order => from_customers.try_recv().map(|_| orders += 1),
///         _ => from_markets.try_recv().map(|_| reports += 1),
///     };
///     match received {
///         Ok(()) => {}
///         Err(error) if error.is_empty() => {}
///         Err(error) if error.is_disconnected() => assert!(set.remove(ready)),
///         Err(error) => return Err(error.into()),
///     }
/// }
/// assert_eq!((orders, reports), (1, 1));
/// # customers.join().unwrap()?;
/// # markets.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct WaitSet<'m> {
    members: Vec<Option<&'m dyn Waits>>,
    /// Which member is looked at first: the one behind that which was ready last.
    turn: usize,
}

/// What a [`WaitSet`] waits for: a [`Receiver`], a [`Server`](crate::rpc::Server), a
/// [`Mailbox`](crate::actor::Mailbox) or a [`Watch`](crate::actor::Watch).
#[expect(private_bounds, reason = "what it takes is of this crate")]
pub trait Waitable: Waits {}

/// How a set waits for a member.
pub(crate) trait Waits {
    /// Whether a call that does not wait has something to receive or to tell.
    fn is_ready(&self) -> Result<bool, RecvError>;

    /// The same; else the waker is woken when it may have.
    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), RecvError>>;

    /// Has the waker woken no more.
    fn stop_polling(&self);

    /// How long a call looks before it sleeps.
    fn spin(&self) -> Duration;
}

impl<T, C: Codec<T>> Waitable for Receiver<T, C> {}

impl<Q, R, C: Codec<Q> + Codec<R>> Waitable for Server<Q, R, C> {}

impl<M, C: Codec<M>> Waitable for Mailbox<M, C> {}

/// It is ready once its actor has ended.
impl Waitable for Watch {}

impl<T, C: Codec<T>> Waits for Receiver<T, C> {
    fn is_ready(&self) -> Result<bool, RecvError> {
        Receiver::is_ready(self)
    }

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), RecvError>> {
        Receiver::poll_ready(self, context, || Receiver::is_ready(self))
    }

    fn stop_polling(&self) {
        Receiver::stop_polling(self);
    }

    fn spin(&self) -> Duration {
        Receiver::spin(self)
    }
}

impl<'m> WaitSet<'m> {
    /// A set without members.
    pub fn new() -> Self {
        WaitSet::default()
    }

    /// Adds a member; returns the number that the set knows it by.
    pub fn add(&mut self, member: &'m impl Waitable) -> usize {
        self.members.push(Some(member));
        self.members.len() - 1
    }

    /// Waits for a member no more; `false` if there is none with this number. The others keep theirs.
    pub fn remove(&mut self, number: usize) -> bool {
        self.members.get_mut(number).and_then(Option::take).is_some()
    }

    /// Waits until a member is ready; says which one. Members that are ready all the time have their turns.
    /// `None` if the set has no member.
    ///
    /// # Errors
    /// [`RecvError::Closed`], once, if the [closer](Receiver::closer) of a receiver ended the call, and
    /// [`RecvError::Corrupt`] if something was consumed that was no value: both name the channel, and the next
    /// call waits again. [`RecvError::System`] if a thread could not be started, [`RecvError::Reentrant`] inside of a
    /// call of a member.
    pub fn ready(&mut self) -> Result<Option<usize>, RecvError> {
        self.ready_by(Deadline::never())
    }

    /// Which member is ready now; `None` if none is.
    ///
    /// # Errors
    /// As [`ready`](WaitSet::ready), but for a receiver that was closed.
    pub fn try_ready(&mut self) -> Result<Option<usize>, RecvError> {
        self.ready_by(Deadline::now())
    }

    /// Waits at most `timeout` until a member is ready; `None` if none was.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (tx, rx) = sysv_channel::channel::<u32>()?;
    /// let mut set = sysv_channel::WaitSet::new();
    /// let only = set.add(&rx);
    /// assert_eq!(set.ready_timeout(Duration::from_millis(1))?, None);
    /// tx.send(&7)?;
    /// assert_eq!(set.ready_timeout(Duration::from_millis(1))?, Some(only));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`ready`](WaitSet::ready).
    pub fn ready_timeout(&mut self, timeout: Duration) -> Result<Option<usize>, RecvError> {
        self.ready_by(Deadline::after(timeout))
    }

    /// Like [`ready_timeout`](WaitSet::ready_timeout), until a moment.
    ///
    /// # Errors
    /// As [`ready`](WaitSet::ready).
    pub fn ready_deadline(&mut self, deadline: Instant) -> Result<Option<usize>, RecvError> {
        self.ready_by(Deadline::at(deadline))
    }

    fn ready_by(&mut self, deadline: Deadline) -> Result<Option<usize>, RecvError> {
        let now = self.find(|member| member.is_ready())?;
        if now.is_some() || deadline.is_now() || self.members().next().is_none() {
            return Ok(now);
        }
        if let Some(ready) = self.spin(deadline)? {
            return Ok(Some(ready));
        }
        let parker = Parker::new();
        let mut context = Context::from_waker(parker.waker());
        let ready = loop {
            let ready = self.find(|member| match member.poll_ready(&mut context) {
                Poll::Ready(ready) => ready.map(|()| true),
                Poll::Pending => Ok(false),
            });
            if !matches!(ready, Ok(None)) || deadline.has_passed() {
                break ready;
            }
            parker.park(deadline);
        };
        self.members().for_each(Waits::stop_polling);
        ready
    }

    /// Looks for as long as the member would that looks longest.
    fn spin(&mut self, deadline: Deadline) -> Result<Option<usize>, RecvError> {
        let longest = self.members().map(Waits::spin).max().unwrap_or_default();
        let longest = deadline.remaining().map_or(longest, |left| left.min(longest));
        let spin = sys::spin_budget(longest);
        if spin.is_zero() {
            return Ok(None);
        }
        let until = Deadline::after(spin);
        while !until.has_passed() {
            let ready = self.find(|member| member.is_ready())?;
            if ready.is_some() {
                return Ok(ready);
            }
            sys::spin_hint();
        }
        Ok(None)
    }

    /// The first member, in turn, of which `ready` says that it is.
    fn find(
        &mut self,
        mut ready: impl FnMut(&dyn Waits) -> Result<bool, RecvError>,
    ) -> Result<Option<usize>, RecvError> {
        let count = self.members.len();
        for step in 0..count {
            let number = (self.turn + step) % count;
            if let Some(member) = self.members[number]
                && ready(member)?
            {
                self.turn = number + 1;
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    fn members(&self) -> impl Iterator<Item = &dyn Waits> {
        self.members.iter().flatten().copied()
    }
}

impl fmt::Debug for WaitSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitSet").field("members", &self.members().count()).finish()
    }
}
