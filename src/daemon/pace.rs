//! How fast frames come: the rate that the state tells, and whether visits can be followed at it.

use std::time::{Duration, Instant};

/// Frames in a row too far apart before somebody is told.
const SPARSE: u32 = 5;
/// How long without a frame is a rate of nothing.
const NOTHING: Duration = Duration::from_secs(10);

/// Counts frames.
#[derive(Debug)]
pub(super) struct Pace {
    frames: u32,
    since: Instant,
    /// When the last frame was captured.
    last: Option<Duration>,
    /// Frames in a row that came longer after the one before than a visit lasts unseen.
    sparse: u32,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            frames: 0,
            since: now,
            last: None,
            sparse: 0,
        }
    }

    /// Takes a frame of the time `captured`. How far frames lie apart, once, when nobody is followed from
    /// one to the next because a visit ends after `gap`.
    pub(super) fn frame(&mut self, captured: Duration, gap: Duration) -> Option<Duration> {
        self.frames += 1;
        let apart = captured.saturating_sub(self.last.replace(captured)?);
        self.sparse = if apart > gap { self.sparse + 1 } else { 0 };
        (self.sparse == SPARSE).then_some(apart)
    }

    /// Frames per second since this was asked last, to a tenth below one; none while the first frame is
    /// still waited for.
    pub(super) fn rate(&mut self, now: Instant) -> Option<f32> {
        let passed = now - self.since;
        if self.frames == 0 && passed < NOTHING {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "frames of seconds")]
        let rate = self.frames as f32 / passed.as_secs_f32();
        (self.frames, self.since) = (0, now);
        Some(match rate {
            0.0 => 0.0,
            rate if rate < 1.0 => (rate * 10.0).round().max(1.0) / 10.0,
            rate => rate.round(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn frames_too_far_apart_for_a_visit_are_told_once() {
        let mut pace = Pace::new(Instant::now());
        let mut told = |times: &[u32]| -> Vec<Option<Duration>> {
            times
                .iter()
                .map(|&t| pace.frame(SECOND * t, SECOND * 2))
                .collect()
        };
        // An outage or two is no pace.
        assert_eq!(told(&[0, 1, 2, 60, 61, 120]), [None; 6]);
        assert_eq!(
            told(&[124, 128, 132, 136, 140]),
            [None, None, None, Some(SECOND * 4), None]
        );
        assert_eq!(told(&[141, 145, 149, 153, 157]), [None; 5]);
        assert_eq!(told(&[161]), [Some(SECOND * 4)]);
    }

    #[test]
    fn a_slow_pace_is_a_rate_and_not_now_and_then_nothing() {
        let begun = Instant::now();
        let mut pace = Pace::new(begun);
        let mut rates = Vec::new();
        for second in 1..=30 {
            if second % 4 == 0 && second < 17 {
                pace.frame(SECOND * second, SECOND);
            }
            rates.extend(pace.rate(begun + SECOND * second));
        }
        assert_eq!(rates, [0.3, 0.3, 0.3, 0.3, 0.0]);
    }
}
