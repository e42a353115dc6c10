//! The central database, as any SQL reader sees it.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rusqlite::{Connection, OpenFlags};

/// A read-only view of the database.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
}

/// One row of `readings`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// Epoch.
    pub epoch: i64,
    /// Number.
    pub seq: u64,
    /// Sensor index.
    pub sensor: u8,
    /// Kind.
    pub kind: String,
    /// Stamp.
    pub boottime_ms: u64,
    /// UTC, if known.
    pub utc_ms: Option<i64>,
    /// Temperature, 1/128 degC.
    pub raw: Option<i64>,
    /// Latitude, 1e-7 degree.
    pub lat: Option<i64>,
    /// Longitude, 1e-7 degree.
    pub lon: Option<i64>,
}

impl Store {
    /// Opens the database read-only.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .with_context(|| format!("open {}", path.display()))?;
        connection.busy_timeout(Duration::from_secs(10))?;
        Ok(Self { connection })
    }

    /// The telemetry of a device.
    ///
    /// # Errors
    /// When the table is not as documented.
    pub fn telemetry(&self, device: &str) -> anyhow::Result<Vec<Row>> {
        let mut query = self.connection.prepare(
            "SELECT epoch, seq, sensor, kind, boottime_ms, utc_ms, raw, lat, lon FROM readings \
             WHERE device = ?1 AND lane = 'telemetry' ORDER BY epoch, seq",
        )?;
        let rows = query.query_map([device], |row| {
            Ok(Row {
                epoch: row.get(0)?,
                seq: row.get::<_, i64>(1)?.unsigned_abs(),
                sensor: row.get(2)?,
                kind: row.get(3)?,
                boottime_ms: row.get::<_, i64>(4)?.unsigned_abs(),
                utc_ms: row.get(5)?,
                raw: row.get(6)?,
                lat: row.get(7)?,
                lon: row.get(8)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One number from a query without parameters.
    ///
    /// # Errors
    /// When the query fails or gives no number.
    pub fn number(&self, sql: &str) -> anyhow::Result<i64> {
        self.connection
            .query_row(sql, [], |row| row.get(0))
            .with_context(|| sql.to_owned())
    }

    /// One number from a query with a device as its parameter.
    ///
    /// # Errors
    /// When the query fails or gives no number.
    pub fn number_of(&self, sql: &str, device: &str) -> anyhow::Result<i64> {
        self.connection
            .query_row(sql, [device], |row| row.get(0))
            .with_context(|| sql.to_owned())
    }
}
