//! The wire types: what subscribers receive. Schema `doorward/event/v1`.
//!
//! Events serialise from these types alone; the JSON Schema in
//! `config/event-v1.schema.json` describes them and the tests hold the two together. The core
//! never sees them: the daemon makes them out of decisions.

use serde::{Deserialize, Serialize};

/// The value of `schema` in every event.
pub const SCHEMA: &str = "doorward/event/v1";

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    /// A subject of the gallery was recognised.
    Match,
    /// A face was seen well, and nobody in the gallery is like it.
    Unknown,
    /// A face was like somebody, but the evidence did not suffice.
    NoMatch,
    /// A face was there for the whole visit, but never good enough to be compared.
    QualityReject,
    /// Somebody was let in, or not. `reason` says why.
    Access,
    /// A face looks like a picture of one. `reason` says by what.
    SpoofSuspected,
    /// Too many refusals: further tries have to wait.
    RateLimited,
    /// What somebody is asked to do, such as `turn_left`.
    Challenge,
    /// The door was opened without a decision.
    Tamper,
    /// The door is held shut, released, or stands open.
    Door,
    /// The camera has gone, or is back. `reason` says which.
    Camera,
    /// The daemon ends because of an error, to be started anew.
    Fault,
    /// A command came over MQTT. `reason` says what became of it.
    Command,
}

/// What the event means for a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The person is who the event says.
    Accept,
    /// The person is nobody who belongs here.
    Reject,
    /// Nothing can be said.
    Inconclusive,
}

/// The subject that came second, and how close.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunnerUp {
    /// The subject's name.
    pub subject_id: String,
    /// Similarity of that subject's best template.
    pub similarity: f32,
}

/// What the quality gate measured on the best frame of the visit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityFields {
    /// Shorter side of the face box in pixels.
    pub face_px: f32,
    /// Contrast of fine detail on the aligned face; see the configuration reference.
    pub sharpness: f32,
    /// Mean luma of the aligned face, 0..255.
    pub brightness: f32,
    /// Estimated turn of the head to the side, degrees.
    pub yaw: f32,
    /// Estimated nod of the head, degrees.
    pub pitch: f32,
    /// Tilt of the line through the eyes, degrees.
    pub roll: f32,
}

/// Milliseconds that each stage took on the frame that settled the decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyFields {
    /// Camera format to RGB.
    pub decode: f32,
    /// Face detector.
    pub detect: f32,
    /// Alignment and quality.
    pub align: f32,
    /// Embedding network.
    pub embed: f32,
    /// Liveness network.
    pub liveness: f32,
    /// Gallery search.
    pub r#match: f32,
    /// The whole frame.
    pub total: f32,
}

/// The embedding model that made the comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFields {
    /// Name in the manifest.
    pub name: String,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub sha256: String,
}

/// What presentation attack detection says of the visit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PadFields {
    /// 0..1; high is a real face.
    pub score: f32,
    /// What it has to reach.
    pub threshold: f32,
    /// Frames that the score is of.
    pub frames: u32,
    /// What comes of it; none while the frames are too few.
    pub verdict: Option<PadVerdict>,
}

/// A face, or a picture of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PadVerdict {
    /// A real face.
    BonaFide,
    /// A picture, a screen or a mask.
    Attack,
}

/// What the lock on MQTT is told. Never retained, and never sent late.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LockWord {
    /// Open it, or shut it.
    pub action: LockAction,
    /// RFC 3339 time of the word.
    pub issued_at: String,
    /// RFC 3339 time after which it is not to be obeyed; only for opening.
    pub expires_at: Option<String>,
    /// Seconds after which the lock has to shut by itself; only for opening.
    pub pulse_s: Option<f64>,
}

/// What a lock can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockAction {
    /// Let somebody in.
    Open,
    /// Nobody.
    Shut,
}

/// A command that somebody who has the key sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandFields {
    /// Its id.
    pub id: String,
    /// What it wanted, such as `open`; none when it makes no sense.
    pub action: Option<String>,
}

/// One event as published and as kept in the audit trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerificationEvent {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// ULID, unique for ever; a subscriber that sees one twice has seen one event.
    pub event_id: String,
    /// What happened.
    pub event_type: EventType,
    /// The device's name in the configuration.
    pub device_id: String,
    /// The machine's boot id.
    pub boot_id: String,
    /// Counts this device's events, without gaps, over restarts.
    pub seq: u64,
    /// RFC 3339 time of the decision.
    pub ts: String,
    /// Whether the system clock was synchronised at `ts`.
    pub clock_synced: bool,
    /// RFC 3339 time after which nothing may be opened on the strength of this event.
    pub expires_at: Option<String>,
    /// `1:N`, or `1:1` when an identity was claimed; none for camera events.
    pub mode: Option<String>,
    /// The identity that was claimed.
    pub claimed_id: Option<String>,
    /// Who was recognised, or whom it is about.
    pub subject_id: Option<String>,
    /// Similarity of the best template.
    pub similarity: Option<f32>,
    /// Similarity that had to be reached.
    pub threshold: Option<f32>,
    /// The second subject.
    pub runner_up: Option<RunnerUp>,
    /// Subjects in the gallery.
    pub gallery_size: Option<u32>,
    /// Frames of the visit that were compared.
    pub frames_used: Option<u32>,
    /// Presentation attack detection.
    pub pad: Option<PadFields>,
    /// The rule that let somebody in.
    pub rule: Option<String>,
    /// Quality of the best frame.
    pub quality: Option<QualityFields>,
    /// The face in the frame: x, y, width, height in pixels.
    pub bbox: Option<[f32; 4]>,
    /// Time per stage.
    pub latency_ms: Option<LatencyFields>,
    /// The embedding model.
    pub model: Option<ModelFields>,
    /// The command that it is about; none for one that nobody with the key has sent.
    pub command: Option<CommandFields>,
    /// What the event means for a door.
    pub decision: Verdict,
    /// Why, in a word that programs can test, such as `too_blurred`.
    pub reason: String,
    /// All reasons, most frequent first, when there are several.
    pub reasons: Vec<String>,
    /// Sent later than its time: for the record only, never act on it.
    pub replayed: bool,
}

impl EventType {
    /// Its word on the wire.
    pub fn word(self) -> String {
        word(self)
    }
}

impl Verdict {
    /// Its word on the wire.
    pub fn word(self) -> String {
        word(self)
    }
}

fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// A camera event for unit tests, told apart by its number.
#[cfg(test)]
pub(crate) fn sample(number: u32) -> VerificationEvent {
    VerificationEvent {
        schema: SCHEMA.to_owned(),
        event_id: format!("{number:026}"),
        event_type: EventType::Camera,
        device_id: "front".to_owned(),
        boot_id: "boot".to_owned(),
        seq: 0,
        ts: "2026-03-01T12:00:00Z".to_owned(),
        clock_synced: true,
        expires_at: None,
        mode: None,
        claimed_id: None,
        subject_id: None,
        similarity: None,
        threshold: None,
        runner_up: None,
        gallery_size: None,
        frames_used: None,
        pad: None,
        rule: None,
        quality: None,
        bbox: None,
        latency_ms: None,
        model: None,
        command: None,
        decision: Verdict::Inconclusive,
        reason: "camera_lost".to_owned(),
        reasons: vec![],
        replayed: false,
    }
}
