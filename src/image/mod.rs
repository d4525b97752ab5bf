//! Pixels: the formats of cameras, JPEG, photographs, resizing and the similarity warp.
//!
//! This room shows the bytes of a [`Frame`] as a [`Picture`] and cuts out of pictures the RGB images
//! that networks read. It knows nothing of faces, files' places or devices.

mod cut;
mod decode;
mod encode;
mod error;
mod frame;
mod jpeg;
mod motion;
mod photo;
mod picture;
mod resize;
mod rgb;
mod warp;

pub use decode::decode;
pub use encode::{encode_jpeg, encode_png};
pub use error::ImageError;
pub use frame::{Frame, PixelFormat};
pub use motion::Motion;
pub(crate) use photo::{MAX_BYTES, check_size};
pub use photo::{decode_photo, photo_bytes, read_photo};
pub use picture::Picture;
pub use resize::Fit;
pub use rgb::RgbImage;
pub use warp::{Point, Similarity, Warp};
