//! What a device can be told to do.

use jiff::SignedDuration;

use super::refusal::Refusal;

/// Bytes of a photo in a command at most.
pub const MAX_PHOTO: usize = 4 << 20;

/// What a command wants. Names are as they came; the store knows which ones it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make somebody known, from a photo or, without one, from the camera.
    Enroll {
        /// The person's name.
        subject: String,
        /// JPEG, PNG or WebP.
        photo: Option<Vec<u8>>,
    },
    /// Forget somebody.
    Remove {
        /// The person's name.
        subject: String,
    },
    /// Give somebody another name.
    Rename {
        /// The name now.
        subject: String,
        /// The new name.
        name: String,
    },
    /// Say who is enrolled.
    List,
    /// Show what the camera sees.
    Snapshot,
    /// Read configuration and models again.
    Reload,
    /// Open the door once.
    Open,
    /// Keep the door shut.
    Hold,
    /// End what [`Action::Hold`] began.
    Release,
    /// Somebody says who they are, by a card or a code; the face has to agree.
    Claim {
        /// The claimed name.
        subject: String,
    },
}

/// The arguments of a command, before it is known whether they suit it.
#[derive(Clone, Debug, Default)]
pub(super) struct Arguments {
    pub(super) subject: Option<String>,
    pub(super) name: Option<String>,
    pub(super) photo: Option<Vec<u8>>,
}

impl Action {
    /// The word for it in a command.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Enroll { .. } => "enroll",
            Self::Remove { .. } => "remove",
            Self::Rename { .. } => "rename",
            Self::List => "list",
            Self::Snapshot => "snapshot",
            Self::Reload => "reload",
            Self::Open => "open",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Claim { .. } => "claim",
        }
    }

    /// How long a command of this kind may be good for: 5 s for what lets somebody in or may lead
    /// to it, 60 s for the rest.
    pub fn longest_life(&self) -> SignedDuration {
        match self {
            Self::Open | Self::Release | Self::Claim { .. } => SignedDuration::from_secs(5),
            _ => SignedDuration::from_secs(60),
        }
    }

    /// Whether others should not wait for it, or it has to wait until an enrolment is over.
    pub fn takes_long(&self) -> bool {
        matches!(
            self,
            Self::Enroll { .. }
                | Self::Remove { .. }
                | Self::Rename { .. }
                | Self::Snapshot
                | Self::Reload
        )
    }

    /// The action that `word` names, with exactly the arguments that it takes.
    pub(super) fn new(word: &str, arguments: Arguments) -> Result<Self, Refusal> {
        let Arguments {
            mut subject,
            mut name,
            mut photo,
        } = arguments;
        let needed = |argument: &mut Option<String>, what: &str| {
            let missing = || Refusal::malformed(format_args!("{word} needs {what}"));
            argument.take().ok_or_else(missing)
        };
        let action = match word {
            "enroll" => Self::Enroll {
                subject: needed(&mut subject, "subject")?,
                photo: photo.take(),
            },
            "remove" => Self::Remove {
                subject: needed(&mut subject, "subject")?,
            },
            "rename" => Self::Rename {
                subject: needed(&mut subject, "subject")?,
                name: needed(&mut name, "name")?,
            },
            "list" => Self::List,
            "snapshot" => Self::Snapshot,
            "reload" => Self::Reload,
            "open" => Self::Open,
            "hold" => Self::Hold,
            "release" => Self::Release,
            "claim" => Self::Claim {
                subject: needed(&mut subject, "subject")?,
            },
            _ => {
                return Err(Refusal::malformed(format_args!("no such action: {word:?}")));
            }
        };
        if subject.is_some() || name.is_some() || photo.is_some() {
            return Err(Refusal::malformed(format_args!(
                "{word} has an argument that it does not take"
            )));
        }
        Ok(action)
    }

    /// The arguments, as [`Action::new`] takes them.
    pub(super) fn arguments(&self) -> Arguments {
        let subject = |subject: &String| Arguments {
            subject: Some(subject.clone()),
            ..Arguments::default()
        };
        match self {
            Self::Enroll { subject: s, photo } => Arguments {
                photo: photo.clone(),
                ..subject(s)
            },
            Self::Rename { subject: s, name } => Arguments {
                name: Some(name.clone()),
                ..subject(s)
            },
            Self::Remove { subject: s } | Self::Claim { subject: s } => subject(s),
            _ => Arguments::default(),
        }
    }
}
