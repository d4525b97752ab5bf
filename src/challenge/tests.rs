//! Heads that turn, as strings of frames.

use super::*;

const RULES: ChallengeRules = ChallengeRules {
    turn_yaw: 25.0,
    front_yaw: 12.0,
    hold: 2,
    within: Duration::from_secs(4),
    gap: Duration::from_secs(1),
    flatness: 0.2,
};

/// `|` ahead; `l` and `r` turned to the person's left and right by 30 degrees, `.` half way, all
/// recognised. Capitals are too far turned to be compared. `x` ahead and `y` turned left, another
/// person. `_` no face for half a second. `(` turned left by a picture that is bent: the eyes come
/// as close as at 60 degrees. `[` ahead, and `{` turned left, with the eyes closer together than usual.
fn pose(frame: char) -> Option<Pose> {
    let yaw: f32 = match frame {
        'l' | 'L' | 'y' | '(' | '{' => 30.0,
        'r' | 'R' => -30.0,
        '.' => 18.0,
        _ => 3.0,
    };
    let person = match frame {
        'x' | 'y' => Person::Another,
        'L' | 'R' => Person::Unclear,
        _ => Person::Same,
    };
    let turned: f32 = match frame {
        '(' => 60.0,
        '[' => 34.0,
        '{' => 54.0,
        _ => yaw,
    };
    let slimness = 0.85 * turned.to_radians().cos();
    (frame != '_').then_some(Pose {
        yaw,
        slimness,
        person,
    })
}

/// Plays frames, ten a second, and gives the frames' numbers and what was said.
fn play(turns: &[Turn], frames: &str) -> String {
    let mut challenge = Challenge::new(RULES, turns.to_vec(), Duration::ZERO);
    let (mut now, mut said) = (Duration::ZERO, Vec::new());
    for (i, frame) in frames.chars().enumerate() {
        let Some(pose) = pose(frame) else {
            now += Duration::from_millis(500);
            continue;
        };
        now += Duration::from_millis(100);
        match challenge.observe(pose, now) {
            Progress::Waiting => {}
            Progress::Ask(turn) => said.push(format!("{i} {}", turn.word())),
            Progress::Passed => said.push(format!("{i} passed")),
            Progress::Failed(failure) => {
                said.push(format!("{i} {}", failure.word()));
                break;
            }
        }
    }
    said.join(", ")
}

#[test]
fn turns_and_what_comes_of_them() {
    use Turn::{Left, Right};
    let long = |frame: &str| frame.repeat(44);
    for (turns, frames, expected) in [
        (&[Left][..], "||ll||", "1 turn_left, 5 passed"),
        (
            &[Left, Right],
            "||.ll.||.rr.||",
            "1 turn_left, 7 turn_right, 13 passed",
        ),
        (
            &[Right, Right],
            "||rr||rr||",
            "1 turn_right, 5 turn_right, 9 passed",
        ),
        // Far turns count, as long as one frame of them was recognised.
        (&[Left], "||lLLL||", "1 turn_left, 7 passed"),
        (&[Left], "||LLLL||", "1 turn_left"),
        (&[Left], "||l|l|l|", "1 turn_left"),
        (&[Left], "||rr", "1 turn_left, 3 challenge_wrong_turn"),
        (&[Left], "||r|r|ll||", "1 turn_left, 9 passed"),
        (&[Left], "||yy", "1 turn_left, 3 challenge_another_person"),
        (&[Left], "||llxx", "1 turn_left, 5 challenge_another_person"),
        (&[Left], "||LL||", "1 turn_left"),
        (&[Left], "||__l", "1 turn_left, 4 challenge_lost"),
        (&[Left], "||_ll_||", "1 turn_left, 7 passed"),
        (&[Left], "||((", "1 turn_left, 3 challenge_flat"),
        // The widest look ahead counts.
        (&[Left], "|[{{", "1 turn_left, 3 challenge_flat"),
        (&[Left], "[|{{", "1 turn_left, 3 challenge_flat"),
        (&[Left], "[[{{[[", "1 turn_left, 5 passed"),
        // A frame that cannot be compared excuses no other.
        (&[Left], "||yLy", "1 turn_left, 4 challenge_another_person"),
    ] {
        assert_eq!(play(turns, frames), expected, "{frames}");
    }
    assert_eq!(
        play(&[Left], &long("|")),
        "1 turn_left, 42 challenge_too_slow"
    );
    assert_eq!(play(&[Left], &long(".")), "40 challenge_too_slow");
    assert_eq!(
        play(&[Left], &format!("||ll{}", long("l"))),
        "1 turn_left, 44 challenge_too_slow"
    );
}
