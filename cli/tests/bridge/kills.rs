//! Bridges that are killed at random: nothing is lost or doubled, and the order stays.

use std::thread;

use sysv_channel::{Channel, DefaultCodec, Options};

use crate::pair::Pair;

/// Kills one bridge or both whenever so many values have come.
fn kill_at_random(
    test: &'static str,
    options: &Options<(u64, u64, Vec<u8>), DefaultCodec>,
    rounds: u64,
) {
    let pair = Pair::new(test);
    let [here, there] = pair.make(options);
    let rx = there.receiver().unwrap();
    const SENDERS: u64 = 3;
    let each = rounds * 60;
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let tx = here.sender().unwrap();
            thread::spawn(move || {
                for number in 0..each {
                    let len = (number * 131 % 900) as usize;
                    tx.send(&(sender, number, vec![number as u8; len])).unwrap();
                }
            })
        })
        .collect();
    let (mut inlet, mut outlet) = (Some(pair.inlet()), Some(pair.outlet()));
    let mut next = [0; SENDERS as usize];
    let total = SENDERS * each;
    let mut random = u64::from(std::process::id()) | 1;
    let mut left = 100;
    for _ in 0..total {
        let (sender, number, bytes) = rx.recv().unwrap();
        assert_eq!(number, next[sender as usize], "of sender {sender}");
        assert!(bytes.iter().all(|&byte| byte == number as u8));
        next[sender as usize] += 1;
        left -= 1;
        if left == 0 {
            // Marsaglia's xorshift: any moment will do.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            left = 1 + random % (total / rounds * 2);
            if random & 0x100 != 0 {
                drop(inlet.take());
                inlet = Some(pair.inlet());
            }
            if random & 0x300 != 0x100 {
                drop(outlet.take());
                outlet = Some(pair.outlet());
            }
        }
    }
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    assert!(rx.try_recv().is_err());
}

#[test]
fn killed_bridges_lose_and_double_nothing_of_a_mixed_channel() {
    kill_at_random("bridge kills mixed", &Channel::options().durable(), 40);
}

#[test]
fn killed_bridges_lose_and_double_nothing_of_a_ring() {
    kill_at_random("bridge kills ring", &Channel::options().durable().inline_limit(0), 40);
}
