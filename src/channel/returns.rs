//! The way back: from the receiver to the sender of a value.
//!
//! A channel with a [`return_capacity`](crate::Options::return_capacity) has a second ring in each
//! lane. The receiver writes to it and never waits for it; the sender waits for it on the same bell
//! on which it waits for room and for the receiver's death. Each answer begins with the generation
//! of the lane's owner that it is for, so an owner never reads what was meant for the last one.

use std::time::Duration;

use super::Patience;
use super::receiver::Receiver;
use super::sender::{Sender, lane_damage};
use crate::codec::{Codec, Reader};
use crate::control::{Control, Slept, lane_word};
use crate::error::{RecvError, SendError};
use crate::ring::{Consumer, Damage, Flags, Record};
use crate::sys::{Fault, Ordering, fault};
use crate::tag::{Message, Select, Tag};

/// Bytes in front of an answer: the generation that it is for.
const ADDRESS: usize = 8;

/// Who sent a value: where [`Receiver::send_back`] answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin {
    pub(super) lane: usize,
    /// Zero: the sender was gone when its value was received.
    pub(super) generation: u64,
}

impl Origin {
    /// The sender of the record at `position`.
    pub(super) fn of_record(control: &Control, lane: usize, position: u64) -> Self {
        // Acquire: pairs with the owner's Release in `Sender::prepare`, which comes after it said
        // where it begins.
        let generation = control.lane_word(lane, lane_word::GENERATION).load(Ordering::Acquire);
        let owned_from = control.lane_word(lane, lane_word::OWNED_FROM).load(Ordering::Relaxed);
        Origin { lane, generation: if position < owned_from { 0 } else { generation } }
    }
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Like [`recv_matching`](Receiver::recv_matching), and says who sent the value.
    ///
    /// ```
    /// use sysv_channel::{Channel, Select};
    ///
    /// let squares = Channel::<u64>::options().return_capacity(4096).private()?;
    /// let (tx, rx) = (squares.sender()?, squares.receiver()?);
    /// tx.send(&7)?;
    /// let (request, origin) = rx.recv_from(Select::Any)?;
    /// rx.send_back(origin, &format!("{}", request.value * request.value))?;
    /// assert_eq!(tx.recv_back::<String>()?, "49");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv_matching`](Receiver::recv_matching).
    pub fn recv_from(&self, select: Select) -> Result<(Message<T>, Origin), RecvError> {
        self.receive_from(select, Patience::for_ever(), |intake, ready| {
            intake.origin(&self.control, ready)
        })
    }

    /// Sends a value back to the sender of another one, without waiting.
    ///
    /// # Errors
    /// [`SendError::Full`] if that sender has not taken what was sent to it before,
    /// [`SendError::Disconnected`] if it is gone, [`SendError::TooLong`] for more than half of the
    /// channel's [`return_capacity`](crate::Options::return_capacity).
    pub fn send_back<R>(&self, to: Origin, value: &R) -> Result<(), SendError>
    where
        C: Codec<R>,
    {
        let control = &*self.control;
        if !control.is_ours() {
            return Err(SendError::Forked);
        }
        let mut state = self.state.try_borrow_mut().map_err(|_| SendError::Reentrant)?;
        let damaged = |damage: Damage| SendError::Corrupt { what: lane_damage(to.lane, damage) };
        let Some(inbox) = state.intake.inbox(to.lane) else { return Err(SendError::Disconnected) };
        // Relaxed: a lane that changes hands in this moment drops what is not its own.
        let owner = control.lane_word(to.lane, lane_word::GENERATION).load(Ordering::Relaxed);
        if owner != to.generation {
            return Err(SendError::Disconnected);
        }
        let Some(back) = inbox.back(control).map_err(damaged)? else {
            return Err(SendError::TooLong { max: 0 });
        };
        let tag = Tag::DEFAULT;
        let max = back.max_payload(tag);
        let mut need = None;
        loop {
            let room = match need {
                None => back.room_now(tag),
                Some(len) => back.room_for(len, tag),
            };
            let Some(room) = room.map_err(damaged)? else { return Err(SendError::Full) };
            let (result, len, fits) = back.fill(room, |mut writer| {
                let address = writer.write(&to.generation.to_le_bytes());
                let result =
                    address.map_err(Into::into).and_then(|()| C::encode(value, &mut writer));
                (result, writer.len(), writer.fits())
            });
            result?;
            if fits {
                back.publish(len, tag, Flags::WHOLE);
                control.ring(control.lane_bell(to.lane));
                return Ok(());
            }
            if len > max {
                return Err(SendError::TooLong { max: (max - ADDRESS) as u64 });
            }
            if need.is_some() {
                return Err(super::sender::changed_length());
            }
            need = Some(len);
        }
    }
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// Receives what the receiver sent back, and waits until there is something.
    ///
    /// # Errors
    /// [`RecvError::Disconnected`] if there is nothing and the receiver is gone, or the channel has
    /// no way back; [`RecvError::Decode`] if it is no `R`.
    pub fn recv_back<R>(&self) -> Result<R, RecvError>
    where
        C: Codec<R>,
    {
        self.receive_back(Patience::for_ever())
    }

    /// Like [`recv_back`](Sender::recv_back), if there is something now.
    ///
    /// # Errors
    /// [`RecvError::Empty`] if there is nothing; else as [`recv_back`](Sender::recv_back).
    pub fn try_recv_back<R>(&self) -> Result<R, RecvError>
    where
        C: Codec<R>,
    {
        self.receive_back(Patience::none())
    }

    /// Like [`recv_back`](Sender::recv_back), and waits at most `timeout`.
    ///
    /// # Errors
    /// [`RecvError::Timeout`] if nothing came; else as [`recv_back`](Sender::recv_back).
    pub fn recv_back_timeout<R>(&self, timeout: Duration) -> Result<R, RecvError>
    where
        C: Codec<R>,
    {
        self.receive_back(Patience::until(timeout))
    }

    fn receive_back<R>(&self, patience: Patience) -> Result<R, RecvError>
    where
        C: Codec<R>,
    {
        let mut state = self.enter().map_err(back_error)?;
        if state.back.is_none() {
            return Err(RecvError::Disconnected);
        }
        let found = self.wait::<_, BackStop>(&mut state, patience, self.spin, |sender, state| {
            let Some(back) = state.back.as_mut() else { return Ok(None) };
            let mut foreign = 0;
            let damaged = |damage: Damage| {
                BackStop(RecvError::Corrupt { what: lane_damage(sender.lane, damage) })
            };
            while let Some(record) = back.next().map_err(damaged)? {
                let taking = Taking { back, record };
                let value = taking.back.read(&record, |mut reader: Reader<'_>| {
                    let address = reader.read_array().map(u64::from_le_bytes);
                    let ours = address == Ok(sender.generation) || fault(Fault::AnswerNotAddressed);
                    ours.then(|| C::decode(reader))
                });
                drop(taking);
                if let Some(value) = value {
                    return Ok(Some(value));
                }
                // Meant for a former owner of this lane, and none that comes now is.
                foreign += 1;
                if foreign > sender.control.layout().return_lines && patience.is_over() {
                    break;
                }
            }
            Ok(None)
        });
        match found {
            Ok(value) => value.map_err(RecvError::Decode),
            Err(BackStop(error)) => Err(error),
        }
    }
}

/// Takes an answer, also when decoding it panics: it never comes twice.
struct Taking<'a> {
    back: &'a mut Consumer,
    record: Record,
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        self.back.take(&self.record);
    }
}

/// Why waiting for something from the receiver ended.
struct BackStop(RecvError);

impl From<SendError> for BackStop {
    fn from(error: SendError) -> Self {
        BackStop(back_error(error))
    }
}

impl From<Slept> for BackStop {
    fn from(slept: Slept) -> Self {
        BackStop(slept.into())
    }
}

/// What an error of the sending side means to one who waits for something to come back.
fn back_error(error: SendError) -> RecvError {
    match error {
        SendError::Full => RecvError::Empty,
        SendError::Timeout => RecvError::Timeout,
        SendError::Reentrant => RecvError::Reentrant,
        SendError::Forked => RecvError::Forked,
        SendError::Corrupt { what } => RecvError::Corrupt { what },
        SendError::System(error) => RecvError::System(error),
        SendError::Disconnected
        | SendError::TooLong { .. }
        | SendError::NeedsWaiting { .. }
        | SendError::Encode(_) => RecvError::Disconnected,
    }
}
