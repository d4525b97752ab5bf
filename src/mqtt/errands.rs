//! Errands to the outbox, one at a time, on a thread that may wait for a disk.
//!
//! The runtime's thread drives the connection and tells the service manager that the daemon lives:
//! it must not wait for a database.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::message::is_news;
use super::pump::{Pump, WINDOW};
use super::{Clock, Outbox};
use crate::event::VerificationEvent;

/// Who goes to the outbox.
pub(super) struct Errands {
    outbox: Arc<dyn Outbox>,
    clock: Clock,
    running: JoinSet<Errand>,
    again: bool,
}

/// What an errand brought.
#[derive(Default)]
pub(super) struct Errand {
    /// Events that the outbox now knows to be acknowledged.
    pub(super) acknowledged: Vec<String>,
    /// Events that wait, at both ends of the outbox; none when it could not be read.
    pub(super) pending: Option<Vec<VerificationEvent>>,
}

impl Errands {
    pub(super) fn new(outbox: Arc<dyn Outbox>, clock: Clock) -> Self {
        Self {
            outbox,
            clock,
            running: JoinSet::new(),
            again: false,
        }
    }

    /// Tells the outbox what the broker has, and asks for what waits: now, or when the errand that
    /// is under way is back.
    pub(super) fn run(&mut self, pump: &Pump) {
        self.again = !self.running.is_empty();
        if self.again {
            return;
        }
        let outbox = Arc::clone(&self.outbox);
        let (done, refused, now) = (pump.to_acknowledge(), pump.is_refused(), (self.clock)());
        self.running.spawn_blocking(move || Errand {
            acknowledged: acknowledge(&*outbox, done),
            pending: pending(&*outbox, refused, now),
        });
    }

    /// Waits for the errand that is under way, if any. The pump hears what the outbox knows; what
    /// waits is returned.
    pub(super) async fn back(&mut self, pump: &mut Pump) -> Option<Vec<VerificationEvent>> {
        let Some(back) = self.running.join_next().await else {
            return std::future::pending().await;
        };
        // An outbox that panicked has done nothing.
        let errand = back.unwrap_or_default();
        pump.forget(&errand.acknowledged);
        if self.again {
            self.run(pump);
        }
        errand.pending
    }

    /// Tells the outbox the last that it has to know.
    pub(super) async fn finish(mut self, pump: &mut Pump) {
        self.again = false;
        if !self.running.is_empty() {
            self.back(pump).await;
        }
        let done = pump.to_acknowledge();
        if !done.is_empty() {
            let outbox = self.outbox;
            let last = tokio::task::spawn_blocking(move || acknowledge(&*outbox, done));
            pump.forget(&last.await.unwrap_or_default());
        }
    }
}

/// Which of `done` the outbox has taken in. The others are told again later.
fn acknowledge(outbox: &dyn Outbox, done: Vec<String>) -> Vec<String> {
    if done.is_empty() {
        return done;
    }
    match outbox.acknowledge(&done) {
        Ok(()) => done,
        Err(error) => {
            log::error!("MQTT: the outbox cannot be written: {error:#}");
            Vec::new()
        }
    }
}

/// The oldest events of the outbox. What happens now must not be held up by them: while the broker refuses
/// some, which then stay at the head, the newest come as well, and behind a backlog those that are news.
fn pending(outbox: &dyn Outbox, refused: bool, now: Timestamp) -> Option<Vec<VerificationEvent>> {
    let read = || -> anyhow::Result<_> {
        let mut pending = outbox.pending(WINDOW)?;
        let more = pending.len() >= WINDOW as usize;
        let last = pending.last().cloned();
        let Some(last) = last.filter(|last| refused || more && !is_news(last, now)) else {
            return Ok(pending);
        };
        let newest = outbox.newest(WINDOW)?.into_iter();
        pending.extend(
            newest.filter(|event| event.seq > last.seq && (refused || is_news(event, now))),
        );
        Ok(pending)
    };
    read()
        .inspect_err(|error| log::error!("MQTT: the outbox cannot be read: {error:#}"))
        .ok()
}
