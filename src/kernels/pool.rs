//! Kernels without weights: maximum pooling and nearest-neighbour upsampling with an addition.
//!
//! Plain loops over bytes, which the compiler turns into vectors for every instruction set.

use super::geometry::{Shape, Window};

/// Greatest value of each channel in each window; padding never wins.
///
/// # Panics
/// If a slice does not have the size that its shape says.
pub fn max_pool(window: &Window, input: &[i8], shape: Shape, output: &mut [i8]) {
    let [height, width] = window.output(shape);
    let channels = shape.channels;
    assert_eq!(input.len(), shape.volume(), "input of a pool");
    assert_eq!(output.len(), height * width * channels, "output of a pool");
    if output.is_empty() {
        return;
    }
    output.fill(i8::MIN);
    for (pixel, out) in output.chunks_exact_mut(channels).enumerate() {
        let [rows, columns] = [0, 1].map(|axis| {
            let place = if axis == 0 {
                pixel / width
            } else {
                pixel % width
            };
            let start = place * window.stride[axis];
            let size = if axis == 0 { shape.height } else { shape.width };
            let end = (start + window.kernel[axis]).saturating_sub(window.before[axis]);
            start.saturating_sub(window.before[axis])..end.min(size)
        });
        for row in rows {
            for column in columns.clone() {
                let from = &input[(row * shape.width + column) * channels..][..channels];
                out.iter_mut()
                    .zip(from)
                    .for_each(|(o, &v)| *o = (*o).max(v));
            }
        }
    }
}

/// How two quantised tensors become their quantised sum.
///
/// `q = sat8((a_factor * (a - a_zero) + b_factor * (b - b_zero) + offset) >> 16)`, factors in
/// 1/65536 of an output step, `offset` the output's zero point with the half that rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sum {
    a: (i32, i32),
    b: (i32, i32),
    offset: i32,
}

impl Sum {
    /// From scale and zero point of the two inputs and the output. `None` if an input's scale is
    /// more than 32 times the output's.
    #[expect(clippy::cast_possible_truncation, reason = "at most 32 times 65536")]
    pub fn new(a: (f64, i8), b: (f64, i8), output: (f64, i8)) -> Option<Sum> {
        let factor = |(scale, zero): (f64, i8)| {
            let ratio = scale / output.0;
            (0.0..=32.0)
                .contains(&ratio)
                .then(|| ((ratio * 65536.0).round() as i32, i32::from(zero)))
        };
        let offset = (i32::from(output.1) << 16) + (1 << 15);
        Some(Sum {
            a: factor(a)?,
            b: factor(b)?,
            offset,
        })
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "clamped to the range of the type"
    )]
    fn apply(&self, a: i8, b: i8) -> i8 {
        // Below 2^30 by the limit of the factors: a check would only keep the loop from being vectors.
        let term = |(factor, zero): (i32, i32), value: i8| {
            factor.wrapping_mul(i32::from(value).wrapping_sub(zero))
        };
        let sum = term(self.a, a).wrapping_add(term(self.b, b));
        (sum.wrapping_add(self.offset) >> 16).clamp(i8::MIN.into(), i8::MAX.into()) as i8
    }
}

/// Sum of `a`, each of whose pixels stands for a square of `factor` x `factor`, and `b`, whose
/// shape is `shape`; a factor of one adds tensors of the same shape.
///
/// # Panics
/// If the factor does not divide the shape or a slice does not have the size that it should.
pub fn upsample_add(sum: &Sum, factor: usize, a: &[i8], b: &[i8], shape: Shape, output: &mut [i8]) {
    assert!(
        shape.height.is_multiple_of(factor) && shape.width.is_multiple_of(factor),
        "factor {factor}"
    );
    assert_eq!(
        a.len() * factor * factor,
        shape.volume(),
        "the smaller addend"
    );
    assert_eq!(
        (b.len(), output.len()),
        (shape.volume(), shape.volume()),
        "the larger addend"
    );
    if shape.volume() == 0 {
        return;
    }
    let channels = shape.channels;
    let pixels = b
        .chunks_exact(channels)
        .zip(output.chunks_exact_mut(channels));
    for (pixel, (b, out)) in pixels.enumerate() {
        let (y, x) = (pixel / shape.width / factor, pixel % shape.width / factor);
        let a = &a[(y * (shape.width / factor) + x) * channels..][..channels];
        for ((&a, &b), out) in a.iter().zip(b).zip(out) {
            *out = sum.apply(a, b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_takes_the_greatest_and_ignores_padding() {
        let window = Window {
            kernel: [2, 2],
            stride: [2, 2],
            before: [0, 0],
            after: [0, 1],
        };
        let input = [-3, 4, -128, -2, -5, -128];
        let mut output = [0; 2];
        max_pool(
            &window,
            &input,
            Shape {
                height: 2,
                width: 3,
                channels: 1,
            },
            &mut output,
        );
        assert_eq!(output, [4, -128]);
    }

    #[test]
    fn sums_are_those_of_the_real_numbers() {
        let sum = Sum::new((0.5, -10), (0.25, 3), (0.125, -1)).unwrap();
        // 0.5 * (2 + 10) + 0.25 * (-5 - 3) = 4, that is 32 steps
        assert_eq!(sum.apply(2, -5), 31);
        assert_eq!(sum.apply(127, 127), 127);
        assert_eq!(sum.apply(-128, -128), -128);
        let shape = Shape {
            height: 2,
            width: 4,
            channels: 1,
        };
        let mut out = [0; 8];
        let plain = Sum::new((1.0, 0), (1.0, 0), (1.0, 0)).unwrap();
        upsample_add(
            &plain,
            2,
            &[10, 20],
            &[1, 2, 3, 4, 5, 6, 7, 8],
            shape,
            &mut out,
        );
        assert_eq!(out, [11, 12, 23, 24, 15, 16, 27, 28]);
        assert_eq!(Sum::new((33.0, 0), (1.0, 0), (1.0, 0)), None);
    }
}
