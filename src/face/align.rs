//! Alignment: every face turned and scaled to the same place.

use super::detect::Landmarks;
use crate::image::{Point, RgbImage, Similarity, warp};

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
pub struct AlignedFace(RgbImage);

impl Default for AlignedFace {
    fn default() -> Self {
        Self(RgbImage::new(SIDE, SIDE))
    }
}

impl AlignedFace {
    /// Cuts the face with these landmarks out of `image`, turned and scaled so that its landmarks
    /// come to lie on the template. `false`, with the face unchanged, when the landmarks coincide.
    pub fn align(&mut self, image: &RgbImage, landmarks: &Landmarks) -> bool {
        match Similarity::estimate(landmarks, &TEMPLATE) {
            Some(transform) => {
                warp(image, &transform, &mut self.0);
                true
            }
            None => false,
        }
    }

    /// The pixels.
    pub fn image(&self) -> &RgbImage {
        &self.0
    }
}
