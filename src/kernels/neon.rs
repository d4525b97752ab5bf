//! ARMv8.0: widening multiplications, two products to each 16-bit lane.

use std::arch::aarch64::*;
use std::arch::asm;

use super::tile::{Lanes, ROWS, Tile};

/// Steps for `Isa::Neon`; its windows and its requantisation serve all ARM levels.
pub(super) struct Neon;

/// Sums of 16 channels, four to a register.
pub(super) type Sums = [int32x4_t; 4];

impl Tile for Neon {
    type Sums = Sums;
    type Weights = int8x16_t;
    type Tables = Tables;

    #[inline(always)]
    unsafe fn dense(
        rows: [*const i8; ROWS],
        weights: *const i8,
        depth: usize,
        bias: *const i32,
    ) -> [Sums; ROWS] {
        // SAFETY: the caller has the instruction set and vouches for the reads: quad `q` of the
        // weights of 16 values of depth starts 64 bytes after the one before it.
        unsafe {
            let mut sums = [[vdupq_n_s32(0); 4]; ROWS];
            for q in 0..4 {
                let partial = quad(rows, weights.add(64 * q), depth);
                let bias = vld1q_s32(bias.add(4 * q));
                for (sums, p) in sums.iter_mut().zip(partial) {
                    let whole = vpaddq_s32(vpaddq_s32(p[0], p[1]), vpaddq_s32(p[2], p[3]));
                    sums[q] = vaddq_s32(whole, bias);
                }
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn bias(bias: *const i32) -> Sums {
        // SAFETY: the caller has the instruction set and vouches for the reads.
        unsafe { std::array::from_fn(|q| vld1q_s32(bias.add(4 * q))) }
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
    unsafe fn tables(lanes: &Lanes) -> Tables {
        // SAFETY: the caller has the instruction set and vouches for the tables.
        unsafe {
            Tables {
                shift: std::array::from_fn(|q| vld1q_s32(lanes.shift.add(4 * q))),
                positive: [0, 8].map(|half| vld1q_s16(lanes.positive.add(half))),
                negative: [0, 8].map(|half| vld1q_s16(lanes.negative.add(half))),
                offset: vdupq_n_s16(lanes.offset),
                multiplier: vdupq_n_s16(lanes.residual.0),
                zero: vdup_n_s8(lanes.residual.1),
            }
        }
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
            let shifted = |q: usize| vshlq_s32(sums[q], tables.shift[q]);
            let r = if RESIDUAL {
                vld1q_s8(residual)
            } else {
                vdupq_n_s8(0)
            };
            let half = |h: usize| {
                let a = vqmovn_high_s32(vqmovn_s32(shifted(2 * h)), shifted(2 * h + 1));
                let mut m = tables.positive[h];
                if SELECT {
                    m = vbslq_s16(vcltzq_s16(a), tables.negative[h], m);
                }
                let mut v = vqrdmulhq_s16(a, m);
                if RESIDUAL {
                    let r = if h == 0 {
                        vget_low_s8(r)
                    } else {
                        vget_high_s8(r)
                    };
                    let r = vshlq_n_s16::<7>(vsubl_s8(r, tables.zero));
                    v = vqaddq_s16(v, vqrdmulhq_s16(r, tables.multiplier));
                }
                vqaddq_s16(v, tables.offset)
            };
            vst1q_s8(
                output,
                vqshrn_high_n_s16::<5>(vqshrn_n_s16::<5>(half(0)), half(1)),
            );
        }
    }
}

/// A pointer that the compiler knows nothing about: keeps it from carrying one pointer for each
/// position of a window through the loop instead of one for all.
#[inline(always)]
fn opaque(mut pointer: *const i8) -> *const i8 {
    // SAFETY: does nothing.
    unsafe {
        asm!("/* {0} */", inout(reg) pointer, options(pure, nomem, nostack, preserves_flags));
    }
    pointer
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

/// Tables of 16 channels.
#[derive(Clone, Copy)]
pub(super) struct Tables {
    shift: [int32x4_t; 4],
    positive: [int16x8_t; 2],
    negative: [int16x8_t; 2],
    offset: int16x8_t,
    multiplier: int16x8_t,
    zero: int8x8_t,
}

/// Products of each of six rows with each of four output channels, to be summed across lanes.
///
/// # Safety
/// The machine has NEON; rows are good for `depth` bytes, `weights` for `depth * 16 - 192`;
/// `depth` is a positive multiple of 16.
#[inline(always)]
unsafe fn quad(
    rows: [*const i8; ROWS],
    weights: *const i8,
    depth: usize,
) -> [[int32x4_t; 4]; ROWS] {
    // The products of three channels are under way at a time, which keeps in-order cores busy.
    macro_rules! row {
        ($add:literal, $row:literal, $s0:literal, $s1:literal, $s2:literal, $s3:literal) => {
            concat!(
                "ldr q4, [{",
                $row,
                "}], #16\n",
                "smull v5.8h, v4.8b, v0.8b\n",
                "smull v6.8h, v4.8b, v1.8b\n",
                "smull v7.8h, v4.8b, v2.8b\n",
                "smlal2 v5.8h, v4.16b, v0.16b\n",
                "smlal2 v6.8h, v4.16b, v1.16b\n",
                "smlal2 v7.8h, v4.16b, v2.16b\n",
                $add,
                " v",
                $s0,
                ".4s, v5.8h\n",
                "smull v5.8h, v4.8b, v3.8b\n",
                $add,
                " v",
                $s1,
                ".4s, v6.8h\n",
                $add,
                " v",
                $s2,
                ".4s, v7.8h\n",
                "smlal2 v5.8h, v4.16b, v3.16b\n",
                $add,
                " v",
                $s3,
                ".4s, v5.8h\n",
            )
        };
    }
    let (a0, a1, a2, a3);
    let (b0, b1, b2, b3);
    let (c0, c1, c2, c3);
    let (d0, d1, d2, d3);
    let (e0, e1, e2, e3);
    let (f0, f1, f2, f3);
    // SAFETY: reads `depth` bytes of each row and 64 of every 256 bytes of the weights; nothing
    // is written but the registers named.
    unsafe {
        asm!(
            // The first sixteen values set the sums, the rest add to them.
            "ldp q0, q1, [{w}]",
            "ldp q2, q3, [{w}, #32]",
            "add {w}, {w}, #256",
            row!("saddlp", "r0", "8", "9", "10", "11"),
            row!("saddlp", "r1", "12", "13", "14", "15"),
            row!("saddlp", "r2", "16", "17", "18", "19"),
            row!("saddlp", "r3", "20", "21", "22", "23"),
            row!("saddlp", "r4", "24", "25", "26", "27"),
            row!("saddlp", "r5", "28", "29", "30", "31"),
            "subs {k}, {k}, #16",
            "b.eq 3f",
            "2:",
            "ldp q0, q1, [{w}]",
            "ldp q2, q3, [{w}, #32]",
            "add {w}, {w}, #256",
            row!("sadalp", "r0", "8", "9", "10", "11"),
            row!("sadalp", "r1", "12", "13", "14", "15"),
            row!("sadalp", "r2", "16", "17", "18", "19"),
            row!("sadalp", "r3", "20", "21", "22", "23"),
            row!("sadalp", "r4", "24", "25", "26", "27"),
            row!("sadalp", "r5", "28", "29", "30", "31"),
            "subs {k}, {k}, #16",
            "b.ne 2b",
            "3:",
            w = inout(reg) weights => _,
            k = inout(reg) depth => _,
            r0 = inout(reg) rows[0] => _,
            r1 = inout(reg) rows[1] => _,
            r2 = inout(reg) rows[2] => _,
            r3 = inout(reg) rows[3] => _,
            r4 = inout(reg) rows[4] => _,
            r5 = inout(reg) rows[5] => _,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _,
            out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v8") a0, out("v9") a1, out("v10") a2, out("v11") a3,
            out("v12") b0, out("v13") b1, out("v14") b2, out("v15") b3,
            out("v16") c0, out("v17") c1, out("v18") c2, out("v19") c3,
            out("v20") d0, out("v21") d1, out("v22") d2, out("v23") d3,
            out("v24") e0, out("v25") e1, out("v26") e2, out("v27") e3,
            out("v28") f0, out("v29") f1, out("v30") f2, out("v31") f3,
            options(nostack, readonly),
        );
    }
    [
        [a0, a1, a2, a3],
        [b0, b1, b2, b3],
        [c0, c1, c2, c3],
        [d0, d1, d2, d3],
        [e0, e1, e2, e3],
        [f0, f1, f2, f3],
    ]
}
