//! Events for tests, and the word of one that cannot be done here.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test uses what it needs"
)]

use std::io::Write;

use doorward::event::{
    CommandFields, EventType, LatencyFields, ModelFields, QualityFields, RunnerUp, SCHEMA, Verdict,
    VerificationEvent,
};
use jiff::{SignedDuration, Timestamp};

/// Says that a test proves nothing here, past the harness, which keeps to itself what a passing test
/// prints.
pub fn skipped(why: &str) {
    let line = format!("SKIPPED: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// The time of all tests that need one.
pub fn noon() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

/// An event of a kind, as the daemon makes it, with a new id and without a number.
pub fn event(event_type: EventType, ts: Timestamp) -> VerificationEvent {
    let compared = matches!(
        event_type,
        EventType::Match | EventType::Unknown | EventType::NoMatch
    );
    let face = !matches!(
        event_type,
        EventType::Camera
            | EventType::Fault
            | EventType::Command
            | EventType::Tamper
            | EventType::Door
            | EventType::RateLimited
    );
    let accept = matches!(event_type, EventType::Match | EventType::Access);
    VerificationEvent {
        schema: SCHEMA.to_owned(),
        event_id: ulid::Ulid::generate().to_string(),
        event_type,
        device_id: "front".to_owned(),
        boot_id: "9d2c6b1e6f1b4b0e8a510c8d0d2f1a11".to_owned(),
        seq: 1,
        ts: ts.to_string(),
        clock_synced: true,
        expires_at: accept.then(|| (ts + SignedDuration::from_secs(5)).to_string()),
        mode: face.then(|| "1:N".to_owned()),
        claimed_id: None,
        subject_id: accept.then(|| "Ada Lovelace".to_owned()),
        similarity: compared.then_some(0.71),
        threshold: compared.then_some(0.42),
        runner_up: compared.then(|| RunnerUp {
            subject_id: "Alan Turing".to_owned(),
            similarity: 0.11,
        }),
        gallery_size: Some(2),
        frames_used: compared.then_some(3),
        pad: None,
        rule: None,
        quality: face.then_some(QualityFields {
            face_px: 140.0,
            sharpness: 45.5,
            brightness: 120.0,
            yaw: -4.0,
            pitch: 2.5,
            roll: 0.5,
        }),
        bbox: face.then_some([10.0, 20.0, 140.0, 160.5]),
        latency_ms: compared.then_some(LatencyFields {
            total: 21.5,
            ..<_>::default()
        }),
        model: compared.then(|| ModelFields {
            name: "embedder".to_owned(),
            sha256: "0a".repeat(32),
        }),
        command: (event_type == EventType::Command).then(|| CommandFields {
            id: "01J".to_owned(),
            action: Some("list".to_owned()),
        }),
        decision: match event_type {
            EventType::Match | EventType::Access => Verdict::Accept,
            EventType::Unknown | EventType::SpoofSuspected | EventType::RateLimited => {
                Verdict::Reject
            }
            _ => Verdict::Inconclusive,
        },
        reason: match event_type {
            EventType::Match => "recognised",
            EventType::Unknown => "below_threshold",
            EventType::NoMatch => "too_few_agree",
            EventType::QualityReject => "too_blurred",
            EventType::Camera => "camera_lost",
            EventType::Access => "granted",
            EventType::SpoofSuspected => "presentation_attack",
            EventType::RateLimited => "blocked",
            EventType::Challenge => "turn_left",
            EventType::Tamper => "door_forced",
            EventType::Door => "held",
            EventType::Fault => "thread_failed",
            EventType::Command => "obeyed",
        }
        .to_owned(),
        reasons: vec![],
        replayed: false,
    }
}
