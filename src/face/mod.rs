//! Faces: finding, aligning, following, judging and embedding them.

mod embedding;

pub use embedding::Embedding;
