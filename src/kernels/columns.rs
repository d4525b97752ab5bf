//! Depthwise layers of 3x3 at stride one by `SDOT`.
//!
//! The values of four rows of one column are brought together, channel by channel, so that one
//! instruction multiplies the column of four channels. Two rows of output share them: weights of
//! zero stand for the row that the window of each does not reach. A column that is made serves the
//! three windows that contain it.

use std::arch::aarch64::*;
use std::arch::asm;

use super::geometry::Shape;
use super::layer::Depthwise;
use super::neon::{Half, half, opaque};
use super::tile::Lanes;

/// Channels of one step.
const CHANNELS: usize = 8;

/// Whether this serves a layer whose output has that many rows.
pub(super) fn serve(layer: &Depthwise, rows: usize) -> bool {
    !layer.columns.is_empty() && rows >= 2
}

/// The column of four rows, four channels to a register.
type Column = [int8x16_t; 2];

/// A layer that this [serves](serve), on padded input.
///
/// # Safety
/// The machine has NEON and `SDOT`.
#[inline(always)]
pub(super) unsafe fn depthwise<const SELECT: bool, const RESIDUAL: bool>(
    layer: &Depthwise,
    input: &[i8],
    shape: Shape,
    size: [usize; 2],
    residual: Option<&[i8]>,
    output: &mut [i8],
) {
    let channels = layer.channels();
    let [height, width] = size;
    assert!(serve(layer, height) && channels.is_multiple_of(CHANNELS));
    assert!(shape.channels >= channels && input.len() == shape.volume());
    assert!(height + 2 == shape.height && width > 0 && width + 2 == shape.width);
    assert!(output.len() == height * width * channels);
    assert!(layer.columns.len() == 12 * channels);
    assert!(RESIDUAL == residual.is_some_and(|r| r.len() == output.len()));
    let added = residual.map_or(std::ptr::null(), <[i8]>::as_ptr);
    let output = output.as_mut_ptr();
    for y in (0..height).step_by(2) {
        // The last pair goes back to be full.
        let y = y.min(height - 2);
        for channel in (0..channels).step_by(CHANNELS) {
            let table = &layer.requant.tables[channel / 16];
            let at = y * width * channels + channel;
            // SAFETY: by the assertions rows `y` to `y + 3` of the input, and `y` and `y + 1` of
            // output and residual, have `width + 2` and `width` pixels; the weights and tables of
            // eight channels follow those of `channel`.
            unsafe {
                let strip = Strip {
                    input: input
                        .as_ptr()
                        .add(y * shape.width * shape.channels + channel),
                    pixel: shape.channels,
                    rows: [0, 1, 2, 3].map(|row: usize| row * shape.width * shape.channels),
                    weights: Strip::weights(layer.columns.as_ptr().add(12 * channel)),
                    bias: table.bias.as_ptr().add(channel % 16),
                    tables: Half::new(Lanes::new(&layer.requant, table), channel % 16),
                    output: output.add(at).cast_const(),
                    added: added.wrapping_add(at),
                    step: channels,
                    line: width * channels,
                };
                strip.run::<SELECT, RESIDUAL>(width);
            }
        }
    }
}

/// Two rows of output, eight channels of them. Distances are in bytes.
struct Strip {
    input: *const i8,
    /// From one pixel of the input to the next.
    pixel: usize,
    /// From the first row of the input to each of four.
    rows: [usize; 4],
    /// Of the upper and the lower row of output, by column.
    weights: [[Column; 3]; 2],
    bias: *const i32,
    tables: Half,
    output: *const i8,
    added: *const i8,
    /// From one pixel of the output to the next.
    step: usize,
    /// From one row of the output to the next.
    line: usize,
}

impl Strip {
    /// # Safety
    /// The machine has NEON; `columns` is good for 96 bytes.
    #[inline(always)]
    unsafe fn weights(columns: *const i8) -> [[Column; 3]; 2] {
        // SAFETY: passed on.
        unsafe {
            let upper: [Column; 3] = std::array::from_fn(|column| {
                [0, 16].map(|at| vld1q_s8(columns.add(32 * column + at)))
            });
            // The zero at the end of each four comes to their beginning.
            let down = |w| vreinterpretq_s8_s32(vshlq_n_s32::<8>(vreinterpretq_s32_s8(w)));
            [upper, upper.map(|column| column.map(down))]
        }
    }

    /// Computes the first `width` pixels of both rows.
    ///
    /// # Safety
    /// The machine has NEON and `SDOT`; all pointers are good for that.
    #[inline(always)]
    unsafe fn run<const SELECT: bool, const RESIDUAL: bool>(mut self, width: usize) {
        // SAFETY: there are two columns more than pixels.
        unsafe {
            let (mut a, mut b) = (self.column(), self.column());
            let mut left = width;
            // Three at a time, so that no column has to move from register to register.
            while left >= 3 {
                let c = self.column();
                self.pixel::<SELECT, RESIDUAL>([a, b, c]);
                a = self.column();
                self.pixel::<SELECT, RESIDUAL>([b, c, a]);
                b = self.column();
                self.pixel::<SELECT, RESIDUAL>([c, a, b]);
                left -= 3;
            }
            while left > 0 {
                let c = self.column();
                self.pixel::<SELECT, RESIDUAL>([a, b, c]);
                (a, b) = (b, c);
                left -= 1;
            }
        }
    }

    /// The next column.
    ///
    /// # Safety
    /// The machine has NEON; four rows of the column are good for eight bytes.
    #[inline(always)]
    unsafe fn column(&mut self) -> Column {
        let at = opaque(self.input);
        self.input = at.wrapping_add(self.pixel);
        // SAFETY: passed on.
        unsafe {
            let [a, b, c, d] = self.rows.map(|row| {
                let value = vld1_s8(at.add(row));
                vcombine_s8(value, value)
            });
            let upper = vreinterpretq_s16_s8(vzip1q_s8(a, b));
            let lower = vreinterpretq_s16_s8(vzip1q_s8(c, d));
            [vzip1q_s16(upper, lower), vzip2q_s16(upper, lower)].map(|c| vreinterpretq_s8_s16(c))
        }
    }

    /// The next pixel of both rows.
    ///
    /// # Safety
    /// The machine has NEON and `SDOT`; output and residual are good for the pixel.
    #[inline(always)]
    unsafe fn pixel<const SELECT: bool, const RESIDUAL: bool>(&mut self, columns: [Column; 3]) {
        let output = opaque(self.output).cast_mut();
        self.output = output.wrapping_add(self.step);
        // SAFETY: passed on.
        unsafe {
            for (line, weights) in [0, self.line].into_iter().zip(&self.weights) {
                let mut sums = load(self.bias);
                for (column, weights) in columns.iter().zip(weights) {
                    sums[0] = dot(sums[0], column[0], weights[0]);
                    sums[1] = dot(sums[1], column[1], weights[1]);
                }
                let added = self.added.wrapping_add(line);
                let v = half::<SELECT, RESIDUAL>(sums, &self.tables, added);
                vst1_s8(output.add(line), vqshrn_n_s16::<5>(v));
            }
        }
        self.added = self.added.wrapping_add(self.step);
    }
}

/// Loads eight values, anew each time: a load costs no more than the copy of a register, and the
/// registers are needed.
///
/// # Safety
/// `from` is good for eight values.
#[inline(always)]
unsafe fn load(from: *const i32) -> [int32x4_t; 2] {
    let (low, high);
    // SAFETY: passed on.
    unsafe {
        asm!("ldp {0:q}, {1:q}, [{2}]", out(vreg) low, out(vreg) high, in(reg) from,
            options(readonly, nostack, preserves_flags));
    }
    [low, high]
}

/// `SDOT`: adds to each lane of `sums` the four products of its bytes.
///
/// # Safety
/// The machine has the instruction.
#[inline(always)]
pub(super) unsafe fn dot(mut sums: int32x4_t, x: int8x16_t, w: int8x16_t) -> int32x4_t {
    // SAFETY: arithmetic on registers.
    unsafe {
        asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) sums, in(vreg) x, in(vreg) w,
            options(pure, nomem, nostack, preserves_flags));
    }
    sums
}
