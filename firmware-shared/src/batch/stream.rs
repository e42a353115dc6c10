//! The streams of a batch, and how they follow each other.
//!
//! Promises: streams that take turns cost nothing; any order can be written. Never: more than
//! [`STREAMS_MAX`] streams.
//!
//! A stream is one kind of number of one sensor: (sensor, kind, and what names the number within the kind:
//! unit and scale, fault and register, or metric). Each has its own past.

use crate::reading::{Kind, Reading, Value};

use super::model::Impossible;
use super::motion::{Stretch, Way};
use super::range_coder::{Chance, Pipe};
use super::shape::natural;
use super::stamp::Slot;

/// Streams in one batch.
pub(super) const STREAMS_MAX: usize = 32;

/// What tells streams apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) sensor: u8,
    pub(super) kind: Kind,
    pub(super) name: u16,
}

impl Key {
    #[inline]
    pub(super) fn of(reading: &Reading) -> Self {
        let name = match reading.value {
            Value::Scalar(s) => u16::from_le_bytes([s.unit.0, s.scale as u8]),
            Value::Fault(f) => u16::from_le_bytes([f.kind.0, f.register]),
            Value::Health(h) => h.metric.0,
            Value::Temperature(_) | Value::Position(_) | Value::State(_) => 0,
        };
        Self {
            sensor: reading.sensor,
            kind: reading.value.kind(),
            name,
        }
    }

    /// How many numbers of such a stream are remembered.
    pub(super) fn fields(&self) -> usize {
        if self.kind == Kind::Position { 12 } else { 3 }
    }

    fn code<P: Pipe>(self, pipe: &mut P) -> Self {
        let sensor = natural(pipe, 8, u64::from(self.sensor)) as u8;
        let kind = Kind::from_wire(pipe.even(self.kind as u32, 6) as u8).unwrap_or(self.kind);
        let named = matches!(kind, Kind::Scalar | Kind::Fault | Kind::Health);
        let name = if named {
            pipe.bits(u64::from(self.name), 16) as u16
        } else {
            0
        };
        Self { sensor, kind, name }
    }
}

/// The past of one stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    pub(super) key: Key,
    /// Its first field: stamp, score, then its numbers.
    pub(super) field: u8,
    /// The stream that followed it the last time.
    next: Option<u8>,
    pub(super) slot: Slot,
    /// Its last stamp, ms since the base time.
    pub(super) last_ms: i64,
    /// Where its last velocity led.
    pub(super) way: Way,
    /// Of the latitude that it began at; nothing before that.
    pub(super) stretch: Stretch,
}

/// Which stream comes next.
#[derive(Debug, Clone)]
pub(super) struct Order {
    /// Streams repeat after this many rows; 0 where they do not.
    cycle: usize,
    streams: heapless::Vec<Stream, STREAMS_MAX>,
    /// The streams of the first rows.
    first: [u8; STREAMS_MAX],
    rows: usize,
    /// The place in the cycle of the next row behind the first ones.
    turn: usize,
    follows: Chance,
    before: usize,
}

impl Order {
    /// Codes after how many rows the streams repeat.
    pub(super) fn begin<P: Pipe>(pipe: &mut P, cycle: u8) -> Self {
        let cycle = if pipe.likely(6, cycle == 1) {
            1
        } else if pipe.likely(4, cycle > 0) {
            let before_last = u32::from(cycle.wrapping_sub(1)) % STREAMS_MAX as u32;
            pipe.even(before_last, STREAMS_MAX as u32) as usize + 1
        } else {
            0
        };
        Self {
            cycle,
            streams: heapless::Vec::new(),
            first: [0; STREAMS_MAX],
            rows: 0,
            turn: 0,
            follows: Chance::EVEN,
            before: 0,
        }
    }

    /// Codes the stream of the next row; a writer gives it. Tells whether it is new.
    #[inline]
    pub(super) fn next<P: Pipe>(
        &mut self,
        pipe: &mut P,
        reading: &Reading,
        given: usize,
    ) -> Result<(&mut Stream, bool), Impossible> {
        let known = self.streams.len();
        let place = if self.cycle > 0 && self.rows >= self.cycle {
            let place = self.first.get(self.turn).copied().map_or(0, usize::from);
            self.turn = if self.turn + 1 < self.cycle {
                self.turn + 1
            } else {
                0
            };
            place
        } else {
            self.named(pipe, reading, given)?
        };
        self.rows += 1;
        Ok((
            self.streams.get_mut(place).ok_or(Impossible)?,
            place >= known,
        ))
    }

    fn named<P: Pipe>(
        &mut self,
        pipe: &mut P,
        reading: &Reading,
        given: usize,
    ) -> Result<usize, Impossible> {
        let before = self.streams.get(self.before).and_then(|before| before.next);
        let likely = before.map(usize::from).filter(|_| self.cycle == 0);
        let place = match likely {
            Some(likely) if pipe.chance(&mut self.follows, likely == given) => likely,
            _ => self.any(pipe, reading, given)?,
        };
        if let Some(before) = self.streams.get_mut(self.before).filter(|_| self.rows > 0) {
            before.next = Some(place as u8);
        }
        if let Some(first) = self.first.get_mut(self.rows) {
            *first = place as u8;
        }
        self.before = place;
        Ok(place)
    }

    fn any<P: Pipe>(
        &mut self,
        pipe: &mut P,
        reading: &Reading,
        given: usize,
    ) -> Result<usize, Impossible> {
        let known = self.streams.len();
        let choices = (known + 1).min(STREAMS_MAX);
        let place = pipe.even(given as u32, choices as u32) as usize;
        if place >= known {
            let key = Key::of(reading).code(pipe);
            self.streams.push(Stream::of(key)).map_err(|_| Impossible)?;
        }
        Ok(place)
    }
}

impl Stream {
    fn of(key: Key) -> Self {
        Self {
            key,
            field: 0,
            next: None,
            slot: Slot::default(),
            last_ms: 0,
            way: Way::default(),
            stretch: Stretch::default(),
        }
    }
}
