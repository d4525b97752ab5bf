//! Pictures of faces and faces, through the whole pipeline: how often presentation attack detection
//! errs, in the terms of ISO/IEC 30107-3.
//!
//! Needs `../shared/data/pad` and a liveness model. `DOORWARD_PAD` says how many pictures of each
//! kind and set are taken, 3 when it is not set. The figures are printed, not judged: how good is
//! good enough is the model's card to say.
#![allow(missing_docs, clippy::unwrap_used)]

mod door;
mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::time::Duration;

use door::{Door, shared};
use doorward::face::PresentationVerdict;
use doorward::image::{Frame, PixelFormat, RgbImage, decode_photo};
use doorward::inference::Role;
use doorward::pipeline::Pipeline;
use doorward::setup::{ModelArgs, Setup};
use support::skipped;
use zip::ZipArchive;

/// Frames of a visit that are shown at most.
const FRAMES: u32 = 10;
/// Time of a visit, and of the break after it.
const VISIT: Duration = Duration::from_secs(60);

/// What became of the presentations of one kind.
#[derive(Default)]
struct Tally {
    attacks: u32,
    bona_fide: u32,
    /// No face was found, or none good enough to be compared.
    silent: u32,
}

impl Tally {
    fn all(&self) -> u32 {
        self.attacks + self.bona_fide + self.silent
    }
}

/// A picture with its edge repeated around it, since some are cut closely round the face, and a plain
/// frame would look like that of a photo.
fn framed(image: &RgbImage) -> RgbImage {
    let (width, height) = (image.width(), image.height());
    let within =
        |at: usize, length: usize| (at + length / 2).clamp(length, 2 * length - 1) - length;
    let pixels = (0..2 * height).flat_map(|y| (0..2 * width).map(move |x| (x, y)));
    let pixels = pixels.flat_map(|(x, y)| {
        let at = 3 * (within(y, height) * width + within(x, width));
        image.pixels()[at..at + 3].iter().copied()
    });
    RgbImage::from_pixels(2 * width, 2 * height, pixels.collect())
}

/// What the pipeline says of somebody who holds still.
fn verdict(
    pipeline: &mut Pipeline,
    image: &RgbImage,
    start: Duration,
) -> Option<PresentationVerdict> {
    for i in 0..FRAMES {
        let frame = Frame {
            bytes: image.pixels().to_vec(),
            format: PixelFormat::Rgb24,
            width: image.width().try_into().unwrap(),
            height: image.height().try_into().unwrap(),
            stride: 0,
            sequence: i.into(),
            captured_at: start + i * Duration::from_millis(100),
        };
        let step = pipeline.step(&frame).unwrap();
        let said = step.faces.iter().find_map(|face| face.presentation);
        if let Some(verdict) = said.and_then(|presentation| presentation.verdict) {
            return Some(verdict);
        }
    }
    None
}

fn share(part: u32, whole: u32) -> f64 {
    f64::from(part) / f64::from(whole.max(1))
}

#[test]
fn attacks_and_faces_per_set() {
    let Some(folder) = shared() else { return };
    let door = Door::new("[liveness]\nalways = true\n");
    let setup = Setup::load(Some(&door.path("door.toml")), &ModelArgs::default()).unwrap();
    if setup.models().names(Role::Liveness).is_empty() {
        return skipped("there is no liveness model");
    }
    let most: usize = std::env::var("DOORWARD_PAD").map_or(3, |number| number.parse().unwrap());
    let mut pipeline = setup.pipeline().unwrap();
    let mut archive =
        ZipArchive::new(File::open(folder.join("data/pad/pad_dev.zip")).unwrap()).unwrap();
    let names: Vec<String> = archive
        .file_names()
        .map(|name| name.unwrap().into_owned())
        .collect();
    let mut kinds: BTreeMap<(String, bool), Vec<String>> = BTreeMap::new();
    for name in names {
        let mut parts = name.split('/');
        if let (Some(set), Some(kind), Some(file)) = (parts.next(), parts.next(), parts.next())
            && !file.is_empty()
        {
            let key = (set.to_owned(), kind == "fake");
            kinds.entry(key).or_default().push(name.clone());
        }
    }
    let mut tallies: BTreeMap<(String, bool), Tally> = BTreeMap::new();
    let mut start = Duration::ZERO;
    for (key, names) in &kinds {
        // Spread over the whole of them.
        for name in names.iter().step_by(names.len().div_ceil(most)) {
            let mut bytes = Vec::new();
            archive
                .by_name(name)
                .unwrap()
                .read_to_end(&mut bytes)
                .unwrap();
            let image = framed(&decode_photo(&bytes, name).unwrap());
            start += VISIT;
            let tally = tallies.entry(key.clone()).or_default();
            match verdict(&mut pipeline, &image, start) {
                Some(PresentationVerdict::Attack) => tally.attacks += 1,
                Some(PresentationVerdict::BonaFide) => tally.bona_fide += 1,
                None => tally.silent += 1,
            }
        }
    }
    let shown: u32 = tallies.values().map(Tally::all).sum();
    assert!(shown > 20, "{shown} presentations");
    for ((set, attack), tally) in &tallies {
        let answered = tally.attacks + tally.bona_fide;
        let (rate, wrong, silence) = if *attack {
            ("APCER", tally.bona_fide, "APNRR")
        } else {
            ("BPCER", tally.attacks, "BPNRR")
        };
        println!(
            "PAD {set}: {} presentations, {rate} {:.3}, {silence} {:.3}",
            tally.all(),
            share(wrong, answered),
            share(tally.silent, tally.all()),
        );
    }
}
