//! Pixels: the formats of cameras, JPEG, photographs, resizing and the similarity warp.
//!
//! This room turns the bytes of a [`Frame`] into an [`RgbImage`] and RGB images into the crops
//! that networks read. It knows nothing of faces, files' places or devices.

mod decode;
mod encode;
mod error;
mod frame;
mod jpeg;
mod motion;
mod photo;
mod resize;
mod rgb;
mod warp;

pub use decode::decode;
pub use encode::encode_jpeg;
pub use error::ImageError;
pub use frame::{Frame, PixelFormat};
pub use motion::Motion;
pub use photo::{decode_photo, read_photo};
pub use resize::Fit;
pub use rgb::RgbImage;
pub use warp::{Point, Similarity, Warp};
