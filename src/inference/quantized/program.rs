//! A network that is integers from the image to its outputs, run without tract: steps over one arena.
//!
//! Nothing is allocated while it runs. What a step reads and what it writes never overlap; places whose
//! contents nobody needs any more are used again.

use std::collections::HashMap;
use std::ops::Range;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::quant::DequantizeLinearF32;
use tract_onnx::tract_core::ops::source::TypedSource;

use super::heads::RealHead;
use super::ops::{QuantizeImage, Quantized};
use crate::kernels::{Scratch, quantise};

/// A planned network.
pub(crate) struct Program {
    steps: Vec<Step<Range<usize>>>,
    /// All activations.
    arena: Vec<i8>,
    /// All outputs.
    reals: Vec<f32>,
    scratch: Scratch,
    /// Where in the arena the image is.
    input: Range<usize>,
    /// Where in `reals` each output is.
    outputs: Vec<Range<usize>>,
    entrance: QuantizeImage,
}

/// One operation, with where its bytes are, inputs first, and its range of the outputs.
enum Step<Bytes> {
    Quantized(Quantized, Vec<Bytes>, Bytes),
    Head(RealHead, Bytes, Range<usize>),
    Dequantize(DequantizeLinearF32, Bytes, Range<usize>),
    /// Channels last to channels first, of so many channels; both places are among the outputs.
    Planes(usize, Range<usize>, Range<usize>),
}

impl Program {
    /// The program of a rewritten and decluttered model of one image; `None` when a part of it is not in
    /// integers.
    pub(crate) fn of(model: &TypedModel) -> TractResult<Option<Program>> {
        Plan::default().program(model)
    }

    /// The bytes of an image's `values`: what the model itself would make of them.
    pub(crate) fn entrance(&self, values: &[f32; 256]) -> [i8; 256] {
        let QuantizeImage { steps, zero } = self.entrance;
        let mut bytes = [0; 256];
        quantise(values, 1, steps, zero, &mut bytes);
        bytes
    }

    /// Puts a real image `[channels, height, width]` in its place.
    #[cfg(test)]
    pub(super) fn quantise(&mut self, planes: &[f32], channels: usize) {
        let QuantizeImage { steps, zero } = self.entrance;
        quantise(planes, channels, steps, zero, self.input());
    }

    /// The place of the image: `[height, width, channels]`.
    pub(crate) fn input(&mut self) -> &mut [i8] {
        &mut self.arena[self.input.clone()]
    }

    /// Runs on the image in [`Self::input`], whose place it uses again.
    pub(crate) fn run(&mut self) {
        let (arena, reals, scratch) = (&mut self.arena[..], &mut self.reals, &mut self.scratch);
        for step in &self.steps {
            match step {
                Step::Quantized(op, inputs, output) => match &inputs[..] {
                    [a, b] => {
                        let [a, b, output] = apart(arena, [a, b, output]);
                        op.run(&[a, b], output, scratch);
                    }
                    inputs => {
                        let [a, output] = apart(arena, [&inputs[0], output]);
                        op.run(&[a], output, scratch);
                    }
                },
                Step::Head(op, input, output) => {
                    op.run(&arena[input.clone()], &mut reals[output.clone()], scratch);
                }
                Step::Dequantize(op, input, output) => {
                    let (bytes, reals) = (&arena[input.clone()], &mut reals[output.clone()]);
                    for (real, &byte) in reals.iter_mut().zip(bytes) {
                        *real = dequantised(op, byte);
                    }
                }
                Step::Planes(channels, input, output) => {
                    // Made after what it reads, and behind it.
                    let (before, from) = reals.split_at_mut(output.start);
                    let (pixels, planes) = (&before[input.clone()], &mut from[..output.len()]);
                    let planes = planes.chunks_exact_mut(output.len() / channels).enumerate();
                    for (channel, plane) in planes {
                        let values = pixels.iter().skip(channel).step_by(*channels);
                        plane
                            .iter_mut()
                            .zip(values)
                            .for_each(|(to, from)| *to = *from);
                    }
                }
            }
        }
    }

    /// The output of this number, in row-major order.
    pub(crate) fn output(&self, index: usize) -> &[f32] {
        &self.reals[self.outputs[index].clone()]
    }

    /// Bytes of the arena.
    pub(crate) fn arena(&self) -> usize {
        self.arena.len()
    }
}

/// Parts of the arena that do not overlap.
fn apart<'a, const N: usize>(arena: &'a mut [i8], places: [&Range<usize>; N]) -> [&'a mut [i8]; N] {
    arena
        .get_disjoint_mut(places.map(Range::clone))
        .expect("a plan keeps apart what is needed at one time")
}

#[expect(clippy::cast_precision_loss, reason = "differences of bytes are exact")]
fn dequantised(op: &DequantizeLinearF32, byte: i8) -> f32 {
    (i32::from(byte) - op.zero_point) as f32 * op.scale
}

/// Bytes that live from the step that writes them to the last that reads them.
struct Buffer {
    size: usize,
    first: usize,
    last: usize,
}

/// What an outlet of the model is in the program.
#[derive(Clone)]
enum Value {
    /// The image, not quantised yet.
    Image,
    /// A buffer.
    Bytes(usize),
    /// A range of the outputs.
    Reals(Range<usize>),
}

/// A program in the making: its steps, with the numbers of buffers instead of places in the arena.
#[derive(Default)]
struct Plan {
    steps: Vec<Step<usize>>,
    buffers: Vec<Buffer>,
    reals: usize,
    values: HashMap<OutletId, Value>,
    entrance: Option<(QuantizeImage, usize)>,
}

impl Plan {
    fn program(mut self, model: &TypedModel) -> TractResult<Option<Program>> {
        for node in model.eval_order()? {
            let node = model.node(node);
            let Some(value) = self.value(node)? else {
                return Ok(None);
            };
            self.values.insert(OutletId::new(node.id, 0), value);
        }
        let mut outputs = vec![];
        for output in model.output_outlets()? {
            match self.values.get(output) {
                Some(Value::Reals(range)) => outputs.push(range.clone()),
                _ => return Ok(None),
            }
        }
        let Some((entrance, image)) = self.entrance else {
            return Ok(None);
        };
        let (places, size) = arrange(&self.buffers);
        let place = |buffer: usize| places[buffer].clone();
        let steps = self.steps.into_iter().map(|step| match step {
            Step::Quantized(op, inputs, output) => {
                let inputs = inputs.into_iter().map(place).collect();
                Step::Quantized(op, inputs, place(output))
            }
            Step::Head(op, input, output) => Step::Head(op, place(input), output),
            Step::Dequantize(op, input, output) => Step::Dequantize(op, place(input), output),
            Step::Planes(channels, input, output) => Step::Planes(channels, input, output),
        });
        Ok(Some(Program {
            steps: steps.collect(),
            arena: vec![0; size],
            reals: vec![0.0; self.reals],
            scratch: Scratch::default(),
            input: place(image),
            outputs,
            entrance,
        }))
    }

    /// What `node` gives; `None` when it has no place in a program.
    fn value(&mut self, node: &TypedNode) -> TractResult<Option<Value>> {
        if node.op_is::<TypedSource>() {
            return Ok(Some(Value::Image));
        }
        let Some(inputs) = node
            .inputs
            .iter()
            .map(|i| self.values.get(i).cloned())
            .collect()
        else {
            return Ok(None);
        };
        let inputs: Vec<Value> = inputs;
        let fact = &node.outputs[0].fact;
        let Some(size) = fact.shape.as_concrete().map(|s| s.iter().product()) else {
            return Ok(None);
        };
        if let Some(op) = node.op_as::<AxisOp>() {
            let [input] = &inputs[..] else {
                return Ok(None);
            };
            return Ok(self.reordered(op, input, &fact.shape));
        }
        if let (Some(op), [Value::Image]) = (node.op_as::<QuantizeImage>(), &inputs[..]) {
            rule_if!(self.entrance.is_none());
            let buffer = self.buffer(size);
            self.entrance = Some((op.clone(), buffer));
            return Ok(Some(Value::Bytes(buffer)));
        }
        let mut buffers = vec![];
        for input in inputs {
            let Value::Bytes(buffer) = input else {
                return Ok(None);
            };
            rule_if!(!buffers.contains(&buffer));
            self.buffers[buffer].last = self.steps.len();
            buffers.push(buffer);
        }
        if let Some(op) = node.op_as::<Quantized>() {
            rule_if!(op.output.volume() == size);
            let output = self.buffer(size);
            self.steps
                .push(Step::Quantized(op.clone(), buffers, output));
            return Ok(Some(Value::Bytes(output)));
        }
        let range = self.reals..self.reals + size;
        if let (Some(op), &[input]) = (node.op_as::<RealHead>(), &buffers[..]) {
            rule_if!(op.output.volume() == size);
            self.steps
                .push(Step::Head(op.clone(), input, range.clone()));
        } else if let (Some(op), &[input]) = (node.op_as::<DequantizeLinearF32>(), &buffers[..]) {
            self.steps
                .push(Step::Dequantize(op.clone(), input, range.clone()));
        } else {
            return Ok(None);
        }
        self.reals = range.end;
        Ok(Some(Value::Reals(range)))
    }

    /// What a change of layout to `shape` makes of `input`: all but moves keep the order of the values. The
    /// image is put in its place with the channels last, as no change of layout expects it.
    fn reordered(&mut self, op: &AxisOp, input: &Value, shape: &ShapeFact) -> Option<Value> {
        match (op, input) {
            (AxisOp::Move(3, 1), Value::Reals(pixels))
                if shape.rank() == 4 && shape[0].is_one() =>
            {
                let channels = shape[1].to_usize().ok()?;
                let range = self.reals..self.reals + pixels.len();
                self.reals = range.end;
                self.steps
                    .push(Step::Planes(channels, pixels.clone(), range.clone()));
                Some(Value::Reals(range))
            }
            (AxisOp::Move(..), _) | (_, Value::Image) => None,
            (_, input) => Some(input.clone()),
        }
    }

    /// A buffer that the next step writes.
    fn buffer(&mut self, size: usize) -> usize {
        let step = self.steps.len();
        self.buffers.push(Buffer {
            size,
            first: step,
            last: step,
        });
        self.buffers.len() - 1
    }
}

/// Places of the buffers and the size of the arena: the large ones first, each as far down as those allow
/// that live at the same time.
fn arrange(buffers: &[Buffer]) -> (Vec<Range<usize>>, usize) {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&b| std::cmp::Reverse(buffers[b].size));
    let mut places = vec![0..0; buffers.len()];
    let mut placed: Vec<usize> = vec![];
    for b in order {
        let buffer = &buffers[b];
        let beside = |&&other: &&usize| {
            buffers[other].first <= buffer.last && buffer.first <= buffers[other].last
        };
        let mut taken: Vec<Range<usize>> = placed
            .iter()
            .filter(beside)
            .map(|&other| places[other].clone())
            .collect();
        taken.sort_by_key(|range| range.start);
        let mut start = 0;
        for range in taken {
            if start + buffer.size <= range.start {
                break;
            }
            start = start.max(range.end.next_multiple_of(ALIGNED));
        }
        places[b] = start..start + buffer.size;
        placed.push(b);
    }
    let size = places.iter().map(|range| range.end).max().unwrap_or(0);
    (places, size)
}

/// Places begin at multiples of this many bytes: lines of a cache.
const ALIGNED: usize = 64;
