//! The challenge: turn your head as told. A pure state machine over time.
//!
//! It sees the pose of one face from frame to frame and whether it is still the same person, and
//! says when to turn where. It knows no camera and no name.
//!
//! A picture that is moved or tilted shows no turn: the yaw is measured on how far the nose stands
//! before the plane of eyes and mouth, and a plane has no such thing. A picture that is bent shows
//! some, but the eyes come closer together by far more than on a head that is turned as far;
//! this is what [`Failure::Flat`] is about.

use std::time::Duration;

/// Where to turn the head, as seen by the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// To the person's left: the nose goes to the image's right.
    Left,
    /// To the person's right.
    Right,
}

impl Turn {
    /// The word that events carry.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Left => "turn_left",
            Self::Right => "turn_right",
        }
    }

    /// How far `yaw` goes this way.
    fn along(self, yaw: f32) -> f32 {
        match self {
            Self::Left => yaw,
            Self::Right => -yaw,
        }
    }
}

/// What counts as a turn.
#[derive(Clone, Copy, Debug)]
pub struct ChallengeRules {
    /// From so many degrees on the head is turned.
    pub turn_yaw: f32,
    /// Up to so many degrees the face looks ahead.
    pub front_yaw: f32,
    /// Frames in a row that have to show it.
    pub hold: u32,
    /// How long each turn, and each return, may take.
    pub within: Duration,
    /// How long the face may be unseen.
    pub gap: Duration,
    /// How much closer the eyes may come than the turn explains, as a share of their distance.
    pub flatness: f32,
}

/// Who a frame shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Person {
    /// The one who has to turn.
    Same,
    /// Not that one.
    Another,
    /// The frame was not good enough to compare.
    Unclear,
}

/// One frame of the face.
#[derive(Clone, Copy, Debug)]
pub struct Pose {
    /// Turn to the side in degrees, positive towards the image's right.
    pub yaw: f32,
    /// Distance between the eyes over the distance from the eyes to the mouth.
    pub slimness: f32,
    /// Whose face it is.
    pub person: Person,
}

/// Why a challenge was not passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Turned the other way.
    WrongTurn,
    /// Not done in time.
    TooSlow,
    /// The face was gone in between.
    Lost,
    /// Another person turned.
    AnotherPerson,
    /// It was foreshortened as a picture is.
    Flat,
}

impl Failure {
    /// The word that events carry.
    pub const fn word(self) -> &'static str {
        match self {
            Self::WrongTurn => "challenge_wrong_turn",
            Self::TooSlow => "challenge_too_slow",
            Self::Lost => "challenge_lost",
            Self::AnotherPerson => "challenge_another_person",
            Self::Flat => "challenge_flat",
        }
    }

    /// Whether it looks like an attack rather than like clumsiness.
    pub const fn is_suspicious(self) -> bool {
        matches!(self, Self::AnotherPerson | Self::Flat)
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Go on.
    Waiting,
    /// Tell the person to turn there.
    Ask(Turn),
    /// All turns were made.
    Passed,
    /// It is over.
    Failed(Failure),
}

/// One challenge at work. It begins and ends with a look ahead, and one is between two turns.
#[derive(Debug)]
pub struct Challenge {
    rules: ChallengeRules,
    turns: Vec<Turn>,
    /// The turn that is asked for, while the head is to be turned.
    asked: Option<Turn>,
    done: usize,
    /// When the present stage began.
    since: Duration,
    /// When the face was seen last.
    seen: Duration,
    /// Frames in a row that show what is wanted, and whether one of them was recognised.
    held: u32,
    recognised: bool,
    wrong: u32,
    strange: u32,
    flat: u32,
    /// Slimness while looking ahead.
    front: Option<f32>,
}

impl Challenge {
    /// Begins at `now`. The turns are drawn by the caller, so that nobody knows them before.
    pub fn new(rules: ChallengeRules, turns: Vec<Turn>, now: Duration) -> Self {
        Self {
            rules,
            turns,
            asked: None,
            done: 0,
            since: now,
            seen: now,
            held: 0,
            recognised: false,
            wrong: 0,
            strange: 0,
            flat: 0,
            front: None,
        }
    }

    /// Takes one frame.
    pub fn observe(&mut self, pose: Pose, now: Duration) -> Progress {
        if let Some(failure) = self.overdue(now) {
            return Progress::Failed(failure);
        }
        self.seen = now;
        if let Some(failure) = self.suspect(pose) {
            return Progress::Failed(failure);
        }
        let wanted = match self.asked {
            None => pose.yaw.abs() <= self.rules.front_yaw,
            Some(turn) => turn.along(pose.yaw) >= self.rules.turn_yaw,
        };
        if !wanted {
            (self.held, self.recognised) = (0, false);
            return Progress::Waiting;
        }
        self.held += 1;
        self.recognised |= pose.person == Person::Same;
        if self.asked.is_none() && pose.person == Person::Same {
            let front = self.front.unwrap_or(pose.slimness);
            self.front = Some(front.max(pose.slimness));
        }
        if self.held < self.rules.hold || !self.recognised {
            return Progress::Waiting;
        }
        self.advance(now)
    }

    /// Whether it has taken too long by `now`, also when no frame shows the face any more.
    pub fn overdue(&self, now: Duration) -> Option<Failure> {
        if now.saturating_sub(self.seen) > self.rules.gap {
            return Some(Failure::Lost);
        }
        (now.saturating_sub(self.since) > self.rules.within).then_some(Failure::TooSlow)
    }

    /// The present stage is done.
    fn advance(&mut self, now: Duration) -> Progress {
        self.since = now;
        (self.held, self.recognised, self.wrong) = (0, false, 0);
        if self.asked.take().is_some() {
            self.done += 1;
            return Progress::Waiting;
        }
        match self.turns.get(self.done) {
            Some(&turn) => {
                self.asked = Some(turn);
                Progress::Ask(turn)
            }
            None => Progress::Passed,
        }
    }

    /// What no frame may show often: another person, the other way, a picture's foreshortening.
    fn suspect(&mut self, pose: Pose) -> Option<Failure> {
        let count = |counter: &mut u32, shown: bool| {
            *counter = if shown { *counter + 1 } else { 0 };
            *counter >= self.rules.hold
        };
        match pose.person {
            Person::Unclear => {}
            person if count(&mut self.strange, person == Person::Another) => {
                return Some(Failure::AnotherPerson);
            }
            _ => {}
        }
        let explained = pose.yaw.to_radians().cos() - self.rules.flatness;
        let flat = self
            .front
            .is_some_and(|front| pose.slimness < front * explained);
        if count(&mut self.flat, flat) {
            return Some(Failure::Flat);
        }
        let turn = self.asked?;
        let wrong = turn.along(pose.yaw) <= -self.rules.turn_yaw;
        count(&mut self.wrong, wrong).then_some(Failure::WrongTurn)
    }
}

#[cfg(test)]
mod tests;
