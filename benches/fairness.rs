//! Many senders that wait for a full queue: what a value costs, and how evenly they get their turn.
//!
//! ```sh
//! cargo bench --bench fairness              # 1, 16, 64, 256 and 1,024 senders
//! cargo bench --bench fairness -- 64 256    # so many
//! ```
//!
//! Each sender is a process that sends without a pause; one receiver takes all. Beside the channel
//! stands the kernel's own queue, with blocking msgsnd and msgrcv, as many processes, and texts of
//! the same length. The two are measured in turns. A figure is the median over the rounds; a share
//! is what a sender sent, divided by the mean.

use std::error::Error;
use std::io::{Read, pipe};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, io};

use nix::libc::{self, c_int, c_long};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use sysv_channel::{Channel, OpenError, Receiver};

type Failure = Box<dyn Error + Send + Sync>;

const SENDERS: [usize; 5] = [1, 16, 64, 256, 1024];
const ROUNDS: usize = 3;

/// Values that are received before it counts, of each sender: all of them wait by then.
const BEFORE: usize = 4;

/// Values of each sender that are counted, on the average, at least; and for how long, at least. The
/// kernel's own queue takes so long with a thousand that its window ends earlier.
const COUNTED: usize = 100;
const WINDOW: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(15);

/// What each sender sends: with the channel's envelope as long as `LEN`.
#[derive(Serialize, Deserialize)]
struct Numbered {
    sender: u64,
    id: u64,
}

/// A text of the kernel's own queue.
const LEN: usize = 32;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let done = match &arguments[..] {
        [flag, way, place, number] if flag == "--sender" => send_on(way, place, number),
        numbers => run(numbers),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fairness bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(numbers: &[String]) -> Result<(), Failure> {
    let numbers: Vec<usize> = match numbers {
        [] => SENDERS.to_vec(),
        some => some.iter().map(|number| number.parse()).collect::<Result<_, _>>()?,
    };
    println!(
        "senders | us a value: channel | msgsnd | ratio | share: least | most | msgsnd: least | most"
    );
    for senders in numbers {
        let (mut own, mut kernel) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            own.push(by_channel(senders)?);
            kernel.push(by_kernel(senders)?);
        }
        let median = |of: &dyn Fn(usize) -> f64| {
            let mut all: Vec<f64> = (0..ROUNDS).map(of).collect();
            all.sort_by(f64::total_cmp);
            all[ROUNDS / 2]
        };
        println!(
            "{senders:7} | {:19.2} | {:6.2} | {:5.2} | {:12.2} | {:4.2} | {:13.2} | {:4.2}",
            median(&|round| own[round].time),
            median(&|round| kernel[round].time),
            median(&|round| own[round].time / kernel[round].time),
            median(&|round| own[round].least),
            median(&|round| own[round].most),
            median(&|round| kernel[round].least),
            median(&|round| kernel[round].most),
        );
    }
    Ok(())
}

/// What one round showed.
struct Round {
    /// Microseconds a value.
    time: f64,
    /// The smallest and the largest share.
    least: f64,
    most: f64,
}

fn by_channel(senders: usize) -> Result<Round, Failure> {
    let name = format!("bench fairness {}", std::process::id());
    let options = Channel::<Numbered>::options().lanes(senders).capacity(4096);
    let channel = options.create(&*name)?;
    let rx: Receiver<Numbered> = channel.receiver()?;
    let running = Senders::start(senders, "channel", &name)?;
    let measured = measure(senders, || Ok(rx.recv()?.sender as usize));
    drop(running);
    drop((rx, channel));
    // What is left in its queue may keep it.
    match Channel::<Numbered>::unlink(&*name) {
        Ok(()) | Err(OpenError::NotFound { .. }) => measured,
        Err(error) => Err(error.into()),
    }
}

fn by_kernel(senders: usize) -> Result<Round, Failure> {
    let queue = Queue::make()?;
    let running = Senders::start(senders, "msgsnd", &queue.id.to_string())?;
    let mut message = Message { mtype: 0, text: [0; 64] };
    let measured = measure(senders, || {
        queue.receive(0, &mut message)?;
        Ok(usize::from(u16::from_le_bytes([message.text[0], message.text[1]])))
    });
    drop(running);
    measured
}

/// Receives until it has seen enough; `receive` says whose each value is.
fn measure(
    senders: usize,
    mut receive: impl FnMut() -> Result<usize, Failure>,
) -> Result<Round, Failure> {
    let start = Instant::now();
    for _ in 0..BEFORE * senders {
        receive()?;
        if start.elapsed() > PATIENCE {
            break;
        }
    }
    let mut sent = vec![0_usize; senders];
    let (mut received, start) = (0, Instant::now());
    loop {
        let time = start.elapsed();
        if received >= COUNTED * senders && time > WINDOW || time > PATIENCE {
            break;
        }
        sent[receive()?] += 1;
        received += 1;
    }
    let time = start.elapsed().as_secs_f64() * 1e6 / received as f64;
    let share = |sent: Option<&usize>| *sent.expect("there are senders") as f64 * senders as f64;
    Ok(Round {
        time,
        least: share(sent.iter().min()) / received as f64,
        most: share(sent.iter().max()) / received as f64,
    })
}

/// The senders' processes, ended with this.
struct Senders(Vec<Child>);

impl Senders {
    /// Starts them, has all of them attached, and then lets them go at once.
    fn start(senders: usize, way: &str, place: &str) -> Result<Self, Failure> {
        let (gate, open) = pipe()?;
        let (mut attached, ready) = pipe()?;
        let mut running = Senders(Vec::new());
        for number in 0..senders {
            let mut command = Command::new(env::current_exe()?);
            command.args(["--sender", way, place, &number.to_string()]);
            command.stdin(Stdio::from(gate.try_clone()?)).stdout(Stdio::from(ready.try_clone()?));
            running.0.push(command.spawn()?);
        }
        drop(ready);
        attached.read_exact(&mut vec![0; senders])?;
        // They read its end.
        drop(open);
        Ok(running)
    }
}

impl Drop for Senders {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}

/// A sender's process: sends until it is killed.
fn send_on(way: &str, place: &str, number: &str) -> Result<(), Failure> {
    set_pdeathsig(Signal::SIGKILL)?;
    let sender: u16 = number.parse()?;
    if way == "msgsnd" {
        let queue = Queue::of(place.parse()?);
        let mut message = Message { mtype: 1, text: [0; 64] };
        message.text[..2].copy_from_slice(&sender.to_le_bytes());
        wait_for_the_others()?;
        loop {
            queue.send(&message, LEN)?;
        }
    }
    let tx = Channel::<Numbered>::open(place)?.sender()?;
    wait_for_the_others()?;
    for id in 0.. {
        tx.send(&Numbered { sender: sender.into(), id })?;
    }
    Ok(())
}

fn wait_for_the_others() -> Result<(), Failure> {
    use std::io::Write;
    let mut out = io::stdout();
    out.write_all(b".")?;
    out.flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    // A receiver that has not come yet would be measured too.
    thread::yield_now();
    Ok(())
}

// The kernel's own queue: no retries, no names, no error texts.

/// A message as msgsnd wants it: its type, then its text.
#[repr(C)]
struct Message {
    mtype: c_long,
    text: [u8; 64],
}

/// A queue; removed by the process that made it.
struct Queue {
    id: c_int,
    made: bool,
}

impl Queue {
    fn make() -> io::Result<Self> {
        // SAFETY: msgget takes no pointers.
        let id = check(unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) })?;
        Ok(Queue { id, made: true })
    }

    fn of(id: c_int) -> Self {
        Queue { id, made: false }
    }

    fn send(&self, message: &Message, len: usize) -> io::Result<()> {
        assert!(len <= message.text.len());
        // SAFETY: the text has at least `len` bytes.
        let sent = unsafe { libc::msgsnd(self.id, (&raw const *message).cast(), len, 0) };
        check(sent).map(drop)
    }

    fn receive(&self, mtype: c_long, message: &mut Message) -> io::Result<usize> {
        let room = message.text.len();
        let into = (&raw mut *message).cast();
        // SAFETY: the text has room for as much as is said.
        let received = unsafe { libc::msgrcv(self.id, into, room, mtype, 0) };
        check(received as i64).map(|len| len as usize)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.made {
            // SAFETY: IPC_RMID uses no buffer.
            unsafe { libc::msgctl(self.id, libc::IPC_RMID, std::ptr::null_mut()) };
        }
    }
}

fn check<N: Into<i64> + Copy>(result: N) -> io::Result<N> {
    if result.into() < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
