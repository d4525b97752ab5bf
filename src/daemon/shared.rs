//! What the threads of the daemon share: the store, what is told outside, and what holds now.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tokio::sync::watch;

use super::events::EventMaker;
use super::journal;
use super::reload::Successor;
use super::service::Words;
use super::sink::EventSink;
use crate::camera::Stop;
use crate::config::SourceKind;
use crate::event::VerificationEvent;
use crate::mqtt::DeviceState;
use crate::setup::Setup;
use crate::store::{Store, StoreError};

/// Events at most that wait for a database that somebody else writes to.
const WAITING: usize = 1000;

/// What the vision thread and the capture thread share with the rest.
pub(super) struct Shared {
    pub(super) store: Mutex<Store>,
    /// Events that nothing hangs on, until the database is free again.
    pub(super) waiting: Mutex<VecDeque<VerificationEvent>>,
    pub(super) state: watch::Sender<DeviceState>,
    pub(super) sink: Mutex<Box<dyn EventSink>>,
    pub(super) maker: Mutex<EventMaker>,
    /// What holds now; a reload replaces it.
    pub(super) setup: Mutex<Arc<Setup>>,
    /// Takes over from the pipeline at the next frame.
    pub(super) successor: Mutex<Option<Successor>>,
    /// One reload at a time.
    pub(super) reloading: Mutex<()>,
    pub(super) words: Mutex<Words>,
    pub(super) stop: Stop,
    /// A thread has panicked: the daemon ends with an error.
    pub(super) panicked: Arc<AtomicBool>,
}

impl Shared {
    /// Stores an event, then hands it to the sink. An event that cannot be stored is an error of
    /// the daemon: it is logged and not sent, because nothing may be sent that is not stored.
    pub(super) fn publish(&self, event: VerificationEvent) -> Result<(), StoreError> {
        self.catch_up();
        self.record(event)
            .inspect_err(|error| self.tell_lost(error))
    }

    /// The same for an event that nothing hangs on, which can wait while somebody else writes to the
    /// database: a removal may take longer than [`Store`] is patient.
    pub(super) fn report(&self, event: VerificationEvent) {
        let mut waiting = lock(&self.waiting);
        if waiting.len() == WAITING {
            waiting.pop_front();
            self.tell_lost(&StoreError::Busy);
        }
        waiting.push_back(event);
        self.store_all(&mut waiting);
    }

    /// Stores the events that wait, if that is possible by now.
    pub(super) fn catch_up(&self) {
        self.store_all(&mut lock(&self.waiting));
    }

    fn store_all(&self, waiting: &mut VecDeque<VerificationEvent>) {
        while let Some(event) = waiting.front() {
            match self.record(event.clone()) {
                Err(StoreError::Busy) => {
                    return log::warn!("{} events wait for the database", waiting.len());
                }
                Err(error) => self.tell_lost(&error),
                Ok(()) => {}
            }
            waiting.pop_front();
        }
    }

    fn record(&self, event: VerificationEvent) -> Result<(), StoreError> {
        let mut sink = lock(&self.sink);
        let recorded = lock(&self.store).record(event, sink.uses_outbox())?;
        self.tell_store(true);
        if recorded.dropped > 0 {
            log::warn!(
                "the outbox is full: {} old events left it",
                recorded.dropped
            );
        }
        let event = &recorded.event;
        let device = lock(&self.setup).config.camera.device.clone();
        journal::write(event, &device.to_string_lossy());
        lock(&self.words).event(event);
        sink.deliver(event);
        Ok(())
    }

    fn tell_lost(&self, error: &StoreError) {
        log::error!("an event could not be stored and is not sent: {error}");
        self.tell_store(false);
    }

    /// Says whether an event could be stored.
    fn tell_store(&self, stored: bool) {
        let word = if stored { "ok" } else { "failed" };
        self.state.send_if_modified(|state| {
            state.events_not_stored += u64::from(!stored);
            let news = !stored || state.store != word;
            word.clone_into(&mut state.store);
            news
        });
    }

    /// Says what has become of the camera: in a word, in words, and by an event where that is news.
    /// Returns the words of before.
    pub(super) fn tell_camera(&self, word: &str, words: String, reason: Option<&str>) -> String {
        self.state.send_modify(|s| word.clone_into(&mut s.camera));
        let before = std::mem::replace(&mut lock(&self.words).camera, words);
        if let Some(reason) = reason {
            let event = lock(&self.maker).camera(reason, Timestamp::now());
            self.report(event);
        }
        before
    }

    /// Whether the camera is told to be lost.
    pub(super) fn camera_is_gone(&self) -> bool {
        self.state.borrow().camera == "gone"
    }

    /// Where frames come from.
    pub(super) fn source(&self) -> SourceKind {
        lock(&self.setup).config.camera.source
    }

    /// Puts on record that the daemon ends because of an error.
    pub(super) fn tell_fault(&self) {
        let event = lock(&self.maker).fault(Timestamp::now());
        self.report(event);
    }
}

/// A lock whose holder cannot leave its value half changed.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
