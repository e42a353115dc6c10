//! A database of a large fleet, written row by row behind the centre's back.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
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

/// Sends for the whole fleet, each vehicle once in [`LIVE_PERIOD_S`], until it is dropped.
pub(crate) struct Live {
    is_over: Arc<AtomicBool>,
    sender: Option<JoinHandle<anyhow::Result<()>>>,
}

/// Each vehicle of the live fleet seals so often.
pub(crate) const LIVE_PERIOD_S: i64 = 10;
/// The fleet in so many steps.
const LIVE_STEPS: i64 = 100;

impl Live {
    pub(crate) fn start(path: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        let is_over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_over);
        let sender = std::thread::spawn(move || send(connection, &told));
        Ok(Self {
            is_over,
            sender: Some(sender),
        })
    }

    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        let sender = self.sender.take().context("it is stopped once")?;
        sender
            .join()
            .map_err(|_| anyhow::anyhow!("the fleet panicked"))?
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn send(mut connection: Connection, is_over: &AtomicBool) -> anyhow::Result<()> {
    let step = Duration::from_secs(1) * u32::try_from(LIVE_PERIOD_S)? / u32::try_from(LIVE_STEPS)?;
    let begin = std::time::Instant::now();
    for round in 0.. {
        std::thread::park_timeout((step * round).saturating_sub(begin.elapsed()));
        if is_over.load(Ordering::Relaxed) {
            return Ok(());
        }
        let now = std::time::UNIX_EPOCH.elapsed()?;
        let now_ms = i64::try_from(now.as_millis())?;
        let transaction = connection.transaction()?;
        let size = VEHICLES / LIVE_STEPS;
        let first = i64::from(round) % LIVE_STEPS * size + 1;
        for number in first..first + size {
            let cycle = i64::from(round) / LIVE_STEPS;
            sealed(&transaction, number, now_ms, cycle)?;
        }
        transaction.commit()?;
    }
    Ok(())
}

/// A batch with a reading of each sensor.
fn sealed(connection: &Connection, number: i64, now_ms: i64, cycle: i64) -> anyhow::Result<()> {
    let device = format!("truck-{number:04}");
    // Far behind everything that was filled in.
    let seq = 1_000_000_000 + cycle * SENSORS;
    connection
        .prepare_cached("UPDATE devices SET seen_ms = ?2 WHERE device = ?1")?
        .execute(params![device, now_ms])?;
    let at_ms = DAYS * 86_400_000 + cycle * LIVE_PERIOD_S * 1_000;
    for sensor in 0..SENSORS {
        let is_position = sensor == 2;
        connection
            .prepare_cached(
                "INSERT INTO reading (stream, seq, sensor, kind, boottime_ms, utc_ms, score, raw, lat, lon, \
                 utc_error_ms, utc_source) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8, ?9, 20, 4)",
            )?
            .execute(params![
                number,
                seq + sensor,
                sensor,
                i64::from(is_position),
                at_ms,
                now_ms,
                (!is_position).then_some(512 + (cycle * 7 + number) % 128),
                is_position.then_some(480_000_000 + number * 30_000 + cycle * 100),
                is_position.then_some(70_000_000 + (number * 7_919 % 2_000) * 40_000 + cycle * 100),
            ])?;
    }
    connection
        .prepare_cached(
            "INSERT INTO batches (device, epoch, lane, first_seq, count, codec, crc, len, base_ms, received_ms, \
             utc_source) VALUES (?1, ?2, 'telemetry', ?3, ?4, 1, 0, 200, ?5, ?6, 4)",
        )?
        .execute(params![device, EPOCH, seq, SENSORS, at_ms, now_ms])?;
    Ok(())
}
