//! x86 with AVX2: `VPMADDUBSW` on magnitudes for dense layers, 16-bit products for windows.

use std::arch::x86_64::*;

use super::tile::{Lanes, ROWS, Tile};

/// Steps for `Isa::Avx2`.
pub(super) struct Avx2;

impl Tile for Avx2 {
    type Sums = [__m256i; 2];

    #[inline(always)]
    unsafe fn dense(
        rows: [*const i8; ROWS],
        weights: *const i8,
        depth: usize,
        bias: *const i32,
    ) -> [[__m256i; 2]; ROWS] {
        // SAFETY: the caller has the instruction set; reads stay below `depth` in each row and
        // below `16 * depth` in the weights.
        unsafe {
            let ones = _mm256_set1_epi16(1);
            let mut sums = [load_bias(bias); ROWS];
            for k in (0..depth).step_by(4) {
                let w = [0, 32].map(|half| _mm256_loadu_si256(weights.add(16 * k + half).cast()));
                for (sums, row) in sums.iter_mut().zip(rows) {
                    let x = _mm256_set1_epi32(row.add(k).cast::<i32>().read_unaligned());
                    let magnitude = _mm256_abs_epi8(x);
                    for (sum, w) in sums.iter_mut().zip(w) {
                        // 2 * 128 * 127 fits in 16 bits: nothing saturates.
                        let pair = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(w, x));
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pair, ones));
                    }
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
    ) -> [__m256i; 2] {
        // SAFETY: the caller has the instruction set and vouches for 16 bytes at each tap.
        unsafe {
            let tap = |t: usize| {
                let x = _mm256_cvtepi8_epi16(_mm_loadu_si128(input.add(offsets[t]).cast()));
                let w = _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.add(t * stride).cast()));
                // At most 128 * 127: two of them fit in 16 bits.
                _mm256_mullo_epi16(x, w)
            };
            let mut sums = load_bias(bias);
            let mut add = |products: __m256i| {
                let low = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(products));
                let high = _mm256_cvtepi16_epi32(_mm256_extracti128_si256::<1>(products));
                sums = [
                    _mm256_add_epi32(sums[0], low),
                    _mm256_add_epi32(sums[1], high),
                ];
            };
            for t in (0..offsets.len() - offsets.len() % 2).step_by(2) {
                add(_mm256_add_epi16(tap(t), tap(t + 1)));
            }
            if offsets.len() % 2 == 1 {
                add(tap(offsets.len() - 1));
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn finish<const SELECT: bool, const RESIDUAL: bool>(
        sums: [__m256i; 2],
        lanes: &Lanes,
        residual: *const i8,
        output: *mut i8,
    ) {
        // SAFETY: the caller has the instruction set; the tables, the residual and the output are
        // good for 16 values each.
        unsafe {
            let zero = _mm256_setzero_si256();
            let shifted: [__m256i; 2] = std::array::from_fn(|half| {
                let shift = _mm256_loadu_si256(lanes.shift.add(8 * half).cast());
                let left = _mm256_max_epi32(shift, zero);
                let right = _mm256_max_epi32(_mm256_sub_epi32(zero, shift), zero);
                _mm256_srav_epi32(_mm256_sllv_epi32(sums[half], left), right)
            });
            // The packing works within halves of the register; the permutation restores order.
            let a = _mm256_packs_epi32(shifted[0], shifted[1]);
            let a = _mm256_permute4x64_epi64::<0b11_01_10_00>(a);
            let mut m = _mm256_loadu_si256(lanes.positive.cast());
            if SELECT {
                let negative = _mm256_loadu_si256(lanes.negative.cast());
                m = _mm256_blendv_epi8(m, negative, _mm256_srai_epi16::<15>(a));
            }
            let mut v = _mm256_mulhrs_epi16(a, m);
            if RESIDUAL {
                let (multiplier, zero) = lanes.residual;
                let r = _mm256_cvtepi8_epi16(_mm_loadu_si128(residual.cast()));
                let r = _mm256_sub_epi16(r, _mm256_set1_epi16(zero.into()));
                let r = _mm256_slli_epi16::<7>(r);
                v = _mm256_adds_epi16(v, _mm256_mulhrs_epi16(r, _mm256_set1_epi16(multiplier)));
            }
            let v = _mm256_adds_epi16(v, _mm256_set1_epi16(lanes.offset));
            let v = _mm256_srai_epi16::<5>(v);
            let low = _mm256_castsi256_si128(v);
            let q = _mm_packs_epi16(low, _mm256_extracti128_si256::<1>(v));
            let q = _mm_max_epi8(q, _mm_set1_epi8(lanes.low));
            let q = _mm_min_epi8(q, _mm_set1_epi8(lanes.high));
            _mm_storeu_si128(output.cast(), q);
        }
    }
}

/// # Safety
/// The machine has AVX2 and `bias` is good for 16 values.
#[inline(always)]
unsafe fn load_bias(bias: *const i32) -> [__m256i; 2] {
    // SAFETY: the caller vouches for it.
    unsafe {
        [
            _mm256_loadu_si256(bias.cast()),
            _mm256_loadu_si256(bias.add(8).cast()),
        ]
    }
}
