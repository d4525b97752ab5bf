//! A place for one frame, the newest, between the thread that captures and the one that looks.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::image::Frame;

/// Hands the newest frame from one thread to another.
///
/// Whoever looks at frames is slower than the camera at times. A queue would then show it the
/// past; here a frame that nobody has taken is replaced by the next and counted.
#[derive(Debug, Default)]
pub struct Latest {
    slot: Mutex<Slot>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Slot {
    frame: Option<Frame>,
    closed: bool,
    replaced: u64,
}

/// What [`Latest::take`] came back with.
#[derive(Debug)]
pub enum Taken {
    /// The newest frame; the place is empty now.
    Frame(Frame),
    /// No frame came in time.
    TimedOut,
    /// No frame is left and none will come.
    Closed,
}

impl Latest {
    /// An empty place.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a frame there without waiting, in place of one that nobody has taken. A closed place
    /// takes nothing.
    pub fn put(&self, frame: Frame) {
        let mut slot = self.lock();
        if slot.closed {
            return;
        }
        let replaced = slot.frame.replace(frame);
        slot.replaced += u64::from(replaced.is_some());
        self.changed.notify_all();
    }

    /// Puts a frame there as soon as the one before has been taken: for replays, which lose
    /// nothing by waiting. Gives `frame` back if that took longer than `timeout`, or if the place
    /// is closed.
    pub fn put_when_taken(&self, frame: Frame, timeout: Duration) -> Result<(), Frame> {
        let full = |slot: &mut Slot| slot.frame.is_some() && !slot.closed;
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, full);
        let (mut slot, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if slot.frame.is_some() || slot.closed {
            return Err(frame);
        }
        slot.frame = Some(frame);
        self.changed.notify_all();
        Ok(())
    }

    /// Takes the newest frame, waiting up to `timeout` for it. What was put before the place
    /// closed is still given out.
    pub fn take(&self, timeout: Duration) -> Taken {
        let empty = |slot: &mut Slot| slot.frame.is_none() && !slot.closed;
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, empty);
        let (mut slot, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match slot.frame.take() {
            Some(frame) => {
                self.changed.notify_all();
                Taken::Frame(frame)
            }
            None if slot.closed => Taken::Closed,
            None => Taken::TimedOut,
        }
    }

    /// Says that no frame will come any more and wakes everyone who waits.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Frames that were replaced before anyone took them.
    pub fn replaced(&self) -> u64 {
        self.lock().replaced
    }

    /// A thread that panicked while it held the lock has left the slot whole: every change to it
    /// is a single assignment.
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::PixelFormat;

    const NO_TIME: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_secs(60);

    fn frame(sequence: u64) -> Frame {
        Frame {
            bytes: vec![0; 4],
            format: PixelFormat::Grey,
            width: 2,
            height: 2,
            stride: 2,
            sequence,
            captured_at: Duration::ZERO,
        }
    }

    fn taken(slot: &Latest, timeout: Duration) -> String {
        match slot.take(timeout) {
            Taken::Frame(frame) => frame.sequence.to_string(),
            Taken::TimedOut => "timed out".to_owned(),
            Taken::Closed => "closed".to_owned(),
        }
    }

    #[test]
    fn the_newest_replaces_the_rest() {
        let slot = Latest::new();
        assert_eq!(taken(&slot, NO_TIME), "timed out");
        (1..=3).for_each(|sequence| slot.put(frame(sequence)));
        assert_eq!(
            (taken(&slot, NO_TIME), slot.replaced()),
            ("3".to_owned(), 2)
        );
        assert_eq!(taken(&slot, NO_TIME), "timed out");
    }

    #[test]
    fn what_came_before_closing_is_still_given_out() {
        let slot = Latest::new();
        slot.put(frame(1));
        slot.close();
        slot.put(frame(2));
        assert!(slot.put_when_taken(frame(3), NO_TIME).is_err());
        assert_eq!(taken(&slot, LONG), "1");
        assert_eq!(taken(&slot, LONG), "closed");
        assert_eq!(slot.replaced(), 0);
    }

    #[test]
    fn a_patient_put_replaces_nothing() {
        let slot = Latest::new();
        assert!(slot.put_when_taken(frame(1), NO_TIME).is_ok());
        assert_eq!(
            slot.put_when_taken(frame(2), NO_TIME)
                .map_err(|f| f.sequence),
            Err(2)
        );
        assert_eq!(
            (taken(&slot, NO_TIME), slot.replaced()),
            ("1".to_owned(), 0)
        );
    }

    #[test]
    fn threads_wake_each_other() {
        let slot = Latest::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for sequence in 0..100 {
                    assert!(slot.put_when_taken(frame(sequence), LONG).is_ok());
                }
                slot.close();
            });
            for sequence in 0..100 {
                assert_eq!(taken(&slot, LONG), sequence.to_string());
            }
            assert_eq!(taken(&slot, LONG), "closed");
        });
    }
}
