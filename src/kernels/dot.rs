//! Dot products of signed bytes, for comparing templates.

use super::Kernels;
use super::isa::Isa;

impl Kernels {
    /// Sum of the products of two vectors, as long as the shorter one, of at most 2^17 values.
    pub fn dot(self, a: &[i8], b: &[i8]) -> i32 {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Kernels::new` found the instruction set on this machine.
            Isa::Avx2 | Isa::AvxVnni | Isa::Avx512Vnni => unsafe { avx2(a, b) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Isa::Neon => unsafe { neon(a, b) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Isa::DotProd | Isa::I8mm => unsafe { dotprod(a, b) },
            _ => scalar(a, b),
        }
    }
}

fn scalar(a: &[i8], b: &[i8]) -> i32 {
    let product = |(&a, &b): (&i8, &i8)| i32::from(a) * i32::from(b);
    a.iter().zip(b).map(product).sum()
}

/// What is left of two vectors after so many values.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn rest(a: &[i8], b: &[i8], done: usize) -> i32 {
    scalar(&a[done..], &b[done..])
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(a: &[i8], b: &[i8]) -> i32 {
    use std::arch::x86_64::*;
    let whole = a.len().min(b.len()) / 32 * 32;
    let mut sums = [_mm256_setzero_si256(); 2];
    for at in (0..whole).step_by(32) {
        for (half, sum) in sums.iter_mut().enumerate() {
            // SAFETY: 32 values from `at` on lie in both.
            let [a, b] = [a, b].map(|v| unsafe {
                let half = v.as_ptr().add(at + 16 * half);
                _mm256_cvtepi8_epi16(_mm_loadu_si128(half.cast()))
            });
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(a, b));
        }
    }
    let mut lanes = [0i32; 8];
    // SAFETY: eight lanes fill the array.
    unsafe {
        _mm256_storeu_si256(
            lanes.as_mut_ptr().cast(),
            _mm256_add_epi32(sums[0], sums[1]),
        );
    }
    lanes.iter().sum::<i32>() + rest(a, b, whole)
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn neon(a: &[i8], b: &[i8]) -> i32 {
    use std::arch::aarch64::*;
    let whole = a.len().min(b.len()) / 16 * 16;
    let mut sums = [vdupq_n_s32(0); 2];
    for at in (0..whole).step_by(16) {
        // SAFETY: 16 values from `at` on lie in both.
        let [a, b] = [a, b].map(|v| unsafe { vld1q_s8(v.as_ptr().add(at)) });
        sums[0] = vpadalq_s16(sums[0], vmull_s8(vget_low_s8(a), vget_low_s8(b)));
        sums[1] = vpadalq_s16(sums[1], vmull_high_s8(a, b));
    }
    vaddvq_s32(vaddq_s32(sums[0], sums[1])) + rest(a, b, whole)
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,dotprod")]
fn dotprod(a: &[i8], b: &[i8]) -> i32 {
    use std::arch::aarch64::*;
    let whole = a.len().min(b.len()) / 64 * 64;
    let mut sums = [vdupq_n_s32(0); 4];
    for at in (0..whole).step_by(64) {
        for (part, sum) in sums.iter_mut().enumerate() {
            // SAFETY: 64 values from `at` on lie in both, and the machine has the instruction.
            unsafe {
                let [a, b] = [a, b].map(|v| vld1q_s8(v.as_ptr().add(at + 16 * part)));
                *sum = super::columns::dot(*sum, a, b);
            }
        }
    }
    let sum = vaddq_s32(vaddq_s32(sums[0], sums[1]), vaddq_s32(sums[2], sums[3]));
    vaddvq_s32(sum) + rest(a, b, whole)
}
