//! Requantisation: how a 32-bit sum becomes an 8-bit activation.
//!
//! The arithmetic is integer throughout and chosen so that every instruction set has it: 16-bit
//! lanes, one rounding multiplication (`SQRDMULH`, `VPMULHRSW`), saturating additions. For the sum
//! `s` of channel `c`, with `sat16` and `sat8` saturating and `>>` rounding towards minus infinity:
//!
//! 1. `t = s + bias[c]`, wrapping;
//! 2. `a = sat32(t << shift[c]) >> 16`, or `t >> -shift[c] >> 16` for a negative shift;
//! 3. `m = negative[c]` if `a < 0`, else `positive[c]`; `v = (a * m + 2^14) >> 15`;
//! 4. with a residual `r`: `v = sat16(v + ((((r - zero) << 7) * multiplier + 2^14) >> 15))`;
//! 5. `v = sat16(v + offset)`;
//! 6. `q = sat8(v >> 5)`, then brought into `low..=high`.
//!
//! `bias` carries the half that makes the shift of step 2 round, `offset` the zero point of the
//! output and the half for step 6. After step 3 a unit of `v` is 1/32 of an output step: the two
//! roundings cost less than 1/500 of the noise that rounding to eight bits makes anyway. Sums keep
//! their value up to 512 output steps, and up to 256 before a slope of two. Without a slope below one
//! that is as far as any output reaches. With one a sum further below is taken for the last that is
//! kept, and its output comes out too near to zero where the end of the output on that side is more
//! than 512 times the slope away. What a layer could ever sum reaches there in every network with
//! learnt slopes, so that it is no reason to refuse one; what a layer does sum hardly does.

/// Output channels that one vector step covers; per-channel tables are padded to a multiple of it.
pub const LANES: usize = 16;

/// Bits below one output step in the 16-bit stage.
const FRACTION: i32 = 5;

/// Least number of output steps at which a sum saturates when no slope is above one.
const SATURATED: f64 = 512.0;

/// Magnitude below which a sum can be shifted as far to the left as any is.
const MOST: f64 = (1 << 24) as f64;

/// Magnitude below which a sum, its bias included, has room in 32 bits for the half that rounds it, which
/// is 2^29 at most.
const WIDEST: f64 = (1 << 30) as f64;

/// Least scale whose sums may be shifted to the left.
const COARSE: f64 = 1.0 / 64.0;

/// Greatest magnitude of a sum of `products` products of bytes, less their zero point, and its bias.
#[expect(clippy::cast_precision_loss, reason = "far beyond every limit")]
fn magnitude(products: usize, bias: f64) -> f64 {
    255.0 * 127.0 * products as f64 + bias.abs()
}

/// Whether sums of `products` products of bytes and `bias`, which is in units of the sum, stay in 32 bits
/// wherever they go.
pub fn holds(products: usize, bias: f64) -> bool {
    magnitude(products, bias) < WIDEST
}

/// What a layer does to its sums, in real numbers.
#[derive(Debug, Clone, Copy)]
pub struct Epilogue<'a> {
    /// Bias per output channel, in units of the sum.
    pub bias: &'a [i32],
    /// Output steps per unit of the sum, per output channel: input scale times weight scale over
    /// output scale. In `0.0..2.0`.
    pub scale: &'a [f64],
    /// Factor for negative sums per output channel (PReLU), in `-2.0..=2.0`; `None` for none.
    pub slope: Option<&'a [f32]>,
    /// Zero point of the output.
    pub zero_point: i8,
    /// Least and greatest output, for ReLU and ReLU6; -128 and 127 otherwise.
    pub range: (i8, i8),
    /// What is added after the activation, if anything.
    pub residual: Option<Residual>,
}

/// A tensor of the output's shape that is added to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Residual {
    /// Output steps per step of the residual, in `0.0..4.0`.
    pub scale: f64,
    /// Zero point of the residual.
    pub zero_point: i8,
}

impl Epilogue<'_> {
    /// Whether integers can express it for sums of `products` products of bytes: every number in
    /// its range, and no sum so large that an instruction set without saturating shifts would lose
    /// it. What a network has learnt fits, but for a slope now and then, which is brought into the range
    /// when the network is quantised. A residual has to leave a sum that saturates where it is clipped.
    pub fn fits(&self, products: usize) -> bool {
        let fine = |(scale, &bias): (&f64, &i32)| {
            let most = if *scale < COARSE { WIDEST } else { MOST };
            (0.0..2.0).contains(scale) && magnitude(products, bias.into()) < most
        };
        self.scale.iter().zip(self.bias).all(fine)
            && self
                .slope
                .unwrap_or_default()
                .iter()
                .all(|s| s.abs() <= 2.0)
            && self
                .residual
                .is_none_or(|r| (0.0..4.0).contains(&r.scale) && self.clips(r))
    }

    /// Whether sums that saturate are clipped whatever is added to them.
    fn clips(&self, residual: Residual) -> bool {
        let of = |byte: i8| residual.scale * (f64::from(byte) - f64::from(residual.zero_point));
        let (least, most) = (of(i8::MIN), of(i8::MAX));
        let zero = f64::from(self.zero_point);
        let (low, high) = self.range;
        let beyond = |end: f64| {
            if end < 0.0 {
                end + most + zero <= f64::from(low)
            } else {
                end + least + zero >= f64::from(high)
            }
        };
        let slopes = self.slope.unwrap_or(&[1.0]).iter().copied();
        slopes.map(f64::from).all(|slope| {
            let end = SATURATED / slope.abs().max(1.0);
            beyond(end) && (slope == 0.0 || beyond(-end * slope))
        })
    }
}

/// The integer form of an [`Epilogue`]; see the module for the arithmetic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Requant {
    channels: usize,
    /// One for [`LANES`] channels.
    pub(super) tables: Vec<Table>,
    pub(super) select: bool,
    pub(super) offset: i16,
    pub(super) low: i8,
    pub(super) high: i8,
    /// Multiplier and zero point of the residual.
    pub(super) residual: Option<(i16, i8)>,
}

/// What belongs to each of [`LANES`] output channels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Table {
    pub(super) bias: [i32; LANES],
    pub(super) shift: [i32; LANES],
    pub(super) positive: [i16; LANES],
    pub(super) negative: [i16; LANES],
}

impl Requant {
    /// Works out shifts and multipliers.
    ///
    /// # Panics
    /// If the slices differ in length, a scale is not in `0.0..2.0`, a slope not in `-2.0..=2.0`
    /// or the residual's scale not in `0.0..4.0`.
    pub fn new(epilogue: &Epilogue) -> Requant {
        let channels = epilogue.bias.len();
        assert_eq!(channels, epilogue.scale.len(), "one scale per channel");
        assert!(
            epilogue.slope.is_none_or(|s| s.len() == channels),
            "one slope per channel"
        );
        let scales = epilogue.scale;
        assert!(
            scales.iter().all(|s| (0.0..2.0).contains(s)),
            "scales below two"
        );
        let slopes = epilogue.slope.unwrap_or_default();
        assert!(
            slopes.iter().all(|s| s.abs() <= 2.0),
            "slopes of at most two"
        );
        let mut requant = Requant {
            channels,
            tables: vec![Table::default(); channels.div_ceil(LANES)],
            select: epilogue.slope.is_some(),
            offset: (i16::from(epilogue.zero_point) << FRACTION) + (1 << (FRACTION - 1)),
            low: epilogue.range.0,
            high: epilogue.range.1,
            residual: epilogue.residual.map(|r| {
                assert!((0.0..4.0).contains(&r.scale), "residual scale {}", r.scale);
                (
                    to_i16(r.scale * f64::from(1 << (FRACTION + 15 - 7))),
                    r.zero_point,
                )
            }),
        };
        for c in 0..channels {
            let slope = epilogue.slope.map_or(1.0, |s| f64::from(s[c]));
            let unit = epilogue.scale[c] * f64::from(1 << FRACTION);
            // Right shift that brings the larger multiplier between 2^14 and 2^15.
            let right = exponent(unit * slope.abs().max(1.0)).saturating_neg() - 1;
            let right = right.clamp(-7, 30);
            let multiplier = unit * f64::powi(2.0, right + 15);
            let half = if right > 0 { 1 << (right - 1) } else { 0 };
            let (table, lane) = (&mut requant.tables[c / LANES], c % LANES);
            table.bias[lane] = epilogue.bias[c].wrapping_add(half);
            table.shift[lane] = 16 - right;
            table.positive[lane] = to_i16(multiplier);
            table.negative[lane] = to_i16(multiplier * slope);
        }
        requant
    }

    /// That of a layer whose sums are wanted as they are: it adds `bias` and nothing else.
    pub(super) fn sums(bias: &[i32]) -> Requant {
        let mut tables = vec![Table::default(); bias.len().div_ceil(LANES)];
        for (table, bias) in tables.iter_mut().zip(bias.chunks(LANES)) {
            table.bias[..bias.len()].copy_from_slice(bias);
        }
        Requant {
            channels: bias.len(),
            tables,
            select: false,
            offset: 0,
            low: i8::MIN,
            high: i8::MAX,
            residual: None,
        }
    }

    /// Output channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The output for the sum `sum` of channel `c`: the definition. `residual` is ignored when
    /// the layer has none.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "clamped to the range of the type"
    )]
    pub fn apply(&self, c: usize, sum: i32, residual: i8) -> i8 {
        let (table, lane) = (&self.tables[c / LANES], c % LANES);
        let t = sum.wrapping_add(table.bias[lane]);
        let shift = table.shift[lane];
        let t = if shift < 0 {
            t >> -shift
        } else {
            (i64::from(t) << shift).clamp(i32::MIN.into(), i32::MAX.into()) as i32
        };
        let a = (t >> 16) as i16;
        let m = if a < 0 {
            table.negative[lane]
        } else {
            table.positive[lane]
        };
        let mut v = multiply(a, m);
        if let Some((multiplier, zero)) = self.residual {
            let r = (i16::from(residual) - i16::from(zero)) << 7;
            v = v.saturating_add(multiply(r, multiplier));
        }
        let v = v.saturating_add(self.offset) >> FRACTION;
        let q = v.clamp(i16::from(i8::MIN), i16::from(i8::MAX)) as i8;
        q.max(self.low).min(self.high)
    }

    /// The bias of every channel, zero for those that pad them to a multiple of [`LANES`].
    pub(super) fn biases(&self) -> impl Iterator<Item = i32> {
        self.tables.iter().flat_map(|t| t.bias)
    }

    /// Brings results into the range of the output: the end of step 6 for a whole tensor.
    pub(super) fn limit(&self, output: &mut [i8]) {
        if (self.low, self.high) != (i8::MIN, i8::MAX) {
            output
                .iter_mut()
                .for_each(|q| *q = (*q).max(self.low).min(self.high));
        }
    }

    /// Adds to the bias of one channel: how a zero point of the input is taken out of sums over
    /// raw bytes.
    pub(super) fn shift_bias(&mut self, c: usize, by: i32) {
        let bias = &mut self.tables[c / LANES].bias[c % LANES];
        *bias = bias.wrapping_add(by);
    }
}

/// `(a * m + 2^14) >> 15`; `m` is never -32768, so the result fits.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the product of two 16-bit numbers over 2^15"
)]
fn multiply(a: i16, m: i16) -> i16 {
    ((i32::from(a) * i32::from(m) + (1 << 14)) >> 15) as i16
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "clamped to the range of the type"
)]
fn to_i16(x: f64) -> i16 {
    x.round().clamp(-32767.0, 32767.0) as i16
}

/// The `e` with `2^e <= x < 2^(e+1)`; very small for zero.
#[expect(clippy::cast_possible_truncation, reason = "exponents of f64 fit")]
fn exponent(x: f64) -> i32 {
    if x > 0.0 {
        x.log2().floor() as i32
    } else {
        i32::MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(scale: f64, slope: f32, zero_point: i8, sum: i32) {
        let requant = Requant::new(&Epilogue {
            bias: &[0],
            scale: &[scale],
            slope: Some(&[slope]),
            zero_point,
            range: (-128, 127),
            residual: None,
        });
        let real = f64::from(sum) * scale * if sum < 0 { f64::from(slope) } else { 1.0 };
        let real = (real + f64::from(zero_point)).clamp(-128.0, 127.0);
        let got = f64::from(requant.apply(0, sum, 0));
        assert!((got - real).abs() < 0.5 + 1.0 / 16.0, "{real} became {got}");
    }

    #[test]
    fn the_result_is_the_real_number_rounded() {
        for scale in [1e-6, 3.1e-4, 0.0019, 0.01, 0.25, 1.0, 1.9] {
            for sum in [
                0, 1, -1, 77, -77, 4096, -5000, 60_000, -60_000, 2_000_000, -2_000_000,
            ] {
                for slope in [1.0, 0.25, -0.3, 1.5] {
                    // Beyond 512 output steps a negative sum may saturate before its slope.
                    if f64::from(sum) * scale > -500.0 {
                        check(scale, slope, 0, sum);
                        check(scale, slope, -128, sum);
                        check(scale, slope, 99, sum);
                    }
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_result_is_the_real_number_rounded(
            magnitude in -20.0..0.9f64,
            slope in -2.0..2.0f32,
            zero_point: i8,
            steps in -500.0..900.0f64,
        ) {
            let scale = magnitude.exp2();
            let sum = (steps / scale).clamp(-2e6, 2e6);
            #[expect(clippy::cast_possible_truncation, reason = "clamped")]
            check(scale, slope, zero_point, sum as i32);
        }
    }

    /// A residual of that scale, at its least, is added to sums of up to 1500 steps.
    fn check_residual(ratio: f64, slope: Option<f32>, fits: bool) {
        let slope = slope.map(|s| [s]);
        let epilogue = Epilogue {
            bias: &[0],
            scale: &[1.0001 / 32.0 / slope.map_or(1.0, |[s]| f64::from(s))],
            slope: slope.as_ref().map(<[f32; 1]>::as_slice),
            zero_point: 0,
            range: (-128, 127),
            residual: Some(Residual {
                scale: ratio,
                zero_point: 0,
            }),
        };
        assert_eq!(epilogue.fits(1), fits, "{ratio}, {slope:?}");
        let requant = Requant::new(&epilogue);
        let exact = (0..48_000).all(|sum| {
            let real = f64::from(sum) * epilogue.scale[0] - 128.0 * ratio;
            let got = f64::from(requant.apply(0, sum, -128));
            (got - real.clamp(-128.0, 127.0)).abs() < 0.5 + 1.0 / 8.0
        });
        assert_eq!(exact, fits, "{ratio}, {slope:?}");
    }

    #[test]
    fn a_residual_takes_no_saturated_sum_back() {
        for (ratio, slope, fits) in [
            (3.9, None, false),
            (3.5, None, false),
            (3.1, None, false),
            (3.0, None, true),
            (1.0, None, true),
            (1.9, Some(2.0), false),
            (1.0, Some(2.0), true),
        ] {
            check_residual(ratio, slope, fits);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_result_with_a_residual_is_the_real_number_rounded(
            magnitude in -20.0..0.9f64,
            slope in proptest::option::of(-2.0..2.0f32),
            zero_point: i8,
            byte: i8,
            zero: i8,
            ratio in 0.0..4.0f64,
            steps in -5000.0..5000.0f64,
        ) {
            let scale = magnitude.exp2();
            let slope = slope.map(|s| [s]);
            let epilogue = Epilogue {
                bias: &[0],
                scale: &[scale],
                slope: slope.as_ref().map(<[f32; 1]>::as_slice),
                zero_point,
                range: (-128, 127),
                residual: Some(Residual { scale: ratio, zero_point: zero }),
            };
            proptest::prop_assume!(epilogue.fits(1));
            #[expect(clippy::cast_possible_truncation, reason = "clamped")]
            let sum = (steps / scale).clamp(-2e6, 2e6) as i32;
            let factor = slope.filter(|_| sum < 0).map_or(1.0, |[s]| f64::from(s));
            let added = (f64::from(byte) - f64::from(zero)) * ratio;
            let real = f64::from(sum) * scale * factor + added + f64::from(zero_point);
            let got = f64::from(Requant::new(&epilogue).apply(0, sum, byte));
            let error = (got - real.clamp(-128.0, 127.0)).abs();
            proptest::prop_assert!(error < 0.5 + 1.0 / 8.0, "{} became {}", real, got);
        }
    }

    /// Of one product, whose magnitude is 32385 at most.
    fn fits(bias: i32, scale: f64) -> bool {
        let epilogue = Epilogue {
            bias: &[bias],
            scale: &[scale],
            slope: None,
            zero_point: 0,
            range: (-128, 127),
            residual: None,
        };
        epilogue.fits(1)
    }

    #[test]
    fn a_bias_leaves_room_for_the_sum() {
        for (scale, limit) in [(1.0, 1 << 24), (1.0 / 64.0, 1 << 24), (0.01, 1 << 30)] {
            let most = limit - 32385;
            assert!(fits(most - 1, scale) && fits(1 - most, scale));
            assert!(!fits(most, scale) && !fits(-most, scale));
        }
        assert!(!fits(i32::MIN, 1e-9) && !fits(0, 2.0) && !fits(0, -0.1));
        assert!(!holds(1, f64::INFINITY) && !holds(1, f64::NAN));
    }

    #[test]
    fn the_largest_bias_that_fits_keeps_its_sign() {
        // The smaller scale brings the greatest half that rounds.
        for (exponent, expected) in [(-24, 64), (-36, 0)] {
            for sign in [1, -1] {
                let requant = Requant::new(&Epilogue {
                    bias: &[sign * ((1 << 30) - 32386)],
                    scale: &[f64::powi(2.0, exponent)],
                    slope: None,
                    zero_point: 0,
                    range: (-128, 127),
                    residual: None,
                });
                let got = i32::from(requant.apply(0, sign * 32385, 0));
                assert_eq!(got, sign * expected, "2^{exponent}");
            }
        }
    }

    #[test]
    fn a_channel_of_scale_zero_gives_the_zero_point() {
        let requant = Requant::new(&Epilogue {
            bias: &[5],
            scale: &[0.0],
            slope: None,
            zero_point: -7,
            range: (-128, 127),
            residual: None,
        });
        assert_eq!(requant.apply(0, 1 << 20, 0), -7);
    }

    #[test]
    fn a_residual_is_added_after_the_activation() {
        let requant = Requant::new(&Epilogue {
            bias: &[0],
            scale: &[0.01],
            slope: Some(&[0.5]),
            zero_point: 3,
            range: (-128, 127),
            residual: Some(Residual {
                scale: 0.75,
                zero_point: -4,
            }),
        });
        // -2000 * 0.01 * 0.5 + (36 + 4) * 0.75 + 3
        assert_eq!(requant.apply(0, -2000, 36), 23);
    }
}
