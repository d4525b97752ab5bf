//! The sections of the door: its lines, what a real face has to do, and when it is too much.

use std::path::PathBuf;

use serde::Deserialize;

use super::Config;
use super::access::{RuleSection, SYSTEM, Zone};
use super::choice::choice;
use super::range::{Number, ranged};
use super::sections::{Degrees, Frames, Rate, Seconds, Unit};

ranged!(
    /// How long a strike may be released at once.
    Pulse(f64), 0.1..=60.0, "seconds"
);
ranged!(
    /// A number of turns.
    Turns(u32), 1..=5, "turns"
);
ranged!(
    /// A number of refusals.
    Refused(u32), 1..=1000, "refusals"
);

/// Level of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub enum Level {
    /// Near the supply.
    High,
    /// Near ground.
    Low,
}

choice!(Level: "high" => High, "low" => Low);

/// `[door]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DoorSection {
    /// The GPIO chip.
    pub chip: PathBuf,
    /// The strike's line; no strike when none is given.
    pub line: Option<u32>,
    /// The level that lets somebody in.
    pub active: Level,
    /// Whether a lock on MQTT is told too.
    pub mqtt_lock: bool,
    /// Seconds for which the door is open.
    pub pulse_s: Pulse,
    /// Seconds from the frame that settled it, after which a grant opens nothing.
    pub max_age_s: Seconds,
    /// The contact's line; no contact when none is given.
    pub contact_line: Option<u32>,
    /// The level that says that the door stands open.
    pub contact_open: Level,
    /// Seconds after a pulse in which the door may still be pulled open.
    pub grace_s: Seconds,
    /// Seconds after which a door that stands open is an event.
    pub held_open_s: Seconds,
}

impl Default for DoorSection {
    fn default() -> Self {
        Self {
            chip: "/dev/gpiochip0".into(),
            line: None,
            active: Level::High,
            mqtt_lock: false,
            pulse_s: Pulse::of(3.0),
            max_age_s: Seconds::of(2.0),
            contact_line: None,
            contact_open: Level::High,
            grace_s: Seconds::of(2.0),
            held_open_s: Seconds::of(30.0),
        }
    }
}

impl DoorSection {
    /// Whether there is anything to open.
    pub fn opens(&self) -> bool {
        self.line.is_some() || self.mqtt_lock
    }

    /// Whether there is anything to do at all.
    pub fn is_on(&self) -> bool {
        self.opens() || self.contact_line.is_some()
    }
}

/// `[liveness]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LivenessSection {
    /// Whether events tell of it where no rule needs it.
    pub always: bool,
    /// Frames that are put together.
    pub frames: Frames,
    /// Score of a real face; the model's when none is given.
    pub threshold: Option<Unit>,
}

impl Default for LivenessSection {
    fn default() -> Self {
        Self {
            always: false,
            frames: Frames::of(8),
            threshold: None,
        }
    }
}

/// `[challenge]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChallengeSection {
    /// Turns that are asked for.
    pub turns: Turns,
    /// Degrees from which on the head is turned.
    pub turn_yaw: Degrees,
    /// Degrees up to which the face looks ahead.
    pub front_yaw: Degrees,
    /// Frames in a row that have to show it.
    pub frames: Frames,
    /// Seconds for each turn and each return.
    pub turn_s: Seconds,
    /// False match rate that a turned face has to keep.
    pub hold_fmr: Rate,
}

impl Default for ChallengeSection {
    fn default() -> Self {
        Self {
            turns: Turns::of(3),
            turn_yaw: Degrees::of(20.0),
            front_yaw: Degrees::of(12.0),
            frames: Frames::of(2),
            turn_s: Seconds::of(4.0),
            hold_fmr: Rate::of(0.05),
        }
    }
}

/// `[lockout]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LockoutSection {
    /// Refusals of a subject from which on the next try waits.
    pub slow_after: Refused,
    /// Refusals that block the subject.
    pub block_after: Refused,
    /// Refusals at the door that block everybody.
    pub door_block_after: Refused,
    /// The first wait.
    pub slow_s: Seconds,
    /// How long a block lasts.
    pub block_s: Seconds,
    /// Seconds without another refusal after which they are forgotten. Those at the door fade one by one
    /// besides, `door_block_after` of them in this time.
    pub forget_s: Seconds,
}

impl Default for LockoutSection {
    fn default() -> Self {
        Self {
            slow_after: Refused::of(3),
            block_after: Refused::of(6),
            door_block_after: Refused::of(20),
            slow_s: Seconds::of(5.0),
            block_s: Seconds::of(300.0),
            forget_s: Seconds::of(1800.0),
        }
    }
}

/// What no single key shows.
pub(super) fn check(config: &Config) -> Result<(), String> {
    let (door, rules) = (&config.door, &config.access.rule);
    if door.opens() && rules.is_empty() {
        return Err("[door] opens for nobody without an [[access.rule]]; write one".to_owned());
    }
    if door.mqtt_lock && !config.mqtt.enabled {
        return Err("[door] mqtt_lock = true needs [mqtt] enabled = true".to_owned());
    }
    if door.line.is_some() && door.line == door.contact_line {
        return Err("[door] line and contact_line are the same; they are two lines".to_owned());
    }
    let lockout = &config.lockout;
    if lockout.slow_after > lockout.block_after {
        return Err(format!(
            "[lockout] slow_after = {} has to be at most block_after = {}",
            lockout.slow_after, lockout.block_after
        ));
    }
    let (challenge, quality) = (&config.challenge, &config.quality);
    if challenge.front_yaw >= challenge.turn_yaw || challenge.turn_yaw >= quality.max_yaw {
        return Err(format!(
            "[challenge] expected front_yaw = {} below turn_yaw = {} below [quality] max_yaw = \
             {}: a face that is turned has to be compared too",
            challenge.front_yaw, challenge.turn_yaw, quality.max_yaw
        ));
    }
    rules.iter().try_for_each(RuleSection::check)?;
    let name = &config.access.time_zone;
    // A machine may have no time zone, and a device that lets nobody in needs none.
    if !rules.is_empty() || name != SYSTEM {
        let zone: Result<Zone, _> = name.parse();
        zone.map_err(|error| format!("[access] time_zone: {error}"))?;
    }
    Ok(())
}
