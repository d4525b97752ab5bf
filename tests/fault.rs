//! A thread of the daemon that panics.
#![allow(missing_docs, clippy::unwrap_used)]

mod broker;
#[path = "broker/commander.rs"]
mod commander;
mod door;
mod support;

use broker::door::NEEDED;
use broker::{Broker, Subscriber, available, free_port};
use door::daemon::Daemon;
use door::fixture;

const SETTINGS: &str = "trust_clock = true\n\
    [[access.rule]]\nname = \"everybody\"\nsubjects = [\"*\"]\nfactor = \"face\"\n\
    [door]\nmqtt_lock = true\n";

/// The daemon ends with an error that the service manager takes as a reason to start it anew, has
/// said so to the broker, the lock to shut as the last word, and works again after it.
fn check(thread: &str) {
    if !available(&NEEDED) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(free_port(), folder.path());
    let subscriber = Subscriber::start(broker.port, &[]);
    let door = commander::door(&broker, SETTINGS);
    let clip = fixture("door.mjpeg");
    let run = ["run", "--replay", &clip, "--repeat"];
    let mut daemon = Daemon::start_with(&door, &run, &[("DOORWARD_PANIC_IN", thread)]);
    assert_eq!(daemon.wait(), Some(2), "{}", daemon.log());
    assert_eq!(daemon.lines_with("DOORWARD_PANIC_IN wanted it"), 1);
    assert_eq!(
        daemon.lines_with("a thread panicked"),
        1,
        "{}",
        daemon.log()
    );
    let said = subscriber.until("the goodbye", |m| m.payload == "stopped");
    assert!(
        said.iter().any(|m| m.payload.contains("\"fault\"")),
        "{said:?}"
    );
    let mut lock = said.iter().filter(|m| m.topic.ends_with("/lock"));
    let last = lock.next_back().expect("a word for the lock");
    assert_eq!(last.json()["action"], "shut");

    let mut next = commander::daemon(&door);
    door.expect(0, &["command", "list"]);
    assert_eq!(next.stop(), Some(0), "{}", next.log());
}

#[test]
fn a_panic_in_the_capture_thread() {
    check("capture");
}

#[test]
fn a_panic_in_the_vision_thread() {
    check("vision");
}

#[test]
fn a_panic_in_the_commands_thread() {
    check("commands");
}

#[test]
fn a_panic_in_the_worker_thread() {
    check("worker");
}

#[test]
fn a_panic_in_the_door_thread() {
    check("door");
}

#[test]
fn a_panic_in_the_door_events_thread() {
    check("door-events");
}
