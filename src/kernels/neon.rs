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
    unsafe fn window(
        input: *const i8,
        offsets: &[usize],
        weights: *const i8,
        stride: usize,
        bias: *const i32,
    ) -> Sums {
        // SAFETY: the caller has the instruction set and vouches for 16 bytes at each tap.
        unsafe {
            let tap = |t: usize| {
                (
                    vld1q_s8(input.add(offsets[t])),
                    vld1q_s8(weights.add(t * stride)),
                )
            };
            let mut sums: Sums = std::array::from_fn(|q| vld1q_s32(bias.add(4 * q)));
            let mut add = |low: int16x8_t, high: int16x8_t| {
                sums[0] = vaddw_s16(sums[0], vget_low_s16(low));
                sums[1] = vaddw_high_s16(sums[1], low);
                sums[2] = vaddw_s16(sums[2], vget_low_s16(high));
                sums[3] = vaddw_high_s16(sums[3], high);
            };
            for t in (0..offsets.len() - offsets.len() % 2).step_by(2) {
                // 2 * 128 * 127 fits in 16 bits.
                let ((x, w), (y, v)) = (tap(t), tap(t + 1));
                let low = vmull_s8(vget_low_s8(x), vget_low_s8(w));
                let low = vmlal_s8(low, vget_low_s8(y), vget_low_s8(v));
                add(low, vmlal_high_s8(vmull_high_s8(x, w), y, v));
            }
            if offsets.len() % 2 == 1 {
                let (x, w) = tap(offsets.len() - 1);
                add(
                    vmull_s8(vget_low_s8(x), vget_low_s8(w)),
                    vmull_high_s8(x, w),
                );
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn finish<const SELECT: bool, const RESIDUAL: bool>(
        sums: Sums,
        lanes: &Lanes,
        residual: *const i8,
        output: *mut i8,
    ) {
        // SAFETY: the caller has the instruction set; the tables, the residual and the output are
        // good for 16 values each.
        unsafe {
            let shifted = |q: usize| vshlq_s32(sums[q], vld1q_s32(lanes.shift.add(4 * q)));
            let r = if RESIDUAL {
                vld1q_s8(residual)
            } else {
                vdupq_n_s8(0)
            };
            let half = |h: usize| {
                let a = vqmovn_high_s32(vqmovn_s32(shifted(2 * h)), shifted(2 * h + 1));
                let mut m = vld1q_s16(lanes.positive.add(8 * h));
                if SELECT {
                    m = vbslq_s16(vcltzq_s16(a), vld1q_s16(lanes.negative.add(8 * h)), m);
                }
                let mut v = vqrdmulhq_s16(a, m);
                if RESIDUAL {
                    let (multiplier, zero) = lanes.residual;
                    let r = if h == 0 {
                        vget_low_s8(r)
                    } else {
                        vget_high_s8(r)
                    };
                    let r = vshlq_n_s16::<7>(vsubl_s8(r, vdup_n_s8(zero)));
                    v = vqaddq_s16(v, vqrdmulhq_s16(r, vdupq_n_s16(multiplier)));
                }
                vqaddq_s16(v, vdupq_n_s16(lanes.offset))
            };
            let q = vqshrn_high_n_s16::<5>(vqshrn_n_s16::<5>(half(0)), half(1));
            let q = vmaxq_s8(q, vdupq_n_s8(lanes.low));
            vst1q_s8(output, vminq_s8(q, vdupq_n_s8(lanes.high)));
        }
    }
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
    let mut sums = [[int32x4_zero(); 4]; ROWS];
    let [
        [a0, a1, a2, a3],
        [b0, b1, b2, b3],
        [c0, c1, c2, c3],
        [d0, d1, d2, d3],
        [e0, e1, e2, e3],
        [f0, f1, f2, f3],
    ] = &mut sums;
    // The products of three channels are under way at a time, which keeps in-order cores busy.
    macro_rules! row {
        ($row:literal, $s0:literal, $s1:literal, $s2:literal, $s3:literal) => {
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
                "sadalp v",
                $s0,
                ".4s, v5.8h\n",
                "smull v5.8h, v4.8b, v3.8b\n",
                "sadalp v",
                $s1,
                ".4s, v6.8h\n",
                "sadalp v",
                $s2,
                ".4s, v7.8h\n",
                "smlal2 v5.8h, v4.16b, v3.16b\n",
                "sadalp v",
                $s3,
                ".4s, v5.8h\n",
            )
        };
    }
    // SAFETY: reads `depth` bytes of each row and 64 of every 256 bytes of the weights; nothing
    // is written but the registers named.
    unsafe {
        asm!(
            "2:",
            "ldp q0, q1, [{w}]",
            "ldp q2, q3, [{w}, #32]",
            "add {w}, {w}, #256",
            row!("r0", "8", "9", "10", "11"),
            row!("r1", "12", "13", "14", "15"),
            row!("r2", "16", "17", "18", "19"),
            row!("r3", "20", "21", "22", "23"),
            row!("r4", "24", "25", "26", "27"),
            row!("r5", "28", "29", "30", "31"),
            "subs {k}, {k}, #16",
            "b.ne 2b",
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
            inout("v8") *a0, inout("v9") *a1, inout("v10") *a2, inout("v11") *a3,
            inout("v12") *b0, inout("v13") *b1, inout("v14") *b2, inout("v15") *b3,
            inout("v16") *c0, inout("v17") *c1, inout("v18") *c2, inout("v19") *c3,
            inout("v20") *d0, inout("v21") *d1, inout("v22") *d2, inout("v23") *d3,
            inout("v24") *e0, inout("v25") *e1, inout("v26") *e2, inout("v27") *e3,
            inout("v28") *f0, inout("v29") *f1, inout("v30") *f2, inout("v31") *f3,
            options(nostack, readonly),
        );
    }
    sums
}

#[inline(always)]
fn int32x4_zero() -> int32x4_t {
    // SAFETY: NEON is part of every aarch64 target with floating point.
    unsafe { vdupq_n_s32(0) }
}
