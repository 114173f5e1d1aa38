//! Message queues.

use std::ptr::{self, null_mut};

use nix::libc::{self, c_int, c_void, msqid_ds};

use super::ffi::{self, check, check_len, retry};
use super::segment::Segment;
use crate::sys::{
    Key, MessageBuffer, MessageSelect, ObjectKind, ObjectName, Ownership, QueueStat, SystemError,
    SystemErrorKind, Wait, moment,
};

/// A message queue; the object stays when this is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MessageQueue {
    id: i32,
    key: i32,
}

impl MessageQueue {
    /// Makes a queue that must not exist yet; `mode` is its nine permission bits.
    pub(crate) fn create(key: Key, mode: u32) -> Result<Self, SystemError> {
        get(key.raw(), libc::IPC_CREAT | libc::IPC_EXCL | mode as c_int)
    }

    /// Makes a queue without a key.
    #[cfg(test)]
    pub(crate) fn create_private(mode: u32) -> Result<Self, SystemError> {
        get(libc::IPC_PRIVATE, libc::IPC_CREAT | mode as c_int)
    }

    /// Finds the queue with this key, also one that the caller may not use.
    pub(crate) fn open(key: Key) -> Result<Self, SystemError> {
        get(key.raw(), 0)
    }

    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    /// How errors name it.
    pub(crate) fn name(&self) -> ObjectName {
        ObjectName { kind: ObjectKind::Queue, key: self.key, id: Some(self.id) }
    }

    fn error(&self, call: &'static str, errno: c_int) -> SystemError {
        SystemError::new(self.name(), call, errno)
    }

    /// Puts a message on the queue; with [`Wait::No`] a full queue is `WouldBlock`.
    pub(crate) fn send(&self, message: &MessageBuffer, wait: Wait) -> Result<(), SystemError> {
        let flags = if wait == Wait::No { libc::IPC_NOWAIT } else { 0 };
        let len = message.text().len();
        let start = message.as_ptr().cast();
        let sent = retry(|| {
            // SAFETY: the buffer holds a type word and `len` bytes of text after it.
            check(unsafe { libc::msgsnd(self.id, start, len, flags) })
        });
        point!("msgsnd.after");
        sent.map(drop).map_err(|errno| match errno {
            // The kernel says EINVAL for a removed queue and for a text above msgmax alike.
            libc::EINVAL if len > message_limits().0 => self.error("msgsnd", libc::E2BIG),
            errno => self.error("msgsnd", errno),
        })
    }

    /// Takes a message into `buffer`. One that is longer than the buffer stays and is `TooLong`,
    /// or with `truncate` is taken and cut.
    pub(crate) fn receive(
        &self,
        select: MessageSelect,
        buffer: &mut MessageBuffer,
        wait: Wait,
        truncate: bool,
    ) -> Result<(), SystemError> {
        let flags = if wait == Wait::No { libc::IPC_NOWAIT } else { 0 }
            | if truncate { libc::MSG_NOERROR } else { 0 };
        let capacity = buffer.capacity();
        let start = buffer.as_mut_ptr().cast();
        // SAFETY: the buffer has room for a type word and `capacity` bytes of text.
        let len = unsafe { self.receive_at(select, start, capacity, flags) }?;
        buffer.set_len(len);
        Ok(())
    }

    /// Takes a message straight into shared memory, never waiting: the type word at `offset`, a
    /// multiple of 8, then at most `capacity` bytes of text. Returns the text's length.
    pub(crate) fn receive_into(
        &self,
        select: MessageSelect,
        segment: &Segment,
        offset: usize,
        capacity: usize,
    ) -> Result<usize, SystemError> {
        assert!(offset.is_multiple_of(8), "message at unaligned offset {offset}");
        let start = segment.range_mut(offset, capacity.saturating_add(8));
        // SAFETY: the range was just checked, and the kernel writes it as any other process would.
        unsafe { self.receive_at(select, start.cast(), capacity, libc::IPC_NOWAIT) }
    }

    /// # Safety
    /// A type word and `capacity` bytes must be writable from `start`, which must be 8-aligned.
    unsafe fn receive_at(
        &self,
        select: MessageSelect,
        start: *mut c_void,
        capacity: usize,
        flags: c_int,
    ) -> Result<usize, SystemError> {
        let (type_, except) = match select {
            MessageSelect::Any => (0, 0),
            MessageSelect::Exactly(type_) => (type_, 0),
            MessageSelect::UpTo(type_) => (-type_, 0),
            MessageSelect::Except(type_) => (type_, libc::MSG_EXCEPT),
        };
        let received = retry(|| {
            // SAFETY: the caller vouches for the memory.
            check_len(unsafe { libc::msgrcv(self.id, start, capacity, type_, flags | except) })
        });
        point!("msgrcv.after");
        received.map_err(|errno| self.error("msgrcv", errno))
    }

    /// Copies the message at `index`, counted from the oldest, and leaves it there. Past the end is
    /// `NoMessage`, a longer message `TooLong`, a kernel that cannot do it `Unsupported`.
    pub(crate) fn peek(&self, index: usize, buffer: &mut MessageBuffer) -> Result<(), SystemError> {
        let Ok(index) = i64::try_from(index) else {
            return Err(self.error("msgrcv", libc::ENOMSG));
        };
        let (start, capacity) = (buffer.as_mut_ptr().cast(), buffer.capacity());
        let flags = ffi::MSG_COPY | libc::IPC_NOWAIT;
        let peeked = retry(|| {
            // SAFETY: the buffer has room for a type word and `capacity` bytes of text.
            check_len(unsafe { libc::msgrcv(self.id, start, capacity, index, flags) })
        });
        match peeked {
            Ok(len) => {
                buffer.set_len(len);
                Ok(())
            }
            // Also what the kernel says of a message longer than a msgmax lowered since.
            Err(libc::EINVAL) if self.stat().is_ok() => Err(self.error("msgrcv", libc::E2BIG)),
            Err(errno) => Err(self.error("msgrcv", errno)),
        }
    }

    /// Owner, counts and times, also of a queue that the caller may not read.
    pub(crate) fn stat(&self) -> Result<QueueStat, SystemError> {
        self.read().map(|raw| queue_stat(&raw))
    }

    /// Every queue of this ipc namespace, also those that the caller may not read.
    pub(crate) fn list() -> Result<Vec<(MessageQueue, QueueStat)>, SystemError> {
        // SAFETY: msginfo is plain numbers, for which all zero is valid.
        let mut info: libc::msginfo = unsafe { std::mem::zeroed() };
        let highest = control(0, libc::MSG_INFO, ptr::from_mut(&mut info).cast());
        let highest =
            highest.map_err(|errno| SystemError::new("the message queues", "msgctl", errno))?;
        let mut queues = Vec::new();
        for index in 0..=highest {
            // SAFETY: msqid_ds is plain numbers, for which all zero is valid.
            let mut raw: msqid_ds = unsafe { std::mem::zeroed() };
            // An index without a queue is an error, and no news.
            if let Ok(id) = control(index, ffi::MSG_STAT_ANY, &mut raw) {
                let stat = queue_stat(&raw);
                queues.push((MessageQueue { id, key: stat.ownership.key }, stat));
            }
        }
        Ok(queues)
    }

    /// Sets how many bytes of text the queue holds.
    pub(crate) fn set_capacity(&self, bytes: u64) -> Result<(), SystemError> {
        self.change(|raw| raw.msg_qbytes = bytes)
    }

    pub(crate) fn set_permissions(&self, uid: u32, gid: u32, mode: u32) -> Result<(), SystemError> {
        self.change(|raw| {
            raw.msg_perm.uid = uid;
            raw.msg_perm.gid = gid;
            raw.msg_perm.mode = mode as _;
        })
    }

    /// Removes the queue with its messages and wakes all that wait on it.
    pub(crate) fn remove(&self) -> Result<(), SystemError> {
        // Not one of another key that has the id now. Of one that this process may not look at, the call says so.
        if let Err(error) = self.read()
            && error.kind() == SystemErrorKind::Removed
        {
            return Err(error);
        }
        let removed = control(self.id, libc::IPC_RMID, null_mut());
        point!("msgctl.removed");
        removed.map(drop).map_err(|errno| self.error("msgctl", errno))
    }

    fn change(&self, edit: impl FnOnce(&mut msqid_ds)) -> Result<(), SystemError> {
        let mut raw = self.read()?;
        edit(&mut raw);
        control(self.id, libc::IPC_SET, &mut raw)
            .map(drop)
            .map_err(|errno| self.error("msgctl", errno))
    }

    fn read(&self) -> Result<msqid_ds, SystemError> {
        // SAFETY: msqid_ds is plain numbers, for which all zero is valid.
        let mut raw: msqid_ds = unsafe { std::mem::zeroed() };
        ffi::stat(self.id, ffi::MSG_STAT_ANY, |id, command| control(id, command, &mut raw))
            .map_err(|errno| self.error("msgctl", errno))?;
        match ffi::key_of(&raw.msg_perm) == self.key {
            true => Ok(raw),
            // The id is another's: of another ipc namespace, or of a queue made after this one was removed.
            false => Err(SystemError::removed(self.name())),
        }
    }
}

/// The longest message text (`msgmax`) and a new queue's capacity (`msgmnb`), in bytes.
pub(crate) fn message_limits() -> (usize, usize) {
    // SAFETY: msginfo is plain numbers, for which all zero is valid.
    let mut info: libc::msginfo = unsafe { std::mem::zeroed() };
    match control(0, libc::IPC_INFO, ptr::from_mut(&mut info).cast()) {
        Ok(_) => (info.msgmax.max(0) as usize, info.msgmnb.max(0) as usize),
        // What Linux starts with.
        Err(_) => (8192, 16384),
    }
}

fn get(key: i32, flags: c_int) -> Result<MessageQueue, SystemError> {
    // SAFETY: msgget takes and returns numbers.
    let id = check(unsafe { libc::msgget(key, flags) });
    point!("msgget.after");
    id.map(|id| MessageQueue { id, key }).map_err(|errno| {
        let name = ObjectName { kind: ObjectKind::Queue, key, id: None };
        SystemError::new(name, "msgget", errno)
    })
}

/// msgctl(2); `argument` is what the command wants: nothing, a msqid_ds or a msginfo.
fn control(id: i32, command: c_int, argument: *mut msqid_ds) -> Result<c_int, c_int> {
    // SAFETY: every caller passes the structure that its command reads or fills, and msginfo is
    // smaller than msqid_ds.
    check(unsafe { libc::msgctl(id, command, argument) })
}

fn queue_stat(raw: &msqid_ds) -> QueueStat {
    QueueStat {
        ownership: Ownership {
            key: ffi::key_of(&raw.msg_perm),
            uid: raw.msg_perm.uid,
            gid: raw.msg_perm.gid,
            creator_uid: raw.msg_perm.cuid,
            creator_gid: raw.msg_perm.cgid,
            mode: raw.msg_perm.mode as u32 & 0o777,
        },
        messages: raw.msg_qnum,
        bytes: raw.__msg_cbytes,
        capacity: raw.msg_qbytes,
        last_send_pid: raw.msg_lspid,
        last_receive_pid: raw.msg_lrpid,
        last_send: moment(raw.msg_stime),
        last_receive: moment(raw.msg_rtime),
        last_change: moment(raw.msg_ctime),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Cleanup, SegmentId, SystemErrorKind};

    fn message(type_: i64, text: &[u8]) -> MessageBuffer {
        let mut message = MessageBuffer::with_capacity(text.len());
        message.set_type(type_);
        message.text_mut_full().copy_from_slice(text);
        message.set_len(text.len());
        message
    }

    fn filled(messages: &[(i64, &[u8])]) -> (MessageQueue, Cleanup<impl FnMut() + use<>>) {
        let queue = MessageQueue::create_private(0o600).unwrap();
        let cleanup = Cleanup(move || drop(queue.remove()));
        for (type_, text) in messages {
            queue.send(&message(*type_, text), Wait::No).unwrap();
        }
        (queue, cleanup)
    }

    fn take(queue: &MessageQueue, select: MessageSelect) -> Option<(i64, Vec<u8>)> {
        let mut buffer = MessageBuffer::with_capacity(100);
        match queue.receive(select, &mut buffer, Wait::No, false) {
            Ok(()) => Some((buffer.type_(), buffer.text().to_vec())),
            Err(error) => {
                assert_eq!(error.kind(), SystemErrorKind::NoMessage);
                None
            }
        }
    }

    #[test]
    fn selection_is_the_kernels() {
        let (queue, _cleanup) = filled(&[(3, b"a"), (1, b"b"), (2, b""), (3, b"d"), (5, b"e")]);
        assert_eq!(take(&queue, MessageSelect::Exactly(4)), None);
        assert_eq!(take(&queue, MessageSelect::Exactly(2)), Some((2, vec![])));
        assert_eq!(take(&queue, MessageSelect::UpTo(3)), Some((1, b"b".to_vec())));
        assert_eq!(take(&queue, MessageSelect::Except(3)), Some((5, b"e".to_vec())));
        assert_eq!(take(&queue, MessageSelect::Any), Some((3, b"a".to_vec())));
        assert_eq!(take(&queue, MessageSelect::Any), Some((3, b"d".to_vec())));
        assert_eq!(take(&queue, MessageSelect::Any), None);
    }

    #[test]
    fn longer_message_stays_or_is_cut() {
        let (queue, _cleanup) = filled(&[(1, b"0123456789")]);
        let mut buffer = MessageBuffer::with_capacity(9);
        let stays = queue.receive(MessageSelect::Any, &mut buffer, Wait::No, false).unwrap_err();
        assert_eq!(stays.kind(), SystemErrorKind::TooLong);
        assert_eq!(queue.peek(0, &mut buffer).unwrap_err().kind(), SystemErrorKind::TooLong);
        queue.receive(MessageSelect::Any, &mut buffer, Wait::No, true).unwrap();
        assert_eq!(buffer.text(), b"012345678");
    }

    #[test]
    fn peek_leaves_messages() {
        let (queue, _cleanup) = filled(&[(1, b"one"), (9, b"two")]);
        let mut buffer = MessageBuffer::with_capacity(3);
        queue.peek(1, &mut buffer).unwrap();
        assert_eq!((buffer.type_(), buffer.text()), (9, &b"two"[..]));
        assert_eq!(queue.peek(2, &mut buffer).unwrap_err().kind(), SystemErrorKind::NoMessage);
        assert_eq!(queue.stat().unwrap().messages, 2);
    }

    #[test]
    fn receive_into_shared_memory() {
        let (queue, _cleanup) = filled(&[(7, b"straight"), (8, b"too long")]);
        let id = SegmentId::create_private(4096, 0o600).unwrap();
        let segment = id.attach(false);
        id.remove().unwrap();
        let segment = segment.unwrap();
        assert_eq!(queue.receive_into(MessageSelect::Any, &segment, 4080, 8), Ok(8));
        let (mut type_, mut text) = ([0; 8], [0; 8]);
        segment.copy_out(4080, &mut type_);
        segment.copy_out(4088, &mut text);
        assert_eq!((i64::from_ne_bytes(type_), &text), (7, b"straight"));
        let long = queue.receive_into(MessageSelect::Any, &segment, 0, 7).unwrap_err();
        assert_eq!(long.kind(), SystemErrorKind::TooLong);
    }

    #[test]
    fn full_queue_would_block_and_capacity_can_be_set() {
        let (queue, _cleanup) = filled(&[]);
        queue.set_capacity(10).unwrap();
        assert_eq!(queue.stat().unwrap().capacity, 10);
        queue.send(&message(1, &[0; 10]), Wait::No).unwrap();
        let full = queue.send(&message(1, b"x"), Wait::No).unwrap_err();
        assert_eq!(full.kind(), SystemErrorKind::WouldBlock);
        let long = queue.send(&message(1, &vec![0; message_limits().0 + 1]), Wait::No).unwrap_err();
        assert_eq!(long.kind(), SystemErrorKind::TooLong);
        assert!(long.to_string().contains("raise kernel.msgmax (now "), "{long}");
    }

    #[test]
    fn stat_tells_owner_counts_and_times() {
        let queue = MessageQueue::create(Key::random(), 0o640).unwrap();
        let _cleanup = Cleanup(|| drop(queue.remove()));
        let fresh = queue.stat().unwrap();
        assert_eq!((fresh.ownership.key, fresh.ownership.mode), (queue.key, 0o640));
        assert_eq!((fresh.last_send, fresh.last_send_pid), (None, 0));
        queue.send(&message(1, b"four"), Wait::Forever).unwrap();
        let stat = queue.stat().unwrap();
        assert_eq!((stat.messages, stat.bytes), (1, 4));
        assert_eq!(stat.last_send_pid, super::super::process::pid());
        assert!(stat.last_send.is_some());
        queue.set_permissions(stat.ownership.uid, stat.ownership.gid, 0o604).unwrap();
        assert_eq!(queue.stat().unwrap().ownership.mode, 0o604);
    }

    #[test]
    fn removal_wakes_a_waiter() {
        let (queue, _cleanup) = filled(&[]);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let mut buffer = MessageBuffer::with_capacity(8);
                queue.receive(MessageSelect::Any, &mut buffer, Wait::Forever, false)
            });
            queue.remove().unwrap();
            assert_eq!(waiter.join().unwrap().unwrap_err().kind(), SystemErrorKind::Removed);
        });
        assert_eq!(queue.stat().unwrap_err().kind(), SystemErrorKind::Removed);
    }

    #[test]
    fn errors_tell_missing_from_existing() {
        let key = Key::random();
        assert_eq!(MessageQueue::open(key).unwrap_err().kind(), SystemErrorKind::NotFound);
        let queue = MessageQueue::create(key, 0o600).unwrap();
        let _cleanup = Cleanup(|| drop(queue.remove()));
        assert_eq!(MessageQueue::open(key), Ok(queue));
        let twice = MessageQueue::create(key, 0o600).unwrap_err();
        assert_eq!(twice.kind(), SystemErrorKind::AlreadyExists);
    }
}
