//! Loops that all vector kernels share: which pixels and channels go through one step.
//!
//! An instruction set brings the arithmetic of a step ([`Tile`]); the loops here are inlined into
//! a function that is compiled for it.

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
    pub(super) low: i8,
    pub(super) high: i8,
    pub(super) residual: (i16, i8),
}

impl Lanes {
    fn new(requant: &Requant, channel: usize) -> Lanes {
        Lanes {
            bias: requant.bias[channel..channel + LANES].as_ptr(),
            shift: requant.shift[channel..channel + LANES].as_ptr(),
            positive: requant.positive[channel..channel + LANES].as_ptr(),
            negative: requant.negative[channel..channel + LANES].as_ptr(),
            offset: requant.offset,
            low: requant.low,
            high: requant.high,
            residual: requant.residual.unwrap_or((0, 0)),
        }
    }
}

/// The steps of one instruction set. Every function requires that the machine has it.
pub(super) trait Tile {
    /// [`LANES`] sums.
    type Sums: Copy;

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

    /// Sums of [`LANES`] channels over a window, bias included. Tap `t` of the window lies
    /// `offsets[t]` bytes after `input`, its weights `t * stride` bytes after `weights`.
    ///
    /// # Safety
    /// All these are good for [`LANES`] bytes, `bias` for as many values.
    unsafe fn window(
        input: *const i8,
        offsets: &[usize],
        weights: *const i8,
        stride: usize,
        bias: *const i32,
    ) -> Self::Sums;

    /// Requantises sums, bias included, as [`Requant::apply`] does and stores them.
    ///
    /// # Safety
    /// `output` and, with `RESIDUAL`, `residual` are good for [`LANES`] bytes.
    unsafe fn finish<const SELECT: bool, const RESIDUAL: bool>(
        sums: Self::Sums,
        lanes: &Lanes,
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
        lanes: &Lanes,
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
            Self::finish::<SELECT, RESIDUAL>(sums, lanes, added.as_ptr(), result.as_mut_ptr());
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
    assert!(rows.len() == count * depth && output.len() == count * outputs);
    assert!(layer.weights.len() == outputs.next_multiple_of(LANES) * depth);
    assert!(RESIDUAL == residual.is_some_and(|r| r.len() == output.len()));
    let residual = residual.map_or(std::ptr::null(), <[i8]>::as_ptr);
    for start in (0..count).step_by(ROWS) {
        // The last step goes back to be full; with fewer rows than a step the last repeats.
        let start = start.min(count.saturating_sub(ROWS));
        let here = ROWS.min(count);
        let pointers: [*const i8; ROWS] =
            std::array::from_fn(|j| rows[(start + j).min(count - 1) * depth..][..depth].as_ptr());
        for channel in (0..outputs).step_by(LANES) {
            let lanes = Lanes::new(&layer.requant, channel);
            let wide = outputs - channel >= LANES;
            // SAFETY: rows and weights have the lengths that `T::dense` asks for, by the
            // assertions above; pixel `start + j < count` and `channel..channel + LANES` (or up to
            // `outputs`) lie within `output` and `residual`.
            unsafe {
                let weights = layer.weights.as_ptr().add(channel * depth);
                let sums = T::dense(pointers, weights, depth, lanes.bias);
                for (j, sums) in sums.into_iter().enumerate() {
                    if j < here {
                        let at = (start + j) * outputs + channel;
                        let residual = residual.wrapping_add(at);
                        let output = output.as_mut_ptr().add(at);
                        if wide {
                            T::finish::<SELECT, RESIDUAL>(sums, &lanes, residual, output);
                        } else {
                            let some = outputs - channel;
                            T::finish_some::<SELECT, RESIDUAL>(
                                sums, &lanes, residual, output, some,
                            );
                        }
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
    let [_, columns] = layer.window.kernel;
    let offset = |tap: usize| (tap / columns * shape.width + tap % columns) * shape.channels;
    let offsets: Vec<usize> = (0..layer.window.taps()).map(offset).collect();
    // SAFETY: passed on.
    unsafe {
        // A length that the compiler knows lets it keep the weights in registers.
        if let Ok(nine) = <&[usize; 9]>::try_from(&offsets[..]) {
            windows::<T, SELECT, RESIDUAL>(layer, input, shape, size, nine, residual, output);
        } else {
            windows::<T, SELECT, RESIDUAL>(layer, input, shape, size, &offsets, residual, output);
        }
    }
}

/// # Safety
/// The machine has the instruction set of `T`.
#[inline(always)]
unsafe fn windows<T: Tile, const SELECT: bool, const RESIDUAL: bool>(
    layer: &Depthwise,
    input: &[i8],
    shape: Shape,
    size: [usize; 2],
    offsets: &[usize],
    residual: Option<&[i8]>,
    output: &mut [i8],
) {
    let channels = layer.channels();
    let padded = channels.next_multiple_of(LANES);
    let [kernel_rows, kernel_columns] = layer.window.kernel;
    let [down, right] = layer.window.stride;
    assert!(shape.channels == padded && input.len() == shape.volume());
    assert!((size[0] - 1) * down + kernel_rows <= shape.height);
    assert!((size[1] - 1) * right + kernel_columns <= shape.width);
    assert!(output.len() == size[0] * size[1] * channels);
    assert!(layer.weights.len() == offsets.len() * padded);
    assert!(RESIDUAL == residual.is_some_and(|r| r.len() == output.len()));
    let residual = residual.map_or(std::ptr::null(), <[i8]>::as_ptr);
    for y in 0..size[0] {
        for channel in (0..channels).step_by(LANES) {
            let lanes = Lanes::new(&layer.requant, channel);
            let some = (channels - channel).min(LANES);
            let mut from = input[y * down * shape.width * padded + channel..].as_ptr();
            let mut at = y * size[1] * channels + channel;
            for _ in 0..size[1] {
                // SAFETY: by the assertions the window at every output position, LANES channels
                // from `channel` on, lies within `input`, and so do the weights; `at` is the
                // output position's place in `output` and `residual`. `from` steps past the
                // input only after the last read.
                unsafe {
                    let weights = layer.weights.as_ptr().add(channel);
                    let sums = T::window(from, offsets, weights, padded, lanes.bias);
                    let residual = residual.wrapping_add(at);
                    let output = output.as_mut_ptr().add(at);
                    if some == LANES {
                        T::finish::<SELECT, RESIDUAL>(sums, &lanes, residual, output);
                    } else {
                        T::finish_some::<SELECT, RESIDUAL>(sums, &lanes, residual, output, some);
                    }
                }
                from = from.wrapping_add(right * padded);
                at += channels;
            }
        }
    }
}
