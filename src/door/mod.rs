//! The door's lines: the strike that lets somebody in, and the contact that tells where the door
//! stands.
//!
//! Shut is the state of rest: at the start, at the end, after every pulse, and whenever a
//! [`Strike`] goes out of scope, by whatever error or panic. Nobody is recognised here; whoever
//! calls has decided, and a decision that is too old opens nothing.

mod latch;
mod lines;

pub use latch::{Alarm, Latch, LatchRules, Refusal};
pub use lines::{Contact, LineError, Strike};
