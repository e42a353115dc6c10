//! The gateway's report about itself, as readings of the health lane.

use firmware_shared::batch::{self, CodecId, Header, SealError};
use firmware_shared::id::{Lane, SeqRange, StreamId};
use firmware_shared::message::Opening;
use firmware_shared::reading::{Health, Metric, Reading, Score, Value};

use crate::config::GATEWAY_SENSOR_INDEX;
use crate::deliver::{DeliverStats, ProcessIdentity};
use crate::seal::Sealed;
use crate::spool::Frame;

/// Readings in one report.
pub(super) const REPORT_COUNT: usize = 7;

/// One report. Its readings are a millisecond apart from `first_stamp_ms` on: equal stamps of one sensor
/// under different numbers would look like duplicates.
pub(super) fn report(
    first_stamp_ms: u64,
    stats: &DeliverStats,
    rss_bytes: u64,
    lost: u64,
) -> [Reading; REPORT_COUNT] {
    let lanes = &stats.lanes;
    let spool_bytes = lanes.alert.bytes + lanes.telemetry.bytes + lanes.health.bytes;
    let metrics = [
        (Metric::RSS_BYTES, rss_bytes),
        (Metric::SPOOL_BYTES, spool_bytes),
        (Metric::OLDEST_UNSENT_MS, stats.oldest_unacked_ms),
        (
            Metric::ACK_LATENCY_MS,
            stats.ack_latency_ms.unwrap_or_default(),
        ),
        (Metric::CONNECTIONS, stats.counts.connections),
        (Metric::READINGS_LOST, lost),
        (Metric::SPOOL_MODE, u64::from(stats.mode == "ram")),
    ];
    let mut stamp_ms = first_stamp_ms;
    metrics.map(|(metric, value)| {
        let reading = reading(stamp_ms, metric, value);
        stamp_ms = stamp_ms.saturating_add(1);
        reading
    })
}

fn reading(stamp_ms: u64, metric: Metric, value: u64) -> Reading {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    Reading {
        stamp_ms,
        sensor: GATEWAY_SENSOR_INDEX,
        score: Score::ORDINARY,
        value: Value::Health(Health { metric, value }),
    }
}

/// Number 0 of the health lane: what the sensor indices of this epoch mean.
pub(super) fn opening(identity: &ProcessIdentity, stamp_ms: u64) -> Option<Sealed> {
    let stream = StreamId {
        epoch: identity.epoch,
        lane: Lane::Health,
    };
    let range = SeqRange::from_count(0, 1)?;
    let opening = Opening {
        boot_id: identity.boot_id,
        software: identity.software.clone(),
        catalogue: identity.catalogue.clone(),
        details: identity.details.clone(),
    };
    let header = Header {
        codec: CodecId::OPENING,
        epoch: stream.epoch,
        lane: stream.lane,
        first_seq: 0,
        count: 1,
        base_ms: stamp_ms,
        anchor: None,
    };
    let mut payload = vec![0; batch::BATCH_LEN_MAX / 2];
    let mut bytes = vec![0; batch::BATCH_LEN_MAX];
    let len = postcard::to_slice(&opening, &mut payload)
        .map_err(|_| SealError::Room { len: bytes.len() })
        .and_then(|payload| batch::seal_opaque(&header, payload, &mut bytes));
    Some(match len {
        Ok(len) => {
            bytes.truncate(len);
            bytes.shrink_to_fit();
            Sealed::Frame(Frame {
                stream,
                range,
                bytes,
            })
        }
        Err(error) => Sealed::Refused(stream, range, error),
    })
}
