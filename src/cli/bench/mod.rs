//! `doorward bench`: how long each stage takes on this machine.

mod network;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{Context, progress};
use crate::face::{AlignedFace, Embedding};
use crate::gallery::Template;
use crate::image::{Frame, Picture, PixelFormat, RgbImage, decode_photo, read_photo};

/// The picture that is used when none is given: a face of nobody in a drawn frame.
const PHOTO: &[u8] = include_bytes!("../../../tests/fixtures/ada.jpg");
/// The same scene without anybody.
const NOBODY: &[u8] = include_bytes!("../../../tests/fixtures/no_face.jpg");
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Photo to use as the camera's frame instead of the built-in one.
    #[arg(long, value_name = "FILE")]
    photo: Option<PathBuf>,
    /// Times that each stage runs; the median counts.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    runs: u32,
    /// Made-up people, with a template each, among whom the face is searched.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    people: u32,
    /// Run this stage only. `idle` is a frame in which nothing has moved.
    #[arg(long, value_name = "STAGE", value_parser = ["detect", "align", "embed", "match", "pipeline", "idle"])]
    stage: Option<String>,
    #[command(flatten)]
    network: network::Args,
}

/// A stage by its name, and what runs it once.
type Stage<'a> = (&'a str, Box<dyn FnMut() -> Result<()> + 'a>);

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    if let Some(file) = &args.network.network {
        return network::run(file, &args.network, args.runs, context);
    }
    let image = match &args.photo {
        Some(path) => read_photo(path)?,
        None => decode_photo(PHOTO, "the built-in photo")?,
    };
    let setup = &context.setup;
    let mut detector = setup.detector()?;
    let (mut embedder, id) = setup.embedder()?;
    let mut frame = yuyv(&image)?;
    let (shown, mut unused) = (frame.clone(), RgbImage::default());
    let picture = Picture::of(&shown, &mut unused)?;
    let found = detector.detect(picture)?;
    let face = found.first().with_context(|| {
        let photo = args.photo.as_ref().map(|path| path.display().to_string());
        let photo = photo.as_deref().unwrap_or("the built-in photo");
        format!("{photo} shows no face that is found")
    })?;
    let mut aligned = AlignedFace::default();
    aligned.align(picture, &face.landmarks);
    let cut = aligned.clone();

    let crowd = crowd(args.people, embedder.size(), &id);
    let mut gallery = setup.gallery(&embedder, id.clone())?;
    gallery.fill(crowd.clone())?;
    let probe = Template::new(embedder.embed(&aligned)?, id);
    let mut pipeline = setup.pipeline()?;
    pipeline.gallery_mut().fill(crowd)?;
    let mut watching = setup.pipeline()?;
    let empty = yuyv(&decode_photo(NOBODY, "the built-in empty scene")?)?;
    watching.step(&empty)?;

    let mut stages: Vec<Stage<'_>> = vec![
        (
            "detect",
            Box::new(|| Ok(detector.detect(picture).map(drop)?)),
        ),
        (
            "align",
            Box::new(|| {
                aligned.align(picture, &face.landmarks);
                Ok(())
            }),
        ),
        ("embed", Box::new(|| Ok(embedder.embed(&cut).map(drop)?))),
        ("match", Box::new(|| Ok(gallery.search(&probe).map(drop)?))),
        (
            "pipeline",
            Box::new(|| {
                frame.captured_at += Duration::from_millis(100);
                Ok(pipeline.step(&frame).map(drop)?)
            }),
        ),
        ("idle", Box::new(|| Ok(watching.step(&empty).map(drop)?))),
    ];
    if let Some(only) = &args.stage {
        stages.retain(|(name, _)| name == only);
    }
    let bar = progress(u64::from(args.runs) * stages.len() as u64, "stages");
    let mut times = BTreeMap::new();
    for (name, work) in &mut stages {
        let taken = time(args.runs, || {
            bar.inc(1);
            work()
        })?;
        times.insert(*name, taken.median);
    }
    bar.finish_and_clear();
    let rss_mib = resident_mib().context("cannot read /proc/self/status")?;
    let mut answer = json!({ "rss_mib": rss_mib });
    for (name, time) in &times {
        let (key, value) = match *name {
            "match" => (
                "match_us_per_1000".to_owned(),
                time * 1e6 / f64::from(args.people),
            ),
            name => (format!("{name}_ms"), *time),
        };
        answer[key] = value.into();
    }
    context.answer(&answer, || {
        let line = |(name, time): (&&str, &f64)| format!("{name} {time:.3} ms");
        let lines: Vec<String> = times.iter().map(line).collect();
        format!(
            "{} (a search among {}, a frame of {}x{} pixels); resident memory {rss_mib:.1} MiB",
            lines.join(", "),
            args.people,
            image.width(),
            image.height()
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// How long one of many runs takes, in milliseconds.
struct Times {
    median: f64,
    fastest: f64,
}

/// The times of `runs` runs.
fn time(runs: u32, mut work: impl FnMut() -> Result<()>) -> Result<Times> {
    let mut taken = Vec::new();
    for _ in 0..runs {
        let start = Instant::now();
        work()?;
        taken.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    taken.sort_by(f64::total_cmp);
    Ok(Times {
        median: taken[taken.len() / 2],
        fastest: taken[0],
    })
}

/// The image as a camera gives it, in BT.601 limited range; the colour of each left pixel serves
/// its right neighbour too. A row of odd width ends in half a pair more.
fn yuyv(image: &RgbImage) -> Result<Frame> {
    let luma = |[r, g, b]: [i32; 3]| ((66 * r + 129 * g + 25 * b + 128) >> 8) + 16;
    let byte = |value: i32| value.clamp(0, 255).to_le_bytes()[0];
    let mut bytes = Vec::with_capacity(image.pixels().len());
    let rows = image.pixels().chunks(3 * image.width());
    for pair in rows.flat_map(|row| row.chunks(6)) {
        let pixel =
            |at: usize| [0, 1, 2].map(|c| i32::from(pair[(at + c).min(pair.len() - 3 + c)]));
        let [r, g, b] = pixel(0);
        let u = ((-38 * r - 74 * g + 112 * b + 128) >> 8) + 128;
        let v = ((112 * r - 94 * g - 18 * b + 128) >> 8) + 128;
        bytes.extend([luma(pixel(0)), u, luma(pixel(3)), v].map(byte));
    }
    Ok(Frame {
        bytes,
        format: PixelFormat::Yuyv,
        width: u32::try_from(image.width())?,
        height: u32::try_from(image.height())?,
        stride: 0,
        sequence: 0,
        captured_at: Duration::ZERO,
    })
}

/// So many made-up people, each with one template.
fn crowd(people: u32, size: usize, id: &crate::gallery::ModelId) -> Vec<(String, Template)> {
    let mut state = 1u64;
    let mut next = || {
        // Xorshift (Marsaglia 2003); only speed is measured with it.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        f32::from(state.to_le_bytes()[0]) - 127.5
    };
    let mut person = |i: u32| {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::decode;

    #[test]
    fn rows_of_odd_width_keep_their_pixels() {
        let greys = [0, 50, 100, 150, 200, 250u8];
        let pixels = greys.iter().flat_map(|&grey| [grey; 3]).collect();
        let frame = yuyv(&RgbImage::from_pixels(3, 2, pixels)).unwrap();
        let mut back = RgbImage::default();
        decode(&frame, &mut back).unwrap();
        let found = back.pixels().iter().step_by(3);
        for (found, grey) in found.zip(greys) {
            assert!(found.abs_diff(grey) <= 2, "{:?}", back.pixels());
        }
    }
}
