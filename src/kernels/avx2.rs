//! x86 with AVX2: `VPMADDUBSW` on magnitudes for dense layers, 16-bit products for windows.

use std::arch::x86_64::*;

use super::requant::Table;
use super::sliding::Sliding;
use super::tile::{Lanes, Target, Tile};

/// Pixels of one step of a dense layer.
pub(super) const ROWS: usize = 6;

/// Steps for `Isa::Avx2`.
pub(super) struct Avx2;

impl Tile for Avx2 {
    const ROWS: usize = ROWS;
    type Sums = [[__m256i; 2]; ROWS];

    #[inline(always)]
    unsafe fn pack(rows: *const i8, count: usize, depth: usize, panel: *mut i8) {
        // SAFETY: passed on.
        unsafe { pack::<ROWS>(rows, count, depth, panel, 0) }
    }

    #[inline(always)]
    unsafe fn sums(
        panel: *const i8,
        depth: usize,
        weights: *const i8,
        start: *const i32,
    ) -> [[__m256i; 2]; ROWS] {
        // SAFETY: the caller has the instruction set; reads stay below `ROWS * depth` in the panel
        // and below `16 * depth` in the weights.
        unsafe {
            let ones = _mm256_set1_epi16(1);
            let start = [0, 8].map(|half| _mm256_loadu_si256(start.add(half).cast()));
            let mut sums = [start; ROWS];
            let mut words = panel.cast::<i32>();
            for k in (0..depth).step_by(4) {
                let w = [0, 32].map(|half| _mm256_loadu_si256(weights.add(16 * k + half).cast()));
                for (row, sums) in sums.iter_mut().enumerate() {
                    let x = _mm256_set1_epi32(words.add(row).read_unaligned());
                    let magnitude = _mm256_abs_epi8(x);
                    for (sum, w) in sums.iter_mut().zip(w) {
                        // 2 * 128 * 127 fits in 16 bits: nothing saturates.
                        let pair = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(w, x));
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pair, ones));
                    }
                }
                words = words.add(ROWS);
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn requantise<const SELECT: bool, const RESIDUAL: bool>(
        sums: [[__m256i; 2]; ROWS],
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
    unsafe fn store(sums: [[__m256i; 2]; ROWS], output: *mut i32, stride: usize) {
        for (row, sums) in sums.into_iter().enumerate() {
            // SAFETY: the caller has the instruction set and vouches for the output.
            unsafe {
                let output = output.add(row * stride);
                _mm256_storeu_si256(output.cast(), sums[0]);
                _mm256_storeu_si256(output.add(8).cast(), sums[1]);
            }
        }
    }
}

impl Sliding for Avx2 {
    type Sums = [__m256i; 2];
    type Weights = __m256i;
    type Tables = Tables;

    #[inline(always)]
    unsafe fn bias(table: &Table) -> [__m256i; 2] {
        // SAFETY: the caller has the instruction set and vouches for the reads.
        unsafe { [0, 8].map(|half| _mm256_loadu_si256(table.bias.as_ptr().add(half).cast())) }
    }

    #[inline(always)]
    unsafe fn weights(weights: *const i8) -> __m256i {
        // SAFETY: the caller has the instruction set and vouches for the read.
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.cast())) }
    }

    #[inline(always)]
    unsafe fn window<const N: usize>(
        mut sums: [__m256i; 2],
        input: *const i8,
        offsets: &[usize; N],
        weights: &[__m256i; N],
    ) -> [__m256i; 2] {
        // SAFETY: the caller has the instruction set and vouches for 16 bytes at each position.
        unsafe {
            let product = |t: usize| {
                let x = _mm256_cvtepi8_epi16(_mm_loadu_si128(input.add(offsets[t]).cast()));
                // At most 128 * 127: two of them fit in 16 bits.
                _mm256_mullo_epi16(x, weights[t])
            };
            let mut add = |products: __m256i| {
                let low = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(products));
                let high = _mm256_cvtepi16_epi32(_mm256_extracti128_si256::<1>(products));
                sums = [
                    _mm256_add_epi32(sums[0], low),
                    _mm256_add_epi32(sums[1], high),
                ];
            };
            for t in (0..N - N % 2).step_by(2) {
                add(_mm256_add_epi16(product(t), product(t + 1)));
            }
            if N % 2 == 1 {
                add(product(N - 1));
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn tables(lanes: Lanes<'_>) -> Tables {
        // SAFETY: the caller has the instruction set and vouches for the tables.
        unsafe {
            let zero = _mm256_setzero_si256();
            // A pack saturates where the definition shifts to the upper half.
            let upper = _mm256_set1_epi32(16);
            let shift =
                [0, 8].map(|half| _mm256_loadu_si256(lanes.table.shift.as_ptr().add(half).cast()));
            Tables {
                left: shift.map(|s| _mm256_max_epi32(_mm256_sub_epi32(s, upper), zero)),
                right: shift.map(|s| _mm256_max_epi32(_mm256_sub_epi32(upper, s), zero)),
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
        sums: [__m256i; 2],
        tables: &Tables,
        residual: *const i8,
        output: *mut i8,
    ) {
        // SAFETY: the caller has the instruction set; the residual and the output are good for 16
        // bytes each.
        unsafe {
            let [low, high] = std::array::from_fn(|half| {
                let t = _mm256_sllv_epi32(sums[half], tables.left[half]);
                _mm256_srav_epi32(t, tables.right[half])
            });
            // The packing works within halves of the register; the permutation restores order.
            let a = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high));
            let mut m = tables.positive;
            if SELECT {
                m = _mm256_blendv_epi8(m, tables.negative, _mm256_srai_epi16::<15>(a));
            }
            let mut v = _mm256_mulhrs_epi16(a, m);
            if RESIDUAL {
                let r = _mm256_cvtepi8_epi16(_mm_loadu_si128(residual.cast()));
                let r = _mm256_slli_epi16::<7>(_mm256_sub_epi16(r, tables.zero));
                v = _mm256_adds_epi16(v, _mm256_mulhrs_epi16(r, tables.multiplier));
            }
            let v = _mm256_srai_epi16::<5>(_mm256_adds_epi16(v, tables.offset));
            let low = _mm256_castsi256_si128(v);
            let q = _mm_packs_epi16(low, _mm256_extracti128_si256::<1>(v));
            _mm_storeu_si128(output.cast(), q);
        }
    }
}

/// Tables of 16 channels, the shift in its two directions.
#[derive(Clone, Copy)]
pub(super) struct Tables {
    left: [__m256i; 2],
    right: [__m256i; 2],
    positive: __m256i,
    negative: __m256i,
    offset: __m256i,
    multiplier: __m256i,
    zero: __m256i,
}

/// Interleaves `ROWS` rows by words of four values, each byte with the bits of `flip` turned over.
///
/// # Safety
/// As [`Tile::pack`].
#[inline(always)]
pub(super) unsafe fn pack<const ROWS: usize>(
    rows: *const i8,
    count: usize,
    depth: usize,
    panel: *mut i8,
    flip: i32,
) {
    let mut panel = panel.cast::<i32>();
    // SAFETY: every row that is read is one of the `count`; `depth * ROWS` bytes are written.
    unsafe {
        let rows: [*const i8; ROWS] = std::array::from_fn(|j| rows.add(j.min(count - 1) * depth));
        for k in (0..depth).step_by(4) {
            for row in rows {
                let word = row.add(k).cast::<i32>().read_unaligned();
                panel.write_unaligned(word ^ flip);
                panel = panel.add(1);
            }
        }
    }
}
