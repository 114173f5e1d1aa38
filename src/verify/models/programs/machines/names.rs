//! A name, and the channels that were created under it one after another.

use super::super::checker::{At, Machine, Outcome, Step};
use super::super::language::{Operation, Program, Role};

/// The channel that has the name.
#[derive(Clone, Debug)]
struct Named {
    number: usize,
    values: usize,
    /// Whether it may be half-made or half-removed.
    half: bool,
}

/// The number of a channel that has no name.
const PRIVATE: usize = usize::MAX;

#[derive(Clone, Debug)]
pub(super) struct Names {
    named: Option<Named>,
    made: usize,
    /// Which channel each party has.
    users: Vec<Option<usize>>,
}

impl Names {
    pub(super) fn new(program: &Program) -> Self {
        let mut names =
            Names { named: None, made: 0, users: vec![None; program.parties.len() + 1] };
        if program.past {
            // It is not in use and holds a value.
            names.make(usize::MAX);
            names.named.as_mut().expect("it was just made").values = 1;
        }
        for party in (0..program.parties.len()).filter(|&at| program.parties[at].attached) {
            names.open_or_make(party);
        }
        names
    }

    fn make(&mut self, party: usize) {
        self.made += 1;
        self.named = Some(Named { number: self.made, values: 0, half: false });
        self.use_it(party);
    }

    fn use_it(&mut self, party: usize) {
        if let Some(user) = self.users.get_mut(party) {
            *user = self.named.as_ref().map(|named| named.number);
        }
    }

    fn open_or_make(&mut self, party: usize) {
        if self.named.is_some() { self.use_it(party) } else { self.make(party) }
    }

    fn in_use(&self) -> bool {
        self.named.as_ref().is_some_and(|named| self.users.contains(&Some(named.number)))
    }

    fn step(&self, outcome: Outcome, change: impl FnOnce(&mut Self)) -> Step<Self> {
        let mut to = self.clone();
        change(&mut to);
        Step::is(to, outcome)
    }

    fn leave(&mut self, party: usize) {
        self.users[party] = None;
        if !self.in_use() && self.named.as_ref().is_some_and(|named| named.values == 0) {
            self.named = None;
        }
    }

    fn sweep(&self, even_with_values: bool) -> Step<Self> {
        self.step(Outcome::Done, |to| {
            let empty = to.named.as_ref().is_some_and(|named| named.values == 0);
            if !to.in_use() && (empty || even_with_values) {
                to.named = None;
            }
        })
    }
}

impl Machine for Names {
    fn steps(&self, at: At) -> Vec<Step<Self>> {
        let party = at.party;
        let same = |outcome| vec![Step::is(self.clone(), outcome)];
        let half = self.named.as_ref().is_some_and(|named| named.half);
        let has_one = self.users[party].is_some();
        match at.operation {
            Operation::Create
            | Operation::CreatePrivate
            | Operation::Open
            | Operation::OpenOrCreate
                if has_one =>
            {
                same(Outcome::Absent)
            }
            Operation::CreatePrivate => {
                vec![self.step(Outcome::Done, |to| to.users[party] = Some(PRIVATE))]
            }
            Operation::Create if self.in_use() => same(Outcome::Exists),
            // It is adopted, with its values.
            Operation::Create | Operation::OpenOrCreate => {
                let opened = self.step(Outcome::Done, |to| to.open_or_make(party));
                // What is half-made is removed, and made again.
                let made = half.then(|| self.step(Outcome::Done, |to| to.make(party)));
                made.into_iter().chain([opened]).collect()
            }
            Operation::Open | Operation::OpenWrongly => {
                let found = match at.operation {
                    Operation::Open => self.step(Outcome::Done, |to| to.use_it(party)),
                    _ => Step::is(self.clone(), Outcome::WrongType),
                };
                let missing = || self.step(Outcome::NotFound, |to| to.named = None);
                match self.named {
                    None => same(Outcome::NotFound),
                    Some(_) if half => vec![found, missing()],
                    Some(_) => vec![found],
                }
            }
            Operation::Put => match (self.users[party], &self.named) {
                (None, _) => same(Outcome::Absent),
                (Some(PRIVATE), _) => same(Outcome::Done),
                (Some(mine), Some(named)) if mine == named.number => {
                    vec![self.step(Outcome::Done, |to| {
                        if let Some(named) = &mut to.named {
                            named.values += 1;
                        }
                    })]
                }
                // It was removed: that is told by the kernel, or when a peer is needed.
                _ => vec![Step::is(self.clone(), Outcome::Disconnected)],
            },
            Operation::Leave(Role::User) if self.users[party] == Some(PRIVATE) => {
                vec![self.step(Outcome::Done, |to| to.users[party] = None)]
            }
            Operation::Leave(Role::User) if has_one => {
                let gone = self.step(Outcome::Done, |to| to.leave(party));
                let lingers = self.named.is_some() && gone.to.named.is_none();
                let lingers = lingers.then(|| {
                    // Another that has the lock in this moment removes it, or adopts it.
                    self.step(Outcome::Done, |to| {
                        to.users[party] = None;
                        to.named.as_mut().expect("it was there").half = true;
                    })
                });
                std::iter::once(gone).chain(lingers).collect()
            }
            Operation::Leave(_) => same(Outcome::Absent),
            Operation::Unlink if self.named.is_some() => {
                let mut all = vec![self.step(Outcome::Done, |to| to.named = None)];
                if half {
                    all.push(self.step(Outcome::NotFound, |to| to.named = None));
                }
                all
            }
            Operation::Unlink => same(Outcome::NotFound),
            // One that another has the lock of in this moment is passed by.
            Operation::Sweep | Operation::SweepAll => {
                let swept = self.sweep(at.operation == Operation::SweepAll);
                vec![swept, Step::is(self.clone(), Outcome::Done).perhaps()]
            }
            // In the epilogue: what is left under the name, if all users have gone.
            Operation::Wait => match &self.named {
                Some(named) if named.half && named.values == 0 => same(Outcome::NotFound),
                Some(named) => same(Outcome::Value(named.values as u8)),
                None => same(Outcome::NotFound),
            },
            other => unreachable!("{other:?} is none of a name's"),
        }
    }

    fn half_done(&self, at: At) -> Vec<Self> {
        let mut all = Vec::new();
        match at.operation {
            Operation::Create | Operation::OpenOrCreate if self.named.is_none() => {
                let mut to = self.clone();
                to.make(usize::MAX);
                to.named.as_mut().expect("it was just made").half = true;
                all.push(to);
            }
            Operation::Leave(_)
            | Operation::Unlink
            | Operation::Sweep
            | Operation::SweepAll
            | Operation::Create
            | Operation::OpenOrCreate => {
                let mut to = self.clone();
                if let Some(named) = &mut to.named {
                    named.half = true;
                    all.push(to);
                }
            }
            _ => {}
        }
        all
    }

    fn die(&mut self, party: usize) {
        // What the dead used stays until it is adopted or swept.
        if self.users[party].take() == Some(PRIVATE) {
            return;
        }
        if let Some(named) = &mut self.named {
            named.half = true;
        }
    }
}
