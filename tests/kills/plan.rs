//! Which rounds to play: every point that anybody comes by, and random moments.

use std::collections::BTreeMap;

use crate::actors::Part;
use crate::common::random;
use crate::points::Point;
use crate::rounds::{self, Whom};
use crate::scene::Scene;
use crate::victim::{End, Role};

/// A round to play.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) whom: Whom,
    pub(crate) scene: Scene,
    pub(crate) end: End,
}

/// Those who end themselves at a point.
const AT_POINTS: [Whom; 21] = [
    Whom::Sender,
    Whom::SenderTask,
    Whom::Receiver,
    Whom::ReceiverTask,
    Whom::Both,
    Whom::Worker,
    Whom::Alone(Role::Creator),
    Whom::Successor,
    Whom::Alone(Role::Visitor),
    Whom::Alone(Role::Last),
    Whom::Alone(Role::Unlinker),
    Whom::Alone(Role::Sweeper),
    Whom::Server,
    Whom::ServerBesideStandby,
    Whom::Client,
    Whom::StreamServer,
    Whom::StreamReader,
    Whom::Actor(Part::Actor),
    Whom::Actor(Part::Standby),
    Whom::Actor(Part::Holder),
    Whom::Asker,
];

/// Those who are killed from outside, under full load.
const FROM_OUTSIDE: [Whom; 19] = [
    Whom::Sender,
    Whom::SenderTask,
    Whom::Senders,
    Whom::Receiver,
    Whom::ReceiverTask,
    Whom::Both,
    Whom::Worker,
    Whom::Workers,
    Whom::Visitors,
    Whom::Successor,
    Whom::Server,
    Whom::ServerBesideStandby,
    Whom::Client,
    Whom::StreamServer,
    Whom::StreamReader,
    Whom::Actor(Part::Actor),
    Whom::Actor(Part::Standby),
    Whom::Actor(Part::Holder),
    Whom::Asker,
];

/// The points that each victim comes by in each scene, and how often.
pub(crate) type Census = BTreeMap<(Whom, Scene, String), u64>;

/// Lets everybody run to the end once, counting.
pub(crate) fn census() -> Vec<Round> {
    let every = |whom| scenes(whom).map(move |scene| Round { whom, scene, end: End::Counted });
    AT_POINTS.into_iter().flat_map(every).collect()
}

fn scenes(whom: Whom) -> impl Iterator<Item = Scene> {
    Scene::ALL.into_iter().filter(move |scene| whom.plays_in(scene))
}

/// At least `kills` rounds, in random order: half of them at points, each point as often as any
/// other and at least once.
pub(crate) fn kills(census: &Census, kills: u64) -> Vec<Round> {
    let mut places: BTreeMap<&str, Vec<(Whom, Scene, u64)>> = BTreeMap::new();
    for ((whom, scene, name), &passes) in census {
        places.entry(name).or_default().push((*whom, *scene, passes));
    }
    places.values_mut().for_each(|places| shuffle(places));
    let at_points = (kills / 2).max(places.len() as u64);
    let mut rounds = Vec::new();
    for turn in (0..).take(at_points.div_ceil(places.len().max(1) as u64) as usize) {
        for (&name, places) in &places {
            let (whom, scene, passes) = places[turn % places.len()];
            let point = Point { name: name.to_owned(), pass: 1 + random(passes) };
            rounds.push(Round { whom, scene, end: End::At(point) });
        }
    }
    for _ in 0..kills.saturating_sub(at_points) {
        let whom = FROM_OUTSIDE[random(FROM_OUTSIDE.len() as u64) as usize];
        let scenes: Vec<Scene> = scenes(whom).collect();
        let scene = scenes[random(scenes.len() as u64) as usize];
        rounds.push(Round { whom, scene, end: End::Outside });
    }
    shuffle(&mut rounds);
    rounds
}

/// The rounds whose description contains the text.
pub(crate) fn only(text: &str, mut rounds: Vec<Round>) -> Vec<Round> {
    rounds.retain(|round| format!("{round:?}").contains(text));
    rounds
}

fn shuffle<T>(items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, random(last as u64 + 1) as usize);
    }
}

impl Round {
    pub(crate) fn play(&self) -> rounds::Outcome {
        rounds::play(self.whom, self.scene, &self.end)
    }
}
