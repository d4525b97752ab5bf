//! Photographs from files: JPEG, PNG and WebP, turned upright.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::error::MAX_PIXELS;
use super::jpeg::decode_jpeg;
use super::{ImageError, RgbImage};

/// Bytes of the largest photo file: 48 megapixels in PNG rarely take as much.
pub(crate) const MAX_BYTES: usize = 128 << 20;

/// Reads a photograph from a file. See [`photo_bytes`] and [`decode_photo`].
///
/// # Errors
/// What these two say.
pub fn read_photo(path: &Path) -> Result<RgbImage, ImageError> {
    decode_photo(&photo_bytes(path, MAX_BYTES)?, &path.display().to_string())
}

/// The bytes of a file, `limit` at most. `-` is standard input, and so is `/dev/stdin`, which Linux
/// would open anew, with the rights of this program's user instead of who has piped a file into it.
///
/// # Errors
/// [`ImageError::Read`] and [`ImageError::TooLong`].
pub fn photo_bytes(path: &Path, limit: usize) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    let piped = [Path::new("-"), Path::new("/dev/stdin")].contains(&path);
    let file: io::Result<Box<dyn Read>> = if piped {
        Ok(Box::new(io::stdin()))
    } else {
        File::open(path).map(|file| Box::new(file) as _)
    };
    // One more shows that there are more.
    let read = file.and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes));
    let path = path.to_owned();
    match read {
        Ok(length) if length <= limit => Ok(bytes),
        Ok(_) => Err(ImageError::TooLong { path, limit }),
        Err(cause) => Err(ImageError::Read { path, cause }),
    }
}

/// Decodes a photograph and turns it as its EXIF orientation says. `name` is only named in errors.
///
/// # Errors
/// [`ImageError::LargePhoto`] before any pixel is decoded, otherwise [`ImageError::Photo`].
pub fn decode_photo(bytes: &[u8], name: &str) -> Result<RgbImage, ImageError> {
    let refused = |reason: String| ImageError::Photo {
        name: name.to_owned(),
        reason,
    };
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| refused(e.to_string()))?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(8 * MAX_PIXELS as u64);
    reader.limits(limits);
    let format = reader.format();
    let mut decoder = reader.into_decoder().map_err(|e| refused(e.to_string()))?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    check_size(name, width, height)?;
    let turn = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    if format == Some(ImageFormat::Jpeg) {
        let mut image = RgbImage::default();
        decode_jpeg(bytes, &mut image).map_err(|e| refused(e.to_string()))?;
        return Ok(turned(image, turn));
    }
    let image = DynamicImage::from_decoder(decoder).map_err(|e| refused(e.to_string()))?;
    let image = image.into_rgb8();
    Ok(turned(
        RgbImage::from_pixels(width, height, image.into_raw()),
        turn,
    ))
}

/// Refuses a photo of more pixels than are decoded.
pub(crate) fn check_size(name: &str, width: usize, height: usize) -> Result<(), ImageError> {
    if width.saturating_mul(height) <= MAX_PIXELS {
        return Ok(());
    }
    Err(ImageError::LargePhoto {
        name: name.to_owned(),
        width,
        height,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "decoded images have at most 48 megapixels"
)]
fn turned(image: RgbImage, turn: Orientation) -> RgbImage {
    if turn == Orientation::NoTransforms {
        return image;
    }
    let (width, height) = (image.width() as u32, image.height() as u32);
    let buffer = image::RgbImage::from_raw(width, height, image.into_pixels());
    let mut image = DynamicImage::ImageRgb8(buffer.unwrap_or_default());
    image.apply_orientation(turn);
    let (width, height) = (image.width() as usize, image.height() as usize);
    RgbImage::from_pixels(width, height, image.into_rgb8().into_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(image: &image::RgbImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).expect("encodes");
        bytes.into_inner()
    }

    /// A dark picture with a bright left half.
    fn sample() -> image::RgbImage {
        image::RgbImage::from_fn(64, 32, |x, _| {
            image::Rgb([if x < 32 { 240 } else { 10 }; 3])
        })
    }

    #[test]
    fn each_format_is_read() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
            let image = decode_photo(&encoded(&sample(), format), "sample").expect("decodes");
            assert_eq!((image.width(), image.height()), (64, 32), "{format:?}");
            assert!(
                image.pixel(5, 5)[0] > 230 && image.pixel(60, 5)[0] < 20,
                "{format:?}"
            );
        }
    }

    #[test]
    fn exif_orientation_is_followed() {
        let mut bytes = encoded(&sample(), ImageFormat::Jpeg);
        // An EXIF segment that holds the orientation alone: 6, turn by 90 degrees clockwise.
        let exif = b"\xff\xe1\x00\x22Exif\0\0II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        bytes.splice(2..2, exif.iter().copied());
        let image = decode_photo(&bytes, "sample").expect("decodes");
        assert_eq!((image.width(), image.height()), (32, 64));
        assert!(
            image.pixel(5, 5)[0] > 230 && image.pixel(5, 60)[0] < 20,
            "left has become top"
        );
    }

    #[test]
    fn bad_photos_are_named() {
        let png = encoded(&sample(), ImageFormat::Png);
        let jpeg = encoded(&sample(), ImageFormat::Jpeg);
        let cases: [(&[u8], &str); 4] = [
            (b"", "sample.jpg is no photo"),
            (b"hello, this is a text", "sample.jpg is no photo"),
            (&png[..png.len() / 2], "sample.jpg is no photo"),
            (&jpeg[..jpeg.len() - 40], "truncated"),
        ];
        for (bytes, expected) in cases {
            let error = decode_photo(bytes, "sample.jpg")
                .expect_err(expected)
                .to_string();
            assert!(error.contains(expected), "{error} should say {expected}");
        }
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let error = photo_bytes(Path::new("/dev/zero"), 1000).expect_err("endless");
        let error = error.to_string();
        assert!(
            error.contains("/dev/zero") && error.contains("1000"),
            "{error}"
        );
        let empty = photo_bytes(Path::new("/dev/null"), 0).expect("nothing");
        assert_eq!(empty, [0u8; 0]);
    }

    #[test]
    fn a_hundred_megapixels_are_refused_before_decoding() {
        let mut png = encoded(&image::RgbImage::new(1, 1), ImageFormat::Png);
        png[16..24].copy_from_slice(&[0, 0, 0x27, 0x10, 0, 0, 0x27, 0x10]);
        let mut crc = crc32(&png[12..29]);
        crc.reverse();
        png[29..33].copy_from_slice(&crc);
        let error = decode_photo(&png, "big.png")
            .expect_err("too large")
            .to_string();
        assert!(error.contains("big.png has 10000x10000"), "{error}");
    }

    /// CRC-32 of a PNG chunk, lowest byte first.
    fn crc32(bytes: &[u8]) -> [u8; 4] {
        let crc = bytes.iter().fold(!0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |c, _| {
                (c >> 1) ^ (0xedb8_8320 * (c & 1))
            })
        });
        (!crc).to_le_bytes()
    }
}
