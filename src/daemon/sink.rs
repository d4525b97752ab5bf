//! Where stored events go.
//!
//! Owns the way out only: what is stored, and when, is decided before.

use std::io::{self, Write as _, stdout};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::shared::lock;
use crate::event::VerificationEvent;

/// Where events go, besides the store.
pub(super) trait EventSink: Send {
    /// Takes an event that is stored.
    fn deliver(&mut self, event: &VerificationEvent);
    /// Whether stored events wait in the outbox for a broker.
    fn uses_outbox(&self) -> bool;
}

/// Events as JSON lines on standard output.
pub(super) struct JsonLines {
    /// Told when no line can be written any more.
    pub(super) ended: Arc<Notify>,
    /// Why.
    pub(super) failure: Arc<Mutex<Option<io::Error>>>,
}

impl EventSink for JsonLines {
    fn deliver(&mut self, event: &VerificationEvent) {
        let line = match serde_json::to_string(event) {
            Ok(line) => line,
            Err(error) => return log::error!("event {}: {error}", event.event_id),
        };
        if let Err(error) = writeln!(stdout().lock(), "{line}") {
            lock(&self.failure).get_or_insert(error);
            self.ended.notify_one();
        }
    }

    fn uses_outbox(&self) -> bool {
        false
    }
}

/// Events through the outbox to the broker.
pub(super) struct Broker(pub(super) Arc<Notify>);

impl EventSink for Broker {
    fn deliver(&mut self, _: &VerificationEvent) {
        self.0.notify_one();
    }

    fn uses_outbox(&self) -> bool {
        true
    }
}
