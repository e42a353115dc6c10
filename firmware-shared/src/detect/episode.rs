//! Episodes: from a score per tick to one score per episode.
//!
//! Promises: silence while an episode lasts, unless it grows by a tenth; an episode whose like was seen
//! often lately counts less. Never: looks ahead, keeps a list that grows.

use serde::{Deserialize, Serialize};

use super::number::{larger, largest};

/// Ticks in one block of the silence window.
const BLOCK_TICKS: u8 = 10;
/// Blocks in the silence window: 100 ticks, and the block that fills.
const BLOCKS: usize = 11;
/// An episode speaks again when it grows by this factor.
const GROWTH: f32 = 1.1;
/// An earlier episode is alike when it was at least this share as strong.
const ALIKE: f32 = 0.8;
/// How much one alike episode in the recent past takes away.
const HABIT: f32 = 0.5;
/// Ticks in which a past episode loses 63 % of its weight.
const MEMORY_TICKS: f32 = 3000.0;
/// Eight bins per octave from 2^-4 to 2^3: above what the general score can reach.
const BINS: usize = 56;

/// Silence by the strongest recent score, and habituation by how many were alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Rarity {
    peaks: [f32; BLOCKS],
    /// The highest of the blocks before the one that fills.
    before: f32,
    block: u8,
    tick: u8,
    past: heapless::Vec<f32, BINS>,
    since: u32,
}

impl Rarity {
    pub(super) fn new() -> Self {
        let mut new = Self {
            peaks: [0.0; BLOCKS],
            before: 0.0,
            block: 0,
            tick: 0,
            past: heapless::Vec::new(),
            since: 0,
        };
        // Resizes to its capacity, which cannot fail.
        let _fits = new.past.resize(BINS, 0.0);
        new
    }

    /// The score that goes out for this tick.
    pub(super) fn judge(&mut self, raw: f32) -> f32 {
        self.since = self.since.saturating_add(1);
        let filling = self.peaks.get_mut(usize::from(self.block));
        let peak = larger(self.before, filling.as_deref().copied().unwrap_or(0.0));
        if let Some(slot) = filling {
            *slot = larger(*slot, raw);
        }
        self.advance();
        if raw <= 0.0 || raw <= GROWTH * peak {
            return 0.0;
        }
        self.habituate(raw)
    }

    fn advance(&mut self) {
        self.tick += 1;
        if self.tick < BLOCK_TICKS {
            return;
        }
        self.tick = 0;
        self.block = if usize::from(self.block) + 1 >= BLOCKS {
            0
        } else {
            self.block + 1
        };
        if let Some(slot) = self.peaks.get_mut(usize::from(self.block)) {
            *slot = 0.0;
        }
        self.before = largest(&self.peaks);
    }

    fn habituate(&mut self, raw: f32) -> f32 {
        let keep = libm::expf(-(self.since as f32) / MEMORY_TICKS);
        self.since = 0;
        self.past.iter_mut().for_each(|count| *count *= keep);
        let alike: f32 = self.past.iter().skip(bin(ALIKE * raw)).sum();
        if let Some(count) = self.past.get_mut(bin(raw)) {
            *count += 1.0;
        }
        raw / (1.0 + HABIT * alike)
    }
}

/// Eight bins per octave, straight from the bits of the number.
fn bin(score: f32) -> usize {
    const LOWEST: u32 = (127 - 4) << 3;
    let eighths = score.max(0.0).to_bits() >> 20;
    (eighths.saturating_sub(LOWEST) as usize).min(BINS - 1)
}

/// Silence for a while after a score went out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Hold {
    said: f32,
    since: u32,
}

impl Hold {
    /// Readings of silence after a score.
    const TICKS: u32 = 100;
    /// It speaks again when it grows by this factor; an episode that is certain has to double.
    const GROWTH: f32 = 1.15;
    const CERTAIN: f32 = 2.0;
    const GROWTH_CERTAIN: f32 = 2.0;

    pub(super) const fn new() -> Self {
        Self {
            said: 0.0,
            since: u32::MAX,
        }
    }

    /// Counts one tick.
    pub(super) fn tick(&mut self) {
        self.since = self.since.saturating_add(1);
    }

    pub(super) fn judge(&mut self, raw: f32) -> f32 {
        let quiet = self.since <= Self::TICKS;
        let growth = if self.said > Self::CERTAIN {
            Self::GROWTH_CERTAIN
        } else {
            Self::GROWTH
        };
        if raw <= 0.0 || (quiet && raw <= growth * self.said) {
            return 0.0;
        }
        (self.said, self.since) = (raw, 0);
        raw
    }
}
