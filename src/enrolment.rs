//! What makes faces into the templates of one person: they have to be good, show one person, be
//! like what is known of that person, and be nobody else's.
//!
//! It takes no pictures and stores nothing; the command line and the daemon bring the faces.

use crate::face::{Embedding, ExtractedFace, Quality, QualityLimits};
use crate::gallery::{Gallery, ModelMismatch, Template};

/// Templates that are kept of an enrolment from a camera.
pub const KEPT: usize = 3;

/// Why faces are not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    /// A face that is not good enough.
    #[error("the face is {reasons} ({measured})")]
    Poor {
        /// Why.
        reasons: String,
        /// In numbers.
        measured: String,
    },
    /// Not enough good frames.
    #[error(
        "{good} of {seen} frames were good, and {needed} are needed{}",
        .why.as_ref().map(|why| format!("; the last reason was: {why}")).unwrap_or_default()
    )]
    TooFew {
        /// Frames with a good face.
        good: usize,
        /// All frames.
        seen: usize,
        /// Good frames that are enough.
        needed: usize,
        /// What was wrong last, if anything was.
        why: Option<String>,
    },
    /// Two of the faces are not alike.
    #[error(
        "the pictures do not seem to show one person (similarity {similarity:.3}, threshold {threshold:.3})"
    )]
    TwoPeople {
        /// Which of the faces is not like the first, from 1 on.
        other: usize,
        /// How alike they are.
        similarity: f32,
        /// How alike they would have to be.
        threshold: f32,
    },
    /// The face is in the gallery under another name.
    #[error(
        "this face is enrolled as {subject} already (similarity {similarity:.3}, threshold {threshold:.3})"
    )]
    Known {
        /// That name.
        subject: String,
        /// How alike they are.
        similarity: f32,
        /// From where on they are the same.
        threshold: f32,
    },
    /// Somebody of this name is enrolled who looks different.
    #[error(
        "{subject} is enrolled already and looks different (similarity {similarity:.3}, threshold {threshold:.3})"
    )]
    Unlike {
        /// That name.
        subject: String,
        /// How alike they are.
        similarity: f32,
        /// How alike they would have to be.
        threshold: f32,
    },
    /// The gallery is of another model.
    #[error(transparent)]
    Mismatch(#[from] ModelMismatch),
}

/// Whether the face of a photo is good enough.
///
/// # Errors
/// [`EnrolmentError::Poor`].
pub fn good_enough(face: &ExtractedFace, limits: &QualityLimits) -> Result<(), EnrolmentError> {
    let refusals = face.quality.refusals(limits);
    if refusals.is_empty() {
        return Ok(());
    }
    let reasons: Vec<_> = refusals.iter().map(|r| r.word()).collect();
    Err(EnrolmentError::Poor {
        reasons: reasons.join(", ").replace('_', " "),
        measured: measured(&face.quality),
    })
}

fn measured(quality: &Quality) -> String {
    let Quality {
        face_px,
        sharpness,
        brightness,
        yaw,
        pitch,
        roll,
        ..
    } = quality;
    format!(
        "{face_px:.0} px wide, sharpness {sharpness:.0}, brightness {brightness:.0}, \
         yaw {yaw:.0}, pitch {pitch:.0}, roll {roll:.0} degrees"
    )
}

/// The templates of `subject` that are to be kept. With `force` nothing is asked of them.
///
/// # Errors
/// [`EnrolmentError::TwoPeople`], [`EnrolmentError::Known`] and [`EnrolmentError::Unlike`].
pub fn templates(
    embeddings: &[Embedding],
    subject: &str,
    gallery: &Gallery,
    force: bool,
) -> Result<Vec<Template>, EnrolmentError> {
    let template = |embedding| Template::new(embedding, gallery.model_id().clone());
    let templates: Vec<_> = embeddings.iter().map(template).collect();
    if !force {
        show_one_person(&templates, gallery)?;
        belong_to(&templates, subject, gallery)?;
    }
    Ok(templates)
}

fn show_one_person(templates: &[Template], gallery: &Gallery) -> Result<(), EnrolmentError> {
    let Some((first, rest)) = templates.split_first() else {
        return Ok(());
    };
    for (i, other) in rest.iter().enumerate() {
        let (similarity, threshold) = gallery.compare(first, other)?;
        if similarity < threshold {
            return Err(EnrolmentError::TwoPeople {
                other: i + 1,
                similarity,
                threshold,
            });
        }
    }
    Ok(())
}

/// Whether the templates are `subject`'s, as far as that is known, and nobody else's.
fn belong_to(
    templates: &[Template],
    subject: &str,
    gallery: &Gallery,
) -> Result<(), EnrolmentError> {
    for template in templates {
        let found = gallery.search(template)?;
        if let Some(other) = found.accepted().filter(|best| *best.subject != *subject) {
            return Err(EnrolmentError::Known {
                subject: other.subject.to_string(),
                similarity: other.similarity,
                threshold: found.threshold,
            });
        }
        let own = gallery.verify(template, subject)?;
        if let Some(unlike) = own.filter(|own| !own.is_accepted()) {
            return Err(EnrolmentError::Unlike {
                subject: subject.to_owned(),
                similarity: unlike.similarity,
                threshold: unlike.threshold,
            });
        }
    }
    Ok(())
}

const NO_FACE: &str = "no face was seen";

/// Collects the good faces of a camera's frames, to take the best of them.
pub struct BestFaces {
    limits: QualityLimits,
    wanted: usize,
    good: Vec<(f32, Embedding)>,
    seen: usize,
    why: &'static str,
}

impl BestFaces {
    /// Wants `wanted` good faces.
    pub fn new(limits: QualityLimits, wanted: usize) -> Self {
        Self {
            limits,
            wanted,
            good: Vec::new(),
            seen: 0,
            why: NO_FACE,
        }
    }

    /// Takes what one frame showed. True when it was good.
    pub fn offer(&mut self, face: Option<ExtractedFace>) -> bool {
        self.seen += 1;
        let Some(face) = face else {
            self.why = NO_FACE;
            return false;
        };
        if face.others > 0 {
            self.why = "more than one face was seen";
            return false;
        }
        match face.quality.refusals(&self.limits).first() {
            Some(reason) => {
                self.why = reason.word();
                false
            }
            None => {
                self.good.push((face.quality.rank(), face.embedding));
                true
            }
        }
    }

    /// What was wrong with the last frame that was not good.
    pub fn why(&self) -> &'static str {
        self.why
    }

    /// Whether there are enough.
    pub fn is_full(&self) -> bool {
        self.good.len() >= self.wanted
    }

    /// The best [`KEPT`].
    ///
    /// # Errors
    /// [`EnrolmentError::TooFew`].
    pub fn best(mut self) -> Result<Vec<Embedding>, EnrolmentError> {
        let (good, seen, needed) = (self.good.len(), self.seen, KEPT.min(self.wanted));
        if good < needed {
            return Err(EnrolmentError::TooFew {
                good,
                seen,
                needed,
                why: (good < seen).then(|| self.why.replace('_', " ")),
            });
        }
        self.good.sort_by(|a, b| b.0.total_cmp(&a.0));
        let best = self.good.into_iter().take(KEPT);
        Ok(best.map(|(_, embedding)| embedding).collect())
    }
}
