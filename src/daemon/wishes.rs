//! Pictures that other threads want of the vision thread.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use crate::image::RgbImage;

/// How long a camera may take to its next frame before it counts as gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where pictures are wished for.
#[derive(Clone)]
pub(super) struct Wishes(Sender<SyncSender<RgbImage>>);

/// Where the wishes come true. A wish whose channel closes has met the end of the vision thread.
pub(super) type Wished = Receiver<SyncSender<RgbImage>>;

/// Why a wish does not come true.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfulfilled {
    /// The camera is gone.
    #[error("no picture has come from the camera within 2 s")]
    NoPicture,
    /// The daemon stops.
    #[error("the device is stopping")]
    Stopping,
}

impl Wishes {
    pub(super) fn new() -> (Self, Wished) {
        let (sender, wished) = channel();
        (Self(sender), wished)
    }

    /// The camera's next picture.
    pub(super) fn picture(&self) -> Result<RgbImage, Unfulfilled> {
        let (sender, picture) = sync_channel(1);
        self.0.send(sender).map_err(|_| Unfulfilled::Stopping)?;
        picture.recv_timeout(PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => Unfulfilled::NoPicture,
            RecvTimeoutError::Disconnected => Unfulfilled::Stopping,
        })
    }
}
