//! The crate's own models, each with the faults that it must find.
mod actor;
mod attach;
mod bounds;
mod bridge;
mod calls;
mod death;
mod lifetime;
mod order;
mod peers;
mod pending;
mod programs;
mod queue;
mod receivers;
mod returns;
mod ring;
mod space;
mod streams;
mod wake;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use crate::codec::{Bincode, Schema};
use crate::model::{self, Process};
use crate::sys::Deadline;
use crate::sys::thread::Parker;
use crate::verify::fault::{Fault, with_fault};
use crate::{Channel, Handle, Options, Receiver, Sender};

/// Checks the model, and prints how much was explored.
fn holds(name: &str, model: impl Fn() + Copy + Sync + Send + 'static) {
    let start = std::time::Instant::now();
    let executions = model::check(model);
    println!("{name}: {executions} executions, {:.2} s", start.elapsed().as_secs_f64());
}

/// Checks the model with each fault: loom has to find every one.
fn finds(name: &str, faults: &[Fault], model: impl Fn() + Copy + Sync + Send + 'static) {
    finds_by(name, faults, || model::check(model));
}

/// The same, of a model that is checked by another way.
fn finds_by(name: &str, faults: &[Fault], check: impl Fn() -> usize + Copy) {
    for &fault in faults {
        let found = catch_unwind(AssertUnwindSafe(|| with_fault(fault, check)));
        match found {
            Ok(executions) => panic!("{name}: {fault:?} was not found in {executions} executions"),
            Err(_) => println!("{name}: found {fault:?}"),
        }
    }
}

/// The same, with a process killed before each of its steps in turn.
fn holds_killed(name: &str, model: impl Fn(usize) + Copy + Sync + Send + 'static) {
    let start = std::time::Instant::now();
    let (steps, executions) = model::check_kills(model);
    let time = start.elapsed().as_secs_f64();
    println!("{name}: killed at each of {steps} steps, {executions} executions, {time:.2} s");
}

/// Checks the model with each fault and a process killed before each of its steps: loom has to find
/// every fault at one of them.
fn finds_killed(
    name: &str,
    faults: &[Fault],
    model: impl Fn(usize) + Copy + Sync + Send + 'static,
) {
    for &fault in faults {
        let found =
            catch_unwind(AssertUnwindSafe(|| with_fault(fault, || model::check_kills(model))));
        match found {
            Ok((_, executions)) => {
                panic!("{name}: {fault:?} was not found in {executions} executions")
            }
            Err(_) => println!("{name}: found {fault:?}"),
        }
    }
}

/// Polls until the future is ready; in between the thread is parked, as an executor's is.
fn block_on<R>(future: impl Future<Output = R>) -> R {
    let mut future = std::pin::pin!(future);
    let parker = Parker::new();
    let mut context = Context::from_waker(parker.waker());
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(result) => return result,
            Poll::Pending => parker.park(Deadline::never()),
        }
    }
}

/// Options for a feed with a ring of so many lines.
fn ring_only(lines: usize) -> Options<u8, Bincode> {
    let options = Channel::<u8>::options().lanes(1).inline_limit(0).capacity(lines * 64);
    options.schema(Schema::named("u8", 1))
}

/// Options for a channel with queue and ring, in which values of one byte are messages.
fn mixed(lines: usize) -> Options<u8, Bincode> {
    ring_only(lines).inline_limit(1)
}

/// A process of its own with a sender attached, not started yet.
fn process_with_sender(channel: &Channel<u8>) -> (Process, Sender<u8>) {
    let handle = channel.handle();
    let process = Process::new();
    let tx = process.enter(|| open(handle).sender().unwrap());
    (process, tx)
}

/// A process of its own with the receiver attached, not started yet.
fn process_with_receiver(channel: &Channel<u8>) -> (Process, Receiver<u8>) {
    let handle = channel.handle();
    let process = Process::new();
    let rx = process.enter(|| open(handle).receiver().unwrap());
    (process, rx)
}

fn open(handle: Handle) -> Channel<u8> {
    ring_only(2).open(handle).unwrap()
}
