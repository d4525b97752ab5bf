//! The whole daemon on the demo's clip: what a subscriber would see.
#![allow(missing_docs, clippy::unwrap_used)]

mod door;
mod support;

use std::path::Path;

use door::{Door, fixture};
use serde_json::Value;

fn events(out: &str) -> Vec<Value> {
    out.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_clip_gives_a_match_an_unknown_and_a_quality_reject() {
    let door = Door::new("");
    door.expect(0, &["enroll", "ada", "--photo", &fixture("ada.jpg")]);
    let replay = [
        "run",
        "--replay",
        &fixture("door.mjpeg"),
        "--fast",
        "--sink",
        "stdout",
    ];
    let said = events(&door.expect(0, &replay).out);
    let kinds: Vec<_> = said
        .iter()
        .map(|e| e["event_type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["match", "unknown", "quality_reject"]);
    let [known, stranger, blurred] = &said[..] else {
        unreachable!()
    };
    assert_eq!(
        (&known["subject_id"], &known["decision"]),
        (&"ada".into(), &"accept".into())
    );
    assert!(
        known["expires_at"].is_string()
            && known["similarity"].as_f64() > known["threshold"].as_f64()
    );
    assert_eq!(
        (&stranger["subject_id"], &stranger["decision"]),
        (&Value::Null, &"reject".into())
    );
    let reasons = blurred["reasons"].as_array().unwrap();
    assert!(reasons.contains(&"too_blurred".into()), "{blurred}");

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/event-v1.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (event, seq) in said.iter().zip(1..) {
        let errors: Vec<_> = validator
            .iter_errors(event)
            .map(|e| e.to_string())
            .collect();
        assert!(errors.is_empty(), "{event}: {errors:?}");
        assert_eq!(event["seq"], seq, "events are counted without gaps");
    }
    let again = events(&door.expect(0, &replay).out);
    assert_eq!(again[0]["seq"], 4, "also over restarts");
}

#[test]
fn an_empty_gallery_knows_nobody() {
    let door = Door::new("");
    let replay = [
        "run",
        "--replay",
        &fixture("door.mjpeg"),
        "--fast",
        "--sink",
        "stdout",
    ];
    let said = events(&door.expect(0, &replay).out);
    assert!(said.iter().all(|e| e["event_type"] != "match"), "{said:?}");
    assert_eq!(
        said.iter().filter(|e| e["event_type"] == "unknown").count(),
        2
    );
}

#[test]
fn what_cannot_be_replayed_is_named() {
    let door = Door::new("");
    let text = door.path("notes.mjpeg");
    std::fs::write(&text, "no clip at all").unwrap();
    let empty = door.path("empty");
    std::fs::create_dir(&empty).unwrap();
    for path in [text, empty, door.path("missing.mjpeg")] {
        let path = path.to_str().unwrap();
        let said = door.expect(2, &["run", "--replay", path, "--sink", "stdout"]);
        assert!(said.err.contains(path), "{}", said.err);
    }
}
