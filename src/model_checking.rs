//! Model-checking your own protocol.
//!
//! Built with `--cfg loom`, this crate runs on a small System V kernel made of [loom]'s primitives,
//! and [`Channel`](crate::Channel) and [`Queue`](crate::Queue) have the same methods as ever. What
//! you write around them is then explored: every order in which its threads can run, up to a bound,
//! and with kills every point at which a process can die.
//!
//! # Setting up
//!
//! In your `Cargo.toml`:
//!
//! ```toml
//! [dependencies]
//! sysv-channel = "0.1"
//!
//! # Loom itself is `sysv_channel::model::loom`. This adds that it can store where an execution failed.
//! [target.'cfg(loom)'.dependencies]
//! loom = { version = "0.7.2", features = ["checkpoint"] }
//!
//! [lints.rust]
//! unexpected_cfgs = { level = "warn", check-cfg = ["cfg(loom)"] }
//!
//! # Unoptimised models take ten times as long.
//! [profile.loom]
//! inherits = "dev"
//! opt-level = 3
//! ```
//!
//! Your protocol, here a worker that doubles numbers, in `src/lib.rs` of a package `protocol`:
//!
//! ```ignore
//! use sysv_channel::{Receiver, Sender};
//!
//! /// Answers each number with its double, until there are no more.
//! pub fn double(requests: &Receiver<u8>, replies: &Sender<u8>) {
//!     for request in requests {
//!         replies.send(&(2 * request.unwrap())).unwrap();
//!     }
//! }
//! ```
//!
//! Its models, in `tests/model.rs`:
//!
//! ```ignore
//! #![cfg(loom)]
//!
//! use sysv_channel::codec::{Bincode, Schema};
//! use sysv_channel::model::{Process, check, check_kills, loom::thread};
//! use sysv_channel::{Channel, Options};
//!
//! /// Small numbers make small models: one sender, no queue, a ring of four lines.
//! fn options() -> Options<u8, Bincode> {
//!     let options = Channel::<u8>::options().lanes(1).inline_limit(0).capacity(256);
//!     options.schema(Schema::named("u8", 1))
//! }
//!
//! #[test]
//! fn the_reply_comes() {
//!     let executions = check(|| {
//!         let (requests, replies) = (options().private().unwrap(), options().private().unwrap());
//!         let (ask, hear) = (requests.sender().unwrap(), replies.receiver().unwrap());
//!         let (asked, reply) = (requests.receiver().unwrap(), replies.sender().unwrap());
//!         let worker = thread::spawn(move || protocol::double(&asked, &reply));
//!         ask.send(&21).unwrap();
//!         assert_eq!(hear.recv().unwrap(), 42);
//!         drop(ask);
//!         worker.join().unwrap();
//!     });
//!     println!("{executions} executions");
//! }
//!
//! #[test]
//! fn what_was_sent_arrives_wherever_the_sender_dies() {
//!     let (steps, executions) = check_kills(|step| {
//!         let channel = options().private().unwrap();
//!         let (rx, handle) = (channel.receiver().unwrap(), channel.handle());
//!         let process = Process::new();
//!         let tx = process.enter(|| options().open(handle).unwrap().sender().unwrap());
//!         let process = process.kill_at(step).spawn(move || tx.send(&42).unwrap());
//!         let got: Vec<u8> = rx.iter().map(|value| value.unwrap()).collect();
//!         let sent = process.join().is_some();
//!         assert!(got == [42] || got.is_empty() && !sent);
//!     });
//!     println!("killed before each of {steps} steps, {executions} executions");
//! }
//! ```
//!
//! # Running
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" cargo test --profile loom --target-dir target/loom --test model -- --nocapture
//! ```
//!
//! The target directory of its own keeps other builds as they are: with other `RUSTFLAGS` cargo
//! builds every dependency anew. `--cfg loom` is for the whole build: other crates that know it
//! change too (tokio leaves out its network). A build without it knows nothing of loom.
//!
//! `check` explores up to two preemptions in one execution,
//! `check_kills` up to one at each step; `LOOM_MAX_PREEMPTIONS=3` widens
//! both. `LOOM_MAX_BRANCHES` raises the steps of one execution above 20,000. `LOOM_MAX_PERMUTATIONS` and
//! `LOOM_MAX_DURATION` end an exploration early, and the test passes as if it had been completed: do
//! without. Plain `loom::model` works as well, and has no bound on preemptions.
//!
//! # The execution that fails
//!
//! A lost wake-up shows as loom's `deadlock`, an endless loop as its maximum of branches, and a
//! race on memory as a causality violation; your own assertions are panics. Where a kill is to
//! blame, standard error has the step: replace `check_kills(model)` by `check(|| model(STEP))`.
//!
//! Store which execution it is (`NAME` is the test), then have it alone run again, with its log and
//! the lines of source:
//!
//! ```sh
//! export RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom
//! LOOM_CHECKPOINT_FILE=failing.json LOOM_CHECKPOINT_INTERVAL=1 \
//!     cargo test --profile loom --test model -- --exact NAME
//! LOOM_CHECKPOINT_FILE=failing.json LOOM_LOG=trace LOOM_LOCATION=1 LOOM_MAX_BRANCHES=20000 \
//!     cargo test --profile loom --test model -- --exact NAME
//! ```
//!
//! The file has the bound on preemptions. Remove it before the next exploration, which would begin
//! there. Without a file a log needs `LOOM_MAX_PREEMPTIONS`, too, or it has no bound.
//!
//! # Small models finish
//!
//! Loom allows five threads, main included. Two or three values, rings of two to eight lines of 64
//! bytes, inline limits of some bytes: what goes wrong goes wrong there. Attach before you spawn,
//! so that attaching is not explored with the rest. Name the schema (`Options::schema`), or its
//! tracing runs in each execution. A model that cannot fail proves nothing: break the protocol, and
//! see it fail. `tests/protocol.rs` of this crate is a whole example: a client and a worker with a
//! request, a reply and a stop, in which loom finds a lost request, and the worker that loses none.
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
//! Loom itself does not explore everything that its memory model allows: `SeqCst` accesses count as
//! `AcqRel`, and an atomic remembers its last seven stores.
//!
//! [loom]: https://docs.rs/loom
