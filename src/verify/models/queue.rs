//! The bare queue: many to many, and at most once.

use loom::thread;

use super::holds;
use crate::Queue;
use crate::model::set_queue_capacity;

#[test]
fn each_message_is_received_once() {
    let model = || {
        let queue = Queue::<u8>::private().unwrap();
        std::thread_local! {
            static SUM: std::cell::Cell<u8> = const { std::cell::Cell::new(0) };
        }
        SUM.set(0);
        let queue = std::sync::Arc::new(queue);
        let workers = [(); 2].map(|()| {
            let queue = queue.clone();
            thread::spawn(move || {
                let value = queue.recv().unwrap();
                SUM.set(SUM.get() + value);
            })
        });
        queue.send(&1).unwrap();
        queue.send(&2).unwrap();
        for worker in workers {
            worker.join().unwrap();
        }
        assert_eq!(SUM.get(), 3);
    };
    holds("queue, two workers", model);
}

#[test]
fn a_full_queue_blocks_and_loses_nothing() {
    let model = || {
        set_queue_capacity(1);
        let queue = std::sync::Arc::new(Queue::<u8>::private().unwrap());
        let other = queue.clone();
        let sender = thread::spawn(move || {
            for value in [1, 2] {
                other.send(&value).unwrap();
            }
        });
        assert_eq!((queue.recv().unwrap(), queue.recv().unwrap()), (1, 2));
        sender.join().unwrap();
        set_queue_capacity(16_384);
    };
    holds("queue, full", model);
}
