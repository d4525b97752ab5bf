//! Scaling whole images down, for the detector.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::cut::Cut;
use super::{Picture, RgbImage};

/// Scales images into a fixed frame, keeping their shape. Holds its working memory.
#[derive(Default)]
pub struct Fit {
    cut: Cut,
    resizer: Resizer,
    scaled: RgbImage,
}

impl Fit {
    /// Scales `picture` to `width` x `height` pixels and puts it at the top left of `canvas`, whose
    /// size stays; the rest of the canvas is black.
    ///
    /// # Panics
    /// When the scaled image does not fit the canvas or one of the sizes is 0.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "sides of decoded images fit in u32"
    )]
    pub fn fit(
        &mut self,
        picture: Picture<'_>,
        width: usize,
        height: usize,
        canvas: &mut RgbImage,
    ) {
        assert!(width <= canvas.width() && height <= canvas.height());
        let size = (picture.width(), picture.height());
        let (columns, rows) = (0..size.0, 0..size.1);
        let whole = size.0 / width;
        let source = if size == (whole * width, whole * height) {
            self.cut.cut(picture, columns, rows, whole)
        } else {
            self.scaled.reshape(width, height);
            let pixels = match picture.packed() {
                Some(pixels) => pixels,
                None => self.cut.cut(picture, columns, rows, 1).pixels(),
            };
            let from = ImageRef::new(size.0 as u32, size.1 as u32, pixels, PixelType::U8x3)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_scaled_into_the_corner_and_the_rest_is_black() {
        let image = RgbImage::from_pixels(8, 4, [10, 20, 30].repeat(32));
        let mut canvas = RgbImage::from_pixels(6, 6, vec![255; 108]);
        Fit::default().fit((&image).into(), 4, 2, &mut canvas);
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
        Fit::default().fit((&image).into(), 16, 16, &mut canvas);
        assert!(canvas.pixels().iter().all(|v| v.abs_diff(100) <= 8));
    }
}
