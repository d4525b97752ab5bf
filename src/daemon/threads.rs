//! Threads whose end ends the daemon, and how their ends are waited for.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::Notify;

/// Names a thread that is to panic at its start.
const PANIC_IN: &str = "DOORWARD_PANIC_IN";

/// How long the end waits for a camera that does not answer.
const LAST_FRAME: Duration = Duration::from_millis(500);

/// How often it is looked whether a thread has ended.
const GLANCE: Duration = Duration::from_millis(10);

/// A named thread whose end, also by a panic, ends the daemon.
pub(super) fn spawn(
    name: &str,
    ended: &Arc<Notify>,
    work: impl FnOnce() -> Result<()> + Send + 'static,
) -> Result<JoinHandle<Result<()>>> {
    struct Tell(Arc<Notify>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let tell = Tell(Arc::clone(ended));
    // The way to see what a panic does: nothing else can make one.
    let panics = std::env::var(PANIC_IN).is_ok_and(|thread| thread == name);
    let body = move || {
        let _tell = tell;
        assert!(!panics, "{PANIC_IN} wanted it");
        work()
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .context("cannot start a thread")
}

/// Waits for a thread, which does not take long any more, and returns what it failed at.
pub(super) fn join(thread: JoinHandle<Result<()>>) -> Result<()> {
    let result = thread.join();
    result.unwrap_or_else(|_| bail!("a thread panicked; see the log"))
}

/// The same for a thread that may wait for the disk or for who reads its lines, while MQTT goes on.
pub(super) async fn finish(thread: JoinHandle<Result<()>>) -> Result<()> {
    while !thread.is_finished() {
        tokio::time::sleep(GLANCE).await;
    }
    join(thread)
}

/// The same for a thread that may hang in a driver: the program's end then closes the camera.
pub(super) async fn finish_soon(thread: JoinHandle<Result<()>>) -> Result<()> {
    let finished = tokio::time::timeout(LAST_FRAME, finish(thread)).await;
    finished.unwrap_or_else(|_| {
        log::warn!("the camera does not answer and is left behind");
        Ok(())
    })
}
