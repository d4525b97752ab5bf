//! Commands that have been here before.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};

use super::{Store, StoreError, immediate};

/// Whether a command is a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is, and will not be so again.
    Never,
    /// It came before.
    Before,
    /// It was over before others that have been forgotten; only a clock that was set back lets it
    /// look as if it were not.
    Forgotten,
}

impl Store {
    /// Remembers a command by its nonce until it is over. One that was [`Seen::Never`] may be
    /// obeyed, once: it is remembered on the disk when this returns.
    ///
    /// Nonces of commands that are over at `now` are forgotten.
    pub fn take_nonce(
        &mut self,
        nonce: &[u8; 16],
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<Seen, StoreError> {
        let (expires, now) = (expires_at.as_millisecond(), now.as_millisecond());
        let transaction = immediate(&mut self.connection)?;
        let sql = "select value from counter where name = 'command_floor'";
        let floor: i64 = transaction.query_row(sql, [], |row| row.get(0))?;
        if expires <= floor {
            return Ok(Seen::Forgotten);
        }
        let sql = "select 1 from command_nonce where nonce = ?1";
        let seen = transaction.query_row(sql, [nonce], |_| Ok(())).optional()?;
        if seen.is_some() {
            return Ok(Seen::Before);
        }
        transaction.execute(
            "update counter set value = max(value, coalesce( \
             (select max(expires) from command_nonce where expires <= ?1), 0)) \
             where name = 'command_floor'",
            [now],
        )?;
        transaction.execute("delete from command_nonce where expires <= ?1", [now])?;
        let sql = "insert into command_nonce (nonce, expires) values (?1, ?2)";
        transaction.execute(sql, params![nonce, expires])?;
        transaction.commit()?;
        Ok(Seen::Never)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::config::StoreSection;

    #[test]
    fn a_command_is_new_once_whatever_the_clock_does() {
        let folder = tempfile::tempdir().unwrap();
        let section = StoreSection {
            path: folder.path().join("doorward.db"),
            ..StoreSection::default()
        };
        let noon: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let at = |seconds| noon + SignedDuration::from_secs(seconds);
        let take = |nonce: u8, expires, now| {
            // A restart each time.
            let mut store = Store::open(&section, noon).unwrap();
            store
                .take_nonce(&[nonce; 16], at(expires), at(now))
                .unwrap()
        };
        assert_eq!(take(1, 5, 0), Seen::Never);
        assert_eq!(take(1, 5, 1), Seen::Before);
        assert_eq!(take(2, 60, 1), Seen::Never);
        // The first is over and forgotten; the second is not.
        assert_eq!(take(3, 15, 10), Seen::Never);
        let kept: u32 = Store::open(&section, noon)
            .unwrap()
            .connection
            .query_row("select count(*) from command_nonce", [], |row| row.get(0))
            .unwrap();
        assert_eq!(kept, 2);
        assert_eq!(take(2, 60, 11), Seen::Before);
        // The clock was set back.
        assert_eq!(take(1, 5, 0), Seen::Forgotten);
        assert_eq!(take(3, 15, 0), Seen::Before);
        assert_eq!(take(4, 6, 1), Seen::Never);
        assert_eq!(take(1, 5, 0), Seen::Forgotten, "for good");
    }
}
