//! Loops that all vector kernels share: which pixels and channels go through one step.
//!
//! An instruction set brings the arithmetic of a step ([`Tile`]); the loops here are inlined into
//! a function that is compiled for it. Tables and weights are loaded into values before the loop
//! over pixels, so that they can stay in registers although the loop writes memory.

use super::geometry::Shape;
use super::layer::{Dense, Depthwise};
use super::requant::{LANES, Requant};

/// Pixels of one step of a dense layer.
pub(super) const ROWS: usize = 6;

/// The tables of [`LANES`] output channels; the pointers are good for that many reads.
#[derive(Clone, Copy)]
pub(super) struct Lanes {
    pub(super) bias: *const i32,
    pub(super) shift: *const i32,
    pub(super) positive: *const i16,
    pub(super) negative: *const i16,
    pub(super) offset: i16,
    /// Multiplier and zero point of the residual.
    pub(super) residual: (i16, i8),
}

impl Lanes {
    /// The tables of the first channels.
    fn new(requant: &Requant) -> Lanes {
        let padded = requant.channels().next_multiple_of(LANES);
        assert!(requant.bias.len() == padded && requant.shift.len() == padded);
        assert!(requant.positive.len() == padded && requant.negative.len() == padded);
        Lanes {
            bias: requant.bias.as_ptr(),
            shift: requant.shift.as_ptr(),
            positive: requant.positive.as_ptr(),
            negative: requant.negative.as_ptr(),
            offset: requant.offset,
            residual: requant.residual.unwrap_or((0, 0)),
        }
    }

    /// The tables from `channel` on, a multiple of [`LANES`] below the number of channels.
    fn at(&self, channel: usize) -> Lanes {
        Lanes {
            bias: self.bias.wrapping_add(channel),
            shift: self.shift.wrapping_add(channel),
            positive: self.positive.wrapping_add(channel),
            negative: self.negative.wrapping_add(channel),
            ..*self
        }
    }
}

/// The steps of one instruction set. Every function requires that the machine has it.
pub(super) trait Tile {
    /// [`LANES`] sums.
    type Sums: Copy;
    /// Weights of [`LANES`] channels at one position of a window.
    type Weights: Copy;
    /// What [`Tile::finish`] needs to know of [`LANES`] channels.
    type Tables: Copy;

    /// Sums of [`LANES`] outputs for [`ROWS`] rows of `depth` values, bias included.
    ///
    /// # Safety
    /// Each row is good for `depth` bytes, `weights` for `depth * LANES`, `bias` for [`LANES`]
    /// values; `depth` is a positive multiple of 16.
    unsafe fn dense(
        rows: [*const i8; ROWS],
        weights: *const i8,
        depth: usize,
        bias: *const i32,
    ) -> [Self::Sums; ROWS];

    /// Loads the bias of [`LANES`] channels.
    ///
    /// # Safety
    /// `bias` is good for [`LANES`] values.
    unsafe fn bias(bias: *const i32) -> Self::Sums;

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
    /// The pointers in `lanes` are good.
    unsafe fn tables(lanes: &Lanes) -> Self::Tables;

    /// Requantises sums, bias included, as [`Requant::apply`] does, but for the range.
    ///
    /// # Safety
    /// `output` and, with `RESIDUAL`, `residual` are good for [`LANES`] bytes.
    unsafe fn finish<const SELECT: bool, const RESIDUAL: bool>(
        sums: Self::Sums,
        tables: &Self::Tables,
        residual: *const i8,
        output: *mut i8,
    );

    /// As [`Tile::finish`] for only the first `count` channels.
    ///
    /// # Safety
    /// `output` and, with `RESIDUAL`, `residual` are good for `count` bytes, at most [`LANES`].
    #[inline(always)]
    unsafe fn finish_some<const SELECT: bool, const RESIDUAL: bool>(
        sums: Self::Sums,
        tables: &Self::Tables,
        residual: *const i8,
        output: *mut i8,
        count: usize,
    ) {
        let mut added = [0i8; LANES];
        let mut result = [0i8; LANES];
        // SAFETY: both arrays hold LANES bytes; `residual` and `output` are good for `count`.
        unsafe {
            if RESIDUAL {
                residual.copy_to_nonoverlapping(added.as_mut_ptr(), count);
            }
            Self::finish::<SELECT, RESIDUAL>(sums, tables, added.as_ptr(), result.as_mut_ptr());
            output.copy_from_nonoverlapping(result.as_ptr(), count);
        }
    }
}

/// A dense layer on rows of `layer.depth` values that lie one after the other.
///
/// # Safety
/// The machine has the instruction set of `T`.
#[inline(always)]
pub(super) unsafe fn dense<T: Tile, const SELECT: bool, const RESIDUAL: bool>(
    layer: &Dense,
    rows: &[i8],
    residual: Option<&[i8]>,
    output: &mut [i8],
) {
    let outputs = layer.requant.channels();
    let depth = layer.depth;
    let count = output.len() / outputs;
    assert!(count > 0 && rows.len() == count * depth && output.len() == count * outputs);
    assert!(layer.weights.len() == outputs.next_multiple_of(LANES) * depth);
    assert!(RESIDUAL == residual.is_some_and(|r| r.len() == output.len()));
    let added = residual.map_or(std::ptr::null(), <[i8]>::as_ptr);
    let all = Lanes::new(&layer.requant);
    for start in (0..count).step_by(ROWS) {
        // The last step goes back to be full; with fewer rows than a step the last repeats, and
        // writes the same result again.
        let start = start.min(count.saturating_sub(ROWS));
        let pixels: [usize; ROWS] = std::array::from_fn(|j| (start + j).min(count - 1));
        let rows = pixels.map(|p| rows.as_ptr().wrapping_add(p * depth));
        let places = pixels.map(|p| p * outputs);
        for channel in (0..outputs).step_by(LANES) {
            let some = outputs - channel;
            let lanes = all.at(channel);
            // SAFETY: pixels are below `count` and `channel` below `outputs`: by the assertions
            // rows, weights and tables have the lengths that are asked for, and `places` plus
            // `channel` leave LANES bytes, or `some` if that is less, in output and residual.
            unsafe {
                let weights = layer.weights.as_ptr().add(channel.wrapping_mul(depth));
                let sums = T::dense(rows, weights, depth, lanes.bias);
                let tables = T::tables(&lanes);
                let added = places.map(|at| added.wrapping_add(at).wrapping_add(channel));
                let output = places.map(|at| output.as_mut_ptr().add(at).add(channel));
                for j in 0..ROWS {
                    if some >= LANES {
                        T::finish::<SELECT, RESIDUAL>(sums[j], &tables, added[j], output[j]);
                    } else {
                        T::finish_some::<SELECT, RESIDUAL>(
                            sums[j], &tables, added[j], output[j], some,
                        );
                    }
                }
            }
        }
    }
}

/// A depthwise layer on padded input whose pixels are padded to [`LANES`] channels.
///
/// # Safety
/// The machine has the instruction set of `T`.
#[inline(always)]
pub(super) unsafe fn depthwise<T: Tile, const SELECT: bool, const RESIDUAL: bool>(
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
    assert!(RESIDUAL == residual.is_some_and(|r| r.len() == output.len()));
    let added = residual.map_or(std::ptr::null(), <[i8]>::as_ptr);
    let output = output.as_mut_ptr();
    let all = Lanes::new(&layer.requant);
    let offsets: Vec<usize> = (0..layer.window.taps())
        .map(|t| (t / kernel_columns * shape.width + t % kernel_columns) * padded)
        .collect();
    for y in 0..size[0] {
        for channel in (0..channels).step_by(LANES) {
            let lanes = all.at(channel);
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
                let sums = T::bias(lanes.bias);
                let row = Row {
                    count: size[1],
                    step: right * padded,
                    channels,
                    some,
                    added: added.wrapping_add(at),
                    output: output.add(at),
                };
                if let Ok(offsets) = <&[usize; 9]>::try_from(&offsets[..]) {
                    let weights: [T::Weights; 9] =
                        std::array::from_fn(|t| T::weights(weights.add(t * padded)));
                    row.run::<T, SELECT, RESIDUAL>(&lanes, from, |input| {
                        T::window(sums, input, offsets, &weights)
                    });
                } else {
                    row.run::<T, SELECT, RESIDUAL>(&lanes, from, |input| {
                        let mut sums = sums;
                        for (pair, offsets) in offsets.chunks(2).enumerate() {
                            let w = weights.add(2 * pair * padded);
                            sums = if let &[a, b] = offsets {
                                let both = [T::weights(w), T::weights(w.add(padded))];
                                T::window(sums, input, &[a, b], &both)
                            } else {
                                T::window(sums, input, &[offsets[0]], &[T::weights(w)])
                            };
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
    unsafe fn run<T: Tile, const SELECT: bool, const RESIDUAL: bool>(
        self,
        lanes: &Lanes,
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
            for _ in 0..count {
                let sums = sums(input);
                if some >= LANES {
                    T::finish::<SELECT, RESIDUAL>(sums, &tables, added, output);
                } else {
                    T::finish_some::<SELECT, RESIDUAL>(sums, &tables, added, output, some);
                }
                input = input.wrapping_add(step);
                added = added.wrapping_add(channels);
                output = output.wrapping_add(channels);
            }
        }
    }
}
