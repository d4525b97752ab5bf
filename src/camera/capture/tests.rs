//! Sources that fail, come back and wait, under a clock of the test.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU32;

use anyhow::{anyhow, bail};

use super::*;
use crate::camera::{Pace, Replay, ReplayRequest, Stop, Taken};
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

    fn dropped(&self) -> u64 {
        self.given
    }

    fn may_drop(&self) -> bool {
        self.may_drop
    }
}

struct Outcome {
    end: CaptureEnd,
    states: String,
    waits: Vec<u128>,
    dropped: u64,
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
            CameraState::Recovered { after, .. } => {
                format!("recovered after {} ms", after.as_millis())
            }
        });
    });
    while let Taken::Frame(_) = slot.take(Duration::ZERO) {}
    assert!(matches!(slot.take(Duration::ZERO), Taken::Closed));
    Outcome {
        end,
        states: states.join("; "),
        waits: clock.waits.into_inner(),
        dropped: progress.dropped.into_inner(),
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
            "lost: no camera; recovered after 100 ms; lost: pulled out",
        ),
        (
            "2 no no 1.",
            "streaming fake; lost: pulled out; recovered after 700 ms",
        ),
        // Opening works, frames never come: that is no recovery.
        ("0 0 0 1.", "lost: pulled out; recovered after 700 ms"),
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
        last: None,
        opened: true,
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
        outlook.frame_came(&source, Duration::ZERO, Duration::ZERO, steady);
        outlook.lose(&anyhow!("pulled out"), Duration::ZERO);
        waits.push(outlook.next_wait().as_millis());
    }
    assert_eq!(waits, [100, 200, 100, 200]);
}

#[test]
fn everything_is_counted() {
    let outcome = run("3 no 2.", 9);
    assert_eq!(outcome.end, CaptureEnd::SourceEnded);
    assert_eq!((outcome.dropped, outcome.replaced), (5, 4));
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

#[test]
fn times_go_on_when_a_replay_is_opened_again() {
    let (slot, stop, progress) = (Latest::new(), Stop::new(), Progress::default());
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/ada.jpg");
    let open = || -> anyhow::Result<Box<dyn FrameSource>> {
        Ok(Box::new(Replay::open(ReplayRequest {
            path: photo.into(),
            fps: NonZeroU32::new(10).unwrap(),
            pace: Pace::Fast,
            repeat: true,
        })?))
    };
    let (mut opened, mut times, told) = (0, Vec::new(), AtomicU64::new(0));
    let tell = |_| {
        told.fetch_add(1, Relaxed);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| capture_loop(open, &slot, &stop, &progress, tell));
        while let Taken::Frame(frame) = slot.take(Duration::from_secs(60)) {
            times.push(frame.captured_at);
            opened += u32::from(frame.sequence == 0);
            if frame.sequence == 3 {
                stop.reopen();
            }
            if opened == 3 {
                stop.stop();
                break;
            }
        }
    });
    assert_eq!((opened, told.into_inner()), (3, 3), "each source is named");
    assert_eq!(times[..4], [0, 100, 200, 300].map(Duration::from_millis));
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
}
