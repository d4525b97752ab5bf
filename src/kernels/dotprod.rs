//! ARMv8.2: `SDOT`, sixteen products to an instruction.

use std::arch::aarch64::*;
use std::arch::asm;

use super::neon::{Neon, Sums, Tables};
use super::tile::{Lanes, ROWS, Tile};

/// Steps for `Isa::DotProd`.
pub(super) struct DotProd;

impl Tile for DotProd {
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
        // SAFETY: the caller has NEON and vouches for 16 values of bias.
        let bias: Sums = unsafe { std::array::from_fn(|q| vld1q_s32(bias.add(4 * q))) };
        let mut sums = [bias; ROWS];
        let [
            [a0, a1, a2, a3],
            [b0, b1, b2, b3],
            [c0, c1, c2, c3],
            [d0, d1, d2, d3],
            [e0, e1, e2, e3],
            [f0, f1, f2, f3],
        ] = &mut sums;
        // Four values of depth for sixteen channels: `$l` names the word of each row.
        macro_rules! step {
            ($l:literal) => {
                concat!(
                    "ldp q6, q7, [{w}], #32\n",
                    "sdot v8.4s, v6.16b, v0.4b[",
                    $l,
                    "]\n",
                    "sdot v12.4s, v6.16b, v1.4b[",
                    $l,
                    "]\n",
                    "sdot v16.4s, v6.16b, v2.4b[",
                    $l,
                    "]\n",
                    "sdot v20.4s, v6.16b, v3.4b[",
                    $l,
                    "]\n",
                    "sdot v24.4s, v6.16b, v4.4b[",
                    $l,
                    "]\n",
                    "sdot v28.4s, v6.16b, v5.4b[",
                    $l,
                    "]\n",
                    "sdot v9.4s, v7.16b, v0.4b[",
                    $l,
                    "]\n",
                    "sdot v13.4s, v7.16b, v1.4b[",
                    $l,
                    "]\n",
                    "sdot v17.4s, v7.16b, v2.4b[",
                    $l,
                    "]\n",
                    "sdot v21.4s, v7.16b, v3.4b[",
                    $l,
                    "]\n",
                    "sdot v25.4s, v7.16b, v4.4b[",
                    $l,
                    "]\n",
                    "sdot v29.4s, v7.16b, v5.4b[",
                    $l,
                    "]\n",
                    "ldp q6, q7, [{w}], #32\n",
                    "sdot v10.4s, v6.16b, v0.4b[",
                    $l,
                    "]\n",
                    "sdot v14.4s, v6.16b, v1.4b[",
                    $l,
                    "]\n",
                    "sdot v18.4s, v6.16b, v2.4b[",
                    $l,
                    "]\n",
                    "sdot v22.4s, v6.16b, v3.4b[",
                    $l,
                    "]\n",
                    "sdot v26.4s, v6.16b, v4.4b[",
                    $l,
                    "]\n",
                    "sdot v30.4s, v6.16b, v5.4b[",
                    $l,
                    "]\n",
                    "sdot v11.4s, v7.16b, v0.4b[",
                    $l,
                    "]\n",
                    "sdot v15.4s, v7.16b, v1.4b[",
                    $l,
                    "]\n",
                    "sdot v19.4s, v7.16b, v2.4b[",
                    $l,
                    "]\n",
                    "sdot v23.4s, v7.16b, v3.4b[",
                    $l,
                    "]\n",
                    "sdot v27.4s, v7.16b, v4.4b[",
                    $l,
                    "]\n",
                    "sdot v31.4s, v7.16b, v5.4b[",
                    $l,
                    "]\n",
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
                step!("0"),
                step!("1"),
                step!("2"),
                step!("3"),
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
