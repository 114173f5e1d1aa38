//! What a program is: two or three parties on a scene, each with a few operations of the public
//! API, one after another. A program is written on one line, and read back from it:
//!
//! ```text
//! mixed | killed sender attached: send bulk 6, leave | receiver: attach, receive 6
//! ```

use std::fmt;

use super::checker::value;

/// What the parties meet on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Scene {
    /// A channel without a queue, with room for all that a program sends.
    Feed,
    /// A channel without a queue and with room for one value in each lane.
    NarrowFeed,
    /// A channel with queue and rings, with room for all that a program sends.
    Mixed,
    /// A channel with queue and rings, and room for one message or descriptor.
    NarrowMixed,
    /// A channel without rings, and room for one message.
    Messages,
    /// A channel without a queue whose receiver answers.
    Answers,
    /// A server and its clients.
    Calls,
    /// An actor, those that tell and ask it, and another to which it passes ports on.
    Actors,
    /// A name under which channels are created, opened and removed.
    Names,
}

pub(super) const SCENES: [Scene; 9] = [
    Scene::Feed,
    Scene::NarrowFeed,
    Scene::Mixed,
    Scene::NarrowMixed,
    Scene::Messages,
    Scene::Answers,
    Scene::Calls,
    Scene::Actors,
    Scene::Names,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Role {
    Sender,
    Receiver,
    Client,
    /// A client whose calls may be repeated.
    Repeater,
    Server,
    Asker,
    Actor,
    /// The actor to which the other one passes ports on.
    Holder,
    /// Creates, opens, uses and removes channels.
    User,
    /// Removes the channel under its users.
    Remover,
}

/// What becomes of a party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Fate {
    Lives,
    /// Its process is killed before one of its steps, each in turn, or ends behind the last.
    Killed,
    /// Its process is stopped before one of its steps, each in turn.
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Size {
    /// A message, where there is a queue.
    Small,
    /// A record.
    Bulk,
    /// A value in fragments.
    Long,
}

/// Tells ordinary values from those of the other tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Five,
    Six,
}

/// Whether a call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum How {
    Wait,
    Try,
    /// Until a moment that comes whenever loom likes.
    Timed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Wanted {
    Any,
    Exactly(Kind),
    UpTo(Kind),
    Except(Kind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Operation {
    /// Takes the party's role.
    Attach(Role),
    /// Gives it up.
    Leave(Role),
    Send(Size, Kind, How),
    /// Waits for what the receiver sends back.
    Hear,
    Receive(Wanted, How),
    ReceiveInPlace,
    /// Receives a value and sends one back.
    Reply(Size),
    Call(How),
    Start,
    /// Waits for the reply to the call that was started first.
    Wait,
    /// Drops the call that was started last.
    Cancel,
    /// Receives and replies.
    Answer(How),
    /// Receives, and has another thread reply.
    AnswerElsewhere,
    /// Receives and drops the request.
    Refuse,
    /// Tells a message, perhaps urgently.
    Tell(Kind),
    Ask(How),
    /// Begins to watch the actor; waits for the first one.
    Watch,
    /// Waits for the end of the actor that it watches.
    AwaitEnd,
    /// Receives, and tells the other actor the port.
    PassOn,
    /// Receives until all others are done.
    Attend,
    /// Waits for the server's place.
    StandBy,
    /// Receives and replies until all others are done.
    Serve,
    Create,
    /// Creates a channel without a name.
    CreatePrivate,
    Open,
    OpenOrCreate,
    /// Opens the name for another type, which is an error.
    OpenWrongly,
    /// Sends one value.
    Put,
    Unlink,
    /// Removes the queue alone, as that program does.
    Ipcrm,
    Sweep,
    SweepAll,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Party {
    pub(super) role: Role,
    pub(super) fate: Fate,
    /// Whether it has its role before any party runs.
    pub(super) attached: bool,
    pub(super) operations: Vec<Operation>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Program {
    pub(super) scene: Scene,
    /// Whether a sender and a receiver have come, used the channel for a lap, and gone before.
    pub(super) past: bool,
    pub(super) parties: Vec<Party>,
}

impl Program {
    /// How many lines of the ring are used while little goes, where it is not all of them. What a past
    /// leaves stands everywhere.
    pub(super) fn window(&self) -> Option<usize> {
        (matches!(self.scene, Scene::Feed | Scene::Mixed) && !self.past).then_some(2)
    }
}

impl Scene {
    pub(super) fn words(self) -> &'static str {
        match self {
            Scene::Feed => "feed",
            Scene::NarrowFeed => "narrow feed",
            Scene::Mixed => "mixed",
            Scene::NarrowMixed => "narrow mixed",
            Scene::Messages => "messages",
            Scene::Answers => "answers",
            Scene::Calls => "calls",
            Scene::Actors => "actors",
            Scene::Names => "names",
        }
    }

    pub(super) fn has_queue(self) -> bool {
        matches!(self, Scene::Mixed | Scene::NarrowMixed | Scene::Messages)
    }

    /// Lines of a lane's ring.
    pub(super) fn lines(self) -> usize {
        match self {
            Scene::Messages => 0,
            Scene::NarrowFeed | Scene::NarrowMixed => 2,
            _ => 8,
        }
    }

    /// Bytes that the queue holds: of a narrow one, one message.
    pub(super) fn queue_capacity(self) -> u64 {
        match self {
            Scene::NarrowMixed | Scene::Messages => 16 + 1,
            _ => 16_384,
        }
    }

    /// How long a value is, in bytes.
    pub(super) fn len(self, size: Size) -> usize {
        match (size, self.lines()) {
            (Size::Small, _) => 1,
            // One line, so that a value in fragments goes behind one passed over; or two.
            (Size::Bulk, _) if self.has_queue() || self.lines() == 2 => 40,
            (Size::Bulk, _) => 100,
            // Three fragments, more than half the ring.
            (Size::Long, 2) => 100,
            (Size::Long, _) => 250,
        }
    }

    /// The parties that meet there.
    pub(super) fn roles(self) -> &'static [Role] {
        match self {
            Scene::Calls => &[Role::Client, Role::Repeater, Role::Server],
            Scene::Actors => &[Role::Asker, Role::Actor, Role::Holder],
            Scene::Names => &[Role::User],
            _ => &[Role::Sender, Role::Receiver, Role::Remover],
        }
    }

    /// What a party of that role can do there.
    pub(super) fn vocabulary(self, role: Role) -> Vec<Operation> {
        use Operation::*;
        let mut all = Vec::new();
        if !matches!(role, Role::User | Role::Remover) {
            all.extend([Attach(role), Leave(role)]);
        }
        match role {
            Role::Sender => {
                let sizes = match self {
                    Scene::Messages => &[Size::Small][..],
                    Scene::Answers => &[Size::Small],
                    _ => &[Size::Small, Size::Bulk, Size::Long],
                };
                let kinds =
                    if self.has_queue() { &[Kind::Five, Kind::Six][..] } else { &[Kind::Five] };
                for &size in sizes {
                    for &kind in kinds {
                        // A value in fragments is none to be tried.
                        let hows = [How::Wait, How::Timed, How::Try];
                        let hows = &hows[..if size == Size::Long { 2 } else { 3 }];
                        all.extend(hows.iter().map(|&how| Send(size, kind, how)));
                    }
                }
                if self == Scene::Answers {
                    all.push(Hear);
                }
                all.push(Unlink);
                if self.has_queue() {
                    all.push(Ipcrm);
                }
            }
            Role::Receiver => {
                let mut wanted = vec![Wanted::Any];
                if self.has_queue() {
                    wanted.extend([
                        Wanted::Exactly(Kind::Six),
                        Wanted::Exactly(Kind::Five),
                        Wanted::UpTo(Kind::Five),
                        Wanted::Except(Kind::Five),
                    ]);
                }
                for wanted in wanted {
                    all.extend([How::Wait, How::Try, How::Timed].map(|how| Receive(wanted, how)));
                }
                all.extend([ReceiveInPlace, Attend]);
                if self == Scene::Answers {
                    all.extend([Reply(Size::Small), Reply(Size::Long)]);
                }
            }
            Role::Client => {
                all.extend([
                    Call(How::Wait),
                    Call(How::Timed),
                    Call(How::Try),
                    Start,
                    Wait,
                    Cancel,
                ]);
            }
            Role::Repeater => all.push(Call(How::Wait)),
            Role::Server => {
                all.extend([Answer(How::Wait), Answer(How::Try), AnswerElsewhere, Refuse]);
                all.extend([StandBy, Serve]);
            }
            Role::Asker => {
                all.extend([Ask(How::Wait), Ask(How::Timed), Tell(Kind::Six), Tell(Kind::Five)]);
                all.extend([Watch, AwaitEnd]);
            }
            Role::Actor => {
                all.extend([Answer(How::Wait), Answer(How::Try), Refuse, PassOn, Attend]);
            }
            Role::Holder => all.extend([Answer(How::Wait), Refuse]),
            Role::Remover => {
                all.push(Unlink);
                if self.has_queue() {
                    all.push(Ipcrm);
                }
            }
            Role::User => all.extend([
                Create,
                CreatePrivate,
                Open,
                OpenOrCreate,
                OpenWrongly,
                Put,
                Leave(Role::User),
                Unlink,
                Sweep,
                SweepAll,
            ]),
        }
        all
    }
}

impl Role {
    fn words(self) -> &'static str {
        match self {
            Role::Sender => "sender",
            Role::Receiver => "receiver",
            Role::Client => "client",
            Role::Repeater => "repeater",
            Role::Server => "server",
            Role::Asker => "asker",
            Role::Actor => "actor",
            Role::Holder => "holder",
            Role::User => "user",
            Role::Remover => "remover",
        }
    }
}

impl Kind {
    pub(super) fn number(self) -> i64 {
        match self {
            Kind::Five => 5,
            Kind::Six => 6,
        }
    }
}

impl Operation {
    /// Whether it goes on until all others are done.
    pub(super) fn attends(self) -> bool {
        matches!(self, Operation::Attend | Operation::Serve)
    }

    pub(super) fn words(self) -> String {
        use Operation::*;
        let how = |words: String, how| match how {
            How::Wait => words,
            How::Try => format!("try {words}"),
            How::Timed => format!("{words} timed"),
        };
        let kind = |kind| match kind {
            Kind::Five => "",
            Kind::Six => " 6",
        };
        let size = |size| match size {
            Size::Small => "small",
            Size::Bulk => "bulk",
            Size::Long => "long",
        };
        match self {
            Attach(_) => "attach".to_owned(),
            Leave(_) => "leave".to_owned(),
            Send(of, tag, waits) => how(format!("send {}{}", size(of), kind(tag)), waits),
            Hear => "hear".to_owned(),
            Receive(wanted, waits) => how(
                match wanted {
                    Wanted::Any => "receive".to_owned(),
                    Wanted::Exactly(kind) => format!("receive {}", kind.number()),
                    Wanted::UpTo(kind) => format!("receive up to {}", kind.number()),
                    Wanted::Except(kind) => format!("receive except {}", kind.number()),
                },
                waits,
            ),
            ReceiveInPlace => "receive in place".to_owned(),
            Reply(of) => format!("reply {}", size(of)),
            Call(waits) => how("call".to_owned(), waits),
            Start => "start".to_owned(),
            Wait => "wait".to_owned(),
            Cancel => "cancel".to_owned(),
            Answer(waits) => how("answer".to_owned(), waits),
            AnswerElsewhere => "answer elsewhere".to_owned(),
            Refuse => "refuse".to_owned(),
            Tell(Kind::Five) => "tell urgently".to_owned(),
            Tell(Kind::Six) => "tell".to_owned(),
            Ask(waits) => how("ask".to_owned(), waits),
            Watch => "watch".to_owned(),
            AwaitEnd => "await end".to_owned(),
            PassOn => "pass on".to_owned(),
            Attend => "attend".to_owned(),
            StandBy => "stand by".to_owned(),
            Serve => "serve".to_owned(),
            Create => "create".to_owned(),
            CreatePrivate => "create privately".to_owned(),
            Open => "open".to_owned(),
            OpenOrCreate => "open or create".to_owned(),
            OpenWrongly => "open wrongly".to_owned(),
            Put => "put".to_owned(),
            Unlink => "unlink".to_owned(),
            Ipcrm => "ipcrm".to_owned(),
            Sweep => "sweep".to_owned(),
            SweepAll => "sweep all".to_owned(),
        }
    }

    pub(super) fn how(self) -> How {
        match self {
            Operation::Send(_, _, how)
            | Operation::Receive(_, how)
            | Operation::Call(how)
            | Operation::Answer(how)
            | Operation::Ask(how) => how,
            _ => How::Wait,
        }
    }
}

impl Program {
    pub(super) fn has(&self, so: impl Fn(Operation) -> bool) -> bool {
        self.parties.iter().any(|party| party.operations.iter().any(|&operation| so(operation)))
    }

    /// Whose process is killed or stopped, if one is.
    pub(super) fn victim(&self) -> Option<usize> {
        self.parties.iter().position(|party| party.fate != Fate::Lives)
    }

    /// Whether a value is in fragments, which its receiver takes before it decodes them.
    pub(super) fn is_long(&self, id: u8) -> bool {
        let operations = |party: usize| self.parties[party].operations.iter().enumerate();
        let mut sent = (0..self.parties.len())
            .flat_map(|party| operations(party).map(move |(index, &it)| (value(party, index), it)));
        sent.any(|(sent, it)| sent == id && matches!(it, Operation::Send(Size::Long, ..)))
    }

    /// Whether the channel is removed under its users.
    pub(super) fn removes(&self) -> bool {
        self.has(|it| matches!(it, Operation::Unlink | Operation::Ipcrm))
    }

    /// Operations in all.
    pub(super) fn size(&self) -> usize {
        self.parties.iter().map(|party| party.operations.len()).sum()
    }

    /// Reads a program from its line.
    pub(super) fn read(line: &str) -> Option<Program> {
        let mut parts = line.split(" | ");
        let scene = parts.next()?.trim();
        let (scene, past) = match scene.strip_suffix(" after a past") {
            Some(scene) => (scene, true),
            None => (scene, false),
        };
        let scene = SCENES.into_iter().find(|it| it.words() == scene)?;
        let party = |text: &str| {
            let (who, operations) = text.split_once(':')?;
            let mut words: Vec<&str> = who.split(' ').collect();
            let fate = match words[0] {
                "killed" => Fate::Killed,
                "stopped" => Fate::Stopped,
                _ => Fate::Lives,
            };
            if fate != Fate::Lives {
                words.remove(0);
            }
            let role = *scene.roles().iter().find(|role| role.words() == words[0])?;
            let vocabulary = scene.vocabulary(role);
            let operations = operations.split(',').map(str::trim).filter(|words| !words.is_empty());
            let operation = |words| vocabulary.iter().find(|known| known.words() == words).copied();
            let operations = operations.map(operation).collect::<Option<Vec<_>>>()?;
            Some(Party { role, fate, attached: words.get(1) == Some(&"attached"), operations })
        };
        let parties = parts.map(party).collect::<Option<Vec<_>>>()?;
        Some(Program { scene, past, parties })
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scene.words())?;
        if self.past {
            f.write_str(" after a past")?;
        }
        for Party { role, fate, attached, operations } in &self.parties {
            f.write_str(" | ")?;
            f.write_str(match fate {
                Fate::Lives => "",
                Fate::Killed => "killed ",
                Fate::Stopped => "stopped ",
            })?;
            f.write_str(role.words())?;
            if *attached {
                f.write_str(" attached")?;
            }
            let words: Vec<String> = operations.iter().map(|operation| operation.words()).collect();
            write!(f, ": {}", words.join(", "))?;
        }
        Ok(())
    }
}
