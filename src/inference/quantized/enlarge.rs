//! Resizes that repeat pixels.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

use super::encoding::{dequantizer, peel};
use super::pattern::constant;

/// What `outlet` is an enlargement of, each pixel to a square of that many, if it is one.
pub(super) fn enlarged(
    model: &TypedModel,
    outlet: OutletId,
) -> TractResult<Option<(OutletId, usize)>> {
    let Some((outlet, pair)) = peel(model, outlet)? else {
        return Ok(None);
    };
    let node = model.node(outlet.node);
    rule_if!(node.op.name() == "Resize");
    let input = node.inputs[0];
    let Some(encoding) = dequantizer(model, model.node(input.node))? else {
        return Ok(None);
    };
    rule_if!(pair.is_none_or(|pair| pair.holds(encoding)));
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
