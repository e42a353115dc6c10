//! A database of a large fleet, written row by row behind the centre's back.

use std::path::Path;

use rusqlite::{Connection, params};

pub(crate) const VEHICLES: i64 = 2_000;
pub(crate) const DAYS: i64 = 30;
/// Every vehicle has a reading of each sensor in so many seconds, the observed one more often.
const PERIOD_S: i64 = 3_600;
const OBSERVED_PERIOD_S: i64 = 10;
const EPOCH: i64 = 0x1234_5678_9abc;
const SENSORS: i64 = 3;

/// The vehicle with the dense month.
pub(crate) const OBSERVED: &str = "truck-0001";

/// Fills a database that the centre has made; the data ends at `now_ms`. Tells how many readings there are.
pub(crate) fn fill(path: &Path, now_ms: i64) -> anyhow::Result<i64> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    let transaction = connection.transaction()?;
    let mut readings = 0;
    for number in 1..=VEHICLES {
        let period_s = if number == 1 {
            OBSERVED_PERIOD_S
        } else {
            PERIOD_S
        };
        readings += vehicle(&transaction, number, now_ms, period_s)?;
    }
    transaction.commit()?;
    Ok(readings)
}

fn vehicle(
    connection: &Connection,
    number: i64,
    now_ms: i64,
    period_s: i64,
) -> anyhow::Result<i64> {
    let device = format!("truck-{number:04}");
    connection.prepare_cached("INSERT INTO devices (device, epoch, births, link, seen_ms) VALUES (?1, ?2, 1, 'up', ?3)")?
        .execute(params![device, EPOCH, now_ms])?;
    connection.prepare_cached(
        "INSERT INTO epochs (device, epoch, boot_id, born_order, clean, software) VALUES (?1, ?2, ?3, 1, 0, '0.1.0')",
    )?
        .execute(params![device, EPOCH, format!("{number:032x}")])?;
    for (sensor, name, kind, unit) in [
        (0, "load", "temperature", "degC"),
        (1, "return", "temperature", "degC"),
        (2, "gnss", "position", ""),
    ] {
        connection.prepare_cached(
            "INSERT INTO catalogues (device, epoch, sensor, name, kind, unit, role, calibration, period_ms, version) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'load', 0, ?7, 1)",
        )?
            .execute(params![device, EPOCH, sensor, name, kind, unit, period_s * 1_000])?;
    }
    connection
        .prepare_cached(
            "INSERT INTO streams (stream, device, epoch, lane) VALUES (?1, ?2, ?3, 'telemetry')",
        )?
        .execute(params![number, device, EPOCH])?;
    let begin_ms = now_ms - DAYS * 86_400_000;
    let steps = DAYS * 86_400 / period_s;
    let mut reading = connection.prepare_cached(
        "INSERT INTO reading (stream, seq, sensor, kind, boottime_ms, utc_ms, score, raw, lat, lon, utc_error_ms, utc_source) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8, ?9, 20, 4)",
    )?;
    let mut batch = connection.prepare_cached(
        "INSERT INTO batches (device, epoch, lane, first_seq, count, codec, crc, len, base_ms, received_ms, utc_source) \
         VALUES (?1, ?2, 'telemetry', ?3, ?4, 1, 0, 200, ?5, ?6, 4)",
    )?;
    for step in 0..steps {
        let at_ms = step * period_s * 1_000;
        for sensor in 0..SENSORS {
            let is_position = sensor == 2;
            let kind = if is_position { 1 } else { 0 };
            let raw = (!is_position).then_some(512 + (step * 7 + number) % 128);
            let lat = is_position.then_some(480_000_000 + number * 30_000 + step % 1_000 * 100);
            let lon = is_position
                .then_some(70_000_000 + (number * 7_919 % 2_000) * 40_000 + step % 1_000 * 100);
            let seq = step * SENSORS + sensor;
            reading.execute(params![
                number,
                seq,
                sensor,
                kind,
                at_ms,
                begin_ms + at_ms,
                raw,
                lat,
                lon
            ])?;
        }
        // Twenty steps are a batch, received two seconds after its end.
        if step % 20 == 0 {
            let count = SENSORS * 20.min(steps - step);
            let received_ms = (begin_ms + (step + 20) * period_s * 1_000 + 2_000).min(now_ms);
            batch.execute(params![
                device,
                EPOCH,
                step * SENSORS,
                count,
                at_ms,
                received_ms
            ])?;
        }
    }
    let last = steps * SENSORS - 1;
    connection.prepare_cached("INSERT INTO have_set (device, epoch, lane, first_seq, last_seq) VALUES (?1, ?2, 'telemetry', 0, ?3)")?
        .execute(params![device, EPOCH, last])?;
    Ok(last + 1)
}
