//! The file that holds the device's key.
//!
//! The key is 32 random bytes, written as 64 hexadecimal digits. Where the configuration names no
//! file, one is made beside the database when that is made, and never again: a sealed database
//! whose key is lost cannot be read by anybody, and a new key would only hide that.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{folder_of, with_suffix};
use crate::config::{AWAY, StoreSection, is_credential};

/// The key's bytes, which are wiped when they are no longer needed.
pub(super) type KeyBytes = Zeroizing<[u8; 32]>;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The database is sealed, and the key has gone.
    #[error(
        "the database is sealed, and its key {} is not there; restore that file from a backup. \
         Without it nobody's templates can be read: to begin anew, move the database away and \
         enrol everybody again", .0.display()
    )]
    Lost(PathBuf),
    /// The configuration names a file that is not there.
    #[error(
        "[store] key_file = \"{path}\" is not there; make one with `(umask 077; openssl rand -hex 32 \
         > {path})`, or leave the setting out, and a key is made beside the database",
        path = .0.display()
    )]
    NotThere(PathBuf),
    /// A credential that systemd does not provide now.
    #[error(
        "the key {} {AWAY}. Start the service, and enrol beside it with --photo or `doorward command \
         enroll`",
        .0.display()
    )]
    Away(PathBuf),
    /// Others can read or change the file.
    #[error(
        "the key {} has mode {mode:04o}, so that others can read or change it; run `chmod 600 {}`",
        path.display(), path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file is somebody else's.
    #[error(
        "the key {} may not be read by this user; it has to belong to the user that runs doorward: \
         for the service run `chown doorward {}`", .0.display(), .0.display()
    )]
    Denied(PathBuf),
    /// The file holds something else.
    #[error("{} holds no key: expected 64 hexadecimal digits", .0.display())]
    Format(PathBuf),
    /// A key, but not this database's.
    #[error(
        "the key {} is not the one that sealed the database; restore the file that belongs to it. \
         A database that was made without [store] key_file has its key beside it: copy that one \
         to the new place", .0.display()
    )]
    Wrong(PathBuf),
    /// The file cannot be read or made.
    #[error("cannot use the key {}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The cipher or the key derivation has refused.
    #[error("nothing was sealed or opened: {0} failed")]
    Cipher(&'static str),
    /// A key that systemd provides cannot be replaced from here.
    #[error(
        "the key {} is a credential, which this program cannot change; export the gallery, \
         replace the credential, move the database away and import the gallery", .0.display()
    )]
    Credential(PathBuf),
}

/// The file that holds, or is to hold, the key of this database.
pub(super) fn path(section: &StoreSection) -> PathBuf {
    let beside = || with_suffix(&section.path, ".key");
    section.key_file.clone().unwrap_or_else(beside)
}

/// The key of a database that is `sealed` already or is to be.
pub(super) fn obtain(section: &StoreSection, sealed: bool) -> Result<KeyBytes, KeyError> {
    let path = path(section);
    if let Some(key) = read(&path)? {
        return Ok(key);
    }
    if is_credential(&path) {
        return Err(KeyError::Away(path));
    }
    if sealed {
        return Err(KeyError::Lost(path));
    }
    if section.key_file.is_some() {
        return Err(KeyError::NotThere(path));
    }
    let made = write_beside(&path, &random()?, &section.path)?;
    // Another process may have been faster; then its key is the key.
    let outcome = match std::fs::hard_link(&made, &path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => std::fs::remove_file(&made).and_then(|()| sync_folder(&path)),
    };
    outcome.map_err(failed(&path))?;
    log::info!(
        "made the key {}; keep a copy of it away from the database's",
        path.display()
    );
    read(&path)?.ok_or(KeyError::Lost(path))
}

/// Reads a key, the device's or another one; none when there is no such file.
///
/// # Errors
/// A file that cannot be read, that others can read or change, or that holds no key.
pub fn read(path: &Path) -> Result<Option<KeyBytes>, KeyError> {
    let guarded = is_credential(path);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied && !guarded => {
            return Err(KeyError::Denied(path.into()));
        }
        Err(error) => return Err(failed(path)(error)),
    };
    let mode = file.metadata().map_err(failed(path))?.permissions().mode() & 0o7777;
    if mode & if guarded { 0o037 } else { 0o077 } != 0 {
        let path = path.into();
        return Err(KeyError::Exposed { path, mode });
    }
    let mut text = Zeroizing::new(String::with_capacity(128));
    let read = file.take(128).read_to_string(&mut text);
    let no_key = || KeyError::Format(path.into());
    read.map_err(|error| match error.kind() {
        ErrorKind::InvalidData => no_key(),
        _ => failed(path)(error),
    })?;
    let digits = text.trim();
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(no_key());
    }
    let mut key = KeyBytes::default();
    for (i, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).map_err(|_| no_key())?;
    }
    Ok(Some(key))
}

/// Random bytes of the system: a new key, or a nonce.
pub(super) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, KeyError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice())
        .map_err(|error| failed(Path::new("from the system's random numbers"))(error.into()))?;
    Ok(bytes)
}

/// Keeps others from replacing the key in `path` until the file is dropped; waits for one who is at it.
pub(super) fn alone(path: &Path) -> Result<File, KeyError> {
    let folder = File::open(folder_of(path)).map_err(failed(path))?;
    folder.lock().map_err(failed(path))?;
    Ok(folder)
}

/// The same, or none when somebody is at it.
pub(super) fn alone_at_once(path: &Path) -> Result<Option<File>, KeyError> {
    let folder = File::open(folder_of(path)).map_err(failed(path))?;
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(cause)) => Err(failed(path)(cause)),
    }
}

/// Writes `key` to a file of its own beside `path`, for [`install`] to put it there.
pub(super) fn prepare(path: &Path, key: &KeyBytes) -> Result<(), KeyError> {
    if is_credential(path) {
        return Err(KeyError::Credential(path.into()));
    }
    let made = write_beside(path, key, path)?;
    std::fs::rename(made, next(path))
        .and_then(|()| sync_folder(path))
        .map_err(failed(path))
}

/// Puts the key that [`prepare`] wrote in the place of the old one. Another process that opened the
/// database meanwhile may have done so.
pub(super) fn install(path: &Path) -> Result<(), KeyError> {
    match std::fs::rename(next(path), path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.and_then(|()| sync_folder(path)).map_err(failed(path)),
    }
}

/// Where a key waits that is about to replace the one in `path`.
pub(super) fn next(path: &Path) -> PathBuf {
    with_suffix(path, ".next")
}

/// A whole key on the disk, under a name that nobody else uses. It belongs to whom `like` belongs
/// to: what root does on the command line the service has to read. A file that is there already, of
/// a process that died or of somebody who wants root to write through a link, is put away first.
fn write_beside(path: &Path, key: &KeyBytes, like: &Path) -> Result<PathBuf, KeyError> {
    let made = with_suffix(path, &format!(".{}.tmp", std::process::id()));
    let mut text = Zeroizing::new(String::with_capacity(65));
    for byte in key.iter() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
    text.push('\n');
    let write = || {
        match std::fs::remove_file(&made) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&made)?;
        file.write_all(text.as_bytes())?;
        let owner = std::fs::metadata(like)?.uid();
        // The service's user may not even ask for this, and need not.
        if file.metadata()?.uid() != owner {
            std::os::unix::fs::fchown(&file, Some(owner), None)?;
        }
        file.sync_all()
    };
    write().map_err(failed(&made))?;
    Ok(made)
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> KeyError + use<> {
    let path = path.to_owned();
    move |cause| KeyError::File {
        path: path.clone(),
        cause,
    }
}
