//! Questions to a SQLite file that another thread or process writes.
//!
//! Promises: the file is opened read-only; a question that takes too long is interrupted. Never: a lock that
//! keeps the writer waiting.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, ToSql};

use super::{Cell, QUESTION_MS_MAX, QueryError, Row, Rows};
use crate::clock;

/// A reader may meet a checkpoint.
const BUSY_MS: u64 = 5_000;
/// The clock is looked at after so many steps of SQLite's machine: some microseconds.
const STEPS: i32 = 10_000;
/// Enough for every question.
const STATEMENTS_MAX: usize = 64;
/// What a question about a month walks through again when it is asked again.
const CACHE_KIB: i64 = 8 * 1024;

/// An open file.
#[derive(Debug)]
pub(super) struct SqliteRows {
    connection: Connection,
    deadline_ms: Arc<AtomicU64>,
    patience_ms: u64,
}

impl SqliteRows {
    pub(super) fn open(path: &Path) -> Result<Self, QueryError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(fault)?;
        connection
            .busy_timeout(Duration::from_millis(BUSY_MS))
            .map_err(fault)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        connection
            .pragma_update(None, "cache_size", -CACHE_KIB)
            .map_err(fault)?;
        let deadline_ms = Arc::new(AtomicU64::new(u64::MAX));
        let limit = Arc::clone(&deadline_ms);
        connection
            .progress_handler(
                STEPS,
                Some(move || clock::monotonic_ms() > limit.load(Ordering::Relaxed)),
            )
            .map_err(fault)?;
        Ok(Self {
            connection,
            deadline_ms,
            patience_ms: QUESTION_MS_MAX,
        })
    }

    /// Every further question takes too long.
    #[cfg(test)]
    pub(super) fn expire(&mut self) {
        self.patience_ms = 0;
    }
}

fn fault(error: rusqlite::Error) -> QueryError {
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => QueryError::TooLong,
        _ => QueryError::Unavailable(error.to_string()),
    }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Int(value) => ToSqlOutput::Owned(Value::Integer(*value)),
            Self::Real(value) => ToSqlOutput::Owned(Value::Real(*value)),
            Self::Text(value) => ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes())),
        })
    }
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Integer(value) => Cell::Int(value),
        ValueRef::Real(value) => Cell::Real(value),
        ValueRef::Text(value) => Cell::Text(String::from_utf8_lossy(value).into_owned()),
        ValueRef::Null | ValueRef::Blob(_) => Cell::Null,
    }
}

impl Rows for SqliteRows {
    fn each(
        &mut self,
        sql: &'static str,
        params: &[Cell],
        row: &mut dyn FnMut(Row<'_>),
    ) -> Result<(), QueryError> {
        let deadline_ms = clock::monotonic_ms().saturating_add(self.patience_ms);
        self.deadline_ms.store(deadline_ms, Ordering::Relaxed);
        // `$1` is a name to SQLite and counts by first appearance; `?1` is the first one.
        let sql = sql.replace('$', "?");
        let mut statement = self.connection.prepare_cached(&sql).map_err(fault)?;
        let columns = statement.column_count();
        let mut cells = Vec::with_capacity(columns);
        let mut found = statement
            .query(rusqlite::params_from_iter(params))
            .map_err(fault)?;
        while let Some(next) = found.next().map_err(fault)? {
            cells.clear();
            for index in 0..columns {
                cells.push(cell(next.get_ref(index).map_err(fault)?));
            }
            row(Row(&cells));
        }
        Ok(())
    }
}
