//! How bytes stand for real numbers, and the nodes that go from one to the other.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::quant::{DequantizeLinearF32, QuantizeLinearI8, QuantizeLinearU8};

/// Scale and zero point of a tensor of signed bytes. Unsigned bytes are taken as signed by
/// subtracting 128 from value and zero point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Encoding {
    pub(super) scale: f64,
    pub(super) zero: i8,
}

impl Encoding {
    /// Equal up to the rounding of a reciprocal.
    pub(super) fn same(self, other: Encoding) -> bool {
        self.zero == other.zero && (self.scale / other.scale - 1.0).abs() < 1e-5
    }

    /// The quantised form of a real number.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "clamped to the range of the type"
    )]
    pub(super) fn quantise(self, real: f64) -> i8 {
        (real / self.scale + f64::from(self.zero))
            .round_ties_even()
            .clamp(-128.0, 127.0) as i8
    }
}

/// What `node` quantises to, if it quantises.
pub(super) fn quantizer(node: &TypedNode) -> Option<Encoding> {
    let op = &node.op_as::<ElementWiseOp>()?.0;
    let (step, zero) = if let Some(q) = op.downcast_ref::<QuantizeLinearI8>() {
        (q.scale, i32::from(q.zero_point))
    } else {
        let q = op.downcast_ref::<QuantizeLinearU8>()?;
        (q.scale, i32::from(q.zero_point) - 128)
    };
    Some(Encoding {
        scale: f64::from(step).recip(),
        zero: i8::try_from(zero).ok()?,
    })
}

/// What `node` takes its bytes for, if it dequantises bytes.
pub(super) fn dequantizer(model: &TypedModel, node: &TypedNode) -> TractResult<Option<Encoding>> {
    let Some(op) = node.op_as::<DequantizeLinearF32>() else {
        return Ok(None);
    };
    let zero = match model.outlet_fact(node.inputs[0])?.datum_type {
        DatumType::I8 => op.zero_point,
        DatumType::U8 => op.zero_point - 128,
        _ => return Ok(None),
    };
    let Ok(zero) = i8::try_from(zero) else {
        return Ok(None);
    };
    Ok(Some(Encoding {
        scale: f64::from(op.scale),
        zero,
    }))
}

/// The bytes behind `outlet`, if it dequantises some.
pub(super) fn dequantized(model: &TypedModel, outlet: OutletId) -> TractResult<Option<OutletId>> {
    let node = model.node(outlet.node);
    Ok(dequantizer(model, node)?.map(|_| node.inputs[0]))
}

/// Passes a quantisation and dequantisation that only one reader sees: rounding between the parts
/// of a layer gains nothing. Such a pair still limits the range; `None` where that limit does
/// more than to cut off outliers, except at zero, where it is a ReLU that the exporter folded.
pub(super) fn peel(model: &TypedModel, outlet: OutletId) -> TractResult<Option<(OutletId, bool)>> {
    let dequantize = model.node(outlet.node);
    let Some(encoding) = dequantizer(model, dequantize)? else {
        return Ok(Some((outlet, false)));
    };
    let quantize = model.node(dequantize.inputs[0].node);
    rule_if!(quantizer(quantize).is_some_and(|q| q.same(encoding)));
    rule_if!(model.single_succ(quantize.id)?.is_some());
    rule_if!(model.single_succ(dequantize.id)?.is_some());
    rule_if!(encoding.zero < 120 && (encoding.zero > -120 || encoding.zero == -128));
    Ok(Some((quantize.inputs[0], encoding.zero == -128)))
}
