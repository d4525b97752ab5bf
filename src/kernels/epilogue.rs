//! What a layer does to its sums, in real numbers, and whether the integers of `requant.rs` can.

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
