//! One photo from a file, as a frame's content.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use ::image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::camera::ReplayError;
use crate::camera::jpeg::{JpegImage, JpegReader, Scan};
use crate::image::{ImageError, PixelFormat};

/// The largest photo that is read, in pixels.
const MAX_PIXELS: u64 = ImageError::MAX_PIXELS as u64;
/// Bytes that decoding may take: four channels of 16 bits a pixel.
const MAX_DECODING: u64 = MAX_PIXELS * 8;

/// A photo's pixels, still compressed if it is JPEG. Its orientation tag is not looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Photo {
    pub(crate) bytes: Vec<u8>,
    pub(crate) format: PixelFormat,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Photo {
    /// Reads a JPEG, PNG or WebP file; its content says which, not its name.
    pub(crate) fn load(path: &Path) -> Result<Self, ReplayError> {
        let mut file = File::open(path).map_err(|source| ReplayError::from_io(path, source))?;
        let mut start = Vec::new();
        let read = file
            .by_ref()
            .take(16)
            .read_to_end(&mut start)
            .and_then(|_| file.rewind());
        read.map_err(|source| ReplayError::from_io(path, source))?;
        let file = BufReader::new(file);
        match ::image::guess_format(&start) {
            Ok(ImageFormat::Jpeg) => match JpegReader::new(file).next_image() {
                Ok(Scan::Image(image)) => Self::from_jpeg(image, path),
                Ok(_) => Err(not_a_photo(path, "the JPEG image is cut off or damaged")),
                Err(source) => Err(ReplayError::from_io(path, source)),
            },
            Ok(format @ (ImageFormat::Png | ImageFormat::WebP)) => Self::decode(file, format, path),
            _ => Err(not_a_photo(
                path,
                "its content is neither JPEG nor PNG nor WebP",
            )),
        }
    }

    pub(crate) fn from_jpeg(image: JpegImage, path: &Path) -> Result<Self, ReplayError> {
        let JpegImage {
            bytes,
            width,
            height,
        } = image;
        check_size((width, height), path)?;
        Ok(Self {
            bytes,
            format: PixelFormat::Mjpg,
            width,
            height,
        })
    }

    fn decode(
        file: BufReader<File>,
        format: ImageFormat,
        path: &Path,
    ) -> Result<Self, ReplayError> {
        let broken = |error: ::image::ImageError| not_a_photo(path, &error.to_string());
        let mut reader = ImageReader::with_format(file, format);
        let mut limits = Limits::default();
        limits.max_alloc = Some(MAX_DECODING);
        reader.limits(limits);
        let decoder = reader.into_decoder().map_err(broken)?;
        check_size(decoder.dimensions(), path)?;
        let image = DynamicImage::from_decoder(decoder)
            .map_err(broken)?
            .into_rgb8();
        let (width, height) = image.dimensions();
        Ok(Self {
            bytes: image.into_raw(),
            format: PixelFormat::Rgb24,
            width,
            height,
        })
    }
}

fn check_size((width, height): (u32, u32), path: &Path) -> Result<(), ReplayError> {
    match u64::from(width) * u64::from(height) {
        0..=MAX_PIXELS => Ok(()),
        _ => Err(ReplayError::TooLarge {
            path: path.to_owned(),
            width,
            height,
        }),
    }
}

fn not_a_photo(path: &Path, reason: &str) -> ReplayError {
    ReplayError::NotAPhoto {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use ::image::RgbImage;

    use super::*;

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let image = RgbImage::from_fn(3, 2, |x, y| {
            ::image::Rgb([x.to_le_bytes()[0], y.to_le_bytes()[0], 200])
        });
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    /// Loads the bytes as a file of this name and puts the outcome into words.
    fn load(name: &str, bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        match Photo::load(&path) {
            Ok(p) => format!(
                "{} {}x{} {} bytes",
                p.format,
                p.width,
                p.height,
                p.bytes.len()
            ),
            Err(error) => {
                assert!(
                    error.to_string().contains(name),
                    "{error} does not name the file"
                );
                error.to_string()
            }
        }
    }

    #[test]
    fn the_content_decides() {
        let (jpeg, png) = (encoded(ImageFormat::Jpeg), encoded(ImageFormat::Png));
        let webp = encoded(ImageFormat::WebP);
        // An image header (IHDR, with its checksum) that claims 60000x60000 pixels.
        let mut huge = png.clone();
        huge[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
        let checksum = crc32(&huge[12..29]).to_be_bytes();
        huge[29..33].copy_from_slice(&checksum);
        let mut huge_jpeg = jpeg.clone();
        let sof = huge_jpeg
            .windows(2)
            .position(|w| w == [0xff, 0xc0])
            .unwrap();
        huge_jpeg[sof + 5..sof + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
        let whole_jpeg = format!("MJPG 3x2 {} bytes", jpeg.len());
        let trailing = [&jpeg[..], b"appended"].concat();
        let table: [(&str, &[u8], &str); 10] = [
            ("a.jpg", &jpeg, &whole_jpeg),
            ("a.png", &png, "RGB24 3x2 18 bytes"),
            ("a.webp", &webp, "RGB24 3x2 18 bytes"),
            ("png-by-mistake.jpg", &png, "RGB24 3x2 18 bytes"),
            ("trailing.jpg", &trailing, &whole_jpeg),
            ("cut.jpg", &jpeg[..jpeg.len() - 9], "cut off or damaged"),
            ("cut.png", &png[..png.len() / 2], "is no photo"),
            ("empty.png", &[], "neither JPEG nor PNG nor WebP"),
            ("huge.png", &huge, "60000x60000"),
            ("huge.jpg", &huge_jpeg, "60000x60000"),
        ];
        for (name, bytes, expected) in table {
            let found = load(name, bytes);
            assert!(found.contains(expected), "{name}: {found}");
        }
    }

    /// The checksum of PNG chunks (RFC 2083, section 3.4).
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc: u32, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |c, _| {
                (c >> 1) ^ (0xedb8_8320 & (c & 1).wrapping_neg())
            })
        })
    }
}
