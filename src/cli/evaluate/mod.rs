//! `doorward evaluate`: accuracy on pairs of photos, as on Labeled Faces in the Wild.

mod images;
mod pairs;
mod plot;
mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};

use super::{Context, progress};
use crate::gallery::Template;
use crate::image::decode_photo;
use images::Images;
use pairs::{PairList, Photo};
use report::{Report, Scored};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder or zip archive with the photos, named `Name/Name_0001.jpg`.
    #[arg(long, value_name = "DIR_OR_ZIP")]
    images: PathBuf,
    /// List of pairs in the format of LFW's View 2, with any number of folds.
    #[arg(long, value_name = "FILE")]
    pairs: PathBuf,
    /// Write the trade-off between false matches and false non-matches as a picture (SVG).
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// A photo's template, or none when no face was found.
type Templates = BTreeMap<Photo, Option<Template>>;

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let pairs = PairList::read(&args.pairs)?;
    let images = Images::open(&args.images)?;
    let templates = embed_all(&pairs, &images, context)?;
    let (extractor, id) = context.setup.extractor()?;
    let gallery = context.setup.gallery(extractor.embedder(), id)?;
    let mut scored = Vec::new();
    for pair in pairs.pairs() {
        let template = |photo| templates.get(photo).and_then(Option::as_ref);
        let similarity = match (template(&pair.first), template(&pair.second)) {
            (Some(a), Some(b)) => gallery.compare(a, b)?.0,
            // A face that is not found can never be accepted.
            _ => f32::NEG_INFINITY,
        };
        scored.push(Scored {
            fold: pair.fold,
            same: pair.same,
            similarity,
        });
    }
    let failed = templates.values().filter(|t| t.is_none()).count();
    let report = Report::of(&scored, failed);
    if let Some(path) = &args.plot {
        plot::write(&scored, path)?;
    }
    context.answer(&report.json(), || report.words())?;
    Ok(ExitCode::SUCCESS)
}

/// Embeds every photo that the pairs name, on all cores.
fn embed_all(pairs: &PairList, images: &Images, context: &Context) -> Result<Templates> {
    let photos = pairs.photos();
    let bar = progress(photos.len() as u64, "photos");
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Templates::new());
    let work = || -> Result<()> {
        let (mut extractor, id) = context.setup.extractor()?;
        let mut images = images.reader()?;
        while let Some(photo) = photos.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (name, bytes) = images.read(photo)?;
            let face = extractor.extract(&decode_photo(&bytes, &name)?);
            let face = face.with_context(|| name.clone())?;
            if face.is_none() {
                log::warn!("{name}: no face was found");
            }
            let template = face.map(|face| Template::new(&face.embedding, id.clone()));
            let mut done = done
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            done.insert(photo.clone(), template);
            bar.inc(1);
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|w| match w.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    bar.finish_and_clear();
    Ok(done
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner))
}
