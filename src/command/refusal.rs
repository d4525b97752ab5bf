//! Why a command is not obeyed.

use jiff::SignedDuration;

/// Why a command is refused. The message goes to the log and to who sent it; what it quotes of a
/// command is short and without control characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More bytes than any command has.
    #[error("it has {found} bytes, and a command has at most {limit}")]
    TooLarge {
        /// Bytes.
        found: usize,
        /// Bytes at most.
        limit: usize,
    },
    /// The broker kept it: it would come again at every connection.
    #[error("it was retained; a command is sent without the retain flag")]
    Retained,
    /// It is no command.
    #[error("it is no command: {0}")]
    Malformed(String),
    /// It names another device.
    #[error("it is for another device, {0}")]
    OtherDevice(String),
    /// It has no MAC.
    #[error("it is not signed")]
    Unsigned,
    /// Its MAC is not that of this key and these fields.
    #[error("it was changed, or signed with another key")]
    WrongKey,
    /// Its time is over.
    #[error("its time was over {} ago; is the sender's clock right?", shown(.0))]
    Stale(SignedDuration),
    /// Its time has not begun.
    #[error("its time begins in {}; is the sender's clock right?", shown(.0))]
    Future(SignedDuration),
    /// It is good for longer than such a command may be.
    #[error("it is good for {}, and such a command may be for at most {}", shown(.found), shown(.limit))]
    TooLong {
        /// From `issued_at` to `expires_at`.
        found: SignedDuration,
        /// The most.
        limit: SignedDuration,
    },
    /// This device's clock is not synchronised.
    #[error(
        "the device's clock is not synchronised; send it again with the challenge of this answer"
    )]
    ChallengeNeeded,
    /// It carries a challenge that is not open.
    #[error("its challenge is not one that is open; ask for a new one")]
    ChallengeUnknown,
    /// Its nonce came before.
    #[error("it has been here before")]
    Replayed,
    /// It could not be written down that it came.
    #[error("the device's database cannot be written")]
    NotNoted,
}

impl Refusal {
    /// The word for it in answers and events.
    pub fn word(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Retained => "retained",
            Self::Malformed(_) => "malformed",
            Self::OtherDevice(_) => "other_device",
            Self::Unsigned => "unsigned",
            Self::WrongKey => "wrong_key",
            Self::Stale(_) => "stale",
            Self::Future(_) => "future",
            Self::TooLong { .. } => "too_long",
            Self::ChallengeNeeded => "challenge_needed",
            Self::ChallengeUnknown => "challenge_unknown",
            Self::Replayed => "replayed",
            Self::NotNoted => "not_noted",
        }
    }

    pub(super) fn malformed(detail: impl std::fmt::Display) -> Self {
        Self::Malformed(quoted(&detail.to_string()))
    }
}

/// The beginning of `text`, fit for a line of a log.
pub(super) fn quoted(text: &str) -> String {
    text.chars()
        .take(120)
        .flat_map(char::escape_debug)
        .collect()
}

fn shown(span: &SignedDuration) -> String {
    format!("{:.1} s", span.as_secs_f64())
}
