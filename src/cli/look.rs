//! `doorward check --camera`: what the camera sees, with the faces that were found.
//!
//! As a PNG file, or in the terminal: each character shows two pixels, one above the other.

use std::io::{Write, stdout};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use super::write_private;
use crate::face::{AlignedFace, Detection, Detector, FaceBox, Quality, QualityLimits};
use crate::image::{RgbImage, decode, encode_png};
use crate::setup::Setup;

/// Frames that a camera needs to find its exposure.
const SETTLE: usize = 10;
const NO_PICTURE: &str = "the camera gave no picture";
/// Characters in a row.
const COLUMNS: usize = 80;
/// Colours of faces that would be compared, and of those that would not.
const GOOD: [u8; 3] = [0, 255, 0];
const POOR: [u8; 3] = [255, 0, 0];

/// Takes one picture, writes it to `file` or gives it in characters, and says what was seen.
pub(super) fn look(setup: &Setup, file: Option<&Path>) -> Result<String> {
    let mut source = setup.open_source(Instant::now())?;
    let mut seer = Seer::new(setup)?;
    let mut image = RgbImage::default();
    let mut last = None;
    for _ in 0..SETTLE {
        let Some(frame) = source.next_frame()? else {
            // A replay may be shorter.
            break;
        };
        last = Some(frame);
    }
    decode(&last.context(NO_PICTURE)?, &mut image)?;
    let said = seer.mark(&mut image)?;
    match file {
        Some(file) => {
            write_private(file, &encode_png(&image)?)?;
            Ok(format!("{}: {said}", file.display()))
        }
        None => Ok(format!("{said}\n{}", in_characters(&image))),
    }
}

/// Shows the camera in the terminal until the program is interrupted or a replay ends, and says
/// what was seen last.
pub(super) fn show(setup: &Setup) -> Result<String> {
    let mut source = setup.open_source(Instant::now())?;
    let mut seer = Seer::new(setup)?;
    let mut image = RgbImage::default();
    let (mut said, mut back) = (None, String::new());
    while let Some(frame) = source.next_frame()? {
        if decode(&frame, &mut image).is_err() {
            continue;
        }
        let words = seer.mark(&mut image)?;
        let picture = in_characters(&image);
        // Over the picture before and nothing above it; the words stay on one line.
        write!(stdout(), "{back}{picture}\x1b[?7l{words}\x1b[K\x1b[?7h\r\n")?;
        back = format!("\x1b[{}F", picture.lines().count() + 1);
        said = Some(words);
    }
    said.context(NO_PICTURE)
}

struct Seer {
    detector: Detector,
    limits: QualityLimits,
    aligned: AlignedFace,
}

impl Seer {
    fn new(setup: &Setup) -> Result<Self> {
        Ok(Self {
            detector: setup.detector()?,
            limits: setup.limits(),
            aligned: AlignedFace::default(),
        })
    }

    /// Draws boxes around the faces and says what they are like.
    fn mark(&mut self, image: &mut RgbImage) -> Result<String> {
        let found = self.detector.detect(&*image)?;
        let size = (image.width(), image.height());
        let judged: Vec<_> = found.iter().map(|d| self.judge(image, size, d)).collect();
        for (detection, words) in found.iter().zip(&judged) {
            let colour = if words.is_empty() { GOOD } else { POOR };
            frame(image, &detection.face, colour);
        }
        let words = found.iter().zip(judged).map(|(detection, words)| {
            let verdict = if words.is_empty() { "good" } else { &words };
            format!("{:.0} px wide, {verdict}", detection.face.width)
        });
        let words: Vec<_> = words.collect();
        Ok(match words.len() {
            0 => "no face".to_owned(),
            1 => format!("a face, {}", words[0]),
            n => format!("{n} faces: {}", words.join("; ")),
        })
    }

    /// Why a face would not be compared, or nothing.
    fn judge(&mut self, image: &RgbImage, size: (usize, usize), detection: &Detection) -> String {
        if !self.aligned.align(image, &detection.landmarks) {
            return "turned aside".to_owned();
        }
        let quality = Quality::measure(detection, &self.aligned, size);
        let refusals = quality.refusals(&self.limits);
        let words: Vec<_> = refusals.iter().map(|reason| reason.word()).collect();
        words.join(", ").replace('_', " ")
    }
}

/// Draws the edges of a box, two pixels thick, as far as they lie in the image.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest pixel that there is"
)]
fn frame(image: &mut RgbImage, face: &FaceBox, colour: [u8; 3]) {
    let (width, height) = (image.width(), image.height());
    let within = |value: f32, end: usize| (value as usize).min(end.saturating_sub(1));
    let (left, right) = (within(face.x, width), within(face.x + face.width, width));
    let (top, bottom) = (within(face.y, height), within(face.y + face.height, height));
    let pixels = image.pixels_mut();
    for y in top..=bottom {
        for x in left..=right {
            let inside = y > top + 1 && y + 1 < bottom && x > left + 1 && x + 1 < right;
            if !inside {
                let i = (y * width + x) * 3;
                pixels[i..i + 3].copy_from_slice(&colour);
            }
        }
    }
}

/// The image in lines of half blocks: the upper pixel in front, the lower one behind.
fn in_characters(image: &RgbImage) -> String {
    let columns = COLUMNS.min(image.width());
    let rows = (columns * image.height() / image.width()).max(2) / 2 * 2;
    let pixel = |column: usize, row: usize| {
        image.pixel(
            column * image.width() / columns,
            row * image.height() / rows,
        )
    };
    let mut text = String::new();
    for row in (0..rows).step_by(2) {
        for column in 0..columns {
            let ([r, g, b], [s, h, c]) = (pixel(column, row), pixel(column, row + 1));
            text.push_str(&format!("\x1b[38;2;{r};{g};{b}m\x1b[48;2;{s};{h};{c}m▀"));
        }
        text.push_str("\x1b[0m\r\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_stays_in_the_image() {
        let mut image = RgbImage::new(8, 6);
        let face = FaceBox {
            x: -3.0,
            y: 1.0,
            width: 7.0,
            height: 99.0,
        };
        frame(&mut image, &face, GOOD);
        let row = |y| {
            (0..8)
                .map(|x| u8::from(image.pixel(x, y) == GOOD))
                .collect()
        };
        let rows: Vec<Vec<u8>> = (0..6).map(row).collect();
        assert_eq!(rows[0], [0; 8]);
        assert_eq!(rows[1], [1, 1, 1, 1, 1, 0, 0, 0]);
        assert_eq!(rows[3], [1, 1, 0, 1, 1, 0, 0, 0]);
        assert_eq!(rows[5], [1, 1, 1, 1, 1, 0, 0, 0]);
    }

    #[test]
    fn two_rows_of_pixels_are_one_of_characters() {
        let image = RgbImage::from_pixels(1, 2, vec![1, 2, 3, 4, 5, 6]);
        let expected = "\x1b[38;2;1;2;3m\x1b[48;2;4;5;6m▀\x1b[0m\r\n";
        assert_eq!(in_characters(&image), expected);
    }
}
