//! Who may come in: from decisions and claims to grants and denials.
//!
//! Pure: time comes with each call, chance comes from the caller, and nothing here opens anything.
//! `daemon` writes every answer down before it acts on it.

mod admission;
mod answer;
mod attempt;
mod claim;
mod lockout;
mod rules;
mod schedule;

pub use admission::{AccessRules, Admission, Draw};
pub use answer::{Answer, Case, Reason, Ruling};
pub use lockout::{DOOR, Limit, Lockout, LockoutRules, Refusals};
pub use rules::{Denial, Evidence, Factor, Grant, Policy, Rule, decide};
pub use schedule::{Day, Hours, Schedule};
