//! `doorward bench`: how long each stage takes on this machine.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{Context, progress};
use crate::face::{AlignedFace, Embedding};
use crate::gallery::Template;
use crate::image::{Frame, PixelFormat, decode_photo, read_photo};

/// The picture that is used when none is given: a face of nobody in a drawn frame.
const PHOTO: &[u8] = include_bytes!("../../tests/fixtures/ada.jpg");
/// Templates of the gallery that is searched.
const GALLERY: usize = 1000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Photo to use as the camera's frame instead of the built-in one.
    #[arg(long, value_name = "FILE")]
    photo: Option<PathBuf>,
    /// Times that each stage runs; the median counts.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    runs: u32,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let image = match &args.photo {
        Some(path) => read_photo(path)?,
        None => decode_photo(PHOTO, "the built-in photo")?,
    };
    let setup = &context.setup;
    let mut detector = setup.detector()?;
    let (mut embedder, id) = setup.embedder()?;
    let found = detector.detect(&image)?;
    let face = found
        .first()
        .context("the photo shows no face that is found")?;
    let mut aligned = AlignedFace::default();
    aligned.align(&image, &face.landmarks);

    let mut gallery = setup.gallery(&embedder, id.clone())?;
    gallery.fill(crowd(GALLERY, embedder.size(), &id))?;
    let probe = Template::new(&embedder.embed(&aligned)?, id.clone());
    let mut pipeline = setup.pipeline()?;
    pipeline
        .gallery_mut()
        .fill(crowd(GALLERY, embedder.size(), &id))?;
    let frame = Frame {
        format: PixelFormat::Rgb24,
        width: u32::try_from(image.width())?,
        height: u32::try_from(image.height())?,
        stride: 0,
        sequence: 0,
        captured_at: Duration::ZERO,
        bytes: image.pixels().to_vec(),
    };

    let bar = progress(u64::from(args.runs) * 5, "stages");
    let time = |work: &mut dyn FnMut() -> Result<()>| -> Result<f64> {
        let mut taken = Vec::new();
        for _ in 0..args.runs {
            let start = Instant::now();
            work()?;
            taken.push(start.elapsed().as_secs_f64() * 1000.0);
            bar.inc(1);
        }
        taken.sort_by(f64::total_cmp);
        Ok(taken[taken.len() / 2])
    };
    let detect_ms = time(&mut || Ok(detector.detect(&image).map(drop)?))?;
    let align_ms = time(&mut || {
        aligned.align(&image, &face.landmarks);
        Ok(())
    })?;
    let embed_ms = time(&mut || Ok(embedder.embed(&aligned).map(drop)?))?;
    let match_ms = time(&mut || Ok(gallery.search(&probe).map(drop)?))?;
    let pipeline_ms = time(&mut || Ok(pipeline.step(&frame).map(drop)?))?;
    bar.finish_and_clear();
    let rss_mib = resident_mib().context("cannot read /proc/self/status")?;
    let match_us = match_ms * 1000.0;
    context.answer(
        &json!({
            "detect_ms": detect_ms,
            "align_ms": align_ms,
            "embed_ms": embed_ms,
            "match_us_per_1000": match_us,
            "pipeline_ms": pipeline_ms,
            "rss_mib": rss_mib,
        }),
        || {
            format!(
                "detect {detect_ms:.2} ms, align {align_ms:.2} ms, embed {embed_ms:.2} ms, match \
                 {match_us:.0} us per 1000 templates\nwhole pipeline, {}x{} pixels with a face: \
                 {pipeline_ms:.2} ms; resident memory {rss_mib:.1} MiB",
                image.width(),
                image.height()
            )
        },
    );
    Ok(ExitCode::SUCCESS)
}

/// So many made-up people, each with one template.
fn crowd(people: usize, size: usize, id: &crate::gallery::ModelId) -> Vec<(String, Template)> {
    let mut state = 1u64;
    let mut next = || {
        // Xorshift (Marsaglia 2003); only speed is measured with it.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        f32::from(state.to_le_bytes()[0]) - 127.5
    };
    let mut person = |i: usize| {
        let embedding = Embedding::new((0..size).map(|_| next()).collect());
        (format!("{i:06}"), Template::new(&embedding, id.clone()))
    };
    (0..people).map(&mut person).collect()
}

/// Resident memory of this process.
fn resident_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}
