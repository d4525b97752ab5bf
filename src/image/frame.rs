//! The frame as it leaves a camera or a replay: bytes in the format of the source.

use std::fmt;
use std::time::Duration;

/// How the bytes of a [`Frame`] are laid out. Names are the V4L2 four-character codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// Packed 4:2:2, `Y0 U Y1 V`, 2 bytes a pixel.
    Yuyv,
    /// One JPEG image a frame, a baseline image without its Huffman tables included.
    Mjpg,
    /// A full plane of Y, then a half-height plane of interleaved U and V.
    Nv12,
    /// 8-bit grey, as infrared cameras give it.
    Grey,
    /// Packed red, green, blue.
    Rgb24,
    /// Packed blue, green, red.
    Bgr24,
}

impl PixelFormat {
    /// Every format that doorward reads, the one it would rather have first.
    ///
    /// Raw YUV needs no decoder and keeps the sensor's detail; Motion JPEG comes next because
    /// most USB cameras offer their larger sizes at full rate only in it.
    pub const ALL: [Self; 6] = [
        Self::Yuyv,
        Self::Nv12,
        Self::Mjpg,
        Self::Rgb24,
        Self::Bgr24,
        Self::Grey,
    ];

    /// The V4L2 four-character code.
    pub const fn fourcc(self) -> [u8; 4] {
        match self {
            Self::Yuyv => *b"YUYV",
            Self::Mjpg => *b"MJPG",
            Self::Nv12 => *b"NV12",
            Self::Grey => *b"GREY",
            Self::Rgb24 => *b"RGB3",
            Self::Bgr24 => *b"BGR3",
        }
    }

    /// The format with this V4L2 code; `JPEG` counts as Motion JPEG.
    pub fn from_fourcc(code: [u8; 4]) -> Option<Self> {
        if code == *b"JPEG" {
            return Some(Self::Mjpg);
        }
        Self::ALL.into_iter().find(|f| f.fourcc() == code)
    }

    /// Bytes from one row to the next when rows are packed without padding; 0 for compressed
    /// formats, which have no rows.
    pub const fn packed_stride(self, width: u32) -> u32 {
        match self {
            Self::Yuyv => width.saturating_add(width % 2).saturating_mul(2),
            Self::Mjpg => 0,
            Self::Nv12 | Self::Grey => width,
            Self::Rgb24 | Self::Bgr24 => width.saturating_mul(3),
        }
    }

    /// Bytes that a whole image of this format has to have, its last row without padding;
    /// 0 for compressed formats. A `stride` below the packed one counts as the packed one.
    pub fn min_len(self, width: u32, height: u32, stride: u32) -> usize {
        let row = self.packed_stride(width) as usize;
        let rows = match self {
            Self::Mjpg => return 0,
            Self::Nv12 => height as usize + (height as usize).div_ceil(2),
            _ => height as usize,
        };
        match rows {
            0 => 0,
            n => (n - 1)
                .saturating_mul(row.max(stride as usize))
                .saturating_add(row),
        }
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yuyv => "YUYV",
            Self::Mjpg => "MJPG",
            Self::Nv12 => "NV12",
            Self::Grey => "GREY",
            Self::Rgb24 => "RGB24",
            Self::Bgr24 => "BGR24",
        })
    }
}

/// One image from a source, not yet decoded.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The image; only the bytes that the driver filled.
    pub bytes: Vec<u8>,
    /// Layout of `bytes`.
    pub format: PixelFormat,
    /// Width in pixels. For [`PixelFormat::Mjpg`] the image's own header decides.
    pub width: u32,
    /// Height in pixels. For [`PixelFormat::Mjpg`] the image's own header decides.
    pub height: u32,
    /// Bytes from one row to the next; 0 for compressed formats.
    pub stride: u32,
    /// Number of the frame at its source. A gap means frames that the source dropped.
    pub sequence: u64,
    /// When the frame was taken, on the monotonic clock that starts with the source.
    pub captured_at: Duration,
}
