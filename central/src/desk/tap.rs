//! What the desk hears of each commit: a sink around a sink.
//!
//! Promises: only what is committed is told; ingest never waits for the desk; what finds no room is noted as
//! missed, and then nobody is called silent by it. Never: a change of what is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_channel::Sender;
use firmware_shared::catalogue::{Catalogue, Details, SensorEntry};
use firmware_shared::id::{DeviceId, Epoch, Lane, SeqRange};
use firmware_shared::reading::{Kind, Reading};
use firmware_shared::time::{BootId, TimeAnchor};

use super::core::{Heard, SensorKnown, What};
use crate::ingest::{
    DateTask, DeviceRecord, EpochRecord, FramePlace, FramePrint, RawBatch, Sink, SinkError,
    StreamKey, StreamRecord, Write,
};

/// How the centre itself is; written by its threads, read by the desk.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    /// The link to the broker is subscribed.
    pub(crate) is_connected: AtomicBool,
    /// The database takes no data.
    pub(crate) is_stalled: AtomicBool,
    /// Publishes that wait for the database.
    pub(crate) backlog: AtomicUsize,
    /// Something was heard for which the desk had no room.
    pub(super) has_missed: AtomicBool,
}

/// What one commit means for the desk.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    pub(super) heard: Vec<Heard>,
    pub(super) has_alerts: bool,
}

/// Where commits are told.
#[derive(Debug, Clone)]
pub(crate) struct Tap {
    pub(super) commits: Sender<Committed>,
    pub(super) vitals: Arc<Vitals>,
}

impl Tap {
    pub(crate) fn vitals(&self) -> &Arc<Vitals> {
        &self.vitals
    }
}

/// A sink whose commits the desk hears of.
#[derive(Debug)]
pub(crate) struct Tapped<S> {
    sink: S,
    tap: Tap,
}

impl<S> Tapped<S> {
    pub(crate) fn new(sink: S, tap: Tap) -> Self {
        Self { sink, tap }
    }
}

fn committed(writes: &[Write]) -> Committed {
    // Which process of a gateway speaks comes first: the rest is judged by it.
    let (first, rest): (Vec<&Write>, Vec<&Write>) = writes
        .iter()
        .partition(|write| matches!(write, Write::Device { .. }));
    Committed {
        heard: first.into_iter().chain(rest).filter_map(heard).collect(),
        has_alerts: writes
            .iter()
            .any(|write| matches!(write, Write::Alert { .. })),
    }
}

fn heard(write: &Write) -> Option<Heard> {
    let (device, at_ms, what) = match write {
        Write::Readings {
            key,
            batch,
            readings,
            ..
        } => {
            let what = match key.stream.lane {
                Lane::Telemetry => What::Readings {
                    epoch: key.stream.epoch,
                    newest: newest(readings),
                },
                Lane::Health | Lane::Alert => What::Word,
            };
            (&key.device, Some(batch.received_ms), what)
        }
        Write::Alert { key, batch, .. }
        | Write::Frame { key, batch }
        | Write::Raw { key, batch, .. } => (&key.device, Some(batch.received_ms), What::Word),
        Write::Device { device, record } => {
            let what = What::Link {
                link: record.link,
                epoch: record.epoch,
            };
            (device, Some(record.seen_ms), what)
        }
        Write::Epoch {
            device,
            epoch,
            record,
        } => {
            let what = What::Born {
                epoch: *epoch,
                software: record.software.clone(),
                stamp_ms: record.birth_boottime_ms?,
            };
            (device, None, what)
        }
        Write::Catalogue {
            device,
            epoch,
            catalogue,
            details,
        } => {
            let what = What::Catalogue {
                epoch: *epoch,
                sensors: sensors(catalogue, details),
            };
            (device, None, what)
        }
        Write::Status {
            device,
            status,
            received_ms,
        } => (device, Some(*received_ms), What::Status(status.clone())),
        Write::Alarm(alarm) => {
            let what = What::Alarm {
                kind: alarm.kind,
                text: alarm.text.clone(),
            };
            (&alarm.key.device, None, what)
        }
        _ => return None,
    };
    Some(Heard {
        device: device.clone(),
        at_ms,
        what,
    })
}

fn sensors(catalogue: &Catalogue, details: &Details) -> Vec<SensorKnown> {
    let known = |sensor: &SensorEntry| SensorKnown {
        index: sensor.index,
        name: sensor.name.to_string(),
        role: sensor.role.to_string(),
        // Readings of the gateway about itself travel in another lane.
        period_ms: match sensor.kind {
            Kind::Health => 0,
            _ => sensor.period_ms,
        },
        calibration_until_day: details
            .sensor(sensor.index)
            .and_then(|detail| detail.calibration_until_day),
    };
    catalogue.sensors.iter().map(known).collect()
}

fn newest(readings: &[Reading]) -> Vec<(u8, u64)> {
    let mut newest: Vec<(u8, u64)> = Vec::new();
    for reading in readings {
        match newest
            .iter_mut()
            .find(|(index, _)| *index == reading.sensor)
        {
            Some((_, stamp_ms)) => *stamp_ms = (*stamp_ms).max(reading.stamp_ms),
            None => newest.push((reading.sensor, reading.stamp_ms)),
        }
    }
    newest
}

impl<S: Sink> Sink for Tapped<S> {
    fn stream(&mut self, key: &StreamKey) -> Result<StreamRecord, SinkError> {
        self.sink.stream(key)
    }

    fn frame_at(
        &mut self,
        key: &StreamKey,
        first_seq: u64,
    ) -> Result<Option<FramePrint>, SinkError> {
        self.sink.frame_at(key, first_seq)
    }

    fn expired_in(&mut self, key: &StreamKey, range: SeqRange) -> Result<u64, SinkError> {
        self.sink.expired_in(key, range)
    }

    fn device(&mut self, device: &DeviceId) -> Result<DeviceRecord, SinkError> {
        self.sink.device(device)
    }

    fn epoch(&mut self, device: &DeviceId, epoch: Epoch) -> Result<EpochRecord, SinkError> {
        self.sink.epoch(device, epoch)
    }

    fn anchors(&mut self, device: &DeviceId, boot: BootId) -> Result<Vec<TimeAnchor>, SinkError> {
        self.sink.anchors(device, boot)
    }

    fn frames_to_date(
        &mut self,
        task: &DateTask,
        behind: Option<&FramePlace>,
        limit: usize,
    ) -> Result<Vec<FramePlace>, SinkError> {
        self.sink.frames_to_date(task, behind, limit)
    }

    fn to_date(&mut self) -> Result<Vec<DateTask>, SinkError> {
        self.sink.to_date()
    }

    fn raw_batches(&mut self, codecs: &[u8], limit: usize) -> Result<Vec<RawBatch>, SinkError> {
        self.sink.raw_batches(codecs, limit)
    }

    fn frames_before(
        &mut self,
        before_ms: i64,
        limit: usize,
    ) -> Result<Vec<(StreamKey, SeqRange)>, SinkError> {
        self.sink.frames_before(before_ms, limit)
    }

    fn apply(&mut self, writes: &[Write]) -> Result<(), SinkError> {
        self.sink.apply(writes)?;
        let committed = committed(writes);
        let is_news = committed.has_alerts || !committed.heard.is_empty();
        if is_news && self.tap.commits.try_send(committed).is_err() {
            self.tap.vitals.has_missed.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}
