//! `manifest.toml`: which models there are, what they eat and what their scores mean.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde::Deserialize;

/// Pixels of one side of an input.
const SIDE: RangeInclusive<usize> = 1..=4096;

/// Components of an embedding.
const COMPONENTS: RangeInclusive<usize> = 1..=65536;

/// Scores, and shares of faces.
const SHARE: RangeInclusive<f32> = 0.0..=1.0;

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
    /// Pixels to the right, at most 4096. For a detector only its usual value.
    pub width: usize,
    /// Pixels down, at most 4096. For a detector only its usual value.
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
    /// Components of an embedding, at most 65536.
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
    /// Overlap (intersection over union) above which the weaker of two boxes goes, 0..1.
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
            Role::Liveness if self.presentation.is_none() => {
                return Err(
                    "a liveness model needs presentation = { threshold = ..., apcer = ..., \
                     bpcer = ... }"
                        .to_owned(),
                );
            }
            _ => {}
        }
        if self.sha256.len() != 64 || !self.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(format!(
                "sha256 = \"{}\" is no SHA-256 in hexadecimal",
                self.sha256
            ));
        }
        self.check_numbers()
    }

    /// Whether every number is one that the program can work with: sizes become memory, and the rest takes
    /// part in comparisons.
    fn check_numbers(&self) -> Result<(), String> {
        within("input.width", self.input.width, &SIDE)?;
        within("input.height", self.input.height, &SIDE)?;
        finite("input.mean", self.input.mean)?;
        finite("input.scale", self.input.scale)?;
        if let Some(output) = self.output {
            within("output.size", output.size, &COMPONENTS)?;
        }
        if let Some(detection) = self.detection {
            within("detection.score", detection.score, &SHARE)?;
            within("detection.nms_iou", detection.nms_iou, &SHARE)?;
        }
        if let Some(presentation) = self.presentation {
            within("presentation.threshold", presentation.threshold, &SHARE)?;
            within("presentation.apcer", presentation.apcer, &SHARE)?;
            within("presentation.bpcer", presentation.bpcer, &SHARE)?;
        }
        if let Some(head) = &self.l1_head {
            finite("l1_head.weights", head.weights.iter().copied())?;
            finite("l1_head.bias", [head.bias])?;
        }
        let Calibrations { cosine, l1 } = &self.calibration;
        for (key, table) in [("calibration.cosine", cosine), ("calibration.l1", l1)] {
            if let Some(table) = table {
                table.check().map_err(|e| format!("{key}{e}"))?;
            }
        }
        Ok(())
    }
}

impl CalibrationTable {
    fn check(&self) -> Result<(), String> {
        let pairs = |v: &[f64], ok: fn(f64, f64) -> bool| v.windows(2).all(|w| ok(w[0], w[1]));
        if self.fmr.len() != self.similarity.len()
            || self.fmr.len() < 2
            || !pairs(&self.fmr, |a, b| a > b)
            || !pairs(&self.similarity, |a, b| a < b)
            || self.fmr.iter().any(|f| !(*f > 0.0 && *f < 1.0))
        {
            return Err(
                ": a calibration needs two or more falling fmr in 0..1 and as many rising similarity"
                    .to_owned(),
            );
        }
        finite(".similarity", self.similarity.iter().copied())?;
        within(".measured_down_to", self.measured_down_to, &(0.0..=1.0))
    }
}

fn within<T: PartialOrd + Display>(
    key: &str,
    number: T,
    range: &RangeInclusive<T>,
) -> Result<(), String> {
    if range.contains(&number) {
        return Ok(());
    }
    let (least, most) = (range.start(), range.end());
    Err(format!(
        "{key} = {number} is out of range: expected {least} to {most}"
    ))
}

fn finite<T: Into<f64>>(key: &str, numbers: impl IntoIterator<Item = T>) -> Result<(), String> {
    match numbers.into_iter().map(T::into).find(|n| !n.is_finite()) {
        Some(number) => Err(format!("{key} holds {number}: expected finite numbers")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::inference::{ModelError, Models, bundled};

    /// Some of these would take more memory than there is, in the running daemon too.
    #[test]
    fn a_number_out_of_its_range_is_refused_by_name() {
        let list = bundled::MANIFEST.split("similarity = [").nth(1);
        let lowest = list.and_then(|list| list.split(',').next()).unwrap();
        let table = [
            ("size = 512", "size = 0", "output.size = 0"),
            ("size = 512", "size = 9223372036854775807", "1 to 65536"),
            ("width = 320", "width = 0", "input.width = 0"),
            ("width = 320", "width = 4611686018427387904", "1 to 4096"),
            ("height = 256", "height = 4097", "input.height = 4097"),
            ("mean = [0.0,", "mean = [nan,", "input.mean holds NaN"),
            ("scale = [1.0,", "scale = [1e39,", "input.scale holds inf"),
            ("score = 0.", "score = 7.", "detection.score = 7."),
            ("nms_iou = 0.3", "nms_iou = -1.0", "expected 0 to 1"),
            ("threshold = 0.", "threshold = 1.1", "expected 0 to 1"),
            ("apcer = 0.", "apcer = 7.", "presentation.apcer = 7."),
            (lowest, "-inf", "calibration.cosine.similarity holds -inf"),
            (lowest, "0.9", "calibration.cosine: a calibration needs"),
            (
                "measured_down_to = 1e-05",
                "measured_down_to = nan",
                "calibration.cosine.measured_down_to = NaN",
            ),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.toml");
        for (from, to, expected) in table {
            assert!(bundled::MANIFEST.contains(from), "{from}");
            std::fs::write(&path, bundled::MANIFEST.replacen(from, to, 1)).unwrap();
            let Err(error) = Models::open(folder.path(), "manifest.toml".as_ref()) else {
                panic!("{to} is taken");
            };
            assert!(matches!(error, ModelError::Manifest { .. }));
            let words = error.to_string();
            assert!(
                words.contains(&path.display().to_string()) && words.contains(expected),
                "{words} should say {expected}"
            );
        }
    }
}
