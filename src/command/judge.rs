//! From bytes that anybody may have sent to a command that may be obeyed.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::action::Action;
use super::challenge::{Challenge, Challenges};
use super::key::CommandKey;
use super::message::{Message, Nonce, Times};
use super::refusal::Refusal;

/// How far the sender's clock may be ahead.
const AHEAD: SignedDuration = SignedDuration::from_secs(1);

/// Commands that are remembered because they were answered with a challenge; the oldest gives way.
const CHALLENGED: usize = 256;

/// Judges the commands that come to one device.
#[derive(Debug)]
pub struct Judge {
    device: String,
    key: CommandKey,
    challenges: Challenges,
    /// Nonces of what was answered with a challenge. It was signed anew with that, so that it is not
    /// to be obeyed when the clock comes to be believed.
    challenged: VecDeque<Nonce>,
}

/// When a command came.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the wall clock, if it can be believed.
    pub now: Option<Timestamp>,
    /// By a clock that only runs forward.
    pub uptime: Duration,
    /// A random number, for the challenge that may be needed.
    pub random: Challenge,
}

/// A command of somebody who has the key, for this device and for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its name.
    pub id: String,
    /// What it wants.
    pub action: Action,
    /// What shows that it is for now.
    pub proof: Proof,
}

impl Command {
    /// The command, not to be obeyed after all.
    pub fn refused(self, reason: Refusal) -> Refused {
        Refused {
            reason,
            id: Some(self.id),
            action: Some(self.action.word()),
            signed: true,
            challenge: None,
        }
    }
}

/// What shows that a command is for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Its time. It may be obeyed if, and only if, the nonce is a new one.
    Time {
        /// To be remembered.
        nonce: Nonce,
        /// Until when it has to be remembered.
        expires_at: Timestamp,
    },
    /// A challenge that it brought back, which nothing can do again.
    Challenge,
}

/// A command that is not obeyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Refusal,
    /// Its name, as far as it could be read.
    pub id: Option<String>,
    /// The word for what it wanted, if it was signed and is known.
    pub action: Option<&'static str>,
    /// Whether it came from somebody who has the key.
    pub signed: bool,
    /// The challenge to answer with.
    pub challenge: Option<Challenge>,
}

impl From<Refusal> for Refused {
    fn from(reason: Refusal) -> Self {
        Self {
            reason,
            id: None,
            action: None,
            signed: false,
            challenge: None,
        }
    }
}

impl Judge {
    /// A judge for `device`, which shares `key` with its owner.
    pub fn new(device: &str, key: CommandKey) -> Self {
        Self {
            device: device.to_owned(),
            key,
            challenges: Challenges::default(),
            challenged: VecDeque::new(),
        }
    }

    /// Judges what came. What the answer says is not to be obeyed before its [`Proof`] is settled.
    ///
    /// # Errors
    /// Why it is not to be obeyed.
    pub fn judge(
        &mut self,
        payload: &[u8],
        retained: bool,
        moment: &Moment,
    ) -> Result<Command, Refused> {
        if retained {
            return Err(Refusal::Retained.into());
        }
        let message = Message::parse(payload)?;
        let mut refused = Refused {
            id: Some(message.id.clone()),
            ..Refusal::WrongKey.into()
        };
        if let Err(reason) = message.verify(&self.device, &self.key) {
            return Err(Refused { reason, ..refused });
        }
        refused.signed = true;
        let action = match message.action() {
            Ok(action) => action,
            Err(reason) => return Err(Refused { reason, ..refused }),
        };
        refused.action = Some(action.word());
        self.weigh(action, &message, moment).map_err(|reason| {
            if reason == Refusal::ChallengeNeeded {
                self.challenges.open(moment.random, moment.uptime);
                refused.challenge = Some(moment.random);
            }
            Refused { reason, ..refused }
        })
    }

    /// What a signed message comes to.
    fn weigh(
        &mut self,
        action: Action,
        message: &Message,
        moment: &Moment,
    ) -> Result<Command, Refusal> {
        let Times {
            issued_at,
            expires_at,
        } = message.times()?;
        let nonce = message.nonce()?;
        let (found, limit) = (expires_at.duration_since(issued_at), action.longest_life());
        if found > limit {
            return Err(Refusal::TooLong { found, limit });
        }
        let proof = match (message.challenge()?, moment.now) {
            (Some(challenge), _) => {
                if !self.challenges.take(&challenge, moment.uptime) {
                    return Err(Refusal::ChallengeUnknown);
                }
                Proof::Challenge
            }
            (None, None) => {
                if !self.challenged.contains(&nonce) {
                    self.challenged.truncate(CHALLENGED - 1);
                    self.challenged.push_front(nonce);
                }
                return Err(Refusal::ChallengeNeeded);
            }
            (None, Some(_)) if self.challenged.contains(&nonce) => return Err(Refusal::Replayed),
            (None, Some(now)) => {
                let ahead = issued_at.duration_since(now);
                if ahead > AHEAD {
                    return Err(Refusal::Future(ahead));
                }
                if now >= expires_at {
                    return Err(Refusal::Stale(now.duration_since(expires_at)));
                }
                Proof::Time { nonce, expires_at }
            }
        };
        Ok(Command {
            id: message.id.clone(),
            action,
            proof,
        })
    }
}

#[cfg(test)]
mod tests;
