//! Readers beside the writer.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::write::rank;
use super::{APPLICATION_ID, Event, Note, Owed, StoreError, open};
use crate::desk::event::EventKind;
use crate::desk::item::{AlertItem, AuditEntry, Filter, ITEMS_MAX};

/// The desk's file, open for reading; one question at a time.
#[derive(Debug)]
pub(crate) struct Reader {
    connection: Mutex<Connection>,
}

impl Reader {
    /// Opens a file that is there.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = open(path, flags)?;
        let found: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        if found != APPLICATION_ID {
            return Err(StoreError::Foreign {
                path: path.to_owned(),
                found,
            });
        }
        Ok(Self {
            connection: Mutex::new(connection),
        })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A connection has no state that a panic of another reader could have broken.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn item(&self, id: &str) -> Result<Option<AlertItem>, StoreError> {
        item_by_id(&self.connection(), id)
    }

    /// Items that pass the filter, the latest first.
    pub(crate) fn items(&self, filter: &Filter) -> Result<Vec<AlertItem>, StoreError> {
        let limit = match filter.limit {
            0 => ITEMS_MAX,
            limit => limit.min(ITEMS_MAX),
        };
        let open = match filter.open {
            Some(true) => "AND is_open = 1",
            Some(false) => "AND is_open = 0",
            None => "",
        };
        let (after_ms, after_id) = match &filter.after {
            Some((ms, id)) => (*ms, Some(id.as_str())),
            None => (i64::MAX, None),
        };
        let connection = self.connection();
        let mut statement = connection.prepare_cached(&format!(
            "SELECT body FROM item
             WHERE received_ms >= ?1 AND received_ms < ?2 AND severity >= ?3
                 AND (?5 IS NULL OR (received_ms, id) < (?4, ?5)) {open}
             ORDER BY received_ms DESC, id DESC"
        ))?;
        let mut rows = statement.query(params![
            filter.from_ms.unwrap_or(i64::MIN),
            filter.to_ms.unwrap_or(i64::MAX),
            filter.severity.map_or(0, rank),
            after_ms,
            after_id,
        ])?;
        let mut items = Vec::new();
        while let Some(row) = rows.next()? {
            let item: AlertItem = serde_json::from_str(row.get_ref(0)?.as_str().unwrap_or(""))?;
            if filter.takes(&item) {
                items.push(item);
            }
            if items.len() >= limit {
                break;
            }
        }
        Ok(items)
    }

    pub(crate) fn notes(&self, alert_id: &str) -> Result<Vec<Note>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT alert_id, at_ms, who, text FROM note WHERE alert_id = ?1 ORDER BY id",
        )?;
        let rows = statement.query_map([alert_id], |row| {
            Ok(Note {
                alert_id: row.get(0)?,
                at_ms: row.get(1)?,
                who: row.get(2)?,
                text: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The latest entries, newest first.
    pub(crate) fn audit(&self, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT id, at_ms, who, what, subject, detail FROM audit ORDER BY id DESC LIMIT ?1",
        )?;
        let rows = statement.query_map([count(limit)], |row| {
            Ok(AuditEntry {
                id: row.get(0)?,
                at_ms: row.get(1)?,
                who: row.get(2)?,
                what: row.get(3)?,
                subject: row.get(4)?,
                detail: row.get(5)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Events behind an id, in their order.
    pub(crate) fn events(&self, behind: i64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT id, at_ms, kind, alert_id, device, body FROM event WHERE id > ?1
             ORDER BY id LIMIT ?2",
        )?;
        let rows = statement.query_map(params![behind, count(limit)], |row| {
            let kind: String = row.get(2)?;
            Ok(Event {
                id: row.get(0)?,
                at_ms: row.get(1)?,
                kind: EventKind::from_name(&kind).unwrap_or(EventKind::Alert),
                alert_id: row.get(3)?,
                device: row.get(4)?,
                body: row.get(5)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The first and the last event that are kept.
    pub(crate) fn event_bounds(&self) -> Result<Option<(i64, i64)>, StoreError> {
        let connection = self.connection();
        let bounds: (Option<i64>, Option<i64>) =
            connection.query_row("SELECT min(id), max(id) FROM event", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        Ok(bounds.0.zip(bounds.1))
    }

    /// What each route owes.
    pub(crate) fn owed_counts(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT route, count(*) FROM outbox WHERE done_ms IS NULL GROUP BY route",
        )?;
        let rows = statement.query_map([], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn item_by_id(
    connection: &Connection,
    id: &str,
) -> Result<Option<AlertItem>, StoreError> {
    let body: Option<String> = connection
        .prepare_cached("SELECT body FROM item WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    Ok(body.map(|body| serde_json::from_str(&body)).transpose()?)
}

pub(super) fn owed_of(
    connection: &Connection,
    route: &str,
    behind: i64,
    limit: usize,
) -> Result<Vec<Owed>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, route, key, alert_id, created_ms, not_before_ms, body, attempts FROM outbox
         WHERE route = ?1 AND id > ?2 AND done_ms IS NULL ORDER BY id LIMIT ?3",
    )?;
    let rows = statement.query_map(params![route, behind, count(limit)], |row| {
        Ok(Owed {
            id: row.get(0)?,
            route: row.get(1)?,
            key: row.get(2)?,
            alert_id: row.get(3)?,
            created_ms: row.get(4)?,
            not_before_ms: row.get(5)?,
            body: row.get(6)?,
            attempts: row.get(7)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
