//! Events: into the audit trail, and through the outbox to the broker.

use std::borrow::Cow;

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Transaction};

use super::chain::{Chain, Line, escaped};
use super::{Store, StoreError, audit, immediate};
use crate::event::VerificationEvent;

/// What recording an event did.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// The event with its number.
    pub event: VerificationEvent,
    /// Older events that had to leave the full outbox unsent; the audit trail keeps them.
    pub dropped: u32,
}

/// Numbers of events that cannot be read, and why.
type Unreadable = Vec<(i64, String)>;

impl Store {
    /// Numbers `event` and writes it to the audit trail and, to be published, to the outbox: all
    /// of it or, on an error, nothing. Its `seq` is replaced.
    ///
    /// A person who was removed since the decision is not named.
    pub fn record(
        &mut self,
        mut event: VerificationEvent,
        publish: bool,
    ) -> Result<Recorded, StoreError> {
        let Self {
            connection,
            chain,
            outbox_limit,
            ..
        } = self;
        let unfit = |event_id: &str, detail: String| StoreError::Event {
            event_id: event_id.to_owned(),
            detail,
        };
        let ts: Timestamp = event
            .ts
            .parse()
            .map_err(|e| unfit(&event.event_id, format!("ts = \"{}\": {e}", event.ts)))?;
        let transaction = immediate(connection)?;
        let seq: i64 = transaction.query_row(
            "update counter set value = value + 1 where name = 'event_seq' returning value",
            [],
            |row| row.get(0),
        )?;
        event.seq = seq.cast_unsigned();
        let json =
            serde_json::to_string(&event).map_err(|e| unfit(&event.event_id, e.to_string()))?;
        let json = match without_strangers(&transaction, chain, &event, &json)? {
            Cow::Borrowed(json) => Cow::Borrowed(json),
            Cow::Owned(json) => {
                event = serde_json::from_str(&json)
                    .map_err(|e| unfit(&event.event_id, e.to_string()))?;
                Cow::Owned(json)
            }
        };
        let line = Line {
            seq,
            event_id: &event.event_id,
            ts: ts.as_millisecond(),
            clock_synced: event.clock_synced,
            json: &json,
        };
        audit::append(&transaction, chain, &line)?;
        let mut dropped = 0;
        if publish {
            transaction.execute("insert into outbox (seq) values (?1)", [seq])?;
            dropped = shorten(&transaction, *outbox_limit)?;
        }
        transaction.commit()?;
        Ok(Recorded { event, dropped })
    }

    /// The oldest `limit` events that the broker has not acknowledged. One of them that cannot be
    /// read leaves the outbox, counted among the dropped, so that it holds up no other; the audit
    /// trail keeps it.
    pub fn pending(&mut self, limit: u32) -> Result<Vec<VerificationEvent>, StoreError> {
        self.waiting(
            "select seq, json from outbox join event using (seq) order by seq limit ?1",
            limit,
        )
    }

    /// The newest `limit` of them, oldest first.
    pub fn newest(&mut self, limit: u32) -> Result<Vec<VerificationEvent>, StoreError> {
        let sql = "select seq, json from outbox join event using (seq) order by seq desc limit ?1";
        let mut events = self.waiting(sql, limit)?;
        events.reverse();
        Ok(events)
    }

    /// Takes acknowledged events out of the outbox; the audit trail keeps them. Ids that are not
    /// there do no harm.
    pub fn acknowledge(&mut self, event_ids: &[String]) -> Result<(), StoreError> {
        let transaction = immediate(&mut self.connection)?;
        {
            let mut statement = transaction.prepare_cached(
                "delete from outbox where seq = (select seq from event where event_id = ?1)",
            )?;
            for event_id in event_ids {
                statement.execute([event_id])?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Events that wait for the broker.
    pub fn outbox_len(&self) -> Result<u32, StoreError> {
        Ok(self
            .connection
            .query_row("select count(*) from outbox", [], |row| row.get(0))?)
    }

    /// Events that ever left the outbox unsent, because it was full, or they were too old or could not
    /// be read.
    pub fn outbox_dropped(&self) -> Result<u64, StoreError> {
        self.counter("outbox_dropped")
    }

    /// The newest `limit` events of the audit trail, newest first. One that cannot be read is told
    /// in the log and left out; [`Store::verify_audit`] names it.
    pub fn recent(&self, limit: u32) -> Result<Vec<VerificationEvent>, StoreError> {
        let sql = "select seq, json from event order by seq desc limit ?1";
        let (events, unreadable) = self.read_events(sql, limit)?;
        for (seq, detail) in unreadable {
            log::warn!("event {seq} of the audit trail cannot be read: {detail}");
        }
        Ok(events)
    }

    /// Events of the outbox, which those leave that cannot be read.
    fn waiting(&mut self, sql: &str, limit: u32) -> Result<Vec<VerificationEvent>, StoreError> {
        let (events, unreadable) = self.read_events(sql, limit)?;
        for (seq, detail) in unreadable {
            log::error!("event {seq} cannot be read and is not sent: {detail}");
            // Those that can be read are sent even where nothing can be written.
            if let Err(error) = self.discard(seq) {
                log::error!("event {seq} cannot leave the outbox: {error}");
            }
        }
        Ok(events)
    }

    fn discard(&mut self, seq: i64) -> rusqlite::Result<()> {
        let transaction = immediate(&mut self.connection)?;
        transaction.execute("delete from outbox where seq = ?1", [seq])?;
        count_dropped(&transaction, 1)?;
        transaction.commit()
    }

    /// The events of rows with `seq` and `json`, and apart from them the numbers of those that are
    /// none, each with what is wrong.
    fn read_events(
        &self,
        sql: &str,
        limit: u32,
    ) -> Result<(Vec<VerificationEvent>, Unreadable), StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([limit])?;
        let (mut events, mut unreadable) = (Vec::new(), Vec::new());
        while let Some(row) = rows.next()? {
            let json = row.get_ref(1)?.as_bytes().unwrap_or_default();
            match serde_json::from_slice(json) {
                Ok(event) => events.push(event),
                Err(error) => unreadable.push((row.get(0)?, error.to_string())),
            }
        }
        Ok((events, unreadable))
    }
}

/// The JSON of `event` without the names of subjects that are not there (any more).
fn without_strangers<'a>(
    transaction: &Transaction<'_>,
    chain: &Chain,
    event: &VerificationEvent,
    json: &'a str,
) -> rusqlite::Result<Cow<'a, str>> {
    let runner_up = event.runner_up.as_ref().map(|r| &r.subject_id);
    let mut strangers = Vec::new();
    for name in event.subject_id.iter().chain(runner_up) {
        let sql = "select 1 from subject where name = ?1";
        let mut known = transaction.prepare_cached(sql)?;
        if known.query_row([name], |_| Ok(())).optional()?.is_none() {
            strangers.push(escaped(name));
        }
    }
    Ok(chain.without(&event.event_id, json, |name| {
        strangers.iter().any(|s| s == name)
    }))
}

/// Drops the oldest events of the outbox beyond `limit`, and counts them.
fn shorten(transaction: &Transaction<'_>, limit: u32) -> rusqlite::Result<u32> {
    let waiting: u32 =
        transaction.query_row("select count(*) from outbox", [], |row| row.get(0))?;
    let excess = waiting.saturating_sub(limit);
    if excess > 0 {
        transaction.execute(
            "delete from outbox where seq in (select seq from outbox order by seq limit ?1)",
            [excess],
        )?;
        count_dropped(transaction, excess)?;
    }
    Ok(excess)
}

/// Counts events that leave the outbox unsent.
pub(super) fn count_dropped(transaction: &Transaction<'_>, events: u32) -> rusqlite::Result<usize> {
    transaction.execute(
        "update counter set value = value + ?1 where name = 'outbox_dropped'",
        [events],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StoreSection;
    use crate::event::sample;

    #[test]
    fn an_event_that_cannot_be_read_holds_up_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let section = StoreSection {
            path: folder.path().join("doorward.db"),
            ..StoreSection::default()
        };
        let mut store = Store::open(&section, Timestamp::UNIX_EPOCH).unwrap();
        for number in 1..=4 {
            store.record(sample(number), true).unwrap();
        }
        for spoil in [
            "update event set json = substr(json, 1, 99) where seq = 2",
            "update event set json = cast(x'ff' as text) where seq = 4",
        ] {
            assert_eq!(store.connection.execute(spoil, []), Ok(1));
        }
        let seqs = |events: Vec<VerificationEvent>| -> Vec<u64> {
            events.iter().map(|event| event.seq).collect()
        };
        assert!(store.newest(1).unwrap().is_empty());
        assert_eq!(store.outbox_dropped().unwrap(), 1);
        for _ in 0..2 {
            assert_eq!(seqs(store.pending(10).unwrap()), [1, 3]);
            assert_eq!(store.outbox_dropped().unwrap(), 2);
            assert_eq!(store.outbox_len().unwrap(), 2);
        }
        assert_eq!(seqs(store.recent(10).unwrap()), [3, 1]);
        assert_eq!(store.verify_audit().unwrap().lines, 4, "the trail keeps it");
    }

    #[test]
    fn a_full_disk_is_an_error_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let section = StoreSection {
            path: folder.path().join("doorward.db"),
            ..StoreSection::default()
        };
        let mut store = Store::open(&section, Timestamp::UNIX_EPOCH).unwrap();
        let limit = |store: &Store, pages: u32| {
            // SQLite then says "full" as it does for a full disk.
            store
                .connection
                .pragma_update(None, "max_page_count", pages)
                .unwrap();
        };
        limit(&store, 30);
        let mut kept = 0;
        let error = loop {
            match store.record(sample(kept), true) {
                Ok(done) => kept = u32::try_from(done.event.seq).unwrap(),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, StoreError::Full(_)), "{error}");
        assert!(kept > 0);
        assert_eq!(store.outbox_len().unwrap(), kept);
        store.check().unwrap();

        limit(&store, 1000);
        let done = store.record(sample(kept), true).unwrap();
        assert_eq!(
            done.event.seq,
            u64::from(kept) + 1,
            "no number is lost to the failure"
        );
    }
}
