//! The audit trail as a chain of lines: appending, and telling where it is broken.

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::chain::{Chain, Line, Link};
use super::{Store, StoreError};

/// The last line that pruning took.
pub(super) const ANCHOR: &str = "anchor";
/// The newest line.
const HEAD: &str = "head";

/// What a line is linked to whose forerunner was not what it had been left as. No key gives it, so
/// that the break stays visible.
const BROKEN: Link = [0xff; 32];

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
pub(super) struct End {
    pub(super) seq: i64,
    pub(super) link: Link,
    /// Whether it is where it was left.
    pub(super) holds: bool,
}

impl End {
    pub(super) fn read(
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

    pub(super) fn write(
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

/// Goes through the lines up to number `last`, each with its link; one that is no link is broken.
pub(super) fn each_line(
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
