//! The store's outbox as the MQTT room wants it.

use std::sync::Arc;

use super::shared::{Shared, lock};
use crate::event::VerificationEvent;
use crate::mqtt::{DeviceState, Outbox};
use crate::store::{Store, StoreError};

pub(super) struct StoredOutbox(pub(super) Arc<Shared>);

impl StoredOutbox {
    /// Reads events. Those that cannot be read are dropped, and the state says so.
    fn read(
        &self,
        read: impl FnOnce(&mut Store) -> Result<Vec<VerificationEvent>, StoreError>,
    ) -> anyhow::Result<Vec<VerificationEvent>> {
        let mut store = lock(&self.0.store);
        let (events, dropped) = (read(&mut store)?, store.outbox_dropped()?);
        drop(store);
        let news = |state: &mut DeviceState| {
            std::mem::replace(&mut state.events_dropped, dropped) != dropped
        };
        self.0.state.send_if_modified(news);
        Ok(events)
    }
}

impl Outbox for StoredOutbox {
    fn pending(&self, limit: u32) -> anyhow::Result<Vec<VerificationEvent>> {
        self.read(|store| store.pending(limit))
    }

    fn newest(&self, limit: u32) -> anyhow::Result<Vec<VerificationEvent>> {
        self.read(|store| store.newest(limit))
    }

    fn acknowledge(&self, event_ids: &[String]) -> anyhow::Result<()> {
        Ok(lock(&self.0.store).acknowledge(event_ids)?)
    }
}
