//! Two machines, each a namespace of networks and one of System V objects, with bridges in both directions between them:
//! bridges, senders and receivers are killed at random, and the link is cut and restored.
//!
//! `MACHINES="1000000 10000 500 50"` sets how many small values and how many of 64 KiB go each way, how many processes are
//! killed, and how often the link is cut; without it the numbers are those that take less than a minute.

mod namespaces;
mod parts;

use sysv_channel::Channel;

use crate::pair::Bridge;
use crate::stage::{tool, until};
use namespaces::{INBOUND, Machine, OUTBOUND, machines};
use parts::{Numbered, Part, Record, Records};

/// The test, as the programs that it starts know it.
const TEST: &str = "machines::two_machines_lose_and_double_nothing";

const LONG: usize = 64 << 10;

#[test]
fn two_machines_lose_and_double_nothing() {
    if parts::play() {
        return;
    }
    let scale = std::env::var("MACHINES").unwrap_or_else(|_| "20000 300 40 4".to_owned());
    let numbers: Vec<u64> = scale.split(' ').map(|number| number.parse().unwrap()).collect();
    let [small, long, kills, cuts] = numbers[..] else { panic!("MACHINES has four numbers") };
    let total = 2 * (small + long);
    let mut run = Run::new();
    for direction in [0, 1] {
        run.send(direction, small / 2, 0);
        run.send(direction, small - small / 2, 0);
        run.send(direction, long, LONG);
    }
    let cuts = if run.is_joined { cuts } else { 0 };
    let steps = kills + cuts;
    for step in 0..steps {
        // Somewhere in the step's share of all values.
        let at = (step * total + run.random(total)) / (steps + 1);
        run.until(|run| run.came >= at);
        if step * cuts / steps == (step + 1) * cuts / steps { run.kill() } else { run.cut() }
    }
    run.until(|run| run.sending.is_empty());
    // A queue keeps one order over all senders: what is sent last comes last.
    let last = [0, 1].map(|direction| run.send(direction, 1, 0));
    run.until(|run| last.iter().all(|&sender| run.streams[sender].came == 1));
    run.finish(total);
}

/// What one sender sent, from its start to its end.
struct Stream {
    direction: usize,
    values: u64,
    /// How many calls have returned.
    sent: u64,
    came: u64,
    is_killed: bool,
}

/// A sender that is running, or was killed and is followed by another.
struct Sending {
    stream: usize,
    size: usize,
    /// Not there any more when it was killed.
    part: Option<Part>,
}

/// The receivers of one direction, one after another.
struct Receiving {
    /// The one that is running, and its number.
    part: Option<Part>,
    number: u64,
    /// The one whose records are being read.
    read: u64,
    /// The value that was written down last.
    last: Option<(u64, u64)>,
    /// What the one before it wrote down last. It may have been killed before it had handed that over.
    in_hand: Option<(u64, u64)>,
}

struct Run {
    sending: Vec<Sending>,
    receiving: Vec<Receiving>,
    /// `out` and `in` of the first machine, and of the second.
    bridges: Vec<[Option<Bridge>; 2]>,
    streams: Vec<Stream>,
    came: u64,
    again: u64,
    /// Of bridges, senders and receivers.
    killed: [u64; 3],
    cut: u64,
    random: u64,
    is_joined: bool,
    is_over: bool,
    records: Records,
    machines: [Machine; 2],
    _directory: tempfile::TempDir,
}

impl Run {
    fn new() -> Self {
        let (machines, is_joined) = machines();
        for machine in &machines {
            for purpose in [OUTBOUND, INBOUND] {
                let name = machine.channel(purpose);
                let options = Channel::<Numbered>::options().durable().capacity(1 << 20);
                machine.inside(|| drop(options.create(&*name).unwrap()));
            }
        }
        if is_joined && !machines[0].is_a_bad_network() {
            println!("no netem here: the network delays and loses nothing while it is up");
        }
        let directory = tempfile::tempdir().unwrap();
        let records = Records::new(directory.path());
        let random = u64::from(std::process::id()) | 1;
        let mut run = Run {
            sending: Vec::new(),
            receiving: Vec::new(),
            bridges: Vec::new(),
            streams: Vec::new(),
            came: 0,
            again: 0,
            killed: [0; 3],
            cut: 0,
            random,
            is_joined,
            is_over: false,
            records,
            machines,
            _directory: directory,
        };
        for direction in [0, 1] {
            let part = Some(run.receive(direction, 0));
            run.receiving.push(Receiving { part, number: 0, read: 0, last: None, in_hand: None });
        }
        run.bridges = [0, 1].map(|side| [0, 1].map(|end| Some(run.bridge(side, end)))).into();
        run
    }

    /// Marsaglia's xorshift: any moment will do.
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    /// A bridge on a machine: `out` (0), which connects to the other machine, or `in` (1), which listens.
    fn bridge(&self, side: usize, end: usize) -> Bridge {
        let machine = &self.machines[side];
        let (kind, purpose, way, at, direction) = match end {
            0 => ("out", OUTBOUND, "--connect", &self.machines[1 - side].address, side),
            _ => ("in", INBOUND, "--listen", &machine.address, 1 - side),
        };
        let (name, key) = (machine.channel(purpose), format!("machines/{direction}"));
        let command = tool(&["bridge", kind, &name, "--key", &key, way, at]);
        Bridge::run(machine.runs(command), machine.runtime())
    }

    fn send(&mut self, direction: usize, values: u64, size: usize) -> usize {
        let stream = self.streams.len();
        self.streams.push(Stream { direction, values, sent: 0, came: 0, is_killed: false });
        let part = parts::sends(stream as u64, values, size);
        let part = Some(self.records.start(&self.machines[direction], OUTBOUND, &part));
        self.sending.push(Sending { stream, size, part });
        stream
    }

    fn receive(&self, direction: usize, number: u64) -> Part {
        self.records.start(&self.machines[1 - direction], INBOUND, &parts::receives(number))
    }

    fn until(&mut self, so: impl Fn(&Run) -> bool) {
        while !so(self) {
            for record in self.records.next() {
                self.note(record);
            }
        }
    }

    fn note(&mut self, record: Record) {
        match record {
            Record::Sent { sender, number } => {
                let stream = &mut self.streams[sender as usize];
                assert_eq!(number, stream.sent, "of sender {sender}");
                stream.sent += 1;
                if stream.sent == stream.values && !stream.is_killed {
                    self.ended(sender as usize).part.expect("it was not killed").end();
                }
            }
            Record::Over { sender } => {
                let Sending { stream, size, .. } = self.ended(sender as usize);
                let Stream { direction, values, sent, .. } = self.streams[stream];
                if sent < values {
                    self.send(direction, values - sent, size);
                }
            }
            Record::Came { receiver, sender, number } => self.note_came(receiver, sender, number),
            Record::Failed => panic!("a program has failed, and said why"),
            Record::End => self.is_over = true,
        }
    }

    fn ended(&mut self, sender: usize) -> Sending {
        let at = self.sending.iter().position(|sending| sending.stream == sender);
        self.sending.swap_remove(at.expect("it was running"))
    }

    fn note_came(&mut self, receiver: u64, sender: u64, number: u64) {
        let stream = &mut self.streams[sender as usize];
        let receiving = &mut self.receiving[stream.direction];
        if receiver != receiving.read {
            receiving.read = receiver;
            receiving.in_hand = receiving.last;
        }
        if number == stream.came {
            stream.came += 1;
            self.came += 1;
        } else {
            let is_again = receiving.in_hand.take() == Some((sender, number));
            assert!(is_again, "{number} of sender {sender} came, and {} was due", stream.came);
            self.again += 1;
        }
        receiving.last = Some((sender, number));
    }

    /// Kills one process, and starts another in its place.
    fn kill(&mut self) {
        let senders: Vec<usize> =
            (0..self.sending.len()).filter(|&at| self.sending[at].part.is_some()).collect();
        match self.random(3) {
            0 if !senders.is_empty() => {
                let at = senders[self.random(senders.len() as u64) as usize];
                let Sending { stream, part, .. } = &mut self.sending[at];
                drop(part.take());
                let sender = *stream as u64;
                self.streams[*stream].is_killed = true;
                self.killed[1] += 1;
                // Its successor is started when it is known how far it came.
                self.records.write(Record::Over { sender });
            }
            1 => {
                let direction = self.random(2) as usize;
                let Receiving { part, number, .. } = &mut self.receiving[direction];
                drop(part.take());
                *number += 1;
                let number = *number;
                self.receiving[direction].part = Some(self.receive(direction, number));
                self.killed[2] += 1;
            }
            _ => {
                let side = self.random(2) as usize;
                let end = self.random(2) as usize;
                self.restart(side, end);
            }
        }
    }

    fn restart(&mut self, side: usize, end: usize) {
        // It is killed as it is dropped.
        drop(self.bridges[side][end].take());
        self.bridges[side][end] = Some(self.bridge(side, end));
        self.killed[0] += 1;
    }

    /// Cuts the link, and restores it.
    fn cut(&mut self) {
        let side = self.random(2) as usize;
        self.machines[side].link("down");
        // Of four cuts two are over at once, one meets bridges that have just been started, and one is so long that zenoh
        // gives the connection up.
        match self.cut % 4 {
            1 => {
                let far = self.random(2) as usize;
                self.restart(far, 0);
                self.restart(1 - far, 1);
                self.outlet(far).says("waits for `bridge in`");
            }
            3 => self.outlet(side).is_waiting(),
            _ => {}
        }
        self.machines[side].link("up");
        self.cut += 1;
    }

    fn outlet(&self, side: usize) -> &Bridge {
        self.bridges[side][0].as_ref().expect("there is one")
    }

    /// All has come: the rest is seen to be nothing.
    fn finish(mut self, total: u64) {
        for purpose in [OUTBOUND, INBOUND] {
            for machine in &self.machines {
                let name = machine.channel(purpose);
                machine.inside(|| {
                    until(|| sysv_channel::inspect(&*name).unwrap().stats.waiting == 0);
                });
            }
        }
        self.bridges.clear();
        self.receiving.iter_mut().for_each(|receiving| drop(receiving.part.take()));
        self.until(|run| run.sending.is_empty());
        self.records.write(Record::End);
        self.until(|run| run.is_over);
        let mut unsaid = 0;
        for (sender, stream) in self.streams.iter().enumerate() {
            let Stream { sent, came, is_killed, .. } = *stream;
            // One that is killed may have sent one more, and not have written that down.
            let more = came.checked_sub(sent).unwrap_or_else(|| panic!("{sender} lost a value"));
            assert!(more <= u64::from(is_killed), "of sender {sender}: {sent} sent, {came} came");
            unsaid += more;
        }
        let [bridges, senders, receivers] = self.killed;
        // The last two were more than there were to be.
        assert_eq!(self.came, total + 2 + unsaid);
        println!(
            "{} values came once and in order; killed: {bridges} bridges, {senders} senders, {receivers} receivers; {} \
             cuts; {unsaid} came of senders that were killed before they could say so; {} came again to the receiver \
             after one that was killed with them in hand",
            self.came, self.cut, self.again
        );
    }
}
