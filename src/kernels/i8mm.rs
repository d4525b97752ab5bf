//! ARMv8.6: `SMMLA`, products of 2x8 by 8x2 matrices.

use std::arch::aarch64::*;
use std::arch::asm;

use super::neon::{Neon, Sums, Tables};
use super::tile::{Lanes, ROWS, Tile};

/// Steps for `Isa::I8mm`.
pub(super) struct I8mm;

impl Tile for I8mm {
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
        // Each register holds two rows of two channels.
        // SAFETY: the caller has NEON and vouches for 16 values of bias.
        let bias: [int32x4_t; 8] = unsafe {
            std::array::from_fn(|pair| {
                vreinterpretq_s32_s64(vld1q_dup_s64(bias.add(2 * pair).cast::<i64>()))
            })
        };
        let mut blocks = [bias; ROWS / 2];
        let [
            [a0, a1, a2, a3, a4, a5, a6, a7],
            [b0, b1, b2, b3, b4, b5, b6, b7],
            [c0, c1, c2, c3, c4, c5, c6, c7],
        ] = &mut blocks;
        // Eight values of depth for sixteen channels; `$a`, `$b`, `$c` hold two rows each.
        macro_rules! step {
            ($a:literal, $b:literal, $c:literal) => {
                concat!(
                    "ldp q4, q7, [{w}], #32\n",
                    "smmla v8.4s, v",
                    $a,
                    ".16b, v4.16b\n",
                    "smmla v16.4s, v",
                    $b,
                    ".16b, v4.16b\n",
                    "smmla v24.4s, v",
                    $c,
                    ".16b, v4.16b\n",
                    "smmla v9.4s, v",
                    $a,
                    ".16b, v7.16b\n",
                    "smmla v17.4s, v",
                    $b,
                    ".16b, v7.16b\n",
                    "smmla v25.4s, v",
                    $c,
                    ".16b, v7.16b\n",
                    "ldp q4, q7, [{w}], #32\n",
                    "smmla v10.4s, v",
                    $a,
                    ".16b, v4.16b\n",
                    "smmla v18.4s, v",
                    $b,
                    ".16b, v4.16b\n",
                    "smmla v26.4s, v",
                    $c,
                    ".16b, v4.16b\n",
                    "smmla v11.4s, v",
                    $a,
                    ".16b, v7.16b\n",
                    "smmla v19.4s, v",
                    $b,
                    ".16b, v7.16b\n",
                    "smmla v27.4s, v",
                    $c,
                    ".16b, v7.16b\n",
                    "ldp q4, q7, [{w}], #32\n",
                    "smmla v12.4s, v",
                    $a,
                    ".16b, v4.16b\n",
                    "smmla v20.4s, v",
                    $b,
                    ".16b, v4.16b\n",
                    "smmla v28.4s, v",
                    $c,
                    ".16b, v4.16b\n",
                    "smmla v13.4s, v",
                    $a,
                    ".16b, v7.16b\n",
                    "smmla v21.4s, v",
                    $b,
                    ".16b, v7.16b\n",
                    "smmla v29.4s, v",
                    $c,
                    ".16b, v7.16b\n",
                    "ldp q4, q7, [{w}], #32\n",
                    "smmla v14.4s, v",
                    $a,
                    ".16b, v4.16b\n",
                    "smmla v22.4s, v",
                    $b,
                    ".16b, v4.16b\n",
                    "smmla v30.4s, v",
                    $c,
                    ".16b, v4.16b\n",
                    "smmla v15.4s, v",
                    $a,
                    ".16b, v7.16b\n",
                    "smmla v23.4s, v",
                    $b,
                    ".16b, v7.16b\n",
                    "smmla v31.4s, v",
                    $c,
                    ".16b, v7.16b\n",
                )
            };
        }
        // SAFETY: the caller has the instruction set; reads `depth` bytes of each row and
        // `16 * depth` of the weights; nothing is written but the registers named.
        unsafe {
            asm!(
                "2:",
                "ldr q0, [{r0}], #16",
                "ldr q1, [{r1}], #16",
                "ldr q2, [{r2}], #16",
                "ldr q3, [{r3}], #16",
                "ldr q4, [{r4}], #16",
                "ldr q5, [{r5}], #16",
                "zip1 v6.2d, v0.2d, v1.2d",
                "zip2 v1.2d, v0.2d, v1.2d",
                "zip1 v0.2d, v2.2d, v3.2d",
                "zip2 v3.2d, v2.2d, v3.2d",
                "zip1 v2.2d, v4.2d, v5.2d",
                "zip2 v5.2d, v4.2d, v5.2d",
                step!("6", "0", "2"),
                step!("1", "3", "5"),
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
                inout("v12") *a4, inout("v13") *a5, inout("v14") *a6, inout("v15") *a7,
                inout("v16") *b0, inout("v17") *b1, inout("v18") *b2, inout("v19") *b3,
                inout("v20") *b4, inout("v21") *b5, inout("v22") *b6, inout("v23") *b7,
                inout("v24") *c0, inout("v25") *c1, inout("v26") *c2, inout("v27") *c3,
                inout("v28") *c4, inout("v29") *c5, inout("v30") *c6, inout("v31") *c7,
                options(nostack, readonly),
            );
        }
        std::array::from_fn(|row| {
            std::array::from_fn(|q| {
                let block = &blocks[row / 2];
                // SAFETY: the caller has NEON.
                unsafe {
                    let left = vreinterpretq_s64_s32(block[2 * q]);
                    let right = vreinterpretq_s64_s32(block[2 * q + 1]);
                    vreinterpretq_s32_s64(if row % 2 == 0 {
                        vzip1q_s64(left, right)
                    } else {
                        vzip2q_s64(left, right)
                    })
                }
            })
        })
    }

    #[inline(always)]
    unsafe fn bias(bias: *const i32) -> Sums {
        // SAFETY: passed on.
        unsafe { Neon::bias(bias) }
    }

    #[inline(always)]
    unsafe fn weights(weights: *const i8) -> int8x16_t {
        // SAFETY: passed on.
        unsafe { Neon::weights(weights) }
    }

    #[inline(always)]
    unsafe fn window<const N: usize>(
        sums: Sums,
        input: *const i8,
        offsets: &[usize; N],
        weights: &[int8x16_t; N],
    ) -> Sums {
        // SAFETY: passed on.
        unsafe { Neon::window(sums, input, offsets, weights) }
    }

    #[inline(always)]
    unsafe fn tables(lanes: &Lanes) -> Tables {
        // SAFETY: passed on.
        unsafe { Neon::tables(lanes) }
    }

    #[inline(always)]
    unsafe fn finish<const SELECT: bool, const RESIDUAL: bool>(
        sums: Sums,
        tables: &Tables,
        residual: *const i8,
        output: *mut i8,
    ) {
        // SAFETY: passed on.
        unsafe { Neon::finish::<SELECT, RESIDUAL>(sums, tables, residual, output) }
    }
}
