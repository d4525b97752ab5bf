//! The audit trail as a chain of lines: appending, shortening, and telling where it is broken.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::chain::{Chain, Line, Link};
use super::events::count_dropped;
use super::{Store, StoreError, immediate};

/// The last line that pruning took.
const ANCHOR: &str = "anchor";
/// The newest line.
const HEAD: &str = "head";

/// What a line is linked to whose forerunner was not what it had been left as. No key gives it, so
/// that the break stays visible.
const BROKEN: Link = [0xff; 32];

/// Lines that pruning takes at once.
const PIECE: i64 = 500;

/// How many times as fast as the program runs the time may pass that pruning goes by. A device that
/// was off for a month has caught up after ten days; a clock set far ahead has to be wrong for weeks
/// before the trail is gone.
const CATCH_UP: u32 = 4;

/// Breaks that a report names; the rest is counted.
const NAMED: usize = 20;

/// What a look through the audit trail found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Lines that are there.
    pub lines: u64,
    /// Numbers of the oldest and the newest line.
    pub span: Option<(u64, u64)>,
    /// Where it is broken, the first breaks in order.
    pub breaks: Vec<Break>,
    /// Further breaks.
    pub more: u64,
}

/// A place at which the audit trail is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Break {
    /// The note of where the trail begins, or lines before it.
    Begin,
    /// Lines are gone: the first and the last number.
    Missing(u64, u64),
    /// A line was changed, or moved, or never written by doorward.
    Line {
        /// Its number.
        seq: u64,
        /// Its event.
        event_id: String,
    },
    /// The note of the newest line, or lines after the last that is there.
    End {
        /// The number of the last line that is there.
        last: u64,
    },
}

impl std::fmt::Display for Break {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Begin => write!(f, "the beginning: it, or a line before it, was changed"),
            Self::Missing(first, last) if first == last => write!(f, "line {first} is missing"),
            Self::Missing(first, last) => write!(f, "lines {first} to {last} are missing"),
            Self::Line { seq, event_id } => {
                write!(f, "line {seq} (event {event_id}) was changed or moved")
            }
            Self::End { last } => write!(f, "the end: lines after {last} are missing"),
        }
    }
}

/// One end of the chain.
struct End {
    seq: i64,
    link: Link,
    /// Whether it is where it was left.
    holds: bool,
}

impl End {
    fn read(
        transaction: &rusqlite::Connection,
        chain: &Chain,
        name: &str,
    ) -> rusqlite::Result<Self> {
        let sql = "select seq, link, mark from chain_end where name = ?1";
        let row = transaction.prepare_cached(sql)?.query_row([name], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, Vec<u8>>(1)?,
                row.get::<_, Vec<u8>>(2)?,
            ))
        });
        let (seq, link, mark) = row.optional()?.unwrap_or_default();
        let holds = Link::try_from(link.as_slice())
            .is_ok_and(|link| chain.mark(name, seq, &link).as_slice() == mark);
        Ok(Self {
            seq,
            link: link.try_into().unwrap_or(BROKEN),
            holds,
        })
    }

    fn write(
        &self,
        transaction: &Transaction<'_>,
        chain: &Chain,
        name: &str,
    ) -> rusqlite::Result<()> {
        let mark = if self.holds {
            chain.mark(name, self.seq, &self.link)
        } else {
            BROKEN
        };
        let sql = "replace into chain_end (name, seq, link, mark) values (?1, ?2, ?3, ?4)";
        transaction
            .prepare_cached(sql)?
            .execute(params![name, self.seq, self.link, mark])?;
        Ok(())
    }
}

/// Chains all lines that are there, after line `first`, which is not.
pub(super) fn begin(
    transaction: &Transaction<'_>,
    chain: &Chain,
    first: i64,
) -> Result<(), StoreError> {
    let mut end = End {
        seq: first,
        link: [0; 32],
        holds: true,
    };
    end.write(transaction, chain, ANCHOR)?;
    let mut lines = transaction
        .prepare("select seq, event_id, ts, clock_synced, json from event order by seq")?;
    let mut rows = lines.query([])?;
    while let Some(row) = rows.next()? {
        end.link = chain.link(&end.link, &line(row)?);
        end.seq = row.get(0)?;
        transaction.execute(
            "update event set link = ?2 where seq = ?1",
            params![end.seq, end.link],
        )?;
    }
    Ok(end.write(transaction, chain, HEAD)?)
}

/// Writes a line behind the newest.
pub(super) fn append(
    transaction: &Transaction<'_>,
    chain: &Chain,
    line: &Line<'_>,
) -> Result<(), StoreError> {
    let head = End::read(transaction, chain, HEAD)?;
    let previous = if head.holds { head.link } else { BROKEN };
    let link = chain.link(&previous, line);
    transaction
        .prepare_cached(
            "insert into event (seq, event_id, ts, clock_synced, json, link) \
             values (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            line.seq,
            line.event_id,
            line.ts,
            line.clock_synced,
            line.json,
            link
        ])?;
    let head = End {
        seq: line.seq,
        link,
        holds: true,
    };
    Ok(head.write(transaction, chain, HEAD)?)
}

/// A line from the columns seq, event_id, ts, clock_synced, json. What is no text counts as an
/// empty one, which no link of ours belongs to.
fn line<'a>(row: &'a rusqlite::Row<'_>) -> rusqlite::Result<Line<'a>> {
    let text = |column| -> rusqlite::Result<&str> {
        Ok(row.get_ref(column)?.as_str().unwrap_or_default())
    };
    Ok(Line {
        seq: row.get(0)?,
        event_id: text(1)?,
        ts: row.get(2)?,
        clock_synced: row.get(3)?,
        json: text(4)?,
    })
}

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

    /// Follows the chain from the oldest line to the newest.
    pub fn verify_audit(&self) -> Result<Audit, StoreError> {
        // One view of the database, whatever the daemon writes meanwhile.
        let view = self.connection.unchecked_transaction()?;
        let chain = &self.chain;
        let (anchor, head) = (
            End::read(&view, chain, ANCHOR)?,
            End::read(&view, chain, HEAD)?,
        );
        let mut audit = Audit::default();
        if !anchor.holds {
            audit.add(Break::Begin);
        }
        let (mut previous, mut at) = (anchor.link, anchor.seq);
        each_line(&view, i64::MAX, |line, link| {
            let number = line.seq.cast_unsigned();
            if link != chain.link(&previous, line) {
                if line.seq > at + 1 {
                    audit.add(Break::Missing((at + 1).cast_unsigned(), number - 1));
                } else {
                    let event_id = line.event_id.to_owned();
                    audit.add(Break::Line {
                        seq: number,
                        event_id,
                    });
                }
            }
            audit.lines += 1;
            audit.span = Some((audit.span.map_or(number, |(first, _)| first), number));
            (previous, at) = (link, line.seq);
        })?;
        if !head.holds || head.link != previous || head.seq != at {
            let last = at.cast_unsigned();
            audit.add(Break::End { last });
        }
        Ok(audit)
    }
}

impl Audit {
    fn add(&mut self, found: Break) {
        if self.breaks.len() < NAMED {
            self.breaks.push(found);
        } else {
            self.more += 1;
        }
    }

    /// Whether every line is as it was written.
    pub fn is_whole(&self) -> bool {
        self.breaks.is_empty()
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

/// Goes through the lines up to number `last`, each with its link; one that is no link is broken.
fn each_line(
    connection: &rusqlite::Connection,
    last: i64,
    mut take: impl FnMut(&Line<'_>, Link),
) -> rusqlite::Result<()> {
    let mut lines = connection.prepare(
        "select seq, event_id, ts, clock_synced, json, link from event where seq <= ?1 order by seq",
    )?;
    let mut rows = lines.query([last])?;
    while let Some(row) = rows.next()? {
        let link = row.get_ref(5)?.as_blob().map_err(rusqlite::Error::from)?;
        take(&line(row)?, link.try_into().unwrap_or(BROKEN));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
