//! Whatever comes from outside, changed at random: an error or a result, never a panic, and never
//! more memory than there is.
//!
//! `PROPTEST_CASES` says how many inputs each kind gets, 256 when it is not set; kinds that take a
//! process or a network each get a part of it. It is proptest, so that it runs with the Rust that
//! builds doorward, and what it finds is made small.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../door/mod.rs"]
mod door;
mod mutate;
#[path = "../support/mod.rs"]
mod support;
mod wire;

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use door::{Door, fixture};
use doorward::config::Config;
use doorward::image::{
    Fit, Frame, Picture, PixelFormat, Point, RgbImage, Similarity, Warp, decode, decode_photo,
};
use doorward::setup::{ModelArgs, Setup};
use mutate::mutated;
use proptest::prelude::*;
use proptest::test_runner::{Config as Settings, TestRunner};
use sha2::{Digest, Sha256};

/// Address space of a process under test, KiB.
const MEMORY_KIB: u32 = 4 << 20;

/// Gives `strategy`'s inputs to `test`: a share of all cases, and at least a few.
fn fuzz<S: Strategy>(name: &str, share: u32, strategy: S, test: impl Fn(S::Value))
where
    S::Value: Debug,
{
    let settings = Settings::default();
    let cases = (settings.cases / share).max(8);
    let mut runner = TestRunner::new(Settings {
        cases,
        failure_persistence: None,
        max_shrink_time: 60_000,
        ..settings
    });
    let outcome = runner.run(&strategy, |input| {
        test(input);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{name}: {failure}");
    }
    println!("fuzz {name}: {cases} inputs, 0 crashes");
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

fn frame(format: PixelFormat, (width, height, stride): (u32, u32, u32), bytes: Vec<u8>) -> Frame {
    Frame {
        bytes,
        format,
        width,
        height,
        stride,
        sequence: 0,
        captured_at: Duration::ZERO,
    }
}

/// Mostly small, sometimes anything.
fn side() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..200u32, 1 => any::<u32>(), 1 => Just(u32::MAX)]
}

#[test]
fn frames_of_every_format() {
    let format = (0..PixelFormat::ALL.len()).prop_map(|i| PixelFormat::ALL[i]);
    let eyes = prop::array::uniform4(-400.0..400.0f32);
    let strategy = (format, (side(), side(), side()), -4..4i32, eyes);
    fuzz("frames", 1, strategy, |(format, size, slack, eyes)| {
        let (width, height, stride) = size;
        let whole = format.min_len(width, height, stride).min(1 << 20);
        let length = whole.saturating_add_signed(slack.try_into().unwrap());
        let bytes = (0..length).map(|i| 100 + (i * 31 % 50).to_le_bytes()[0]);
        let frame = frame(format, size, bytes.collect());
        let (mut image, mut unused) = (RgbImage::default(), RgbImage::default());
        if decode(&frame, &mut image).is_err() {
            return;
        }
        let pixels = (width * height) as usize;
        assert_eq!(image.pixels().len(), 3 * pixels, "{format} {size:?}");
        // The detector's and the warp's way to the same frame see what the decoded one shows.
        let picture = Picture::of(&frame, &mut unused).unwrap();
        for divisor in [1, 2, 3] {
            let (width, height) = (
                image.width().div_ceil(divisor),
                image.height().div_ceil(divisor),
            );
            let [mut direct, mut decoded] = [0; 2].map(|_| RgbImage::new(width, height));
            Fit::default().fit(picture, width, height, &mut direct);
            Fit::default().fit((&image).into(), width, height, &mut decoded);
            assert!(near(&direct, &decoded), "{format} {size:?} over {divisor}");
        }
        let [a, b, c, d] = eyes;
        let from = [Point { x: a, y: b }, Point { x: c, y: d }];
        let onto = [Point { x: 8.0, y: 9.0 }, Point { x: 24.0, y: 9.0 }];
        if let Some(transform) = Similarity::estimate(&from, &onto) {
            let [mut direct, mut decoded] = [0; 2].map(|_| RgbImage::new(32, 32));
            Warp::default().warp(picture, &transform, &mut direct);
            Warp::default().warp((&image).into(), &transform, &mut decoded);
            assert!(near(&direct, &decoded), "{format} {size:?} {eyes:?}");
        }
    });
}

/// Whether two images differ by the rounding of means at most.
fn near(a: &RgbImage, b: &RgbImage) -> bool {
    let mut levels = a.pixels().iter().zip(b.pixels());
    levels.all(|(a, b)| a.abs_diff(*b) <= 3)
}

#[test]
fn motion_jpeg_and_photos() {
    let strategy = prop_oneof![
        mutated(read("ada.jpg")),
        mutated(read("no_face.jpg")),
        prop::collection::vec(any::<u8>(), 0..2000),
    ];
    fuzz("JPEG", 1, strategy, |bytes| {
        let mut image = RgbImage::default();
        let _ = decode_photo(&bytes, "photo");
        let _ = decode(&frame(PixelFormat::Mjpg, (640, 480, 0), bytes), &mut image);
    });
}

#[test]
fn frames_through_the_pipeline() {
    let door = Door::new("");
    let setup = Setup::load(Some(&door.path("door.toml")), &ModelArgs::default()).unwrap();
    let pipeline = std::cell::RefCell::new(setup.pipeline().unwrap());
    let raw = (1..300u32, 1..300u32).prop_flat_map(|(width, height)| {
        let length = PixelFormat::Yuyv.min_len(width, height, 0);
        let noise = prop::collection::vec(any::<u8>(), length);
        noise.prop_map(move |bytes| frame(PixelFormat::Yuyv, (width, height, 0), bytes))
    });
    let jpeg = mutated(read("ada.jpg"));
    let jpeg = jpeg.prop_map(|bytes| frame(PixelFormat::Mjpg, (0, 0, 0), bytes));
    let times = 0..1_000_000u64;
    fuzz(
        "pipeline",
        8,
        (prop_oneof![raw, jpeg], times),
        |(frame, ms)| {
            let captured_at = Duration::from_millis(ms);
            // A frame that is no picture is an error to go on from.
            let _ = pipeline.borrow_mut().step(&Frame {
                captured_at,
                ..frame
            });
        },
    );
}

#[test]
fn configurations() {
    let reference = include_str!("../../config/doorward.toml");
    let open = reference.lines().map(|line| match line.strip_prefix("# ") {
        Some(key) if key.contains(" = ") && !key.contains(". ") => key,
        _ => line,
    });
    let open = open.collect::<Vec<_>>().join("\n").into_bytes();
    let strategy = prop_oneof![mutated(reference.as_bytes().to_vec()), mutated(open)];
    fuzz("configuration", 1, strategy, |bytes| {
        let text = String::from_utf8_lossy(&bytes);
        let _ = Config::parse(&text, Path::new("door.toml"));
    });
}

/// Runs the program with a bound on its memory. Whatever it says, it has to say it itself.
fn survives(args: &[&str]) {
    let program = assert_cmd::cargo::cargo_bin("doorward");
    let limit = format!("ulimit -v {MEMORY_KIB}; exec \"$0\" \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &limit, program.to_str().unwrap()])
        .args(args)
        .output()
        .unwrap();
    let code = output.status.code();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(code, Some(0..=2)), "{code:?}: {said}");
    assert!(!said.contains("panicked"), "{said}");
}

/// A folder with the models in the program, one of them replaced, and described as it is now.
fn models(door: &Door, replaced: &str, bytes: &[u8]) -> PathBuf {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let folder = door.path("models");
    std::fs::create_dir_all(&folder).unwrap();
    let mut manifest = std::fs::read_to_string(ours.join("manifest.toml")).unwrap();
    let hash = |bytes: &[u8]| -> String {
        let digest = Sha256::digest(bytes);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    for entry in std::fs::read_dir(ours).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "onnx") {
            let name = path.file_name().unwrap();
            let old = std::fs::read(&path).unwrap();
            let new = if name == replaced { bytes } else { &old[..] };
            manifest = manifest.replace(&hash(&old), &hash(new));
            std::fs::write(folder.join(name), new).unwrap();
        }
    }
    std::fs::write(folder.join("manifest.toml"), manifest).unwrap();
    folder
}

#[test]
fn models_that_were_changed() {
    let door = Door::new("");
    let photo = fixture("ada.jpg");
    let model = |name: &'static str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("models")
            .join(name);
        mutated(std::fs::read(path).unwrap()).prop_map(move |bytes| (name, bytes))
    };
    let strategy = prop_oneof![model("detector.onnx"), model("embedder.onnx")];
    fuzz("models", 16, strategy, |(name, bytes)| {
        let folder = models(&door, name, &bytes);
        survives(&[
            "--models",
            folder.to_str().unwrap(),
            "verify",
            &photo,
            &photo,
        ]);
    });
}

#[test]
fn manifests() {
    let door = Door::new("");
    let photo = fixture("ada.jpg");
    let manifest = include_bytes!("../../models/manifest.toml");
    fuzz("manifests", 16, mutated(manifest.to_vec()), |bytes| {
        let folder = models(&door, "", &[]);
        std::fs::write(folder.join("manifest.toml"), bytes).unwrap();
        survives(&[
            "--models",
            folder.to_str().unwrap(),
            "verify",
            &photo,
            &photo,
        ]);
    });
}

#[test]
fn import_files() {
    let door = Door::new("");
    let passphrase = door.path("passphrase");
    std::fs::write(&passphrase, "correct horse battery\n").unwrap();
    let (file, passphrase) = (door.path("gallery.age"), passphrase.display().to_string());
    let path = file.to_str().unwrap();
    door.expect(0, &["enroll", "ada", "--photo", &fixture("ada.jpg")]);
    let export = ["gallery", "export", path, "--passphrase-file", &passphrase];
    door.expect(0, &export);
    let whole = std::fs::read(&file).unwrap();
    let config = door.path("door.toml").display().to_string();
    fuzz("import files", 16, mutated(whole), |bytes| {
        std::fs::write(&file, bytes).unwrap();
        let import = ["--config", &config, "gallery", "import", path];
        survives(&[&import[..], &["--passphrase-file", &passphrase]].concat());
    });
}
