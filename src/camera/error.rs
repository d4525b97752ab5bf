//! What can be wrong with a camera, in words that say what to do.

use std::io;
use std::time::Duration;

use thiserror::Error;

/// Linux: no such device or address.
const ENXIO: i32 = 6;
/// Linux: the device is gone.
pub(crate) const ENODEV: i32 = 19;
/// Linux: no room; from a USB camera, on the bus.
const ENOSPC: i32 = 28;
/// Linux: not this kind of device.
const ENOTTY: i32 = 25;

/// Why a camera cannot be used, or no longer.
#[derive(Debug, Error)]
pub enum CameraError {
    /// There is nothing under this name.
    #[error(
        "there is no camera at {device}: check the cable and the name (`doorward check` lists the cameras)"
    )]
    Missing {
        /// The device as configured.
        device: String,
    },
    /// The user may not open it.
    #[error(
        "{device} may not be opened: the user that runs doorward has to be in the group `video`"
    )]
    PermissionDenied {
        /// The device as configured.
        device: String,
    },
    /// Another program has it.
    #[error(
        "{device} is in use: stop the other program (`systemctl stop doorward` where it is the \
             service; `sudo fuser -v {device}` names it)"
    )]
    Busy {
        /// The device as configured.
        device: String,
    },
    /// A file, a directory or another kind of device.
    #[error("{device} is no V4L2 device: name one like /dev/video0 (`doorward check` lists them)")]
    NotVideo {
        /// The device as configured.
        device: String,
    },
    /// A V4L2 device, but not one that single-planar frames can be streamed from.
    #[error("{device} ({card}) is {kind}, not a capture device: {advice}")]
    NotCapture {
        /// The device as configured.
        device: String,
        /// The card's name.
        card: String,
        /// What it is instead.
        kind: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// The camera offers no format that doorward reads.
    #[error(
        "{device} offers no format that doorward reads (YUYV, NV12, MJPG or JPEG, RGB3, BGR3, GREY) \
         but {offered}: take another camera or node, or convert it through v4l2loopback"
    )]
    NoUsableFormat {
        /// The device as configured.
        device: String,
        /// What it offers.
        offered: String,
    },
    /// The configured format or size is not among those offered.
    #[error("{device} does not offer {wanted} but {offered}: configure one of these, or none")]
    NotOffered {
        /// The device as configured.
        device: String,
        /// What the configuration asks for.
        wanted: String,
        /// What it offers.
        offered: String,
    },
    /// The driver listed a mode and then set another.
    #[error("{device} was asked for {asked} and gives {granted}: configure another format or size")]
    Refused {
        /// The device as configured.
        device: String,
        /// What was asked for.
        asked: String,
        /// What the driver set.
        granted: String,
    },
    /// No frame came in time.
    #[error("no frame from {device} for {after:?}: check the cable and the power of the camera")]
    TimedOut {
        /// The device as configured.
        device: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// Frames came, every one of them damaged.
    #[error(
        "only damaged frames from {device} for {after:?}: check the cable, or configure a smaller size"
    )]
    OnlyDamaged {
        /// The device as configured.
        device: String,
        /// How long it was waited for a whole one.
        after: Duration,
    },
    /// Other devices leave it too little of the USB bus.
    #[error(
        "the USB bus has no room for {device}: configure a smaller size, a lower rate or \
         format = \"MJPG\", or plug it into another port"
    )]
    NoBandwidth {
        /// The device as configured.
        device: String,
    },
    /// The camera was pulled out, or its driver unbound.
    #[error("{device} is gone: check the cable")]
    Gone {
        /// The device as configured.
        device: String,
    },
    /// Anything else that the kernel says.
    #[error("cannot {doing} {device}")]
    Io {
        /// The device as configured.
        device: String,
        /// What was tried.
        doing: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
}

impl CameraError {
    /// What the kernel's answer to `doing` means for the user.
    pub(crate) fn from_io(device: &str, doing: &'static str, source: io::Error) -> Self {
        let device = device.to_owned();
        match (source.kind(), source.raw_os_error()) {
            (_, Some(ENODEV)) => Self::Gone { device },
            (_, Some(ENOSPC)) => Self::NoBandwidth { device },
            (_, Some(ENOTTY)) if doing == IDENTIFY => Self::NotVideo { device },
            (io::ErrorKind::IsADirectory, _) => Self::NotVideo { device },
            (io::ErrorKind::NotFound, _) | (_, Some(ENXIO)) => Self::Missing { device },
            (io::ErrorKind::PermissionDenied, _) => Self::PermissionDenied { device },
            (io::ErrorKind::ResourceBusy, _) => Self::Busy { device },
            _ => Self::Io {
                device,
                doing,
                source,
            },
        }
    }
}

/// The step at which a device that is none answers that it does not know the question.
pub(crate) const IDENTIFY: &str = "identify";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_speaks_plainly() {
        let os = io::Error::from_raw_os_error;
        let table = [
            ("open", os(2), "there is no camera at /dev/video7"),
            ("open", os(ENXIO), "there is no camera at"),
            ("open", os(13), "group `video`"),
            ("open", os(1), "group `video`"),
            ("open", os(21), "is no V4L2 device"),
            ("stream from", os(16), "is in use"),
            (IDENTIFY, os(ENOTTY), "is no V4L2 device"),
            (
                "set the format of",
                os(ENOTTY),
                "cannot set the format of /dev/video7",
            ),
            ("stream from", os(ENODEV), "is gone"),
            ("stream from", os(ENOSPC), "the USB bus has no room"),
            ("stream from", os(5), "cannot stream from /dev/video7"),
        ];
        for (doing, error, expected) in table {
            let message = CameraError::from_io("/dev/video7", doing, error).to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
