//! Attempts as strings of frames, and what is answered.

use super::*;
use crate::access::{Factor, Policy, Schedule};
use crate::face::{
    Detection, FaceBox, Landmarks, Presentation, PresentationVerdict, Quality, QualityReasons,
};
use crate::gallery::{Candidate, Match, Verification};

const CHALLENGE: ChallengeRules = ChallengeRules {
    turn_yaw: 25.0,
    front_yaw: 12.0,
    hold: 1,
    within: Duration::from_secs(4),
    gap: Duration::from_secs(1),
    flatness: 0.2,
};

const LOCKOUT: LockoutRules = LockoutRules {
    slow_after: 2,
    block_after: 3,
    door_block_after: 10,
    slow: Duration::from_secs(5),
    block: Duration::from_secs(300),
    forget: Duration::from_secs(1800),
};

fn rule(factor: Factor, liveness: Policy, challenge: bool) -> Rule {
    Rule {
        name: "rule".to_owned(),
        subjects: vec!["*".to_owned()],
        schedule: Schedule::default(),
        valid_from: None,
        valid_until: None,
        factor,
        liveness,
        challenge,
    }
}

fn admission(rule: Rule) -> Admission {
    admission_by(vec![rule])
}

fn admission_by(rules: Vec<Rule>) -> Admission {
    let rules = AccessRules {
        rules,
        challenge: CHALLENGE,
        agree: 2,
        of: 3,
        wait: Duration::from_secs(2),
        gap: Duration::from_secs(1),
        hold_similarity: vec![0.3],
    };
    let lockout = Lockout::new(LOCKOUT, Vec::new(), Duration::ZERO);
    Admission::new(rules, lockout, Box::new(|| vec![Turn::Left]))
}

/// `A` like ada, `B` like bela, `b` and `a` the same when the visit's frames look real or like a
/// picture, `v` like ada in a comparison 1:1 alone, `w` like bela in one, `n` like ada, but
/// not like whom is claimed, `l` ada turned left, `t` the same when somebody else is a little more
/// alike, `.` like nobody.
fn face(frame: char) -> SeenFace {
    let similarity = if ".vwt".contains(frame) { 0.4 } else { 0.8 };
    let subject = if "Bt".contains(frame) { "bela" } else { "ada" };
    let verdict = match frame {
        'b' | 'l' => Some(PresentationVerdict::BonaFide),
        'a' => Some(PresentationVerdict::Attack),
        _ => None,
    };
    SeenFace {
        track: TrackId(1),
        detection: Detection {
            face: FaceBox::default(),
            score: 0.9,
            landmarks: Landmarks::default(),
        },
        quality: Quality {
            yaw: if "lt".contains(frame) { 30.0 } else { 0.0 },
            slimness: 0.8,
            ..Quality::default()
        },
        refusals: QualityReasons::new(),
        comparison: Some(Match {
            best: Some(Candidate {
                subject: subject.into(),
                similarity,
            }),
            runner_up: None,
            threshold: 0.5,
        }),
        verification: Some(Verification {
            subject: if frame == 'w' { "bela" } else { "ada" }.into(),
            similarity: if ".nB".contains(frame) {
                0.1
            } else {
                similarity
            },
            threshold: 0.35,
            templates: 1,
        }),
        presentation: verdict.map(|verdict| Presentation {
            score: 0.5,
            threshold: 0.5,
            frames: 8,
            verdict: Some(verdict),
        }),
    }
}

fn decision(outcome: Outcome, subject: Option<&str>) -> Decision {
    Decision {
        outcome,
        subject: subject.map(str::to_owned),
        reasons: Vec::new(),
        compared: 3,
        shown: face('.'),
    }
}

fn words(answers: &[Answer]) -> Vec<String> {
    let word = |answer: &Answer| {
        let who = answer.case.subject.as_deref().unwrap_or("-");
        match &answer.ruling {
            Ruling::Granted {
                suspicious: false, ..
            } => format!("grant {who}"),
            Ruling::Granted { .. } => format!("grant! {who}"),
            Ruling::Denied(reason) => format!("{} {who}", reason.word()),
            Ruling::Ask(turn) => turn.word().to_owned(),
            Ruling::Limited(limit) => {
                let what = if limit.blocked { "block" } else { "slow" };
                format!("{what} {who} {}", limit.wait.as_secs())
            }
        }
    };
    answers.iter().map(word).collect()
}

/// Plays frames, ten a second from `start` on. `!` before a frame is the decision that ada is
/// there, `+` that bela is, `?` that somebody is like ada but not enough so, `c` a claim to be ada for a second, `_`
/// a second without a frame.
fn play(admission: &mut Admission, frames: &str, start: u64) -> Vec<String> {
    let mut now = Duration::from_secs(start);
    let (mut said, mut decisions) = (Vec::new(), Vec::new());
    for frame in frames.chars() {
        let answers = match frame {
            '!' => {
                decisions.push(decision(Outcome::Match, Some("ada")));
                continue;
            }
            '+' => {
                decisions.push(decision(Outcome::Match, Some("bela")));
                continue;
            }
            '?' => admission.observe(&[], &[decision(Outcome::NoMatch, None)], now, None),
            'c' => admission.claim("ada", true, now + Duration::from_secs(1), now, None),
            '_' => {
                now += Duration::from_secs(1);
                admission.idle(&[], now)
            }
            _ => {
                now += Duration::from_millis(100);
                admission.observe(&[face(frame)], &std::mem::take(&mut decisions), now, None)
            }
        };
        said.extend(words(&answers));
    }
    said
}

#[test]
fn evidence_and_what_is_answered() {
    use Factor::{Face, FaceAndClaim, FaceOrClaim};
    use Policy::{Off, Required, Warn};
    let plain = || rule(Face, Off, false);
    let card = || rule(FaceAndClaim, Off, false);
    let live = || rule(Face, Required, false);
    let turn = || rule(Face, Required, true);
    let cases: [(Rule, &str, &[&str]); 35] = [
        (plain(), "A!AAAA", &["grant ada"]),
        (plain(), "AAAA", &[]),
        (plain(), "......", &[]),
        (card(), "!AAA__", &["claim_missing ada"]),
        (card(), "!AAcA", &["grant ada"]),
        (card(), "cAA", &["grant ada"]),
        (card(), "cvv", &["grant ada"]),
        (card(), "c.v.v", &["grant ada"]),
        (card(), "c....._", &["claim_not_matched ada"]),
        (card(), "c._", &["claim_not_matched ada"]),
        (card(), "c__", &["no_picture ada"]),
        // Somebody else stands there when the card comes.
        (card(), "!AAc..__", &["claim_not_matched ada"]),
        (card(), "!AAc__", &["claim_not_matched ada"]),
        (card(), "!AAc..A", &["grant ada"]),
        (card(), "!AAcww__", &["claim_not_matched ada"]),
        // The card comes when the time to be seen is nearly over.
        (card(), "!AA..................c....A", &["grant ada"]),
        (card(), "cww__", &["claim_not_matched ada"]),
        (rule(FaceOrClaim, Off, false), "c", &["grant ada"]),
        (rule(FaceOrClaim, Off, false), "!A", &["grant ada"]),
        (
            rule(FaceOrClaim, Required, false),
            "!AAcAbb__",
            &["grant ada"],
        ),
        (rule(FaceOrClaim, Required, false), "!AAc__", &["grant ada"]),
        (live(), "!AAbb", &["grant ada"]),
        (live(), "!AAaa", &["presentation_attack ada"]),
        (live(), "!AAA__", &["liveness_unknown ada"]),
        (rule(Face, Warn, false), "!AAaa", &["grant! ada"]),
        (turn(), "!bbblb", &["turn_left", "grant ada"]),
        (turn(), "!bbblbbbb", &["turn_left", "grant ada"]),
        (turn(), "!bbbtb", &["turn_left", "grant ada"]),
        (
            turn(),
            "!bbbBB",
            &["turn_left", "challenge_another_person ada"],
        ),
        (turn(), "!bbb__", &["turn_left", "challenge_lost ada"]),
        // Real in front, and a picture at the end.
        (turn(), "!bbbla", &["turn_left", "presentation_attack ada"]),
        // The holder's own face says nothing about the picture.
        (live(), "!A.A..__", &["liveness_unknown ada"]),
        // Whoever is taken for somebody else meanwhile has tried to be both.
        (
            live(),
            "!AA+B__",
            &["liveness_unknown ada", "liveness_unknown bela"],
        ),
        // Whoever has gone is not waited for.
        (card(), "!AA_", &["claim_missing ada"]),
        // Looking ahead, a face has to be as like as ever.
        (rule(Face, Off, true), "!Avvv__", &["challenge_lost ada"]),
    ];
    for (rule, frames, expected) in cases {
        assert_eq!(play(&mut admission(rule), frames, 0), expected, "{frames}");
    }
}

#[test]
fn a_card_spares_the_challenge_where_a_rule_says_so() {
    let rules = || {
        let card = rule(Factor::FaceAndClaim, Policy::Off, false);
        vec![card, rule(Factor::Face, Policy::Off, true)]
    };
    for (frames, expected) in [
        ("!AAcA", &["turn_left", "grant ada"]),
        ("!AAcllllllllllllA", &["turn_left", "grant ada"]),
        ("!AAc............A", &["turn_left", "grant ada"]),
        ("!AAlA", &["turn_left", "grant ada"]),
    ] {
        assert_eq!(play(&mut admission_by(rules()), frames, 0), expected);
    }
}

#[test]
fn a_verdict_of_an_attack_stands_whatever_other_rules_wait_for() {
    let live = || rule(Factor::Face, Policy::Required, false);
    let card = rule(Factor::FaceAndClaim, Policy::Off, false);
    let turn = rule(Factor::Face, Policy::Off, true);
    for (other, frames, expected) in [
        (&card, "!AAaabb__", &["presentation_attack ada"][..]),
        (&card, "!AAaacA", &["grant ada"]),
        (&card, "!AAAA__", &["liveness_unknown ada"]),
        (
            &turn,
            "!AAaabb__",
            &["turn_left", "presentation_attack ada"],
        ),
        (&turn, "!AAaalA", &["turn_left", "grant ada"]),
    ] {
        for rules in [[live(), other.clone()], [other.clone(), live()]] {
            let said = play(&mut admission_by(rules.to_vec()), frames, 0);
            assert_eq!(said, expected, "{frames}");
        }
    }
}

#[test]
fn refusals_slow_down_and_block() {
    let mut door = admission(rule(Factor::Face, Policy::Required, false));
    let attack = "!AAaa___";
    let refused = "presentation_attack ada";
    assert_eq!(play(&mut door, attack, 10), [refused]);
    assert_eq!(play(&mut door, attack, 20), [refused, "slow ada 5"]);
    assert_eq!(
        play(&mut door, attack, 23),
        ["rate_limited ada"],
        "too early, not counted"
    );
    let stays = format!("!{}", "b".repeat(60));
    assert_eq!(play(&mut door, attack, 30), [refused, "block ada 300"]);
    assert_eq!(
        play(&mut door, "!bbbb__", 100),
        ["rate_limited ada"],
        "also with a real face"
    );
    assert_eq!(
        play(&mut door, &stays, 326),
        ["rate_limited ada", "grant ada"],
        "whoever waits before the door"
    );
    let kept = door.unstored();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept[1].1.is_none(), "ada's are forgiven");
    assert_eq!(kept[0].1.map(|r| r.count), Some(3), "the door's are not");

    let mut door = admission(rule(Factor::FaceAndClaim, Policy::Off, false));
    for start in [0, 10, 20] {
        play(&mut door, "!AA__", start);
    }

    let waits = format!("!{}cAA", "A".repeat(3200));
    assert_eq!(
        play(&mut door, &waits, 31),
        ["rate_limited ada", "grant ada"],
        "card in hand"
    );

    let mut door = admission(rule(Factor::FaceAndClaim, Policy::Off, false));
    let blind: Vec<_> = (0..20)
        .flat_map(|i| play(&mut door, "c__", 2 * i))
        .collect();
    assert_eq!(blind, ["no_picture ada"; 20], "nobody's fault");
    assert_eq!(play(&mut door, "cAA", 40), ["grant ada"]);

    let mut door = admission(rule(Factor::Face, Policy::Off, false));
    for _ in 0..20 {
        let stays = decision(Outcome::NoMatch, None);
        let answers = door.observe(&[face('.')], &[stays], Duration::ZERO, None);
        assert!(answers.is_empty(), "the visit goes on");
    }
    let near: Vec<_> = (0..20).map(|_| decision(Outcome::NoMatch, None)).collect();
    let rules = std::mem::take(&mut door.rules.rules);
    assert!(door.idle(&near, Duration::ZERO).is_empty(), "no rules");
    door.rules.rules = rules;
    assert_eq!(play(&mut door, &"?".repeat(10), 0), ["block - 300"]);
    assert_eq!(play(&mut door, "!A__", 10), ["rate_limited ada"]);
    assert!(
        play(&mut door, "?", 299).is_empty(),
        "a block is not made longer"
    );
    assert_eq!(play(&mut door, "!A__", 301), ["grant ada"]);
}

#[test]
fn a_card_alone_waits_and_is_forgiven_as_a_face() {
    let door = || admission(rule(Factor::FaceOrClaim, Policy::Required, false));
    let (attack, refused) = ("!AAaa___", "presentation_attack ada");
    let mut blocked = door();
    for start in [10, 20, 30] {
        play(&mut blocked, attack, start);
    }
    assert_eq!(play(&mut blocked, "c", 40), ["rate_limited ada"]);
    assert_eq!(play(&mut blocked, "c", 340), ["grant ada"]);

    let mut forgiven = door();
    assert_eq!(play(&mut forgiven, attack, 10), [refused]);
    assert_eq!(play(&mut forgiven, "c", 20), ["grant ada"]);
    assert_eq!(
        play(&mut forgiven, attack, 30),
        [refused],
        "the first again"
    );
}

#[test]
fn old_refusals_do_not_count_and_a_reload_changes_what_is_too_much() {
    let mut door = admission(rule(Factor::Face, Policy::Required, false));
    let (attack, refused) = ("!AAaa___", "presentation_attack ada");
    assert_eq!(play(&mut door, attack, 10), [refused]);
    assert_eq!(
        play(&mut door, attack, 2000),
        [refused],
        "half an hour later"
    );
    let lenient = LockoutRules {
        slow_after: 100,
        block_after: 100,
        ..LOCKOUT
    };
    let rules = door.rules.clone();
    door.follow(rules, lenient, Box::new(Vec::new));
    for start in [2010, 2020, 2030] {
        assert_eq!(play(&mut door, attack, start), [refused]);
    }
}

#[test]
fn nobody_is_locked_out_for_want_of_a_clock() {
    let limited = Rule {
        valid_until: Some("2026-03-01".parse().unwrap()),
        ..rule(Factor::Face, Policy::Off, false)
    };
    let mut door = admission(limited);
    for start in [10, 20, 30, 40] {
        assert_eq!(play(&mut door, "!A__", start), ["clock_unsynchronised ada"]);
    }
}

#[test]
fn whom_the_pipeline_has_to_compare_with() {
    fn turning(door: &Admission) -> Vec<(TrackId, &str)> {
        door.turning().collect()
    }
    let mut door = admission(rule(Factor::Face, Policy::Off, true));
    play(&mut door, "!AA", 0);
    assert_eq!(turning(&door), [(TrackId(1), "ada")]);
    assert_eq!(play(&mut door, "B", 0), ["challenge_another_person ada"]);
    assert_eq!(turning(&door), [], "it is over");

    let mut door = admission(rule(Factor::FaceAndClaim, Policy::Off, false));
    play(&mut door, "cA", 0);
    assert!(door.claimed().eq([(None, "ada")]));
    assert_eq!(play(&mut door, "A", 0), ["grant ada"]);
    assert_eq!(door.claimed().count(), 0);
}

#[test]
fn a_turned_face_has_to_be_as_like_as_its_templates_allow() {
    let mut rules = admission_by(Vec::new()).rules;
    assert_eq!(rules.hold_similarity, [0.3]);
    rules.hold_similarity = vec![0.3, 0.35, 0.4];
    let holds = [1, 2, 3, 9].map(|templates| rules.hold(templates));
    assert_eq!(holds, [0.3, 0.35, 0.4, 0.4]);
    rules.hold_similarity.clear();
    assert!(rules.hold(1).is_infinite(), "nobody turns");
}

#[test]
fn claims_that_lead_nowhere() {
    let second = Duration::from_secs(1);
    let mut door = admission(rule(Factor::FaceAndClaim, Policy::Off, false));
    let say = |door: &mut Admission, name, known| {
        words(&door.claim(name, known, second * 9, second, None))
    };
    assert_eq!(say(&mut door, "zoe", false), ["claim_of_nobody -"]);
    assert!(say(&mut door, "ada", true).is_empty());
    assert!(door.claimed().eq([(None, "ada")]));
    assert!(
        say(&mut door, "ada", true).is_empty(),
        "the same card again"
    );
    assert_eq!(say(&mut door, "bela", true), ["claim_replaced ada"]);
    assert!(door.claimed().eq([(None, "bela")]));
    // ada's face does not go with bela's claim.
    assert_eq!(
        play(&mut door, "!nnn__", 2),
        ["claim_missing ada"],
        "a claim that gave way is not counted"
    );
    let limited = Rule {
        valid_from: Some("2026-03-01".parse().unwrap()),
        ..rule(Factor::Face, Policy::Off, false)
    };
    assert_eq!(
        say(&mut admission(limited), "ada", true),
        ["clock_unsynchronised ada"]
    );
}

#[test]
fn a_claim_that_came_too_late_to_be_looked_at_is_answered() {
    let mut door = admission(rule(Factor::FaceOrClaim, Policy::Off, false));
    assert_eq!(
        words(&door.claim_unseen("ada", true, Reason::NoPicture)),
        ["no_picture ada"]
    );
    assert_eq!(
        words(&door.claim_unseen("eve", false, Reason::NoPicture)),
        ["no_picture -"]
    );
    assert!(door.unstored().is_empty(), "it does not count");
}

#[test]
fn at_the_end_whoever_waits_is_answered_and_nothing_counts() {
    let mut door = admission(rule(Factor::FaceAndClaim, Policy::Required, false));
    assert!(play(&mut door, "cvv", 0).is_empty());
    let now = Duration::from_millis(300);
    assert!(door.claim("bela", true, now * 9, now, None).is_empty());
    assert_eq!(words(&door.end(now)), ["stopping bela", "stopping ada"]);
    assert!(door.unstored().is_empty());
    assert!(door.end(now).is_empty(), "once");
}

#[test]
fn another_card_takes_no_comparison_away() {
    let mut door = admission(rule(Factor::FaceAndClaim, Policy::Required, false));
    assert!(play(&mut door, "cvv", 0).is_empty());
    let now = Duration::from_millis(300);
    assert!(door.claim("bela", true, now * 9, now, None).is_empty());
    let both = [(Some(TrackId(1)), "ada"), (None, "bela")];
    assert!(door.claimed().eq(both), "whoever else comes may be bela");
    assert_eq!(play(&mut door, "vb", 0), ["grant ada"]);
    assert!(door.claimed().eq([(None, "bela")]));
}

#[test]
fn a_claim_whose_time_is_over_is_not_fulfilled() {
    let second = Duration::from_secs(1);
    let mut rules = admission(rule(Factor::FaceAndClaim, Policy::Off, false)).rules;
    rules.agree = 1;
    for decisions in [&[][..], &[decision(Outcome::Match, Some("ada"))]] {
        let lockout = Lockout::new(LOCKOUT, Vec::new(), Duration::ZERO);
        let mut door = Admission::new(rules.clone(), lockout, Box::new(Vec::new));
        assert!(door.claim("ada", true, second * 9, second, None).is_empty());
        door.observe(&[face('.')], &[], second * 2, None);
        // Then no frame for a minute.
        let answers = door.observe(&[face('A')], decisions, second * 60, None);
        assert_eq!(words(&answers), ["claim_not_matched ada"]);
    }
}
