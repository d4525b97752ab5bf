//! Weights as integers, from the real numbers that dequantisation makes of them.
//!
//! By the time a model can be rewritten tract has folded the dequantisation of constants, so the
//! integers and their scales have to be found again. They are found exactly or not at all.

/// Integers in -127..=127 and the step that they count, per output channel.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weights {
    /// In the order of the real weights.
    pub(super) values: Vec<i8>,
    /// One per output channel.
    pub(super) steps: Vec<f64>,
}

/// Finds integers behind `real`, whose `real.len() / outputs` values per output channel lie one
/// after the other: the original ones or a multiple of them with a smaller step. `None` if a
/// channel is not a multiple of a common step.
#[expect(
    clippy::cast_possible_truncation,
    reason = "multiples of a step that is at least 1/127 of the greatest"
)]
pub(super) fn recover(real: &[f32], outputs: usize) -> Option<Weights> {
    let row = real.len() / outputs.max(1);
    if row == 0 || row * outputs != real.len() {
        return None;
    }
    let mut values = Vec::with_capacity(real.len());
    let mut steps = Vec::with_capacity(outputs);
    for channel in real.chunks_exact(row) {
        let greatest = channel.iter().fold(0f32, |m, w| m.max(w.abs()));
        if !greatest.is_finite() {
            return None;
        }
        if greatest == 0.0 {
            values.resize(values.len() + row, 0);
            steps.push(0.0);
            continue;
        }
        // Most quantisers give the greatest weight of a channel the value 127: try it first.
        let step = (1u8..=127)
            .rev()
            .map(|k| f64::from(greatest) / f64::from(k))
            .find(|&step| channel.iter().all(|&w| is_multiple(f64::from(w) / step)))?;
        values.extend(channel.iter().map(|&w| (f64::from(w) / step).round() as i8));
        steps.push(step);
    }
    Some(Weights { values, steps })
}

/// A quotient of two f32 products is off by less than 127 times a few units in the 24th bit.
fn is_multiple(quotient: f64) -> bool {
    (quotient - quotient.round()).abs() < 1e-3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_come_back_with_their_step() {
        let steps = [0.0123f32, 3.3e-5];
        let values = [127i8, -5, 0, 88, 3, -1, 2, 37];
        let real: Vec<f32> = values
            .iter()
            .enumerate()
            .map(|(i, &v)| f32::from(v) * steps[i / 4])
            .collect();
        let found = recover(&real, 2).unwrap();
        for (i, (&value, &real)) in found.values.iter().zip(&real).enumerate() {
            let again = f64::from(value) * found.steps[i / 4];
            assert!((again - f64::from(real)).abs() < 1e-6 * f64::from(real.abs()) + 1e-12);
        }
        assert_eq!(found.values[..4], values[..4]);
    }

    #[test]
    fn real_weights_are_refused() {
        assert_eq!(recover(&[0.1, 0.237, -0.31, 0.0417], 1), None);
        assert_eq!(recover(&[f32::NAN, 1.0], 1), None);
    }

    #[test]
    fn a_channel_of_zeros_has_no_step() {
        assert_eq!(
            recover(&[0.0, 0.0], 1),
            Some(Weights {
                values: vec![0, 0],
                steps: vec![0.0]
            })
        );
    }
}
