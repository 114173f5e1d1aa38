//! What a channel takes while nothing is sent, and the memory of a lane that is used.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use sysv_channel::Channel;

use crate::cores::Cores;
use crate::process::{Server, unused_name};
use crate::report::Report;
use crate::samples::nanos;
use crate::values::Order;
use crate::{Failure, stop};

/// Measures a channel as it is by default, whose receiver waits in another process.
pub fn measure(cores: Cores, quick: bool, report: &mut Report) -> Result<(), Failure> {
    let (windows, window) = if quick { (3, 500) } else { (5, 2000) };
    let name = unused_name();
    let channel = Channel::<Order>::create(&*name)?;
    let server = Server::start(cores.other, &["idle", &name])?;
    // It has come, looked for a while, and gone to sleep.
    thread::sleep(Duration::from_millis(300));
    let committed = committed()?;
    report.measured("idle_committed_bytes", "memory, before a lane is used, B", vec![committed]);
    let tx = channel.sender()?;
    let mut busy = Vec::new();
    for _ in 0..windows {
        stop::check()?;
        let (before, start) = (cpu_time(server.pid())?, Instant::now());
        thread::sleep(Duration::from_millis(window));
        let used = cpu_time(server.pid())? - before;
        busy.push(used / nanos(start.elapsed()) * 1e3);
    }
    report.measured("idle_cpu_ms_per_s", "time of the cpu while idle, ms a second", busy);
    drop((tx, channel));
    server.end()
}

/// Measures what a lane of a ring-only channel, as it is by default otherwise, takes of memory once small
/// values went through it.
pub fn measure_lane(report: &mut Report) -> Result<(), Failure> {
    /// So many wait at a time, and so often.
    const WAITING: u64 = 250;
    const TIMES: u64 = 4;
    let channel = Channel::<Order>::options().inline_limit(0).create(unused_name())?;
    let rx = channel.receiver()?;
    let before = committed()?;
    let tx = channel.sender()?;
    for time in 0..TIMES {
        let ids = time * WAITING..(time + 1) * WAITING;
        for id in ids.clone() {
            tx.send(&Order::new(id))?;
        }
        for id in ids {
            let came = rx.recv()?.id;
            if came != id {
                return Err(format!("order {id} was due, {came} came").into());
            }
        }
    }
    let taken = committed()? - before;
    report.measured("lane_committed_bytes", "memory of a lane, 1,000 values sent, B", vec![taken]);
    Ok(())
}

/// Waits for what never comes.
pub fn serve(name: &str) -> Result<(), Failure> {
    let rx = Channel::<Order>::open(name)?.receiver()?;
    match rx.recv() {
        Err(error) if error.is_disconnected() => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Err("something came".into()),
    }
}

/// Bytes that are in memory, of the segments that this process created.
fn committed() -> Result<f64, Failure> {
    let mine = std::process::id().to_string();
    let segments = fs::read_to_string("/proc/sysvipc/shm")?;
    let column = |name: &str| {
        let mut names = segments.lines().next().unwrap_or_default().split_whitespace();
        names.position(|column| column == name).ok_or(format!("no column {name}"))
    };
    let (creator, resident) = (column("cpid")?, column("rss")?);
    let mut bytes = 0.0;
    for segment in segments.lines().skip(1) {
        let columns: Vec<&str> = segment.split_whitespace().collect();
        if columns[creator] == mine {
            bytes += columns[resident].parse::<f64>()?;
        }
    }
    Ok(bytes)
}

/// Nanoseconds that all threads of a process had a processor.
pub fn cpu_time(process: Pid) -> Result<f64, Failure> {
    let mut time = 0.0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let times = fs::read_to_string(task?.path().join("schedstat"))?;
        let first = times.split_whitespace().next().ok_or("there are no times")?;
        time += first.parse::<f64>()?;
    }
    Ok(time)
}
