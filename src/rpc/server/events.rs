//! Requests, and the clients that went: for a server that keeps something for each client.
//!
//! A client's death has the kernel ring the server, as its goodbye does. So the server looks which of the
//! clients that it knows have gone whenever it was woken by what may have been the kernel. A lane whose next
//! owner came before that look says so by itself. While requests keep a server from sleeping, it asks every
//! few milliseconds whether it was rung.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::time::Duration;

use super::{Request, Server};
use crate::channel::{Origin, Untyped, WakeOn};
use crate::codec::Codec;
use crate::rpc::ServeError;
use crate::sys::Deadline;
use crate::{DefaultCodec, Receiver};

/// How often a server that never sleeps asks whether it was rung.
const ASK_AGAIN: Duration = Duration::from_millis(2);

/// The connection of one client, as a key for what a server keeps for it.
///
/// No two connections to one server have the same, and none has it again. A client that finds that
/// its server is gone begins anew, with another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientId(Origin);

impl ClientId {
    pub(super) fn of(origin: Origin) -> Self {
        ClientId(origin)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientId({}, {})", self.0.lane, self.0.generation)
    }
}

/// What [`Server::next_event`] tells of.
pub enum Event<Q, R, C = DefaultCodec> {
    /// A client calls.
    Request(Request<Q, R, C>),
    /// The client is gone: its process ended, however it did, or dropped the client. Nothing more comes from it.
    ClientGone(ClientId),
}

impl<Q: fmt::Debug, R, C> fmt::Debug for Event<Q, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Request(request) => f.debug_tuple("Request").field(request).finish(),
            Event::ClientGone(client) => f.debug_tuple("ClientGone").field(client).finish(),
        }
    }
}

/// The clients whose requests were handed out as events, and which of them have gone.
#[derive(Default)]
pub(super) struct Clients {
    /// The client that sent the last of them, for each lane.
    lanes: Vec<Known>,
    /// Those that have gone and are not told of yet.
    gone: VecDeque<ClientId>,
    /// How often senders had come when this was looked through.
    told: u64,
    /// When a server that never sleeps asks again.
    ask_again: Option<Deadline>,
}

#[derive(Clone, Copy, Default)]
struct Known {
    /// Zero: no request came by this lane.
    generation: u64,
    gone: bool,
}

impl Clients {
    /// A request came. `false`: its client is gone, and the server was told so.
    fn came(&mut self, client: ClientId) -> bool {
        let Origin { lane, generation } = client.0;
        if lane >= self.lanes.len() {
            self.lanes.resize(lane + 1, Known::default());
        }
        let before = std::mem::replace(&mut self.lanes[lane], Known { generation, gone: false });
        if before.generation == generation {
            self.lanes[lane].gone = before.gone;
            return !before.gone;
        }
        if before.generation != 0 && !before.gone {
            self.gone.push_back(ClientId(Origin { lane, generation: before.generation }));
        }
        true
    }

    /// The next client that has gone, looked for where one may have.
    fn next_gone(&mut self, receiver: &Receiver<(), Untyped>, told: u64) -> Option<ClientId> {
        self.look(receiver, told);
        self.gone.pop_front()
    }

    /// Whether there is one.
    pub(super) fn some_gone(&mut self, receiver: &Receiver<(), Untyped>) -> bool {
        self.look(receiver, receiver.holder_changes());
        !self.gone.is_empty()
    }

    fn look(&mut self, receiver: &Receiver<(), Untyped>, told: u64) {
        let came = std::mem::replace(&mut self.told, told) != told;
        let rung = receiver.take_sender_may_have_gone();
        // A thread that waits at a descriptor is woken without a call.
        if came || rung || receiver.waits_elsewhere() || self.is_rung(receiver) {
            for (lane, known) in self.lanes.iter_mut().enumerate() {
                let client = Origin { lane, generation: known.generation };
                if known.generation != 0 && !known.gone && receiver.is_gone(client) {
                    known.gone = true;
                    self.gone.push_back(ClientId(client));
                }
            }
        }
    }

    /// Whether the server was rung and has not slept since, asked every now and then.
    fn is_rung(&mut self, receiver: &Receiver<(), Untyped>) -> bool {
        let now = self.ask_again.is_some_and(Deadline::has_passed);
        if now || self.ask_again.is_none() {
            self.ask_again = Some(Deadline::after(ASK_AGAIN));
        }
        now && receiver.may_have_been_rung()
    }
}

impl<Q, R, C> Server<Q, R, C>
where
    C: Codec<Q> + Codec<R>,
{
    /// The next request, or word that a client is gone; `None` when the server was
    /// [closed](Server::closer).
    ///
    /// Each client by which a request came as an event is told of once, after its last request, as soon as
    /// the kernel has taken its process down; those whose requests were received otherwise are not told of. What
    /// a client had sent that was killed, and the server had not received, may be dropped: no caller waits for the
    /// reply. A server that is not in this call hears of it with its next one.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use sysv_channel::rpc::{Client, Event, Server};
    ///
    /// # let name = format!("doc-event-{}", std::process::id());
    /// # let name = name.as_str();
    /// let server = Server::<u64, u64>::bind(name)?;
    /// let calling = std::thread::spawn({
    ///     let client = Client::<u64, u64>::connect(name)?;
    ///     move || (client.call(&2).unwrap(), client.call(&3).unwrap())
    /// });
    /// let mut sums = HashMap::new();
    /// while let Some(event) = server.next_event()? {
    ///     match event {
    ///         Event::Request(request) => {
    ///             let sum = sums.entry(request.client_id()).or_insert(0);
    ///             *sum += request.query();
    ///             let _ = request.reply(sum);
    ///         }
    ///         Event::ClientGone(client) => {
    ///             sums.remove(&client);
    /// #           server.closer().close();
    ///         }
    ///     }
    /// }
    /// assert_eq!(calling.join().unwrap(), (2, 5));
    /// assert!(sums.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Server::recv).
    pub fn next_event(&self) -> Result<Option<Event<Q, R, C>>, ServeError> {
        self.event_by(Deadline::never())
    }

    /// Like [`next_event`](Server::next_event), if there is something now.
    ///
    /// # Errors
    /// [`ServeError::Empty`] if there is nothing; else as [`recv`](Server::recv). A server that only polls
    /// hears of clients that went every two milliseconds.
    pub fn try_next_event(&self) -> Result<Option<Event<Q, R, C>>, ServeError> {
        self.event_by(Deadline::now())
    }

    /// Like [`next_event`](Server::next_event), and waits at most `timeout`.
    ///
    /// # Errors
    /// [`ServeError::Timeout`] if nothing came; else as [`recv`](Server::recv).
    pub fn next_event_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Option<Event<Q, R, C>>, ServeError> {
        self.event_by(Deadline::after(timeout))
    }

    /// Like [`next_event`](Server::next_event), and has the task wait, as
    /// [`recv_async`](Server::recv_async). A future that is dropped has taken nothing.
    ///
    /// # Errors
    /// As [`recv`](Server::recv).
    // NB: mutable, so that the future can go to another thread.
    pub async fn next_event_async(&mut self) -> Result<Option<Event<Q, R, C>>, ServeError> {
        poll_fn(move |context| {
            let receive = || match self.try_next_event() {
                Err(ServeError::Empty { .. }) => Ok(None),
                event => event.map(Some),
            };
            self.receiver.poll_call(context, receive)
        })
        .await
    }

    fn event_by(&self, deadline: Deadline) -> Result<Option<Event<Q, R, C>>, ServeError> {
        loop {
            if self.is_closed() {
                return Ok(None);
            }
            // Before the look: a client that takes a lane after this ends the wait below.
            let told = self.receiver.holder_changes();
            if let Some(client) = self.clients.borrow_mut().next_gone(&self.receiver, told) {
                return Ok(Some(Event::ClientGone(client)));
            }
            let wake_on = WakeOn { told, nudges: self.receiver.nudges(), any_wakeup: true };
            match self.receiver.waking_on(wake_on, || self.receive(deadline)) {
                Ok(Some(mut request)) => {
                    if self.clients.borrow_mut().came(request.client_id()) {
                        return Ok(Some(Event::Request(request)));
                    }
                    // No caller waits to be told.
                    request.responder.untyped.answered = true;
                }
                Ok(None) => return Ok(None),
                Err(ServeError::Empty { server }) => {
                    // It may have gone before the descriptor was armed.
                    let gone = match self.receiver.waits_elsewhere() {
                        true => self.clients.borrow_mut().next_gone(&self.receiver, told),
                        false => None,
                    };
                    return gone
                        .map(|client| Some(Event::ClientGone(client)))
                        .ok_or(ServeError::Empty { server });
                }
                Err(ServeError::Timeout { .. }) if !deadline.has_passed() => {}
                Err(error) => return Err(error),
            }
        }
    }
}
