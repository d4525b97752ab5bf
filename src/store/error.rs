//! What can go wrong with the database, and what to do about it.

use std::path::PathBuf;

use rusqlite::ErrorCode;

use super::key::KeyError;

/// Why the store could not do what was asked. Nothing has been changed when one is returned.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or the file could not be made or read.
    #[error("cannot use the database {}: {cause}; the user that runs doorward needs a folder \
             of its own there, which the service's unit makes, or another [store] path; the service \
             may write elsewhere only with ReadWritePaths= in its unit", path.display())]
    File {
        /// The database, or its folder.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// SQLite may not use the file, or what it keeps beside it.
    #[error("cannot open the database {} for writing ({detail}); it has to be a file that belongs, \
             with its folder and the -wal and -shm beside it, to the user that runs doorward: \
             `ls -la` of the folder shows whose they are, and `chown` gives them. The service may \
             write elsewhere than in /var/lib/doorward only with ReadWritePaths= in its unit", path.display())]
    Access {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        detail: String,
    },
    /// The file is no database, or a broken one. It has been put aside.
    #[error("the database {} is damaged ({detail}). It has been put aside as {} and not been \
             changed. Restore a backup to {}, or, to begin with an empty gallery, move {} away \
             and enrol everybody anew",
            path.display(), aside.display(), path.display(), aside.display())]
    Damaged {
        /// Where the database was.
        path: PathBuf,
        /// Where it is now; files that SQLite kept beside it moved with it.
        aside: PathBuf,
        /// What SQLite found.
        detail: String,
    },
    /// An earlier start found a damaged database, and nobody has decided yet.
    #[error("there is no database {}, because it was damaged and has been put aside as {}. \
             Restore a backup to {}, or, to begin with an empty gallery, move {} away and enrol \
             everybody anew", path.display(), aside.display(), path.display(), aside.display())]
    PutAside {
        /// Where the database was.
        path: PathBuf,
        /// Where it is now.
        aside: PathBuf,
    },
    /// A SQLite database of another program.
    #[error("{} is a database, but not one of doorward's; [store] path has to name another \
             file", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A database of a later doorward.
    #[error("the database {} has version {found}, and this doorward knows versions up to \
             {known}; install the doorward that wrote it, or restore a backup", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The latest version that this program knows.
        known: u32,
    },
    /// Nothing can be written.
    #[error(
        "the disk that holds the database is full or cannot be written ({0}); nothing that \
             was stored is lost; free some space, or lower [store] audit_days"
    )]
    Full(String),
    /// Another process kept the database locked.
    #[error("another process has been writing to the database for too long; try again")]
    Busy,
    /// Another daemon holds the database.
    #[error(
        "another `doorward run` uses this database and holds {}; stop it (`systemctl stop doorward` \
         where it is the service), or give this one a [store] path of its own", path.display()
    )]
    Taken {
        /// The file that it has locked.
        path: PathBuf,
    },
    /// Damage found while running.
    #[error(
        "the database is damaged ({0}); stop doorward and start it again: it then puts the \
             file aside and says what to do"
    )]
    Broken(String),
    /// No key, or not the right one.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Sealed bytes that do not open.
    #[error(
        "{0} is not as it was sealed: it has been changed, or put in another's place. Restore a \
         backup of the database, or remove that person and enrol them again"
    )]
    Sealed(String),
    /// A removal whose last step failed.
    #[error(
        "{name} is removed, but old bytes may be left in the database's files ({detail}); they \
         are wiped when doorward starts the next time, or by `doorward gallery list`"
    )]
    Traces {
        /// Who was removed.
        name: String,
        /// What went wrong.
        detail: String,
    },
    /// Templates of another model; the store never gives them.
    #[error(transparent)]
    Model(#[from] crate::gallery::ModelMismatch),
    /// Any other failure of SQLite.
    #[error("the database failed: {0}")]
    Sqlite(rusqlite::Error),
    /// Nobody of that name is enrolled.
    #[error("nobody is enrolled as \"{0}\"; `doorward gallery list` shows who is")]
    NoSuchSubject(String),
    /// The name is taken.
    #[error("\"{0}\" is enrolled already; remove that subject first, or choose another name")]
    NameTaken(String),
    /// Enrolment without a face.
    #[error("\"{0}\" cannot be enrolled without a template")]
    NoTemplates(String),
    /// A template that cannot be compared with the others of its model.
    #[error(
        "a template of \"{0}\" has another length than the others of its model; it is damaged or \
         of another device's model"
    )]
    Size(String),
    /// An event that cannot be kept: its time is no RFC 3339 time, or it has no JSON form.
    #[error("the event {event_id} cannot be recorded: {detail}")]
    Event {
        /// Which.
        event_id: String,
        /// Why.
        detail: String,
    },
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => Self::Full(error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Broken(error.to_string())
            }
            _ => Self::Sqlite(error),
        }
    }
}
