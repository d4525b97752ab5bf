//! Why bytes are no picture.

use std::path::PathBuf;

use super::PixelFormat;

/// Pixels of the largest image that is decoded: a bound on memory, above any phone's photograph.
pub(super) const MAX_PIXELS: usize = 48_000_000;

/// Why an image is refused.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A raw frame holds fewer bytes than its size needs.
    #[error("frame {sequence} holds {found} bytes, but {width}x{height} {format} needs {needed}")]
    ShortFrame {
        /// Number of the frame.
        sequence: u64,
        /// Its format.
        format: PixelFormat,
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
        /// Bytes in it.
        found: usize,
        /// Bytes expected.
        needed: usize,
    },
    /// The image has no pixels.
    #[error("the image is {width}x{height} pixels: expected at least 1x1")]
    Empty {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
    /// More pixels than are decoded.
    #[error(
        "the image is {width}x{height} pixels, more than the {} megapixels that are decoded; scale it down",
        MAX_PIXELS / 1_000_000
    )]
    TooLarge {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
    /// The same of a photo.
    #[error(
        "{name} has {width}x{height} pixels, more than the {} megapixels that are decoded; scale it down",
        MAX_PIXELS / 1_000_000
    )]
    LargePhoto {
        /// The file or the archive's entry.
        name: String,
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
    /// A JPEG that ends before its end marker, or in whose data stands another.
    #[error(
        "the JPEG image is truncated or damaged: its end marker is missing, or others stand before it"
    )]
    Truncated,
    /// A JPEG that cannot be decoded.
    #[error("this is no JPEG image that can be decoded: {0}")]
    Jpeg(String),
    /// A photo file that could not be read.
    #[error("cannot read the photo {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A photo file that is larger than it may be, or has no end.
    #[error("the photo {} has more than the {limit} bytes that are read; save it smaller", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Bytes that it may have.
        limit: usize,
    },
    /// A photo that cannot be decoded.
    #[error(
        "{} is no photo that can be decoded (expected JPEG, PNG or WebP): {reason}",
        name
    )]
    Photo {
        /// The file or the archive's entry.
        name: String,
        /// What the decoder said.
        reason: String,
    },
}
