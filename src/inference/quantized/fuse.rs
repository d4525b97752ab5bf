//! One kernel for what stands between two quantised tensors.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::cnn::{MaxPool, PoolSpec};
use tract_onnx::tract_core::ops::math::Add;

use super::super::prelu::operands;
use super::encoding::{Encoding, dequantized};
use super::enlarge::enlarged;
use super::ops::{Kernel, Quantized};
use super::pattern::{self, Layer, Linear};
use super::translate::{Bytes, Translator, image_shape};
use super::weights;
use crate::kernels::{self, Dense, Depthwise, Epilogue, Requant, Residual, Shape, Sum, Window};

/// The linear part of a layer in integers.
pub(super) struct Integers {
    pub(super) input: Bytes,
    pub(super) window: Window,
    /// In the order of the kernels.
    pub(super) weights: Vec<i8>,
    /// In units of the sum.
    pub(super) bias: Vec<i32>,
    /// What one of a channel's sum stands for.
    pub(super) units: Vec<f64>,
}

impl Translator<'_> {
    /// The real-valued `outlet`, quantised, from a kernel.
    pub(super) fn quantized(
        &mut self,
        name: &str,
        outlet: OutletId,
        encoding: Encoding,
    ) -> TractResult<Option<Bytes>> {
        let node = self.old.node(outlet.node);
        if let Some(inner) = dequantized(self.old, outlet)? {
            let bytes = self.bytes(inner)?;
            return Ok(bytes.filter(|b| b.encoding.same(encoding)));
        }
        if let Some(op) = node.op_as::<AxisOp>() {
            // All but moves keep the order of the values; whoever reads an image looks at its shape.
            rule_if!(!matches!(op, AxisOp::Move(..)));
            return self.quantized(name, node.inputs[0], encoding);
        }
        if let Some(op) = node.op_as::<MaxPool>() {
            let op = op.clone();
            rule_if!(op.with_index_outputs.is_none());
            let inner = node.inputs[0];
            let Some(shape) = image_shape(self.old.outlet_fact(inner)?) else {
                return Ok(None);
            };
            let Some(window) = window(&op.pool_spec, shape) else {
                return Ok(None);
            };
            let Some(input) = self.quantized(&format!("{name}.pool"), inner, encoding)? else {
                return Ok(None);
            };
            rule_if!(input.shape == shape);
            let channels = shape.channels;
            let kernel = Kernel::MaxPool(window);
            return self.wire(
                name,
                kernel,
                &[input],
                window.output(shape),
                channels,
                encoding,
            );
        }
        // What a layer cannot add may still be added by itself.
        if let Some(layer) = pattern::layer(self.old, outlet)?
            && let Some(bytes) = self.layer(name, &layer, encoding)?
        {
            return Ok(Some(bytes));
        }
        if let Some([a, b]) = operands::<Add>(node) {
            return self.sum(name, a, b, encoding);
        }
        Ok(None)
    }

    /// The sum of two dequantised tensors, of which one may be enlarged first.
    fn sum(
        &mut self,
        name: &str,
        a: OutletId,
        b: OutletId,
        encoding: Encoding,
    ) -> TractResult<Option<Bytes>> {
        let (small, large, factor) = if let Some((a, factor)) = enlarged(self.old, a)? {
            (a, b, factor)
        } else if let Some((b, factor)) = enlarged(self.old, b)? {
            (b, a, factor)
        } else {
            (a, b, 1)
        };
        let mut terms = tvec!();
        for term in [small, large] {
            let Some(inner) = dequantized(self.old, term)? else {
                return Ok(None);
            };
            let Some(bytes) = self.image(inner)? else {
                return Ok(None);
            };
            terms.push(bytes);
        }
        let Shape {
            height,
            width,
            channels,
        } = terms[0].shape;
        let shape = Shape {
            height: height * factor,
            width: width * factor,
            channels,
        };
        rule_if!(shape == terms[1].shape);
        let pair = |e: Encoding| (e.scale, e.zero);
        let sum = Sum::new(
            pair(terms[0].encoding),
            pair(terms[1].encoding),
            pair(encoding),
        );
        let Some(sum) = sum else {
            return Ok(None);
        };
        let size = [shape.height, shape.width];
        self.wire(
            name,
            Kernel::Sum(sum, factor),
            &terms,
            size,
            channels,
            encoding,
        )
    }

    /// The linear part of a layer in integers; `None` also where a bias is too large for them.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what the kernels hold fits"
    )]
    pub(super) fn integers(&mut self, linear: &Linear) -> TractResult<Option<Integers>> {
        let input = match linear.pool {
            Some(_) => self.image(linear.input)?,
            // A fully connected layer takes the values in their order.
            None => self.bytes(linear.input)?,
        };
        let Some(input) = input else {
            return Ok(None);
        };
        let Some(window) = linear_window(linear, input.shape) else {
            return Ok(None);
        };
        let outputs = linear.bias.len();
        let real = linear.weights.try_as_plain_ram()?;
        let Some(weights) = weights::recover(real.as_slice::<f32>()?, outputs) else {
            return Ok(None);
        };
        // What one of a channel's sum stands for. A channel without weights has only its bias,
        // which any fine unit can count.
        let unit = |(step, bias): (&f64, &f32)| match *step {
            0.0 => f64::from(bias.abs()) / 65536.0,
            step => step * input.encoding.scale,
        };
        let units: Vec<f64> = weights.steps.iter().zip(&linear.bias).map(unit).collect();
        let channels = input.shape.channels;
        rule_if!(linear.group == 1 || linear.group == channels && outputs == channels);
        let products = window.taps() * channels / linear.group;
        let count = |(&bias, &unit): (&f32, &f64)| {
            let count = match unit {
                0.0 => 0.0,
                unit => (f64::from(bias) / unit).round(),
            };
            kernels::holds(products, count).then_some(count as i32)
        };
        let Some(bias) = linear.bias.iter().zip(&units).map(count).collect() else {
            return Ok(None);
        };
        let weights = channels_last(&weights.values, channels, window.taps());
        Ok(Some(Integers {
            input,
            window,
            weights,
            bias,
            units,
        }))
    }

    fn layer(
        &mut self,
        name: &str,
        layer: &Layer,
        encoding: Encoding,
    ) -> TractResult<Option<Bytes>> {
        let linear = &layer.linear;
        rule_if!(layer.range.0 <= layer.range.1);
        let Some(integers) = self.integers(linear)? else {
            return Ok(None);
        };
        let Integers {
            input,
            window,
            weights,
            bias,
            units,
        } = integers;
        let outputs = bias.len();
        let mut terms = tvec!(input);
        let mut residual = None;
        if let Some(outlet) = layer.residual {
            let Some(bytes) = self.bytes(outlet)? else {
                return Ok(None);
            };
            let scale = bytes.encoding.scale / encoding.scale;
            let [height, width] = window.output(input.shape);
            rule_if!(
                bytes.shape
                    == Shape {
                        height,
                        width,
                        channels: outputs
                    }
            );
            residual = Some(Residual {
                scale,
                zero_point: bytes.encoding.zero,
            });
            terms.push(bytes);
        }
        let slope = match &layer.slope {
            Some(s) if s.len() == 1 => Some(vec![s[0]; outputs]),
            Some(s) if s.len() != outputs => return Ok(None),
            other => other.clone(),
        };
        let scales: Vec<f64> = units.iter().map(|u| u / encoding.scale).collect();
        let epilogue = Epilogue {
            bias: &bias,
            scale: &scales,
            slope: slope.as_deref(),
            zero_point: encoding.zero,
            range: (
                encoding.quantise(layer.range.0),
                encoding.quantise(layer.range.1),
            ),
            residual,
        };
        let taps = window.taps();
        rule_if!(epilogue.fits(taps * input.shape.channels / linear.group));
        let requant = Requant::new(&epilogue);
        let isa = self.kernels.isa();
        let zero = input.encoding.zero;
        let inputs = input.shape.channels;
        let kernel = if linear.group == 1 {
            Kernel::Dense(Dense::new(isa, window, inputs, &weights, zero, requant))
        } else {
            Kernel::Depthwise(Depthwise::new(isa, window, &weights, zero, requant))
        };
        self.wire(
            name,
            kernel,
            &terms,
            window.output(input.shape),
            outputs,
            encoding,
        )
    }

    fn wire(
        &mut self,
        name: &str,
        kernel: Kernel,
        inputs: &[Bytes],
        [height, width]: [usize; 2],
        channels: usize,
        encoding: Encoding,
    ) -> TractResult<Option<Bytes>> {
        let shape = Shape {
            height,
            width,
            channels,
        };
        let kernel = Arc::new(kernel);
        let op = Quantized {
            kernels: self.kernels,
            kernel,
            input: inputs[0].shape,
            output: shape,
        };
        let wires: TVec<OutletId> = inputs.iter().map(|b| b.wire).collect();
        let wire = self.new.wire_node(name, op, &wires)?[0];
        self.report.fused += 1;
        Ok(Some(Bytes {
            wire,
            shape,
            encoding,
        }))
    }
}

/// `[rows][columns of inner]` to `[..][inner][rows]` within each block of `rows * inner` values:
/// puts the channels of a kernel after its positions.
fn channels_last(values: &[i8], channels: usize, taps: usize) -> Vec<i8> {
    let mut out = Vec::with_capacity(values.len());
    for block in values.chunks_exact(channels * taps) {
        for tap in 0..taps {
            out.extend((0..channels).map(|c| block[c * taps + tap]));
        }
    }
    out
}

/// The window of a layer on input of that shape. A fully connected layer takes the whole input,
/// whose values it expects in the order channel, vertical, horizontal.
fn linear_window(linear: &Linear, input: Shape) -> Option<Window> {
    match &linear.pool {
        Some(pool) => window(pool, input).filter(|_| pool.input_channels == input.channels),
        None => {
            let whole = Window {
                kernel: [input.height, input.width],
                ..Window::POINT
            };
            (linear.weights.shape()[1] == input.volume()).then_some(whole)
        }
    }
}

fn window(pool: &PoolSpec, input: Shape) -> Option<Window> {
    let kernel = <[usize; 2]>::try_from(&pool.kernel_shape[..]).ok()?;
    let padding = pool.computed_padding(&[input.height, input.width]);
    let window = Window {
        kernel,
        stride: [pool.stride(0), pool.stride(1)],
        before: [padding[0].pad_before, padding[1].pad_before],
        after: [padding[0].pad_after, padding[1].pad_after],
    };
    (pool.dilations().iter().all(|&d| d == 1)
        && window.output(input) == [padding[0].convoluted, padding[1].convoluted])
    .then_some(window)
}
