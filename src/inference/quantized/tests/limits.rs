//! Networks that look like integer layers and are not, or not quite: each stays exact.

use tract_onnx::tract_core::ops::math::sin;
use tract_onnx::tract_core::ops::nn::resize::{CoordTransformer, Interpolator, Nearest, Resize};

use super::*;

/// Weights of two channels over three: some with a step of 0.002, and as many with `step`.
fn two_channels(step: f32) -> [f32; 6] {
    let ordinary = [127.0, -90.0, 41.0].map(|w| w * 0.002);
    let other = [127.0, 5.0, -3.0].map(|w| w * step);
    [ordinary, other].concat().try_into().unwrap()
}

/// A channel that has all but died keeps weights of some bits, next to which its bias is huge; one
/// exporter makes their step so large that the bias just fits in 32 bits.
#[test]
fn a_bias_beyond_the_sums_stays_real() {
    let input = 0.01;
    for step in [1e-12, 1.0001 * 0.4 / (2f32.powi(31) * input)] {
        let (mut b, x) = Builder::new(&[1, 3, 6, 6]);
        let x = b.quantised(x, input, 0);
        let x = b.conv_of(x, &two_channels(step), &[0.4, 0.4], 1, 1, 1);
        let output = b.quantised(x, 0.01, 0);
        b.check(output, 0, 1, 0.011);

        let (mut b, x) = Builder::new(&[1, 3, 6, 6]);
        let x = b.quantised(x, input, 0);
        let output = b.conv_of(x, &two_channels(step), &[0.4, 0.4], 1, 1, 1);
        b.check(output, 0, 1, 1e-5);
    }
}

#[test]
fn a_large_bias_that_fits_is_exact() {
    let (mut b, x) = Builder::new(&[1, 3, 6, 6]);
    let x = b.quantised(x, 0.01, 0);
    let step = 0.4 / (2f32.powi(29) * 0.01);
    let x = b.conv_of(x, &two_channels(step), &[0.4, -0.4], 1, 1, 1);
    let output = b.quantised(x, 0.01, 0);
    b.check(output, 1, 0, 0.011);
}

/// Between a convolution and an addition the exporter left of a ReLU6, here a ReLU1, a range.
#[test]
fn a_clip_folded_before_an_addition_clips() {
    // Where the other one is not clipped, its layer adds the clipped one.
    for (zero, fused) in [(0, 2), (-128, 3)] {
        let (mut b, x) = Builder::new(&[1, 3, 6, 6]);
        let x = b.quantised(x, 0.01, 0);
        let clipped = b.conv(x, 4, 3, 1, 1);
        let clipped = b.quantised(clipped, 1.0 / 255.0, -128);
        let other = b.conv(x, 4, 1, 1, 1);
        let other = b.quantised(other, 0.01, zero);
        let sum = b.wire(add(), &[clipped, other]);
        let output = b.quantised(sum, 0.02, 0);
        b.check(output, fused, 0, 0.05);
    }
}

#[test]
fn a_clip_folded_before_a_relu_clips() {
    let (mut b, x) = Builder::new(&[1, 3, 6, 6]);
    let x = b.quantised(x, 0.01, 0);
    let x = b.conv(x, 4, 3, 1, 1);
    let x = b.quantised(x, 1.0 / 127.0, 0);
    let x = b.relu(x);
    let output = b.quantised(x, 0.02, -128);
    b.check(output, 1, 0, 0.025);
}

#[test]
fn a_clip_folded_after_an_enlargement_clips() {
    for (scale, float) in [(0.03, 0), (1.0 / 255.0, 1)] {
        let (mut b, x) = Builder::new(&[1, 3, 8, 8]);
        let large = b.quantised(x, 0.01, 0);
        let x = b.conv(large, 3, 3, 2, 1);
        let x = b.quantised(x, 0.03, -128);
        let factors = b.constant(&[4], &[1.0, 1.0, 2.0, 2.0]);
        let resize = Resize {
            coord_transformer: CoordTransformer::Asymmetric,
            interpolator: Interpolator::Nearest,
            nearest: Nearest::Floor,
            optional_scales_input: Some(1),
            optional_sizes_input: None,
        };
        let x = b.wire(resize, &[x, factors]);
        let x = b.quantised(x, scale, -128);
        let sum = b.wire(add(), &[x, large]);
        let output = b.quantised(sum, 0.05, 0);
        b.check(output, 2, float, 0.11);
    }
}

/// A coarse residual brings back into the output's range what a layer that adds it would have cut off.
#[test]
fn a_coarse_residual_is_added_by_itself() {
    for (paired, fused, float) in [(true, 3, 0), (false, 2, 1)] {
        let (mut b, x) = Builder::new(&[1, 3, 6, 6]);
        let x = b.quantised(x, 0.01, 0);
        let [main, other] = [0.13, -0.043].map(|step| [127.0 * step, 0.0, 0.0]);
        let mut main = b.conv_of(x, &main, &[0.0], 1, 1, 1);
        if paired {
            main = b.quantised(main, 0.12, 0);
        }
        let other = b.conv_of(x, &other, &[0.0], 1, 1, 1);
        let other = b.quantised(other, 0.039, 0);
        let sum = b.wire(add(), &[main, other]);
        let output = b.quantised(sum, 0.01, 0);
        // One step of the pair may be rounded the other way.
        b.check(output, fused, float, 0.13);
    }
}

#[test]
fn a_reshape_makes_another_image() {
    let reshaped = |b: &mut Builder, x| {
        let x = b.quantised(x, 0.01, 0);
        let x = b.conv(x, 4, 3, 1, 1);
        let x = b.quantised(x, 0.03, 0);
        b.reshape(x, 1, &[4, 8, 8], &[4, 4, 16])
    };

    let (mut b, x) = Builder::new(&[1, 3, 8, 8]);
    let x = reshaped(&mut b, x);
    let x = b.quantised(x, 0.03, 0);
    let x = b.conv(x, 4, 3, 1, 1);
    let output = b.quantised(x, 0.06, 0);
    b.check(output, 1, 1, 0.13);

    let (mut b, x) = Builder::new(&[1, 3, 8, 8]);
    let x = reshaped(&mut b, x);
    let x = b.max_pool(x);
    let output = b.quantised(x, 0.03, 0);
    b.check(output, 1, 1, 0.031);
}

/// A program takes the image as pixels, which are in another order than the planes that are reshaped.
#[test]
fn a_reshaped_image_is_not_the_pixels() {
    let (mut b, x) = Builder::new(&[1, 3, 16, 16]);
    let x = b.reshape(x, 1, &[3, 16, 16], &[12, 8, 8]);
    let x = b.quantised(x, 0.01, 0);
    let x = b.conv(x, 4, 3, 1, 1);
    let output = b.quantised(x, 0.1, 0);
    b.check_run(output, (1, 0), false, 0.11);
}

#[test]
fn bytes_may_be_taken_for_other_numbers() {
    let (mut b, x) = Builder::new(&[1, 3, 6, 6]);
    let q = b.wire(quantize_linear_i8(100.0, 0), &[x]);
    let x = b.wire(DequantizeLinearF32::new(0.02, 0), &[q]);
    let x = b.conv(x, 4, 3, 1, 1);
    let output = b.quantised(x, 0.05, 0);
    b.check(output, 0, 1, 0.051);
}

/// Quantised values that are also read as the bytes that they are.
#[test]
fn bytes_may_have_a_reader_of_their_own() {
    let (mut b, x) = Builder::new(&[1, 3, 6, 6]);
    let x = b.quantised(x, 0.01, 0);
    let x = b.conv(x, 4, 3, 1, 1);
    let bytes = b.wire(quantize_linear_i8(20.0, 0), &[x]);
    let pooled = b.max_pool(bytes);
    let pooled = b.wire(DequantizeLinearF32::new(0.05, 0), &[pooled]);
    let x = b.wire(DequantizeLinearF32::new(0.05, 0), &[bytes]);
    let x = b.conv(x, 4, 3, 2, 1);
    let output = b.wire(add(), &[pooled, x]);
    b.check(output, 3, 2, 0.2);
}

#[test]
fn slopes_along_another_axis_are_not_those_of_the_channels() {
    let (mut b, x) = Builder::new(&[1, 3, 6, 6]);
    let x = b.quantised(x, 0.01, 0);
    let x = b.conv(x, 6, 3, 1, 1);
    let x = b.prelu_along(x, 3, 0.2);
    let output = b.quantised(x, 0.05, 0);
    // The convolution gives real numbers.
    b.check(output, 1, 1, 0.051);
}

/// `x * sigmoid(x)`, and a sigmoid beside what it is of.
#[test]
fn a_sigmoid_may_share_its_layer() {
    let (mut b, x) = Builder::new(&[1, 3, 6, 6]);
    let x = b.quantised(x, 0.01, 0);
    let x = b.conv(x, 4, 3, 1, 1);
    let likely = b.wire(sigmoid(), &[x]);
    let mut both = b.model.clone();
    both.select_output_outlets(&[likely, x]).unwrap();
    let report = rewrite(&mut both).unwrap();
    assert_eq!((report.fused, report.float.len()), (1, 1), "{report:?}");

    let output = b.wire(mul(), &[x, likely]);
    b.check(output, 1, 2, 1e-4);
}

/// A reload plans models on a thread of the usual stack, which a deep one must not need up.
#[test]
fn a_deep_model_needs_no_deep_stack() {
    let sines = |quantised: usize| {
        let (mut b, mut x) = Builder::new(&[1, 3, 4, 4]);
        for i in 0..3000 {
            x = if i < quantised && i % 2 == 0 {
                b.quantised(x, 0.01, 0)
            } else {
                b.wire(sin(), &[x])
            };
        }
        b.model.select_output_outlets(&[x]).unwrap();
        b.model
    };
    for (mut model, float) in [(sines(0), 3000), (sines(3000), 1500)] {
        let small = std::thread::Builder::new().stack_size(1 << 20);
        let plan = small.spawn(move || {
            let report = rewrite(&mut model).unwrap();
            assert_eq!(report.float.len(), float);
        });
        plan.unwrap().join().unwrap();
    }
}
