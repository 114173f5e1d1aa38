//! Samples, each of which stands between two bare round trips.

use std::time::Duration;

use crate::cores::{Cores, bare_round_trip};
use crate::{Failure, stop};

/// How far the bare round trips on both sides of a sample may differ.
const MOVED: f64 = 0.2;

/// At least so much goes through in a sample of bulk: a ring is used round and round.
pub const LEAST_BYTES: u64 = 32 << 20;

/// Something that is ready to be measured, with its type forgotten.
pub trait Ready {
    /// Nanoseconds of one operation, by a sample of many.
    fn sample(&mut self) -> Result<f64, Failure>;

    /// So many single round trips, in nanoseconds, of what has them.
    fn latencies(&mut self, _count: usize) -> Result<Vec<f64>, Failure> {
        Ok(Vec::new())
    }

    /// Ends well. What is merely dropped ends too.
    fn end(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}

/// What needs no preparation and has no other side.
impl<F: FnMut() -> Result<f64, Failure>> Ready for F {
    fn sample(&mut self) -> Result<f64, Failure> {
        self()
    }
}

/// One peer's samples of one figure.
#[derive(Debug, Default)]
pub struct Samples {
    /// By the round; none where the sample was dropped.
    pub rounds: Vec<Option<Sample>>,
}

#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Nanoseconds of one operation.
    pub nanos: f64,
    /// How often the bare round trip beside it that is.
    pub over_c2c: f64,
}

impl Sample {
    /// Nanoseconds of the bare round trip beside it.
    fn c2c(self) -> f64 {
        self.nanos / self.over_c2c
    }
}

impl Samples {
    pub fn kept(&self) -> impl Iterator<Item = Sample> {
        self.rounds.iter().copied().flatten()
    }

    pub fn dropped(&self) -> usize {
        self.rounds.iter().filter(|sample| sample.is_none()).count()
    }

    /// Whether the processors looked like two threads of one core, for most of them.
    pub fn look_like_siblings(&self) -> bool {
        let c2c = Spread::of(self.kept().map(Sample::c2c));
        c2c.is_some_and(|c2c| Cores::look_like_siblings(c2c.median))
    }

    /// How often another's sample of the same round each of these is.
    pub fn over(&self, other: &Samples) -> impl Iterator<Item = f64> {
        let rounds = self.rounds.iter().zip(&other.rounds);
        rounds.filter_map(|(mine, other)| Some((*mine)?.nanos / (*other)?.nanos))
    }
}

/// Measures all in turns. Also what the bare round trips took.
pub fn in_turns(
    cores: Cores,
    peers: &mut [Box<dyn Ready>],
    rounds: usize,
) -> Result<(Vec<Samples>, Vec<f64>), Failure> {
    let mut samples: Vec<Samples> = peers.iter().map(|_| Samples::default()).collect();
    let mut bare = vec![bare_round_trip(cores)?];
    for _ in 0..rounds {
        for (peer, samples) in peers.iter_mut().zip(&mut samples) {
            stop::check()?;
            let before = bare[bare.len() - 1];
            let nanos = peer.sample()?;
            let after = bare_round_trip(cores)?;
            bare.push(after);
            let moved = (after - before).abs() > MOVED * before.min(after);
            let over_c2c = nanos * 2.0 / (before + after);
            samples.rounds.push((!moved).then_some(Sample { nanos, over_c2c }));
        }
    }
    Ok((samples, bare))
}

/// The middle, and how far it goes to both sides.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut samples: Vec<f64> = samples.into_iter().collect();
        samples.sort_by(f64::total_cmp);
        let (&min, &max) = (samples.first()?, samples.last()?);
        Some(Spread { median: samples[samples.len() / 2], min, max })
    }
}

pub fn nanos(time: Duration) -> f64 {
    time.as_nanos() as f64
}
