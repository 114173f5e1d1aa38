//! The programs on the machines, which send and receive, and what they write down meanwhile.
//!
//! They write records of 32 bytes into one FIFO: the kernel takes each whole or not at all, and keeps it when its writer is
//! killed in the next moment.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::stat::Mode;
use sysv_channel::codec::Bytes;
use sysv_channel::dynamic::{DynamicChannel, Value};
use sysv_channel::{Channel, Select};

use super::namespaces::Machine;

/// A sender's number, the number of the value among its values, and bytes that follow from both.
pub(super) type Numbered = (u64, u64, Bytes);

/// What a part is to do; the test's own name stands for all of them.
const PART: &str = "SYSV_CHANNEL_TEST_PART";
const PIPE: &str = "SYSV_CHANNEL_TEST_PIPE";
const CHANNEL: &str = "SYSV_CHANNEL_TEST_CHANNEL";

/// Nothing is written for so long when something hangs: twelve times what zenoh takes to give a connection up.
const LIMIT_MS: u16 = 60_000;

/// What was written down.
#[derive(Clone, Copy, Debug)]
pub(super) enum Record {
    /// The sender's call has returned.
    Sent { sender: u64, number: u64 },
    /// A receiver has this value in hand.
    Came { receiver: u64, sender: u64, number: u64 },
    /// All that this sender wrote before it was killed was read.
    Over { sender: u64 },
    /// A part has panicked, and said why.
    Failed,
    /// The test is over.
    End,
}

impl Record {
    fn to_bytes(self) -> [u8; 32] {
        let numbers = match self {
            Record::Sent { sender, number } => [1, sender, number, 0],
            Record::Came { receiver, sender, number } => [2, sender, number, receiver],
            Record::Over { sender } => [3, sender, 0, 0],
            Record::Failed => [4, 0, 0, 0],
            Record::End => [5, 0, 0, 0],
        };
        let mut bytes = [0; 32];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&u64::to_le_bytes(number));
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Record {
        let mut words =
            bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
        let [kind, sender, number, receiver] = [(); 4].map(|()| words.next().unwrap());
        match kind {
            1 => Record::Sent { sender, number },
            2 => Record::Came { receiver, sender, number },
            3 => Record::Over { sender },
            4 => Record::Failed,
            _ => Record::End,
        }
    }
}

/// Where all parts write, and the test reads.
pub(super) struct Records {
    path: PathBuf,
    writes: File,
    read: mpsc::Receiver<Vec<Record>>,
}

impl Records {
    pub(super) fn new(directory: &Path) -> Self {
        let path = directory.join("records");
        nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        // For both: so it has a writer all the time.
        let writes = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let reads = writes.try_clone().unwrap();
        let (tell, read) = mpsc::channel();
        thread::spawn(move || read_all(reads, &tell));
        Records { path, writes, read }
    }

    pub(super) fn next(&self) -> Vec<Record> {
        self.read.recv().expect("it is read until the end")
    }

    pub(super) fn write(&self, record: Record) {
        (&self.writes).write_all(&record.to_bytes()).unwrap();
    }

    /// Starts a part on a machine.
    pub(super) fn start(&self, machine: &Machine, purpose: &str, part: &str) -> Part {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", super::TEST, "--nocapture", "--test-threads=1"]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.env(PART, part).env(CHANNEL, machine.channel(purpose)).env(PIPE, &self.path);
        Part { child: machine.runs(command).spawn().unwrap() }
    }
}

/// A running program, killed when this is dropped.
pub(super) struct Part {
    child: Child,
}

impl Part {
    /// Waits for its end, which must be a good one.
    pub(super) fn end(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        self.write(Record::End);
    }
}

/// Reads until the test is over, and ends the process if nothing comes any more.
fn read_all(mut reads: File, tell: &mpsc::Sender<Vec<Record>>) {
    let mut bytes = vec![0; 32 << 10];
    loop {
        let ready = poll(&mut [PollFd::new(reads.as_fd(), PollFlags::POLLIN)], LIMIT_MS);
        if ready == Ok(0) {
            eprintln!("{} hangs", super::TEST);
            process::abort();
        }
        let len = reads.read(&mut bytes).unwrap();
        let records: Vec<_> = bytes[..len].chunks_exact(32).map(Record::from_bytes).collect();
        let is_over = records.iter().any(|record| matches!(record, Record::End));
        if tell.send(records).is_err() || is_over {
            return;
        }
    }
}

/// What a sender's part is called: so many values of so many bytes, or of few.
pub(super) fn sends(sender: u64, values: u64, size: usize) -> String {
    format!("send {sender} {values} {size}")
}

pub(super) fn receives(receiver: u64) -> String {
    format!("receive {receiver}")
}

/// Plays a part, if this process was started for one.
pub(super) fn play() -> bool {
    let Ok(part) = std::env::var(PART) else { return false };
    let path = std::env::var_os(PIPE).unwrap();
    let mut records = OpenOptions::new().write(true).open(path).unwrap();
    let channel = std::env::var(CHANNEL).unwrap();
    let (what, numbers) = part.split_once(' ').unwrap();
    let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
    let played = catch_unwind(AssertUnwindSafe(|| match what {
        "send" => send(&channel, &records, numbers[0], numbers[1], numbers[2] as usize),
        _ => receive(&channel, &records, numbers[0]),
    }));
    if played.is_err() {
        records.write_all(&Record::Failed.to_bytes()).unwrap();
    }
    true
}

fn filling(sender: u64, number: u64) -> u8 {
    (sender * 7 + number) as u8
}

fn send(channel: &str, mut records: &File, sender: u64, values: u64, size: usize) {
    let tx = Channel::<Numbered>::open(channel).unwrap().sender().unwrap();
    for number in 0..values {
        let len = if size == 0 { (number * 31 % 200) as usize } else { size };
        tx.send(&(sender, number, vec![filling(sender, number); len].into())).unwrap();
        records.write_all(&Record::Sent { sender, number }.to_bytes()).unwrap();
    }
}

/// Receives until it is killed. A value is handed over when it was written down.
fn receive(channel: &str, records: &File, receiver: u64) {
    let rx = DynamicChannel::open(channel).unwrap().receiver().unwrap();
    loop {
        let taken = rx.recv_with(Select::Any, |message| {
            let Value::Seq(fields) = message.value else { panic!("no tuple: {:?}", message.value) };
            let [Value::Integer(sender), Value::Integer(number), Value::Bytes(bytes)] = &fields[..]
            else {
                panic!("not the three fields: {fields:?}");
            };
            let (sender, number) = (*sender as u64, *number as u64);
            let filling = filling(sender, number);
            assert!(bytes.iter().all(|&byte| byte == filling), "{number} of {sender} is not whole");
            let record = Record::Came { receiver, sender, number };
            let mut records = records;
            records.write_all(&record.to_bytes()).unwrap();
        });
        taken.unwrap();
    }
}
