//! The store from outside: what outlives a restart, two processes at once, and broken files.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use doorward::config::{Config, StoreSection};
use doorward::event::{EventType, VerificationEvent};
use doorward::face::Embedding;
use doorward::gallery::{ModelId, Template};
use doorward::store::{Store, StoreError, SubjectName};
use jiff::SignedDuration;
use support::{event, noon, skipped};

/// Long enough for the clock to be believed.
const LONG: Duration = Duration::from_secs(30 * 86_400);

fn section(path: &Path, outbox_limit: u32) -> StoreSection {
    let text = format!("[store]\npath = {path:?}\noutbox_limit = {outbox_limit}\naudit_days = 30");
    Config::parse(&text, Path::new("test")).unwrap().store
}

fn open(path: &Path) -> Result<Store, StoreError> {
    Store::open(&section(path, 1000), noon())
}

fn name(name: &str) -> SubjectName {
    SubjectName::new(name).unwrap()
}

fn template(model: &str, seed: f32) -> Template {
    let values = (0u8..64).map(|i| (f32::from(i) * seed).sin()).collect();
    Template::new(&Embedding::new(values), ModelId(model.to_owned()))
}

fn cosine(a: &Template, b: &Template) -> f32 {
    let (a, b) = (a.embedding(), b.embedding());
    a.values().iter().zip(b.values()).map(|(a, b)| a * b).sum()
}

#[test]
fn subjects_and_templates_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/doorward.db");
    let (first, second, other) = (
        template("m1", 0.3),
        template("m1", 0.7),
        template("m2", 0.3),
    );
    {
        let mut store = open(&path).unwrap();
        let done = store
            .enrol(
                &name("Ada"),
                std::slice::from_ref(&first),
                "ada.jpg",
                noon(),
            )
            .unwrap();
        assert!(done.new_subject);
        let more = [second.clone(), other.clone()];
        let done = store
            .enrol(&name("Ada"), &more, "ada2.jpg", noon())
            .unwrap();
        assert_eq!((done.new_subject, done.templates), (false, 3));
        store
            .enrol(&name("Bo"), &[other], "bo.jpg", noon())
            .unwrap();
        assert!(matches!(
            store.enrol(&name("Cy"), &[], "", noon()),
            Err(StoreError::NoTemplates(_))
        ));
        // One that no other of its model can be compared with would blind the whole door.
        let short = Template::new(&Embedding::new(vec![1.0; 32]), ModelId("m1".to_owned()));
        assert!(matches!(
            store.enrol(&name("Cy"), &[short], "", noon()),
            Err(StoreError::Size(_))
        ));
    }
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);

    let mut store = open(&path).unwrap();
    let m1 = ModelId("m1".to_owned());
    let found = store.templates(&m1).unwrap();
    assert_eq!(found.len(), 2);
    for ((name, found), enrolled) in found.iter().zip([first, second]) {
        assert_eq!(name, "Ada");
        assert!(cosine(found, &enrolled) > 0.9995);
    }
    // Ada has templates of both models, Bo of the other alone.
    assert_eq!(store.subjects_without(&m1).unwrap(), 1);
    for (model, without) in [("m2", 0), ("m3", 2)] {
        let model = ModelId(model.to_owned());
        assert_eq!(store.subjects_without(&model).unwrap(), without);
    }
    let list = store.list().unwrap();
    let names: Vec<_> = list.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["Ada", "Bo"]);
    assert_eq!(
        list[0].templates,
        [(m1.clone(), 2), (ModelId("m2".to_owned()), 1)]
    );

    assert!(matches!(
        store.rename(&name("Ada"), &name("Bo")),
        Err(StoreError::NameTaken(_))
    ));
    assert!(matches!(
        store.rename(&name("Nobody"), &name("X")),
        Err(StoreError::NoSuchSubject(_))
    ));
    store.rename(&name("Ada"), &name("Ada L.")).unwrap();
    store.remove(&name("Ada L.")).unwrap();
    assert!(matches!(
        store.remove(&name("Ada L.")),
        Err(StoreError::NoSuchSubject(_))
    ));
    assert!(store.templates(&m1).unwrap().is_empty());
    store.check().unwrap();
}

#[test]
fn an_enrolment_by_another_process_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("doorward.db");
    let mut daemon = open(&path).unwrap();
    let before = daemon.gallery_revision().unwrap();
    let mut command = open(&path).unwrap();
    command
        .enrol(&name("Ada"), &[template("m1", 0.3)], "ada.jpg", noon())
        .unwrap();
    let after = daemon.gallery_revision().unwrap();
    assert!(after > before);
    daemon
        .record(event(EventType::Unknown, noon()), true)
        .unwrap();
    assert_eq!(
        daemon.gallery_revision().unwrap(),
        after,
        "events are no change of the gallery"
    );
    assert_eq!(
        daemon.templates(&ModelId("m1".to_owned())).unwrap().len(),
        1
    );
}

#[test]
fn two_writers_wait_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("doorward.db");
    drop(open(&path).unwrap());
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || {
                let mut store = open(&path).unwrap();
                for _ in 0..20 {
                    store
                        .record(event(EventType::Unknown, noon()), true)
                        .unwrap();
                }
            })
        })
        .collect();
    writers
        .into_iter()
        .for_each(|writer| writer.join().unwrap());
    let seqs: Vec<_> = open(&path)
        .unwrap()
        .pending(100)
        .unwrap()
        .iter()
        .map(|e| e.seq)
        .collect();
    assert_eq!(seqs, (1..=40).collect::<Vec<_>>());
}

#[test]
fn events_are_numbered_without_gaps_over_restarts_and_pruning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("doorward.db");
    let old = noon() - SignedDuration::from_hours(24 * 31);
    {
        let mut store = open(&path).unwrap();
        for seq in 1..=3 {
            let done = store
                .record(event(EventType::Unknown, old), seq == 2)
                .unwrap();
            assert_eq!((done.event.seq, done.dropped), (seq, 0));
        }
        let mut wrong = event(EventType::Unknown, old);
        wrong.ts = "yesterday".to_owned();
        assert!(matches!(
            store.record(wrong, true),
            Err(StoreError::Event { .. })
        ));
        // Made before the clock was set, and after the old ones.
        let mut unset = event(EventType::Unknown, "1970-01-01T00:01:00Z".parse().unwrap());
        unset.clock_synced = false;
        store.record(unset, false).unwrap();
        // Age beats waiting. The unset one is no older than its number says.
        assert_eq!(store.outbox_dropped().unwrap(), 0);
        assert_eq!(store.prune(noon(), Duration::ZERO).unwrap(), 3);
        assert_eq!(store.outbox_dropped().unwrap(), 1);
        let seqs: Vec<_> = store.recent(10).unwrap().iter().map(|e| e.seq).collect();
        assert_eq!(seqs, [4]);
    }
    let mut store = open(&path).unwrap();
    let done = store
        .record(event(EventType::Unknown, noon()), true)
        .unwrap();
    assert_eq!(done.event.seq, 5);
    assert_eq!(
        store.pending(10).unwrap(),
        std::slice::from_ref(&done.event)
    );
    store
        .acknowledge(&[done.event.event_id, "not there".to_owned()])
        .unwrap();
    assert_eq!(store.outbox_len().unwrap(), 0);
    assert_eq!(store.outbox_dropped().unwrap(), 1, "over restarts");
    assert_eq!(store.prune(noon(), Duration::ZERO).unwrap(), 0);
    assert!(store.verify_audit().unwrap().is_whole());
}

#[test]
fn an_event_of_an_unset_clock_goes_with_an_old_one_after_it_and_takes_no_young_one_along() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder.path().join("doorward.db")).unwrap();
    let mut record = |days_ago: i64, clock_synced| {
        let ts = noon() - SignedDuration::from_hours(24 * days_ago);
        let event = event(EventType::Unknown, ts);
        let event = VerificationEvent {
            clock_synced,
            ..event
        };
        store.record(event, false).unwrap();
    };
    record(90, false);
    record(31, true);
    record(90, false);
    // From the future; no reason to keep it for ever.
    record(-90, true);
    record(31, true);
    record(3, true);
    // The clock was believed, and wrong.
    record(90, true);
    record(2, true);
    assert_eq!(store.prune(noon(), Duration::ZERO).unwrap(), 5);
    let later = |days: i64| noon() + SignedDuration::from_hours(24 * days);
    assert_eq!(store.prune(later(27), LONG).unwrap(), 0);
    assert_eq!(store.prune(later(28), LONG).unwrap(), 2);
    assert_eq!(store.prune(later(29), LONG).unwrap(), 1);
    assert!(store.verify_audit().unwrap().is_whole());
}

#[test]
fn a_full_outbox_drops_the_oldest_and_counts_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("doorward.db");
    let mut store = Store::open(&section(&path, 3), noon()).unwrap();
    let dropped: Vec<_> = (0..5)
        .map(|_| {
            store
                .record(event(EventType::Unknown, noon()), true)
                .unwrap()
                .dropped
        })
        .collect();
    assert_eq!(dropped, [0, 0, 0, 1, 1]);
    let seqs: Vec<_> = store.pending(10).unwrap().iter().map(|e| e.seq).collect();
    assert_eq!(seqs, [3, 4, 5]);
    assert_eq!(store.newest(2).unwrap(), store.pending(10).unwrap()[1..]);
    assert_eq!(store.outbox_len().unwrap(), 3);
    drop(store);
    let store = open(&path).unwrap();
    assert_eq!(store.outbox_dropped().unwrap(), 2, "over restarts");
    assert_eq!(
        store.recent(10).unwrap().len(),
        5,
        "the audit trail keeps them"
    );
}

/// Spoils a database with two subjects and expects it to be put aside, unchanged, twice.
fn check_damage(what: &str, spoil: impl Fn(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("doorward.db");
    {
        let mut store = open(&path).unwrap();
        for subject in ["Ada", "Bo"] {
            store
                .enrol(&name(subject), &[template("m1", 0.3)], "photo", noon())
                .unwrap();
        }
    }
    spoil(&path);
    let spoiled = std::fs::read(&path).unwrap();

    let error = open(&path).unwrap_err();
    let StoreError::Damaged { aside, .. } = &error else {
        panic!("{what}: {error}")
    };
    assert_eq!(std::fs::read(aside).unwrap(), spoiled, "{what}");
    assert!(
        error.to_string().contains(&path.display().to_string()),
        "{error}"
    );
    assert!(error.to_string().contains("20260301T120000Z"), "{error}");

    // The next start begins no empty gallery either.
    let again = open(&path).unwrap_err();
    assert!(
        matches!(&again, StoreError::PutAside { aside: a, .. } if a == aside),
        "{again}"
    );
    assert!(!path.exists());

    // Until somebody has decided.
    std::fs::rename(aside, folder.path().join("kept.db")).unwrap();
    assert!(open(&path).unwrap().list().unwrap().is_empty());
}

#[test]
fn a_damaged_database_is_put_aside_and_never_replaced() {
    let overwrite = |path: &Path, from: u64, length: usize| {
        let mut file = std::fs::File::options().write(true).open(path).unwrap();
        file.seek(SeekFrom::Start(from)).unwrap();
        file.write_all(&vec![0xa5; length]).unwrap();
    };
    check_damage("no database at all", |path| {
        std::fs::write(path, "not a database\n").unwrap()
    });
    check_damage("header overwritten", |path| overwrite(path, 0, 100));
    check_damage("tables overwritten", |path| {
        let length = path.metadata().unwrap().len();
        overwrite(path, 4096, usize::try_from(length - 4096).unwrap());
    });
    check_damage("cut off", |path| {
        std::fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(5000)
            .unwrap();
    });
}

#[test]
fn files_that_may_not_be_used_are_not_called_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let check = |error: StoreError, path: &Path| {
        assert!(matches!(error, StoreError::Access { .. }), "{error}");
        let words = error.to_string();
        assert!(words.contains(path.to_str().unwrap()), "{words}");
        assert!(
            words.contains("chown") && !words.contains("full"),
            "{words}"
        );
    };
    // Root may use any file, but not a folder as one.
    let path = folder.path().join("folder.db");
    std::fs::create_dir(&path).unwrap();
    check(open(&path).unwrap_err(), &path);
    let path = folder.path().join("log.db");
    drop(open(&path).unwrap());
    std::fs::create_dir(folder.path().join("log.db-wal")).unwrap();
    check(open(&path).unwrap_err(), &path);
    std::fs::remove_dir(folder.path().join("log.db-wal")).unwrap();

    let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    mode(0o400);
    if std::fs::File::options().append(true).open(&path).is_ok() {
        return skipped("root may write to any file");
    }
    check(open(&path).unwrap_err(), &path);
}

#[test]
fn a_database_of_another_program_or_a_later_doorward_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("foreign.db");
    rusqlite::Connection::open(&foreign)
        .unwrap()
        .execute_batch("create table t (x)")
        .unwrap();
    let before = std::fs::read(&foreign).unwrap();
    assert!(matches!(open(&foreign), Err(StoreError::Foreign { .. })));
    assert_eq!(std::fs::read(&foreign).unwrap(), before);

    let later = folder.path().join("later.db");
    drop(open(&later).unwrap());
    rusqlite::Connection::open(&later)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let error = open(&later).unwrap_err();
    assert!(
        matches!(error, StoreError::Newer { found: 99, .. }),
        "{error}"
    );
    assert!(later.exists());
}
