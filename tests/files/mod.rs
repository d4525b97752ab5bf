//! A database in a folder of its own, as somebody finds it who gets hold of the files.
#![allow(missing_docs, dead_code, unreachable_pub, clippy::unwrap_used)]

use std::path::Path;

use doorward::config::{Config, StoreSection};
use doorward::event::{EventType, RunnerUp};
use doorward::face::Embedding;
use doorward::gallery::{ModelId, Template};
use doorward::store::{KeyError, Store, StoreError, SubjectName};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::{event, noon};

pub const MODEL: &str = "m1";

pub struct Files(TempDir);

impl Files {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    pub fn section(&self, more: &str) -> StoreSection {
        let path = self.path("door.db");
        let text = format!("[store]\npath = {path:?}\naudit_days = 30\n{more}");
        Config::parse(&text, Path::new("test")).unwrap().store
    }

    pub fn open(&self) -> Result<Store, StoreError> {
        Store::open(&self.section(""), noon())
    }

    pub fn refusal(&self) -> KeyError {
        match self.open() {
            Err(StoreError::Key(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    /// Another program with write access to the database.
    pub fn intruder(&self) -> Connection {
        Connection::open(self.path("door.db")).unwrap()
    }

    /// Names of the files that hold these bytes.
    pub fn with(&self, needle: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.0.path()).unwrap() {
            let entry = entry.unwrap();
            let bytes = std::fs::read(entry.path()).unwrap();
            if bytes.windows(needle.len()).any(|window| window == needle) {
                found.push(entry.file_name().into_string().unwrap());
            }
        }
        found
    }
}

pub fn name(name: &str) -> SubjectName {
    SubjectName::new(name).unwrap()
}

pub fn template(seed: u16) -> Template {
    let value = |i: u16| (f32::from(i) * 0.37 + f32::from(seed) * f32::from(i * i % 97)).sin();
    let values = (0..128).map(value).collect();
    Template::new(&Embedding::new(values), ModelId(MODEL.to_owned()))
}

pub fn enrol(store: &mut Store, subject: &str, seed: u16) {
    store
        .enrol(&name(subject), &[template(seed)], "photo", noon())
        .unwrap();
}

/// Records a match of `subject`, with another one second.
pub fn record(store: &mut Store, subject: &str, second: &str) {
    let mut event = event(EventType::Match, noon());
    event.subject_id = Some(subject.to_owned());
    event.runner_up = Some(RunnerUp {
        subject_id: second.to_owned(),
        similarity: 0.2,
    });
    store.record(event, false).unwrap();
}
