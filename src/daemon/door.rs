//! The handle on the door, and the start and the end of its thread.
//!
//! The thread (`keeper.rs`) alone moves the strike. It shuts the door at its start, after every
//! pulse, when it is told to, when the last handle has gone, and when any thread panics. An order
//! to open carries the time of the frame that settled it, and is worth nothing when that is long
//! ago.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};

use super::keeper::{Keeper, Report};
use super::shared::{Shared, lock};
use super::threads::{join, spawn};
use crate::access::Reason;
use crate::camera;
use crate::door::{Contact, Latch, Refusal, Strike};
use crate::event::LockWord;
use crate::setup::Setup;
use crate::store::StoreError;

/// What the door's thread is told.
pub(super) enum Order {
    /// Open, on a decision of this time. Whoever waits hears whether it opened.
    Open(Instant, Option<SyncSender<Result<(), Refusal>>>),
    Hold(bool),
    /// Shut, and end.
    Stop,
}

/// A claimed identity on its way to the vision thread.
pub(super) struct Claimed {
    pub(super) subject: String,
    pub(super) made: Instant,
    /// Its face has to be seen before.
    pub(super) until: Instant,
}

/// Why an order was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum DoorRefusal {
    #[error("no line and no lock is configured; see [door]")]
    Off,
    #[error("the door is held shut; release it first")]
    Held,
    #[error(
        "storing the order took longer than [door] max_age_s, so the door stays shut; try again"
    )]
    Late,
    #[error("the order could not be stored: {0}")]
    NotStored(StoreError),
    #[error("no rule would take the claim; see [[access.rule]]")]
    NoRules,
    #[error("doorward is stopping")]
    Stopping,
}

impl DoorRefusal {
    /// The word that answers carry.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Off => "door_off",
            Self::Held => "door_held",
            Self::Late => "grant_too_old",
            Self::NotStored(_) => "store_failed",
            Self::NoRules => "no_rules",
            Self::Stopping => "stopping",
        }
    }
}

/// The handle on the door. All its methods are short: a write to the store, and a word from the keeper.
#[derive(Clone)]
pub(super) struct DoorControl {
    shared: Arc<Shared>,
    orders: Sender<Order>,
    claims: Sender<Claimed>,
    opens: bool,
    held: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
}

impl DoorControl {
    /// Opens for one pulse on the word of `by`. The event is stored first.
    pub(super) fn open(&self, by: &str) -> Result<(), DoorRefusal> {
        if !self.opens {
            return Err(DoorRefusal::Off);
        }
        if self.is_held() {
            return Err(DoorRefusal::Held);
        }
        if self.stopped.load(Ordering::SeqCst) {
            return Err(DoorRefusal::Stopping);
        }
        let asked = Instant::now();
        log::info!("door: {by} opens it");
        let event = lock(&self.shared.maker).opened_by_command(Timestamp::now());
        self.shared.publish(event).map_err(DoorRefusal::NotStored)?;
        let (opened, answer) = sync_channel(1);
        self.order(Order::Open(asked, Some(opened)))?;
        let outcome = answer.recv().map_err(|_| DoorRefusal::Stopping)?;
        outcome.map_err(|refusal| match refusal {
            Refusal::Stale => DoorRefusal::Late,
            Refusal::Held => DoorRefusal::Held,
        })
    }

    /// Holds the door shut until it is released, also over restarts. It is shut at once, even when
    /// that cannot be stored.
    pub(super) fn hold(&self, by: &str) -> Result<(), DoorRefusal> {
        self.held.store(true, Ordering::SeqCst);
        self.order(Order::Hold(true))?;
        log::info!("door: held by {by}");
        let stored = lock(&self.shared.store).hold_door(true);
        stored.map_err(DoorRefusal::NotStored)?;
        self.publish("held")
    }

    /// Ends the holding, if that can be stored.
    pub(super) fn release(&self, by: &str) -> Result<(), DoorRefusal> {
        self.publish("released")?;
        let stored = lock(&self.shared.store).hold_door(false);
        if let Err(error) = stored {
            // It has been told already, and is not so.
            let _ = self.publish("held");
            return Err(DoorRefusal::NotStored(error));
        }
        log::info!("door: released by {by}");
        self.held.store(false, Ordering::SeqCst);
        self.order(Order::Hold(false))
    }

    /// Somebody claims to be `subject`: the face has to match within `claim_s`. The caller has made
    /// sure that the claim is genuine and fresh. What comes of it is told by events.
    pub(super) fn claim(&self, subject: &str) -> Result<(), DoorRefusal> {
        let setup = Arc::clone(&lock(&self.shared.setup));
        let access = &setup.config.access;
        if access.rule.is_empty() {
            return Err(DoorRefusal::NoRules);
        }
        let made = Instant::now();
        let claimed = Claimed {
            subject: subject.to_owned(),
            made,
            until: made + Duration::from_secs_f64(access.claim_s.get()),
        };
        self.claims.send(claimed).map_err(|_| DoorRefusal::Stopping)
    }

    /// Why the door stays shut whatever is decided, if it does: it is held, or doorward is stopping.
    pub(super) fn stays_shut(&self) -> Option<Reason> {
        let stopped = self.stopped.load(Ordering::SeqCst);
        let held = self.is_held().then_some(Reason::Held);
        held.or(stopped.then_some(Reason::Stopping))
    }

    /// Whether the door is held shut.
    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }

    /// Opens on a decision whose event is stored.
    pub(super) fn open_on(&self, decided: Instant) {
        if self.opens && self.order(Order::Open(decided, None)).is_err() {
            log::warn!("door: a grant came too late, doorward is stopping");
        }
    }

    fn publish(&self, word: &str) -> Result<(), DoorRefusal> {
        let event = lock(&self.shared.maker).door(word, Timestamp::now());
        self.shared.publish(event).map_err(DoorRefusal::NotStored)
    }

    fn order(&self, order: Order) -> Result<(), DoorRefusal> {
        if self.stopped.load(Ordering::SeqCst) {
            return Err(DoorRefusal::Stopping);
        }
        self.orders.send(order).map_err(|_| DoorRefusal::Stopping)
    }
}

/// The door at work. Dropped, it shuts the door and waits until that is done.
pub(super) struct Door {
    control: DoorControl,
    keeping: Option<JoinHandle<Result<()>>>,
}

/// Where words for a lock on MQTT go.
pub(super) type LockWords = mpsc::Sender<LockWord>;

impl Door {
    /// Starts the thread on a strike that is shut, and the one that stores what it did, which ends after it.
    /// Claimed identities arrive at the receiver.
    ///
    /// # Errors
    /// A contact that cannot be used, or a store that does not say whether the door is held.
    pub(super) fn start(
        setup: &Setup,
        strike: Option<Strike>,
        shared: &Arc<Shared>,
        lock_words: Option<LockWords>,
        ended: &Arc<Notify>,
    ) -> Result<(Self, JoinHandle<Result<()>>, Receiver<Claimed>)> {
        let section = &setup.config.door;
        let held = lock(&shared.store).door_is_held()?;
        if held {
            log::warn!("door: it is held shut by a command of before");
        }
        let contact = Contact::take(section)?;
        let rules = setup.latch_rules();
        let (claims, claimed) = channel();
        let (orders, receiver) = channel();
        let control = DoorControl {
            shared: Arc::clone(shared),
            orders,
            claims,
            opens: section.opens(),
            held: Arc::new(AtomicBool::new(held)),
            stopped: Arc::default(),
        };
        let (reports, reported) = channel();
        let keeper = Keeper {
            shared: Arc::clone(shared),
            reports,
            latch: Latch::new(rules, held),
            origin: Instant::now(),
            pulse: rules.pulse,
            strike,
            contact,
            lock_words,
            open: false,
        };
        let keeping = spawn("door", ended, move || keeper.run(&receiver))?;
        let reporting = spawn("door-events", ended, {
            let shared = Arc::clone(shared);
            move || {
                for report in reported {
                    match report {
                        Report::Event(event) => shared.report(*event),
                        Report::Words(level, words) => log::log!(level, "door: {words}"),
                    }
                }
                Ok(())
            }
        })?;
        shut_on_panic(control.orders.clone(), Arc::clone(&shared.panicked));
        let door = Self {
            control,
            keeping: Some(keeping),
        };
        Ok((door, reporting, claimed))
    }

    /// A handle for others.
    pub(super) fn control(&self) -> DoorControl {
        self.control.clone()
    }

    /// Shuts the door for good and waits until that is done, for no disk and for no reader.
    ///
    /// # Errors
    /// What went wrong with the lines.
    pub(super) fn stop(&mut self) -> Result<()> {
        let _ = self.control.order(Order::Stop);
        self.control.stopped.store(true, Ordering::SeqCst);
        self.keeping.take().map_or(Ok(()), join)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            log::error!("door: {error:#}");
        }
    }
}

/// A thread that panics, whichever, shuts the door. The daemon then ends and starts clean. Panics
/// that the camera's room catches by itself do not count.
///
/// The hook stays for good, and so does what it holds: no database that would never be closed.
fn shut_on_panic(orders: Sender<Order>, panicked: Arc<AtomicBool>) {
    let before = std::panic::take_hook();
    let orders = Mutex::new(orders);
    std::panic::set_hook(Box::new(move |panic| {
        if camera::expects_panic() {
            return before(panic);
        }
        panicked.store(true, Ordering::SeqCst);
        // A door that has stopped is shut, and hears nothing.
        let _ = lock(&orders).send(Order::Stop);
        before(panic);
    }));
}

#[cfg(test)]
mod tests;
