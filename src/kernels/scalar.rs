//! The definition of the kernels, in plain loops over padded input.

use super::geometry::Shape;
use super::layer::{Dense, Depthwise};
use super::requant::LANES;

/// `input` is padded; `size` is height and width of the output.
pub(super) fn dense(
    layer: &Dense,
    input: &[i8],
    shape: Shape,
    size: [usize; 2],
    residual: Option<&[i8]>,
    output: &mut [i8],
) {
    let outputs = layer.requant.channels();
    for (pixel, out) in output.chunks_exact_mut(outputs).enumerate() {
        for (o, out) in out.iter_mut().enumerate() {
            let sum = sum(layer, input, shape, size[1], pixel, o);
            let residual = residual.map_or(0, |r| r[pixel * outputs + o]);
            *out = layer.requant.apply(o, sum, residual);
        }
    }
}

/// The sum of output `o` of one pixel, without its bias; `width` is that of the output.
pub(super) fn sum(
    layer: &Dense,
    input: &[i8],
    shape: Shape,
    width: usize,
    pixel: usize,
    o: usize,
) -> i32 {
    let [kernel_rows, kernel_columns] = layer.window.kernel;
    let offset = if layer.isa.is_unsigned() { 128 } else { 0 };
    let y = pixel / width * layer.window.stride[0];
    let x = pixel % width * layer.window.stride[1];
    let mut sum = 0i32;
    let mut k = 0;
    for row in y..y + kernel_rows {
        for column in x..x + kernel_columns {
            let at = (row * shape.width + column) * shape.channels;
            for &value in &input[at..at + layer.inputs] {
                let value = i32::from(value) + offset;
                sum = sum.wrapping_add(value * i32::from(layer.weight(o, k)));
                k += 1;
            }
        }
    }
    sum
}

/// `input` is padded; `size` is height and width of the output.
pub(super) fn depthwise(
    layer: &Depthwise,
    input: &[i8],
    shape: Shape,
    size: [usize; 2],
    residual: Option<&[i8]>,
    output: &mut [i8],
) {
    let channels = layer.channels();
    let padded = channels.next_multiple_of(LANES);
    let [_, kernel_columns] = layer.window.kernel;
    for (pixel, out) in output.chunks_exact_mut(channels).enumerate() {
        let y = pixel / size[1] * layer.window.stride[0];
        let x = pixel % size[1] * layer.window.stride[1];
        for (c, out) in out.iter_mut().enumerate() {
            let sum = (0..layer.window.taps()).fold(0i32, |sum, tap| {
                let (row, column) = (y + tap / kernel_columns, x + tap % kernel_columns);
                let value = input[(row * shape.width + column) * shape.channels + c];
                sum.wrapping_add(i32::from(value) * i32::from(layer.weights[tap * padded + c]))
            });
            let residual = residual.map_or(0, |r| r[pixel * channels + c]);
            *out = layer.requant.apply(c, sum, residual);
        }
    }
}
