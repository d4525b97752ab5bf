//! A claimed identity that waits for its face.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::answer::{Case, Reason};
use super::rules::Denial;
use crate::decision::{SeenFace, cast};
use crate::face::TrackId;

/// Somebody has said who they are, and waits for a face to agree.
pub(super) struct Claim {
    pub(super) subject: String,
    until: Duration,
    /// A frame has come since.
    pictured: bool,
    votes: HashMap<TrackId, VecDeque<bool>>,
}

impl Claim {
    /// `subject` is claimed; its face has to be seen before `until`.
    pub(super) fn new(subject: &str, until: Duration) -> Self {
        Self {
            subject: subject.to_owned(),
            until,
            pictured: false,
            votes: HashMap::new(),
        }
    }

    /// A frame has come, whomever it shows.
    pub(super) fn picture(&mut self) {
        self.pictured = true;
    }

    /// Counts a frame of a face; the subject when it and enough of the last `of` compared ones agree.
    pub(super) fn verified(&mut self, face: &SeenFace, agree: usize, of: usize) -> Option<String> {
        let verification = face.verification.as_ref()?;
        let accepted = verification.is_accepted() && *verification.subject == *self.subject;
        let votes = self.votes.entry(face.track).or_default();
        (cast(votes, accepted, of) >= agree && accepted).then(|| self.subject.clone())
    }

    /// Why it is over at `now`, if it is.
    pub(super) fn overdue(&self, now: Duration) -> Option<Reason> {
        let reason = if self.pictured {
            Reason::Rules(Denial::FaceMissing)
        } else {
            Reason::NoPicture
        };
        (now >= self.until).then_some(reason)
    }

    /// What an answer to it is about.
    pub(super) fn case(self) -> Case {
        Case {
            subject: Some(self.subject),
            claimed: true,
            ..Case::default()
        }
    }
}
