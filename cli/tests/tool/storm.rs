//! Processes that are killed at any moment, and `top`, `list` and `tap` beside them.

use std::collections::HashSet;
use std::env;
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Read};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use sysv_channel::rpc::{Client, Server};
use sysv_channel::{Channel, Key, Options};

use crate::screen::{SIZE, Terminal};
use crate::stage::{Running, Stage, run, text, until};

/// How many processes are killed.
const KILLS: u64 = 300;

/// How many run at a time.
const PARTIES: usize = 6;

/// How long one runs at most, in microseconds.
const LONGEST: u64 = 20_000;

/// Tells a process its part, and the channel's name.
const PART: &str = "SYSV_CHANNEL_PART";

/// What goes through: short values, and some that take the ring.
type Parcel = (u64, String);

fn parcel(number: u64) -> Parcel {
    (number, "x".repeat([3, 700, 3000][number as usize % 3]))
}

/// A number below `bound`, another one each time.
fn random(bound: u64) -> u64 {
    RandomState::new().hash_one(0) % bound
}

/// What a channel is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mixed,
    RingOnly,
    QueueOnly,
    Calls,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Mixed, Kind::RingOnly, Kind::QueueOnly, Kind::Calls];

    fn options(self) -> Options<Parcel, sysv_channel::DefaultCodec> {
        let options = Channel::<Parcel>::options();
        match self {
            Kind::RingOnly => options.inline_limit(0),
            Kind::QueueOnly => options.inline_limit(4000).capacity(0),
            Kind::Mixed | Kind::Calls => options,
        }
    }
}

/// A process that `PART` sends into the storm; else no test.
#[test]
fn a_party_comes_and_is_killed() {
    let Ok(part) = env::var(PART) else { return };
    let mut part = part.splitn(3, ' ');
    let mut word = || part.next().unwrap();
    let (kind, first, name) = (word(), word() == "first", word());
    let kind = Kind::ALL[kind.parse::<usize>().unwrap()];
    // It goes with the test, which holds the other end, if it is not killed.
    thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        process::exit(0);
    });
    println!("here");
    loop {
        // It fails where others are killed, or have the place: then it comes anew.
        let _ = match (kind, first) {
            (Kind::Calls, true) => serve(name),
            (Kind::Calls, false) => call(name),
            (_, true) => send(kind, name),
            (_, false) => receive(kind, name),
        };
    }
}

fn send(kind: Kind, name: &str) -> Result<(), Box<dyn Error>> {
    let channel = kind.options().open_or_create(name)?;
    let tx = channel.sender()?;
    for number in 0..random(500) {
        tx.send_timeout(&parcel(number), Duration::from_millis(10))?;
    }
    Ok(())
}

fn receive(kind: Kind, name: &str) -> Result<(), Box<dyn Error>> {
    let channel = kind.options().open_or_create(name)?;
    let rx = channel.receiver()?;
    for _ in 0..random(500) {
        rx.recv_timeout(Duration::from_millis(10))?;
    }
    Ok(())
}

fn serve(name: &str) -> Result<(), Box<dyn Error>> {
    let server = Server::<Parcel, Parcel>::bind(name)?;
    for _ in 0..random(500) {
        if let Some(request) = server.recv_timeout(Duration::from_millis(10))? {
            let reply = request.query().clone();
            request.reply(&reply)?;
        }
    }
    Ok(())
}

fn call(name: &str) -> Result<(), Box<dyn Error>> {
    let client = Client::<Parcel, Parcel>::connect(name)?;
    for number in 0..random(500) {
        client.call_timeout(&parcel(number), Duration::from_millis(10))?;
    }
    Ok(())
}

/// One of these processes, killed when it is dropped.
struct Party(Child);

impl Party {
    /// Starts one on one of the channels.
    fn start(stages: &[Stage]) -> Party {
        let (kind, part) = (random(stages.len() as u64), ["first", "second"][random(2) as usize]);
        let name = stages[kind as usize].name();
        let test = ["--exact", "storm::a_party_comes_and_is_killed", "--nocapture"];
        let child = Command::new(env::current_exe().unwrap())
            .args(test)
            .env(PART, format!("{kind} {part} {name}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut party = Party(child.unwrap());
        let lines = BufReader::new(party.0.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.ends_with("here")), "it is there");
        party
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ends what goes on beside a test, also where that fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks for all channels, again and again, until `over`.
fn list(over: &AtomicBool, stages: &[Stage]) -> usize {
    let mut seen = 0;
    while !over.load(Ordering::Relaxed) {
        let listed = run(&["list", "--json"]);
        assert_eq!(listed.status.code(), Some(0), "list: {}", text(&listed.stderr));
        assert_eq!(text(&listed.stderr), "", "list");
        for line in text(&listed.stdout).lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let name = line["name"].as_str().unwrap_or_default();
            seen += usize::from(stages.iter().any(|stage| stage.name() == name));
        }
    }
    seen
}

/// Taps one channel after another for a moment, until `over`.
fn tap(over: &AtomicBool, stages: &[Stage]) -> usize {
    let mut seen = 0;
    for stage in stages.iter().cycle().take_while(|_| !over.load(Ordering::Relaxed)) {
        let taps = Running::start(&["tap", "--json", stage.name()]);
        thread::sleep(Duration::from_micros(random(2 * LONGEST)));
        taps.signal(Signal::SIGINT);
        let (printed, output) = taps.end();
        let complaint = text(&output.stderr);
        // Without a code: it came before the tool could see to signals. 3 and 1: the channel is not there, or half-made.
        let code = output.status.code();
        assert!(
            matches!(code, None | Some(0 | 1 | 3 | 130)),
            "tap: {}, {complaint}",
            output.status
        );
        assert!(complaint.lines().count() <= 1 && !complaint.contains("panicked"), "{complaint}");
        for line in printed.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            assert!(line["value"].is_array(), "{line}");
            seen += 1;
        }
    }
    seen
}

/// What stands on the screen whatever happens.
fn check(top: &Terminal) {
    let text = top.text();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("sysv-channel  ") && lines[0].contains("values/s"), "{text}");
    assert!(lines[1].starts_with("NAME ") && lines[1].trim_end().ends_with("SENDERS"), "{text}");
    assert!(lines[usize::from(SIZE.0) - 1].starts_with("q leaves  "), "{text}");
    assert!(!text.contains("panicked"), "{text}");
}

/// Objects of the kernel with this key, as procfs lists them.
fn objects(key: Key) -> Vec<String> {
    let mut objects = Vec::new();
    for table in ["sem", "shm", "msg"] {
        let listed = std::fs::read_to_string(format!("/proc/sysvipc/{table}")).unwrap();
        let ours = |line: &&str| line.split_whitespace().next() == Some(&key.raw().to_string());
        objects.extend(listed.lines().filter(ours).map(|line| format!("{table}: {line}")));
    }
    objects
}

#[test]
fn top_list_and_tap_go_on_while_others_are_killed() {
    let stages = Kind::ALL.map(|_| Stage::new("storm"));
    let fresh = Stage::new("storm after");
    let top = Terminal::start(&["top", "--interval", "0.1"]);
    until(|| top.is_alternate() && top.text().contains("q leaves"));
    let over = AtomicBool::new(false);
    let (mut parties, mut seen_by_top) = (Vec::new(), HashSet::new());
    thread::scope(|scope| {
        let ending = Over(&over);
        let listing = scope.spawn(|| list(&over, &stages));
        let tapping = scope.spawn(|| tap(&over, &stages));
        parties.extend((0..PARTIES).map(|_| Party::start(&stages)));
        for _ in 0..KILLS {
            thread::sleep(Duration::from_micros(random(LONGEST)));
            parties.swap_remove(random(PARTIES as u64) as usize);
            parties.push(Party::start(&stages));
            // Another order, another line, and a pause that ends.
            top.press(["s", "j", "k", "pp", "\u{1b}[F", "\u{1b}[H"][random(6) as usize]);
            check(&top);
            let seen = |stage: &&Stage| top.line(stage.name()).is_some();
            seen_by_top.extend(stages.iter().filter(seen).map(Stage::name));
        }
        drop(ending);
        let (listed, tapped) = (listing.join().unwrap(), tapping.join().unwrap());
        assert!(listed > 0 && tapped > 0, "{listed} were listed, and {tapped} values tapped");
    });
    assert!(!seen_by_top.is_empty());

    // It still looks: what comes now is shown, and with its figures.
    let channel = Channel::<u64>::create(fresh.name()).unwrap();
    let tx = channel.sender().unwrap();
    tx.send(&7).unwrap();
    let me = process::id().to_string();
    until(|| {
        top.line(fresh.name()).is_some_and(|line| line.contains("channel") && line.contains(&me))
    });
    check(&top);
    drop((tx, channel));
    top.press("q");
    let shown = top.output();
    assert!(!text(&shown).contains("panicked"));
    let mut screen = vt100::Parser::new(SIZE.0, SIZE.1, 0);
    screen.process(&shown);
    assert!(!screen.screen().alternate_screen() && !screen.screen().hide_cursor());

    // What the killed have left, the tool removes, and nothing stays under their keys.
    drop(parties);
    for stage in stages.iter().chain([&fresh]) {
        let removed = run(&["rm", "--force", stage.name()]);
        assert!(matches!(removed.status.code(), Some(0 | 3)), "{}", text(&removed.stderr));
        assert_eq!(objects(Key::from_name(stage.name())), [""; 0], "{}", stage.name());
    }
}
