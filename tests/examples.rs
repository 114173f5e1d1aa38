//! The examples, run as a user would run them.

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use common::Stage;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// An example that `cargo test` has built beside this test.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(|deps| deps.parent()).unwrap().join("examples").join(name);
    assert!(
        program.exists(),
        "{} is missing: cargo test builds it, and cargo test --test examples does not; then run \
         cargo build --examples first",
        program.display()
    );
    Command::new(program)
}

/// A running example, killed if the test ends before it.
struct Running(Option<Child>);

impl Running {
    fn start(mut command: Command, input: Stdio) -> Self {
        let command = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(Some(command.spawn().unwrap()))
    }

    fn producer(stage: &Stage, input: Stdio) -> Self {
        let mut command = example("producer");
        command.arg(stage.name());
        Running::start(command, input)
    }

    fn consumer(stage: &Stage, at_most: Option<usize>) -> Self {
        let mut command = example("consumer");
        command.arg(stage.name()).args(at_most.map(|number| number.to_string()));
        Running::start(command, Stdio::null())
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    fn input(&mut self) -> ChildStdin {
        self.child().stdin.take().unwrap()
    }

    fn signal(&mut self, signal: Signal) {
        kill(Pid::from_raw(self.child().id() as i32), signal).unwrap();
    }

    /// Waits for its end; what it printed, and its last words.
    fn end(mut self) -> (Vec<String>, String) {
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        let last_words = text(&output.stderr);
        assert!(output.status.success(), "{}: {last_words}", output.status);
        (text(&output.stdout).lines().map(str::to_owned).collect(), last_words)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A file of numbered lines, removed with its owner.
struct Lines(PathBuf);

impl Lines {
    fn new(stage: &Stage, count: usize) -> Self {
        let path = std::env::temp_dir().join(stage.name());
        let lines: String = (0..count).map(|number| format!("line {number}\n")).collect();
        std::fs::write(&path, lines).unwrap();
        Lines(path)
    }

    fn open(&self) -> Stdio {
        File::open(&self.0).unwrap().into()
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What the consumer prints for these lines.
fn printed(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{number:>6}  line {number}")).collect()
}

fn run(mut command: Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn quickstart_exchanges_a_text_and_leaves_nothing_behind() {
    let stage = Stage::new("quickstart");
    let lines = Lines::new(&stage, 2000);
    let mut command = example("quickstart");
    command.arg(&lines.0);
    let output = run(command);
    let (shown, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{shown}{errors}");
    assert_eq!(errors, "");
    assert!(shown.contains("2000 lines, 4000 words"), "{shown}");
    let rows =
        ["by queue", "by ring", "in fragments", "ring only", "checked", "left behind   nothing"];
    for row in rows {
        assert!(shown.contains(row), "{row} is missing in {shown}");
    }
}

#[test]
fn quickstart_says_what_is_wrong_with_its_argument() {
    let mut command = example("quickstart");
    command.arg("/no/such/text");
    let output = run(command);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    let expected = "quickstart: cannot read /no/such/text: No such file or directory";
    assert!(message.starts_with(expected), "{message}");
}

/// Runs an example that checks itself; what it printed.
fn succeed(name: &str) -> String {
    let output = run(example(name));
    let (shown, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{shown}{errors}");
    assert_eq!(errors, "");
    assert!(shown.ends_with("left behind: nothing\n"), "{shown}");
    shown
}

#[test]
fn calculator_answers_three_processes_and_leaves_nothing_behind() {
    let shown = succeed("calculator");
    assert_eq!(shown.matches("every reply was right").count(), 3, "{shown}");
}

#[test]
fn jobs_are_all_done_although_workers_are_killed() {
    let shown = succeed("jobs");
    assert!(shown.contains("2000 jobs, 1999 done and one set aside"), "{shown}");
    assert!(shown.contains("left behind: nothing"), "{shown}");
}

#[test]
fn progress_comes_in_order_and_ends_with_its_reader_or_its_service() {
    let shown = succeed("progress");
    assert!(shown.contains("17984 primes below 200000, all in order"), "{shown}");
    assert!(shown.contains("given up, and the service knows"), "{shown}");
    assert!(shown.contains("killed in the middle of a job, and its reader was told"), "{shown}");
    assert!(shown.contains("17984 primes came from a worker"), "{shown}");
    assert!(shown.contains("worker was killed, and the one who asked was told"), "{shown}");
}

#[test]
fn pool_does_each_job_once_and_leaves_nothing_behind() {
    let shown = succeed("pool");
    assert!(shown.contains("2000 jobs, each done once"), "{shown}");
    assert!(shown.contains("too long: "), "{shown}");
}

#[test]
fn producer_may_start_first_and_end_before_anybody_listens() {
    let stage = Stage::new("producer first");
    let lines = Lines::new(&stage, 50);
    let (_, said) = Running::producer(&stage, lines.open()).end();
    assert_eq!(said, "producer: sent 50 lines\n");
    let (shown, said) = Running::consumer(&stage, None).end();
    assert_eq!(shown, printed(0..50));
    assert_eq!(said, "consumer: received 50 lines\n");
    assert_eq!(stage.objects(), []);
}

#[test]
fn consumer_may_start_first_and_ends_with_the_last_producer() {
    let stage = Stage::new("consumer first");
    let lines = Lines::new(&stage, 5000);
    let consumer = Running::consumer(&stage, None);
    let producer = Running::producer(&stage, lines.open());
    assert_eq!(consumer.end().0, printed(0..5000));
    assert_eq!(producer.end().1, "producer: sent 5000 lines\n");
    assert_eq!(stage.objects(), []);
}

#[test]
fn consumer_started_again_goes_on_with_what_is_left() {
    let stage = Stage::new("consumer again");
    let lines = Lines::new(&stage, 5000);
    let producer = Running::producer(&stage, lines.open());
    assert_eq!(Running::consumer(&stage, Some(70)).end().0, printed(0..70));
    assert_eq!(Running::consumer(&stage, Some(30)).end().0, printed(70..100));
    assert_eq!(Running::consumer(&stage, None).end().0, printed(100..5000));
    let (_, said) = producer.end();
    assert!(said.ends_with("producer: sent 5000 lines\n"), "{said}");
    assert_eq!(stage.objects(), []);
}

#[test]
fn killed_consumer_takes_at_most_the_value_in_hand_along() {
    let stage = Stage::new("consumer killed");
    let lines = Lines::new(&stage, 20_000);
    let producer = Running::producer(&stage, lines.open());
    let mut consumer = Running::consumer(&stage, None);
    let mut shown = BufReader::new(consumer.child().stdout.take().unwrap());
    let mut line = String::new();
    shown.read_line(&mut line).unwrap();
    consumer.signal(Signal::SIGKILL);
    let mut first = vec![line.trim_end_matches('\n').to_owned()];
    first.extend(shown.lines().map(Result::unwrap));
    drop(consumer);
    // The kill may have come while a line was printed.
    let count = first.len();
    let whole = first.iter().zip(printed(0..count)).take_while(|(mine, due)| *mine == due).count();
    assert!(whole + 1 >= count, "{:?} at {whole} of {count}", first.last());

    let (rest, _) = Running::consumer(&stage, None).end();
    let start = 20_000 - rest.len();
    assert!(start == whole || start == whole + 1, "went on at {start} after {whole}");
    assert_eq!(rest, printed(start..20_000));
    producer.end();
    assert_eq!(stage.objects(), []);
}

#[test]
fn ctrl_c_ends_both_and_keeps_what_was_sent() {
    let stage = Stage::new("ctrl-c");
    let mut producer = Running::producer(&stage, Stdio::piped());
    let mut input = producer.input();
    input.write_all(b"line 0\n").unwrap();
    // It has come: the producer is there and has taken what was typed.
    assert_eq!(Running::consumer(&stage, Some(1)).end().0, printed(0..1));
    producer.signal(Signal::SIGINT);
    assert_eq!(producer.end().1, "producer: sent 1 lines\n");
    drop(input);
    assert_eq!(stage.objects(), []);

    let mut consumer = Running::consumer(&stage, None);
    let mut shown = BufReader::new(consumer.child().stdout.take().unwrap());
    let mut producer = Running::producer(&stage, Stdio::piped());
    let mut input = producer.input();
    input.write_all(b"line 0\n").unwrap();
    let mut line = String::new();
    shown.read_line(&mut line).unwrap();
    consumer.signal(Signal::SIGINT);
    assert_eq!(consumer.end().1, "consumer: received 1 lines\n");
    drop(input);
    producer.end();
    assert_eq!(stage.objects(), []);
}

#[test]
fn producer_and_consumer_take_no_option_for_a_name() {
    for (name, usage) in [
        ("producer", "usage: producer [NAME] < TEXT\n"),
        ("consumer", "usage: consumer [NAME [AT_MOST]]\n"),
    ] {
        for (option, code) in [("--help", 0), ("-h", 0), ("--version", 2)] {
            let mut command = example(name);
            command.arg(option);
            let output = run(command);
            assert_eq!(output.status.code(), Some(code), "{name} {option}");
            assert_eq!(text(&output.stdout) + &text(&output.stderr), usage);
        }
    }
}

#[test]
fn bank_keeps_the_money_together_while_accounts_are_killed() {
    let stage = Stage::new("bank");
    let output = run(example("bank"));
    let (shown, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}: {shown}{errors}", stage.name());
    assert!(shown.contains("3000 in all"), "{shown}");
}

#[test]
fn supervisor_restarts_its_workers_and_every_call_is_answered() {
    let stage = Stage::new("supervisor");
    let output = run(example("supervisor"));
    let (shown, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}: {shown}{errors}", stage.name());
    assert!(shown.contains("600 calls answered by 3 workers"), "{shown}");
}

#[test]
fn select_waits_for_channels_a_mailbox_and_a_server_in_one_thread() {
    let stage = Stage::new("select");
    let output = run(example("select"));
    let (shown, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}: {shown}{errors}", stage.name());
    assert!(shown.contains("12000 loads and 100 questions"), "{shown}");
}

#[cfg(feature = "async")]
#[test]
fn async_service_waits_for_two_channels_and_a_socket() {
    let stage = Stage::new("async service");
    let output = run(example("async_service"));
    let (shown, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}: {shown}{errors}", stage.name());
    assert!(shown.contains("10000 readings, 500 orders and 20 questions"), "{shown}");
}

#[cfg(feature = "async")]
#[test]
fn async_smol_relays_a_stream_to_a_sink() {
    let stage = Stage::new("async smol");
    let output = run(example("async_smol"));
    let (shown, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}: {shown}{errors}", stage.name());
    assert!(shown.contains("20000 numbers relayed"), "{shown}");
}
