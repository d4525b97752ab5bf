//! Presentation attack detection: a face, or a picture of one?
//!
//! The network judges one aligned face. One frame says little; [`Fusion`] puts the frames of a
//! visit together.

use std::collections::VecDeque;

use super::align::{AlignedFace, network_of_aligned};
use crate::inference::{ModelError, ModelFile, Network, Report};

/// Runs the liveness network.
pub struct Liveness {
    name: String,
    network: Network,
    threshold: f32,
}

impl Liveness {
    /// Plans the network and runs it once, so that a model that does not fit is refused here.
    ///
    /// # Errors
    /// What [`Network::new`] says, and [`ModelError::Shape`] for another input than aligned faces
    /// or another output than one number.
    pub fn new(model: ModelFile) -> Result<Self, ModelError> {
        let mut liveness = Self {
            network: network_of_aligned(&model, "liveness model")?,
            threshold: model.spec.presentation.map_or(1.0, |p| p.threshold),
            name: model.name,
        };
        liveness.logit(&AlignedFace::default())?;
        Ok(liveness)
    }

    /// How much speaks for a real face in this frame, as a logit: above 0 more than against it.
    ///
    /// # Errors
    /// What the network says.
    pub fn logit(&mut self, face: &AlignedFace) -> Result<f32, ModelError> {
        let outputs = self.network.run(face.image())?;
        Ok(outputs.single(1)?[0])
    }

    /// The score, 0..=1, from which on the model's author takes a face for a real one.
    pub fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Name of the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How much of the network runs in integers.
    pub fn arithmetic(&self) -> &Report {
        self.network.arithmetic()
    }
}

/// When the frames of a visit suffice.
#[derive(Clone, Copy, Debug)]
pub struct FusionRules {
    /// Frames that are put together: the last so many.
    pub frames: usize,
    /// Score, 0..=1, from which on a face is taken for a real one.
    pub threshold: f32,
}

/// What the last frames of a visit say together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Presentation {
    /// The sigmoid of the mean logit, 0..=1; high is a real face.
    pub score: f32,
    /// What it has to reach.
    pub threshold: f32,
    /// Frames that it is of.
    pub frames: u32,
    /// What comes of it; none while the frames are too few.
    pub verdict: Option<PresentationVerdict>,
}

/// A face, or a picture of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresentationVerdict {
    /// A real face.
    BonaFide,
    /// A picture, a screen or a mask.
    Attack,
}

/// Puts the frames of one visit together.
///
/// A real face has a high mean and most frames on its side: a few frames that are very sure do not
/// outweigh the many, as when a screen is lost in glare for a moment.
#[derive(Debug)]
pub struct Fusion {
    rules: FusionRules,
    logits: VecDeque<f32>,
}

impl Fusion {
    /// Before the first frame.
    pub fn new(rules: FusionRules) -> Self {
        Self {
            rules,
            logits: VecDeque::with_capacity(rules.frames),
        }
    }

    /// Takes the logit of one frame. One that is no number counts as an attack.
    pub fn add(&mut self, logit: f32) {
        /// No frame is surer than this.
        const SURE: f32 = 8.0;
        if self.logits.len() == self.rules.frames {
            self.logits.pop_front();
        }
        let logit = if logit.is_nan() { -SURE } else { logit };
        self.logits.push_back(logit.clamp(-SURE, SURE));
    }

    /// What the frames say; none before the first.
    #[expect(clippy::cast_precision_loss, reason = "a handful of frames")]
    pub fn presentation(&self) -> Option<Presentation> {
        let frames = self.logits.len();
        if frames == 0 {
            return None;
        }
        let FusionRules {
            frames: enough,
            threshold,
        } = self.rules;
        let score = sigmoid(self.logits.iter().sum::<f32>() / frames as f32);
        let agree = self
            .logits
            .iter()
            .filter(|&&l| sigmoid(l) >= threshold)
            .count();
        let verdict = if score >= threshold && agree * 2 > frames {
            PresentationVerdict::BonaFide
        } else {
            PresentationVerdict::Attack
        };
        Some(Presentation {
            score,
            threshold,
            frames: u32::try_from(frames).unwrap_or(u32::MAX),
            verdict: (frames >= enough).then_some(verdict),
        })
    }
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_put_together() {
        use PresentationVerdict::{Attack, BonaFide};
        let rules = FusionRules {
            frames: 4,
            threshold: 0.6,
        };
        for (logits, verdict) in [
            (&[3.0, 3.0, 3.0][..], None),
            (&[3.0, 3.0, 3.0, 3.0], Some(BonaFide)),
            (&[3.0, -1.0, 3.0, 3.0], Some(BonaFide)),
            (&[-3.0, -3.0, -3.0, -3.0], Some(Attack)),
            // Sure frames do not outweigh half of the others.
            (&[-1.0, 1e9, -1.0, 1e9], Some(Attack)),
            (&[f32::NAN, 8.0, 8.0, f32::INFINITY], Some(BonaFide)),
            (&[f32::NAN, f32::NAN, 8.0, 8.0], Some(Attack)),
            // Above an even chance and below the threshold.
            (&[0.2, 0.2, 0.2, 0.2], Some(Attack)),
            // The last four count.
            (
                &[-9.0, -9.0, -9.0, -9.0, 2.0, 2.0, 2.0, 2.0],
                Some(BonaFide),
            ),
        ] {
            let mut fusion = Fusion::new(rules);
            assert!(fusion.presentation().is_none());
            logits.iter().for_each(|&l| fusion.add(l));
            let said = fusion.presentation().expect("after a frame");
            assert_eq!(said.verdict, verdict, "{logits:?} {}", said.score);
            assert!((0.0..=1.0).contains(&said.score));
        }
    }
}
