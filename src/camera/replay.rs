//! Frames from files: a photo, a folder of photos, or a Motion JPEG clip.
//!
//! A frame's time follows from its place in the replay and the rate, never from a clock, so what
//! is decided about it is the same at any pace. It starts at 0, or where an earlier source left off.

use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::camera::FrameSource;
use crate::camera::photo::Photo;
use crate::camera::reel::{Reel, Shot};
use crate::image::{Frame, ImageError};

/// What to replay and how.
#[derive(Clone, Debug)]
pub struct ReplayRequest {
    /// A photo (JPEG, PNG, WebP), a folder of photos, or a clip of concatenated JPEG images
    /// whose name ends in `.mjpeg` or `.mjpg`.
    pub path: PathBuf,
    /// Frames a second; clips and photos do not say it themselves.
    pub fps: NonZeroU32,
    /// How fast the frames come.
    pub pace: Pace,
    /// Begin again at the end.
    pub repeat: bool,
}

/// How fast a replay runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At the rate of the request.
    RealTime,
    /// As fast as the frames are taken.
    Fast,
}

/// Why something cannot be replayed.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// Nothing is under this name.
    #[error("there is nothing to replay at {}: name a photo, a folder of photos or a .mjpeg clip", path.display())]
    Missing {
        /// What was to be replayed.
        path: PathBuf,
    },
    /// The file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// What was to be read.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A folder without photos.
    #[error("the folder {} holds no photo: put files ending in .jpg, .jpeg, .png or .webp there", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A file that is not, or no longer, an image.
    #[error("{} is no photo that doorward reads (JPEG, PNG or WebP): {reason}; save it anew or take another", path.display())]
    NotAPhoto {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A photo that cannot be decoded, or is too large to be.
    #[error(transparent)]
    Photo(#[from] ImageError),
    /// Not one whole image in a clip, or readable photo in a folder.
    #[error(
        "{} holds no whole image; a clip is concatenated JPEG images, as made by \
         `ffmpeg -i video.mp4 -c:v mjpeg -f mjpeg clip.mjpeg`",
        path.display()
    )]
    NothingWhole {
        /// The clip or folder.
        path: PathBuf,
    },
}

impl ReplayError {
    pub(crate) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Unreadable { path, source },
        }
    }
}

/// A replay under way.
pub struct Replay {
    request: ReplayRequest,
    reel: Reel,
    /// Place of the next frame, counted on when the replay begins again.
    place: u64,
    /// Time of the first place.
    start: Duration,
    /// The first time through: damage is worth a warning.
    fresh: bool,
    began: Option<Instant>,
}

impl Replay {
    /// Opens the file or folder and makes sure that there is at least one whole image in it.
    pub fn open(request: ReplayRequest) -> Result<Self, ReplayError> {
        let reel = Reel::open(&request.path)?;
        let mut replay = Self {
            request,
            reel,
            place: 0,
            start: Duration::ZERO,
            fresh: false,
            began: None,
        };
        loop {
            match replay.reel.next_shot()? {
                Shot::Whole(_) => break,
                Shot::Damaged(_) => {}
                Shot::End => {
                    return Err(ReplayError::NothingWhole {
                        path: replay.request.path,
                    });
                }
            }
        }
        replay.reel.rewind()?;
        replay.fresh = true;
        Ok(replay)
    }

    /// The next frame, damaged images passed over; `None` at the end.
    fn next(&mut self) -> Result<Option<Frame>, ReplayError> {
        let mut rewound = false;
        loop {
            match self.reel.next_shot()? {
                Shot::Whole(photo) => {
                    let Photo {
                        bytes,
                        format,
                        width,
                        height,
                    } = photo;
                    let sequence = self.place;
                    let captured_at = self.start + place_in_time(sequence, self.request.fps);
                    let stride = format.packed_stride(width);
                    self.place += 1;
                    return Ok(Some(Frame {
                        bytes,
                        format,
                        width,
                        height,
                        stride,
                        sequence,
                        captured_at,
                    }));
                }
                Shot::Damaged(error) => {
                    if self.fresh {
                        log::warn!("left out of the replay: {error}");
                    }
                    self.place += 1;
                }
                Shot::End if !self.request.repeat => return Ok(None),
                Shot::End => {
                    self.reel.rewind()?;
                    self.fresh = false;
                    // Files may go bad or away while they are replayed.
                    if std::mem::replace(&mut rewound, true) {
                        return Err(ReplayError::NothingWhole {
                            path: self.request.path.clone(),
                        });
                    }
                }
            }
        }
    }
}

impl FrameSource for Replay {
    fn next_frame(&mut self) -> anyhow::Result<Option<Frame>> {
        let frame = self.next()?;
        if let (Pace::RealTime, Some(frame)) = (self.request.pace, &frame) {
            let began = *self.began.get_or_insert_with(Instant::now);
            std::thread::sleep((frame.captured_at - self.start).saturating_sub(began.elapsed()));
        }
        Ok(frame)
    }

    fn start_at(&mut self, start: Duration) {
        self.start = start;
    }

    fn describe(&self) -> String {
        let ReplayRequest {
            path,
            fps,
            pace,
            repeat,
        } = &self.request;
        let pace = if *pace == Pace::Fast {
            ", as fast as possible"
        } else {
            ""
        };
        let repeat = if *repeat { ", repeated" } else { "" };
        format!(
            "{} ({}) @ {fps} fps{pace}{repeat}",
            path.display(),
            self.reel.describe()
        )
    }

    fn dropped(&self) -> u64 {
        0
    }

    fn may_drop(&self) -> bool {
        self.request.pace == Pace::RealTime
    }
}

/// When the frame at this place is taken: `place / fps` seconds, rounded down to nanoseconds.
fn place_in_time(place: u64, fps: NonZeroU32) -> Duration {
    let fps = u64::from(fps.get());
    Duration::from_secs(place / fps) + Duration::from_nanos(place % fps * 1_000_000_000 / fps)
}

#[cfg(test)]
mod tests;
