//! Subjects and templates.
//!
//! At rest a template is turned by the device's secret and sealed. What comes in and goes out is
//! plain, but for [`Store::load`], which fills a gallery that compares turned templates.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};

use super::seal::{Seal, from_bytes, place, sealed_length, to_bytes};
use super::{Store, StoreError, SubjectName, immediate, rekey};
use crate::gallery::{Gallery, ModelId, Template};

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
        let transaction = immediate(&mut self.connection)?;
        rekey::renew(&transaction, &mut self.seal, &self.key_file)?;
        let enrolled = enrol(&transaction, &self.seal, name, templates, (source, now))?;
        transaction.commit()?;
        Ok(enrolled)
    }

    /// Enrols several subjects: all of them or, on an error, none.
    pub fn enrol_all(
        &mut self,
        people: &[(SubjectName, Vec<Template>)],
        source: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let transaction = immediate(&mut self.connection)?;
        rekey::renew(&transaction, &mut self.seal, &self.key_file)?;
        for (name, templates) in people {
            enrol(&transaction, &self.seal, name, templates, (source, now))?;
        }
        Ok(transaction.commit()?)
    }

    /// Gives a subject another name. The audit trail keeps the old one, and the store remembers
    /// that it was this subject's.
    pub fn rename(&mut self, old: &SubjectName, new: &SubjectName) -> Result<(), StoreError> {
        let Self {
            connection,
            seal,
            key_file,
            ..
        } = self;
        let transaction = immediate(connection)?;
        rekey::renew(&transaction, seal, key_file)?;
        let subject_of = |name: &SubjectName| {
            let sql = "select id from subject where name = ?1";
            let id = transaction.query_row(sql, [name.as_str()], |row| row.get::<_, i64>(0));
            id.optional()
        };
        let Some(subject) = subject_of(old)? else {
            return Err(StoreError::NoSuchSubject(old.to_string()));
        };
        if old == new {
            return Ok(());
        }
        if subject_of(new)?.is_some() {
            return Err(StoreError::NameTaken(new.to_string()));
        }
        transaction.execute(
            "insert into former_name (subject_id, name, since, until) \
             select subject.id, subject.name, named_at, value from subject, counter \
             where subject.id = ?1 and counter.name = 'event_seq'",
            [subject],
        )?;
        transaction.execute(
            "update subject set name = ?2, \
             named_at = (select value from counter where name = 'event_seq') where id = ?1",
            params![subject, new.as_str()],
        )?;
        reseal(&transaction, subject, |id, model, sealed| {
            let bytes = seal.open(sealed, &place(id, &model.0, old.as_str()))?;
            Some(seal.seal(&bytes, &place(id, &model.0, new.as_str())))
        })?;
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

    /// Fills `gallery` with the templates of its model: turned, where its metric allows, so that
    /// plain ones are not even in memory.
    pub fn load(&mut self, gallery: &mut Gallery) -> Result<(), StoreError> {
        rekey::renew(&self.connection, &mut self.seal, &self.key_file)?;
        let model = gallery.model_id().clone();
        let templates = self.turned_templates(&model)?;
        let Some(size) = templates.first().map(|(_, t)| t.values.len()) else {
            return Ok(gallery.fill(Vec::new())?);
        };
        if let Some((name, _)) = templates.iter().find(|(_, t)| t.values.len() != size) {
            return Err(StoreError::Sealed(format!("a template of {name}")));
        }
        let turn = self.seal.turn(&model, size)?;
        if gallery.metric().survives_a_turn() {
            return Ok(gallery.fill_turned(templates, turn)?);
        }
        let plain = |(name, template)| (name, turn.turned_back(&template));
        Ok(gallery.fill(templates.into_iter().map(plain).collect())?)
    }

    /// The plain templates of `model`, each with its subject's name, in the order of names. They
    /// are as they were enrolled but for the rounding to int8.
    pub fn templates(&self, model: &ModelId) -> Result<Vec<(String, Template)>, StoreError> {
        let plain = |(name, template): (String, Template)| {
            let turn = self.seal.turn(model, template.values.len())?;
            Ok((name, turn.turned_back(&template)))
        };
        let turned = self.turned_templates(model)?;
        turned.into_iter().map(plain).collect()
    }

    /// The templates of `model` as they are sealed.
    fn turned_templates(&self, model: &ModelId) -> Result<Vec<(String, Template)>, StoreError> {
        let mut statement = self.connection.prepare(
            "select name, template.id, sealed from template \
             join subject on subject.id = subject_id \
             where model_id = ?1 order by name, template.id",
        )?;
        let mut rows = statement.query([&model.0])?;
        let mut templates = Vec::new();
        while let Some(row) = rows.next()? {
            let (name, id): (String, i64) = (row.get(0)?, row.get(1)?);
            let sealed = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
            let bytes = self.seal.open(sealed, &place(id, &model.0, &name));
            let template = bytes.and_then(|bytes| from_bytes(&bytes, model));
            let template =
                template.ok_or_else(|| StoreError::Sealed(format!("a template of {name}")))?;
            templates.push((name, template));
        }
        Ok(templates)
    }

    /// Subjects without a template of `model`: after another model has come into use, they have to
    /// be enrolled again.
    pub fn subjects_without(&self, model: &ModelId) -> Result<u32, StoreError> {
        let sql = "select count(*) from subject where not exists \
                   (select 1 from template where subject_id = subject.id and model_id = ?1)";
        Ok(self
            .connection
            .query_row(sql, [&model.0], |row| row.get(0))?)
    }

    /// Grows with every change of subjects and templates, by this process or another.
    pub fn gallery_revision(&self) -> Result<u64, StoreError> {
        self.counter("gallery_revision")
    }
}

/// `origin` is where the faces came from, and when.
fn enrol(
    transaction: &Transaction<'_>,
    seal: &Seal,
    name: &SubjectName,
    templates: &[Template],
    origin: (&str, Timestamp),
) -> Result<Enrolled, StoreError> {
    if templates.is_empty() {
        return Err(StoreError::NoTemplates(name.to_string()));
    }
    let (source, created) = (origin.0, origin.1.to_string());
    let sql = "insert into subject (name, created, named_at) \
               select ?1, ?2, value from counter where name = 'event_seq' \
               on conflict do nothing";
    let new_subject = transaction.execute(sql, params![name.as_str(), created])? > 0;
    let sql = "select id from subject where name = ?1";
    let subject: i64 = transaction.query_row(sql, [name.as_str()], |row| row.get(0))?;
    for template in templates {
        let model = &template.model_id;
        let sql = "select length(sealed) from template where model_id = ?1 limit 1";
        let known = transaction.query_row(sql, [&model.0], |row| row.get::<_, u32>(0));
        if known
            .optional()?
            .is_some_and(|length| length as usize != sealed_length(template))
        {
            return Err(StoreError::Size(name.to_string()));
        }
        let turned = seal.turn(model, template.values.len())?.turned(template);
        let sql = "select coalesce(max(id), 0) + 1 from template";
        let id: i64 = transaction.query_row(sql, [], |row| row.get(0))?;
        let sealed = seal.seal(&to_bytes(&turned), &place(id, &model.0, name.as_str()))?;
        transaction.execute(
            "insert into template (id, subject_id, model_id, sealed, source, created) \
             values (?1, ?2, ?3, ?4, ?5, ?6)",
            params![id, subject, model.0, sealed, source, created],
        )?;
    }
    let sql = "select count(*) from template where subject_id = ?1";
    let templates = transaction.query_row(sql, [subject], |row| row.get(0))?;
    Ok(Enrolled {
        new_subject,
        templates,
    })
}

/// Seals the templates of `subject` anew, as `anew` says from id, model and sealed bytes.
fn reseal(
    transaction: &Transaction<'_>,
    subject: i64,
    anew: impl Fn(i64, &ModelId, &[u8]) -> Option<Result<Vec<u8>, super::KeyError>>,
) -> Result<(), StoreError> {
    let mut statement =
        transaction.prepare("select id, model_id, sealed from template where subject_id = ?1")?;
    let rows = statement.query_map([subject], |row| {
        Ok((row.get(0)?, ModelId(row.get(1)?), row.get::<_, Vec<u8>>(2)?))
    })?;
    for (id, model, sealed) in rows.collect::<Result<Vec<(i64, _, _)>, _>>()? {
        let lost = || StoreError::Sealed(format!("template {id}"));
        let sealed = anew(id, &model, &sealed).ok_or_else(lost)??;
        transaction.execute(
            "update template set sealed = ?2 where id = ?1",
            params![id, sealed],
        )?;
    }
    Ok(())
}
