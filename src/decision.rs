//! From comparisons to decisions: a pure state machine over time.
//!
//! It sees, per frame and track, either a comparison or the reasons why there was none, and says
//! once per visit what came of it. It reads no clock, touches no device and publishes nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::face::{Detection, Presentation, Quality, QualityReason, QualityReasons, TrackId};
use crate::gallery::{Candidate, Match, Verification};

/// Somebody who stays and goes on being like others is told of so often.
const NEAR_AGAIN: Duration = Duration::from_secs(60);

/// When evidence suffices.
#[derive(Clone, Copy, Debug)]
pub struct DecisionRules {
    /// Frames that must agree (n).
    pub agree: usize,
    /// Among the last so many compared frames of a visit (m).
    pub of: usize,
    /// Lead over the second subject, in similarity.
    pub margin: f32,
    /// For so long the same subject gives no new decision.
    pub cooldown: Duration,
    /// Nobody is called unknown sooner after the first comparison of a visit: people come nearer.
    pub unknown_after: Duration,
}

/// One face of a frame.
#[derive(Clone, Debug)]
pub struct SeenFace {
    /// The visit.
    pub track: TrackId,
    /// Where it is.
    pub detection: Detection,
    /// What the gate measured.
    pub quality: Quality,
    /// Why it was not compared; empty when it was.
    pub refusals: QualityReasons,
    /// The comparison with everybody (1:N).
    pub comparison: Option<Match>,
    /// The comparison with the subject that is claimed, or that a turned face has to stay (1:1).
    pub verification: Option<Verification>,
    /// What the visit's frames that were taken for the same subject say about a picture of a face.
    pub presentation: Option<Presentation>,
}

/// What came of a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A subject was recognised.
    Match,
    /// Good frames, and nobody is like them.
    Unknown,
    /// Somebody is like them, but not clearly or not often enough.
    NoMatch,
    /// No or too few good frames.
    QualityReject,
}

/// A decision on one visit.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What came of it.
    pub outcome: Outcome,
    /// Who was recognised; only for [`Outcome::Match`].
    pub subject: Option<String>,
    /// Why, the weightiest first. Words that events carry.
    pub reasons: Vec<&'static str>,
    /// Frames of the visit that were compared.
    pub compared: u32,
    /// The face that speaks for it: the visit's most similar frame, for a match that of the subject, for
    /// a refusal the last that was refused.
    pub shown: SeenFace,
}

/// What a compared frame votes for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Vote {
    Subject(Arc<str>),
    Ambiguous,
    Nobody,
}

/// A visit that is going on.
#[derive(Debug, Default)]
struct Visit {
    votes: VecDeque<Vote>,
    compared: u32,
    refused: u32,
    /// How often each reason was given.
    refusals: Vec<(QualityReason, u32)>,
    /// The most similar frame that was like somebody other than `known`, since something was last said.
    near: Option<SeenFace>,
    ambiguous: bool,
    /// When a frame was compared first.
    since: Option<Duration>,
    best: Option<SeenFace>,
    /// The last face that was refused.
    poor: Option<SeenFace>,
    unknown: bool,
    /// On whom frames have agreed last, be it during the cool-down.
    known: Option<Arc<str>>,
    /// When something was last said.
    said: Option<Duration>,
    /// Whom the last match was about.
    matched: Option<Arc<str>>,
}

/// Decides over visits.
#[derive(Debug)]
pub struct Decider {
    rules: DecisionRules,
    visits: HashMap<TrackId, Visit>,
    /// When each subject was last recognised.
    recognised: HashMap<Arc<str>, Duration>,
}

impl Decider {
    /// Nobody is there yet.
    pub fn new(rules: DecisionRules) -> Self {
        Self {
            rules,
            visits: HashMap::new(),
            recognised: HashMap::new(),
        }
    }

    /// Goes on with the visits of `old` by its own rules.
    pub fn succeed(&mut self, old: Self) {
        self.visits = old.visits;
        self.recognised = old.recognised;
    }

    /// Takes what a frame at `now` says of a track, and decides if that settles it.
    ///
    /// A visit gives at most one match per subject, and at most one `unknown`, which a later match
    /// may follow: somebody who first looked away shall still come in. Who is still there when the
    /// cool-down of an earlier visit is over gives one, too. Likeness to others that comes after that is
    /// not lost: it gives a `no_match` at the end, and every minute of a visit that does not end.
    pub fn observe(&mut self, face: &SeenFace, now: Duration) -> Option<Decision> {
        let rules = self.rules;
        let visit = self.visits.entry(face.track).or_default();
        let Some(comparison) = &face.comparison else {
            visit.refuse(face);
            return None;
        };
        let vote = vote(comparison, rules.margin);
        visit.compared += 1;
        let seen_for = now.saturating_sub(*visit.since.get_or_insert(now));
        let agreeing = cast(&mut visit.votes, vote.clone(), rules.of);
        visit.approach(face, comparison, &vote, agreeing);
        if similarity(face) >= visit.best.as_ref().map_or(f32::MIN, similarity) {
            visit.best = Some(face.clone());
        }
        match vote {
            Vote::Subject(subject) if agreeing >= rules.agree => {
                if visit.known.as_ref() != Some(&subject) {
                    visit.known = Some(subject.clone());
                    visit.say(now);
                }
                if visit.matched.as_ref() == Some(&subject) {
                    return None;
                }
                let last = self.recognised.get(&subject);
                if last.is_some_and(|&at| now.saturating_sub(at) < rules.cooldown) {
                    return None;
                }
                visit.matched = Some(subject.clone());
                visit.say(now);
                let compared = visit.compared;
                self.recognised
                    .retain(|_, at| now.saturating_sub(*at) < rules.cooldown);
                self.recognised.insert(subject.clone(), now);
                let reasons = vec!["recognised"];
                Some(Decision {
                    outcome: Outcome::Match,
                    subject: Some(subject.to_string()),
                    reasons,
                    compared,
                    shown: face.clone(),
                })
            }
            Vote::Nobody
                if agreeing == rules.of
                    && seen_for >= rules.unknown_after
                    && !visit.unknown
                    && visit.known.is_none() =>
            {
                visit.unknown = true;
                visit.say(now);
                let (compared, best) = (visit.compared, visit.best.clone()?);
                let reasons = vec!["below_threshold"];
                Some(Decision {
                    outcome: Outcome::Unknown,
                    subject: None,
                    reasons,
                    compared,
                    shown: best,
                })
            }
            _ if now.saturating_sub(visit.said.or(visit.since)?) >= NEAR_AGAIN => {
                let (near, reasons) = (visit.near.take()?, visit.why_not());
                let compared = visit.compared;
                visit.say(now);
                Some(Decision {
                    outcome: Outcome::NoMatch,
                    subject: None,
                    reasons,
                    compared,
                    shown: near,
                })
            }
            _ => None,
        }
    }

    /// Ends a visit, and says what came of it if nothing was said before.
    ///
    /// A track with fewer frames than must agree says nothing: it may be a false face.
    pub fn end(&mut self, track: TrackId) -> Option<Decision> {
        let visit = self.visits.remove(&track)?;
        let agree = u32::try_from(self.rules.agree).unwrap_or(u32::MAX);
        let compared = visit.compared;
        if visit.said.is_some() || compared + visit.refused < agree {
            let reasons = visit.why_not();
            let near = visit.near.filter(|_| visit.said.is_some())?;
            return Some(Decision {
                outcome: Outcome::NoMatch,
                subject: None,
                reasons,
                compared,
                shown: near,
            });
        }
        let (outcome, reasons, shown) = if compared < agree {
            let mut refusals = visit.refusals;
            refusals.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            let reasons = refusals.iter().map(|(reason, _)| reason.word()).collect();
            (Outcome::QualityReject, reasons, visit.poor)
        } else if visit.near.is_some() {
            (Outcome::NoMatch, visit.why_not(), visit.near)
        } else {
            (Outcome::Unknown, vec!["below_threshold"], visit.best)
        };
        Some(Decision {
            outcome,
            subject: None,
            reasons,
            compared,
            shown: shown?,
        })
    }
}

impl Visit {
    /// Takes note of a frame that is like somebody new. After something was said, one frame alone is
    /// no news.
    fn approach(&mut self, seen: &SeenFace, comparison: &Match, vote: &Vote, agreeing: usize) {
        let like = comparison.accepted().map(|candidate| &candidate.subject);
        if like.is_none() || like == self.known.as_ref() || self.said.is_some() && agreeing < 2 {
            return;
        }
        self.ambiguous |= *vote == Vote::Ambiguous;
        if similarity(seen) >= self.near.as_ref().map_or(f32::MIN, similarity) {
            self.near = Some(seen.clone());
        }
    }

    /// Something is said at `now`, or known that needs no saying.
    fn say(&mut self, now: Duration) {
        (self.near, self.ambiguous, self.said) = (None, false, Some(now));
    }

    /// Why it is nobody, though like somebody.
    fn why_not(&self) -> Vec<&'static str> {
        vec![if self.ambiguous {
            "ambiguous"
        } else {
            "too_few_agree"
        }]
    }

    fn refuse(&mut self, face: &SeenFace) {
        self.refused += 1;
        for reason in &face.refusals {
            match self.refusals.iter_mut().find(|(known, _)| known == reason) {
                Some((_, count)) => *count += 1,
                None => self.refusals.push((*reason, 1)),
            }
        }
        self.poor = Some(face.clone());
    }
}

/// Adds a vote to the last `of`; how many of them say the same.
pub(crate) fn cast<T: PartialEq>(votes: &mut VecDeque<T>, vote: T, of: usize) -> usize {
    while votes.len() >= of.max(1) {
        votes.pop_front();
    }
    votes.push_back(vote);
    votes.iter().filter(|v| votes.back() == Some(v)).count()
}

fn vote(comparison: &Match, margin: f32) -> Vote {
    let Some(Candidate {
        subject,
        similarity,
    }) = comparison.accepted()
    else {
        return Vote::Nobody;
    };
    let second = comparison
        .runner_up
        .as_ref()
        .map_or(f32::NEG_INFINITY, |c| c.similarity);
    if similarity - second >= margin {
        Vote::Subject(subject.clone())
    } else {
        Vote::Ambiguous
    }
}

fn similarity(face: &SeenFace) -> f32 {
    let best = face.comparison.as_ref().and_then(|c| c.best.as_ref());
    best.map_or(f32::MIN, |best| best.similarity)
}

#[cfg(test)]
mod tests;
