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

    /// Least and greatest real number that has a quantised form.
    pub(super) fn range(self) -> (f64, f64) {
        let real = |byte: i8| (f64::from(byte) - f64::from(self.zero)) * self.scale;
        (real(i8::MIN), real(i8::MAX))
    }

    /// Whether every number of `other` has a quantised form, but for the rounding.
    pub(super) fn holds(self, other: Encoding) -> bool {
        let ((low, high), (least, greatest)) = (self.range(), other.range());
        let half = 0.5 * self.scale;
        low - half <= least && greatest <= high + half
    }

    /// Whether zero lies so far from both ends that they are taken to cut off outliers and not to be an
    /// activation that the exporter folded.
    pub(super) fn surrounds_zero(self) -> bool {
        (-119..120).contains(&self.zero)
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

/// The bytes behind `outlet` and what they stand for, if it is what was quantised to them.
fn pair(model: &TypedModel, outlet: OutletId) -> TractResult<Option<(OutletId, Encoding)>> {
    let dequantize = model.node(outlet.node);
    let Some(encoding) = dequantizer(model, dequantize)? else {
        return Ok(None);
    };
    let bytes = dequantize.inputs[0];
    rule_if!(quantizer(model.node(bytes.node)).is_some_and(|q| q.same(encoding)));
    Ok(Some((bytes, encoding)))
}

/// The bytes behind `outlet`, if it is what was quantised to them: bytes that are taken for other
/// numbers than they were made of are left to tract.
pub(super) fn dequantized(model: &TypedModel, outlet: OutletId) -> TractResult<Option<OutletId>> {
    Ok(pair(model, outlet)?.map(|(bytes, _)| bytes))
}

/// Passes a quantisation and dequantisation that only one reader sees: rounding between the parts
/// of a layer gains nothing. Such a pair, given beside what was quantised, still limits the range: an
/// exporter leaves nothing else of a ReLU or a Clip.
pub(super) fn peel(
    model: &TypedModel,
    outlet: OutletId,
) -> TractResult<Option<(OutletId, Option<Encoding>)>> {
    let dequantize = model.node(outlet.node);
    if dequantizer(model, dequantize)?.is_none() {
        return Ok(Some((outlet, None)));
    }
    let Some((bytes, encoding)) = pair(model, outlet)? else {
        return Ok(None);
    };
    rule_if!(model.single_succ(bytes.node)?.is_some());
    rule_if!(model.single_succ(dequantize.id)?.is_some());
    Ok(Some((model.node(bytes.node).inputs[0], Some(encoding))))
}
