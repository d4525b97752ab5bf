//! Where stored events go.
//!
//! Owns the way out only: what is stored, and when, is decided before.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::event::VerificationEvent;

/// Where events go, besides the store.
pub(super) trait EventSink: Send {
    /// Takes an event that is stored.
    fn deliver(&mut self, event: &VerificationEvent);
    /// Whether stored events wait in the outbox for a broker.
    fn uses_outbox(&self) -> bool;
}

/// Events as JSON lines on standard output.
pub(super) struct JsonLines;

impl EventSink for JsonLines {
    fn deliver(&mut self, event: &VerificationEvent) {
        match serde_json::to_string(event) {
            Ok(line) => println!("{line}"),
            Err(error) => log::error!("event {}: {error}", event.event_id),
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
