//! A door without a camera: a store, and a publisher on a thread of its own.

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use doorward::config::Config;
use doorward::event::{EventType, VerificationEvent};
use doorward::mqtt::{DeviceState, Outbox, Publisher};
use doorward::store::Store;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::{Message, wait_for};
use crate::support::{event, noon};

/// What a test with a broker needs.
pub const NEEDED: [&str; 3] = ["mosquitto", "mosquitto_sub", "mosquitto_pub"];

/// The store as the daemon lends it to the publisher.
pub struct Shared {
    store: Mutex<Store>,
    wake: Arc<Notify>,
    /// Makes the outbox sleep once: 2 before it has given an event, 1 at the next call, which comes
    /// at once, 0 never.
    pub sleeps: AtomicU8,
}

/// Longer than the broker may be silent.
const SLEEP: Duration = Duration::from_secs(6);

impl Outbox for Shared {
    fn pending(&self, limit: u32) -> anyhow::Result<Vec<VerificationEvent>> {
        let events = self.store.lock().unwrap().pending(limit)?;
        let sleeps = self.sleeps.load(Ordering::SeqCst);
        if sleeps == 1 {
            self.sleeps.store(0, Ordering::SeqCst);
            std::thread::sleep(SLEEP);
        } else if sleeps == 2 && !events.is_empty() {
            self.sleeps.store(1, Ordering::SeqCst);
            self.wake.notify_one();
        }
        Ok(events)
    }

    fn newest(&self, limit: u32) -> anyhow::Result<Vec<VerificationEvent>> {
        Ok(self.store.lock().unwrap().newest(limit)?)
    }

    fn acknowledge(&self, event_ids: &[String]) -> anyhow::Result<()> {
        Ok(self.store.lock().unwrap().acknowledge(event_ids)?)
    }
}

/// A store and a publisher on a thread of its own.
pub struct Door {
    pub store: Arc<Shared>,
    pub wake: Arc<Notify>,
    /// Milliseconds since 1970.
    pub clock: Arc<AtomicI64>,
    pub state: watch::Sender<DeviceState>,
    shutdown: watch::Sender<bool>,
    pub connected: watch::Receiver<bool>,
    thread: std::thread::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

pub fn config(settings: &str) -> Config {
    let text = format!("[device]\nid = \"front\"\n[mqtt]\nhost = \"127.0.0.1\"\n{settings}");
    Config::parse(&text, Path::new("test")).unwrap()
}

impl Door {
    pub fn start(settings: &str) -> Self {
        let _ = env_logger::builder().is_test(true).try_init();
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(settings);
        config.store.path = folder.path().join("doorward.db");
        let store = Store::open(&config.store, noon()).unwrap();
        let wake = Arc::new(Notify::new());
        let store = Arc::new(Shared {
            store: Mutex::new(store),
            wake: wake.clone(),
            sleeps: AtomicU8::new(0),
        });
        let clock = Arc::new(AtomicI64::new(noon().as_millisecond()));
        let now = Arc::clone(&clock);
        let (state, state_receiver) = watch::channel(DeviceState::default());
        let (shutdown, shutdown_receiver) = watch::channel(false);
        let publisher = Publisher {
            section: config.mqtt,
            device: config.device.id,
            outbox: store.clone(),
            wake: wake.clone(),
            state: state_receiver,
            clock: Arc::new(move || {
                Timestamp::from_millisecond(now.load(Ordering::SeqCst)).unwrap()
            }),
            lock: None,
            commands: None,
            shutdown: shutdown_receiver,
        };
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            runtime().block_on(async {
                let running = publisher.spawn();
                sender.send(running.connected).unwrap();
                running.task.await.unwrap();
            });
        });
        let connected = receiver.recv().unwrap();
        Self {
            store,
            wake,
            clock,
            state,
            shutdown,
            connected,
            thread,
            _folder: folder,
        }
    }

    pub fn record(&self, event_type: EventType) -> VerificationEvent {
        self.record_at(event_type, noon())
    }

    pub fn record_at(&self, event_type: EventType, ts: Timestamp) -> VerificationEvent {
        self.record_event(event(event_type, ts))
    }

    pub fn record_event(&self, event: VerificationEvent) -> VerificationEvent {
        let recorded = self
            .store
            .store
            .lock()
            .unwrap()
            .record(event, true)
            .unwrap();
        self.wake.notify_one();
        recorded.event
    }

    pub fn waiting(&self) -> u32 {
        self.store.store.lock().unwrap().outbox_len().unwrap()
    }

    pub fn wait_until_sent(&self) {
        wait_for("the outbox is empty", || self.waiting() == 0);
    }

    pub fn wait_until_connected(&self) {
        wait_for("the connection", || *self.connected.borrow());
    }

    /// A clean stop; how long it took.
    pub fn stop(self) -> Duration {
        let begun = Instant::now();
        self.shutdown.send(true).unwrap();
        self.thread.join().unwrap();
        begun.elapsed()
    }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

pub fn is_event(message: &Message) -> bool {
    message.topic == "doorward/front/event"
}

pub fn says<'a>(word: &'a str) -> impl Fn(&Message) -> bool + 'a {
    move |message| message.topic == "doorward/front/available" && message.payload == word
}

pub fn seqs(messages: &[Message]) -> Vec<u64> {
    let events = messages.iter().filter(|m| is_event(m));
    events.map(|m| m.json()["seq"].as_u64().unwrap()).collect()
}
