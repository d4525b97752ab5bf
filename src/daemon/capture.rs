//! The capture thread: keeps the source open and reports its losses.

use std::sync::Arc;
use std::time::Instant;

use super::shared::{Shared, lock};
use crate::camera::{CameraState, CaptureEnd, Latest, Progress, capture_loop};

/// Keeps the source open until the daemon stops or a replay is over.
pub(super) fn capture(origin: Instant, slot: &Latest, progress: &Progress, shared: &Shared) {
    let open = || {
        let setup = Arc::clone(&lock(&shared.setup));
        setup.open_source(origin)
    };
    let end = capture_loop(open, slot, &shared.stop, progress, |change| {
        let (camera, words, reason) = match change {
            CameraState::Streaming { source } => {
                log::info!("camera: {source}");
                ("ok", format!("camera {source}"), None)
            }
            CameraState::Lost { reason } => {
                log::warn!("camera lost: {reason}");
                ("gone", format!("no camera ({reason})"), Some("camera_lost"))
            }
            CameraState::Recovered { source, after } => {
                log::info!("camera back after {:.1} s: {source}", after.as_secs_f32());
                ("ok", format!("camera {source}"), Some("camera_recovered"))
            }
        };
        shared.tell_camera(camera, words, reason);
    });
    if end == CaptureEnd::SourceEnded {
        log::info!("the replay has ended");
    }
}
