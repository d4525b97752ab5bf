//! Asks a V4L2 device what it is and what it offers.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;

use v4l::capability::Flags as Capability;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture;
use v4l::{Device, Fraction};

use crate::camera::error::IDENTIFY;
use crate::camera::mode::PREFERRED_SIZE;
use crate::camera::{CameraError, Interval, OfferedMode, Steps};

/// Sizes to try with a driver that lists none; it sets the nearest that it can.
const ANY_LENGTH: Steps = Steps {
    min: 1,
    max: 16384,
    step: 1,
};

thread_local! {
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// What a camera offers, the sizes of a range standing for all of it. Rates of a range are those
/// near the preferred size.
pub fn offered_modes(device: &str) -> Result<Vec<OfferedMode>, CameraError> {
    guarded(device, || {
        let (opened, _) = open_capture(device)?;
        enumerate(&opened, PREFERRED_SIZE)
            .map_err(|source| CameraError::from_io(device, "list the formats of", source))
    })
}

/// The card's name, if `device` can be captured from.
pub(crate) fn card(device: &str) -> Result<String, CameraError> {
    guarded(device, || Ok(open_capture(device)?.1))
}

/// The v4l crate panics on answers that it has no name for, such as a colour space newer than
/// itself. One odd camera must not end the daemon.
pub(crate) fn guarded<T>(
    device: &str,
    ask: impl FnOnce() -> Result<T, CameraError>,
) -> Result<T, CameraError> {
    caught(ask).unwrap_or_else(|_| {
        let source = io::Error::other("its driver answers with values that V4L2 does not define");
        Err(CameraError::Io {
            device: device.to_owned(),
            doing: "use",
            source,
        })
    })
}

/// Runs what may panic in the v4l crate.
pub(crate) fn caught<T>(ask: impl FnOnce() -> T) -> thread::Result<T> {
    let outer = EXPECTED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(ask));
    EXPECTED.set(outer);
    result
}

/// Whether a panic of this thread would be caught by this room, for a panic hook.
pub(crate) fn expects_panic() -> bool {
    EXPECTED.get()
}

pub(crate) fn open_capture(name: &str) -> Result<(Device, String), CameraError> {
    let fail = |doing| move |source| CameraError::from_io(name, doing, source);
    // Links are followed anew at every opening: a camera that comes back may have another number.
    let node = Path::new(name).canonicalize().map_err(fail("find"))?;
    let device = Device::with_path(node).map_err(fail("open"))?;
    // Drivers cut long names off at 31 bytes, also inside a letter, and the v4l crate panics on
    // that. Such a device cannot be asked what it is; its formats will show it.
    let Ok(caps) = caught(|| device.query_caps()) else {
        return Ok((device, "unnamed".to_owned()));
    };
    let caps = caps.map_err(fail(IDENTIFY))?;
    match why_not_capture(caps.capabilities) {
        None => Ok((device, caps.card)),
        Some((kind, advice)) => Err(CameraError::NotCapture {
            device: name.to_owned(),
            card: caps.card,
            kind,
            advice,
        }),
    }
}

/// What a device is instead of a capture device, and what to do then.
fn why_not_capture(has: Capability) -> Option<(&'static str, &'static str)> {
    if has.contains(Capability::VIDEO_CAPTURE | Capability::STREAMING) {
        None
    } else if has.contains(Capability::VIDEO_CAPTURE) {
        Some(("without streaming", "convert it through v4l2loopback"))
    } else if has.contains(Capability::META_CAPTURE) {
        Some((
            "a node for metadata",
            "take the camera's other node, often one number lower",
        ))
    } else if has.intersects(Capability::VIDEO_M2M | Capability::VIDEO_M2M_MPLANE) {
        Some(("a codec", "take the camera's node"))
    } else if has.contains(Capability::VIDEO_CAPTURE_MPLANE) {
        Some(("multi-planar", "convert it through v4l2loopback"))
    } else if has.contains(Capability::VIDEO_OUTPUT) {
        Some((
            "an output",
            "a loopback device becomes a camera once a program feeds it",
        ))
    } else {
        Some(("another kind of node", "take the camera's node"))
    }
}

/// Lists the device's modes; the rates of a range of sizes are asked at the size next to `near`.
pub(crate) fn enumerate(device: &Device, near: (u32, u32)) -> io::Result<Vec<OfferedMode>> {
    let mut offered = Vec::new();
    for format in device.enum_formats()? {
        let sizes = match device.enum_framesizes(format.fourcc) {
            Ok(sizes) => sizes.into_iter().map(|size| steps(size.size)).collect(),
            Err(_) => vec![(ANY_LENGTH, ANY_LENGTH)],
        };
        for (width, height) in sizes {
            let (w, h) = (width.nearest(near.0), height.nearest(near.1));
            // A driver without rates is no error: its own rate is taken.
            let rates = device
                .enum_frameintervals(format.fourcc, w, h)
                .unwrap_or_default();
            let intervals = rates.into_iter().map(|rate| range(&rate.interval));
            let intervals = intervals
                .filter(|(shortest, _)| shortest.fps() > 0.0)
                .collect();
            offered.push(OfferedMode {
                fourcc: format.fourcc.repr,
                width,
                height,
                intervals,
            });
        }
    }
    Ok(offered)
}

fn steps(size: FrameSizeEnum) -> (Steps, Steps) {
    match size {
        FrameSizeEnum::Discrete(s) => (Steps::only(s.width), Steps::only(s.height)),
        FrameSizeEnum::Stepwise(s) => (
            Steps {
                min: s.min_width,
                max: s.max_width,
                step: s.step_width,
            },
            Steps {
                min: s.min_height,
                max: s.max_height,
                step: s.step_height,
            },
        ),
    }
}

fn range(interval: &FrameIntervalEnum) -> (Interval, Interval) {
    match interval {
        FrameIntervalEnum::Discrete(only) => (from_fraction(*only), from_fraction(*only)),
        FrameIntervalEnum::Stepwise(steps) => (from_fraction(steps.min), from_fraction(steps.max)),
    }
}

pub(crate) fn from_fraction(fraction: Fraction) -> Interval {
    Interval {
        numerator: fraction.numerator,
        denominator: fraction.denominator,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_planar_streaming_capture_will_do() {
        let table = [
            (0x0520_0001 | 0x8000_0000, None),
            (0x0100_0001, Some("without streaming")),
            (0x04a0_0000, Some("a node for metadata")),
            (0x0400_1000, Some("multi-planar")),
            (0x0400_4000, Some("a codec")),
            (0x0500_0002, Some("an output")),
            (0x0001_0000, Some("another kind of node")),
        ];
        for (bits, expected) in table {
            let kind = why_not_capture(Capability::from(bits)).map(|(kind, _)| kind);
            assert_eq!(kind, expected, "{bits:#x}");
        }
    }
}
