//! A frame takes no memory: once the pipeline has warmed up, nothing is allocated on its way from the
//! camera's bytes to a comparison.
//!
//! Excepted is what is decided, which is once a visit, and Motion JPEG, whose decoder works in memory
//! of its own.
#![allow(missing_docs, unsafe_code, clippy::unwrap_used)]

mod door;
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use door::{Door, fixture};
use doorward::decision::SeenFace;
use doorward::gallery::{Template, Turn};
use doorward::image::{Frame, PixelFormat, RgbImage, decode_photo};
use doorward::setup::{ModelArgs, Setup};

/// The system's allocator, counting for each thread.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + 1);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + 1);
        // SAFETY: passed on.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn picture(name: &str) -> RgbImage {
    decode_photo(&std::fs::read(fixture(name)).unwrap(), name).unwrap()
}

/// The picture with each pixel as a square of `times`.
fn enlarged(image: &RgbImage, times: usize) -> RgbImage {
    let (width, height) = (image.width() * times, image.height() * times);
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x / times, y / times)));
    let pixels = places.flat_map(|(x, y)| image.pixel(x, y)).collect();
    RgbImage::from_pixels(width, height, pixels)
}

/// The picture in one of the camera's formats without compression.
fn frame(image: &RgbImage, format: PixelFormat) -> Frame {
    let luma = |p: &[u8]| p[1];
    let pixels = image.pixels();
    let bytes = match format {
        PixelFormat::Yuyv => pixels.chunks(3).flat_map(|p| [luma(p), 128]).collect(),
        PixelFormat::Nv12 => {
            let grey = vec![128; image.width() * image.height() / 2];
            pixels.chunks(3).map(luma).chain(grey).collect()
        }
        PixelFormat::Grey => pixels.chunks(3).map(luma).collect(),
        _ => pixels.to_vec(),
    };
    Frame {
        bytes,
        format,
        width: u32::try_from(image.width()).unwrap(),
        height: u32::try_from(image.height()).unwrap(),
        stride: 0,
        sequence: 0,
        captured_at: Duration::ZERO,
    }
}

#[test]
fn a_frame_takes_no_memory() {
    let door = Door::new("[liveness]\nalways = true\n");
    let setup = Setup::load(Some(&door.path("door.toml")), &ModelArgs::default()).unwrap();
    let (ada, nobody) = (picture("ada.jpg"), picture("no_face.jpg"));
    let (_, id) = setup.embedder().unwrap();
    let enrolled = setup.extractor().unwrap().0.extract(&ada).unwrap().unwrap();
    // The detector looks at 320x240: what it is shown is halved, or quartered.
    for (format, times) in [
        (PixelFormat::Yuyv, 1),
        (PixelFormat::Nv12, 1),
        (PixelFormat::Grey, 1),
        (PixelFormat::Rgb24, 1),
        (PixelFormat::Yuyv, 2),
        (PixelFormat::Rgb24, 2),
    ] {
        let mut pipeline = setup.pipeline().unwrap();
        // As in the daemon: templates are turned, and somebody may be claimed besides.
        let template = Template::new(&enrolled.embedding, id.clone());
        let turn = Turn::new(&[7; 32], template.values.len());
        let turned = vec![("ada".to_owned(), turn.turned(&template))];
        pipeline.gallery_mut().fill_turned(turned, turn).unwrap();
        pipeline.claim([(None, "ada")].into_iter());
        let [face, empty] = [&ada, &nobody].map(|image| frame(&enlarged(image, times), format));
        let mut now = Duration::ZERO;
        // Somebody is there, then nobody, and nothing moves any more.
        let scenes = [("a face", &face, 40), ("nobody", &empty, 60)];
        for (scene, frame, count) in scenes {
            let mut frame = frame.clone();
            for i in 0..count {
                now += Duration::from_millis(100);
                frame.captured_at = now;
                let before = ALLOCATED.get();
                let step = pipeline.step(&frame).unwrap();
                let taken = ALLOCATED.get() - before;
                let verified =
                    |f: &SeenFace| f.verification.as_ref().is_some_and(|v| v.is_accepted());
                let compared = step.faces.first().is_some_and(verified);
                assert!(scene == "nobody" || compared, "{format}: {:?}", step.faces);
                // Long enough for a match to be decided and a visit to end.
                if i >= 25 {
                    assert_eq!(taken, 0, "{format}, {scene}, frame {i} of it");
                }
            }
        }
    }
}
