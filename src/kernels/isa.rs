//! Which instruction set the kernels use.

use std::fmt;

use super::requant::LANES;

/// An instruction set, or a level of one, that the kernels are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Plain Rust: the definition of every kernel.
    Scalar,
    /// ARMv8.0: widening multiplications.
    Neon,
    /// ARMv8.2 dot product (`SDOT`).
    DotProd,
    /// ARMv8.6 matrix multiplication (`SMMLA`).
    I8mm,
    /// x86 with AVX2.
    Avx2,
    /// x86 with AVX2 and a dot product of its own (`VPDPBUSD`), without AVX512.
    AvxVnni,
    /// x86 with AVX512 and its dot product (`VPDPBUSD`).
    Avx512Vnni,
}

impl Isa {
    /// All of them, the slower before the faster on each architecture.
    pub const ALL: [Isa; 7] = [
        Isa::Scalar,
        Isa::Neon,
        Isa::DotProd,
        Isa::I8mm,
        Isa::Avx2,
        Isa::AvxVnni,
        Isa::Avx512Vnni,
    ];

    /// The name that people write.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Neon => "neon",
            Isa::DotProd => "dotprod",
            Isa::I8mm => "i8mm",
            Isa::Avx2 => "avx2",
            Isa::AvxVnni => "avxvnni",
            Isa::Avx512Vnni => "avx512vnni",
        }
    }

    /// The instruction set of that name.
    pub fn from_name(name: &str) -> Option<Isa> {
        Isa::ALL.into_iter().find(|isa| isa.name() == name)
    }

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        match self {
            Isa::Scalar => true,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "aarch64")]
            Isa::DotProd => {
                Isa::Neon.is_available() && std::arch::is_aarch64_feature_detected!("dotprod")
            }
            #[cfg(target_arch = "aarch64")]
            Isa::I8mm => {
                Isa::DotProd.is_available() && std::arch::is_aarch64_feature_detected!("i8mm")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => Isa::Avx2.is_available() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => {
                Isa::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            _ => false,
        }
    }

    /// The fastest that this machine has.
    pub fn best() -> Isa {
        Isa::ALL
            .into_iter()
            .rev()
            .find(|isa| isa.is_available())
            .unwrap_or(Isa::Scalar)
    }

    /// Bytes of consecutive input channels that one output channel takes at a time in packed
    /// weights.
    pub(super) fn group(self) -> usize {
        match self {
            Isa::Scalar => 1,
            Isa::DotProd | Isa::Avx2 | Isa::AvxVnni | Isa::Avx512Vnni => 4,
            Isa::I8mm => 8,
            Isa::Neon => 16,
        }
    }

    /// Output channels whose packed weights lie together.
    pub(super) fn block(self) -> usize {
        if self == Isa::Neon { 4 } else { LANES }
    }

    /// What the accumulators of a dense step start from, in the order of its registers.
    pub(super) fn start(self, bias: impl Iterator<Item = i32>) -> Vec<i32> {
        let bias: Vec<i32> = bias.collect();
        match self {
            // Four lanes are summed up in the end.
            Isa::Neon => bias.iter().flat_map(|&b| [b, 0, 0, 0]).collect(),
            // Two rows of two channels.
            Isa::I8mm => bias.chunks(2).flat_map(|b| [b, b].concat()).collect(),
            _ => bias,
        }
    }

    /// Whether it has four products of bytes to a lane of 32 bits, for depthwise layers.
    pub(super) fn has_columns(self) -> bool {
        matches!(self, Isa::DotProd | Isa::I8mm)
    }

    /// Whether its products take unsigned activations, so that they are offset by 128.
    pub(super) fn is_unsigned(self) -> bool {
        matches!(self, Isa::AvxVnni | Isa::Avx512Vnni)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
