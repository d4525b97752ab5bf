//! Which frames the pipeline looks at, and how many faces of one.
#![allow(missing_docs, clippy::unwrap_used)]

mod door;
mod support;

use std::time::Duration;

use door::{Door, fixture};
use doorward::face::{QualityReason, TrackId};
use doorward::gallery::Template;
use doorward::image::{Frame, PixelFormat, read_photo};
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

#[test]
fn a_visit_is_compared_with_whom_it_was_claimed_to_be() {
    let door = Door::new("");
    let setup = Setup::load(Some(&door.path("door.toml")), &ModelArgs::default()).unwrap();
    let mut pipeline = setup.pipeline().unwrap();
    let (mut extractor, id) = setup.extractor().unwrap();
    let photo = read_photo(fixture("ada.jpg").as_ref()).unwrap();
    let face = extractor.extract(&photo).unwrap().unwrap();
    let people = ["ada", "bela"].map(|name| {
        let template = Template::new(&face.embedding, id.clone());
        (name.to_owned(), template)
    });
    pipeline.gallery_mut().fill(people.to_vec()).unwrap();
    let ada = std::fs::read(fixture("ada.jpg")).unwrap();
    let visit = pipeline.step(&jpeg(&ada, 0)).unwrap().faces[0].track;
    for (of, expected) in [(visit, "ada"), (TrackId(visit.0 + 1), "bela")] {
        pipeline.claim([(Some(of), "ada"), (None, "bela")].into_iter());
        let step = pipeline.step(&jpeg(&ada, 100)).unwrap();
        let verification = step.faces[0].verification.as_ref().unwrap();
        assert_eq!(&*verification.subject, expected);
    }
}

#[test]
fn of_a_crowd_the_nearest_are_compared() {
    let door = Door::new("[quality]\nmin_face_px = 20\nmin_sharpness = 0.0\n");
    let setup = Setup::load(Some(&door.path("door.toml")), &ModelArgs::default()).unwrap();
    let mut pipeline = setup.pipeline().unwrap();
    let three = read_photo(fixture("three_faces.jpg").as_ref()).unwrap();
    // Twice the three, one above the other.
    let frame = Frame {
        bytes: three.pixels().repeat(2),
        format: PixelFormat::Rgb24,
        width: u32::try_from(three.width()).unwrap(),
        height: u32::try_from(2 * three.height()).unwrap(),
        stride: u32::try_from(3 * three.width()).unwrap(),
        sequence: 0,
        captured_at: Duration::ZERO,
    };
    let step = pipeline.step(&frame).unwrap();
    assert_eq!(step.faces.len(), 6);
    let (near, far) = step.faces.split_at(3);
    assert!(near.iter().all(|face| face.comparison.is_some()));
    let crowded = |reasons: &[QualityReason]| reasons == [QualityReason::Crowded];
    assert!(far.iter().all(|face| crowded(&face.refusals)));
    let width = |i: usize| step.faces[i].detection.face.width;
    assert!((1..6).all(|i| width(i) <= width(i - 1)));
}
