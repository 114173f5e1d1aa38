//! `rm` and `sweep`.

use sysv_channel::codec::Raw;
use sysv_channel::{Channel, InspectError, Queue, inspect};

use crate::stage::{Stage, fails, prints, run, text};

fn is_there(stage: &Stage) -> bool {
    !matches!(inspect(stage.name()), Err(InspectError::NotFound { .. }))
}

#[test]
fn what_is_used_or_holds_values_stays_unless_forced() {
    let stage = Stage::new("rm");
    let channel = Channel::<u64>::options().durable().create(stage.name()).unwrap();
    let tx = channel.sender().unwrap();
    let refused = fails(&["rm", stage.name()], 5);
    let me = format!("in use by process {};", std::process::id());
    assert!(refused.contains(&me) && refused.contains("--force"), "{refused}");
    tx.send(&7).unwrap();
    drop((tx, channel));
    let refused = fails(&["rm", stage.name()], 5);
    assert!(refused.contains("holds values") && refused.contains("--force"), "{refused}");
    assert!(is_there(&stage));
    let channel = Channel::<u64>::open(stage.name()).unwrap();
    assert_eq!(channel.receiver().unwrap().recv().unwrap(), 7);
    drop(channel);
    assert_eq!(prints(&["rm", stage.name()]), "");
    assert!(!is_there(&stage));
}

#[test]
fn who_uses_what_is_removed_by_force_is_told() {
    let stage = Stage::new("rm force");
    let rx = Channel::<u64>::create(stage.name()).unwrap().receiver().unwrap();
    prints(&["rm", "--force", stage.name()]);
    let error = rx.recv().unwrap_err();
    assert!(error.is_removed(), "{error}");
}

#[test]
fn a_bare_queue_is_removed_too() {
    let stage = Stage::new("rm queue");
    let queue = Queue::<Vec<u8>, Raw>::create(stage.name()).unwrap();
    queue.send(&b"x".to_vec()).unwrap();
    let refused = fails(&["rm", stage.name()], 5);
    assert!(refused.contains("1 message"), "{refused}");
    queue.recv().unwrap();
    prints(&["rm", stage.name()]);
    assert!(queue.stat().unwrap_err().is_removed());
}

#[test]
fn all_names_are_tried() {
    let (first, missing, last) = (Stage::new("rm 1"), Stage::new("rm 2"), Stage::new("rm 3"));
    for stage in [&first, &last] {
        drop(Channel::<u64>::options().durable().create(stage.name()).unwrap());
    }
    fails(&["rm", first.name(), missing.name(), last.name()], 3);
    assert!(!is_there(&first) && !is_there(&last));
    let used = Channel::<u64>::create(last.name()).unwrap();
    let refused = run(&["rm", first.name(), missing.name(), last.name()]);
    let said = text(&refused.stderr);
    let lines: Vec<_> = said.lines().collect();
    let is_of = |line: &str, stage: &Stage| line.contains(stage.name());
    assert!(
        is_of(lines[0], &first) && is_of(lines[1], &missing) && is_of(lines[2], &last),
        "{said}"
    );
    assert_eq!((refused.status.code(), lines.len()), (Some(3), 3), "the code is the first one's");
    drop(used);
}

/// Names what would go, of which this test's own are looked at: others run beside it.
#[test]
fn sweep_says_what_it_would_remove_and_removes_nothing() {
    let (left, kept) = (Stage::new("sweep left"), Stage::new("sweep kept"));
    let channel = Channel::<u64>::create(left.name()).unwrap();
    let used = format!("would remove {}\n", left.name());
    assert!(!prints(&["sweep", "--dry-run"]).contains(&used), "it is in use");
    channel.sender().unwrap().send(&1).unwrap();
    drop(channel);
    drop(Channel::<u64>::options().durable().create(kept.name()).unwrap());
    let swept = prints(&["sweep", "--dry-run"]);
    assert!(!swept.contains(left.name()) && !swept.contains(kept.name()), "{swept}");
    let swept = prints(&["sweep", "--dry-run", "--all"]);
    assert!(swept.contains(left.name()) && swept.contains(kept.name()), "{swept}");
    assert!(is_there(&left) && is_there(&kept));
}
