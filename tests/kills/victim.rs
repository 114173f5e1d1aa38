//! The processes that are killed: this binary again, in a role.
//!
//! What one says goes to a file, so that it never waits for a reader and nothing of it is lost.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sysv_channel::actor::{Address, Mailbox};
use sysv_channel::{Channel, RecvGuard, SendError, Sender};

use crate::actors::{self, Did, Note};
use crate::calls;
use crate::common::kernel::has_ended;
use crate::points::{Census, Point, arm};
use crate::scene::{Load, Parcel, Scene};
use crate::streams;

const SPEC: &str = "SYSV_CHANNEL_TEST_VICTIM";

/// What a victim does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Opens, sends, goes.
    Sender,
    /// Does so as a task.
    SenderTask,
    /// Opens, receives, goes.
    Receiver,
    /// Does so as a task.
    ReceiverTask,
    /// Creates, sends, goes: the values stay.
    Creator,
    /// Creates and goes: nothing stays.
    Visitor,
    /// Opens, receives what is there, goes as the last.
    Last,
    /// Unlinks.
    Unlinker,
    /// Sweeps.
    Sweeper,
    /// Answers calls, goes.
    Server,
    /// Calls, goes.
    Client,
    /// Answers calls by streams, goes.
    StreamServer,
    /// Reads them, goes.
    StreamReader,
    /// Acts on notes, goes.
    Actor,
    /// Does so when the mailbox is free.
    Standby,
    /// Answers what is forwarded, goes.
    Holder,
    /// Tells and asks, goes.
    Asker,
    /// Receives beside others, and hands over what it has told of; gives some back.
    Worker,
}

impl Role {
    const ALL: [Role; 18] = [
        Role::Sender,
        Role::SenderTask,
        Role::Receiver,
        Role::ReceiverTask,
        Role::Creator,
        Role::Visitor,
        Role::Last,
        Role::Unlinker,
        Role::Sweeper,
        Role::Server,
        Role::Client,
        Role::StreamServer,
        Role::StreamReader,
        Role::Actor,
        Role::Standby,
        Role::Holder,
        Role::Asker,
        Role::Worker,
    ];
}

/// How a victim ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, when it has done its part; it counts the points that it comes by.
    Counted,
    /// At a point.
    At(Point),
    /// From outside, at any moment: it goes on until then.
    Outside,
}

/// How many values a victim sends or receives that ends by itself.
pub(crate) const VALUES: u64 = 12;

pub(crate) struct Victim {
    process: Child,
    log: File,
}

/// What a victim said, and whether it was killed.
pub(crate) struct Last {
    pub(crate) killed: bool,
    lines: Vec<String>,
}

impl Victim {
    /// Starts a process; `number` tells senders apart.
    pub(crate) fn start(name: &str, role: Role, scene: Scene, number: u64, end: &End) -> Victim {
        let log = tempfile::tempfile().expect("a temporary file");
        let end = match end {
            End::Counted => "counted".to_owned(),
            End::Outside => "outside".to_owned(),
            End::At(point) => format!("{} {}", point.name, point.pass),
        };
        let role = Role::ALL.iter().position(|of| *of == role).expect("one of them");
        let process = Command::new("/proc/self/exe")
            .env(
                SPEC,
                [&*role.to_string(), name, &scene.index().to_string(), &number.to_string(), &end]
                    .join("\n"),
            )
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .spawn()
            .expect("the test binary starts itself");
        Victim { process, log }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        // One that has ended is not waited for yet, so the number is still its own.
        kill(Pid::from_raw(self.id() as i32), signal).expect("the victim is there");
    }

    /// Whether it has said that it is attached, or has ended: for whoever waits for its place.
    pub(crate) fn has_come(&self) -> impl Fn() -> bool + Send + use<> {
        let (log, process) = (self.log.try_clone().expect("a file"), self.id());
        move || {
            let mut text = [0; 4096];
            // Leaves the position alone, which the victim writes at.
            let len = log.read_at(&mut text, 0).expect("a file");
            let said = text[..len].split(|&byte| byte == b'\n').any(|line| line == b"attached");
            said || has_ended(process)
        }
    }

    /// Waits for its end.
    pub(crate) fn last(mut self) -> Last {
        let status = self.process.wait().expect("the victim is ours");
        let killed = status.signal() == Some(Signal::SIGKILL as i32);
        assert!(killed || status.success(), "the victim failed: {status}");
        let mut text = String::new();
        self.log.rewind().expect("a file");
        self.log.read_to_string(&mut text).expect("a file of lines");
        // A line that was not finished was not said.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        Last { killed, lines: whole.lines().map(str::to_owned).collect() }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Both fail if it was waited for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Last {
    pub(crate) fn said(&self, what: &str) -> bool {
        self.lines.iter().any(|line| line == what)
    }

    /// How many values a sender told of.
    pub(crate) fn sent(&self) -> u64 {
        self.lines.iter().filter(|line| line.starts_with("sent ")).count() as u64
    }

    /// Sender and id of each value that a receiver told of.
    pub(crate) fn received(&self) -> impl Iterator<Item = (u64, u64)> {
        self.lines.iter().filter_map(|line| {
            let (sender, id) = line.strip_prefix("received ")?.split_once(' ')?;
            Some((sender.parse().ok()?, id.parse().ok()?))
        })
    }

    /// The requests that a server executed.
    pub(crate) fn executed(&self) -> impl Iterator<Item = u64> {
        self.lines.iter().filter_map(|line| line.strip_prefix("executed ")?.parse().ok())
    }

    /// The points that it came by, and how often.
    pub(crate) fn points(&self) -> impl Iterator<Item = (String, u64)> {
        self.lines.iter().filter_map(|line| {
            let (name, count) = line.strip_prefix("point ")?.split_once(' ')?;
            Some((name.to_owned(), count.parse().ok()?))
        })
    }
}

/// Plays the victim if this process was started as one.
pub(crate) fn play_if_asked() {
    let Ok(spec) = std::env::var(SPEC) else { return };
    prctl::set_pdeathsig(Signal::SIGKILL).expect("a child dies with its parent");
    let parts: Vec<&str> = spec.split('\n').collect();
    let [role, name, scene, number, end] = parts[..] else { panic!("no such victim: {spec}") };
    let number_of = |text: &str| text.parse::<u64>().expect("a number");
    let role = Role::ALL[number_of(role) as usize];
    let scene = Scene::ALL[number_of(scene) as usize];
    let values = if end == "outside" { u64::MAX } else { VALUES };
    let census = (end == "counted").then(Census::start);
    if let Some((name, pass)) = end.split_once(' ') {
        arm(&Point { name: name.to_owned(), pass: number_of(pass) });
    }
    act(role, name, scene, number_of(number), values);
    if let Some(census) = census {
        census.report();
    }
    std::process::exit(0);
}

fn act(role: Role, name: &str, scene: Scene, number: u64, values: u64) {
    match role {
        Role::Sender => {
            let channel = scene.options().open(name).expect("the channel is there");
            let tx = channel.sender().expect("a lane is free");
            println!("attached");
            send(&tx, scene, number, values);
        }
        Role::SenderTask => {
            let channel = scene.options().open(name).expect("the channel is there");
            let mut tx = channel.sender().expect("a lane is free");
            println!("attached");
            for id in 0..values {
                let parcel = scene.parcel(number, id);
                while let Err(error) = smol::block_on(tx.send_async(&parcel)) {
                    assert!(error.is_disconnected(), "{error}");
                    thread::yield_now();
                }
                println!("sent {id}");
            }
        }
        Role::Receiver | Role::ReceiverTask => {
            let rx = scene.options().open(name).expect("the channel is there").receiver();
            let mut rx = rx.expect("the role is free");
            println!("attached");
            let mut left = values;
            while left > 0 {
                let received = match role {
                    Role::ReceiverTask => smol::block_on(rx.recv_async()),
                    _ => rx.recv(),
                };
                match received {
                    Ok(parcel) => {
                        told_received(&parcel);
                        left -= 1;
                    }
                    Err(error) => {
                        assert!(error.is_disconnected(), "{error}");
                        thread::yield_now();
                    }
                }
            }
        }
        Role::Creator => {
            let channel = scene.options().create(name).expect("nobody uses it");
            println!("created");
            send(
                &channel.sender().expect("a lane is free"),
                scene,
                number,
                scene.values_without_receiver(),
            );
        }
        Role::Visitor if values == u64::MAX => loop {
            let channel = scene.options().open_or_create(name).expect("it is there or is made");
            // The lanes are more than the visitors.
            drop(channel.sender().expect("a lane is free"));
        },
        Role::Visitor => drop(scene.options().create(name).expect("nobody uses it")),
        Role::Last => {
            let channel = scene.options().open(name).expect("the channel is there");
            println!("opened");
            let rx = channel.receiver().expect("the role is free");
            for parcel in rx.try_iter() {
                told_received(&parcel.expect("a value"));
            }
        }
        Role::Unlinker => {
            Channel::<Parcel>::unlink(name).expect("the channel is there");
            println!("unlinked");
        }
        Role::Server => {
            let server = calls::bind(name, scene);
            println!("attached");
            for request in server.incoming().take(usize::try_from(values).unwrap_or(usize::MAX)) {
                let (parcel, port) = request.expect("a request").into_parts();
                parcel.check();
                println!("executed {}", parcel.id);
                // The caller may have given up.
                let _ = port.reply(&parcel);
            }
        }
        Role::Client => {
            let client = calls::connect(name);
            println!("attached");
            for id in 0..values {
                let reply = client.call(&scene.parcel(number, id)).expect("a reply");
                reply.check();
                assert_eq!(reply.id, id, "the reply to another call");
            }
        }
        Role::StreamServer => {
            let server = calls::bind(name, scene);
            println!("attached");
            streams::serve(&server, scene, values);
        }
        Role::StreamReader => {
            let client = calls::connect(name);
            println!("attached");
            for id in 0..values {
                streams::read(&client, scene, number, id).expect("all parts");
            }
        }
        Role::Actor => act_on_notes(name, name, scene, values, Duration::ZERO),
        // Longer than a round may take.
        Role::Standby => act_on_notes(name, name, scene, values, Duration::from_secs(1000)),
        Role::Holder => {
            act_on_notes(&actors::holder_of(name), name, scene, values, Duration::ZERO);
        }
        Role::Asker => {
            let address = Address::connect(name).expect("an actor, and a place");
            println!("attached");
            for id in 0..values {
                actors::tell(&address, scene, number, id);
                println!("sent {id}");
                actors::ask(&address, scene, number, id, Note::Echo).expect("a reply");
                let forwarded = actors::forwarded(id);
                actors::ask(&address, scene, number, forwarded, Note::Forward).expect("a reply");
            }
        }
        Role::Worker => {
            let rx = scene.options().open(name).expect("the channel is there").receiver();
            let rx = rx.expect("a place is free");
            println!("attached");
            let mut left = values;
            while left > 0 {
                match rx.recv_guard() {
                    Ok(job) if gives_back(&job) => drop(job),
                    Ok(job) => {
                        told_received(&job);
                        job.done();
                        left -= 1;
                    }
                    Err(error) => {
                        assert!(error.is_disconnected(), "{error}");
                        return;
                    }
                }
            }
        }
        Role::Sweeper => drop(sysv_channel::sweep().expect("sets are listed")),
    }
}

fn send(tx: &Sender<Parcel>, scene: Scene, number: u64, values: u64) {
    for id in 0..values {
        let parcel = scene.parcel(number, id);
        loop {
            let sent = match scene.load {
                Load::GivingUp => tx.send_timeout(&parcel, Duration::from_micros(200)),
                _ => tx.send(&parcel),
            };
            match sent {
                Ok(()) => break,
                Err(SendError::Disconnected { .. } | SendError::Timeout { .. }) => {
                    thread::yield_now()
                }
                Err(error) => panic!("{error}"),
            }
        }
        println!("sent {id}");
    }
}

fn act_on_notes(mailbox: &str, name: &str, scene: Scene, notes: u64, wait: Duration) {
    let mailbox: Mailbox<Note> =
        actors::options(scene).stand_by(mailbox, wait).expect("the mailbox becomes free");
    println!("attached");
    actors::act(&mailbox, name, notes, |did, parcel| match did {
        Did::Receive => println!("received {} {}", parcel.sender, parcel.id),
        Did::Execute => println!("executed {}", parcel.id),
    });
}

/// Whether a receiver that shares the queue leaves the value to another, or to itself, at first.
pub(crate) fn gives_back(job: &RecvGuard<'_, Parcel>) -> bool {
    job.deliveries() == 1 && job.id % 5 == 3
}

fn told_received(parcel: &Parcel) {
    parcel.check();
    println!("received {} {}", parcel.sender, parcel.id);
}
