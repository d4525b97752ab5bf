//! The loop that keeps a source open and hands its frames on.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::camera::{FrameSource, Latest, StopClock};
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
    /// Frames that the sources dropped.
    pub dropped: AtomicU64,
}

/// Opens a source, puts its frames into `slot`, and opens it again with growing waits whenever it
/// is lost, and at once when told to, until it is told to stop or a replay ends. The times of its
/// frames go on from one source to the next. Closes `slot` at the end, also when it panics, so that
/// nobody waits for frames in vain.
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
        last: None,
        opened: false,
        lost: None,
        wait: FIRST_WAIT,
    };
    while !clock.is_stopped() {
        progress.turns.fetch_add(1, Relaxed);
        // What was asked for until now is what happens here.
        clock.take_reopen();
        let attempt = open().and_then(|mut source| {
            outlook.opened = true;
            if let Some(start) = outlook.time_of_frames(clock.now()) {
                source.start_at(start);
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
    let mut counted = 0;
    let mut steady_from = None;
    loop {
        if clock.take_reopen() {
            return Ok(None);
        }
        let next = source.next_frame();
        progress.turns.fetch_add(1, Relaxed);
        let dropped = source.dropped();
        progress.dropped.fetch_add(dropped - counted, Relaxed);
        counted = dropped;
        let Some(frame) = next? else {
            return Ok(Some(CaptureEnd::SourceEnded));
        };
        if clock.is_stopped() {
            return Ok(Some(CaptureEnd::Stopped));
        }
        let now = clock.now();
        let from = *steady_from.get_or_insert_with(|| now + STEADY);
        outlook.frame_came(source, frame.captured_at, now, now >= from);
        if source.may_drop() {
            // A replaced frame is counted by the slot.
            slot.put(frame);
        } else if !put_patiently(slot, frame, clock) {
            return Ok(Some(CaptureEnd::Stopped));
        }
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
    /// Time of the last frame, and when it came.
    last: Option<(Duration, Duration)>,
    /// The source has just been opened, and no frame has come.
    opened: bool,
    lost: Option<Loss>,
    wait: Duration,
}

struct Loss {
    at: Duration,
    reason: String,
}

impl<F: FnMut(CameraState)> Outlook<F> {
    /// The time that frames have by now, if there was one: it goes on without a source.
    fn time_of_frames(&self, now: Duration) -> Option<Duration> {
        self.last.map(|(at, came)| at + now.saturating_sub(came))
    }

    fn frame_came(&mut self, source: &dyn FrameSource, at: Duration, now: Duration, steady: bool) {
        let opened = std::mem::take(&mut self.opened);
        if let Some(loss) = self.lost.take() {
            (self.on_state)(CameraState::Recovered {
                source: source.describe(),
                after: now.saturating_sub(loss.at),
            });
        } else if opened {
            (self.on_state)(CameraState::Streaming {
                source: source.describe(),
            });
        }
        self.last = Some((at, now));
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
            reason: reason.clone(),
        });
        (self.on_state)(CameraState::Lost { reason });
    }

    /// The wait before the next attempt.
    fn next_wait(&mut self) -> Duration {
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
mod tests;
