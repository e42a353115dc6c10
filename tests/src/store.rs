//! The central database, as any SQL reader sees it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rusqlite::{Connection, OpenFlags};

/// Which database a centre writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL database, by its URL.
    Postgres(String),
}

/// A reader of the database.
pub struct Store(Reader);

enum Reader {
    Sqlite(Connection),
    Postgres(RefCell<postgres::Client>),
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
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
    /// Opens a SQLite database read-only.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .with_context(|| format!("open {}", path.display()))?;
        connection.busy_timeout(Duration::from_secs(10))?;
        Ok(Self(Reader::Sqlite(connection)))
    }

    /// Opens any database.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub fn at(place: &Place) -> anyhow::Result<Self> {
        match place {
            Place::Sqlite(path) => Self::open(path),
            Place::Postgres(url) => {
                let client = postgres::Client::connect(url, postgres::NoTls)?;
                Ok(Self(Reader::Postgres(RefCell::new(client))))
            }
        }
    }

    /// The telemetry of a device.
    ///
    /// # Errors
    /// When the table is not as documented.
    pub fn telemetry(&self, device: &str) -> anyhow::Result<Vec<Row>> {
        let columns = "epoch, seq, sensor, kind, boottime_ms, utc_ms, raw, lat, lon";
        match &self.0 {
            Reader::Sqlite(connection) => {
                let mut query = connection.prepare(&format!(
                    "SELECT {columns} FROM readings \
                     WHERE device = ?1 AND lane = 'telemetry' ORDER BY epoch, seq"
                ))?;
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
            Reader::Postgres(client) => {
                let sql = format!(
                    "SELECT {columns} FROM readings \
                     WHERE device = $1 AND lane = 'telemetry' ORDER BY epoch, seq"
                );
                let rows = client.borrow_mut().query(&sql, &[&device])?;
                rows.iter()
                    .map(|row| {
                        Ok(Row {
                            epoch: row.try_get(0)?,
                            seq: row.try_get::<_, i64>(1)?.unsigned_abs(),
                            sensor: u8::try_from(row.try_get::<_, i16>(2)?)?,
                            kind: row.try_get(3)?,
                            boottime_ms: row.try_get::<_, i64>(4)?.unsigned_abs(),
                            utc_ms: row.try_get(5)?,
                            raw: row.try_get(6)?,
                            lat: row.try_get::<_, Option<i32>>(7)?.map(i64::from),
                            lon: row.try_get::<_, Option<i32>>(8)?.map(i64::from),
                        })
                    })
                    .collect()
            }
        }
    }

    /// One number from a query without parameters.
    ///
    /// # Errors
    /// When the query fails or gives no number.
    pub fn number(&self, sql: &str) -> anyhow::Result<i64> {
        match &self.0 {
            Reader::Sqlite(connection) => connection
                .query_row(sql, [], |row| row.get(0))
                .with_context(|| sql.to_owned()),
            Reader::Postgres(client) => {
                let row = client.borrow_mut().query_one(sql, &[]);
                Ok(row.with_context(|| sql.to_owned())?.try_get(0)?)
            }
        }
    }

    /// One number from a query with a device as its parameter `?1`.
    ///
    /// # Errors
    /// When the query fails or gives no number.
    pub fn number_of(&self, sql: &str, device: &str) -> anyhow::Result<i64> {
        match &self.0 {
            Reader::Sqlite(connection) => connection
                .query_row(sql, [device], |row| row.get(0))
                .with_context(|| sql.to_owned()),
            Reader::Postgres(client) => {
                let sql = sql.replace("?1", "$1");
                let row = client.borrow_mut().query_one(&sql, &[&device]);
                Ok(row.with_context(|| sql.clone())?.try_get(0)?)
            }
        }
    }

    /// All rows of a query that gives three numbers each.
    ///
    /// # Errors
    /// When the query fails or gives something else.
    pub fn numbers(&self, sql: &str) -> anyhow::Result<Vec<[i64; 3]>> {
        match &self.0 {
            Reader::Sqlite(connection) => {
                let mut query = connection.prepare(sql)?;
                let rows =
                    query.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))?;
                Ok(rows.collect::<Result<_, _>>()?)
            }
            Reader::Postgres(client) => {
                let rows = client.borrow_mut().query(sql, &[])?;
                rows.iter()
                    .map(|row| Ok([row.try_get(0)?, row.try_get(1)?, row.try_get(2)?]))
                    .collect()
            }
        }
    }

    /// Changes something behind the centre's back; only a PostgreSQL database is opened for that.
    ///
    /// # Errors
    /// When the statement fails or the database is a file.
    pub fn tamper(&self, sql: &str) -> anyhow::Result<()> {
        match &self.0 {
            Reader::Sqlite(_) => anyhow::bail!("opened read-only"),
            Reader::Postgres(client) => Ok(client.borrow_mut().batch_execute(sql)?),
        }
    }
}
