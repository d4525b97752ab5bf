//! What the device says of itself, and when.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// How often frames are told about where nothing else has changed.
const FRAMES: Duration = Duration::from_secs(30);

/// What the retained topic `state` shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DeviceState {
    /// Version of doorward.
    pub version: String,
    /// `ok`, `gone` or `starting`.
    pub camera: String,
    /// `off`, `shut`, `open` or `held`.
    pub door: String,
    /// Subjects in the gallery.
    pub gallery_size: u32,
    /// Subjects whose templates another embedder has made, so that they are not recognised.
    pub enrol_again: u32,
    /// Frames that the pipeline takes per second; above 0 while one comes in ten seconds.
    pub frames_per_second: f32,
    /// Frames that were too many for the pipeline since the start.
    pub frames_dropped: u64,
    /// Events that left the outbox unsent, because it was full, or they were too old or could not be
    /// read, since the database was made.
    pub events_dropped: u64,
    /// `ok`, or `failed` when the last event could not be stored.
    pub store: String,
    /// Events that could not be stored since the start, and were not sent for that.
    pub events_not_stored: u64,
    /// Commands that were refused since the start.
    pub commands_refused: u64,
}

impl DeviceState {
    /// Without how many frames there are; whether there are any stays.
    fn without_frames(&self) -> Self {
        Self {
            frames_per_second: self.frames_per_second.min(f32::MIN_POSITIVE),
            frames_dropped: 0,
            ..self.clone()
        }
    }
}

/// What a connection has told.
#[derive(Debug, Default)]
pub(super) struct Told {
    last: Option<(DeviceState, Instant)>,
    /// It did not arrive.
    failed: bool,
}

impl Told {
    /// Whether `state` is to be told now; then it counts as told.
    pub(super) fn is_due(&mut self, state: &DeviceState, now: Instant) -> bool {
        let due = match &self.last {
            None => true,
            Some((told, at)) => {
                let waited = now.saturating_duration_since(*at) >= FRAMES;
                waited && (self.failed || state != told)
                    || state.without_frames() != told.without_frames()
            }
        };
        if due {
            (self.last, self.failed) = (Some((state.clone(), now)), false);
        }
        due
    }

    /// What was told last did not arrive: after a while it is due again.
    pub(super) fn failed(&mut self) {
        self.failed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_alone_are_news_twice_a_minute() {
        let (mut told, begun) = (Told::default(), Instant::now());
        let state = |rate, camera: &str| DeviceState {
            frames_per_second: rate,
            camera: camera.to_owned(),
            ..DeviceState::default()
        };
        let mut check = |second, state, expected| {
            let now = begun + Duration::from_secs(second);
            assert_eq!(told.is_due(&state, now), expected, "second {second}");
        };
        check(0, state(0.0, "starting"), true);
        check(1, state(0.0, "starting"), false);
        check(2, state(5.0, "starting"), true);
        check(29, state(4.0, "starting"), false);
        check(32, state(4.0, "starting"), true);
        check(33, state(6.0, "ok"), true);
        check(34, state(7.0, "ok"), false);
        check(62, state(7.0, "ok"), false);
        check(63, state(7.0, "ok"), true);
        check(64, state(0.3, "ok"), false);
        check(65, state(0.0, "ok"), true);
        check(66, state(7.0, "ok"), true);
        check(200, state(7.0, "ok"), false);
    }

    #[test]
    fn what_did_not_arrive_is_told_again_after_a_while() {
        let (mut told, begun) = (Told::default(), Instant::now());
        let state = DeviceState::default();
        let mut due = |second, failed: bool| {
            if failed {
                told.failed();
            }
            told.is_due(&state, begun + Duration::from_secs(second))
        };
        assert!(due(0, false));
        assert!(!due(1, true) && !due(29, false));
        assert!(due(30, false));
        assert!(!due(60, false), "that arrived");
    }
}
