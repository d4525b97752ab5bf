//! A thousand commands that nobody should obey, sent to a daemon by way of a real broker.
#![allow(missing_docs, clippy::unwrap_used)]

mod broker;
#[path = "broker/commander.rs"]
mod commander;
mod door;
mod support;

use std::collections::BTreeMap;

use broker::door::NEEDED;
use broker::{Broker, available, free_port, wait_for};
use commander::{daemon, key, publish, sign, signed};
use door::daemon::Daemon;
use door::fixture;
use doorward::command::{Action, CommandKey, MAX_MESSAGE, Request};
use doorward::config::StoreSection;
use doorward::store::Store;
use jiff::Timestamp;

/// What an enemy would like, in turn.
fn wanted(i: usize) -> Action {
    let subject = "Ada".to_owned();
    match i % 5 {
        0 => Action::Open,
        1 => Action::Remove { subject },
        2 => Action::Rename {
            subject,
            name: "Eve".to_owned(),
        },
        3 => Action::Claim { subject },
        _ => Action::Release,
    }
}

/// `count` payloads, the `i`-th made by `make`.
fn many(count: usize, make: impl FnMut(usize) -> Vec<u8>) -> Vec<Vec<u8>> {
    (0..count).map(make).collect()
}

fn without_mac(payload: &[u8]) -> Vec<u8> {
    let mut json: serde_json::Value = serde_json::from_slice(payload).unwrap();
    json.as_object_mut().unwrap().remove("mac");
    serde_json::to_vec(&json).unwrap()
}

fn refused(daemon: &Daemon) -> usize {
    daemon.lines_with("is refused (")
}

#[test]
fn a_thousand_hostile_commands_and_none_obeyed() {
    if !available(&NEEDED) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let settings = "allow_anonymous true\nmax_queued_messages 0\nmax_packet_size 20000000";
    let broker = Broker::start(free_port(), settings, folder.path());
    let door = commander::door(&broker, "trust_clock = true\n");
    door.expect(0, &["enroll", "Ada", "--photo", &fixture("ada.jpg")]);
    let mut first = daemon(&door);
    let port = broker.port;

    let strange = CommandKey::new([0xa5; 32]);
    let flipped = |i: usize| {
        let mut payload = signed(&wanted(i), 0);
        // A prime step walks through the whole of it.
        let bit = (i * 7919) % (payload.len() * 8);
        payload[bit / 8] ^= 1 << (bit % 8);
        payload
    };
    let broken = |i: usize| {
        let payload = signed(&wanted(i), 0);
        match i % 4 {
            0 => payload[..(i * 3) % payload.len()].to_vec(),
            1 => [&payload[..], b"}"].concat(),
            2 => vec![u8::try_from(i % 256).unwrap(); i],
            _ => format!("{{\"action\": \"open\", \"id\": {i}}}").into_bytes(),
        }
    };
    let challenged = |i: usize| {
        let request = Request {
            device: "front",
            action: &wanted(i),
            id: "1",
            issued_at: Timestamp::now(),
            nonce: ulid::Ulid::generate().to_bytes(),
            challenge: Some(ulid::Ulid::generate().to_bytes()),
        };
        request.sign(&key()).unwrap()
    };
    // What is sent, and the words that it may be refused with.
    let attacks: [(&[&str], Vec<Vec<u8>>); 9] = [
        (
            &["stale"],
            many(100, |i| {
                signed(&wanted(i), -60 - 60 * i64::try_from(i).unwrap())
            }),
        ),
        (
            &["future"],
            many(100, |i| {
                signed(&wanted(i), 30 + 60 * i64::try_from(i).unwrap())
            }),
        ),
        (
            &["too_long"],
            many(50, |i| sign(&wanted(i), "front", &key(), 0, Some(3600))),
        ),
        (
            &["unsigned"],
            many(100, |i| without_mac(&signed(&wanted(i), 0))),
        ),
        (
            &["wrong_key"],
            many(100, |i| sign(&wanted(i), "front", &strange, 0, None)),
        ),
        (
            &["other_device"],
            many(100, |i| sign(&wanted(i), "back", &key(), 0, None)),
        ),
        (&["malformed"], many(100, broken)),
        (
            &["malformed", "wrong_key", "other_device", "unsigned"],
            many(140, flipped),
        ),
        (&["challenge_unknown"], many(50, challenged)),
    ];
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    let mut sent = 0;
    for (words, payloads) in attacks {
        sent += payloads.len();
        publish(port, payloads, false);
        wait_for("all are refused", || refused(&first) == sent);
        let log = first.log();
        let found = log.lines().filter_map(|line| {
            let (_, rest) = line.split_once("is refused (")?;
            Some(rest.split_once(')')?.0.to_owned())
        });
        let mut all: BTreeMap<String, usize> = BTreeMap::new();
        found.for_each(|word| *all.entry(word).or_default() += 1);
        for (word, count) in &all {
            let new = told.get(word) != Some(count);
            assert!(
                !new || words.contains(&word.as_str()),
                "{word} for {words:?}"
            );
        }
        told = all;
    }
    let large = many(10, |_| vec![b' '; MAX_MESSAGE + 1]);
    publish(port, large, false);
    wait_for("too large", || {
        first.lines_with("is refused (too_large)") == 10
    });
    // Retained, of which the broker gives the last one again at each connection.
    publish(port, many(50, |i| signed(&wanted(i), 0)), true);
    wait_for("retained", || {
        first.lines_with("is refused (retained)") == 50
    });

    // Heard once, sent a hundred times, half of it after the daemon was killed.
    assert_eq!(first.lines_with("is obeyed"), 0, "{}", first.log());
    let heard = signed(&Action::List, 0);
    publish(port, vec![heard.clone()], false);
    wait_for("the true one", || first.lines_with("(list) is obeyed") == 1);
    publish(port, many(50, |_| heard.clone()), false);
    wait_for("replayed", || {
        first.lines_with("is refused (replayed)") == 50
    });
    sent = refused(&first);
    first.kill();
    let mut second = daemon(&door);
    wait_for("the retained one again", || {
        second.lines_with("is refused (retained)") == 1
    });
    publish(port, many(50, |_| heard.clone()), false);
    wait_for("replayed", || {
        second.lines_with("is refused (replayed)") == 50
    });
    sent += 50;
    assert_eq!(sent, 1000);
    let obeyed = first.lines_with("is obeyed") + second.lines_with("is obeyed") - 1;
    assert_eq!(obeyed, 0);

    // The door is as it was, and listens to its owner all the time.
    let list = door.expect(0, &["--json", "command", "list"]).json();
    assert_eq!(list["result"].as_array().unwrap().len(), 1);
    assert_eq!(list["result"][0]["subject"], "Ada");
    assert_eq!(second.stop(), Some(0), "{}", second.log());

    // The record has the first refusals of each run, not all of a flood.
    let section = StoreSection {
        path: door.path("door.db"),
        ..StoreSection::default()
    };
    let events = Store::open(&section, Timestamp::now())
        .unwrap()
        .recent(10_000)
        .unwrap();
    let noted = events
        .iter()
        .filter(|e| e.command.is_none() && e.reason == "stale")
        .count()
        + events
            .iter()
            .filter(|e| e.command.is_some() && e.reason == "stale")
            .count();
    let refusals = events
        .iter()
        .filter(|e| e.event_type == doorward::event::EventType::Command && e.reason != "obeyed")
        .count();
    assert!(
        noted >= 19 && (20..=50).contains(&refusals),
        "{noted} {refusals}"
    );
    println!("hostile commands: {sent} sent, {obeyed} obeyed");
}
