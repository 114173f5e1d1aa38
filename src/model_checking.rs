//! Model-checking your own protocol.
//!
//! Built with `--cfg loom`, this crate runs on a small System V kernel made of [loom]'s primitives,
//! and [`Channel`](crate::Channel) and [`Queue`](crate::Queue) have the same methods as ever. What
//! you write around them is then explored: every order in which its threads can run, up to a bound,
//! and with kills every point at which a process can die.
//!
//! ```ignore
//! use sysv_channel::model::{Process, check, check_kills, loom::thread};
//! use sysv_channel::Channel;
//!
//! #[test]
//! fn the_answer_comes_whoever_is_first() {
//!     let executions = check(|| {
//!         let channel = Channel::<u8>::options().lanes(1).inline_limit(0).capacity(256);
//!         let channel = channel.private().unwrap();
//!         let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
//!         let sender = thread::spawn(move || tx.send(&42).unwrap());
//!         assert_eq!(rx.recv().unwrap(), 42);
//!         sender.join().unwrap();
//!     });
//!     println!("{executions} executions");
//! }
//!
//! #[test]
//! fn a_dead_sender_is_noticed_wherever_it_dies() {
//!     check_kills(|step| {
//!         let channel = Channel::<u8>::options().lanes(1).inline_limit(0).capacity(256);
//!         let channel = channel.private().unwrap();
//!         let (rx, handle) = (channel.receiver().unwrap(), channel.handle());
//!         let process = Process::new();
//!         let tx = process.enter(|| Channel::<u8>::open(handle).unwrap().sender().unwrap());
//!         let process = process.kill_at(step).spawn(move || tx.send(&42).unwrap());
//!         let got: Vec<u8> = rx.iter().map(|value| value.unwrap()).collect();
//!         let sent = process.join().is_some();
//!         assert!(got == [42] || got.is_empty() && !sent);
//!     });
//! }
//! ```
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" cargo test --profile loom
//! ```
//!
//! with `[profile.loom]`, `inherits = "dev"`, `opt-level = 3` in `Cargo.toml`: unoptimised models
//! take ten times as long. `tests/protocol.rs` of this crate is a whole example: a client and a
//! worker with a request, an answer and a stop, in which loom finds a lost request, and the worker
//! that loses none. Plain `loom::model` works as well as `check`, which sets the bounds and counts.
//!
//! # Small models finish
//!
//! Loom allows five threads, main included. Two or three values, rings of two to eight lines of 64
//! bytes, inline limits of some bytes: what goes wrong goes wrong there. Attach before you spawn,
//! so that attaching is not explored with the rest. Name the schema (`Options::schema`), or its
//! tracing runs in each execution. `LOOM_MAX_PREEMPTIONS=3` widens the bound.
//!
//! A lost wake-up shows as loom's `deadlock`, an endless loop as its maximum of branches, and a
//! race on memory as a causality violation.
//!
//! # What is modelled, and what is not
//!
//! | | |
//! |---|---|
//! | queues, segments, semaphores with undo | yes, each call as one step; `set_queue_capacity` makes a queue small |
//! | processes and their death | yes: `Process`, killed before any step; undo is applied as the kernel does |
//! | removal of a channel in use | yes: `Channel::unlink` |
//! | deadlines | they pass when `expire_deadlines` is called, in a thread of its own, wherever loom puts that |
//! | signals | no: no call of this crate shows them |
//! | fork, users and permissions, memory that is full | no |
//! | spinning | no thread spins, so that every way to sleep is explored |
//! | the barrier that only sleepers pay for (membarrier) | as a fence on either side |
//!
//! `--cfg loom` is for the whole build: other crates that know it change too (tokio leaves out its
//! network). A build without it knows nothing of loom.
//!
//! [loom]: https://docs.rs/loom
