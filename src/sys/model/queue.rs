//! Message queues.

use std::collections::VecDeque;
use std::sync::Arc;

use loom::sync::{Condvar, Mutex};

use super::kernel::{self, E2BIG, EAGAIN, EEXIST, EIDRM, ENOENT, ENOMSG, ownership};
use super::segment::Segment;
use crate::sys::{
    Key, MessageBuffer, MessageSelect, ObjectKind, ObjectName, QueueStat, SystemError, Wait,
};

/// A queue, by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MessageQueue {
    id: i32,
    key: i32,
}

pub(super) struct QueueObject {
    key: i32,
    state: Mutex<State>,
    /// Where threads wait for a message or for space; all look again after each change.
    changed: Condvar,
}

impl kernel::Object for QueueObject {
    #[cfg(test)]
    fn left(&self) -> Option<&'static str> {
        let removed = self.state.lock().expect("a model's kernel does not panic").removed;
        (!removed).then_some("a queue")
    }
}

struct State {
    messages: VecDeque<(i64, Vec<u8>)>,
    capacity: u64,
    mode: u32,
    used: bool,
    removed: bool,
    last_send: u64,
    last_receive: u64,
}

impl State {
    fn bytes(&self) -> u64 {
        self.messages.iter().map(|(_, text)| text.len() as u64).sum()
    }

    fn find(&self, select: MessageSelect) -> Option<usize> {
        let types = || self.messages.iter().map(|(type_, _)| *type_);
        match select {
            MessageSelect::Any => types().next().map(|_| 0),
            MessageSelect::Exactly(wanted) => types().position(|type_| type_ == wanted),
            MessageSelect::Except(unwanted) => types().position(|type_| type_ != unwanted),
            MessageSelect::UpTo(highest) => {
                let lowest = types().filter(|&type_| type_ <= highest).min()?;
                types().position(|type_| type_ == lowest)
            }
        }
    }
}

impl MessageQueue {
    pub(crate) fn create(key: Key, mode: u32) -> Result<Self, SystemError> {
        if !kernel::step() {
            return Err(missing(key.raw(), EIDRM));
        }
        kernel::with_names(|| {
            if find(key.raw()).is_some() {
                return Err(missing(key.raw(), EEXIST));
            }
            let id = kernel::add(Arc::new(QueueObject {
                key: key.raw(),
                state: Mutex::new(State {
                    messages: VecDeque::new(),
                    capacity: kernel::queue_capacity(),
                    mode,
                    used: false,
                    removed: false,
                    last_send: 0,
                    last_receive: 0,
                }),
                changed: Condvar::new(),
            }));
            Ok(MessageQueue { id, key: key.raw() })
        })
    }

    pub(crate) fn open(key: Key) -> Result<Self, SystemError> {
        if !kernel::step() {
            return Err(missing(key.raw(), EIDRM));
        }
        kernel::with_names(|| {
            let id = find(key.raw()).ok_or_else(|| missing(key.raw(), ENOENT))?;
            Ok(MessageQueue { id, key: key.raw() })
        })
    }

    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    pub(crate) fn name(&self) -> ObjectName {
        ObjectName { kind: ObjectKind::Queue, key: self.key, id: Some(self.id) }
    }

    fn error(&self, call: &'static str, errno: i32) -> SystemError {
        SystemError::new(self.name(), call, errno)
    }

    /// One step on the queue: repeated, where the caller waits, until it has an outcome.
    fn call<R>(
        &self,
        call: &'static str,
        wait: Wait,
        action: impl FnMut(&mut State) -> Result<R, i32>,
    ) -> Result<R, SystemError> {
        if !kernel::step() {
            return Err(self.error(call, EIDRM));
        }
        self.carry_out(call, wait, action)
    }

    fn carry_out<R>(
        &self,
        call: &'static str,
        wait: Wait,
        mut action: impl FnMut(&mut State) -> Result<R, i32>,
    ) -> Result<R, SystemError> {
        let object =
            kernel::object::<QueueObject>(self.id).ok_or_else(|| self.error(call, EIDRM))?;
        let mut state = object.state.lock().expect("a model's kernel does not panic");
        loop {
            if state.removed {
                return Err(self.error(call, EIDRM));
            }
            match action(&mut state) {
                Ok(done) => {
                    object.changed.notify_all();
                    return Ok(done);
                }
                Err(EAGAIN | ENOMSG) if wait == Wait::Forever => {
                    state = object.changed.wait(state).expect("a model's kernel does not panic");
                }
                Err(errno) => return Err(self.error(call, errno)),
            }
        }
    }

    pub(crate) fn send(&self, message: &MessageBuffer, wait: Wait) -> Result<(), SystemError> {
        let process = super::process::token();
        self.call("msgsnd", wait, |state| {
            if state.bytes() + message.text().len() as u64 > state.capacity {
                return Err(EAGAIN);
            }
            state.messages.push_back((message.type_(), message.text().to_vec()));
            state.used = true;
            state.last_send = process;
            Ok(())
        })
    }

    fn take(
        &self,
        select: MessageSelect,
        room: usize,
        truncate: bool,
        wait: Wait,
    ) -> Result<(i64, Vec<u8>), SystemError> {
        let process = super::process::token();
        self.call("msgrcv", wait, |state| {
            let index = state.find(select).ok_or(ENOMSG)?;
            if state.messages[index].1.len() > room && !truncate {
                return Err(E2BIG);
            }
            let (type_, mut text) = state.messages.remove(index).ok_or(ENOMSG)?;
            text.truncate(room);
            state.used = true;
            state.last_receive = process;
            Ok((type_, text))
        })
    }

    pub(crate) fn receive(
        &self,
        select: MessageSelect,
        buffer: &mut MessageBuffer,
        wait: Wait,
        truncate: bool,
    ) -> Result<(), SystemError> {
        let (type_, text) = self.take(select, buffer.capacity(), truncate, wait)?;
        fill(buffer, type_, &text);
        Ok(())
    }

    /// The kernel copies within the call, so a killed receiver has the message whole or not at all.
    pub(crate) fn receive_into(
        &self,
        select: MessageSelect,
        segment: &Segment,
        offset: usize,
        capacity: usize,
    ) -> Result<usize, SystemError> {
        let (type_, text) = self.take(select, capacity, false, Wait::No)?;
        segment.kernel_copy_in(offset, type_, &text);
        Ok(text.len())
    }

    pub(crate) fn peek(&self, index: usize, buffer: &mut MessageBuffer) -> Result<(), SystemError> {
        let room = buffer.capacity();
        let (type_, text) = self.call("msgrcv", Wait::No, |state| {
            let (type_, text) = state.messages.get(index).ok_or(ENOMSG)?;
            if text.len() > room { Err(E2BIG) } else { Ok((*type_, text.clone())) }
        })?;
        fill(buffer, type_, &text);
        Ok(())
    }

    pub(crate) fn stat(&self) -> Result<QueueStat, SystemError> {
        self.call("msgctl", Wait::No, |state| {
            let used = state.used.then_some(std::time::SystemTime::UNIX_EPOCH);
            Ok(QueueStat {
                ownership: ownership(self.key, state.mode),
                messages: state.messages.len() as u64,
                bytes: state.bytes(),
                capacity: state.capacity,
                last_send_pid: state.last_send as i32,
                last_receive_pid: state.last_receive as i32,
                last_send: used,
                last_receive: used,
                last_change: Some(std::time::SystemTime::UNIX_EPOCH),
            })
        })
    }

    pub(crate) fn set_capacity(&self, bytes: u64) -> Result<(), SystemError> {
        self.call("msgctl", Wait::No, |state| {
            state.capacity = bytes;
            Ok(())
        })
    }

    pub(crate) fn set_permissions(
        &self,
        _uid: u32,
        _gid: u32,
        mode: u32,
    ) -> Result<(), SystemError> {
        self.call("msgctl", Wait::No, |state| {
            state.mode = mode;
            Ok(())
        })
    }

    pub(crate) fn remove(&self) -> Result<(), SystemError> {
        if !kernel::step() {
            return Err(self.error("msgctl", EIDRM));
        }
        kernel::with_names(|| {
            self.carry_out("msgctl", Wait::No, |state| {
                state.removed = true;
                Ok(())
            })
        })
    }
}

fn fill(buffer: &mut MessageBuffer, type_: i64, text: &[u8]) {
    buffer.set_type(type_);
    buffer.text_mut_full()[..text.len()].copy_from_slice(text);
    buffer.set_len(text.len());
}

/// The longest message, and what a queue holds.
pub(crate) fn message_limits() -> (usize, usize) {
    (8192, kernel::queue_capacity() as usize)
}

fn find(key: i32) -> Option<i32> {
    let mut queues =
        kernel::objects::<QueueObject>().into_iter().filter(|(_, queue)| queue.key == key);
    queues
        .find(|(_, queue)| !queue.state.lock().expect("a model's kernel does not panic").removed)
        .map(|(id, _)| id)
}

fn missing(key: i32, errno: i32) -> SystemError {
    kernel::error(ObjectKind::Queue, key, None, "msgget", errno)
}
