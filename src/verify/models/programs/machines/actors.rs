//! An actor as a list of messages.

use super::super::checker::{At, Machine, Outcome, Step};
use super::super::language::{How, Kind, Operation, Program, Role};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Is {
    /// In a mailbox: the actor's, or the holder's.
    Waiting(Role),
    /// In the hand of that party.
    Received(usize),
    /// By the actor of that number.
    Answered(usize),
    /// Answered, or dropped, by the holder: that goes by the actor's mailbox.
    Returning {
        answered: bool,
    },
    Refused,
    /// No asker waits for it.
    Over,
}

#[derive(Clone, Debug)]
struct Message {
    id: u8,
    urgent: bool,
    /// The actor that was there when it was asked; none for a message that is told.
    asked: Option<usize>,
    is: Is,
}

#[derive(Clone, Debug)]
pub(super) struct Actors {
    askers: Vec<usize>,
    actor: Option<usize>,
    actors: usize,
    holder: Option<usize>,
    came: bool,
    /// Whether the last actor went by itself, if there is none.
    left_cleanly: Option<bool>,
    messages: Vec<Message>,
    /// The actor that each party watches.
    watched: Vec<(usize, usize)>,
}

impl Actors {
    pub(super) fn new(program: &Program) -> Self {
        let mut actors = Actors {
            askers: Vec::new(),
            actor: None,
            actors: 0,
            holder: None,
            came: program.past,
            left_cleanly: program.past.then_some(true),
            messages: Vec::new(),
            watched: Vec::new(),
        };
        for (party, it) in program.parties.iter().enumerate().filter(|(_, it)| it.attached) {
            match it.role {
                Role::Actor => actors.bind(party),
                Role::Holder => actors.holder = Some(party),
                _ => actors.askers.push(party),
            }
        }
        actors
    }

    fn bind(&mut self, party: usize) {
        (self.actor, self.left_cleanly, self.came) = (Some(party), None, true);
        self.actors += 1;
    }

    fn is(&self, outcome: Outcome) -> Step<Self> {
        Step::is(self.clone(), outcome)
    }

    fn put(&self, at: At, kind: Kind, asked: Option<usize>) -> Self {
        let mut to = self.clone();
        to.messages.push(Message {
            id: at.value(),
            urgent: kind == Kind::Five,
            asked,
            is: Is::Waiting(Role::Actor),
        });
        to
    }

    fn position(&self, id: u8) -> usize {
        let position = self.messages.iter().position(|message| message.id == id);
        position.expect("it was told")
    }

    fn ask(&self, at: At, how: How) -> Vec<Step<Self>> {
        if at.phase == 0 {
            // It is asked when there is an actor, which it then is for.
            let mut all = Vec::new();
            if self.actor.is_some() {
                let to = self.put(at, Kind::Six, Some(self.actors));
                all.push(Step::phase(to, 1));
                // It may be gone before the message is told.
            }
            if how == How::Timed {
                let sure = self.actor.is_none();
                all.push(Step { sure, ..self.is(Outcome::NotNow) });
            }
            return all;
        }
        let position = self.position(at.value());
        let message = &self.messages[position];
        let over = |outcome| {
            let mut to = self.clone();
            to.messages[position].is = match message.is {
                // What waits in a mailbox is still received.
                is @ (Is::Waiting(_) | Is::Received(_)) => is,
                _ => Is::Over,
            };
            to.messages[position].asked = None;
            Step::is(to, outcome)
        };
        let replaced = self.actor.is_none() || message.asked != Some(self.actors);
        let mut all = Vec::new();
        match message.is {
            Is::Answered(actor) => {
                all.push(over(Outcome::Value(message.id)));
                if message.asked != Some(actor) {
                    // By its successor, which it may take for the end of the one that it asked.
                    all.push(over(Outcome::Died).perhaps());
                }
            }
            Is::Refused => {
                all.push(over(Outcome::Refused));
                if replaced {
                    all.push(over(Outcome::Died).perhaps());
                }
            }
            Is::Returning { answered } if !replaced => {
                let outcome = if answered { Outcome::Value(message.id) } else { Outcome::Refused };
                all.push(Step { sure: at.collecting, ..over(outcome) });
            }
            _ if replaced => {
                all.push(over(Outcome::Died));
                // It may have gone before the message was told.
                let mut never = over(Outcome::Died);
                never.to.messages[position].is = Is::Over;
                all.push(never.perhaps());
            }
            _ => {}
        }
        if how == How::Timed {
            all.push(over(Outcome::NotNow));
        }
        all
    }

    /// The same with the next message in the party's hand.
    fn received(&self, at: At, role: Role) -> Option<(Self, u8)> {
        let waits = |message: &&Message| message.is == Is::Waiting(role);
        let mut waiting = self.messages.iter().filter(waits);
        let next = waiting.clone().find(|message| message.urgent).or_else(|| waiting.next())?;
        let mut to = self.clone();
        let position = self.position(next.id);
        to.messages[position].is = Is::Received(at.party);
        Some((to, next.id))
    }

    fn serve(&self, at: At, how: How) -> Vec<Step<Self>> {
        let role = match () {
            () if self.actor == Some(at.party) => Role::Actor,
            () if self.holder == Some(at.party) => Role::Holder,
            () => return vec![self.is(Outcome::Absent)],
        };
        if at.phase > 0 {
            let position = self.position(at.phase);
            let mut to = self.clone();
            to.messages[position].is = match at.operation {
                Operation::PassOn if self.messages[position].asked.is_some() => {
                    Is::Waiting(Role::Holder)
                }
                _ if role == Role::Holder => {
                    Is::Returning { answered: at.operation == Operation::Answer(How::Wait) }
                }
                Operation::Answer(_) => Is::Answered(self.actors),
                _ => Is::Refused,
            };
            return vec![Step::is(to, Outcome::Value(at.phase))];
        }
        match self.received(at, role) {
            Some((to, id)) => vec![Step::phase(to, id)],
            None if how == How::Try => vec![self.is(Outcome::NotNow)],
            None => Vec::new(),
        }
    }

    fn leave(&mut self, party: usize, cleanly: bool) {
        self.askers.retain(|&asker| asker != party);
        for message in &mut self.messages {
            if message.is == Is::Received(party) {
                let held = self.holder == Some(party);
                message.is = if held { Is::Returning { answered: false } } else { Is::Refused };
            }
        }
        if self.actor == Some(party) {
            (self.actor, self.left_cleanly) = (None, Some(cleanly));
        }
        if self.holder == Some(party) {
            self.holder = None;
        }
    }
}

impl Machine for Actors {
    fn steps(&self, at: At) -> Vec<Step<Self>> {
        let is_asker = self.askers.contains(&at.party);
        let here = is_asker || self.actor == Some(at.party) || self.holder == Some(at.party);
        match at.operation {
            Operation::Attach(_) if here => vec![self.is(Outcome::Absent)],
            Operation::Attach(role) => {
                let mut to = self.clone();
                match role {
                    Role::Actor if self.actor.is_some() => return vec![self.is(Outcome::Taken)],
                    Role::Holder if self.holder.is_some() => return vec![self.is(Outcome::Taken)],
                    Role::Actor => to.bind(at.party),
                    Role::Holder => to.holder = Some(at.party),
                    _ => to.askers.push(at.party),
                }
                vec![Step::is(to, Outcome::Done)]
            }
            Operation::Leave(_) if here => {
                let mut to = self.clone();
                to.leave(at.party, true);
                vec![Step::is(to, Outcome::Done)]
            }
            Operation::Tell(_) | Operation::Ask(_) if !is_asker => vec![self.is(Outcome::Absent)],
            Operation::Tell(kind) => match self.left_cleanly {
                // It waits for the next actor.
                Some(true) => Vec::new(),
                _ => vec![Step::is(self.put(at, kind, None), Outcome::Done)],
            },
            Operation::Ask(how) => self.ask(at, how),
            Operation::Watch if !is_asker => vec![self.is(Outcome::Absent)],
            // The one that came last, or the first one once it comes.
            Operation::Watch if !self.came => Vec::new(),
            Operation::Watch => {
                let mut to = self.clone();
                to.watched.push((at.party, self.actors));
                vec![Step::is(to, Outcome::Done)]
            }
            Operation::AwaitEnd => {
                let mut watched = self.watched.iter().rev();
                match watched.find(|watched| watched.0 == at.party) {
                    None => vec![self.is(Outcome::Absent)],
                    Some(&(_, actor)) if self.actor.is_some() && self.actors == actor => Vec::new(),
                    Some(_) => vec![self.is(Outcome::Done)],
                }
            }
            Operation::Answer(how) => self.serve(at, how),
            Operation::Refuse | Operation::PassOn => self.serve(at, How::Wait),
            Operation::Attend if !here => vec![self.is(Outcome::Absent)],
            Operation::Attend => {
                // It drops what it is told until the others are done.
                let mut all = Vec::new();
                if let Some((mut to, id)) = self.received(at, Role::Actor) {
                    let position = to.position(id);
                    to.messages[position].is = Is::Refused;
                    all.push(Step::phase(to, 0));
                }
                if at.alone {
                    all.push(self.is(Outcome::Done));
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
