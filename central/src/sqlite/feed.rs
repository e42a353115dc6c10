//! What the desk reads of a SQLite database.
//!
//! Promises: alerts come in the order of their commits, none left out. Never: a write.

use std::path::Path;

use firmware_shared::alert::Alert;
use firmware_shared::id::Epoch;
use rusqlite::{Connection, OpenFlags};

use super::{parsed, unsigned};
use crate::desk::{Fed, Feed, FeedError, Known, SensorKnown};
use crate::ingest::Link;

/// A reader may meet a checkpoint; it waits instead of failing.
const BUSY_MS: u64 = 5_000;

/// A database, open for reading.
#[derive(Debug)]
pub(crate) struct SqliteFeed {
    connection: Connection,
}

impl SqliteFeed {
    /// Opens a database that is there, in its latest version.
    pub(crate) fn open(path: &Path) -> Result<Self, FeedError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
        Ok(Self { connection })
    }
}

impl From<rusqlite::Error> for FeedError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

impl Feed for SqliteFeed {
    fn name(&self) -> String {
        "all".to_owned()
    }

    fn last(&mut self) -> Result<i64, FeedError> {
        let last: Option<i64> =
            self.connection
                .query_row("SELECT max(n) FROM alert_feed", [], |row| row.get(0))?;
        Ok(last.unwrap_or(0))
    }

    fn alerts_behind(&mut self, n: i64, limit: usize) -> Result<Vec<Fed>, FeedError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT f.n, a.json, a.utc_ms, a.received_ms FROM alert_feed AS f
             JOIN alerts AS a USING (device, epoch, seq)
             WHERE f.n > ?1 ORDER BY f.n LIMIT ?2",
        )?;
        let mut rows = statement.query((n, i64::try_from(limit).unwrap_or(i64::MAX)))?;
        let mut alerts = Vec::new();
        while let Some(row) = rows.next()? {
            let json: String = row.get(1)?;
            let alert: Alert =
                serde_json::from_str(&json).map_err(|error| FeedError(error.to_string()))?;
            alerts.push(Fed {
                n: row.get(0)?,
                alert,
                utc_ms: row.get(2)?,
                received_ms: row.get(3)?,
            });
        }
        Ok(alerts)
    }

    fn vehicles(&mut self) -> Result<Vec<Known>, FeedError> {
        let mut statement = self.connection.prepare(
            "SELECT d.device, d.epoch, d.link, d.seen_ms, e.software, s.received_ms, s.json
             FROM devices AS d LEFT JOIN epochs AS e ON e.device = d.device AND e.epoch = d.epoch
             LEFT JOIN statuses AS s ON s.device = d.device",
        )?;
        let rows = statement.query_map([], |row| {
            let epoch: Option<i64> = row.get(1)?;
            let software: Option<String> = row.get(4)?;
            let status = match (
                row.get::<_, Option<i64>>(5)?,
                row.get::<_, Option<String>>(6)?,
            ) {
                (Some(at), Some(json)) => {
                    serde_json::from_str(&json).ok().map(|status| (at, status))
                }
                _ => None,
            };
            Ok(Known {
                device: parsed(row, 0, |text| text.parse().ok())?,
                link: parsed(row, 2, |text| Some(Link::from_name(text)))?,
                seen_ms: row.get(3)?,
                epoch: epoch
                    .and_then(|epoch| u64::try_from(epoch).ok())
                    .and_then(Epoch::from_number),
                software: software.unwrap_or_default(),
                sensors: Vec::new(),
                status,
            })
        })?;
        let mut vehicles = rows.collect::<Result<Vec<_>, _>>()?;
        for vehicle in &mut vehicles {
            if let Some(epoch) = vehicle.epoch {
                vehicle.sensors = self.sensors(vehicle.device.as_str(), epoch)?;
            }
        }
        Ok(vehicles)
    }
}

impl SqliteFeed {
    fn sensors(&self, device: &str, epoch: Epoch) -> Result<Vec<SensorKnown>, FeedError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT sensor, name, role, CASE kind WHEN 'health' THEN 0 ELSE period_ms END,
                 CAST(julianday(calibration_until) - 2440587.5 AS INTEGER)
             FROM catalogues WHERE device = ?1 AND epoch = ?2",
        )?;
        let rows = statement.query_map((device, super::number(epoch.number())), |row| {
            Ok(SensorKnown {
                index: row.get(0)?,
                name: row.get(1)?,
                role: row.get(2)?,
                period_ms: u32::try_from(unsigned(row, 3)?).unwrap_or(u32::MAX),
                calibration_until_day: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
