//! A server as a list of requests.

use super::super::checker::{At, Machine, Outcome, Step, Then};
use super::super::language::{How, Operation, Program, Role};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Is {
    Waiting,
    /// In the hand of the server of that number.
    Received(usize),
    Answered,
    Refused,
    /// No server executes it, and no client waits for it.
    Over,
}

#[derive(Clone, Debug)]
struct Request {
    id: u8,
    client: usize,
    is: Is,
    /// Whether its client waits no more for it, so that the server may pass over it.
    given_up: bool,
    /// Whether it was started, and is waited for by name.
    started: bool,
    /// Whether it is made again for the next server where one dies.
    repeatable: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Calls {
    clients: Vec<usize>,
    repeaters: Vec<usize>,
    server: Option<usize>,
    servers: usize,
    /// Whether the last server went by itself or was killed, if there is none.
    left_cleanly: Option<bool>,
    requests: Vec<Request>,
    /// What the one that serves has received.
    served: Vec<u8>,
}

impl Calls {
    pub(super) fn new(program: &Program) -> Self {
        let mut calls = Calls {
            clients: Vec::new(),
            repeaters: (0..program.parties.len())
                .filter(|&party| program.parties[party].role == Role::Repeater)
                .collect(),
            server: None,
            servers: 0,
            left_cleanly: program.past.then_some(true),
            requests: Vec::new(),
            served: Vec::new(),
        };
        for (party, it) in program.parties.iter().enumerate().filter(|(_, it)| it.attached) {
            if it.role == Role::Server {
                calls.bind(party);
            } else {
                calls.clients.push(party);
            }
        }
        calls
    }

    fn bind(&mut self, party: usize) {
        (self.server, self.left_cleanly) = (Some(party), None);
        self.servers += 1;
    }

    fn is(&self, outcome: Outcome) -> Step<Self> {
        Step::is(self.clone(), outcome)
    }

    /// Puts a request into the client's lane; nothing while it waits for a server to come.
    fn ask(&self, at: At, started: bool) -> Option<Self> {
        if self.left_cleanly == Some(true) {
            return None;
        }
        let mut to = self.clone();
        let request = Request {
            id: at.value(),
            client: at.party,
            is: Is::Waiting,
            given_up: false,
            started,
            repeatable: self.repeaters.contains(&at.party),
        };
        to.requests.push(request);
        Some(to)
    }

    fn with(&self, at: usize, change: impl FnOnce(&mut Request)) -> Self {
        let mut to = self.clone();
        change(&mut to.requests[at]);
        to
    }

    /// How waiting for the reply may end.
    fn outcomes(&self, at: usize, how: How) -> Vec<Step<Self>> {
        let over = |outcome| Step::is(self.with(at, |request| request.is = Is::Over), outcome);
        let given_up =
            |outcome| Step::is(self.with(at, |request| request.given_up = true), outcome);
        let lost = |received| Outcome::Lost { received };
        let mut all = Vec::new();
        if self.requests[at].repeatable {
            // It waits for the next server, as long as none has it or the one that had it is gone.
            match self.requests[at].is {
                Is::Answered => all.push(over(Outcome::Value(self.requests[at].id))),
                Is::Refused => all.push(over(Outcome::Refused)),
                Is::Received(server) if server != self.servers || self.server.is_none() => {
                    all.push(Step::phase(self.with(at, |request| request.is = Is::Waiting), 1));
                }
                _ => {}
            }
            return all;
        }
        match self.requests[at].is {
            Is::Answered => all.push(over(Outcome::Value(self.requests[at].id))),
            Is::Refused => all.push(over(Outcome::Refused)),
            Is::Received(server) if server != self.servers || self.server.is_none() => {
                all.push(given_up(lost(true)));
            }
            Is::Waiting if self.left_cleanly.is_some() => {
                all.push(over(lost(false)));
                all.push(given_up(lost(true)).perhaps());
            }
            _ => {}
        }
        if how == How::Timed {
            // What the server passes over, since it came too late, counts as received too.
            all.push(given_up(lost(true)));
            if self.requests[at].is == Is::Waiting {
                all.push(over(lost(false)));
            }
        }
        all
    }

    fn call(&self, at: At, how: How) -> Vec<Step<Self>> {
        if !self.clients.contains(&at.party) {
            return vec![self.is(Outcome::Absent)];
        }
        if at.phase == 0 {
            return match self.ask(at, false) {
                Some(to) => {
                    let mut all = vec![Step::phase(to, 1)];
                    if self.left_cleanly == Some(false) && !self.repeaters.contains(&at.party) {
                        // It may be noticed now, or when the reply is waited for.
                        all.push(self.is(Outcome::Lost { received: false }).perhaps());
                    }
                    all
                }
                None if how == How::Try => vec![self.is(Outcome::Lost { received: false })],
                None if how == How::Timed => vec![self.is(Outcome::Lost { received: false })],
                None => Vec::new(),
            };
        }
        let position = self.requests.iter().position(|request| request.id == at.value());
        self.outcomes(position.expect("it was asked"), how)
    }

    fn pending(&self, party: usize) -> impl DoubleEndedIterator<Item = usize> + '_ {
        let mine = move |request: &Request| request.client == party && request.started;
        (0..self.requests.len()).filter(move |&at| mine(&self.requests[at]))
    }

    fn answer(&self, at: At, how: How, with: Is) -> Vec<Step<Self>> {
        if self.server != Some(at.party) {
            return vec![self.is(Outcome::Absent)];
        }
        if at.phase > 0 {
            let id = at.phase;
            let position = self.requests.iter().position(|request| request.id == id);
            let position = position.expect("it was received");
            let mut to = self.clone();
            if matches!(to.requests[position].is, Is::Received(_)) {
                to.requests[position].is = with;
            }
            return vec![Step::is(to, Outcome::Value(id))];
        }
        let mut all = Vec::new();
        let mut certain = false;
        for (position, request) in self.requests.iter().enumerate() {
            let waits = |request: &Request| request.is == Is::Waiting;
            let before = self.requests[..position].iter();
            let mut before = before.filter(|other| other.client == request.client);
            if waits(request) && before.all(|other| !waits(other) || other.given_up) {
                let mut to = self.clone();
                for earlier in &mut to.requests[..position] {
                    if earlier.client == request.client && earlier.is == Is::Waiting {
                        earlier.is = Is::Over;
                    }
                }
                to.requests[position].is = Is::Received(self.servers);
                certain |= !request.given_up;
                all.push(Step { sure: !request.given_up, ..Step::phase(to, request.id) });
            }
        }
        if how == How::Try && !certain {
            all.push(self.is(Outcome::NotNow));
        }
        all
    }

    fn leave(&mut self, party: usize, cleanly: bool) {
        if self.server == Some(party) {
            (self.server, self.left_cleanly) = (None, Some(cleanly));
            for request in &mut self.requests {
                // What it had in hand is told dropped when it goes by itself.
                if matches!(request.is, Is::Received(_)) && cleanly {
                    request.is = Is::Refused;
                }
            }
        }
        self.clients.retain(|&client| client != party);
        for request in self.requests.iter_mut().filter(|request| request.client == party) {
            request.given_up = true;
            if request.is == Is::Waiting && cleanly {
                request.is = Is::Over;
            }
            request.started = false;
        }
    }
}

impl Machine for Calls {
    fn steps(&self, at: At) -> Vec<Step<Self>> {
        let is_client = self.clients.contains(&at.party);
        match at.operation {
            Operation::Attach(Role::Server) => match self.server {
                Some(server) if server == at.party => vec![self.is(Outcome::Absent)],
                Some(_) => vec![self.is(Outcome::Taken)],
                None => {
                    let mut to = self.clone();
                    to.bind(at.party);
                    vec![Step::is(to, Outcome::Done)]
                }
            },
            Operation::StandBy => match self.server {
                Some(server) if server == at.party => vec![self.is(Outcome::Absent)],
                Some(_) => Vec::new(),
                None => {
                    let mut to = self.clone();
                    to.bind(at.party);
                    vec![Step::is(to, Outcome::Done)]
                }
            },
            Operation::Attach(_) if is_client => vec![self.is(Outcome::Absent)],
            Operation::Attach(_) => {
                let mut to = self.clone();
                to.clients.push(at.party);
                vec![Step::is(to, Outcome::Done)]
            }
            Operation::Leave(_) if is_client || self.server == Some(at.party) => {
                let mut to = self.clone();
                to.leave(at.party, true);
                vec![Step::is(to, Outcome::Done)]
            }
            Operation::Leave(_) => vec![self.is(Outcome::Absent)],
            Operation::Call(how) => self.call(at, how),
            Operation::Start if is_client => {
                let asked = self.ask(at, true).map(|to| Step::is(to, Outcome::Done));
                asked.into_iter().collect()
            }
            Operation::Wait => match self.pending(at.party).next() {
                Some(first) => {
                    let mut all = self.outcomes(first, How::Wait);
                    all.iter_mut().for_each(|step| step.to.requests[first].started = false);
                    all
                }
                None => vec![self.is(Outcome::Absent)],
            },
            Operation::Cancel => match self.pending(at.party).next_back() {
                Some(last) => {
                    let to = self.with(last, |request| {
                        (request.given_up, request.started) = (true, false);
                    });
                    vec![Step::is(to, Outcome::Done)]
                }
                None => vec![self.is(Outcome::Absent)],
            },
            Operation::Answer(how) => self.answer(at, how, Is::Answered),
            // A server does not leave before that.
            Operation::AnswerElsewhere => self.answer(at, How::Wait, Is::Answered),
            Operation::Refuse => self.answer(at, How::Wait, Is::Refused),
            Operation::Serve => {
                let mut all = self.answer(at, How::Wait, Is::Answered);
                for step in &mut all {
                    if let Then::Is(Outcome::Value(id)) = step.then {
                        step.to.served.push(id);
                        step.then = Then::Phase(0);
                    }
                }
                if at.phase == 0 && at.alone && self.server == Some(at.party) {
                    all.push(self.is(Outcome::All(self.served.clone())));
                }
                all
            }
            _ => vec![self.is(Outcome::Absent)],
        }
    }

    fn die(&mut self, party: usize) {
        self.leave(party, false);
    }
}
