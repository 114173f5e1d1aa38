//! Requests that were received and that a reply is due to.

use super::{Due, Origin, ReplyProducers};
use crate::control::lane_word;
use crate::sys::{Fault, Ordering, fault, fence};

impl ReplyProducers {
    /// Has a request in hand, which a reply is due to.
    pub(in crate::channel) fn add_outstanding(&self, from: Origin, due: Due) {
        if from.lane < self.lanes.len() {
            self.way(from.lane).outstanding.push_back((from.generation, due));
        }
    }

    /// Has it no more, after its reply has gone or waits here.
    pub(in crate::channel) fn let_go(&self, from: Origin, call: u64) {
        // The locks of a parent process may be taken for ever.
        if !self.control.is_ours() || from.lane >= self.lanes.len() {
            return;
        }
        let mut way = self.way(from.lane);
        let it =
            |(generation, due): &(u64, Due)| *generation == from.generation && due.call == call;
        // Most are answered in order.
        if let Some(at) = way.outstanding.iter().position(it) {
            way.outstanding.remove(at);
        }
        drop(way);
        // Relaxed: a receiver that had this lane's lock before, and found the request, had said so.
        if self.watched.load(Ordering::Relaxed) != 0 {
            self.notify_receiver();
        }
    }

    /// Whether no reply waits and none is due that its caller waits for.
    pub(in crate::channel) fn is_idle(&self) -> bool {
        // In this order: a reply waits before its request is let go.
        !(0..self.lanes.len()).any(|lane| self.is_due(lane)) && !self.keeps_replies()
    }

    /// Whether the lane's owner waits for a reply to a request in hand.
    fn is_due(&self, lane: usize) -> bool {
        let way = self.way(lane);
        if way.outstanding.is_empty() {
            return false;
        }
        // Before the look for what was cancelled: a caller that cancels after it sees this and rings.
        self.control.lane_word(lane, lane_word::REPLIES_WAIT).swap(1, Ordering::Relaxed);
        // SeqCst: pairs with `notify_of_room`.
        fence(Ordering::SeqCst);
        let mut outstanding = way.outstanding.iter();
        outstanding.any(|&(to, due)| self.is_waited_for(lane, to, Some(due))) && self.is_owned(lane)
    }

    /// Has each release of a request ring the receiver, or not any more.
    pub(in crate::channel) fn watch(&self, watched: bool) {
        // Relaxed: `Receiver::attend` looks once more after this, under each lane's lock.
        let watched = watched && !fault(Fault::EndNotWatched);
        self.watched.swap(watched.into(), Ordering::Relaxed);
    }
}
