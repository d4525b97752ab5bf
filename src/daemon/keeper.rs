//! The door's thread: the strike, the lock on MQTT, and the contact.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use log::Level;

use super::door::{LockWords, Order};
use super::shared::{Shared, lock};
use crate::door::{Alarm, Contact, Latch, Refusal, Strike};
use crate::event::{LockAction, LockWord, VerificationEvent};

/// How often the contact is looked at.
const CONTACT_POLL: Duration = Duration::from_millis(50);
/// A thread that has nothing to wait for looks up so often.
const IDLE: Duration = Duration::from_secs(60);
/// How long a lock on MQTT may take a word for true, besides the pulse.
const LOCK_WORD_VALID: SignedDuration = SignedDuration::from_secs(2);

/// What the door's thread has to tell.
pub(super) enum Report {
    /// An event that nothing hangs on.
    Event(Box<VerificationEvent>),
    /// Words for the log.
    Words(Level, String),
}

/// What the door's thread owns.
pub(super) struct Keeper {
    pub(super) shared: Arc<Shared>,
    /// To the thread that stores, sends and logs: whoever holds the strike waits for no disk and for
    /// nobody who reads the log.
    pub(super) reports: Sender<Report>,
    pub(super) latch: Latch,
    pub(super) origin: Instant,
    pub(super) pulse: Duration,
    pub(super) strike: Option<Strike>,
    pub(super) contact: Option<Contact>,
    pub(super) lock_words: Option<LockWords>,
    pub(super) open: bool,
}

/// The strike shuts by itself when it is dropped; a lock on MQTT has to be told.
impl Drop for Keeper {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell(false);
        }
    }
}

impl Keeper {
    /// Keeps the door until it is told to stop, or the last handle has gone.
    pub(super) fn run(mut self, orders: &Receiver<Order>) -> Result<()> {
        self.tell(false);
        self.show();
        let outcome = self.keep(orders);
        // Dropping the strike shuts it as well; here a failure still has somebody to hear of it.
        let shut = self.set(false);
        self.show();
        outcome.and(shut)
    }

    fn keep(&mut self, orders: &Receiver<Order>) -> Result<()> {
        loop {
            let wait = self.latch.remaining(self.now()).unwrap_or(IDLE);
            let wait = if self.contact.is_some() {
                wait.min(CONTACT_POLL)
            } else {
                wait
            };
            let mut answer = None;
            match orders.recv_timeout(wait) {
                Ok(Order::Open(decided, asker)) => answer = asker.zip(Some(self.grant(decided))),
                Ok(Order::Hold(held)) => self.latch.hold(held, self.now()),
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = self.now();
            let open = self.latch.is_open(now);
            self.set(open)?;
            if let Some((asker, outcome)) = answer {
                // Whoever asked may have gone.
                let _ = asker.try_send(outcome);
            }
            self.look_at_contact(now)?;
            self.show();
        }
    }

    fn grant(&mut self, decided: Instant) -> Result<(), Refusal> {
        let Err(refusal) = self.latch.open(decided.elapsed(), self.now()) else {
            if self.open {
                self.tell(true); // The pulse begins anew.
            }
            return Ok(());
        };
        let reason = match refusal {
            Refusal::Stale => "grant_too_old",
            Refusal::Held => "door_held",
        };
        self.say(Level::Warn, format!("stays shut ({reason})"));
        let event = lock(&self.shared.maker).door(reason, Timestamp::now());
        self.report(event);
        Err(refusal)
    }

    /// Moves the strike, and tells the lock: to shut before the strike, which may fail.
    fn set(&mut self, open: bool) -> Result<()> {
        if open == self.open {
            return Ok(());
        }
        if !open {
            self.tell(false);
        }
        if let Some(strike) = &self.strike {
            strike.set(open).context("the door is out of control")?;
        }
        self.open = open;
        self.say(Level::Info, if open { "open" } else { "shut" });
        if open {
            self.tell(true);
        }
        Ok(())
    }

    fn tell(&self, open: bool) {
        let Some(words) = &self.lock_words else {
            return;
        };
        let now = Timestamp::now();
        let action = if open {
            LockAction::Open
        } else {
            LockAction::Shut
        };
        let expires = now.checked_add(LOCK_WORD_VALID).ok().filter(|_| open);
        let word = LockWord {
            action,
            issued_at: now.to_string(),
            expires_at: expires.map(|t| t.to_string()),
            pulse_s: open.then_some(self.pulse.as_secs_f64()),
        };
        if words.try_send(word).is_err() {
            self.say(Level::Warn, "the lock on MQTT could not be told");
        }
    }

    fn look_at_contact(&mut self, now: Duration) -> Result<()> {
        let Some(contact) = &self.contact else {
            return Ok(());
        };
        let Some(alarm) = self.latch.contact(contact.is_open()?, now) else {
            return Ok(());
        };
        let maker = lock(&self.shared.maker);
        let event = match alarm {
            Alarm::Forced => maker.tamper("door_forced", Timestamp::now()),
            Alarm::HeldOpen => maker.door("held_open", Timestamp::now()),
            Alarm::ShutAgain => maker.door("shut_again", Timestamp::now()),
        };
        drop(maker);
        self.say(Level::Warn, event.reason.clone());
        self.report(event);
        Ok(())
    }

    fn report(&self, event: VerificationEvent) {
        let _ = self.reports.send(Report::Event(Box::new(event)));
    }

    fn say(&self, level: Level, words: impl Into<String>) {
        let _ = self.reports.send(Report::Words(level, words.into()));
    }

    fn show(&self) {
        if self.strike.is_none() && self.lock_words.is_none() {
            return;
        }
        let word = match (self.open, self.latch.is_held()) {
            (true, _) => "open",
            (false, true) => "held",
            (false, false) => "shut",
        };
        self.shared.state.send_if_modified(|state| {
            let news = state.door != word;
            word.clone_into(&mut state.door);
            news
        });
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}
