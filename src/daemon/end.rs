//! What the daemon waits for before it ends, and at the end.

use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot, watch};

use super::shared::{Shared, lock};

/// How long a replay's last events may take to reach the broker.
const LAST_EVENTS: Duration = Duration::from_secs(10);

/// Why the daemon stops.
#[derive(PartialEq, Eq)]
pub(super) enum End {
    /// This signal told it to.
    Told(&'static str),
    /// A replay is over, or a thread has failed.
    Finished,
}

/// Waits for the first signal, or for the end of a thread or of the publisher.
pub(super) async fn wait_for_end(
    first: oneshot::Receiver<&'static str>,
    ended: &Notify,
    connected: Option<watch::Receiver<bool>>,
) -> End {
    tokio::select! {
        biased;
        signal = first => signal.map_or(End::Finished, End::Told),
        () = ended.notified() => End::Finished,
        () = gone(connected) => End::Finished,
    }
}

/// Returns when the publisher has ended, which it does not by itself.
async fn gone(connected: Option<watch::Receiver<bool>>) {
    match connected {
        Some(mut connected) => while connected.changed().await.is_ok() {},
        None => std::future::pending().await,
    }
}

/// Gives the broker a moment to take the last events of a replay. What it does not take stays in
/// the outbox.
pub(super) async fn drain(shared: &Shared) {
    let until = Instant::now() + LAST_EVENTS;
    while lock(&shared.store).outbox_len().is_ok_and(|n| n > 0) && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
