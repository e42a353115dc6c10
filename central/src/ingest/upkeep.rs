//! Work that waits for a quiet moment: dating rows, reading raw frames, deleting what is past retention.
//!
//! Promises: each step is one bounded transaction, so that ingest is never held up for long. Never: a
//! change to a stamp or to the have-set.

use std::collections::BTreeMap;
use std::sync::Arc;

use firmware_shared::batch::CodecId;

use super::{Core, DateTask, FramePlace, Publish, Sink, SinkError, Write};

/// Frames in one step: at most 256 readings each, so some tens of milliseconds.
const STEP_FRAMES_MAX: usize = 200;

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    tasks: BTreeMap<DateTask, Option<FramePlace>>,
}

impl Upkeep {
    /// What was begun begins anew: the timeline has changed since.
    pub(super) fn add(&mut self, task: DateTask) {
        self.tasks.insert(task, None);
    }
}

impl Core {
    /// Picks up what an earlier process left: rows that can be dated.
    pub(crate) fn resume_upkeep(&mut self, sink: &mut dyn Sink) -> Result<(), SinkError> {
        for task in sink.to_date()? {
            self.upkeep.add(task);
        }
        Ok(())
    }

    /// Whether a step would find something to do.
    pub(crate) fn has_upkeep(&self) -> bool {
        !self.upkeep.tasks.is_empty()
    }

    /// Dates one step of rows; the group is committed.
    pub(crate) fn date_rows(&mut self, sink: &mut dyn Sink) -> Result<(), SinkError> {
        let Some((task, behind)) = self.upkeep.tasks.first_key_value() else {
            return Ok(());
        };
        let (task, behind) = (task.clone(), behind.clone());
        let clock = self.memory.clock(sink, &task.device, task.boot)?;
        let frames = match clock.timeline() {
            Some(timeline) => {
                let frames = sink.frames_to_date(&task, behind.as_ref(), STEP_FRAMES_MAX)?;
                let dates = frames.iter().map(|(key, range)| Write::Date {
                    key: key.clone(),
                    range: *range,
                    timeline: Arc::clone(&timeline),
                });
                self.writes.extend(dates);
                frames
            }
            // The opening of an epoch came, and no anchor yet: that will bring a task of its own.
            None => Vec::new(),
        };
        let is_done = frames.len() < STEP_FRAMES_MAX;
        if is_done {
            self.writes.push(Write::DateDone(task.clone()));
        }
        self.commit(sink)?;
        match frames.into_iter().last() {
            Some(place) if !is_done => drop(self.upkeep.tasks.insert(task, Some(place))),
            _ => drop(self.upkeep.tasks.remove(&task)),
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
