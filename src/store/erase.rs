//! Removing people so that nothing of them is left in any file.
//!
//! Deleted rows are overwritten (`secure_delete`), but copies that SQLite made when it moved rows
//! between pages are not, nor is the write-ahead log. So a removal ends with a *scrub*, which
//! writes the database anew and empties the log. It is due until it has been done: one that was cut
//! short is made up for at the next start. In the audit trail a name gives way to a veil, which
//! says nothing and keeps the chain whole (`chain.rs`).

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::chain::{Chain, escaped};
use super::{Store, StoreError, SubjectName, immediate};

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
        transaction.execute("update counter set value = 1 where name = 'scrub_due'", [])?;
        transaction.commit()?;
        self.scrub().map_err(|error| StoreError::Traces {
            name: name.to_string(),
            detail: error.to_string(),
        })
    }

    /// Wipes what deleted rows have left in the files, when that is due.
    pub(super) fn scrub(&self) -> Result<(), StoreError> {
        if self.counter("scrub_due")? == 0 {
            return Ok(());
        }
        self.connection.execute_batch("vacuum")?;
        empty_log(&self.connection)?;
        let sql = "update counter set value = 0 where name = 'scrub_due'";
        self.connection.execute(sql, [])?;
        Ok(())
    }
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
        "select seq, event_id, json from event \
         where seq > ?1 and seq <= ?2 and instr(json, '\"' || ?3 || '\"') > 0",
    )?;
    let mut rows = events.query(params![since, until, name])?;
    let mut changed = Vec::new();
    while let Some(row) = rows.next()? {
        let (seq, event_id, json): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let json = chain
            .without(&event_id, &json, |other| other == name)
            .into_owned();
        changed.push((seq, json));
    }
    for (seq, json) in changed {
        transaction.execute(
            "update event set json = ?2 where seq = ?1",
            params![seq, json],
        )?;
    }
    Ok(())
}
