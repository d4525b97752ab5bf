//! What the service manager hears: ready, status, signs of life, and the end.
//!
//! A sign of life says that the capture thread and the vision thread have both moved on. A camera
//! that is away moves on as well, because it is tried again and again. Where no service manager
//! listens, nothing is said.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::shared::{Shared, lock};
use crate::camera::Progress;
use crate::event::VerificationEvent;

/// How often the status and the signs of life are looked after.
const TICK: Duration = Duration::from_secs(1);

/// The longest that the capture thread takes besides the camera's own timeout.
const SLACK: Duration = Duration::from_secs(10);

/// What the daemon says of itself in words.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// The camera, or why there is none.
    pub(super) camera: String,
    /// The last event.
    pub(super) last: String,
}

impl Words {
    /// Takes note of an event.
    pub(super) fn event(&mut self, event: &VerificationEvent) {
        let who = event.subject_id.as_deref().unwrap_or(&event.reason);
        self.last = format!("{} {who} {}", event.event_type.word(), event.ts);
    }
}

/// Looks after the service manager until the daemon ends.
pub(super) struct Service {
    pub(super) shared: Arc<Shared>,
    pub(super) progress: Arc<Progress>,
    /// Grows with every turn of the vision thread.
    pub(super) turns: Arc<AtomicU64>,
    /// The broker's name and whether it is there; none where nothing is published.
    pub(super) broker: Option<(String, watch::Receiver<bool>)>,
    /// How long the camera may be waited for.
    pub(super) timeout: Duration,
}

impl Service {
    /// Says that the daemon is ready, and then what becomes of it.
    pub(super) async fn tend(self) {
        tell(&[NotifyState::Ready]);
        lengthen_watchdog(self.timeout);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut life = Life::default();
        let mut told = String::new();
        loop {
            tick.tick().await;
            if life.moved(self.progress.turns.load(Relaxed), self.turns.load(Relaxed)) {
                tell(&[NotifyState::Watchdog]);
            }
            let status = self.status();
            if status != told {
                tell(&[NotifyState::Status(&status)]);
                told = status;
            }
        }
    }

    pub(super) fn status(&self) -> String {
        let broker = match &self.broker {
            None => "no broker".to_owned(),
            Some((name, connected)) if *connected.borrow() => format!("broker {name}"),
            Some((name, _)) => format!("broker {name} is away"),
        };
        let state = self.shared.state.borrow().clone();
        let gallery = people(state.gallery_size, state.enrol_again);
        let store = if state.store == "failed" {
            "; events cannot be stored"
        } else {
            ""
        };
        let words = lock(&self.shared.words);
        let last = if words.last.is_empty() {
            "none"
        } else {
            &words.last
        };
        // A status is one line.
        format!(
            "{}; {broker}; {gallery}{store}; last event: {last}",
            words.camera
        )
        .replace('\n', " ")
    }
}

/// Who is in the gallery, and who would be if another embedder had not made their templates.
fn people(size: u32, enrol_again: u32) -> String {
    let size = match (size, enrol_again) {
        (0, 0) => "nobody is enrolled yet".to_owned(),
        (0, _) => "nobody can be recognised".to_owned(),
        (1, _) => "1 person".to_owned(),
        (people, _) => format!("{people} people"),
    };
    match enrol_again {
        0 => size,
        1 => format!("{size}, 1 has to be enrolled again: another model"),
        many => format!("{size}, {many} have to be enrolled again: another model"),
    }
}

/// Whether both threads have moved since the last sign of life.
#[derive(Debug, Default)]
struct Life {
    capture: u64,
    vision: u64,
}

impl Life {
    fn moved(&mut self, capture: u64, vision: u64) -> bool {
        let moved = capture != self.capture && vision != self.vision;
        if moved {
            *self = Self { capture, vision };
        }
        moved
    }
}

/// A camera that may be waited for as long as `timeout` must not look like a daemon that hangs.
pub(super) fn lengthen_watchdog(timeout: Duration) {
    let needed = timeout + SLACK;
    if sd_notify::watchdog_enabled().is_some_and(|allowed| allowed < needed) {
        let micros = u32::try_from(needed.as_micros()).unwrap_or(u32::MAX);
        tell(&[NotifyState::WatchdogUsec(micros)]);
    }
}

/// Says something to the service manager, if there is one.
pub(super) fn tell(words: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(words) {
        log::warn!("the service manager cannot be told: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gallery_of_another_model_is_not_called_empty() {
        let again = "to be enrolled again: another model";
        for (size, enrol_again, words) in [
            (0, 0, "nobody is enrolled yet"),
            (2, 0, "2 people"),
            (0, 3, &format!("nobody can be recognised, 3 have {again}")),
            (1, 1, &format!("1 person, 1 has {again}")),
        ] {
            assert_eq!(people(size, enrol_again), words);
        }
    }

    #[test]
    fn one_thread_that_hangs_is_no_life() {
        let mut life = Life::default();
        // (turns of capture, turns of vision, a sign of life)
        let table = [
            (0, 0, false),
            (1, 0, false),
            (1, 1, true),
            (1, 2, false),
            (1, 3, false),
            (2, 3, true),
            (3, 3, false),
            (3, 4, true),
        ];
        for (capture, vision, expected) in table {
            assert_eq!(life.moved(capture, vision), expected, "{capture} {vision}");
        }
    }
}
