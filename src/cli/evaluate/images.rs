//! The photos of an evaluation: a folder, or a zip archive.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use zip::ZipArchive;

use super::pairs::Photo;

/// Bytes of the largest photo that is read.
const MAX_BYTES: u64 = 64 << 20;
const ENDINGS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// Where the photos are.
#[derive(Debug)]
pub(super) enum Images {
    Folder(PathBuf),
    /// The archive, and the places of its entries by file name.
    Archive(PathBuf, HashMap<String, usize>),
}

/// Reads photos, for one thread.
pub(super) enum Reader<'a> {
    Folder(&'a Path),
    Archive(Box<ZipArchive<BufReader<File>>>, &'a HashMap<String, usize>),
}

impl Images {
    pub(super) fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        let archive = archive(path)?;
        let mut places = HashMap::new();
        for i in 0..archive.len() {
            // A name that cannot be read cannot be asked for either.
            let Some(Ok(name)) = archive.name_for_index(i) else {
                continue;
            };
            let file = name.rsplit('/').next().unwrap_or(&name);
            places.insert(file.to_owned(), i);
        }
        Ok(Self::Archive(path.to_owned(), places))
    }

    pub(super) fn reader(&self) -> Result<Reader<'_>> {
        match self {
            Self::Folder(path) => Ok(Reader::Folder(path)),
            Self::Archive(path, places) => Ok(Reader::Archive(Box::new(archive(path)?), places)),
        }
    }
}

fn archive(path: &Path) -> Result<ZipArchive<BufReader<File>>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    ZipArchive::new(BufReader::new(file))
        .with_context(|| format!("{} is neither a folder nor a zip archive", path.display()))
}

impl Reader<'_> {
    /// The name and the bytes of a photo's file.
    pub(super) fn read(&mut self, photo: &Photo) -> Result<(String, Vec<u8>)> {
        let Photo { person, number } = photo;
        let names = ENDINGS.map(|ending| format!("{person}_{number:04}.{ending}"));
        match self {
            Self::Folder(folder) => {
                let paths = names.iter().map(|name| folder.join(person).join(name));
                if let Some(path) = paths.into_iter().find(|p| p.exists()) {
                    let name = path.display().to_string();
                    return Ok((name.clone(), std::fs::read(&path).context(name)?));
                }
                bail!("{} has no {person}/{}", folder.display(), names[0])
            }
            Self::Archive(archive, places) => {
                let Some(&place) = names.iter().find_map(|name| places.get(name)) else {
                    bail!("the archive has no {person}/{}", names[0]);
                };
                let entry = archive.by_index(place).with_context(|| names[0].clone())?;
                let name = entry.name().with_context(|| names[0].clone())?.into_owned();
                let mut bytes = Vec::new();
                entry
                    .take(MAX_BYTES)
                    .read_to_end(&mut bytes)
                    .with_context(|| name.clone())?;
                Ok((name, bytes))
            }
        }
    }
}
