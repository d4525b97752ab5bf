//! The images of a replay in their order, before they have a time.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::camera::ReplayError;
use crate::camera::jpeg::{JpegReader, Scan};
use crate::camera::photo::Photo;

const PHOTO_ENDINGS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
const CLIP_ENDINGS: [&str; 2] = ["mjpeg", "mjpg"];

/// A photo, the photos of a folder, or a clip.
pub(crate) enum Reel {
    Photos {
        paths: Vec<PathBuf>,
        next: usize,
    },
    Clip {
        path: PathBuf,
        reader: JpegReader<BufReader<File>>,
    },
}

/// One step through a reel.
pub(crate) enum Shot {
    Whole(Photo),
    Damaged(ReplayError),
    End,
}

impl Reel {
    /// Opens a single photo only if it can be read; what is wrong with one of many, or within a
    /// clip, comes out as a damaged shot.
    pub(crate) fn open(path: &Path) -> Result<Self, ReplayError> {
        let fail = |source| ReplayError::from_io(path, source);
        if !fs::metadata(path).map_err(fail)?.is_dir() {
            return if ends_in(path, &CLIP_ENDINGS) {
                Ok(Self::Clip {
                    path: path.to_owned(),
                    reader: open_clip(path)?,
                })
            } else {
                Photo::load(path)?;
                Ok(Self::Photos {
                    paths: vec![path.to_owned()],
                    next: 0,
                })
            };
        }
        let mut paths = Vec::new();
        for entry in fs::read_dir(path).map_err(fail)? {
            let entry = entry.map_err(fail)?.path();
            if ends_in(&entry, &PHOTO_ENDINGS) && entry.is_file() {
                paths.push(entry);
            }
        }
        paths.sort();
        match paths.len() {
            0 => Err(ReplayError::EmptyFolder {
                path: path.to_owned(),
            }),
            _ => Ok(Self::Photos { paths, next: 0 }),
        }
    }

    pub(crate) fn next_shot(&mut self) -> Result<Shot, ReplayError> {
        match self {
            Self::Photos { paths, next } => {
                let Some(path) = paths.get(*next) else {
                    return Ok(Shot::End);
                };
                *next += 1;
                Ok(Photo::load(path).map_or_else(Shot::Damaged, Shot::Whole))
            }
            Self::Clip { path, reader } => {
                let damaged = |reason| {
                    Shot::Damaged(ReplayError::NotAPhoto {
                        path: path.clone(),
                        reason,
                    })
                };
                let scan = reader
                    .next_image()
                    .map_err(|e| ReplayError::from_io(path, e))?;
                Ok(match scan {
                    Scan::Image(image) => {
                        Photo::from_jpeg(image, path).map_or_else(Shot::Damaged, Shot::Whole)
                    }
                    Scan::Damaged(at) => damaged(format!("the image at byte {at} is damaged")),
                    Scan::Truncated(at) => {
                        damaged(format!("the clip ends within the image at byte {at}"))
                    }
                    Scan::End => Shot::End,
                })
            }
        }
    }

    pub(crate) fn rewind(&mut self) -> Result<(), ReplayError> {
        match self {
            Self::Photos { next, .. } => *next = 0,
            Self::Clip { path, reader } => *reader = open_clip(path)?,
        }
        Ok(())
    }

    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Photos { paths, .. } if paths.len() == 1 => "one photo".to_owned(),
            Self::Photos { paths, .. } => format!("{} photos", paths.len()),
            Self::Clip { .. } => "clip".to_owned(),
        }
    }
}

fn open_clip(path: &Path) -> Result<JpegReader<BufReader<File>>, ReplayError> {
    let file = File::open(path).map_err(|source| ReplayError::from_io(path, source))?;
    Ok(JpegReader::new(BufReader::new(file)))
}

fn ends_in(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| endings.iter().any(|e| e.eq_ignore_ascii_case(ending)))
}
