//! How long the stages of a frame take, and how the search grows with the gallery.
//!
//! `cargo bench --bench stages`, or a part of it: `cargo bench --bench stages -- search`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use doorward::face::{AlignedFace, Embedding};
use doorward::gallery::{ModelId, Template};
use doorward::image::{Frame, Picture, PixelFormat, RgbImage, decode_photo};
use doorward::setup::{ModelArgs, Setup};

fn photo(name: &str) -> RgbImage {
    let file = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    decode_photo(&std::fs::read(file).unwrap(), name).unwrap()
}

/// The photo as a camera gives it that knows no colour.
fn yuyv(image: &RgbImage) -> Frame {
    let pixels = image.pixels().chunks(3);
    Frame {
        bytes: pixels.flat_map(|p| [p[1], 128]).collect(),
        format: PixelFormat::Yuyv,
        width: u32::try_from(image.width()).unwrap(),
        height: u32::try_from(image.height()).unwrap(),
        stride: 0,
        sequence: 0,
        captured_at: Duration::ZERO,
    }
}

/// A made-up template of so many components.
fn template(seed: u64, size: usize, id: &ModelId) -> Template {
    let mut state = seed * 2 + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        f32::from(state.to_le_bytes()[0]) - 127.5
    };
    let embedding = Embedding::new((0..size).map(|_| next()).collect());
    Template::new(&embedding, id.clone())
}

fn stages(c: &mut Criterion) {
    let setup = Setup::load(None, &ModelArgs::default()).unwrap();
    let (ada, nobody) = (photo("ada.jpg"), photo("no_face.jpg"));
    let (face, empty) = (yuyv(&ada), yuyv(&nobody));
    let mut group = c.benchmark_group("stages");

    let mut unused = RgbImage::default();
    let frame = Picture::of(&face, &mut unused).unwrap();
    let mut detector = setup.detector().unwrap();
    group.bench_function("detect", |b| b.iter(|| detector.detect(frame).unwrap()));
    let found = detector.detect(frame).unwrap()[0];
    let mut aligned = AlignedFace::default();
    group.bench_function("align", |b| {
        b.iter(|| aligned.align(frame, &found.landmarks));
    });
    let (mut embedder, _) = setup.embedder().unwrap();
    group.bench_function("embed", |b| {
        b.iter(|| black_box(embedder.embed(&aligned).unwrap().values()[0]));
    });
    let (mut liveness, _) = setup.liveness().unwrap();
    group.bench_function("liveness", |b| b.iter(|| liveness.logit(&aligned).unwrap()));

    let mut step = |name: &str, frame: &Frame, pause: u64| {
        let (mut pipeline, mut frame) = (setup.pipeline().unwrap(), frame.clone());
        group.bench_function(name, |b| {
            b.iter(|| {
                frame.captured_at += Duration::from_micros(pause);
                pipeline.step(&frame).unwrap()
            });
        });
    };
    step("a frame with a face", &face, 100_000);
    step("a frame in which nothing moved", &empty, 1);
    group.finish();
}

/// A search reads every template once; beside it is what reading them costs alone.
fn search(c: &mut Criterion) {
    const SIZE: usize = 512;
    let setup = Setup::load(None, &ModelArgs::default()).unwrap();
    let (embedder, id) = setup.embedder().unwrap();
    let probe = template(0, SIZE, &id);
    let mut group = c.benchmark_group("search");
    for people in [1, 100, 1000, 10_000, 100_000] {
        let crowd = (1..=people).map(|i| (format!("{i:06}"), template(i, SIZE, &id)));
        let mut gallery = setup.gallery(&embedder, id.clone()).unwrap();
        gallery.fill(crowd.collect()).unwrap();
        group.throughput(Throughput::Bytes(people * SIZE as u64));
        group.bench_function(BenchmarkId::new("search", people), |b| {
            b.iter(|| gallery.search(&probe).unwrap());
        });
        let words = vec![1u64; usize::try_from(people).unwrap() * SIZE / 8];
        group.bench_function(BenchmarkId::new("read", people), |b| {
            b.iter(|| black_box(&words).iter().fold(0, |sum, word| sum ^ word));
        });
    }
    group.finish();
}

criterion_group!(benches, stages, search);
criterion_main!(benches);
