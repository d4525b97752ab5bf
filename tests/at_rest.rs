//! What somebody finds who gets hold of the database's files, or changes them.
#![allow(missing_docs, clippy::unwrap_used)]

mod files;
mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use doorward::gallery::{Gallery, Metric, ModelId, Template, ThresholdPolicy};
use doorward::store::{KeyError, Store, StoreError};
use files::{Files, MODEL, enrol, name, record, template};
use support::{noon, skipped};

fn bytes(template: &Template) -> Vec<u8> {
    template.values.iter().map(|v| v.cast_unsigned()).collect()
}

fn gallery(metric: Metric) -> Gallery {
    let policy = ThresholdPolicy {
        fmr: 1e-4,
        fpir: 1e-4,
        threshold: Some(0.8),
        calibration: None,
    };
    Gallery::new(ModelId(MODEL.to_owned()), metric, policy)
}

#[test]
fn a_removed_person_leaves_no_trace_in_any_file() {
    let files = Files::new();
    let mut store = files.open().unwrap();
    // A daemon that has the database open too.
    let daemon = files.open().unwrap();
    let people: Vec<_> = (0..60).map(|i| format!("Person Number {i:03}")).collect();
    for (seed, person) in (1..).zip(&people) {
        enrol(&mut store, person, seed);
    }
    enrol(&mut store, "Zaphod \"Zed\" Béeblebrox", 100);
    for round in 0..8 {
        for (i, person) in people.iter().enumerate() {
            record(&mut store, person, &people[(i + 1) % people.len()]);
            if i % 5 == round % 5 {
                record(&mut store, "Zaphod \"Zed\" Béeblebrox", person);
                record(&mut store, person, "Zaphod \"Zed\" Béeblebrox");
            }
        }
    }
    store
        .rename(
            &name("Zaphod \"Zed\" Béeblebrox"),
            &name("Trillian McMillan"),
        )
        .unwrap();
    record(&mut store, "Trillian McMillan", &people[0]);
    // Somebody else of the old name stays.
    enrol(&mut store, "Zaphod \"Zed\" Béeblebrox", 101);
    record(&mut store, "Zaphod \"Zed\" Béeblebrox", &people[1]);

    assert!(!files.with(b"Trillian").is_empty());
    assert_eq!(files.with(&bytes(&template(100))), [""; 0], "never plain");
    let sealed: Vec<Vec<u8>> = files
        .intruder()
        .prepare("select sealed from template join subject on subject.id = subject_id where name = 'Trillian McMillan'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert!(!files.with(&sealed[0]).is_empty());

    store.remove(&name("Trillian McMillan")).unwrap();
    assert_eq!(files.with(b"Trillian"), [""; 0]);
    assert_eq!(files.with(&sealed[0]), [""; 0], "the sealed template");
    let of_namesake = |events: &[doorward::event::VerificationEvent]| {
        let zaphod = Some("Zaphod \"Zed\" Béeblebrox");
        events
            .iter()
            .filter(|e| e.subject_id.as_deref() == zaphod)
            .count()
    };
    let events = daemon.recent(10_000).unwrap();
    assert_eq!(of_namesake(&events), 1, "the namesake's event alone");
    let veiled = |name: Option<&str>| name.is_some_and(|n| n.starts_with('#') && n.len() == 33);
    let matched = events
        .iter()
        .filter(|e| veiled(e.subject_id.as_deref()))
        .count();
    assert_eq!(matched, 8 * 12 + 1);
    assert!(store.verify_audit().unwrap().is_whole());

    store.remove(&name("Zaphod \"Zed\" Béeblebrox")).unwrap();
    assert_eq!(files.with("éeblebrox".as_bytes()), [""; 0]);
    assert!(store.verify_audit().unwrap().is_whole());
    for person in &people[..20] {
        store.remove(&name(person)).unwrap();
        assert_eq!(files.with(person.as_bytes()), [""; 0]);
    }
    assert!(!files.with(people[20].as_bytes()).is_empty());
}

#[test]
fn removing_takes_no_memory_of_the_database_s_size() {
    let files = Files::new();
    let mut store = files.open().unwrap();
    enrol(&mut store, "Ada", 1);
    // The limit holds for the process, the other tests included.
    files
        .intruder()
        .execute_batch(
            "create table ballast (bytes blob); \
             with recursive n(i) as (select 1 union all select i + 1 from n where i < 6000) \
             insert into ballast select randomblob(10000) from n; \
             pragma hard_heap_limit = 32000000",
        )
        .unwrap();
    store.remove(&name("Ada")).unwrap();
    store.check().unwrap();
}

#[test]
fn a_person_who_was_removed_meanwhile_is_not_named() {
    let files = Files::new();
    let mut store = files.open().unwrap();
    enrol(&mut store, "Bo", 1);
    record(&mut store, "Ada", "Bo");
    let event = &store.recent(1).unwrap()[0];
    assert!(event.subject_id.as_ref().unwrap().starts_with('#'));
    assert_eq!(event.runner_up.as_ref().unwrap().subject_id, "Bo");
    assert_eq!(files.with(b"Ada"), [""; 0]);
    record(&mut store, "Bo", "Eve");
    let event = &store.recent(1).unwrap()[0];
    assert_eq!(event.subject_id.as_deref(), Some("Bo"));
    let second = &event.runner_up.as_ref().unwrap().subject_id;
    assert!(second.starts_with('#'), "{second}");
    assert_eq!(files.with(b"Eve"), [""; 0]);
}

#[test]
fn templates_that_were_changed_or_exchanged_do_not_open() {
    for sql in [
        "update template as t set sealed = (select sealed from template o where o.id = 3 - t.id)",
        "update template set subject_id = 3 - subject_id",
        "update subject set name = '?' where id = 1; update subject set name = 'Ada' where id = 2; \
         update subject set name = 'Bo' where id = 1",
        "update template set sealed = zeroblob(length(sealed))",
        "update template set sealed = x'00'",
    ] {
        let files = Files::new();
        let mut store = files.open().unwrap();
        enrol(&mut store, "Ada", 1);
        enrol(&mut store, "Bo", 2);
        files.intruder().execute_batch(sql).unwrap();
        let error = store.load(&mut gallery(Metric::Cosine)).unwrap_err();
        assert!(matches!(error, StoreError::Sealed(_)), "{sql}: {error}");
    }
}

#[test]
fn a_gallery_of_turned_templates_decides_as_one_of_plain_ones() {
    let files = Files::new();
    let mut store = files.open().unwrap();
    for seed in 1..20 {
        enrol(&mut store, &format!("P{seed:02}"), seed);
    }
    let plain = store.templates(&ModelId(MODEL.to_owned())).unwrap();
    let l1 = Metric::L1 {
        weights: vec![-1.0; 128],
        bias: 4.0,
    };
    for metric in [Metric::Cosine, Metric::Euclidean, l1] {
        let (mut loaded, mut filled) = (gallery(metric.clone()), gallery(metric));
        store.load(&mut loaded).unwrap();
        filled.fill(plain.clone()).unwrap();
        for seed in 1..40 {
            let probe = template(seed);
            let (a, b) = (
                loaded.search(&probe).unwrap(),
                filled.search(&probe).unwrap(),
            );
            assert_eq!(
                a.accepted().map(|c| &c.subject),
                b.accepted().map(|c| &c.subject)
            );
            let (a, b) = (a.best.unwrap(), b.best.unwrap());
            // Near 1 the Euclidean similarity is the square root of the rounding to int8.
            assert!((a.similarity - b.similarity).abs() < 0.02, "{a:?} {b:?}");
            assert!(seed >= 20 || *a.subject == format!("P{seed:02}"), "{a:?}");
        }
    }
}

#[test]
fn the_key_is_made_once_and_guarded() {
    let files = Files::new();
    let key = files.path("door.db.key");
    enrol(&mut files.open().unwrap(), "Ada", 1);
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&key).unwrap();
    assert_eq!(text.len(), 65);

    let mode = |mode| std::fs::set_permissions(&key, PermissionsExt::from_mode(mode)).unwrap();
    mode(0o640);
    let refusal = files.refusal();
    assert!(
        matches!(refusal, KeyError::Exposed { mode: 0o640, .. }),
        "{refusal}"
    );
    assert!(refusal.to_string().contains("chmod 600"), "{refusal}");
    mode(0);
    if std::fs::read(&key).is_ok() {
        skipped("root may read any file");
    } else {
        let refusal = files.refusal();
        assert!(matches!(refusal, KeyError::Denied(_)), "{refusal}");
    }
    mode(0o600);

    std::fs::write(&key, "none\n").unwrap();
    assert!(matches!(files.refusal(), KeyError::Format(_)));
    std::fs::write(&key, "0".repeat(64)).unwrap();
    assert!(matches!(files.refusal(), KeyError::Wrong(_)));
    std::fs::remove_file(&key).unwrap();
    assert!(matches!(files.refusal(), KeyError::Lost(_)));
    assert!(!key.exists(), "no new key");

    std::fs::write(files.path("elsewhere"), &text).unwrap();
    let elsewhere = format!("key_file = {:?}", files.path("elsewhere"));
    std::fs::set_permissions(files.path("elsewhere"), PermissionsExt::from_mode(0o400)).unwrap();
    let store = Store::open(&files.section(&elsewhere), noon()).unwrap();
    assert_eq!(
        store.templates(&ModelId(MODEL.to_owned())).unwrap().len(),
        1
    );

    let fresh = Files::new();
    let none = format!("key_file = {:?}", fresh.path("none"));
    let error = Store::open(&fresh.section(&none), noon()).unwrap_err();
    assert!(
        matches!(error, StoreError::Key(KeyError::NotThere(_))),
        "{error}"
    );
    assert!(
        error.to_string().contains("openssl rand -hex 32"),
        "{error}"
    );
    // A stopped service has no credentials, and nobody shall move the database away for that.
    let credential = "key_file = \"/run/credentials/none.service/store.key\"";
    let error = Store::open(&files.section(credential), noon()).unwrap_err();
    assert!(
        matches!(error, StoreError::Key(KeyError::Away(_))),
        "{error}"
    );
}

#[test]
fn a_key_that_root_makes_belongs_to_the_database_s_owner() {
    let files = Files::new();
    let database = files.path("door.db");
    std::fs::write(&database, "").unwrap();
    if chown(&database, Some(12345), None).is_err() {
        return skipped("only root can give a file away");
    }
    let owner = || files.path("door.db.key").metadata().unwrap().uid();
    let mut store = files.open().unwrap();
    assert_eq!(owner(), 12345);
    store.rekey().unwrap();
    assert_eq!(owner(), 12345);
}

#[test]
fn a_key_is_never_written_through_a_link() {
    let files = Files::new();
    let victim = files.path("victim");
    std::fs::write(&victim, "precious").unwrap();
    let mut store = files.open().unwrap();
    let made = files.path(&format!("door.db.key.{}.tmp", std::process::id()));
    std::os::unix::fs::symlink(&victim, made).unwrap();
    store.rekey().unwrap();
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    let key = files.path("door.db.key").symlink_metadata().unwrap();
    assert!(key.is_file(), "{key:?}");
}

#[test]
fn new_keys_made_at_the_same_time_lose_nobody() {
    let files = Files::new();
    enrol(&mut files.open().unwrap(), "ada", 1);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut store = files.open().unwrap();
                for _ in 0..5 {
                    assert_eq!(store.rekey().unwrap(), 1);
                }
            });
        }
    });
    let mut gallery = gallery(Metric::Cosine);
    files.open().unwrap().load(&mut gallery).unwrap();
    assert!(gallery.knows("ada"));
}

#[test]
fn a_key_that_is_not_in_its_place_yet_is_not_replaced_by_another() {
    let files = Files::new();
    let (key, next) = (files.path("door.db.key"), files.path("door.db.key.next"));
    let (mut store, mut other) = (files.open().unwrap(), files.open().unwrap());
    enrol(&mut store, "ada", 1);
    let old = files.path("old.key");
    std::fs::copy(&key, &old).unwrap();
    store.rekey().unwrap();
    // As if the disk had failed after the database was sealed anew.
    std::fs::rename(&key, &next).unwrap();
    std::fs::rename(&old, &key).unwrap();
    assert_eq!(other.rekey().unwrap(), 1);
    let mut gallery = gallery(Metric::Cosine);
    files.open().unwrap().load(&mut gallery).unwrap();
    assert!(gallery.knows("ada") && !next.exists());
}

#[test]
fn a_new_key_opens_everything_and_the_old_one_nothing() {
    let files = Files::new();
    let key = files.path("door.db.key");
    let mut store = files.open().unwrap();
    // A daemon that has the database open too.
    let mut daemon = files.open().unwrap();
    for seed in 1..10 {
        enrol(&mut store, &format!("P{seed}"), seed);
    }
    record(&mut store, "P1", "P2");
    let old_key = std::fs::read(&key).unwrap();
    let sealed: Vec<u8> = files
        .intruder()
        .query_row("select sealed from template where id = 1", [], |row| {
            row.get(0)
        })
        .unwrap();
    let loaded = |store: &mut Store| {
        let mut gallery = gallery(Metric::Cosine);
        store.load(&mut gallery).unwrap();
        gallery.search(&template(3)).unwrap().best.unwrap()
    };
    assert_eq!(store.rekey().unwrap(), 9);
    assert_ne!(std::fs::read(&key).unwrap(), old_key);
    assert_eq!(files.with(&sealed), [""; 0]);
    let check = |store: &mut Store| {
        let best = loaded(store);
        assert!(
            &*best.subject == "P3" && best.similarity > 0.999,
            "{best:?}"
        );
        assert!(store.verify_audit().unwrap().is_whole());
    };
    check(&mut store);
    enrol(&mut daemon, "P10", 10);
    daemon.rename(&name("P10"), &name("P0")).unwrap();
    check(&mut daemon);
    check(&mut store);
    drop((store, daemon));
    check(&mut files.open().unwrap());

    // The power went before the new key was in its place.
    std::fs::rename(&key, files.path("door.db.key.next")).unwrap();
    std::fs::write(&key, &old_key).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    check(&mut files.open().unwrap());
    assert!(!files.path("door.db.key.next").exists());
    std::fs::write(&key, &old_key).unwrap();
    assert!(matches!(files.refusal(), KeyError::Wrong(_)));
}
