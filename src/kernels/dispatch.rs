//! From an instruction set to the functions that are compiled for it.

use super::Kernels;
use super::geometry::Shape;
use super::isa::Isa;
use super::layer::{Dense, Depthwise};
use super::scalar;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avxvnni, vnni};
#[cfg(target_arch = "aarch64")]
use super::{columns, dotprod, i8mm, neon};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::{sliding, tile};

impl Kernels {
    /// The sums of rows of a layer, see [`tile::sums`].
    pub(super) fn sum_rows(
        self,
        layer: &Dense,
        rows: &[i8],
        sums: &mut Vec<i32>,
        panel: &mut Vec<i8>,
    ) {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Kernels::new` found the instruction set on this machine.
            Isa::Avx2 => unsafe { sums_avx2(layer, rows, sums, panel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::AvxVnni => unsafe { sums_avxvnni(layer, rows, sums, panel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512Vnni => unsafe { sums_vnni(layer, rows, sums, panel) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Isa::Neon => unsafe { sums_neon(layer, rows, sums, panel) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Isa::DotProd => unsafe { sums_dotprod(layer, rows, sums, panel) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Isa::I8mm => unsafe { sums_i8mm(layer, rows, sums, panel) },
            _ => unreachable!("no kernels for {}", self.isa),
        }
    }

    /// A dense layer on rows, see [`tile::dense`].
    pub(super) fn dense_rows(
        self,
        layer: &Dense,
        rows: &[i8],
        residual: Option<&[i8]>,
        output: &mut [i8],
        panel: &mut Vec<i8>,
    ) {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Kernels::new` found the instruction set on this machine.
            Isa::Avx2 => unsafe { dense_avx2(layer, rows, residual, output, panel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::AvxVnni => unsafe { dense_avxvnni(layer, rows, residual, output, panel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512Vnni => unsafe { dense_vnni(layer, rows, residual, output, panel) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Isa::Neon => unsafe { dense_neon(layer, rows, residual, output, panel) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Isa::DotProd => unsafe { dense_dotprod(layer, rows, residual, output, panel) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Isa::I8mm => unsafe { dense_i8mm(layer, rows, residual, output, panel) },
            _ => unreachable!("no kernels for {}", self.isa),
        }
        layer.requant.limit(output);
    }

    /// A depthwise layer on padded input; `size` is height and width of the output.
    pub(super) fn depthwise_padded(
        self,
        layer: &Depthwise,
        input: &[i8],
        shape: Shape,
        size: [usize; 2],
        residual: Option<&[i8]>,
        output: &mut [i8],
    ) {
        match self.isa {
            Isa::Scalar => scalar::depthwise(layer, input, shape, size, residual, output),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Kernels::new` found the instruction set on this machine.
            Isa::Avx2 | Isa::AvxVnni => unsafe {
                depthwise_avx2(layer, input, shape, size, residual, output);
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512Vnni => unsafe {
                depthwise_vnni(layer, input, shape, size, residual, output);
            },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above; both have the dot product.
            Isa::DotProd | Isa::I8mm if columns::serve(layer, size[0]) => unsafe {
                depthwise_dotprod(layer, input, shape, size, residual, output);
            },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Isa::Neon | Isa::DotProd | Isa::I8mm => unsafe {
                depthwise_neon(layer, input, shape, size, residual, output);
            },
            #[allow(unreachable_patterns)]
            _ => unreachable!("no kernels for {}", self.isa),
        }
    }
}

/// Makes the functions that carry an instruction set into the loops over dense layers.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! dense_entry {
    ($name:ident, $sums:ident, $features:literal, $tile:ty) => {
        #[target_feature(enable = $features)]
        fn $sums(layer: &Dense, rows: &[i8], sums: &mut Vec<i32>, panel: &mut Vec<i8>) {
            // SAFETY: this function is compiled for, and only called with, the instruction set.
            unsafe { tile::sums::<$tile>(layer, rows, sums, panel) }
        }

        #[target_feature(enable = $features)]
        fn $name(
            layer: &Dense,
            rows: &[i8],
            residual: Option<&[i8]>,
            output: &mut [i8],
            panel: &mut Vec<i8>,
        ) {
            // SAFETY: as above.
            unsafe {
                match (layer.requant.select, residual.is_some()) {
                    (false, false) => {
                        tile::dense::<$tile, false, false>(layer, rows, None, output, panel);
                    }
                    (false, true) => {
                        tile::dense::<$tile, false, true>(layer, rows, residual, output, panel);
                    }
                    (true, false) => {
                        tile::dense::<$tile, true, false>(layer, rows, None, output, panel);
                    }
                    (true, true) => {
                        tile::dense::<$tile, true, true>(layer, rows, residual, output, panel);
                    }
                }
            }
        }
    };
}

/// Makes the function that carries an instruction set into a loop over depthwise layers.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! depthwise_entry {
    ($name:ident, $features:literal, $($function:ident)::+ $(, $kind:ty)?) => {
        #[target_feature(enable = $features)]
        fn $name(
            layer: &Depthwise,
            input: &[i8],
            shape: Shape,
            size: [usize; 2],
            residual: Option<&[i8]>,
            output: &mut [i8],
        ) {
            // SAFETY: as above.
            unsafe {
                match (layer.requant.select, residual.is_some()) {
                    (false, false) => {
                        $($function)::+::<$($kind,)? false, false>(layer, input, shape, size, None, output);
                    }
                    (false, true) => {
                        $($function)::+::<$($kind,)? false, true>(layer, input, shape, size, residual, output);
                    }
                    (true, false) => {
                        $($function)::+::<$($kind,)? true, false>(layer, input, shape, size, None, output);
                    }
                    (true, true) => {
                        $($function)::+::<$($kind,)? true, true>(layer, input, shape, size, residual, output);
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
dense_entry!(dense_avx2, sums_avx2, "avx2", avx2::Avx2);
#[cfg(target_arch = "x86_64")]
depthwise_entry!(depthwise_avx2, "avx2", sliding::depthwise, avx2::Avx2);
#[cfg(target_arch = "x86_64")]
dense_entry!(
    dense_avxvnni,
    sums_avxvnni,
    "avx2,avxvnni",
    avxvnni::AvxVnni
);
#[cfg(target_arch = "x86_64")]
dense_entry!(
    dense_vnni,
    sums_vnni,
    "avx2,avx512f,avx512bw,avx512vl,avx512vnni",
    vnni::Vnni
);
#[cfg(target_arch = "x86_64")]
depthwise_entry!(
    depthwise_vnni,
    "avx2,avx512f,avx512bw,avx512vl,avx512vnni",
    sliding::depthwise,
    vnni::Vnni
);
#[cfg(target_arch = "aarch64")]
dense_entry!(dense_neon, sums_neon, "neon", neon::Neon);
#[cfg(target_arch = "aarch64")]
dense_entry!(
    dense_dotprod,
    sums_dotprod,
    "neon,dotprod",
    dotprod::DotProd
);
#[cfg(target_arch = "aarch64")]
dense_entry!(dense_i8mm, sums_i8mm, "neon,dotprod,i8mm", i8mm::I8mm);
#[cfg(target_arch = "aarch64")]
depthwise_entry!(depthwise_neon, "neon", sliding::depthwise, neon::Neon);
#[cfg(target_arch = "aarch64")]
depthwise_entry!(depthwise_dotprod, "neon,dotprod", columns::depthwise);
