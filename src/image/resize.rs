//! Scaling whole images down, for the detector.

use std::ops::Range;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::RgbImage;

/// Scales images into a fixed frame, keeping their shape. Holds its working memory.
#[derive(Default)]
pub struct Fit {
    resizer: Resizer,
    scaled: RgbImage,
}

impl Fit {
    /// Scales `image` to `width` x `height` pixels and puts it at the top left of `canvas`, whose
    /// size stays; the rest of the canvas is black.
    ///
    /// # Panics
    /// When the scaled image does not fit the canvas or one of the sizes is 0.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "sides of decoded images fit in u32"
    )]
    pub fn fit(&mut self, image: &RgbImage, width: usize, height: usize, canvas: &mut RgbImage) {
        assert!(width <= canvas.width() && height <= canvas.height());
        let source = if (width, height) == (image.width(), image.height()) {
            image
        } else if (2 * width, 2 * height) == (image.width(), image.height()) {
            let (columns, rows) = (0..image.width(), 0..image.height());
            shrink(image, columns, rows, 2, &mut self.scaled);
            &self.scaled
        } else {
            self.scaled.reshape(width, height);
            let from = ImageRef::new(
                image.width() as u32,
                image.height() as u32,
                image.pixels(),
                PixelType::U8x3,
            )
            .expect("an RGB image has all its bytes");
            let mut to = Image::from_slice_u8(
                width as u32,
                height as u32,
                self.scaled.pixels_mut(),
                PixelType::U8x3,
            )
            .expect("an RGB image has all its bytes");
            // A bilinear filter as wide as the step between samples: it averages, so nothing
            // aliases.
            let filter = ResizeAlg::Convolution(FilterType::Bilinear);
            self.resizer
                .resize(&from, &mut to, &ResizeOptions::new().resize_alg(filter))
                .expect("both images are RGB");
            &self.scaled
        };
        let canvas_row = canvas.width() * 3;
        let rows = canvas.pixels_mut().chunks_exact_mut(canvas_row);
        let mut lines = source.pixels().chunks_exact(width * 3);
        for row in rows {
            let (left, right) = row.split_at_mut(width * 3);
            match lines.next() {
                Some(line) => left.copy_from_slice(line),
                None => left.fill(0),
            }
            right.fill(0);
        }
    }
}

/// The columns and rows of `image`, divided by `factor`, into `small`: each pixel the mean of a
/// square. What does not fill a square at the right and the bottom is left out.
pub(super) fn shrink(
    image: &RgbImage,
    columns: Range<usize>,
    rows: Range<usize>,
    factor: usize,
    small: &mut RgbImage,
) {
    let width = columns.len() / factor;
    small.reshape(width, rows.len() / factor);
    let area = u32::try_from(factor * factor).unwrap_or(u32::MAX);
    let line = image.width() * 3;
    let out = small.pixels_mut().chunks_exact_mut((width * 3).max(1));
    for (out, top) in out.zip(rows.step_by(factor)) {
        let mut columns = columns.clone();
        let mut out = out;
        if factor == 2 {
            let row = |y: usize| &image.pixels()[y * line + columns.start * 3..][..width * 6];
            let done = halve(row(top), row(top + 1), out);
            columns.start += done * 2;
            out = &mut out[done * 3..];
        }
        for (rgb, left) in out.chunks_exact_mut(3).zip(columns.clone().step_by(factor)) {
            let mut sums = [0u32; 3];
            for y in top..top + factor {
                let square = &image.pixels()[y * line + left * 3..][..factor * 3];
                for pixel in square.chunks_exact(3) {
                    for (sum, &value) in sums.iter_mut().zip(pixel) {
                        *sum += u32::from(value);
                    }
                }
            }
            for (value, sum) in rgb.iter_mut().zip(sums) {
                *value = ((sum + area / 2) / area).to_le_bytes()[0];
            }
        }
    }
}

/// Pixels that are halved at a time, enough for the compiler to make vectors of the loops over them.
const BLOCK: usize = 32;

/// The means of squares of two pixels of two rows, as many as fill blocks; gives their number.
fn halve(top: &[u8], bottom: &[u8], out: &mut [u8]) -> usize {
    const WIDE: usize = 6 * BLOCK;
    let (top, bottom) = (top.as_chunks::<WIDE>().0, bottom.as_chunks::<WIDE>().0);
    let blocks = out.as_chunks_mut::<{ 3 * BLOCK }>().0;
    for ((top, bottom), out) in top.iter().zip(bottom).zip(&mut *blocks) {
        halve_block(top, bottom, out);
    }
    blocks.len() * BLOCK
}

/// By itself, because the compiler makes no vectors of it where it is inlined.
#[inline(never)]
fn halve_block(top: &[u8; 6 * BLOCK], bottom: &[u8; 6 * BLOCK], out: &mut [u8; 3 * BLOCK]) {
    let mut sums = [[0u16; 2 * BLOCK]; 3];
    for i in 0..2 * BLOCK {
        for (c, sums) in sums.iter_mut().enumerate() {
            sums[i] = u16::from(top[3 * i + c]) + u16::from(bottom[3 * i + c]);
        }
    }
    for i in 0..BLOCK {
        for (c, sums) in sums.iter().enumerate() {
            let sum = sums[2 * i].wrapping_add(sums[2 * i + 1]).wrapping_add(2);
            out[3 * i + c] = (sum / 4).to_le_bytes()[0];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_scaled_into_the_corner_and_the_rest_is_black() {
        let image = RgbImage::from_pixels(8, 4, [10, 20, 30].repeat(32));
        let mut canvas = RgbImage::from_pixels(6, 6, vec![255; 108]);
        Fit::default().fit(&image, 4, 2, &mut canvas);
        for y in 0..6 {
            for x in 0..6 {
                let expected = if x < 4 && y < 2 { [10, 20, 30] } else { [0; 3] };
                assert_eq!(canvas.pixel(x, y), expected, "{x} {y}");
            }
        }
    }

    #[test]
    fn scaling_down_averages() {
        let stripes: Vec<u8> = (0..64 * 64)
            .flat_map(|i| [if i % 2 == 0 { 0 } else { 200 }; 3])
            .collect();
        let image = RgbImage::from_pixels(64, 64, stripes);
        let mut canvas = RgbImage::new(16, 16);
        Fit::default().fit(&image, 16, 16, &mut canvas);
        assert!(canvas.pixels().iter().all(|v| v.abs_diff(100) <= 8));
        let mut small = RgbImage::default();
        shrink(&image, 0..64, 8..64, 4, &mut small);
        assert_eq!((small.width(), small.height()), (16, 14));
        assert!(small.pixels().iter().all(|v| *v == 100));
    }

    #[test]
    fn squares_become_their_means() {
        for factor in [2, 3] {
            // Wide enough for whole blocks and a rest.
            let (width, height) = (factor * 37, factor * 2);
            let value = |i: usize| (i * 31 % 251).to_le_bytes()[0];
            let pixels = (0..width * height * 3).map(value).collect();
            let image = RgbImage::from_pixels(width, height, pixels);
            let mut small = RgbImage::default();
            shrink(&image, 0..width, 0..height, factor, &mut small);
            if factor == 2 {
                let mut canvas = RgbImage::new(37, 2);
                Fit::default().fit(&image, 37, 2, &mut canvas);
                assert_eq!(canvas.pixels(), small.pixels());
            }
            for (x, y, c) in (0..37 * 2 * 3).map(|i| (i / 3 % 37, i / 111, i % 3)) {
                let square = (0..factor * factor)
                    .map(|i| (x * factor + i % factor, y * factor + i / factor))
                    .map(|(x, y)| usize::from(image.pixel(x, y)[c]));
                let (sum, area) = (square.sum::<usize>(), factor * factor);
                let mean = (sum + area / 2) / area;
                assert_eq!(usize::from(small.pixel(x, y)[c]), mean, "{x} {y} {c}");
            }
        }
    }
}
