//! Small quantised networks, built with tract's own operations, run in both ways.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, MaxPool, PaddingSpec, PoolSpec};
use tract_onnx::tract_core::ops::logic::{Iff, comp_gt};
use tract_onnx::tract_core::ops::math::{add, max, mul};
use tract_onnx::tract_core::ops::nn::{DataFormat, sigmoid};
use tract_onnx::tract_core::ops::quant::{
    DequantizeLinearF32, quantize_linear_i8, quantize_linear_u8,
};

use super::{Program, rewrite};

mod limits;

/// A model that grows wire by wire.
struct Builder {
    model: TypedModel,
    names: usize,
}

impl Builder {
    /// A model of one input of `shape`.
    fn new(shape: &[usize]) -> (Builder, OutletId) {
        let mut model = TypedModel::default();
        let input = model.add_source("input", f32::fact(shape)).unwrap();
        (Builder { model, names: 0 }, input)
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("node{}", self.names)
    }

    fn wire(&mut self, op: impl Into<Box<dyn TypedOp>>, inputs: &[OutletId]) -> OutletId {
        let name = self.name();
        self.model.wire_node(name, op, inputs).unwrap()[0]
    }

    fn size(&self, x: OutletId, axis: usize) -> usize {
        let fact = self.model.outlet_fact(x).unwrap();
        fact.shape[axis].to_usize().unwrap()
    }

    fn constant(&mut self, shape: &[usize], values: &[f32]) -> OutletId {
        let name = self.name();
        self.model
            .add_const(name, Tensor::from_shape(shape, values).unwrap())
            .unwrap()
    }

    /// Quantises and dequantises.
    fn quantised(&mut self, x: OutletId, scale: f32, zero: i8) -> OutletId {
        let q = self.wire(quantize_linear_i8(scale.recip(), zero), &[x]);
        self.wire(DequantizeLinearF32::new(scale, zero.into()), &[q])
    }

    /// The same with unsigned bytes.
    fn quantised_unsigned(&mut self, x: OutletId, scale: f32, zero: u8) -> OutletId {
        let q = self.wire(quantize_linear_u8(scale.recip(), zero), &[x]);
        self.wire(DequantizeLinearF32::new(scale, zero.into()), &[q])
    }

    /// A convolution with padding that keeps the size at stride one.
    fn conv(
        &mut self,
        x: OutletId,
        outputs: usize,
        kernel: usize,
        stride: usize,
        group: usize,
    ) -> OutletId {
        let inputs = self.size(x, 1);
        let row = inputs / group * kernel * kernel;
        // Integers of both signs, with 127 in each channel, times a step of the channel's own.
        let weight = |i: usize| {
            let integer: i16 = if i.is_multiple_of(row) {
                127
            } else {
                small(i * 37 % 255) - 127
            };
            f32::from(integer) * 0.001 * (1.0 + f32::from(small(i / row)))
        };
        let weights: Vec<f32> = (0..outputs * row).map(weight).collect();
        let bias: Vec<f32> = (0..outputs)
            .map(|o| f32::from(small(o)) * 0.05 - 0.1)
            .collect();
        self.conv_of(x, &weights, &bias, kernel, stride, group)
    }

    /// The same of these weights and biases.
    fn conv_of(
        &mut self,
        x: OutletId,
        weights: &[f32],
        bias: &[f32],
        kernel: usize,
        stride: usize,
        group: usize,
    ) -> OutletId {
        let (inputs, outputs) = (self.size(x, 1), bias.len());
        let weights = self.constant(&[outputs, inputs / group, kernel, kernel], weights);
        let bias = self.constant(&[outputs], bias);
        let pool = PoolSpec {
            data_format: DataFormat::NCHW,
            kernel_shape: tvec!(kernel, kernel),
            padding: PaddingSpec::Explicit(tvec!(kernel / 2; 2), tvec!(kernel / 2; 2)),
            dilations: None,
            strides: Some(tvec!(stride, stride)),
            input_channels: inputs,
            output_channels: outputs,
        };
        let conv = Conv {
            pool_spec: pool,
            kernel_fmt: KernelFormat::OIHW,
            group,
            q_params: None,
        };
        self.wire(conv, &[x, weights, bias])
    }

    /// What tract makes of ONNX `PRelu` with a slope of 0.25 and more per channel.
    fn prelu(&mut self, x: OutletId) -> OutletId {
        self.prelu_along(x, 1, 0.01)
    }

    /// The same with slopes that grow by `growth` along an axis.
    fn prelu_along(&mut self, x: OutletId, axis: usize, growth: f32) -> OutletId {
        let mut shape = [1; 4];
        shape[axis] = self.size(x, axis);
        let slopes: Vec<f32> = (0..shape[axis])
            .map(|i| 0.25 + f32::from(small(i)) * growth)
            .collect();
        let slope = self.constant(&shape, &slopes);
        let zero = self.constant(&[1, 1, 1, 1], &[0.0]);
        let product = self.wire(mul(), &[x, slope]);
        let test = self.wire(TypedBinOp(comp_gt(), None), &[zero, x]);
        self.wire(Iff, &[test, product, x])
    }

    fn relu(&mut self, x: OutletId) -> OutletId {
        let zero = self.constant(&[1, 1, 1, 1], &[0.0]);
        self.wire(max(), &[x, zero])
    }

    fn max_pool(&mut self, x: OutletId) -> OutletId {
        let channels = self.size(x, 1);
        let pool_spec = PoolSpec {
            data_format: DataFormat::NCHW,
            kernel_shape: tvec!(2, 2),
            padding: PaddingSpec::Valid,
            dilations: None,
            strides: Some(tvec!(2, 2)),
            input_channels: channels,
            output_channels: channels,
        };
        let pool = MaxPool {
            pool_spec,
            with_index_outputs: None,
        };
        self.wire(pool, &[x])
    }

    fn reshape(&mut self, x: OutletId, axis: usize, from: &[usize], to: &[usize]) -> OutletId {
        let [from, to] = [from, to].map(|dims| dims.iter().map(|d| d.to_dim()).collect());
        self.wire(AxisOp::Reshape(axis, from, to), &[x])
    }

    /// Runs the model as it is and rewritten: the greatest difference must stay below
    /// `tolerance`, `fused` operations run in integers and `float` do not. Without the latter there is a
    /// program.
    fn check(self, output: OutletId, fused: usize, float: usize, tolerance: f32) {
        self.check_run(output, (fused, float), float == 0, tolerance);
    }

    /// The same, with a program or without.
    fn check_run(
        mut self,
        output: OutletId,
        (fused, float): (usize, usize),
        alone: bool,
        tolerance: f32,
    ) {
        self.model.select_output_outlets(&[output]).unwrap();
        let fact = self
            .model
            .input_fact(0)
            .unwrap()
            .shape
            .as_concrete()
            .unwrap()
            .to_vec();
        let wave = |i: usize| (f32::from(small(i * 29 % 101)) / 50.0 - 1.0) * 0.9;
        let values: Vec<f32> = (0..fact.iter().product()).map(wave).collect();
        let input = Tensor::from_shape(&fact, &values).unwrap();
        let run = |model: TypedModel| {
            let plan = model.into_optimized().unwrap().into_runnable().unwrap();
            plan.run(tvec!(input.clone().into_tvalue()))
                .unwrap()
                .remove(0)
                .into_tensor()
        };
        let mut rewritten = self.model.clone();
        let report = rewrite(&mut rewritten).unwrap();
        assert_eq!(
            (report.fused, report.float.len()),
            (fused, float),
            "{report:?}"
        );
        let program = Program::of(&rewritten.clone().into_decluttered().unwrap()).unwrap();
        assert_eq!(program.is_some(), alone, "a program");
        let (expected, got) = (run(self.model), run(rewritten));
        assert_eq!(expected.shape(), got.shape());
        if let Some(mut program) = program {
            // Twice: nothing of a run is left for the next.
            for _ in 0..2 {
                program.quantise(&values, fact[1]);
                program.run();
                let got = got.try_as_plain_ram().unwrap();
                assert_eq!(program.output(0), got.as_slice::<f32>().unwrap());
            }
        }
        let (expected, got) = (
            expected.try_as_plain_ram().unwrap(),
            got.try_as_plain_ram().unwrap(),
        );
        let (expected, got) = (
            expected.as_slice::<f32>().unwrap(),
            got.as_slice::<f32>().unwrap(),
        );
        let worst = expected
            .iter()
            .zip(got)
            .fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(worst < tolerance, "differs by {worst}");
        assert!(
            expected
                .iter()
                .any(|v| (v - expected[0]).abs() > 4.0 * tolerance),
            "flat output"
        );
    }
}

fn small(i: usize) -> i16 {
    i16::try_from(i).unwrap()
}

#[test]
fn a_bottleneck_with_a_residual_runs_in_integers() {
    let (mut b, input) = Builder::new(&[1, 3, 9, 10]);
    let x = b.quantised(input, 0.01, 3);
    let x = b.conv(x, 8, 3, 2, 1);
    // An exporter may quantise between convolution and activation.
    let x = b.quantised(x, 0.05, -4);
    let x = b.prelu(x);
    let x = b.quantised(x, 0.04, -40);
    let y = b.conv(x, 16, 1, 1, 1);
    let y = b.prelu(y);
    let y = b.quantised(y, 0.2, -30);
    let y = b.conv(y, 16, 3, 1, 16);
    let y = b.relu(y);
    let y = b.quantised(y, 0.3, -128);
    let y = b.conv(y, 8, 1, 1, 1);
    let y = b.quantised(y, 1.2, 0);
    let sum = b.wire(add(), &[x, y]);
    let output = b.quantised(sum, 1.3, 5);
    b.check(output, 4, 0, 5.5);
}

#[test]
fn unsigned_activations_are_shifted() {
    let (mut b, input) = Builder::new(&[1, 3, 6, 6]);
    let x = b.quantised_unsigned(input, 0.01, 120);
    let x = b.conv(x, 5, 3, 1, 1);
    let x = b.relu(x);
    let x = b.quantised_unsigned(x, 0.02, 0);
    let x = b.conv(x, 5, 5, 1, 5);
    let output = b.quantised_unsigned(x, 0.2, 128);
    b.check(output, 2, 0, 0.5);
}

#[test]
fn pools_and_flat_outputs_stay_in_integers() {
    let (mut b, input) = Builder::new(&[1, 4, 8, 8]);
    let x = b.quantised(input, 0.01, 0);
    let x = b.conv(x, 6, 3, 1, 1);
    let x = b.quantised(x, 0.03, 9);
    let x = b.max_pool(x);
    let x = b.quantised(x, 0.03, 9);
    let x = b.reshape(x, 1, &[6, 4, 4], &[96]);
    let output = b.quantised(x, 0.03, 9);
    b.check(output, 2, 0, 0.031);
}

#[test]
fn what_is_not_quantised_stays() {
    let (mut b, input) = Builder::new(&[1, 3, 6, 6]);
    let x = b.conv(input, 4, 3, 1, 1);
    let x = b.prelu(x);
    let x = b.quantised(x, 0.01, -60);
    let x = b.conv(x, 4, 1, 1, 1);
    let output = b.relu(x);
    // The last convolution gives real numbers from bytes; the ReLU after it is tract's.
    b.check(output, 1, 3, 1e-4);
}

#[test]
fn heads_give_real_numbers_of_integers() {
    let (mut b, input) = Builder::new(&[1, 3, 6, 7]);
    let x = b.quantised(input, 0.01, 0);
    let x = b.conv(x, 8, 3, 1, 1);
    let x = b.relu(x);
    let x = b.quantised(x, 0.02, -128);
    let x = b.conv(x, 5, 1, 1, 1);
    let x = b.wire(AxisOp::Move(1, 3), &[x]);
    let x = b.reshape(x, 1, &[6, 7], &[42]);
    let output = b.wire(sigmoid(), &[x]);
    b.check(output, 2, 0, 0.02);
}
