//! The similarity transform between two sets of points, and the warp along it.

use super::RgbImage;
use super::resize::shrink;

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

/// Fills `out` with what `transform` brings there from `image`, bilinearly; outside of `image` is
/// black.
///
/// An image that shrinks to less than half is averaged first, so that fine detail does not alias.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "image sides are far below 2^24 and factors are small and positive"
)]
pub fn warp(image: &RgbImage, transform: &Similarity, out: &mut RgbImage) {
    let factor = (1.0 / transform.scale()) as usize;
    let largest = image.width().min(image.height()).max(1);
    if factor >= 2 && largest >= 2 {
        let factor = factor.min(largest);
        let (f, half) = (factor as f32, (factor as f32 - 1.0) / 2.0);
        // Pixel x of the small image is centred on factor * x + half of the large one.
        let Similarity { a, b, tx, ty } = *transform;
        let step = Similarity {
            a: a * f,
            b: b * f,
            tx: tx + a * half - b * half,
            ty: ty + b * half + a * half,
        };
        return sample(&shrink(image, factor), &step, out);
    }
    sample(image, transform, out);
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "coordinates are checked against the image before they index it"
)]
fn sample(image: &RgbImage, transform: &Similarity, out: &mut RgbImage) {
    let back = transform.inverse();
    let (width, height) = (image.width() as isize, image.height() as isize);
    let columns = out.width();
    for (i, rgb) in out.pixels_mut().chunks_exact_mut(3).enumerate() {
        let at = back.apply(Point {
            x: (i % columns) as f32,
            y: (i / columns) as f32,
        });
        let (x0, y0) = (at.x.floor(), at.y.floor());
        let (fx, fy) = (at.x - x0, at.y - y0);
        let (x0, y0) = (x0 as isize, y0 as isize);
        let tap = |x: isize, y: isize, weight: f32| -> [f32; 3] {
            if x < 0 || y < 0 || x >= width || y >= height {
                return [0.0; 3];
            }
            image
                .pixel(x as usize, y as usize)
                .map(|v| f32::from(v) * weight)
        };
        let (right, below) = (x0.saturating_add(1), y0.saturating_add(1));
        let taps = [
            tap(x0, y0, (1.0 - fx) * (1.0 - fy)),
            tap(right, y0, fx * (1.0 - fy)),
            tap(x0, below, (1.0 - fx) * fy),
            tap(right, below, fx * fy),
        ];
        for (channel, value) in rgb.iter_mut().enumerate() {
            *value = taps.iter().map(|t| t[channel]).sum::<f32>().round() as u8;
        }
    }
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
        warp(&image, &shift, &mut out);
        assert_eq!(out.pixel(15, 10), [10, 13, 7]);
        assert_eq!(out.pixel(2, 10), [0; 3], "from the left of the image");
        let quarter = Similarity {
            a: 0.0,
            b: 1.0,
            tx: 29.0,
            ty: 0.0,
        };
        let mut turned = RgbImage::new(30, 40);
        warp(&image, &quarter, &mut turned);
        assert_eq!(turned.pixel(29 - 4, 12), [12, 4, 7]);
    }

    #[test]
    fn shrinking_warps_keep_their_place() {
        let image = ramp(240, 200);
        let mut out = RgbImage::new(60, 50);
        warp(
            &image,
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
}
