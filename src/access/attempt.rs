//! One attempt to come in: what speaks for it so far.

use std::collections::VecDeque;
use std::time::Duration;

use super::admission::AccessRules;
use super::answer::{Case, Reason};
use super::rules::{Denial, Evidence};
use crate::challenge::{Challenge, Person};
use crate::decision::SeenFace;
use crate::face::{Presentation, PresentationVerdict};
use crate::gallery::{Match, Verification};

/// One attempt, from the frame on which enough of them agreed.
pub(super) struct Attempt {
    pub(super) subject: String,
    pub(super) claimed: bool,
    pub(super) since: Duration,
    pub(super) seen: Duration,
    /// What is missing, as the last frame told.
    pub(super) missing: Denial,
    pub(super) challenge: Option<Challenge>,
    pub(super) passed: bool,
    pub(super) presentation: Option<Presentation>,
    /// A rule has been denied because the face is a picture of one. Another may still be fulfilled.
    pub(super) attack: bool,
    pub(super) face: SeenFace,
    /// The answer has been given.
    pub(super) closed: bool,
    /// It was that there had been too many refusals.
    pub(super) limited: bool,
    /// Whether each of the last frames since then showed the subject.
    pub(super) votes: VecDeque<bool>,
}

impl Attempt {
    pub(super) fn evidence(&self) -> Evidence {
        Evidence {
            face: true,
            claim: self.claimed,
            presentation: self.presentation.and_then(|p| p.verdict),
            challenge: self.passed,
        }
    }

    /// Whether the frame alone is taken for the subject.
    pub(super) fn is_shown_by(&self, face: &SeenFace) -> bool {
        let verified = face.verification.as_ref().filter(|v| v.is_accepted());
        let accepted = face.comparison.as_ref().and_then(Match::accepted);
        self.claimed && verified.is_some_and(|v| *v.subject == *self.subject)
            || accepted.is_some_and(|c| *c.subject == *self.subject)
    }

    /// Whom a frame of the challenge shows. A face that looks ahead has to be as like as ever; one
    /// that is turned is less like, and has to keep what is left: compared 1:1, because among
    /// hundreds somebody is always a little more like a turned face.
    pub(super) fn person(&self, face: &SeenFace, rules: &AccessRules) -> Person {
        let of_subject = |v: &&Verification| *v.subject == *self.subject;
        let Some(verification) = face.verification.as_ref().filter(of_subject) else {
            return Person::Unclear;
        };
        let held = verification.similarity >= rules.hold(verification.templates);
        let turned = face.quality.yaw.abs() > rules.challenge.front_yaw;
        match (self.is_shown_by(face), held, turned) {
            (true, ..) | (_, true, true) => Person::Same,
            (_, true, false) => Person::Unclear,
            _ => Person::Another,
        }
    }

    /// Takes a frame that shows the subject. A verdict of an attack stands: more frames of the same
    /// picture are no second chance.
    pub(super) fn take(&mut self, face: &SeenFace) {
        let verdict = self.presentation.and_then(|p| p.verdict);
        if verdict != Some(PresentationVerdict::Attack) {
            self.presentation = face.presentation.or(self.presentation);
        }
        self.face = face.clone();
    }

    /// Why the attempt ends without a grant, when nothing else is known than `reason`.
    pub(super) fn denied_for(&self, reason: Reason) -> Reason {
        if self.attack {
            Reason::Rules(Denial::PresentationAttack)
        } else {
            reason
        }
    }

    pub(super) fn case(&self) -> Case {
        Case {
            subject: Some(self.subject.clone()),
            claimed: self.claimed,
            face: Some(self.face.clone()),
            presentation: self.presentation,
        }
    }
}
