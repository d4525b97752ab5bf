//! `doorward command` against a daemon and a real broker.
#![allow(missing_docs, clippy::unwrap_used)]

mod broker;
#[path = "broker/commander.rs"]
mod commander;
mod door;
mod support;

use broker::door::NEEDED;
use broker::{Broker, Subscriber, available, free_port};
use commander::{daemon, write_key};
use door::fixture;
use doorward::command::Action;
use support::skipped;

const TRUST: &str = "trust_clock = true\n";

#[test]
fn what_a_device_can_be_told() {
    if !available(&NEEDED) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(free_port(), folder.path());
    let door = commander::door(&broker, TRUST);
    let nobody = door.expect(2, &["command", "list"]);
    assert!(nobody.err.contains("nobody listens"), "{}", nobody.err);

    let subscriber = Subscriber::start(broker.port, &[]);
    let mut daemon = daemon(&door);
    let tell = |code, args: &[&str]| {
        door.expect(code, &[&["--json", "command"], args].concat())
            .json()
    };
    let photo = fixture("ada.jpg");
    let enrolled = tell(0, &["enroll", "Ada", "--photo", &photo]);
    assert_eq!(enrolled["result"]["new_subject"], true, "{enrolled}");
    let again = tell(1, &["enroll", "Eve", "--photo", &photo]);
    assert_eq!(again["reason"], "known_already", "{again}");
    let nothing = tell(1, &["enroll", "Eve", "--photo", &fixture("no_face.jpg")]);
    assert_eq!(nothing["reason"], "no_face", "{nothing}");
    let text = tell(1, &["enroll", "Eve", "--photo", &fixture("README.md")]);
    assert_eq!(text["reason"], "bad_picture", "{text}");

    tell(0, &["rename", "Ada", "Ada Lovelace"]);
    assert_eq!(
        tell(1, &["rename", "Eve", "Adam"])["reason"],
        "no_such_subject"
    );
    assert_eq!(tell(1, &["remove", "a/b"])["reason"], "bad_name");
    let list = tell(0, &["list"]);
    assert_eq!(list["result"][0]["subject"], "Ada Lovelace", "{list}");
    assert_eq!(list["result"].as_array().unwrap().len(), 1);
    assert_eq!(tell(0, &["reload"])["reason"], "obeyed");

    let snapshot = door.path("snapshot.jpg");
    let path = snapshot.to_str().unwrap();
    let taken = tell(0, &["snapshot", path]);
    let size = image::image_dimensions(&snapshot).unwrap();
    assert_eq!(
        (
            taken["result"]["width"].as_u64(),
            taken["result"]["height"].as_u64()
        ),
        (Some(size.0.into()), Some(size.1.into()))
    );
    let exists = door.expect(2, &["command", "snapshot", path]);
    assert!(exists.err.contains("exists already"), "{}", exists.err);

    // Nothing opens where there is no door; one that there may be can be held.
    assert_eq!(tell(1, &["open"])["reason"], "door_off");
    assert_eq!(tell(1, &["claim", "Ada Lovelace"])["reason"], "no_rules");
    tell(0, &["hold"]);
    tell(0, &["release"]);

    let removed = door.expect(0, &["command", "remove", "Ada Lovelace"]);
    assert!(
        removed.out.contains("Ada Lovelace is forgotten"),
        "{}",
        removed.out
    );
    assert_eq!(tell(0, &["list"])["result"], serde_json::json!([]));

    write_key(&door, &[1; 32]);
    let wrong = tell(1, &["list"]);
    assert_eq!(wrong["reason"], "wrong_key", "{wrong}");
    let other = door.expect(2, &["command", "--device", "back", "list"]);
    assert!(other.err.contains("no answer"), "{}", other.err);

    // Each has left an event that names no person.
    let is_last =
        |m: &broker::Message| m.payload.contains("wrong_key") && m.topic.ends_with("/event");
    let events = subscriber.until("the last refusal", is_last);
    let commands: Vec<_> = events
        .iter()
        .filter(|m| m.topic == "doorward/front/event" && m.payload.contains("\"command\""))
        .map(broker::Message::json)
        .filter(|event| event["event_type"] == "command")
        .collect();
    assert!(commands.len() >= 16, "{}", commands.len());
    assert!(commands.iter().all(|event| event["subject_id"].is_null()));
    assert_eq!(commands[0]["command"]["action"], "enroll");
    assert_eq!(daemon.stop(), Some(0), "{}", daemon.log());
}

#[test]
fn the_camera_enrols_who_stands_before_it() {
    if !available(&NEEDED) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(free_port(), folder.path());
    let door = commander::door(&broker, TRUST);
    let photo = fixture("ada.jpg");
    let mut daemon = door::daemon::Daemon::start(&door, &["run", "--replay", &photo, "--repeat"]);
    broker::wait_for("commands are taken", || {
        daemon.lines_with("commands are taken") > 0
    });
    let said = door
        .expect(0, &["--json", "command", "enroll", "Ada"])
        .json();
    assert_eq!(said["result"]["added"], 3, "{said}");
    assert_eq!(daemon.stop(), Some(0), "{}", daemon.log());
}

#[test]
fn a_rename_waits_for_the_enrolment_before_it() {
    if !available(&NEEDED) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(free_port(), folder.path());
    let door = commander::door(&broker, TRUST);
    let mut daemon = daemon(&door);
    let enroll = Action::Enroll {
        subject: "Ada".to_owned(),
        photo: Some(std::fs::read(fixture("ada.jpg")).unwrap()),
    };
    let rename = Action::Rename {
        subject: "Ada".to_owned(),
        name: "Countess".to_owned(),
    };
    let both = [enroll, rename].map(|action| commander::signed(&action, 0));
    commander::publish(broker.port, both.to_vec(), false);
    broker::wait_for("both are answered", || {
        daemon.lines_with("(enroll)") + daemon.lines_with("(rename)") == 2
    });
    let list = door.expect(0, &["--json", "command", "list"]).json();
    assert_eq!(list["result"][0]["subject"], "Countess", "{list}");
    assert_eq!(daemon.stop(), Some(0), "{}", daemon.log());
}

#[test]
fn without_a_clock_a_challenge_is_answered() {
    if !available(&NEEDED) {
        return;
    }
    if std::path::Path::new("/run/systemd/timesync/synchronized").exists() {
        return skipped("this machine's clock is synchronised, so there is no challenge");
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(free_port(), folder.path());
    let subscriber = Subscriber::start(broker.port, &[]);
    let door = commander::door(&broker, "");
    let mut daemon = daemon(&door);
    door.expect(0, &["command", "list"]);
    let obeyed = |m: &broker::Message| m.topic.contains("/answer/") && m.payload.contains("obeyed");
    let messages = subscriber.until("the answer", obeyed);
    let sent: Vec<_> = messages
        .iter()
        .filter(|m| m.topic == commander::TOPIC)
        .collect();
    assert_eq!(sent.len(), 2, "without and with the challenge");
    // Whoever has heard it all can do nothing with it.
    commander::publish(
        broker.port,
        sent.iter().map(|m| m.payload.clone().into()).collect(),
        false,
    );
    broker::wait_for("the refusal", || {
        daemon.lines_with("is refused (challenge_unknown)") == 1
    });
    assert_eq!(daemon.lines_with("is obeyed"), 1);
    assert_eq!(daemon.stop(), Some(0), "{}", daemon.log());
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let door = door::Door::new("[commands]\nkey_file = \"commands.key\"\n");
    let missing = door.expect(2, &["command", "list"]);
    assert!(missing.err.contains("commands.key"), "{}", missing.err);
    write_key(&door, &[1; 32]);
    let path = door.path("commands.key");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let check = door.expect(1, &["check", "--offline"]);
    assert!(check.out.contains("WRONG commands"), "{}", check.out);
    for args in [
        &["command", "list"][..],
        &["run", "--replay", &fixture("ada.jpg")],
    ] {
        let exposed = door.expect(2, args);
        assert!(exposed.err.contains("chmod 600"), "{}", exposed.err);
    }
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(&path, "open sesame").unwrap();
    let no_key = door.expect(2, &["command", "list"]);
    assert!(no_key.err.contains("64 hexadecimal"), "{}", no_key.err);
}
