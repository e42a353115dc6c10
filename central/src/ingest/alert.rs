//! Alerts: one JSON text is one frame with one number.
//!
//! Promises: the text is stored as it came; device, epoch and number are those inside, and the device is
//! the topic's. Never: an alert changed, merged or marked on its way into the database.

use firmware_shared::alert::{ALERT_LEN_MAX, Alert};
use firmware_shared::checksum::crc32c;
use firmware_shared::id::{DeviceId, Epoch, Lane, SeqRange, StreamId};
use firmware_shared::message::NackReason;
use firmware_shared::time::ClockSource;

use super::batch::Standing;
use super::timeline::Dated;
use super::{BatchRecord, Core, FramePrint, NUMBER_MAX, Publish, SinkError, StreamKey, Write};

/// The codec number under which alerts are kept: a JSON text has none of its own.
pub(crate) const ALERT_CODEC: u8 = 0;

impl Core {
    pub(super) fn alert(
        &mut self,
        publish: &mut Publish<'_>,
        device: &DeviceId,
    ) -> Result<(), SinkError> {
        let (alert, json) = match read(publish.payload, device) {
            Ok(read) => read,
            Err(detail) => {
                let claimed = claimed(publish.payload);
                self.refuse(publish, device, claimed, NackReason::Corrupt, detail);
                return Ok(());
            }
        };
        let Some(range) = SeqRange::from_count(alert.seq, 1) else {
            return Ok(());
        };
        let stream = StreamId {
            epoch: alert.epoch,
            lane: Lane::Alert,
        };
        let key = StreamKey {
            device: device.clone(),
            stream,
        };
        let print = FramePrint {
            range,
            crc: crc32c(publish.payload),
            len: u32::try_from(publish.payload.len()).unwrap_or(u32::MAX),
        };
        match self.standing(publish, &key, print)? {
            Standing::Fresh => self.store_alert(publish, &key, print, alert, json)?,
            Standing::Duplicate => self.count(device.as_str(), "duplicate_frames", 1),
            Standing::Clash => {
                self.refuse_clash(publish, &key, range);
                return Ok(());
            }
        }
        self.answers.progress(&key);
        Ok(())
    }

    fn store_alert(
        &mut self,
        publish: &mut Publish<'_>,
        key: &StreamKey,
        print: FramePrint,
        alert: Alert,
        json: String,
    ) -> Result<(), SinkError> {
        let boot = self
            .memory
            .epoch(publish.sink, &key.device, alert.epoch)?
            .boot;
        let dated = self
            .timeline(publish, &key.device, boot, None)?
            .and_then(|timeline| timeline.date(alert.boottime_ms))
            .or_else(|| own_date(&alert));
        self.memory.stream_mut(publish.sink, key)?.store(print);
        self.count(key.device.as_str(), "alerts", 1);
        let batch = BatchRecord {
            print,
            codec: ALERT_CODEC,
            base_ms: alert.boottime_ms,
            received_ms: publish.now_ms,
            utc_source: dated.map_or(ClockSource::None, |dated| dated.source),
            sealed: None,
        };
        self.writes.push(Write::Alert {
            key: key.clone(),
            batch,
            alert: Box::new(alert),
            json,
            dated,
        });
        Ok(())
    }
}

/// What the alert itself says about its time: better than nothing, and dated again when an anchor comes.
fn own_date(alert: &Alert) -> Option<Dated> {
    let utc: jiff::Timestamp = alert.utc.as_ref()?.parse().ok()?;
    Some(Dated {
        utc_ms: utc.as_millisecond(),
        error_ms: None,
        source: ClockSource::Fake,
    })
}

fn read(payload: &[u8], device: &DeviceId) -> Result<(Alert, String), String> {
    if payload.len() > ALERT_LEN_MAX {
        return Err(format!(
            "an alert of {} bytes; allowed are {ALERT_LEN_MAX}",
            payload.len()
        ));
    }
    let json = std::str::from_utf8(payload).map_err(|error| error.to_string())?;
    let alert: Alert = serde_json::from_str(json).map_err(|error| error.to_string())?;
    if alert.device != *device {
        return Err(format!(
            "an alert of {} on the topic of {device}",
            alert.device
        ));
    }
    if alert.seq > NUMBER_MAX || alert.boottime_ms > NUMBER_MAX {
        return Err(format!("numbers or stamps above {NUMBER_MAX}"));
    }
    Ok((alert, json.to_owned()))
}

/// The key that an unusable alert claims, where its text is JSON at least.
fn claimed(payload: &[u8]) -> Option<(StreamId, SeqRange)> {
    let value: serde_json::Value = serde_json::from_slice(payload).ok()?;
    let epoch: Epoch = value.get("epoch")?.as_str()?.parse().ok()?;
    let range = SeqRange::from_count(value.get("seq")?.as_u64()?, 1)?;
    let lane = Lane::Alert;
    Some((StreamId { epoch, lane }, range))
}
