//! The picture that the rest of the program looks at: packed RGB.

/// Packed 8-bit RGB, row after row without padding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RgbImage {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl RgbImage {
    /// A black image.
    pub fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            pixels: vec![0; width * height * 3],
        }
    }

    /// Takes `pixels`, `width * height * 3` bytes.
    ///
    /// # Panics
    /// When the number of bytes differs from that.
    pub fn from_pixels(width: usize, height: usize, pixels: Vec<u8>) -> Self {
        assert_eq!(
            pixels.len(),
            width * height * 3,
            "bytes of a {width}x{height} RGB image"
        );
        Self {
            width,
            height,
            pixels,
        }
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// All bytes: red, green, blue of the first pixel of the first row, and on.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// All bytes, to be written.
    pub fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// Gives the bytes away.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// One pixel.
    pub fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        let i = (y * self.width + x) * 3;
        [self.pixels[i], self.pixels[i + 1], self.pixels[i + 2]]
    }

    /// Changes the size and keeps the memory. What the pixels hold afterwards is not specified.
    pub fn reshape(&mut self, width: usize, height: usize) {
        self.width = width;
        self.height = height;
        self.pixels.resize(width * height * 3, 0);
    }

    /// Becomes the mirror image of `other`: left is right.
    pub fn mirror(&mut self, other: &Self) {
        self.reshape(other.width, other.height);
        self.pixels.copy_from_slice(&other.pixels);
        let (pixels, _) = self.pixels.as_chunks_mut::<3>();
        for row in pixels.chunks_exact_mut(self.width.max(1)) {
            row.reverse();
        }
    }

    /// Luma (ITU-R BT.601) of every pixel, 0..255.
    pub fn luma(&self) -> impl Iterator<Item = u8> {
        self.pixels.chunks_exact(3).map(|p| {
            let sum = 77 * u32::from(p[0]) + 150 * u32::from(p[1]) + 29 * u32::from(p[2]);
            (sum >> 8).to_le_bytes()[0]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_image_has_left_and_right_changed_over() {
        let pixels = (0..3 * 2 * 3).collect();
        let image = RgbImage::from_pixels(3, 2, pixels);
        let mut mirrored = RgbImage::default();
        mirrored.mirror(&image);
        assert_eq!(
            mirrored.pixels(),
            [6, 7, 8, 3, 4, 5, 0, 1, 2, 15, 16, 17, 12, 13, 14, 9, 10, 11]
        );
        let mut again = RgbImage::default();
        again.mirror(&mirrored);
        assert_eq!(again, image);
        again.mirror(&RgbImage::default());
        assert_eq!(again, RgbImage::default());
    }
}
