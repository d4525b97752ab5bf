//! x86 with AVX2 and AVX-VNNI but without AVX512: `VPDPBUSD` for dense layers, all else as with AVX2.

use std::arch::x86_64::*;

use super::avx2::{Avx2, ROWS, pack};
use super::tile::{Lanes, Target, Tile};

/// Steps for `Isa::AvxVnni`. The panels of dense layers hold activations plus 128, unsigned.
pub(super) struct AvxVnni;

impl Tile for AvxVnni {
    const ROWS: usize = ROWS;
    type Sums = <Avx2 as Tile>::Sums;

    #[inline(always)]
    unsafe fn pack(rows: *const i8, count: usize, depth: usize, panel: *mut i8) {
        // SAFETY: passed on.
        unsafe { pack::<ROWS>(rows, count, depth, panel, i32::from_ne_bytes([0x80; 4])) }
    }

    #[inline(always)]
    unsafe fn sums(
        panel: *const i8,
        depth: usize,
        weights: *const i8,
        start: *const i32,
    ) -> Self::Sums {
        // SAFETY: the caller has the instruction set; reads stay below `ROWS * depth` in the panel
        // and below `16 * depth` in the weights.
        unsafe {
            let start = [0, 8].map(|half| _mm256_loadu_si256(start.add(half).cast()));
            let mut sums = [start; ROWS];
            let mut words = panel.cast::<i32>();
            for k in (0..depth).step_by(4) {
                let w = [0, 32].map(|half| _mm256_loadu_si256(weights.add(16 * k + half).cast()));
                for (row, sums) in sums.iter_mut().enumerate() {
                    let x = _mm256_set1_epi32(words.add(row).read_unaligned());
                    for (sum, w) in sums.iter_mut().zip(w) {
                        *sum = _mm256_dpbusd_avx_epi32(*sum, x, w);
                    }
                }
                words = words.add(ROWS);
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn requantise<const SELECT: bool, const RESIDUAL: bool>(
        sums: Self::Sums,
        lanes: Lanes<'_>,
        target: Target,
    ) {
        // SAFETY: passed on.
        unsafe { <Avx2 as Tile>::requantise::<SELECT, RESIDUAL>(sums, lanes, target) }
    }

    #[inline(always)]
    unsafe fn store(sums: Self::Sums, output: *mut i32, stride: usize) {
        // SAFETY: passed on.
        unsafe { <Avx2 as Tile>::store(sums, output, stride) }
    }
}
