//! Who may come in: one pure function over the rules.

use jiff::ZonedDateTime;
use jiff::civil::Date;

use super::schedule::Schedule;
use crate::face::PresentationVerdict;
use crate::subject::EVERYBODY;

/// What somebody has to bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// The face.
    Face,
    /// The face and a claimed identity, such as a card, that agree.
    FaceAndClaim,
    /// One of the two.
    FaceOrClaim,
}

/// What presentation attack detection is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Nothing.
    Off,
    /// An event tells of a suspicion, and the door opens.
    Warn,
    /// The door stays shut.
    Required,
}

/// One rule. It lets in whoever fulfils all of it.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What events call it.
    pub name: String,
    /// Whom it is for; `*` is everybody who is enrolled.
    pub subjects: Vec<String>,
    /// On which days and at which hours.
    pub schedule: Schedule,
    /// First day. Hours over midnight belong to the day on which they begin.
    pub valid_from: Option<Date>,
    /// Last day.
    pub valid_until: Option<Date>,
    /// What somebody has to bring.
    pub factor: Factor,
    /// Whether the face has to be a real one.
    pub liveness: Policy,
    /// Whether the head has to be turned as told.
    pub challenge: bool,
}

/// What speaks for somebody at this moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence {
    /// Enough frames agree on the face.
    pub face: bool,
    /// The identity was claimed.
    pub claim: bool,
    /// Whether the face is a real one; `None` while too few frames say so.
    pub presentation: Option<PresentationVerdict>,
    /// The challenge was passed.
    pub challenge: bool,
}

/// Somebody may come in.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// By this rule.
    pub rule: &'a Rule,
    /// The face looks like a picture of one, and the rule only warns.
    pub suspicious: bool,
}

/// Why somebody may not come in, the least hopeful reason first. Of several rules the most hopeful
/// reason counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Denial {
    /// No rule is for this person.
    NoRule,
    /// Before the first day.
    NotYetValid,
    /// After the last day.
    NoLongerValid,
    /// The rule has days, hours or dates, and nobody knows what time it is.
    ClockUnsynchronised,
    /// Not at this time.
    OutOfHours,
    /// The face is a picture of one.
    PresentationAttack,
    /// The claimed face has not been seen yet.
    FaceMissing,
    /// The identity has not been claimed yet.
    ClaimMissing,
    /// Too few frames to tell a face from a picture of one.
    LivenessUnknown,
    /// The challenge has not been passed yet.
    ChallengeMissing,
}

impl Denial {
    /// The word that events carry.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoRule => "no_rule",
            Self::NotYetValid => "not_yet_valid",
            Self::NoLongerValid => "no_longer_valid",
            Self::ClockUnsynchronised => "clock_unsynchronised",
            Self::OutOfHours => "out_of_hours",
            Self::PresentationAttack => "presentation_attack",
            Self::FaceMissing => "claim_not_matched",
            Self::ClaimMissing => "claim_missing",
            Self::LivenessUnknown => "liveness_unknown",
            Self::ChallengeMissing => "challenge_missing",
        }
    }

    /// Whether more frames or a claim may still change it.
    pub fn may_pass(self) -> bool {
        self >= Self::FaceMissing
    }
}

/// Whether `subject` may come in. `now` is in the door's time zone, and `None` when the clock
/// cannot be believed: rules with days, hours or dates then let nobody in.
///
/// # Errors
/// The most hopeful reason among the rules.
pub fn decide<'a>(
    rules: &'a [Rule],
    subject: &str,
    now: Option<&ZonedDateTime>,
    evidence: Evidence,
) -> Result<Grant<'a>, Denial> {
    let mut nearest = Denial::NoRule;
    for rule in rules {
        match rule.judge(subject, now, evidence) {
            Ok(suspicious) => return Ok(Grant { rule, suspicious }),
            Err(denial) => nearest = nearest.max(denial),
        }
    }
    Err(nearest)
}

/// Whether a rule for `subject` is not fulfilled because the face is a picture of one.
pub(super) fn sees_an_attack(
    rules: &[Rule],
    subject: &str,
    now: Option<&ZonedDateTime>,
    evidence: Evidence,
) -> bool {
    let judged = |rule: &Rule| rule.judge(subject, now, evidence).err();
    rules
        .iter()
        .any(|rule| judged(rule) == Some(Denial::PresentationAttack))
}

impl Rule {
    fn judge(
        &self,
        subject: &str,
        now: Option<&ZonedDateTime>,
        e: Evidence,
    ) -> Result<bool, Denial> {
        if !self.subjects.iter().any(|s| s == subject || s == EVERYBODY) {
            return Err(Denial::NoRule);
        }
        self.judge_time(now)?;
        let (face, claim) = match self.factor {
            Factor::Face => (true, false),
            Factor::FaceAndClaim => (true, true),
            // Whoever has claimed needs no face, and none is looked at.
            Factor::FaceOrClaim => (!e.claim, false),
        };
        if face && !e.face {
            return Err(Denial::FaceMissing);
        }
        if claim && !e.claim {
            return Err(Denial::ClaimMissing);
        }
        if !face {
            return Ok(false);
        }
        let attack = match (self.liveness, e.presentation) {
            (Policy::Off, _) => false,
            (_, None) => return Err(Denial::LivenessUnknown),
            (_, Some(PresentationVerdict::BonaFide)) => false,
            (Policy::Warn, Some(PresentationVerdict::Attack)) => true,
            (Policy::Required, Some(PresentationVerdict::Attack)) => {
                return Err(Denial::PresentationAttack);
            }
        };
        if self.challenge && !e.challenge {
            return Err(Denial::ChallengeMissing);
        }
        Ok(attack)
    }

    fn judge_time(&self, now: Option<&ZonedDateTime>) -> Result<(), Denial> {
        let dated = self.valid_from.is_some() || self.valid_until.is_some();
        if !dated && !self.schedule.is_limited() {
            return Ok(());
        }
        let now = now.ok_or(Denial::ClockUnsynchronised)?;
        let mut days = self.schedule.days_of(now).peekable();
        let first = days.peek().copied();
        if days.any(|day| self.judge_date(day).is_ok()) {
            return Ok(());
        }
        self.judge_date(first.unwrap_or(now.date()))?;
        Err(Denial::OutOfHours)
    }

    fn judge_date(&self, day: Date) -> Result<(), Denial> {
        if self.valid_from.is_some_and(|first| day < first) {
            return Err(Denial::NotYetValid);
        }
        if self.valid_until.is_some_and(|last| day > last) {
            return Err(Denial::NoLongerValid);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
