//! What a task waits for at the sender's side of a call.

use crate::channel::sender::{Sender, back_error};
use crate::codec::{Codec, Reader};
use crate::error::{RecvError, SendError};
use crate::sys::Deadline;

impl<T, C: Codec<T>> Sender<T, C> {
    /// Has the task wait until a receiver is there, as [`await_receiver`](Sender::await_receiver) does.
    pub(crate) async fn await_receiver_as_task(
        &mut self,
        deadline: Deadline,
    ) -> Result<u64, SendError> {
        self.wait_as_task(deadline, |sender| sender.await_receiver_now()).await
    }

    /// Has the task wait for a reply, as [`wait_for_reply_of`](Sender::wait_for_reply_of) does.
    pub(crate) async fn wait_for_reply_as_task<R>(
        &mut self,
        receiver: u64,
        deadline: Deadline,
        mut accept: impl FnMut(Reader<'_>) -> Option<R>,
    ) -> Result<R, RecvError> {
        let look = |sender: &Self| match sender.wait_for_reply_of(
            receiver,
            Deadline::now(),
            &mut accept,
        ) {
            Err(RecvError::Empty { .. }) => Ok(None),
            reply => reply.map(Some).map_err(Waited),
        };
        self.wait_as_task(deadline, look).await.map_err(|Waited(error)| error)
    }
}

/// How a wait for a reply ends.
struct Waited(RecvError);

impl From<SendError> for Waited {
    fn from(error: SendError) -> Self {
        Waited(back_error(error))
    }
}
