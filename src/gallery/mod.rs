//! The gallery: enrolled people, and who a probe is.
//!
//! Templates are compared here and nowhere else, always through the identity of the model that
//! made them. How they are kept on disk is the business of `store`.

mod calibration;
mod metric;
mod protect;
mod search;
mod template;

pub use calibration::{Calibration, CalibrationError, ThresholdPolicy};
pub use metric::Metric;
pub use protect::Turn;
pub use search::{Candidate, Gallery, Match, ModelMismatch, Verification};
pub use template::{ModelId, Template};
