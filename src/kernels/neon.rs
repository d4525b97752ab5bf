//! ARMv8.0: widening multiplications, two products to each 16-bit lane.

use std::arch::aarch64::*;
use std::arch::asm;

use super::requant::Table;
use super::sliding::Sliding;
use super::tile::{Lanes, Target, Tile};

/// Pixels of one step of a dense layer.
const ROWS: usize = 5;

/// Steps for `Isa::Neon`; its windows and its requantisation serve all ARM levels.
pub(super) struct Neon;

/// Sums of 16 channels, four to a register.
pub(super) type Sums = [int32x4_t; 4];

impl Tile for Neon {
    const ROWS: usize = ROWS;
    type Sums = [Sums; ROWS];

    #[inline(always)]
    unsafe fn pack(rows: *const i8, count: usize, depth: usize, panel: *mut i8) {
        // SAFETY: every row that is read is one of the `count`; `depth * ROWS` bytes are written.
        unsafe {
            let rows: [*const i8; ROWS] =
                std::array::from_fn(|j| rows.add(j.min(count - 1) * depth));
            let mut to = panel;
            for k in (0..depth).step_by(16) {
                for (j, row) in rows.iter().enumerate() {
                    vst1q_s8(to.add(16 * j), vld1q_s8(row.add(k)));
                }
                to = to.add(16 * ROWS);
            }
        }
    }

    #[inline(always)]
    unsafe fn sums(
        panel: *const i8,
        depth: usize,
        weights: *const i8,
        start: *const i32,
    ) -> [Sums; ROWS] {
        // SAFETY: the caller has the instruction set and vouches for the reads: those of one of
        // four quads of channels are a quarter of all.
        unsafe {
            let mut sums = [[vdupq_n_s32(0); 4]; ROWS];
            for q in 0..4 {
                let partial = quad(panel, depth, weights.add(4 * q * depth), start.add(16 * q));
                for (sums, partial) in sums.iter_mut().zip(partial) {
                    sums[q] = partial;
                }
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn requantise<const SELECT: bool, const RESIDUAL: bool>(
        sums: [Sums; ROWS],
        lanes: Lanes<'_>,
        target: Target,
    ) {
        // SAFETY: passed on.
        unsafe { finish_rows::<SELECT, RESIDUAL, ROWS>(sums, lanes, target) }
    }

    #[inline(always)]
    unsafe fn store(sums: [Sums; ROWS], output: *mut i32, stride: usize) {
        // SAFETY: passed on.
        unsafe { store_rows(sums, output, stride) }
    }
}

impl Sliding for Neon {
    type Sums = Sums;
    type Weights = int8x16_t;
    type Tables = Tables;

    #[inline(always)]
    unsafe fn bias(table: &Table) -> Sums {
        // SAFETY: the caller has the instruction set and vouches for the reads.
        unsafe { std::array::from_fn(|q| vld1q_s32(table.bias.as_ptr().add(4 * q))) }
    }

    #[inline(always)]
    unsafe fn weights(weights: *const i8) -> int8x16_t {
        // SAFETY: the caller has the instruction set and vouches for the read.
        unsafe { vld1q_s8(weights) }
    }

    #[inline(always)]
    unsafe fn window<const N: usize>(
        mut sums: Sums,
        input: *const i8,
        offsets: &[usize; N],
        weights: &[int8x16_t; N],
    ) -> Sums {
        // SAFETY: the caller has the instruction set and vouches for 16 bytes at each position.
        unsafe {
            let input = opaque(input);
            let value = |t: usize| vld1q_s8(input.add(offsets[t]));
            let mut add = |low: int16x8_t, high: int16x8_t| {
                sums[0] = vaddw_s16(sums[0], vget_low_s16(low));
                sums[1] = vaddw_high_s16(sums[1], low);
                sums[2] = vaddw_s16(sums[2], vget_low_s16(high));
                sums[3] = vaddw_high_s16(sums[3], high);
            };
            for t in (0..N - N % 2).step_by(2) {
                // 2 * 128 * 127 fits in 16 bits.
                let (x, y, w, v) = (value(t), value(t + 1), weights[t], weights[t + 1]);
                let low = vmull_s8(vget_low_s8(x), vget_low_s8(w));
                let low = vmlal_s8(low, vget_low_s8(y), vget_low_s8(v));
                add(low, add_high_products(high_products(x, w), y, v));
            }
            if N % 2 == 1 {
                let (x, w) = (value(N - 1), weights[N - 1]);
                add(
                    vmull_s8(vget_low_s8(x), vget_low_s8(w)),
                    vmull_high_s8(x, w),
                );
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn tables(lanes: Lanes<'_>) -> Tables {
        // SAFETY: the caller has the instruction set and vouches for the tables.
        unsafe { Tables([Half::new(lanes, 0), Half::new(lanes, 8)]) }
    }

    #[inline(always)]
    unsafe fn finish<const SELECT: bool, const RESIDUAL: bool>(
        sums: Sums,
        tables: &Tables,
        residual: *const i8,
        output: *mut i8,
    ) {
        // SAFETY: the caller has the instruction set; the residual and the output are good for 16
        // bytes each.
        unsafe {
            let low = half::<SELECT, RESIDUAL>([sums[0], sums[1]], &tables.0[0], residual);
            let high = half::<SELECT, RESIDUAL>(
                [sums[2], sums[3]],
                &tables.0[1],
                residual.wrapping_add(8),
            );
            vst1q_s8(output, vqshrn_high_n_s16::<5>(vqshrn_n_s16::<5>(low), high));
        }
    }
}

/// Requantises the sums of a step of a dense layer: half the channels of all rows after the other,
/// so that its tables stay in registers.
///
/// # Safety
/// The machine has NEON; tables and target are good for `ROWS` pixels of 16 channels.
#[inline(always)]
pub(super) unsafe fn finish_rows<const SELECT: bool, const RESIDUAL: bool, const ROWS: usize>(
    sums: [Sums; ROWS],
    lanes: Lanes<'_>,
    target: Target,
) {
    // SAFETY: passed on.
    unsafe {
        let tables = Half::new(lanes, 0);
        let low: [int8x8_t; ROWS] = std::array::from_fn(|row| {
            let [a, b, ..] = sums[row];
            vqshrn_n_s16::<5>(half::<SELECT, RESIDUAL>([a, b], &tables, target.row(row).1))
        });
        let tables = Half::new(lanes, 8);
        for (row, low) in low.into_iter().enumerate() {
            let [.., a, b] = sums[row];
            let (output, added) = target.row(row);
            let high = half::<SELECT, RESIDUAL>([a, b], &tables, added.wrapping_add(8));
            vst1q_s8(output, vqshrn_high_n_s16::<5>(low, high));
        }
    }
}

/// Writes the sums of a step of a dense layer as they are, pixels `stride` values apart.
///
/// # Safety
/// The machine has NEON; `output` is good for `ROWS` pixels of 16 values.
#[inline(always)]
pub(super) unsafe fn store_rows<const ROWS: usize>(
    sums: [Sums; ROWS],
    output: *mut i32,
    stride: usize,
) {
    for (row, sums) in sums.into_iter().enumerate() {
        for (q, sums) in sums.into_iter().enumerate() {
            // SAFETY: passed on.
            unsafe { vst1q_s32(output.add(row * stride + 4 * q), sums) };
        }
    }
}

/// Requantises the sums of eight channels but for the last shift.
///
/// # Safety
/// The machine has NEON; with `RESIDUAL` `residual` is good for eight bytes.
#[inline(always)]
pub(super) unsafe fn half<const SELECT: bool, const RESIDUAL: bool>(
    sums: [int32x4_t; 2],
    tables: &Half,
    residual: *const i8,
) -> int16x8_t {
    // SAFETY: passed on.
    unsafe {
        let shifted = |i: usize| vreinterpretq_s16_s32(vqshlq_s32(sums[i], tables.shift[i]));
        // The upper half of each.
        let a = vuzp2q_s16(shifted(0), shifted(1));
        let mut m = tables.positive;
        if SELECT {
            m = select(a, tables.negative, m);
        }
        let mut v = vqrdmulhq_s16(a, m);
        if RESIDUAL {
            let r = vshlq_n_s16::<7>(vsubl_s8(vld1_s8(residual), tables.zero));
            v = vqaddq_s16(v, vqrdmulhq_s16(r, tables.multiplier));
        }
        vqaddq_s16(v, tables.offset)
    }
}

/// A pointer that the compiler knows nothing about: keeps it from carrying one pointer for each
/// position of a window through the loop instead of one for all.
#[inline(always)]
pub(super) fn opaque(mut pointer: *const i8) -> *const i8 {
    // SAFETY: does nothing.
    unsafe {
        asm!("/* {0} */", inout(reg) pointer, options(pure, nomem, nostack, preserves_flags));
    }
    pointer
}

/// `negative` in the lanes where `a` is negative, `positive` in the others. The compiler would move
/// registers around.
#[inline(always)]
fn select(a: int16x8_t, negative: int16x8_t, positive: int16x8_t) -> int16x8_t {
    let chosen;
    // SAFETY: as above.
    unsafe {
        asm!(
            "cmlt {0:v}.8h, {1:v}.8h, #0",
            "bsl {0:v}.16b, {2:v}.16b, {3:v}.16b",
            out(vreg) chosen, in(vreg) a, in(vreg) negative, in(vreg) positive,
            options(pure, nomem, nostack, preserves_flags));
    }
    chosen
}

/// `SMULL2`, which the compiler otherwise turns into an extraction and `SMULL`.
#[inline(always)]
fn high_products(x: int8x16_t, w: int8x16_t) -> int16x8_t {
    let products;
    // SAFETY: arithmetic on registers that every aarch64 machine with floating point has.
    unsafe {
        asm!("smull2 {0:v}.8h, {1:v}.16b, {2:v}.16b",
            lateout(vreg) products, in(vreg) x, in(vreg) w,
            options(pure, nomem, nostack, preserves_flags));
    }
    products
}

/// `SMLAL2`, for the same reason.
#[inline(always)]
fn add_high_products(mut sums: int16x8_t, x: int8x16_t, w: int8x16_t) -> int16x8_t {
    // SAFETY: as above.
    unsafe {
        asm!("smlal2 {0:v}.8h, {1:v}.16b, {2:v}.16b",
            inout(vreg) sums, in(vreg) x, in(vreg) w,
            options(pure, nomem, nostack, preserves_flags));
    }
    sums
}

/// Tables of eight channels.
#[derive(Clone, Copy)]
pub(super) struct Half {
    shift: [int32x4_t; 2],
    positive: int16x8_t,
    negative: int16x8_t,
    offset: int16x8_t,
    multiplier: int16x8_t,
    zero: int8x8_t,
}

impl Half {
    /// Those of the channels from `at` on.
    ///
    /// # Safety
    /// The machine has NEON; the tables are good for eight channels more.
    #[inline(always)]
    pub(super) unsafe fn new(lanes: Lanes<'_>, at: usize) -> Half {
        // SAFETY: passed on.
        unsafe {
            Half {
                shift: [at, at + 4].map(|at| vld1q_s32(lanes.table.shift.as_ptr().add(at))),
                positive: vld1q_s16(lanes.table.positive.as_ptr().add(at)),
                negative: vld1q_s16(lanes.table.negative.as_ptr().add(at)),
                offset: vdupq_n_s16(lanes.offset),
                multiplier: vdupq_n_s16(lanes.residual.0),
                zero: vdup_n_s8(lanes.residual.1),
            }
        }
    }
}

/// Tables of 16 channels.
#[derive(Clone, Copy)]
pub(super) struct Tables([Half; 2]);

/// Sums over `depth` of the products of each of five rows with each of four output channels.
///
/// # Safety
/// The machine has NEON; `panel` is good for `5 * depth` bytes, `weights` for `4 * depth`, `start`
/// for 16 values; `depth` is a positive multiple of 16.
#[inline(always)]
unsafe fn quad(
    panel: *const i8,
    depth: usize,
    weights: *const i8,
    start: *const i32,
) -> [int32x4_t; ROWS] {
    // An in-order core waits for a product, its second half and its sum. So each of the products of
    // a row with four channels, in v8 to v11, is started two before its second half is added and
    // three before it is summed up, across the rows: `$x` and `$s` are of this row, `$y` and `$t`
    // of the one before.
    #[rustfmt::skip]
    macro_rules! row {
        ($x:literal, $s0:literal, $y:literal, $t1:literal, $t2:literal, $t3:literal) => {
            concat!(
                "smull v8.8h, v", $x, ".8b, v0.8b\n",
                "smlal2 v10.8h, v", $y, ".16b, v2.16b\n",
                "sadalp v", $t1, ".4s, v9.8h\n",
                "smull v9.8h, v", $x, ".8b, v1.8b\n",
                "smlal2 v11.8h, v", $y, ".16b, v3.16b\n",
                "sadalp v", $t2, ".4s, v10.8h\n",
                "smull v10.8h, v", $x, ".8b, v2.8b\n",
                "smlal2 v8.8h, v", $x, ".16b, v0.16b\n",
                "sadalp v", $t3, ".4s, v11.8h\n",
                "smull v11.8h, v", $x, ".8b, v3.8b\n",
                "smlal2 v9.8h, v", $x, ".16b, v1.16b\n",
                "sadalp v", $s0, ".4s, v8.8h\n",
            )
        };
    }
    macro_rules! step {
        () => {
            concat!(
                "ld1 {{v0.16b-v3.16b}}, [{w}], #64\n",
                "ldp q4, q5, [{x}], #32\n",
                "smull v8.8h, v4.8b, v0.8b\n",
                "smull v9.8h, v4.8b, v1.8b\n",
                "smull v10.8h, v4.8b, v2.8b\n",
                "smlal2 v8.8h, v4.16b, v0.16b\n",
                "smull v11.8h, v4.8b, v3.8b\n",
                "smlal2 v9.8h, v4.16b, v1.16b\n",
                "sadalp v12.4s, v8.8h\n",
                row!("5", "16", "4", "13", "14", "15"),
                "ldp q6, q7, [{x}], #32\n",
                row!("6", "20", "5", "17", "18", "19"),
                row!("7", "24", "6", "21", "22", "23"),
                "ldr q4, [{x}], #16\n",
                row!("4", "28", "7", "25", "26", "27"),
                "smlal2 v10.8h, v4.16b, v2.16b\n",
                "sadalp v29.4s, v9.8h\n",
                "smlal2 v11.8h, v4.16b, v3.16b\n",
                "sadalp v30.4s, v10.8h\n",
                "sadalp v31.4s, v11.8h\n",
            )
        };
    }
    // The four lanes of four channels, summed up.
    #[rustfmt::skip]
    macro_rules! sum {
        ($a:literal, $b:literal, $c:literal, $d:literal) => {
            concat!(
                "addp v", $a, ".4s, v", $a, ".4s, v", $b, ".4s\n",
                "addp v", $c, ".4s, v", $c, ".4s, v", $d, ".4s\n",
                "addp v", $a, ".4s, v", $a, ".4s, v", $c, ".4s\n",
            )
        };
    }
    let (a, b, c, d, e);
    // SAFETY: reads `5 * depth` bytes of the panel, `4 * depth` of the weights and 64 of the start;
    // nothing is written but the registers named.
    unsafe {
        asm!(
            "ld1 {{v12.4s-v15.4s}}, [{s}]",
            "ld1 {{v16.4s-v19.4s}}, [{s}]",
            "ld1 {{v20.4s-v23.4s}}, [{s}]",
            "ld1 {{v24.4s-v27.4s}}, [{s}]",
            "ld1 {{v28.4s-v31.4s}}, [{s}]",
            // Two steps to a round; an odd one starts in the middle.
            "tbnz {k}, #4, 3f",
            "2:",
            step!(),
            "3:",
            step!(),
            "subs {k}, {k}, #32",
            "b.gt 2b",
            sum!("12", "13", "14", "15"),
            sum!("16", "17", "18", "19"),
            sum!("20", "21", "22", "23"),
            sum!("24", "25", "26", "27"),
            sum!("28", "29", "30", "31"),
            x = inout(reg) panel => _,
            w = inout(reg) weights => _,
            k = inout(reg) depth => _,
            s = in(reg) start,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _,
            out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            out("v12") a, out("v13") _, out("v14") _, out("v15") _,
            out("v16") b, out("v17") _, out("v18") _, out("v19") _,
            out("v20") c, out("v21") _, out("v22") _, out("v23") _,
            out("v24") d, out("v25") _, out("v26") _, out("v27") _,
            out("v28") e, out("v29") _, out("v30") _, out("v31") _,
            options(nostack, readonly),
        );
    }
    [a, b, c, d, e]
}
