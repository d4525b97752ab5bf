//! PReLU as one operation for networks that stay in floating point.
//!
//! tract expands ONNX `PRelu` to a multiplication, a comparison and a selection, three passes over
//! every activation, and the selection keeps the network from changing to channels-last. This
//! module owns the fused operation and the rewrite that finds the three; quantised networks fold
//! the activation into the convolution instead (`quantized`).

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::model::Rewriter;
use tract_onnx::tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_onnx::tract_core::ops::logic::{CompGT, Iff};
use tract_onnx::tract_core::ops::math::Mul;

/// `x` where it is not negative, `slope * x` elsewhere.
///
/// Inputs: `x` (f32, any shape) and `slope` (f32, of the same rank, longer than one along at most
/// one axis, the channels). The slope stays an input, so that a change of layout moves its channel
/// axis along with that of `x` and the operation reads the axis from it.
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub(crate) struct PRelu;

impl Op for PRelu {
    fn name(&self) -> StaticName {
        "PRelu".into()
    }

    op_as_typed_op!();
}

impl EvalOp for PRelu {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (x, slope) = args_2!(inputs);
        let axis = channel_axis(slope.shape())
            .with_context(|| format!("slope of shape {:?} has two axes", slope.shape()))?;
        let channels = slope.len();
        // In place when nobody else holds the tensor.
        let mut x = x.into_tensor();
        let inner: usize = x.shape()[axis + 1..].iter().product();
        if channels > 1 {
            ensure!(
                x.shape()[axis] == channels,
                "{channels} slopes for shape {:?}",
                x.shape()
            );
        }
        let slope = slope.try_as_plain_ram()?;
        let slope = slope.as_slice::<f32>()?;
        let mut plain = x.try_as_plain_ram_mut()?;
        let values = plain.as_slice_mut::<f32>()?;
        if channels == 1 {
            values.iter_mut().for_each(|v| *v = prelu(*v, slope[0]));
        } else if inner == 1 {
            for pixel in values.chunks_exact_mut(channels) {
                pixel
                    .iter_mut()
                    .zip(slope)
                    .for_each(|(v, s)| *v = prelu(*v, *s));
            }
        } else {
            for (plane, s) in values
                .chunks_exact_mut(inner.max(1))
                .zip(slope.iter().cycle())
            {
                plane.iter_mut().for_each(|v| *v = prelu(*v, *s));
            }
        }
        Ok(tvec!(x.into_tvalue()))
    }
}

impl TypedOp for PRelu {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].without_value()))
    }

    fn axes_mapping(
        &self,
        inputs: &[&TypedFact],
        outputs: &[&TypedFact],
    ) -> TractResult<AxesMapping> {
        AxesMapping::natural(inputs, outputs)
    }

    fn change_axes(
        &self,
        model: &TypedModel,
        node: &TypedNode,
        _io: InOut,
        change: &AxisOp,
    ) -> TractResult<Option<AxisChangeConsequence>> {
        // A reshape may merge the channels with another axis: the slopes would not follow.
        rule_if!(!matches!(change, AxisOp::Reshape(..)));
        Ok(Some(AxisChangeConsequence::new(model, node, None, change)))
    }

    as_op!();
}

fn prelu(x: f32, slope: f32) -> f32 {
    if x < 0.0 { x * slope } else { x }
}

/// The axis of `slope` that is longer than one: the last when none is, `None` when two are.
fn channel_axis(slope: &[usize]) -> Option<usize> {
    let mut long = (0..slope.len()).filter(|&axis| slope[axis] != 1);
    match (long.next(), long.next()) {
        (axis, None) => axis.or(slope.len().checked_sub(1)),
        _ => None,
    }
}

/// Replaces every `Iff(0 > x, x * slope, x)` whose slope is constant by one [`PRelu`]; returns how
/// many were replaced. To be called before decluttering.
pub(crate) fn fuse_prelu(model: &mut TypedModel) -> TractResult<usize> {
    // The slopes of an ONNX model are constant only once their added axes are folded.
    model.prop_consts()?;
    let fused = |model: &TypedModel| model.nodes().iter().filter(|n| n.op_is::<PRelu>()).count();
    let before = fused(model);
    Rewriter::<()>::default()
        .with_rule_for::<Iff>("fuse-prelu", |_, model, node, name, _| {
            let Some((x, slope)) = match_prelu(model, node)? else {
                return Ok(None);
            };
            let mut patch = TypedModelPatch::default();
            let taps = patch.taps(model, &[x, slope])?;
            let wire = patch.wire_node(name, PRelu, &taps)?;
            patch.shunt_outside(model, node.id.into(), wire[0])?;
            Ok(Some(patch))
        })
        .rewrite(&(), model)?;
    Ok(fused(model) - before)
}

/// The input and the constant slope of the PReLU that ends in `iff`, if it is one.
pub(crate) fn match_prelu(
    model: &TypedModel,
    iff: &TypedNode,
) -> TractResult<Option<(OutletId, OutletId)>> {
    let [test, product, x] = iff.inputs[..] else {
        return Ok(None);
    };
    let Some([zero, tested]) = operands::<CompGT>(model.node(test.node)) else {
        return Ok(None);
    };
    let Some([a, b]) = operands::<Mul>(model.node(product.node)) else {
        return Ok(None);
    };
    let is_zero = match &model.outlet_fact(zero)?.konst {
        Some(k) => k.is_uniform() && k.cast_to_scalar::<f32>()? == 0.0,
        None => false,
    };
    let slope = if a == x { b } else { a };
    rule_if!(is_zero && tested == x && (a == x || b == x));
    let fact = model.outlet_fact(x)?;
    let slopes = model.outlet_fact(slope)?;
    let Some(konst) = &slopes.konst else {
        return Ok(None);
    };
    rule_if!(fact.datum_type == f32::datum_type() && konst.datum_type() == f32::datum_type());
    rule_if!(konst.rank() == fact.rank());
    let Some(axis) = channel_axis(konst.shape()) else {
        return Ok(None);
    };
    rule_if!(konst.len() == 1 || fact.shape[axis] == konst.len().to_dim());
    Ok(Some((x, slope)))
}

/// The two inputs of `node`, if it is the binary operation `O`.
pub(crate) fn operands<O: BinMiniOp>(node: &TypedNode) -> Option<[OutletId; 2]> {
    let op = node.op_as::<TypedBinOp>()?;
    if !op.0.is::<O>() {
        return None;
    }
    <[OutletId; 2]>::try_from(&node.inputs[..]).ok()
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small whole numbers")]
mod tests {
    use super::*;
    use tract_onnx::tract_core::ops::logic::comp_gt;
    use tract_onnx::tract_core::ops::math::mul;

    /// What tract makes of ONNX `PRelu` on `shape` with slopes 0.1, 0.2, … of shape `slopes`.
    fn expanded(shape: &[usize], slopes: &[usize]) -> TractResult<TypedModel> {
        let mut model = TypedModel::default();
        let x = model.add_source("x", f32::fact(shape))?;
        let values: Vec<f32> = (1..=slopes.iter().product())
            .map(|i| i as f32 / 10.0)
            .collect();
        let slope = model.add_const("slope", Tensor::from_shape(slopes, &values)?)?;
        let zero = model.add_const("zero", tensor0(0f32).broadcast_into_rank(shape.len())?)?;
        let product = model.wire_node("mul", mul(), &[x, slope])?[0];
        let test = model.wire_node("test", TypedBinOp(comp_gt(), None), &[zero, x])?[0];
        let y = model.wire_node("iff", Iff, &[test, product, x])?;
        model.select_output_outlets(&y)?;
        Ok(model)
    }

    fn run(model: TypedModel, x: Tensor) -> TractResult<Tensor> {
        let mut outputs = model.into_runnable()?.run(tvec!(x.into_tvalue()))?;
        Ok(outputs.remove(0).into_tensor())
    }

    fn check(shape: &[usize], slopes: &[usize]) {
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|i| i as f32 - 20.0)
            .collect();
        let x = Tensor::from_shape(shape, &values).unwrap();
        let model = expanded(shape, slopes).unwrap();
        let mut fused = model.clone();
        assert_eq!(fuse_prelu(&mut fused).unwrap(), 1);
        let expected = run(model, x.clone()).unwrap();
        assert_eq!(run(fused.clone(), x.clone()).unwrap(), expected);
        assert_eq!(run(fused.into_optimized().unwrap(), x).unwrap(), expected);
    }

    #[test]
    fn channels_may_stand_on_any_axis() {
        check(&[1, 4, 3, 5], &[1, 4, 1, 1]);
        check(&[1, 3, 5, 4], &[1, 1, 1, 4]);
        check(&[2, 4, 3, 5], &[1, 4, 1, 1]);
        check(&[2, 7], &[1, 7]);
        check(&[1, 4, 3, 5], &[1, 1, 1, 1]);
    }

    #[test]
    fn slopes_over_two_axes_are_left_alone() {
        let mut model = expanded(&[1, 4, 3, 5], &[1, 4, 3, 1]).unwrap();
        assert_eq!(fuse_prelu(&mut model).unwrap(), 0);
    }
}
