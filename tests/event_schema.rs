//! The wire types and their JSON Schema say the same.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use doorward::event::EventType;
use serde_json::{Value, json};
use support::{event, noon};

const SCHEMA: &str = include_str!("../config/event-v1.schema.json");

fn valid(value: &Value) -> bool {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for error in validator.iter_errors(value) {
        println!("{}: {error}", error.instance_path());
    }
    validator.is_valid(value)
}

fn serialised(event_type: EventType) -> Value {
    serde_json::to_value(event(event_type, noon())).unwrap()
}

const ALL: [EventType; 13] = [
    EventType::Match,
    EventType::Unknown,
    EventType::NoMatch,
    EventType::QualityReject,
    EventType::Camera,
    EventType::Access,
    EventType::SpoofSuspected,
    EventType::RateLimited,
    EventType::Challenge,
    EventType::Tamper,
    EventType::Door,
    EventType::Fault,
    EventType::Command,
];

#[test]
fn events_of_every_type_are_valid() {
    for event_type in ALL {
        assert!(valid(&serialised(event_type)), "{event_type:?}");
    }
}

#[test]
fn every_field_is_needed_and_no_other_allowed() {
    let whole = serialised(EventType::Match);
    for key in whole.as_object().unwrap().keys() {
        let mut without = whole.clone();
        without.as_object_mut().unwrap().remove(key);
        assert!(!valid(&without), "without {key}");
    }
    let mut extra = whole;
    extra["embedding"] = json!([0.1, 0.2]);
    assert!(!valid(&extra));
}

/// `event_type` with `key` = `value` is refused.
fn check_refused(event_type: EventType, key: &str, value: Value) {
    let mut event = serialised(event_type);
    event[key] = value;
    assert!(!valid(&event), "{event_type:?} with {key} = {}", event[key]);
}

#[test]
fn each_type_has_its_conditions() {
    for key in [
        "subject_id",
        "similarity",
        "threshold",
        "expires_at",
        "model",
        "frames_used",
    ] {
        check_refused(EventType::Match, key, Value::Null);
    }
    check_refused(EventType::Match, "decision", json!("reject"));
    // With access rules a match accepts nobody, and has no end.
    check_refused(EventType::Match, "decision", json!("inconclusive"));
    let mut told = serialised(EventType::Match);
    told["decision"] = json!("inconclusive");
    told["expires_at"] = Value::Null;
    assert!(valid(&told));
    let mut command = serialised(EventType::Access);
    for key in ["subject_id", "mode"] {
        command[key] = Value::Null;
    }
    assert!(valid(&command), "a command lets in whoever is there");
    check_refused(EventType::Access, "expires_at", Value::Null);
    check_refused(EventType::Access, "decision", json!("inconclusive"));
    check_refused(EventType::SpoofSuspected, "decision", json!("accept"));
    check_refused(EventType::RateLimited, "decision", json!("accept"));
    check_refused(EventType::Tamper, "subject_id", json!("Ada"));
    check_refused(EventType::Door, "decision", json!("accept"));
    check_refused(
        EventType::Access,
        "pad",
        json!({ "score": 1.5, "threshold": 0.5, "frames": 8, "verdict": "attack" }),
    );
    check_refused(
        EventType::Access,
        "pad",
        json!({ "score": 0.4, "threshold": 0.5, "frames": 8, "verdict": "real" }),
    );
    check_refused(EventType::Match, "mode", json!("1:1"));
    check_refused(EventType::Match, "gallery_size", json!(0));
    check_refused(EventType::Match, "event_id", json!("1"));
    check_refused(EventType::Match, "boot_id", json!("9d2c6b1e"));
    check_refused(EventType::Match, "seq", json!(0));
    check_refused(EventType::Match, "reason", json!("granted"));
    check_refused(EventType::Door, "reason", json!("door_forced"));
    check_refused(EventType::Match, "ts", json!("yesterday"));
    check_refused(EventType::Unknown, "decision", json!("accept"));
    check_refused(EventType::Unknown, "subject_id", json!("Ada"));
    check_refused(
        EventType::Unknown,
        "expires_at",
        json!("2026-03-01T12:00:05Z"),
    );
    check_refused(EventType::QualityReject, "similarity", json!(0.5));
    check_refused(EventType::Camera, "mode", json!("1:N"));
    check_refused(EventType::Camera, "decision", json!("reject"));
}
