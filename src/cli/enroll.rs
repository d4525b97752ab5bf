//! `doorward enroll`: makes a person known.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use jiff::Timestamp;
use serde_json::json;

use super::photos::only_face_of;
use super::{Context, progress};
use crate::face::{Embedding, FaceExtractor, Quality, QualityLimits};
use crate::gallery::{Gallery, Template};
use crate::image::{RgbImage, decode};
use crate::store::SubjectName;

/// Templates that are kept of an enrolment from the camera.
const KEPT: usize = 3;
/// How long to wait for good frames.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The person's name.
    subject: String,
    /// Photos of the person alone.
    #[arg(long = "photo", value_name = "FILE", num_args = 1.., required_unless_present = "camera")]
    photos: Vec<PathBuf>,
    /// Take the person in front of the camera.
    #[arg(long, conflicts_with = "photos")]
    camera: bool,
    /// Good frames to choose the best from, with --camera.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=1000))]
    frames: u64,
    /// Enrol in spite of a poor photo or of the same face under another name.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let subject = SubjectName::new(&args.subject)?;
    let setup = &context.setup;
    let (mut extractor, id) = setup.extractor()?;
    let mut store = context.store()?;
    let mut gallery = setup.gallery(extractor.embedder(), id.clone())?;
    store.load(&mut gallery)?;
    let embeddings = if args.camera {
        from_camera(args, context, &mut extractor)?
    } else {
        from_photos(args, &setup.limits(), &mut extractor)?
    };
    let templates: Vec<_> = embeddings
        .iter()
        .map(|e| Template::new(e, id.clone()))
        .collect();
    agree(&templates, &gallery, args)?;
    for template in &templates {
        let found = gallery.search(template)?;
        let other = found
            .accepted()
            .filter(|best| best.subject != subject.as_str());
        if let Some(other) = other.filter(|_| !args.force) {
            bail!(
                "this face is enrolled as {} already (similarity {:.3}, threshold {:.3}); remove \
                 that entry, or use --force if they are two people",
                other.subject,
                other.similarity,
                found.threshold
            );
        }
    }
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
    );
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
        let face = only_face_of(path, extractor)?;
        let refusals = face.quality.refusals(limits);
        if !refusals.is_empty() && !args.force {
            let reasons: Vec<_> = refusals.iter().map(|r| r.word()).collect();
            bail!(
                "{}: the face is {} ({}); use a better photo, or --force",
                path.display(),
                reasons.join(", ").replace('_', " "),
                measured(&face.quality)
            );
        }
        embeddings.push(face.embedding);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(embeddings)
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

/// The best of the first good frames.
fn from_camera(
    args: &Args,
    context: &Context,
    extractor: &mut FaceExtractor,
) -> Result<Vec<Embedding>> {
    let limits = context.setup.limits();
    let started = Instant::now();
    let mut source = context.setup.open_source(started)?;
    let bar = progress(args.frames, "good frames");
    let mut image = RgbImage::default();
    let mut good: Vec<(f32, Embedding)> = Vec::new();
    let mut seen = 0u32;
    let mut why = "no face was seen";
    while (good.len() as u64) < args.frames && started.elapsed() < PATIENCE {
        let Some(frame) = source.next_frame()? else {
            break;
        };
        seen += 1;
        if let Err(error) = decode(&frame, &mut image) {
            log::warn!("{error}");
            continue;
        }
        match extractor.extract(&image)? {
            None => {}
            Some(face) if face.others > 0 => why = "more than one face was seen",
            Some(face) => match face.quality.refusals(&limits).first() {
                Some(reason) => why = reason.word(),
                None => {
                    good.push((face.quality.rank(), face.embedding));
                    bar.inc(1);
                }
            },
        }
        bar.set_message(format!("good frames ({why})"));
    }
    bar.finish_and_clear();
    if good.len() < KEPT.min(usize::try_from(args.frames)?) {
        bail!(
            "{} of {seen} frames were good; the last reason was: {}",
            good.len(),
            why.replace('_', " ")
        );
    }
    good.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(good
        .into_iter()
        .take(KEPT)
        .map(|(_, embedding)| embedding)
        .collect())
}

/// Refuses templates of one enrolment that do not show one person.
fn agree(templates: &[Template], gallery: &Gallery, args: &Args) -> Result<()> {
    let Some((first, rest)) = templates.split_first() else {
        return Ok(());
    };
    for (i, other) in rest.iter().enumerate() {
        let (similarity, threshold) = gallery.verify(first, other)?;
        if similarity < threshold && !args.force {
            let which = match (args.photos.first(), args.photos.get(i + 1)) {
                (Some(a), Some(b)) => format!("{} and {}", a.display(), b.display()),
                _ => "the frames".to_owned(),
            };
            bail!(
                "{which} do not seem to show one person (similarity {similarity:.3}, threshold \
                 {threshold:.3}); use other pictures, or --force"
            );
        }
    }
    Ok(())
}
