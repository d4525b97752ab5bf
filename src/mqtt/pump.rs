//! Which events of the outbox are to be sent now: a pure state machine over time.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::event::VerificationEvent;

/// Events that may be without the broker's word at a time, at each end of the outbox.
pub(super) const WINDOW: u32 = 32;

/// How long the broker may take to acknowledge; no longer than an accept is usually good for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who asks for the broker's silence after so long has not listened all the time.
const LATE: Duration = Duration::from_secs(3);

/// First pause before an event that the broker refused is sent again, and the longest.
const REFUSED: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// What is known of events that are still in the outbox.
#[derive(Debug, Default)]
pub(super) struct Pump {
    held: HashMap<String, Hold>,
    /// When somebody asked last whether the broker answers.
    asked: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Hold {
    /// Sent; the broker has not answered yet.
    InFlight { since: Instant, pause: Duration },
    /// The broker did not want it.
    Refused { until: Instant, pause: Duration },
    /// The broker has it, and the outbox has not been told yet.
    Acknowledged,
}

impl Pump {
    /// Which of `pending`, events at the ends of the outbox, are to be sent now.
    pub(super) fn due(
        &mut self,
        mut pending: Vec<VerificationEvent>,
        now: Instant,
    ) -> Vec<VerificationEvent> {
        // Forget events that left the outbox by another way.
        self.held.retain(|id, hold| {
            !matches!(hold, Hold::Refused { .. }) || pending.iter().any(|e| e.event_id == *id)
        });
        pending.retain(|event| match self.held.get(&event.event_id) {
            None => true,
            Some(Hold::Refused { until, .. }) => now >= *until,
            Some(Hold::InFlight { .. } | Hold::Acknowledged) => false,
        });
        pending
    }

    pub(super) fn sent(&mut self, event_id: String, now: Instant) {
        let pause = match self.held.get(&event_id) {
            Some(Hold::Refused { pause, .. }) => (*pause * 2).min(REFUSED.1),
            _ => REFUSED.0,
        };
        self.held
            .insert(event_id, Hold::InFlight { since: now, pause });
    }

    pub(super) fn acknowledged(&mut self, event_id: String) {
        self.held.insert(event_id, Hold::Acknowledged);
    }

    pub(super) fn refused(&mut self, event_id: String, now: Instant) {
        let pause = match self.held.get(&event_id) {
            Some(Hold::InFlight { pause, .. }) => *pause,
            // One that was not even sent.
            Some(Hold::Refused { pause, .. }) => (*pause * 2).min(REFUSED.1),
            _ => REFUSED.0,
        };
        self.held.insert(
            event_id,
            Hold::Refused {
                until: now + pause,
                pause,
            },
        );
    }

    /// Events that the outbox has to be told about.
    pub(super) fn to_acknowledge(&self) -> Vec<String> {
        let done = self
            .held
            .iter()
            .filter(|(_, hold)| matches!(hold, Hold::Acknowledged));
        done.map(|(id, _)| id.clone()).collect()
    }

    /// The outbox knows.
    pub(super) fn forget(&mut self, event_ids: &[String]) {
        for event_id in event_ids {
            self.held.remove(event_id);
        }
    }

    /// The connection has gone: what was in flight has to be sent again.
    pub(super) fn disconnected(&mut self) {
        self.held
            .retain(|_, hold| !matches!(hold, Hold::InFlight { .. }));
    }

    /// Whether the broker refuses anything at present.
    pub(super) fn is_refused(&self) -> bool {
        self.held
            .values()
            .any(|hold| matches!(hold, Hold::Refused { .. }))
    }

    /// Whether the broker has stopped answering; to be asked every second. Who asks so late that
    /// nobody may have listened either does not blame the broker.
    pub(super) fn stalled(&mut self, now: Instant) -> bool {
        let before = self.asked.replace(now).unwrap_or(now);
        if now.saturating_duration_since(before) > LATE {
            return false;
        }
        let late = |since: Instant| now.saturating_duration_since(since) > PATIENCE;
        self.held
            .values()
            .any(|hold| matches!(hold, Hold::InFlight { since, .. } if late(*since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::sample;

    fn outbox(numbers: &[u32]) -> Vec<VerificationEvent> {
        numbers.iter().map(|&number| sample(number)).collect()
    }

    fn id(number: u32) -> String {
        sample(number).event_id
    }

    #[track_caller]
    fn check(pump: &mut Pump, pending: &[u32], now: Instant, expected: &[u32]) {
        assert_eq!(pump.due(outbox(pending), now), outbox(expected));
    }

    #[test]
    fn an_event_is_sent_once_and_again_after_a_lost_connection() {
        let (mut pump, now) = (Pump::default(), Instant::now());
        check(&mut pump, &[1, 2], now, &[1, 2]);
        pump.sent(id(1), now);
        pump.sent(id(2), now);
        check(&mut pump, &[1, 2, 3], now, &[3]);
        pump.acknowledged(id(1));
        // The outbox could not be told: no reason to send it again.
        pump.disconnected();
        check(&mut pump, &[1, 2, 3], now, &[2, 3]);
        assert_eq!(pump.to_acknowledge(), [id(1)]);
        pump.forget(&[id(1)]);
        assert!(pump.to_acknowledge().is_empty());
    }

    #[test]
    fn a_refused_event_waits_longer_each_time_and_holds_up_no_other() {
        let (mut pump, mut now) = (Pump::default(), Instant::now());
        for pause in [2, 4, 8, 16, 32, 60, 60] {
            pump.sent(id(1), now);
            assert!(!pump.is_refused());
            pump.refused(id(1), now);
            assert!(pump.is_refused());
            now += Duration::from_secs(pause) - Duration::from_millis(1);
            check(&mut pump, &[1, 2], now, &[2]);
            now += Duration::from_millis(1);
            check(&mut pump, &[1, 2], now, &[1, 2]);
        }
        // It has left the outbox unsent: nothing of it remains.
        check(&mut pump, &[2], now, &[2]);
        assert!(pump.held.is_empty());
    }

    #[test]
    fn a_broker_that_does_not_answer_is_noticed() {
        let (mut pump, now) = (Pump::default(), Instant::now());
        pump.sent(id(1), now);
        assert!(!pump.stalled(now + PATIENCE));
        assert!(pump.stalled(now + PATIENCE + Duration::from_millis(1)));
        pump.acknowledged(id(1));
        assert!(!pump.stalled(now + PATIENCE + Duration::from_secs(1)));
    }

    #[test]
    fn a_silence_that_nobody_listened_to_is_none() {
        let (mut pump, now) = (Pump::default(), Instant::now());
        pump.sent(id(1), now);
        assert!(!pump.stalled(now));
        let woken = now + PATIENCE * 2;
        assert!(!pump.stalled(woken));
        assert!(pump.stalled(woken + Duration::from_secs(1)));
    }
}
