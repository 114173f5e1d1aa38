//! The sequential machines, one for each kind of scene.

mod actors;
mod calls;
mod channel;
mod names;

pub(super) use channel::LANES;

use super::checker::{self, Journal};
use super::language::{Program, Scene};

/// Whether there is an order of the operations that explains what was seen.
pub(super) fn explain(program: &Program, journal: &Journal) -> bool {
    match program.scene {
        Scene::Calls => checker::explains(calls::Calls::new(program), program, journal),
        Scene::Actors => checker::explains(actors::Actors::new(program), program, journal),
        Scene::Names => checker::explains(names::Names::new(program), program, journal),
        _ => checker::explains(channel::Line::new(program), program, journal),
    }
}

/// Whether the parties may come to wait for each other, as they should.
pub(super) fn may_get_stuck(program: &Program) -> bool {
    match program.scene {
        Scene::Calls => checker::may_get_stuck(calls::Calls::new(program), program),
        Scene::Actors => checker::may_get_stuck(actors::Actors::new(program), program),
        Scene::Names => checker::may_get_stuck(names::Names::new(program), program),
        _ => checker::may_get_stuck(channel::Line::new(program), program),
    }
}
