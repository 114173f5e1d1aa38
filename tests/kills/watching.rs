//! A party that looks at all channels while others are killed on them: nobody notices, and it is neither hurt
//! nor kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sysv_channel::{Listed, inspect, list, tap};

/// What it has seen.
#[derive(Default)]
pub(crate) struct Watched {
    lists: u64,
    channels: u64,
    taps: u64,
    values: u64,
    missed: u64,
}

impl Watched {
    /// Looks at what there is, and for a moment at what goes through each, until `over`.
    pub(crate) fn until(over: &AtomicBool) -> Self {
        let mut watched = Watched::default();
        while !over.load(Ordering::Relaxed) {
            watched.look();
            // The others are what is to be tried.
            thread::sleep(Duration::from_millis(5));
        }
        watched
    }

    fn look(&mut self) {
        self.lists += 1;
        for listed in list().expect("the kernel lists its objects") {
            let Listed::Channel(channel) = listed else { continue };
            self.channels += 1;
            // It may be gone, or made anew, by now.
            let _ = inspect(channel.handle);
            let Ok(mut tap) = tap(channel.handle) else { continue };
            self.taps += 1;
            for _ in 0..10 {
                self.values += u64::from(tap.next_timeout(Duration::from_millis(1)).is_some());
            }
            self.missed += tap.missed();
        }
    }

    pub(crate) fn report(&self) {
        let Watched { lists, channels, taps, values, missed } = self;
        println!(
            "meanwhile {channels} channels were seen in {lists} looks, and {values} values by {taps} taps, \
             which missed {missed}"
        );
    }
}
