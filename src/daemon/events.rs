//! From decisions to events: the only place where core types become wire types.

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ulid::Ulid;

use crate::decision::{Decision, Outcome};
use crate::event::{
    CommandFields, EventType, LatencyFields, ModelFields, PadFields, PadVerdict, QualityFields,
    RunnerUp, SCHEMA, Verdict, VerificationEvent,
};
use crate::face::{Presentation, PresentationVerdict, Quality};
use crate::pipeline::{Pipeline, Timings};
use crate::setup::Setup;

/// systemd-timesyncd makes this file once the clock has been set.
const CLOCK_SYNCED: &str = "/run/systemd/timesync/synchronized";

/// Whether the system's clock is known to be right, or the owner trusts it (`[device] trust_clock`).
pub(crate) fn clock_synced(trusted: bool) -> bool {
    trusted || Path::new(CLOCK_SYNCED).exists()
}

/// The machine's boot id as 32 digits. The unit hides the kernel's settings from the service and hands it
/// over.
fn boot_id() -> String {
    let kernel = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    let id = std::env::var("BOOT_ID").ok().or_else(kernel);
    // The kernel writes dashes, the service manager none.
    id.map_or_else(|| "unknown".to_owned(), |id| id.trim().replace('-', ""))
}

/// Makes events of this device and run.
pub(super) struct EventMaker {
    device_id: String,
    boot_id: String,
    model: ModelFields,
    valid: SignedDuration,
    trust_clock: bool,
    /// Rules say who may come in, so that a match alone accepts nobody.
    guarded: bool,
}

impl EventMaker {
    pub(super) fn new(setup: &Setup, pipeline: &Pipeline) -> Self {
        let valid = Duration::from_secs_f64(setup.config.decision.valid_s.get());
        Self {
            device_id: setup.config.device.id.as_str().to_owned(),
            boot_id: boot_id(),
            model: ModelFields {
                name: pipeline.embedder().name().to_owned(),
                sha256: pipeline.gallery().model_id().0.clone(),
            },
            valid: SignedDuration::try_from(valid).unwrap_or(SignedDuration::ZERO),
            trust_clock: setup.config.device.trust_clock,
            guarded: !setup.config.access.rule.is_empty(),
        }
    }

    /// The event of a decision that was made at `now`.
    pub(super) fn decision(
        &self,
        decision: &Decision,
        gallery_size: usize,
        timings: &Timings,
        now: Timestamp,
    ) -> VerificationEvent {
        let (event_type, verdict) = match decision.outcome {
            Outcome::Match if self.guarded => (EventType::Match, Verdict::Inconclusive),
            Outcome::Match => (EventType::Match, Verdict::Accept),
            Outcome::Unknown => (EventType::Unknown, Verdict::Reject),
            Outcome::NoMatch => (EventType::NoMatch, Verdict::Inconclusive),
            Outcome::QualityReject => (EventType::QualityReject, Verdict::Inconclusive),
        };
        let shown = &decision.shown;
        let comparison = shown.comparison.as_ref();
        let best = comparison.and_then(|c| c.best.as_ref());
        let runner_up = comparison.and_then(|c| c.runner_up.as_ref());
        let expires = self.expiry(now).filter(|_| verdict == Verdict::Accept);
        let face = shown.detection.face;
        VerificationEvent {
            expires_at: expires,
            mode: Some("1:N".to_owned()),
            subject_id: decision.subject.clone(),
            similarity: best.map(|c| c.similarity),
            threshold: comparison.map(|c| c.threshold),
            runner_up: runner_up.map(|c| RunnerUp {
                subject_id: c.subject.to_string(),
                similarity: c.similarity,
            }),
            gallery_size: u32::try_from(gallery_size).ok(),
            frames_used: Some(decision.compared),
            pad: shown.presentation.as_ref().map(pad),
            quality: Some(quality(&shown.quality)),
            bbox: Some([face.x, face.y, face.width, face.height]),
            latency_ms: Some(latency(timings)),
            model: Some(self.model.clone()),
            decision: verdict,
            reason: decision
                .reasons
                .first()
                .copied()
                .unwrap_or_default()
                .to_owned(),
            reasons: decision.reasons.iter().map(|&r| r.to_owned()).collect(),
            ..self.blank(event_type, now)
        }
    }

    /// The camera has gone or come back; `reason` says which.
    pub(super) fn camera(&self, reason: &str, now: Timestamp) -> VerificationEvent {
        self.plain(EventType::Camera, reason, now)
    }

    /// When an accept of `now` is no longer good for opening something.
    pub(super) fn expiry(&self, now: Timestamp) -> Option<String> {
        now.checked_add(self.valid).ok().map(|t| t.to_string())
    }

    /// The embedding model.
    pub(super) fn model(&self) -> &ModelFields {
        &self.model
    }

    /// A thread has failed, and the daemon ends.
    pub(super) fn fault(&self, now: Timestamp) -> VerificationEvent {
        self.plain(EventType::Fault, "thread_failed", now)
    }

    /// A command came, and `reason` became of it.
    pub(super) fn command(
        &self,
        reason: &str,
        command: Option<CommandFields>,
        now: Timestamp,
    ) -> VerificationEvent {
        VerificationEvent {
            command,
            ..self.plain(EventType::Command, reason, now)
        }
    }

    /// An event with one reason, and nothing else to say.
    pub(super) fn plain(
        &self,
        event_type: EventType,
        reason: &str,
        now: Timestamp,
    ) -> VerificationEvent {
        VerificationEvent {
            reason: reason.to_owned(),
            reasons: vec![reason.to_owned()],
            ..self.blank(event_type, now)
        }
    }

    fn blank(&self, event_type: EventType, now: Timestamp) -> VerificationEvent {
        VerificationEvent {
            schema: SCHEMA.to_owned(),
            event_id: Ulid::generate().to_string(),
            event_type,
            device_id: self.device_id.clone(),
            boot_id: self.boot_id.clone(),
            seq: 0,
            ts: now.to_string(),
            clock_synced: clock_synced(self.trust_clock),
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
            reason: String::new(),
            reasons: Vec::new(),
            replayed: false,
        }
    }
}

pub(super) fn pad(presentation: &Presentation) -> PadFields {
    PadFields {
        score: presentation.score,
        threshold: presentation.threshold,
        frames: presentation.frames,
        verdict: presentation.verdict.map(|verdict| match verdict {
            PresentationVerdict::BonaFide => PadVerdict::BonaFide,
            PresentationVerdict::Attack => PadVerdict::Attack,
        }),
    }
}

pub(super) fn quality(quality: &Quality) -> QualityFields {
    QualityFields {
        face_px: quality.face_px,
        sharpness: quality.sharpness,
        brightness: quality.brightness,
        yaw: quality.yaw,
        pitch: quality.pitch,
        roll: quality.roll,
    }
}

fn latency(timings: &Timings) -> LatencyFields {
    let ms = |d: Duration| d.as_secs_f32() * 1000.0;
    LatencyFields {
        decode: ms(timings.decode),
        detect: ms(timings.detect),
        align: ms(timings.align),
        embed: ms(timings.embed),
        liveness: ms(timings.liveness),
        r#match: ms(timings.search),
        total: ms(timings.total),
    }
}
