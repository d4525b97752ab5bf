//! Quantised networks in integers.
//!
//! tract runs a quantised ONNX model (`QuantizeLinear`/`DequantizeLinear` pairs around every
//! operation) in floating point. This module rewrites such a model after it is loaded: what stands
//! between two quantised tensors becomes one operation on bytes, channels last, that the integer
//! kernels execute. Nothing that is not understood is lost: it stays with tract, with conversions
//! at the border.

mod encoding;
mod enlarge;
mod fuse;
mod ops;
mod pattern;
#[cfg(test)]
mod tests;
mod translate;
mod weights;

use std::fmt;

use tract_onnx::prelude::*;

use crate::kernels::Kernels;

/// What became of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Operations that run in integers.
    pub fused: usize,
    /// Names of the nodes that stay with tract, other than constants, changes of layout and the
    /// conversions at the border.
    pub float: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} operations in integers, ", self.fused)?;
        match &self.float[..] {
            [] => f.write_str("none left in floating point"),
            names => write!(f, "{} in floating point: {}", names.len(), names.join(", ")),
        }
    }
}

/// Rewrites a model, loaded with concrete input shapes and not yet decluttered, to run in integers
/// wherever it is quantised, and fuses PReLU in what remains. A model that is not quantised only
/// gains the latter. Inputs, outputs and their names stay.
pub(crate) fn rewrite(model: &mut TypedModel) -> TractResult<Report> {
    super::prelu::fuse_prelu(model)?;
    let (rewritten, report) = translate::translate(model, Kernels::chosen())?;
    *model = rewritten;
    Ok(report)
}
