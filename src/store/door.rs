//! What the door remembers: that it is held shut, and the refusals of a lock-out.

use std::time::Duration;

use rusqlite::params;

use super::{Store, StoreError, immediate};

/// Refusals that are remembered: of whom (empty for the door as a whole), how many, and the wait
/// that the last one brought.
pub type RememberedRefusals = (String, u32, Duration);

impl Store {
    /// Whether the door is held shut.
    pub fn door_is_held(&self) -> Result<bool, StoreError> {
        let sql = "select held from door";
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    /// Remembers that the door is held shut, or no longer.
    pub fn hold_door(&mut self, held: bool) -> Result<(), StoreError> {
        let transaction = immediate(&mut self.connection)?;
        transaction.execute("update door set held = ?1", [held])?;
        Ok(transaction.commit()?)
    }

    /// All refusals that are remembered.
    pub fn refusals(&self) -> Result<Vec<RememberedRefusals>, StoreError> {
        let mut statement = self
            .connection
            .prepare("select key, count, wait_ms from refusal order by key")?;
        let rows = statement.query_map([], |row| {
            let wait: i64 = row.get(2)?;
            let wait = Duration::from_millis(wait.cast_unsigned());
            Ok((row.get(0)?, row.get(1)?, wait))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Remembers changes of refusals, all or none; `None` forgets the key. Of somebody who is not
    /// enrolled (any more) nothing is kept.
    pub fn remember_refusals(
        &mut self,
        changes: &[(String, Option<(u32, Duration)>)],
    ) -> Result<(), StoreError> {
        let transaction = immediate(&mut self.connection)?;
        for (key, refusals) in changes {
            let Some((count, wait)) = refusals else {
                transaction.execute("delete from refusal where key = ?1", [key])?;
                continue;
            };
            let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            transaction.execute(
                "insert into refusal (key, count, wait_ms) select ?1, ?2, ?3 \
                 where ?1 = '' or exists (select 1 from subject where name = ?1) \
                 on conflict (key) do update set count = ?2, wait_ms = ?3",
                params![key, count, wait],
            )?;
        }
        Ok(transaction.commit()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StoreSection;
    use crate::face::Embedding;
    use crate::gallery::{ModelId, Template};
    use crate::store::SubjectName;
    use jiff::Timestamp;

    fn enrol(store: &mut Store, name: &str) -> SubjectName {
        let name = SubjectName::new(name).unwrap();
        let face = Embedding::new(vec![1.0; 4]);
        let template = Template::new(&face, ModelId("m".to_owned()));
        store
            .enrol(&name, &[template], "photo", Timestamp::UNIX_EPOCH)
            .unwrap();
        name
    }

    #[test]
    fn the_door_and_its_refusals_outlive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let section = StoreSection {
            path: folder.path().join("doorward.db"),
            ..StoreSection::default()
        };
        let open = || Store::open(&section, Timestamp::UNIX_EPOCH).unwrap();
        let mut store = open();
        assert!(!store.door_is_held().unwrap() && store.refusals().unwrap().is_empty());
        store.hold_door(true).unwrap();
        enrol(&mut store, "ada");
        let refusals = |count, seconds| Some((count, Duration::from_secs(seconds)));
        let first = [
            (String::new(), refusals(1, 0)),
            ("nobody".to_owned(), refusals(1, 0)),
            ("ada".to_owned(), refusals(3, 5)),
        ];
        store.remember_refusals(&first).unwrap();
        let second = [(String::new(), None), ("ada".to_owned(), refusals(4, 10))];
        open().remember_refusals(&second).unwrap();
        let store = open();
        assert!(store.door_is_held().unwrap());
        let kept = store.refusals().unwrap();
        assert_eq!(kept, [("ada".to_owned(), 4, Duration::from_secs(10))]);
    }

    #[test]
    fn a_name_that_goes_takes_its_refusals_along() {
        let folder = tempfile::tempdir().unwrap();
        let section = StoreSection {
            path: folder.path().join("doorward.db"),
            ..StoreSection::default()
        };
        let mut store = Store::open(&section, Timestamp::UNIX_EPOCH).unwrap();
        let ada = enrol(&mut store, "ada");
        let countess = SubjectName::new("countess").unwrap();
        let refusals = [("ada".to_owned(), Some((1, Duration::ZERO)))];
        store.remember_refusals(&refusals).unwrap();
        store.rename(&ada, &countess).unwrap();
        assert_eq!(store.refusals().unwrap()[0].0, "countess");
        store.remove(&countess).unwrap();
        assert!(store.refusals().unwrap().is_empty());
    }
}
