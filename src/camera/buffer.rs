//! Whether a buffer that a driver handed over holds a frame, which one, and from when.
//!
//! Pure state over what the driver reports; `v4l2` does the asking.

use std::time::Duration;

use crate::image::PixelFormat;

/// Buffers that the driver fills in turn: one is being copied, the others bridge a busy moment.
pub(super) const BUFFERS: u32 = 4;

/// A driver's monotonic clock may run this far away from the arrival of the buffers before it is
/// no longer believed; behind it, for as long as buffers may have waited.
const CLOCK_TRUST: Duration = Duration::from_secs(1);

/// The geometry that the driver granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) format: PixelFormat,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Bytes from row to row; 0 for compressed formats.
    pub(crate) stride: u32,
}

/// What the driver says about a buffer, and the bytes that it says are filled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report<'a> {
    pub(crate) bytes: &'a [u8],
    /// The driver's own mark for damaged data.
    pub(crate) damaged: bool,
    /// Wraps around after 2^32 frames.
    pub(crate) sequence: u32,
    /// The driver's time of capture, if it is on the monotonic clock.
    pub(crate) stamp: Option<Duration>,
    /// When the buffer came out of the driver, on the source's clock.
    pub(crate) arrival: Duration,
}

/// Looks at the buffers of one stream in their order.
#[derive(Debug)]
pub(crate) struct Inspector {
    granted: Granted,
    last_sequence: Option<u32>,
    number: u64,
    clock: FrameClock,
    dropped: u64,
}

impl Inspector {
    pub(crate) fn new(granted: Granted) -> Self {
        Self {
            granted,
            last_sequence: None,
            number: 0,
            clock: FrameClock::default(),
            dropped: 0,
        }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The frame's number since the stream began and its time, or `None` for a buffer to skip:
    /// a damaged or incomplete one, and the stream's first, which often is older than the stream
    /// or taken before the exposure settled.
    pub(crate) fn inspect(&mut self, report: &Report<'_>) -> Option<(u64, Duration)> {
        let first = self.last_sequence.is_none();
        let advance = match self.last_sequence {
            // Some drivers stand still or start anew. Neither says how many frames are missing.
            Some(last) => match report.sequence.wrapping_sub(last) {
                0 | 0x8000_0000.. => 1,
                n => u64::from(n),
            },
            None => 0,
        };
        self.last_sequence = Some(report.sequence);
        self.number += advance;
        self.dropped += advance.saturating_sub(1);
        let captured_at = self.clock.read(report.stamp, report.arrival);
        if report.damaged || !self.granted.is_whole(report.bytes) {
            self.dropped += u64::from(!first);
            return None;
        }
        (!first).then_some((self.number, captured_at))
    }
}

impl Granted {
    /// `stride` as the driver returned it; drivers that leave it 0 pack their rows. `None` if a
    /// row does not fit into it, or there is no pixel at all.
    pub(crate) fn new(format: PixelFormat, width: u32, height: u32, stride: u32) -> Option<Self> {
        let packed = format.packed_stride(width);
        let stride = match (packed, stride) {
            (0, _) => 0,
            (packed, 0) => packed,
            (_, stride) => stride,
        };
        let granted = Self {
            format,
            width,
            height,
            stride,
        };
        (width > 0 && height > 0 && stride >= packed).then_some(granted)
    }

    fn is_whole(&self, bytes: &[u8]) -> bool {
        match self.format {
            // A start-of-image marker and the first byte of another; the rest is the decoder's.
            PixelFormat::Mjpg => bytes.starts_with(&[0xff, 0xd8, 0xff]),
            format => bytes.len() >= format.min_len(self.width, self.height, self.stride),
        }
    }
}

/// Puts the driver's times of capture on the source's clock.
///
/// The two clocks run alike but began at different moments; the buffer that has waited least, of all up
/// to now, ties them together. Times never run backwards and never lie after the arrival of their buffer.
#[derive(Debug, Default)]
struct FrameClock {
    /// The stamp and arrival of the buffer that has waited least.
    tie: Option<(Duration, Duration)>,
    /// Buffers in a row that say they have waited for long.
    late: u32,
    last: Duration,
}

impl FrameClock {
    fn read(&mut self, stamp: Option<Duration>, arrival: Duration) -> Duration {
        let stamped = stamp.and_then(|stamp| {
            let (tied, at) = *self.tie.get_or_insert((stamp, arrival));
            let time = at + stamp.checked_sub(tied)?;
            let late = arrival.saturating_sub(time) > CLOCK_TRUST;
            self.late = if late { self.late + 1 } else { 0 };
            // After a stall every buffer has waited, and none after these.
            let trusted = time.saturating_sub(arrival) <= CLOCK_TRUST && self.late <= BUFFERS;
            if trusted && time > arrival {
                self.tie = Some((stamp, arrival));
            }
            trusted.then_some(time)
        });
        self.last = stamped.unwrap_or(arrival).min(arrival).max(self.last);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREY: Granted = Granted {
        format: PixelFormat::Grey,
        width: 3,
        height: 2,
        stride: 4,
    };

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_stride_of_the_driver_is_honoured() {
        use PixelFormat::{Mjpg, Nv12, Yuyv};
        let table = [
            (Yuyv, (640, 480), 1280, Some(1280)),
            (Yuyv, (640, 480), 1344, Some(1344)),
            (Yuyv, (640, 480), 0, Some(1280)),
            (Yuyv, (640, 480), 640, None),
            (Nv12, (640, 480), 640, Some(640)),
            (Mjpg, (640, 480), 640, Some(0)),
            (Mjpg, (640, 480), 0, Some(0)),
            (Mjpg, (0, 480), 0, None),
            (Yuyv, (640, 0), 1280, None),
        ];
        for (format, (width, height), stride, expected) in table {
            let granted = Granted::new(format, width, height, stride);
            assert_eq!(
                granted.map(|g| g.stride),
                expected,
                "{format} {width}x{height} {stride}"
            );
        }
    }

    #[test]
    fn sequence_gaps_are_dropped_frames() {
        let table: [(&[u32], &[u64], u64); 6] = [
            (&[0, 1, 2, 3], &[1, 2, 3], 0),
            (&[0, 1, 4, 5], &[1, 4, 5], 2),
            // A stream may begin anywhere, and wrap around.
            (&[7, 9], &[2], 1),
            (&[u32::MAX - 1, u32::MAX, 0, 2], &[1, 2, 4], 1),
            // A driver that never counts, one that starts anew.
            (&[0, 0, 0], &[1, 2], 0),
            (&[40, 41, 0, 1], &[1, 2, 3], 0),
        ];
        for (sequences, expected, dropped) in table {
            let mut inspector = Inspector::new(GREY);
            let numbers = sequences.iter().filter_map(|&sequence| {
                let bytes = &[0; 8];
                let arrival = Duration::ZERO;
                let report = Report {
                    bytes,
                    damaged: false,
                    sequence,
                    stamp: None,
                    arrival,
                };
                inspector.inspect(&report).map(|(number, _)| number)
            });
            assert_eq!(numbers.collect::<Vec<_>>(), expected, "{sequences:?}");
            assert_eq!(inspector.dropped(), dropped, "{sequences:?}");
        }
    }

    #[test]
    fn damaged_and_short_buffers_are_skipped() {
        let mjpg = Granted {
            format: PixelFormat::Mjpg,
            width: 640,
            height: 480,
            stride: 0,
        };
        let table: [(Granted, &[u8], bool, bool); 9] = [
            (GREY, &[0; 8], false, true),
            // The last row may come without its padding.
            (GREY, &[0; 7], false, true),
            (GREY, &[0; 6], false, false),
            (GREY, &[], false, false),
            (GREY, &[0; 8], true, false),
            (mjpg, &[0xff, 0xd8, 0xff, 0xe0, 0], false, true),
            (mjpg, &[0xff, 0xd8, 0xff, 0xe0, 0], true, false),
            (mjpg, &[0xff, 0xd8], false, false),
            (mjpg, &[0; 64], false, false),
        ];
        for (granted, bytes, damaged, kept) in table {
            let mut inspector = Inspector::new(granted);
            let arrival = Duration::ZERO;
            let good: &[u8] = &[0xff, 0xd8, 0xff, 0xe0, 0, 0, 0, 0];
            let first = Report {
                bytes: good,
                damaged: false,
                sequence: 0,
                stamp: None,
                arrival,
            };
            assert_eq!(inspector.inspect(&first), None, "the first is never kept");
            let second = Report {
                bytes,
                damaged,
                sequence: 1,
                ..first
            };
            let case = format!("{granted:?} {bytes:?} {damaged}");
            assert_eq!(inspector.inspect(&second).is_some(), kept, "{case}");
        }
    }

    #[test]
    fn stamps_are_put_on_the_source_clock() {
        // Rows of (stamp, arrival, captured at), in milliseconds.
        type Rows = &'static [(Option<u64>, u64, u64)];
        let table: [(&str, Rows); 6] = [
            ("no stamps", &[(None, 50, 50), (None, 90, 90)]),
            (
                "even stamps, jittery arrivals",
                &[
                    (Some(9000), 50, 50),
                    (Some(9033), 99, 83),
                    (Some(9066), 118, 116),
                ],
            ),
            (
                "the first buffer came late: times stay before their arrivals",
                &[
                    (Some(9000), 80, 80),
                    (Some(9033), 85, 85),
                    (Some(9066), 118, 118),
                    (Some(9099), 190, 151),
                ],
            ),
            (
                "a clock that jumps is not believed",
                &[(Some(9000), 50, 50), (Some(99_000), 83, 83)],
            ),
            (
                "nor is one that stands still, but the buffers of a stall are",
                &[
                    (Some(9000), 50, 50),
                    (Some(9033), 2000, 83),
                    (Some(9066), 2001, 116),
                    (Some(9099), 2002, 149),
                    (Some(9132), 2003, 182),
                    (Some(10_999), 2049, 2049),
                    (Some(10_999), 3050, 2049),
                    (Some(10_999), 3083, 2049),
                    (Some(10_999), 3116, 2049),
                    (Some(10_999), 3149, 2049),
                    (Some(10_999), 3182, 3182),
                ],
            ),
            (
                "times do not run backwards",
                &[
                    (Some(9000), 50, 50),
                    (Some(9033), 83, 83),
                    (Some(9020), 116, 83),
                    (Some(0), 150, 150),
                ],
            ),
        ];
        for (case, rows) in table {
            let mut clock = FrameClock::default();
            for &(stamp, arrival, expected) in rows {
                assert_eq!(
                    clock.read(stamp.map(ms), ms(arrival)),
                    ms(expected),
                    "{case}"
                );
            }
        }
    }
}
