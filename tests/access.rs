//! The whole daemon with access rules and a lock on MQTT: who is let in, and when nothing opens.
#![allow(missing_docs, clippy::unwrap_used)]

mod broker;
mod door;
mod support;

use std::path::Path;
use std::time::Duration;

use broker::{Broker, Message, Subscriber, available, free_port, wait_for};
use door::daemon::Daemon;
use door::{Door, fixture};
use doorward::inference::{Models, Role};
use serde_json::Value;
use support::skipped;

/// Whoever is enrolled, with these lines more.
fn rule(more: &str) -> String {
    format!("[[access.rule]]\nname = \"people\"\nsubjects = [\"*\"]\n{more}\n")
}

/// A door with ada enrolled and these lines in its configuration.
fn door(more: &str) -> Door {
    let door = Door::new(more);
    door.expect(0, &["enroll", "ada", "--photo", &fixture("ada.jpg")]);
    door
}

/// The events of one run over the clip; all of them keep the schema.
fn run(door: &Door) -> Vec<Value> {
    let clip = fixture("door.mjpeg");
    let said = door.expect(0, &["run", "--replay", &clip, "--fast", "--sink", "stdout"]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/event-v1.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let events: Vec<Value> = said
        .out
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    for event in &events {
        let errors: Vec<_> = validator
            .iter_errors(event)
            .map(|e| e.to_string())
            .collect();
        assert!(errors.is_empty(), "{event}: {errors:?}");
    }
    events
}

/// Type, decision and reason of the events that are not about a camera or strangers.
fn answers(events: &[Value]) -> Vec<String> {
    let word = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
    let strangers = ["unknown", "no_match", "quality_reject", "camera"];
    let about = events
        .iter()
        .filter(|e| !strangers.contains(&e["event_type"].as_str().unwrap()));
    about
        .map(|e| {
            [
                word(e, "event_type"),
                word(e, "decision"),
                word(e, "reason"),
            ]
            .join(" ")
        })
        .collect()
}

#[test]
fn rules_grant_and_deny_with_their_reason() {
    const MATCH: &str = "match inconclusive recognised";
    for (rules, expected) in [
        (rule(""), &[MATCH, "access accept granted"][..]),
        (
            rule("subjects = [\"bela\"]").replacen("subjects = [\"*\"]\n", "", 1),
            &[MATCH, "access reject no_rule"],
        ),
        (
            rule("factor = \"face_and_claim\""),
            &[MATCH, "access reject claim_missing"],
        ),
        // Tests run where nobody has synchronised the clock, or at a time that no rule names.
        (
            rule("valid_until = \"2026-01-01\"\n[device]\ntrust_clock = true"),
            &[MATCH, "access reject no_longer_valid"],
        ),
        (
            rule("hours = [\"00:00-24:00\"]\n[device]\ntrust_clock = true"),
            &[MATCH, "access accept granted"],
        ),
        // Nobody turns: the picture on the clip looks ahead all the time.
        (
            rule("challenge = true"),
            &[
                MATCH,
                "challenge inconclusive",
                "access reject challenge_too_slow",
            ],
        ),
    ] {
        let events = run(&door(&rules));
        let said = answers(&events);
        assert_eq!(said.len(), expected.len(), "{rules}: {said:?}");
        for (said, expected) in said.iter().zip(expected) {
            assert!(
                said.starts_with(expected),
                "{rules}: {said} is not {expected}"
            );
        }
        let answer = events.iter().find(|e| e["event_type"] == "access").unwrap();
        assert_eq!(answer["subject_id"], "ada", "{answer}");
        let granted = answer["decision"] == "accept";
        assert_eq!(
            answer["rule"].is_string() && answer["expires_at"].is_string(),
            granted
        );
    }
}

#[test]
fn without_a_clock_a_rule_with_hours_lets_nobody_in() {
    if Path::new("/run/systemd/timesync/synchronized").exists() {
        return skipped("the clock of this machine is synchronised");
    }
    let said = answers(&run(&door(&rule("hours = [\"00:00-24:00\"]"))));
    assert_eq!(said.last().unwrap(), "access reject clock_unsynchronised");
}

#[test]
fn a_lock_out_outlives_restarts() {
    let settings = "[lockout]\nslow_after = 2\nblock_after = 3\nslow_s = 0.1\n";
    let door = door(&(rule("factor = \"face_and_claim\"") + settings));
    let refused = "access reject claim_missing";
    let last = |n: usize| {
        let said = answers(&run(&door));
        assert!(said.len() >= n, "{said:?}");
        said[said.len() - n..].to_vec()
    };
    assert_eq!(last(1), [refused]);
    assert_eq!(last(2), [refused, "rate_limited reject slowed"]);
    assert_eq!(last(2), [refused, "rate_limited reject blocked"]);
    assert_eq!(last(1), ["access reject rate_limited"], "without a look");
}

#[test]
fn refusals_that_cannot_be_stored_at_once_are_stored_later() {
    let once = "[access]\nwait_s = 0.5\n[decision]\ncooldown_s = 3600.0\n[mqtt]\nenabled = false\n";
    let door = door(&(rule("factor = \"face_and_claim\"") + once));
    let database = rusqlite::Connection::open(door.path("door.db")).unwrap();
    let clip = fixture("door.mjpeg");
    let daemon = Daemon::start(&door, &["run", "--replay", &clip, "--repeat"]);
    wait_for("it runs", || daemon.lines_with("gallery: 1 subjects") > 0);
    database.execute_batch("begin immediate").unwrap();
    wait_for("they are not stored", || {
        daemon.lines_with("refusals could not be stored") > 0
    });
    database.execute_batch("rollback").unwrap();
    let count = "select count from refusal where key = 'ada'";
    wait_for("they are stored", || {
        database.query_row(count, [], |row| row.get(0)) == Ok(1)
    });
}

#[test]
fn whoever_waits_waits_under_another_name_too() {
    let settings = "[access]\nwait_s = 0.5\n[decision]\ncooldown_s = 0.5\n[lockout]\nslow_after = 1\nslow_s = 300.0\n\
        [mqtt]\nenabled = false\n";
    let door = door(&(rule("factor = \"face_and_claim\"") + settings));
    let clip = fixture("door.mjpeg");
    let _daemon = Daemon::start(&door, &["run", "--replay", &clip, "--repeat"]);
    let reasons = |name: &str| -> Vec<Value> {
        let list = ["--json", "audit", "list", "--last", "1000"];
        let events = door.expect(0, &list).json();
        let of = |e: &&Value| e["event_type"] == "access" && e["subject_id"] == name;
        let events = events.as_array().unwrap().iter().filter(of);
        events.map(|e| e["reason"].clone()).collect()
    };
    wait_for("ada is refused", || !reasons("ada").is_empty());
    door.expect(0, &["gallery", "rename", "ada", "countess"]);
    wait_for("so is the countess", || !reasons("countess").is_empty());
    assert_eq!(reasons("countess")[0], "rate_limited");
}

#[test]
fn liveness_is_off_a_warning_or_required() {
    if Models::bundled().unwrap().names(Role::Liveness).is_empty() {
        return skipped("the program has no liveness model");
    }
    // From 0 on every face is a real one, and none reaches 1.
    let live = |policy: &str, threshold: f32| {
        let liveness = format!("[liveness]\nthreshold = {threshold:.1}\n");
        run(&door(
            &(rule(&format!("liveness = \"{policy}\"")) + &liveness),
        ))
    };
    const MATCH: &str = "match inconclusive recognised";
    const GRANT: &str = "access accept granted";
    const SPOOF: &str = "spoof_suspected";
    for (policy, threshold, expected) in [
        ("required", 0.0, vec![GRANT.to_owned()]),
        (
            "required",
            1.0,
            vec![format!("{SPOOF} reject presentation_attack")],
        ),
        ("warn", 0.0, vec![GRANT.to_owned()]),
        (
            "warn",
            1.0,
            vec![
                format!("{SPOOF} inconclusive presentation_attack"),
                GRANT.to_owned(),
            ],
        ),
    ] {
        let events = live(policy, threshold);
        let said = answers(&events);
        assert_eq!(said[0], MATCH);
        assert_eq!(said[1..], expected, "{policy} {threshold}");
        for event in &events {
            if event["reason"] == "granted" || event["event_type"] == SPOOF {
                assert_eq!(event["pad"]["frames"], 8, "{event}");
                assert_eq!(event["pad"]["threshold"], threshold, "{event}");
                let verdict = if threshold > 0.5 {
                    "attack"
                } else {
                    "bona_fide"
                };
                assert_eq!(event["pad"]["verdict"], verdict, "{event}");
            }
        }
    }
    // Without a rule that needs it nothing is measured.
    assert!(
        run(&door(&rule("")))
            .iter()
            .all(|event| event["pad"].is_null())
    );
}

fn is_lock(message: &Message) -> bool {
    message.topic == "doorward/door/lock"
}

fn actions(messages: &[Message]) -> Vec<String> {
    let words = messages.iter().filter(|m| is_lock(m));
    words
        .map(|m| m.json()["action"].as_str().unwrap().to_owned())
        .collect()
}

/// A door with a lock on the broker at `port`.
fn locked_door(port: u16) -> Door {
    let lock = "[door]\nmqtt_lock = true\npulse_s = 0.5\n";
    let mqtt = format!("[mqtt]\nhost = \"127.0.0.1\"\nport = {port}\n");
    door(&(rule("") + lock + &mqtt))
}

#[test]
fn the_lock_on_mqtt_opens_for_a_pulse_after_the_event() {
    if !available(&["mosquitto", "mosquitto_sub"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::open(free_port(), folder.path());
    let subscriber = Subscriber::start(broker.port, &[]);
    let door = locked_door(broker.port);
    let clip = fixture("door.mjpeg");
    let mut daemon = Daemon::start(&door, &["run", "--replay", &clip]);
    let mut said = subscriber.until("the lock opens", |m| {
        is_lock(m) && m.payload.contains("open")
    });
    said.extend(subscriber.until("it shuts again", is_lock));
    assert_eq!(actions(&said), ["shut", "open", "shut"], "{said:?}");
    let open = said
        .iter()
        .rev()
        .find(|m| is_lock(m) && m.payload.contains("open"))
        .unwrap();
    assert!(!open.retained);
    assert!(["1", "2"].contains(&open.expiry.as_str()), "{open:?}");
    assert_eq!(open.json()["pulse_s"], 0.5);
    assert!(open.json()["expires_at"].as_str() > open.json()["issued_at"].as_str());
    // A stop says goodbye, and leaves it shut.
    assert_eq!(daemon.stop(), Some(0));
    let rest = subscriber.drain(Duration::from_millis(300));
    assert!(
        actions(&rest).iter().all(|action| action == "shut"),
        "{rest:?}"
    );
    // Whoever comes later hears none of it.
    let late = Subscriber::start(broker.port, &[]).drain(Duration::from_millis(300));
    assert!(!late.is_empty() && actions(&late).is_empty(), "{late:?}");
}

#[test]
fn a_grant_that_cannot_be_stored_opens_nothing() {
    if !available(&["mosquitto", "mosquitto_sub"]) {
        return;
    }
    // Nobody else can write as long as the first stands, so that the match waits and the grant, which does not,
    // has become too old besides; the second is told at once, of both.
    for (sql, unstored) in [
        ("begin immediate", 1),
        ("alter table event rename to away", 2),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::open(free_port(), folder.path());
        let subscriber = Subscriber::start(broker.port, &[]);
        let door = locked_door(broker.port);
        let clip = fixture("door.mjpeg");
        let daemon = Daemon::start(&door, &["run", "--replay", &clip]);
        subscriber.until("the daemon runs", |m| m.topic.ends_with("/lock"));
        let database = rusqlite::Connection::open(door.path("door.db")).unwrap();
        database.execute_batch(sql).unwrap();
        wait_for("the grant is not stored", || {
            daemon.lines_with("an event could not be stored") >= unstored
        });
        let said = subscriber.drain(Duration::from_secs(1));
        assert!(!actions(&said).contains(&"open".to_owned()), "{said:?}");
    }
}
