//! Alignment: every face turned and scaled to the same place.

use super::detect::Landmarks;
use crate::image::{Picture, Point, RgbImage, Similarity, Warp};
use crate::inference::{ModelError, ModelFile, Network};

/// Side of an aligned face in pixels.
pub const SIDE: usize = 112;

/// Where the landmarks of an aligned face lie: ArcFace's template (Deng et al. 2019).
pub(super) const TEMPLATE: Landmarks = [
    Point {
        x: 38.2946,
        y: 51.6963,
    },
    Point {
        x: 73.5318,
        y: 51.5014,
    },
    Point {
        x: 56.0252,
        y: 71.7366,
    },
    Point {
        x: 41.5493,
        y: 92.3655,
    },
    Point {
        x: 70.7299,
        y: 92.2041,
    },
];

/// A face as the embedding network wants it, [`SIDE`] x [`SIDE`] pixels.
#[derive(Clone, Debug)]
pub struct AlignedFace {
    image: RgbImage,
    warp: Warp,
}

impl Default for AlignedFace {
    fn default() -> Self {
        Self {
            image: RgbImage::new(SIDE, SIDE),
            warp: Warp::default(),
        }
    }
}

impl AlignedFace {
    /// Cuts the face with these landmarks out of `picture`, turned and scaled so that its landmarks
    /// come to lie on the template. `false`, with the face unchanged, when the landmarks coincide.
    pub fn align<'a>(&mut self, picture: impl Into<Picture<'a>>, landmarks: &Landmarks) -> bool {
        match Similarity::estimate(landmarks, &TEMPLATE) {
            Some(transform) => {
                self.warp.warp(picture.into(), &transform, &mut self.image);
                true
            }
            None => false,
        }
    }

    /// The pixels.
    pub fn image(&self) -> &RgbImage {
        &self.image
    }
}

/// Plans the network of `role` that looks at aligned faces.
///
/// # Errors
/// What [`Network::new`] says, and [`ModelError::Shape`] for another input.
pub(super) fn network_of_aligned(model: &ModelFile, role: &str) -> Result<Network, ModelError> {
    let input = &model.spec.input;
    if (input.width, input.height) != (SIDE, SIDE) {
        return Err(ModelError::Shape {
            name: model.name.clone(),
            what: format!("the {role}'s input in the manifest"),
            found: format!("{}x{}", input.width, input.height),
            expected: format!("{SIDE}x{SIDE}"),
        });
    }
    Network::new(&model.name, &model.bytes, input, (SIDE, SIDE))
}
