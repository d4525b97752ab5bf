//! What a device says to a command.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::challenge::Challenge;
use super::key::{from_hex, to_hex};

const SCHEMA: &str = "doorward/answer/v1";

/// An answer, as JSON on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Always `doorward/answer/v1`.
    pub schema: String,
    /// The command's id, as far as it could be read.
    pub id: Option<String>,
    /// The device that answers.
    pub device: String,
    /// Whether the command was obeyed.
    pub ok: bool,
    /// `obeyed`, or in a word why not.
    pub reason: String,
    /// The same in a sentence.
    pub detail: String,
    /// What the command has to carry when it is sent again; only with `challenge_needed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
    /// What the command brought.
    pub result: Value,
}

impl Answer {
    /// The command was obeyed, and brought `result`.
    pub fn obeyed(device: &str, id: &str, detail: String, result: Value) -> Self {
        let id = Some(id.to_owned());
        Self {
            ok: true,
            result,
            ..Self::not(device, id, "obeyed", detail)
        }
    }

    /// The command was not obeyed.
    pub fn not(device: &str, id: Option<String>, reason: &str, detail: String) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            id,
            device: device.to_owned(),
            ok: false,
            reason: reason.to_owned(),
            detail,
            challenge: None,
            result: Value::Null,
        }
    }

    /// With a challenge to be carried.
    #[must_use]
    pub fn with_challenge(self, challenge: Option<Challenge>) -> Self {
        Self {
            challenge: challenge.map(|bytes| to_hex(&bytes)),
            ..self
        }
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn parse(payload: &[u8]) -> Result<Self, String> {
        let answer: Self = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
        if answer.schema != SCHEMA {
            return Err(format!("schema {}, expected {SCHEMA}", answer.schema));
        }
        Ok(answer)
    }

    /// The challenge to be carried.
    pub fn challenge(&self) -> Option<Challenge> {
        self.challenge.as_deref().and_then(from_hex)
    }
}
