//! `manifest.toml`: which models there are, what they eat and what their scores mean.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// A folder's models.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// Version of this description; 1.
    pub(crate) format: u32,
    /// Names of the models that are used when the configuration names none.
    pub(crate) default: Defaults,
    /// Every model by its name.
    pub(crate) models: BTreeMap<String, ModelSpec>,
}

/// `[default]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Defaults {
    pub(crate) detector: String,
    pub(crate) embedder: String,
    pub(crate) liveness: Option<String>,
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Finds faces.
    Detector,
    /// Turns an aligned face into an embedding.
    Embedder,
    /// Tells a face from a picture of one.
    Liveness,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Detector => "detector",
            Self::Embedder => "embedder",
            Self::Liveness => "liveness",
        })
    }
}

/// One model of a manifest.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// What it is for.
    pub role: Role,
    /// ONNX file, relative to the models' folder.
    pub file: PathBuf,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub sha256: String,
    /// What the network eats.
    pub input: InputSpec,
    /// What an embedder gives.
    pub output: Option<OutputSpec>,
    /// A detector's settings.
    pub detection: Option<DetectionSpec>,
    /// What a liveness model's score means.
    pub presentation: Option<PresentationSpec>,
    /// The licence of the weights.
    pub licence: String,
    /// What it was trained on.
    #[serde(default)]
    pub data: String,
    /// How it was trained.
    #[serde(default)]
    pub training: String,
    /// How well it does, with the measure.
    #[serde(default)]
    pub accuracy: String,
    /// Similarity to false match rate, per metric.
    #[serde(default)]
    pub calibration: Calibrations,
    /// A learned comparison, when the model brings one.
    pub l1_head: Option<L1HeadSpec>,
}

/// Order of an input's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Channels {
    /// Red first.
    #[serde(rename = "RGB")]
    Rgb,
    /// Blue first.
    #[serde(rename = "BGR")]
    Bgr,
}

/// What a network eats: `(pixel - mean) * scale` with pixels of 0..255, per channel in the order
/// of `channels`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Pixels to the right. For a detector only its usual value.
    pub width: usize,
    /// Pixels down. For a detector only its usual value.
    pub height: usize,
    /// Order of the channels.
    pub channels: Channels,
    /// Subtracted from each channel.
    pub mean: [f32; 3],
    /// Multiplied with each channel afterwards.
    pub scale: [f32; 3],
}

/// What an embedder gives.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// Components of an embedding.
    pub size: usize,
    /// The network is asked about the face and about its mirror image, and the answers are added.
    #[serde(default)]
    pub mirrored: bool,
}

/// A detector's settings.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectionSpec {
    /// Least score of a face, 0..1.
    pub score: f32,
    /// Overlap (intersection over union) above which the weaker of two boxes goes.
    pub nms_iou: f32,
}

/// What a liveness model's score means.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresentationSpec {
    /// Score from which on a face is taken for a real one, 0..1.
    pub threshold: f32,
    /// Share of attacks that reach it, 0..1.
    pub apcer: f32,
    /// Share of real faces that do not, 0..1.
    pub bpcer: f32,
}

/// Tables per metric.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibrations {
    /// For the cosine.
    pub cosine: Option<CalibrationTable>,
    /// For the L1 head.
    pub l1: Option<CalibrationTable>,
}

/// Which similarity which share of impostor comparisons exceeds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationTable {
    /// Impostor comparisons measured.
    pub pairs: u64,
    /// Which faces they were.
    pub data: String,
    /// Falling rates.
    pub fmr: Vec<f64>,
    /// The rising similarity that belongs to each rate.
    pub similarity: Vec<f64>,
    /// Rates below this come from the tail that was fitted.
    pub measured_down_to: f64,
}

/// `sigmoid(sum_i weights[i] * |a_i - b_i| + bias)` on unit-norm embeddings (Koch et al. 2015).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct L1HeadSpec {
    /// One per component.
    pub weights: Vec<f32>,
    /// Added to the sum.
    pub bias: f32,
}

impl Manifest {
    /// Parses the text of a manifest.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        if manifest.format != 1 {
            return Err(format!(
                "format = {} is not known; expected 1",
                manifest.format
            ));
        }
        for (name, spec) in &manifest.models {
            spec.check().map_err(|e| format!("[models.{name}] {e}"))?;
        }
        Ok(manifest)
    }
}

impl ModelSpec {
    fn check(&self) -> Result<(), String> {
        match self.role {
            Role::Embedder if self.output.is_none() => {
                return Err("an embedder needs output = { size = ... }".to_owned());
            }
            Role::Detector if self.detection.is_none() => {
                return Err(
                    "a detector needs detection = { score = ..., nms_iou = ... }".to_owned(),
                );
            }
            Role::Liveness => match self.presentation {
                Some(PresentationSpec { threshold, .. }) if (0.0..=1.0).contains(&threshold) => {}
                _ => {
                    return Err(
                        "a liveness model needs presentation = { threshold = 0..1, apcer = ..., \
                         bpcer = ... }"
                            .to_owned(),
                    );
                }
            },
            _ => {}
        }
        if self.sha256.len() != 64 || !self.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(format!(
                "sha256 = \"{}\" is no SHA-256 in hexadecimal",
                self.sha256
            ));
        }
        for table in [&self.calibration.cosine, &self.calibration.l1]
            .into_iter()
            .flatten()
        {
            let pairs = |v: &[f64], ok: fn(f64, f64) -> bool| v.windows(2).all(|w| ok(w[0], w[1]));
            if table.fmr.len() != table.similarity.len()
                || table.fmr.len() < 2
                || !pairs(&table.fmr, |a, b| a > b)
                || !pairs(&table.similarity, |a, b| a < b)
                || table.fmr.iter().any(|f| !(*f > 0.0 && *f < 1.0))
            {
                return Err(
                    "a calibration needs two or more falling fmr in 0..1 and as many \
                            rising similarity"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }
}
