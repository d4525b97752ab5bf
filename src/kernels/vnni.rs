//! x86 with AVX512 and VNNI: `VPDPBUSD` for dense layers, 16-bit products for windows.

use std::arch::x86_64::*;

use super::avx2::pack;
use super::requant::Table;
use super::sliding::Sliding;
use super::tile::{Lanes, Target, Tile};

/// Pixels of one step of a dense layer: their sums and one vector of weights fit the registers.
const ROWS: usize = 14;

/// Steps for `Isa::Avx512Vnni`. The panels of dense layers hold activations plus 128,
/// unsigned.
pub(super) struct Vnni;

impl Tile for Vnni {
    const ROWS: usize = ROWS;
    type Sums = [__m512i; ROWS];

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
    ) -> [__m512i; ROWS] {
        // SAFETY: the caller has the instruction set; reads stay below `ROWS * depth` in the panel
        // and below `16 * depth` in the weights.
        unsafe {
            let mut sums = [_mm512_loadu_si512(start.cast()); ROWS];
            let mut words = panel.cast::<i32>();
            for k in (0..depth).step_by(4) {
                let w = _mm512_loadu_si512(weights.add(16 * k).cast());
                for (row, sum) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_epi32(words.add(row).read_unaligned());
                    *sum = _mm512_dpbusd_epi32(*sum, x, w);
                }
                words = words.add(ROWS);
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn requantise<const SELECT: bool, const RESIDUAL: bool>(
        sums: [__m512i; ROWS],
        lanes: Lanes<'_>,
        target: Target,
    ) {
        // SAFETY: the caller has the instruction set; the target is good for ROWS pixels.
        unsafe {
            let tables = Self::tables(lanes);
            for (row, &sums) in sums.iter().enumerate() {
                let (output, added) = target.row(row);
                Self::finish::<SELECT, RESIDUAL>(sums, &tables, added, output);
            }
        }
    }

    #[inline(always)]
    unsafe fn store(sums: [__m512i; ROWS], output: *mut i32, stride: usize) {
        for (row, sums) in sums.into_iter().enumerate() {
            // SAFETY: the caller has the instruction set and vouches for the output.
            unsafe { _mm512_storeu_si512(output.add(row * stride).cast(), sums) }
        }
    }
}

impl Sliding for Vnni {
    type Sums = __m512i;
    type Weights = __m256i;
    type Tables = Tables;

    #[inline(always)]
    unsafe fn bias(table: &Table) -> __m512i {
        // SAFETY: the caller has the instruction set and vouches for the read.
        unsafe { _mm512_loadu_si512(table.bias.as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn weights(weights: *const i8) -> __m256i {
        // SAFETY: the caller has the instruction set and vouches for the read.
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.cast())) }
    }

    #[inline(always)]
    unsafe fn window<const N: usize>(
        mut sums: __m512i,
        input: *const i8,
        offsets: &[usize; N],
        weights: &[__m256i; N],
    ) -> __m512i {
        // SAFETY: the caller has the instruction set and vouches for 16 bytes at each position.
        unsafe {
            let product = |t: usize| {
                let x = _mm256_cvtepi8_epi16(_mm_loadu_si128(input.add(offsets[t]).cast()));
                // At most 128 * 127: two of them fit in 16 bits.
                _mm256_mullo_epi16(x, weights[t])
            };
            for t in (0..N - N % 2).step_by(2) {
                let pair = _mm256_add_epi16(product(t), product(t + 1));
                sums = _mm512_add_epi32(sums, _mm512_cvtepi16_epi32(pair));
            }
            if N % 2 == 1 {
                sums = _mm512_add_epi32(sums, _mm512_cvtepi16_epi32(product(N - 1)));
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn tables(lanes: Lanes<'_>) -> Tables {
        // SAFETY: the caller has the instruction set and vouches for the tables.
        unsafe {
            // Narrowing saturates where the definition shifts to the upper half.
            let upper = _mm512_set1_epi32(16);
            let shift = _mm512_loadu_si512(lanes.table.shift.as_ptr().cast());
            let zero = _mm512_setzero_si512();
            Tables {
                left: _mm512_max_epi32(_mm512_sub_epi32(shift, upper), zero),
                right: _mm512_max_epi32(_mm512_sub_epi32(upper, shift), zero),
                positive: _mm256_loadu_si256(lanes.table.positive.as_ptr().cast()),
                negative: _mm256_loadu_si256(lanes.table.negative.as_ptr().cast()),
                offset: _mm256_set1_epi16(lanes.offset),
                multiplier: _mm256_set1_epi16(lanes.residual.0),
                zero: _mm256_set1_epi16(lanes.residual.1.into()),
            }
        }
    }

    #[inline(always)]
    unsafe fn finish<const SELECT: bool, const RESIDUAL: bool>(
        sums: __m512i,
        tables: &Tables,
        residual: *const i8,
        output: *mut i8,
    ) {
        // SAFETY: the caller has the instruction set; the residual and the output are good for 16
        // bytes each.
        unsafe {
            let t = _mm512_srav_epi32(_mm512_sllv_epi32(sums, tables.left), tables.right);
            let a = _mm512_cvtsepi32_epi16(t);
            let mut m = tables.positive;
            if SELECT {
                m = _mm256_mask_blend_epi16(_mm256_movepi16_mask(a), m, tables.negative);
            }
            let mut v = _mm256_mulhrs_epi16(a, m);
            if RESIDUAL {
                let r = _mm256_cvtepi8_epi16(_mm_loadu_si128(residual.cast()));
                let r = _mm256_slli_epi16::<7>(_mm256_sub_epi16(r, tables.zero));
                v = _mm256_adds_epi16(v, _mm256_mulhrs_epi16(r, tables.multiplier));
            }
            let v = _mm256_adds_epi16(v, tables.offset);
            let q = _mm256_cvtsepi16_epi8(_mm256_srai_epi16::<5>(v));
            _mm_storeu_si128(output.cast(), q);
        }
    }
}

/// Tables of 16 channels, the shift in its two directions.
#[derive(Clone, Copy)]
pub(super) struct Tables {
    left: __m512i,
    right: __m512i,
    positive: __m256i,
    negative: __m256i,
    offset: __m256i,
    multiplier: __m256i,
    zero: __m256i,
}
