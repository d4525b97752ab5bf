//! A new configuration at work, without an end of the old one.
//!
//! The models and what is set for the pipeline are made ready beside it and change places with it
//! between two frames; visits go on with the evidence that they have. The camera is opened anew
//! only when its section has changed. What names the device, the broker, the database or the lines
//! of the door is fixed for a run.

use std::sync::Arc;

use anyhow::{Context, Result};
use sd_notify::NotifyState;
use tokio::signal::unix::Signal;

use super::events::EventMaker;
use super::service::tell;
use super::{Shared, lock};
use crate::config::Config;
use crate::pipeline::Pipeline;
use crate::setup::Setup;

/// Reads configuration and models; called at the start and at every reload.
pub type Load = Arc<dyn Fn() -> Result<Setup> + Send + Sync>;

/// A pipeline that waits to take over, and what makes its events.
pub(super) struct Successor {
    pub(super) pipeline: Pipeline,
    pub(super) maker: EventMaker,
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

/// Reads configuration and models again. An error leaves everything as it was.
pub(super) fn reload(load: &Load, shared: &Shared) -> Result<()> {
    let setup = load()?;
    let pipeline = setup.pipeline()?;
    let maker = EventMaker::new(&setup, &pipeline);
    let old = Arc::clone(&lock(&shared.setup));
    for section in fixed_sections_that_differ(&old.config, &setup.config) {
        log::warn!("[{section}] has changed, which takes effect at the next start");
    }
    let camera_differs = old.config.camera != setup.config.camera;
    *lock(&shared.setup) = Arc::new(setup);
    *lock(&shared.successor) = Some(Successor { pipeline, maker });
    if camera_differs {
        shared.stop.reopen();
    }
    Ok(())
}

/// Sections that are read at the start only.
fn fixed_sections_that_differ(old: &Config, new: &Config) -> Vec<&'static str> {
    let differ = [
        ("device", old.device != new.device),
        ("mqtt", old.mqtt != new.mqtt),
        ("commands", old.commands != new.commands),
        ("store", old.store != new.store),
        ("door", old.door != new.door),
    ];
    differ
        .into_iter()
        .filter_map(|(section, differs)| differs.then_some(section))
        .collect()
}
