//! What a camera offers and which of it doorward takes.
//!
//! Pure functions over lists: asking the device is the work of `v4l2`.

use std::fmt;

use crate::image::PixelFormat;

/// Width and height, in pixels, that face detection at a door works best with: larger images
/// cost time, smaller ones lose faces beyond arm's length.
pub(crate) const PREFERRED_SIZE: (u32, u32) = (640, 480);
/// Below this many frames a second a person passes between two frames.
const SLOWEST_FPS: f64 = 10.0;
/// More frames a second than this are not looked at on a small machine.
const ENOUGH_FPS: u32 = 15;

/// The time from one frame to the next, as the fraction of a second that V4L2 uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Seconds, times `denominator`.
    pub numerator: u32,
    /// Frames in `numerator` seconds.
    pub denominator: u32,
}

impl Interval {
    /// The interval of a whole number of frames a second.
    pub const fn from_fps(fps: u32) -> Self {
        Self {
            numerator: 1,
            denominator: fps,
        }
    }

    /// Frames a second; 0 for an interval that a driver left unset.
    pub fn fps(self) -> f64 {
        match self.numerator {
            0 => 0.0,
            n => f64::from(self.denominator) / f64::from(n),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // At most two decimals, and none where the rate is whole: 30, 7.5, 29.97.
        write!(f, "{}", (self.fps() * 100.0).round() / 100.0)
    }
}

/// Lengths in pixels from `min` to `max` in steps of `step`; a single one where both are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// The shortest.
    pub min: u32,
    /// The longest.
    pub max: u32,
    /// From one length to the next; drivers that leave it 0 mean 1.
    pub step: u32,
}

impl Steps {
    /// One length only.
    pub const fn only(length: u32) -> Self {
        Self {
            min: length,
            max: length,
            step: 1,
        }
    }

    /// The offered length nearest to `wanted`, the shorter of two that are as near.
    pub fn nearest(self, wanted: u32) -> u32 {
        if wanted <= self.min || self.max <= self.min {
            return self.min;
        }
        let step = self.step.max(1);
        let below = (wanted.min(self.max) - self.min) / step * step + self.min;
        match below.checked_add(step) {
            Some(above) if above <= self.max && above.abs_diff(wanted) < below.abs_diff(wanted) => {
                above
            }
            _ => below,
        }
    }
}

/// One entry of a camera's list: a pixel format in a size, or in a range of sizes, with its rates.
#[derive(Clone, Debug, PartialEq)]
pub struct OfferedMode {
    /// The V4L2 four-character code; not always one that doorward reads.
    pub fourcc: [u8; 4],
    /// Offered widths.
    pub width: Steps,
    /// Offered heights.
    pub height: Steps,
    /// Offered intervals as (shortest, longest), both the same for a single one. Empty where the
    /// driver does not say.
    pub intervals: Vec<(Interval, Interval)>,
}

impl OfferedMode {
    /// The format as doorward knows it, or `None` if it does not read it.
    pub fn format(&self) -> Option<PixelFormat> {
        PixelFormat::from_fourcc(self.fourcc)
    }

    fn size_nearest(&self, (width, height): (u32, u32)) -> (u32, u32) {
        (self.width.nearest(width), self.height.nearest(height))
    }

    /// The interval to ask for: the one nearest to `fps`, or, if no rate is wanted, the slowest
    /// that is fast enough and else the fastest. `None` where the driver does not say.
    fn interval_for(&self, fps: Option<u32>) -> Option<Interval> {
        let asked = fps.unwrap_or(ENOUGH_FPS);
        let wanted = f64::from(asked);
        let candidates = self.intervals.iter().map(|&(shortest, longest)| {
            if shortest.fps() <= wanted {
                shortest
            } else if longest.fps() >= wanted {
                longest
            } else {
                // Within a continuous range. The driver rounds it to a step of its own.
                Interval::from_fps(asked)
            }
        });
        let too_slow = |interval: &Interval| fps.is_none() && interval.fps() < wanted;
        let off_rate = |interval: &Interval| (interval.fps() - wanted).abs();
        candidates.min_by(|a, b| {
            too_slow(a)
                .cmp(&too_slow(b))
                .then(off_rate(a).total_cmp(&off_rate(b)))
        })
    }
}

impl fmt::Display for OfferedMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}x{}",
            self.fourcc.escape_ascii(),
            self.width.min,
            self.height.min
        )?;
        if (self.width.max, self.height.max) != (self.width.min, self.height.min) {
            write!(f, "..{}x{}", self.width.max, self.height.max)?;
        }
        for (i, (shortest, longest)) in self.intervals.iter().enumerate() {
            f.write_str(if i == 0 { " @ " } else { ", " })?;
            if shortest != longest {
                write!(f, "{longest}..")?;
            }
            write!(f, "{shortest}")?;
        }
        if self.intervals.is_empty() {
            Ok(())
        } else {
            f.write_str(" fps")
        }
    }
}

/// What the configuration insists on. Everything left `None` is doorward's to choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) format: Option<PixelFormat>,
    pub(crate) size: Option<(u32, u32)>,
    pub(crate) fps: Option<u32>,
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.format {
            Some(format) => write!(f, "{format}")?,
            None => f.write_str("any format")?,
        }
        if let Some((width, height)) = self.size {
            write!(f, " {width}x{height}")?;
        }
        match self.fps {
            Some(fps) => write!(f, " @ {fps} fps"),
            None => Ok(()),
        }
    }
}

/// The mode to ask the driver for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChosenMode {
    /// The code as the camera spells it (`JPEG` stays `JPEG`).
    pub(crate) fourcc: [u8; 4],
    pub(crate) format: PixelFormat,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// `None`: leave the driver's rate as it is.
    pub(crate) interval: Option<Interval>,
}

/// Chooses from what the camera offers.
///
/// A wanted format and size must be offered exactly, a wanted rate is met as nearly as the camera
/// can. Left to itself, doorward looks for, in this order: at least 10 frames a second, a size
/// near 640x480 (larger rather than smaller), the first format in [`PixelFormat::ALL`]; and asks
/// for the slowest rate from 15 frames a second on.
///
/// `None` if nothing offered is readable and wanted.
pub(crate) fn choose(offered: &[OfferedMode], wish: &Wish) -> Option<ChosenMode> {
    let candidates = offered.iter().filter_map(|mode| {
        let format = mode.format()?;
        let size = mode.size_nearest(wish.size.unwrap_or(PREFERRED_SIZE));
        let wanted = wish.format.is_none_or(|f| f == format) && wish.size.is_none_or(|s| s == size);
        let (width, height) = size;
        let interval = mode.interval_for(wish.fps);
        wanted.then_some(ChosenMode {
            fourcc: mode.fourcc,
            format,
            width,
            height,
            interval,
        })
    });
    candidates.min_by(|a, b| {
        let keys = (cost(a, wish), cost(b, wish));
        let ((slow_a, size_a, rate_a, rank_a), (slow_b, size_b, rate_b, rank_b)) = keys;
        slow_a
            .cmp(&slow_b)
            .then(size_a.total_cmp(&size_b))
            .then(rate_a.total_cmp(&rate_b))
            .then(rank_a.cmp(&rank_b))
    })
}

/// What speaks against a mode, the weightiest first: too slow, wrong size, not the wanted rate,
/// place of the format in [`PixelFormat::ALL`].
fn cost(mode: &ChosenMode, wish: &Wish) -> (bool, f64, f64, usize) {
    let fps = mode.interval.map(Interval::fps);
    let too_slow = wish.fps.is_none() && fps.is_some_and(|fps| fps < SLOWEST_FPS);
    let off_rate = match (wish.fps, fps) {
        (Some(wanted), Some(fps)) => (fps - f64::from(wanted)).abs(),
        _ => 0.0,
    };
    let size = off_size(mode.width, PREFERRED_SIZE.0) + off_size(mode.height, PREFERRED_SIZE.1);
    let rank = PixelFormat::ALL.iter().position(|&f| f == mode.format);
    (too_slow, size, off_rate, rank.unwrap_or(usize::MAX))
}

/// Octaves between two lengths; missing pixels count twice as much as spare ones.
fn off_size(length: u32, preferred: u32) -> f64 {
    let octaves = (f64::from(length.max(1)) / f64::from(preferred)).log2();
    if octaves < 0.0 {
        -2.0 * octaves
    } else {
        octaves
    }
}

/// The list in one line, for messages: `YUYV 640x480 @ 30, 15 fps; H264 1920x1080 @ 30 fps`.
pub(crate) fn describe(offered: &[OfferedMode]) -> String {
    if offered.is_empty() {
        return "no format at all".to_owned();
    }
    offered
        .iter()
        .map(OfferedMode::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list in the words of its own `Display`: `YUYV 640x480 30 15; GREY 16x16..4096x2160/8`.
    /// A rate `a..b` is a range.
    fn offers(list: &str) -> Vec<OfferedMode> {
        let interval = |fps: &str| match fps.split_once('/') {
            Some((d, n)) => Interval {
                numerator: n.parse().unwrap(),
                denominator: d.parse().unwrap(),
            },
            None => Interval::from_fps(fps.parse().unwrap()),
        };
        let size = |s: &str| -> (u32, u32) {
            let (w, h) = s.split_once('x').unwrap();
            (w.parse().unwrap(), h.parse().unwrap())
        };
        list.split("; ")
            .filter(|entry| !entry.is_empty())
            .map(|entry| {
                let mut words = entry.split(' ');
                let fourcc = words.next().unwrap().as_bytes().try_into().unwrap();
                let sizes = words.next().unwrap();
                let (range, step) = sizes.split_once('/').unwrap_or((sizes, "1"));
                let (min, max) = range.split_once("..").unwrap_or((range, range));
                let (min, max, step) = (size(min), size(max), step.parse().unwrap());
                OfferedMode {
                    fourcc,
                    width: Steps {
                        min: min.0,
                        max: max.0,
                        step,
                    },
                    height: Steps {
                        min: min.1,
                        max: max.1,
                        step,
                    },
                    intervals: words
                        .map(|rate| {
                            let (slow, fast) = rate.split_once("..").unwrap_or((rate, rate));
                            (interval(fast), interval(slow))
                        })
                        .collect(),
                }
            })
            .collect()
    }

    fn chosen(list: &str, wish: Wish) -> String {
        match choose(&offers(list), &wish) {
            None => "none".to_owned(),
            Some(m) => {
                let rate = m.interval.map_or("-".to_owned(), |i| i.to_string());
                format!(
                    "{} {}x{} {rate}",
                    m.fourcc.escape_ascii(),
                    m.width,
                    m.height
                )
            }
        }
    }

    #[test]
    fn left_to_itself_it_takes_the_best() {
        let table = [
            // A webcam's list: raw YUV at the preferred size, slowed down to what is enough.
            (
                "YUYV 640x480 30 15; YUYV 1280x720 10; MJPG 1280x720 30",
                "YUYV 640x480 15",
            ),
            // Raw only at 5 frames a second: Motion JPEG it is.
            ("YUYV 640x480 5; MJPG 640x480 30", "MJPG 640x480 30"),
            ("YUYV 1280x720 10; MJPG 640x480 30", "MJPG 640x480 30"),
            // 10 frames a second are enough for the better format.
            ("MJPG 640x480 30; YUYV 640x480 10", "YUYV 640x480 10"),
            (
                "GREY 640x480 30; BGR3 640x480 30; RGB3 640x480 30",
                "RGB3 640x480 30",
            ),
            ("NV12 640x480 30; MJPG 640x480 30", "NV12 640x480 30"),
            // Larger rather than smaller.
            ("YUYV 320x240 30; YUYV 1280x720 30", "YUYV 1280x720 30"),
            (
                "YUYV 320x240 30; YUYV 640x360 30; YUYV 1920x1080 30",
                "YUYV 640x360 30",
            ),
            // Nothing is fast enough: the size decides.
            ("YUYV 640x480 5; YUYV 1280x960 7", "YUYV 640x480 5"),
            // Rates unknown, ranges, rates that are not whole.
            ("GREY 640x400", "GREY 640x400 -"),
            ("YUYV 16x16..4096x2160/8 1..60", "YUYV 640x480 15"),
            ("YUYV 32x32..600x600/64 1..12", "YUYV 544x480 12"),
            ("YUYV 640x480 30000/1001 15/2", "YUYV 640x480 29.97"),
            // The camera's spelling is kept, what cannot be read is passed over.
            ("JPEG 640x480 30; H264 640x480 30", "JPEG 640x480 30"),
            ("H264 640x480 30; pRAA 640x480 30", "none"),
            ("", "none"),
        ];
        for (list, expected) in table {
            assert_eq!(chosen(list, Wish::default()), expected, "{list}");
        }
    }

    #[test]
    fn the_configuration_is_obeyed() {
        let webcam = "YUYV 640x480 30 15; YUYV 1280x720 10; MJPG 1280x720 30 60; MJPG 1920x1080 30";
        let range = "GREY 16x16..1280x800/16 5..120";
        let wish = |format, size, fps| Wish { format, size, fps };
        let mjpg = Some(PixelFormat::Mjpg);
        let table = [
            (webcam, wish(mjpg, None, None), "MJPG 1280x720 30"),
            (
                webcam,
                wish(None, Some((1280, 720)), None),
                "YUYV 1280x720 10",
            ),
            (
                webcam,
                wish(None, Some((1280, 720)), Some(60)),
                "MJPG 1280x720 60",
            ),
            (webcam, wish(None, None, Some(25)), "YUYV 640x480 30"),
            (webcam, wish(None, Some((800, 600)), None), "none"),
            (webcam, wish(Some(PixelFormat::Grey), None, None), "none"),
            (
                range,
                wish(None, Some((1280, 800)), Some(100)),
                "GREY 1280x800 100",
            ),
            (
                range,
                wish(None, Some((1280, 800)), Some(200)),
                "GREY 1280x800 120",
            ),
            (range, wish(None, Some((1280, 801)), None), "none"),
        ];
        for (list, wish, expected) in table {
            assert_eq!(chosen(list, wish), expected, "{wish}");
        }
    }

    #[test]
    fn the_nearest_step() {
        let table = [
            ((16, 4096, 8), 640, 640),
            ((16, 4096, 8), 643, 640),
            ((16, 4096, 8), 645, 648),
            ((16, 4096, 8), 644, 640),
            ((16, 4096, 0), 643, 643),
            ((16, 600, 64), 640, 592),
            ((800, 1600, 2), 640, 800),
            ((640, 640, 0), 9, 640),
            // Drivers have been seen to swap the ends.
            ((640, 320, 16), 500, 640),
            ((0, u32::MAX, u32::MAX), u32::MAX, u32::MAX),
        ];
        for ((min, max, step), wanted, expected) in table {
            assert_eq!(
                Steps { min, max, step }.nearest(wanted),
                expected,
                "{min}..{max}/{step}"
            );
        }
    }

    #[test]
    fn lists_read_well() {
        let list = "YUYV 640x480 30 15/2; GREY 16x16..1280x800/16 5..120; H264 1920x1080";
        let expected =
            "YUYV 640x480 @ 30, 7.5 fps; GREY 16x16..1280x800 @ 5..120 fps; H264 1920x1080";
        assert_eq!(describe(&offers(list)), expected);
        assert_eq!(describe(&[]), "no format at all");
    }
}
