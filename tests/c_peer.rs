//! Programs in other languages on the other side of a `Queue`, a `Segment` and `Semaphores`.

#![allow(clippy::duplicate_mod, reason = "each example brings what compiles its C program")]

use std::process::{Command, Stdio};

use sysv_channel::codec::{Pod, Raw};
use sysv_channel::{Queue, Select, Tag};
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[path = "../examples/c_peer.rs"]
mod c_peer;
#[path = "../examples/c_segment.rs"]
mod c_segment;
#[path = "../examples/c_semaphores.rs"]
mod c_semaphores;

#[test]
fn c_program_exchanges_structs_both_ways() {
    c_peer::main().unwrap();
}

#[test]
fn c_program_and_rust_hand_each_other_texts_in_a_segment_both_ways() {
    c_segment::main().unwrap();
}

#[test]
fn c_program_and_rust_guard_a_segment_with_a_semaphore_whichever_made_it() {
    c_semaphores::main().unwrap();
}

#[derive(Debug, Clone, Copy, PartialEq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Reading {
    sensor: u64,
    celsius: f64,
}

/// Ends the queues' waits when the other program fails, so that the test fails and does not hang.
fn run_peer(mut peer: Command, queues: [&dyn Fn(); 2], exchange: impl FnOnce() + Send) {
    let mut peer = peer.spawn().unwrap();
    std::thread::scope(|scope| {
        let exchange = scope.spawn(exchange);
        let status = peer.wait().unwrap();
        if !status.success() {
            queues.iter().for_each(|remove| remove());
        }
        assert!(exchange.join().is_ok() && status.success(), "the other program: {status}");
    });
}

fn is_there(interpreter: &str) -> bool {
    let version = Command::new(interpreter)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let there = version.is_ok_and(|status| status.success());
    if !there {
        println!("skipped: there is no {interpreter} here");
    }
    there
}

const PERL: &str = r#"
my ($in, $out) = map { msgget($_, 0) // die "msgget: $!" } @ARGV;
for my $expected (0 .. 499) {
    my $message;
    msgrcv($in, $message, 16, 0, 0) // die "msgrcv: $!";
    my ($mtype, $sensor, $celsius) = unpack("l! Q d", $message);
    die "reading $expected came as $sensor, $celsius" unless $mtype == $expected + 1
        && $sensor == $expected && $celsius == $expected / 4;
    msgsnd($out, pack("l! Q d", $mtype, $sensor, $celsius * 1.8 + 32), 0) // die "msgsnd: $!";
}
"#;

#[test]
fn perl_program_exchanges_structs_both_ways() {
    if !is_there("perl") {
        return;
    }
    let celsius = Queue::<Reading, Pod>::private().unwrap();
    let fahrenheit = Queue::<Reading, Pod>::private().unwrap();
    let keys = [celsius.key(), fahrenheit.key()].map(|key| key.raw().to_string());
    let mut perl = Command::new("perl");
    perl.args(["-e", PERL, "--"]).args(keys);
    let remove = |queue: &Queue<Reading, Pod>| drop(queue.remove());
    run_peer(perl, [&|| remove(&celsius), &|| remove(&fahrenheit)], || {
        for sensor in 0..500 {
            let tag = Tag::new(sensor as i64 + 1).unwrap();
            let sent = Reading { sensor, celsius: sensor as f64 / 4.0 };
            celsius.send_tagged(tag, &sent).unwrap();
            let answer = fahrenheit.recv_matching(Select::Exactly(tag)).unwrap().value;
            assert_eq!(answer, Reading { sensor, celsius: sent.celsius * 1.8 + 32.0 });
        }
    });
}

const PYTHON: &str = r#"
import ctypes, os, sys

libc = ctypes.CDLL(None, use_errno=True)
libc.msgrcv.restype = ctypes.c_ssize_t
libc.msgrcv.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long, ctypes.c_int]
libc.msgsnd.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

class Message(ctypes.Structure):
    _fields_ = [("mtype", ctypes.c_long), ("text", ctypes.c_char * 8192)]

def check(answer):
    if answer < 0:
        sys.exit(os.strerror(ctypes.get_errno()))
    return answer

source, target = (check(libc.msgget(int(key), 0)) for key in sys.argv[1:])
message = Message()
while True:
    size = check(libc.msgrcv(source, ctypes.byref(message), 8192, 0, 0))
    text = ctypes.string_at(ctypes.addressof(message) + Message.text.offset, size)
    if not text:
        break
    ctypes.memmove(ctypes.addressof(message) + Message.text.offset, text[::-1], size)
    message.mtype += 1
    check(libc.msgsnd(target, ctypes.byref(message), size, 0))
"#;

#[test]
fn python_program_exchanges_bytes_both_ways() {
    if !is_there("python3") {
        return;
    }
    let there = Queue::<Vec<u8>, Raw>::private().unwrap();
    let back = Queue::<Vec<u8>, Raw>::private().unwrap();
    let keys = [there.key(), back.key()].map(|key| key.raw().to_string());
    let mut python = Command::new("python3");
    python.args(["-c", PYTHON]).args(keys);
    let remove = |queue: &Queue<Vec<u8>, Raw>| drop(queue.remove());
    run_peer(python, [&|| remove(&there), &|| remove(&back)], || {
        for len in [1, 7, 8, 1000, 8192] {
            let sent: Vec<u8> = (0..len).map(|byte| (byte % 251) as u8).collect();
            there.send_tagged(Tag::new(i64::from(len)).unwrap(), &sent).unwrap();
            let answer = back.recv_matching(Select::Any).unwrap();
            assert_eq!(answer.tag.get(), i64::from(len) + 1);
            assert!(answer.value.iter().eq(sent.iter().rev()));
        }
        there.send(&Vec::new()).unwrap();
    });
}
