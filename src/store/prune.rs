//! Shortening the audit trail: which events are old, and by what clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension as _, Transaction};

use super::audit::{ANCHOR, End, each_line};
use super::events::count_dropped;
use super::{Store, StoreError, immediate};

/// Lines that pruning takes at once.
const PIECE: i64 = 500;

/// How many times as fast as the program runs the time may pass that pruning goes by. A device that
/// was off for a month has caught up after ten days; a clock set far ahead has to be wrong for weeks
/// before the trail is gone.
const CATCH_UP: u32 = 4;

impl Store {
    /// Forgets events older than `audit_days`, the oldest [`PIECE`] of them: whoever calls this
    /// again until nothing goes keeps nobody waiting for long, and a full disk has room for it.
    /// Those that still wait for the broker go too, counted among the dropped: an event that it never
    /// takes would keep all that came after it. Returns how many went.
    ///
    /// A device may start with a wrong clock: an event counts as old when it, or one after it, is
    /// old by a clock that was synchronised, and none before it is young by such a clock. Call this
    /// only while `now` is so too, with the time that has `passed` since this process called it
    /// last, by a clock that nobody sets; none at the first time. Even a synchronised clock may be
    /// wrong, so that the time pruning goes by runs ahead of that one four times as fast at most.
    pub fn prune(&mut self, now: Timestamp, passed: Duration) -> Result<usize, StoreError> {
        let age = SignedDuration::from_hours(i64::from(self.audit_days) * 24);
        let Self {
            connection, chain, ..
        } = self;
        let transaction = immediate(connection)?;
        let believed = believe(&transaction, now, passed)?;
        let oldest = believed.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let (mut pruned, mut unsent) = (0, 0);
        if let Some(last) = last_of_piece(&transaction, oldest, now.as_millisecond())? {
            let mut anchor = End::read(&transaction, chain, ANCHOR)?;
            each_line(&transaction, last, |line, link| {
                // A break that leaves with its lines is remembered by the anchor.
                anchor.holds &= link == chain.link(&anchor.link, line);
                (anchor.seq, anchor.link) = (line.seq, link);
            })?;
            unsent = transaction.execute("delete from outbox where seq <= ?1", [last])?;
            count_dropped(&transaction, u32::try_from(unsent).unwrap_or(u32::MAX))?;
            pruned = transaction.execute("delete from event where seq <= ?1", [last])?;
            anchor.write(&transaction, chain, ANCHOR)?;
        }
        transaction.commit()?;
        if unsent > 0 {
            log::warn!(
                "{unsent} events have waited for the broker for all of [store] audit_days: they are not sent \
                 any more"
            );
        }
        Ok(pruned)
    }
}

/// The time that pruning goes by, in milliseconds since 1970, and remembers it: `now`, but no further
/// ahead of the time it went by before than [`CATCH_UP`] times what has passed. The first time of all
/// is believed; there is nothing to lose yet.
fn believe(
    transaction: &Transaction<'_>,
    now: Timestamp,
    passed: Duration,
) -> rusqlite::Result<i64> {
    let sql = "select value from counter where name = 'prune_time'";
    let before: Option<i64> = transaction
        .query_row(sql, [], |row| row.get(0))
        .optional()?;
    let ahead = i64::try_from(passed.saturating_mul(CATCH_UP).as_millis()).unwrap_or(i64::MAX);
    let latest = before.map_or(i64::MAX, |before| before.saturating_add(ahead));
    let believed = now.as_millisecond().min(latest);
    // A device may begin with a clock that is years behind: what was stored by a good one is as old as it says.
    let newest: Option<i64> = transaction.query_row(
        "select max(ts) from event indexed by event_by_time where clock_synced",
        [],
        |row| row.get(0),
    )?;
    let floor = before
        .zip(newest)
        .map(|(before, newest)| before.min(newest));
    let kept = believed.max(floor.unwrap_or(i64::MIN));
    let sql = "replace into counter (name, value) values ('prune_time', ?1)";
    transaction.execute(sql, [kept])?;
    Ok(believed)
}

/// The last line of those to be pruned at once, older than `oldest`.
fn last_of_piece(
    transaction: &Transaction<'_>,
    oldest: i64,
    now: i64,
) -> rusqlite::Result<Option<i64>> {
    let old: Option<i64> = transaction.query_row(
        // By the index: SQLite would rather walk through all events from the newest.
        "select max(seq) from event indexed by event_by_time \
         where clock_synced and ts < ?1 and seq < coalesce( \
         (select min(seq) from event where clock_synced and ts between ?1 and ?2), 1 << 62)",
        [oldest, now],
        |row| row.get(0),
    )?;
    let Some(last) = old else {
        return Ok(None);
    };
    transaction.query_row(
        "select max(seq) from (select seq from event where seq <= ?1 order by seq limit ?2)",
        [last, PIECE],
        |row| row.get(0),
    )
}

#[cfg(test)]
mod tests {
    use super::super::audit::append;
    use super::super::chain::Line;
    use super::*;
    use crate::config::StoreSection;
    use crate::event::sample;

    #[test]
    fn pruning_goes_piece_by_piece_and_keeps_the_log_small() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("doorward.db");
        let section = StoreSection {
            path: path.clone(),
            ..StoreSection::default()
        };
        let mut store = Store::open(&section, Timestamp::UNIX_EPOCH).unwrap();
        let ts: Timestamp = sample(1).ts.parse().unwrap();
        let lines = PIECE * 20 + 1;
        let transaction = immediate(&mut store.connection).unwrap();
        for seq in 1..=lines {
            let event_id = format!("{seq:026}");
            let json = serde_json::to_string(&sample(1)).unwrap();
            let line = Line {
                seq,
                event_id: &event_id,
                ts: ts.as_millisecond(),
                clock_synced: true,
                json: &json,
            };
            append(&transaction, &store.chain, &line).unwrap();
        }
        transaction.commit().unwrap();
        let log = || {
            std::fs::metadata(path.with_extension("db-wal"))
                .unwrap()
                .len()
        };

        let now = ts + SignedDuration::from_hours(24 * 1000);
        let piece = usize::try_from(PIECE).unwrap();
        let mut left = usize::try_from(lines).unwrap();
        while left > 0 {
            let gone = store.prune(now, Duration::ZERO).unwrap();
            assert_eq!(gone, left.min(piece));
            left -= gone;
            // Killed here, the trail is whole.
            let audit = store.verify_audit().unwrap();
            assert_eq!((audit.lines, audit.is_whole()), (left as u64, true));
            assert!(log() <= 5 << 20, "{}", log());
        }
        assert_eq!(store.prune(now, Duration::ZERO).unwrap(), 0);
    }

    #[test]
    fn a_clock_that_jumps_ahead_does_not_erase_the_trail() {
        let folder = tempfile::tempdir().unwrap();
        let section = StoreSection {
            path: folder.path().join("doorward.db"),
            ..StoreSection::default()
        };
        let open = || Store::open(&section, Timestamp::UNIX_EPOCH).unwrap();
        let mut store = open();
        let noon: Timestamp = sample(1).ts.parse().unwrap();
        for number in 1..=10 {
            store.record(sample(number), false).unwrap();
        }
        let days = |days: u32| Duration::from_secs(86_400) * days;
        let later = |by: u32| noon + SignedDuration::try_from(days(by)).unwrap();
        assert_eq!(store.prune(noon, Duration::ZERO).unwrap(), 0);
        assert_eq!(store.prune(later(100), Duration::from_secs(1)).unwrap(), 0);
        // A restart makes the time no truer.
        let mut store = open();
        assert_eq!(store.prune(later(100), Duration::ZERO).unwrap(), 0);
        assert_eq!(store.prune(later(100), days(22)).unwrap(), 0);
        // Set right, it begins where it is.
        assert_eq!(store.prune(later(23), Duration::ZERO).unwrap(), 0);
        assert_eq!(store.prune(later(200), days(16)).unwrap(), 0);
        // A clock that is behind for a while takes nothing back.
        assert_eq!(store.prune(noon - days(300), Duration::ZERO).unwrap(), 0);
        assert_eq!(store.prune(noon, Duration::ZERO).unwrap(), 0);
        assert_eq!(store.prune(later(200), days(22)).unwrap(), 0);
        // Of a device that was off.
        assert_eq!(store.prune(later(200), days(1)).unwrap(), 10);
    }
}
