//! ARMv8.6: `SMMLA`, products of 2x8 by 8x2 matrices.

use std::arch::aarch64::*;
use std::arch::asm;

use super::dotprod::{ROWS, pack_pairs};
use super::neon::{Sums, finish_rows, store_rows};
use super::tile::{Lanes, Target, Tile};

/// Steps for `Isa::I8mm`.
pub(super) struct I8mm;

impl Tile for I8mm {
    const ROWS: usize = ROWS;
    type Sums = [Sums; ROWS];

    #[inline(always)]
    unsafe fn pack(rows: *const i8, count: usize, depth: usize, panel: *mut i8) {
        // SAFETY: passed on.
        unsafe { pack_pairs(rows, count, depth, panel) }
    }

    #[inline(always)]
    unsafe fn sums(
        panel: *const i8,
        depth: usize,
        weights: *const i8,
        start: *const i32,
    ) -> [Sums; ROWS] {
        // Eight values of depth for two channels, six rows.
        #[rustfmt::skip]
        macro_rules! pair {
            ($w:literal, $a:literal, $b:literal, $c:literal) => {
                concat!(
                    "smmla v", $a, ".4s, v0.16b, v", $w, ".16b\n",
                    "smmla v", $b, ".4s, v1.16b, v", $w, ".16b\n",
                    "smmla v", $c, ".4s, v2.16b, v", $w, ".16b\n",
                )
            };
        }
        #[rustfmt::skip]
        macro_rules! step {
            () => {
                concat!(
                    "ld1 {{v0.16b-v2.16b}}, [{x}], #48\n",
                    "ld1 {{v4.16b-v7.16b}}, [{w}], #64\n",
                    pair!("4", "8", "16", "24"), pair!("5", "9", "17", "25"),
                    pair!("6", "10", "18", "26"), pair!("7", "11", "19", "27"),
                    "ld1 {{v4.16b-v7.16b}}, [{w}], #64\n",
                    pair!("4", "12", "20", "28"), pair!("5", "13", "21", "29"),
                    pair!("6", "14", "22", "30"), pair!("7", "15", "23", "31"),
                )
            };
        }
        let (a0, a1, a2, a3, a4, a5, a6, a7);
        let (b0, b1, b2, b3, b4, b5, b6, b7);
        let (c0, c1, c2, c3, c4, c5, c6, c7);
        // SAFETY: the caller has the instruction set; reads `6 * depth` bytes of the panel,
        // `16 * depth` of the weights and 128 of the start; nothing is written but the registers
        // named.
        unsafe {
            asm!(
                "ld1 {{v8.4s-v11.4s}}, [{s}]",
                "ld1 {{v16.4s-v19.4s}}, [{s}]",
                "ld1 {{v24.4s-v27.4s}}, [{s}], #64",
                "ld1 {{v12.4s-v15.4s}}, [{s}]",
                "ld1 {{v20.4s-v23.4s}}, [{s}]",
                "ld1 {{v28.4s-v31.4s}}, [{s}]",
                // Sixteen values twice to a round; an odd one starts in the middle.
                "tbnz {k}, #4, 3f",
                "2:",
                step!(),
                step!(),
                "3:",
                step!(),
                step!(),
                "subs {k}, {k}, #32",
                "b.gt 2b",
                x = inout(reg) panel => _,
                w = inout(reg) weights => _,
                k = inout(reg) depth => _,
                s = inout(reg) start => _,
                out("v0") _, out("v1") _, out("v2") _, out("v3") _,
                out("v4") _, out("v5") _, out("v6") _, out("v7") _,
                out("v8") a0, out("v9") a1, out("v10") a2, out("v11") a3,
                out("v12") a4, out("v13") a5, out("v14") a6, out("v15") a7,
                out("v16") b0, out("v17") b1, out("v18") b2, out("v19") b3,
                out("v20") b4, out("v21") b5, out("v22") b6, out("v23") b7,
                out("v24") c0, out("v25") c1, out("v26") c2, out("v27") c3,
                out("v28") c4, out("v29") c5, out("v30") c6, out("v31") c7,
                options(nostack, readonly),
            );
        }
        let blocks = [
            [a0, a1, a2, a3, a4, a5, a6, a7],
            [b0, b1, b2, b3, b4, b5, b6, b7],
            [c0, c1, c2, c3, c4, c5, c6, c7],
        ];
        // Each register holds two rows of two channels.
        std::array::from_fn(|row| {
            std::array::from_fn(|q| {
                let block: &[int64x2_t; 8] = &blocks[row / 2];
                // SAFETY: the caller has NEON.
                unsafe {
                    vreinterpretq_s32_s64(if row % 2 == 0 {
                        vzip1q_s64(block[2 * q], block[2 * q + 1])
                    } else {
                        vzip2q_s64(block[2 * q], block[2 * q + 1])
                    })
                }
            })
        })
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
