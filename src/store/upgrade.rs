//! From any version of the database to the present one.

use rusqlite::Connection;

/// Marks a SQLite file as doorward's: "door" in ASCII.
pub(super) const APPLICATION_ID: u32 = 0x646f_6f72;

/// Step `i` brings version `i` to version `i + 1`; version 0 is an empty file.
const STEPS: &[&str] = &[include_str!("schema.sql")];

/// The version that this program reads and writes.
pub(super) fn latest() -> u32 {
    STEPS.len().try_into().unwrap_or(u32::MAX)
}

/// Walks the steps from `version` on, all or none. Another process may have walked them between
/// the caller's look and this; then there is nothing left to do.
pub(super) fn upgrade(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version = version(&transaction)?;
    let from = usize::try_from(version).unwrap_or(usize::MAX);
    for step in STEPS.iter().skip(from) {
        transaction.execute_batch(step)?;
    }
    if version < latest() {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", latest())?;
        log::info!("database: version {version} -> {}", latest());
    }
    transaction.commit()
}

/// The version of the file; 0 when nothing has been written yet.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}
