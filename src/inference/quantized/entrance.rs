//! Images that enter a rewritten model as bytes.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::source::TypedSource;

use super::ops::QuantizeImage;
use crate::kernels::quantise;

/// How the values of an image become the bytes that a model takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entrance {
    /// Quantisation steps per unit.
    pub(super) steps: f32,
    pub(super) zero: i8,
}

impl Entrance {
    /// The bytes of `values`: what the model itself would make of them.
    pub(crate) fn bytes(self, values: &[f32; 256]) -> [i8; 256] {
        let mut bytes = [0; 256];
        quantise(values, 1, self.steps, self.zero, &mut bytes);
        bytes
    }
}

/// Lets a rewritten model, not yet optimised, take an image as bytes, `[images, height, width,
/// channels]` of i8, where quantising is all that it does to its only input. `None` for another.
pub(crate) fn take_bytes(model: &mut TypedModel) -> TractResult<Option<Entrance>> {
    let &[input] = model.input_outlets()? else {
        return Ok(None);
    };
    rule_if!(!model.output_outlets()?.contains(&input));
    let &[inlet] = model.outlet_successors(input) else {
        return Ok(None);
    };
    let node = model.node(inlet.node);
    let Some(&QuantizeImage { steps, zero }) = node.op_as::<QuantizeImage>() else {
        return Ok(None);
    };
    let quantised = OutletId::new(node.id, 0);
    rule_if!(!model.output_outlets()?.contains(&quantised));
    let fact = model.outlet_fact(quantised)?.clone();
    // The readers of the quantised image read the source instead; nobody reads the old node.
    let readers = std::mem::take(&mut model.nodes[quantised.node].outputs[0].successors);
    for reader in &readers {
        model.nodes[reader.node].inputs[reader.slot] = input;
    }
    let source = &mut model.nodes[input.node];
    source.op = Box::new(TypedSource::new(fact.clone()));
    source.outputs[0].fact = fact;
    source.outputs[0].successors = readers;
    model.nodes[quantised.node].inputs.clear();
    Ok(Some(Entrance { steps, zero }))
}
