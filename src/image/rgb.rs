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

    /// Luma (ITU-R BT.601) of every pixel, 0..255.
    pub fn luma(&self) -> impl Iterator<Item = u8> {
        self.pixels.chunks_exact(3).map(|p| {
            let sum = 77 * u32::from(p[0]) + 150 * u32::from(p[1]) + 29 * u32::from(p[2]);
            (sum >> 8).to_le_bytes()[0]
        })
    }
}
