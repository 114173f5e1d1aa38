//! What it takes to wake a process that waits: for one channel, for several, as a task, at a descriptor; and what
//! a thousand tasks that wait cost.
//!
//! Every waiter answers through the same ring, where this process spins: so the rows differ by how the waiter
//! was woken alone.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use sysv_channel::{Channel, Receiver, Sender, WaitSet};
use tokio::io::AsyncReadExt;
use tokio::io::unix::AsyncFd;

use crate::cores::Cores;
use crate::idle::cpu_time;
use crate::process::{Server, unused_name};
use crate::report::Report;
use crate::samples::nanos;
use crate::{Failure, stop};

/// The ways to wait. The first is what others are compared with.
const WAYS: [(&str, &str, &str); 6] = [
    ("recv", "wake_recv_us", "woken in recv, and an answer, us"),
    ("set", "wake_set_over_recv", "woken in a WaitSet of two, over recv"),
    ("task", "wake_task_over_recv", "woken in recv_async on tokio, over recv"),
    ("descriptor", "wake_descriptor_over_recv", "woken at AsyncFd of tokio, over recv"),
    ("stream", "wake_unix_over_recv", "woken in read of a UnixStream, over recv"),
    ("async stream", "wake_tokio_unix_over_recv", "woken in tokio's UnixStream, over recv"),
];

/// Tasks that wait, each for a channel of its own.
const TASKS: usize = 1000;

/// How long the waiter is left alone, so that it sleeps.
const PAUSE: Duration = Duration::from_micros(300);

struct Waiter {
    server: Server,
    send: Send,
    answers: Receiver<u64>,
    path: PathBuf,
}

enum Send {
    Channel(Sender<u64>),
    Stream(UnixStream),
}

pub fn measure(cores: Cores, quick: bool, report: &mut Report) -> Result<(), Failure> {
    let (rounds, wakes) = if quick { (9, 40) } else { (51, 100) };
    let mut waiters = Vec::new();
    for (way, ..) in WAYS {
        waiters.push(Waiter::start(cores, way)?);
    }
    let mut times = vec![Vec::new(); WAYS.len()];
    for _ in 0..rounds {
        stop::check()?;
        for (waiter, times) in waiters.iter_mut().zip(&mut times) {
            times.push(waiter.median(wakes)?);
        }
    }
    let [first, others @ ..] = &times[..] else { return Ok(()) };
    report.measured(WAYS[0].1, WAYS[0].2, first.iter().map(|time| time / 1e3).collect());
    for (&(_, key, title), times) in WAYS[1..].iter().zip(others) {
        let over = times.iter().zip(first).map(|(time, first)| time / first);
        report.measured(key, title, over.collect());
    }
    waiters.into_iter().try_for_each(Waiter::end)
}

impl Waiter {
    fn start(cores: Cores, way: &str) -> Result<Self, Failure> {
        let (name, answers) = (unused_name(), unused_name());
        // It spins for longer than a wake-up takes.
        let back = Channel::<u64>::options().inline_limit(0).spin(Duration::from_secs(1));
        let back = back.create(&*answers)?.receiver()?;
        let path = std::env::temp_dir().join(&name);
        let streams = way.ends_with("stream");
        let listener = if streams { Some(UnixListener::bind(&path)?) } else { None };
        let channel = Channel::<u64>::options().inline_limit(0).create(&*name)?;
        let tx = channel.sender()?;
        let part = ["wakeup", way, &name, &answers];
        let server = Server::start(cores.other, &part)?;
        let send = match listener {
            Some(listener) => Send::Stream(listener.accept()?.0),
            None => Send::Channel(tx),
        };
        // It is there.
        back.recv()?;
        Ok(Waiter { server, send, answers: back, path })
    }

    /// The median of so many wake-ups, in nanoseconds.
    fn median(&mut self, wakes: u64) -> Result<f64, Failure> {
        let mut times = Vec::new();
        for number in 1..=wakes {
            thread::sleep(PAUSE);
            let start = Instant::now();
            match &mut self.send {
                Send::Channel(tx) => tx.send(&number)?,
                Send::Stream(stream) => stream.write_all(&number.to_le_bytes())?,
            }
            let answer = self.answers.recv()?;
            times.push(nanos(start.elapsed()));
            if answer != number {
                return Err(format!("{number} was asked, {answer} answered").into());
            }
        }
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }

    fn end(self) -> Result<(), Failure> {
        drop(self.send);
        let ended = self.server.end();
        if self.path.exists() {
            fs::remove_file(&self.path)?;
        }
        ended
    }
}

/// Waits in one way, and answers.
pub fn serve(way: &str, name: &str, answers: &str) -> Result<(), Failure> {
    let back = Channel::<u64>::open(answers)?.sender()?;
    let receiver = || -> Result<Receiver<u64>, Failure> {
        // None looks before it sleeps: what is measured is the wake-up.
        let options = Channel::<u64>::options().spin(Duration::ZERO);
        Ok(options.open(name)?.receiver()?)
    };
    let path = std::env::temp_dir().join(name);
    back.send(&0)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match way {
        "recv" => {
            let rx = receiver()?;
            while let Ok(number) = rx.recv() {
                back.send(&number)?;
            }
        }
        "set" => {
            let rx = receiver()?;
            let (_tx, other) = sysv_channel::channel::<u64>()?;
            let mut set = WaitSet::new();
            let (number, _) = (set.add(&rx), set.add(&other));
            while set.ready()? == Some(number) {
                match rx.try_recv() {
                    Ok(number) => back.send(&number)?,
                    Err(error) if error.is_empty() => {}
                    Err(_) => break,
                }
            }
        }
        "task" => {
            let mut rx = receiver()?;
            runtime.block_on(async {
                while let Ok(number) = rx.recv_async().await {
                    back.send(&number)?;
                }
                Ok::<_, Failure>(())
            })?;
        }
        "descriptor" => {
            let rx = receiver()?;
            runtime.block_on(async {
                // SAFETY: it keeps one descriptor open until it is dropped.
                let readiness = unsafe { AsyncFd::register(rx.readiness()?) }?;
                loop {
                    match rx.try_recv() {
                        Ok(number) => back.send(&number)?,
                        Err(error) if error.is_empty() => readiness.readable().await?.clear_ready(),
                        Err(_) => return Ok::<_, Failure>(()),
                    }
                }
            })?;
        }
        "stream" => {
            let mut stream = UnixStream::connect(path)?;
            let mut number = [0; 8];
            while stream.read_exact(&mut number).is_ok() {
                back.send(&u64::from_le_bytes(number))?;
            }
        }
        "async stream" => runtime.block_on(async {
            let mut stream = tokio::net::UnixStream::connect(path).await?;
            let mut number = [0; 8];
            while stream.read_exact(&mut number).await.is_ok() {
                back.send(&u64::from_le_bytes(number))?;
            }
            Ok::<_, Failure>(())
        })?,
        way => return Err(format!("there is no way to wait called {way}").into()),
    }
    Ok(())
}

/// Measures what many tasks cost that wait for a channel each.
pub fn measure_tasks(cores: Cores, quick: bool, report: &mut Report) -> Result<(), Failure> {
    let (windows, window) = if quick { (3, 500) } else { (5, 2000) };
    let (name, answers) = (unused_name(), unused_name());
    let (go, back) = (Channel::<u64>::create(&*name)?, Channel::<u64>::create(&*answers)?);
    let (tx, rx) = (go.sender()?, back.receiver()?);
    let server = Server::start(cores.other, &["tasks", &name, &answers])?;
    let status = format!("/proc/{}/status", server.pid());
    let field = |name: &str| -> Result<f64, Failure> {
        let text = fs::read_to_string(&status)?;
        let line = text.lines().find(|line| line.starts_with(name)).ok_or("no such field")?;
        Ok(line.split_whitespace().nth(1).ok_or("no value")?.parse()?)
    };
    // The channels are there, and then the tasks wait.
    rx.recv()?;
    let (threads, resident) = (field("Threads:")?, field("VmRSS:")?);
    tx.send(&0)?;
    rx.recv()?;
    thread::sleep(Duration::from_millis(500));
    let tasks = TASKS as f64;
    let started = (field("Threads:")? - threads) / tasks;
    report.measured("task_threads", "threads of a task that waits", vec![started]);
    let kib = (field("VmRSS:")? - resident) / tasks;
    report.measured("task_resident_kib", "memory of a task that waits, KiB", vec![kib]);
    let mut busy = Vec::new();
    for _ in 0..windows {
        stop::check()?;
        let (before, start) = (cpu_time(server.pid())?, Instant::now());
        thread::sleep(Duration::from_millis(window));
        let used = cpu_time(server.pid())? - before;
        busy.push(used / nanos(start.elapsed()) * 1e3);
    }
    report.measured("tasks_cpu_ms_per_s", "1,000 tasks wait, time of the cpu, ms a second", busy);
    tx.send(&0)?;
    server.end()
}

/// Has many tasks wait for what never comes, until it is told.
pub fn serve_tasks(name: &str, answers: &str) -> Result<(), Failure> {
    let back = Channel::<u64>::open(answers)?.sender()?;
    let mut go = Channel::<u64>::open(name)?.receiver()?;
    let mut ends = Vec::new();
    for _ in 0..TASKS {
        let channel = Channel::<u64>::options().inline_limit(0).lanes(1).private()?;
        ends.push((channel.sender()?, channel.receiver()?));
    }
    let (_senders, receivers): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
    back.send(&0)?;
    go.recv()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        for mut receiver in receivers {
            tokio::spawn(async move { receiver.recv_async().await });
        }
        tokio::task::yield_now().await;
        back.send(&0)?;
        go.recv_async().await?;
        Ok::<_, Failure>(())
    })
}
