//! The way to the broker: MQTT 5, QoS 1.
//!
//! This room is the only one that knows the MQTT library. It owns the connection and the topics,
//! and nothing that has to outlive it: an event is the [`Outbox`]'s until the broker has
//! acknowledged it. Every connection begins with a clean session and a new client, so that no
//! queue of the library ever sends anything a second time; what was not acknowledged is read from
//! the outbox again.
//!
//! Nothing here waits for the broker on behalf of others. A broker that is away costs its
//! subscribers time, never an event.
//!
//! Topics below `<base>/<device>/`:
//!
//! | topic | retained | payload |
//! |---|---|---|
//! | `available` | yes | `online`, `stopped` after a clean stop, else `offline` (last will) |
//! | `state` | yes | [`DeviceState`], when it has changed, at most once a second |
//! | `event` | **never** | events in their time |
//! | `lock` | **never** | [`LockWord`], to a lock that listens at this moment |
//! | `audit` | **never** | what comes too late to act on, with `replayed` = true |
//! | `command` | **never** | what the device is told to do; it subscribes to it if it takes commands |
//! | `answer/…` | **never** | what it says to that |

mod ask;
mod client;
mod commands;
mod connect;
mod drive;
mod errands;
mod limit;
mod line;
mod lock;
mod message;
mod problem;
mod pump;
mod refusals;
mod session;
mod state;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::{DeviceId, MqttSection};
use crate::event::{LockWord, VerificationEvent};

pub use ask::Asker;
pub use client::probe;
pub use commands::{CommandDesk, CommandLink, Received, Reply, Reported, command_link};
pub use problem::Problem;
pub use state::DeviceState;

use pump::Pump;
use session::End;

/// First pause before connecting again, and the longest; each failure doubles it.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// A connection that held so long was a good one: the next pause is the first again.
const GOOD_CONNECTION: Duration = Duration::from_secs(5);

/// Where events wait until the broker has them. Calls come from threads that may wait; after a lost connection
/// one may overlap the last.
pub trait Outbox: Send + Sync {
    /// The oldest `limit` events that have not been acknowledged, oldest first.
    fn pending(&self, limit: u32) -> anyhow::Result<Vec<VerificationEvent>>;

    /// The newest `limit` of them, oldest first.
    fn newest(&self, limit: u32) -> anyhow::Result<Vec<VerificationEvent>>;

    /// The broker has taken over these events.
    fn acknowledge(&self, event_ids: &[String]) -> anyhow::Result<()>;
}

/// The wall clock, which tests replace.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// All that the publisher needs.
pub struct Publisher {
    /// The broker. Files that it names are read anew for every connection.
    pub section: MqttSection,
    /// This device's level of the topics.
    pub device: DeviceId,
    /// Where events wait.
    pub outbox: Arc<dyn Outbox>,
    /// Notified when an event has been put into the outbox.
    pub wake: Arc<Notify>,
    /// What `state` shows.
    pub state: watch::Receiver<DeviceState>,
    /// The wall clock.
    pub clock: Clock,
    /// Words for a lock, for this moment alone: what cannot be said at once is never said.
    pub lock: Option<mpsc::Receiver<LockWord>>,
    /// The way for commands, if any are taken.
    pub commands: Option<CommandLink>,
    /// Becomes true when the publisher should stop; a sender that has gone means the same.
    pub shutdown: watch::Receiver<bool>,
}

/// The publisher at work.
pub struct Running {
    /// Ends within 2 s of the shutdown.
    pub task: JoinHandle<()>,
    /// Whether the broker is there.
    pub connected: watch::Receiver<bool>,
}

impl Publisher {
    /// Starts publishing on the current tokio runtime.
    pub fn spawn(self) -> Running {
        let (sender, connected) = watch::channel(false);
        Running {
            task: tokio::spawn(self.run(sender)),
            connected,
        }
    }

    async fn run(mut self, connected: watch::Sender<bool>) {
        let mut pump = Pump::default();
        let mut pause = BACK_OFF.0;
        let mut told: Option<String> = None;
        loop {
            let begun = Instant::now();
            let end = session::run(&mut self, &mut pump, &connected).await;
            let was_connected = connected.send_replace(false);
            let problem = match end {
                End::Stopped => return,
                End::Lost(problem) => problem,
            };
            let complaint = problem.to_string();
            if was_connected || told.as_ref() != Some(&complaint) {
                log::warn!("MQTT: {complaint}; trying again until it works");
                told = Some(complaint);
            }
            if was_connected && begun.elapsed() >= GOOD_CONNECTION {
                pause = BACK_OFF.0;
            }
            if problem.needs_somebody() {
                pause = BACK_OFF.1;
            }
            tokio::select! {
                biased;
                () = stopped(&mut self.shutdown) => return,
                () = tokio::time::sleep(spread(pause, getrandom::u32().unwrap_or(u32::MAX))) => {}
            }
            pause = (pause * 2).min(BACK_OFF.1);
        }
    }
}

/// Returns when it is time to stop.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender has gone, which is a stop as well.
    let _ = shutdown.wait_for(|&stop| stop).await;
}

/// Something between a half and the whole of `pause`, as `chance` has it, a random number: the
/// doors of a house that lose their broker together do not come back together.
fn spread(pause: Duration, chance: u32) -> Duration {
    let share = f64::from(chance) / f64::from(u32::MAX);
    pause.mul_f64(0.5 + 0.5 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_spread_over_its_second_half() {
        for (chance, expected) in [(0, 5000), (u32::MAX / 2, 7500), (u32::MAX, 10_000)] {
            let pause = spread(BACK_OFF.1, chance);
            let off = pause.abs_diff(Duration::from_millis(expected));
            assert!(off < Duration::from_millis(1), "{pause:?}");
        }
    }
}
