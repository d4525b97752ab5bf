//! A new configuration at work, without an end of the old one.
//!
//! The models and what is set for the pipeline are made ready beside it and change places with it
//! between two frames; visits go on with the votes that they have, presentation attack detection
//! begins anew. The camera is opened anew only when its section has changed. What names the device,
//! the broker, the database or the lines of the door is fixed for a run.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sd_notify::NotifyState;
use tokio::signal::unix::Signal;

use super::events::EventMaker;
use super::service::{lengthen_watchdog, tell};
use super::shared::{Shared, lock};
use crate::camera::StopClock as _;
use crate::config::Config;
use crate::pipeline::Pipeline;
use crate::setup::Setup;

/// Reads configuration and models; called at the start and at every reload.
pub type Load = Arc<dyn Fn() -> Result<Setup> + Send + Sync>;

/// How long the vision thread may take until it lets the new pipeline take over.
const TAKE_OVER: Duration = Duration::from_secs(10);

/// How often it is looked whether the daemon stops meanwhile.
const GLANCE: Duration = Duration::from_millis(100);

/// A pipeline that waits to take over, and what belongs to it.
pub(super) struct Successor {
    pub(super) setup: Arc<Setup>,
    pub(super) pipeline: Pipeline,
    pub(super) maker: EventMaker,
    /// Hears what came of it.
    pub(super) done: Sender<Result<()>>,
}

/// Reloads whenever `hangup` comes. What is wrong then leaves everything as it was.
pub(super) async fn on_hangup(mut hangup: Signal, load: Load, shared: Arc<Shared>) {
    while hangup.recv().await.is_some() {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
        let (load, shared) = (Arc::clone(&load), Arc::clone(&shared));
        let reloaded = tokio::task::spawn_blocking(move || reload(&load, &shared)).await;
        match reloaded.context("the reload failed").flatten() {
            Ok(()) => log::info!("the configuration was read again"),
            Err(error) => log::error!("the configuration stays as it was: {error:#}"),
        }
        tell(&[NotifyState::Ready]);
    }
}

/// Reads configuration and models again, and waits until they hold. An error leaves everything as
/// it was.
pub(super) fn reload(load: &Load, shared: &Shared) -> Result<()> {
    let _alone = lock(&shared.reloading);
    let mut setup = load()?;
    let old = Arc::clone(&lock(&shared.setup));
    if let (Some(path), None) = (&old.config.source, &setup.config.source) {
        bail!("the configuration {} has gone", path.display());
    }
    keep_what_is_fixed(&old.config, &mut setup.config);
    // The old sections and the new ones may not go together.
    setup.config.check().map_err(anyhow::Error::msg)?;
    let pipeline = setup.pipeline()?;
    let maker = EventMaker::new(&setup, &pipeline);
    lengthen_watchdog(setup.camera_request().timeout);
    let camera_differs = old.config.camera != setup.config.camera;
    let (done, outcome) = channel();
    *lock(&shared.successor) = Some(Successor {
        setup: Arc::new(setup),
        pipeline,
        maker,
        done,
    });
    wait_for(&outcome, shared)?;
    if camera_differs {
        shared.stop.reopen();
    }
    Ok(())
}

/// Waits until the vision thread has let the new pipeline take over, or takes it back.
fn wait_for(outcome: &Receiver<Result<()>>, shared: &Shared) -> Result<()> {
    let until = Instant::now() + TAKE_OVER;
    loop {
        match outcome.recv_timeout(GLANCE) {
            Ok(outcome) => return outcome,
            Err(RecvTimeoutError::Disconnected) => {
                bail!("the thread that looks at frames has ended")
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        let late = shared.stop.is_stopped() || Instant::now() > until;
        // Once it is taken, something comes of it.
        if late && lock(&shared.successor).take().is_some() {
            bail!("the thread that looks at frames does not answer");
        }
    }
}

/// Puts back what is read at the start only.
fn keep_what_is_fixed(old: &Config, new: &mut Config) {
    fn keep<T: Clone + PartialEq>(what: &str, old: &T, new: &mut T) {
        if old != new {
            log::warn!("{what} has changed, which takes effect at the next start");
            new.clone_from(old);
        }
    }
    keep("[device] id", &old.device.id, &mut new.device.id);
    keep("[mqtt]", &old.mqtt, &mut new.mqtt);
    keep("[commands]", &old.commands, &mut new.commands);
    keep("[store]", &old.store, &mut new.store);
    keep("[door]", &old.door, &mut new.door);
}
