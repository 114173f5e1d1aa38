//! What a channel tells to `tracing` and to `metrics`.

#![cfg(not(loom))]

mod common;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{Stage, halt, play};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata as MetricMetadata,
    Recorder, SharedString, Unit,
};
use sysv_channel::Channel;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps what it is told, a line an event.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    /// Keeps what this thread tells while it runs `act`.
    fn by<R>(&self, act: impl FnOnce() -> R) -> R {
        tracing::subscriber::with_default(self.clone(), act)
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.0 = format!("{value:?}{}", self.0),
            name => self.0 += &format!(" {name}={value:?}"),
        }
    }
}

impl Subscriber for Told {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sysv_channel"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.0.lock().unwrap().push(format!("span {}", span.metadata().name()));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(format!("{} {}", event.metadata().level(), line.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Whether these stand in the lines, in this order.
fn assert_told(lines: &[String], due: &[&str]) {
    let mut left = lines.iter();
    for due in due {
        assert!(left.any(|line| line.contains(due)), "{due:?} is missing in {lines:#?}");
    }
}

/// The part that this binary plays when it is started as a child.
#[test]
fn child() {
    play(|role, arguments| match role {
        "receives" => {
            let _rx = Channel::<u64>::open(arguments[0]).unwrap().receiver().unwrap();
            halt("attached");
        }
        _ => unreachable!("no such role: {role}"),
    });
}

#[test]
fn a_receiver_that_follows_a_dead_one_says_so() {
    let stage = Stage::new("telemetry takeover");
    let channel = Channel::<u64>::create(stage.name()).unwrap();
    let mut receives = stage.child("receives", &[]);
    receives.expect("attached");
    receives.kill();
    let told = Told::default();
    told.by(|| drop(channel.receiver().unwrap()));
    assert_told(&told.0.lock().unwrap(), &["took_over=true"]);
}

#[test]
fn the_life_of_a_channel_is_told() {
    let stage = Stage::new("telemetry life");
    let name = format!("{:?}", stage.name());
    let told = Told::default();
    told.by(|| {
        let channel = Channel::<u64>::create(stage.name()).unwrap();
        let opened = Channel::<u64>::open(stage.name()).unwrap();
        let rx = channel.receiver().unwrap();
        let tx = opened.sender().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                while channel.stats().unwrap().receiver_parks == 0 {
                    thread::yield_now();
                }
                // A thread without a subscriber of its own would switch off what it is the first to tell.
                told.by(|| {
                    Channel::<u64>::open(stage.name()).unwrap().sender().unwrap().send(&1).unwrap();
                });
            });
            assert_eq!(rx.recv().unwrap(), 1);
        });
        drop(tx);
        rx.recv().unwrap_err();
        let tx = opened.sender().unwrap();
        drop(rx);
        tx.send(&1).unwrap_err();
        let _rx = channel.receiver().unwrap();
        Channel::<u64>::unlink(stage.name()).unwrap();
        tx.send(&1).unwrap_err();
    });
    let lines = told.0.lock().unwrap();
    assert!(lines.iter().all(|line| line.starts_with("span ") || line.contains(&name)));
    assert_told(
        &lines,
        &[
            "DEBUG the channel was created",
            "DEBUG the channel was opened",
            "INFO a receiver has attached",
            "DEBUG a sender has attached",
            "span wait",
            "TRACE goes to sleep",
            "TRACE woke up",
            "DEBUG a sender goes",
            "INFO the senders are gone",
            "DEBUG a receiver goes",
            "INFO the receiver is gone",
            "receivers_before=1 took_over=false",
            "WARN the channel was removed",
        ],
    );
}

/// Keeps the last value of each metric.
#[derive(Default)]
struct Figures(Mutex<BTreeMap<String, Arc<Figure>>>);

#[derive(Default)]
struct Figure(AtomicU64);

impl CounterFn for Figure {
    fn increment(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

impl GaugeFn for Figure {
    fn increment(&self, by: f64) {
        self.0.fetch_add(by as u64, Ordering::Relaxed);
    }

    fn decrement(&self, by: f64) {
        self.0.fetch_sub(by as u64, Ordering::Relaxed);
    }

    fn set(&self, value: f64) {
        self.0.store(value as u64, Ordering::Relaxed);
    }
}

impl Figures {
    fn figure(&self, key: &Key) -> Arc<Figure> {
        self.0.lock().unwrap().entry(key.to_string()).or_default().clone()
    }
}

impl Recorder for Figures {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &MetricMetadata<'_>) -> Counter {
        Counter::from_arc(self.figure(key))
    }

    fn register_gauge(&self, key: &Key, _: &MetricMetadata<'_>) -> Gauge {
        Gauge::from_arc(self.figure(key))
    }

    fn register_histogram(&self, _: &Key, _: &MetricMetadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn the_figures_of_a_channel_are_metrics() {
    let channel = Channel::<u64>::private().unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    for value in 0..3 {
        tx.send(&value).unwrap();
    }
    rx.recv().unwrap();
    let figures = Figures::default();
    let record = || channel.stats().unwrap().record_metrics("orders");
    metrics::with_local_recorder(&figures, record);
    let figures = figures.0.lock().unwrap();
    let figure = |name: &str| {
        let key = Key::from_parts(format!("sysv_channel_{name}"), &[("channel", "orders")]);
        figures.get(&key.to_string()).map(|figure| figure.0.load(Ordering::Relaxed))
    };
    for (name, due) in [
        ("sent_values", 3),
        ("sent_bytes", 24),
        ("received_values", 1),
        ("received_bytes", 8),
        ("waiting_values", 2),
        ("queued_messages", 2),
        ("senders", 1),
        ("receivers", 1),
        ("users", 1),
    ] {
        assert_eq!(figure(name), Some(due), "{name} in {:?}", figures.keys());
    }
    assert_eq!(figures.len(), 13);
}
