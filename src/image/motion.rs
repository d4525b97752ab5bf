//! Whether anything moved: a coarse comparison with the frame that was looked at last.
//!
//! Reads a few bytes of the camera's frame and decodes nothing.

use super::{Picture, PixelFormat};

/// Side in pixels of the squares whose brightness is compared.
const CELL: usize = 16;
/// Pixels from one that is read to the next, to the right and down.
const APART: usize = 4;
/// Pixels of a cell that are read.
const SAMPLES: u16 = 16;
/// Levels of 255 by which the mean of a cell has to change: several times the noise of a dim room.
const LEVELS: u16 = 6;
/// Cells that have to change: a face of 32 pixels covers as many wherever it lies.
const CELLS: usize = 2;

/// Remembers how the last frame looked.
#[derive(Debug, Default)]
pub struct Motion {
    /// Sum of the samples of each cell.
    kept: Vec<u16>,
    seen: Vec<u16>,
}

impl Motion {
    /// Whether `picture` differs from the one that was [kept](Self::keep), or nothing was.
    pub fn moved(&mut self, picture: Picture<'_>) -> bool {
        self.look(picture);
        self.differs()
    }

    fn differs(&self) -> bool {
        let limit = LEVELS * SAMPLES;
        let pairs = self.kept.iter().zip(&self.seen);
        let changed = pairs.filter(|(a, b)| a.abs_diff(**b) > limit).count();
        self.seen.is_empty() || self.seen.len() != self.kept.len() || changed >= CELLS
    }

    /// Makes the frame that was seen last the one to compare with. Small changes add up until
    /// then.
    pub fn keep(&mut self) {
        std::mem::swap(&mut self.kept, &mut self.seen);
    }

    /// Reads the cells of a picture.
    fn look(&mut self, picture: Picture<'_>) {
        self.seen.clear();
        // Where a pixel's brightness, or its green, lies.
        let (pixel, at) = match picture.format() {
            PixelFormat::Yuyv => (2, 0),
            PixelFormat::Nv12 | PixelFormat::Grey => (1, 0),
            PixelFormat::Rgb24 | PixelFormat::Bgr24 => (3, 1),
            PixelFormat::Mjpg => return, // no picture is
        };
        let columns = picture.width() / CELL;
        self.seen.resize(columns * (picture.height() / CELL), 0);
        for (band, cells) in self.seen.chunks_exact_mut(columns.max(1)).enumerate() {
            for y in (0..CELL).step_by(APART) {
                let row = picture.row(band * CELL + y);
                for (cell, pixels) in cells.iter_mut().zip(row.chunks_exact(CELL * pixel)) {
                    let samples = pixels.iter().skip(at).step_by(APART * pixel);
                    *cell += samples.map(|&v| u16::from(v)).sum::<u16>();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Frame;
    use super::*;

    const SIZE: (usize, usize) = (96, 64);

    /// A frame whose brightness at x, y is given.
    fn frame(format: PixelFormat, level: impl Fn(usize, usize) -> u8) -> Frame {
        let (width, height) = SIZE;
        let pixel = match format {
            PixelFormat::Yuyv => 2,
            PixelFormat::Rgb24 | PixelFormat::Bgr24 => 3,
            _ => 1,
        };
        let mut bytes = Vec::new();
        for y in 0..height {
            for x in 0..width {
                bytes.extend(std::iter::repeat_n(level(x, y), pixel));
            }
        }
        bytes.resize(bytes.len() * 3 / 2, 128);
        Frame {
            bytes,
            format,
            width: 96,
            height: 64,
            stride: 0,
            sequence: 0,
            captured_at: Duration::ZERO,
        }
    }

    fn raw(frame: &Frame) -> Picture<'_> {
        Picture::raw(frame).expect("all its bytes")
    }

    /// Noise of a few levels, another for each `seed`.
    fn noise(seed: usize) -> impl Fn(usize, usize) -> u8 {
        move |x, y| 100 + ((x * 31 + y * 17 + seed * 7919) * 2_654_435 % 11).to_le_bytes()[0]
    }

    #[test]
    fn noise_is_no_motion_and_a_small_object_is() {
        let raw_formats = PixelFormat::ALL.into_iter();
        for format in raw_formats.filter(|f| *f != PixelFormat::Mjpg) {
            let mut motion = Motion::default();
            assert!(motion.moved(raw(&frame(format, noise(0)))), "nothing kept");
            motion.keep();
            assert!(!motion.moved(raw(&frame(format, noise(1)))), "{format}");
            let object = |x: usize, y: usize| {
                let inside = (20..52).contains(&x) && (20..52).contains(&y);
                noise(2)(x, y) + if inside { 30 } else { 0 }
            };
            assert!(motion.moved(raw(&frame(format, object))), "{format}");
        }
    }

    #[test]
    fn slow_changes_add_up() {
        let mut motion = Motion::default();
        let shade = |by: u8| frame(PixelFormat::Grey, move |_, _| 100 + by);
        motion.moved(raw(&shade(0)));
        motion.keep();
        let moved: Vec<bool> = [2, 4, 6, 8]
            .map(|by| motion.moved(raw(&shade(by))))
            .to_vec();
        assert_eq!(moved, [false, false, false, true]);
    }

    #[test]
    fn another_size_counts_as_moved() {
        let mut motion = Motion::default();
        let mut grey = frame(PixelFormat::Grey, |_, _| 9);
        motion.moved(raw(&grey));
        motion.keep();
        assert!(!motion.moved(raw(&grey)));
        grey.height = 32;
        assert!(motion.moved(raw(&grey)));
    }
}
