//! What the desk reads of a PostgreSQL database, through a connection of its own.
//!
//! Promises: alerts of the buckets that this process serves come in the order of their commits, none left out;
//! a lost connection is an error once and then a new connection. Never: a write, a lock.

use firmware_shared::alert::Alert;
use firmware_shared::id::Epoch;
use firmware_shared::topic::bucket;
use tokio::runtime::Runtime;
use tokio_postgres::Client;

use super::{connect, fault, in_time, unsigned};
use crate::config::{Buckets, Postgres as Reach};
use crate::desk::{Fed, Feed, FeedError, Known, SensorKnown};
use crate::ingest::{Link, SinkError};

/// A database, read by some buckets.
#[derive(Debug)]
pub(crate) struct PostgresFeed {
    reach: Reach,
    buckets: Buckets,
    runtime: Runtime,
    client: Option<Client>,
}

impl From<SinkError> for FeedError {
    fn from(error: SinkError) -> Self {
        Self(error.to_string())
    }
}

impl PostgresFeed {
    /// A feed that connects when it is first asked.
    pub(crate) fn new(reach: &Reach, buckets: Buckets) -> Result<Self, FeedError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| FeedError(error.to_string()))?;
        Ok(Self {
            reach: reach.clone(),
            buckets,
            runtime,
            client: None,
        })
    }

    fn with<T>(
        &mut self,
        work: impl AsyncFnOnce(&Client) -> Result<T, SinkError>,
    ) -> Result<T, FeedError> {
        let Self {
            reach,
            runtime,
            client,
            ..
        } = self;
        let client = match client.take().filter(|client| !client.is_closed()) {
            Some(open) => client.insert(open),
            None => client.insert(runtime.block_on(in_time(connect(reach)))?),
        };
        Ok(runtime.block_on(in_time(work(client)))?)
    }

    fn range(&self) -> (i16, i16) {
        (self.buckets.first.into(), self.buckets.last.into())
    }
}

impl Feed for PostgresFeed {
    fn name(&self) -> String {
        self.buckets.to_string()
    }

    fn last(&mut self) -> Result<i64, FeedError> {
        let (first, last) = self.range();
        self.with(async |client| {
            let row = client
                .query_one(
                    "SELECT coalesce(max(n), 0) FROM alert_feed WHERE bucket BETWEEN $1 AND $2",
                    &[&first, &last],
                )
                .await
                .map_err(fault)?;
            row.try_get(0).map_err(fault)
        })
    }

    fn alerts_behind(&mut self, n: i64, limit: usize) -> Result<Vec<Fed>, FeedError> {
        let (first, last) = self.range();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.with(async |client| {
            let rows = client
                .query(
                    "SELECT f.n, a.json, a.utc_ms, a.received_ms FROM alert_feed AS f
                     JOIN alerts AS a USING (device, epoch, seq)
                     WHERE f.n > $1 AND f.bucket BETWEEN $2 AND $3 ORDER BY f.n LIMIT $4",
                    &[&n, &first, &last, &limit],
                )
                .await
                .map_err(fault)?;
            rows.iter()
                .map(|row| {
                    let json: &str = row.try_get(1).map_err(fault)?;
                    let alert: Alert = serde_json::from_str(json)
                        .map_err(|error| SinkError::Refused(error.to_string()))?;
                    Ok(Fed {
                        n: row.try_get(0).map_err(fault)?,
                        alert,
                        utc_ms: row.try_get(2).map_err(fault)?,
                        received_ms: row.try_get(3).map_err(fault)?,
                    })
                })
                .collect()
        })
    }

    fn vehicles(&mut self) -> Result<Vec<Known>, FeedError> {
        let buckets = self.buckets;
        self.with(async |client| {
            let rows = client
                .query(
                    "SELECT d.device, d.epoch, d.link, d.seen_ms, e.software, s.received_ms, s.json
                     FROM devices AS d
                     LEFT JOIN epochs AS e ON e.device = d.device AND e.epoch = d.epoch
                     LEFT JOIN statuses AS s ON s.device = d.device",
                    &[],
                )
                .await
                .map_err(fault)?;
            let mut vehicles = Vec::new();
            for row in &rows {
                let known = known(row)?;
                if (buckets.first..=buckets.last).contains(&bucket(&known.device)) {
                    vehicles.push(known);
                }
            }
            for vehicle in &mut vehicles {
                vehicle.sensors = sensors(client, vehicle).await?;
            }
            Ok(vehicles)
        })
    }
}

fn known(row: &tokio_postgres::Row) -> Result<Known, SinkError> {
    let epoch: Option<i64> = row.try_get(1).map_err(fault)?;
    let software: Option<String> = row.try_get(4).map_err(fault)?;
    let received_ms: Option<i64> = row.try_get(5).map_err(fault)?;
    let json: Option<&str> = row.try_get(6).map_err(fault)?;
    let status = json.and_then(|json| serde_json::from_str(json).ok());
    Ok(Known {
        device: super::parsed(row, 0, |text| text.parse().ok())?,
        link: super::parsed(row, 2, |text| Some(Link::from_name(text)))?,
        seen_ms: row.try_get(3).map_err(fault)?,
        epoch: epoch
            .and_then(|epoch| u64::try_from(epoch).ok())
            .and_then(Epoch::from_number),
        software: software.unwrap_or_default(),
        sensors: Vec::new(),
        status: received_ms.zip(status),
    })
}

async fn sensors(client: &Client, vehicle: &Known) -> Result<Vec<SensorKnown>, SinkError> {
    let Some(epoch) = vehicle.epoch else {
        return Ok(Vec::new());
    };
    let rows = client
        .query(
            "SELECT sensor, name, role, CASE kind WHEN 'health' THEN 0::bigint ELSE period_ms END,
                 calibration_until::date - date '1970-01-01'
             FROM catalogues WHERE device = $1 AND epoch = $2",
            &[&vehicle.device.as_str(), &super::number(epoch.number())],
        )
        .await
        .map_err(fault)?;
    rows.iter()
        .map(|row| {
            Ok(SensorKnown {
                index: u8::try_from(unsigned(row, 0)?).unwrap_or(u8::MAX),
                name: row.try_get(1).map_err(fault)?,
                role: row.try_get(2).map_err(fault)?,
                period_ms: u32::try_from(unsigned(row, 3)?).unwrap_or(u32::MAX),
                calibration_until_day: row.try_get(4).map_err(fault)?,
            })
        })
        .collect()
}
