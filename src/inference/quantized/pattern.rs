//! What stands between two quantised tensors: the real-valued nodes that one kernel replaces.
//!
//! Everything here only reads the model. Patterns are matched from the end, the value about to be
//! quantised, back to the values that have just been dequantised.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, PoolSpec};
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math::{Add, Max, Min};
use tract_onnx::tract_core::ops::nn::{DataFormat, LeakyRelu};
use tract_onnx::tract_core::ops::quant::{DequantizeLinearF32, QuantizeLinearI8, QuantizeLinearU8};

use super::super::prelu::PRelu;

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
    pub(super) range: (f32, f32),
}

const UNBOUNDED: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);

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

/// The inputs of `node`, if it is the operation `O`.
pub(super) fn operands<O: BinMiniOp>(node: &TypedNode) -> Option<[OutletId; 2]> {
    let op = node.op_as::<TypedBinOp>()?;
    if op.0.is::<O>() {
        <[OutletId; 2]>::try_from(&node.inputs[..]).ok()
    } else {
        None
    }
}

/// The bytes behind `outlet`, if it dequantises some.
pub(super) fn dequantized(model: &TypedModel, outlet: OutletId) -> TractResult<Option<OutletId>> {
    let node = model.node(outlet.node);
    Ok(dequantizer(model, node)?.map(|_| node.inputs[0]))
}

/// Passes a quantisation and dequantisation that only one reader sees: rounding between the parts
/// of a layer gains nothing. Such a pair still limits the range; `None` where that limit does
/// more than to cut off outliers, except at zero, where it is a ReLU that the exporter folded.
fn peel(model: &TypedModel, outlet: OutletId) -> TractResult<Option<(OutletId, bool)>> {
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

/// What `outlet` is an enlargement of, each pixel to a square of that many, if it is one.
pub(super) fn enlarged(
    model: &TypedModel,
    outlet: OutletId,
) -> TractResult<Option<(OutletId, usize)>> {
    let Some((outlet, _)) = peel(model, outlet)? else {
        return Ok(None);
    };
    let node = model.node(outlet.node);
    rule_if!(node.op.name() == "Resize");
    let input = node.inputs[0];
    let before = model
        .outlet_fact(input)?
        .shape
        .as_concrete()
        .map(<[usize]>::to_vec);
    let after = model
        .outlet_fact(outlet)?
        .shape
        .as_concrete()
        .map(<[usize]>::to_vec);
    let (Some(before), Some(after)) = (before, after) else {
        return Ok(None);
    };
    let ([n, c, height, width], [_, _, taller, _]) = (&before[..], &after[..]) else {
        return Ok(None);
    };
    let factor = taller / height.max(&1);
    rule_if!(factor > 0 && after == [*n, *c, height * factor, width * factor]);
    // The operation has many modes; whether this one repeats pixels is seen by trying it.
    rule_if!(height * width < 1 << 16);
    let place = |i: usize| f32::from(u16::try_from(i % (height * width)).unwrap_or(u16::MAX));
    let ramp: Vec<f32> = (0..before.iter().product()).map(place).collect();
    let mut inputs = tvec!(Tensor::from_shape(&before, &ramp)?.into_tvalue());
    for &parameter in &node.inputs[1..] {
        let Some(value) = constant(model, parameter)? else {
            return Ok(None);
        };
        inputs.push(value.into_tvalue());
    }
    let Some(outputs) = node.op.eval_out_of_plan(inputs)? else {
        return Ok(None);
    };
    let plain = outputs[0].try_as_plain_ram()?;
    let repeats = plain.as_slice::<f32>()?.iter().enumerate().all(|(i, &v)| {
        let (y, x) = (
            i / (width * factor) % (height * factor),
            i % (width * factor),
        );
        v == place(y / factor * width + x / factor)
    });
    Ok(repeats.then_some((input, factor)))
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
    mut range: (f32, f32),
) -> TractResult<(OutletId, (f32, f32))> {
    loop {
        let node = model.node(outlet.node);
        if let Some((x, low)) = with_constant::<Max>(model, node)?
            && low.len() == 1
        {
            outlet = x;
            range.0 = range.0.max(low[0]);
        } else if let Some((x, high)) = with_constant::<Min>(model, node)?
            && high.len() == 1
        {
            outlet = x;
            range.1 = range.1.min(high[0]);
        } else {
            return Ok((outlet, range));
        }
    }
}

/// A linear part and its activation. With `added` a residual follows, so that a ReLU cannot be
/// left to the limits of the result.
fn activated(model: &TypedModel, outlet: OutletId, added: bool) -> TractResult<Option<Layer>> {
    let Some((outlet, relu)) = peel(model, outlet)? else {
        return Ok(None);
    };
    let (outlet, mut range) = clamped(model, outlet, UNBOUNDED)?;
    if relu {
        range.0 = range.0.max(0.0);
    }
    let node = model.node(outlet.node);
    let mut slope = None;
    let mut inner = outlet;
    if node.op_is::<PRelu>() {
        slope = reals(model, node.inputs[1])?;
        inner = node.inputs[0];
    } else if let Some(op) = node.op_as::<ElementWiseOp>()
        && let Some(leaky) = op.0.downcast_ref::<LeakyRelu>()
    {
        slope = Some(vec![leaky.alpha]);
        inner = node.inputs[0];
    }
    if slope.is_some() {
        let Some((x, relu)) = peel(model, inner)? else {
            return Ok(None);
        };
        rule_if!(!relu);
        inner = x;
    }
    if added && range != UNBOUNDED {
        rule_if!(range == (0.0, f32::INFINITY) && slope.is_none());
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
fn linear(model: &TypedModel, outlet: OutletId) -> TractResult<Option<Linear>> {
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
