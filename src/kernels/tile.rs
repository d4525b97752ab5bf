//! The loop that all vector kernels for dense layers share: which pixels and channels go through
//! one step.
//!
//! An instruction set brings the arithmetic of a step ([`Tile`]); the loop is inlined into a
//! function that is compiled for it.

use super::layer::Dense;
use super::requant::{LANES, Requant, Table};

/// Most pixels that one step takes.
const MOST_ROWS: usize = 16;

/// What a step needs to know to requantise the sums of [`LANES`] channels.
#[derive(Clone, Copy)]
pub(super) struct Lanes<'a> {
    pub(super) table: &'a Table,
    pub(super) offset: i16,
    /// Multiplier and zero point of the residual.
    pub(super) residual: (i16, i8),
}

impl<'a> Lanes<'a> {
    /// Those of the channels of `table`.
    pub(super) fn new(requant: &'a Requant, table: &'a Table) -> Lanes<'a> {
        Lanes {
            table,
            offset: requant.offset,
            residual: requant.residual.unwrap_or((0, 0)),
        }
    }
}

/// The steps of one instruction set. Every function requires that the machine has it.
pub(super) trait Tile {
    /// Pixels of one step, [`MOST_ROWS`] at most.
    const ROWS: usize;
    /// The sums of one step.
    type Sums;

    /// Brings `count` rows of `depth` values, one after the other, into the order in which
    /// [`Tile::sums`] reads them; the last stands for those that lack to [`Tile::ROWS`].
    ///
    /// # Safety
    /// `rows` is good for `count * depth` bytes, `panel` for `ROWS * depth`; `count` is positive,
    /// `depth` a positive multiple of 16.
    unsafe fn pack(rows: *const i8, count: usize, depth: usize, panel: *mut i8);

    /// The sums of one step: [`Tile::ROWS`] pixels, [`LANES`] outputs.
    ///
    /// # Safety
    /// `panel` holds what [`Tile::pack`] made of rows of `depth` values; `weights` is good for
    /// `depth * LANES` bytes; `start` lies in [`Isa::start`](super::Isa::start) at the step's
    /// channels.
    unsafe fn sums(
        panel: *const i8,
        depth: usize,
        weights: *const i8,
        start: *const i32,
    ) -> Self::Sums;

    /// Makes bytes of the sums of one step.
    ///
    /// # Safety
    /// `target` is good for `ROWS` pixels of [`LANES`] bytes.
    unsafe fn requantise<const SELECT: bool, const RESIDUAL: bool>(
        sums: Self::Sums,
        lanes: Lanes<'_>,
        target: Target,
    );

    /// Writes the sums of one step as they are, pixels `stride` values apart.
    ///
    /// # Safety
    /// `output` is good for `ROWS` pixels of [`LANES`] values.
    unsafe fn store(sums: Self::Sums, output: *mut i32, stride: usize);
}

/// Where the results of a step go, and what is added to them: pixels that lie `stride` bytes apart.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) output: *mut i8,
    /// Of no meaning where nothing is added.
    pub(super) added: *const i8,
    pub(super) stride: usize,
}

impl Target {
    /// Output and residual of pixel `row`.
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> (*mut i8, *const i8) {
        let at = row.wrapping_mul(self.stride);
        (self.output.wrapping_add(at), self.added.wrapping_add(at))
    }

    /// The same pixels, [`LANES`] channels on.
    #[inline(always)]
    fn beside(self) -> Target {
        Target {
            output: self.output.wrapping_add(LANES),
            added: self.added.wrapping_add(LANES),
            ..self
        }
    }
}

/// Room for a step of full size of which only the first `rows` pixels and `lanes` channels are
/// wanted.
pub(super) struct Spare {
    added: [i8; MOST_ROWS * LANES],
    output: [i8; MOST_ROWS * LANES],
}

impl Spare {
    /// Room with zeros in it.
    #[inline(always)]
    pub(super) fn new() -> Spare {
        Spare {
            added: [0; MOST_ROWS * LANES],
            output: [0; MOST_ROWS * LANES],
        }
    }

    /// A target in this room that adds what `target` adds.
    ///
    /// # Safety
    /// With `RESIDUAL` the residual of `target` is good for that many pixels and channels.
    #[inline(always)]
    pub(super) unsafe fn lend<const RESIDUAL: bool>(
        &mut self,
        target: Target,
        rows: usize,
        lanes: usize,
    ) -> Target {
        let rows = self.added.chunks_exact_mut(LANES).take(rows).enumerate();
        if RESIDUAL {
            // SAFETY: the caller vouches for the residual, and `full` holds LANES bytes.
            rows.for_each(|(row, full)| unsafe {
                full.as_mut_ptr().copy_from(target.row(row).1, lanes);
            });
        }
        Target {
            output: self.output.as_mut_ptr(),
            added: self.added.as_ptr(),
            stride: LANES,
        }
    }

    /// Copies the results to where they belong.
    ///
    /// # Safety
    /// The output of `target` is good for that many pixels and channels.
    #[inline(always)]
    pub(super) unsafe fn give(&self, target: Target, rows: usize, lanes: usize) {
        for (row, full) in self.output.chunks_exact(LANES).take(rows).enumerate() {
            // SAFETY: the caller vouches for the output, and `full` holds LANES bytes.
            unsafe { target.row(row).0.copy_from(full.as_ptr(), lanes) };
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
    panel: &mut Vec<i8>,
) {
    let outputs = layer.requant.channels();
    let blocks = layer.requant.tables.len();
    let depth = layer.depth;
    let count = output.len() / outputs;
    assert!(depth > 0, "a row holds values");
    assert!(count > 0 && rows.len() == count * depth && output.len() == count * outputs);
    assert!(blocks == outputs.div_ceil(LANES) && layer.weights.len() == blocks * LANES * depth);
    assert!(layer.start.len().is_multiple_of(blocks * LANES));
    assert!(RESIDUAL == residual.is_some_and(|r| r.len() == output.len()));
    let [step, bytes] = [layer.start.len() / blocks, LANES * depth];
    panel.resize(T::ROWS * depth, 0);
    let panel = panel.as_mut_ptr();
    let mut spare = Spare::new();
    let all = Target {
        output: output.as_mut_ptr(),
        added: residual.map_or(std::ptr::null(), <[i8]>::as_ptr),
        stride: outputs,
    };
    for first in (0..count).step_by(T::ROWS) {
        // The last step goes back to be full.
        let first = first.min(count.saturating_sub(T::ROWS));
        let here = T::ROWS.min(count - first);
        // SAFETY: the rows from `first` on are `here` at least; the panel was made for them.
        unsafe { T::pack(rows.as_ptr().add(first * depth), here, depth, panel) };
        let (output, added) = all.row(first);
        let mut target = Target {
            output,
            added,
            ..all
        };
        let (mut weights, mut start) = (layer.weights.as_ptr(), layer.start.as_ptr());
        // Blocks that need no spare room.
        let full = if here == T::ROWS { outputs / LANES } else { 0 };
        let (whole, parts) = layer.requant.tables.split_at(full);
        // SAFETY: by the assertions weights and starts are those of LANES channels for each table,
        // and the target has `here` pixels of LANES channels, or of as many as are left.
        unsafe {
            for table in whole {
                let sums = T::sums(panel, depth, weights, start);
                T::requantise::<SELECT, RESIDUAL>(sums, Lanes::new(&layer.requant, table), target);
                weights = weights.add(bytes);
                start = start.add(step);
                target = target.beside();
            }
            for (part, table) in parts.iter().enumerate() {
                let some = LANES.min(outputs - (full + part) * LANES);
                let to = spare.lend::<RESIDUAL>(target, here, some);
                let sums = T::sums(panel, depth, weights, start);
                T::requantise::<SELECT, RESIDUAL>(sums, Lanes::new(&layer.requant, table), to);
                spare.give(target, here, some);
                weights = weights.add(bytes);
                start = start.add(step);
                target = target.beside();
            }
        }
    }
}

/// The sums of a dense layer on rows as in [`dense`], [`LANES`] times so many blocks of outputs for each
/// of so many rows that they fill whole steps.
///
/// # Safety
/// The machine has the instruction set of `T`.
#[inline(always)]
pub(super) unsafe fn sums<T: Tile>(
    layer: &Dense,
    rows: &[i8],
    output: &mut Vec<i32>,
    panel: &mut Vec<i8>,
) {
    let depth = layer.depth;
    assert!(depth > 0, "a row holds values");
    let count = rows.len() / depth;
    let blocks = layer.requant.tables.len();
    let stride = blocks * LANES;
    assert!(rows.len() == count * depth && layer.weights.len() == stride * depth);
    assert!(layer.start.len().is_multiple_of(stride));
    let step = layer.start.len() / blocks;
    output.resize(count.next_multiple_of(T::ROWS) * stride, 0);
    panel.resize(T::ROWS * depth, 0);
    for (first, output) in output.chunks_exact_mut(T::ROWS * stride).enumerate() {
        let rows = &rows[first * T::ROWS * depth..];
        let here = T::ROWS.min(rows.len() / depth);
        // SAFETY: `here` rows are left; the panel was made for them, weights and starts are those of
        // all blocks, and the output is good for a step of all blocks.
        unsafe {
            T::pack(rows.as_ptr(), here, depth, panel.as_mut_ptr());
            for block in 0..blocks {
                let weights = layer.weights.as_ptr().add(block * LANES * depth);
                let start = layer.start.as_ptr().add(block * step);
                let sums = T::sums(panel.as_ptr(), depth, weights, start);
                T::store(sums, output.as_mut_ptr().add(block * LANES), stride);
            }
        }
    }
}
