//! The gallery: enrolled people, and who a probe is.

mod template;

pub use template::{ModelId, Template};
