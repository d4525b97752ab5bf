//! Pixels: the formats of cameras, JPEG, photographs, resizing and the similarity warp.
//!
//! This room turns the bytes of a [`Frame`] into an [`RgbImage`] and RGB images into the crops
//! that networks read. It knows nothing of faces, files' places or devices.

mod frame;

pub use frame::{Frame, PixelFormat};
