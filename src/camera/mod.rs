//! Where frames come from: V4L2 cameras and replays of photos and clips.
//!
//! This room owns devices and files of frames. It never decodes a frame and knows nothing of
//! faces. A source that has gone (cable pulled, driver unbound) is an error here; opening it
//! again with back-off is the capture loop's work.

mod latest;
mod replay;
mod v4l2;

use crate::image::Frame;

pub use latest::Latest;
pub use replay::{Pace, Replay, ReplayError};
pub use v4l2::{CameraError, CameraRequest, OfferedMode, V4l2Camera, offered_modes};

/// A stream of frames: a camera or a replay.
pub trait FrameSource: Send {
    /// Waits for the next frame.
    ///
    /// `Ok(None)` is the end of a replay that does not loop. An error means that the source has
    /// to be opened anew.
    fn next_frame(&mut self) -> anyhow::Result<Option<Frame>>;

    /// The source in words: device, format, size and rate, or the file that is replayed.
    fn describe(&self) -> String;
}
