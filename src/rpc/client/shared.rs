//! The connection that a client shares with the calls that it started.
//!
//! A call that was started outlives the borrow of its client and may be waited for on another thread. So
//! while there are such calls the connection lies on a desk behind a lock, and a thread that needs it takes
//! it from there and puts it back: the lock itself is held for a moment only. While there are none, the client
//! has the connection for itself, and a call takes no lock.
//!
//! ```text
//! to send, to look:  borrow: take it; if another thread has it, ask that thread for it (WANTED, its bell)
//! to wait:           with the connection in hand, at the lane's bell, for all of them
//!                    it is wanted: put it back and follow, in one step
//! follow:            until the thread that waits has the outcome (KNOWN), or has put the connection back
//! ```
//!
//! So a thread that has something to do waits for no reply of another one's, one thread at a time sleeps at the
//! lane's bell, and those that only wait do not wake each other in turn.

use std::collections::BTreeMap;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, PoisonError};
use std::task::Waker;
use std::time::Duration;

use super::connection::{Calls, Connection, NoReply, Outcome, Started};
use super::options::ClientOptions;
use super::tasks::TaskBell;
use crate::Sender;
use crate::channel::{SenderBell, Untyped};
use crate::codec::Codec;
use crate::name::Name;
use crate::panics;
use crate::rpc::ConnectError;
use crate::rpc::error::CallError;
use crate::sys::thread::{Parker, current_id};
use crate::sys::{AtomicU64, ClockOffset, Deadline, Fault, Mutex, Ordering, fault, process};

/// How long a call that does not wait for its reply waits for the connection, if another thread has it.
pub(super) const HAND_OVER: Duration = Duration::from_millis(if cfg!(loom) { 0 } else { 10 });

/// Takes a place at a server.
pub(super) type Connect =
    fn(&ClientOptions, &Name, Duration) -> Result<Sender<(), Untyped>, ConnectError>;

/// What a client and the calls that it started have in common.
pub(super) struct Shared<R> {
    pub(super) name: Arc<Name>,
    pub(super) options: ClientOptions,
    pub(super) clock: ClockOffset,
    connect: Connect,
    /// Which process this is: the lock of a parent process may be taken for ever.
    process: u64,
    /// Not zero while a thread wants the connection that another one has.
    wanted: AtomicU64,
    pub(super) task_bell: Arc<TaskBell>,
    desk: Mutex<Desk<R>>,
}

struct Desk<R> {
    /// Missing while a thread has it, or the client for itself.
    connection: Option<Box<Connection<R>>>,
    /// The thread that has it from here.
    holder: Option<u64>,
    /// Where that thread sleeps.
    bell: Option<SenderBell>,
    /// Threads that want the connection to do something.
    wanting: Vec<Waker>,
    /// Threads that only wait, and for which calls.
    followers: Vec<Follower>,
    known: Known<R>,
    /// Calls that were dropped while a thread had the connection.
    dropped: Vec<u64>,
    /// How many tasks have waited.
    tasks: u64,
    /// Whether a task did not get the connection, and is to be told when it is put back.
    missed: bool,
}

struct Follower {
    calls: Vec<u64>,
    waker: Waker,
    /// Of a task: which one it is, and until when it waits. It does not wait with the connection in hand, but
    /// for the bell.
    task: Option<(u64, Deadline)>,
}

impl Follower {
    fn is_task(&self, number: u64) -> bool {
        self.task.is_some_and(|(task, _)| task == number)
    }
}

/// Why a thread does not get the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NotLent {
    /// The deadline passed while another thread had it.
    Late,
    /// This very thread has it.
    Reentrant,
    /// It is a parent process's.
    Forked,
}

/// What waiting for calls came to.
pub(super) enum Waited<'a, R, T> {
    /// Something came of one of them.
    Found(T),
    /// Nothing did, until the deadline. Another thread may have the connection.
    Late(Option<Lent<'a, R>>),
}

/// What following came to.
enum Followed<'a, R, T> {
    Found(T),
    /// It is this thread's turn to wait.
    Lead(Lent<'a, R>),
    Late,
}

impl<R> Shared<R> {
    pub(super) fn new(name: Arc<Name>, options: ClientOptions, connect: Connect) -> Self {
        Shared {
            name,
            options,
            clock: ClockOffset::of_this_process(),
            connect,
            process: process::token(),
            wanted: AtomicU64::new(0),
            task_bell: Arc::default(),
            desk: Mutex::new(Desk {
                connection: None,
                holder: None,
                bell: None,
                wanting: Vec::new(),
                followers: Vec::new(),
                known: Known(BTreeMap::new()),
                dropped: Vec::new(),
                tasks: 0,
                missed: false,
            }),
        }
    }

    /// How errors name the server.
    pub(super) fn server(&self) -> Arc<Name> {
        self.name.clone()
    }

    pub(super) fn connect(&self, wait: Duration) -> Result<Sender<(), Untyped>, ConnectError> {
        (self.connect)(&self.options, &self.name, wait)
    }

    fn desk(&self) -> impl DerefMut<Target = Desk<R>> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays the connection on the desk, where calls that were started find it.
    pub(super) fn share(&self, connection: Box<Connection<R>>) {
        let mut desk = self.desk();
        desk.bell = Some(connection.sender.bell());
        desk.connection = Some(connection);
    }

    /// Takes it back: no call is started any more.
    pub(super) fn take_back(&self) -> Option<Box<Connection<R>>> {
        if !self.is_ours() {
            return None;
        }
        self.desk().connection.take()
    }

    fn is_ours(&self) -> bool {
        self.process == process::token()
    }

    /// From here on the thread that has the connection sleeps there.
    pub(super) fn listens_at(&self, bell: SenderBell) {
        self.desk().bell = Some(bell);
    }

    /// Whether a thread wants the connection that another one has.
    #[inline]
    pub(super) fn is_wanted(&self) -> bool {
        // Relaxed: `notify` and `park` order it.
        self.wanted.load(Ordering::Relaxed) != 0
    }

    /// Takes the connection, to do something with it; a thread that has it, and only waits for replies, gives
    /// it away.
    pub(super) fn borrow(&self, until: Deadline) -> Result<Lent<'_, R>, NotLent> {
        if !self.is_ours() {
            return Err(NotLent::Forked);
        }
        let me = current_id();
        let parker = Parker::new();
        loop {
            let mut desk = self.desk();
            desk.wanting.retain(|other| !other.will_wake(parker.waker()));
            let connection = desk.connection.take();
            let refused = match &connection {
                Some(_) => {
                    desk.holder = Some(me);
                    None
                }
                None if desk.holder == Some(me) => Some(NotLent::Reentrant),
                None if until.has_passed() => Some(NotLent::Late),
                None => {
                    desk.wanting.push(parker.waker().clone());
                    None
                }
            };
            self.say_who_wants(&desk);
            if let Some(connection) = connection {
                return Ok(Lent { shared: self, connection: Some(connection), by_task: false });
            }
            if let Some(refused) = refused {
                return Err(refused);
            }
            self.ring(&desk);
            drop(desk);
            parker.park(until);
        }
    }

    /// The same for a task, which is not kept waiting: where another thread keeps the connection, tasks are woken
    /// when it is put back.
    pub(super) fn borrow_by_task(&self) -> Result<Lent<'_, R>, NotLent> {
        loop {
            match self.borrow(Deadline::after(HAND_OVER)) {
                Ok(mut lent) => {
                    lent.by_task = true;
                    return Ok(lent);
                }
                Err(NotLent::Late) => {
                    let mut desk = self.desk();
                    if desk.connection.is_none() {
                        desk.missed = !fault(Fault::TaskNotTold);
                        return Err(NotLent::Late);
                    }
                }
                Err(refused) => return Err(refused),
            }
        }
    }

    /// Says how many threads want the connection.
    fn say_who_wants(&self, desk: &Desk<R>) {
        // NB: mostly none did and none does, and a swap costs as much as a lock.
        let wanting = desk.wanting.len() as u64;
        if self.wanted.load(Ordering::Relaxed) != wanting {
            self.wanted.swap(wanting, Ordering::Relaxed);
        }
    }

    /// Wakes the thread that has the connection, if it sleeps.
    fn ring(&self, desk: &Desk<R>) {
        if let Some(bell) = &desk.bell
            && !fault(Fault::HolderNotRung)
        {
            bell.notify();
        }
    }

    /// Waits until `take` makes something of what is known of the calls, with the connection in hand as long as no
    /// other thread wants it. Calls that are 0 are not waited for.
    pub(super) fn wait_for<'a, C: Codec<R>, T>(
        &'a self,
        mut lent: Lent<'a, R>,
        calls: &[u64],
        until: Deadline,
        mut take: impl FnMut(Option<&mut Calls<R>>, &mut Known<R>) -> Option<T>,
    ) -> Waited<'a, R, T> {
        loop {
            lent.take_replies::<C>(&self.name);
            let mut desk = self.desk();
            let told = desk.deliver(&mut lent.calls);
            let found = take(Some(&mut lent.calls), &mut desk.known);
            drop(desk);
            if !fault(Fault::FollowerNotWoken) {
                told.into_iter().for_each(panics::waking);
            }
            if let Some(found) = found {
                return Waited::Found(found);
            }
            let Some(first) = lent.calls.await_all(calls) else { return Waited::Late(Some(lent)) };
            match lent.wait_for_any::<C>(self, first, until) {
                Ok(()) | Err(NoReply::Failed(_)) => {}
                Err(NoReply::Late) => return Waited::Late(Some(lent)),
                Err(NoReply::Interrupted) => match self.follow(lent, calls, until, &mut take) {
                    Followed::Found(found) => return Waited::Found(found),
                    Followed::Lead(again) => lent = again,
                    Followed::Late => return Waited::Late(None),
                },
            }
        }
    }

    /// Whether none of the calls has its outcome.
    pub(super) fn is_none_known(&self, lent: &Lent<'_, R>, calls: &[u64]) -> bool {
        let desk = self.desk();
        !calls.iter().any(|call| desk.known.0.contains_key(call) || lent.calls.is_known(*call))
    }

    /// Puts the connection back, and waits while another thread has it: for the outcome of one of the calls,
    /// or for the turn to wait with the connection in hand.
    fn follow<'a, T>(
        &'a self,
        mut lent: Lent<'a, R>,
        calls: &[u64],
        until: Deadline,
        take: &mut impl FnMut(Option<&mut Calls<R>>, &mut Known<R>) -> Option<T>,
    ) -> Followed<'a, R, T> {
        let parker = Parker::new();
        let waker = parker.waker();
        if let Some(connection) = lent.connection.take() {
            let mut desk = self.desk();
            let back = self.put_back(&mut desk, connection, false);
            // In one step with that: the thread or task that has the connection next gives this one its outcome.
            let (calls, waker) = (calls.to_vec(), waker.clone());
            desk.followers.push(Follower { calls, waker, task: None });
            drop(desk);
            back.tell();
        }
        loop {
            let mut desk = self.desk();
            let found = take(None, &mut desk.known);
            // Those that have something to do come first.
            let leads = found.is_none() && desk.wanting.is_empty();
            let connection = if leads { desk.connection.take() } else { None };
            let late = found.is_none() && connection.is_none() && until.has_passed();
            if found.is_some() || connection.is_some() || late {
                desk.followers.retain(|follower| !follower.waker.will_wake(waker));
            }
            if connection.is_some() {
                desk.holder = Some(current_id());
            }
            drop(desk);
            if let Some(found) = found {
                return Followed::Found(found);
            }
            if let Some(connection) = connection {
                let connection = Some(connection);
                return Followed::Lead(Lent { shared: self, connection, by_task: false });
            }
            if late {
                return Followed::Late;
            }
            parker.park(until);
        }
    }

    /// Puts the connection back; returns what is to be done once the desk is not locked any more.
    fn put_back(
        &self,
        desk: &mut Desk<R>,
        mut connection: Box<Connection<R>>,
        by_task: bool,
    ) -> PutBack<R> {
        let dropped = mem::take(&mut desk.dropped);
        let forgotten = dropped.into_iter().filter_map(|call| connection.forget(call)).collect();
        desk.connection = Some(connection);
        desk.holder = None;
        self.say_who_wants(desk);
        // A task leaves the bell to all tasks; a thread slept there itself.
        let tasks_too = mem::take(&mut desk.missed) || !by_task;
        let followers = desk.followers.iter();
        let followers = followers.filter(|follower| follower.task.is_none() || tasks_too);
        let followers = followers.map(|follower| &follower.waker);
        PutBack { wakers: desk.wanting.iter().chain(followers).cloned().collect(), forgotten }
    }

    /// A task begins to wait; returns its number.
    pub(super) fn new_task(&self) -> u64 {
        let mut desk = self.desk();
        desk.tasks += 1;
        desk.tasks
    }

    /// Has a task woken when the bell is rung, or when the outcome of its call is known; returns until when a
    /// task waits at least.
    pub(super) fn register_task(
        &self,
        number: u64,
        call: u64,
        waker: &Waker,
        until: Deadline,
    ) -> Deadline {
        let mut desk = self.desk();
        desk.followers.retain(|follower| !follower.is_task(number));
        let (calls, waker, task) = (vec![call], waker.clone(), Some((number, until)));
        desk.followers.push(Follower { calls, waker, task });
        let deadlines = desk.followers.iter().filter_map(|follower| Some(follower.task?.1));
        deadlines.fold(until, Deadline::earlier)
    }

    /// The task waits no more.
    pub(super) fn forget_task(&self, number: u64) {
        if self.is_ours() && !has_failed() {
            self.desk().followers.retain(|follower| !follower.is_task(number));
        }
    }

    /// Has nothing more to do with a call; the server is told that its reply is not waited for.
    pub(super) fn forget(&self, call: u64) {
        if !self.is_ours() || has_failed() {
            return;
        }
        let mut desk = self.desk();
        let known = desk.known.0.remove(&call);
        let forgotten = match &mut desk.connection {
            Some(connection) => connection.forget(call),
            None => {
                if known.is_none() {
                    desk.dropped.push(call);
                    // The thread that has the connection tells the server, now if it sleeps.
                    if desk.holder != Some(current_id()) {
                        self.wanted.swap(1, Ordering::Relaxed);
                        self.ring(&desk);
                    }
                }
                None
            }
        };
        drop(desk);
        // After the lock: what was known is the user's, and may use this client when it is dropped.
        drop((known, forgotten));
    }
}

/// What is left to do of putting a connection back.
struct PutBack<R> {
    wakers: Vec<Waker>,
    /// What was known of calls that were dropped: the user's, who may use this client when it is dropped.
    forgotten: Vec<Started<R>>,
}

impl<R> PutBack<R> {
    fn tell(self) {
        if !fault(Fault::PutBackUntold) {
            self.wakers.into_iter().for_each(panics::waking);
        }
        drop(self.forgotten);
    }
}

impl<R> Desk<R> {
    /// Gives followers the outcomes that they wait for; says whom to wake.
    fn deliver(&mut self, calls: &mut Calls<R>) -> Vec<Waker> {
        let mut told = Vec::new();
        if self.followers.is_empty() {
            calls.news.clear();
        }
        for call in mem::take(&mut calls.news) {
            let follower = self.followers.iter().find(|it| it.calls.contains(&call));
            let Some(follower) = follower else { continue };
            told.push(follower.waker.clone());
            // What comes of a stream, the thread that reads it takes by itself.
            if let Some(outcome) = calls.take(call) {
                self.known.0.insert(call, outcome);
            }
        }
        told
    }
}

/// What became of calls that a follower waits for, or did.
pub(super) struct Known<R>(BTreeMap<u64, Outcome<R>>);

impl<R> Known<R> {
    /// The earliest outcome of these calls: which of them it is, and what.
    pub(super) fn take_first(&mut self, calls: &[u64]) -> Option<(usize, Result<R, CallError>)> {
        if self.0.is_empty() {
            return None;
        }
        let known = calls.iter().enumerate();
        let known = known.filter_map(|(at, call)| Some((self.0.get(call)?.place, at)));
        let (_, at) = known.min()?;
        Some((at, self.0.remove(&calls[at])?.result))
    }
}

/// The connection in the hands of a thread, which puts it back.
pub(super) struct Lent<'a, R> {
    shared: &'a Shared<R>,
    /// Present until it is put back.
    connection: Option<Box<Connection<R>>>,
    /// Whether it is a task that has it, which never waits meanwhile.
    by_task: bool,
}

impl<R> Deref for Lent<'_, R> {
    type Target = Connection<R>;

    fn deref(&self) -> &Connection<R> {
        self.connection.as_ref().expect("it is in hand until it is put back")
    }
}

impl<R> DerefMut for Lent<'_, R> {
    fn deref_mut(&mut self) -> &mut Connection<R> {
        self.connection.as_mut().expect("it is in hand until it is put back")
    }
}

impl<R> Drop for Lent<'_, R> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if has_failed() {
            return;
        }
        let mut desk = self.shared.desk();
        let back = self.shared.put_back(&mut desk, connection, self.by_task);
        drop(desk);
        back.tell();
    }
}

/// Whether a model has failed, in which no thread goes on that could want the connection.
fn has_failed() -> bool {
    cfg!(loom) && std::thread::panicking()
}
