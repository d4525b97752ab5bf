//! Visits as strings of frames, and what comes of them.

use super::*;
use crate::face::{FaceBox, Landmarks};

const RULES: DecisionRules = DecisionRules {
    agree: 3,
    of: 5,
    margin: 0.05,
    cooldown: Duration::from_secs(10),
    unknown_after: Duration::ZERO,
};

/// `A`, `B`: like that subject; `a`: like A with B close behind; `.`: like nobody; `-`: refused.
fn face(track: u64, frame: char) -> SeenFace {
    let candidate = |subject: &str, similarity| {
        Some(Candidate {
            subject: subject.into(),
            similarity,
        })
    };
    let compared = |best, runner_up| {
        Some(Match {
            best,
            runner_up,
            threshold: 0.5,
        })
    };
    let comparison = match frame {
        'A' => compared(candidate("A", 0.8), candidate("B", 0.2)),
        'B' => compared(candidate("B", 0.7), None),
        'a' => compared(candidate("A", 0.8), candidate("B", 0.78)),
        '.' => compared(candidate("A", 0.3), candidate("B", 0.2)),
        _ => None,
    };
    let mut refusals = QualityReasons::new();
    if comparison.is_none() {
        refusals.extend([QualityReason::TooDark, QualityReason::TooSmall]);
    }
    SeenFace {
        track: TrackId(track),
        detection: Detection {
            face: FaceBox::default(),
            score: 0.9,
            landmarks: Landmarks::default(),
        },
        quality: Quality::default(),
        refusals,
        comparison,
        verification: None,
        presentation: None,
    }
}

/// Plays a visit at ten frames a second from `start` on and gives its decisions: the number of
/// the frame (`end` when the visit ended) and what was decided.
fn play(decider: &mut Decider, track: u64, frames: &str, start: u64) -> Vec<String> {
    let word = |d: &Decision| {
        let subject = d.subject.clone().unwrap_or_default();
        format!("{:?} {subject}[{}]", d.outcome, d.reasons.join(","))
    };
    let mut said = Vec::new();
    for (i, frame) in (0u64..).zip(frames.chars()) {
        let now = Duration::from_millis(start * 1000 + i * 100);
        let decision = decider.observe(&face(track, frame), now);
        said.extend(decision.iter().map(|d| format!("{i} {}", word(d))));
    }
    said.extend(
        decider
            .end(TrackId(track))
            .iter()
            .map(|d| format!("end {}", word(d))),
    );
    said
}

#[test]
fn visits_and_their_decisions() {
    let cases: [(&str, &[&str]); 19] = [
        ("AAAAAAAAAA", &["2 Match A[recognised]"]),
        ("A-A--A", &["5 Match A[recognised]"]),
        ("A..A.A", &["end NoMatch [too_few_agree]"]),
        (".A.AA", &["4 Match A[recognised]"]),
        ("..........", &["4 Unknown [below_threshold]"]),
        (
            ".....AAA..",
            &["4 Unknown [below_threshold]", "7 Match A[recognised]"],
        ),
        ("....", &["end Unknown [below_threshold]"]),
        ("aaaaaa", &["end NoMatch [ambiguous]"]),
        ("AA", &[]),
        ("AABB", &["end NoMatch [too_few_agree]"]),
        (
            "AAABBB",
            &["2 Match A[recognised]", "5 Match B[recognised]"],
        ),
        ("-----", &["end QualityReject [too_dark,too_small]"]),
        ("--.", &["end QualityReject [too_dark,too_small]"]),
        ("--", &[]),
        // Whoever was called unknown, or known, and is then like somebody else.
        (
            ".....A..A..",
            &["4 Unknown [below_threshold]", "end NoMatch [too_few_agree]"],
        ),
        (
            "AAA..B..B..",
            &["2 Match A[recognised]", "end NoMatch [too_few_agree]"],
        ),
        ("AAAaaaaa.A.A", &["2 Match A[recognised]"]),
        ("AAA.......", &["2 Match A[recognised]"]),
        (".....A.....", &["4 Unknown [below_threshold]"]),
    ];
    for (frames, expected) in cases {
        let said = play(&mut Decider::new(RULES), 1, frames, 0);
        assert_eq!(said, expected, "{frames}");
    }
}

#[test]
fn a_subject_cools_down_over_visits() {
    let mut decider = Decider::new(RULES);
    assert_eq!(play(&mut decider, 1, "AAA", 0), ["2 Match A[recognised]"]);
    assert_eq!(play(&mut decider, 2, "AAAAA", 5), [""; 0], "5 s later");
    assert_eq!(
        play(&mut decider, 3, "BBB", 6),
        ["2 Match B[recognised]"],
        "somebody else"
    );
    assert_eq!(
        play(&mut decider, 4, "AAAAA", 8),
        [""; 0],
        "whoever came in between"
    );
    assert_eq!(
        play(&mut decider, 5, "AAA", 11),
        ["2 Match A[recognised]"],
        "11 s later"
    );
}

#[test]
fn whoever_is_still_there_after_the_cool_down_is_recognised_anew() {
    let mut decider = Decider::new(RULES);
    assert_eq!(play(&mut decider, 1, "AAA", 0), ["2 Match A[recognised]"]);
    let stays = "A".repeat(120);
    assert_eq!(play(&mut decider, 2, &stays, 3), ["72 Match A[recognised]"]);
}

#[test]
fn whoever_stays_for_long_is_recognised_once() {
    let stays = "A".repeat(500);
    let said = play(&mut Decider::new(RULES), 1, &stays, 0);
    assert_eq!(said, ["2 Match A[recognised]"]);
}

#[test]
fn whoever_stays_and_tries_is_told_of_every_minute() {
    let mut decider = Decider::new(RULES);
    let tries = "A..A.".repeat(300);
    let said = play(&mut decider, 1, &tries, 0);
    let expected = ["600", "1200", "end"].map(|at| format!("{at} NoMatch [too_few_agree]"));
    assert_eq!(said, expected);
}

#[test]
fn nobody_is_unknown_too_soon() {
    let rules = DecisionRules {
        unknown_after: Duration::from_millis(700),
        ..RULES
    };
    for (frames, expected) in [
        (".......AAA", "9 Match A[recognised]"),
        ("..........", "7 Unknown [below_threshold]"),
        ("--..........", "9 Unknown [below_threshold]"),
        ("......", "end Unknown [below_threshold]"),
    ] {
        assert_eq!(
            play(&mut Decider::new(rules), 1, frames, 0),
            [expected],
            "{frames}"
        );
    }
}

#[test]
fn visits_do_not_mix() {
    let mut decider = Decider::new(RULES);
    for track in 0..3 {
        for _ in 0..2 {
            let at = Duration::from_millis(track);
            assert!(decider.observe(&face(track, 'A'), at).is_none());
        }
    }
}

#[test]
fn a_successor_goes_on_with_the_evidence_by_its_own_rules() {
    let mut old = Decider::new(RULES);
    for _ in 0..2 {
        let said = old.observe(&face(1, 'A'), Duration::ZERO);
        assert!(said.is_none());
    }
    let mut decider = Decider::new(DecisionRules { agree: 4, ..RULES });
    decider.succeed(old);
    assert_eq!(play(&mut decider, 1, "AA", 1), ["1 Match A[recognised]"]);
    // A shorter window forgets.
    let mut long = Decider::new(RULES);
    for frame in "AA...".chars() {
        long.observe(&face(4, frame), Duration::ZERO);
    }
    let mut short = Decider::new(DecisionRules {
        agree: 3,
        of: 3,
        ..RULES
    });
    short.succeed(long);
    assert_eq!(play(&mut short, 4, "A", 1), ["end NoMatch [too_few_agree]"]);
    // Who was recognised just now is not recognised again.
    let mut last = Decider::new(RULES);
    last.succeed(decider);
    assert!(play(&mut last, 2, "AAAA", 2).is_empty());
}

#[test]
fn a_quality_reject_shows_a_face_that_was_refused() {
    let mut decider = Decider::new(RULES);
    for frame in "--A".chars() {
        decider.observe(&face(1, frame), Duration::ZERO);
    }
    let said = decider.end(TrackId(1)).expect("three frames");
    assert_eq!(said.outcome, Outcome::QualityReject);
    assert!(said.shown.comparison.is_none());
}
