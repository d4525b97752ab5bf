//! Attempts to come in, from the first evidence to the answer: a pure state machine over time.
//!
//! An attempt begins when enough frames agree on a subject, in a search among all (1:N) or against
//! a claimed identity (1:1). It goes on as long as more evidence may change the answer: a claim,
//! more frames for presentation attack detection, a challenge.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::ZonedDateTime;

use super::answer::{Answer, Case, Reason, Ruling};
use super::attempt::Attempt;
use super::claim::Claim;
use super::lockout::{DOOR, Lockout, LockoutRules, Refusals};
use super::rules::{Denial, Evidence, Rule, decide, sees_an_attack};
use crate::challenge::{Challenge, ChallengeRules, Pose, Progress, Turn};
use crate::decision::{Decision, Outcome, SeenFace, cast};
use crate::face::TrackId;

/// Draws the turns of a challenge.
pub type Draw = Box<dyn FnMut() -> Vec<Turn> + Send>;

/// What an admission goes by.
#[derive(Clone, Debug)]
pub struct AccessRules {
    /// Who may come in.
    pub rules: Vec<Rule>,
    /// What counts as a turn of the head.
    pub challenge: ChallengeRules,
    /// Frames that must agree on a claimed identity (n).
    pub agree: usize,
    /// Among the last so many compared ones (m).
    pub of: usize,
    /// How long an attempt waits for what is missing.
    pub wait: Duration,
    /// A face that is not seen for so long has gone.
    pub gap: Duration,
    /// Similarity that a turned face has to keep, by the number of the subject's templates from one on.
    pub hold_similarity: Vec<f32>,
}

impl AccessRules {
    /// The similarity to a subject of so many templates that a turned face has to keep.
    pub(super) fn hold(&self, templates: usize) -> f32 {
        let last = self.hold_similarity.last();
        let of = self.hold_similarity.get(templates.saturating_sub(1));
        of.or(last).copied().unwrap_or(f32::INFINITY)
    }
}

/// Answers whoever wants to come in.
pub struct Admission {
    rules: AccessRules,
    lockout: Lockout,
    draw: Draw,
    claim: Option<Claim>,
    attempts: BTreeMap<TrackId, Attempt>,
    answers: Vec<Answer>,
}

impl Admission {
    /// Nobody is there yet.
    pub fn new(rules: AccessRules, lockout: Lockout, draw: Draw) -> Self {
        Self {
            rules,
            lockout,
            draw,
            claim: None,
            attempts: BTreeMap::new(),
            answers: Vec::new(),
        }
    }

    /// Goes by other rules from now on; open attempts and refusals stand.
    pub fn follow(&mut self, rules: AccessRules, lockout: LockoutRules, draw: Draw) {
        (self.rules, self.draw) = (rules, draw);
        self.lockout.follow(lockout);
    }

    /// Whether there is any rule to go by.
    pub fn is_on(&self) -> bool {
        !self.rules.rules.is_empty()
    }

    /// The subject that the face of this visit has to be compared with while it is turned (1:1).
    pub fn turning(&self) -> impl Iterator<Item = (TrackId, &str)> + Clone {
        let turning = |attempt: &Attempt| attempt.challenge.is_some() && !attempt.closed;
        let attempts = self.attempts.iter().filter(move |(_, a)| turning(a));
        attempts.map(|(track, attempt)| (*track, attempt.subject.as_str()))
    }

    /// The claimed subjects that faces have to be compared with (1:1): the face of the visit alone, or
    /// every other as long as the claim waits for one.
    pub fn claimed(&self) -> impl Iterator<Item = (Option<TrackId>, &str)> + Clone {
        let open = self.attempts.iter().filter(|(_, a)| a.claimed && !a.closed);
        let open = open.map(|(track, a)| (Some(*track), a.subject.as_str()));
        let pending = self
            .claim
            .iter()
            .map(|claim| (None, claim.subject.as_str()));
        open.chain(pending)
    }

    /// After people were renamed or removed: goes by the refusals that are remembered.
    pub fn recall(&mut self, remembered: Vec<(String, Refusals)>, now: Duration) {
        self.lockout.recall(remembered, now);
    }

    /// What of the refusals is not stored yet and has to outlive a restart; `None` is forgotten.
    pub fn unstored(&self) -> Vec<(String, Option<Refusals>)> {
        self.lockout.unstored()
    }

    /// All of it is stored now.
    pub fn stored(&mut self) {
        self.lockout.stored();
    }

    /// An identity is claimed, for a face that has to be seen before `until`. `known` says whether
    /// somebody of that name is enrolled.
    pub fn claim(
        &mut self,
        subject: &str,
        known: bool,
        until: Duration,
        now: Duration,
        wall: Option<&ZonedDateTime>,
    ) -> Vec<Answer> {
        if self
            .claim
            .as_ref()
            .is_some_and(|claim| claim.subject != subject)
        {
            self.end_claim(Reason::ClaimReplaced, now);
        }
        let case = Case {
            subject: known.then(|| subject.to_owned()),
            claimed: true,
            ..Case::default()
        };
        if self.lockout.limits(subject, now) {
            self.deny(case, Reason::RateLimited, now);
        } else if !known {
            self.deny(case, Reason::ClaimOfNobody, now);
        } else {
            self.take_claim(case, subject, until, now, wall);
        }
        std::mem::take(&mut self.answers)
    }

    /// An identity was claimed, and `reason` kept anybody from looking. `known` as in [`Self::claim`].
    pub fn claim_unseen(&mut self, subject: &str, known: bool, reason: Reason) -> Vec<Answer> {
        let case = Case {
            subject: known.then(|| subject.to_owned()),
            claimed: true,
            ..Case::default()
        };
        self.say(Ruling::Denied(reason), case);
        std::mem::take(&mut self.answers)
    }

    /// No frame will come any more: whoever waits for an answer hears that.
    pub fn end(&mut self, now: Duration) -> Vec<Answer> {
        self.end_claim(Reason::Stopping, now);
        for attempt in std::mem::take(&mut self.attempts).into_values() {
            if !attempt.closed {
                let reason = attempt.denied_for(Reason::Stopping);
                self.deny(attempt.case(), reason, now);
            }
        }
        std::mem::take(&mut self.answers)
    }

    /// An identity is claimed that may be: opens where the rules ask for no more, waits for the face where that
    /// may help, else denies.
    fn take_claim(
        &mut self,
        case: Case,
        subject: &str,
        until: Duration,
        now: Duration,
        wall: Option<&ZonedDateTime>,
    ) {
        let evidence = Evidence {
            claim: true,
            ..Evidence::default()
        };
        match decide(&self.rules.rules, subject, wall, evidence) {
            Ok(grant) => {
                let rule = grant.rule.name.clone();
                self.lockout.forgive(subject);
                if let Some(attempt) = self.open_attempt(subject) {
                    attempt.closed = true;
                }
                let suspicious = false; // no face has been looked at
                self.say(Ruling::Granted { rule, suspicious }, case);
            }
            Err(denial) => match self.open_attempt(subject) {
                // The face has time to be seen once more.
                Some(attempt) => {
                    (attempt.claimed, attempt.missing) = (true, Denial::FaceMissing);
                    attempt.since = now;
                }
                None if denial.may_pass() => self.claim = Some(Claim::new(subject, until)),
                None => self.deny(case, Reason::Rules(denial), now),
            },
        }
    }

    /// Takes what a frame at `now` brought. `wall` is the time at the door, `None` when the clock
    /// cannot be believed.
    pub fn observe(
        &mut self,
        faces: &[SeenFace],
        decisions: &[Decision],
        now: Duration,
        wall: Option<&ZonedDateTime>,
    ) -> Vec<Answer> {
        // Before anybody is looked at: frames may have stopped for longer than the claim was good.
        self.expire_claim(now);
        if let Some(claim) = &mut self.claim {
            claim.picture();
        }
        for decision in decisions {
            let face = faces.iter().find(|face| face.track == decision.shown.track);
            match (decision.outcome, &decision.subject, face) {
                (Outcome::Match, Some(subject), Some(face)) => self.begin(subject, face, now),
                (_, _, None) => self.over(decision, now),
                _ => {}
            }
        }
        for face in faces {
            let AccessRules { agree, of, .. } = self.rules;
            let claim = self.claim.as_mut();
            if let Some(subject) = claim.and_then(|claim| claim.verified(face, agree, of)) {
                self.begin(&subject, face, now);
            }
            self.consider(face, now, wall);
        }
        self.expire(now);
        std::mem::take(&mut self.answers)
    }

    /// Looks at what has become too late by `now`, when no frame comes; `decisions` are on visits that
    /// have ended.
    pub fn idle(&mut self, decisions: &[Decision], now: Duration) -> Vec<Answer> {
        self.expire_claim(now);
        for decision in decisions {
            self.over(decision, now);
        }
        self.expire(now);
        std::mem::take(&mut self.answers)
    }

    /// A visit has ended. Like somebody, but not enough so: somebody may have been trying. It counts at the
    /// end: whoever stays locks nobody out. And a door that is blocked anyway stays so no longer for whoever
    /// walks past.
    fn over(&mut self, decision: &Decision, now: Duration) {
        let counts = decision.outcome == Outcome::NoMatch && self.is_on();
        if counts && !self.lockout.limits(DOOR, now) {
            self.refuse(None, now);
        }
    }

    /// Enough frames agree on `subject`.
    fn begin(&mut self, subject: &str, face: &SeenFace, now: Duration) {
        let claim = self.claim.take_if(|claim| claim.subject == subject);
        if let Some(attempt) = self.attempts.get_mut(&face.track)
            && !attempt.closed
        {
            if attempt.subject == subject {
                attempt.claimed |= claim.is_some();
                return;
            }
            let reason = attempt.denied_for(Reason::Rules(attempt.missing));
            let case = attempt.case();
            self.deny(case, reason, now);
        }
        let limited = self.lockout.limits(subject, now);
        let attempt = Attempt {
            subject: subject.to_owned(),
            claimed: claim.is_some(),
            since: now,
            seen: now,
            missing: Denial::LivenessUnknown,
            challenge: None,
            passed: false,
            presentation: None,
            attack: false,
            face: face.clone(),
            closed: limited,
            limited,
            votes: VecDeque::new(),
        };
        if limited {
            self.deny(attempt.case(), Reason::RateLimited, now);
        }
        self.attempts.insert(face.track, attempt);
    }

    /// One more frame of an attempt.
    fn consider(&mut self, face: &SeenFace, now: Duration, wall: Option<&ZonedDateTime>) {
        let Some(attempt) = self.attempts.get_mut(&face.track) else {
            return;
        };
        attempt.seen = now;
        if attempt.closed {
            return self.try_again(face, now, wall);
        }
        let shown = attempt.is_shown_by(face);
        if shown {
            attempt.take(face);
        }
        let pose = Pose {
            yaw: face.quality.yaw,
            slimness: face.quality.slimness,
            person: attempt.person(face, &self.rules),
        };
        let rules = &self.rules.rules;
        attempt.attack |= sees_an_attack(rules, &attempt.subject, wall, attempt.evidence());
        let mut judged = decide(rules, &attempt.subject, wall, attempt.evidence());
        if judged.is_ok() && attempt.challenge.take().is_some() {
            // A claim has opened a way without it; the face has time to be seen once more.
            attempt.since = now;
        }
        if let Some(challenge) = &mut attempt.challenge {
            match challenge.observe(pose, now) {
                Progress::Waiting => return,
                Progress::Ask(turn) => {
                    let case = attempt.case();
                    return self.say(Ruling::Ask(turn), case);
                }
                Progress::Failed(failure) => {
                    attempt.closed = true;
                    let reason = attempt.denied_for(Reason::Challenge(failure));
                    let case = attempt.case();
                    return self.deny(case, reason, now);
                }
                Progress::Passed => {
                    (attempt.challenge, attempt.passed) = (None, true);
                    attempt.since = now;
                }
            }
            judged = decide(rules, &attempt.subject, wall, attempt.evidence());
        }
        match judged {
            // The door opens for whoever stands before it now.
            Ok(_) if !shown => attempt.missing = Denial::FaceMissing,
            Ok(grant) => {
                attempt.closed = true;
                let (rule, suspicious) = (grant.rule.name.clone(), grant.suspicious);
                let case = attempt.case();
                self.lockout.forgive(&attempt.subject);
                self.say(Ruling::Granted { rule, suspicious }, case);
            }
            Err(Denial::ChallengeMissing) => {
                let turns = (self.draw)();
                attempt.challenge = Some(Challenge::new(self.rules.challenge, turns, now));
                attempt.missing = Denial::ChallengeMissing;
            }
            Err(denial) if denial.may_pass() => attempt.missing = denial,
            Err(denial) => {
                attempt.closed = true;
                let case = attempt.case();
                self.deny(case, Reason::Rules(denial), now);
            }
        }
    }

    /// One more frame after an attempt: whoever has waited as told, and is still there, may try again.
    fn try_again(&mut self, face: &SeenFace, now: Duration, wall: Option<&ZonedDateTime>) {
        let Some(attempt) = self.attempts.get_mut(&face.track) else {
            return;
        };
        let shown = attempt.is_shown_by(face);
        let agreeing = cast(&mut attempt.votes, shown, self.rules.of);
        let again = attempt.limited && shown && agreeing >= self.rules.agree;
        if again && !self.lockout.limits(&attempt.subject, now) {
            let evidence = Evidence {
                face: true,
                ..Evidence::default()
            };
            let judged = decide(&self.rules.rules, &attempt.subject, wall, evidence);
            // Whoever has a card begins with that.
            if judged.err() != Some(Denial::ClaimMissing) {
                let subject = attempt.subject.clone();
                self.begin(&subject, face, now);
            }
        }
    }

    /// Ends what has taken too long.
    fn expire(&mut self, now: Duration) {
        let AccessRules { wait, gap, .. } = self.rules;
        let gone = |attempt: &Attempt| now.saturating_sub(attempt.seen) >= gap;
        let mut late = Vec::new();
        for attempt in self.attempts.values_mut().filter(|attempt| !attempt.closed) {
            let reason = match &attempt.challenge {
                Some(challenge) => challenge.overdue(now).map(Reason::Challenge),
                None => (gone(attempt) || now.saturating_sub(attempt.since) >= wait)
                    .then_some(Reason::Rules(attempt.missing)),
            };
            if let Some(reason) = reason {
                attempt.closed = true;
                late.push((attempt.case(), attempt.denied_for(reason)));
            }
        }
        for (case, reason) in late {
            self.deny(case, reason, now);
        }
        self.attempts
            .retain(|_, attempt| !(attempt.closed && gone(attempt)));
        self.lockout.forget(now);
    }

    /// Ends the claim when its time is over.
    fn expire_claim(&mut self, now: Duration) {
        if let Some(reason) = self.claim.as_ref().and_then(|claim| claim.overdue(now)) {
            self.end_claim(reason, now);
        }
    }

    /// The claim's face was not seen.
    fn end_claim(&mut self, reason: Reason, now: Duration) {
        if let Some(claim) = self.claim.take() {
            self.deny(claim.case(), reason, now);
        }
    }

    fn open_attempt(&mut self, subject: &str) -> Option<&mut Attempt> {
        let mut open = self.attempts.values_mut().filter(|attempt| !attempt.closed);
        open.find(|attempt| attempt.subject == subject)
    }

    fn deny(&mut self, case: Case, reason: Reason, now: Duration) {
        let subject = case.subject.clone();
        self.say(Ruling::Denied(reason), case);
        if reason.counts() {
            self.refuse(subject.as_deref(), now);
        }
    }

    fn refuse(&mut self, subject: Option<&str>, now: Duration) {
        for limit in self.lockout.refuse(subject, now) {
            let case = Case {
                subject: limit.subject.clone(),
                ..Case::default()
            };
            self.say(Ruling::Limited(limit), case);
        }
    }

    fn say(&mut self, ruling: Ruling, case: Case) {
        self.answers.push(Answer { ruling, case });
    }
}

#[cfg(test)]
mod tests;
