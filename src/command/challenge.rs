//! Challenges: what stands for the time where no clock can be believed.

use std::time::Duration;

/// A random number that the device gives out and takes back once.
pub type Challenge = [u8; 16];

/// How long a challenge is open.
const LIFE: Duration = Duration::from_secs(5);

/// Challenges that are open at a time; the oldest gives way.
const MOST: usize = 8;

/// The challenges that are open. They do not outlive a restart.
#[derive(Debug, Default)]
pub(super) struct Challenges(Vec<(Challenge, Duration)>);

impl Challenges {
    /// Opens `challenge` at `now`, on a clock that only runs forward.
    pub(super) fn open(&mut self, challenge: Challenge, now: Duration) {
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push((challenge, now));
    }

    /// Takes `challenge` back. False if it is not open (any more).
    pub(super) fn take(&mut self, challenge: &Challenge, now: Duration) -> bool {
        self.0
            .retain(|(_, opened)| now.saturating_sub(*opened) < LIFE);
        let found = self.0.iter().position(|(open, _)| open == challenge);
        found.map(|at| self.0.remove(at)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_good_once_and_for_a_while() {
        let at = Duration::from_secs;
        let mut challenges = Challenges::default();
        assert!(!challenges.take(&[1; 16], at(0)), "never opened");
        challenges.open([1; 16], at(0));
        challenges.open([2; 16], at(1));
        assert!(!challenges.take(&[1; 16], at(5)), "over");
        assert!(challenges.take(&[2; 16], at(5)));
        assert!(!challenges.take(&[2; 16], at(5)), "taken");
        for i in 0..=u8::try_from(MOST).unwrap() {
            challenges.open([i; 16], at(6));
        }
        assert!(!challenges.take(&[0; 16], at(6)), "had to give way");
        assert!(challenges.take(&[1; 16], at(6)));
    }
}
