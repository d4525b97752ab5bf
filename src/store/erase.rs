//! Removing people so that nothing of them is left in any file.
//!
//! Deleted rows are overwritten (`secure_delete`), but copies that SQLite made when it moved rows
//! between pages are not, nor is the write-ahead log. So a removal ends with a *scrub*, which
//! writes the database anew and empties the log, for which the disk needs twice the database's size
//! meanwhile. It is due until it has been done: one that was cut short is made up for when the
//! database is opened the next time. In the audit trail a name gives way to a veil, which
//! says nothing and keeps the chain whole (`chain.rs`).

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::chain::{Chain, escaped};
use super::{Store, StoreError, SubjectName, folder_of, immediate};

/// Makes a scrub due, and tells it from those that were due before.
pub(super) const SCRUB_DUE: &str = "update counter set value = value + 1 where name = 'scrub_due'";

impl Store {
    /// Removes a subject: templates, names, and the names in the audit trail.
    ///
    /// # Errors
    /// [`StoreError::Traces`]: the subject is removed, but old bytes may be left in a file until
    /// the next start. All others: nothing has been changed.
    pub fn remove(&mut self, name: &SubjectName) -> Result<(), StoreError> {
        let Self {
            connection, chain, ..
        } = self;
        let transaction = immediate(connection)?;
        let sql = "select id, named_at from subject where name = ?1";
        let found = transaction
            .query_row(sql, [name.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((subject, named_at)) = found else {
            return Err(StoreError::NoSuchSubject(name.to_string()));
        };
        for (name, since, until) in names_of(&transaction, subject, name, named_at)? {
            veil(&transaction, chain, &name, since, until)?;
        }
        transaction.execute("delete from subject where id = ?1", [subject])?;
        transaction.execute(SCRUB_DUE, [])?;
        transaction.commit()?;
        self.scrub().map_err(|error| StoreError::Traces {
            name: name.to_string(),
            detail: error.to_string(),
        })
    }

    /// Wipes what deleted rows have left in the files, when that is due.
    pub(super) fn scrub(&self) -> Result<(), StoreError> {
        let due = self.counter("scrub_due")?;
        if due == 0 {
            return Ok(());
        }
        rewrite(&self.connection)?;
        empty_log(&self.connection)?;
        // What another process has removed meanwhile may have been copied before: it stays due.
        let sql = "update counter set value = 0 where name = 'scrub_due' and value = ?1";
        self.connection.execute(sql, [due.cast_signed()])?;
        Ok(())
    }
}

/// Writes the database anew, by way of a copy of what is still in it. That may be too large for the
/// memory of a small device and goes to a file beside the database. It has no name: nobody can open
/// it, and it is gone when the process is.
fn rewrite(connection: &Connection) -> rusqlite::Result<()> {
    let folder = connection.path().map(|path| folder_of(Path::new(path)));
    if let Some(folder) = folder.and_then(Path::to_str) {
        // Of the whole process; other folders for such files may be in memory as well.
        connection.pragma_update(None, "temp_store_directory", folder)?;
    }
    connection.pragma_update(None, "temp_store", "file")?;
    let done = connection.execute_batch("vacuum");
    connection.pragma_update(None, "temp_store", "memory")?;
    done
}

/// Brings the write-ahead log into the database and cuts it off.
fn empty_log(connection: &Connection) -> Result<(), StoreError> {
    let busy: i64 =
        connection.query_row("pragma wal_checkpoint(truncate)", [], |row| row.get(0))?;
    if busy == 0 {
        Ok(())
    } else {
        Err(StoreError::Busy)
    }
}

/// Every name that a subject has had, and between which events.
fn names_of(
    transaction: &Transaction<'_>,
    subject: i64,
    name: &SubjectName,
    named_at: i64,
) -> rusqlite::Result<Vec<(String, i64, i64)>> {
    let mut former =
        transaction.prepare("select name, since, until from former_name where subject_id = ?1")?;
    let rows = former.query_map([subject], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let now = Ok((name.to_string(), named_at, i64::MAX));
    rows.chain([now]).collect()
}

/// Takes `name` out of the events after `since` up to `until`.
fn veil(
    transaction: &Transaction<'_>,
    chain: &Chain,
    name: &str,
    since: i64,
    until: i64,
) -> Result<(), StoreError> {
    let name = escaped(name);
    let mut events = transaction.prepare(
        "select seq from event \
         where seq > ?1 and seq <= ?2 and instr(json, '\"' || ?3 || '\"') > 0",
    )?;
    let numbers = events.query_map(params![since, until, name], |row| row.get(0))?;
    // Their numbers alone: a device's memory need not hold all events of a person.
    let numbers: Vec<i64> = numbers.collect::<Result<_, _>>()?;
    let mut read = transaction.prepare("select event_id, json from event where seq = ?1")?;
    let mut write = transaction.prepare("update event set json = ?2 where seq = ?1")?;
    for seq in numbers {
        let (event_id, json): (String, String) =
            read.query_row([seq], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let json = chain.without(&event_id, &json, |other| other == name);
        write.execute(params![seq, json])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::config::StoreSection;

    #[test]
    fn a_scrub_that_is_due_waits_for_who_has_time() {
        let folder = tempfile::tempdir().unwrap();
        let section = StoreSection {
            path: folder.path().join("doorward.db"),
            ..StoreSection::default()
        };
        let now = Timestamp::UNIX_EPOCH;
        let store = Store::open(&section, now).unwrap();
        store
            .connection
            .execute("update counter set value = 1 where name = 'scrub_due'", [])
            .unwrap();
        let due = |store: &Store| store.counter("scrub_due").unwrap();
        assert_eq!(due(&Store::open_at_once(&section, now).unwrap()), 1);
        let store = Store::open(&section, now).unwrap();
        assert_eq!(due(&store), 0);
        let temporary = store
            .connection
            .pragma_query_value(None, "temp_store", |row| row.get::<_, u8>(0));
        assert_eq!(temporary, Ok(2), "in memory again");
    }
}
