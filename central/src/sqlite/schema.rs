//! The tables, their versions, and the views that people query.
//!
//! Promises: a database of any earlier version is brought to [`VERSION`] in one transaction; one of a later
//! version, or of another program, is refused untouched. The views are made from the contract's own names
//! and remade when these change. Never: an existing migration edited.

use firmware_shared::checksum::crc32c;
use firmware_shared::reading::{FaultKind, FixKind, Kind, Metric};
use firmware_shared::units::Unit;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

/// The version that this program writes.
pub(crate) const VERSION: i64 = 2;
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
    if found < VERSION {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    for (name, sql) in [
        ("readings", readings_view()),
        ("readings_named", named_view()),
    ] {
        remake_view(&transaction, name, &sql)?;
    }
    remake_trigger(&transaction)?;
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

fn remake_view(transaction: &Transaction<'_>, name: &str, sql: &str) -> rusqlite::Result<()> {
    let stored: Option<String> = transaction
        .query_row(
            "SELECT sql FROM sqlite_master WHERE type = 'view' AND name = ?1",
            [name],
            |row| row.get(0),
        )
        .optional()?;
    if stored.as_deref() != Some(sql) {
        transaction.execute_batch(&format!("DROP VIEW IF EXISTS {name}; {sql};"))?;
    }
    Ok(())
}

/// A person may delete rows through the view (a request to forget a vehicle, say); `verify` will tell.
fn remake_trigger(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "CREATE TRIGGER IF NOT EXISTS readings_delete INSTEAD OF DELETE ON readings BEGIN
             DELETE FROM reading
             WHERE seq = OLD.seq AND stream =
                 (SELECT stream FROM streams
                  WHERE device = OLD.device AND epoch = OLD.epoch AND lane = OLD.lane);
         END;",
    )
}

fn readings_view() -> String {
    let kind = names("r.kind", Kind::ALL.map(|kind| (kind as i64, kind.name())));
    let unit = names("r.detail", known(|n| Unit(n).symbol(), "?"));
    let fix = names("r.detail", known(|n| FixKind(n).name(), "unknown"));
    let fault = names("r.detail", known(|n| FaultKind(n).name(), "unknown"));
    let metric = names("r.detail", known(|n| Metric(n.into()).name(), "unknown"));
    let (temperature, position, scalar, state, fault_kind, health) = (
        Kind::Temperature as i64,
        Kind::Position as i64,
        Kind::Scalar as i64,
        Kind::State as i64,
        Kind::Fault as i64,
        Kind::Health as i64,
    );
    format!(
        "CREATE VIEW readings AS SELECT s.device, s.epoch, s.lane, r.seq, r.sensor, {kind} AS kind, \
         r.boottime_ms, r.utc_ms, \
         CASE r.kind WHEN {temperature} THEN r.raw / 128.0 WHEN {scalar} THEN r.scalar \
         WHEN {state} THEN CAST(r.raw AS REAL) WHEN {health} THEN CAST(r.raw AS REAL) END AS value, \
         CASE WHEN r.kind <> {fault_kind} THEN r.raw END AS raw, \
         CASE r.kind WHEN {temperature} THEN 'degC' WHEN {scalar} THEN {unit} END AS unit, \
         CASE r.kind WHEN {scalar} THEN r.aux END AS scale, \
         r.lat, r.lon, r.height_mm, r.speed_mm_s, r.course_1e5_deg, r.h_acc_mm, r.dop_centi, \
         r.satellites, \
         CASE r.kind WHEN {position} THEN {fix} END AS fix, \
         CASE r.kind WHEN {fault_kind} THEN {fault} END AS fault, \
         CASE r.kind WHEN {fault_kind} THEN r.aux END AS fault_register, \
         CASE r.kind WHEN {fault_kind} THEN r.raw END AS fault_code, \
         CASE r.kind WHEN {health} THEN {metric} END AS metric, \
         r.score FROM reading AS r JOIN streams AS s ON s.stream = r.stream"
    )
}

fn named_view() -> String {
    "CREATE VIEW readings_named AS SELECT r.*, c.name, c.role FROM readings AS r \
     LEFT JOIN catalogues AS c \
     ON c.device = r.device AND c.epoch = r.epoch AND c.sensor = r.sensor"
        .to_owned()
}

/// The numbers of an open set that have a name.
fn known<'a>(name: impl Fn(u8) -> &'a str, unknown: &'a str) -> Vec<(i64, &'a str)> {
    (0..=u8::MAX)
        .map(|n| (i64::from(n), name(n)))
        .filter(|(_, name)| *name != unknown)
        .collect()
}

/// A number as its name; a number without a name as `#number`.
fn names<'a>(column: &str, names: impl IntoIterator<Item = (i64, &'a str)>) -> String {
    let mut text = format!("CASE {column}");
    for (number, name) in names {
        text.push_str(&format!(" WHEN {number} THEN '{name}'"));
    }
    text + &format!(" ELSE '#' || {column} END")
}
