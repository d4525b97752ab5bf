//! Running the embedding network.

use super::align::{AlignedFace, network_of_aligned};
use super::embedding::Embedding;
use crate::image::RgbImage;
use crate::inference::{L1HeadSpec, ModelError, ModelFile, ModelSpec, Network, OutputSpec, Report};

/// Turns aligned faces into embeddings.
pub struct Embedder {
    name: String,
    spec: ModelSpec,
    network: Network,
    size: usize,
    /// Memory for the mirror image; none where the network is asked about the face alone.
    mirror: Option<RgbImage>,
    /// What the network says of the face and its mirror image.
    sum: Vec<f32>,
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
        let OutputSpec { size, mirrored } = spec.output.unwrap_or_default();
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
            mirror: mirrored.then(RgbImage::default),
            sum: Vec::with_capacity(size),
            embedding: Embedding::default(),
        };
        embedder.embed(&AlignedFace::default())?;
        Ok(embedder)
    }

    /// The embedding of one face: of what the network says of it or, where the manifest wants that,
    /// of the sum of what it says of the face and of its mirror image.
    ///
    /// # Errors
    /// What the network says.
    pub fn embed(&mut self, face: &AlignedFace) -> Result<&Embedding, ModelError> {
        let outputs = self.network.run(face.image())?;
        self.sum.clear();
        self.sum.extend(outputs.single(self.size)?);
        if let Some(mirror) = &mut self.mirror {
            mirror.mirror(face.image());
            let outputs = self.network.run(mirror)?;
            for (sum, value) in self.sum.iter_mut().zip(outputs.single(self.size)?) {
                *sum += value;
            }
        }
        self.embedding.set(self.sum.iter().copied());
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

#[cfg(test)]
mod tests {
    use super::super::align::{SIDE, TEMPLATE};
    use super::*;
    use crate::inference::{Models, Role};

    fn in_place(image: &RgbImage) -> AlignedFace {
        let mut face = AlignedFace::default();
        assert!(face.align(image, &TEMPLATE));
        assert_eq!(face.image(), image);
        face
    }

    #[test]
    fn a_face_and_its_mirror_image_have_one_embedding_where_the_network_is_asked_about_both() {
        let pixels = (0..SIDE * SIDE * 3).map(|i| (i * 7 % 251).to_le_bytes()[0] | 3);
        let image = RgbImage::from_pixels(SIDE, SIDE, pixels.collect());
        let mut mirror = RgbImage::default();
        mirror.mirror(&image);
        let (face, mirror) = (in_place(&image), in_place(&mirror));
        let models = Models::bundled().unwrap();
        let embeddings = [false, true].map(|mirrored| {
            let mut model = models.get(Role::Embedder, None).unwrap();
            let size = model.spec.output.unwrap().size;
            model.spec.output = Some(OutputSpec { size, mirrored });
            let mut embedder = Embedder::new(model).unwrap();
            [&face, &mirror].map(|face| embedder.embed(face).unwrap().clone())
        });
        let [[face, mirror], both] = embeddings;
        assert!(face.cosine(&mirror) < 0.99);
        assert_eq!(both[0], both[1]);
        assert!(both[0].cosine(&face) > 0.5 && both[0].cosine(&mirror) > 0.5);
    }
}
