//! Values that stay in the channel while others are received behind them.

use super::state::received;
use super::{Receiver, count_withdrawn};
use crate::channel::Delivery;
use crate::channel::value_id::ValueId;
use crate::codec::{Raw, Reader};
use crate::error::RecvError;
use crate::sys::Deadline;
use crate::tag::{Select, Tag};

impl Receiver<Vec<u8>, Raw> {
    /// Finds the next value behind those that are held, and holds it too.
    pub(in crate::channel) fn hold_next<R>(
        &self,
        deadline: Deadline,
        take: impl FnOnce(ValueId, Tag, Reader<'_>) -> R,
    ) -> Result<(Delivery, R), RecvError> {
        let held = self.enter().and_then(|mut state| {
            if !deadline.is_now() {
                self.check_open()?;
            }
            state.sources.hold_values();
            let control = &*self.control;
            let mut withdrawn = 0;
            loop {
                let delivery = self.wait(&mut state, Select::Any, deadline, self.local.spin)?;
                let sources = &mut state.sources;
                sources.is_lendable(&delivery).map_err(|error| self.undecodable(error.into()))?;
                let Some(id) = sources.id(control, &delivery) else {
                    sources.hand_over(control, &delivery);
                    sources.forget(&delivery);
                    count_withdrawn(control, &mut withdrawn, deadline)?;
                    continue;
                };
                let tag = sources.tag(&delivery);
                let taken = sources.look_into(control, &delivery, |reader| take(id, tag, reader));
                sources.hold(&delivery);
                return Ok((delivery, taken));
            }
        });
        self.told(held)
    }

    /// Hands over a value that is held; `false` if its sender has taken it back.
    pub(in crate::channel) fn settle(
        &self,
        delivery: &Delivery,
        len: usize,
    ) -> Result<bool, RecvError> {
        let mut state = self.enter()?;
        let accepted = state.sources.hand_over(&self.control, delivery);
        state.sources.forget(delivery);
        state.sources.free_padding(&self.control, delivery);
        if accepted {
            received(&self.control, &self.words, len);
        }
        Ok(accepted)
    }

    /// Holds nothing any more: what was held is found again.
    pub(in crate::channel) fn rewind(&self) -> Result<(), RecvError> {
        self.enter()?.sources.rewind();
        Ok(())
    }
}
