//! The integer kernels as operations of a tract model.
//!
//! Tensors are i8 of shape `[images, height, width, channels]`. The operations allow no change of
//! layout: the kernels know only this one.

use std::cell::RefCell;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use crate::kernels::{
    Dense, Depthwise, Kernels, Scratch, Shape, Sum, Window, max_pool, quantise, upsample_add,
};

thread_local! {
    /// One per thread that runs networks.
    pub(super) static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What an operation does to one image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Kernel {
    /// A convolution over all channels; a second input is the residual.
    Dense(Dense),
    /// A convolution of each channel; a second input is the residual.
    Depthwise(Depthwise),
    /// The greatest of each window.
    MaxPool(Window),
    /// The first input, each pixel standing for a square of that many, plus the second.
    Sum(Sum, usize),
}

/// One kernel on inputs of known shape.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Quantized {
    pub(super) kernels: Kernels,
    pub(super) kernel: Arc<Kernel>,
    /// Of the first input.
    pub(super) input: Shape,
    /// Of the output.
    pub(super) output: Shape,
}

impl Quantized {
    pub(super) fn run(&self, inputs: &[&[i8]], output: &mut [i8], scratch: &mut Scratch) {
        let second = inputs.get(1).copied();
        match &*self.kernel {
            Kernel::Dense(layer) => {
                self.kernels
                    .dense(layer, inputs[0], self.input, second, output, scratch);
            }
            Kernel::Depthwise(layer) => {
                self.kernels
                    .depthwise(layer, inputs[0], self.input, second, output, scratch);
            }
            Kernel::MaxPool(window) => max_pool(window, inputs[0], self.input, output),
            Kernel::Sum(sum, factor) => {
                upsample_add(sum, *factor, inputs[0], inputs[1], self.output, output);
            }
        }
    }
}

impl Op for Quantized {
    fn name(&self) -> StaticName {
        match &*self.kernel {
            Kernel::Dense(_) => "QuantizedDense",
            Kernel::Depthwise(_) => "QuantizedDepthwise",
            Kernel::MaxPool(_) => "QuantizedMaxPool",
            Kernel::Sum(..) => "QuantizedSum",
        }
        .into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!(
            "{:?} to {:?} by {}",
            self.input,
            self.output,
            self.kernels.isa()
        )])
    }

    op_as_typed_op!();
}

impl EvalOp for Quantized {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let images = inputs[0].shape()[0];
        let Shape {
            height,
            width,
            channels,
        } = self.output;
        let mut output = Tensor::zero::<i8>(&[images, height, width, channels])?;
        let views = inputs
            .iter()
            .map(|i| i.try_as_plain_ram())
            .collect::<TractResult<TVec<_>>>()?;
        let slices = views
            .iter()
            .map(|v| v.as_slice::<i8>())
            .collect::<TractResult<TVec<_>>>()?;
        let mut plain = output.try_as_plain_ram_mut()?;
        let result = plain.as_slice_mut::<i8>()?;
        let size = self.output.volume();
        SCRATCH.with_borrow_mut(|scratch| {
            for (image, result) in result.chunks_exact_mut(size.max(1)).enumerate() {
                let parts: TVec<&[i8]> = slices
                    .iter()
                    .map(|s| &s[image * (s.len() / images)..][..s.len() / images])
                    .collect();
                self.run(&parts, result, scratch);
            }
        });
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for Quantized {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let Shape {
            height,
            width,
            channels,
        } = self.input;
        let images = inputs[0].shape[0].clone();
        ensure!(
            inputs[0].datum_type == i8::datum_type()
                && inputs[0].shape[1..] == [height.to_dim(), width.to_dim(), channels.to_dim()],
            "{:?} for {:?}",
            inputs[0],
            self.input
        );
        let Shape {
            height,
            width,
            channels,
        } = self.output;
        let shape = [images, height.to_dim(), width.to_dim(), channels.to_dim()];
        Ok(tvec!(i8::datum_type().fact(shape)))
    }

    as_op!();
}

/// Turns a real tensor `[images, channels, height, width]` to bytes `[images, height, width,
/// channels]`: the border between tract and the kernels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct QuantizeImage {
    /// Quantisation steps per unit.
    pub(super) steps: f32,
    pub(super) zero: i8,
}

// The number of steps is a finite constant of the model.
impl Eq for QuantizeImage {}

impl Op for QuantizeImage {
    fn name(&self) -> StaticName {
        "QuantizeImage".into()
    }

    op_as_typed_op!();
}

impl EvalOp for QuantizeImage {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let &[images, channels, height, width] = inputs[0].shape() else {
            bail!("an image of shape {:?}", inputs[0].shape());
        };
        let mut output = Tensor::zero::<i8>(&[images, height, width, channels])?;
        let size = (channels * height * width).max(1);
        let planes = inputs[0].try_as_plain_ram()?;
        let mut bytes = output.try_as_plain_ram_mut()?;
        let pairs = planes.as_slice::<f32>()?.chunks_exact(size);
        for (planes, bytes) in pairs.zip(bytes.as_slice_mut::<i8>()?.chunks_exact_mut(size)) {
            quantise(planes, channels, self.steps, self.zero, bytes);
        }
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for QuantizeImage {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].rank() == 4 && inputs[0].datum_type == f32::datum_type());
        let shape = [0, 2, 3, 1].map(|axis| inputs[0].shape[axis].clone());
        Ok(tvec!(i8::datum_type().fact(shape)))
    }

    as_op!();
}
