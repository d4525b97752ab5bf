//! Integer kernels for quantised networks: plain slices in, plain slices out.
//!
//! Activations are signed bytes, channels last, one image at a time; weights are signed bytes in
//! -127..=127. What a kernel computes is defined by plain Rust (`Isa::Scalar` and
//! [`Requant::apply`]); every instruction set gives the same bytes. `unsafe` stands only here.
#![allow(unsafe_code)]

mod dispatch;
mod dot;
mod epilogue;
mod gather;
mod geometry;
mod head;
mod isa;
mod layer;
mod pool;
mod quantise;
mod requant;
mod scalar;
// Only the vector kernels use the shared loops.
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code)
)]
mod sliding;
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code)
)]
mod tile;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
#[cfg(target_arch = "aarch64")]
mod columns;
#[cfg(target_arch = "aarch64")]
mod dotprod;
#[cfg(target_arch = "aarch64")]
mod i8mm;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod vnni;

pub use epilogue::{Epilogue, Residual, holds};
pub use geometry::{Shape, Window};
pub use head::Head;
pub use isa::Isa;
pub use layer::{Dense, Depthwise};
pub use pool::{Sum, max_pool, upsample_add};
pub use quantise::quantise;
pub use requant::{LANES, Requant};

/// Memory that kernels reuse from call to call.
#[derive(Debug, Default)]
pub struct Scratch {
    /// An input with its padding.
    padded: Vec<i8>,
    /// Windows, one a row.
    rows: Vec<i8>,
    /// Rows in the order of the kernel.
    panel: Vec<i8>,
    /// Sums of a layer that gives real numbers.
    sums: Vec<i32>,
}

/// The kernels of an instruction set that this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kernels {
    isa: Isa,
}

impl Kernels {
    /// The kernels for `isa`, if this machine has it. That a value exists is what makes calling
    /// them sound.
    pub fn new(isa: Isa) -> Option<Kernels> {
        isa.is_available().then_some(Kernels { isa })
    }

    /// The fastest kernels of this machine.
    pub fn best() -> Kernels {
        Kernels { isa: Isa::best() }
    }

    /// The instruction set.
    pub fn isa(self) -> Isa {
        self.isa
    }

    /// Runs a dense layer on one image of shape `shape`.
    ///
    /// # Panics
    /// If the layer was packed for another instruction set, a slice does not have the size that
    /// its shape says, or a residual is given to a layer without one or the reverse.
    pub fn dense(
        self,
        layer: &Dense,
        input: &[i8],
        shape: Shape,
        residual: Option<&[i8]>,
        output: &mut [i8],
        scratch: &mut Scratch,
    ) {
        let size = layer.window.output(shape);
        let outputs = layer.requant.channels();
        assert_eq!(layer.isa, self.isa, "packed for another instruction set");
        assert_eq!(
            (input.len(), shape.channels),
            (shape.volume(), layer.inputs),
            "dense input"
        );
        assert_eq!(output.len(), size[0] * size[1] * outputs, "dense output");
        assert_eq!(
            residual.map(<[i8]>::len),
            layer.requant.residual.map(|_| output.len())
        );
        if output.is_empty() {
            return;
        }
        let (input, shape) = layer.padded(input, shape, &mut scratch.padded);
        if self.isa == Isa::Scalar {
            return scalar::dense(layer, input, shape, size, residual, output);
        }
        let (gathered, panel) = (&mut scratch.rows, &mut scratch.panel);
        gather::rows(layer, input, shape, size, gathered, |pixels, rows| {
            let range = pixels.start * outputs..pixels.end * outputs;
            let residual = residual.map(|r| &r[range.clone()]);
            self.dense_rows(layer, rows, residual, &mut output[range], panel);
        });
    }

    /// Runs a layer that gives real numbers on one image of shape `shape`.
    ///
    /// # Panics
    /// If the layer was packed for another instruction set or a slice does not have the size that its
    /// shape says.
    pub fn head(
        self,
        head: &Head,
        input: &[i8],
        shape: Shape,
        output: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let layer = &head.layer;
        let size = layer.window.output(shape);
        let outputs = layer.requant.channels();
        assert_eq!(layer.isa, self.isa, "packed for another instruction set");
        assert_eq!(
            (input.len(), shape.channels),
            (shape.volume(), layer.inputs),
            "head input"
        );
        assert_eq!(output.len(), size[0] * size[1] * outputs, "head output");
        if output.is_empty() {
            return;
        }
        let (input, shape) = layer.padded(input, shape, &mut scratch.padded);
        if self.isa == Isa::Scalar {
            let sums = &mut scratch.sums;
            for (pixel, output) in output.chunks_exact_mut(outputs).enumerate() {
                let sum = |(o, bias): (usize, i32)| {
                    scalar::sum(layer, input, shape, size[1], pixel, o).wrapping_add(bias)
                };
                sums.clear();
                sums.extend(layer.requant.biases().take(outputs).enumerate().map(sum));
                head.reals(sums, output);
            }
            return;
        }
        let (gathered, panel, sums) = (&mut scratch.rows, &mut scratch.panel, &mut scratch.sums);
        let stride = outputs.next_multiple_of(LANES);
        gather::rows(layer, input, shape, size, gathered, |pixels, rows| {
            self.sum_rows(layer, rows, sums, panel);
            let output = &mut output[pixels.start * outputs..pixels.end * outputs];
            let pairs = sums
                .chunks_exact(stride)
                .zip(output.chunks_exact_mut(outputs));
            pairs.for_each(|(sums, output)| head.reals(sums, output));
        });
    }

    /// Runs a depthwise layer on one image of shape `shape`.
    ///
    /// # Panics
    /// As [`Kernels::dense`].
    pub fn depthwise(
        self,
        layer: &Depthwise,
        input: &[i8],
        shape: Shape,
        residual: Option<&[i8]>,
        output: &mut [i8],
        scratch: &mut Scratch,
    ) {
        let size = layer.window.output(shape);
        let channels = layer.channels();
        assert_eq!(layer.isa, self.isa, "packed for another instruction set");
        assert_eq!(
            (input.len(), shape.channels),
            (shape.volume(), channels),
            "depthwise input"
        );
        assert_eq!(
            output.len(),
            size[0] * size[1] * channels,
            "depthwise output"
        );
        assert_eq!(
            residual.map(<[i8]>::len),
            layer.requant.residual.map(|_| output.len())
        );
        if output.is_empty() {
            return;
        }
        let window = &layer.window;
        let wide = channels.next_multiple_of(LANES);
        let whole = wide == channels && window.before == [0; 2] && window.after == [0; 2];
        let (input, shape) = if whole {
            (input, shape)
        } else {
            let zero = layer.input_zero;
            let shape = geometry::pad(input, shape, window, wide, zero, &mut scratch.padded);
            (&scratch.padded[..], shape)
        };
        self.depthwise_padded(layer, input, shape, size, residual, output);
        layer.requant.limit(output);
    }
}
