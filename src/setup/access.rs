//! From the configuration to what the door goes by.

use std::time::Duration;

use anyhow::Result;
use jiff::tz::TimeZone;

use super::Setup;
use crate::access::{AccessRules, LockoutRules, Rule, Schedule};
use crate::challenge::ChallengeRules;
use crate::config::{Config, RuleSection, Zone};
use crate::door::LatchRules;
use crate::gallery::Gallery;

/// A subject with more templates is taken to have so many.
const TEMPLATES: usize = 16;

/// How much closer the eyes may come in a challenge than the turn of the head explains.
const FLATNESS: f32 = 0.2;

impl Setup {
    /// Who may come in, with the faces of `gallery`; nobody when no rule says so.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "degrees and fractions fit in f32"
    )]
    pub fn access_rules(&self, gallery: &Gallery) -> AccessRules {
        let Config {
            access,
            challenge,
            decision,
            ..
        } = &self.config;
        let gap = Duration::from_secs_f64(decision.visit_gap_s.get());
        AccessRules {
            rules: access.rule.iter().map(rule).collect(),
            challenge: ChallengeRules {
                turn_yaw: challenge.turn_yaw.get() as f32,
                front_yaw: challenge.front_yaw.get() as f32,
                hold: challenge.frames.get(),
                within: Duration::from_secs_f64(challenge.turn_s.get()),
                gap,
                flatness: FLATNESS,
            },
            agree: decision.agree.get() as usize,
            of: decision.of.get() as usize,
            wait: Duration::from_secs_f64(access.wait_s.get()),
            gap,
            hold_similarity: (1..=TEMPLATES)
                .map(|templates| gallery.similarity_at(challenge.hold_fmr.get(), templates))
                .collect(),
        }
    }

    /// When it is too much.
    pub fn lockout_rules(&self) -> LockoutRules {
        let section = &self.config.lockout;
        LockoutRules {
            slow_after: section.slow_after.get(),
            block_after: section.block_after.get(),
            door_block_after: section.door_block_after.get(),
            slow: Duration::from_secs_f64(section.slow_s.get()),
            block: Duration::from_secs_f64(section.block_s.get()),
            forget: Duration::from_secs_f64(section.forget_s.get()),
        }
    }

    /// The door's time zone.
    ///
    /// # Errors
    /// A name that is no time zone.
    pub fn time_zone(&self) -> Result<TimeZone> {
        let zone: Result<Zone, String> = self.config.access.time_zone.parse();
        zone.map(|zone| zone.0).map_err(anyhow::Error::msg)
    }

    /// When the door is open.
    pub fn latch_rules(&self) -> LatchRules {
        let section = &self.config.door;
        LatchRules {
            pulse: Duration::from_secs_f64(section.pulse_s.get()),
            max_age: Duration::from_secs_f64(section.max_age_s.get()),
            grace: Duration::from_secs_f64(section.grace_s.get()),
            held_open: Duration::from_secs_f64(section.held_open_s.get()),
        }
    }
}

fn rule(section: &RuleSection) -> Rule {
    Rule {
        name: section.name.clone(),
        subjects: section.subjects.clone(),
        schedule: Schedule {
            days: section.days.iter().map(|day| day.0).collect(),
            hours: section.hours.iter().map(|hours| hours.0).collect(),
        },
        valid_from: section.valid_from.as_ref().map(|date| date.0),
        valid_until: section.valid_until.as_ref().map(|date| date.0),
        factor: section.factor.into(),
        liveness: section.liveness.into(),
        challenge: section.challenge,
    }
}
