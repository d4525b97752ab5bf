//! What outlives a restart: subjects and their templates, the audit trail, and the outbox.
//!
//! This room owns the SQLite database and is the only one that speaks SQL. It never speaks to a
//! network. The command line and the daemon may use one database at the same time: readers and
//! one writer do not stand in each other's way (write-ahead log), and writers wait for each other.
//! Of daemons a database has one (`hold.rs`).
//! Every write is on the disk when its method returns (`synchronous = full`).
//!
//! Templates are sealed with the device's key and the audit trail is chained (`seal.rs`,
//! `chain.rs`); without the key nobody reads a template or writes a line.
//!
//! A damaged database is put aside, never repaired, overwritten or replaced by an empty one: an
//! empty gallery would look like a door that knows nobody.

mod audit;
mod chain;
mod commands;
mod door;
mod erase;
mod error;
mod events;
mod gallery;
mod hold;
mod key;
mod prune;
mod rekey;
mod seal;
mod upgrade;

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, MAIN_DB, Transaction, TransactionBehavior};

use crate::config::StoreSection;
pub use crate::subject::{NameError, SubjectName};

pub use audit::{Audit, Break};
pub use commands::Seen;
pub use door::RememberedRefusals;
pub use error::StoreError;
pub use events::Recorded;
pub use gallery::{Enrolled, SubjectSummary};
pub use hold::hold;
pub use key::{KeyError, read as read_key};

use chain::Chain;
use seal::Seal;

/// How long to wait for another process's write: as long as a removal may take to write a large
/// database anew. The unit's `TimeoutStopSec` is longer.
const BUSY: Duration = Duration::from_secs(10);

/// The same for a writer that has kept us waiting so long, until it has let go: a thread that has ten
/// events to store must not wait for each.
const STILL_BUSY: Duration = Duration::from_millis(100);

/// Bytes of the write-ahead log that stay when it begins anew.
const LOG_LIMIT: u32 = 4 << 20;

/// An open database.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    seal: Seal,
    chain: Chain,
    key_file: PathBuf,
    outbox_limit: u32,
    audit_days: u32,
}

impl Store {
    /// Opens the database, making it (mode 0600) and its folder (0700) when there is none yet.
    ///
    /// `now` names a damaged file that is put aside. Errors: the file cannot be used, is damaged,
    /// is of a later doorward or of another program, or its key is not there.
    pub fn open(section: &StoreSection, now: Timestamp) -> Result<Self, StoreError> {
        let store = Self::open_at_once(section, now)?;
        // No reason not to start: another process is in the way, or the disk is full.
        if let Err(error) = store.scrub() {
            log::warn!("old bytes in the database are not wiped yet: {error}");
        }
        Ok(store)
    }

    /// The same, without making up for a removal that was cut short, which takes long in a large
    /// database: for who has to be there soon. [`Store::open`] does it later.
    pub fn open_at_once(section: &StoreSection, now: Timestamp) -> Result<Self, StoreError> {
        let path = section.path.as_path();
        create(path)?;
        let (connection, seal, chain) = match connect(section) {
            Ok(parts) => parts,
            Err(Refusal::Damaged(detail)) => return Err(put_aside(path, detail, now)),
            Err(Refusal::Access(detail)) => {
                let path = path.into();
                return Err(StoreError::Access { path, detail });
            }
            Err(Refusal::Other(error)) => return Err(error),
        };
        Ok(Self {
            connection,
            seal,
            chain,
            key_file: key::path(section),
            outbox_limit: section.outbox_limit.get(),
            audit_days: section.audit_days.get(),
        })
    }

    /// Reads the whole database, the audit trail included, and tells what is wrong with it.
    ///
    /// Opening looks at the gallery and the outbox alone, because the trail may be long.
    pub fn check(&self) -> Result<(), StoreError> {
        match quick_check(&self.connection, None)? {
            None => Ok(()),
            Some(detail) => Err(StoreError::Broken(detail)),
        }
    }

    /// The file with the key that seals this database.
    pub fn key_file(&self) -> &Path {
        &self.key_file
    }

    fn counter(&self, name: &str) -> Result<u64, StoreError> {
        let sql = "select value from counter where name = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement
            .query_row([name], |row| row.get::<_, i64>(0))?
            .cast_unsigned())
    }
}

/// Why a database cannot be opened.
enum Refusal {
    Damaged(String),
    Access(String),
    Other(StoreError),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged(error.to_string())
            }
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) => Self::Access(error.to_string()),
            _ => Self::Other(error.into()),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Broken(detail) => Self::Damaged(detail),
            StoreError::Sqlite(error) => error.into(),
            other => Self::Other(other),
        }
    }
}

/// Makes the folder and an empty file that only their owner can read. Refuses to where a damaged
/// database has been put aside.
fn create(path: &Path) -> Result<(), StoreError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause| StoreError::File { path, cause }
    };
    if path.try_exists().map_err(failed(path))? {
        return Ok(());
    }
    let folder = folder_of(path);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed(folder))?;
    if let Some(aside) = find_aside(path).map_err(failed(folder))? {
        return Err(StoreError::PutAside {
            path: path.into(),
            aside,
        });
    }
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(failed(path))?;
    Ok(())
}

fn connect(section: &StoreSection) -> Result<(Connection, Seal, Chain), Refusal> {
    let path = section.path.as_path();
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    if connection.is_readonly(MAIN_DB)? {
        return Err(Refusal::Access("it may only be read".to_owned()));
    }
    let found = upgrade::version(&connection)?;
    let mark: u32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: u32 =
        connection.query_row("select count(*) from sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && mark != upgrade::APPLICATION_ID {
        return Err(Refusal::Other(StoreError::Foreign { path: path.into() }));
    }
    let known = upgrade::latest();
    if found > known {
        return Err(Refusal::Other(StoreError::Newer {
            path: path.into(),
            found,
            known,
        }));
    }
    let seal = key::obtain(section, upgrade::is_sealed(found))
        .and_then(Seal::new)
        .map_err(StoreError::from)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "journal_size_limit", LOG_LIMIT)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Nothing plain stays in free pages, and none goes to a temporary file but in a scrub.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    upgrade::upgrade(&mut connection, &seal)?;
    for table in [
        "subject",
        "template",
        "outbox",
        "counter",
        "secret",
        "chain_end",
        "door",
        "refusal",
    ] {
        if let Some(detail) = quick_check(&connection, Some(table))? {
            return Err(Refusal::Damaged(detail));
        }
    }
    let (seal, chain) = rekey::open(&connection, seal, &key::path(section))?;
    Ok((connection, seal, chain))
}

/// A transaction that may write from its first statement on.
fn immediate(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    let begun = Transaction::new_unchecked(connection, TransactionBehavior::Immediate);
    let busy = begun.as_ref().is_err_and(is_busy);
    connection.busy_timeout(if busy { STILL_BUSY } else { BUSY })?;
    begun
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// The first fault that SQLite finds in `table`, or in the whole file.
fn quick_check(connection: &Connection, table: Option<&str>) -> rusqlite::Result<Option<String>> {
    let sql = match table {
        Some(_) => "select * from pragma_quick_check(?1)",
        None => "select * from pragma_quick_check",
    };
    let mut statement = connection.prepare(sql)?;
    let verdict: String =
        statement.query_row(rusqlite::params_from_iter(table), |row| row.get(0))?;
    Ok((verdict != "ok").then_some(verdict))
}

/// Renames the database and what SQLite keeps beside it.
fn put_aside(path: &Path, detail: String, now: Timestamp) -> StoreError {
    let suffix = format!(".corrupt-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let aside = with_suffix(path, &suffix);
    for part in ["", "-wal", "-shm"] {
        let (from, to) = (with_suffix(path, part), with_suffix(&aside, part));
        match std::fs::rename(&from, to) {
            Err(error) if part.is_empty() => {
                return StoreError::File {
                    path: from,
                    cause: error,
                };
            }
            // The parts beside it need not be there.
            _ => {}
        }
    }
    StoreError::Damaged {
        path: path.into(),
        aside,
        detail,
    }
}

/// A damaged database that was put aside from `path` and still lies there.
fn find_aside(path: &Path) -> std::io::Result<Option<PathBuf>> {
    let Some(name) = path.file_name() else {
        return Ok(None);
    };
    let prefix = format!("{}.corrupt-", name.to_string_lossy());
    let mut found = None;
    for entry in std::fs::read_dir(folder_of(path))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let part = name.ends_with("-wal") || name.ends_with("-shm");
        if name.starts_with(&prefix) && !part {
            found = found.max(Some(entry.path()));
        }
    }
    Ok(found)
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::sample;

    #[test]
    fn a_writer_that_keeps_everybody_waiting_is_waited_for_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("doorward.db");
        let section = StoreSection {
            path: path.clone(),
            ..StoreSection::default()
        };
        let mut store = Store::open(&section, Timestamp::UNIX_EPOCH).unwrap();
        let patience = |store: &Store| {
            let wait = store
                .connection
                .pragma_query_value(None, "busy_timeout", |row| row.get::<_, u32>(0));
            Duration::from_millis(wait.unwrap().into())
        };
        assert_eq!(patience(&store), BUSY);
        store.connection.busy_timeout(Duration::ZERO).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("begin immediate").unwrap();
        for _ in 0..2 {
            let error = store.record(sample(1), true).unwrap_err();
            assert!(matches!(error, StoreError::Busy), "{error}");
            assert_eq!(patience(&store), STILL_BUSY);
        }
        other.execute_batch("rollback").unwrap();
        store.record(sample(1), true).unwrap();
        assert_eq!(patience(&store), BUSY);
    }
}
