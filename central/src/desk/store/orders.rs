//! Orders of other processes, through the desk's file.
//!
//! Promises: an order is on disk before its giver goes on; only the running centre answers it. Never: a change of
//! an item from here.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::{APPLICATION_ID, StoreError, open};
use crate::desk::core::Command;

/// The desk's file, open to give orders.
#[derive(Debug)]
pub(crate) struct Orders {
    connection: Connection,
}

impl Orders {
    /// Opens a file that is there.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = open(path, flags)?;
        let found: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        match found == APPLICATION_ID {
            true => Ok(Self { connection }),
            false => Err(StoreError::Foreign {
                path: path.to_owned(),
                found,
            }),
        }
    }

    /// Gives an order; its number.
    pub(crate) fn give(&self, command: &Command, now_ms: i64) -> Result<i64, StoreError> {
        self.connection.execute(
            "INSERT INTO command (at_ms, body) VALUES (?1, ?2)",
            params![now_ms, serde_json::to_string(command)?],
        )?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Empty: done; text: why not; `None`: not yet.
    pub(crate) fn answer(&self, id: i64) -> Result<Option<String>, StoreError> {
        let answer: Option<Option<String>> = self
            .connection
            .query_row("SELECT result FROM command WHERE id = ?1", [id], |row| {
                row.get(0)
            })
            .optional()?;
        Ok(answer.flatten())
    }
}
