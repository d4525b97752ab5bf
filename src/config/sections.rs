//! The sections of the configuration, one struct each, with their defaults.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::choice::choice;
use super::range::{Number, ranged};
use crate::image::PixelFormat;

ranged!(
    /// A probability.
    Rate(f64), 1e-9..=0.5, "a rate"
);
ranged!(
    /// A similarity or a score.
    Unit(f64), 0.0..=1.0, "a fraction"
);
ranged!(
    /// A luma value.
    Luma(f64), 0.0..=255.0, "8-bit luma"
);
ranged!(
    /// An angle.
    Degrees(f64), 0.0..=90.0, "degrees"
);
ranged!(
    /// A number of pixels.
    Pixels(u32), 16..=4096, "pixels"
);
ranged!(
    /// A measure without an upper end.
    Measure(f64), 0.0..=1e6, "a measure"
);
ranged!(
    /// A number of frames.
    Frames(u32), 1..=100, "frames"
);
ranged!(
    /// Frames per second.
    Fps(u32), 1..=240, "frames per second"
);
ranged!(
    /// A number of things.
    Count(u32), 1..=10000000, "a whole number"
);
ranged!(
    /// A span of time.
    Seconds(f64), 0.1..=86400.0, "seconds"
);
ranged!(
    /// A TCP port.
    Port(u32), 1..=65535, "a TCP port"
);

/// `[device]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceSection {
    /// The device's name: a level of its MQTT topics.
    pub id: DeviceId,
    /// Whether the clock is believed without a word of systemd-timesyncd.
    pub trust_clock: bool,
}

impl Default for DeviceSection {
    fn default() -> Self {
        Self {
            id: DeviceId("door".to_owned()),
            trust_clock: false,
        }
    }
}

/// A name that can be one level of an MQTT topic.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct DeviceId(String);

impl DeviceId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DeviceId {
    type Error = String;

    fn try_from(id: String) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if (1..=64).contains(&id.len()) && id.chars().all(fits) {
            Ok(Self(id))
        } else {
            Err(format!(
                "\"{id}\" is no device id: expected 1 to 64 of A-Z a-z 0-9 - _ ."
            ))
        }
    }
}

/// Kind of frame source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum SourceKind {
    /// A V4L2 camera.
    V4l2,
    /// Photos or a clip.
    Replay,
}

choice!(SourceKind: "v4l2" => V4l2, "replay" => Replay);

/// `camera.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct FormatChoice(pub Option<PixelFormat>);

impl TryFrom<String> for FormatChoice {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name == "auto" {
            return Ok(Self(None));
        }
        let format = PixelFormat::ALL.into_iter().find(|f| f.to_string() == name);
        format.map(|f| Self(Some(f))).ok_or_else(|| {
            let names = PixelFormat::ALL.map(|f| f.to_string()).join(", ");
            format!("\"{name}\" is no camera format: expected auto or one of {names}")
        })
    }
}

/// `[camera]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CameraSection {
    /// Camera or replay.
    pub source: SourceKind,
    /// The V4L2 device.
    pub device: PathBuf,
    /// Pixel format.
    pub format: FormatChoice,
    /// Width and height.
    pub size: Option<(Pixels, Pixels)>,
    /// Frames per second to ask for.
    pub fps: Option<Fps>,
    /// Seconds without a frame after which the camera is opened anew.
    pub timeout_s: Seconds,
    /// Settings of a replay.
    pub replay: ReplaySection,
}

impl Default for CameraSection {
    fn default() -> Self {
        Self {
            source: SourceKind::V4l2,
            device: "/dev/video0".into(),
            format: FormatChoice(None),
            size: None,
            fps: None,
            timeout_s: Seconds::of(3.0),
            replay: ReplaySection::default(),
        }
    }
}

/// `[camera.replay]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReplaySection {
    /// Photo, folder of photos, or MJPEG clip.
    pub path: Option<PathBuf>,
    /// Frames per second that the material is worth.
    pub fps: Fps,
    /// As fast as possible instead of at `fps`.
    pub fast: bool,
    /// Start again at the end.
    pub repeat: bool,
}

impl Default for ReplaySection {
    fn default() -> Self {
        Self {
            path: None,
            fps: Fps::of(10),
            fast: false,
            repeat: false,
        }
    }
}

/// `[models]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelsSection {
    /// Folder that replaces the models in the binary.
    pub directory: Option<PathBuf>,
    /// Manifest in `directory`, or anywhere by its whole path; `manifest.toml` when none is given.
    pub manifest: Option<PathBuf>,
    /// Name in the manifest; its default when none is given.
    pub detector: Option<String>,
    /// Name in the manifest; its default when none is given.
    pub embedder: Option<String>,
    /// Name in the manifest; its default when none is given.
    pub liveness: Option<String>,
}

/// `[detection]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetectionSection {
    /// Longest side of the image that the detector sees.
    pub max_side: Pixels,
    /// Least score of a face; the manifest's when none is given.
    pub score: Option<Unit>,
}

impl Default for DetectionSection {
    fn default() -> Self {
        Self {
            max_side: Pixels::of(320),
            score: None,
        }
    }
}

/// `[quality]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QualitySection {
    /// Shorter side of the face box, pixels.
    pub min_face_px: Pixels,
    /// Least sharpness.
    pub min_sharpness: Measure,
    /// Least mean luma.
    pub min_brightness: Luma,
    /// Greatest mean luma.
    pub max_brightness: Luma,
    /// Greatest turn to the side.
    pub max_yaw: Degrees,
    /// Greatest nod.
    pub max_pitch: Degrees,
    /// Greatest tilt.
    pub max_roll: Degrees,
}

impl Default for QualitySection {
    fn default() -> Self {
        Self {
            min_face_px: Pixels::of(50),
            min_sharpness: Measure::of(9.0),
            min_brightness: Luma::of(40.0),
            max_brightness: Luma::of(225.0),
            max_yaw: Degrees::of(40.0),
            max_pitch: Degrees::of(35.0),
            max_roll: Degrees::of(35.0),
        }
    }
}

/// How similarity is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum Metric {
    /// Cosine of the angle between the embeddings.
    Cosine,
    /// Euclidean distance on the unit sphere (FaceNet), as the similarity `1 - d / 2`.
    Euclidean,
    /// The learned L1 + sigmoid head (Koch) that the model brings.
    L1,
}

choice!(Metric: "cosine" => Cosine, "euclidean" => Euclidean, "l1" => L1);

/// `[matching]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MatchingSection {
    /// How similarity is measured.
    pub metric: Metric,
    /// Accepted false match rate of one comparison (1:1).
    pub fmr: Rate,
    /// Accepted false positive identification rate of one search (1:N).
    pub fpir: Rate,
    /// Similarity that overrides both rates.
    pub threshold: Option<Unit>,
}

impl Default for MatchingSection {
    fn default() -> Self {
        Self {
            metric: Metric::Cosine,
            fmr: Rate::of(1e-4),
            fpir: Rate::of(1e-4),
            threshold: None,
        }
    }
}

/// `[decision]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecisionSection {
    /// Frames that must agree (n).
    pub agree: Frames,
    /// Among the last so many compared frames of a visit (m).
    pub of: Frames,
    /// Lead over the second subject, in similarity.
    pub margin: Unit,
    /// Seconds for which the same subject gives no new event.
    pub cooldown_s: Seconds,
    /// Seconds of a visit before somebody may be called unknown.
    pub unknown_after_s: Seconds,
    /// Seconds unseen after which a visit has ended.
    pub visit_gap_s: Seconds,
    /// Seconds for which an accepted decision is good for opening something.
    pub valid_s: Seconds,
}

impl Default for DecisionSection {
    fn default() -> Self {
        Self {
            agree: Frames::of(3),
            of: Frames::of(5),
            margin: Unit::of(0.05),
            cooldown_s: Seconds::of(10.0),
            unknown_after_s: Seconds::of(2.0),
            visit_gap_s: Seconds::of(1.0),
            valid_s: Seconds::of(5.0),
        }
    }
}

/// `[mqtt]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MqttSection {
    /// Whether to publish at all.
    pub enabled: bool,
    /// The broker's name or address.
    pub host: String,
    /// Its port; 1883, or 8883 with TLS, when none is given.
    pub port: Option<Port>,
    /// First level of every topic.
    pub base: DeviceId,
    /// User name.
    pub username: Option<String>,
    /// File that holds the password.
    pub password_file: Option<PathBuf>,
    /// TLS on or off.
    pub tls: bool,
    /// Certificates of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Client certificate chain.
    pub client_cert_file: Option<PathBuf>,
    /// Its private key.
    pub client_key_file: Option<PathBuf>,
    /// Accept an unencrypted connection to another machine.
    pub allow_plaintext: bool,
    /// Seconds between signs of life.
    pub keep_alive_s: Seconds,
}

impl Default for MqttSection {
    fn default() -> Self {
        Self {
            enabled: true,
            host: "localhost".to_owned(),
            port: None,
            base: DeviceId("doorward".to_owned()),
            username: None,
            password_file: None,
            tls: false,
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            allow_plaintext: false,
            keep_alive_s: Seconds::of(30.0),
        }
    }
}

impl MqttSection {
    /// Whether the broker is on this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Whether the host is a name or an address, without a port, a scheme or brackets.
    pub(super) fn names_a_host(&self) -> bool {
        let address = self.host.split('%').next().unwrap_or_default();
        let strange = |c: char| c.is_whitespace() || matches!(c, ':' | '/' | '@' | '[' | ']');
        address.parse::<IpAddr>().is_ok() || !(self.host.is_empty() || self.host.contains(strange))
    }

    /// Host and port in words.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port())
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        let usual = if self.tls { 8883 } else { 1883 };
        self.port
            .and_then(|port| port.get().try_into().ok())
            .unwrap_or(usual)
    }
}

/// `[commands]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CommandsSection {
    /// The file with the key that signs commands; without it none are taken.
    pub key_file: Option<PathBuf>,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSection {
    /// The SQLite database.
    pub path: PathBuf,
    /// The file with the device's key; beside the database when none is given.
    pub key_file: Option<PathBuf>,
    /// Events that wait for the broker at most; the oldest go first.
    pub outbox_limit: Count,
    /// Days for which events are kept in the audit trail, and wait for the broker at most.
    pub audit_days: Count,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self {
            path: "/var/lib/doorward/doorward.db".into(),
            key_file: None,
            outbox_limit: Count::of(100_000),
            audit_days: Count::of(90),
        }
    }
}
