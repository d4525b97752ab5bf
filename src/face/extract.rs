//! The faces of a photograph: one function from an image to an embedding.

use super::align::AlignedFace;
use super::detect::{Detection, Detector};
use super::embed::Embedder;
use super::embedding::Embedding;
use super::quality::Quality;
use crate::image::RgbImage;
use crate::inference::ModelError;

/// A face narrower than this share of the most prominent one is background.
const BACKGROUND: f32 = 0.5;

/// The most prominent face of an image.
#[derive(Clone, Debug)]
pub struct ExtractedFace {
    /// Where it is.
    pub detection: Detection,
    /// What it is like.
    pub quality: Quality,
    /// Its embedding.
    pub embedding: Embedding,
    /// Other faces in the image that are about as large.
    pub others: usize,
}

/// Finds, aligns and embeds the face of an image, outside of the daemon's pipeline.
pub struct FaceExtractor {
    detector: Detector,
    embedder: Embedder,
    aligned: AlignedFace,
}

impl FaceExtractor {
    /// Puts the stages together.
    pub fn new(detector: Detector, embedder: Embedder) -> Self {
        Self {
            detector,
            embedder,
            aligned: AlignedFace::default(),
        }
    }

    /// The most prominent face, or none when there is no face.
    ///
    /// # Errors
    /// What the networks say.
    pub fn extract(&mut self, image: &RgbImage) -> Result<Option<ExtractedFace>, ModelError> {
        let size = (image.width(), image.height());
        let found = self.detector.detect(image)?;
        let rank = |d: &Detection| prominence(d, size);
        let Some(best) = found.iter().max_by(|a, b| rank(a).total_cmp(&rank(b))) else {
            return Ok(None);
        };
        if !self.aligned.align(image, &best.landmarks) {
            return Ok(None);
        }
        let wide = |d: &&Detection| d.face.width >= BACKGROUND * best.face.width;
        Ok(Some(ExtractedFace {
            detection: *best,
            quality: Quality::measure(best, &self.aligned, size),
            embedding: self.embedder.embed(&self.aligned)?.clone(),
            others: found.iter().filter(wide).count() - 1,
        }))
    }

    /// The embedding network.
    pub fn embedder(&self) -> &Embedder {
        &self.embedder
    }
}

/// Large and in the middle: the area less twice the squared distance from the image's centre.
#[expect(clippy::cast_precision_loss, reason = "image sides are far below 2^24")]
fn prominence(detection: &Detection, (width, height): (usize, usize)) -> f32 {
    let centre = detection.face.centre();
    let (dx, dy) = (
        centre.x - width as f32 / 2.0,
        centre.y - height as f32 / 2.0,
    );
    detection.face.width * detection.face.height - 2.0 * (dx * dx + dy * dy)
}
