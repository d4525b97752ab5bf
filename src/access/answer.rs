//! What comes of somebody's wish to come in.

use super::lockout::Limit;
use super::rules::Denial;
use crate::challenge::{Failure, Turn};
use crate::decision::SeenFace;
use crate::face::Presentation;

/// One answer: an event, and for a grant the opening of the door.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What it is.
    pub ruling: Ruling,
    /// Whom it is about.
    pub case: Case,
}

/// What was ruled.
#[derive(Clone, Debug, PartialEq)]
pub enum Ruling {
    /// Let in by this rule.
    Granted {
        /// Its name.
        rule: String,
        /// The face looks like a picture of one, and the rule only warns.
        suspicious: bool,
    },
    /// Not let in.
    Denied(Reason),
    /// The person has to turn there first.
    Ask(Turn),
    /// The refusals have become too many.
    Limited(Limit),
}

/// Whom an answer is about.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// Who was recognised or claimed.
    pub subject: Option<String>,
    /// Whether that identity was claimed.
    pub claimed: bool,
    /// The last frame that showed this person; none when only a claim was made.
    pub face: Option<SeenFace>,
    /// What all frames of this person say about a picture of a face.
    pub presentation: Option<Presentation>,
}

/// Why somebody was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The rules do not allow it.
    Rules(Denial),
    /// The challenge was not passed.
    Challenge(Failure),
    /// There were too many refusals; nothing was looked at.
    RateLimited,
    /// Nobody of the claimed name is enrolled.
    ClaimOfNobody,
    /// Another identity was claimed before the face was seen.
    ClaimReplaced,
    /// No frame came while the claim was good.
    NoPicture,
    /// The door is held shut.
    Held,
    /// doorward was stopping before there was an answer.
    Stopping,
}

impl Reason {
    /// The word that events carry.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Rules(denial) => denial.word(),
            Self::Challenge(failure) => failure.word(),
            Self::RateLimited => "rate_limited",
            Self::ClaimOfNobody => "claim_of_nobody",
            Self::ClaimReplaced => "claim_replaced",
            Self::NoPicture => "no_picture",
            Self::Held => "door_held",
            Self::Stopping => "stopping",
        }
    }

    /// Whether it looks like an attack with a picture.
    pub const fn is_suspicious(self) -> bool {
        match self {
            Self::Rules(denial) => matches!(denial, Denial::PresentationAttack),
            Self::Challenge(failure) => failure.is_suspicious(),
            _ => false,
        }
    }

    /// Whether it counts towards a lock-out: not what is no fault of the person.
    pub const fn counts(self) -> bool {
        let faultless = matches!(
            self,
            Self::Rules(Denial::ClockUnsynchronised)
                | Self::RateLimited
                | Self::ClaimReplaced
                | Self::NoPicture
                | Self::Held
                | Self::Stopping
        );
        !faultless
    }
}
