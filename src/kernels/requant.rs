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

use super::epilogue::Epilogue;

/// Output channels that one vector step covers; per-channel tables are padded to a multiple of it.
pub const LANES: usize = 16;

/// Bits below one output step in the 16-bit stage.
const FRACTION: i32 = 5;

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
mod tests;
