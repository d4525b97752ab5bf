//! When the door is open: a pure state machine over time.

use std::time::Duration;

/// An alarm is over when the contact has said shut for so long: one that chatters gives one alarm.
const SETTLED: Duration = Duration::from_secs(2);

/// What the latch goes by.
#[derive(Clone, Copy, Debug)]
pub struct LatchRules {
    /// How long it is open.
    pub pulse: Duration,
    /// A decision that is older opens nothing.
    pub max_age: Duration,
    /// For so long after a pulse the door may still be pulled open.
    pub grace: Duration,
    /// A door that stands open for so long is worth a word.
    pub held_open: Duration,
}

/// Why the door was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The decision is too old.
    Stale,
    /// The door is held shut.
    Held,
}

/// What the contact gives cause for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// Opened without a decision.
    Forced,
    /// Stands open for too long.
    HeldOpen,
    /// Is shut again after one of the two.
    ShutAgain,
}

/// The state of the door. Time is monotonic, from an origin of the caller's.
#[derive(Debug)]
pub struct Latch {
    rules: LatchRules,
    held: bool,
    /// When the pulse is over; none while shut.
    open_until: Option<Duration>,
    /// Until when the door may be found open.
    excused_until: Duration,
    /// Since when the contact says open; none before it has said anything else.
    standing_open: Option<Duration>,
    alarm: Option<Alarm>,
    /// Since when the contact has said shut during an alarm.
    calm_since: Option<Duration>,
}

impl Latch {
    /// Shut, at the start of the program.
    pub fn new(rules: LatchRules, held: bool) -> Self {
        Self {
            rules,
            held,
            open_until: None,
            excused_until: Duration::ZERO,
            standing_open: None,
            alarm: None,
            calm_since: None,
        }
    }

    /// Opens for one pulse on a decision that is `age` old.
    ///
    /// # Errors
    /// Why not. A door that is open already stays so for a whole pulse from now.
    pub fn open(&mut self, age: Duration, now: Duration) -> Result<(), Refusal> {
        if self.held {
            return Err(Refusal::Held);
        }
        if age > self.rules.max_age {
            return Err(Refusal::Stale);
        }
        self.open_until = Some(now + self.rules.pulse);
        self.excused_until = now + self.rules.pulse + self.rules.grace;
        Ok(())
    }

    /// Holds the door shut, at once, or no longer.
    pub fn hold(&mut self, held: bool, now: Duration) {
        self.held = held;
        if held && self.open_until.take().is_some() {
            self.excused_until = self.excused_until.min(now + self.rules.grace);
        }
    }

    /// Whether the door is to be open at `now`.
    pub fn is_open(&mut self, now: Duration) -> bool {
        self.open_until = self.open_until.filter(|&until| now < until);
        self.open_until.is_some()
    }

    /// Whether it is held shut.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// How long until the pulse is over.
    pub fn remaining(&self, now: Duration) -> Option<Duration> {
        self.open_until.map(|until| until.saturating_sub(now))
    }

    /// Takes what the contact says. Each opening gives each alarm once.
    pub fn contact(&mut self, open: bool, now: Duration) -> Option<Alarm> {
        if !open {
            self.standing_open = None;
            self.alarm?;
            let since = *self.calm_since.get_or_insert(now);
            if now.saturating_sub(since) < SETTLED {
                return None;
            }
            (self.alarm, self.calm_since) = (None, None);
            return Some(Alarm::ShutAgain);
        }
        self.calm_since = None;
        let Some(since) = self.standing_open else {
            self.standing_open = Some(now);
            if now < self.excused_until || self.alarm == Some(Alarm::Forced) {
                return None;
            }
            self.alarm = Some(Alarm::Forced);
            return self.alarm;
        };
        let long = now.saturating_sub(since) >= self.rules.held_open;
        if long && self.alarm != Some(Alarm::HeldOpen) {
            self.alarm = Some(Alarm::HeldOpen);
            return self.alarm;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: LatchRules = LatchRules {
        pulse: Duration::from_secs(3),
        max_age: Duration::from_secs(2),
        grace: Duration::from_secs(1),
        held_open: Duration::from_secs(30),
    };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_pulse_ends_and_an_old_decision_opens_nothing() {
        let mut latch = Latch::new(RULES, false);
        assert!(!latch.is_open(at(0)));
        assert_eq!(latch.open(at(3), at(10)), Err(Refusal::Stale));
        assert!(!latch.is_open(at(10)));
        assert_eq!(latch.open(at(2), at(10)), Ok(()));
        assert!(latch.is_open(at(10)) && latch.is_open(at(12)));
        assert_eq!(latch.remaining(at(12)), Some(at(1)));
        assert!(!latch.is_open(at(13)));
        assert_eq!(latch.remaining(at(13)), None);
        // A second decision within the pulse counts from its own time.
        latch.open(at(0), at(20)).expect("fresh");
        latch.open(at(0), at(22)).expect("fresh");
        assert!(latch.is_open(at(24)) && !latch.is_open(at(25)));
    }

    #[test]
    fn a_held_door_is_shut_at_once_and_stays_so() {
        let mut latch = Latch::new(RULES, false);
        latch.open(at(0), at(0)).expect("fresh");
        latch.hold(true, at(1));
        assert!(!latch.is_open(at(1)) && latch.is_held());
        assert_eq!(latch.open(at(0), at(1)), Err(Refusal::Held));
        latch.hold(false, at(1));
        assert!(!latch.is_open(at(1)), "nothing is made up for");
        assert_eq!(latch.open(at(0), at(1)), Ok(()));
        assert_eq!(
            Latch::new(RULES, true).open(at(0), at(0)),
            Err(Refusal::Held)
        );
    }

    #[test]
    fn the_contact_tells_force_from_a_guest() {
        use Alarm::{Forced, HeldOpen, ShutAgain};
        let mut latch = Latch::new(RULES, false);
        let mut say = |open, second| latch.contact(open, at(second));
        assert_eq!(say(false, 10), None);
        assert_eq!(say(true, 11), Some(Forced));
        assert_eq!(say(true, 12), None, "said once");
        assert_eq!(say(true, 41), Some(HeldOpen));
        assert_eq!(say(true, 80), None);
        assert_eq!(say(false, 81), None);
        assert_eq!(say(false, 83), Some(ShutAgain));
        latch.open(at(0), at(100)).expect("fresh");
        for (open, second, expected) in [
            (false, 101, None),
            (true, 103, None),
            (true, 132, None),
            (true, 133, Some(HeldOpen)),
            (false, 134, None),
            (false, 136, Some(ShutAgain)),
            (true, 137, Some(Forced)),
        ] {
            assert_eq!(latch.contact(open, at(second)), expected, "{second}");
        }
        // Whoever pulls at the door after it was held in the middle of a pulse.
        latch.open(at(0), at(200)).expect("fresh");
        latch.hold(true, at(201));
        assert_eq!(latch.contact(false, at(198)), None);
        assert_eq!(latch.contact(false, at(201)), Some(ShutAgain));
        assert_eq!(latch.contact(true, at(202)), Some(Forced));
        // A loose wire, for ten minutes.
        let polls = (0u64..).map(|i| (i % 3 == 0, Duration::from_millis(210_000 + i * 50)));
        let alarms = polls
            .take(12_000)
            .filter_map(|(open, now)| latch.contact(open, now));
        assert_eq!(alarms.count(), 0, "it is the same alarm all the time");
        // A door that is found open at the start was opened without a decision of ours.
        assert_eq!(Latch::new(RULES, false).contact(true, at(0)), Some(Forced));
    }
}
