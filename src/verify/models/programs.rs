//! Programs that are generated: two or three parties with a few operations each out of the public
//! API, every execution checked against a sequential machine.
//!
//! | file | subject |
//! |---|---|
//! | `language` | what a program is, and how it is written |
//! | `generator` | all programs up to a size, some at random, and simpler ones |
//! | `interpreter` | one execution of a program |
//! | `checker` | whether an order of the operations explains what was seen |
//! | `machines` | what the operations do, one after another |
//! | `printer` | shrinking, and a failing program as code |
//! | `pinned` | what finds each fault |
//!
//! A machine that may come to a stand, because its parties wait for each other as they should, is
//! none to explore: of the others loom says whether a wake-up is lost. Naps are switched off there.
//!
//! `cargo test` runs a sample. These run more, after `--test loom -- models::programs`:
//!
//! | variable | |
//! |---|---|
//! | `PROGRAM='feed \| sender attached: ...'` | that program alone, also printed as code |
//! | `PROGRAMS_SEED=7` | the sample of that seed, which is printed |
//! | `PROGRAMS=1000` | so many programs at random |
//! | `PROGRAMS_SIZE=3` | all programs with so many operations in all |
//! | `PROGRAMS_SCENES=feed,calls` | on these scenes alone |
//! | `PROGRAMS_EXECUTIONS=10000` | so many executions of each program at most |
//! | `PROGRAMS_FAULTS=all` | looks for a program that finds each fault; or for those named |
//! | `PROGRAMS_PINS=file` | whether its programs find their faults, instead of those of `pinned.txt` |

mod checker;
mod generator;
mod interpreter;
mod language;
#[path = "../../../tests/model/reference.rs"]
#[allow(dead_code, reason = "the tests of a real channel use all of it")]
mod lists;
mod machines;
mod pinned;
mod printer;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};

use checker::Journal;
use generator::Random;
use language::{Program, SCENES, Scene};

use crate::model::{check_some, killed_anybody};
use crate::panics;
use crate::sys::Fault;
use crate::verify::fault::with_fault;

/// What was explored of a program.
struct Explored {
    executions: usize,
    /// Whether there are more executions than were allowed.
    cut: bool,
}

/// An execution that went wrong.
struct Failure {
    why: String,
    /// Where the victim was killed or stopped.
    step: usize,
    journal: Journal,
}

std::thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    /// What is explored, and how often it has panicked.
    static EXPLORED: RefCell<String> = const { RefCell::new(String::new()) };
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// Runs something that may panic, without a word.
fn quietly<R>(action: impl FnOnce() -> R) -> Result<R, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // Without a text it is no panic of a program: loom ends coroutines that it needs no more so.
            if !(info.payload().is::<&str>() || info.payload().is::<String>()) {
                return;
            }
            PANICS.set(PANICS.get() + 1);
            if !QUIET.get() {
                loud(info);
            } else if PANICS.get() > 1 {
                // A thread that loom lets panic may panic again while it unwinds, which ends all.
                EXPLORED.with_borrow(|program| eprintln!("FAILED, perhaps for good: {program}"));
            }
        }));
    });
    PANICS.set(0);
    let before = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(action));
    QUIET.set(before);
    result.map_err(|payload| panics::text_of(&*payload).to_owned())
}

/// Explores a program: preemptions as in the models written by hand, the victim killed at each step.
///
/// Those with few preemptions come first. Loom searches depth first, so that of many executions it
/// sees only such as differ near their end, and most faults need one preemption at the right place.
fn explore(program: &Program, most: usize) -> Result<Explored, Failure> {
    EXPLORED.set(program.to_string());
    let program = Arc::new(program.clone());
    let (last, steps) = match program.victim() {
        None => (2, 1),
        Some(_) => (1, usize::MAX),
    };
    let most = if steps == 1 { most } else { most.div_ceil(50) };
    let mut explored = Explored { executions: 0, cut: false };
    for step in 0..steps {
        killed_anybody();
        let mut left = most;
        for preemptions in 0..=last {
            let executed = program.clone();
            let most = if preemptions == last { left.max(1) } else { left.div_ceil(3) };
            let checked = quietly(|| {
                check_some(preemptions, Some(most), move || interpreter::execute(&executed, step))
            });
            let executions = checked.map_err(|why| {
                crate::model::set_queue_capacity(16_384);
                Failure { why, step, journal: interpreter::journal() }
            })?;
            explored.executions += executions;
            explored.cut |= executions >= most;
            left = left.saturating_sub(executions);
        }
        if !killed_anybody() {
            break;
        }
    }
    crate::model::set_queue_capacity(16_384);
    Ok(explored)
}

/// Explores programs one after another, and says how it went.
#[derive(Default)]
struct Run {
    programs: usize,
    executions: usize,
    cut: usize,
    failed: usize,
}

impl Run {
    fn explore(&mut self, program: &Program, most: usize) {
        match explore(program, most) {
            Ok(explored) => {
                self.programs += 1;
                self.executions += explored.executions;
                if explored.cut {
                    self.cut += 1;
                    if variable("PROGRAMS_SHOW_CUT", 0) != 0 {
                        println!("cut after {most} executions: {program}");
                    }
                }
            }
            Err(failure) => {
                self.failed += 1;
                // Many failures are of one kind in most cases.
                if self.failed <= 5 {
                    report(program, &failure, most);
                }
            }
        }
    }

    fn end(&self, name: &str) {
        let Run { programs, executions, cut, failed } = self;
        println!("{name}: {programs} programs, {executions} executions, {cut} cut short");
        assert_eq!(*failed, 0, "programs failed");
    }
}

/// Prints a program that failed, shrunk and as code.
fn report(program: &Program, failure: &Failure, most: usize) {
    println!("FAILED: {program}\n  {}, step {}", failure.why, failure.step);
    let smallest = printer::shrink(program, |program| explore(program, most).is_err());
    if let Err(Failure { why, step, journal }) = explore(&smallest, most) {
        let code = printer::code(&smallest, &journal);
        println!("shrunk: {smallest}\n  {why}, step {step}\n  {journal:?}\n{code}");
    }
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}"))
    })
}

fn scenes() -> Vec<Scene> {
    match std::env::var("PROGRAMS_SCENES") {
        Ok(names) => {
            let named = |words: &str| SCENES.into_iter().find(|scene| scene.words() == words);
            names.split(',').map(|words| named(words).expect("a scene")).collect()
        }
        Err(_) => SCENES.to_vec(),
    }
}

fn most_executions(default: u64) -> usize {
    variable("PROGRAMS_EXECUTIONS", default) as usize
}

#[test]
fn programs_at_random_do_what_the_machines_say() {
    if let Ok(line) = std::env::var("PROGRAM") {
        let program = Program::read(&line).expect("a program");
        let mut run = Run::default();
        run.explore(&program, most_executions(1_000_000));
        if run.failed == 0 {
            println!("{}", printer::code(&program, &interpreter::journal()));
        }
        return run.end("the program");
    }
    let seed = variable("PROGRAMS_SEED", 1);
    println!("PROGRAMS_SEED={seed}");
    let (mut random, scenes) = (Random::new(seed), scenes());
    let mut run = Run::default();
    for _ in 0..variable("PROGRAMS", 100) {
        run.explore(&random.program(&scenes), most_executions(1_000));
    }
    run.end("programs at random");
}

#[test]
fn all_small_programs_do_what_the_machines_say() {
    let mut run = Run::default();
    let most = most_executions(20);
    generator::all_up_to(variable("PROGRAMS_SIZE", 1) as usize, &scenes(), |program| {
        run.explore(program, most);
    });
    run.end("all small programs");
}

#[test]
fn pinned_programs_find_their_faults() {
    let tried = std::env::var("PROGRAMS_PINS").map(|path| std::fs::read_to_string(path).unwrap());
    let pins: Vec<_> = match &tried {
        Ok(text) => pinned::read(text).collect(),
        Err(_) => pinned::pinned().collect(),
    };
    let mut missed = Vec::new();
    for (fault, line) in pins {
        let program = Program::read(line).unwrap_or_else(|| panic!("no program: {line}"));
        match with_fault(fault, || explore(&program, most_executions(50_000))) {
            Ok(Explored { executions, .. }) => {
                missed.push(format!("{fault:?} was not found in {executions} executions: {line}"));
            }
            Err(failure) => println!("found {fault:?}: {line}: {}", failure.why.trim()),
        }
        if let Err(failure) = explore(&program, 300) {
            missed.push(format!("{line} fails without a fault: {}", failure.why));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

/// Looks for a program that finds each fault, and prints it in the form of `pinned`.
#[test]
fn generated_programs_find_faults() {
    let Ok(names) = std::env::var("PROGRAMS_FAULTS") else { return };
    let most = most_executions(3_000);
    for &fault in Fault::ALL {
        let name = format!("{fault:?}");
        if names != "all" && names.split(',').all(|wanted| wanted != name) {
            continue;
        }
        let (mut random, scenes) = (Random::new(variable("PROGRAMS_SEED", 1)), scenes());
        let tries = variable("PROGRAMS", 2_000);
        let failed = |program: &Program| with_fault(fault, || explore(program, most)).is_err();
        // A program that fails anyway finds nothing.
        let finds = |program: &Program| failed(program) && explore(program, most).is_ok();
        let found = (1..=tries).find_map(|number| {
            let program = random.program(&scenes);
            finds(&program).then(|| (number, printer::shrink(&program, finds)))
        });
        match found {
            Some((number, program)) => {
                println!("{name}: {program}\n# program {number}");
            }
            None => println!("# {name}: not found by {tries} programs"),
        }
    }
}
