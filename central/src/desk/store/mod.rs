//! The desk's own file: items, events, notes, audit log, and who is still to be told.
//!
//! Promises: a list of changes is one transaction that is on disk before anybody hears of it; an id of an event
//! or a notification is never given twice; one centre writes. Never: a judgement; a file of a later version or of
//! another program touched.

mod orders;
mod read;
mod write;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

pub(crate) use orders::Orders;
pub(crate) use read::Reader;
pub(super) use write::Store;

use super::event::Event;
use super::item::{AlertItem, Note};
use crate::sqlite;

/// The version that this program writes.
const VERSION: i64 = 1;
/// "FlDk": marks a file as the desk's.
const APPLICATION_ID: i64 = 0x466c_446b;
const BUSY: Duration = Duration::from_secs(5);

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("cannot use {}: {source}", path.display())]
    File {
        path: PathBuf,
        source: rusqlite::Error,
    },
    #[error("{} is not a file of the desk (application id {found:#x})", path.display())]
    Foreign { path: PathBuf, found: i64 },
    #[error("{} has schema version {found}; this program knows versions up to {VERSION}", path.display())]
    Later { path: PathBuf, found: i64 },
    #[error(transparent)]
    Lock(#[from] sqlite::OpenError),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("an item of the desk cannot be read: {0}")]
    Item(#[from] serde_json::Error),
}

/// One thing to write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    Item(Box<AlertItem>),
    Event(Event),
    Note(Note),
    Audit(Audited),
    /// Somebody is to be told.
    Owe(Owed),
    /// An attempt failed; the next one is at `next_ms`.
    Attempted {
        id: i64,
        attempts: u32,
        next_ms: i64,
        outcome: String,
    },
    /// It is told, or given up.
    Done {
        id: i64,
        at_ms: i64,
        attempts: u32,
        outcome: String,
    },
    /// Alerts up to this place of the feed are taken.
    Cursor {
        feed: String,
        n: i64,
    },
    /// A command of another process is done.
    Answered {
        command: i64,
        result: String,
    },
    /// What is closed and older goes.
    Expire {
        before_ms: i64,
    },
}

/// Who did what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Audited {
    pub(super) at_ms: i64,
    pub(super) who: String,
    pub(super) what: String,
    pub(super) subject: String,
    pub(super) detail: String,
}

/// A notification that a route owes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) id: i64,
    pub(crate) route: String,
    pub(crate) key: String,
    pub(crate) alert_id: String,
    pub(crate) created_ms: i64,
    /// It waits for the schedule of its route.
    pub(crate) not_before_ms: Option<i64>,
    pub(crate) body: String,
    pub(crate) attempts: u32,
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let file = |source| StoreError::File {
        path: path.to_owned(),
        source,
    };
    let connection = Connection::open_with_flags(path, flags).map_err(file)?;
    connection.busy_timeout(BUSY).map_err(file)?;
    Ok(connection)
}

/// Sees to it that this is a whole file of the desk which this program can read.
///
/// # Errors
/// When it is another's, or a later version's.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let (found, version) = marks(connection)?;
    if found != APPLICATION_ID {
        return Err(StoreError::Foreign {
            path: path.to_owned(),
            found,
        });
    }
    if version > VERSION {
        return Err(StoreError::Later {
            path: path.to_owned(),
            found: version,
        });
    }
    Ok(())
}

/// Whose file it is, and of which version.
fn marks(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get(0));
    Ok((pragma("application_id")?, pragma("user_version")?))
}

/// Opens for writing, and brings an older file up to date.
pub(crate) fn open_to_write(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = open(path, OpenFlags::default())?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // An event's id that a power cut takes back could be given to another event.
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let tables: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    let is_empty = marks(&transaction)? == (0, 0) && tables == 0;
    if !is_empty {
        check(&transaction, path)?;
    }
    if is_empty {
        transaction.execute_batch(include_str!("schema.sql"))?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok(connection)
}
