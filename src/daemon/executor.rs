//! Obeys commands that have been let through.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::door::{DoorControl, DoorRefusal};
use super::reload::{Load, reload};
use super::shared::{Shared, lock};
use super::wishes::{Unfulfilled, Wishes};
use crate::command::Action;
use crate::enrolment::{BestFaces, EnrolmentError, good_enough, templates};
use crate::face::{Embedding, FaceExtractor, QualityLimits};
use crate::image::{decode_photo, encode_jpeg};
use crate::store::{NameError, Store, StoreError, SubjectName};

/// Good faces to choose the best from.
const FRAMES: usize = 5;
/// How long to wait for them.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was done.
pub(super) struct Done {
    /// In a sentence.
    pub(super) detail: String,
    /// For programs.
    pub(super) result: Value,
}

/// Why it was not done.
pub(super) struct Failure {
    /// In a word.
    pub(super) word: &'static str,
    /// In a sentence.
    pub(super) detail: String,
}

impl Failure {
    pub(super) fn new(word: &'static str, detail: &str) -> Self {
        let detail = detail.to_owned();
        Self { word, detail }
    }
}

/// What a command can reach.
pub(super) struct Executor {
    pub(super) shared: Arc<Shared>,
    pub(super) load: Load,
    pub(super) wishes: Wishes,
    pub(super) door: DoorControl,
}

impl Executor {
    /// Obeys the command `id`.
    pub(super) fn obey(&self, id: &str, action: &Action) -> Result<Done, Failure> {
        let by = format!("command {id}");
        match action {
            Action::Enroll { subject, photo } => self.enroll(subject, photo.as_deref()),
            Action::Remove { subject } => {
                // On a connection of its own: it writes the whole database anew.
                let section = lock(&self.shared.setup).config.store.clone();
                let mut store = Store::open_at_once(&section, Timestamp::now())?;
                match store.remove(&SubjectName::new(subject)?) {
                    Ok(()) => Ok(done(format!("{subject} is forgotten"), Value::Null)),
                    Err(traces @ StoreError::Traces { .. }) => {
                        log::warn!("{traces}");
                        Ok(said(&traces.to_string()))
                    }
                    Err(error) => Err(error.into()),
                }
            }
            Action::Rename { subject, name } => {
                let (from, to) = (SubjectName::new(subject)?, SubjectName::for_new(name)?);
                lock(&self.shared.store).rename(&from, &to)?;
                Ok(done(format!("{from} is now {to}"), Value::Null))
            }
            Action::List => self.list(),
            Action::Snapshot => {
                let picture = self.wishes.picture()?;
                let (width, height) = (picture.width(), picture.height());
                let jpeg = encode_jpeg(&picture).map_err(|e| bad_picture(&e))?;
                Ok(done(
                    format!("{width}x{height} pixels"),
                    json!({ "width": width, "height": height, "jpeg": STANDARD.encode(jpeg) }),
                ))
            }
            Action::Reload => {
                reload(&self.load, &self.shared)
                    .map_err(|error| Failure::new("reload_failed", &format!("{error:#}")))?;
                Ok(said("configuration and models were read again"))
            }
            Action::Open => {
                self.door.open(&by)?;
                Ok(said("the door opens"))
            }
            Action::Hold => {
                self.door.hold(&by)?;
                Ok(said("the door is held shut"))
            }
            Action::Release => {
                self.door.release(&by)?;
                Ok(said("the door is no longer held"))
            }
            Action::Claim { subject } => {
                let subject = SubjectName::new(subject)?;
                self.door.claim(subject.as_str())?;
                Ok(said(
                    "the claim is looked at; an access event says what comes of it",
                ))
            }
        }
    }

    fn list(&self) -> Result<Done, Failure> {
        let subjects = lock(&self.shared.store).list()?;
        let rows: Vec<_> = subjects
            .iter()
            .map(|s| {
                let templates: u32 = s.templates.iter().map(|(_, n)| n).sum();
                json!({ "subject": s.name, "templates": templates, "created": s.created })
            })
            .collect();
        Ok(done(format!("{} people", rows.len()), json!(rows)))
    }

    fn enroll(&self, subject: &str, photo: Option<&[u8]>) -> Result<Done, Failure> {
        let subject = SubjectName::for_new(subject)?;
        let broken = |error: anyhow::Error| Failure::new("model_failed", &format!("{error:#}"));
        let setup = Arc::clone(&lock(&self.shared.setup));
        let limits = setup.limits();
        let (mut extractor, id) = setup.extractor().map_err(broken)?;
        let mut gallery = setup.gallery(extractor.embedder(), id).map_err(broken)?;
        lock(&self.shared.store).load(&mut gallery)?;
        let (source, embeddings) = match photo {
            Some(bytes) => (
                "photo",
                vec![photo_embedding(bytes, &limits, &mut extractor)?],
            ),
            None => ("camera", self.camera_embeddings(limits, &mut extractor)?),
        };
        let new = templates(&embeddings, subject.as_str(), &gallery, false)?;
        let enrolled = lock(&self.shared.store).enrol(&subject, &new, source, Timestamp::now())?;
        Ok(done(
            format!("{subject}: {} templates", enrolled.templates),
            json!({
                "added": new.len(),
                "templates": enrolled.templates,
                "new_subject": enrolled.new_subject,
            }),
        ))
    }

    fn camera_embeddings(
        &self,
        limits: QualityLimits,
        extractor: &mut FaceExtractor,
    ) -> Result<Vec<Embedding>, Failure> {
        let begun = Instant::now();
        let mut faces = BestFaces::new(limits, FRAMES);
        while !faces.is_full() && begun.elapsed() < PATIENCE {
            let picture = self.wishes.picture()?;
            faces.offer(extractor.extract(&picture).map_err(|e| bad_model(&e))?);
        }
        Ok(faces.best()?)
    }
}

/// The face of a photo that shows one person.
fn photo_embedding(
    bytes: &[u8],
    limits: &QualityLimits,
    extractor: &mut FaceExtractor,
) -> Result<Embedding, Failure> {
    let image = decode_photo(bytes, "the photo").map_err(|e| bad_picture(&e))?;
    let face = extractor.extract(&image).map_err(|e| bad_model(&e))?;
    let Some(face) = face else {
        let detail = "the photo shows no face that is found";
        return Err(Failure::new("no_face", detail));
    };
    if face.others > 0 {
        let detail = "the photo shows more than one person";
        return Err(Failure::new("several_faces", detail));
    }
    good_enough(&face, limits)?;
    Ok(face.embedding)
}

fn done(detail: String, result: Value) -> Done {
    Done { detail, result }
}

fn said(detail: &str) -> Done {
    done(detail.to_owned(), Value::Null)
}

fn bad_picture(error: &crate::image::ImageError) -> Failure {
    Failure::new("bad_picture", &error.to_string())
}

fn bad_model(error: &dyn std::error::Error) -> Failure {
    Failure::new("model_failed", &error.to_string())
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        Self::new("bad_name", &error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let word = match error {
            StoreError::NoSuchSubject(_) => "no_such_subject",
            StoreError::NameTaken(_) => "name_taken",
            _ => "store_failed",
        };
        Self::new(word, &error.to_string())
    }
}

impl From<DoorRefusal> for Failure {
    fn from(error: DoorRefusal) -> Self {
        Self::new(error.word(), &error.to_string())
    }
}

impl From<EnrolmentError> for Failure {
    fn from(error: EnrolmentError) -> Self {
        let word = match error {
            EnrolmentError::Poor { .. } => "poor_face",
            EnrolmentError::TooFew { .. } => "too_few_faces",
            EnrolmentError::TwoPeople { .. } => "two_people",
            EnrolmentError::Known { .. } => "known_already",
            EnrolmentError::Unlike { .. } => "looks_different",
            EnrolmentError::Mismatch(_) => "model_failed",
        };
        Self::new(word, &error.to_string())
    }
}

impl From<Unfulfilled> for Failure {
    fn from(error: Unfulfilled) -> Self {
        let word = match error {
            Unfulfilled::NoPicture => "no_picture",
            Unfulfilled::Stopping => "stopping",
        };
        Self::new(word, &error.to_string())
    }
}
