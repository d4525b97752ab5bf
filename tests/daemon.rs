//! The daemon with a real broker that dies in the middle of a run.
#![allow(missing_docs, clippy::unwrap_used)]

mod broker;
mod door;
mod support;

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::Command;
use std::time::Duration;

use broker::{Broker, Line, Message, Subscriber, available, free_port, wait_for};
use door::daemon::Daemon;
use door::{Door, fixture};
use doorward::config::StoreSection;
use doorward::store::Store;
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};

fn events(messages: &[Message]) -> BTreeSet<String> {
    let events = messages
        .iter()
        .filter(|m| m.topic.ends_with("/event") || m.topic.ends_with("/audit"));
    events
        .map(|m| m.json()["event_id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_broker_that_restarts_in_a_run_loses_no_event() {
    if !available(&["mosquitto", "mosquitto_sub", "mosquitto_pub"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let broker = Broker::open(port, folder.path());
    let line = Line::new(port, true);
    let subscriber = Subscriber::start(port, &[]);
    let mqtt = format!("[mqtt]\nhost = \"127.0.0.1\"\nport = {}\n", line.port);
    let door = Door::new(&mqtt);
    door.expect(0, &["enroll", "ada", "--photo", &fixture("ada.jpg")]);
    let clip = fixture("door.mjpeg");
    let mut daemon = Daemon::start(&door, &["run", "--replay", &clip, "--fast", "--repeat"]);
    let store = || {
        let section = StoreSection {
            path: door.path("door.db"),
            ..StoreSection::default()
        };
        Store::open(&section, Timestamp::now()).unwrap()
    };

    let is_event = |m: &Message| m.topic.ends_with("/event");
    let mut received = events(&subscriber.until("the first event", is_event));
    line.close();
    received.extend(events(&subscriber.drain(Duration::from_millis(500))));
    broker.kill();
    // Recognition goes on: events gather in the outbox, where the first may still wait for its acknowledgement.
    wait_for("events wait", || store().outbox_len().unwrap() >= 5);

    let broker = Broker::open(port, folder.path());
    let second = Subscriber::start(port, &[]);
    let newest = store().recent(1).unwrap()[0].seq;
    line.open();
    let late = second.until("the newest", |m| {
        (m.topic.ends_with("/event") || m.topic.ends_with("/audit"))
            && m.json()["seq"].as_u64().unwrap() > newest
    });
    received.extend(events(&late));
    assert_eq!(daemon.stop(), Some(0), "a clean stop");
    received.extend(events(&second.drain(Duration::from_millis(500))));

    let waiting: Vec<_> = store()
        .pending(1000)
        .unwrap()
        .into_iter()
        .map(|event| event.event_id)
        .collect();
    let stored = store().recent(1000).unwrap();
    assert!(stored.len() >= 6, "{}", stored.len());
    for event in stored
        .iter()
        .filter(|event| !waiting.contains(&event.event_id))
    {
        assert!(
            received.contains(&event.event_id),
            "event {} did not arrive",
            event.seq
        );
    }
    drop(broker);
}

#[test]
fn a_device_that_shares_its_id_is_told_so() {
    if !available(&["mosquitto", "mosquitto_pub"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(free_port(), folder.path());
    let door = Door::new(&format!(
        "[mqtt]\nhost = \"127.0.0.1\"\nport = {}\n",
        broker.port
    ));
    let clip = fixture("door.mjpeg");
    let daemon = Daemon::start(&door, &["run", "--replay", &clip, "--repeat"]);
    wait_for("it is connected", || {
        daemon.lines_with("MQTT: connected") > 0
    });
    let port = broker.port.to_string();
    let twin = ["-i", "doorward-door", "-p", &port, "-t", "x", "-m", "x"];
    Command::new("mosquitto_pub").args(twin).status().unwrap();
    wait_for("it is pushed off", || {
        daemon.lines_with("another client uses the same [device] id") > 0
    });
    assert_eq!(daemon.lines_with("TLS"), 0, "{}", daemon.log());
}

#[test]
fn a_clean_stop_leaves_the_whole_database_in_one_file() {
    let door = Door::new("[mqtt]\nenabled = false\n");
    let clip = fixture("door.mjpeg");
    let mut daemon = Daemon::start(&door, &["run", "--replay", &clip, "--fast", "--repeat"]);
    let path = door.path("door.db");
    // The first connections are the daemon's, which alone makes the tables.
    let newest = || -> Option<i64> {
        let database = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        let sql = "select value from counter where name = 'event_seq'";
        database.query_row(sql, [], |row| row.get(0)).ok()
    };
    wait_for("events", || newest().is_some_and(|seq| seq >= 2));
    let seen = newest().unwrap();
    assert_eq!(daemon.stop(), Some(0), "{}", daemon.log());
    assert!(!door.path("door.db-wal").exists(), "the log is left");
    let copy = format!("file:{}?immutable=1", path.display());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let copy = Connection::open_with_flags(copy, flags).unwrap();
    let sql = "select (select max(seq) from event), value from counter where name = 'event_seq'";
    let row: (i64, i64) = copy
        .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert!(row.0 == row.1 && row.0 >= seen, "{row:?}, seen {seen}");
}

#[test]
fn a_second_daemon_on_one_database_is_refused() {
    let door = Door::new("[mqtt]\nenabled = false\n");
    door.expect(0, &["gallery", "list"]);
    // Root may run it by hand, too.
    let _ = chown(door.path("door.db"), Some(4321), Some(4321));
    let clip = fixture("door.mjpeg");
    let run = ["run", "--replay", &clip, "--fast"];
    let mut first = Daemon::start(&door, &[&run[..], &["--repeat"]].concat());
    wait_for("the first runs", || first.lines_with("camera: ") > 0);
    let second = door.expect(2, &run);
    for words in ["another `doorward run` uses this database", "door.db.lock"] {
        assert!(second.err.contains(words), "{}", second.err);
    }
    door.expect(0, &["gallery", "list"]);
    let owner = |file: &str| door.path(file).metadata().unwrap().uid();
    assert_eq!(owner("door.db.lock"), owner("door.db"));
    first.kill();
    door.expect(0, &run);

    // Where nothing can be locked the door goes on.
    std::fs::remove_file(door.path("door.db.lock")).unwrap();
    std::fs::create_dir(door.path("door.db.lock")).unwrap();
    let said = door.expect(0, &run);
    assert!(said.err.contains("is unknown"), "{}", said.err);
}
