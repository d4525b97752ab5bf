//! Whether the frames that come are pictures. A camera that gives no others is as good as lost.

use std::time::Instant;

use super::shared::{Shared, lock};
use crate::config::SourceKind;
use crate::image::ImageError;

/// Frames in a row that are no pictures before it is worth a warning again.
const BAD_FRAMES: u32 = 100;

/// What became of the last frames.
#[derive(Default)]
pub(super) struct Sight {
    /// Frames in a row that are no pictures.
    bad: u32,
    /// Since when no picture has come, or something was last done about it.
    since: Option<Instant>,
    /// Words about the camera, while it gives no pictures.
    blind: Option<String>,
}

impl Sight {
    /// A frame could be looked at.
    pub(super) fn good(&mut self, shared: &Shared) {
        (self.bad, self.since) = (0, None);
        let Some(words) = self.blind.take() else {
            return;
        };
        // It may have been lost and opened anew meanwhile, and that been told.
        if shared.camera_is_gone() {
            log::info!("camera back, its frames can be read again: {words}");
            shared.tell_camera("ok", words, Some("camera_recovered"));
        }
    }

    /// The frame of this number could not be looked at.
    pub(super) fn bad(&mut self, sequence: u64, error: &ImageError, shared: &Shared) {
        if self.bad.is_multiple_of(BAD_FRAMES) {
            log::warn!("frame {sequence} is skipped: {error}");
        }
        self.bad += 1;
        let timeout = lock(&shared.setup).camera_request().timeout;
        if self.since.get_or_insert_with(Instant::now).elapsed() < timeout {
            return;
        }
        self.since = None;
        if !shared.camera_is_gone() {
            log::warn!("camera lost: its frames cannot be read: {error}");
            let words = format!("no camera (its frames cannot be read: {error})");
            self.blind = Some(shared.tell_camera("gone", words, Some("camera_lost")));
        }
        if shared.source() == SourceKind::V4l2 {
            shared.stop.reopen();
        }
    }
}
