//! Folders of pictures, replayed in order, in time and with what is broken.

use std::fs;

use ::image::{ImageFormat, Rgb, RgbImage};

use super::*;

fn encoded(format: ImageFormat, width: u32) -> Vec<u8> {
    let mut bytes = io::Cursor::new(Vec::new());
    RgbImage::from_pixel(width, 2, Rgb([9, 99, 199]))
        .write_to(&mut bytes, format)
        .unwrap();
    bytes.into_inner()
}

fn jpeg(width: u32) -> Vec<u8> {
    encoded(ImageFormat::Jpeg, width)
}

/// A folder with these files.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn fast(path: &Path) -> ReplayRequest {
    ReplayRequest {
        path: path.to_owned(),
        pace: Pace::Fast,
        fps: NonZeroU32::new(4).unwrap(),
        repeat: false,
    }
}

/// The first frames as `sequence@milliseconds:width`, then `end` if the replay ends there.
fn frames(replay: &mut Replay, count: usize) -> String {
    let frames = (0..count).map_while(|_| replay.next_frame().unwrap());
    let words = frames
        .map(|f| format!("{}@{}:{}", f.sequence, f.captured_at.as_millis(), f.width))
        .collect::<Vec<_>>();
    let end = if words.len() < count { " end" } else { "" };
    words.join(" ") + end
}

#[test]
fn frames_come_in_order_and_time() {
    let (a, b, c) = (jpeg(1), jpeg(2), encoded(ImageFormat::Png, 3));
    let clip = [&a[..], &b, &a].concat();
    let cut_off = [&a[..], &b, &a[..a.len() - 5]].concat();
    let torn = [&a[..a.len() - 5], &b, &a].concat();
    let dir = folder(&[
        ("b.JPG", &b),
        ("a.jpeg", &a),
        ("c.png", &c),
        ("broken.png", b"not an image"),
        ("notes.txt", b"not a photo"),
        ("clip.mjpeg", &clip),
        ("cut-off.mjpg", &cut_off),
        ("torn.MJPEG", &torn),
    ]);
    let table = [
        ("c.png", false, "0@0:3 end"),
        (
            "a.jpeg",
            true,
            "0@0:1 1@250:1 2@500:1 3@750:1 4@1000:1 5@1250:1",
        ),
        // By name; capital letters come first, the broken one leaves a gap.
        ("", false, "0@0:1 1@250:2 3@750:3 end"),
        ("", true, "0@0:1 1@250:2 3@750:3 4@1000:1 5@1250:2 7@1750:3"),
        ("clip.mjpeg", false, "0@0:1 1@250:2 2@500:1 end"),
        (
            "clip.mjpeg",
            true,
            "0@0:1 1@250:2 2@500:1 3@750:1 4@1000:2 5@1250:1",
        ),
        ("cut-off.mjpg", false, "0@0:1 1@250:2 end"),
        ("torn.MJPEG", false, "1@250:2 2@500:1 end"),
    ];
    for (name, repeat, expected) in table {
        let request = ReplayRequest {
            repeat,
            ..fast(&dir.path().join(name))
        };
        let mut replay = Replay::open(request).unwrap();
        assert_eq!(
            frames(&mut replay, 6),
            expected,
            "{name} {}",
            replay.describe()
        );
    }
}

#[test]
fn a_replay_starts_when_it_is_told() {
    let dir = folder(&[("a.jpg", &jpeg(1))]);
    for pace in [Pace::Fast, Pace::RealTime] {
        let request = ReplayRequest {
            pace,
            fps: NonZeroU32::new(1000).unwrap(),
            repeat: true,
            ..fast(dir.path())
        };
        let mut replay = Replay::open(request).unwrap();
        // The pace counts from the start, or this would take an hour.
        replay.start_at(Duration::from_secs(3600));
        let expected = "0@3600000:1 1@3600001:1 2@3600002:1";
        assert_eq!(frames(&mut replay, 3), expected, "{pace:?}");
    }
}

#[test]
fn jpeg_is_passed_on_undecoded_and_the_rest_as_rgb() {
    let (a, c) = (jpeg(2), encoded(ImageFormat::WebP, 3));
    let dir = folder(&[("a.jpg", &a), ("c.webp", &c)]);
    let mut replay = Replay::open(fast(dir.path())).unwrap();
    let first = replay.next_frame().unwrap().unwrap();
    assert_eq!(
        (first.format, first.stride),
        (crate::image::PixelFormat::Mjpg, 0)
    );
    assert_eq!(first.bytes, a);
    let second = replay.next_frame().unwrap().unwrap();
    assert_eq!(
        (second.format, second.stride),
        (crate::image::PixelFormat::Rgb24, 9)
    );
    assert_eq!(second.bytes, [9, 99, 199].repeat(6));
}

#[test]
fn what_cannot_be_replayed_is_named() {
    let a = jpeg(1);
    let dir = folder(&[
        ("text.jpg", b"not an image"),
        ("cut.jpg", &a[..a.len() - 4]),
        ("empty.mjpeg", b""),
        ("text.mjpeg", b"not a clip"),
        ("cut.mjpeg", &a[..a.len() - 4]),
    ]);
    let (empty, bad) = (
        folder(&[("notes.txt", b"")]),
        folder(&[("text.jpg", b"no")]),
    );
    let at = |name: &str| dir.path().join(name);
    let table = [
        (at("nowhere.jpg"), "there is nothing to replay at"),
        ("/dev/zero".into(), "more than"),
        (at("text.jpg"), "is no photo that can be decoded"),
        (at("cut.jpg"), "cut off or damaged"),
        (at("empty.mjpeg"), "holds no whole image"),
        (at("text.mjpeg"), "holds no whole image"),
        (at("cut.mjpeg"), "holds no whole image"),
        (empty.path().to_owned(), "holds no photo"),
        (bad.path().to_owned(), "holds no whole image"),
    ];
    for (path, expected) in table {
        let message = Replay::open(fast(&path)).err().unwrap().to_string();
        assert!(message.contains(expected), "{message}");
        assert!(message.contains(path.to_str().unwrap()), "{message}");
    }
}

#[test]
fn a_repeated_replay_whose_files_went_away_ends_in_an_error() {
    let a = jpeg(1);
    let dir = folder(&[("a.jpg", &a), ("b.jpg", &a)]);
    let request = ReplayRequest {
        repeat: true,
        ..fast(dir.path())
    };
    let mut replay = Replay::open(request).unwrap();
    assert_eq!(frames(&mut replay, 3), "0@0:1 1@250:1 2@500:1");
    fs::remove_file(dir.path().join("a.jpg")).unwrap();
    assert_eq!(frames(&mut replay, 2), "3@750:1 5@1250:1");
    fs::remove_file(dir.path().join("b.jpg")).unwrap();
    assert!(
        replay
            .next_frame()
            .unwrap_err()
            .to_string()
            .contains("holds no whole image")
    );
}

#[test]
fn time_does_not_drift() {
    let table = [
        (0, 10, 0),
        (1, 10, 100_000_000),
        (1, 3, 333_333_333),
        (3, 3, 1_000_000_000),
    ];
    for (place, fps, nanos) in table {
        assert_eq!(
            place_in_time(place, NonZeroU32::new(fps).unwrap()),
            Duration::from_nanos(nanos),
            "{place} at {fps}"
        );
    }
    // A year at 30 frames a second.
    let year = 365 * 24 * 3600;
    let fps = NonZeroU32::new(30).unwrap();
    assert_eq!(place_in_time(year * 30, fps), Duration::from_secs(year));
}
