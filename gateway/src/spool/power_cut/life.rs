//! What a spool goes through between two cuts.
use std::collections::BTreeMap;

use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};
use firmware_shared::message::{AckEntry, LossReason};
use firmware_shared::time::BootId;

use super::Tally;
use super::oracle::{Oracle, Written};
use crate::forward::random::Random;
use crate::spool::disk::Site;
use crate::spool::numbers::{self, Numbers};
use crate::spool::reading::Found;
use crate::spool::sim::{Blast, Faults, SimDisk};
use crate::spool::{EpochNote, Frame, PerLane, Place, Spool, SpoolLimits};

/// What a seed is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) align: u32,
    pub(crate) blast: usize,
    /// Files at rest are damaged.
    pub(crate) is_hostile: bool,
    /// Writes and syncs fail.
    pub(crate) has_errors: bool,
    pub(crate) keeps_history: bool,
    pub(crate) total_segments: u64,
}

impl Weather {
    fn new(random: &mut Random) -> Self {
        let (align, blasts): (u32, &[usize]) = match random.below(10) {
            0..=5 => (512, &[0, 512]),
            6..=8 => (4096, &[0, 512, 4096]),
            _ => (16384, &[0, 4096, 16384]),
        };
        let mut blast = blasts[random.below(blasts.len() as u64) as usize];
        if random.below(8) == 0 {
            blast = 16384;
        }
        Self {
            align,
            blast,
            is_hostile: random.below(6) == 0,
            has_errors: random.below(3) == 0,
            keeps_history: random.below(2) == 0,
            total_segments: 6 + random.below(3),
        }
    }

    /// Whether what was reported durable must be there: nothing but un-synced writes is ever lost.
    pub(crate) fn is_strict(&self) -> bool {
        !self.is_hostile && self.blast <= self.align as usize
    }

    fn segment_bytes(&self) -> u32 {
        match self.align {
            512 => 6 * 1024,
            4096 => 32 * 1024,
            _ => 80 * 1024,
        }
    }

    pub(crate) fn limits(&self) -> SpoolLimits {
        let segment = u64::from(self.segment_bytes());
        SpoolLimits {
            max_bytes: PerLane {
                alert: 2 * segment,
                telemetry: 4 * segment,
                health: 3 * segment,
            },
            total_bytes: self.total_segments * segment,
            ram_bytes: PerLane::from_fn(|_| 4 * 1024),
            segment_bytes: self.segment_bytes(),
            align: self.align,
            slot_bytes: 4096,
            history_ms: if self.keeps_history { 50_000 } else { 0 },
            pending_count_max: 200,
        }
    }
}

/// What a life does more often than chance would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Everything as it comes.
    None,
    /// What is written is acknowledged before the next segment is needed; the power goes while one is used again.
    Turnover,
    /// Each cursor says much that the one before did not; the power goes while it is written.
    Bookkeeping,
}

impl Habit {
    pub(crate) fn of(seed: u64) -> Self {
        match seed % 3 {
            0 => Self::None,
            1 => Self::Turnover,
            _ => Self::Bookkeeping,
        }
    }

    /// Where the power likes to go.
    fn site(self) -> Option<Site> {
        match self {
            Self::None => None,
            Self::Turnover => Some(Site::Recycle),
            Self::Bookkeeping => Some(Site::Cursor),
        }
    }
}

/// A spool, what happened to it, and the centre that it talks to.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) disk: SimDisk,
    pub(crate) weather: Weather,
    pub(crate) oracle: Oracle,
    habit: Habit,
    random: Random,
    starts: u64,
    now_ms: u64,
    next_seq: BTreeMap<StreamId, u64>,
    /// What the centre has, and what it had when the backup was taken.
    centre: BTreeMap<StreamId, Numbers>,
    backup: BTreeMap<StreamId, Numbers>,
}

impl Life {
    pub(crate) fn new(seed: u64, habit: Habit) -> Self {
        let mut random = Random::new(seed ^ 0x5EED_0F57_0000_0000);
        let weather = Weather::new(&mut random);
        Self {
            disk: SimDisk::default(),
            weather,
            oracle: Oracle::default(),
            habit,
            random,
            starts: 0,
            now_ms: 1_000,
            next_seq: BTreeMap::new(),
            centre: BTreeMap::new(),
            backup: BTreeMap::new(),
        }
    }

    fn epoch(&self) -> Epoch {
        Epoch::from_random(0xE000_0000 + self.starts)
    }

    fn open(&mut self) -> Spool {
        self.starts += 1;
        self.now_ms += 1;
        let note = EpochNote {
            boot_id: BootId([self.starts as u8; 16]),
            tail_at_most: [10_000; 3],
        };
        let disk = Box::new(self.disk.clone());
        let (limits, spool_id) = (self.weather.limits(), 0xABCD + self.starts);
        Spool::open(disk, limits, self.epoch(), note, spool_id, self.now_ms)
    }

    /// Opens, judges, lives on, and dies at some place.
    pub(crate) fn live_and_die(&mut self, tally: &mut Tally) -> Result<(), String> {
        let mut spool = self.recover(tally)?;
        tally.judged += self.oracle.judge(&mut spool, &self.weather)?;
        if self.weather.is_strict() && self.random.below(8) == 0 {
            self.probe_rot(&mut spool)?;
        }
        if self.random.below(2) == 0 {
            self.answer_birth(&mut spool);
        }
        let site = self.some_site();
        let after = match site {
            Site::Append => self.random.below(20),
            Site::Recycle => self.random.below(5),
            // Between the write of a slot and its sync.
            Site::Cursor if self.habit == Habit::Bookkeeping => 1 + 2 * self.random.below(2),
            Site::Cursor => self.random.below(4),
            Site::Eviction | Site::Epoch | Site::Ledger | Site::Rewind => self.random.below(3),
        };
        if site != Site::Epoch {
            self.disk.cut_power_at(site, after);
        }
        let steps = 10 + self.random.below(50);
        for _ in 0..steps {
            if self.disk.died_at().is_some() {
                break;
            }
            self.step(&mut spool, site);
        }
        drop(spool);
        self.die(tally);
        Ok(())
    }

    /// Where the power goes next.
    fn some_site(&mut self) -> Site {
        match self.habit.site() {
            Some(site) if self.random.below(4) > 0 => site,
            _ => Site::ALL[self.random.below(7) as usize],
        }
    }

    /// Opens the spool; the power may go again meanwhile, up to three times.
    fn recover(&mut self, tally: &mut Tally) -> Result<Spool, String> {
        for _ in 0..3 {
            if self.random.below(3) > 0 {
                break;
            }
            self.disk.cut_power_after(self.random.below(10));
            let spool = self.open();
            let was_known = spool.book().epoch(self.epoch()).is_some();
            drop(spool);
            if self.disk.died_at().is_none() {
                // The cut comes when it is open and idle.
                self.disk.cut_power_after(0);
                if was_known && self.weather.is_strict() {
                    self.oracle.epoch_is_durable(self.epoch());
                }
            } else {
                tally.in_recovery += 1;
            }
            self.die(tally);
        }
        let before = self.disk.operations();
        let spool = self.open();
        if self.disk.operations() - before > 3_000 {
            return Err("recovery does not come to an end".to_owned());
        }
        if spool.is_in_ram() {
            return Err("recovery refuses to start on a disk that works".to_owned());
        }
        if self.weather.is_strict() {
            self.oracle.epoch_is_durable(self.epoch());
        }
        Ok(spool)
    }

    /// The power goes, or the process is killed; whatever the disk keeps, it keeps.
    fn die(&mut self, tally: &mut Tally) {
        tally.note(self.disk.died_at());
        self.disk.set_faults(Faults::default());
        if self.random.below(8) == 0 {
            // Killed, between whatever two operations: the page cache stays.
            self.disk.power_is_back();
            return;
        }
        let blast = Blast {
            unit: self.weather.blast,
        };
        self.disk.crash_with(&mut self.random, blast);
        if self.weather.is_hostile {
            for _ in 0..self.random.below(6) {
                if self.random.below(6) == 0 {
                    self.disk.maul(&mut self.random);
                } else {
                    self.disk.flip_bit("", &mut self.random);
                }
            }
        }
    }

    /// One damaged frame costs itself and nothing else: tried on a copy of the disk.
    fn probe_rot(&mut self, spool: &mut Spool) -> Result<(), String> {
        let mut frames = Vec::new();
        for lane in Lane::ALL {
            let mut cursor = Place::default();
            while let Some(found) = spool.next_frame(lane, &mut cursor) {
                if found.place.segment < Place::RAM {
                    frames.push(found);
                }
            }
        }
        if frames.is_empty() {
            return Ok(());
        }
        let victim = frames[self.random.below(frames.len() as u64) as usize];
        let is_victim = |found: &Found| {
            (found.stream.lane, found.place.segment, found.place.offset)
                == (
                    victim.stream.lane,
                    victim.place.segment,
                    victim.place.offset,
                )
        };
        let before = self.oracle.read_all(spool, &self.weather)?;
        let segment = spool
            .lanes
            .get(victim.stream.lane)
            .segment(victim.place.segment);
        let name = spool.file_name(segment.unwrap().file());
        let copy = self.disk.image();
        copy.damage(&name, victim.place.offset + self.random.below(70));
        self.starts += 1;
        let note = EpochNote {
            boot_id: BootId([0; 16]),
            tail_at_most: [0; 3],
        };
        let (disk, limits) = (Box::new(copy), self.weather.limits());
        let mut rotten = Spool::open(disk, limits, self.epoch(), note, 0, self.now_ms);
        let after = self.oracle.read_all(&mut rotten, &self.weather)?;
        for (stream, held) in before {
            let after = after.get(&stream).cloned().unwrap_or_default();
            for gone in held.ranges().iter().flat_map(|r| after.missing_in(*r)) {
                for seq in gone.first_seq..=gone.last_seq {
                    let mut damaged = frames.iter().filter(|f| is_victim(f));
                    let is_damaged = damaged.any(|f| f.stream == stream && f.range.contains(seq));
                    // Where nothing is left to be sent, nobody looks.
                    let one = SeqRange::new(seq, seq).unwrap();
                    if !is_damaged && !spool.book().is_done(stream, one) {
                        return Err(format!(
                            "{stream:?} {seq} went with the damage at {victim:?}"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn is_alive(&self) -> bool {
        self.disk.died_at().is_none()
    }

    fn step(&mut self, spool: &mut Spool, aim: Site) {
        self.now_ms += self.random.below(2_000);
        spool.tick(self.now_ms);
        if self.habit != Habit::None && self.starts.is_multiple_of(2) {
            // A disk without room is one of the things that may be.
            spool.prepare_room().ok();
        }
        let aimed = self.random.below(3) == 0;
        if self.weather.has_errors && self.random.below(8) == 0 {
            self.break_disk();
            self.append(spool);
            self.commit(spool);
        }
        match (aim, aimed) {
            (Site::Recycle, true) if self.habit == Habit::Turnover => {
                self.acknowledge_all(spool);
                return self.fill(spool);
            }
            (Site::Recycle | Site::Eviction, true) => return self.fill(spool),
            (Site::Cursor, true) if self.habit == Habit::Bookkeeping => {
                for _ in 0..3 {
                    self.append(spool);
                    self.lose(spool);
                    self.commit(spool);
                    self.acknowledge(spool);
                }
                return self.write_book(spool);
            }
            (Site::Cursor, true) => return self.write_book(spool),
            (Site::Ledger, true) => return self.lose(spool),
            (Site::Rewind, true) => return self.rewind(spool),
            _ => {}
        }
        match self.random.below(100) {
            0..=37 => self.append(spool),
            38..=54 => self.commit(spool),
            55..=72 => self.acknowledge(spool),
            73..=78 => self.write_book(spool),
            79..=82 => self.lose(spool),
            83..=85 => self.rewind(spool),
            86..=89 => self.fill(spool),
            90..=95 => self.backup = self.centre.clone(),
            96 => self.restart_cleanly(spool),
            _ => {
                self.disk.set_faults(Faults::default());
                spool.try_return_to_disk();
                self.note_commit(spool);
            }
        }
    }

    fn stream(&self, lane: Lane) -> StreamId {
        let epoch = self.epoch();
        StreamId { epoch, lane }
    }

    fn some_lane(&mut self) -> Lane {
        match self.random.below(10) {
            0..=6 => Lane::Telemetry,
            7 => Lane::Alert,
            _ => Lane::Health,
        }
    }

    fn issue(&mut self, stream: StreamId, count: u64) -> SeqRange {
        let next = self.next_seq.entry(stream).or_default();
        let range = SeqRange::from_count(*next, count).unwrap();
        *next = range.next_seq();
        self.oracle.issued(stream, range.next_seq());
        range
    }

    fn append(&mut self, spool: &mut Spool) {
        let lane = self.some_lane();
        self.append_to(spool, lane);
    }

    fn append_to(&mut self, spool: &mut Spool, lane: Lane) {
        let stream = self.stream(lane);
        let count = 1 + self.random.below(4);
        let range = self.issue(stream, count);
        let scale = u64::from(self.weather.align) * 2;
        let len = match self.random.below(8) {
            0 => self.random.below(scale),
            _ => 20 + self.random.below(200),
        };
        let written = Written {
            range,
            len: len as usize,
        };
        let frame = Frame {
            stream,
            range,
            bytes: written.bytes(stream),
        };
        self.oracle.written(stream, written);
        if spool.append(frame).is_ok() && lane == Lane::Alert {
            let is_durable = spool.commit_lane(lane);
            self.note_lane(spool, lane, is_durable);
        }
    }

    /// Enough for another segment.
    fn fill(&mut self, spool: &mut Spool) {
        let lane = self.some_lane();
        for _ in 0..8 {
            self.append_to(spool, lane);
            let is_durable = spool.commit_lane(lane);
            self.note_lane(spool, lane, is_durable);
        }
    }

    fn commit(&mut self, spool: &mut Spool) {
        for lane in Lane::ALL {
            let is_durable = spool.commit_lane(lane);
            self.note_lane(spool, lane, is_durable);
        }
    }

    fn note_commit(&mut self, spool: &mut Spool) {
        if !spool.is_in_ram() {
            self.commit(spool);
        }
    }

    fn note_lane(&mut self, spool: &mut Spool, lane: Lane, is_durable: bool) {
        self.oracle.heard(lane, &spool.take_events());
        if is_durable && self.is_alive() {
            let stream = self.stream(lane);
            let acked = spool.book().stream(stream).map(|s| s.acked.clone());
            self.oracle.durable(stream, &acked.unwrap_or_default());
        }
    }

    /// The centre commits some of what was written, and says so.
    fn acknowledge(&mut self, spool: &mut Spool) {
        let streams: Vec<StreamId> = self.next_seq.keys().copied().collect();
        if streams.is_empty() {
            return;
        }
        let stream = match self.random.below(3) {
            0 => streams[self.random.below(streams.len() as u64) as usize],
            _ => self.stream(Lane::Telemetry),
        };
        let Some(next) = self.next_seq.get(&stream).copied().filter(|next| *next > 0) else {
            return;
        };
        let left_out = self.random.below(next);
        let range = match self.random.below(5) {
            // All but one.
            1 => SeqRange::new(0, next - 1),
            // A hole: out of order over the air.
            0 => {
                let first = self.random.below(next);
                SeqRange::new(first, first + self.random.below(next - first))
            }
            _ => SeqRange::new(0, self.random.below(next)),
        };
        let range = range.unwrap();
        let is_left_out = |r: &SeqRange| range.count() == next && r.contains(left_out);
        let frames = self.oracle.whole_frames(stream, range);
        for range in frames.into_iter().filter(|r| !is_left_out(r)) {
            self.acknowledge_range(spool, stream, range);
        }
        spool.settle();
    }

    /// The centre has everything that was ever written, and says so.
    fn acknowledge_all(&mut self, spool: &mut Spool) {
        let streams: Vec<(StreamId, u64)> = self.next_seq.iter().map(|(s, n)| (*s, *n)).collect();
        for (stream, next) in streams {
            let Some(all) = SeqRange::from_count(0, next) else {
                continue;
            };
            for range in self.oracle.whole_frames(stream, all) {
                self.acknowledge_range(spool, stream, range);
            }
        }
        spool.settle();
    }

    fn acknowledge_range(&mut self, spool: &mut Spool, stream: StreamId, range: SeqRange) {
        self.oracle.acknowledged(stream, range);
        numbers::add(self.centre.entry(stream).or_default(), range);
        if let Some(known) = spool.book_unwritten_mut().stream_mut(stream) {
            known.take(range);
            known.note_acked();
        }
    }

    fn answer_birth(&mut self, spool: &mut Spool) {
        for (stream, has) in &self.centre {
            if let Some(known) = spool.book_unwritten_mut().stream_mut(*stream) {
                for range in has.ranges() {
                    known.take(*range);
                }
                known.note_acked();
            }
        }
        spool.settle();
    }

    fn write_book(&mut self, spool: &mut Spool) {
        spool.book_mut();
        if spool.write_book() && self.is_alive() {
            self.oracle.cursor_is_durable(spool.book());
        }
    }

    /// Numbers that nobody will ever see.
    fn lose(&mut self, spool: &mut Spool) {
        let stream = self.stream(Lane::Telemetry);
        let count = 1 + self.random.below(3);
        let range = self.issue(stream, count);
        spool.lose(stream, range, LossReason::Evicted);
        if spool.write_book() && self.is_alive() {
            self.oracle.cursor_is_durable(spool.book());
            self.oracle.loss_is_durable(stream, range);
        }
    }

    /// The centre is restored from its backup, and says what it has.
    fn rewind(&mut self, spool: &mut Spool) {
        let known: Vec<StreamId> = self.centre.keys().copied().collect();
        for stream in known {
            let has = self.backup.get(&stream).cloned().unwrap_or_default();
            let entry = AckEntry {
                epoch: stream.epoch,
                lane: stream.lane,
                upto: has.upto(),
                ranges: has.ranges_above_upto().iter().take(64).copied().collect(),
                tail_from: None,
            };
            self.oracle.rewind_begins(stream, &has);
            let before = spool.book().stream(stream).map(|s| s.acked.clone());
            spool.rewind(&entry);
            self.centre.insert(stream, has.clone());
            if self.is_alive() && before.is_some() {
                self.oracle.rewound(spool, stream, &has);
            }
        }
        if self.is_alive() && !spool.is_stale() && !spool.is_in_ram() {
            self.oracle.cursor_is_durable(spool.book());
        }
    }

    fn break_disk(&mut self) {
        let mut faults = Faults::default();
        match self.random.below(9) {
            0..=3 => faults.failing_syncs = 1,
            4 => faults.failing_syncs = 1 + self.random.below(4) as u32,
            5 => faults.short_writes = 1,
            6 => faults.short_writes = 1 + self.random.below(3) as u32,
            7 => faults.room = Some(self.disk.used()),
            _ => faults.read_only = true,
        }
        self.disk.set_faults(faults);
    }

    fn restart_cleanly(&mut self, spool: &mut Spool) {
        let was_in_ram = spool.is_in_ram();
        spool.close();
        if self.is_alive() && !was_in_ram && !spool.is_in_ram() {
            for lane in Lane::ALL {
                self.note_lane(spool, lane, true);
            }
            self.oracle.cursor_is_durable(spool.book());
        }
        self.disk.set_faults(Faults::default());
        *spool = self.open();
        if self.is_alive() && self.weather.is_strict() {
            self.oracle.epoch_is_durable(self.epoch());
        }
    }
}
