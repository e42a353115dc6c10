//! `fleet-central verify`: is every number that was issued stored once, or explained?
//!
//! Promises: counts what is in the tables, not what the have-set says of them; reads one consistent
//! snapshot of a live database and writes nothing. Never: a gap called anything but a gap.

mod account;
mod print;
mod report;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::ingest::StreamKey;
use crate::sqlite::{schema, stream_key};
use account::account;
pub(crate) use print::table;
pub(crate) use report::{DeviceReport, Report};

/// A reader may meet a checkpoint; it waits instead of failing.
const BUSY_MS: u64 = 5_000;

/// Reads a database and reports on it.
///
/// # Errors
/// When the file cannot be read or is not a fleet database of this version.
pub(crate) fn verify(path: &Path) -> anyhow::Result<Report> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)
        .map_err(|error| anyhow::anyhow!("cannot open {}: {error}", path.display()))?;
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
    let found = schema::version(&connection)?;
    if found < schema::VERSION {
        return Err(schema::SchemaError::Earlier { found }.into());
    }
    if found > schema::VERSION {
        return Err(schema::SchemaError::Later { found }.into());
    }
    let snapshot = connection.transaction()?;
    let mut devices: BTreeMap<String, DeviceReport> = BTreeMap::new();
    for key in streams(&snapshot)? {
        let stream = account(&snapshot, &key)?;
        let device = key.device.as_str().to_owned();
        devices.entry(device).or_default().add(&key, &stream);
    }
    for (device, stamps) in duplicate_stamps(&snapshot)? {
        let report = devices.entry(device).or_default();
        report.duplicates += stamps;
        report.duplicate_stamps += stamps;
    }
    for (device, name, value) in counters(&snapshot)? {
        let report = devices.entry(device).or_default();
        match name.as_str() {
            "quarantined" => report.quarantined += value,
            "clashes" => report.clashes += value,
            _ => {}
        }
    }
    Ok(Report::new(devices))
}

/// Every stream that any table names.
fn streams(connection: &Connection) -> rusqlite::Result<Vec<StreamKey>> {
    connection
        .prepare(
            "SELECT device, epoch, lane FROM streams
             UNION SELECT device, epoch, lane FROM have_set
             UNION SELECT device, epoch, lane FROM issued
             UNION SELECT device, epoch, lane FROM losses
             UNION SELECT device, epoch, lane FROM batches
             UNION SELECT DISTINCT device, epoch, 'alert' FROM alerts
             ORDER BY 1, 2, 3",
        )?
        .query_map([], |row| stream_key(row, 0))?
        .collect()
}

/// Readings of one sensor with one stamp of one boot under different numbers, beyond the first of each.
/// An epoch whose boot nobody told is a boot of its own; figures of the gateway differ by metric, too.
fn duplicate_stamps(connection: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
    connection
        .prepare(
            "SELECT device, sum(extra) FROM (
                 SELECT s.device AS device, count(*) - 1 AS extra
                 FROM reading AS r
                 JOIN streams AS s ON s.stream = r.stream
                 LEFT JOIN epochs AS e ON e.device = s.device AND e.epoch = s.epoch
                 GROUP BY s.device, coalesce(e.boot_id, s.epoch), s.lane, r.sensor, r.boottime_ms,
                     CASE r.kind WHEN 5 THEN r.detail END
                 HAVING count(*) > 1)
             GROUP BY device",
        )?
        .query_map([], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
        })?
        .collect()
}

fn counters(connection: &Connection) -> rusqlite::Result<Vec<(String, String, u64)>> {
    connection
        .prepare("SELECT device, name, value FROM counters ORDER BY device, name")?
        .query_map([], |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get::<_, i64>(2)?.unsigned_abs(),
            ))
        })?
        .collect()
}
