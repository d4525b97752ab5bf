//! What the capture thread is told from outside, and time that a stop cuts short.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time as the loop needs it: read it, and let it pass until told to stop.
pub trait StopClock {
    /// Time since some fixed moment.
    fn now(&self) -> Duration;
    /// Waits that long, or until told to stop or to open the source anew.
    fn wait(&self, duration: Duration);
    /// Whether it was told to stop.
    fn is_stopped(&self) -> bool;
    /// Whether it was told, since the last question, to open the source anew.
    fn take_reopen(&self) -> bool;
}

/// The real clock with a stop signal that cuts waits short.
#[derive(Debug)]
pub struct Stop {
    begun: Instant,
    stopped: Mutex<bool>,
    changed: Condvar,
    reopen: AtomicBool,
}

impl Stop {
    /// Not stopped yet; its time begins now.
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            stopped: Mutex::new(false),
            changed: Condvar::new(),
            reopen: AtomicBool::new(false),
        }
    }

    /// Tells the capture loop to open its source anew.
    pub fn reopen(&self) {
        self.reopen.store(true, Relaxed);
        // Whoever is about to wait has seen it, or waits already and is woken.
        drop(self.stopped.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Tells every thread that waits or asks to stop.
    pub fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

impl StopClock for Stop {
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn wait(&self, duration: Duration) {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        // Which outcome it was is seen by the caller's next question.
        let goes_on = |stopped: &mut bool| !*stopped && !self.reopen.load(Relaxed);
        drop(self.changed.wait_timeout_while(stopped, duration, goes_on));
    }

    fn take_reopen(&self) -> bool {
        self.reopen.swap(false, Relaxed)
    }

    fn is_stopped(&self) -> bool {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_cuts_waits_short() {
        let stop = Stop::new();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| stop.wait(Duration::from_secs(3600)));
            stop.stop();
            waiting.join().unwrap();
        });
        assert!(stop.is_stopped());
    }

    #[test]
    fn a_source_that_is_awaited_is_opened_at_once_when_told() {
        let stop = Stop::new();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| stop.wait(Duration::from_secs(3600)));
            stop.reopen();
            waiting.join().unwrap();
        });
        assert!(stop.take_reopen() && !stop.take_reopen() && !stop.is_stopped());
    }
}
