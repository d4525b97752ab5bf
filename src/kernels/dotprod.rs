//! ARMv8.2: `SDOT`, sixteen products to an instruction.

use std::arch::asm;

use super::neon::{Sums, finish_rows, store_rows};
use super::tile::{Lanes, Target, Tile};

/// Pixels of one step of a dense layer, here and for `Isa::I8mm`.
pub(super) const ROWS: usize = 6;

/// Steps for `Isa::DotProd`.
pub(super) struct DotProd;

impl Tile for DotProd {
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
        // Four values of depth for sixteen channels: `$even` and `$odd` name the words of the two
        // rows that share a register.
        #[rustfmt::skip]
        macro_rules! step {
            ($even:literal, $odd:literal) => {
                concat!(
                    "ld1 {{v4.16b-v7.16b}}, [{w}], #64\n",
                    step!($even, $odd, "4", "8", "12", "16", "20", "24", "28"),
                    step!($even, $odd, "5", "9", "13", "17", "21", "25", "29"),
                    step!($even, $odd, "6", "10", "14", "18", "22", "26", "30"),
                    step!($even, $odd, "7", "11", "15", "19", "23", "27", "31"),
                )
            };
            ($even:literal, $odd:literal, $w:literal,
             $a:literal, $b:literal, $c:literal, $d:literal, $e:literal, $f:literal) => {
                concat!(
                    "sdot v", $a, ".4s, v", $w, ".16b, v0.4b[", $even, "]\n",
                    "sdot v", $b, ".4s, v", $w, ".16b, v0.4b[", $odd, "]\n",
                    "sdot v", $c, ".4s, v", $w, ".16b, v1.4b[", $even, "]\n",
                    "sdot v", $d, ".4s, v", $w, ".16b, v1.4b[", $odd, "]\n",
                    "sdot v", $e, ".4s, v", $w, ".16b, v2.4b[", $even, "]\n",
                    "sdot v", $f, ".4s, v", $w, ".16b, v2.4b[", $odd, "]\n",
                )
            };
        }
        #[rustfmt::skip]
        macro_rules! eight {
            () => {
                concat!("ld1 {{v0.16b-v2.16b}}, [{x}], #48\n", step!("0", "2"), step!("1", "3"))
            };
        }
        let (a0, a1, a2, a3);
        let (b0, b1, b2, b3);
        let (c0, c1, c2, c3);
        let (d0, d1, d2, d3);
        let (e0, e1, e2, e3);
        let (f0, f1, f2, f3);
        // SAFETY: the caller has the instruction set; reads `6 * depth` bytes of the panel,
        // `16 * depth` of the weights and 64 of the start; nothing is written but the registers
        // named.
        unsafe {
            asm!(
                "ld1 {{v8.4s-v11.4s}}, [{s}]",
                "ld1 {{v12.4s-v15.4s}}, [{s}]",
                "ld1 {{v16.4s-v19.4s}}, [{s}]",
                "ld1 {{v20.4s-v23.4s}}, [{s}]",
                "ld1 {{v24.4s-v27.4s}}, [{s}]",
                "ld1 {{v28.4s-v31.4s}}, [{s}]",
                // Sixteen values twice to a round; an odd one starts in the middle.
                "tbnz {k}, #4, 3f",
                "2:",
                eight!(),
                eight!(),
                "3:",
                eight!(),
                eight!(),
                "subs {k}, {k}, #32",
                "b.gt 2b",
                x = inout(reg) panel => _,
                w = inout(reg) weights => _,
                k = inout(reg) depth => _,
                s = in(reg) start,
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

/// Interleaves six rows: eight values of one and eight of the next to a register.
///
/// # Safety
/// As [`Tile::pack`], on a machine with NEON.
#[inline(always)]
pub(super) unsafe fn pack_pairs(rows: *const i8, count: usize, depth: usize, panel: *mut i8) {
    // Sixteen values of the rows in the six registers.
    #[rustfmt::skip]
    macro_rules! zip {
        ($a:literal, $b:literal, $c:literal, $d:literal, $e:literal, $f:literal) => {
            concat!(
                zip!("zip1", $a, $b, $c, $d, $e, $f), zip!("zip2", $a, $b, $c, $d, $e, $f),
            )
        };
        ($half:literal, $a:literal, $b:literal, $c:literal, $d:literal, $e:literal, $f:literal) => {
            concat!(
                $half, " v20.2d, v", $a, ".2d, v", $b, ".2d\n",
                $half, " v21.2d, v", $c, ".2d, v", $d, ".2d\n",
                $half, " v22.2d, v", $e, ".2d, v", $f, ".2d\n",
                "st1 {{v20.2d-v22.2d}}, [{to}], #48\n",
            )
        };
    }
    let row = |j: usize| rows.wrapping_add(j.min(count - 1) * depth);
    // SAFETY: reads `depth` bytes of each row, which is one of the `count`, and writes `depth * ROWS` of
    // the panel and the registers named; `depth` is a multiple of 16, so that one bit tells an odd one.
    unsafe {
        asm!(
            "subs {k}, {k}, #32",
            "b.lt 3f",
            "2:",
            "ldp q0, q1, [{a}], #32",
            "ldp q2, q3, [{b}], #32",
            "ldp q4, q5, [{c}], #32",
            "ldp q6, q7, [{d}], #32",
            "ldp q16, q17, [{e}], #32",
            "ldp q18, q19, [{f}], #32",
            zip!("0", "2", "4", "6", "16", "18"),
            zip!("1", "3", "5", "7", "17", "19"),
            "subs {k}, {k}, #32",
            "b.ge 2b",
            "3:",
            // Sixteen values are left of an odd number of them.
            "tbz {k}, #4, 4f",
            "ldr q0, [{a}]",
            "ldr q2, [{b}]",
            "ldr q4, [{c}]",
            "ldr q6, [{d}]",
            "ldr q16, [{e}]",
            "ldr q18, [{f}]",
            zip!("0", "2", "4", "6", "16", "18"),
            "4:",
            k = inout(reg) depth => _,
            a = inout(reg) row(0) => _, b = inout(reg) row(1) => _, c = inout(reg) row(2) => _,
            d = inout(reg) row(3) => _, e = inout(reg) row(4) => _, f = inout(reg) row(5) => _,
            to = inout(reg) panel => _,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _,
            out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v16") _, out("v17") _, out("v18") _, out("v19") _,
            out("v20") _, out("v21") _, out("v22") _,
            options(nostack),
        );
    }
}
