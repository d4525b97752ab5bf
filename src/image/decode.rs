//! From a camera's bytes to RGB.
//!
//! YUV is taken as ITU-R BT.601 in limited range, which is what V4L2's default colorspace for
//! cameras says; the conversion is the usual 8-bit fixed-point one.

use super::jpeg::decode_jpeg;
use super::{Frame, ImageError, Picture, PixelFormat, RgbImage};

/// Decodes `frame` whole into `image`, which takes its size.
///
/// # Errors
/// What [`Picture::of`] says.
pub fn decode(frame: &Frame, image: &mut RgbImage) -> Result<(), ImageError> {
    if frame.format == PixelFormat::Mjpg {
        return decode_jpeg(&frame.bytes, image);
    }
    let picture = Picture::raw(frame)?;
    image.reshape(picture.width(), picture.height());
    let rows = image.pixels_mut().chunks_exact_mut(picture.width() * 3);
    rows.enumerate()
        .for_each(|(y, out)| picture.decode_row(y, 0, out));
    Ok(())
}

pub(super) fn grey_row(row: &[u8], out: &mut [u8]) {
    let pixels = out.chunks_exact_mut(3).zip(row);
    pixels.for_each(|(rgb, &v)| rgb.fill(v));
}

pub(super) fn bgr_row(row: &[u8], out: &mut [u8]) {
    let pixels = out.chunks_exact_mut(3).zip(row.chunks_exact(3));
    pixels.for_each(|(rgb, p)| rgb.copy_from_slice(&[p[2], p[1], p[0]]));
}

/// A row of `Y0 U Y1 V` from column `left` on. An odd width leaves the last Y1 unused.
pub(super) fn yuyv_row(row: &[u8], left: usize, out: &mut [u8]) {
    let (first, out) = out.split_at_mut(left % 2 * 3);
    let (before, row) = row.split_at(left.div_ceil(2) * 4);
    if let [.., u, y, v] = before
        && !first.is_empty()
    {
        first.copy_from_slice(&rgb_of(*y, *u, *v));
    }
    let (images, out) = out.as_chunks_mut::<{ 6 * PAIRS }>();
    let blocks = row.as_chunks::<{ 4 * PAIRS }>().0;
    for (image, block) in images.iter_mut().zip(blocks) {
        yuyv_block(block, image);
    }
    let row = &row[4 * PAIRS * images.len()..];
    for (rgb, p) in out.chunks_mut(6).zip(row.chunks_exact(4)) {
        let (first, second) = rgb.split_at_mut(3);
        first.copy_from_slice(&rgb_of(p[0], p[1], p[3]));
        if !second.is_empty() {
            second.copy_from_slice(&rgb_of(p[2], p[1], p[3]));
        }
    }
}

/// A row of Y with its row of interleaved U and V, from column `left` on. With an odd width the last
/// pair is whole or missing its V, which then counts as neutral.
pub(super) fn nv12_row(luma: &[u8], chroma: &[u8], left: usize, out: &mut [u8]) {
    let at = |x: usize| {
        let u = chroma.get(x & !1).copied().unwrap_or(128);
        let v = chroma.get(x | 1).copied().unwrap_or(128);
        rgb_of(luma[x], u, v)
    };
    let (first, out) = out.split_at_mut(left % 2 * 3);
    if !first.is_empty() {
        first.copy_from_slice(&at(left));
    }
    let left = left.next_multiple_of(2);
    let (images, out) = out.as_chunks_mut::<{ 6 * PAIRS }>();
    let blocks = [luma, chroma].map(|row| row[left.min(row.len())..].as_chunks().0);
    for ((image, luma), chroma) in images.iter_mut().zip(blocks[0]).zip(blocks[1]) {
        nv12_block(luma, chroma, image);
    }
    let done = left + 2 * PAIRS * images.len();
    for (x, rgb) in out.chunks_exact_mut(3).enumerate() {
        rgb.copy_from_slice(&at(done + x));
    }
}

/// Pairs of pixels that are decoded at a time, enough for the compiler to make vectors of the loops over
/// them.
const PAIRS: usize = 32;

/// By itself, as the next, because the compiler makes no vectors of it where it is inlined.
#[inline(never)]
fn yuyv_block(block: &[u8; 4 * PAIRS], image: &mut [u8; 6 * PAIRS]) {
    let mut parts = [[0; PAIRS]; 4];
    for (i, pair) in block.as_chunks::<4>().0.iter().enumerate() {
        [parts[0][i], parts[1][i], parts[2][i], parts[3][i]] = *pair;
    }
    of_pairs(parts, image);
}

#[inline(never)]
fn nv12_block(luma: &[u8; 2 * PAIRS], chroma: &[u8; 2 * PAIRS], image: &mut [u8; 6 * PAIRS]) {
    let mut parts = [[0; PAIRS]; 4];
    let pairs = luma
        .as_chunks::<2>()
        .0
        .iter()
        .zip(chroma.as_chunks::<2>().0);
    for (i, (y, uv)) in pairs.enumerate() {
        [parts[0][i], parts[1][i], parts[2][i], parts[3][i]] = [y[0], uv[0], y[1], uv[1]];
    }
    of_pairs(parts, image);
}

/// Pairs of pixels from their Y0, U, Y1 and V.
#[inline(always)]
fn of_pairs([first, u, second, v]: [[u8; PAIRS]; 4], image: &mut [u8; 6 * PAIRS]) {
    let ([a, b, c], [x, y, z]) = (levels(&first, &u, &v), levels(&second, &u, &v));
    for (i, rgb) in image.as_chunks_mut::<6>().0.iter_mut().enumerate() {
        *rgb = [a[i], b[i], c[i], x[i], y[i], z[i]];
    }
}

/// Red, green and blue of pixels, as [`rgb_of`] gives them, in a form that the compiler makes vectors of.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a shifted product fits in 16 bits and a level in eight"
)]
pub(super) fn levels<const N: usize>(y: &[u8; N], u: &[u8; N], v: &[u8; N]) -> [[u8; N]; 3] {
    let times = |v: i16, factor: i16| i32::from(v) * i32::from(factor);
    let level = |v: i32| ((v >> 8) as i16).clamp(0, 255) as u8;
    let mut rgb = [[0; N]; 3];
    for i in 0..N {
        let (d, e) = (i16::from(u[i]) - 128, i16::from(v[i]) - 128);
        let y = times(i16::from(y[i]) - 16, 298) + 128;
        rgb[0][i] = level(y + times(e, 409));
        rgb[1][i] = level(y + times(d, -100) + times(e, -208));
        rgb[2][i] = level(y + times(d, 516));
    }
    rgb
}

/// BT.601 limited range to full-range RGB, in 8-bit fixed point.
pub(super) fn rgb_of(y: u8, u: u8, v: u8) -> [u8; 3] {
    let c = 298 * (i32::from(y) - 16) + 128;
    let (d, e) = (i32::from(u) - 128, i32::from(v) - 128);
    [c + 409 * e, c - 100 * d - 208 * e, c + 516 * d]
        .map(|x| (x >> 8).clamp(0, 255).to_le_bytes()[0])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(format: PixelFormat, (width, height, stride): (u32, u32, u32), bytes: &[u8]) -> Frame {
        let captured_at = Duration::ZERO;
        Frame {
            bytes: bytes.to_vec(),
            format,
            width,
            height,
            stride,
            sequence: 7,
            captured_at,
        }
    }

    /// A format, its width, height and stride, its bytes, and the pixels they are.
    type Case<'a> = (PixelFormat, (u32, u32, u32), &'a [u8], &'a [[u8; 3]]);

    #[test]
    fn every_raw_format_gives_its_pixels() {
        use PixelFormat::{Bgr24, Grey, Nv12, Rgb24, Yuyv};
        // White is Y 235, black Y 16; U 90 V 240 at Y 81 is pure red.
        let cases: [Case<'_>; 7] = [
            (Yuyv, (2, 1, 4), &[235, 128, 16, 128], &[[255; 3], [0; 3]]),
            (
                Yuyv,
                (1, 2, 6),
                &[81, 90, 0, 240, 9, 9, 235, 128, 0, 128],
                &[[255, 0, 0], [255; 3]],
            ),
            (
                Nv12,
                (2, 2, 4),
                &[235, 16, 9, 9, 16, 235, 9, 9, 128, 128],
                &[[255; 3], [0; 3], [0; 3], [255; 3]],
            ),
            (Nv12, (2, 1, 2), &[81, 81, 90, 240], &[[255, 0, 0]; 2]),
            (
                Grey,
                (2, 2, 3),
                &[1, 2, 0, 3, 4],
                &[[1; 3], [2; 3], [3; 3], [4; 3]],
            ),
            (
                Rgb24,
                (1, 2, 5),
                &[1, 2, 3, 0, 0, 4, 5, 6],
                &[[1, 2, 3], [4, 5, 6]],
            ),
            (
                Bgr24,
                (2, 1, 6),
                &[1, 2, 3, 4, 5, 6],
                &[[3, 2, 1], [6, 5, 4]],
            ),
        ];
        for (format, size, bytes, expected) in cases {
            let mut image = RgbImage::default();
            decode(&frame(format, size, bytes), &mut image).expect("decodes");
            for (i, (got, want)) in image.pixels().chunks_exact(3).zip(expected).enumerate() {
                let close = got.iter().zip(want).all(|(a, b)| a.abs_diff(*b) <= 1);
                assert!(
                    close,
                    "{format} {size:?} pixel {i}: {got:?} should be {want:?}"
                );
            }
        }
    }

    #[test]
    fn blocks_of_pairs_are_their_pixels() {
        let wave = |i: u32| (i * 7919 % 256).to_le_bytes()[0];
        for (format, width) in [PixelFormat::Yuyv, PixelFormat::Nv12]
            .into_iter()
            .flat_map(|format| [16, 63, 64, 65, 130].map(|width| (format, width)))
        {
            let length = u32::try_from(format.min_len(width, 2, 0)).expect("small");
            let bytes: Vec<u8> = (0..length).map(wave).collect();
            let mut image = RgbImage::default();
            decode(&frame(format, (width, 2, 0), &bytes), &mut image).expect("decodes");
            let stride = format.packed_stride(width) as usize;
            for (i, got) in image.pixels().chunks_exact(3).enumerate() {
                let (x, y) = (i % width as usize, i / width as usize);
                let at = |i: usize| bytes.get(i).copied().unwrap_or(128);
                let expected = match format {
                    PixelFormat::Yuyv => {
                        let pair = &bytes[y * stride + x / 2 * 4..][..4];
                        rgb_of(pair[x % 2 * 2], pair[1], pair[3])
                    }
                    _ => {
                        let chroma = 2 * stride + x / 2 * 2;
                        rgb_of(bytes[y * stride + x], at(chroma), at(chroma + 1))
                    }
                };
                assert_eq!(got, expected, "{format}, width {width}, pixel {i}");
            }
        }
    }

    #[test]
    fn a_short_frame_is_refused_with_its_numbers() {
        for format in PixelFormat::ALL
            .into_iter()
            .filter(|f| *f != PixelFormat::Mjpg)
        {
            for stride in [0, format.packed_stride(6), format.packed_stride(6) + 5] {
                let needed = format.min_len(6, 4, stride);
                let bytes = vec![0; needed];
                let mut image = RgbImage::default();
                decode(&frame(format, (6, 4, stride), &bytes), &mut image).expect("fits exactly");
                let short = frame(format, (6, 4, stride), &bytes[1..]);
                let error = decode(&short, &mut image)
                    .expect_err("too short")
                    .to_string();
                assert!(
                    error.contains("frame 7") && error.contains(&needed.to_string()),
                    "{error}"
                );
            }
        }
    }
}
