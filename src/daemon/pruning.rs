//! Old events leave the audit trail.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::events::clock_synced;
use super::shared::{Shared, lock};

/// How often it is looked for old ones.
const EVERY: Duration = Duration::from_secs(600);

/// The shortening of the audit trail, a piece at a time.
#[derive(Default)]
pub(super) struct Pruning {
    /// When it was done last.
    pruned: Option<Instant>,
    /// Events that have left, while there are more.
    going: usize,
}

impl Pruning {
    /// Drops old events, on the word of a clock that is right alone: every ten minutes, and then a piece
    /// at each call while there are more.
    pub(super) fn run(&mut self, shared: &Shared) {
        let trusted = lock(&shared.setup).config.device.trust_clock;
        let passed = self.pruned.map(|at| at.elapsed());
        let waits = self.going == 0 && passed.is_some_and(|passed| passed < EVERY);
        if !clock_synced(trusted) || waits {
            return;
        }
        self.pruned = Some(Instant::now());
        let passed = passed.unwrap_or_default();
        match lock(&shared.store).prune(Timestamp::now(), passed) {
            Ok(0) => {
                let gone = std::mem::take(&mut self.going);
                if gone > 0 {
                    log::info!("{gone} old events have left the audit trail");
                }
            }
            Ok(events) => self.going += events,
            Err(error) => {
                self.going = 0;
                log::error!("the audit trail could not be shortened: {error}");
            }
        }
    }
}
