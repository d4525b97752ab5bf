//! Quantised networks in integers.
//!
//! tract runs a quantised ONNX model (`QuantizeLinear`/`DequantizeLinear` pairs around every
//! operation) in floating point. This module rewrites such a model after it is loaded: what stands
//! between two quantised tensors becomes one operation on bytes, channels last, that the integer
//! kernels execute. What is integers from the image to the outputs then runs as a [`Program`] over one
//! arena. Nothing that is not understood is lost: it stays with tract, with conversions at the border.

mod encoding;
mod enlarge;
mod fuse;
mod heads;
mod ops;
mod pattern;
mod program;
#[cfg(test)]
mod tests;
mod translate;
mod weights;

use std::fmt;
use std::sync::OnceLock;

use tract_onnx::prelude::*;

pub(crate) use program::Program;

use crate::kernels::{Isa, Kernels};

/// Environment variable that names the instruction set to use instead of the best one.
const OVERRIDE: &str = "DOORWARD_ISA";

/// What became of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Operations that run in integers.
    pub fused: usize,
    /// Names of the nodes that stay with tract, other than constants, changes of layout and the
    /// conversions at the border.
    pub float: Vec<String>,
    /// Bytes of the arena that all activations share; none where tract runs the model.
    pub arena: Option<usize>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.fused, &self.float[..]) {
            (0, names) => write!(f, "{} operations, all in floating point", names.len())?,
            (fused, []) => write!(f, "{fused} operations in integers, none in floating point")?,
            (fused, names) => {
                let (count, names) = (names.len(), names.join(", "));
                write!(
                    f,
                    "{fused} operations in integers, {count} in floating point: {names}"
                )?;
            }
        }
        match self.arena {
            Some(bytes) => write!(f, ", over an arena of {} KiB", bytes.div_ceil(1024)),
            None => Ok(()),
        }
    }
}

/// Rewrites a model, loaded with concrete input shapes and not yet decluttered, to run in integers
/// wherever it is quantised, and fuses PReLU in what remains. A model that is not quantised only
/// gains the latter. Inputs, outputs and their names stay.
pub(crate) fn rewrite(model: &mut TypedModel) -> TractResult<Report> {
    super::prelu::fuse_prelu(model)?;
    let (rewritten, report) = translate::translate(model, kernels())?;
    *model = rewritten;
    Ok(report)
}

/// The kernels to use: those that [`OVERRIDE`] names, else the best. Chosen and logged once per
/// process.
pub(crate) fn kernels() -> Kernels {
    static CHOSEN: OnceLock<Kernels> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let named = std::env::var(OVERRIDE).ok().and_then(|name| {
            let kernels = Isa::from_name(&name).and_then(Kernels::new);
            if kernels.is_none() {
                log::warn!("{OVERRIDE}={name} is not an instruction set of this machine");
            }
            kernels
        });
        let kernels = named.unwrap_or_else(Kernels::best);
        log::info!("integer kernels: {}", kernels.isa());
        kernels
    })
}
