//! Layers at the end of a network, whose results are not quantised again.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::nn::Sigmoid;

use super::fuse::Integers;
use super::ops::SCRATCH;
use super::pattern;
use super::translate::Translator;
use crate::kernels::{Head, Kernels, Scratch, Shape};

impl Translator<'_> {
    /// Wires `node` as a layer that takes bytes and gives real numbers, if it is one: a linear part, or
    /// the logistic function of one, perhaps with changes of layout in between.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "scales are f32 in the model"
    )]
    pub(super) fn head(&mut self, node: &TypedNode) -> TractResult<Option<OutletId>> {
        let logistic = node
            .op_as::<ElementWiseOp>()
            .is_some_and(|op| op.0.is::<Sigmoid>());
        let mut linear = if logistic {
            node.inputs[0]
        } else {
            OutletId::new(node.id, 0)
        };
        let mut moves = vec![];
        while let Some(op) = self.old.node(linear.node).op_as::<AxisOp>() {
            rule_if!(logistic && self.is_read_once(linear)?);
            moves.push((self.old.node(linear.node), op));
            linear = self.old.node(linear.node).inputs[0];
        }
        let Some(part) = pattern::linear(self.old, linear)? else {
            return Ok(None);
        };
        rule_if!(part.group == 1 && (!logistic || self.is_read_once(linear)?));
        let Some(integers) = self.integers(&part)? else {
            return Ok(None);
        };
        let Integers {
            input,
            window,
            weights,
            bias,
            units,
        } = integers;
        let [height, width] = window.output(input.shape);
        let shape = Shape {
            height,
            width,
            channels: bias.len(),
        };
        let units = units.into_iter().map(|u| u as f32).collect();
        let (isa, zero) = (self.kernels.isa(), input.encoding.zero);
        let inputs = input.shape.channels;
        let sums = (&bias[..], units);
        let head = Head::new(isa, window, inputs, &weights, zero, sums, logistic);
        let op = RealHead {
            kernels: self.kernels,
            head: Arc::new(head),
            input: input.shape,
            output: shape,
        };
        let name = &self.old.node(linear.node).name;
        let real = self.new.wire_node(&**name, op, &[input.wire])?[0];
        let mut wire = self.restore(name, real, self.old.outlet_fact(linear)?)?;
        for (node, op) in moves.into_iter().rev() {
            wire = self.new.wire_node(&*node.name, op.clone(), &[wire])?[0];
        }
        self.report.fused += 1;
        Ok(Some(wire))
    }

    /// Whether nobody but one node of the model wants `outlet`, so that it need not exist by itself.
    fn is_read_once(&self, outlet: OutletId) -> TractResult<bool> {
        let readers = self.old.outlet_successors(outlet).len();
        Ok(readers == 1 && !self.old.output_outlets()?.contains(&outlet))
    }
}

/// A layer that gives real numbers, on inputs of known shape: bytes `[images, height, width, channels]` to
/// f32 in the same order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RealHead {
    pub(super) kernels: Kernels,
    pub(super) head: Arc<Head>,
    pub(super) input: Shape,
    pub(super) output: Shape,
}

// The units are finite constants of the model.
impl Eq for RealHead {}

impl RealHead {
    /// Runs on one image.
    pub(super) fn run(&self, input: &[i8], output: &mut [f32], scratch: &mut Scratch) {
        self.kernels
            .head(&self.head, input, self.input, output, scratch);
    }
}

impl Op for RealHead {
    fn name(&self) -> StaticName {
        "QuantizedHead".into()
    }

    op_as_typed_op!();
}

impl EvalOp for RealHead {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let images = inputs[0].shape()[0];
        let Shape {
            height,
            width,
            channels,
        } = self.output;
        let mut output = Tensor::zero::<f32>(&[images, height, width, channels])?;
        let bytes = inputs[0].try_as_plain_ram()?;
        let bytes = bytes.as_slice::<i8>()?.chunks_exact(self.input.volume());
        let mut plain = output.try_as_plain_ram_mut()?;
        let reals = plain.as_slice_mut::<f32>()?;
        let pairs = bytes.zip(reals.chunks_exact_mut(self.output.volume()));
        SCRATCH.with_borrow_mut(|scratch| {
            pairs.for_each(|(bytes, reals)| self.run(bytes, reals, scratch));
        });
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for RealHead {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].datum_type == i8::datum_type());
        let Shape {
            height,
            width,
            channels,
        } = self.output;
        let images = inputs[0].shape[0].clone();
        let shape = [images, height.to_dim(), width.to_dim(), channels.to_dim()];
        Ok(tvec!(f32::datum_type().fact(shape)))
    }

    as_op!();
}
