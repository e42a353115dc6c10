//! A centre as the contract describes it, over have-sets.
use std::collections::BTreeMap;

use firmware_shared::have_set::UnboundedHaveSet;
use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};
use firmware_shared::message::{
    ACK_ENTRIES_MAX, ACK_RANGES_MAX, Ack, AckEntry, Anchors, Birth, Goodbye, Loss, LossReason,
    Losses, Message, Nack, NackReason, Status,
};

use crate::deliver::compose::encoded;
use crate::spool::Frame;

/// The bytes of a test frame: they say what they are.
pub(crate) fn frame(stream: StreamId, range: SeqRange) -> Frame {
    let mut bytes = vec![stream.lane as u8];
    bytes.extend_from_slice(&stream.epoch.number().to_le_bytes());
    bytes.extend_from_slice(&range.first_seq.to_le_bytes());
    bytes.extend_from_slice(&range.last_seq.to_le_bytes());
    bytes.resize(64 + (range.first_seq % 97) as usize, range.first_seq as u8);
    Frame {
        stream,
        range,
        bytes,
    }
}

/// Reads the bytes of a test frame.
pub(crate) fn frame_of(bytes: &[u8]) -> Option<(StreamId, SeqRange)> {
    let number = |at: usize| {
        let field = bytes.get(at..at + 8)?;
        Some(u64::from_le_bytes(field.try_into().ok()?))
    };
    let lane = Lane::from_wire(*bytes.first()?)?;
    let epoch = Epoch::from_number(number(1)?)?;
    let range = SeqRange::new(number(9)?, number(17)?)?;
    let stream = StreamId { epoch, lane };
    (frame(stream, range).bytes == bytes).then_some((stream, range))
}

/// The database, which can be backed up and restored.
#[derive(Debug, Clone, Default)]
pub(crate) struct Database {
    pub(crate) stored: BTreeMap<StreamId, UnboundedHaveSet>,
    pub(crate) lost: BTreeMap<StreamId, BTreeMap<u64, LossReason>>,
    pub(crate) tails: BTreeMap<StreamId, u64>,
}

impl Database {
    pub(crate) fn explained(&self, stream: StreamId) -> UnboundedHaveSet {
        let mut set = self.stored.get(&stream).cloned().unwrap_or_default();
        for seq in self
            .lost
            .get(&stream)
            .into_iter()
            .flat_map(|lost| lost.keys())
        {
            set.insert(SeqRange::new(*seq, *seq).unwrap()).unwrap();
        }
        set
    }
}

/// A centre.
#[derive(Debug)]
pub(crate) struct Centre {
    pub(crate) central_id: u64,
    pub(crate) run: u64,
    pub(crate) n: u64,
    pub(crate) database: Database,
    pub(crate) births: Vec<Birth>,
    pub(crate) goodbyes: Vec<Goodbye>,
    pub(crate) statuses: Vec<Status>,
    pub(crate) anchors: Vec<Anchors>,
    pub(crate) loss_messages: u64,
    nonce: Option<u64>,
    listed: Vec<StreamId>,
}

impl Centre {
    pub(crate) fn new(central_id: u64) -> Self {
        Self {
            central_id,
            run: 1,
            n: 0,
            database: Database::default(),
            births: Vec::new(),
            goodbyes: Vec::new(),
            statuses: Vec::new(),
            anchors: Vec::new(),
            loss_messages: 0,
            nonce: None,
            listed: Vec::new(),
        }
    }

    /// The ingest starts again, over this database.
    pub(crate) fn restart(&mut self, database: Database) {
        self.run += 1;
        self.n = 0;
        self.database = database;
        self.nonce = None;
        self.listed.clear();
    }

    /// Commits a message.
    pub(crate) fn receive(&mut self, payload: &[u8]) {
        if let Ok(birth) = Birth::decode(payload) {
            self.nonce = Some(birth.nonce);
            let lanes = |epoch: &firmware_shared::message::OpenEpoch| {
                Lane::ALL.map(|lane| StreamId {
                    epoch: epoch.epoch,
                    lane,
                })
            };
            self.listed = birth.epochs.iter().flat_map(lanes).collect();
            self.births.push(birth);
        } else if let Ok(losses) = Losses::decode(payload) {
            self.loss_messages += 1;
            losses.losses.iter().for_each(|loss| self.lose(loss));
        } else if let Ok(status) = Status::decode(payload) {
            self.statuses.push(status);
        } else if let Ok(goodbye) = Goodbye::decode(payload) {
            self.goodbyes.push(goodbye);
        } else if let Ok(anchors) = Anchors::decode(payload) {
            self.anchors.push(anchors);
        } else {
            let (stream, range) = frame_of(payload).expect("a frame with intact bytes");
            let stored = self.database.stored.entry(stream).or_default();
            stored.insert(range).unwrap();
            if let Some(lost) = self.database.lost.get_mut(&stream) {
                lost.retain(|seq, _| !range.contains(*seq));
            }
        }
    }

    fn lose(&mut self, loss: &Loss) {
        let stream = loss.stream();
        let Some(range) = loss.range() else {
            let tail = self.database.tails.entry(stream).or_insert(loss.first_seq);
            *tail = (*tail).min(loss.first_seq);
            return;
        };
        let stored = self.database.stored.entry(stream).or_default();
        let lost = self.database.lost.entry(stream).or_default();
        for missing in stored.missing_in(range) {
            for seq in missing.first_seq..=missing.last_seq {
                lost.insert(seq, loss.reason);
            }
        }
    }

    fn entry(&self, stream: StreamId) -> AckEntry {
        let explained = self.database.explained(stream);
        AckEntry {
            epoch: stream.epoch,
            lane: stream.lane,
            upto: explained.upto(),
            ranges: explained
                .ranges_above_upto()
                .iter()
                .take(ACK_RANGES_MAX)
                .copied()
                .collect(),
            tail_from: self.database.tails.get(&stream).copied(),
        }
    }

    /// What it has to say: the answer to the birth if there is one, then everything it knows.
    pub(crate) fn acks(&mut self) -> Vec<Vec<u8>> {
        let nonce = self.nonce.take();
        let known = self
            .database
            .stored
            .keys()
            .chain(self.database.tails.keys());
        let mut streams: Vec<StreamId> = self.listed.iter().chain(known).copied().collect();
        streams.sort_unstable_by_key(|s| (s.epoch, s.lane));
        streams.dedup();
        let mut acks = Vec::new();
        for part in streams.chunks(ACK_ENTRIES_MAX) {
            self.n += 1;
            let ack = Ack {
                central_id: self.central_id,
                run: self.run,
                n: self.n,
                nonce,
                entries: part.iter().map(|stream| self.entry(*stream)).collect(),
            };
            acks.push(encoded(&ack).unwrap());
        }
        acks
    }

    pub(crate) fn nack(&self, stream: StreamId, range: SeqRange, reason: NackReason) -> Vec<u8> {
        let nack = Nack {
            central_id: self.central_id,
            frame: Some((stream, range)),
            reason,
        };
        encoded(&nack).unwrap()
    }

    pub(crate) fn has(&self, stream: StreamId, range: SeqRange) -> bool {
        let stored = self.database.stored.get(&stream);
        stored.is_some_and(|stored| stored.count_in(range) == range.count())
    }

    pub(crate) fn reason(&self, stream: StreamId, seq: u64) -> Option<LossReason> {
        self.database.lost.get(&stream)?.get(&seq).copied()
    }
}
