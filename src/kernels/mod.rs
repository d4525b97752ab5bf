//! Integer kernels for quantised networks: plain slices in, plain slices out.
//!
//! Activations are signed bytes, channels last, one image at a time; weights are signed bytes in
//! -127..=127. What a kernel computes is defined by plain Rust (`Isa::Scalar` and
//! [`Requant::apply`]); every instruction set gives the same bytes. `unsafe` stands only here.

mod geometry;
mod isa;
mod layer;
mod pool;
mod quantise;
mod requant;
mod scalar;
// Only the vector kernels use the shared loops.
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code)
)]
mod tile;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod dotprod;
#[cfg(target_arch = "aarch64")]
mod i8mm;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod vnni;

pub use geometry::{Shape, Window};
pub use isa::{Isa, OVERRIDE};
pub use layer::{Dense, Depthwise};
pub use pool::{Sum, max_pool, upsample_add};
pub use quantise::quantise;
pub use requant::{Epilogue, LANES, Requant, Residual};

use std::sync::OnceLock;

/// Memory that kernels reuse from call to call.
#[derive(Debug, Default)]
pub struct Scratch {
    padded: Vec<i8>,
    rows: Vec<i8>,
}

/// The kernels of an instruction set that this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kernels {
    isa: Isa,
}

impl Kernels {
    /// The kernels for `isa`, if this machine has it. That a value exists is what makes calling
    /// them sound.
    pub fn new(isa: Isa) -> Option<Kernels> {
        isa.is_available().then_some(Kernels { isa })
    }

    /// The kernels to use: those that the environment variable [`OVERRIDE`] names, else the best.
    /// Chosen and logged once per process.
    pub fn chosen() -> Kernels {
        static CHOSEN: OnceLock<Kernels> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let best = Kernels { isa: Isa::best() };
            let chosen = match std::env::var(OVERRIDE) {
                Err(_) => best,
                Ok(name) => match Isa::from_name(&name).and_then(Kernels::new) {
                    Some(kernels) => kernels,
                    None => {
                        log::warn!("{OVERRIDE}={name} is not an instruction set of this machine");
                        best
                    }
                },
            };
            log::info!("integer kernels: {}", chosen.isa);
            chosen
        })
    }

    /// The instruction set.
    pub fn isa(self) -> Isa {
        self.isa
    }

    /// Runs a dense layer on one image of shape `shape`.
    ///
    /// # Panics
    /// If the layer was packed for another instruction set, a slice does not have the size that
    /// its shape says, or a residual is given to a layer without one or the reverse.
    pub fn dense(
        self,
        layer: &Dense,
        input: &[i8],
        shape: Shape,
        residual: Option<&[i8]>,
        output: &mut [i8],
        scratch: &mut Scratch,
    ) {
        let size = layer.window.output(shape);
        let outputs = layer.requant.channels();
        assert_eq!(layer.isa, self.isa, "packed for another instruction set");
        assert_eq!(
            (input.len(), shape.channels),
            (shape.volume(), layer.inputs),
            "dense input"
        );
        assert_eq!(output.len(), size[0] * size[1] * outputs, "dense output");
        assert_eq!(
            residual.map(<[i8]>::len),
            layer.requant.residual.map(|_| output.len())
        );
        if output.is_empty() {
            return;
        }
        let Scratch { padded, rows } = scratch;
        let point = layer.window == Window::POINT;
        let (input, shape) = if point
            || layer.window.before == [0; 2] && layer.window.after == [0; 2]
        {
            (input, shape)
        } else {
            let zero = layer.input_zero;
            let shape = geometry::pad(input, shape, &layer.window, shape.channels, zero, padded);
            (&padded[..], shape)
        };
        if self.isa == Isa::Scalar {
            return scalar::dense(layer, input, shape, size, residual, output);
        }
        if point && layer.depth == layer.inputs && !self.isa.is_unsigned() {
            return self.dense_rows(layer, input, residual, output);
        }
        // Enough rows at a time to amortise the call, few enough to stay in the first cache.
        let step = 8 * tile::ROWS;
        for start in (0..size[0] * size[1]).step_by(step) {
            let range = start..(start + step).min(size[0] * size[1]);
            gather(layer, input, shape, size[1], range.clone(), rows);
            if self.isa.is_unsigned() {
                rows.iter_mut().for_each(|v| *v ^= i8::MIN);
            }
            let range = range.start * outputs..range.end * outputs;
            let residual = residual.map(|r| &r[range.clone()]);
            self.dense_rows(layer, rows, residual, &mut output[range]);
        }
    }

    fn dense_rows(self, layer: &Dense, rows: &[i8], residual: Option<&[i8]>, output: &mut [i8]) {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Kernels::new` found the instruction set on this machine.
            Isa::Avx2 => unsafe { dense_avx2(layer, rows, residual, output) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512Vnni => unsafe { dense_vnni(layer, rows, residual, output) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Isa::Neon => unsafe { dense_neon(layer, rows, residual, output) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Isa::DotProd => unsafe { dense_dotprod(layer, rows, residual, output) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Isa::I8mm => unsafe { dense_i8mm(layer, rows, residual, output) },
            _ => unreachable!("no kernels for {}", self.isa),
        }
        layer.requant.limit(output);
    }

    /// Runs a depthwise layer on one image of shape `shape`.
    ///
    /// # Panics
    /// As [`Kernels::dense`].
    pub fn depthwise(
        self,
        layer: &Depthwise,
        input: &[i8],
        shape: Shape,
        residual: Option<&[i8]>,
        output: &mut [i8],
        scratch: &mut Scratch,
    ) {
        let size = layer.window.output(shape);
        let channels = layer.channels();
        assert_eq!(layer.isa, self.isa, "packed for another instruction set");
        assert_eq!(
            (input.len(), shape.channels),
            (shape.volume(), channels),
            "depthwise input"
        );
        assert_eq!(
            output.len(),
            size[0] * size[1] * channels,
            "depthwise output"
        );
        assert_eq!(
            residual.map(<[i8]>::len),
            layer.requant.residual.map(|_| output.len())
        );
        if output.is_empty() {
            return;
        }
        let window = &layer.window;
        let wide = channels.next_multiple_of(LANES);
        let whole = wide == channels && window.before == [0; 2] && window.after == [0; 2];
        let (input, shape) = if whole {
            (input, shape)
        } else {
            let zero = layer.input_zero;
            let shape = geometry::pad(input, shape, window, wide, zero, &mut scratch.padded);
            (&scratch.padded[..], shape)
        };
        match self.isa {
            Isa::Scalar => scalar::depthwise(layer, input, shape, size, residual, output),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Kernels::new` found the instruction set on this machine.
            Isa::Avx2 => unsafe { depthwise_avx2(layer, input, shape, size, residual, output) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512Vnni => unsafe {
                depthwise_vnni(layer, input, shape, size, residual, output);
            },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Isa::Neon | Isa::DotProd | Isa::I8mm => unsafe {
                depthwise_neon(layer, input, shape, size, residual, output);
            },
            #[allow(unreachable_patterns)]
            _ => unreachable!("no kernels for {}", self.isa),
        }
        layer.requant.limit(output);
    }
}

/// Lays out the windows of the output pixels in `range`, one row of `layer.depth` values each, the
/// rest of a row zero. `input` is padded.
fn gather(
    layer: &Dense,
    input: &[i8],
    shape: Shape,
    width: usize,
    range: std::ops::Range<usize>,
    rows: &mut Vec<i8>,
) {
    let [kernel_rows, kernel_columns] = layer.window.kernel;
    let length = kernel_columns * shape.channels;
    rows.clear();
    if layer.window == Window::POINT && layer.depth == layer.inputs {
        rows.extend_from_slice(&input[range.start * layer.depth..range.end * layer.depth]);
        return;
    }
    rows.reserve(range.len() * layer.depth);
    for pixel in range {
        let y = pixel / width * layer.window.stride[0];
        let x = pixel % width * layer.window.stride[1];
        for row in y..y + kernel_rows {
            let at = (row * shape.width + x) * shape.channels;
            rows.extend_from_slice(&input[at..at + length]);
        }
        rows.resize(rows.len() + layer.depth - kernel_rows * length, 0);
    }
}

/// Makes the functions that carry an instruction set into the shared loops.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! entry_points {
    ($features:literal, $tile:ty, $dense:ident $(, $depthwise:ident)?) => {
        #[target_feature(enable = $features)]
        fn $dense(layer: &Dense, rows: &[i8], residual: Option<&[i8]>, output: &mut [i8]) {
            // SAFETY: this function is compiled for, and only called with, the instruction set.
            unsafe {
                match (layer.requant.select, residual.is_some()) {
                    (false, false) => tile::dense::<$tile, false, false>(layer, rows, residual, output),
                    (false, true) => tile::dense::<$tile, false, true>(layer, rows, residual, output),
                    (true, false) => tile::dense::<$tile, true, false>(layer, rows, residual, output),
                    (true, true) => tile::dense::<$tile, true, true>(layer, rows, residual, output),
                }
            }
        }
        $(
        #[target_feature(enable = $features)]
        fn $depthwise(
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
                    (false, false) => tile::depthwise::<$tile, false, false>(layer, input, shape, size, residual, output),
                    (false, true) => tile::depthwise::<$tile, false, true>(layer, input, shape, size, residual, output),
                    (true, false) => tile::depthwise::<$tile, true, false>(layer, input, shape, size, residual, output),
                    (true, true) => tile::depthwise::<$tile, true, true>(layer, input, shape, size, residual, output),
                }
            }
        }
        )?
    };
}

#[cfg(target_arch = "x86_64")]
entry_points!("avx2", avx2::Avx2, dense_avx2, depthwise_avx2);
#[cfg(target_arch = "x86_64")]
entry_points!(
    "avx2,avx512f,avx512bw,avx512vl,avx512vnni",
    vnni::Vnni,
    dense_vnni,
    depthwise_vnni
);
#[cfg(target_arch = "aarch64")]
entry_points!("neon", neon::Neon, dense_neon, depthwise_neon);
#[cfg(target_arch = "aarch64")]
entry_points!("neon,dotprod", dotprod::DotProd, dense_dotprod);
#[cfg(target_arch = "aarch64")]
entry_points!("neon,dotprod,i8mm", i8mm::I8mm, dense_i8mm);
