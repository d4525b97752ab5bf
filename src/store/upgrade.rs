//! From any version of the database to the present one.

use rusqlite::{Connection, Transaction, params};

use super::audit;
use super::chain::Chain;
use super::seal::{Seal, place, to_bytes};
use super::{StoreError, immediate, key};
use crate::gallery::{ModelId, Template};

/// Marks a SQLite file as doorward's: "door" in ASCII.
pub(super) const APPLICATION_ID: u32 = 0x646f_6f72;

/// From this version on a database cannot be read without its key.
const SEALED: u32 = 2;

/// What brings a database from one version to the next: statements, then what they cannot say.
struct Step {
    sql: &'static str,
    code: Option<Code>,
}

type Code = fn(&Transaction<'_>, &Seal) -> Result<(), StoreError>;

impl Step {
    const fn sql(sql: &'static str) -> Self {
        Self { sql, code: None }
    }
}

/// Step `i` brings version `i` to version `i + 1`; version 0 is an empty file.
const STEPS: &[Step] = &[
    Step::sql(include_str!("schema.sql")),
    Step {
        sql: include_str!("schema-2.sql"),
        code: Some(seal_and_chain),
    },
    Step::sql(include_str!("door.sql")),
    Step::sql(include_str!("commands.sql")),
];

/// The version that this program reads and writes.
pub(super) fn latest() -> u32 {
    STEPS.len().try_into().unwrap_or(u32::MAX)
}

/// Whether a database of `version` is sealed.
pub(super) fn is_sealed(version: u32) -> bool {
    version >= SEALED
}

/// Walks the steps from the database's version on, all or none. Another process may have walked
/// them between the caller's look and this; then there is nothing left to do.
pub(super) fn upgrade(connection: &mut Connection, seal: &Seal) -> Result<(), StoreError> {
    let transaction = immediate(connection)?;
    let version = version(&transaction)?;
    let from = usize::try_from(version).unwrap_or(usize::MAX);
    for step in STEPS.iter().skip(from) {
        transaction.execute_batch(step.sql)?;
        if let Some(code) = step.code {
            code(&transaction, seal)?;
        }
    }
    if version < latest() {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", latest())?;
        log::info!("database: version {version} -> {}", latest());
    }
    Ok(transaction.commit()?)
}

/// The version of the file; 0 when nothing has been written yet.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Seals the plain templates of version 1, and chains its audit trail.
fn seal_and_chain(transaction: &Transaction<'_>, seal: &Seal) -> Result<(), StoreError> {
    let sealed = seal.seal(key::random::<32>()?.as_slice(), Chain::SECRET)?;
    let chain = Chain::open(seal, &sealed).ok_or(StoreError::Sealed("the audit key".to_owned()))?;
    transaction.execute(
        "insert into secret (name, sealed) values (?1, ?2)",
        params![Chain::SECRET, sealed],
    )?;
    let mut plain = transaction.prepare(
        "select t.id, subject_id, name, model_id, scale, vector, source, t.created \
         from plain_template t join subject s on s.id = subject_id",
    )?;
    let mut rows = plain.query([])?;
    while let Some(row) = rows.next()? {
        let (id, name): (i64, String) = (row.get(0)?, row.get(2)?);
        let model_id = ModelId(row.get(3)?);
        let vector: Vec<u8> = row.get(5)?;
        // Widened from f32 when it was written: nothing is lost.
        #[expect(clippy::cast_possible_truncation)]
        let scale = row.get::<_, f64>(4)? as f32;
        let template = Template {
            model_id: model_id.clone(),
            scale,
            values: vector.into_iter().map(u8::cast_signed).collect(),
        };
        let turn = seal.turn(&model_id, template.values.len())?;
        let bytes = to_bytes(&turn.turned(&template));
        transaction.execute(
            "insert into template (id, subject_id, model_id, sealed, source, created) \
             values (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                id,
                row.get::<_, i64>(1)?,
                model_id.0,
                seal.seal(&bytes, &place(id, &model_id.0, &name))?,
                row.get::<_, String>(6)?,
                row.get::<_, String>(7)?,
            ],
        )?;
    }
    drop(rows);
    drop(plain);
    transaction.execute("drop table plain_template", [])?;
    let first: i64 = transaction.query_row(
        "select coalesce((select min(seq) - 1 from event), value) from counter \
         where name = 'event_seq'",
        [],
        |row| row.get(0),
    )?;
    audit::begin(transaction, &chain, first)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::config::StoreSection;
    use crate::event::sample;
    use crate::face::Embedding;
    use crate::gallery::Metric;
    use crate::store::{Store, SubjectName};

    #[test]
    fn a_database_of_version_1_is_sealed_and_its_plain_templates_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("doorward.db");
        let values: Vec<i8> = (0..=127).map(|i: i8| i.wrapping_mul(73) | 1).collect();
        let vector: Vec<u8> = values.iter().map(|v| v.cast_unsigned()).collect();
        {
            let old = Connection::open(&path).unwrap();
            old.execute_batch(include_str!("schema.sql")).unwrap();
            old.pragma_update(None, "application_id", APPLICATION_ID)
                .unwrap();
            old.pragma_update(None, "user_version", 1).unwrap();
            old.execute(
                "insert into subject (name, created) values ('Ada', '2026-01-01T00:00:00Z')",
                [],
            )
            .unwrap();
            old.execute(
                "insert into template (subject_id, model_id, scale, vector, source, created) \
                 values (1, 'm', 0.01, ?1, 'photo', '2026-01-01T00:00:00Z')",
                [&vector],
            )
            .unwrap();
            for seq in [3, 4] {
                let json = serde_json::to_string(&sample(seq)).unwrap();
                old.execute(
                    "insert into event values (?1, ?2, 0, 1, ?3)",
                    params![seq, sample(seq).event_id, json],
                )
                .unwrap();
            }
            old.execute("update counter set value = 4 where name = 'event_seq'", [])
                .unwrap();
            old.execute("insert into outbox values (4)", []).unwrap();
        }
        let holds = |needle: &[u8]| {
            std::fs::read_dir(folder.path()).unwrap().any(|file| {
                let bytes = std::fs::read(file.unwrap().path()).unwrap();
                bytes.windows(needle.len()).any(|window| window == needle)
            })
        };
        assert!(holds(&vector));

        let section = StoreSection {
            path,
            ..StoreSection::default()
        };
        let mut store = Store::open(&section, Timestamp::UNIX_EPOCH).unwrap();
        assert!(!holds(&vector), "the plain template is still in a file");
        let before = Template::new(
            &Embedding::new(values.iter().map(|&v| f32::from(v)).collect()),
            ModelId("m".to_owned()),
        );
        let found = store.templates(&before.model_id).unwrap();
        assert_eq!(found[0].0, "Ada");
        let embedding = found[0].1.embedding();
        let pairs = embedding
            .values()
            .iter()
            .zip(before.embedding().values().to_vec());
        let cosine: f32 = pairs.map(|(a, b)| a * b).sum();
        assert!(cosine > 0.9995, "{cosine}");
        assert!(Metric::Cosine.survives_a_turn());
        assert_eq!(store.pending(10).unwrap().len(), 1);
        store.record(sample(5), false).unwrap();
        let audit = store.verify_audit().unwrap();
        assert_eq!((audit.lines, audit.breaks.len()), (3, 0), "{audit:?}");
        store.remove(&SubjectName::new("Ada").unwrap()).unwrap();
    }
}
