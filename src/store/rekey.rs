//! A new key for the database and all that is sealed in it.
//!
//! The new key lies beside the old one before the database is sealed anew, and takes its place
//! afterwards; whenever the power goes, one of the two opens the database.

use std::path::Path;

use rusqlite::{Connection, params};

use super::chain::Chain;
use super::key::{self, KeyError};
use super::seal::{Seal, from_bytes, place, to_bytes};
use super::{Store, StoreError, immediate};
use crate::gallery::ModelId;

impl Store {
    /// Makes a new key, turns and seals every template by it, and wipes the old bytes. Returns the
    /// number of templates.
    ///
    /// What somebody took from this database before does not match what is in it now. A copy of
    /// the old key and the old database together are worth as much as before.
    pub fn rekey(&mut self) -> Result<usize, StoreError> {
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
        self.scrub()?;
        Ok(templates)
    }
}

/// The key that opens `secret`: `seal`, or the one that was to follow it when the power went.
pub(super) fn open(seal: Seal, secret: &[u8], key_file: &Path) -> Result<(Seal, Chain), KeyError> {
    if let Some(chain) = Chain::open(&seal, secret) {
        return Ok((seal, chain));
    }
    if let Some(next) = key::read(&key::next(key_file))? {
        let seal = Seal::new(next)?;
        if let Some(chain) = Chain::open(&seal, secret) {
            key::install(key_file)?;
            return Ok((seal, chain));
        }
    }
    Err(KeyError::Wrong(key_file.into()))
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
        (*seal, _) = open(Seal::new(key)?, &secret, key_file)?;
    }
    Ok(())
}

/// The sealed key of the audit chain, which every right key opens.
pub(super) fn secret(connection: &Connection) -> rusqlite::Result<Vec<u8>> {
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
    transaction.execute("update counter set value = 1 where name = 'scrub_due'", [])?;
    transaction.commit()?;
    Ok(rows.len())
}
