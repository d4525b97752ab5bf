//! SIGTERM and SIGINT: the first one asks the daemon to end, the next one ends it.
//!
//! They have a thread of their own, for at the end the main thread may wait for what never comes.

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Tells `listens` when no signal is missed any more, and `first` the name of the first signal. A second
/// one, or any when `first` is not listened to any more, ends the program as soon as `shut` has said that
/// the door is.
///
/// # Errors
/// No signals can be heard, or the daemon has failed before the door was told to shut.
pub(super) fn watch(
    listens: oneshot::Sender<()>,
    first: oneshot::Sender<&'static str>,
    shut: oneshot::Receiver<()>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // The daemon may have failed meanwhile.
        let _ = listens.send(());
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        if first.send(next().await).is_ok() {
            next().await;
        }
        shut.await?;
        std::process::exit(130)
    })
}
