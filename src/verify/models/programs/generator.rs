//! Programs: all up to a size, or some at random.

use super::language::{Fate, How, Operation, Party, Program, Role, SCENES, Scene, Size};
use super::machines::may_get_stuck;

/// Operations of one party at most.
const LONGEST: usize = 3;

/// The parties that meet: their roles, as many as there are.
fn casts(scene: Scene) -> &'static [&'static [Role]] {
    use Role::*;
    match scene {
        Scene::Calls => &[
            &[Client, Server],
            &[Client, Client, Server],
            &[Client, Server, Server],
            &[Repeater, Server, Server],
        ],
        Scene::Actors => &[
            &[Asker, Actor],
            &[Asker, Actor, Actor],
            &[Asker, Asker, Actor],
            &[Asker, Actor, Holder],
        ],
        Scene::Names => &[&[User, User], &[User, User, User]],
        _ => &[
            &[Sender, Receiver],
            &[Sender, Sender, Receiver],
            &[Sender, Receiver, Receiver],
            &[Sender, Receiver, Remover],
        ],
    }
}

/// Whether the program is worth running: each operation has what it needs, and the parties do not
/// come to wait for each other as they should.
pub(super) fn is_sensible(program: &Program) -> bool {
    is_written_well(program) && !may_get_stuck(program)
}

fn is_written_well(program: &Program) -> bool {
    let attends = |party: &Party| party.operations.iter().any(|operation| operation.attends());
    let attending = program.parties.iter().filter(|party| attends(party));
    let lives = |party: &Party| party.fate == Fate::Lives;
    let mut receivers = program.parties.iter().filter(|party| {
        party.attached && matches!(party.role, Role::Receiver | Role::Server | Role::Actor)
    });
    program.parties.iter().all(|party| has_what_it_needs(party))
        && attending.clone().count() <= 1
        && attending.clone().all(|party| {
            let first = party.operations.iter().position(|it| it.attends());
            lives(party) && first == Some(party.operations.len() - 1)
        })
        // Time ends what a receiver attends to.
        && (attending.clone().all(|party| party.role != Role::Receiver)
            || !program.has(|operation| operation.how() == How::Timed))
        // An answer that waits for room keeps others out.
        && (!program.has(|it| it == Operation::Reply(Size::Long)) || replies(program) == 1)
        && (receivers.next().is_none() || receivers.next().is_none())
        // A port that is passed on needs a holder; the model of the holder does not go.
        && (!program.has(|it| it == Operation::PassOn)
            || program.parties.iter().any(|party| party.role == Role::Holder))
        && program.parties.iter().filter(|party| !lives(party)).count() <= 1
        && program.parties.iter().all(|party| may_end_so(program, party))
        // Loom runs five threads.
        && answers_elsewhere(program).count() <= 1
        && answers_elsewhere(program).all(lives)
}

fn answers_elsewhere(program: &Program) -> impl Iterator<Item = &Party> {
    let elsewhere = |&&operation: &&Operation| operation == Operation::AnswerElsewhere;
    program
        .parties
        .iter()
        .flat_map(move |party| party.operations.iter().filter(elsewhere).map(move |_| party))
}

fn replies(program: &Program) -> usize {
    let operations = program.parties.iter().flat_map(|party| &party.operations);
    operations.filter(|operation| matches!(operation, Operation::Reply(_))).count()
}

fn may_end_so(program: &Program, party: &Party) -> bool {
    match party.fate {
        Fate::Lives => true,
        // Of a channel half-removed its users learn by napping.
        Fate::Killed => {
            let removes = |it: &Operation| matches!(it, Operation::Unlink | Operation::Ipcrm);
            party.role == Role::User || !party.operations.iter().any(removes)
        }
        // Others may wait for the lock that it keeps.
        Fate::Stopped => {
            matches!(party.role, Role::Sender | Role::Receiver)
                && !program.removes()
                && (party.role == Role::Receiver || !keeps_others_waiting(program))
        }
    }
}

/// Whether one that stops while it waits for room may keep others from it: they learn by napping, or
/// from a receiver that sleeps.
fn keeps_others_waiting(program: &Program) -> bool {
    let senders = program.parties.iter().filter(|party| party.role == Role::Sender).count();
    let narrow = matches!(program.scene, Scene::NarrowMixed | Scene::Messages);
    narrow && senders > 1 && !program.has(|operation| operation == Operation::Attend)
}

fn has_what_it_needs(party: &Party) -> bool {
    if party.attached && party.role == Role::Remover {
        return false;
    }
    let mut attached = party.attached || matches!(party.role, Role::Remover);
    let (mut started, mut watches) = (0, false);
    for (index, &operation) in party.operations.iter().enumerate() {
        let fits = match operation {
            Operation::Attach(_) | Operation::StandBy => !attached,
            Operation::Create
            | Operation::CreatePrivate
            | Operation::Open
            | Operation::OpenOrCreate => !attached,
            Operation::Unlink
            | Operation::Ipcrm
            | Operation::Sweep
            | Operation::SweepAll
            | Operation::OpenWrongly => true,
            Operation::Wait | Operation::Cancel => attached && started > 0,
            Operation::AwaitEnd => watches,
            _ => attached,
        };
        if !fits {
            return false;
        }
        match operation {
            Operation::Attach(_) | Operation::StandBy => attached = true,
            // What fails to open leaves nothing to use, which is no harm.
            Operation::Create
            | Operation::CreatePrivate
            | Operation::Open
            | Operation::OpenOrCreate => attached = true,
            Operation::Leave(_) => {
                (attached, started) = (false, 0);
                // To go at the very end is what a killed one does too.
                if index + 1 == party.operations.len() && party.fate == Fate::Killed {
                    return false;
                }
            }
            Operation::Start => started += 1,
            Operation::Watch => watches = true,
            Operation::Wait | Operation::Cancel => started -= 1,
            _ => {}
        }
    }
    party.attached || !party.operations.is_empty()
}

/// Makes one program after another; the same ones from the same seed.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn party(&mut self, scene: Scene, role: Role) -> Party {
        let vocabulary = scene.vocabulary(role);
        let attached = role != Role::Remover && !self.one_in(3);
        let mut operations = Vec::new();
        if !attached && !matches!(role, Role::Remover | Role::User) {
            let stands_by = role == Role::Server && self.one_in(2);
            operations.push(if stands_by { Operation::StandBy } else { Operation::Attach(role) });
        }
        let len = (1 + self.below(LONGEST)).max(operations.len());
        while operations.len() < len {
            operations.push(self.pick(&vocabulary));
        }
        Party { role, fate: Fate::Lives, attached, operations }
    }

    /// A sensible program on one of these scenes.
    pub(super) fn program(&mut self, scenes: &[Scene]) -> Program {
        loop {
            let scene = self.pick(scenes);
            let casts = casts(scene);
            let cast = casts[if self.one_in(2) { 0 } else { self.below(casts.len()) }];
            let parties = cast.iter().map(|&role| self.party(scene, role)).collect();
            let mut program = Program { scene, past: self.one_in(3), parties };
            if self.one_in(3) {
                let victim = self.below(program.parties.len());
                let fate = if self.one_in(6) { Fate::Stopped } else { Fate::Killed };
                program.parties[victim].fate = fate;
            }
            if is_sensible(&program) {
                return program;
            }
        }
    }
}

/// Calls `visit` with every sensible program that has at most so many operations in all.
pub(super) fn all_up_to(size: usize, scenes: &[Scene], mut visit: impl FnMut(&Program)) {
    for &scene in scenes {
        for cast in casts(scene) {
            for past in [false, true] {
                let program = Program { scene, past, parties: Vec::new() };
                add_party(cast, size, program, &mut visit);
            }
        }
    }
}

fn add_party(cast: &[Role], size: usize, program: Program, visit: &mut impl FnMut(&Program)) {
    let Some((&role, rest)) = cast.split_first() else {
        if program.size() > 0 && is_sensible(&program) {
            visit(&program);
        }
        return;
    };
    let vocabulary = program.scene.vocabulary(role);
    for operations in sequences(&vocabulary, size.min(LONGEST)) {
        for attached in [true, false] {
            for fate in [Fate::Lives, Fate::Killed, Fate::Stopped] {
                let party = Party { role, fate, attached, operations: operations.clone() };
                if !has_what_it_needs(&party)
                    || fate != Fate::Lives && (program.victim().is_some() || operations.is_empty())
                {
                    continue;
                }
                // Of two that differ only in who comes first, one is enough.
                let last = program.parties.last().filter(|last| last.role == role);
                if last.is_some_and(|last| *last > party) {
                    continue;
                }
                let mut program = program.clone();
                program.parties.push(party);
                add_party(rest, size - operations.len(), program, visit);
            }
        }
    }
}

/// Every sequence of at most so many operations.
fn sequences(vocabulary: &[Operation], longest: usize) -> Vec<Vec<Operation>> {
    let mut all = vec![Vec::new()];
    let mut last = all.clone();
    for _ in 0..longest {
        last = last
            .iter()
            .flat_map(|before| {
                vocabulary.iter().map(move |&operation| {
                    let mut with = before.clone();
                    with.push(operation);
                    with
                })
            })
            .collect();
        all.extend(last.iter().cloned());
    }
    all
}

/// Programs that are a little smaller or simpler than this one.
pub(super) fn simpler(program: &Program) -> Vec<Program> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Program)| {
        let mut simpler = program.clone();
        change(&mut simpler);
        if simpler != *program && simpler.parties.len() > 1 && is_sensible(&simpler) {
            all.push(simpler);
        }
    };
    for party in 0..program.parties.len() {
        with(&|program| drop(program.parties.remove(party)));
        for at in 0..program.parties[party].operations.len() {
            with(&|program| {
                program.parties[party].operations.remove(at);
            });
        }
        with(&|program| program.parties[party].fate = Fate::Lives);
        with(&|program| {
            let party = &mut program.parties[party];
            party.attached = true;
            let attaches = |it: &Operation| matches!(it, Operation::Attach(_) | Operation::StandBy);
            party.operations.retain(|operation| !attaches(operation));
        });
        for at in 0..program.parties[party].operations.len() {
            for operation in plainer(program.parties[party].operations[at]) {
                with(&|program| program.parties[party].operations[at] = operation);
            }
        }
    }
    with(&|program| program.past = false);
    for &scene in SCENES.iter().filter(|&&scene| scene < program.scene) {
        if scene.roles() == program.scene.roles() {
            with(&|program| program.scene = scene);
        }
    }
    all.retain(|simpler| Program::read(&simpler.to_string()).as_ref() == Some(simpler));
    all
}

/// Operations that do less than this one.
fn plainer(operation: Operation) -> Vec<Operation> {
    use Operation::*;
    match operation {
        Send(size, kind, how) => {
            let mut all = Vec::new();
            if how != How::Wait {
                all.push(Send(size, kind, How::Wait));
            }
            match size {
                Size::Small => {}
                Size::Bulk => all.push(Send(Size::Small, kind, how)),
                Size::Long => all.push(Send(Size::Bulk, kind, how)),
            }
            if kind != super::language::Kind::Five {
                all.push(Send(size, super::language::Kind::Five, how));
            }
            all
        }
        Receive(wanted, how) => {
            let any = super::language::Wanted::Any;
            let mut all = vec![Receive(any, how)];
            if how != How::Wait {
                all.push(Receive(wanted, How::Wait));
            }
            all
        }
        ReceiveInPlace => vec![Receive(super::language::Wanted::Any, How::Wait)],
        Reply(Size::Long) => vec![Reply(Size::Small)],
        Call(How::Timed | How::Try) => vec![Call(How::Wait)],
        Answer(How::Try) => vec![Answer(How::Wait)],
        Ask(How::Timed) => vec![Ask(How::Wait)],
        _ => Vec::new(),
    }
}
