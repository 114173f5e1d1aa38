//! Ending a call that waits, from elsewhere in its process.

use std::sync::{Arc, Weak};

use super::returns::ReplyProducers;
use crate::control::{Control, Doorbell};
use crate::sys::{AtomicU64, Ordering};

/// Ends a call that waits, from another thread of its process or a signal handler. In a forked child it
/// does nothing.
///
/// | of | what `close` ends |
/// |---|---|
/// | a [`Receiver`](crate::Receiver) | the call that waits for a value, or the next one that may wait, also if values are there: it says [`RecvError::Closed`](crate::RecvError::Closed), once |
/// | a [`Sender`](crate::Sender) | the call that waits for room, or the next one that finds none: it says [`SendError::Closed`](crate::SendError::Closed), once, and its value was not sent |
/// | a [`Mailbox`](crate::actor::Mailbox) | receiving, for good, as soon as it has no message in hand; those that it has not received stay for the next actor |
/// | a [`Server`](crate::rpc::Server) | serving, for good, as soon as what it has received is answered, and the replies have gone or [`ServerOptions::drain`](crate::rpc::ServerOptions::drain) is over |
///
/// Requests that a server has not received, and calls that are made meanwhile, wait until
/// [`serve`](crate::rpc::Server::serve) returns; of a server that is not in `serve`, until it is dropped. Then
/// they are the next server's if one [stands by](crate::rpc::ServerOptions::stand_by) or if they may be
/// [repeated](crate::rpc::ClientOptions::repeatable). Other callers are told at once:
/// [`ServerDied`](crate::rpc::CallError::ServerDied), not received.
///
/// A closer keeps nothing: what it closes may be dropped before it.
#[derive(Debug, Clone)]
pub struct Closer(Closes);

#[derive(Debug, Clone)]
enum Closes {
    Receiver(Weak<ReplyProducers>),
    Sender(Weak<Closing>),
}

impl Closer {
    pub(super) fn of_receiver(returns: &Arc<ReplyProducers>) -> Self {
        Closer(Closes::Receiver(Arc::downgrade(returns)))
    }

    pub(super) fn of_sender(closing: &Arc<Closing>) -> Self {
        Closer(Closes::Sender(Arc::downgrade(closing)))
    }

    /// Ends the call, now or when it is made; does nothing where the endpoint is gone.
    ///
    /// A signal handler may call it, as long as the endpoint is not dropped meanwhile, which frees memory: it
    /// stores a word and, if the endpoint's thread sleeps, makes one system call. It finds the closer in a
    /// static:
    ///
    /// ```
    /// use std::sync::OnceLock;
    /// use sysv_channel::Closer;
    ///
    /// static RECEIVING: OnceLock<Closer> = OnceLock::new();
    ///
    /// extern "C" fn stop(_signal: i32) {
    ///     if let Some(closer) = RECEIVING.get() {
    ///         closer.close();
    ///     }
    /// }
    ///
    /// let (_tx, rx) = sysv_channel::channel::<u32>()?;
    /// let _ = RECEIVING.set(rx.closer());
    /// // With sigaction(2); here by hand.
    /// stop(15);
    /// assert!(rx.recv().unwrap_err().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) {
        match &self.0 {
            Closes::Receiver(returns) => {
                if let Some(returns) = returns.upgrade() {
                    returns.close_receiver();
                }
            }
            Closes::Sender(closing) => {
                if let Some(closing) = closing.upgrade() {
                    closing.close();
                }
            }
        }
    }
}

/// Whether a sender was closed, and where it sleeps.
pub(super) struct Closing {
    control: Arc<Control>,
    bell: Doorbell,
    closed: AtomicU64,
}

impl Closing {
    pub(super) fn new(control: Arc<Control>, bell: Doorbell) -> Self {
        Closing { control, bell, closed: AtomicU64::new(0) }
    }

    fn close(&self) {
        // Relaxed: `notify` and `park` order it.
        self.closed.swap(1, Ordering::Relaxed);
        self.control.notify(self.bell);
    }

    pub(super) fn is_closed(&self) -> bool {
        // Relaxed: as above.
        self.closed.load(Ordering::Relaxed) != 0
    }

    /// A call has said so: the next one waits again.
    pub(super) fn reopen(&self) {
        self.closed.swap(0, Ordering::Relaxed);
    }
}
