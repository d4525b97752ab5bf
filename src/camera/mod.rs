//! Where frames come from: V4L2 cameras and replays of photos and clips.
//!
//! This room owns devices and files of frames. It never decodes a camera's frame and knows
//! nothing of faces. A source that has gone (cable pulled, driver unbound) is an error here;
//! opening it again with back-off is the capture loop's work.

mod buffer;
mod capture;
mod devices;
mod error;
mod jpeg;
mod latest;
mod mode;
mod photo;
mod probe;
mod reel;
mod replay;
mod stop;
mod v4l2;

use std::time::Duration;

use crate::image::Frame;

pub use capture::{CameraState, CaptureEnd, Progress, capture_loop};
pub use devices::{CaptureDevice, capture_devices};
pub use error::CameraError;
pub use latest::{Latest, Taken};
pub use mode::{Interval, OfferedMode, Steps};
pub use probe::offered_modes;
pub(crate) use probe::{caught, expects_panic};
pub use replay::{Pace, Replay, ReplayError, ReplayRequest};
pub use stop::{Stop, StopClock};
pub use v4l2::{CameraRequest, V4l2Camera};

/// A stream of frames: a camera or a replay.
pub trait FrameSource: Send {
    /// Waits for the next frame.
    ///
    /// `Ok(None)` is the end of a replay that does not loop. An error means that the source has
    /// to be opened anew.
    fn next_frame(&mut self) -> anyhow::Result<Option<Frame>>;

    /// Told before the first frame where there was another source before this one: times start
    /// here instead of at 0. A camera's follow a clock and go on by themselves.
    fn start_at(&mut self, _start: Duration) {}

    /// The source in words: device, format, size and rate, or the file that is replayed.
    fn describe(&self) -> String;

    /// Frames that were never seen since the source was opened: gaps in its numbering.
    fn dropped(&self) -> u64;

    /// Whether a frame that nobody has taken yet may be replaced by the next. A camera's frames
    /// grow old; a replay at full speed waits for its reader, so that every run sees the same.
    fn may_drop(&self) -> bool;
}
