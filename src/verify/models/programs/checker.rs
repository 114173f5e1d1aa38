//! Whether what the parties of a program saw can be explained: by an order of all operations that
//! keeps each party's, in which a sequential machine would have done the same.
//!
//! The order need not be that in which things happened. Loom lets an atomic's old value be seen for
//! as long as nothing forbids it, and so does the hardware for a while: `try_recv` may say Empty
//! although a `try_send` elsewhere has just returned. What comes behind all of it, the epilogue, is
//! ordered by the parties' ends.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Debug;

use super::language::{Fate, How, Operation, Party, Program, Role};

/// What an operation came to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Done,
    /// The value received, or the reply.
    Value(u8),
    /// Full, Empty or Timeout: not now.
    NotNow,
    /// The peers are gone, or the channel is.
    Disconnected,
    /// The party has not the role for it.
    Absent,
    /// The value received, of a sender that hears no answer.
    Unheard(u8),
    /// All values that the one that attends received, in order.
    All(Vec<u8>),
    /// Another has the role.
    Taken,
    NotFound,
    /// It exists and is in use.
    Exists,
    /// It carries another type.
    WrongType,
    /// The server is gone, or the deadline passed; whether the request may have been executed.
    Lost {
        received: bool,
    },
    /// The request was dropped.
    Refused,
    /// The actor that was asked is gone.
    Died,
    /// What is never right.
    Failed(String),
}

/// Everything that was seen in one execution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Journal {
    /// Each party's outcomes; fewer than operations of one that was killed or stopped.
    pub(super) parties: Vec<Vec<Outcome>>,
    /// What was done when all had ended, and as which party.
    pub(super) epilogue: Vec<(usize, Operation, Outcome)>,
    /// The values of a channel that were decoded.
    pub(super) decoded: BTreeSet<u8>,
}

impl Journal {
    /// Whether a killed receiver may have taken that along: a value that it had decoded.
    fn may_be_lost(&self, program: &Program, operation: Operation, outcome: &Outcome) -> bool {
        let receives = matches!(operation, Operation::Receive(..) | Operation::ReceiveInPlace);
        match outcome {
            Outcome::Value(id) if receives && !program.is_long(*id) => self.decoded.contains(id),
            _ => true,
        }
    }
}

/// Where a party stands.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) party: usize,
    /// The operation's number among the party's.
    pub(super) index: usize,
    pub(super) operation: Operation,
    /// How far the operation is, where it takes effect in more than one step.
    pub(super) phase: u8,
    /// Whether the receiver is in a call that waits, and so collects fragments.
    pub(super) collecting: bool,
    /// Whether all other parties have ended.
    pub(super) alone: bool,
}

impl At {
    /// The value that the operation sends, different from every other.
    pub(super) fn value(self) -> u8 {
        value(self.party, self.index)
    }
}

/// The number of the epilogue's first operation.
pub(super) const EPILOGUE: usize = 8;

/// The value that an operation sends.
pub(super) fn value(party: usize, index: usize) -> u8 {
    (party * 32 + index + 1) as u8
}

pub(super) enum Then {
    Phase(u8),
    Is(Outcome),
}

pub(super) struct Step<M> {
    pub(super) to: M,
    pub(super) then: Then,
    /// Whether the operation comes to this by itself, or only may.
    pub(super) sure: bool,
}

impl<M> Step<M> {
    pub(super) fn is(to: M, outcome: Outcome) -> Self {
        Step { to, then: Then::Is(outcome), sure: true }
    }

    pub(super) fn phase(to: M, phase: u8) -> Self {
        Step { to, then: Then::Phase(phase), sure: true }
    }

    pub(super) fn perhaps(mut self) -> Self {
        self.sure = false;
        self
    }
}

/// What the operations do, one after another.
pub(super) trait Machine: Clone + Debug {
    /// What the operation may do next; nothing while it waits.
    fn steps(&self, at: At) -> Vec<Step<Self>>;

    /// How it may be left by a process that is killed in the middle, beside not begun and done.
    fn half_done(&self, _at: At) -> Vec<Self> {
        Vec::new()
    }

    /// The party's process ends, and the kernel gives up what it held.
    fn die(&mut self, party: usize);
}

/// Where every party stands.
#[derive(Clone, Debug)]
struct State<M> {
    machine: M,
    /// Of each party, how many operations are behind it, the phase of the next, and whether it has
    /// ended.
    parties: Vec<(usize, u8, bool)>,
    epilogue: usize,
}

impl<M: Machine> State<M> {
    fn new(machine: M, program: &Program) -> Self {
        let parties = program.parties.iter();
        let start = |fate, empty| (0, 0, empty && fate == Fate::Lives);
        let parties = parties.map(|party| start(party.fate, party.operations.is_empty())).collect();
        State { machine, parties, epilogue: 0 }
    }

    fn at(&self, program: &Program, party: usize) -> Option<At> {
        let (index, phase, ended) = self.parties[party];
        let operation = *program.parties[party].operations.get(index).filter(|_| !ended)?;
        let waits = |operation| match operation {
            Operation::Receive(..) | Operation::Answer(_) => operation.how() == How::Wait,
            Operation::ReceiveInPlace
            | Operation::Reply(_)
            | Operation::AnswerElsewhere
            | Operation::Refuse
            | Operation::PassOn
            | Operation::Attend
            | Operation::Serve => true,
            _ => false,
        };
        let collecting = (0..self.parties.len()).any(|other| {
            let (index, phase, ended) = self.parties[other];
            let Party { role, operations, .. } = &program.parties[other];
            let next = operations.get(index);
            let waits = !ended && phase == 0 && next.is_some_and(|&operation| waits(operation));
            waits && *role != Role::Holder
        });
        let mut others = self.parties.iter().enumerate().filter(|(other, _)| *other != party);
        let alone = others.all(|(_, it)| it.2);
        Some(At { party, index, operation, phase, collecting, alone })
    }

    /// The same with the party's operation behind it.
    fn done(&self, program: &Program, party: usize, machine: M) -> Self {
        let mut state = State { machine, ..self.clone() };
        let Program { parties, .. } = program;
        let (index, phase, ended) = &mut state.parties[party];
        (*index, *phase) = (*index + 1, 0);
        *ended = *index == parties[party].operations.len() && parties[party].fate == Fate::Lives;
        state
    }

    /// The same with the operation done, and the party about to end before it knows.
    fn not_returned(&self, program: &Program, party: usize, machine: M) -> Self {
        let mut state = State { machine, ..self.clone() };
        state.parties[party] = (program.parties[party].operations.len(), 1, false);
        state
    }

    fn in_phase(&self, party: usize, phase: u8, machine: M) -> Self {
        let mut state = State { machine, ..self.clone() };
        state.parties[party].1 = phase;
        state
    }

    /// The same with the party killed, or stopped, once its operation has left that machine.
    fn ended(&self, program: &Program, party: usize, machine: M) -> Self {
        let mut state = State { machine, ..self.clone() };
        let (index, phase, _) = self.parties[party];
        let Party { fate, operations, .. } = &program.parties[party];
        // A process that was to be stopped behind its last step has ended before.
        if *fate == Fate::Killed || index == operations.len() && phase == 0 {
            state.machine.die(party);
        }
        state.parties[party].2 = true;
        state
    }

    /// How a party may be left in the middle of its operation.
    fn cut_short(&self, program: &Program, party: usize) -> Vec<Self> {
        let mut all = vec![self.ended(program, party, self.machine.clone())];
        if let Some(at) = self.at(program, party) {
            let half = self.machine.half_done(at);
            all.extend(half.into_iter().map(|machine| self.not_returned(program, party, machine)));
        }
        all
    }

    fn all_ended(&self) -> bool {
        self.parties.iter().all(|party| party.2)
    }
}

/// Whether there is an order that explains the journal.
pub(super) fn explains<M: Machine>(machine: M, program: &Program, journal: &Journal) -> bool {
    let mut seen = HashSet::new();
    let mut stack = vec![State::new(machine, program)];
    while let Some(state) = stack.pop() {
        if !seen.insert(format!("{state:?}")) {
            continue;
        }
        if state.all_ended() {
            let Some((party, operation, outcome)) = journal.epilogue.get(state.epilogue) else {
                return true;
            };
            let at = At {
                party: *party,
                index: EPILOGUE + state.epilogue,
                operation: *operation,
                phase: 0,
                collecting: false,
                alone: true,
            };
            for machine in come_to(&state.machine, at, outcome) {
                let mut next = State { machine, ..state.clone() };
                next.epilogue += 1;
                stack.push(next);
            }
            continue;
        }
        for party in 0..program.parties.len() {
            let (index, _, ended) = state.parties[party];
            let outcomes = &journal.parties[party];
            let outcome = outcomes.get(index);
            if ended {
                continue;
            }
            let cut_short = outcome.is_none();
            if let Some(at) = state.at(program, party) {
                for step in state.machine.steps(at) {
                    match step.then {
                        Then::Phase(phase) => stack.push(state.in_phase(party, phase, step.to)),
                        Then::Is(found) if outcome == Some(&found) => {
                            stack.push(state.done(program, party, step.to));
                        }
                        Then::Is(found)
                            if cut_short && journal.may_be_lost(program, at.operation, &found) =>
                        {
                            stack.push(state.not_returned(program, party, step.to));
                        }
                        Then::Is(_) => {}
                    }
                }
            }
            if cut_short {
                stack.extend(state.cut_short(program, party));
            }
        }
    }
    false
}

/// The machines in which an operation that nothing disturbs has come to that.
fn come_to<M: Machine>(machine: &M, at: At, outcome: &Outcome) -> Vec<M> {
    let mut all = Vec::new();
    for step in machine.steps(at) {
        match step.then {
            Then::Is(found) if found == *outcome => all.push(step.to),
            Then::Is(_) => {}
            Then::Phase(phase) => all.extend(come_to(&step.to, At { phase, ..at }, outcome)),
        }
    }
    all
}

/// States of the reference that are looked at in search of one in which all wait.
const STATES: usize = 20_000;

/// Whether all that have not ended may come to wait for each other, as they should: of such a
/// program loom's deadlocks say nothing.
pub(super) fn may_get_stuck<M: Machine>(machine: M, program: &Program) -> bool {
    let mut seen = HashSet::new();
    let mut stack = vec![State::new(machine, program)];
    while let Some(state) = stack.pop() {
        if state.all_ended() || !seen.insert(format!("{state:?}")) {
            continue;
        }
        if seen.len() > STATES {
            return true;
        }
        let mut waits = true;
        for party in 0..program.parties.len() {
            if state.parties[party].2 {
                continue;
            }
            let is_victim = program.parties[party].fate != Fate::Lives;
            match state.at(program, party) {
                Some(at) => {
                    for step in state.machine.steps(at) {
                        waits &= !step.sure;
                        if program.parties[party].fate == Fate::Stopped {
                            // It may be stopped once it has done it.
                            let state = state.not_returned(program, party, step.to.clone());
                            stack.push(state.ended(program, party, step.to.clone()));
                        }
                        stack.push(match step.then {
                            Then::Phase(phase) => state.in_phase(party, phase, step.to),
                            Then::Is(_) => state.done(program, party, step.to),
                        });
                    }
                    if is_victim {
                        stack.extend(state.cut_short(program, party));
                    }
                }
                None => {
                    waits = false;
                    stack.push(state.ended(program, party, state.machine.clone()));
                }
            }
        }
        if waits {
            return true;
        }
    }
    false
}
