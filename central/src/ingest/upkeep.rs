//! Work that waits for a quiet moment: dating rows, reading raw frames, deleting what is past retention.
//!
//! Promises: each step is one bounded transaction, so that ingest is never held up for long. Never: a
//! change to a stamp or to the have-set.

use std::collections::BTreeSet;

use firmware_shared::batch::CodecId;
use firmware_shared::id::DeviceId;
use firmware_shared::time::BootId;

use super::timing::{self, TRUSTED};
use super::{Core, Publish, Sink, SinkError, Write};

/// Frames in one step: at most 256 readings each, so some tens of milliseconds.
const STEP_FRAMES_MAX: usize = 200;

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    boots: BTreeSet<(DeviceId, BootId)>,
}

impl Upkeep {
    pub(super) fn repair(&mut self, device: &DeviceId, boot: BootId) {
        self.boots.insert((device.clone(), boot));
    }
}

impl Core {
    /// Picks up what an earlier process left: boots whose rows can be dated.
    pub(crate) fn resume_upkeep(&mut self, sink: &mut dyn Sink) -> Result<(), SinkError> {
        self.upkeep.boots.extend(sink.repairable_boots()?);
        Ok(())
    }

    /// Whether a step would find something to do.
    pub(crate) fn has_upkeep(&self) -> bool {
        !self.upkeep.boots.is_empty()
    }

    /// Dates one step of rows; the group is committed.
    pub(crate) fn date_rows(&mut self, sink: &mut dyn Sink) -> Result<(), SinkError> {
        let Some((device, boot)) = self.upkeep.boots.first().cloned() else {
            return Ok(());
        };
        let known = self.memory.anchors(sink, &device, boot)?.clone();
        let trusted = known.iter().any(|anchor| anchor.source >= TRUSTED);
        let frames = match trusted {
            true => sink.untimed(&device, boot, STEP_FRAMES_MAX)?,
            false => Vec::new(),
        };
        for frame in &frames {
            if let Some(basis) = timing::best(known.iter(), frame.base_ms) {
                self.writes.push(Write::Utc {
                    key: frame.key.clone(),
                    range: frame.range,
                    basis,
                });
            }
        }
        self.commit(sink)?;
        if frames.len() < STEP_FRAMES_MAX {
            self.upkeep.boots.remove(&(device, boot));
        }
        Ok(())
    }

    /// Reads one step of frames that an earlier version stored raw; tells whether there may be more.
    pub(crate) fn decode_step(
        &mut self,
        sink: &mut dyn Sink,
        now_ms: i64,
    ) -> Result<bool, SinkError> {
        let known = [CodecId::COLUMNS_V1.0, CodecId::OPENING.0];
        let frames = sink.raw_batches(&known, STEP_FRAMES_MAX)?;
        let mut decoded = 0;
        for frame in &frames {
            let mut publish = Publish {
                sink: &mut *sink,
                now_ms,
                topic: "",
                payload: &frame.bytes,
            };
            decoded += usize::from(self.decode_raw(&mut publish, &frame.key)?);
        }
        self.commit(sink)?;
        // A frame that cannot be read would come again and again.
        Ok(frames.len() == STEP_FRAMES_MAX && decoded == frames.len())
    }

    /// Deletes one step of what was received before; tells whether there may be more.
    pub(crate) fn expire_step(
        &mut self,
        sink: &mut dyn Sink,
        before_ms: i64,
    ) -> Result<bool, SinkError> {
        let frames = sink.frames_before(before_ms, STEP_FRAMES_MAX)?;
        for (key, range) in &frames {
            self.count(key.device.as_str(), "expired", range.count());
            self.writes.push(Write::Expire {
                key: key.clone(),
                range: *range,
            });
        }
        self.commit(sink)?;
        Ok(frames.len() == STEP_FRAMES_MAX)
    }
}
