//! What the core remembers of the sink between two commits.
//!
//! Promises: everything here was loaded from the sink or is part of the uncommitted group; forgetting it
//! costs a reload and nothing else; it stays below [`STREAMS_MAX`] streams. Never: the truth.

use std::collections::{BTreeMap, HashMap, HashSet};

use firmware_shared::id::{DeviceId, Epoch, SeqRange};
use firmware_shared::time::BootId;

use super::sink::{
    DeviceRecord, EpochRecord, FramePrint, Sink, SinkError, StreamKey, StreamRecord, Write,
};
use super::{BootClock, LossLedger, insert};

/// So many streams are remembered, about 300 bytes each; above, the memory starts afresh.
const STREAMS_MAX: usize = 50_000;

/// One stream, with the changes that are not committed yet.
#[derive(Debug, Default)]
pub(super) struct StreamState {
    pub(super) record: StreamRecord,
    committed: Vec<SeqRange>,
    have_changed: bool,
    losses_changed: bool,
    uncommitted: BTreeMap<u64, FramePrint>,
}

impl StreamState {
    fn loaded(record: StreamRecord) -> Self {
        Self {
            committed: record.have.ranges().to_vec(),
            record,
            ..Self::default()
        }
    }

    /// The frame that begins with this number in the uncommitted group.
    pub(super) fn uncommitted_at(&self, first_seq: u64) -> Option<FramePrint> {
        self.uncommitted.get(&first_seq).copied()
    }

    /// Notes a frame as stored: have-set and losses follow.
    pub(super) fn store(&mut self, print: FramePrint) {
        insert(&mut self.record.have, print.range);
        self.have_changed = true;
        self.uncommitted.insert(print.range.first_seq, print);
        let StreamRecord { have, ledger } = &mut self.record;
        self.losses_changed |= ledger.trim(print.range, have);
    }

    /// Changes the losses by what the device told.
    pub(super) fn lose(
        &mut self,
        change: impl FnOnce(&mut LossLedger, &StreamHave) -> bool,
    ) -> bool {
        let changed = change(&mut self.record.ledger, &self.record.have);
        self.losses_changed |= changed;
        changed
    }

    fn write_changes(&mut self, key: &StreamKey, writes: &mut Vec<Write>) {
        if self.have_changed {
            let ranges = self.record.have.ranges();
            let kept: HashSet<SeqRange> = self.committed.iter().copied().collect();
            let firsts: HashSet<u64> = ranges.iter().map(|range| range.first_seq).collect();
            writes.push(Write::HaveSet {
                key: key.clone(),
                removed: self
                    .committed
                    .iter()
                    .map(|range| range.first_seq)
                    .filter(|first_seq| !firsts.contains(first_seq))
                    .collect(),
                present: ranges
                    .iter()
                    .copied()
                    .filter(|range| !kept.contains(range))
                    .collect(),
            });
        }
        if self.losses_changed {
            writes.push(Write::Losses {
                key: key.clone(),
                ledger: self.record.ledger.clone(),
            });
        }
    }

    fn settle(&mut self) {
        if self.have_changed {
            self.committed = self.record.have.ranges().to_vec();
        }
        self.have_changed = false;
        self.losses_changed = false;
        self.uncommitted.clear();
    }
}

type StreamHave = firmware_shared::have_set::UnboundedHaveSet;

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Memory {
    streams: HashMap<StreamKey, StreamState>,
    touched: HashSet<StreamKey>,
    epochs: HashMap<(DeviceId, Epoch), EpochRecord>,
    devices: HashMap<DeviceId, DeviceRecord>,
    clocks: HashMap<(DeviceId, BootId), BootClock>,
}

impl Memory {
    /// The stream, to look at.
    pub(super) fn stream(
        &mut self,
        sink: &mut dyn Sink,
        key: &StreamKey,
    ) -> Result<&StreamState, SinkError> {
        self.load(sink, key).map(|state| &*state)
    }

    /// The stream, to change.
    pub(super) fn stream_mut(
        &mut self,
        sink: &mut dyn Sink,
        key: &StreamKey,
    ) -> Result<&mut StreamState, SinkError> {
        self.touched.insert(key.clone());
        self.load(sink, key)
    }

    fn load(
        &mut self,
        sink: &mut dyn Sink,
        key: &StreamKey,
    ) -> Result<&mut StreamState, SinkError> {
        if !self.streams.contains_key(key) {
            let state = StreamState::loaded(sink.stream(key)?);
            self.streams.insert(key.clone(), state);
        }
        Ok(self.streams.entry(key.clone()).or_default())
    }

    pub(super) fn epoch(
        &mut self,
        sink: &mut dyn Sink,
        device: &DeviceId,
        epoch: Epoch,
    ) -> Result<&mut EpochRecord, SinkError> {
        let key = (device.clone(), epoch);
        if !self.epochs.contains_key(&key) {
            let record = sink.epoch(device, epoch)?;
            self.epochs.insert(key.clone(), record);
        }
        Ok(self.epochs.entry(key).or_default())
    }

    pub(super) fn device(
        &mut self,
        sink: &mut dyn Sink,
        device: &DeviceId,
    ) -> Result<&mut DeviceRecord, SinkError> {
        if !self.devices.contains_key(device) {
            let record = sink.device(device)?;
            self.devices.insert(device.clone(), record);
        }
        Ok(self.devices.entry(device.clone()).or_default())
    }

    pub(super) fn clock(
        &mut self,
        sink: &mut dyn Sink,
        device: &DeviceId,
        boot: BootId,
    ) -> Result<&mut BootClock, SinkError> {
        let key = (device.clone(), boot);
        if !self.clocks.contains_key(&key) {
            let clock = BootClock::new(sink.anchors(device, boot)?);
            self.clocks.insert(key.clone(), clock);
        }
        Ok(self.clocks.entry(key).or_default())
    }

    /// The lowest number that is neither stored nor lost, of each stream with later ones that are.
    pub(super) fn gaps(&self) -> impl Iterator<Item = (&StreamKey, u64)> {
        self.streams.iter().filter_map(|(key, state)| {
            let explained = state.record.ledger.with_stored(&state.record.have);
            (explained.upto() < explained.next_seq()).then(|| (key, explained.upto()))
        })
    }

    pub(super) fn write_changes(&mut self, writes: &mut Vec<Write>) {
        for key in &self.touched {
            if let Some(state) = self.streams.get_mut(key) {
                state.write_changes(key, writes);
            }
        }
    }

    /// The group is committed.
    pub(super) fn settle(&mut self) {
        for key in self.touched.drain() {
            if let Some(state) = self.streams.get_mut(&key) {
                state.settle();
            }
        }
        if self.streams.len() > STREAMS_MAX {
            *self = Self::default();
        }
    }
}
