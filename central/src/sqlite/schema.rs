//! The tables, their versions, and the views that people query.
//!
//! Promises: a database of any earlier version is brought to [`VERSION`] in one transaction; one of a later
//! version, or of another program, is refused untouched. The views are made from the contract's own names
//! and remade when these change. Never: an existing migration edited.

use firmware_shared::checksum::crc32c;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::views;

/// The version that this program writes.
pub(crate) const VERSION: i64 = 5;
/// "FlGw": marks a file as ours.
const APPLICATION_ID: i64 = 0x466c_4777;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaError {
    #[error("a database of another program (application id {0:#x})")]
    Foreign(i64),
    #[error("schema version {found}; this program knows versions up to {VERSION}")]
    Later { found: i64 },
    #[error("schema version {found}; start `fleet-central run` once to bring it to {VERSION}")]
    Earlier { found: i64 },
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// The version of the schema, 0 for an empty file.
///
/// # Errors
/// When the file is another program's.
pub(crate) fn version(connection: &Connection) -> Result<i64, SchemaError> {
    let application: i64 = pragma(connection, "application_id")?;
    let version: i64 = pragma(connection, "user_version")?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    let is_empty = tables == 0 && version == 0 && application == 0;
    if application != APPLICATION_ID && !is_empty {
        return Err(SchemaError::Foreign(application));
    }
    Ok(version)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// Brings the database to [`VERSION`] and its views up to date.
///
/// # Errors
/// When it is a later version's or another program's, or cannot be written.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), SchemaError> {
    let found = version(connection)?;
    if found > VERSION {
        return Err(SchemaError::Later { found });
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if found < 1 {
        transaction.execute_batch(include_str!("schema/v1.sql"))?;
    }
    if found < 2 {
        transaction.execute_batch(include_str!("schema/v2.sql"))?;
        fill_quarantine_prints(&transaction)?;
    }
    if found < 3 {
        transaction.execute_batch(include_str!("schema/v3.sql"))?;
    }
    if found < 4 {
        transaction.execute_batch(include_str!("schema/v4.sql"))?;
    }
    if found < 5 {
        transaction.execute_batch(include_str!("schema/v5.sql"))?;
    }
    if found < VERSION {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    for (name, sql) in views::all() {
        remake(&transaction, name, &sql)?;
    }
    transaction.commit()?;
    Ok(())
}

fn fill_quarantine_prints(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut select = transaction.prepare("SELECT id, bytes FROM quarantine")?;
    let mut update = transaction.prepare("UPDATE quarantine SET crc = ?2 WHERE id = ?1")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (id, bytes): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        update.execute((id, i64::from(crc32c(&bytes))))?;
    }
    Ok(())
}

/// Makes a view or trigger anew unless it is there in these words. A view takes its triggers with it, so
/// they come after it.
fn remake(transaction: &Transaction<'_>, name: &str, sql: &str) -> rusqlite::Result<()> {
    let stored: Option<(String, String)> = transaction
        .query_row(
            "SELECT type, sql FROM sqlite_master WHERE name = ?1",
            [name],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    match stored {
        Some((_, stored)) if stored == sql => Ok(()),
        Some((kind, _)) => transaction.execute_batch(&format!("DROP {kind} {name}; {sql};")),
        None => transaction.execute_batch(&format!("{sql};")),
    }
}
