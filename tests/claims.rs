//! A claimed identity and its face, and a door that is held: by signed commands, to the lock.
#![allow(missing_docs, clippy::unwrap_used)]

mod broker;
#[path = "broker/commander.rs"]
mod commander;
mod door;
mod support;

use broker::door::NEEDED;
use broker::{Broker, Message, Subscriber, available, free_port, wait_for};
use door::daemon::Daemon;
use door::fixture;

const SETTINGS: &str = "trust_clock = true\n\
    [[access.rule]]\nname = \"card\"\nsubjects = [\"*\"]\nfactor = \"face_and_claim\"\n\
    [door]\nmqtt_lock = true\npulse_s = 0.5\n";

fn is(kind: &str) -> impl Fn(&Message) -> bool + '_ {
    move |m| m.topic.ends_with("/event") && m.json()["event_type"] == kind
}

fn lock(action: &str) -> impl Fn(&Message) -> bool + '_ {
    move |m| m.topic.ends_with("/lock") && m.json()["action"] == action
}

#[test]
fn without_a_camera_nobody_is_locked_out() {
    if !available(&NEEDED) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(free_port(), folder.path());
    let blind = "[access]\nclaim_s = 2.0\n[lockout]\nslow_after = 1\n\
        [camera]\ndevice = \"/dev/nothing\"\n";
    let door = commander::door(&broker, &(SETTINGS.to_owned() + blind));
    door.expect(0, &["enroll", "ada", "--photo", &fixture("ada.jpg")]);
    let subscriber = Subscriber::start(broker.port, &[]);
    let mut daemon = Daemon::start(&door, &["run"]);
    wait_for("commands are taken", || {
        daemon.lines_with("commands are taken") > 0
    });
    let schema = include_str!("../config/event-v1.schema.json");
    let schema = serde_json::from_str(schema).unwrap();
    for _ in 0..2 {
        door.expect(0, &["command", "claim", "ada"]);
        let said = subscriber.until("the claim ends", is("access"));
        let end = said.last().unwrap().json();
        assert_eq!(end["reason"], "no_picture");
        assert!(jsonschema::is_valid(&schema, &end), "{end}");
        assert!(!said.iter().any(is("rate_limited")), "{said:?}");
    }
    door.expect(0, &["command", "claim", "ada"]);
    assert_eq!(daemon.stop(), Some(0), "{}", daemon.log());
    // What the broker has not heard before the end it hears after the next start.
    let mut daemon = Daemon::start(&door, &["run"]);
    wait_for("commands are taken again", || {
        daemon.lines_with("commands are taken") > 0
    });
    let said = subscriber.until("the last claim ends", is("access"));
    let end = said.last().unwrap().json();
    assert_eq!(end["reason"], "stopping");
    assert!(jsonschema::is_valid(&schema, &end), "{end}");
    assert_eq!(daemon.stop(), Some(0), "{}", daemon.log());
}

#[test]
fn a_claim_and_its_face_open_the_lock_unless_it_is_held() {
    if !available(&NEEDED) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(free_port(), folder.path());
    let door = commander::door(&broker, SETTINGS);
    door.expect(0, &["enroll", "ada", "--photo", &fixture("ada.jpg")]);
    let subscriber = Subscriber::start(broker.port, &[]);
    let mut daemon = commander::daemon(&door);
    let tell = |code, args: &[&str]| {
        door.expect(code, &[&["--json", "command"], args].concat())
            .json()
    };

    // The card first; the face follows when ada walks up.
    tell(0, &["claim", "ada"]);
    let said = subscriber.until("ada is let in", is("access"));
    let grant = said.last().unwrap().json();
    let expected = [
        ("decision", "accept"),
        ("mode", "1:1"),
        ("claimed_id", "ada"),
        ("subject_id", "ada"),
        ("rule", "card"),
    ];
    for (key, value) in expected {
        assert_eq!(grant[key], value, "{grant}");
    }
    assert!(
        grant["similarity"].as_f64() >= grant["threshold"].as_f64(),
        "{grant}"
    );
    // The word for the lock does not wait for the event's turn in the outbox.
    if !said.iter().any(lock("open")) {
        subscriber.until("the lock opens", lock("open"));
    }
    subscriber.until("the lock shuts", lock("shut"));

    tell(0, &["claim", "nobody we know"]);
    let nobody = subscriber.until("nobody is let in", is("access"));
    assert_eq!(nobody.last().unwrap().json()["reason"], "claim_of_nobody");

    tell(0, &["open"]);
    subscriber.until("a command opens", lock("open"));
    tell(0, &["hold"]);
    subscriber.until("held is shut", lock("shut"));
    assert_eq!(tell(1, &["open"])["reason"], "door_held");
    tell(0, &["claim", "ada"]);
    let held = |m: &Message| is("access")(m) && m.json()["reason"] == "door_held";
    let said = subscriber.until("ada is not let in", held);
    assert!(!said.iter().any(lock("open")), "{said:?}");
    tell(0, &["release"]);
    tell(0, &["open"]);
    subscriber.until("released opens again", lock("open"));
    assert_eq!(daemon.stop(), Some(0), "{}", daemon.log());
}
