//! Events about the door and who wants to come in.

use jiff::Timestamp;

use super::events::{EventMaker, pad, quality};
use crate::access::{Answer, Case, Ruling};
use crate::event::{EventType, Verdict, VerificationEvent};

impl EventMaker {
    /// The events of an answer given at `now`; the last one is the answer itself.
    pub(super) fn answer(&self, answer: &Answer, now: Timestamp) -> Vec<VerificationEvent> {
        let case = &answer.case;
        let make = |kind, decision, word| self.about(case, kind, decision, word, now);
        match &answer.ruling {
            Ruling::Granted { rule, suspicious } => {
                let warning = suspicious.then(|| {
                    let word = "presentation_attack";
                    make(EventType::SpoofSuspected, Verdict::Inconclusive, word)
                });
                let grant = VerificationEvent {
                    expires_at: self.expiry(now),
                    rule: Some(rule.clone()),
                    ..make(EventType::Access, Verdict::Accept, "granted")
                };
                warning.into_iter().chain([grant]).collect()
            }
            Ruling::Denied(reason) => {
                let kind = if reason.is_suspicious() {
                    EventType::SpoofSuspected
                } else {
                    EventType::Access
                };
                vec![make(kind, Verdict::Reject, reason.word())]
            }
            Ruling::Ask(turn) => {
                vec![make(
                    EventType::Challenge,
                    Verdict::Inconclusive,
                    turn.word(),
                )]
            }
            Ruling::Limited(limit) => {
                let word = if limit.blocked { "blocked" } else { "slowed" };
                vec![make(EventType::RateLimited, Verdict::Reject, word)]
            }
        }
    }

    /// A command has opened the door.
    pub(super) fn opened_by_command(&self, now: Timestamp) -> VerificationEvent {
        VerificationEvent {
            decision: Verdict::Accept,
            expires_at: self.expiry(now),
            ..self.plain(EventType::Access, "command", now)
        }
    }

    /// The door is held, released, or stands open; `reason` says which.
    pub(super) fn door(&self, reason: &str, now: Timestamp) -> VerificationEvent {
        self.plain(EventType::Door, reason, now)
    }

    /// The door was opened without a decision.
    pub(super) fn tamper(&self, reason: &str, now: Timestamp) -> VerificationEvent {
        self.plain(EventType::Tamper, reason, now)
    }

    fn about(
        &self,
        case: &Case,
        event_type: EventType,
        decision: Verdict,
        word: &str,
        now: Timestamp,
    ) -> VerificationEvent {
        let claimed = case.subject.clone().filter(|_| case.claimed);
        let mode = if claimed.is_some() { "1:1" } else { "1:N" };
        let mut event = VerificationEvent {
            decision,
            mode: (claimed.is_some() || case.face.is_some()).then(|| mode.to_owned()),
            claimed_id: claimed,
            subject_id: case.subject.clone(),
            pad: case.presentation.as_ref().map(pad),
            ..self.plain(event_type, word, now)
        };
        let Some(face) = &case.face else {
            return event;
        };
        let best = face.comparison.as_ref().and_then(|c| c.best.as_ref());
        let searched = best.filter(|best| Some(&*best.subject) == case.subject.as_deref());
        let threshold = face.comparison.as_ref().map(|c| c.threshold);
        let verified = face.verification.as_ref().filter(|_| case.claimed);
        let verified = verified.filter(|v| Some(&*v.subject) == case.subject.as_deref());
        (event.similarity, event.threshold) = match verified {
            Some(verification) => (Some(verification.similarity), Some(verification.threshold)),
            None => (searched.map(|c| c.similarity), threshold),
        };
        let face_box = face.detection.face;
        event.quality = Some(quality(&face.quality));
        event.bbox = Some([face_box.x, face_box.y, face_box.width, face_box.height]);
        event.model = Some(self.model().clone());
        event
    }
}
