//! Telling and asking as a task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Address, Connection, TEN_SECONDS, accept};
use crate::actor::error::{AskError, TellError};
use crate::actor::reply::ReplyTo;
use crate::actor::wire::{self, ORDINARY, URGENT};
use crate::channel::Untyped;
use crate::codec::{Codec, Reader, Writer};
use crate::error::SendError;
use crate::service::ConnectError;
use crate::sys::Deadline;
use crate::{Sender, Tag, transfer};

impl<M, C: Codec<M>> Address<M, C> {
    /// Tells the actor something, as [`tell`](Address::tell) does, and has the task wait for room or for an actor,
    /// ten seconds at most, under any executor.
    ///
    /// A mailbox that is not there, not now or not any more, is not waited for. The first wait starts a thread, as in
    /// [`Sender::send_async`](crate::Sender::send_async). A future that is dropped before it was ready has not told its
    /// message, but for one that goes in fragments and was received in that moment.
    ///
    /// # Errors
    /// [`TellError::Gone`] if there is no mailbox; else as [`tell`](Address::tell).
    // NB: mutable, so that the future can go to another thread, as the address can.
    pub async fn tell_async(&mut self, message: &M) -> Result<(), TellError> {
        self.tell_as_task(ORDINARY, message).await
    }

    /// Like [`tell_async`](Address::tell_async), for a message that overtakes all that are not urgent.
    ///
    /// # Errors
    /// As [`tell_async`](Address::tell_async).
    pub async fn tell_urgent_async(&mut self, message: &M) -> Result<(), TellError> {
        self.tell_as_task(URGENT, message).await
    }

    /// Asks the actor something, as [`ask`](Address::ask) does, and has the task wait for the reply, ten seconds at
    /// most, under any executor.
    ///
    /// A mailbox that is not there is not waited for; an actor is. Where the future is dropped, the reply goes nowhere,
    /// if it comes.
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use sysv_channel::actor::{Mailbox, ReplyTo};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Double(u32, ReplyTo<u32>);
    ///
    /// let mailbox = Mailbox::<Double>::private()?;
    /// let mut address = mailbox.address();
    /// let actor = std::thread::spawn(move || {
    ///     let Double(number, reply) = mailbox.recv().unwrap().unwrap();
    ///     reply.send(&(2 * number)).unwrap();
    /// });
    /// let asked = smol::block_on(address.ask_async(|reply| Double(21, reply)))?;
    /// assert_eq!(asked, 42);
    /// # actor.join().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AskError::Tell`] with [`TellError::Gone`] if there is no mailbox; else as [`ask`](Address::ask).
    pub async fn ask_async<R>(
        &mut self,
        message: impl FnOnce(ReplyTo<R, C>) -> M,
    ) -> Result<R, AskError>
    where
        C: Codec<R>,
    {
        self.ask_timeout_async(message, TEN_SECONDS).await
    }

    /// Like [`ask_async`](Address::ask_async), and waits at most `timeout`.
    ///
    /// # Errors
    /// As [`ask_async`](Address::ask_async).
    pub async fn ask_timeout_async<R>(
        &mut self,
        message: impl FnOnce(ReplyTo<R, C>) -> M,
        timeout: Duration,
    ) -> Result<R, AskError>
    where
        C: Codec<R>,
    {
        let deadline = Deadline::after(timeout);
        let died = AskError::Died { mailbox: self.mailbox() };
        let mut receiver = self.actor_as_task(deadline).await?;
        let Some(connection) = self.connection.get_mut() else { return Err(died) };
        let address = connection.next_port(deadline);
        let ask = address.ask;
        let port_sent = Arc::new(AtomicBool::new(false));
        let message = message(ReplyTo::of_asker(address, port_sent.clone(), self.mailbox()));
        loop {
            let Some(Connection { sender, .. }) = self.connection.get_mut() else {
                return Err(died);
            };
            match send_as_task::<M, C>(sender, ORDINARY, ask, &message, deadline).await {
                Ok(()) => break,
                // It was not told, and the next actor may come until the deadline.
                Err(SendError::Disconnected { .. }) if !sender.is_removed() => {
                    let next = sender.await_receiver_as_task(deadline).await;
                    let removed = sender.is_removed();
                    receiver = match next {
                        Err(SendError::Disconnected { .. } | SendError::Removed { .. }) => {
                            return Err(self.untold(removed));
                        }
                        next => next.map_err(|error| self.tell_error(error))?,
                    };
                }
                Err(SendError::Disconnected { .. } | SendError::Removed { .. }) => {
                    let removed = sender.is_removed();
                    return Err(self.untold(removed));
                }
                Err(error) => return Err(self.tell_error(error).into()),
            }
        }
        if !port_sent.load(Ordering::Relaxed) {
            // It was told without its port: no reply can come.
            return Err(AskError::Dropped { mailbox: self.mailbox() });
        }
        let (name, options) = (self.mailbox(), self.options);
        let Some(Connection { sender, .. }) = self.connection.get_mut() else { return Err(died) };
        let accept = |reader: Reader<'_>| accept::<R, C>(&name, options, ask, reader);
        let reply = sender.wait_for_reply_as_task(receiver, deadline, accept).await;
        let replaced = sender.is_replaced(receiver);
        self.answered(reply, replaced, deadline)
    }

    /// The connection, connected if it is not.
    fn connected_now(&mut self) -> Result<&mut Sender<(), Untyped>, TellError> {
        match self.connected(Deadline::now()) {
            Err(ConnectError::NotFound { .. }) => {
                return Err(TellError::Gone { mailbox: self.mailbox() });
            }
            connected => drop(connected?),
        }
        let gone = TellError::Gone { mailbox: self.mailbox() };
        self.connection.get_mut().as_mut().map(|connection| &mut connection.sender).ok_or(gone)
    }

    /// Has the task wait for an actor; says which one it is.
    async fn actor_as_task(&mut self, deadline: Deadline) -> Result<u64, TellError> {
        loop {
            match self.connected_now()?.await_receiver_as_task(deadline).await {
                // Its name may have another.
                Err(SendError::Removed { .. }) if !deadline.has_passed() => {
                    *self.connection.get_mut() = None;
                }
                actor => return actor.map_err(|error| self.tell_error(error)),
            }
        }
    }

    async fn tell_as_task(&mut self, tag: Tag, message: &M) -> Result<(), TellError> {
        let deadline = Deadline::after(TEN_SECONDS);
        loop {
            let sender = self.connected_now()?;
            match sender.is_abandoned() {
                Ok(false) | Err(SendError::Removed { .. }) => {}
                Ok(true) => return Err(TellError::Gone { mailbox: self.mailbox() }),
                Err(error) => return Err(self.tell_error(error)),
            }
            match send_as_task::<M, C>(sender, tag, 0, message, deadline).await {
                // There is no actor: one may come until the deadline.
                Err(SendError::Disconnected { .. } | SendError::Removed { .. })
                    if !deadline.has_passed() =>
                {
                    self.actor_as_task(deadline).await?;
                }
                sent => return sent.map_err(|error| self.tell_error(error)),
            }
        }
    }
}

/// Sends a message; zero is no ask.
async fn send_as_task<M, C: Codec<M>>(
    sender: &mut Sender<(), Untyped>,
    tag: Tag,
    ask: u64,
    message: &M,
    deadline: Deadline,
) -> Result<(), SendError> {
    let head = wire::told(ask);
    let encode = |out: &mut Writer<'_>| {
        out.write(&head)?;
        transfer::encode::<M, C>(message, out)
    };
    sender.send_as_task::<M>(tag, head.len(), encode, deadline).await
}
