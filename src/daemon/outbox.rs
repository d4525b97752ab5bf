//! The store's outbox as the MQTT room wants it.

use std::sync::Arc;

use super::{Shared, lock};
use crate::event::VerificationEvent;
use crate::mqtt::Outbox;

pub(super) struct StoredOutbox(pub(super) Arc<Shared>);

impl Outbox for StoredOutbox {
    fn pending(&self, limit: u32) -> anyhow::Result<Vec<VerificationEvent>> {
        Ok(lock(&self.0.store).pending(limit)?)
    }

    fn newest(&self, limit: u32) -> anyhow::Result<Vec<VerificationEvent>> {
        Ok(lock(&self.0.store).newest(limit)?)
    }

    fn acknowledge(&self, event_ids: &[String]) -> anyhow::Result<()> {
        Ok(lock(&self.0.store).acknowledge(event_ids)?)
    }
}
