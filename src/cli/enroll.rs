//! `doorward enroll`: makes a person known.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use jiff::Timestamp;
use serde_json::json;

use super::photos::face_of;
use super::{Context, progress};
use crate::enrolment::{BestFaces, EnrolmentError, good_enough, templates};
use crate::face::{Embedding, FaceExtractor, QualityLimits};
use crate::image::{RgbImage, decode};
use crate::store::SubjectName;

/// How long to wait for good frames.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("face").required(true).args(["photos", "camera"])))]
pub(super) struct Args {
    /// The person's name.
    subject: String,
    /// Photos of the person alone; `-` is standard input.
    #[arg(long = "photo", value_name = "FILE", num_args = 1..)]
    photos: Vec<PathBuf>,
    /// Take the person in front of the camera.
    #[arg(long)]
    camera: bool,
    /// Good frames to choose the best from, with --camera.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=1000))]
    frames: u64,
    /// Enrol in spite of a poor photo, of the same face under another name, or of another face
    /// under the same name.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let subject = SubjectName::for_new(&args.subject)?;
    let setup = &context.setup;
    let (mut extractor, id) = setup.extractor()?;
    let mut store = context.store()?;
    let mut gallery = setup.gallery(extractor.embedder(), id)?;
    store.load(&mut gallery)?;
    let embeddings = if args.camera {
        from_camera(args, context, &mut extractor)?
    } else {
        from_photos(args, &setup.limits(), &mut extractor)?
    };
    let templates = templates(&embeddings, subject.as_str(), &gallery, args.force)
        .map_err(|error| with_advice(error, args))?;
    let source = if args.camera { "camera" } else { "photo" };
    let enrolled = store.enrol(&subject, &templates, source, Timestamp::now())?;
    context.answer(
        &json!({
            "subject": subject.as_str(),
            "added": templates.len(),
            "templates": enrolled.templates,
            "new_subject": enrolled.new_subject,
        }),
        || {
            format!(
                "{subject}: {} added, {} in all",
                count(templates.len()),
                enrolled.templates
            )
        },
    )?;
    Ok(ExitCode::SUCCESS)
}

fn count(templates: usize) -> String {
    format!(
        "{templates} template{}",
        if templates == 1 { "" } else { "s" }
    )
}

fn from_photos(
    args: &Args,
    limits: &QualityLimits,
    extractor: &mut FaceExtractor,
) -> Result<Vec<Embedding>> {
    let bar = progress(args.photos.len() as u64, "photos");
    let mut embeddings = Vec::new();
    for path in &args.photos {
        let face = face_of(path, extractor)?;
        if !args.force {
            good_enough(&face, limits).map_err(|error| {
                let path = path.display();
                anyhow!("{path}: {error}; use a better photo, or --force")
            })?;
        }
        embeddings.push(face.embedding);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(embeddings)
}

/// The best of the first good frames.
fn from_camera(
    args: &Args,
    context: &Context,
    extractor: &mut FaceExtractor,
) -> Result<Vec<Embedding>> {
    let started = Instant::now();
    let mut source = context.setup.open_source(started)?;
    let bar = progress(args.frames, "good frames");
    let mut image = RgbImage::default();
    let mut faces = BestFaces::new(context.setup.limits(), usize::try_from(args.frames)?);
    while !faces.is_full() && started.elapsed() < PATIENCE {
        let Some(frame) = source.next_frame()? else {
            break;
        };
        if let Err(error) = decode(&frame, &mut image) {
            log::warn!("{error}");
            continue;
        }
        if faces.offer(extractor.extract(&image)?) {
            bar.inc(1);
        }
        bar.set_message(format!("good frames ({})", faces.why()));
    }
    bar.finish_and_clear();
    Ok(faces.best()?)
}

/// Says what to do, and which pictures do not show one person.
fn with_advice(error: EnrolmentError, args: &Args) -> anyhow::Error {
    match &error {
        EnrolmentError::Known { .. } => {
            anyhow!("{error}; remove that entry, or use --force if they are two people")
        }
        EnrolmentError::Unlike { .. } => {
            anyhow!("{error}; take another name, or use --force if it is the same person")
        }
        EnrolmentError::TwoPeople { other, .. } => {
            let which = match (args.photos.first(), args.photos.get(*other)) {
                (Some(a), Some(b)) => format!("{} and {}: ", a.display(), b.display()),
                _ => String::new(),
            };
            anyhow!("{which}{error}; use other pictures, or --force")
        }
        _ => error.into(),
    }
}
