//! Whether anything moved: a coarse comparison with the frame that was looked at last.
//!
//! Reads a few bytes of the camera's frame and decodes nothing. Motion JPEG has no pixels to read:
//! there the image that was decoded is looked at.

use super::{Frame, PixelFormat, RgbImage};

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
    /// Whether `frame` differs from the one that was [kept](Self::keep), or nothing was, or it
    /// cannot be told.
    pub fn moved(&mut self, frame: &Frame) -> bool {
        let size = (frame.width, frame.height);
        self.look(frame.format, size, frame.stride, &frame.bytes);
        self.differs()
    }

    /// The same of an image.
    pub fn moved_in(&mut self, image: &RgbImage) -> bool {
        // The image comes from a frame, whose sides are of this type.
        let side = |pixels: usize| u32::try_from(pixels).unwrap_or(0);
        let size = (side(image.width()), side(image.height()));
        self.look(PixelFormat::Rgb24, size, 0, image.pixels());
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

    /// Reads the cells of a frame; none of one that has no pixels or not all of them.
    fn look(&mut self, format: PixelFormat, size: (u32, u32), stride: u32, bytes: &[u8]) {
        self.seen.clear();
        // Where a pixel's brightness, or its green, lies.
        let (pixel, at) = match format {
            PixelFormat::Mjpg => return,
            PixelFormat::Yuyv => (2, 0),
            PixelFormat::Nv12 | PixelFormat::Grey => (1, 0),
            PixelFormat::Rgb24 | PixelFormat::Bgr24 => (3, 1),
        };
        let (width, height) = size;
        let needed = format.min_len(width, height, stride);
        let stride = stride.max(format.packed_stride(width)) as usize;
        if stride == 0 || bytes.len() < needed {
            return;
        }
        let columns = width as usize / CELL;
        let bands = height as usize / CELL;
        self.seen.resize(columns * bands, 0);
        for (band, cells) in self.seen.chunks_exact_mut(columns.max(1)).enumerate() {
            for y in (0..CELL).step_by(APART) {
                let row = &bytes[(band * CELL + y) * stride..];
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

    /// Noise of a few levels, another for each `seed`.
    fn noise(seed: usize) -> impl Fn(usize, usize) -> u8 {
        move |x, y| 100 + ((x * 31 + y * 17 + seed * 7919) * 2_654_435 % 11).to_le_bytes()[0]
    }

    #[test]
    fn noise_is_no_motion_and_a_small_object_is() {
        for format in PixelFormat::ALL {
            let mut motion = Motion::default();
            assert!(motion.moved(&frame(format, noise(0))), "nothing kept");
            motion.keep();
            let still = !motion.moved(&frame(format, noise(1)));
            assert_eq!(still, format != PixelFormat::Mjpg, "{format}");
            let object = |x: usize, y: usize| {
                let inside = (20..52).contains(&x) && (20..52).contains(&y);
                noise(2)(x, y) + if inside { 30 } else { 0 }
            };
            assert!(motion.moved(&frame(format, object)), "{format}");
        }
    }

    #[test]
    fn an_image_moves_as_its_frame_does() {
        let rgb = |level: &dyn Fn(usize, usize) -> u8| {
            let mut image = RgbImage::default();
            super::super::decode(&frame(PixelFormat::Rgb24, level), &mut image).unwrap();
            image
        };
        let mut motion = Motion::default();
        assert!(motion.moved_in(&rgb(&noise(0))), "nothing kept");
        motion.keep();
        assert!(!motion.moved_in(&rgb(&noise(1))));
        let object = |x: usize, y: usize| {
            if x < 32 && y < 32 {
                200
            } else {
                noise(2)(x, y)
            }
        };
        assert!(motion.moved_in(&rgb(&object)));
    }

    #[test]
    fn slow_changes_add_up() {
        let mut motion = Motion::default();
        let shade = |by: u8| frame(PixelFormat::Grey, move |_, _| 100 + by);
        motion.moved(&shade(0));
        motion.keep();
        let moved: Vec<bool> = [2, 4, 6, 8].map(|by| motion.moved(&shade(by))).to_vec();
        assert_eq!(moved, [false, false, false, true]);
    }

    #[test]
    fn another_size_or_a_short_frame_counts_as_moved() {
        let mut motion = Motion::default();
        let mut grey = frame(PixelFormat::Grey, |_, _| 9);
        motion.moved(&grey);
        motion.keep();
        assert!(!motion.moved(&grey));
        grey.height = 32;
        assert!(motion.moved(&grey));
        grey.height = 640;
        assert!(motion.moved(&grey));
    }
}
