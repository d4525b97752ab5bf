//! Which frames the pipeline looks at, and how many faces of one.
#![allow(missing_docs, clippy::unwrap_used)]

mod door;
mod stage;
mod support;

use std::time::Duration;

use door::{Door, fixture};
use doorward::face::{QualityReason, TrackId};
use doorward::gallery::Template;
use doorward::image::{Frame, PixelFormat, read_photo};
use doorward::inference::{Models, Role};
use doorward::pipeline::Pipeline;
use doorward::setup::{ModelArgs, Setup};
use stage::{Pose, Prop, Surface, render};
use support::skipped;

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

/// A pipeline by these settings that knows these people by their fixtures.
fn knowing(settings: &str, people: &[&str]) -> Pipeline {
    let door = Door::new(settings);
    let setup = Setup::load(Some(&door.path("door.toml")), &ModelArgs::default()).unwrap();
    let (mut extractor, id) = setup.extractor().unwrap();
    let templates = people.iter().map(|name| {
        let photo = read_photo(fixture(&format!("{name}.jpg")).as_ref()).unwrap();
        let face = extractor.extract(&photo).unwrap().unwrap();
        let template = Template::new(&face.embedding, id.clone());
        ((*name).to_owned(), template)
    });
    let mut pipeline = setup.pipeline().unwrap();
    pipeline.gallery_mut().fill(templates.collect()).unwrap();
    pipeline
}

/// Twice the three faces of a photo, one above the other.
fn crowd(ms: u64) -> Frame {
    let three = read_photo(fixture("three_faces.jpg").as_ref()).unwrap();
    Frame {
        bytes: three.pixels().repeat(2),
        format: PixelFormat::Rgb24,
        width: u32::try_from(three.width()).unwrap(),
        height: u32::try_from(2 * three.height()).unwrap(),
        stride: u32::try_from(3 * three.width()).unwrap(),
        sequence: 0,
        captured_at: Duration::from_millis(ms),
    }
}

const ALL_OF_THEM: &str = "[quality]\nmin_face_px = 20\nmin_sharpness = 0.0\n";

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
    let step = knowing(ALL_OF_THEM, &[]).step(&crowd(0)).unwrap();
    assert_eq!(step.faces.len(), 6);
    let (near, far) = step.faces.split_at(3);
    assert!(near.iter().all(|face| face.comparison.is_some()));
    let crowded = |reasons: &[QualityReason]| reasons == [QualityReason::Crowded];
    assert!(far.iter().all(|face| crowded(&face.refusals)));
    let width = |i: usize| step.faces[i].detection.face.width;
    assert!((1..6).all(|i| width(i) <= width(i - 1)));
}

#[test]
fn whoever_turns_is_compared_with_whom_they_have_to_stay_wherever_they_stand() {
    let mut pipeline = knowing(ALL_OF_THEM, &["ada", "bela"]);
    pipeline.claim([(None, "bela")].into_iter());
    let far = pipeline.step(&crowd(0)).unwrap().faces[5].track;
    // Each face's visit, and whom it was compared with 1:1.
    let mut verified = |turning: &[(TrackId, &str)], ms| {
        pipeline.turn(turning.iter().copied());
        let step = pipeline.step(&crowd(ms)).unwrap();
        let with = step.faces.iter().filter_map(|face| {
            let verification = face.verification.as_ref()?;
            Some((face.track == far, verification.subject.to_string()))
        });
        with.collect::<Vec<_>>()
    };
    let near = vec![(false, "bela".to_owned()); 3];
    assert_eq!(verified(&[], 100), near);
    let turns = [&near[..], &[(true, "ada".to_owned())]].concat();
    assert_eq!(verified(&[(far, "ada")], 200), turns);
    assert_eq!(verified(&[], 300), near, "no longer");
}

#[test]
fn a_still_picture_is_looked_at_again_for_a_face_that_was_missed() {
    let mut pipeline = knowing("", &[]);
    let nobody = std::fs::read(fixture("no_face.jpg")).unwrap();
    let mut still = |ms| pipeline.step(&jpeg(&nobody, ms)).unwrap().still;
    for (ms, expected) in [
        (0, false),
        (4900, true),
        (5000, false),
        (5100, true),
        (9900, true),
        (10_000, false),
    ] {
        assert_eq!(still(ms), expected, "{ms}");
    }
}

#[test]
fn a_successor_goes_on_with_who_is_there() {
    let settings = "[decision]\nagree = 3\nof = 5\n";
    let (mut old, mut new) = (knowing(settings, &["ada"]), knowing(settings, &["ada"]));
    let ada = std::fs::read(fixture("ada.jpg")).unwrap();
    // The second visit, so that its number is not what a new pipeline begins with.
    old.step(&jpeg(&ada, 0)).unwrap();
    old.step(&jpeg(&ada, 60_000)).unwrap();
    old.step(&jpeg(&ada, 60_100)).unwrap();
    new.succeed(old);
    let step = new.step(&jpeg(&ada, 60_200)).unwrap();
    assert_eq!(step.faces[0].track, TrackId(1));
    assert_eq!(step.decisions[0].subject.as_deref(), Some("ada"));
}

#[test]
fn frames_are_put_together_by_the_person_that_they_look_ahead_with() {
    if Models::bundled().unwrap().names(Role::Liveness).is_empty() {
        return skipped("the program has no liveness model");
    }
    let mut pipeline = knowing("[liveness]\nalways = true\n", &["ada", "bela"]);
    let read = |name: &str| std::fs::read(fixture(name)).unwrap();
    let (ada, bela) = (read("ada.jpg"), read("bela.jpg"));
    // Somebody holds up a picture; a claim to be whom it shows changes nothing.
    for (ms, picture, claimed, expected) in [
        (0, &ada, None, ("ada", 1)),
        (100, &bela, None, ("bela", 1)),
        (200, &ada, None, ("ada", 2)),
        (300, &bela, Some("ada"), ("bela", 2)),
        (400, &ada, Some("ada"), ("ada", 3)),
    ] {
        pipeline.claim(claimed.iter().map(|&name| (None, name)));
        let step = pipeline.step(&jpeg(picture, ms)).unwrap();
        let face = &step.faces[0];
        let subject = &face
            .comparison
            .as_ref()
            .unwrap()
            .accepted()
            .unwrap()
            .subject;
        let frames = face.presentation.unwrap().frames;
        assert_eq!((&**subject, frames), expected, "{ms}");
        assert_eq!(face.track, TrackId(0), "one visit");
    }
}

#[test]
fn a_face_that_is_turned_says_nothing_about_being_a_picture() {
    if Models::bundled().unwrap().names(Role::Liveness).is_empty() {
        return skipped("the program has no liveness model");
    }
    let mut pipeline = knowing("[liveness]\nalways = true\n", &["ada"]);
    let ada = std::fs::read(fixture("ada.jpg")).unwrap();
    let step = pipeline.step(&jpeg(&ada, 0)).unwrap();
    let prop = Prop {
        photo: read_photo(fixture("ada.jpg").as_ref()).unwrap(),
        landmarks: step.faces[0].detection.landmarks,
    };
    for (i, (yaw, frames)) in (1..).zip([(0.0, 1), (50.0, 1), (-50.0, 1), (0.0, 2)]) {
        let pose = Pose {
            yaw,
            ..Pose::default()
        };
        let frame = render(
            &prop,
            Surface::Head,
            &pose,
            Duration::from_millis(60_000 + 200 * i),
        );
        let step = pipeline.step(&frame).unwrap();
        let face = &step.faces[0];
        assert_eq!(
            face.quality.yaw.abs() > 20.0,
            yaw != 0.0,
            "{:?}",
            face.quality
        );
        assert_eq!(face.presentation.unwrap().frames, frames, "{yaw}");
    }
}
