//! Parts of pictures, decoded and scaled down by whole numbers in one pass.

use std::ops::Range;

use super::decode::levels;
use super::{Picture, PixelFormat, RgbImage};

/// Cuts parts out of pictures. Holds its working memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Cut {
    part: RgbImage,
    /// Rows whose squares become one row.
    rows: Vec<u8>,
}

impl Cut {
    /// The columns and rows of `picture`, divided by `factor`: each pixel the mean of a square. What
    /// does not fill a square at the right and the bottom is left out.
    ///
    /// YUYV is halved in the camera's own values, of which a quarter is left to convert.
    pub(super) fn cut(
        &mut self,
        picture: Picture<'_>,
        columns: Range<usize>,
        rows: Range<usize>,
        factor: usize,
    ) -> &RgbImage {
        let (left, width) = (columns.start, columns.len() / factor);
        self.part.reshape(width, rows.len() / factor);
        let out = self.part.pixels_mut().chunks_exact_mut((width * 3).max(1));
        for (out, top) in out.zip(rows.step_by(factor)) {
            match factor {
                1 => picture.decode_row(top, left, out),
                2 if picture.format() == PixelFormat::Yuyv && left % 2 == 0 => {
                    halve(
                        [0, 1].map(|y| &picture.row(top + y)[left * 2..]),
                        out,
                        of_yuyv,
                    );
                }
                _ => {
                    let line = width * factor * 3;
                    self.rows.resize(line * factor, 0);
                    let rows = self.rows.chunks_exact_mut(line.max(1)).enumerate();
                    rows.for_each(|(y, row)| picture.decode_row(top + y, left, row));
                    match factor {
                        2 => halve([&self.rows[..line], &self.rows[line..]], out, of_rgb),
                        _ => means_of_squares(&self.rows, factor, out),
                    }
                }
            }
        }
        &self.part
    }
}

/// The means of the squares of RGB pixels that `factor` rows hold.
fn means_of_squares(rows: &[u8], factor: usize, out: &mut [u8]) {
    let area = u32::try_from(factor * factor).unwrap_or(u32::MAX);
    let line = rows.len() / factor;
    for (x, rgb) in out.chunks_exact_mut(3).enumerate() {
        let mut sums = [0u32; 3];
        for row in rows.chunks_exact(line) {
            for pixel in row[x * factor * 3..][..factor * 3].chunks_exact(3) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += u32::from(value);
                }
            }
        }
        for (value, sum) in rgb.iter_mut().zip(sums) {
            *value = ((sum + area / 2) / area).to_le_bytes()[0];
        }
    }
}

/// Pixels that are made at a time, enough for the compiler to make vectors of the loops over them.
const BLOCK: usize = 32;

/// Two pixels of a row, in the camera's format.
type Pair<const BYTES: usize> = [u8; BYTES];

/// Makes a row of pixels, each the mean of a pair above and the pair below it. `block` does so for a
/// block of them.
fn halve<const BYTES: usize>(
    rows: [&[u8]; 2],
    out: &mut [u8],
    block: fn([&[Pair<BYTES>; BLOCK]; 2], &mut [[u8; 3]; BLOCK]),
) {
    let [above, below] = rows.map(|row| row.as_chunks::<BYTES>().0);
    let (blocks, rest) = out.as_chunks_mut::<3>().0.as_chunks_mut::<BLOCK>();
    let whole = [above, below].map(|pairs| pairs.as_chunks::<BLOCK>().0);
    for ((above, below), out) in whole[0].iter().zip(whole[1]).zip(&mut *blocks) {
        block([above, below], out);
    }
    let done = blocks.len() * BLOCK;
    let mut last = [[[0; BYTES]; BLOCK]; 2];
    for (pairs, last) in [above, below].iter().zip(&mut last) {
        last[..rest.len()].copy_from_slice(&pairs[done..][..rest.len()]);
    }
    let mut made = [[0; 3]; BLOCK];
    block(last.each_ref(), &mut made);
    rest.copy_from_slice(&made[..rest.len()]);
}

/// By itself, as the next, because the compiler makes no vectors of it where it is inlined; nor of
/// [`means`] in a `map`, or with iterators.
#[inline(never)]
fn of_yuyv(rows: [&[Pair<4>; BLOCK]; 2], out: &mut [[u8; 3]; BLOCK]) {
    let [y, u, v] = [
        means(rows, [0, 2]),
        means(rows, [1, 1]),
        means(rows, [3, 3]),
    ];
    let [r, g, b] = levels(&y, &u, &v);
    for (i, rgb) in out.iter_mut().enumerate() {
        *rgb = [r[i], g[i], b[i]];
    }
}

/// The means of a channel, whose two values have these places in a pair.
#[inline(always)]
fn means([above, below]: [&[Pair<4>; BLOCK]; 2], [first, second]: [usize; 2]) -> [u8; BLOCK] {
    let mut means = [0; BLOCK];
    for (i, mean) in means.iter_mut().enumerate() {
        let pair = |row: Pair<4>| u16::from(row[first]) + u16::from(row[second]);
        *mean = ((pair(above[i]) + pair(below[i]) + 2) / 4).to_le_bytes()[0];
    }
    means
}

#[inline(never)]
fn of_rgb(rows: [&[Pair<6>; BLOCK]; 2], out: &mut [[u8; 3]; BLOCK]) {
    let ([above, below], out) = (rows.map(|row| row.as_flattened()), out.as_flattened_mut());
    let mut sums = [[0u16; 2 * BLOCK]; 3];
    for i in 0..2 * BLOCK {
        for (c, sums) in sums.iter_mut().enumerate() {
            sums[i] = u16::from(above[3 * i + c]) + u16::from(below[3 * i + c]);
        }
    }
    for i in 0..BLOCK {
        for (c, sums) in sums.iter().enumerate() {
            let sum = sums[2 * i].wrapping_add(sums[2 * i + 1]).wrapping_add(2);
            out[3 * i + c] = (sum / 4).to_le_bytes()[0];
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::decode::rgb_of;
    use super::super::{Frame, decode};
    use super::*;

    /// A frame of smooth waves and some noise, so that means of colours and colours of means agree.
    fn frame(format: PixelFormat, width: u32, height: u32) -> Frame {
        let length = format.min_len(width, height, 0);
        let wave = |i: usize| 120 + (i / 7 % 40 + i * 31 % 11).to_le_bytes()[0];
        Frame {
            bytes: (0..length).map(wave).collect(),
            format,
            width,
            height,
            stride: 0,
            sequence: 0,
            captured_at: Duration::ZERO,
        }
    }

    #[test]
    fn a_part_is_the_mean_of_squares_of_the_decoded_whole() {
        for format in PixelFormat::ALL {
            if format == PixelFormat::Mjpg {
                continue;
            }
            // Wide enough for whole blocks and a rest.
            let frame = frame(format, 301, 14);
            let (mut whole, mut none) = (RgbImage::default(), RgbImage::default());
            decode(&frame, &mut whole).unwrap();
            let picture = Picture::of(&frame, &mut none).unwrap();
            for (factor, left, top) in [
                (1, 0, 0),
                (1, 5, 3),
                (2, 0, 0),
                (2, 4, 2),
                (2, 3, 1),
                (3, 9, 3),
                (4, 4, 0),
            ] {
                let mut cut = Cut::default();
                let part = cut.cut(picture, left..299, top..14, factor);
                let size = ((299 - left) / factor, (14 - top) / factor);
                assert_eq!((part.width(), part.height()), size);
                // The camera's values are averaged before they are rounded to colours.
                let apart = u8::from(factor == 2 && format == PixelFormat::Yuyv) * 3;
                for (x, y, c) in
                    (0..size.0 * size.1 * 3).map(|i| (i / 3 % size.0, i / 3 / size.0, i % 3))
                {
                    let square = (0..factor * factor)
                        .map(|i| {
                            (
                                left + x * factor + i % factor,
                                top + y * factor + i / factor,
                            )
                        })
                        .map(|(x, y)| usize::from(whole.pixel(x, y)[c]));
                    let area = factor * factor;
                    let mean = ((square.sum::<usize>() + area / 2) / area).to_le_bytes()[0];
                    let found = part.pixel(x, y)[c];
                    assert!(
                        found.abs_diff(mean) <= apart,
                        "{format} {factor} {x} {y} {c}: {found} {mean}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_block_is_what_its_pairs_are() {
        let value = |i: usize| (i * 7919 % 256).to_le_bytes()[0];
        let rows: Vec<u8> = (0..2 * 4 * BLOCK).map(value).collect();
        let [above, below] = [0, 1].map(|y| &rows[y * 4 * BLOCK..][..4 * BLOCK]);
        let mut whole = [0; 3 * BLOCK];
        halve([above, below], &mut whole, of_yuyv);
        for (i, rgb) in whole.as_chunks::<3>().0.iter().enumerate() {
            let sum = |at: &[usize]| {
                let values = at
                    .iter()
                    .flat_map(|&at| [above[4 * i + at], below[4 * i + at]]);
                values.map(usize::from).sum::<usize>()
            };
            let means = [
                (sum(&[0, 2]) + 2) / 4,
                sum(&[1]).div_ceil(2),
                sum(&[3]).div_ceil(2),
            ];
            let [y, u, v] = means.map(|mean| mean.to_le_bytes()[0]);
            assert_eq!(*rgb, rgb_of(y, u, v), "pixel {i}");
        }
        let mut alone = [0; 3];
        halve([&above[4..8], &below[4..8]], &mut alone, of_yuyv);
        assert_eq!(alone, whole[3..6]);
    }
}
