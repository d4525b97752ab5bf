//! From RGB to a JPEG or a PNG that others can look at.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};

use super::{ImageError, RgbImage};

/// Good to look at, and a tenth of the size that nobody can tell from the original.
const QUALITY: u8 = 85;

/// Encodes `image` as JPEG.
///
/// # Errors
/// [`ImageError::Empty`], and [`ImageError::TooLarge`] for one wider or higher than a JPEG can be.
pub fn encode_jpeg(image: &RgbImage) -> Result<Vec<u8>, ImageError> {
    let (width, height) = (image.width(), image.height());
    if width == 0 || height == 0 {
        return Err(ImageError::Empty { width, height });
    }
    let too_large = || ImageError::TooLarge { width, height };
    let side = |length: usize| u16::try_from(length).map_err(|_| too_large());
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .encode(
            image.pixels(),
            side(width)?.into(),
            side(height)?.into(),
            ExtendedColorType::Rgb8,
        )
        .map_err(|_| too_large())?;
    Ok(bytes)
}

/// Encodes `image` as PNG.
///
/// # Errors
/// [`ImageError::Empty`], and [`ImageError::TooLarge`] for one wider or higher than a PNG can be.
pub fn encode_png(image: &RgbImage) -> Result<Vec<u8>, ImageError> {
    let (width, height) = (image.width(), image.height());
    if width == 0 || height == 0 {
        return Err(ImageError::Empty { width, height });
    }
    let too_large = || ImageError::TooLarge { width, height };
    let side = |length: usize| u32::try_from(length).map_err(|_| too_large());
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(
            image.pixels(),
            side(width)?,
            side(height)?,
            ExtendedColorType::Rgb8,
        )
        .map_err(|_| too_large())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::decode_photo;

    #[test]
    fn what_is_encoded_can_be_read() {
        let image = RgbImage::from_pixels(33, 17, [200, 30, 40].repeat(33 * 17));
        let bytes = encode_jpeg(&image).expect("encodes");
        let back = decode_photo(&bytes, "sample").expect("decodes");
        assert_eq!((back.width(), back.height()), (33, 17));
        assert!(
            back.pixel(20, 9)[0].abs_diff(200) < 8,
            "{:?}",
            back.pixel(20, 9)
        );
        let bytes = encode_png(&image).expect("encodes");
        let back = decode_photo(&bytes, "sample").expect("decodes");
        assert_eq!(back.pixels(), image.pixels());
        encode_jpeg(&RgbImage::default()).expect_err("no pixels");
        encode_png(&RgbImage::default()).expect_err("no pixels");
    }
}
