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

/// The daemon ends with an error that the service manager takes as a reason to start it anew, has
/// said so to the broker, and works again after it.
fn check(thread: &str) {
    if !available(&NEEDED) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(free_port(), folder.path());
    let subscriber = Subscriber::start(broker.port, &[]);
    let door = commander::door(&broker, "trust_clock = true\n");
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
    let fault = |m: &broker::Message| m.payload.contains("\"fault\"");
    subscriber.until("the fault", fault);

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
