//! Running the embedding network.

use super::align::{AlignedFace, network_of_aligned};
use super::embedding::Embedding;
use crate::inference::{L1HeadSpec, ModelError, ModelFile, ModelSpec, Network, Report};

/// Turns aligned faces into embeddings.
pub struct Embedder {
    name: String,
    spec: ModelSpec,
    network: Network,
    size: usize,
    embedding: Embedding,
}

impl Embedder {
    /// Plans the network and runs it once, so that a model that does not fit is refused here.
    ///
    /// # Errors
    /// What [`Network::new`] says, and [`ModelError::Shape`] for another input than aligned faces
    /// or another number of components than the manifest states.
    pub fn new(model: ModelFile) -> Result<Self, ModelError> {
        let network = network_of_aligned(&model, "embedder")?;
        let ModelFile { name, spec, .. } = model;
        let size = spec.output.map_or(0, |o| o.size);
        if let Some(L1HeadSpec { weights, .. }) = &spec.l1_head
            && weights.len() != size
        {
            return Err(ModelError::Shape {
                name,
                what: "the number of weights of l1_head".to_owned(),
                found: weights.len().to_string(),
                expected: size.to_string(),
            });
        }
        let mut embedder = Self {
            name,
            spec,
            network,
            size,
            embedding: Embedding::default(),
        };
        embedder.embed(&AlignedFace::default())?;
        Ok(embedder)
    }

    /// The embedding of one face.
    ///
    /// # Errors
    /// What the network says.
    pub fn embed(&mut self, face: &AlignedFace) -> Result<&Embedding, ModelError> {
        let outputs = self.network.run(face.image())?;
        let values = outputs.single(self.size)?;
        self.embedding.set(values.iter().copied());
        Ok(&self.embedding)
    }

    /// Name of the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model's description.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// How much of the network runs in integers.
    pub fn arithmetic(&self) -> &Report {
        self.network.arithmetic()
    }

    /// Components of an embedding.
    pub fn size(&self) -> usize {
        self.size
    }
}
