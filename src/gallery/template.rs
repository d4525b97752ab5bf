//! A template: one enrolled face, in int8.

use crate::face::Embedding;

/// Identity of an embedding model: the SHA-256 of its file, lower-case hexadecimal.
///
/// Embeddings of different models cannot be compared; everything that holds one carries this.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelId(pub String);

impl std::fmt::Display for ModelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.get(..12).unwrap_or(&self.0))
    }
}

/// One enrolled face of a subject: a unit-norm embedding as `values * scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// The model that made it.
    pub model_id: ModelId,
    /// One step of the int8 values.
    pub scale: f32,
    /// The embedding in steps of `scale`, in -127..=127.
    pub values: Vec<i8>,
}

impl Template {
    /// Quantises an embedding symmetrically, its largest component on 127.
    pub fn new(embedding: &Embedding, model_id: ModelId) -> Self {
        let mut template = Self {
            model_id,
            scale: 1.0,
            values: Vec::new(),
        };
        template.set(embedding);
        template
    }

    /// Becomes that of `embedding`, which the same model made, in the memory that it has.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounded and within -127..=127"
    )]
    pub(crate) fn set(&mut self, embedding: &Embedding) {
        let values = embedding.values().iter();
        let peak = values.clone().fold(0f32, |m, v| m.max(v.abs()));
        let scale = if peak > 0.0 { peak / 127.0 } else { 1.0 };
        self.scale = scale;
        self.values.clear();
        self.values
            .extend(values.map(|v| (v / scale).round() as i8));
    }

    /// The embedding as the template remembers it, again of unit norm.
    pub fn embedding(&self) -> Embedding {
        let mut embedding = Embedding::default();
        embedding.set(self.reals());
        embedding
    }

    /// The values in units of the embedding.
    pub(super) fn reals(&self) -> impl Iterator<Item = f32> {
        self.values.iter().map(|&v| f32::from(v) * self.scale)
    }
}
