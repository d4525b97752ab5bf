//! A command on the wire, and the bytes that its MAC is of.
//!
//! ```json
//! { "schema": "doorward/command/v1", "id": "01J…", "device": "front", "action": "open",
//!   "issued_at": "2026-03-01T12:00:00Z", "expires_at": "2026-03-01T12:00:05Z",
//!   "nonce": "32 hexadecimal digits", "mac": "64 hexadecimal digits" }
//! ```
//!
//! `subject`, `name`, `photo` (base64) and `challenge` stand there when they apply. The MAC is of
//! the text that has for each field that is there, in the order of [`Message::fields`], its name,
//! `:`, the number of bytes of its value, `:`, the value as it stands in the JSON, and a line end.
//! An unknown field is an error: nothing is in a command that is not signed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::action::{Action, Arguments, MAX_PHOTO};
use super::challenge::Challenge;
use super::key::{CommandKey, agrees, finish, from_hex, to_hex};
use super::refusal::{Refusal, quoted};

/// Bytes of a command at most: a photo in base64, and the rest.
pub const MAX_MESSAGE: usize = MAX_PHOTO.div_ceil(3) * 4 + (16 << 10);

/// Makes a command unlike every other.
pub type Nonce = [u8; 16];

const SCHEMA: &str = "doorward/command/v1";

/// A command to be signed.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The device that is to obey.
    pub device: &'a str,
    /// What it is to do.
    pub action: &'a Action,
    /// A name for this command in answers and logs: 1 to 64 of A-Z a-z 0-9 - _ .
    pub id: &'a str,
    /// The time now; the command is good for as long as its kind may be.
    pub issued_at: Timestamp,
    /// A random number.
    pub nonce: Nonce,
    /// What the device answered with, if its clock is not synchronised.
    pub challenge: Option<Challenge>,
}

impl Request<'_> {
    /// The command as it is sent, good from `issued_at` on for as long as its kind may be.
    ///
    /// # Errors
    /// A time at the end of time.
    pub fn sign(&self, key: &CommandKey) -> Result<Vec<u8>, jiff::Error> {
        let expires_at = self.issued_at.checked_add(self.action.longest_life())?;
        Ok(self.sign_until(key, expires_at))
    }

    /// The command as it is sent, good until `expires_at`, whatever the device will say to that.
    pub fn sign_until(&self, key: &CommandKey, expires_at: Timestamp) -> Vec<u8> {
        let Arguments {
            subject,
            name,
            photo,
        } = self.action.arguments();
        let mut message = Message {
            schema: SCHEMA.to_owned(),
            id: self.id.to_owned(),
            device: self.device.to_owned(),
            action: self.action.word().to_owned(),
            subject,
            name,
            photo: photo.map(|bytes| STANDARD.encode(bytes)),
            issued_at: self.issued_at.to_string(),
            expires_at: expires_at.to_string(),
            nonce: to_hex(&self.nonce),
            challenge: self.challenge.map(|challenge| to_hex(&challenge)),
            mac: None,
        };
        message.mac = Some(to_hex(&finish(message.fed(key.mac()))));
        serde_json::to_vec(&message).unwrap_or_default()
    }
}

/// The JSON object.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    schema: String,
    pub(super) id: String,
    device: String,
    pub(super) action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    photo: Option<String>,
    issued_at: String,
    expires_at: String,
    nonce: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    challenge: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
}

/// From when to when.
pub(super) struct Times {
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

impl Message {
    /// Reads what was sent; nothing of it is believed yet.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, Refusal> {
        if payload.len() > MAX_MESSAGE {
            return Err(Refusal::TooLarge {
                found: payload.len(),
                limit: MAX_MESSAGE,
            });
        }
        let message: Self = serde_json::from_slice(payload).map_err(Refusal::malformed)?;
        if message.schema != SCHEMA {
            let detail = format_args!("schema {}, expected {SCHEMA}", message.schema);
            return Err(Refusal::malformed(detail));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !(1..=64).contains(&message.id.len()) || !message.id.chars().all(fits) {
            return Err(Refusal::malformed("id is not 1 to 64 of A-Z a-z 0-9 - _ ."));
        }
        Ok(message)
    }

    /// Whether it is for `device` and signed with `key`.
    pub(super) fn verify(&self, device: &str, key: &CommandKey) -> Result<(), Refusal> {
        if self.device != device {
            return Err(Refusal::OtherDevice(quoted(&self.device)));
        }
        let mac = self.mac.as_ref().ok_or(Refusal::Unsigned)?;
        let mac = from_hex(mac).ok_or(Refusal::WrongKey)?;
        if agrees(self.fed(key.mac()), &mac) {
            Ok(())
        } else {
            Err(Refusal::WrongKey)
        }
    }

    /// What it wants.
    pub(super) fn action(&self) -> Result<Action, Refusal> {
        let photo = self.photo.as_ref().map(|text| STANDARD.decode(text));
        let photo = photo
            .transpose()
            .map_err(|error| Refusal::malformed(format_args!("photo is no base64: {error}")))?;
        if let Some(found) = photo.as_ref().map(Vec::len).filter(|&n| n > MAX_PHOTO) {
            let limit = MAX_PHOTO;
            return Err(Refusal::TooLarge { found, limit });
        }
        let arguments = Arguments {
            subject: self.subject.clone(),
            name: self.name.clone(),
            photo,
        };
        Action::new(&self.action, arguments)
    }

    /// When it is good.
    pub(super) fn times(&self) -> Result<Times, Refusal> {
        let time = |key: &str, text: &str| {
            text.parse::<Timestamp>()
                .map_err(|error| Refusal::malformed(format_args!("{key}: {error}")))
        };
        let (issued_at, expires_at) = (
            time("issued_at", &self.issued_at)?,
            time("expires_at", &self.expires_at)?,
        );
        if expires_at.duration_since(issued_at) <= SignedDuration::ZERO {
            return Err(Refusal::malformed("expires_at is not after issued_at"));
        }
        Ok(Times {
            issued_at,
            expires_at,
        })
    }

    pub(super) fn nonce(&self) -> Result<Nonce, Refusal> {
        from_hex(&self.nonce)
            .ok_or_else(|| Refusal::malformed("nonce is not 32 hexadecimal digits"))
    }

    pub(super) fn challenge(&self) -> Result<Option<Challenge>, Refusal> {
        let read = |digits| {
            from_hex(digits)
                .ok_or_else(|| Refusal::malformed("challenge is not 32 hexadecimal digits"))
        };
        self.challenge.as_deref().map(read).transpose()
    }

    /// Everything but the MAC, in the order in which it is signed.
    fn fields(&self) -> [(&str, Option<&str>); 11] {
        [
            ("schema", Some(&self.schema)),
            ("id", Some(&self.id)),
            ("device", Some(&self.device)),
            ("action", Some(&self.action)),
            ("subject", self.subject.as_deref()),
            ("name", self.name.as_deref()),
            ("photo", self.photo.as_deref()),
            ("issued_at", Some(&self.issued_at)),
            ("expires_at", Some(&self.expires_at)),
            ("nonce", Some(&self.nonce)),
            ("challenge", self.challenge.as_deref()),
        ]
    }

    /// `mac` after the canonical bytes.
    fn fed(&self, mut mac: Hmac<Sha256>) -> Hmac<Sha256> {
        for (name, value) in self.fields() {
            let Some(value) = value else { continue };
            mac.update(format!("{name}:{}:", value.len()).as_bytes());
            mac.update(value.as_bytes());
            mac.update(b"\n");
        }
        mac
    }
}
