//! A new key for the database and all that is sealed in it.
//!
//! The new key lies beside the old one before the database is sealed anew, and takes its place
//! afterwards; whenever the power goes, one of the two opens the database.

use std::path::Path;

use rusqlite::{Connection, params};

use super::chain::Chain;
use super::erase::SCRUB_DUE;
use super::key::{self, KeyError};
use super::seal::{Seal, from_bytes, place, to_bytes};
use super::{Store, StoreError, immediate};
use crate::gallery::ModelId;

/// How often database and key are looked at until they belong together: other processes may be
/// changing them, each time between the two looks.
const LOOKS: usize = 5;

impl Store {
    /// Makes a new key, turns and seals every template by it, and wipes the old bytes. Returns the
    /// number of templates.
    ///
    /// What somebody took from this database before does not match what is in it now. A copy of
    /// the old key and the old database together are worth as much as before.
    ///
    /// Another `rekey` at the same time waits: the key that lies ready is the one of the database.
    pub fn rekey(&mut self) -> Result<usize, StoreError> {
        let _alone = key::alone(&self.key_file)?;
        // A key that could not be put in its place the last time is the database's all the same.
        if successor(&secret(&self.connection)?, &self.key_file)?.is_some() {
            key::install(&self.key_file)?;
        }
        let fresh = key::random()?;
        key::prepare(&self.key_file, &fresh)?;
        let fresh = Seal::new(fresh)?;
        let Self {
            connection,
            chain,
            seal,
            key_file,
            ..
        } = self;
        let templates = seal_anew(connection, chain, (seal, key_file), &fresh)?;
        self.seal = fresh;
        key::install(&self.key_file)?;
        // The new key holds all the same, and whoever asked for it has to hear so.
        if let Err(error) = self.scrub() {
            log::warn!(
                "old bytes in the database are not wiped yet, but when doorward starts the next time: {error}"
            );
        }
        Ok(templates)
    }
}

/// The key that opens the database: `seal`, one that another process has made since it was read, or
/// the one that was to follow it when the power went.
pub(super) fn open(
    connection: &Connection,
    mut seal: Seal,
    key_file: &Path,
) -> Result<(Seal, Chain), StoreError> {
    for _ in 0..LOOKS {
        let secret = secret(connection)?;
        if let Some(chain) = Chain::open(&seal, &secret) {
            return Ok((seal, chain));
        }
        // Whoever is at a `rekey` puts the next key in its place.
        let alone = key::alone_at_once(key_file)?;
        if let Some(parts) = successor(&secret, key_file)? {
            if alone.is_some() {
                key::install(key_file)?;
            }
            return Ok(parts);
        }
        // It may be there since.
        let key = key::read(key_file)?.ok_or_else(|| KeyError::Lost(key_file.into()))?;
        seal = Seal::new(key)?;
    }
    Err(KeyError::Wrong(key_file.into()).into())
}

/// The key that lies ready, if it is the one that opens `secret`.
fn successor(secret: &[u8], key_file: &Path) -> Result<Option<(Seal, Chain)>, KeyError> {
    let Some(next) = key::read(&key::next(key_file))? else {
        return Ok(None);
    };
    let seal = Seal::new(next)?;
    Ok(Chain::open(&seal, secret).map(|chain| (seal, chain)))
}

/// Takes the key anew when another process has changed it since `seal` was made. Within a write
/// transaction it stays the right one.
pub(super) fn renew(
    connection: &Connection,
    seal: &mut Seal,
    key_file: &Path,
) -> Result<(), StoreError> {
    let secret = secret(connection)?;
    if Chain::open(seal, &secret).is_none() {
        let key = key::read(key_file)?.ok_or_else(|| KeyError::Lost(key_file.into()))?;
        (*seal, _) = open(connection, Seal::new(key)?, key_file)?;
    }
    Ok(())
}

/// The sealed key of the audit chain, which every right key opens.
fn secret(connection: &Connection) -> rusqlite::Result<Vec<u8>> {
    let sql = "select sealed from secret where name = ?1";
    connection.query_row(sql, [Chain::SECRET], |row| row.get(0))
}

fn seal_anew(
    connection: &mut Connection,
    chain: &Chain,
    (old, key_file): (&mut Seal, &Path),
    fresh: &Seal,
) -> Result<usize, StoreError> {
    let transaction = immediate(connection)?;
    renew(&transaction, old, key_file)?;
    let mut templates = transaction.prepare(
        "select template.id, model_id, name, sealed from template \
         join subject on subject.id = subject_id",
    )?;
    let rows = templates.query_map([], |row| {
        Ok((row.get(0)?, ModelId(row.get(1)?), row.get(2)?, row.get(3)?))
    })?;
    let rows: Vec<(i64, ModelId, String, Vec<u8>)> = rows.collect::<Result<_, _>>()?;
    drop(templates);
    for (id, model, name, sealed) in &rows {
        let place = place(*id, &model.0, name);
        let bytes = old.open(sealed, &place);
        let template = bytes.and_then(|bytes| from_bytes(&bytes, model));
        let template =
            template.ok_or_else(|| StoreError::Sealed(format!("a template of {name}")))?;
        let size = template.values.len();
        let plain = old.turn(model, size)?.turned_back(&template);
        let turned = fresh.turn(model, size)?.turned(&plain);
        transaction.execute(
            "update template set sealed = ?2 where id = ?1",
            params![id, fresh.seal(&to_bytes(&turned), &place)?],
        )?;
    }
    let sql = "update secret set sealed = ?2 where name = ?1";
    transaction.execute(sql, params![Chain::SECRET, chain.sealed(fresh)?])?;
    transaction.execute(SCRUB_DUE, [])?;
    transaction.commit()?;
    Ok(rows.len())
}
