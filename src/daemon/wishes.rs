//! Pictures that other threads want of the vision thread.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use crate::image::{Frame, RgbImage, decode};

/// How long a camera may take to its next frame before it counts as gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where pictures are wished for.
#[derive(Clone)]
pub(super) struct Wishes(Sender<SyncSender<RgbImage>>);

/// Where the wishes come true. A wish whose channel closes has met the end of the vision thread.
pub(super) struct Wished {
    new: Receiver<SyncSender<RgbImage>>,
    waiting: Vec<SyncSender<RgbImage>>,
}

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
        let (sender, new) = channel();
        let waiting = Vec::new();
        (Self(sender), Wished { new, waiting })
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

impl Wished {
    /// Gives the frame's picture to whoever wishes for one. After a frame that is none, the next one's.
    pub(super) fn fulfil(&mut self, frame: &Frame) {
        self.waiting.extend(self.new.try_iter());
        let mut picture = RgbImage::default();
        if self.waiting.is_empty() || decode(frame, &mut picture).is_err() {
            return;
        }
        for wish in self.waiting.drain(..) {
            // Who has given up waiting needs none.
            let _ = wish.try_send(picture.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::image::PixelFormat;

    fn frame(format: PixelFormat, bytes: &[u8]) -> Frame {
        Frame {
            bytes: bytes.to_vec(),
            format,
            width: 2,
            height: 1,
            stride: format.packed_stride(2),
            sequence: 0,
            captured_at: Duration::ZERO,
        }
    }

    #[test]
    fn wishes_wait_for_a_frame_that_is_a_picture() {
        let (wishes, mut wished) = Wishes::new();
        let waiting = [wishes.clone(), wishes].map(|w| thread::spawn(move || w.picture()));
        let broken = frame(PixelFormat::Mjpg, b"\xff\xd8\xff");
        while wished.waiting.len() < 2 {
            wished.fulfil(&broken);
            thread::yield_now();
        }
        wished.fulfil(&frame(PixelFormat::Grey, &[10, 200]));
        for wish in waiting {
            let picture = wish.join().unwrap().unwrap();
            assert_eq!(picture.pixels(), [10, 10, 10, 200, 200, 200]);
        }
        assert!(wished.waiting.is_empty());
    }

    #[test]
    fn a_wish_ends_with_the_vision_thread() {
        let (wishes, wished) = Wishes::new();
        drop(wished);
        assert!(matches!(wishes.picture(), Err(Unfulfilled::Stopping)));
    }
}
