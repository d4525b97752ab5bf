//! Subjects and templates.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};

use super::{Store, StoreError, SubjectName};
use crate::gallery::{ModelId, Template};

/// What an enrolment did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// The subject was not there before.
    pub new_subject: bool,
    /// Templates that the subject has now, of all models.
    pub templates: u32,
}

/// One line of the list of subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectSummary {
    /// The name.
    pub name: String,
    /// Templates per model.
    pub templates: Vec<(ModelId, u32)>,
    /// RFC 3339 time of the first enrolment.
    pub created: String,
}

impl Store {
    /// Adds templates to a subject, who is made when not there yet. `source` says where the faces
    /// came from.
    pub fn enrol(
        &mut self,
        name: &SubjectName,
        templates: &[Template],
        source: &str,
        now: Timestamp,
    ) -> Result<Enrolled, StoreError> {
        if templates.is_empty() {
            return Err(StoreError::NoTemplates(name.to_string()));
        }
        let created = now.to_string();
        let transaction = self.write()?;
        let sql = "insert into subject (name, created) values (?1, ?2) on conflict do nothing";
        let new_subject = transaction.execute(sql, params![name.as_str(), created])? > 0;
        let sql = "select id from subject where name = ?1";
        let subject: i64 = transaction.query_row(sql, [name.as_str()], |row| row.get(0))?;
        for template in templates {
            let Template {
                model_id,
                scale,
                values,
            } = template;
            let vector: Vec<u8> = values.iter().map(|v| v.cast_unsigned()).collect();
            transaction.execute(
                "insert into template (subject_id, model_id, scale, vector, source, created) \
                 values (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    subject,
                    model_id.0,
                    f64::from(*scale),
                    vector,
                    source,
                    created
                ],
            )?;
        }
        let sql = "select count(*) from template where subject_id = ?1";
        let templates = transaction.query_row(sql, [subject], |row| row.get(0))?;
        transaction.commit()?;
        Ok(Enrolled {
            new_subject,
            templates,
        })
    }

    /// Removes a subject and all templates.
    pub fn remove(&mut self, name: &SubjectName) -> Result<(), StoreError> {
        let transaction = self.write()?;
        if transaction.execute("delete from subject where name = ?1", [name.as_str()])? == 0 {
            return Err(StoreError::NoSuchSubject(name.to_string()));
        }
        Ok(transaction.commit()?)
    }

    /// Gives a subject another name.
    pub fn rename(&mut self, old: &SubjectName, new: &SubjectName) -> Result<(), StoreError> {
        let transaction = self.write()?;
        let sql = "select 1 from subject where name = ?1";
        let taken = transaction
            .query_row(sql, [new.as_str()], |_| Ok(()))
            .optional()?
            .is_some();
        if taken && old != new {
            return Err(StoreError::NameTaken(new.to_string()));
        }
        let sql = "update subject set name = ?2 where name = ?1";
        if transaction.execute(sql, [old.as_str(), new.as_str()])? == 0 {
            return Err(StoreError::NoSuchSubject(old.to_string()));
        }
        Ok(transaction.commit()?)
    }

    /// All subjects by name.
    pub fn list(&self) -> Result<Vec<SubjectSummary>, StoreError> {
        let mut statement = self.connection.prepare(
            "select name, subject.created, model_id, count(*) from subject \
             join template on template.subject_id = subject.id \
             group by subject.id, model_id order by name, model_id",
        )?;
        let mut rows = statement.query([])?;
        let mut subjects: Vec<SubjectSummary> = Vec::new();
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            let templates = (ModelId(row.get(2)?), row.get(3)?);
            match subjects.last_mut() {
                Some(last) if last.name == name => last.templates.push(templates),
                _ => subjects.push(SubjectSummary {
                    name,
                    templates: vec![templates],
                    created: row.get(1)?,
                }),
            }
        }
        Ok(subjects)
    }

    /// The templates of `model`, each with its subject's name, in the order of names.
    pub fn templates(&self, model: &ModelId) -> Result<Vec<(String, Template)>, StoreError> {
        let mut statement = self.connection.prepare(
            "select name, scale, vector from template join subject on subject.id = subject_id \
             where model_id = ?1 order by name, template.id",
        )?;
        let rows = statement.query_map([&model.0], |row| {
            let vector: Vec<u8> = row.get(2)?;
            let values = vector.into_iter().map(u8::cast_signed).collect();
            // Widened from f32 when it was written: nothing is lost.
            #[expect(clippy::cast_possible_truncation)]
            let scale = row.get::<_, f64>(1)? as f32;
            Ok((
                row.get(0)?,
                Template {
                    model_id: model.clone(),
                    scale,
                    values,
                },
            ))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Templates that `model` cannot read: after another model has come into use, their subjects
    /// have to be enrolled again.
    pub fn templates_of_other_models(&self, model: &ModelId) -> Result<u32, StoreError> {
        let sql = "select count(*) from template where model_id <> ?1";
        Ok(self
            .connection
            .query_row(sql, [&model.0], |row| row.get(0))?)
    }

    /// Grows with every change of subjects and templates, by this process or another.
    pub fn gallery_revision(&self) -> Result<u64, StoreError> {
        self.counter("gallery_revision")
    }

    /// A transaction that may write from its first statement on.
    pub(super) fn write(&mut self) -> rusqlite::Result<Transaction<'_>> {
        self.connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
    }
}
