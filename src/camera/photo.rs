//! One photo from a file, as a frame's content.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use ::image::ImageFormat;

use crate::camera::ReplayError;
use crate::camera::jpeg::{JpegImage, JpegReader, Scan};
use crate::image::{ImageError, MAX_BYTES, PixelFormat, check_size, decode_photo};

/// A photo's pixels, still compressed if it is JPEG, whose orientation tag is not looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Photo {
    pub(crate) bytes: Vec<u8>,
    pub(crate) format: PixelFormat,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Photo {
    /// Reads a JPEG, PNG or WebP file; its content says which, not its name.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "decoded images have at most 48 megapixels"
    )]
    pub(crate) fn load(path: &Path) -> Result<Self, ReplayError> {
        let mut bytes = Vec::new();
        let read = File::open(path)
            .and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
            .map_err(|source| ReplayError::from_io(path, source))?;
        if read > MAX_BYTES {
            let (path, limit) = (path.to_owned(), MAX_BYTES);
            return Err(ImageError::TooLong { path, limit }.into());
        }
        if ::image::guess_format(&bytes).ok() == Some(ImageFormat::Jpeg) {
            return match JpegReader::new(&bytes[..]).next_image() {
                Ok(Scan::Image(image)) => Self::from_jpeg(image, path),
                Ok(_) => Err(ReplayError::NotAPhoto {
                    path: path.to_owned(),
                    reason: "the JPEG image is cut off or damaged".to_owned(),
                }),
                Err(source) => Err(ReplayError::from_io(path, source)),
            };
        }
        let image = decode_photo(&bytes, &path.display().to_string())?;
        Ok(Self {
            format: PixelFormat::Rgb24,
            width: image.width() as u32,
            height: image.height() as u32,
            bytes: image.into_pixels(),
        })
    }

    pub(crate) fn from_jpeg(image: JpegImage, path: &Path) -> Result<Self, ReplayError> {
        let JpegImage {
            bytes,
            width,
            height,
        } = image;
        check_size(&path.display().to_string(), width as usize, height as usize)?;
        Ok(Self {
            bytes,
            format: PixelFormat::Mjpg,
            width,
            height,
        })
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
            ("empty.png", &[], "expected JPEG, PNG or WebP"),
            ("huge.png", &huge, "has 60000x60000 pixels"),
            ("huge.jpg", &huge_jpeg, "has 60000x60000 pixels"),
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
