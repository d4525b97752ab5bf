//! A picture to look at, decoded where it is looked at.

use super::decode::{self, nv12_row, yuyv_row};
use super::jpeg::decode_jpeg;
use super::{Frame, ImageError, PixelFormat, RgbImage};

/// An image, or a camera's frame whose pixels are decoded only where somebody looks.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    format: PixelFormat,
    bytes: &'a [u8],
    width: usize,
    height: usize,
    stride: usize,
}

impl<'a> From<&'a RgbImage> for Picture<'a> {
    fn from(image: &'a RgbImage) -> Self {
        Self {
            format: PixelFormat::Rgb24,
            bytes: image.pixels(),
            width: image.width(),
            height: image.height(),
            stride: image.width() * 3,
        }
    }
}

impl<'a> Picture<'a> {
    /// The picture that `frame` holds. Motion JPEG has to be decoded whole, into `decoded`; nothing
    /// else touches it.
    ///
    /// # Errors
    /// [`ImageError::ShortFrame`], [`ImageError::Empty`] or [`ImageError::TooLarge`] for raw formats,
    /// and what [`decode_jpeg`] says for Motion JPEG.
    pub fn of(frame: &'a Frame, decoded: &'a mut RgbImage) -> Result<Self, ImageError> {
        if frame.format == PixelFormat::Mjpg {
            decode_jpeg(&frame.bytes, decoded)?;
            return Ok(Self::from(&*decoded));
        }
        Self::raw(frame)
    }

    /// The same of a frame that is not Motion JPEG.
    pub(super) fn raw(frame: &'a Frame) -> Result<Self, ImageError> {
        let (width, height) = (frame.width as usize, frame.height as usize);
        if width == 0 || height == 0 {
            return Err(ImageError::Empty { width, height });
        }
        if width.saturating_mul(height) > super::error::MAX_PIXELS {
            return Err(ImageError::TooLarge { width, height });
        }
        let needed = frame
            .format
            .min_len(frame.width, frame.height, frame.stride);
        if frame.bytes.len() < needed {
            return Err(ImageError::ShortFrame {
                sequence: frame.sequence,
                format: frame.format,
                width: frame.width,
                height: frame.height,
                found: frame.bytes.len(),
                needed,
            });
        }
        Ok(Self {
            format: frame.format,
            bytes: &frame.bytes,
            width,
            height,
            stride: frame.stride.max(frame.format.packed_stride(frame.width)) as usize,
        })
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// How its bytes are laid out; never [`PixelFormat::Mjpg`].
    pub(super) fn format(&self) -> PixelFormat {
        self.format
    }

    /// All pixels as packed RGB, if that is what its bytes are.
    pub(super) fn packed(&self) -> Option<&'a [u8]> {
        let packed = self.format == PixelFormat::Rgb24 && self.stride == self.width * 3;
        packed.then(|| &self.bytes[..self.height * self.stride])
    }

    /// The bytes of row `y` and of all after it; of the first plane, where there are two.
    pub(super) fn row(&self, y: usize) -> &'a [u8] {
        &self.bytes[y * self.stride..]
    }

    /// The interleaved U and V of row `y` of NV12.
    pub(super) fn chroma(&self, y: usize) -> &'a [u8] {
        self.row(self.height + y / 2)
    }

    /// Decodes pixels of row `y`, from column `left` on, as many as `out` has room for.
    pub(super) fn decode_row(&self, y: usize, left: usize, out: &mut [u8]) {
        let row = self.row(y);
        match self.format {
            PixelFormat::Mjpg => {}
            PixelFormat::Yuyv => yuyv_row(row, left, out),
            PixelFormat::Nv12 => nv12_row(row, self.chroma(y), left, out),
            PixelFormat::Grey => decode::grey_row(&row[left..], out),
            PixelFormat::Rgb24 => out.copy_from_slice(&row[left * 3..][..out.len()]),
            PixelFormat::Bgr24 => decode::bgr_row(&row[left * 3..], out),
        }
    }
}
