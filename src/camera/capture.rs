//! The loop that keeps a source open and hands its frames on.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::camera::{FrameCounts, FrameSource, Latest, StopClock};
use crate::image::Frame;

/// The first wait before a lost source is opened again; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// A source that held at least this long gets the short wait again when it is lost.
const STEADY: Duration = Duration::from_secs(5);
/// How often a patient put looks whether it is to stop.
const STOP_CHECK: Duration = Duration::from_millis(100);

/// A change that the loop reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CameraState {
    /// The first frame has come.
    Streaming {
        /// The source in words.
        source: String,
    },
    /// The source cannot be opened or gives no more frames. Reported once, however often it is
    /// then tried again.
    Lost {
        /// Why, with its causes.
        reason: String,
    },
    /// Frames come again.
    Recovered {
        /// The source in words.
        source: String,
        /// Time since the loss.
        after: Duration,
        /// Times that it was tried to open the source since then.
        attempts: u32,
    },
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureEnd {
    /// It was told to stop.
    Stopped,
    /// The replay is over.
    SourceEnded,
}

/// Counters that other threads may read while the loop runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Frames and attempts to open. Grows as long as the loop is alive.
    pub turns: AtomicU64,
    /// Frames handed on.
    pub frames: AtomicU64,
    /// Frames that the sources dropped.
    pub dropped: AtomicU64,
    /// Frames that came damaged.
    pub damaged: AtomicU64,
    /// Times that a source was opened again after a loss.
    pub reopened: AtomicU64,
}

/// Opens a source, puts its frames into `slot`, and opens it again with growing waits whenever it
/// is lost, and at once when told to, until it is told to stop or a replay ends. Closes `slot` at the end, also when it
/// panics, so that nobody waits for frames in vain.
///
/// `open` is called in the loop's own thread; `on_state` too, and should not take long.
pub fn capture_loop(
    mut open: impl FnMut() -> anyhow::Result<Box<dyn FrameSource>>,
    slot: &Latest,
    clock: &impl StopClock,
    progress: &Progress,
    on_state: impl FnMut(CameraState),
) -> CaptureEnd {
    let _closing = CloseOnExit(slot);
    let mut outlook = Outlook {
        on_state,
        seen_frames: false,
        lost: None,
        wait: FIRST_WAIT,
    };
    while !clock.is_stopped() {
        progress.turns.fetch_add(1, Relaxed);
        let attempt = open().and_then(|mut source| {
            if outlook.lost.is_some() {
                progress.reopened.fetch_add(1, Relaxed);
            }
            stream(source.as_mut(), slot, clock, progress, &mut outlook)
        });
        match attempt {
            Ok(Some(end)) => return end,
            Ok(None) => continue,
            Err(error) => outlook.lose(&error, clock.now()),
        }
        clock.wait(outlook.next_wait());
    }
    CaptureEnd::Stopped
}

/// Hands on the frames of one opened source. `None` when it is to be opened anew at once.
fn stream(
    source: &mut dyn FrameSource,
    slot: &Latest,
    clock: &impl StopClock,
    progress: &Progress,
    outlook: &mut Outlook<impl FnMut(CameraState)>,
) -> anyhow::Result<Option<CaptureEnd>> {
    let mut counted = FrameCounts::default();
    let mut steady_from = None;
    loop {
        if clock.take_reopen() {
            return Ok(None);
        }
        let next = source.next_frame();
        progress.turns.fetch_add(1, Relaxed);
        let counts = source.counts();
        progress
            .dropped
            .fetch_add(counts.dropped - counted.dropped, Relaxed);
        progress
            .damaged
            .fetch_add(counts.damaged - counted.damaged, Relaxed);
        counted = counts;
        let Some(frame) = next? else {
            return Ok(Some(CaptureEnd::SourceEnded));
        };
        if clock.is_stopped() {
            return Ok(Some(CaptureEnd::Stopped));
        }
        let now = clock.now();
        let from = *steady_from.get_or_insert_with(|| now + STEADY);
        outlook.frame_came(source, now, now >= from);
        if source.may_drop() {
            // A replaced frame is counted by the slot.
            drop(slot.put(frame));
        } else if !put_patiently(slot, frame, clock) {
            return Ok(Some(CaptureEnd::Stopped));
        }
        progress.frames.fetch_add(1, Relaxed);
    }
}

/// False if told to stop before the frame found its place.
fn put_patiently(slot: &Latest, mut frame: Frame, clock: &impl StopClock) -> bool {
    while !clock.is_stopped() {
        match slot.put_when_taken(frame, STOP_CHECK) {
            Ok(()) => return true,
            Err(back) => frame = back,
        }
    }
    false
}

/// What the loop knows of its source, and tells.
struct Outlook<F> {
    on_state: F,
    seen_frames: bool,
    lost: Option<Loss>,
    wait: Duration,
}

struct Loss {
    at: Duration,
    attempts: u32,
    reason: String,
}

impl<F: FnMut(CameraState)> Outlook<F> {
    fn frame_came(&mut self, source: &dyn FrameSource, now: Duration, steady: bool) {
        if let Some(loss) = self.lost.take() {
            let after = now.saturating_sub(loss.at);
            let attempts = loss.attempts;
            (self.on_state)(CameraState::Recovered {
                source: source.describe(),
                after,
                attempts,
            });
        } else if !self.seen_frames {
            (self.on_state)(CameraState::Streaming {
                source: source.describe(),
            });
        }
        self.seen_frames = true;
        if steady {
            self.wait = FIRST_WAIT;
        }
    }

    fn lose(&mut self, error: &anyhow::Error, now: Duration) {
        let reason = format!("{error:#}");
        if let Some(loss) = &mut self.lost {
            if loss.reason != reason {
                log::warn!("still no frames: {reason}");
                loss.reason = reason;
            }
            return;
        }
        self.lost = Some(Loss {
            at: now,
            attempts: 0,
            reason: reason.clone(),
        });
        (self.on_state)(CameraState::Lost { reason });
    }

    /// The wait before the next attempt, which it counts.
    fn next_wait(&mut self) -> Duration {
        if let Some(loss) = &mut self.lost {
            loss.attempts += 1;
        }
        let wait = self.wait;
        self.wait = (wait * 2).min(LONGEST_WAIT);
        wait
    }
}

struct CloseOnExit<'a>(&'a Latest);

impl Drop for CloseOnExit<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use anyhow::{anyhow, bail};

    use super::*;
    use crate::camera::{Stop, Taken};
    use crate::image::PixelFormat;

    /// A clock that stops after a number of waits and writes each of them down.
    struct FakeClock {
        now: Cell<Duration>,
        waits: RefCell<Vec<u128>>,
        stop_after: usize,
    }

    impl StopClock for FakeClock {
        fn now(&self) -> Duration {
            self.now.get()
        }

        fn wait(&self, duration: Duration) {
            self.now.set(self.now.get() + duration);
            self.waits.borrow_mut().push(duration.as_millis());
        }

        fn take_reopen(&self) -> bool {
            false
        }

        fn is_stopped(&self) -> bool {
            self.waits.borrow().len() >= self.stop_after
        }
    }

    /// Gives frames, then fails or ends.
    struct FakeSource {
        frames: u64,
        given: u64,
        fails: bool,
        may_drop: bool,
    }

    impl FrameSource for FakeSource {
        fn next_frame(&mut self) -> anyhow::Result<Option<Frame>> {
            if self.given == self.frames {
                return if self.fails {
                    Err(anyhow!("pulled out"))
                } else {
                    Ok(None)
                };
            }
            self.given += 1;
            Ok(Some(Frame {
                bytes: Vec::new(),
                format: PixelFormat::Mjpg,
                width: 1,
                height: 1,
                stride: 0,
                sequence: self.given,
                captured_at: Duration::ZERO,
            }))
        }

        fn describe(&self) -> String {
            "fake".to_owned()
        }

        fn counts(&self) -> FrameCounts {
            FrameCounts {
                dropped: self.given,
                damaged: 2 * self.given,
            }
        }

        fn may_drop(&self) -> bool {
            self.may_drop
        }
    }

    struct Outcome {
        end: CaptureEnd,
        states: String,
        waits: Vec<u128>,
        frames: u64,
        reopened: u64,
        dropped: u64,
        damaged: u64,
        replaced: u64,
    }

    /// Runs the loop over openings in words: `no` fails to open, `3` gives three frames and
    /// fails, `3.` gives three and ends; the last one is repeated. Stops after `stop_after` waits.
    fn run(openings: &str, stop_after: usize) -> Outcome {
        let clock = FakeClock {
            now: Cell::default(),
            waits: RefCell::default(),
            stop_after,
        };
        let (slot, progress) = (Latest::new(), Progress::default());
        let mut states = Vec::new();
        let openings: Vec<_> = openings.split(' ').collect();
        let mut opened = 0;
        let open = || -> anyhow::Result<Box<dyn FrameSource>> {
            let opening = openings[opened.min(openings.len() - 1)];
            opened += 1;
            if opening == "no" {
                bail!("no camera");
            }
            let frames = opening.trim_end_matches('.').parse().unwrap();
            let fails = !opening.ends_with('.');
            Ok(Box::new(FakeSource {
                frames,
                given: 0,
                fails,
                may_drop: true,
            }))
        };
        let end = capture_loop(open, &slot, &clock, &progress, |state| {
            states.push(match state {
                CameraState::Streaming { source } => format!("streaming {source}"),
                CameraState::Lost { reason } => format!("lost: {reason}"),
                CameraState::Recovered {
                    after, attempts, ..
                } => {
                    format!(
                        "recovered after {} ms, {attempts} attempts",
                        after.as_millis()
                    )
                }
            });
        });
        while let Taken::Frame(_) = slot.take(Duration::ZERO) {}
        assert!(matches!(slot.take(Duration::ZERO), Taken::Closed));
        Outcome {
            end,
            states: states.join("; "),
            waits: clock.waits.into_inner(),
            frames: progress.frames.into_inner(),
            reopened: progress.reopened.into_inner(),
            dropped: progress.dropped.into_inner(),
            damaged: progress.damaged.into_inner(),
            replaced: slot.replaced(),
        }
    }

    #[test]
    fn changes_are_told_once() {
        let table = [
            ("3.", "streaming fake"),
            ("0.", ""),
            ("no no no", "lost: no camera"),
            (
                "no 1 0.",
                "lost: no camera; recovered after 100 ms, 1 attempts; lost: pulled out",
            ),
            (
                "2 no no 1.",
                "streaming fake; lost: pulled out; recovered after 700 ms, 3 attempts",
            ),
            // Opening works, frames never come: that is no recovery.
            (
                "0 0 0 1.",
                "lost: pulled out; recovered after 700 ms, 3 attempts",
            ),
        ];
        for (openings, expected) in table {
            assert_eq!(run(openings, 5).states, expected, "{openings}");
        }
    }

    #[test]
    fn waits_double_up_to_two_seconds() {
        let outcome = run("no", 7);
        assert_eq!(outcome.waits, [100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(outcome.end, CaptureEnd::Stopped);
        // One frame between losses is not steady enough to begin with the short wait again.
        assert_eq!(run("1", 4).waits, [100, 200, 400, 800]);
    }

    #[test]
    fn a_steady_source_is_reopened_soon_again() {
        let mut outlook = Outlook {
            on_state: drop,
            seen_frames: false,
            lost: None,
            wait: FIRST_WAIT,
        };
        let source = FakeSource {
            frames: 0,
            given: 0,
            fails: true,
            may_drop: true,
        };
        let mut waits = Vec::new();
        for steady in [false, false, true, false] {
            outlook.frame_came(&source, Duration::ZERO, steady);
            outlook.lose(&anyhow!("pulled out"), Duration::ZERO);
            waits.push(outlook.next_wait().as_millis());
        }
        assert_eq!(waits, [100, 200, 100, 200]);
    }

    #[test]
    fn everything_is_counted() {
        let outcome = run("3 no 2.", 9);
        assert_eq!(outcome.end, CaptureEnd::SourceEnded);
        assert_eq!(
            (outcome.frames, outcome.reopened, outcome.replaced),
            (5, 1, 4)
        );
        assert_eq!((outcome.dropped, outcome.damaged), (5, 10));
    }

    #[test]
    fn a_patient_source_loses_no_frame() {
        let (slot, stop, progress) = (Latest::new(), Stop::new(), Progress::default());
        let source = || FakeSource {
            frames: 50,
            given: 0,
            fails: false,
            may_drop: false,
        };
        let seen = std::thread::scope(|scope| {
            scope.spawn(|| {
                capture_loop(|| Ok(Box::new(source())), &slot, &stop, &progress, drop);
            });
            let taken = std::iter::from_fn(|| match slot.take(Duration::from_secs(60)) {
                Taken::Frame(frame) => Some(frame.sequence),
                _ => None,
            });
            taken.collect::<Vec<_>>()
        });
        assert_eq!(seen, (1..=50).collect::<Vec<_>>());
    }
}
