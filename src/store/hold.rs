//! One daemon at a time on a database: two would send the same outbox, and a command
//! would reach one of them alone.
//!
//! The lock has a file of its own. Closing any descriptor of the database's file would drop SQLite's
//! locks on it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::Path;

use super::{StoreError, with_suffix};

/// Takes the `database`, which is there, for this daemon until the file is dropped. None where the
/// filesystem cannot lock, which the log says: no reason to keep a door shut.
///
/// # Errors
/// Another daemon has it.
pub fn hold(database: &Path) -> Result<Option<File>, StoreError> {
    let path = with_suffix(database, ".lock");
    let locked = open(&path, database)
        .map_err(TryLockError::Error)
        .and_then(|file| file.try_lock().map(|()| file));
    match locked {
        Ok(file) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::Taken { path }),
        Err(TryLockError::Error(error)) => {
            log::warn!(
                "whether another `doorward run` uses this database is unknown: {}: {error}",
                path.display()
            );
            Ok(None)
        }
    }
}

/// The file, made for whom the database belongs to: the service's user has to open what root made.
fn open(path: &Path, database: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    // Only a file that is new is given away, never what a link leads to.
    match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => options.open(path),
        Err(error) => Err(error),
        Ok(file) => {
            let owner = database.metadata()?;
            if file.metadata()?.uid() != owner.uid() {
                fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
            }
            Ok(file)
        }
    }
}
