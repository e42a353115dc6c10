//! One vehicle: its process starts, its sensors, and what they said last.

use serde::Serialize;
use utoipa::ToSchema;

use super::seek::{self, Stream};
use super::{Cell, QueryError, Row, Rows, first, hex, list};

/// The newest readings that are looked through for a last value of each sensor. A sensor that speaks more
/// rarely is found by its own number of periods, or shows when it speaks again.
const NEWEST_MAX: i64 = 512;
/// The same for figures of the gateway, which come together once a minute.
const HEALTH_MAX: i64 = 32;

/// A vehicle as `devices` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) epoch: Option<u64>,
    pub(crate) link: String,
    pub(crate) seen_ms: i64,
}

/// A sensor of the latest process start of a vehicle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Sensor {
    /// Its number in readings of this process start.
    pub(crate) index: u64,
    /// What people call it.
    pub(crate) name: String,
    /// `temperature`, `position`, `scalar`, `state`.
    pub(crate) kind: String,
    /// The unit of its values; empty for none.
    pub(crate) unit: String,
    /// `load`, `supply`, `door`, ...
    pub(crate) role: String,
    /// Where it sits; empty when nobody said so.
    pub(crate) compartment: String,
    /// Time between two of its readings.
    pub(crate) period_ms: u64,
    /// The last day on which its calibration counts.
    pub(crate) calibration_until: Option<String>,
}

/// The last reading of a sensor.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Latest {
    /// The sensor's name; `#` and its number when nobody named it.
    pub(crate) sensor: String,
    pub(crate) kind: String,
    /// `null` for a position or a fault.
    pub(crate) value: Option<f64>,
    pub(crate) unit: Option<String>,
    /// Why there is no value.
    pub(crate) fault: Option<String>,
    /// How unusual it is: 0 is ordinary, 1000 is certain.
    pub(crate) score: i64,
    /// `null` while nobody knows the time.
    pub(crate) utc_ms: Option<i64>,
    pub(crate) utc_error_ms: Option<i64>,
    /// `gnss`, `ntp`, `rtc`, `fake`, `none`.
    pub(crate) utc_source: String,
}

/// Where a vehicle is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Position {
    pub(crate) lat_deg: f64,
    pub(crate) lon_deg: f64,
    pub(crate) speed_mps: Option<f64>,
    pub(crate) course_deg: Option<f64>,
    pub(crate) utc_ms: Option<i64>,
}

/// What the gateway says about itself; `null` where it does not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Gateway {
    pub(crate) rss_bytes: Option<i64>,
    /// Bytes that wait in the spool.
    pub(crate) spool_bytes: Option<i64>,
    /// Age of the oldest reading that the centre has not acknowledged.
    pub(crate) oldest_unsent_ms: Option<i64>,
    /// From a publish to the centre's acknowledgement.
    pub(crate) ack_latency_ms: Option<i64>,
    pub(crate) connections: Option<i64>,
    pub(crate) readings_lost: Option<i64>,
    /// 0: the spool is on flash, 1: in memory alone.
    pub(crate) spool_mode: Option<i64>,
    /// Bytes of the data plan that this month has used.
    pub(crate) plan_used_bytes: Option<i64>,
    /// Bytes of the data plan in a month; `null` without a limit.
    pub(crate) plan_month_bytes: Option<i64>,
}

/// What is known of a vehicle at a moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Snapshot {
    pub(crate) software: String,
    /// Receipt of the frame with the newest reading.
    pub(crate) received_ms: Option<i64>,
    pub(crate) latest: Vec<Latest>,
    pub(crate) position: Option<Position>,
    pub(crate) gateway: Gateway,
    /// Readings that the spool threw away to make room.
    pub(crate) evicted_count: u64,
}

fn device(row: Row<'_>) -> Option<Device> {
    Some(Device {
        name: row.text(0)?,
        epoch: row.unsigned(1),
        link: row.text(2)?,
        seen_ms: row.int(3)?,
    })
}

/// Every vehicle.
pub(crate) fn devices(rows: &mut dyn Rows) -> Result<Vec<Device>, QueryError> {
    let sql = "SELECT device, epoch, link, seen_ms FROM devices ORDER BY device";
    list(rows, sql, &[], device)
}

/// One vehicle; `None` when there is none of this name.
pub(crate) fn find(rows: &mut dyn Rows, name: &str) -> Result<Option<Device>, QueryError> {
    first(
        rows,
        "SELECT device, epoch, link, seen_ms FROM devices WHERE device = CAST($1 AS TEXT)",
        &[Cell::text(name)],
        device,
    )
}

/// The sensors of a process start.
pub(crate) fn sensors(
    rows: &mut dyn Rows,
    name: &str,
    epoch: u64,
) -> Result<Vec<Sensor>, QueryError> {
    list(
        rows,
        "SELECT sensor, name, kind, unit, role, compartment, period_ms, calibration_until FROM catalogues \
         WHERE device = CAST($1 AS TEXT) AND epoch = CAST($2 AS BIGINT) ORDER BY sensor",
        &[Cell::text(name), Cell::int(epoch)],
        |row| {
            Some(Sensor {
                index: row.unsigned(0)?,
                name: row.text(1)?,
                kind: row.text(2)?,
                unit: row.text(3)?,
                role: row.text(4)?,
                compartment: row.text(5)?,
                period_ms: row.unsigned(6)?,
                calibration_until: row.text(7),
            })
        },
    )
}

/// What a vehicle said last.
pub(crate) fn snapshot(rows: &mut dyn Rows, device: &Device) -> Result<Snapshot, QueryError> {
    let mut found = Snapshot {
        evicted_count: evicted(rows, &device.name)?,
        ..Snapshot::default()
    };
    let Some(epoch) = device.epoch else {
        return Ok(found);
    };
    let parameters = [Cell::text(&device.name), Cell::int(epoch)];
    let sql = "SELECT software FROM epochs WHERE device = CAST($1 AS TEXT) AND epoch = CAST($2 AS BIGINT)";
    found.software = first(rows, sql, &parameters, |row| row.text(0))?.unwrap_or_default();
    let sensors = sensors(rows, &device.name, epoch)?;
    found.received_ms = received(rows, &device.name, epoch)?;
    let latest_of = |lane: &str, rows: &mut dyn Rows| -> Result<Option<Stream>, QueryError> {
        let streams = seek::streams(rows, &device.name, lane)?;
        Ok(streams.into_iter().find(|stream| stream.epoch == epoch))
    };
    if let Some(stream) = latest_of("telemetry", rows)? {
        newest(rows, stream, &sensors, &mut found)?;
    }
    if let Some(stream) = latest_of("health", rows)? {
        found.gateway = gateway(rows, &device.name, stream)?;
    }
    Ok(found)
}

fn evicted(rows: &mut dyn Rows, name: &str) -> Result<u64, QueryError> {
    let sql = "SELECT CAST(coalesce(sum(last_seq - first_seq + 1), 0) AS BIGINT) FROM losses \
               WHERE device = CAST($1 AS TEXT) AND reason = 'evicted'";
    let sum = first(rows, sql, &[Cell::text(name)], |row| row.unsigned(0))?;
    Ok(sum.unwrap_or_default())
}

/// When the frame with the newest telemetry came.
fn received(rows: &mut dyn Rows, name: &str, epoch: u64) -> Result<Option<i64>, QueryError> {
    let sql = "SELECT received_ms FROM frames WHERE device = CAST($1 AS TEXT) AND epoch = CAST($2 AS BIGINT) \
               AND lane = 'telemetry' ORDER BY first_seq DESC LIMIT 1";
    first(rows, sql, &[Cell::text(name), Cell::int(epoch)], |row| {
        row.int(0)
    })
}

fn newest(
    rows: &mut dyn Rows,
    stream: Stream,
    sensors: &[Sensor],
    found: &mut Snapshot,
) -> Result<(), QueryError> {
    // Enough rows that every sensor that keeps its period is among them, were they all equally quick.
    let limit = (sensors.len().saturating_mul(16)).clamp(32, 512);
    let limit = i64::try_from(limit).unwrap_or(NEWEST_MAX);
    let mut seen = std::collections::BTreeSet::new();
    let mut latest = Vec::new();
    let mut position = None;
    rows.each(
        "SELECT r.sensor, r.kind, r.value, r.unit, r.fault, r.score, r.utc_ms, r.utc_error_ms, r.utc_source, \
         r.lat, r.lon, r.speed_mm_s, r.course_1e5_deg \
         FROM (SELECT * FROM reading WHERE stream = CAST($1 AS BIGINT) ORDER BY seq DESC LIMIT CAST($2 AS BIGINT)) AS q \
         JOIN streams AS s ON s.stream = q.stream \
         JOIN readings AS r ON r.device = s.device AND r.epoch = s.epoch AND r.lane = s.lane AND r.seq = q.seq \
         ORDER BY r.seq DESC",
        &[Cell::Int(stream.number), Cell::Int(limit)],
        &mut |row| {
            let Some(index) = row.unsigned(0) else { return };
            let kind = row.text(1).unwrap_or_default();
            if position.is_none() && kind == "position" {
                position = place(row);
            }
            if seen.insert(index) {
                latest.push((index, last(row, kind, name_of(sensors, index))));
            }
        },
    )?;
    latest.sort_by_key(|(index, _)| *index);
    found.latest = latest.into_iter().map(|(_, latest)| latest).collect();
    found.position = position;
    Ok(())
}

fn name_of(sensors: &[Sensor], index: u64) -> String {
    let named = sensors.iter().find(|sensor| sensor.index == index);
    named.map_or_else(|| format!("#{index}"), |sensor| sensor.name.clone())
}

fn last(row: Row<'_>, kind: String, sensor: String) -> Latest {
    Latest {
        sensor,
        kind,
        value: row.real(2),
        unit: row.text(3),
        fault: row.text(4),
        score: row.int(5).unwrap_or_default(),
        utc_ms: row.int(6),
        utc_error_ms: row.int(7),
        utc_source: row.text(8).unwrap_or_default(),
    }
}

fn place(row: Row<'_>) -> Option<Position> {
    Some(Position {
        lat_deg: row.real(9)? / 1e7,
        lon_deg: row.real(10)? / 1e7,
        speed_mps: row.real(11).map(|mm_s| mm_s / 1e3),
        course_deg: row.real(12).map(|course| course / 1e5),
        utc_ms: row.int(6),
    })
}

fn gateway(rows: &mut dyn Rows, name: &str, stream: Stream) -> Result<Gateway, QueryError> {
    let mut gateway = Gateway::default();
    rows.each(
        "SELECT metric, raw FROM readings WHERE device = CAST($1 AS TEXT) AND epoch = CAST($2 AS BIGINT) \
         AND lane = 'health' AND kind = 'health' ORDER BY seq DESC LIMIT CAST($3 AS BIGINT)",
        &[Cell::text(name), Cell::int(stream.epoch), Cell::Int(HEALTH_MAX)],
        &mut |row| {
            let place = match row.text(0).as_deref() {
                Some("rss_bytes") => &mut gateway.rss_bytes,
                Some("spool_bytes") => &mut gateway.spool_bytes,
                Some("oldest_unsent_ms") => &mut gateway.oldest_unsent_ms,
                Some("ack_latency_ms") => &mut gateway.ack_latency_ms,
                Some("connections") => &mut gateway.connections,
                Some("readings_lost") => &mut gateway.readings_lost,
                Some("spool_mode") => &mut gateway.spool_mode,
                Some("plan_used_bytes") => &mut gateway.plan_used_bytes,
                Some("plan_month_bytes") => &mut gateway.plan_month_bytes,
                _ => return,
            };
            if place.is_none() {
                *place = row.int(1);
            }
        },
    )?;
    Ok(gateway)
}

/// A process start of a vehicle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Epoch {
    /// 16 hex digits.
    pub(crate) epoch: String,
    pub(crate) software: String,
    /// It ended with a clean stop.
    pub(crate) clean: bool,
    pub(crate) sensors: Vec<Sensor>,
}

/// The latest process start with its sensors.
pub(crate) fn latest_epoch(
    rows: &mut dyn Rows,
    device: &Device,
) -> Result<Option<Epoch>, QueryError> {
    let Some(epoch) = device.epoch else {
        return Ok(None);
    };
    let sql = "SELECT software, CAST(clean AS INTEGER) FROM epochs \
               WHERE device = CAST($1 AS TEXT) AND epoch = CAST($2 AS BIGINT)";
    let parameters = [Cell::text(&device.name), Cell::int(epoch)];
    let found = first(rows, sql, &parameters, |row| {
        Some((row.text(0)?, row.int(1)? != 0))
    })?;
    let (software, clean) = found.unwrap_or_default();
    Ok(Some(Epoch {
        epoch: hex(epoch),
        software,
        clean,
        sensors: sensors(rows, &device.name, epoch)?,
    }))
}
