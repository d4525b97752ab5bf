//! From a camera's bytes to RGB.
//!
//! YUV is taken as ITU-R BT.601 in limited range, which is what V4L2's default colorspace for
//! cameras says; the conversion is the usual 8-bit fixed-point one.

use super::jpeg::decode_jpeg;
use super::{Frame, ImageError, PixelFormat, RgbImage};

/// Decodes `frame` into `image`, which takes its size.
///
/// # Errors
/// [`ImageError::ShortFrame`] or [`ImageError::Empty`] for raw formats, and what
/// [`decode_jpeg`] says for Motion JPEG.
pub fn decode(frame: &Frame, image: &mut RgbImage) -> Result<(), ImageError> {
    if frame.format == PixelFormat::Mjpg {
        return decode_jpeg(&frame.bytes, image);
    }
    let (width, height) = (frame.width as usize, frame.height as usize);
    if width == 0 || height == 0 {
        return Err(ImageError::Empty { width, height });
    }
    if width.saturating_mul(height) > super::error::MAX_PIXELS {
        return Err(ImageError::TooLarge { width, height });
    }
    let stride = frame.stride.max(frame.format.packed_stride(frame.width)) as usize;
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
    image.reshape(width, height);
    let rows = image.pixels_mut().chunks_exact_mut(width * 3).enumerate();
    let bytes = &frame.bytes[..];
    match frame.format {
        PixelFormat::Mjpg => {}
        PixelFormat::Yuyv => rows.for_each(|(y, out)| yuyv_row(&bytes[y * stride..], out)),
        PixelFormat::Nv12 => {
            let chroma = &bytes[height * stride..];
            rows.for_each(|(y, out)| {
                nv12_row(&bytes[y * stride..], &chroma[y / 2 * stride..], out);
            });
        }
        PixelFormat::Grey => rows.for_each(|(y, out)| {
            let row = &bytes[y * stride..];
            out.chunks_exact_mut(3)
                .zip(row)
                .for_each(|(rgb, &v)| rgb.fill(v));
        }),
        PixelFormat::Rgb24 => {
            rows.for_each(|(y, out)| out.copy_from_slice(&bytes[y * stride..][..width * 3]));
        }
        PixelFormat::Bgr24 => rows.for_each(|(y, out)| {
            let row = bytes[y * stride..].chunks_exact(3);
            out.chunks_exact_mut(3)
                .zip(row)
                .for_each(|(rgb, p)| rgb.copy_from_slice(&[p[2], p[1], p[0]]));
        }),
    }
    Ok(())
}

/// One row of `Y0 U Y1 V`. An odd width leaves the last Y1 unused.
fn yuyv_row(row: &[u8], out: &mut [u8]) {
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

/// One row of Y with its row of interleaved U and V. With an odd width the last pair is whole or
/// missing its V, which then counts as neutral.
fn nv12_row(luma: &[u8], chroma: &[u8], out: &mut [u8]) {
    let (images, out) = out.as_chunks_mut::<{ 6 * PAIRS }>();
    let blocks = |row| <[u8]>::as_chunks::<{ 2 * PAIRS }>(row).0;
    for ((image, luma), chroma) in images.iter_mut().zip(blocks(luma)).zip(blocks(chroma)) {
        nv12_block(luma, chroma, image);
    }
    let done = 2 * PAIRS * images.len();
    let (luma, chroma) = (&luma[done..], &chroma[done..]);
    for (x, rgb) in out.chunks_exact_mut(3).enumerate() {
        let u = chroma.get(x & !1).copied().unwrap_or(128);
        let v = chroma.get(x | 1).copied().unwrap_or(128);
        rgb.copy_from_slice(&rgb_of(luma[x], u, v));
    }
}

/// Pairs of pixels that are decoded at a time, enough for the compiler to make vectors of the loops over
/// them.
const PAIRS: usize = 32;

/// By itself, as the next, because the compiler makes no vectors of it where it is inlined.
#[inline(never)]
fn yuyv_block(block: &[u8; 4 * PAIRS], image: &mut [u8; 6 * PAIRS]) {
    let pair = |i| {
        [
            block[4 * i],
            block[4 * i + 1],
            block[4 * i + 2],
            block[4 * i + 3],
        ]
    };
    block_of_pairs(pair, image);
}

#[inline(never)]
fn nv12_block(luma: &[u8; 2 * PAIRS], chroma: &[u8; 2 * PAIRS], image: &mut [u8; 6 * PAIRS]) {
    let pair = |i| {
        [
            luma[2 * i],
            chroma[2 * i],
            luma[2 * i + 1],
            chroma[2 * i + 1],
        ]
    };
    block_of_pairs(pair, image);
}

/// What [`rgb_of`] gives for a block of pairs, each `Y0 U Y1 V`.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a shifted product fits in 16 bits and a level in eight"
)]
fn block_of_pairs(pair: impl Fn(usize) -> [u8; 4], image: &mut [u8; 6 * PAIRS]) {
    let times = |v: i16, factor: i16| i32::from(v) * i32::from(factor);
    let level = |v: i32| ((v >> 8) as i16).clamp(0, 255) as u8;
    let (mut left, mut right) = ([[0u8; PAIRS]; 3], [[0u8; PAIRS]; 3]);
    for i in 0..PAIRS {
        let [y, u, z, v] = pair(i).map(i16::from);
        let (d, e) = (u - 128, v - 128);
        let red = 128 + times(e, 409);
        let green = 128 + times(d, -100) + times(e, -208);
        let blue = 128 + times(d, 516);
        let (y, z) = (times(y - 16, 298), times(z - 16, 298));
        left[0][i] = level(y + red);
        left[1][i] = level(y + green);
        left[2][i] = level(y + blue);
        right[0][i] = level(z + red);
        right[1][i] = level(z + green);
        right[2][i] = level(z + blue);
    }
    let ([a, b, c], [x, y, z]) = (left, right);
    for (i, rgb) in image.as_chunks_mut::<6>().0.iter_mut().enumerate() {
        *rgb = [a[i], b[i], c[i], x[i], y[i], z[i]];
    }
}

/// BT.601 limited range to full-range RGB, in 8-bit fixed point.
fn rgb_of(y: u8, u: u8, v: u8) -> [u8; 3] {
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
