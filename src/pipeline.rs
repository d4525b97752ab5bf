//! One frame in, decisions out: the whole way of the data in one function.
//!
//! No threads, no devices, no files. Time comes with the frame; the only clock that is read here
//! measures how long the stages take.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::decision::{Decider, Decision, DecisionRules, SeenFace};
use crate::face::{
    AlignedFace, Detection, Detector, Embedder, Embedding, Fusion, FusionRules, Liveness,
    Presentation, Quality, QualityLimits, QualityReason, QualityReasons, TrackId, Tracker,
};
use crate::gallery::{Gallery, Match, ModelMismatch, Template, Verification};
use crate::image::{Frame, ImageError, Motion, Picture, PixelFormat, RgbImage};
use crate::inference::ModelError;

/// A face that is turned further says little about being a picture of one.
const LIVENESS_YAW: f32 = 20.0;

/// A picture in which nothing moves is looked at this often, for a face that was missed.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// While nothing moves, Motion JPEG is decoded this often: it has to be, to see whether something does.
const DECODE_AGAIN: Duration = Duration::from_millis(250);

/// Faces of a frame that are compared at most, the widest, and those that are turning in a challenge besides:
/// each costs two runs of the embedder, and a sheet full of faces shall not take the time of whoever stands
/// there.
const COMPARED: usize = 3;

/// How long each stage of a step took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Decoding Motion JPEG, and whether anything moved. Raw frames are decoded where they are looked at.
    pub decode: Duration,
    /// Face detector.
    pub detect: Duration,
    /// Alignment and quality, over all faces.
    pub align: Duration,
    /// Embedding network, over all faces.
    pub embed: Duration,
    /// Liveness network, over all faces.
    pub liveness: Duration,
    /// Gallery search, over all faces.
    pub search: Duration,
    /// Everything.
    pub total: Duration,
}

/// What one frame brought.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Every face.
    pub faces: SmallVec<[SeenFace; 2]>,
    /// What was decided.
    pub decisions: Vec<Decision>,
    /// Nothing had moved and nobody was followed, so that nobody was looked for.
    pub still: bool,
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
    liveness: Option<(Liveness, FusionRules)>,
    limits: QualityLimits,
    gallery: Gallery,
    tracker: Tracker,
    decider: Decider,
    /// The subject that the face of a visit, or every other, is compared with besides.
    claimed: Vec<(Option<TrackId>, Arc<str>)>,
    /// Visits whose face is compared with this subject instead.
    turning: Vec<(TrackId, Arc<str>)>,
    /// The frames of each visit, apart by the subject that they were taken for: a picture of
    /// somebody does not profit from the face of whoever holds it.
    presentations: HashMap<TrackId, HashMap<Option<Arc<str>>, Fusion>>,
    motion: Motion,
    /// When a frame was last looked at, by the time of the frames.
    looked_at: Option<Duration>,
    /// When a picture in which nothing had moved was last decoded to see that; none since something
    /// moved.
    rested_at: Option<Duration>,
    /// What was Motion JPEG.
    decoded: RgbImage,
    aligned: AlignedFace,
    probe: Template,
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
        let probe = Template::new(&Embedding::default(), gallery.model_id().clone());
        Self {
            detector,
            embedder,
            liveness: None,
            limits,
            gallery,
            tracker: Tracker::new(visit_gap),
            decider: Decider::new(rules),
            claimed: Vec::new(),
            turning: Vec::new(),
            presentations: HashMap::new(),
            motion: Motion::default(),
            looked_at: None,
            rested_at: None,
            decoded: RgbImage::default(),
            aligned: AlignedFace::default(),
            probe,
        }
    }

    /// Goes on with the visits of `old`, whose place it takes.
    pub fn succeed(&mut self, old: Self) {
        self.tracker.succeed(old.tracker);
        self.decider.succeed(old.decider);
    }

    /// Judges faces by this network too.
    #[must_use]
    pub fn with_liveness(mut self, liveness: Liveness, rules: FusionRules) -> Self {
        self.liveness = Some((liveness, rules));
        self
    }

    /// Compares the faces of these visits with their subject besides (1:1), and all others with the
    /// subject that has no visit, from the next frame on.
    pub fn claim<'a>(
        &mut self,
        subjects: impl Iterator<Item = (Option<TrackId>, &'a str)> + Clone,
    ) {
        replace(&mut self.claimed, subjects);
    }

    /// Compares the faces of these visits with their subject instead (1:1), from the next frame on.
    pub fn turn<'a>(&mut self, subjects: impl Iterator<Item = (TrackId, &'a str)> + Clone) {
        replace(&mut self.turning, subjects);
    }

    /// Takes one frame from its bytes to decisions. `frame.captured_at` is the time that counts.
    ///
    /// # Errors
    /// [`StepError::Image`] for a frame to skip; the others mean that nothing will work.
    pub fn step(&mut self, frame: &Frame) -> Result<Step, StepError> {
        let mut decoded = std::mem::take(&mut self.decoded);
        let step = self.look(frame, &mut decoded);
        self.decoded = decoded;
        step
    }

    fn look(&mut self, frame: &Frame, decoded: &mut RgbImage) -> Result<Step, StepError> {
        let started = Instant::now();
        let mut step = Step::default();
        let mut watch = Stopwatch(started);
        let now = frame.captured_at;
        let moving = self.moving(frame, decoded)?;
        step.timings.decode = watch.lap();
        let Some(picture) = moving else {
            step.still = true;
            step.timings.total = started.elapsed();
            return Ok(step);
        };
        let mut found = self.detector.detect(picture)?;
        found.sort_unstable_by(|a, b| b.face.width.total_cmp(&a.face.width));
        step.timings.detect = watch.lap();
        // Before anybody is followed: whoever comes after a pause is no sequel to who was there.
        step.decisions.extend(self.end_visits(now));
        let tracks = self.tracker.follow(&found, now);
        for (detection, track) in found.into_iter().zip(tracks) {
            let compared = step.faces.iter().filter(|f| f.comparison.is_some());
            let turning = self.turning.iter().any(|(visit, _)| *visit == track);
            let compare = turning || compared.count() < COMPARED;
            let face = self.judge(picture, detection, track, compare, &mut step.timings)?;
            step.decisions.extend(self.decider.observe(&face, now));
            step.faces.push(face);
        }
        step.timings.total = started.elapsed();
        Ok(step)
    }

    /// Ends the visits that are over at `now`, all of them at [`Duration::MAX`].
    pub fn end_visits(&mut self, now: Duration) -> Vec<Decision> {
        let mut decisions = Vec::new();
        for track in self.tracker.ended(now) {
            self.presentations.remove(&track);
            decisions.extend(self.decider.end(track));
        }
        decisions
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

    /// The frame's picture to look at; none while nobody is followed and nothing has moved since a frame
    /// was last looked at, which was lately.
    fn moving<'a>(
        &mut self,
        frame: &'a Frame,
        decoded: &'a mut RgbImage,
    ) -> Result<Option<Picture<'a>>, ImageError> {
        let now = frame.captured_at;
        let within =
            |at: Option<Duration>, time| at.is_some_and(|at| now.saturating_sub(at) < time);
        let nobody = self.tracker.is_empty() && within(self.looked_at, LOOK_AGAIN);
        let compressed = frame.format == PixelFormat::Mjpg;
        if compressed && nobody && within(self.rested_at, DECODE_AGAIN) {
            return Ok(None);
        }
        let picture = Picture::of(frame, decoded)?;
        let still = !self.motion.moved(picture) && nobody;
        self.rested_at = still.then_some(now);
        if still {
            return Ok(None);
        }
        self.motion.keep();
        self.looked_at = Some(now);
        Ok(Some(picture))
    }

    fn judge(
        &mut self,
        picture: Picture<'_>,
        detection: Detection,
        track: TrackId,
        compare: bool,
        timings: &mut Timings,
    ) -> Result<SeenFace, StepError> {
        let mut watch = Stopwatch(Instant::now());
        let size = (picture.width(), picture.height());
        let upright = self.aligned.align(picture, &detection.landmarks);
        let quality = Quality::measure(&detection, &self.aligned, size);
        let mut refusals = quality.refusals(&self.limits);
        if !upright {
            refusals = QualityReasons::from_elem(QualityReason::TurnedAside, 1);
        }
        if refusals.is_empty() && !compare {
            refusals.push(QualityReason::Crowded);
        }
        timings.align += watch.lap();
        let mut face = SeenFace {
            track,
            detection,
            quality,
            refusals,
            comparison: None,
            verification: None,
            presentation: None,
        };
        if face.refusals.is_empty() {
            self.probe.set(self.embedder.embed(&self.aligned)?);
            timings.embed += watch.lap();
            face.comparison = Some(self.gallery.search(&self.probe)?);
            let turning = self.turning.iter().find(|(visit, _)| *visit == track);
            let turning = turning.map(|(_, subject)| subject);
            if let Some(subject) = turning.or(self.claimed_of(track)) {
                face.verification = self.gallery.verify(&self.probe, subject)?;
            }
            timings.search += watch.lap();
            face.presentation = self.judge_presentation(&face)?;
            timings.liveness += watch.lap();
        }
        Ok(face)
    }

    /// Who the face of this visit is claimed to be.
    fn claimed_of(&self, track: TrackId) -> Option<&Arc<str>> {
        let mut claimed = self.claimed.iter();
        let claimed = claimed.find(|(visit, _)| visit.is_none_or(|visit| visit == track));
        claimed.map(|(_, subject)| subject)
    }

    /// What the frames of this visit and person say, the present one included.
    fn judge_presentation(&mut self, face: &SeenFace) -> Result<Option<Presentation>, StepError> {
        let of_claim =
            |v: &&Verification| v.is_accepted() && Some(&v.subject) == self.claimed_of(face.track);
        let claimed = face.verification.as_ref().filter(of_claim);
        let accepted = face.comparison.as_ref().and_then(Match::accepted);
        let person = claimed.map(|verification| &verification.subject);
        let person = person.or(accepted.map(|candidate| &candidate.subject));
        let person = person.cloned();
        let Some((liveness, rules)) = &mut self.liveness else {
            return Ok(None);
        };
        let persons = self.presentations.entry(face.track).or_default();
        let fusion = persons.entry(person).or_insert_with(|| Fusion::new(*rules));
        if face.quality.yaw.abs() <= LIVENESS_YAW {
            fusion.add(liveness.logit(&self.aligned)?);
        }
        Ok(fusion.presentation())
    }
}

/// Puts `subjects` in place of `list`; takes no memory when they are the same.
fn replace<'a, V: PartialEq>(
    list: &mut Vec<(V, Arc<str>)>,
    subjects: impl Iterator<Item = (V, &'a str)> + Clone,
) {
    let known = |((visit, subject), (track, name)): ((V, &str), &(V, Arc<str>))| {
        visit == *track && *subject == **name
    };
    let as_many = subjects.clone().count() == list.len();
    if as_many && subjects.clone().zip(&*list).all(known) {
        return;
    }
    list.clear();
    list.extend(subjects.map(|(visit, subject)| (visit, subject.into())));
}

struct Stopwatch(Instant);

impl Stopwatch {
    /// Time since the last lap.
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now - std::mem::replace(&mut self.0, now)
    }
}
