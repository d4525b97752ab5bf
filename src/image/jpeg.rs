//! JPEG images: photographs, and the frames of Motion JPEG cameras.

use std::borrow::Cow;

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::error::MAX_PIXELS;
use super::{ImageError, RgbImage};

/// What is not decoded.
const GREY: u8 = 128;

/// Decodes a JPEG into `image`, which takes its size.
///
/// # Errors
/// [`ImageError::TooLarge`] before any pixel is decoded, [`ImageError::Truncated`],
/// [`ImageError::Empty`] and [`ImageError::Jpeg`].
pub(super) fn decode_jpeg(bytes: &[u8], image: &mut RgbImage) -> Result<(), ImageError> {
    let options = DecoderOptions::default()
        .set_max_width(1 << 16)
        .set_max_height(1 << 16)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let bytes = with_tables(bytes);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&bytes[..]), options);
    let refused = |e: zune_jpeg::errors::DecodeErrors| ImageError::Jpeg(e.to_string());
    decoder.decode_headers().map_err(refused)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    if width == 0 || height == 0 {
        return Err(ImageError::Empty { width, height });
    }
    if width * height > MAX_PIXELS {
        return Err(ImageError::TooLarge { width, height });
    }
    if !is_whole(&bytes) {
        return Err(ImageError::Truncated);
    }
    image.reshape(width, height);
    // Where the decoder gives up in silence, nothing of the image before may be seen.
    image.pixels_mut().fill(GREY);
    decoder.decode_into(image.pixels_mut()).map_err(refused)
}

/// Marks an image without Huffman tables, as many cameras send them, with the `AVI1` segment that
/// tells the decoder to use the standard ones (ISO/IEC 10918-1, annex K.3).
fn with_tables(bytes: &[u8]) -> Cow<'_, [u8]> {
    const AVI1: [u8; 18] = *b"\xff\xe0\x00\x10AVI1\0\0\0\0\0\0\0\0\0\0";
    if !bytes.starts_with(&[0xff, 0xd8]) || bytes.windows(2).any(|w| w == [0xff, 0xc4]) {
        return Cow::Borrowed(bytes);
    }
    let (start, rest) = bytes.split_at(2);
    Cow::Owned([start, &AVI1, rest].concat())
}

/// Whether the image that begins here has its end marker, by the markers and lengths before it (ITU-T T.81,
/// annex B). A thumbnail in the header has an end marker of its own, and a phone may put a film behind the
/// image. Where one scan holds everything, another marker in it than that of a restart is damage, at which
/// the decoder may take the rest for a new segment and stop without an error.
fn is_whole(bytes: &[u8]) -> bool {
    let (mut rest, mut scanned) = (bytes.get(2..).unwrap_or_default(), false);
    let (mut components, mut everything) = (None, false);
    loop {
        // Entropy-coded data is passed over like what a decoder passes over between segments: no marker is
        // in it but those of restarts.
        let Some(at) = rest
            .windows(2)
            .position(|w| w[0] == 0xff && !matches!(w[1], 0 | 0xff))
        else {
            return false;
        };
        let marker = rest[at + 1];
        rest = &rest[at + 2..];
        match marker {
            0xd9 => return scanned,
            0x01 | 0xd0..=0xd7 => continue,
            _ if everything => return false,
            0xd8 => continue,
            // Sequential coding: the number of components stands behind length, precision and size.
            0xc0 | 0xc1 => components = rest.get(7).copied(),
            0xda => (scanned, everything) = (true, rest.get(2).copied() == components),
            _ => {}
        }
        let length = match rest {
            [high, low, ..] => u16::from_be_bytes([*high, *low]),
            _ => return false,
        };
        rest = rest.get(length.into()..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use image::ExtendedColorType;
    use image::codecs::jpeg::JpegEncoder;

    use super::*;

    fn encoded(pixels: &[u8], width: u32, height: u32, color: ExtendedColorType) -> Vec<u8> {
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 95)
            .encode(pixels, width, height, color)
            .expect("encodes");
        bytes
    }

    #[test]
    fn grey_and_colour_become_rgb() {
        let mut image = RgbImage::default();
        let grey = encoded(&[100; 64 * 48], 64, 48, ExtendedColorType::L8);
        decode_jpeg(&grey, &mut image).expect("decodes");
        assert_eq!((image.width(), image.height()), (64, 48));
        assert!(image.pixels().iter().all(|&v| v.abs_diff(100) <= 1));

        let red: Vec<u8> = [200, 30, 40].repeat(17 * 9);
        decode_jpeg(&encoded(&red, 17, 9, ExtendedColorType::Rgb8), &mut image).expect("decodes");
        let [r, g, b] = image.pixel(8, 4);
        assert!(
            r.abs_diff(200) < 4 && g.abs_diff(30) < 4 && b.abs_diff(40) < 4,
            "{r} {g} {b}"
        );
    }

    #[test]
    fn frames_without_huffman_tables_decode() {
        let mut bytes = encoded(&[100; 64 * 48 * 3], 64, 48, ExtendedColorType::Rgb8);
        // Many cameras leave the standard tables out and say so by an `AVI1` segment, or not at all.
        while let Some(at) = bytes.windows(2).position(|w| w == [0xff, 0xc4]) {
            let length = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
            bytes.drain(at..at + 2 + length);
        }
        let mut image = RgbImage::default();
        decode_jpeg(&bytes, &mut image).expect("decodes");
        assert!(image.pixels().iter().all(|&v| v.abs_diff(100) <= 2));
    }

    /// Phones put the film of a moving photograph behind it.
    #[test]
    fn what_stands_behind_an_image_is_no_matter() {
        let mut bytes = encoded(&[100; 64 * 48], 64, 48, ExtendedColorType::L8);
        let whole = bytes.len();
        bytes.extend(b"\0\0\0\x18ftypmp42\xff\xda\0\x08film");
        let mut image = RgbImage::default();
        decode_jpeg(&bytes, &mut image).expect("decodes");
        assert!(image.pixels().iter().all(|&v| v.abs_diff(100) <= 1));
        bytes.drain(whole - 9..whole);
        let error = decode_jpeg(&bytes, &mut image).expect_err("an image without its end");
        assert!(error.to_string().contains("truncated"), "{error}");
    }

    /// A thumbnail's end is not that of the image.
    #[test]
    fn an_image_cut_behind_its_thumbnail_is_truncated() {
        let whole = encoded(&[100; 64 * 48], 64, 48, ExtendedColorType::L8);
        let length = u16::try_from(whole.len() + 2).expect("a small image");
        let app = [b"\xff\xe1", &length.to_be_bytes()[..], &whole].concat();
        let with = [&whole[..2], &app, &whole[2..]].concat();
        let mut image = RgbImage::default();
        decode_jpeg(&with, &mut image).expect("decodes");
        let error = decode_jpeg(&with[..with.len() - 9], &mut image).expect_err("cut");
        assert!(error.to_string().contains("truncated"), "{error}");
    }

    /// Lost bytes of a scan may leave what looks like a segment.
    #[test]
    fn a_marker_within_the_only_scan_is_damage() {
        let noise: Vec<u8> = (0..64 * 48 * 3_u32)
            .map(|i| (i * 7919 % 251) as u8)
            .collect();
        let bytes = encoded(&noise, 64, 48, ExtendedColorType::Rgb8);
        let scan = bytes
            .windows(2)
            .position(|w| w == [0xff, 0xda])
            .expect("a scan");
        let mut image = RgbImage::default();
        for segment in [&b"\xff\xfe\0\x02"[..], &bytes[scan..scan + 14]] {
            let mut damaged = bytes.clone();
            let at = bytes.len() / 2 + scan / 2;
            damaged.splice(at..at, segment.iter().copied());
            let error = decode_jpeg(&damaged, &mut image).expect_err("damage");
            assert!(error.to_string().contains("damaged"), "{error}");
        }
        decode_jpeg(&bytes, &mut image).expect("decodes");
    }

    #[test]
    fn bad_input_is_named() {
        let whole = encoded(&[9; 640 * 480], 640, 480, ExtendedColorType::L8);
        let mut huge = whole.clone();
        let size = huge
            .windows(2)
            .position(|w| w == [0xff, 0xc0])
            .expect("a frame header")
            + 5;
        huge[size..size + 4].copy_from_slice(&[0x27, 0x10, 0x27, 0x10]);
        let table: [(&[u8], &str); 5] = [
            (b"", "no JPEG"),
            (b"\xff\xd8 and then something else", "no JPEG"),
            (b"GIF89a..........", "no JPEG"),
            (&whole[..whole.len() * 2 / 3], "truncated"),
            (&huge, "10000x10000 pixels, more than the 48 megapixels"),
        ];
        for (bytes, expected) in table {
            let error = decode_jpeg(bytes, &mut RgbImage::default()).expect_err(expected);
            assert!(
                error.to_string().contains(expected),
                "{error} should say {expected}"
            );
        }
    }
}
