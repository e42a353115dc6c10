//! What is known about streams, epochs and devices: one row per fact.
//!
//! Promises: the last word stays, a reported next number only rises. Never: a commit, a swallowed error.

use firmware_shared::catalogue::{Catalogue, Details};
use firmware_shared::id::{DeviceId, Epoch};
use firmware_shared::message::Status;
use firmware_shared::time::{BootId, TimeAnchor};

use super::session::Session;
use super::{number, text};
use crate::ingest::{Alarm, DeviceRecord, EpochRecord, LossLedger, SinkError, StreamKey};

pub(super) async fn losses(
    session: &mut Session,
    key: &StreamKey,
    ledger: &LossLedger,
) -> Result<(), SinkError> {
    let (device, epoch) = (key.device.as_str(), number(key.stream.epoch.number()));
    let lane = key.stream.lane.name();
    session
        .execute(
            "DELETE FROM losses WHERE device = $1 AND epoch = $2 AND lane = $3",
            &[&device, &epoch, &lane],
        )
        .await?;
    let (mut firsts, mut lasts, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
    let (mut bounds, mut told) = (Vec::new(), Vec::new());
    for loss in ledger.closed() {
        firsts.push(number(loss.range.first_seq));
        lasts.push(Some(number(loss.range.last_seq)));
        reasons.push(loss.reason.name());
        bounds.push(None);
        told.push(None);
    }
    if let Some(tail) = ledger.tail() {
        firsts.push(number(tail.first_seq));
        lasts.push(None);
        reasons.push(tail.reason.name());
        bounds.push(tail.at_most.map(number));
        told.push(Some(number(tail.told_first_seq)));
    }
    session
        .execute(
            "INSERT INTO losses
                 (device, epoch, lane, first_seq, last_seq, reason, at_most, told_first_seq)
             SELECT $1, $2, $3, l.* FROM unnest($4::bigint[], $5::bigint[], $6::text[],
                 $7::bigint[], $8::bigint[]) AS l",
            &[
                &device, &epoch, &lane, &firsts, &lasts, &reasons, &bounds, &told,
            ],
        )
        .await
        .map(drop)
}

pub(super) async fn issued(
    session: &mut Session,
    key: &StreamKey,
    next_seq: u64,
) -> Result<(), SinkError> {
    session
        .execute(
            "INSERT INTO issued (device, epoch, lane, next_seq) VALUES ($1, $2, $3, $4)
             ON CONFLICT (device, epoch, lane)
             DO UPDATE SET next_seq = greatest(issued.next_seq, excluded.next_seq)",
            &[
                &key.device.as_str(),
                &number(key.stream.epoch.number()),
                &key.stream.lane.name(),
                &number(next_seq),
            ],
        )
        .await
        .map(drop)
}

pub(super) async fn epoch(
    session: &mut Session,
    device: &DeviceId,
    epoch: Epoch,
    record: &EpochRecord,
) -> Result<(), SinkError> {
    session
        .execute(
            "INSERT INTO epochs (device, epoch, boot_id, spool_id, incarnation,
                 born_order, birth_boottime_ms, clean, software)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (device, epoch) DO UPDATE SET boot_id = excluded.boot_id,
                 spool_id = excluded.spool_id, incarnation = excluded.incarnation,
                 born_order = excluded.born_order, birth_boottime_ms = excluded.birth_boottime_ms,
                 clean = excluded.clean, software = excluded.software",
            &[
                &device.as_str(),
                &number(epoch.number()),
                &record.boot.map(|boot| boot.to_string()),
                &record.spool_id.map(|id| format!("{id:016x}")),
                &record.incarnation.map(i64::from),
                &record.born_order.map(number),
                &record.birth_boottime_ms.map(number),
                &record.clean,
                &text(&record.software),
            ],
        )
        .await
        .map(drop)
}

pub(super) async fn catalogue(
    session: &mut Session,
    device: &DeviceId,
    epoch: Epoch,
    entries: &Catalogue,
    details: &Details,
) -> Result<(), SinkError> {
    for sensor in &entries.sensors {
        let detail = details.sensor(sensor.index);
        let day = detail.and_then(|detail| detail.calibration_until_day);
        session
            .execute(
                "INSERT INTO catalogues (device, epoch, sensor, name, kind, unit, role,
                     calibration, period_ms, version, compartment, calibration_until)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
                     (date '1970-01-01' + $12::integer)::text)
                 ON CONFLICT (device, epoch, sensor) DO UPDATE SET name = excluded.name,
                     kind = excluded.kind, unit = excluded.unit, role = excluded.role,
                     calibration = excluded.calibration, period_ms = excluded.period_ms,
                     version = excluded.version, compartment = excluded.compartment,
                     calibration_until = excluded.calibration_until",
                &[
                    &device.as_str(),
                    &number(epoch.number()),
                    &i64::from(sensor.index),
                    &text(&sensor.name),
                    &sensor.kind.name(),
                    &sensor.unit.symbol(),
                    &text(&sensor.role),
                    &i64::from(sensor.calibration),
                    &i64::from(sensor.period_ms),
                    &i64::from(entries.version),
                    &text(detail.map_or("", |detail| detail.compartment.as_str())),
                    &day,
                ],
            )
            .await?;
    }
    Ok(())
}

pub(super) async fn device(
    session: &mut Session,
    device: &DeviceId,
    record: &DeviceRecord,
) -> Result<(), SinkError> {
    session
        .execute(
            "INSERT INTO devices (device, epoch, births, link, seen_ms) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (device) DO UPDATE SET epoch = excluded.epoch, births = excluded.births,
                 link = excluded.link, seen_ms = excluded.seen_ms",
            &[
                &device.as_str(),
                &record.epoch.map(|epoch| number(epoch.number())),
                &number(record.births),
                &record.link.name(),
                &record.seen_ms,
            ],
        )
        .await
        .map(drop)
}

pub(super) async fn status(
    session: &mut Session,
    device: &DeviceId,
    status: &Status,
    received_ms: i64,
) -> Result<(), SinkError> {
    let json =
        serde_json::to_string(status).map_err(|error| SinkError::Refused(error.to_string()))?;
    session
        .execute(
            "INSERT INTO statuses (device, received_ms, json) VALUES ($1, $2, $3)
             ON CONFLICT (device) DO UPDATE SET received_ms = excluded.received_ms,
                 json = excluded.json",
            &[&device.as_str(), &received_ms, &json],
        )
        .await
        .map(drop)
}

pub(super) async fn alarm(session: &mut Session, item: &Alarm) -> Result<(), SinkError> {
    session
        .execute(
            "INSERT INTO alarms (device, kind, epoch, lane, first_seq, last_seq, text, first_ms,
                 last_ms, count)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, 1)
             ON CONFLICT (device, kind, epoch, lane) DO UPDATE SET
                 first_seq = excluded.first_seq, last_seq = excluded.last_seq,
                 text = excluded.text, last_ms = excluded.last_ms, count = alarms.count + 1",
            &[
                &item.key.device.as_str(),
                &item.kind,
                &number(item.key.stream.epoch.number()),
                &item.key.stream.lane.name(),
                &item.range.map(|range| number(range.first_seq)),
                &item.range.map(|range| number(range.last_seq)),
                &text(&item.text),
                &item.at_ms,
            ],
        )
        .await
        .map(drop)
}

pub(super) async fn anchor(
    session: &mut Session,
    device: &DeviceId,
    boot: BootId,
    anchor: &TimeAnchor,
    received_ms: i64,
) -> Result<(), SinkError> {
    session
        .execute(
            "INSERT INTO anchors (device, boot_id, boottime_ms, utc_ms, source, received_ms, error_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            &[
                &device.as_str(),
                &boot.to_string(),
                &number(anchor.boottime_ms),
                &anchor.utc_ms,
                &anchor.source.name(),
                &received_ms,
                &i64::from(anchor.error_ms),
            ],
        )
        .await
        .map(drop)
}

/// Adds to counters, all in one go.
pub(super) async fn counts(
    session: &mut Session,
    counts: &[(String, &'static str, u64)],
) -> Result<(), SinkError> {
    // Sorted, so that two ingests never wait for each other's rows crosswise; the row of the whole centre
    // is shared by all.
    let mut sorted: Vec<_> = counts.to_vec();
    sorted.sort_unstable();
    let devices: Vec<&str> = sorted.iter().map(|(device, ..)| device.as_str()).collect();
    let names: Vec<&str> = sorted.iter().map(|(_, name, _)| *name).collect();
    let values: Vec<i64> = sorted.iter().map(|(.., by)| number(*by)).collect();
    session
        .execute(
            "INSERT INTO counters (device, name, value)
             SELECT device, name, sum(value)::bigint FROM unnest($1::text[], $2::text[], $3::bigint[])
                 AS c (device, name, value) GROUP BY device, name ORDER BY device, name
             ON CONFLICT (device, name) DO UPDATE SET value = counters.value + excluded.value",
            &[&devices, &names, &values],
        )
        .await
        .map(drop)
}
