//! Too many refusals: first every try has to wait, longer each time, then all are blocked.
//!
//! Refusals are counted for each subject, so that one who is attacked does not lock out the
//! others, and for the door as a whole, so that going from name to name does not help.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// When it is too much.
#[derive(Clone, Copy, Debug)]
pub struct LockoutRules {
    /// Refusals of a subject from which on the next try has to wait.
    pub slow_after: u32,
    /// Refusals of a subject that block it.
    pub block_after: u32,
    /// Refusals at the door, of whomever, that block everybody.
    pub door_block_after: u32,
    /// The first wait; each further refusal doubles it, up to `block`.
    pub slow: Duration,
    /// How long a block lasts.
    pub block: Duration,
    /// Refusals are forgotten after so long without another, counted from the end of the wait. Those
    /// at the door, which nobody's coming in forgives, are forgotten besides one by one, all that
    /// block it in this time: a busy door is refused something every day.
    pub forget: Duration,
}

/// The key of what is counted for the door as a whole. No subject has an empty name.
pub const DOOR: &str = "";

/// What is remembered of one subject or, under [`DOOR`], of the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusals {
    /// How many.
    pub count: u32,
    /// The wait that the last one brought.
    pub wait: Duration,
}

/// A wait that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Whom it is for; none for the door as a whole.
    pub subject: Option<String>,
    /// How long.
    pub wait: Duration,
    /// Refusals so far.
    pub count: u32,
    /// A block, not only a wait.
    pub blocked: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    refusals: Refusals,
    since: Duration,
}

/// Counts refusals.
#[derive(Debug)]
pub struct Lockout {
    rules: LockoutRules,
    entries: BTreeMap<String, Entry>,
    /// Keys whose entry has changed or gone and is not stored yet.
    changed: BTreeSet<String>,
}

impl Lockout {
    /// Goes on from what was remembered over a restart. As nobody knows how long that took, waits
    /// begin anew: a restart never shortens one.
    pub fn new(rules: LockoutRules, remembered: Vec<(String, Refusals)>, now: Duration) -> Self {
        let mut lockout = Self {
            rules,
            entries: BTreeMap::new(),
            changed: BTreeSet::new(),
        };
        lockout.recall(remembered, now);
        lockout
    }

    /// After people were renamed or removed: who is not remembered any more is forgotten, and who is
    /// under another name waits anew, as after a restart. What is not stored yet stays.
    pub fn recall(&mut self, remembered: Vec<(String, Refusals)>, now: Duration) {
        let mut before = std::mem::take(&mut self.entries);
        for key in &self.changed {
            self.entries.extend(before.remove_entry(key));
        }
        for (key, refusals) in remembered {
            if !self.changed.contains(&key) {
                let known = before.remove(&key);
                let anew = Entry {
                    refusals,
                    since: now,
                };
                self.entries.insert(key, known.unwrap_or(anew));
            }
        }
    }

    /// Goes by other rules from now on. Waits that have begun go on.
    pub fn follow(&mut self, rules: LockoutRules) {
        self.rules = rules;
    }

    /// Whether a try of `subject` has to wait at `now`.
    pub fn limits(&self, subject: &str, now: Duration) -> bool {
        let waits = |key| {
            self.entries
                .get(key)
                .is_some_and(|entry: &Entry| now < entry.end())
        };
        waits(subject) || waits(DOOR)
    }

    /// Counts a refusal, of a subject or of somebody who is nobody in particular, and tells of the
    /// waits that it brings.
    pub fn refuse(&mut self, subject: Option<&str>, now: Duration) -> Vec<Limit> {
        let LockoutRules {
            slow_after,
            block_after,
            door_block_after,
            ..
        } = self.rules;
        let of_subject = subject.map(|key| (key, slow_after, block_after));
        let mut limits = Vec::new();
        for (key, slow_after, block_after) in
            of_subject
                .into_iter()
                .chain([(DOOR, u32::MAX, door_block_after)])
        {
            let entry = self.entries.get(key);
            // Of the door's refusals one is forgotten each time that this has passed.
            let each = (self.rules.forget / door_block_after.max(1)).as_millis();
            let passed = entry
                .filter(|_| key == DOOR)
                .map_or(0, |entry| now.saturating_sub(entry.end()).as_millis());
            let faded = u32::try_from(passed / each.max(1)).unwrap_or(u32::MAX);
            let before = entry.map_or(0, |entry| entry.refusals.count);
            let count = before.saturating_sub(faded).saturating_add(1);
            let blocked = count >= block_after;
            let wait = if blocked {
                self.rules.block
            } else if count >= slow_after {
                let doublings = (count - slow_after).min(20);
                (self.rules.slow * 2u32.pow(doublings)).min(self.rules.block)
            } else {
                Duration::ZERO
            };
            // What has passed of the next time counts for the one before.
            let begun = if wait.is_zero() && before > faded {
                u64::try_from(passed % each.max(1)).unwrap_or(0)
            } else {
                0
            };
            let entry = Entry {
                refusals: Refusals { count, wait },
                since: now.saturating_sub(Duration::from_millis(begun)),
            };
            self.entries.insert(key.to_owned(), entry);
            self.changed.insert(key.to_owned());
            if !wait.is_zero() {
                let subject = (key != DOOR).then(|| key.to_owned());
                limits.push(Limit {
                    subject,
                    wait,
                    count,
                    blocked,
                });
            }
        }
        limits
    }

    /// Forgets the refusals of somebody who was let in. Those of the door stay.
    pub fn forgive(&mut self, subject: &str) {
        if self.entries.remove(subject).is_some() {
            self.changed.insert(subject.to_owned());
        }
    }

    /// Forgets what is long ago.
    pub fn forget(&mut self, now: Duration) {
        let forget = self.rules.forget;
        let old = self
            .entries
            .extract_if(.., |_, entry| now >= entry.end() + forget);
        self.changed.extend(old.map(|(key, _)| key));
    }

    /// What is not stored yet and has to outlive a restart; `None` is forgotten.
    pub fn unstored(&self) -> Vec<(String, Option<Refusals>)> {
        let refusals = |key| self.entries.get(key).map(|entry| entry.refusals);
        let keys = self.changed.iter();
        keys.map(|key| (key.clone(), refusals(key))).collect()
    }

    /// All of it is stored now.
    pub fn stored(&mut self) {
        self.changed.clear();
    }
}

impl Entry {
    fn end(&self) -> Duration {
        self.since + self.refusals.wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: LockoutRules = LockoutRules {
        slow_after: 3,
        block_after: 6,
        door_block_after: 8,
        slow: Duration::from_secs(5),
        block: Duration::from_secs(300),
        forget: Duration::from_secs(1800),
    };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn waits_grow_into_a_block() {
        let mut lockout = Lockout::new(RULES, Vec::new(), at(0));
        let mut now = at(0);
        for (wait, blocked) in [
            (0, false),
            (0, false),
            (5, false),
            (10, false),
            (20, false),
            (300, true),
        ] {
            assert!(!lockout.limits("ada", now), "{now:?}");
            let limits = lockout.refuse(Some("ada"), now);
            assert_eq!(limits.len(), usize::from(wait > 0));
            for limit in limits {
                assert_eq!((limit.wait, limit.blocked), (at(wait), blocked));
                assert_eq!(limit.subject.as_deref(), Some("ada"));
            }
            assert_eq!(lockout.limits("ada", now), wait > 0);
            assert!(!lockout.limits("bela", now), "others do not wait");
            now += at(wait);
        }
        lockout.forgive("ada");
        assert!(
            lockout.refuse(Some("ada"), now).is_empty(),
            "counts from one again"
        );
    }

    #[test]
    fn no_wait_is_longer_than_a_block() {
        let rules = LockoutRules {
            slow: at(100),
            ..RULES
        };
        let mut lockout = Lockout::new(rules, Vec::new(), at(0));
        let waits = (0..6).map(|_| {
            let limits = lockout.refuse(Some("ada"), at(0));
            limits.first().map_or(0, |limit| limit.wait.as_secs())
        });
        assert_eq!(waits.collect::<Vec<_>>(), [0, 0, 100, 200, 300, 300]);
    }

    #[test]
    fn refusals_of_a_subject_do_not_fade_for_who_is_patient() {
        let mut lockout = Lockout::new(RULES, Vec::new(), at(0));
        let blocked = (1..=6).map(|i| {
            let limits = lockout.refuse(Some("ada"), at(i * 1500));
            limits.iter().any(|limit| limit.blocked)
        });
        assert_eq!(
            blocked.collect::<Vec<_>>(),
            [false, false, false, false, false, true]
        );
    }

    #[test]
    fn going_from_name_to_name_blocks_the_door() {
        let mut lockout = Lockout::new(RULES, Vec::new(), at(0));
        for i in 0..7 {
            let name = format!("subject {i}");
            assert!(lockout.refuse(Some(&name), at(i)).is_empty());
        }
        let limits = lockout.refuse(None, at(7));
        assert!(matches!(
            &limits[..],
            [Limit {
                subject: None,
                blocked: true,
                count: 8,
                ..
            }]
        ));
        lockout.forgive("subject 1");
        assert!(lockout.limits("somebody else", at(306)));
        assert!(!lockout.limits("somebody else", at(307)));
    }

    #[test]
    fn refusals_at_a_busy_door_fade() {
        let mut lockout = Lockout::new(RULES, Vec::new(), at(0));
        let every = RULES.forget.as_secs() / u64::from(RULES.door_block_after);
        for i in 0..1000 {
            assert!(lockout.refuse(None, at(i * every)).is_empty(), "{i}");
        }
        let mut now = 1000 * every;
        let burst = (0..8).filter(|_| {
            now += 1;
            !lockout.refuse(None, at(now)).is_empty()
        });
        assert_eq!(burst.count(), 1, "the eighth in a burst blocks it");
        now += 300 + 2 * every;
        assert!(lockout.refuse(None, at(now)).is_empty(), "two have faded");
        assert!(!lockout.refuse(None, at(now)).is_empty());
    }

    #[test]
    fn what_has_passed_of_the_time_to_forget_one_is_not_lost() {
        let mut lockout = Lockout::new(RULES, Vec::new(), at(0));
        let every = RULES.forget.as_secs() / u64::from(RULES.door_block_after);
        for i in 0..200 {
            let now = i * 2 * every;
            assert!(lockout.refuse(None, at(now)).is_empty(), "{i}");
            assert!(lockout.refuse(None, at(now + 10)).is_empty(), "{i}");
        }
    }

    #[test]
    fn refusals_go_with_whoever_is_renamed_or_removed() {
        let mut lockout = Lockout::new(RULES, Vec::new(), at(0));
        for name in ["ada", "bela"].repeat(3) {
            lockout.refuse(Some(name), at(100));
        }
        lockout.stored();
        lockout.refuse(Some("cara"), at(101));
        let refusals = |count, wait| Refusals {
            count,
            wait: at(wait),
        };
        let remembered = [(DOOR, 6, 0), ("bela", 3, 5), ("countess", 3, 5)];
        let remembered = remembered.map(|(key, n, wait)| (key.to_owned(), refusals(n, wait)));
        lockout.recall(remembered.to_vec(), at(103));
        assert!(!lockout.limits("ada", at(103)), "a name without a person");
        assert!(lockout.limits("bela", at(104)) && !lockout.limits("bela", at(105)));
        assert!(lockout.limits("countess", at(107)) && !lockout.limits("countess", at(108)));
        let unstored = [(DOOR, refusals(7, 0)), ("cara", refusals(1, 0))];
        let unstored = unstored.map(|(key, kept)| (key.to_owned(), Some(kept)));
        assert_eq!(lockout.unstored(), unstored);
    }

    #[test]
    fn a_restart_shortens_no_wait_and_time_forgets() {
        let mut lockout = Lockout::new(RULES, Vec::new(), at(0));
        for _ in 0..6 {
            lockout.refuse(Some("ada"), at(100));
        }
        let changes = lockout.unstored();
        assert_eq!(lockout.unstored(), changes, "until they are stored");
        lockout.stored();
        assert!(lockout.unstored().is_empty());
        let kept = changes.into_iter().filter_map(|(key, r)| Some((key, r?)));
        let mut lockout = Lockout::new(RULES, kept.collect(), at(0));
        assert!(lockout.limits("ada", at(299)) && !lockout.limits("ada", at(300)));
        lockout.forget(at(1799));
        assert!(lockout.unstored().is_empty());
        // The door's count brought no wait, so that it goes first.
        lockout.forget(at(1800));
        assert_eq!(lockout.unstored(), [(DOOR.to_owned(), None)]);
        lockout.stored();
        lockout.forget(at(2100));
        assert_eq!(lockout.unstored(), [("ada".to_owned(), None)]);
        lockout.stored();
        lockout.refuse(Some("ada"), at(2200));
        assert_eq!(lockout.unstored().len(), 2);
        lockout.stored();
        lockout.forgive("ada");
        assert_eq!(lockout.unstored(), [("ada".to_owned(), None)]);
    }
}
