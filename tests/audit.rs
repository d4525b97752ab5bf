//! The audit trail under the hands of somebody who can write the database, but has no key.
#![allow(missing_docs, clippy::unwrap_used)]

mod files;
mod support;

use std::time::Duration;

use doorward::event::EventType;
use doorward::store::Store;
use files::{Files, enrol, record};
use jiff::SignedDuration;
use support::{event, noon};

/// As long as the clock says that it was.
const LONG: Duration = Duration::from_secs(60 * 86_400);

/// Ten lines after pruning two; `sql` is done to them, then one more line is written.
fn check_audit(sql: &str, expected: &[&str]) {
    let files = Files::new();
    let mut store = files.open().unwrap();
    enrol(&mut store, "Ada", 1);
    let old = noon() - SignedDuration::from_hours(24 * 31);
    for _ in 0..2 {
        store.record(event(EventType::Unknown, old), false).unwrap();
    }
    for _ in 0..10 {
        record(&mut store, "Ada", "Bo");
    }
    assert_eq!(store.prune(noon(), Duration::ZERO).unwrap(), 2);
    let audit = store.verify_audit().unwrap();
    assert_eq!(
        (audit.lines, audit.span, audit.breaks.len()),
        (10, Some((3, 12)), 0)
    );
    files.intruder().execute_batch(sql).unwrap();
    let found = |store: &Store| {
        let audit = store.verify_audit().unwrap();
        audit
            .breaks
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let before = found(&store);
    assert_eq!(before.len(), expected.len(), "{sql}: {before:?}");
    for (found, expected) in before.iter().zip(expected) {
        assert!(
            found.contains(expected),
            "{sql}: {found} should say {expected}"
        );
    }
    // What the daemon writes then does not cover it up, nor does pruning.
    record(&mut store, "Ada", "Bo");
    assert!(
        !store.verify_audit().unwrap().is_whole(),
        "{sql}: covered up"
    );
    store
        .prune(noon() + SignedDuration::from_hours(24 * 60), LONG)
        .unwrap();
    assert!(
        !store.verify_audit().unwrap().is_whole(),
        "{sql}: pruned away"
    );
}

#[test]
fn the_audit_trail_shows_where_it_is_broken() {
    check_audit("delete from event where seq = 7", &["line 7 is missing"]);
    check_audit(
        "delete from event where seq in (5, 6)",
        &["lines 5 to 6 are missing"],
    );
    check_audit(
        "update event set json = replace(json, 'accept', 'reject') where seq = 7",
        &["line 7 (event"],
    );
    check_audit(
        "update event set json = replace(json, '\"Ada\"', '\"Eve\"') where seq = 4",
        &["line 4 (event"],
    );
    check_audit("update event set ts = 0 where seq = 9", &["line 9 (event"]);
    check_audit(
        "update event set seq = 100 where seq = 6; update event set seq = 6 where seq = 7; \
         update event set seq = 7 where seq = 100",
        &["line 6 (event", "line 7 (event", "line 8 (event"],
    );
    check_audit(
        "delete from event where seq > 10",
        &["lines after 10 are missing"],
    );
    check_audit(
        "delete from event where seq > 10; update chain_end set seq = 10, \
         link = (select link from event where seq = 10) where name = 'head'",
        &["lines after 10 are missing"],
    );
    check_audit(
        "delete from event where seq < 5",
        &["lines 3 to 4 are missing"],
    );
    check_audit(
        "update chain_end set seq = 4, link = (select link from event where seq = 4) \
         where name = 'anchor'; delete from event where seq < 5",
        &["the beginning"],
    );
    check_audit("delete from event", &["lines after 2 are missing"]);
    check_audit(
        "delete from chain_end",
        &["the beginning", "lines 1 to 2 are missing", "the end"],
    );
    check_audit(
        "update event set link = zeroblob(32) where seq = 12",
        &["line 12", "the end"],
    );
}
