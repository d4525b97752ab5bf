use super::*;
use crate::kernels::Residual;

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
