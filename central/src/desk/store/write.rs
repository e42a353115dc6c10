//! The one writer.

use std::fs::File;
use std::path::Path;

use firmware_shared::alert::Severity;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::read::{item_by_id, owed_of};
use super::{Audited, Change, Event, Owed, StoreError, open_to_write};
use crate::desk::item::AlertItem;
use crate::sqlite;

/// So many events stay, however old: a reader that was away for a while goes on behind its last one.
const EVENTS_MIN: i64 = 10_000;

/// The desk's file, open for writing.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Connection,
    /// Keeps a second centre and a restore out.
    _lock: File,
}

impl Store {
    /// Opens or makes the file.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = sqlite::lock(path)?;
        Ok(Self {
            connection: open_to_write(path)?,
            _lock: lock,
        })
    }

    /// Writes all of it, or nothing.
    pub(crate) fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for change in changes {
            write(&transaction, change)?;
        }
        Ok(transaction.commit()?)
    }

    /// The id after the last one that this table ever gave.
    pub(crate) fn next_id(&self, table: &str) -> Result<i64, StoreError> {
        let last: Option<i64> = self
            .connection
            .query_row(
                "SELECT seq FROM sqlite_sequence WHERE name = ?1",
                [table],
                |row| row.get(0),
            )
            .optional()?;
        Ok(last.unwrap_or(0) + 1)
    }

    /// How far a feed was taken.
    pub(crate) fn cursor(&self, feed: &str) -> Result<Option<i64>, StoreError> {
        let name = format!("cursor {feed}");
        let mut statement = self
            .connection
            .prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
        Ok(statement.query_row([name], |row| row.get(0)).optional()?)
    }

    /// The least of all cursors: what a new feed begins behind.
    pub(crate) fn cursor_least(&self) -> Result<Option<i64>, StoreError> {
        Ok(self.connection.query_row(
            "SELECT min(value) FROM meta WHERE name LIKE 'cursor %'
                 AND name NOT LIKE '% history'",
            [],
            |row| row.get(0),
        )?)
    }

    pub(crate) fn item(&self, id: &str) -> Result<Option<AlertItem>, StoreError> {
        item_by_id(&self.connection, id)
    }

    /// Open items, and those received since.
    pub(crate) fn items_since(&self, since_ms: i64) -> Result<Vec<AlertItem>, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT body FROM item WHERE is_open = 1 OR received_ms >= ?1 OR changed_ms >= ?1
             ORDER BY received_ms, id",
        )?;
        let bodies = statement.query_map([since_ms], |row| row.get::<_, String>(0))?;
        bodies
            .map(|body| Ok(serde_json::from_str(&body?)?))
            .collect()
    }

    /// What a route owes, oldest first, behind an id, at most `limit`.
    pub(crate) fn owed(
        &self,
        route: &str,
        behind: i64,
        limit: usize,
    ) -> Result<Vec<Owed>, StoreError> {
        owed_of(&self.connection, route, behind, limit)
    }

    /// Commands of other processes that are not done.
    pub(crate) fn commands(&self) -> Result<Vec<(i64, String)>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, body FROM command WHERE result IS NULL ORDER BY id LIMIT 256",
        )?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Changes when another process has written the file.
    pub(crate) fn data_version(&self) -> Result<i64, StoreError> {
        Ok(self
            .connection
            .pragma_query_value(None, "data_version", |row| row.get(0))?)
    }
}

fn write(transaction: &Transaction<'_>, change: &Change) -> Result<(), StoreError> {
    match change {
        Change::Item(item) => put_item(transaction, item),
        Change::Event(event) => put_event(transaction, event),
        Change::Note(note) => execute(
            transaction,
            "INSERT INTO note (alert_id, at_ms, who, text) VALUES (?1, ?2, ?3, ?4)",
            params![note.alert_id, note.at_ms, note.who, note.text],
        ),
        Change::Audit(audited) => put_audit(transaction, audited),
        Change::Owe(owed) => execute(
            transaction,
            // What is owed or told already is not owed again.
            "INSERT OR IGNORE INTO outbox
                 (id, route, key, alert_id, created_ms, not_before_ms, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                owed.id,
                owed.route,
                owed.key,
                owed.alert_id,
                owed.created_ms,
                owed.not_before_ms,
                owed.body
            ],
        ),
        Change::Attempted {
            id,
            attempts,
            next_ms,
            outcome,
        } => execute(
            transaction,
            "UPDATE outbox SET attempts = ?2, next_ms = ?3, outcome = ?4 WHERE id = ?1",
            params![id, attempts, next_ms, outcome],
        ),
        Change::Done {
            id,
            at_ms,
            attempts,
            outcome,
        } => execute(
            transaction,
            "UPDATE outbox SET done_ms = ?2, attempts = ?3, outcome = ?4, next_ms = NULL WHERE id = ?1",
            params![id, at_ms, attempts, outcome],
        ),
        Change::Cursor { feed, n } => execute(
            transaction,
            "INSERT OR REPLACE INTO meta (name, value) VALUES ('cursor ' || ?1, ?2)",
            params![feed, n],
        ),
        Change::Answered { command, result } => execute(
            transaction,
            "UPDATE command SET result = ?2 WHERE id = ?1",
            params![command, result],
        ),
        Change::Expire { before_ms } => expire(transaction, *before_ms),
    }
}

fn execute(
    transaction: &Transaction<'_>,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<(), StoreError> {
    transaction.prepare_cached(sql)?.execute(params)?;
    Ok(())
}

/// The number of a severity in a column.
pub(super) fn rank(severity: Severity) -> i64 {
    match severity {
        Severity::Diagnostic => 0,
        Severity::Warning => 1,
        Severity::Critical => 2,
    }
}

fn put_item(transaction: &Transaction<'_>, item: &AlertItem) -> Result<(), StoreError> {
    let body = serde_json::to_string(item)?;
    execute(
        transaction,
        "INSERT OR REPLACE INTO item (id, device, severity, is_open, received_ms, changed_ms, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            item.id,
            item.device,
            rank(item.severity),
            item.is_open(),
            item.received_ms,
            item.changed_ms,
            body
        ],
    )
}

fn put_event(transaction: &Transaction<'_>, event: &Event) -> Result<(), StoreError> {
    execute(
        transaction,
        "INSERT INTO event (id, at_ms, kind, alert_id, device, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            event.id,
            event.at_ms,
            event.kind.name(),
            event.alert_id,
            event.device,
            event.body
        ],
    )
}

fn put_audit(transaction: &Transaction<'_>, audited: &Audited) -> Result<(), StoreError> {
    execute(
        transaction,
        "INSERT INTO audit (at_ms, who, what, subject, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            audited.at_ms,
            audited.who,
            audited.what,
            audited.subject,
            audited.detail
        ],
    )
}

fn expire(transaction: &Transaction<'_>, before_ms: i64) -> Result<(), StoreError> {
    execute(
        transaction,
        "DELETE FROM note WHERE alert_id IN
             (SELECT id FROM item WHERE is_open = 0 AND changed_ms < ?1)",
        [before_ms],
    )?;
    for sql in [
        "DELETE FROM item WHERE is_open = 0 AND changed_ms < ?1",
        "DELETE FROM audit WHERE at_ms < ?1",
        "DELETE FROM outbox WHERE done_ms < ?1",
        "DELETE FROM command WHERE result IS NOT NULL AND at_ms < ?1",
    ] {
        execute(transaction, sql, [before_ms])?;
    }
    execute(
        transaction,
        "DELETE FROM event WHERE at_ms < ?1 AND id <= (SELECT max(id) FROM event) - ?2",
        [before_ms, EVENTS_MIN],
    )
}
