//! From real numbers to bytes: the entrance to a quantised network.

/// 1.5 * 2^23: adding it to a number of magnitude below 2^22 leaves the number, rounded to the
/// nearest integer with ties to even, in the low bits.
const MAGIC: f32 = 12_582_912.0;

/// Quantises planes `[channels][pixels]` to pixels `[pixels][channels]`: each value times
/// `steps` (quantisation steps per unit), rounded to the nearest with ties to even, plus `zero`,
/// saturated. A NaN becomes the least value.
///
/// # Panics
/// If the lengths differ or are no multiple of `channels`.
pub fn quantise(planes: &[f32], channels: usize, steps: f32, zero: i8, output: &mut [i8]) {
    assert_eq!(planes.len(), output.len(), "as many values as bytes");
    assert!(
        channels > 0 && planes.len().is_multiple_of(channels),
        "{channels} channels"
    );
    let pixels = planes.len() / channels;
    let low = f32::from(i8::MIN) - f32::from(zero);
    let high = f32::from(i8::MAX) - f32::from(zero);
    let byte = |value: f32| {
        let rounded = (value * steps).max(low).min(high) + MAGIC;
        // The low byte of the integer, whose sum with the zero point fits by the limits.
        rounded.to_bits().to_le_bytes()[0]
            .cast_signed()
            .wrapping_add(zero)
    };
    const BLOCK: usize = 64;
    let mut block = [0i8; BLOCK];
    for start in (0..pixels).step_by(BLOCK) {
        let count = BLOCK.min(pixels - start);
        for channel in 0..channels {
            let plane = &planes[channel * pixels + start..][..count];
            for (byte_of, &value) in block.iter_mut().zip(plane) {
                *byte_of = byte(value);
            }
            let out = output[start * channels..]
                .iter_mut()
                .skip(channel)
                .step_by(channels);
            out.zip(&block[..count]).for_each(|(out, &b)| *out = b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_shifted_and_interleaved() {
        let planes = [0.25, 0.75, -0.25, -1e9, 1e9, f32::NAN];
        let mut output = [0; 6];
        quantise(&planes, 2, 2.0, -10, &mut output);
        // Twice 0.25 and 0.75 lie half way: 0 and 2 are even.
        assert_eq!(output, [-10, -128, -8, 127, -10, -128]);
    }

    proptest::proptest! {
        #[test]
        fn any_value_is_rounded_to_even_and_saturated(value: f32, zero: i8) {
            let mut output = [0];
            quantise(&[value], 1, 0.5, zero, &mut output);
            let real = (f64::from(value * 0.5)).round_ties_even() + f64::from(zero);
            let expected = if value.is_nan() { -128.0 } else { real.clamp(-128.0, 127.0) };
            assert_eq!(f64::from(output[0]), expected);
        }
    }

    #[test]
    fn every_zero_point_reaches_both_ends() {
        for zero in i8::MIN..=i8::MAX {
            let mut output = [0; 3];
            quantise(&[-300.0, 0.0, 300.0], 1, 1.0, zero, &mut output);
            assert_eq!(output, [-128, zero, 127]);
        }
    }
}
