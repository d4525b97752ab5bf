//! The daemon: threads, signals, and the way from decisions to stored and published events.
//!
//! Five threads: `capture` drains the source into a one-place slot, `vision` takes the newest
//! frame through the pipeline, stores what was decided and lets people in, `door` moves the
//! strike, `signals` hears when to end, and the main thread runs MQTT. `door` needs a sixth,
//! `door-events`, to store what it did. Where commands are taken, `commands` judges and obeys
//! them, and `worker` does what takes long of it. Only this room knows all edges.

mod capture;
mod commands;
mod door;
mod door_events;
mod end;
mod events;
mod executor;
mod guard;
mod journal;
mod keeper;
mod outbox;
mod pace;
mod pruning;
mod quota;
mod reload;
mod service;
mod shared;
mod sight;
mod signals;
mod sink;
mod threads;
mod vision;
mod wishes;

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::camera::{Latest, Progress, Stop};
use crate::config::SourceKind;
use crate::door::Strike;
use crate::mqtt::{DeviceState, Publisher};
use crate::store::{Store, hold};

use capture::capture;
use door::Door;
use end::{End, drain, wait_for_end};
use events::EventMaker;
use executor::Executor;
use guard::Guard;
use outbox::StoredOutbox;
use service::{Service, Words, tell};
use shared::{Shared, lock};
use sink::{Broker, EventSink, JsonLines};
use threads::{finish, finish_soon, spawn};
use vision::Vision;
use wishes::Wishes;

pub(crate) use events::clock_synced;
pub use journal::stderr_is_journal;
pub use reload::Load;

/// How long the end may wait for what cannot be cancelled.
const LAST_BREATH: Duration = Duration::from_millis(500);

/// Words for a lock on MQTT that may wait; more than one waits only without a broker.
const LOCK_WORDS: usize = 4;

/// Runs until a signal, the end of a replay, or an error that nothing mends.
///
/// # Errors
/// What keeps the daemon from starting or going on.
pub fn run(load: Load, stdout: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(serve(load, stdout));
    // A look-up of the broker's name may still hang.
    runtime.shutdown_timeout(LAST_BREATH);
    result
}

async fn serve(load: Load, stdout: bool) -> Result<()> {
    let setup = Arc::new(load()?);
    log::info!("configuration: {}", setup.config.in_words());
    // First of all: the program may have died in the middle of a pulse.
    let strike = Strike::take(&setup.config.door)?;
    if setup.config.camera.source == SourceKind::Replay {
        // Unlike a camera, a replay that is not there now will not come.
        setup.open_source(Instant::now())?;
    }
    let store = Store::open_at_once(&setup.config.store, Timestamp::now())?;
    let _held = hold(&setup.config.store.path)?;
    let pipeline = setup.pipeline()?;
    let maker = EventMaker::new(&setup, &pipeline);
    let wake = Arc::new(Notify::new());
    let mqtt = setup.config.mqtt.enabled && !stdout;
    let ended = Arc::new(Notify::new());
    let unwritten = Arc::new(Mutex::new(None));
    let sink: Box<dyn EventSink> = if mqtt {
        Box::new(Broker(Arc::clone(&wake)))
    } else {
        Box::new(JsonLines {
            ended: Arc::clone(&ended),
            failure: Arc::clone(&unwritten),
        })
    };
    let (state, watched) = watch::channel(DeviceState {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        camera: "starting".to_owned(),
        door: "off".to_owned(),
        store: "ok".to_owned(),
        events_dropped: store.outbox_dropped()?,
        ..DeviceState::default()
    });
    let shared = Arc::new(Shared {
        store: Mutex::new(store),
        waiting: Mutex::default(),
        state,
        sink: Mutex::new(sink),
        maker: Mutex::new(maker),
        setup: Mutex::new(Arc::clone(&setup)),
        successor: Mutex::default(),
        reloading: Mutex::default(),
        words: Mutex::new(Words {
            camera: "no camera yet".to_owned(),
            ..Words::default()
        }),
        stop: Stop::new(),
        panicked: Arc::default(),
    });
    let lock = setup.config.door.mqtt_lock;
    let (lock_words, for_lock) = lock.then(|| mpsc::channel(LOCK_WORDS)).unzip();
    let (mut door, reporting, claimed) = Door::start(&setup, strike, &shared, lock_words, &ended)?;
    let guard = Guard::new(&setup, &pipeline, &shared, door.control(), claimed)?;
    let (shutdown, stopping) = watch::channel(false);
    let (link, desk) = commands::open(&setup, mqtt)?;
    let publisher = mqtt.then(|| {
        Publisher {
            section: setup.config.mqtt.clone(),
            device: setup.config.device.id.clone(),
            outbox: Arc::new(StoredOutbox(Arc::clone(&shared))),
            wake: Arc::clone(&wake),
            state: watched,
            clock: Arc::new(Timestamp::now),
            lock: for_lock,
            commands: link,
            shutdown: stopping,
        }
        .spawn()
    });

    let slot = Arc::new(Latest::new());
    let progress = Arc::new(Progress::default());
    let turns = Arc::new(AtomicU64::new(0));
    let origin = Instant::now();
    let (wishes, wished) = Wishes::new();
    let mut vision = Vision::new(
        pipeline,
        Arc::clone(&shared),
        Arc::clone(&progress),
        Arc::clone(&turns),
        guard,
        origin,
        wished,
    );
    vision.reload()?;
    let hangup = signal(SignalKind::hangup())?;
    let capturing = spawn("capture", &ended, {
        let (slot, progress) = (Arc::clone(&slot), Arc::clone(&progress));
        let shared = Arc::clone(&shared);
        move || {
            capture(origin, &slot, &progress, &shared);
            Ok(())
        }
    })?;
    let looking = spawn("vision", &ended, {
        let slot = Arc::clone(&slot);
        move || vision.run(&slot)
    })?;
    let commanding = match desk {
        Some(desk) => {
            let executor = Executor {
                shared: Arc::clone(&shared),
                load: Arc::clone(&load),
                wishes,
                door: door.control(),
            };
            desk.start(executor, &ended)?
        }
        None => Vec::new(),
    };

    let service = Service {
        shared: Arc::clone(&shared),
        progress,
        turns,
        broker: publisher
            .as_ref()
            .map(|running| (setup.config.mqtt.address(), running.connected.clone())),
        timeout: setup.camera_request().timeout,
    };
    let (heard, first) = oneshot::channel();
    let (is_shut, shutting) = oneshot::channel();
    let (listens, listening) = oneshot::channel();
    spawn("signals", &ended, || {
        signals::watch(listens, heard, shutting)
    })?;
    // Nobody is told that the daemon is ready before it can be told to end.
    listening.await.context("signals cannot be heard")?;
    let tending = tokio::spawn(service.tend());
    let reloading = tokio::spawn(reload::on_hangup(hangup, load, Arc::clone(&shared)));
    tokio::task::spawn_blocking({
        let shared = Arc::clone(&shared);
        move || wipe(&shared)
    });
    let connected = publisher.as_ref().map(|running| running.connected.clone());
    let end = wait_for_end(first, &ended, connected).await;
    let shut = door.stop();
    let _ = is_shut.send(());
    if let End::Told(signal) = end {
        log::info!("stopping on {signal}");
    }
    tending.abort();
    reloading.abort();
    tell(&[NotifyState::Stopping]);
    shared.stop.stop();
    slot.close();
    let mut result = finish(looking).await.and(finish_soon(capturing).await);
    result = result.and(shut).and(finish(reporting).await);
    // The thread itself may still be at its last words.
    if shared.panicked.load(Ordering::SeqCst) {
        result = result.and(Err(anyhow!("a thread panicked; see the log")));
    }
    // Who has stopped reading the lines wants no more.
    let unwritten = self::lock(&unwritten).take();
    if let Some(error) = unwritten.filter(|error| error.kind() != ErrorKind::BrokenPipe) {
        let error = anyhow!(error).context("cannot write to standard output");
        result = result.and(Err(error));
    }
    if result.is_err() {
        shared.tell_fault();
    }
    if let Some(running) = publisher {
        if end == End::Finished {
            drain(&shared).await;
        }
        shutdown.send_replace(true);
        result = result.and(running.task.await.context("the MQTT task failed"));
    }
    // No command can come any more.
    for thread in commanding {
        result = result.and(finish(thread).await);
    }
    shared.catch_up();
    let lost = self::lock(&shared.waiting).len();
    if lost > 0 {
        log::error!(
            "{lost} events could not be stored: somebody else still writes to the database"
        );
    }
    log::info!("stopped");
    result
}

/// Makes up for a removal that was cut short, beside the service, which need not wait for it.
fn wipe(shared: &Shared) {
    let section = lock(&shared.setup).config.store.clone();
    if let Err(error) = Store::open(&section, Timestamp::now()) {
        log::warn!("what was removed is not wiped yet: {error}");
    }
}
