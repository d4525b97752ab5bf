//! What stands between two quantised tensors: the real-valued nodes that one kernel replaces.
//!
//! Everything here only reads the model. Patterns are matched from the end, the value about to be
//! quantised, back to the values that have just been dequantised.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::BinMiniOp;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, PoolSpec};
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math::{Add, Max, Min};
use tract_onnx::tract_core::ops::nn::{DataFormat, LeakyRelu};

use super::super::prelu::{PRelu, operands};
use super::encoding::{Encoding, dequantized, peel};

/// The linear part of a layer.
pub(super) struct Linear {
    /// The outlet of bytes that it reads, dequantised.
    pub(super) input: OutletId,
    /// Window and padding of a convolution; `None` for a fully connected layer.
    pub(super) pool: Option<PoolSpec>,
    /// Number of groups of channels that are convolved apart.
    pub(super) group: usize,
    /// Real weights `[output][input / group][vertical][horizontal]` or `[output][input]`.
    pub(super) weights: Arc<Tensor>,
    /// One per output channel.
    pub(super) bias: Vec<f32>,
}

/// A layer: linear part, activation, addition.
pub(super) struct Layer {
    pub(super) linear: Linear,
    /// Factors for negative values, one or one per channel.
    pub(super) slope: Option<Vec<f32>>,
    /// The outlet of bytes that is added, dequantised.
    pub(super) residual: Option<OutletId>,
    /// Least and greatest result.
    pub(super) range: (f64, f64),
}

const UNBOUNDED: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

/// The value of a subgraph of constants.
pub(super) fn constant(model: &TypedModel, outlet: OutletId) -> TractResult<Option<Arc<Tensor>>> {
    if let Some(konst) = &model.outlet_fact(outlet)?.konst {
        return Ok(Some(konst.clone()));
    }
    let node = model.node(outlet.node);
    rule_if!(!node.inputs.is_empty());
    let mut inputs = tvec!();
    for &input in &node.inputs {
        let Some(value) = constant(model, input)? else {
            return Ok(None);
        };
        inputs.push(value.into_tvalue());
    }
    let outputs = node.op.eval_out_of_plan(inputs)?;
    Ok(outputs
        .and_then(|o| o.get(outlet.slot).cloned())
        .map(|v| v.into_arc_tensor()))
}

/// The f32 values of a constant.
fn reals(model: &TypedModel, outlet: OutletId) -> TractResult<Option<Vec<f32>>> {
    let Some(tensor) = constant(model, outlet)? else {
        return Ok(None);
    };
    rule_if!(tensor.datum_type() == f32::datum_type());
    Ok(Some(tensor.try_as_plain_ram()?.as_slice::<f32>()?.to_vec()))
}

/// The variable and the constant input of `node`, if it is the operation `O` on such a pair.
fn with_constant<O: BinMiniOp>(
    model: &TypedModel,
    node: &TypedNode,
) -> TractResult<Option<(OutletId, Vec<f32>)>> {
    let Some([a, b]) = operands::<O>(node) else {
        return Ok(None);
    };
    if let Some(value) = reals(model, b)? {
        return Ok(Some((a, value)));
    }
    Ok(reals(model, a)?.map(|value| (b, value)))
}

/// The layer whose result is `outlet`.
pub(super) fn layer(model: &TypedModel, outlet: OutletId) -> TractResult<Option<Layer>> {
    let (outlet, range) = clamped(model, outlet, UNBOUNDED)?;
    let node = model.node(outlet.node);
    if let Some([a, b]) = operands::<Add>(node)
        && constant(model, a)?.is_none()
        && constant(model, b)?.is_none()
    {
        rule_if!(model.outlet_fact(a)?.shape == model.outlet_fact(b)?.shape);
        for (main, other) in [(a, b), (b, a)] {
            let Some(residual) = dequantized(model, other)? else {
                continue;
            };
            if let Some(layer) = activated(model, main, true)? {
                return Ok(Some(Layer {
                    residual: Some(residual),
                    range,
                    ..layer
                }));
            }
        }
        return Ok(None);
    }
    let Some(layer) = activated(model, outlet, false)? else {
        return Ok(None);
    };
    let range = (range.0.max(layer.range.0), range.1.min(layer.range.1));
    Ok(Some(Layer { range, ..layer }))
}

/// Takes minima and maxima with constants off `outlet`.
fn clamped(
    model: &TypedModel,
    mut outlet: OutletId,
    mut range: (f64, f64),
) -> TractResult<(OutletId, (f64, f64))> {
    loop {
        let node = model.node(outlet.node);
        if let Some((x, low)) = with_constant::<Max>(model, node)?
            && low.len() == 1
        {
            outlet = x;
            range.0 = range.0.max(low[0].into());
        } else if let Some((x, high)) = with_constant::<Min>(model, node)?
            && high.len() == 1
        {
            outlet = x;
            range.1 = range.1.min(high[0].into());
        } else {
            return Ok((outlet, range));
        }
    }
}

/// A linear part and its activation. With `added` a residual follows, so that a ReLU cannot be
/// left to the limits of the result, and no other limit can be kept.
fn activated(model: &TypedModel, outlet: OutletId, added: bool) -> TractResult<Option<Layer>> {
    let Some((outlet, pair)) = peel(model, outlet)? else {
        return Ok(None);
    };
    let limit = pair.filter(|pair| !(added && pair.surrounds_zero()));
    let (outlet, mut range) = clamped(model, outlet, limit.map_or(UNBOUNDED, Encoding::range))?;
    let node = model.node(outlet.node);
    let mut slope = None;
    let mut inner = outlet;
    if node.op_is::<PRelu>() {
        let shape = &model.outlet_fact(node.inputs[1])?.shape;
        // A model's slopes may stand along any axis, a kernel's along the channels.
        rule_if!(
            shape
                .iter()
                .enumerate()
                .all(|(axis, d)| axis == 1 || d.is_one())
        );
        slope = reals(model, node.inputs[1])?;
        inner = node.inputs[0];
    } else if let Some(op) = node.op_as::<ElementWiseOp>()
        && let Some(leaky) = op.0.downcast_ref::<LeakyRelu>()
    {
        slope = Some(vec![leaky.alpha]);
        inner = node.inputs[0];
    }
    if slope.is_some() {
        let Some((x, pair)) = peel(model, inner)? else {
            return Ok(None);
        };
        rule_if!(pair.is_none_or(Encoding::surrounds_zero));
        inner = x;
    }
    if added && range != UNBOUNDED {
        rule_if!(range == (0.0, f64::INFINITY) && slope.is_none());
        slope = Some(vec![0.0]);
        range = UNBOUNDED;
    }
    let linear = linear(model, inner)?;
    Ok(linear.map(|linear| Layer {
        linear,
        slope,
        residual: None,
        range,
    }))
}

/// The convolution or matrix product whose result is `outlet`.
pub(super) fn linear(model: &TypedModel, outlet: OutletId) -> TractResult<Option<Linear>> {
    let node = model.node(outlet.node);
    if let Some(conv) = node.op_as::<Conv>() {
        return convolution(model, node, conv);
    }
    let (node, bias) = match with_constant::<Add>(model, node)? {
        Some((product, bias)) => (model.node(product.node), Some(bias)),
        None => (node, None),
    };
    let Some(product) = node.op_as::<EinSum>() else {
        return Ok(None);
    };
    rule_if!(product.q_params.is_none() && node.inputs.len() == 2);
    rule_if!(node.outputs[0].fact.shape == model.outlet_fact(outlet)?.shape);
    let Some(input) = dequantized(model, node.inputs[0])? else {
        return Ok(None);
    };
    let Some(weights) = constant(model, node.inputs[1])? else {
        return Ok(None);
    };
    rule_if!(weights.rank() == 2 && weights.datum_type() == f32::datum_type());
    let weights = match product.axes.to_string().as_str() {
        "mk,nk->mn" => weights,
        "mk,kn->mn" => weights
            .into_tensor()
            .permute_axes(&[1, 0])?
            .into_arc_tensor(),
        _ => return Ok(None),
    };
    let outputs = weights.shape()[0];
    let bias = match bias {
        Some(bias) if bias.len() == outputs => bias,
        Some(bias) if bias.len() == 1 => vec![bias[0]; outputs],
        None => vec![0.0; outputs],
        _ => return Ok(None),
    };
    Ok(Some(Linear {
        input,
        pool: None,
        group: 1,
        weights,
        bias,
    }))
}

fn convolution(model: &TypedModel, node: &TypedNode, conv: &Conv) -> TractResult<Option<Linear>> {
    let pool = &conv.pool_spec;
    rule_if!(conv.q_params.is_none() && conv.kernel_fmt == KernelFormat::OIHW);
    rule_if!(pool.data_format == DataFormat::NCHW && pool.rank() == 2);
    rule_if!(pool.dilations().iter().all(|&d| d == 1));
    let Some(input) = dequantized(model, node.inputs[0])? else {
        return Ok(None);
    };
    let Some(weights) = constant(model, node.inputs[1])? else {
        return Ok(None);
    };
    let Some(bias) = reals(model, node.inputs[2])? else {
        return Ok(None);
    };
    rule_if!(weights.datum_type() == f32::datum_type());
    let outputs = pool.output_channels;
    rule_if!(bias.len() == outputs || bias.len() == 1);
    let bias = if bias.len() == 1 {
        vec![bias[0]; outputs]
    } else {
        bias
    };
    Ok(Some(Linear {
        input,
        pool: Some(pool.clone()),
        group: conv.group,
        weights,
        bias,
    }))
}
