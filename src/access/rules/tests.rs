//! Rules, what speaks for somebody, and what comes of it.

use super::*;

fn rule() -> Rule {
    Rule {
        name: "all".to_owned(),
        subjects: vec!["*".to_owned()],
        schedule: Schedule::default(),
        valid_from: None,
        valid_until: None,
        factor: Factor::Face,
        liveness: Policy::Off,
        challenge: false,
    }
}

fn zoned(at: &str) -> ZonedDateTime {
    let at: jiff::Timestamp = at.parse().expect(at);
    at.in_tz("Europe/Berlin").expect("a time zone")
}

/// `f` face, `c` claim, `b` bona fide, `a` attack, `t` challenge passed.
fn evidence(signs: &str) -> Evidence {
    let presentation = if signs.contains('b') {
        Some(PresentationVerdict::BonaFide)
    } else {
        signs.contains('a').then_some(PresentationVerdict::Attack)
    };
    Evidence {
        face: signs.contains('f'),
        claim: signs.contains('c'),
        presentation,
        challenge: signs.contains('t'),
    }
}

/// The name of the rule that grants, with `!` when it is suspicious, or the word of the denial.
fn say(rules: &[Rule], subject: &str, now: Option<&ZonedDateTime>, signs: &str) -> String {
    match decide(rules, subject, now, evidence(signs)) {
        Ok(grant) => format!(
            "{}{}",
            grant.rule.name,
            if grant.suspicious { "!" } else { "" }
        ),
        Err(denial) => denial.word().to_owned(),
    }
}

#[test]
fn subjects_days_and_dates() {
    let ada = Rule {
        name: "ada".to_owned(),
        subjects: vec!["ada".to_owned()],
        ..rule()
    };
    let week = Rule {
        name: "week".to_owned(),
        subjects: vec!["bela".to_owned()],
        schedule: Schedule {
            days: vec!["fri".parse().expect("a day")],
            hours: vec!["07:00-19:00".parse().expect("hours")],
        },
        valid_from: Some("2026-03-06".parse().expect("a date")),
        valid_until: Some("2026-03-20".parse().expect("a date")),
        ..rule()
    };
    let night = Rule {
        name: "night".to_owned(),
        subjects: vec!["dora".to_owned()],
        schedule: Schedule {
            hours: vec!["22:00-06:00".parse().expect("hours")],
            ..Schedule::default()
        },
        ..week.clone()
    };
    let days = Rule {
        name: "days".to_owned(),
        subjects: vec!["emil".to_owned()],
        schedule: Schedule {
            days: week.schedule.days.clone(),
            ..Schedule::default()
        },
        ..rule()
    };
    let hours = Rule {
        name: "hours".to_owned(),
        subjects: vec!["fay".to_owned()],
        schedule: Schedule {
            hours: week.schedule.hours.clone(),
            ..Schedule::default()
        },
        ..rule()
    };
    let until = Rule {
        name: "until".to_owned(),
        subjects: vec!["gus".to_owned()],
        valid_until: week.valid_until,
        ..rule()
    };
    let rules = [ada, week, night, days, hours, until];
    for (subject, now, expected) in [
        ("ada", None, "ada"),
        ("cleo", None, "no_rule"),
        ("bela", None, "clock_unsynchronised"),
        ("bela", Some("2026-03-06T12:00Z"), "week"),
        ("bela", Some("2026-03-06T05:59Z"), "out_of_hours"),
        ("bela", Some("2026-03-07T12:00Z"), "out_of_hours"),
        ("bela", Some("2026-02-27T12:00Z"), "not_yet_valid"),
        // Already the 6th, five minutes after midnight in Berlin.
        ("bela", Some("2026-03-05T23:05Z"), "out_of_hours"),
        ("bela", Some("2026-03-20T17:59Z"), "week"),
        ("bela", Some("2026-03-27T12:00Z"), "no_longer_valid"),
        // Two hours after midnight is still the night of the day before.
        ("dora", Some("2026-03-06T01:00Z"), "not_yet_valid"),
        ("dora", Some("2026-03-06T22:00Z"), "night"),
        ("dora", Some("2026-03-21T01:00Z"), "night"),
        ("dora", Some("2026-03-21T12:00Z"), "no_longer_valid"),
        ("dora", Some("2026-03-21T22:00Z"), "no_longer_valid"),
        // Each limit of a rule holds without the others.
        ("emil", None, "clock_unsynchronised"),
        ("emil", Some("2026-03-06T12:00Z"), "days"),
        ("emil", Some("2026-03-07T12:00Z"), "out_of_hours"),
        ("fay", None, "clock_unsynchronised"),
        ("fay", Some("2026-03-07T12:00Z"), "hours"),
        ("fay", Some("2026-03-07T20:00Z"), "out_of_hours"),
        ("gus", None, "clock_unsynchronised"),
        ("gus", Some("2026-03-20T12:00Z"), "until"),
        ("gus", Some("2026-03-21T12:00Z"), "no_longer_valid"),
    ] {
        let now = now.map(zoned);
        assert_eq!(
            say(&rules, subject, now.as_ref(), "f"),
            expected,
            "{subject} {now:?}"
        );
    }
    assert_eq!(
        say(&[], "ada", None, "fcbt"),
        "no_rule",
        "no rules, no way in"
    );
}

#[test]
fn factors_liveness_and_challenge() {
    use Factor::{Face, FaceAndClaim, FaceOrClaim};
    use Policy::{Off, Required, Warn};
    for (factor, liveness, challenge, signs, expected) in [
        (Face, Off, false, "f", "all"),
        (Face, Off, false, "fa", "all"),
        (Face, Off, false, "c", "claim_not_matched"),
        (Face, Warn, false, "f", "liveness_unknown"),
        (Face, Warn, false, "fa", "all!"),
        (Face, Warn, false, "fb", "all"),
        (Face, Required, false, "f", "liveness_unknown"),
        (Face, Required, false, "fa", "presentation_attack"),
        (Face, Required, false, "fb", "all"),
        (Face, Required, true, "fb", "challenge_missing"),
        (Face, Required, true, "fat", "presentation_attack"),
        (Face, Required, true, "fbt", "all"),
        (Face, Off, true, "f", "challenge_missing"),
        (FaceAndClaim, Off, false, "f", "claim_missing"),
        (FaceAndClaim, Off, false, "c", "claim_not_matched"),
        (FaceAndClaim, Off, false, "fc", "all"),
        (FaceAndClaim, Required, false, "fca", "presentation_attack"),
        (FaceOrClaim, Required, true, "c", "all"),
        (FaceOrClaim, Required, true, "f", "liveness_unknown"),
        (FaceOrClaim, Required, true, "fbt", "all"),
        (FaceOrClaim, Off, false, "", "claim_not_matched"),
    ] {
        let rules = [Rule {
            factor,
            liveness,
            challenge,
            ..rule()
        }];
        let said = say(&rules, "ada", None, signs);
        assert_eq!(
            said, expected,
            "{factor:?} {liveness:?} {challenge} {signs}"
        );
    }
}

#[test]
fn the_most_hopeful_reason_of_several_rules_counts() {
    let strict = Rule {
        name: "strict".to_owned(),
        liveness: Policy::Required,
        ..rule()
    };
    let card = Rule {
        name: "card".to_owned(),
        factor: Factor::FaceAndClaim,
        ..rule()
    };
    let rules = [strict, card];
    assert_eq!(say(&rules, "ada", None, "fa"), "claim_missing");
    assert_eq!(say(&rules, "ada", None, "fac"), "card");
    assert_eq!(say(&rules, "ada", None, "fb"), "strict");
}
