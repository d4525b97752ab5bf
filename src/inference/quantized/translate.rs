//! From a model with quantisation pairs to one with integer operations.
//!
//! The new model is built from its outputs backwards, on demand: an outlet is wanted either as it
//! was (*plain*) or as bytes with channels last (*bytes*), and each is made once. What nobody
//! wants, such as weights in floating point, is left behind.

use std::collections::HashMap;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::quant::{DequantizeLinearF32, quantize_linear_i8};
use tract_onnx::tract_core::ops::source::TypedSource;

use super::Report;
use super::encoding::{Encoding, dequantizer, quantizer};
use super::ops::QuantizeImage;
use crate::kernels::{Kernels, Shape};

/// A tensor of the new model, `[images, height, width, channels]` of i8.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes {
    pub(super) wire: OutletId,
    pub(super) shape: Shape,
    pub(super) encoding: Encoding,
}

/// A translation under way.
pub(super) struct Translator<'a> {
    pub(super) old: &'a TypedModel,
    pub(super) new: TypedModel,
    pub(super) kernels: Kernels,
    plain: HashMap<OutletId, OutletId>,
    bytes: HashMap<OutletId, Option<Bytes>>,
    pub(super) report: Report,
}

/// Stack for each node of a model. A translation goes down as deep as the model is long.
const STACK: usize = 32 << 10;

/// The rewritten form of `model` and what became of it. It takes no more of the caller's stack for a deep
/// model than for a small one.
pub(super) fn translate(model: &TypedModel, kernels: Kernels) -> TractResult<(TypedModel, Report)> {
    if model.nodes().iter().all(|node| quantizer(node).is_none()) {
        let mut report = Report::default();
        for id in model.eval_order()? {
            let node = model.node(id);
            if computes(model, node)? {
                report.float.push(node.name.clone());
            }
        }
        return Ok((model.clone(), report));
    }
    let thread = std::thread::Builder::new()
        .name("translate".to_owned())
        .stack_size((model.nodes().len() + 32) * STACK);
    std::thread::scope(|scope| {
        let translation = thread.spawn_scoped(scope, || Translator::of(model, kernels).finish())?;
        translation
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Whether `node` does arithmetic: it is no input, constant, change of layout or conversion at the border.
fn computes(model: &TypedModel, node: &TypedNode) -> TractResult<bool> {
    let given = node.op_is::<TypedSource>() || node.outputs.iter().all(|o| o.fact.konst.is_some());
    let border = quantizer(node).is_some() || dequantizer(model, node)?.is_some();
    Ok(!given && !border && !node.op_is::<AxisOp>())
}

impl<'a> Translator<'a> {
    fn of(model: &'a TypedModel, kernels: Kernels) -> Self {
        let symbols = model.symbols.clone();
        Self {
            old: model,
            new: TypedModel {
                symbols,
                ..TypedModel::default()
            },
            kernels,
            plain: HashMap::new(),
            bytes: HashMap::new(),
            report: Report::default(),
        }
    }

    fn finish(mut self) -> TractResult<(TypedModel, Report)> {
        for &input in self.old.input_outlets()? {
            self.plain(input)?;
        }
        let mut outputs = Vec::new();
        for &output in self.old.output_outlets()? {
            let wire = self.plain(output)?;
            outputs.push(wire);
            if let Some(label) = self.old.outlet_label(output) {
                self.new.set_outlet_label(wire, label.to_owned())?;
            }
        }
        self.new.select_output_outlets(&outputs)?;
        Ok((self.new, self.report))
    }
}

impl Translator<'_> {
    /// The outlet as it was.
    fn plain(&mut self, outlet: OutletId) -> TractResult<OutletId> {
        if let Some(&wire) = self.plain.get(&outlet) {
            return Ok(wire);
        }
        let node = self.old.node(outlet.node);
        let kernel = match self.dequantize(node)? {
            Some(wire) => Some(wire),
            None => self.head(node)?,
        };
        if let Some(wire) = kernel {
            self.plain.insert(outlet, wire);
            return Ok(wire);
        }
        let fact = &node.outputs[outlet.slot].fact;
        let wires = if node.op_is::<TypedSource>() {
            tvec!(self.new.add_source(&*node.name, fact.clone())?)
        } else if let Some(konst) = &fact.konst {
            tvec!(
                self.new
                    .wire_node(&*node.name, Const::new(konst.clone())?, &[])?[0]
            )
        } else {
            let inputs = node
                .inputs
                .iter()
                .map(|&i| self.plain(i))
                .collect::<TractResult<TVec<_>>>()?;
            if computes(self.old, node)? {
                self.report.float.push(node.name.clone());
            }
            self.new.wire_node(&*node.name, node.op.clone(), &inputs)?
        };
        for (slot, &wire) in wires.iter().enumerate() {
            self.plain.insert(OutletId::new(node.id, slot), wire);
        }
        self.plain
            .get(&outlet)
            .copied()
            .context("a node without that outlet")
    }

    /// Wires a node that turns bytes of the new model to real numbers.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "scales are f32 in the model"
    )]
    fn dequantize(&mut self, node: &TypedNode) -> TractResult<Option<OutletId>> {
        let Some(encoding) = dequantizer(self.old, node)? else {
            return Ok(None);
        };
        let Some(bytes) = self.bytes(node.inputs[0])? else {
            return Ok(None);
        };
        let op = DequantizeLinearF32::new(encoding.scale as f32, encoding.zero.into());
        let real = self.new.wire_node(&*node.name, op, &[bytes.wire])?;
        let wire = self.restore(&node.name, real[0], &node.outputs[0].fact)?;
        Ok(Some(wire))
    }

    /// Brings `wire` from channels last to the shape of `fact`.
    pub(super) fn restore(
        &mut self,
        name: &str,
        wire: OutletId,
        fact: &TypedFact,
    ) -> TractResult<OutletId> {
        let mut wire = wire;
        let shape = self.new.outlet_fact(wire)?.shape.to_tvec();
        if shape[1..3].iter().any(|d| !d.is_one()) {
            let name = format!("{name}.channels_first");
            wire = self.new.wire_node(name, AxisOp::Move(3, 1), &[wire])?[0];
        }
        let shape = self.new.outlet_fact(wire)?.shape.to_tvec();
        if shape[..] != fact.shape[..] {
            let reshape = AxisOp::Reshape(0, shape, fact.shape.to_tvec());
            wire = self
                .new
                .wire_node(format!("{name}.shape"), reshape, &[wire])?[0];
        }
        Ok(wire)
    }

    /// The outlet, which holds bytes, as signed bytes with channels last; `None` for what cannot
    /// be had in that form.
    pub(super) fn bytes(&mut self, outlet: OutletId) -> TractResult<Option<Bytes>> {
        if let Some(&bytes) = self.bytes.get(&outlet) {
            return Ok(bytes);
        }
        let node = self.old.node(outlet.node);
        // Somebody else may want the node as it was, by its own name.
        let name = format!("{}.bytes", node.name);
        let made = match quantizer(node) {
            None => None,
            Some(encoding) => match self.quantized(&name, node.inputs[0], encoding)? {
                Some(bytes) => Some(bytes),
                None => self.border(&name, node.inputs[0], encoding)?,
            },
        };
        self.bytes.insert(outlet, made);
        Ok(made)
    }

    /// The same, if height and width are still those of the outlet: a change of layout keeps the order
    /// of the values, but may make another image of them.
    pub(super) fn image(&mut self, outlet: OutletId) -> TractResult<Option<Bytes>> {
        let shape = image_shape(self.old.outlet_fact(outlet)?);
        Ok(self.bytes(outlet)?.filter(|b| shape == Some(b.shape)))
    }

    /// Quantises a real tensor of the new model: the border between tract and the kernels.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "scales are f32 in the model"
    )]
    fn border(
        &mut self,
        name: &str,
        outlet: OutletId,
        encoding: Encoding,
    ) -> TractResult<Option<Bytes>> {
        let fact = self.old.outlet_fact(outlet)?.clone();
        let Some(shape) = image_shape(&fact) else {
            return Ok(None);
        };
        let mut wire = self.plain(outlet)?;
        let steps = encoding.scale.recip() as f32;
        if fact.rank() == 4 && fact.datum_type == f32::datum_type() {
            let op = QuantizeImage {
                steps,
                zero: encoding.zero,
            };
            wire = self.new.wire_node(name, op, &[wire])?[0];
        } else if fact.rank() == 2 {
            wire = self
                .new
                .wire_node(name, quantize_linear_i8(steps, encoding.zero), &[wire])?[0];
            for axis in 1..3 {
                let name = format!("{name}.axis_{axis}");
                wire = self.new.wire_node(name, AxisOp::Add(1), &[wire])?[0];
            }
        } else {
            return Ok(None);
        }
        Ok(Some(Bytes {
            wire,
            shape,
            encoding,
        }))
    }
}

/// The shape of `[images, channels, height, width]` or `[images, channels]`.
pub(super) fn image_shape(fact: &TypedFact) -> Option<Shape> {
    let dims = fact.shape.as_concrete()?;
    match dims {
        [_, channels, height, width] => Some(Shape {
            height: *height,
            width: *width,
            channels: *channels,
        }),
        [_, channels] => Some(Shape {
            height: 1,
            width: 1,
            channels: *channels,
        }),
        _ => None,
    }
}
