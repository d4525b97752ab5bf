//! What is obeyed and what is not.

use super::super::message::{MAX_MESSAGE, Request};
use super::*;

const NOON: &str = "2026-03-01T12:00:00Z";

fn at(seconds: f64) -> Timestamp {
    let noon: Timestamp = NOON.parse().unwrap();
    noon + SignedDuration::from_secs_f64(seconds)
}

fn key() -> CommandKey {
    CommandKey::new([7; 32])
}

fn judge() -> Judge {
    Judge::new("front", key())
}

/// `seconds` after noon, by a clock that is synchronised.
fn moment(seconds: f64) -> Moment {
    Moment {
        now: Some(at(seconds)),
        uptime: Duration::from_secs_f64(100.0 + seconds),
        random: [9; 16],
    }
}

fn request(action: &Action) -> Request<'_> {
    Request {
        device: "front",
        action,
        id: "01J",
        issued_at: at(0.0),
        nonce: [1; 16],
        challenge: None,
    }
}

fn signed(action: &Action) -> Vec<u8> {
    request(action).sign(&key()).unwrap()
}

#[track_caller]
fn check(payload: &[u8], moment: &Moment, expected: Result<&Action, &str>) {
    let found = judge().judge(payload, false, moment);
    let found = found.as_ref().map(|command| &command.action);
    assert_eq!(found.map_err(|r| r.reason.word()), expected);
}

/// `payload` with `key` = `value`, or without it.
fn with(payload: &[u8], key: &str, value: Option<serde_json::Value>) -> Vec<u8> {
    let mut json: serde_json::Value = serde_json::from_slice(payload).unwrap();
    let object = json.as_object_mut().unwrap();
    match value {
        Some(value) => object.insert(key.to_owned(), value),
        None => object.remove(key),
    };
    serde_json::to_vec(&json).unwrap()
}

fn all() -> Vec<Action> {
    let subject = || "Ada".to_owned();
    vec![
        Action::Enroll {
            subject: subject(),
            photo: Some(vec![1, 2, 3]),
        },
        Action::Enroll {
            subject: subject(),
            photo: None,
        },
        Action::Remove { subject: subject() },
        Action::Rename {
            subject: subject(),
            name: "Eve".to_owned(),
        },
        Action::List,
        Action::Snapshot,
        Action::Reload,
        Action::Open,
        Action::Hold,
        Action::Release,
        Action::Claim { subject: subject() },
    ]
}

#[test]
fn a_command_is_good_for_its_time() {
    for action in all() {
        let payload = signed(&action);
        let life = action.longest_life().as_secs_f64();
        check(&payload, &moment(-1.0), Ok(&action));
        check(&payload, &moment(-1.1), Err("future"));
        check(&payload, &moment(life - 0.001), Ok(&action));
        check(&payload, &moment(life), Err("stale"));
        check(&payload, &moment(1e8), Err("stale"));
        let expires_at = at(life + 0.001);
        let longer = request(&action).sign_until(&key(), expires_at);
        check(&longer, &moment(0.0), Err("too_long"));
        let backwards = request(&action).sign_until(&key(), at(-1.0));
        check(&backwards, &moment(-0.5), Err("malformed"));
    }
    for action in all() {
        // What lets somebody in, or may lead to it, is good for a moment.
        let short = matches!(action.word(), "open" | "release" | "claim");
        let expected = SignedDuration::from_secs(if short { 5 } else { 60 });
        assert_eq!(action.longest_life(), expected, "{}", action.word());
    }
}

#[test]
fn the_canonical_bytes_are_as_documented() {
    let payload = signed(&Action::Open);
    let text = "schema:19:doorward/command/v1\nid:3:01J\ndevice:5:front\naction:4:open\n\
                issued_at:20:2026-03-01T12:00:00Z\nexpires_at:20:2026-03-01T12:00:05Z\n\
                nonce:32:01010101010101010101010101010101\n";
    let mut mac = key().mac();
    hmac::Mac::update(&mut mac, text.as_bytes());
    let mac = super::super::key::to_hex(&super::super::key::finish(mac));
    let json: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(json["mac"], mac);
}

#[test]
fn no_field_can_be_changed_added_or_taken_away() {
    for action in all() {
        let mut request = request(&action);
        request.challenge = Some([9; 16]);
        let payload = request.sign(&key()).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        for (name, value) in json.as_object().unwrap() {
            let expected = match name.as_str() {
                "device" => "other_device",
                "schema" => "malformed",
                _ => "wrong_key",
            };
            let other = format!("{}0", value.as_str().unwrap());
            let changed = with(&payload, name, Some(other.into()));
            check(&changed, &moment(0.0), Err(expected));
            let expected = match name.as_str() {
                "subject" | "name" | "photo" | "challenge" => "wrong_key",
                "mac" => "unsigned",
                _ => "malformed",
            };
            check(&with(&payload, name, None), &moment(0.0), Err(expected));
        }
        let more = with(&payload, "force", Some(true.into()));
        check(&more, &moment(0.0), Err("malformed"));
    }
    // What moves from one field to its neighbour is noticed.
    let rename = |subject: &str, name: &str| Action::Rename {
        subject: subject.to_owned(),
        name: name.to_owned(),
    };
    let payload = signed(&rename("Ada", "Eve"));
    let moved = with(&payload, "subject", Some("Ad".into()));
    let moved = with(&moved, "name", Some("aEve".into()));
    check(&moved, &moment(0.0), Err("wrong_key"));
}

#[test]
fn what_is_no_command_is_refused() {
    let payload = signed(&Action::Open);
    check(b"", &moment(0.0), Err("malformed"));
    check(b"open", &moment(0.0), Err("malformed"));
    check(b"{}", &moment(0.0), Err("malformed"));
    check(&[0xff; 100], &moment(0.0), Err("malformed"));
    check(
        &payload[..payload.len() - 1],
        &moment(0.0),
        Err("malformed"),
    );
    let deep = "[".repeat(100_000);
    check(deep.as_bytes(), &moment(0.0), Err("malformed"));
    let large = vec![b' '; MAX_MESSAGE + 1];
    check(&large, &moment(0.0), Err("too_large"));
    for id in ["", "a\nb", "ä", &"a".repeat(65)] {
        let action = Action::Open;
        let mut request = request(&action);
        request.id = id;
        let payload = request.sign(&key()).unwrap();
        check(&payload, &moment(0.0), Err("malformed"));
    }
    let retained = judge().judge(&payload, true, &moment(0.0)).unwrap_err();
    assert_eq!(retained.reason, Refusal::Retained);
    let other = Judge::new("front", CommandKey::new([8; 32])).judge(&payload, false, &moment(0.0));
    let other = other.unwrap_err();
    assert_eq!((other.reason, other.signed), (Refusal::WrongKey, false));
    assert_eq!(other.id.as_deref(), Some("01J"));
}

#[test]
fn what_is_quoted_fits_into_a_line() {
    let payload = with(&signed(&Action::Open), "a\nb", Some(1.into()));
    let refused = judge().judge(&payload, false, &moment(0.0)).unwrap_err();
    let words = refused.reason.to_string();
    assert!(!words.contains('\n') && words.contains("a\\nb"), "{words}");
}

#[test]
fn a_photo_has_a_limit() {
    let enroll = |bytes| Action::Enroll {
        subject: "Ada".to_owned(),
        photo: Some(vec![0; bytes]),
    };
    let most = enroll(super::super::MAX_PHOTO);
    check(&signed(&most), &moment(0.0), Ok(&most));
    let more = enroll(super::super::MAX_PHOTO + 1);
    check(&signed(&more), &moment(0.0), Err("too_large"));
}

#[test]
fn without_a_clock_a_challenge_stands_for_the_time() {
    let open = Action::Open;
    let timeless = |uptime| Moment {
        now: None,
        uptime: Duration::from_secs(uptime),
        random: [9; 16],
    };
    let mut judge = judge();
    let first = judge
        .judge(&signed(&open), false, &timeless(0))
        .unwrap_err();
    assert_eq!(first.reason, Refusal::ChallengeNeeded);
    let carrying = |challenge| {
        let mut request = request(&open);
        // The sender's clock may say what it likes.
        request.issued_at = at(1e6);
        request.challenge = challenge;
        request.sign(&key()).unwrap()
    };
    let payload = carrying(first.challenge);
    let obeyed = judge.judge(&payload, false, &timeless(1)).unwrap();
    assert_eq!(
        (obeyed.action, obeyed.proof),
        (Action::Open, Proof::Challenge)
    );
    let again = judge.judge(&payload, false, &timeless(1)).unwrap_err();
    assert_eq!(again.reason, Refusal::ChallengeUnknown);
    // Nor when the clock has come right, nor after a restart.
    let again = judge.judge(&payload, false, &moment(1e6)).unwrap_err();
    assert_eq!(again.reason, Refusal::ChallengeUnknown);
    check(&payload, &moment(1e6), Err("challenge_unknown"));

    let late = judge
        .judge(&signed(&open), false, &timeless(10))
        .unwrap_err();
    let payload = carrying(late.challenge);
    let late = judge.judge(&payload, false, &timeless(15)).unwrap_err();
    assert_eq!(late.reason, Refusal::ChallengeUnknown);
    // Who has no key gets no challenge.
    let unsigned = with(&signed(&open), "mac", None);
    let unsigned = judge.judge(&unsigned, false, &timeless(20)).unwrap_err();
    assert_eq!(unsigned.challenge, None);
}

#[test]
fn what_was_answered_with_a_challenge_is_not_obeyed_by_its_time() {
    let payload = signed(&Action::Hold);
    let other = Request {
        nonce: [2; 16],
        ..request(&Action::List)
    };
    let other = other.sign(&key()).unwrap();
    let mut judge = judge();
    let mut say =
        |payload: &[u8], moment: Moment| judge.judge(payload, false, &moment).map_err(|r| r.reason);
    let no_clock = Moment {
        now: None,
        ..moment(0.0)
    };
    assert_eq!(say(&payload, no_clock), Err(Refusal::ChallengeNeeded));
    for _ in 0..2 * CHALLENGED {
        assert_eq!(say(&other, no_clock), Err(Refusal::ChallengeNeeded));
    }
    assert_eq!(say(&payload, moment(3.0)), Err(Refusal::Replayed));
}

#[test]
fn of_what_was_answered_with_a_challenge_the_newest_is_remembered() {
    let no_clock = Moment {
        now: None,
        ..moment(0.0)
    };
    let mut judge = judge();
    let mut say = |number: usize, moment| {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&number.to_le_bytes());
        let request = Request {
            nonce,
            ..request(&Action::Hold)
        };
        let payload = request.sign(&key()).unwrap();
        judge
            .judge(&payload, false, &moment)
            .err()
            .map(|r| r.reason)
    };
    for number in 0..=CHALLENGED {
        assert_eq!(say(number, no_clock), Some(Refusal::ChallengeNeeded));
    }
    for number in 1..=CHALLENGED {
        assert_eq!(say(number, moment(3.0)), Some(Refusal::Replayed));
    }
    assert_eq!(say(0, moment(3.0)), None, "had to give way");
}
