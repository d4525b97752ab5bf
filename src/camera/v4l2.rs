//! A V4L2 camera, streamed through memory-mapped buffers.
//!
//! Thin on purpose: it passes the kernel's answers to `mode`, `buffer` and `error`, which decide;
//! `probe` does the asking before the stream begins. Only single-planar capture is spoken; stacks
//! that give none (libcamera) come in through v4l2loopback.

use std::io;
use std::time::{Duration, Instant};

use v4l::buffer::{Flags, Metadata, Type};
use v4l::io::traits::CaptureStream;
use v4l::prelude::MmapStream;
use v4l::video::Capture;
use v4l::video::capture::Parameters;
use v4l::{Device, Format, FourCC, Fraction};

use crate::camera::buffer::{BUFFERS, Granted, Inspector, Report};
use crate::camera::mode::{self, ChosenMode, PREFERRED_SIZE, Wish};
use crate::camera::probe::{enumerate, from_fraction, guarded, open_capture};
use crate::camera::{CameraError, FrameSource, Interval, OfferedMode, caught};
use crate::image::{Frame, PixelFormat};

/// Which camera to open and how. What is `None` is chosen from what the camera offers.
#[derive(Clone, Debug)]
pub struct CameraRequest {
    /// A device node or a link to one, such as those under `/dev/v4l/by-path`, which stay the
    /// same when cameras are numbered anew.
    pub device: String,
    /// The pixel format; has to be offered.
    pub format: Option<PixelFormat>,
    /// Width and height in pixels; have to be offered.
    pub size: Option<(u32, u32)>,
    /// Frames a second; the camera's nearest rate is taken.
    pub fps: Option<u32>,
    /// How long to wait for a frame before the camera counts as lost.
    pub timeout: Duration,
}

/// An open camera. After an error from [`FrameSource::next_frame`] it has to be opened anew.
pub struct V4l2Camera {
    /// `None` only while it is being dropped.
    stream: Option<MmapStream<'static>>,
    inspector: Inspector,
    granted: Granted,
    origin: Instant,
    timeout: Duration,
    device: String,
    description: String,
}

impl V4l2Camera {
    /// Opens the camera, chooses a mode and sets it. Frames are timed from `origin`, which stays
    /// the same when the camera is opened again.
    pub fn open(request: &CameraRequest, origin: Instant) -> Result<Self, CameraError> {
        guarded(&request.device, || Self::open_unguarded(request, origin))
    }

    fn open_unguarded(request: &CameraRequest, origin: Instant) -> Result<Self, CameraError> {
        let name = request.device.as_str();
        let fail = |doing| move |source| CameraError::from_io(name, doing, source);
        let (device, card) = open_capture(name)?;
        let wish = Wish {
            format: request.format,
            size: request.size,
            fps: request.fps,
        };
        let near = request.size.unwrap_or(PREFERRED_SIZE);
        let offered = enumerate(&device, near).map_err(fail("list the formats of"))?;
        let mode =
            mode::choose(&offered, &wish).ok_or_else(|| nothing_for(name, &wish, &offered))?;
        let granted = set_format(&device, name, &mode, &wish)?;
        let rate = mode
            .interval
            .and_then(|interval| set_rate(&device, name, interval));
        let timeout = request
            .timeout
            .clamp(Duration::from_millis(1), Duration::from_secs(600));
        let mut stream = MmapStream::with_buffers(&device, Type::VideoCapture, BUFFERS)
            .map_err(fail("map the buffers of"))?;
        stream.set_timeout(timeout);
        let rate = rate.map_or(String::new(), |rate| format!(" @ {rate} fps"));
        let Granted {
            format,
            width,
            height,
            ..
        } = granted;
        Ok(Self {
            stream: Some(stream),
            inspector: Inspector::new(granted),
            granted,
            origin,
            timeout,
            device: name.to_owned(),
            description: format!("{name} ({card}) {format} {width}x{height}{rate}"),
        })
    }

    fn capture(&mut self) -> Result<Frame, CameraError> {
        let begun = Instant::now();
        let device = || self.device.clone();
        let Some(stream) = &mut self.stream else {
            return Err(CameraError::Gone { device: device() });
        };
        loop {
            let (mapping, meta) = stream.next().map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut => CameraError::TimedOut {
                    device: device(),
                    after: self.timeout,
                },
                _ => CameraError::from_io(&self.device, "stream from", error),
            })?;
            let used = (meta.bytesused as usize).min(mapping.len());
            let report = Report {
                bytes: &mapping[..used],
                damaged: meta.flags.contains(Flags::ERROR),
                sequence: meta.sequence,
                stamp: monotonic_stamp(meta),
                arrival: self.origin.elapsed(),
            };
            if let Some((sequence, captured_at)) = self.inspector.inspect(&report) {
                let bytes = report.bytes.to_vec();
                let Granted {
                    format,
                    width,
                    height,
                    stride,
                } = self.granted;
                return Ok(Frame {
                    bytes,
                    format,
                    width,
                    height,
                    stride,
                    sequence,
                    captured_at,
                });
            }
            if begun.elapsed() > self.timeout {
                return Err(CameraError::OnlyDamaged {
                    device: device(),
                    after: self.timeout,
                });
            }
        }
    }
}

impl FrameSource for V4l2Camera {
    fn next_frame(&mut self) -> anyhow::Result<Option<Frame>> {
        Ok(Some(self.capture()?))
    }

    fn describe(&self) -> String {
        self.description.clone()
    }

    fn dropped(&self) -> u64 {
        self.inspector.dropped()
    }

    fn may_drop(&self) -> bool {
        true
    }
}

impl Drop for V4l2Camera {
    fn drop(&mut self) {
        // The stream panics if the driver refuses to stop and is still there. It unmaps its buffers
        // and closes its descriptor all the same while the panic passes through it. Should the
        // driver refuse to free the buffers as well, the second panic ends the process, and that
        // is right: only its end would release the camera.
        let stream = self.stream.take();
        if caught(|| drop(stream)).is_err() {
            log::warn!(
                "{} could not be stopped in order; it was closed",
                self.device
            );
        }
    }
}

fn nothing_for(name: &str, wish: &Wish, offered: &[OfferedMode]) -> CameraError {
    let (device, list) = (name.to_owned(), mode::describe(offered));
    if offered.iter().any(|mode| mode.format().is_some()) {
        CameraError::NotOffered {
            device,
            wanted: wish.to_string(),
            offered: list,
        }
    } else {
        CameraError::NoUsableFormat {
            device,
            offered: list,
        }
    }
}

/// Sets the mode and returns what the driver made of it.
fn set_format(
    device: &Device,
    name: &str,
    mode: &ChosenMode,
    wish: &Wish,
) -> Result<Granted, CameraError> {
    // A new format has stride 0, so the driver chooses its own.
    let asked = Format::new(mode.width, mode.height, FourCC::new(&mode.fourcc));
    let got = device
        .set_format(&asked)
        .map_err(|source| CameraError::from_io(name, "set the format of", source))?;
    let granted = PixelFormat::from_fourcc(got.fourcc.repr)
        .filter(|&format| format == mode.format)
        .filter(|_| wish.size.is_none_or(|size| size == (got.width, got.height)))
        .and_then(|format| Granted::new(format, got.width, got.height, got.stride));
    granted.ok_or_else(|| CameraError::Refused {
        device: name.to_owned(),
        asked: format!("{} {}x{}", mode.format, mode.width, mode.height),
        granted: format!(
            "{} {}x{}, stride {}",
            got.fourcc, got.width, got.height, got.stride
        ),
    })
}

/// Asks for a rate and returns the one that the driver set, if it says so. A camera that keeps
/// its own rate is as good.
fn set_rate(device: &Device, name: &str, interval: Interval) -> Option<Interval> {
    let fraction = Fraction::new(interval.numerator, interval.denominator);
    match device.set_params(&Parameters::new(fraction)) {
        Ok(params) => Some(from_fraction(params.interval)).filter(|rate| rate.fps() > 0.0),
        Err(error) => {
            log::debug!("{name} keeps its own frame rate: {error}");
            None
        }
    }
}

/// The buffer's time of capture if the driver took it from the monotonic clock.
fn monotonic_stamp(meta: &Metadata) -> Option<Duration> {
    if meta.flags & Flags::TIMESTAMP_MASK != Flags::TIMESTAMP_MONOTONIC {
        return None;
    }
    let seconds = u64::try_from(meta.timestamp.sec).ok()?;
    let micros = u64::try_from(meta.timestamp.usec).ok()?;
    Some(Duration::from_secs(seconds) + Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::camera::{Steps, offered_modes};

    #[test]
    fn what_is_no_camera_is_named() {
        let request = |device: &str| CameraRequest {
            device: device.to_owned(),
            format: None,
            size: None,
            fps: None,
            timeout: Duration::from_secs(1),
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let dangling = folder.path().join("camera");
        std::os::unix::fs::symlink("/dev/video-that-is-not-there", &dangling).unwrap();
        let table = [
            (file.path(), "is no V4L2 device"),
            (folder.path(), "is no V4L2 device"),
            (Path::new("/dev/null"), "is no V4L2 device"),
            (dangling.as_path(), "there is no camera at"),
            (Path::new(""), "there is no camera at"),
        ];
        for (path, expected) in table {
            let device = path.to_str().unwrap();
            let error = V4l2Camera::open(&request(device), Instant::now())
                .err()
                .unwrap();
            assert!(error.to_string().contains(expected), "{error}");
            let error = offered_modes(device).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn the_message_tells_an_odd_wish_from_an_odd_camera() {
        let mode = |fourcc: &[u8; 4]| OfferedMode {
            fourcc: *fourcc,
            width: Steps::only(640),
            height: Steps::only(480),
            intervals: vec![(Interval::from_fps(30), Interval::from_fps(30))],
        };
        let wish = Wish {
            size: Some((800, 600)),
            ..Wish::default()
        };
        let table: [(&[OfferedMode], &str); 3] = [
            (
                &[mode(b"YUYV")],
                "does not offer any format 800x600 but YUYV 640x480 @ 30 fps",
            ),
            (&[mode(b"H264")], "offers no format that doorward reads"),
            (&[], "but no format at all"),
        ];
        for (offered, expected) in table {
            let message = nothing_for("/dev/video0", &wish, offered).to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
