//! Why a model is refused.

use std::path::PathBuf;

use super::manifest::Role;

/// Why a model cannot be used. The daemon does not start with any of these.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file could not be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The manifest is wrong.
    #[error("the model manifest {manifest} is wrong: {reason}")]
    Manifest {
        /// The manifest.
        manifest: String,
        /// Where and what.
        reason: String,
    },
    /// No such model.
    #[error("the model manifest {manifest} has no {role} named \"{name}\"; it has: {known}")]
    Unknown {
        /// The manifest.
        manifest: String,
        /// The role asked for.
        role: Role,
        /// The name asked for.
        name: String,
        /// The names of that role.
        known: String,
    },
    /// The file is not the one that the manifest describes.
    #[error(
        "model {name}: {file} has SHA-256 {found}, but its manifest says {expected}; get the \
         right file, or correct the manifest if you changed the model on purpose"
    )]
    Hash {
        /// The model.
        name: String,
        /// Its file.
        file: String,
        /// Hash of the file.
        found: String,
        /// Hash in the manifest.
        expected: String,
    },
    /// The ONNX file uses an operator set that is not supported.
    #[error(
        "model {name} uses ONNX opset {found}; opsets {first} to {last} are supported, export it again"
    )]
    Opset {
        /// The model.
        name: String,
        /// Its opset.
        found: i64,
        /// Lowest supported.
        first: i64,
        /// Highest supported.
        last: i64,
    },
    /// Inputs or outputs are not as they should be.
    #[error("model {name}: {what} is {found}, expected {expected}")]
    Shape {
        /// The model.
        name: String,
        /// Which input or output.
        what: String,
        /// What the file has.
        found: String,
        /// What its role and manifest ask for.
        expected: String,
    },
    /// The inference library refused it.
    #[error("model {name} cannot be loaded: {reason}")]
    Load {
        /// The model.
        name: String,
        /// What the library said.
        reason: String,
    },
    /// A run failed.
    #[error("model {name} failed: {reason}")]
    Run {
        /// The model.
        name: String,
        /// What the library said.
        reason: String,
    },
}
