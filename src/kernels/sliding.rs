//! The loop that vector kernels for depthwise layers share.
//!
//! An instruction set brings the arithmetic of [`LANES`] channels ([`Sliding`]); the loop is
//! inlined into a function that is compiled for it. Tables and weights are loaded into values
//! before the loop over pixels, so that they can stay in registers although the loop writes memory.

use super::geometry::Shape;
use super::layer::Depthwise;
use super::requant::{LANES, Table};
use super::tile::{Lanes, Spare, Target};

/// The arithmetic of one instruction set. Every function requires that the machine has it.
pub(super) trait Sliding {
    /// [`LANES`] sums.
    type Sums: Copy;
    /// Weights of [`LANES`] channels at one position of a window.
    type Weights: Copy;
    /// What [`Sliding::finish`] needs to know of [`LANES`] channels.
    type Tables: Copy;

    /// Loads the bias of [`LANES`] channels.
    ///
    /// # Safety
    /// None but the instruction set.
    unsafe fn bias(table: &Table) -> Self::Sums;

    /// Loads the weights of [`LANES`] channels at one position.
    ///
    /// # Safety
    /// `weights` is good for [`LANES`] bytes.
    unsafe fn weights(weights: *const i8) -> Self::Weights;

    /// Adds to `sums` the products of `N` positions of a window, of which number `t` lies
    /// `offsets[t]` bytes after `input`.
    ///
    /// # Safety
    /// Each position is good for [`LANES`] bytes.
    unsafe fn window<const N: usize>(
        sums: Self::Sums,
        input: *const i8,
        offsets: &[usize; N],
        weights: &[Self::Weights; N],
    ) -> Self::Sums;

    /// Loads the tables of [`LANES`] channels.
    ///
    /// # Safety
    /// None but the instruction set.
    unsafe fn tables(lanes: Lanes<'_>) -> Self::Tables;

    /// Requantises sums, bias included, as [`Requant::apply`](super::Requant::apply) does, but
    /// for the range.
    ///
    /// # Safety
    /// `output` and, with `RESIDUAL`, `residual` are good for [`LANES`] bytes.
    unsafe fn finish<const SELECT: bool, const RESIDUAL: bool>(
        sums: Self::Sums,
        tables: &Self::Tables,
        residual: *const i8,
        output: *mut i8,
    );
}

/// A depthwise layer on padded input whose pixels are padded to [`LANES`] channels.
///
/// # Safety
/// The machine has the instruction set of `T`.
#[inline(always)]
pub(super) unsafe fn depthwise<T: Sliding, const SELECT: bool, const RESIDUAL: bool>(
    layer: &Depthwise,
    input: &[i8],
    shape: Shape,
    size: [usize; 2],
    residual: Option<&[i8]>,
    output: &mut [i8],
) {
    let channels = layer.channels();
    let padded = channels.next_multiple_of(LANES);
    let [kernel_rows, kernel_columns] = layer.window.kernel;
    let [down, right] = layer.window.stride;
    assert!(shape.channels == padded && input.len() == shape.volume());
    assert!(size[0] > 0 && (size[0] - 1) * down + kernel_rows <= shape.height);
    assert!(size[1] > 0 && (size[1] - 1) * right + kernel_columns <= shape.width);
    assert!(output.len() == size[0] * size[1] * channels);
    assert!(layer.weights.len() == layer.window.taps() * padded);
    assert!(layer.requant.tables.len() * LANES == padded);
    assert!(RESIDUAL == residual.is_some_and(|r| r.len() == output.len()));
    let added = residual.map_or(std::ptr::null(), <[i8]>::as_ptr);
    let output = output.as_mut_ptr();
    let offset = |t: usize| (t / kernel_columns * shape.width + t % kernel_columns) * padded;
    let nine: Option<[usize; 9]> = (layer.window.taps() == 9).then(|| std::array::from_fn(offset));
    // Bytes from the end of a row of the window to the next.
    let gap = (shape.width - kernel_columns) * padded;
    for y in 0..size[0] {
        for (table, channel) in layer
            .requant
            .tables
            .iter()
            .zip((0..channels).step_by(LANES))
        {
            let lanes = Lanes::new(&layer.requant, table);
            // SAFETY: by the assertions the window at every output position of row `y`, LANES
            // channels from `channel` on, lies within `input`, the weights likewise; a row of
            // the output has `size[1]` pixels, and so has the residual.
            unsafe {
                let from = input
                    .as_ptr()
                    .add(y * down * shape.width * padded + channel);
                let weights = layer.weights.as_ptr().add(channel);
                let at = y * size[1] * channels + channel;
                let some = channels - channel;
                let sums = T::bias(table);
                let row = Row {
                    count: size[1],
                    step: right * padded,
                    channels,
                    some,
                    added: added.wrapping_add(at),
                    output: output.add(at),
                };
                if let Some(offsets) = &nine {
                    let weights: [T::Weights; 9] =
                        std::array::from_fn(|t| T::weights(weights.add(t * padded)));
                    row.run::<T, SELECT, RESIDUAL>(lanes, from, |input| {
                        T::window(sums, input, offsets, &weights)
                    });
                } else {
                    row.run::<T, SELECT, RESIDUAL>(lanes, from, |input| {
                        let mut sums = sums;
                        let (mut w, mut at, mut column) = (weights, 0, 0);
                        let mut next = || {
                            let here = (at, T::weights(w));
                            w = w.wrapping_add(padded);
                            (at, column) = (at + padded, column + 1);
                            if column == kernel_columns {
                                (at, column) = (at + gap, 0);
                            }
                            here
                        };
                        for _ in 0..layer.window.taps() / 2 {
                            let ((a, u), (b, v)) = (next(), next());
                            sums = T::window(sums, input, &[a, b], &[u, v]);
                        }
                        if layer.window.taps() % 2 == 1 {
                            let (a, u) = next();
                            sums = T::window(sums, input, &[a], &[u]);
                        }
                        sums
                    });
                }
            }
        }
    }
}

/// The output pixels of one row, [`LANES`] channels of them.
struct Row {
    count: usize,
    /// Bytes from one window to the next.
    step: usize,
    /// Bytes from one output pixel to the next.
    channels: usize,
    /// Channels from here to the last.
    some: usize,
    added: *const i8,
    output: *mut i8,
}

impl Row {
    /// # Safety
    /// The machine has the instruction set of `T`; `sums` may be called with every multiple of
    /// `step` below `count` after `input`; output and residual are good for the row.
    #[inline(always)]
    unsafe fn run<T: Sliding, const SELECT: bool, const RESIDUAL: bool>(
        self,
        lanes: Lanes<'_>,
        input: *const i8,
        sums: impl Fn(*const i8) -> T::Sums,
    ) {
        let Row {
            count,
            step,
            channels,
            some,
            mut added,
            mut output,
        } = self;
        let mut input = input;
        // SAFETY: the caller vouches for the pointers; they step past the row only after the last
        // access.
        unsafe {
            let tables = T::tables(lanes);
            let mut spare = Spare::new();
            for _ in 0..count {
                let sums = sums(input);
                if some >= LANES {
                    T::finish::<SELECT, RESIDUAL>(sums, &tables, added, output);
                } else {
                    let pixel = Target {
                        output,
                        added,
                        stride: 0,
                    };
                    let to = spare.lend::<RESIDUAL>(pixel, 1, some);
                    T::finish::<SELECT, RESIDUAL>(sums, &tables, to.added, to.output);
                    spare.give(pixel, 1, some);
                }
                input = input.wrapping_add(step);
                added = added.wrapping_add(channels);
                output = output.wrapping_add(channels);
            }
        }
    }
}
