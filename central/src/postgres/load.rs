//! What the core asks for.
//!
//! Promises: what is read back equals what was written; the version of a have-set is remembered with it. Never: a
//! write.

use firmware_shared::have_set::UnboundedHaveSet;
use firmware_shared::id::{DeviceId, Epoch, SeqRange};
use firmware_shared::message::LossReason;
use firmware_shared::time::{BootId, ClockSource, TimeAnchor};
use tokio_postgres::Row;

use super::session::Session;
use super::{Known, counted, fault, foreign, number, optional, parsed, stream_key, unsigned};
use crate::ingest::{
    ClosedLoss, DateTask, DeviceRecord, EpochRecord, FramePlace, FramePrint, Link, LossLedger,
    OpenTail, RawBatch, SinkError, StreamKey, StreamRecord, insert,
};

/// Reads `{[0,5),[9,12)}`.
pub(crate) fn multirange(text: &str) -> Option<UnboundedHaveSet> {
    let mut set = UnboundedHaveSet::default();
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    for part in inner.split("),").filter(|part| !part.is_empty()) {
        let (first, end) = part
            .strip_prefix('[')?
            .trim_end_matches(')')
            .split_once(',')?;
        let (first, end): (u64, u64) = (first.parse().ok()?, end.parse().ok()?);
        insert(&mut set, SeqRange::new(first, end.checked_sub(1)?)?);
    }
    Some(set)
}

pub(crate) fn loss(
    row: &Row,
    index: usize,
    closed: &mut Vec<ClosedLoss>,
    tail: &mut Option<OpenTail>,
) -> Result<(), SinkError> {
    let first_seq = unsigned(row, index)?;
    let reason = parsed(row, index + 2, LossReason::from_name)?;
    match optional(row, index + 1)? {
        Some(last_seq) => closed.push(ClosedLoss {
            range: SeqRange::new(first_seq, last_seq)
                .ok_or_else(|| foreign(&last_seq.to_string()))?,
            reason,
        }),
        None => {
            *tail = Some(OpenTail {
                first_seq,
                told_first_seq: optional(row, index + 4)?.unwrap_or(first_seq),
                at_most: optional(row, index + 3)?,
                reason,
            });
        }
    }
    Ok(())
}

pub(super) async fn stream(
    session: &mut Session,
    key: &StreamKey,
) -> Result<StreamRecord, SinkError> {
    let (device, epoch) = (key.device.as_str(), number(key.stream.epoch.number()));
    let lane = key.stream.lane.name();
    let rows = session
        .query(
            "SELECT stream, version, have::text FROM streams
             WHERE device = $1 AND epoch = $2 AND lane = $3",
            &[&device, &epoch, &lane],
        )
        .await?;
    let (known, have) = match rows.first() {
        Some(row) => (
            Known {
                stream: Some(row.try_get(0).map_err(fault)?),
                version: row.try_get(1).map_err(fault)?,
            },
            parsed(row, 2, multirange)?,
        ),
        None => (
            Known {
                stream: None,
                version: 0,
            },
            UnboundedHaveSet::default(),
        ),
    };
    session.streams.insert(key.clone(), known);
    let rows = session
        .query(
            "SELECT first_seq, last_seq, reason, at_most, told_first_seq FROM losses
             WHERE device = $1 AND epoch = $2 AND lane = $3",
            &[&device, &epoch, &lane],
        )
        .await?;
    let (mut closed, mut tail) = (Vec::new(), None);
    for row in &rows {
        loss(row, 0, &mut closed, &mut tail)?;
    }
    Ok(StreamRecord {
        have,
        ledger: LossLedger::restored(closed, tail),
    })
}

pub(super) async fn frame_at(
    session: &mut Session,
    key: &StreamKey,
    first_seq: u64,
) -> Result<Option<FramePrint>, SinkError> {
    let rows = session
        .query(
            "SELECT b.first_seq, b.count, b.crc, b.len FROM batches AS b JOIN streams AS s USING (stream)
             WHERE s.device = $1 AND s.epoch = $2 AND s.lane = $3 AND b.first_seq = $4",
            &[
                &key.device.as_str(),
                &number(key.stream.epoch.number()),
                &key.stream.lane.name(),
                &number(first_seq),
            ],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let short = |index| {
        let value = unsigned(row, index)?;
        u32::try_from(value).map_err(|_| foreign(&value.to_string()))
    };
    Ok(Some(FramePrint {
        range: counted(row, 0)?,
        crc: short(2)?,
        len: short(3)?,
    }))
}

pub(super) async fn expired_in(
    session: &mut Session,
    key: &StreamKey,
    wanted: SeqRange,
) -> Result<u64, SinkError> {
    let rows = session
        .query(
            "SELECT e.first_seq, e.last_seq FROM expired AS e JOIN streams AS s USING (stream)
             WHERE s.device = $1 AND s.epoch = $2 AND s.lane = $3",
            &[
                &key.device.as_str(),
                &number(key.stream.epoch.number()),
                &key.stream.lane.name(),
            ],
        )
        .await?;
    let mut expired = UnboundedHaveSet::default();
    for row in &rows {
        insert(&mut expired, range(row, 0)?);
    }
    Ok(expired.count_in(wanted))
}

/// A range from two columns of inclusive ends.
pub(crate) fn range(row: &Row, index: usize) -> Result<SeqRange, SinkError> {
    let (first, last) = (unsigned(row, index)?, unsigned(row, index + 1)?);
    SeqRange::new(first, last).ok_or_else(|| foreign(&last.to_string()))
}

pub(super) async fn device(
    session: &mut Session,
    device: &DeviceId,
) -> Result<DeviceRecord, SinkError> {
    let rows = session
        .query(
            "SELECT epoch, births, link, seen_ms FROM devices WHERE device = $1",
            &[&device.as_str()],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(DeviceRecord::default());
    };
    Ok(DeviceRecord {
        epoch: optional(row, 0)?.and_then(Epoch::from_number),
        births: unsigned(row, 1)?,
        link: Link::from_name(row.try_get(2).map_err(fault)?),
        seen_ms: row.try_get(3).map_err(fault)?,
    })
}

pub(super) async fn epoch(
    session: &mut Session,
    device: &DeviceId,
    epoch: Epoch,
) -> Result<EpochRecord, SinkError> {
    let rows = session
        .query(
            "SELECT boot_id, spool_id, incarnation, born_order, birth_boottime_ms, clean, software
             FROM epochs WHERE device = $1 AND epoch = $2",
            &[&device.as_str(), &number(epoch.number())],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(EpochRecord::default());
    };
    let boot: Option<&str> = row.try_get(0).map_err(fault)?;
    let spool_id: Option<&str> = row.try_get(1).map_err(fault)?;
    Ok(EpochRecord {
        boot: boot.and_then(crate::columns::boot_from_hex),
        spool_id: spool_id.and_then(|hex| u64::from_str_radix(hex, 16).ok()),
        incarnation: optional(row, 2)?.and_then(|value| u32::try_from(value).ok()),
        born_order: optional(row, 3)?,
        birth_boottime_ms: optional(row, 4)?,
        clean: row.try_get(5).map_err(fault)?,
        software: row.try_get(6).map_err(fault)?,
    })
}

fn source_from_name(name: &str) -> Option<ClockSource> {
    (0..=4)
        .filter_map(ClockSource::from_wire)
        .find(|source| source.name() == name)
}

pub(super) async fn anchors(
    session: &mut Session,
    device: &DeviceId,
    boot: BootId,
) -> Result<Vec<TimeAnchor>, SinkError> {
    let rows = session
        .query(
            "SELECT boottime_ms, utc_ms, source, error_ms FROM anchors
             WHERE device = $1 AND boot_id = $2 ORDER BY boottime_ms",
            &[&device.as_str(), &boot.to_string()],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(TimeAnchor {
                boottime_ms: unsigned(row, 0)?,
                utc_ms: row.try_get(1).map_err(fault)?,
                error_ms: u32::try_from(unsigned(row, 3)?).unwrap_or(u32::MAX),
                source: parsed(row, 2, source_from_name)?,
            })
        })
        .collect()
}

/// A frame names its first stamp; its last one is at most so much later.
const FRAME_SPAN_MS: u64 = 3_600_000;

pub(super) async fn frames_to_date(
    session: &mut Session,
    task: &DateTask,
    behind: Option<&FramePlace>,
    limit: usize,
) -> Result<Vec<FramePlace>, SinkError> {
    let (epoch, lane, first_seq) = behind.map_or((-1, "", 0), |(key, range)| {
        let epoch = number(key.stream.epoch.number());
        (epoch, key.stream.lane.name(), number(range.first_seq))
    });
    let rows = session
        .query(
            "SELECT b.device, b.epoch, b.lane, b.first_seq, b.count
             FROM epochs AS e JOIN frames AS b ON b.device = e.device AND b.epoch = e.epoch
             WHERE e.device = $1 AND e.boot_id = $2 AND b.base_ms BETWEEN $3 AND $4
                 AND (b.epoch, b.lane, b.first_seq) > ($5, $6, $7)
             ORDER BY b.epoch, b.lane, b.first_seq LIMIT $8",
            &[
                &task.device.as_str(),
                &task.boot.to_string(),
                &number(task.from_ms.saturating_sub(FRAME_SPAN_MS)),
                &number(task.to_ms),
                &epoch,
                &lane,
                &first_seq,
                &number(limit as u64),
            ],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((stream_key(row, 0)?, counted(row, 3)?)))
        .collect()
}

pub(super) async fn to_date(session: &mut Session) -> Result<Vec<DateTask>, SinkError> {
    let rows = session
        .query("SELECT device, boot_id, from_ms, to_ms FROM to_date", &[])
        .await?;
    rows.iter()
        .map(|row| {
            Ok(DateTask {
                device: parsed(row, 0, |text| text.parse().ok())?,
                boot: parsed(row, 1, crate::columns::boot_from_hex)?,
                from_ms: unsigned(row, 2)?,
                to_ms: unsigned(row, 3)?,
            })
        })
        .collect()
}

pub(super) async fn raw_batches(
    session: &mut Session,
    codecs: &[u8],
    limit: usize,
) -> Result<Vec<RawBatch>, SinkError> {
    let wanted: Vec<i16> = codecs.iter().map(|codec| i16::from(*codec)).collect();
    let rows = session
        .query(
            "SELECT s.device, s.epoch, s.lane, r.first_seq, r.count, r.bytes
             FROM raw_batches AS r JOIN streams AS s USING (stream)
             WHERE r.codec = ANY ($1) LIMIT $2",
            &[&wanted, &number(limit as u64)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(RawBatch {
                key: stream_key(row, 0)?,
                range: counted(row, 3)?,
                bytes: row.try_get(5).map_err(fault)?,
            })
        })
        .collect()
}

pub(super) async fn frames_before(
    session: &mut Session,
    before_ms: i64,
    limit: usize,
) -> Result<Vec<(StreamKey, SeqRange)>, SinkError> {
    let rows = session
        .query(
            "SELECT s.device, s.epoch, s.lane, b.first_seq, b.count
             FROM batches AS b JOIN streams AS s USING (stream)
             WHERE b.received_ms < $1 AND b.codec NOT IN (0, 2) ORDER BY b.received_ms LIMIT $2",
            &[&before_ms, &number(limit as u64)],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((stream_key(row, 0)?, counted(row, 3)?)))
        .collect()
}
