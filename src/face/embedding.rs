//! The embedding: where a face lies on the unit sphere.

/// A face as the network sees it: a vector of unit length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embedding(Vec<f32>);

impl Embedding {
    /// Scales `values` to unit length. A vector of zeros, which no network gives for a face, stays
    /// as it is and is similar to nothing.
    pub fn new(values: Vec<f32>) -> Self {
        let mut embedding = Self(values);
        embedding.scale();
        embedding
    }

    /// Becomes that of `values`, in the memory that it has.
    pub(crate) fn set(&mut self, values: impl IntoIterator<Item = f32>) {
        self.0.clear();
        self.0.extend(values);
        self.scale();
    }

    fn scale(&mut self) {
        let norm = self.0.iter().map(|v| v * v).sum::<f32>().sqrt();
        if norm > 0.0 {
            self.0.iter_mut().for_each(|v| *v /= norm);
        }
    }

    /// The components.
    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// Cosine of the angle to `other`, -1..=1. Both have to have the same number of components.
    pub fn cosine(&self, other: &Self) -> f32 {
        debug_assert_eq!(self.0.len(), other.0.len());
        self.0.iter().zip(&other.0).map(|(a, b)| a * b).sum()
    }
}
