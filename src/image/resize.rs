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
}
