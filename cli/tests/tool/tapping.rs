//! `tap` and `peek`.

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sysv_channel::Channel;
use sysv_channel::actor::{Address, Mailbox};
use sysv_channel::rpc::{Client, Server};

use crate::stage::{Running, Stage, fails, prints, text};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    text: String,
}

impl Order {
    fn of(id: u64) -> Order {
        // One that goes by the queue, and one that goes through a ring.
        Order { id, text: "x".repeat(if id.is_multiple_of(2) { 3 } else { 3000 }) }
    }
}

#[test]
fn what_waits_is_printed_and_stays() {
    let stage = Stage::new("peek");
    let channel = Channel::<Order>::create(stage.name()).unwrap();
    let said = fails(&["peek", stage.name()], 4);
    assert!(said.contains("no value waits"), "{said}");
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    (0..5).for_each(|id| tx.send(&Order::of(id)).unwrap());
    assert_eq!(rx.recv().unwrap(), Order::of(0));
    let line = |id| serde_json::to_string(&Order::of(id)).unwrap() + "\n";
    assert_eq!(prints(&["peek", stage.name(), "--count", "2"]), line(1) + &line(2));
    assert_eq!(prints(&["peek", stage.name()]), (1..5).map(line).collect::<String>());
    for id in 1..5 {
        assert_eq!(rx.recv().unwrap(), Order::of(id));
    }
}

#[test]
fn what_goes_by_is_seen_and_taken_from_nobody() {
    let stage = Stage::new("tap");
    let channel = Channel::<Order>::create(stage.name()).unwrap();
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    tx.send(&Order::of(0)).unwrap();
    let mut taps = Running::start(&["tap", "--json", stage.name()]);
    for id in 0..20 {
        let seen: Value = serde_json::from_str(&taps.hear()).unwrap();
        assert_eq!(seen["value"], json!(Order::of(id)));
        assert_eq!((&seen["lane"], &seen["tag"]), (&json!(0), &json!(1)));
        assert_eq!(rx.recv().unwrap(), Order::of(id));
        tx.send(&Order::of(id + 1)).unwrap();
    }
    taps.signal(Signal::SIGINT);
    let (_, output) = taps.end();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(130), ""));
    let line = prints(&["tap", "--count", "1", stage.name()]);
    let me = std::process::id().to_string();
    assert!(line.contains(&me) && line.contains("{\"id\":20,"), "{line}");
}

#[test]
fn the_end_of_a_channel_is_the_end_of_its_tap() {
    let stage = Stage::new("tap end");
    let channel = Channel::<Order>::create(stage.name()).unwrap();
    let tx = channel.sender().unwrap();
    let mut taps = Running::start(&["tap", "--json", stage.name()]);
    tx.send(&Order::of(0)).unwrap();
    assert!(taps.hear().contains("\"id\":0"));
    Channel::<Order>::unlink(stage.name()).unwrap();
    let (rest, output) = taps.end();
    assert_eq!((output.status.code(), rest.as_str()), (Some(0), ""), "{}", text(&output.stderr));
}

#[test]
fn requests_and_messages_are_seen_too() {
    let (serves, acts) = (Stage::new("tap server"), Stage::new("tap mailbox"));
    let server = Server::<(f64, f64), f64>::bind(serves.name()).unwrap();
    let closer = server.closer();
    let client = Client::<(f64, f64), f64>::connect(serves.name()).unwrap();
    let mut taps = Running::start(&["tap", "--json", serves.name()]);
    std::thread::scope(|scope| {
        let call = scope.spawn(move || client.call(&(1.5, 2.0)).unwrap());
        let seen: Value = serde_json::from_str(&taps.hear()).unwrap();
        assert_eq!(seen["value"], json!([1.5, 2.0]));
        scope.spawn(move || server.serve(|(a, b)| a + b).unwrap());
        assert_eq!(call.join().unwrap(), 3.5);
        closer.close();
    });
    let mailbox = Mailbox::<Order>::bind(acts.name()).unwrap();
    Address::<Order>::connect(acts.name()).unwrap().tell(&Order::of(2)).unwrap();
    assert_eq!(prints(&["peek", acts.name()]), "{\"id\":2,\"text\":\"xxx\"}\n");
    assert_eq!(mailbox.recv().unwrap(), Some(Order::of(2)));
}
