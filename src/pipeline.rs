//! One frame in, decisions out: the whole way of the data in one function.
//!
//! No threads, no devices, no files. Time comes with the frame; the only clock that is read here
//! measures how long the stages take.

use std::time::{Duration, Instant};

use crate::decision::{Decider, Decision, DecisionRules, Evidence, Observation};
use crate::face::{
    AlignedFace, Detection, Detector, Embedder, Quality, QualityLimits, QualityReason, TrackId,
    Tracker,
};
use crate::gallery::{Gallery, Match, ModelMismatch, Template};
use crate::image::{Frame, ImageError, RgbImage, decode};
use crate::inference::ModelError;

/// How long each stage of a step took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Camera format to RGB.
    pub decode: Duration,
    /// Face detector.
    pub detect: Duration,
    /// Alignment and quality, over all faces.
    pub align: Duration,
    /// Embedding network, over all faces.
    pub embed: Duration,
    /// Gallery search, over all faces.
    pub search: Duration,
    /// Everything.
    pub total: Duration,
}

/// One face of a frame.
#[derive(Clone, Debug)]
pub struct SeenFace {
    /// The visit.
    pub track: TrackId,
    /// Where it is.
    pub detection: Detection,
    /// What the gate measured.
    pub quality: Quality,
    /// Why it was not compared; empty when it was.
    pub refusals: Vec<QualityReason>,
    /// The comparison.
    pub comparison: Option<Match>,
}

/// What one frame brought.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Every face.
    pub faces: Vec<SeenFace>,
    /// What was decided.
    pub decisions: Vec<Decision>,
    /// Time per stage.
    pub timings: Timings,
}

/// Why a frame brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The frame is no picture: skip it.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A network failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The gallery is of another model.
    #[error(transparent)]
    Mismatch(#[from] ModelMismatch),
}

/// The detector, the gate, the embedder, the gallery and the decisions, in this order.
pub struct Pipeline {
    detector: Detector,
    embedder: Embedder,
    limits: QualityLimits,
    gallery: Gallery,
    tracker: Tracker,
    decider: Decider,
    image: RgbImage,
    aligned: AlignedFace,
}

impl Pipeline {
    /// Puts the stages together. A track that is not seen for `visit_gap` has ended.
    pub fn new(
        detector: Detector,
        embedder: Embedder,
        limits: QualityLimits,
        gallery: Gallery,
        rules: DecisionRules,
        visit_gap: Duration,
    ) -> Self {
        Self {
            detector,
            embedder,
            limits,
            gallery,
            tracker: Tracker::new(visit_gap),
            decider: Decider::new(rules),
            image: RgbImage::default(),
            aligned: AlignedFace::default(),
        }
    }

    /// Goes on with the visits of `old`, whose place it takes.
    pub fn succeed(&mut self, old: Self) {
        self.tracker.succeed(old.tracker);
        self.decider.succeed(old.decider);
    }

    /// Takes one frame from its bytes to decisions. `frame.captured_at` is the time that counts.
    ///
    /// # Errors
    /// [`StepError::Image`] for a frame to skip; the others mean that nothing will work.
    pub fn step(&mut self, frame: &Frame) -> Result<Step, StepError> {
        let started = Instant::now();
        let mut step = Step::default();
        let mut watch = Stopwatch(started);
        decode(frame, &mut self.image)?;
        step.timings.decode = watch.lap();
        let found = self.detector.detect(&self.image)?;
        step.timings.detect = watch.lap();
        let now = frame.captured_at;
        let tracks = self.tracker.follow(&found, now);
        for (detection, track) in found.into_iter().zip(tracks) {
            let face = self.judge(detection, track, &mut step.timings)?;
            let evidence = match &face.comparison {
                Some(comparison) => Evidence::Compared(comparison.clone()),
                None => Evidence::Refused(face.refusals.clone()),
            };
            let observation = Observation {
                face: face.detection.face,
                quality: face.quality,
                evidence,
            };
            step.decisions
                .extend(self.decider.observe(track, observation, now));
            step.faces.push(face);
        }
        for track in self.tracker.ended(now) {
            step.decisions.extend(self.decider.end(track));
        }
        step.timings.total = started.elapsed();
        Ok(step)
    }

    /// Ends all visits, for a source that has come to its end.
    pub fn finish(&mut self) -> Vec<Decision> {
        let tracks = self.tracker.ended(Duration::MAX);
        tracks
            .into_iter()
            .filter_map(|track| self.decider.end(track))
            .collect()
    }

    /// The people that are known.
    pub fn gallery_mut(&mut self) -> &mut Gallery {
        &mut self.gallery
    }

    /// The people that are known.
    pub fn gallery(&self) -> &Gallery {
        &self.gallery
    }

    /// The embedding network.
    pub fn embedder(&self) -> &Embedder {
        &self.embedder
    }

    /// The last image that was decoded.
    pub fn image(&self) -> &RgbImage {
        &self.image
    }

    fn judge(
        &mut self,
        detection: Detection,
        track: TrackId,
        timings: &mut Timings,
    ) -> Result<SeenFace, StepError> {
        let mut watch = Stopwatch(Instant::now());
        let size = (self.image.width(), self.image.height());
        let upright = self.aligned.align(&self.image, &detection.landmarks);
        let quality = Quality::measure(&detection, &self.aligned, size);
        let mut refusals = quality.refusals(&self.limits);
        if !upright {
            refusals = vec![QualityReason::TurnedAside];
        }
        timings.align += watch.lap();
        let mut comparison = None;
        if refusals.is_empty() {
            let embedding = self.embedder.embed(&self.aligned)?;
            timings.embed += watch.lap();
            let probe = Template::new(&embedding, self.gallery.model_id().clone());
            comparison = Some(self.gallery.search(&probe)?);
            timings.search += watch.lap();
        }
        Ok(SeenFace {
            track,
            detection,
            quality,
            refusals,
            comparison,
        })
    }
}

struct Stopwatch(Instant);

impl Stopwatch {
    /// Time since the last lap.
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now - std::mem::replace(&mut self.0, now)
    }
}
