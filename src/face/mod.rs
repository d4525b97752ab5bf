//! Faces: finding, aligning, following, judging and embedding them.
//!
//! Everything here speaks of one face at a time and of no name. Who somebody is, is the business
//! of `gallery`.

mod align;
mod detect;
mod embed;
mod embedding;
mod extract;
mod liveness;
mod quality;
mod track;

pub use align::{AlignedFace, SIDE};
pub use detect::{Detection, Detections, Detector, DetectorSettings, FaceBox, Landmarks};
pub use embed::Embedder;
pub use embedding::Embedding;
pub use extract::{ExtractedFace, FaceExtractor};
pub use liveness::{Fusion, FusionRules, Liveness, Presentation, PresentationVerdict};
pub use quality::{Quality, QualityLimits, QualityReason, QualityReasons};
pub use track::{TrackId, Tracker};
