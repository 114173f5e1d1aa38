//! Being told of an actor's end by a message.

use super::address::Address;
use super::ends::WatchGuard;
use super::error::WatchError;
use super::mailbox::Mailbox;
use crate::codec::Codec;

impl<M, C: Codec<M>> Address<M, C> {
    /// Watches the actor that has the mailbox now, or had it last, and has `message` arrive in another mailbox of
    /// this process when that actor ends, as if told: once, however it ends, and at once if it has ended
    /// already. Waits as [`watch`](Address::watch) does.
    ///
    /// Ordinary messages that the actor had told there come first. The message waits in this process, so it
    /// needs no room in a full mailbox, and it goes with the [`Mailbox`] and not to the next actor of its name.
    /// A receiver that waits, in a thread or a task, is woken. Several watches bring their messages in the
    /// order in which their actors' ends were noticed.
    ///
    /// A watch takes one of the watched mailbox's places, and a thread of this process that sleeps in the
    /// kernel, with a stack of 128 KiB of which it touches some; it lasts until its [guard](WatchGuard)
    /// is dropped, the message is received or the mailbox is dropped.
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use sysv_channel::actor::{Address, Mailbox};
    ///
    /// #[derive(Serialize, Deserialize, Debug, PartialEq)]
    /// enum Parent { ChildEnded { number: usize } }
    ///
    /// # let name = format!("doc-watch-into-{}", std::process::id());
    /// # let name = name.as_str();
    /// let child = Mailbox::<String>::bind(name)?;
    /// let parent = Mailbox::<Parent>::private()?;
    ///
    /// let address = Address::<String>::connect(name)?;
    /// let watch = address.watch_into(&parent, Parent::ChildEnded { number: 3 })?;
    ///
    /// drop(child);
    /// assert_eq!(parent.recv()?, Some(Parent::ChildEnded { number: 3 }));
    /// drop(watch);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`watch`](Address::watch), and [`WatchError::Watch`] if the thread cannot be started. Where the
    /// kernel refuses to watch any longer, `recv` of the mailbox that is to be told says so, once, in the
    /// message's place.
    pub fn watch_into<N, D>(
        &self,
        mailbox: &Mailbox<N, D>,
        message: N,
    ) -> Result<WatchGuard, WatchError>
    where
        N: Send + 'static,
    {
        let (sender, actor) = self.watch()?.into_parts();
        mailbox.watch(sender, actor, move || message).map_err(WatchError::Watch)
    }
}
