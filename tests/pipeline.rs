//! Which frames the pipeline looks at while nobody is there.
#![allow(missing_docs, clippy::unwrap_used)]

mod door;
mod support;

use std::time::Duration;

use door::{Door, fixture};
use doorward::image::{Frame, PixelFormat};
use doorward::setup::{ModelArgs, Setup};

fn jpeg(bytes: &[u8], ms: u64) -> Frame {
    Frame {
        bytes: bytes.to_vec(),
        format: PixelFormat::Mjpg,
        width: 640,
        height: 480,
        stride: 0,
        sequence: 0,
        captured_at: Duration::from_millis(ms),
    }
}

#[test]
fn compressed_frames_rest_while_nothing_moves() {
    let door = Door::new("");
    let setup = Setup::load(Some(&door.path("door.toml")), &ModelArgs::default()).unwrap();
    let mut pipeline = setup.pipeline().unwrap();
    let read = |name: &str| std::fs::read(fixture(name)).unwrap();
    let (nobody, ada) = (read("no_face.jpg"), read("ada.jpg"));
    assert!(!pipeline.step(&jpeg(&nobody, 0)).unwrap().still);
    assert!(pipeline.step(&jpeg(&nobody, 100)).unwrap().still);
    // What is no JPEG is an error where it is decoded.
    assert!(pipeline.step(&jpeg(b"none", 300)).unwrap().still);
    assert!(pipeline.step(&jpeg(b"none", 350)).is_err());
    let step = pipeline.step(&jpeg(&ada, 400)).unwrap();
    assert!(!step.still && step.faces.len() == 1, "somebody has come");
    // Whoever is followed is looked at in every frame.
    let step = pipeline.step(&jpeg(&ada, 450)).unwrap();
    assert!(!step.still && step.faces.len() == 1);
    // A visit does not outlast a pause of the camera.
    let first = step.faces[0].track;
    let step = pipeline.step(&jpeg(&ada, 3000)).unwrap();
    assert_ne!(step.faces[0].track, first);
}
