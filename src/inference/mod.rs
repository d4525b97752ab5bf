//! Networks: what models there are, loading them through tract, running them.
//!
//! The only room that knows tract. It takes images and gives numbers; what they mean is the
//! business of `face`.

mod bundled;
mod engine;
mod error;
mod manifest;
mod models;
mod network;
mod prelu;
mod quantized;

pub use error::ModelError;
pub use manifest::{
    CalibrationTable, Calibrations, Channels, DetectionSpec, InputSpec, L1HeadSpec, ModelSpec,
    OutputSpec, PresentationSpec, Role,
};
pub use models::{ModelFile, Models};
pub use network::{Network, Outputs};
pub use quantized::Report;
pub(crate) use quantized::kernels;
