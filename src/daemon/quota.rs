//! How often something may be written down, so that a flood of it fills no disk.

use std::time::Duration;

/// So many at once ...
const MOST: u32 = 20;
/// ... and one more after each such span.
const REFILL: Duration = Duration::from_secs(60);

/// A bucket of tokens over time.
#[derive(Debug)]
pub(super) struct Quota {
    left: u32,
    since: Duration,
}

impl Quota {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            left: MOST,
            since: now,
        }
    }

    /// Whether one more may be written down at `now`.
    pub(super) fn take(&mut self, now: Duration) -> bool {
        while self.left < MOST && now.saturating_sub(self.since) >= REFILL {
            self.left += 1;
            self.since += REFILL;
        }
        if self.left == MOST {
            self.since = now;
        }
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_noted_twenty_times_and_then_once_a_minute() {
        let mut quota = Quota::new(Duration::ZERO);
        let mut noted = |from: u64, to: u64| {
            let times = (from..to).map(Duration::from_millis);
            times.filter(|&now| quota.take(now)).count()
        };
        assert_eq!(noted(0, 1000), 20);
        assert_eq!(noted(1000, 60_000), 0);
        assert_eq!(noted(60_000, 660_000), 10);
        // After an hour of quiet it begins anew.
        assert_eq!(noted(4_260_000, 4_261_000), 20);
    }
}
