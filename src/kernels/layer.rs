//! Layers prepared for one instruction set: weights in the order in which its kernel reads them.

use super::geometry::{self, Shape, Window};
use super::isa::Isa;
use super::requant::{LANES, Requant};

/// Depths of packed dense weights are multiples of this.
pub(super) const DEPTH: usize = 16;

/// A convolution over all channels, or a fully connected layer, whose window of input values is
/// one row of `depth` values in the order vertical, horizontal, channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Dense {
    pub(super) isa: Isa,
    pub(super) window: Window,
    pub(super) inputs: usize,
    /// Length of a row padded to [`DEPTH`].
    pub(super) depth: usize,
    /// `[block of outputs][depth / group][output in block][group]`.
    pub(super) weights: Vec<i8>,
    /// See [`Isa::start`].
    pub(super) start: Vec<i32>,
    pub(super) requant: Requant,
    pub(super) input_zero: i8,
}

impl Dense {
    /// Packs `weights`, `[output][vertical][horizontal][input]` in -127..=127, for `isa`.
    ///
    /// # Panics
    /// If the number of weights is not outputs x window x inputs.
    pub fn new(
        isa: Isa,
        window: Window,
        inputs: usize,
        weights: &[i8],
        input_zero: i8,
        mut requant: Requant,
    ) -> Dense {
        let row = window.taps() * inputs;
        let outputs = requant.channels();
        assert_eq!(weights.len(), outputs * row, "weights of a dense layer");
        let depth = row.next_multiple_of(DEPTH);
        let group = isa.group();
        let padded = outputs.next_multiple_of(LANES);
        let mut packed = Vec::with_capacity(padded * depth);
        for block in (0..padded).step_by(isa.block()) {
            for start in (0..depth).step_by(group) {
                for o in block..block + isa.block() {
                    packed.extend((start..start + group).map(|k| {
                        if o < outputs && k < row {
                            weights[o * row + k]
                        } else {
                            0
                        }
                    }));
                }
            }
        }
        let offset = i32::from(input_zero) + if isa.is_unsigned() { 128 } else { 0 };
        for (o, weights) in weights.chunks_exact(row.max(1)).enumerate() {
            let sum: i32 = weights.iter().map(|&w| i32::from(w)).sum();
            requant.shift_bias(o, -offset * sum);
        }
        Dense {
            isa,
            window,
            inputs,
            depth,
            weights: packed,
            start: isa.start(requant.biases()),
            requant,
            input_zero,
        }
    }

    /// `input` with the padding of the window, which `padded` holds if there is any.
    pub(super) fn padded<'a>(
        &self,
        input: &'a [i8],
        shape: Shape,
        padded: &'a mut Vec<i8>,
    ) -> (&'a [i8], Shape) {
        let window = &self.window;
        if window.before == [0; 2] && window.after == [0; 2] {
            return (input, shape);
        }
        let shape = geometry::pad(
            input,
            shape,
            window,
            shape.channels,
            self.input_zero,
            padded,
        );
        (padded, shape)
    }

    /// Weight of output `o` at position `k` of its row.
    pub(super) fn weight(&self, o: usize, k: usize) -> i8 {
        let (group, block) = (self.isa.group(), self.isa.block());
        let start = o / block * block * self.depth;
        self.weights[start + k / group * group * block + o % block * group + k % group]
    }
}

/// A convolution of each channel on its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Depthwise {
    pub(super) isa: Isa,
    pub(super) window: Window,
    /// `[vertical][horizontal][channel]`, channels padded to [`LANES`].
    pub(super) weights: Vec<i8>,
    /// The same as `[eight channels][horizontal][channel][vertical and a zero]` for
    /// [`columns`](super::columns), empty where that does not serve.
    pub(super) columns: Vec<i8>,
    pub(super) requant: Requant,
    pub(super) input_zero: i8,
}

impl Depthwise {
    /// Packs `weights`, `[vertical][horizontal][channel]` in -127..=127, for `isa`.
    ///
    /// # Panics
    /// If the number of weights is not window x channels.
    pub fn new(
        isa: Isa,
        window: Window,
        weights: &[i8],
        input_zero: i8,
        mut requant: Requant,
    ) -> Depthwise {
        let channels = requant.channels();
        assert_eq!(
            weights.len(),
            window.taps() * channels,
            "weights of a depthwise layer"
        );
        let padded = channels.next_multiple_of(LANES);
        let mut packed = vec![0; window.taps() * padded];
        for (from, to) in weights
            .chunks_exact(channels)
            .zip(packed.chunks_exact_mut(padded))
        {
            to[..channels].copy_from_slice(from);
        }
        let mut columns = Vec::new();
        if isa.has_columns() && channels.is_multiple_of(8) && window.is_three_by_three() {
            for (block, column) in (0..channels)
                .step_by(8)
                .flat_map(|b| (0..3).map(move |c| (b, c)))
            {
                for c in block..block + 8 {
                    columns.extend((0..3).map(|row| weights[(3 * row + column) * channels + c]));
                    columns.push(0);
                }
            }
        }
        for c in 0..channels {
            let sum: i32 = weights
                .iter()
                .skip(c)
                .step_by(channels)
                .map(|&w| i32::from(w))
                .sum();
            requant.shift_bias(c, -i32::from(input_zero) * sum);
        }
        Depthwise {
            isa,
            window,
            weights: packed,
            columns,
            requant,
            input_zero,
        }
    }

    /// Channels, of the input as of the output.
    pub fn channels(&self) -> usize {
        self.requant.channels()
    }
}
