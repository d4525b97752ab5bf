//! The sections that say who may come in.

use std::str::FromStr;

use jiff::tz::TimeZone;
use serde::Deserialize;

use super::choice::{CalendarDay, Text, choice};
use super::sections::Seconds;
use crate::access::{Day, Factor, Hours, Policy};
use crate::subject::{EVERYBODY, SubjectName};

/// The name of the system's time zone.
pub(super) const SYSTEM: &str = "system";

/// A time zone by its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone(pub TimeZone);

impl FromStr for Zone {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name == SYSTEM {
            return TimeZone::try_system().map(Self).map_err(|e| {
                format!("the system's time zone is not known ({e}); name one, as Europe/Berlin")
            });
        }
        TimeZone::get(name)
            .map(Self)
            .map_err(|e| format!("\"{name}\" is no time zone, as Europe/Berlin or system: {e}"))
    }
}

/// `[access]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessSection {
    /// The door's time zone.
    pub time_zone: String,
    /// Seconds that somebody has for what is missing.
    pub wait_s: Seconds,
    /// Seconds at most between a claim and the face.
    pub claim_s: Seconds,
    /// The rules, `[[access.rule]]`.
    pub rule: Vec<RuleSection>,
}

impl Default for AccessSection {
    fn default() -> Self {
        Self {
            time_zone: SYSTEM.to_owned(),
            wait_s: Seconds::of(10.0),
            claim_s: Seconds::of(15.0),
            rule: Vec::new(),
        }
    }
}

/// `[[access.rule]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSection {
    /// What events call it.
    pub name: String,
    /// Names of enrolled people, or `*`.
    pub subjects: Vec<String>,
    /// Days; all when none is given.
    #[serde(default)]
    pub days: Vec<Text<Day>>,
    /// Hours; all when none are given.
    #[serde(default)]
    pub hours: Vec<Text<Hours>>,
    /// First day.
    pub valid_from: Option<CalendarDay>,
    /// Last day.
    pub valid_until: Option<CalendarDay>,
    /// What somebody has to bring.
    #[serde(default)]
    pub factor: FactorChoice,
    /// What presentation attack detection is worth.
    #[serde(default)]
    pub liveness: PolicyChoice,
    /// Whether the head has to be turned.
    #[serde(default)]
    pub challenge: bool,
}

/// `factor` of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum FactorChoice {
    /// The face.
    #[default]
    Face,
    /// The face and a claim.
    FaceAndClaim,
    /// One of the two.
    FaceOrClaim,
}

choice!(FactorChoice:
    "face" => Face, "face_and_claim" => FaceAndClaim, "face_or_claim" => FaceOrClaim);

impl From<FactorChoice> for Factor {
    fn from(choice: FactorChoice) -> Self {
        match choice {
            FactorChoice::Face => Self::Face,
            FactorChoice::FaceAndClaim => Self::FaceAndClaim,
            FactorChoice::FaceOrClaim => Self::FaceOrClaim,
        }
    }
}

/// `liveness` of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum PolicyChoice {
    /// Not looked at.
    #[default]
    Off,
    /// Told, and no more.
    Warn,
    /// Has to be a real face.
    Required,
}

choice!(PolicyChoice: "off" => Off, "warn" => Warn, "required" => Required);

impl From<PolicyChoice> for Policy {
    fn from(choice: PolicyChoice) -> Self {
        match choice {
            PolicyChoice::Off => Self::Off,
            PolicyChoice::Warn => Self::Warn,
            PolicyChoice::Required => Self::Required,
        }
    }
}

impl RuleSection {
    /// What no single key shows.
    pub(super) fn check(&self) -> Result<(), String> {
        let name = &self.name;
        if !(1..=64).contains(&name.chars().count()) {
            return Err(format!(
                "[[access.rule]] name = \"{name}\": expected 1 to 64 characters"
            ));
        }
        if self.subjects.is_empty() {
            return Err(format!(
                "[[access.rule]] \"{name}\": subjects = [] lets nobody in; name people, or \"*\" \
                 for everybody who is enrolled"
            ));
        }
        for subject in self.named() {
            SubjectName::new(subject).map_err(|error| {
                format!("[[access.rule]] \"{name}\": nobody can be called \"{subject}\": {error}")
            })?;
        }
        if let (Some(first), Some(last)) = (&self.valid_from, &self.valid_until)
            && first.0 > last.0
        {
            return Err(format!(
                "[[access.rule]] \"{name}\": valid_from = {} is after valid_until = {}",
                first.0, last.0
            ));
        }
        Ok(())
    }

    /// The people that it names.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        let names = self.subjects.iter().map(String::as_str);
        names.filter(|name| *name != EVERYBODY)
    }

    /// Whether it holds at some times only, so that a clock is needed.
    pub fn needs_a_clock(&self) -> bool {
        let dated = self.valid_from.is_some() || self.valid_until.is_some();
        dated || !self.days.is_empty() || !self.hours.is_empty()
    }

    /// Whether the liveness model has to run for it.
    pub fn needs_liveness(&self) -> bool {
        self.liveness != PolicyChoice::Off
    }
}
