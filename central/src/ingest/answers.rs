//! What the centre says to devices.
//!
//! Promises: an acknowledgement is built from committed state only; a birth is answered at once and names
//! its nonce; everything else is said to a device at most once per period, the first at once; numbers
//! count up within a run. Never: an entry list longer than the contract's, a nonce that was not asked.

use std::collections::{BTreeSet, HashMap, HashSet};

use firmware_shared::alert::Alert;
use firmware_shared::id::{DeviceId, Epoch, StreamId};
use firmware_shared::message::{
    ACK_ENTRIES_MAX, ACK_RANGES_MAX, Ack, AckEntry, MESSAGE_LEN_MAX, Message, Nack, Pacing,
};
use firmware_shared::topic::{Leaf, topic};

use super::memory::Memory;
use super::pacing;
use super::sink::{Sink, SinkError, StreamKey};

/// Devices whose last acknowledgement is remembered; above, those with nothing due are dropped.
const DEVICES_MAX: usize = 20_000;
/// Epochs about whose clash people were told; above, they are told again.
const ALARMED_MAX: usize = 1_000;

/// A message to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Said {
    Birth {
        device: DeviceId,
        nonce: u64,
        streams: Vec<StreamId>,
    },
    Nack {
        device: DeviceId,
        nack: Nack,
    },
    Progress {
        device: DeviceId,
        stream: StreamId,
    },
    /// A run that the device does not know, so that it says its birth.
    Ask(DeviceId),
    /// How fast the backlog may come, bytes a second.
    Pace {
        device: DeviceId,
        share: u32,
    },
    /// Something that people must know, said to them and not to a device.
    Alarm(Box<Alert>),
}

#[derive(Debug, Default)]
struct Due {
    streams: BTreeSet<StreamId>,
    said_ms: Option<u64>,
}

/// What is to be said, committed or not.
#[derive(Debug)]
pub(super) struct Answers {
    central_id: u64,
    run: u64,
    n: u64,
    period_ms: u64,
    uncommitted: Vec<Said>,
    at_once: Vec<Said>,
    due: HashMap<DeviceId, Due>,
    buffer: Vec<u8>,
    alarmed: HashSet<(DeviceId, Epoch)>,
    /// Devices that were asked know us under another run.
    runs: HashMap<DeviceId, u64>,
    asked: u64,
}

impl Answers {
    pub(super) fn new(central_id: u64, run: u64, period_ms: u64) -> Self {
        Self {
            central_id,
            run,
            n: 0,
            period_ms,
            uncommitted: Vec::new(),
            at_once: Vec::new(),
            due: HashMap::new(),
            buffer: vec![0; MESSAGE_LEN_MAX],
            alarmed: HashSet::new(),
            runs: HashMap::new(),
            asked: 0,
        }
    }

    pub(super) fn birth(&mut self, device: &DeviceId, nonce: u64, streams: Vec<StreamId>) {
        self.uncommitted.push(Said::Birth {
            device: device.clone(),
            nonce,
            streams,
        });
    }

    pub(super) fn nack(&mut self, device: &DeviceId, nack: Nack) {
        let device = device.clone();
        self.uncommitted.push(Said::Nack { device, nack });
    }

    /// Makes a device say its birth: to it, this ingest is another run from here on.
    pub(super) fn ask(&mut self, device: &DeviceId) {
        if self.runs.len() >= DEVICES_MAX {
            self.runs.clear();
        }
        self.asked += 1;
        // Unlike any run before, as far as 64 bits go.
        let run = (self.run ^ self.asked).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.runs.insert(device.clone(), run);
        self.at_once.push(Said::Ask(device.clone()));
    }

    /// Tells a device how fast its backlog may come.
    pub(super) fn pace(&mut self, device: &DeviceId, share: u32) {
        let device = device.clone();
        self.at_once.push(Said::Pace { device, share });
    }

    /// A vehicle that clashes does so with each frame; people are told once per epoch, device and run.
    pub(super) fn alarm(&mut self, alert: Alert) {
        if self.alarmed.len() >= ALARMED_MAX {
            self.alarmed.clear();
        }
        if self.alarmed.insert((alert.device.clone(), alert.epoch)) {
            self.uncommitted.push(Said::Alarm(Box::new(alert)));
        }
    }

    pub(super) fn progress(&mut self, key: &StreamKey) {
        self.uncommitted.push(Said::Progress {
            device: key.device.clone(),
            stream: key.stream,
        });
    }

    /// The group is committed: what it says may go out.
    pub(super) fn settle(&mut self) {
        for said in self.uncommitted.drain(..) {
            match said {
                Said::Progress { device, stream } => {
                    self.due.entry(device).or_default().streams.insert(stream);
                }
                other => self.at_once.push(other),
            }
        }
    }

    /// The group is not committed: what it says never goes out.
    pub(super) fn forget(&mut self) {
        for said in self.uncommitted.drain(..) {
            if let Said::Alarm(alert) = said {
                self.alarmed.remove(&(alert.device, alert.epoch));
            }
        }
    }

    /// When the next acknowledgement becomes due.
    pub(super) fn deadline(&self, mono_ms: u64) -> Option<u64> {
        if !self.at_once.is_empty() {
            return Some(mono_ms);
        }
        let due = self.due.values().filter(|due| !due.streams.is_empty());
        due.map(|due| {
            due.said_ms
                .map_or(mono_ms, |said| said.saturating_add(self.period_ms))
        })
        .min()
    }

    /// Everything that is due, built from the committed state.
    pub(super) fn take(
        &mut self,
        memory: &mut Memory,
        sink: &mut dyn Sink,
        mono_ms: u64,
        prefix: &str,
    ) -> Result<Vec<Answer>, SinkError> {
        // Loading may fail; taking may not, or an answer would be lost.
        self.preload(memory, sink)?;
        let mut answers = Vec::new();
        for said in std::mem::take(&mut self.at_once) {
            match said {
                Said::Birth {
                    device,
                    nonce,
                    streams,
                } => {
                    if let Some(due) = self.due.get_mut(&device) {
                        due.streams.retain(|stream| !streams.contains(stream));
                    }
                    self.acks(
                        memory,
                        sink,
                        prefix,
                        &device,
                        Some(nonce),
                        &streams,
                        &mut answers,
                    )?;
                }
                Said::Nack { device, nack } => {
                    answers.extend(self.answer(prefix, &device, &nack));
                }
                Said::Ask(device) => {
                    self.acks(memory, sink, prefix, &device, None, &[], &mut answers)?;
                }
                Said::Pace { device, share } => {
                    let pacing = Pacing {
                        central_id: self.central_id,
                        backlog_bytes_per_s: Some(share),
                        valid_s: pacing::VALID_S,
                    };
                    answers.extend(self.answer(prefix, &device, &pacing));
                }
                Said::Alarm(alert) => {
                    answers.extend(serde_json::to_vec(&alert).ok().map(|payload| Answer {
                        topic: format!("{prefix}/central/alert"),
                        payload,
                    }))
                }
                Said::Progress { .. } => {}
            }
        }
        for (device, streams) in self.ripe(mono_ms) {
            self.acks(memory, sink, prefix, &device, None, &streams, &mut answers)?;
        }
        Ok(answers)
    }

    fn preload(&self, memory: &mut Memory, sink: &mut dyn Sink) -> Result<(), SinkError> {
        let births = self.at_once.iter().filter_map(|said| match said {
            Said::Birth {
                device, streams, ..
            } => Some((device, streams.as_slice())),
            _ => None,
        });
        for (device, streams) in births {
            for stream in streams {
                memory.stream(sink, &key(device, *stream))?;
            }
        }
        for (device, due) in &self.due {
            for stream in &due.streams {
                memory.stream(sink, &key(device, *stream))?;
            }
        }
        Ok(())
    }

    fn ripe(&mut self, mono_ms: u64) -> Vec<(DeviceId, Vec<StreamId>)> {
        let period_ms = self.period_ms;
        let ripe = self
            .due
            .iter_mut()
            .filter(|(_, due)| {
                let waited = due
                    .said_ms
                    .is_none_or(|said| said.saturating_add(period_ms) <= mono_ms);
                waited && !due.streams.is_empty()
            })
            .map(|(device, due)| {
                due.said_ms = Some(mono_ms);
                let streams = std::mem::take(&mut due.streams).into_iter().collect();
                (device.clone(), streams)
            })
            .collect();
        if self.due.len() > DEVICES_MAX {
            self.due.retain(|_, due| {
                !due.streams.is_empty()
                    || due.said_ms.is_some_and(|said| said + period_ms > mono_ms)
            });
        }
        ripe
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one place builds every acknowledgement"
    )]
    fn acks(
        &mut self,
        memory: &mut Memory,
        sink: &mut dyn Sink,
        prefix: &str,
        device: &DeviceId,
        nonce: Option<u64>,
        streams: &[StreamId],
        answers: &mut Vec<Answer>,
    ) -> Result<(), SinkError> {
        // A birth without streams wants its nonce back all the same.
        let mut chunks = streams.chunks(ACK_ENTRIES_MAX);
        let mut chunk = chunks.next().unwrap_or_default();
        loop {
            let mut entries = Entries::new();
            for stream in chunk {
                let entry = entry(memory, sink, &key(device, *stream))?;
                if entries.push(entry).is_err() {
                    break;
                }
            }
            self.n += 1;
            let ack = Ack {
                central_id: self.central_id,
                run: self.runs.get(device).copied().unwrap_or(self.run),
                n: self.n,
                nonce,
                entries,
            };
            answers.extend(self.answer(prefix, device, &ack));
            match chunks.next() {
                Some(next) => chunk = next,
                None => return Ok(()),
            }
        }
    }

    fn answer(
        &mut self,
        prefix: &str,
        device: &DeviceId,
        message: &impl Message,
    ) -> Option<Answer> {
        let topic = topic(prefix, device, Leaf::Ack)?;
        let payload = message.encode(&mut self.buffer).ok()?.to_vec();
        Some(Answer {
            topic: topic.as_str().to_owned(),
            payload,
        })
    }
}

type Entries = heapless::Vec<AckEntry, ACK_ENTRIES_MAX>;

fn key(device: &DeviceId, stream: StreamId) -> StreamKey {
    StreamKey {
        device: device.clone(),
        stream,
    }
}

fn entry(memory: &mut Memory, sink: &mut dyn Sink, key: &StreamKey) -> Result<AckEntry, SinkError> {
    let record = &memory.stream(sink, key)?.record;
    let explained = record.ledger.with_stored(&record.have);
    Ok(AckEntry {
        epoch: key.stream.epoch,
        lane: key.stream.lane,
        upto: explained.upto(),
        ranges: explained
            .ranges_above_upto()
            .iter()
            .copied()
            .take(ACK_RANGES_MAX)
            .collect(),
        tail_from: record.ledger.tail().map(|tail| tail.told_first_seq),
    })
}
