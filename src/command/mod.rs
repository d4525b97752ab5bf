//! Commands to a device: how they are written, signed and judged.
//!
//! This room is pure. Bytes, keys, times and random numbers come as arguments; it opens no file,
//! no socket and no database, and obeys nothing. Whether a nonce was seen before is for the store
//! to say, because it has to outlive a restart.
//!
//! A command is a JSON object (see [`message`](self) in `message.rs`) with a HMAC-SHA-256 over
//! every field. It is good for one device, once, and for a short time. A device whose clock is not
//! known to be right cannot judge a time: it answers with a challenge, which the next command has
//! to carry instead.

mod action;
mod answer;
mod challenge;
mod judge;
mod key;
mod message;
mod refusal;

pub use action::{Action, MAX_PHOTO};
pub use answer::Answer;
pub use challenge::Challenge;
pub use judge::{Command, Judge, Moment, Proof, Refused};
pub use key::CommandKey;
pub use message::{MAX_MESSAGE, Nonce, Request};
pub use refusal::Refusal;
