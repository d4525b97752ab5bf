//! The similarity transform between two sets of points, and the warp along it.

use std::ops::Range;

use super::cut::Cut;
use super::{Picture, RgbImage};

/// A point in pixels, x to the right and y down; pixel centres have whole coordinates.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f32,
    /// Down.
    pub y: f32,
}

impl Point {
    /// Distance to `other` in pixels.
    pub fn distance(self, other: Self) -> f32 {
        (self.x - other.x).hypot(self.y - other.y)
    }
}

/// Rotation, uniform scale and shift: `x' = a x - b y + tx`, `y' = b x + a y + ty`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similarity {
    a: f32,
    b: f32,
    tx: f32,
    ty: f32,
}

impl Similarity {
    /// The least-squares similarity that takes `from` to `to` (Umeyama 1991, without reflection).
    ///
    /// `None` when the points of `from` coincide or are not finite, so that no scale is defined.
    pub fn estimate<const N: usize>(from: &[Point; N], to: &[Point; N]) -> Option<Self> {
        #[expect(clippy::cast_precision_loss, reason = "a handful of points")]
        let n = N as f32;
        let mean = |points: &[Point; N]| {
            let (x, y) = points
                .iter()
                .fold((0.0, 0.0), |(x, y), p| (x + p.x, y + p.y));
            Point { x: x / n, y: y / n }
        };
        let (f0, t0) = (mean(from), mean(to));
        let (mut dot, mut cross, mut spread) = (0.0, 0.0, 0.0);
        for (f, t) in from.iter().zip(to) {
            let (fx, fy, tx, ty) = (f.x - f0.x, f.y - f0.y, t.x - t0.x, t.y - t0.y);
            dot += fx * tx + fy * ty;
            cross += fx * ty - fy * tx;
            spread += fx * fx + fy * fy;
        }
        let (a, b) = (dot / spread, cross / spread);
        let (tx, ty) = (t0.x - a * f0.x + b * f0.y, t0.y - b * f0.x - a * f0.y);
        let usable = a.hypot(b) > 1e-6 && [a, b, tx, ty].iter().all(|v| v.is_finite());
        usable.then_some(Self { a, b, tx, ty })
    }

    /// How much lengths grow.
    pub fn scale(&self) -> f32 {
        self.a.hypot(self.b)
    }

    /// Where a point goes.
    pub fn apply(&self, p: Point) -> Point {
        Point {
            x: self.a * p.x - self.b * p.y + self.tx,
            y: self.b * p.x + self.a * p.y + self.ty,
        }
    }

    /// The way back.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let square = self.a * self.a + self.b * self.b;
        let (a, b) = (self.a / square, -self.b / square);
        Self {
            a,
            b,
            tx: -(a * self.tx - b * self.ty),
            ty: -(b * self.tx + a * self.ty),
        }
    }
}

/// Warps pictures along similarities. Holds its working memory.
#[derive(Clone, Debug, Default)]
pub struct Warp {
    cut: Cut,
}

impl Warp {
    /// Fills `out` with what `transform` brings there from `picture`, bilinearly; outside of `picture`
    /// is black. Only what comes to `out` is decoded.
    ///
    /// What shrinks to less than half is averaged first, so that fine detail does not alias.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "image sides are far below 2^24 and factors are small and positive"
    )]
    pub fn warp(&mut self, picture: Picture<'_>, transform: &Similarity, out: &mut RgbImage) {
        let most = picture.width().min(picture.height()).max(1);
        let factor = ((1.0 / transform.scale()) as usize).clamp(1, most);
        let (columns, rows) = seen(picture, transform, out, factor);
        let (left, top) = (columns.start, rows.start);
        let part = self.cut.cut(picture, columns, rows, factor);
        // Pixel x of the part is centred on left + factor * x + half of the picture.
        let (f, half) = (factor as f32, (factor as f32 - 1.0) / 2.0);
        let origin = transform.apply(Point {
            x: left as f32 + half,
            y: top as f32 + half,
        });
        let step = Similarity {
            a: transform.a * f,
            b: transform.b * f,
            tx: origin.x,
            ty: origin.y,
        };
        sample(part, &step, out);
    }
}

/// The columns and rows of `picture` that come to `out`, in whole squares of `factor`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "negative coordinates become 0, and image sides are far below 2^24"
)]
fn seen(
    picture: Picture<'_>,
    transform: &Similarity,
    out: &RgbImage,
    factor: usize,
) -> (Range<usize>, Range<usize>) {
    let back = transform.inverse();
    let (right, bottom) = (out.width() as f32, out.height() as f32);
    let corners = [(0.0, 0.0), (right, 0.0), (0.0, bottom), (right, bottom)];
    let corners = corners.map(|(x, y)| back.apply(Point { x, y }));
    // From the square before the least to the one behind the greatest, within the image.
    let span = |coordinate: fn(&Point) -> f32, side: usize| {
        let values = corners.each_ref().map(coordinate);
        let least = values.iter().copied().fold(f32::INFINITY, f32::min) as usize;
        let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max) as usize;
        let squares = side / factor;
        let first = (least / factor).saturating_sub(1).min(squares - 1);
        let end = (most.min(side) / factor + 2).clamp(first + 1, squares);
        first * factor..end * factor
    };
    let columns = span(|p| p.x, picture.width());
    (columns, span(|p| p.y, picture.height()))
}

/// Bits after the point of coordinates in fixed point.
const POINT: u32 = 32;
/// What 1.0 is between the pixels.
const ONE: u32 = 256;

/// A coordinate in fixed point. No image is a million pixels wide, so that sums do not overflow.
#[expect(clippy::cast_possible_truncation, reason = "within the limits")]
fn fixed(value: f32) -> i64 {
    (f64::from(value.clamp(-1e6, 1e6)) * f64::from(POINT).exp2()) as i64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "coordinates are checked against the image before they index it"
)]
fn sample(image: &RgbImage, transform: &Similarity, out: &mut RgbImage) {
    let back = transform.inverse();
    let (across, down) = (fixed(back.a), fixed(back.b));
    let columns = out.width();
    for (row, line) in out
        .pixels_mut()
        .chunks_exact_mut(3 * columns.max(1))
        .enumerate()
    {
        let start = back.apply(Point {
            x: 0.0,
            y: row as f32,
        });
        let (mut x, mut y) = (fixed(start.x), fixed(start.y));
        for rgb in line.chunks_exact_mut(3) {
            let part = |at: i64| (at >> (POINT - 8)) as u32 % ONE;
            let taps = square(image, (x >> POINT) as isize, (y >> POINT) as isize);
            let (fx, fy) = (part(x), part(y));
            for (channel, value) in rgb.iter_mut().enumerate() {
                let [a, b, c, d] = taps.map(|tap| u32::from(tap[channel]));
                let above = a * (ONE - fx) + b * fx;
                let below = c * (ONE - fx) + d * fx;
                let sum = above * (ONE - fy) + below * fy;
                *value = ((sum + ONE * ONE / 2) / (ONE * ONE)) as u8;
            }
            (x, y) = (x + across, y + down);
        }
    }
}

/// The four pixels to the right of and below `x`, `y`, itself first; black outside of the image.
#[inline]
#[expect(
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "coordinates are checked against the image before they index it"
)]
fn square(image: &RgbImage, x: isize, y: isize) -> [[u8; 3]; 4] {
    let (width, height) = (image.width() as isize, image.height() as isize);
    if x >= 0 && y >= 0 && x + 1 < width && y + 1 < height {
        let (x, y) = (x as usize, y as usize);
        let pair = |y: usize| {
            let six = &image.pixels()[3 * (y * image.width() + x)..][..6];
            [[six[0], six[1], six[2]], [six[3], six[4], six[5]]]
        };
        let ([a, b], [c, d]) = (pair(y), pair(y + 1));
        return [a, b, c, d];
    }
    [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)].map(|(x, y)| {
        if x < 0 || y < 0 || x >= width || y >= height {
            return [0; 3];
        }
        image.pixel(x as usize, y as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(xy: [[f32; 2]; 5]) -> [Point; 5] {
        xy.map(|[x, y]| Point { x, y })
    }

    const SHAPE: [[f32; 2]; 5] = [[1., 2.], [9., 1.], [5., 6.], [2., 9.], [8., 10.]];

    #[test]
    fn a_known_similarity_is_found_again() {
        for (angle, scale, tx, ty) in [
            (0.0f32, 1.0f32, 0.0, 0.0),
            (0.4, 2.5, -3.0, 8.0),
            (-2.8, 0.3, 100.0, -50.0),
        ] {
            let known = Similarity {
                a: scale * angle.cos(),
                b: scale * angle.sin(),
                tx,
                ty,
            };
            let from = points(SHAPE);
            let found = Similarity::estimate(&from, &from.map(|p| known.apply(p))).expect("spread");
            for p in from {
                assert!(found.apply(p).distance(known.apply(p)) < 1e-3);
                assert!(found.inverse().apply(known.apply(p)).distance(p) < 1e-3);
            }
            assert!((found.scale() - scale).abs() < 1e-4);
        }
    }

    #[test]
    fn points_without_spread_have_no_similarity() {
        let to = points(SHAPE);
        assert_eq!(
            Similarity::estimate(&[Point { x: 4.0, y: 4.0 }; 5], &to),
            None
        );
        assert_eq!(
            Similarity::estimate(
                &[Point {
                    x: f32::NAN,
                    y: 4.0
                }; 5],
                &to
            ),
            None
        );
    }

    /// A picture whose red is its x and whose green is its y.
    fn ramp(width: usize, height: usize) -> RgbImage {
        let mut image = RgbImage::new(width, height);
        for (i, p) in image.pixels_mut().chunks_exact_mut(3).enumerate() {
            p.copy_from_slice(&[
                (i % width).to_le_bytes()[0],
                (i / width).to_le_bytes()[0],
                7,
            ]);
        }
        image
    }

    #[test]
    fn warping_moves_pixels_and_blackens_the_outside() {
        let image = ramp(40, 30);
        let shift = Similarity {
            a: 1.0,
            b: 0.0,
            tx: 5.0,
            ty: -3.0,
        };
        let mut out = RgbImage::new(40, 30);
        Warp::default().warp((&image).into(), &shift, &mut out);
        assert_eq!(out.pixel(15, 10), [10, 13, 7]);
        assert_eq!(out.pixel(2, 10), [0; 3], "from the left of the image");
        let quarter = Similarity {
            a: 0.0,
            b: 1.0,
            tx: 29.0,
            ty: 0.0,
        };
        let mut turned = RgbImage::new(30, 40);
        Warp::default().warp((&image).into(), &quarter, &mut turned);
        assert_eq!(turned.pixel(29 - 4, 12), [12, 4, 7]);
    }

    #[test]
    fn shrinking_warps_keep_their_place() {
        let image = ramp(240, 200);
        let mut out = RgbImage::new(60, 50);
        Warp::default().warp(
            (&image).into(),
            &Similarity {
                a: 0.25,
                b: 0.0,
                tx: 0.0,
                ty: 0.0,
            },
            &mut out,
        );
        for (x, y) in [(10, 10), (30, 25), (50, 40)] {
            let [r, g, _] = out.pixel(x, y);
            assert!(usize::from(r).abs_diff(4 * x) <= 1 && usize::from(g).abs_diff(4 * y) <= 1);
        }
    }

    #[test]
    fn a_part_that_shrinks_is_the_same_as_of_the_whole() {
        let image = ramp(240, 200);
        let mut warp = Warp::default();
        for (tx, ty) in [(-20.0, -15.0), (30.0, -40.0), (-300.0, 5.0)] {
            let part = Similarity {
                a: 0.3,
                b: 0.1,
                tx,
                ty,
            };
            let mut small = RgbImage::new(16, 12);
            warp.warp((&image).into(), &part, &mut small);
            let mut large = RgbImage::new(200, 160);
            let moved = Similarity {
                tx: tx + 100.0,
                ty: ty + 100.0,
                ..part
            };
            warp.warp((&image).into(), &moved, &mut large);
            for (x, y) in [(0, 0), (5, 7), (15, 11)] {
                let (a, b) = (small.pixel(x, y), large.pixel(x + 100, y + 100));
                let near = a.iter().zip(b).all(|(&a, b)| a.abs_diff(b) <= 1);
                assert!(near, "{a:?} {b:?} at {x}, {y} of {tx}, {ty}");
            }
        }
    }
}
