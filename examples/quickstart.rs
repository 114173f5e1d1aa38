//! The main job on real input: two processes exchange typed values, small and large, in order.
//!
//! This program reads a text (the crate's own sources, or the file or directory named as argument)
//! and starts a second process that is told nothing but a name. It sends that peer every line as a
//! typed value, with payloads of 1 byte to 16 MiB in between; the peer checks order, tag and content
//! of each and sends an answer, which is checked here. Nothing is left behind.
//!
//! ```sh
//! cargo run --release --example quickstart [TEXT]
//! ```

use std::error::Error;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use nix::sys::signal::{SigSet, Signal};
use serde::{Deserialize, Serialize};
use sysv_channel::codec::{Bincode, Bytes, Codec, Writer};
use sysv_channel::{Channel, Key, Receiver, Select, Sender, Tag};

type Failure = Box<dyn Error + Send + Sync>;

/// What goes there and back.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
enum Item {
    Line {
        file: String,
        line: u32,
        kind: Kind,
        words: Vec<String>,
    },
    Bulk(Bytes),
    /// The peer's last word: who it was, and how many values it checked.
    Report {
        process: u32,
        checked: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
enum Kind {
    Blank,
    Comment,
    Text { indent: u32 },
}

/// An item with its number in the stream and the sum of its content.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Parcel {
    number: u64,
    sum: u64,
    item: Item,
}

const LINE: Tag = Tag::new(1).unwrap();
const BULK: Tag = Tag::new(2).unwrap();
const REPORT: Tag = Tag::new(3).unwrap();

/// Up to this length an encoded value is a message on the kernel's queue.
const INLINE_LIMIT: usize = 1024;
/// A longer one is a record of a ring of this size; above half of it, it goes in fragments.
const CAPACITY: usize = 256 << 10;

/// Payloads of 1, 2, 4 ... bytes up to 16 MiB, so many times over.
const BULK_SIZES: u32 = 25;
const BULK_ROUNDS: u32 = 3;

const MIB: f64 = (1 << 20) as f64;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => lead(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")),
        ["--peer", name] => peer(name),
        [text] => lead(Path::new(text)),
        _ => Err("usage: quickstart [TEXT]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

// ------------------------------------------------------------------ the process that leads

fn lead(text: &Path) -> Result<(), Failure> {
    let lines = read_lines(text)?;
    let name = format!("quickstart {}", std::process::id());
    let names = [mixed_names(&name), ring_names(&name)].concat();

    // Ctrl-C ends the exchange as any failure does, so that nothing is left behind then either.
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block()?;
    let mixed = Pair::create(mixed_names(&name), INLINE_LIMIT)?;
    let ring_only = Pair::create(ring_names(&name), 0)?;
    let to_remove = names.clone();
    thread::spawn(move || signals.wait().is_ok().then(|| remove(&to_remove)));

    let mut child = Command::new(env::current_exe()?).args(["--peer", &name]).spawn()?;
    thread::scope(|scope| {
        let child = scope.spawn(|| {
            let status = child.wait();
            if !status.as_ref().is_ok_and(|status| status.success()) {
                // Whoever waits for the peer is told by this.
                remove(&names);
            }
            status
        });
        // Takes the ends along, so that the peer sees them go when this is over.
        let exchanged = exchange(text, lines, mixed, ring_only);
        if exchanged.is_err() {
            remove(&names);
        }
        let status = child.join().map_err(|_| "the thread that waits for the peer died")??;
        match exchanged {
            Err(error) => Err(format!("{error} (the peer: {status})").into()),
            Ok(()) if !status.success() => Err(format!("the peer: {status}").into()),
            Ok(()) => Ok::<_, Failure>(()),
        }
    })?;

    let left = left_behind(&names)?;
    if !left.is_empty() {
        return Err(format!("left behind: {}", left.join(", ")).into());
    }
    println!("left behind   nothing, by the {} keys in /proc/sysvipc", names.len());
    Ok(())
}

fn exchange(
    text: &Path,
    lines: Vec<Item>,
    mut mixed: Pair,
    mut ring_only: Pair,
) -> Result<(), Failure> {
    let words: usize = lines.iter().map(Item::words).sum();
    println!("text          {}: {} lines, {words} words", text.display(), lines.len());
    println!("\n{:<26}{:>12}{:>12}", "one stream, both ways", "values", "MiB");
    let mut stream = with_bulk(&lines);
    let time = mixed.stream(&mut stream)?;
    let mut total = (0, 0.0);
    for path in ["by queue", "by ring", "in fragments"] {
        let sizes = stream.iter().map(Parcel::encoded_len).filter(|&len| path_of(len) == path);
        let (values, bytes) = sizes.fold((0, 0), |(values, sum), len| (values + 1, sum + len));
        let mib = bytes as f64 / MIB;
        println!("  {path:<24}{values:>12}{mib:>12.1}");
        total = (total.0 + values, total.1 + mib);
    }
    let seconds = time.as_secs_f64();
    println!("  {:<24}{:>12}{:>12.1}   in {seconds:.3} s", "in order", total.0, total.1);

    println!(
        "\n{:<26}{:>12}{:>12}{:>18}{:>12}",
        "one path, both ways", "values/s", "MiB/s", "round trip p50", "p99"
    );
    let short = |line: &&Item| path_of(Parcel::new((*line).clone()).encoded_len()) == "by queue";
    let some_lines: Vec<&Item> = lines.iter().filter(short).cycle().take(20_000).collect();
    let by_line = || some_lines.iter().map(|&line| Parcel::new(line.clone())).collect::<Vec<_>>();
    let by_size = |len, count| (0..count).map(|seed| Parcel::new(bulk(len, seed))).collect();
    mixed.measure("by queue, a line", by_line())?;
    mixed.measure("by ring, 64 KiB", by_size(64 << 10, 1000))?;
    mixed.measure("in fragments, 1 MiB", by_size(1 << 20, 64))?;
    let answered = mixed.answered;
    let report = mixed.finish()?;
    ring_only.measure("ring only, a line", by_line())?;

    let Item::Report { process, checked } = report else {
        return Err(format!("the peer ended with {report:?} instead of a report").into());
    };
    if checked != answered {
        return Err(format!("the peer checked {checked} of {answered} values").into());
    }
    println!("\npeer          process {process}, which was told a name and found 4 channels");
    let values = answered + ring_only.answered;
    println!("checked       {values} values there, {values} back: order, tag and content");
    Ok(())
}

/// This process's ends of two channels, one for each way.
struct Pair {
    names: [String; 2],
    there: Sender<Parcel>,
    back: Receiver<Parcel>,
    answered: u64,
}

impl Pair {
    fn create(names: [String; 2], inline_limit: usize) -> Result<Self, Failure> {
        let options = Channel::<Parcel>::options().inline_limit(inline_limit).capacity(CAPACITY);
        let there = options.create(&names[0])?.sender()?;
        let back = options.create(&names[1])?.receiver()?;
        Ok(Pair { names, there, back, answered: 0 })
    }

    /// Sends all and, at the same time, takes and checks the answers.
    fn stream(&mut self, parcels: &mut [Parcel]) -> Result<Duration, Failure> {
        for (parcel, number) in parcels.iter_mut().zip(self.answered..) {
            parcel.number = number;
        }
        let (parcels, start) = (&*parcels, Instant::now());
        let Pair { names, there, back, answered } = self;
        thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let there = there;
                parcels.iter().try_for_each(|parcel| there.send_tagged(parcel.tag(), parcel))
            });
            let checked = parcels.iter().try_for_each(|parcel| {
                *answered += 1;
                check_answer(back, parcel)
            });
            if checked.is_err() {
                // The sender may be waiting; this ends it.
                remove(&names[..]);
            }
            let sent = sending.join().map_err(|_| "the sending thread died")?;
            checked?;
            Ok(sent?)
        })
        .map(|()| start.elapsed())
    }

    /// Streams all, then sends them one by one, each after the answer to the last.
    fn measure(&mut self, what: &str, mut parcels: Vec<Parcel>) -> Result<(), Failure> {
        if parcels.is_empty() {
            return Ok(());
        }
        let seconds = self.stream(&mut parcels)?.as_secs_f64();
        let values = parcels.len() as f64 / seconds;
        let mib = parcels.iter().map(Parcel::encoded_len).sum::<usize>() as f64 / MIB / seconds;
        let mut times = Vec::new();
        for _ in 0..parcels.len().clamp(300, 10_000) {
            let at = times.len() % parcels.len();
            parcels[at].number = self.answered;
            let start = Instant::now();
            self.there.send_tagged(parcels[at].tag(), &parcels[at])?;
            check_answer(&self.back, &parcels[at])?;
            times.push(start.elapsed());
            self.answered += 1;
        }
        times.sort();
        let micros = |time: Duration| format!("{:.2} us", time.as_secs_f64() * 1e6);
        let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        println!("  {what:<24}{values:>12.0}{mib:>12.0}{:>18}{:>12}", micros(p50), micros(p99));
        Ok(())
    }

    /// Says goodbye and takes the peer's report.
    fn finish(self) -> Result<Item, Failure> {
        drop(self.there);
        Ok(self.back.recv_matching(Select::Exactly(REPORT))?.value.item)
    }
}

fn check_answer(back: &Receiver<Parcel>, sent: &Parcel) -> Result<(), Failure> {
    let answer = back.recv_matching(Select::Any)?;
    let right = answer.tag == sent.tag()
        && answer.value.number == sent.number
        && match (&answer.value.item, &sent.item) {
            (Item::Line { words, .. }, Item::Line { words: sent, .. }) => {
                words.iter().rev().eq(sent)
            }
            (answer, sent) => answer == sent,
        };
    if right {
        return Ok(());
    }
    Err(format!("value {} came back as {:?}", sent.number, answer.value).into())
}

// ------------------------------------------------------------------ the peer

/// Finds the channels by name alone, checks what comes and sends it back.
fn peer(name: &str) -> Result<(), Failure> {
    let open = |names: [String; 2]| -> Result<_, Failure> {
        let there = Channel::<Parcel>::open(&names[0])?.receiver()?;
        Ok((there, Channel::<Parcel>::open(&names[1])?.sender()?))
    };
    let mixed = open(mixed_names(name))?;
    let ring_only = open(ring_names(name))?;

    let checked = answer_all(&mixed.0, &mixed.1)?;
    let report = Item::Report { process: std::process::id(), checked };
    mixed.1.send_tagged(REPORT, &Parcel::new(report))?;
    answer_all(&ring_only.0, &ring_only.1)?;
    Ok(())
}

/// Answers every value until the other side says goodbye; says how many there were.
fn answer_all(there: &Receiver<Parcel>, back: &Sender<Parcel>) -> Result<u64, Failure> {
    for expected in 0.. {
        let message = match there.recv_matching(Select::Any) {
            Ok(message) => message,
            Err(error) if error.is_disconnected() => return Ok(expected),
            Err(error) => return Err(error.into()),
        };
        let mut parcel = message.value;
        if parcel.number != expected {
            return Err(format!("value {expected} was due, {} came", parcel.number).into());
        }
        if parcel.sum != sum(&parcel.item) || message.tag != parcel.tag() {
            return Err(format!("value {expected} arrived damaged").into());
        }
        if let Item::Line { words, .. } = &mut parcel.item {
            words.reverse();
        }
        back.send_tagged(parcel.tag(), &parcel)?;
    }
    Ok(u64::MAX)
}

// ------------------------------------------------------------------ what both share

fn mixed_names(name: &str) -> [String; 2] {
    [format!("{name}: there"), format!("{name}: back")]
}

fn ring_names(name: &str) -> [String; 2] {
    [format!("{name}: there, ring only"), format!("{name}: back, ring only")]
}

impl Item {
    fn words(&self) -> usize {
        if let Item::Line { words, .. } = self { words.len() } else { 0 }
    }
}

impl Parcel {
    fn new(item: Item) -> Self {
        Parcel { number: 0, sum: sum(&item), item }
    }

    fn tag(&self) -> Tag {
        match self.item {
            Item::Line { .. } => LINE,
            Item::Bulk(_) => BULK,
            Item::Report { .. } => REPORT,
        }
    }

    fn encoded_len(&self) -> usize {
        // A writer counts what it has no room for.
        let mut counter = Writer::new(&mut []);
        Bincode::encode(self, &mut counter).map_or(0, |()| counter.len())
    }
}

/// Which way a value of this encoded length takes through a mixed channel.
fn path_of(encoded_len: usize) -> &'static str {
    const RECORD_HEADER: usize = 16;
    match encoded_len {
        ..=INLINE_LIMIT => "by queue",
        len if len <= CAPACITY / 2 - RECORD_HEADER => "by ring",
        _ => "in fragments",
    }
}

/// Removes the channels, whatever state they are in.
fn remove(names: &[String]) {
    for name in names {
        // One that is gone already is as well.
        let _ = Channel::<Parcel>::unlink(name);
    }
}

/// The kernel's objects that have the key of one of these channels.
fn left_behind(names: &[String]) -> Result<Vec<String>, Failure> {
    let mut left = Vec::new();
    for kind in ["msg", "sem", "shm"] {
        let table = fs::read_to_string(format!("/proc/sysvipc/{kind}"))?;
        for row in table.lines().skip(1) {
            let mut columns = row.split_whitespace();
            let (key, id) = (columns.next(), columns.next().unwrap_or_default());
            let key = key.and_then(|key| key.parse().ok());
            if names.iter().any(|name| Some(Key::from_name(name).raw()) == key) {
                left.push(format!("{kind} {id}"));
            }
        }
    }
    Ok(left)
}

// ------------------------------------------------------------------ input

/// All lines of a file, or of all files in a directory, in order of their names.
fn read_lines(text: &Path) -> Result<Vec<Item>, Failure> {
    let mut files = Vec::new();
    find_files(text, &mut files)?;
    files.sort();
    let mut items = Vec::new();
    for file in files {
        let content = fs::read(&file).map_err(|error| about(&file, error))?;
        let name = file.strip_prefix(text).ok().filter(|rest| rest.iter().next().is_some());
        let name = name.unwrap_or(&file).display().to_string();
        for (line, content) in (1..).zip(String::from_utf8_lossy(&content).lines()) {
            let words: Vec<String> = content.split_whitespace().map(str::to_owned).collect();
            let kind = match words.first() {
                None => Kind::Blank,
                Some(word) if word.starts_with("//") => Kind::Comment,
                Some(_) => {
                    Kind::Text { indent: (content.len() - content.trim_start().len()) as u32 }
                }
            };
            items.push(Item::Line { file: name.clone(), line, kind, words });
        }
    }
    if items.is_empty() {
        return Err(format!("{} holds no line of text", text.display()).into());
    }
    Ok(items)
}

fn find_files(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(|error| about(path, error))? {
        find_files(&entry?.path(), files)?;
    }
    Ok(())
}

fn about(path: &Path, error: std::io::Error) -> Failure {
    format!("cannot read {}: {error}", path.display()).into()
}

/// The lines, with payloads of all sizes spread over them.
fn with_bulk(lines: &[Item]) -> Vec<Parcel> {
    let payloads = BULK_SIZES * BULK_ROUNDS;
    let mut chunks = lines.chunks(lines.len().div_ceil(payloads as usize));
    let mut parcels = Vec::new();
    for seed in 0..payloads {
        let chunk = chunks.next().unwrap_or_default();
        parcels.extend(chunk.iter().map(|line| Parcel::new(line.clone())));
        parcels.push(Parcel::new(bulk(1 << (seed % BULK_SIZES), seed)));
    }
    parcels
}

/// Bytes that look random and are the same for the same seed.
fn bulk(len: usize, seed: u32) -> Item {
    let mut state = u64::from(seed) << 32 | len as u64 | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let mut bytes = words.take(len.div_ceil(8)).collect::<Vec<_>>().concat();
    bytes.truncate(len);
    Item::Bulk(bytes.into())
}

fn sum(item: &Item) -> u64 {
    let mut sum = Sum(0);
    item.hash(&mut sum);
    sum.finish()
}

/// A sum that notices changed, missing and exchanged bytes, at memory speed.
struct Sum(u64);

impl Sum {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Sum {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.add(u64::from_le_bytes(*word)));
        rest.iter().for_each(|&byte| self.add(byte.into()));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
