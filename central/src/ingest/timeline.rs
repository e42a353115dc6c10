//! The time of one boot: from CLOCK_BOOTTIME to UTC, with a bound.
//!
//! Every anchor of a clock that somebody vouches for (GNSS, NTP) confines the offset between UTC and stamps
//! to a cone: its own error at its own stamp, wider by the drift of a crystal on both sides. The truth lies
//! in all cones of truthful anchors, so between two anchors drift is followed piece by piece:
//! ```text
//!  offset  \   /----\      /
//!           \ /  ....\..../.....  <- the line: one offset for the whole boot, bent where a cone forces it
//!            x        \  /
//!           / \        \/
//!          anchor    anchor       stamp ->
//! ```
//! Promises: the UTC of a later stamp is never before that of an earlier one; the true UTC is within the
//! stated error of it, as long as the chosen anchors are truthful and the crystal drifts by at most
//! [`DRIFT_PPM`]; anchors that contradict each other are not mixed: the better source wins, then the larger
//! group, then the later one, because clocks are set right and not wrong; another anchor changes only what
//! contradicts it. Never: a bound from a clock that nobody vouches for (RTC, restored); an order.

use firmware_shared::time::{ClockSource, TimeAnchor};

use super::NUMBER_MAX;

/// What a crystal without temperature control drifts at most, parts per million.
pub(crate) const DRIFT_PPM: u64 = 100;
/// Offsets are counted in ten-thousandths of a ms: the drift of one ms at [`DRIFT_PPM`].
const SCALE: i128 = 1_000_000 / DRIFT_PPM as i128;
/// Stamp and UTC of an anchor and the stamp of a reading are whole milliseconds.
const ROUNDING_MS: i128 = 2;
/// The line is that of the first anchor at most so many times as uncertain as the best.
const REFERENCE_FACTOR: u64 = 4;

/// A UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dated {
    pub(crate) utc_ms: i64,
    /// The true UTC is at most so far away; `None` when nobody vouches for that.
    pub(crate) error_ms: Option<u32>,
    pub(crate) source: ClockSource,
}

/// One boot's anchors that agree, ready to date stamps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timeline {
    source: ClockSource,
    /// Offset of the line, scaled.
    line: i128,
    /// By stamp.
    cones: Vec<Cone>,
}

/// One anchor, and what the anchors up to it and from it on say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cone {
    stamp_ms: i128,
    source: ClockSource,
    error_ms: u32,
    offset: i128,
    /// Largest `low + stamp` and smallest `high - stamp` so far.
    before: [i128; 2],
    /// Largest `low - stamp` and smallest `high + stamp` from here on.
    behind: [i128; 2],
}

impl Cone {
    fn new(anchor: &TimeAnchor) -> Option<Self> {
        let usable = anchor.source > ClockSource::None
            && anchor.boottime_ms <= NUMBER_MAX
            && anchor.utc_ms.unsigned_abs() <= NUMBER_MAX;
        let stamp_ms = i128::from(anchor.boottime_ms);
        let mut cone = Self {
            stamp_ms,
            source: anchor.source,
            error_ms: anchor.error_ms,
            offset: (i128::from(anchor.utc_ms) - stamp_ms) * SCALE,
            before: [0; 2],
            behind: [0; 2],
        };
        cone.before = [cone.low() + stamp_ms, cone.high() - stamp_ms];
        cone.behind = [cone.low() - stamp_ms, cone.high() + stamp_ms];
        usable.then_some(cone)
    }

    fn margin(&self) -> i128 {
        (i128::from(self.error_ms) + ROUNDING_MS) * SCALE
    }

    fn low(&self) -> i128 {
        self.offset - self.margin()
    }

    fn high(&self) -> i128 {
        self.offset + self.margin()
    }

    /// Whether it and all in a group before it can be true together.
    fn agrees(&self, group: &[Self]) -> bool {
        group.last().is_none_or(|last| {
            last.before[0] - self.stamp_ms <= self.high()
                && last.before[1] + self.stamp_ms >= self.low()
        })
    }
}

/// From this source on a clock is vouched for.
fn is_vouched(source: ClockSource) -> bool {
    source >= ClockSource::Ntp
}

impl Timeline {
    /// The timeline that a boot's anchors give; `None` without a usable one.
    pub(crate) fn new(anchors: &[TimeAnchor]) -> Option<Self> {
        let mut cones: Vec<Cone> = anchors.iter().filter_map(Cone::new).collect();
        let best = cones.iter().map(|cone| cone.source).max()?;
        // What nobody vouches for says nothing where somebody does.
        let least = best.min(ClockSource::Ntp);
        cones.retain(|cone| cone.source >= least);
        cones.sort_by_key(|cone| (cone.stamp_ms, cone.source, cone.offset));
        let cones = finish(choose(groups(cones)));
        let line = reference(&cones)?.offset;
        let source = cones.iter().map(|cone| cone.source).max()?;
        Some(Self {
            source,
            line,
            cones,
        })
    }

    /// Who vouches for it.
    pub(crate) fn source(&self) -> ClockSource {
        self.source
    }

    /// The UTC of a stamp of this boot.
    pub(crate) fn date(&self, stamp_ms: u64) -> Option<Dated> {
        let (offset, [low, high]) = self.offset(i128::from(stamp_ms));
        let utc = i128::from(stamp_ms) + offset.div_euclid(SCALE);
        let error = (high - offset).max(offset - low);
        let error_ms = (error + SCALE - 1).div_euclid(SCALE) + 1;
        Some(Dated {
            utc_ms: i64::try_from(utc).ok()?,
            error_ms: is_vouched(self.source).then(|| u32::try_from(error_ms).unwrap_or(u32::MAX)),
            source: self.source,
        })
    }

    /// The offset at a stamp and its bounds, scaled.
    fn offset(&self, stamp_ms: i128) -> (i128, [i128; 2]) {
        let at = self.cones.partition_point(|cone| cone.stamp_ms <= stamp_ms);
        let before = at.checked_sub(1).and_then(|last| self.cones.get(last));
        let behind = self.cones.get(at);
        let mut bounds = [i128::MIN / 4, i128::MAX / 4];
        if let Some(cone) = before {
            bounds = [cone.before[0] - stamp_ms, cone.before[1] + stamp_ms];
        }
        if let Some(cone) = behind {
            bounds = [
                bounds[0].max(cone.behind[0] + stamp_ms),
                bounds[1].min(cone.behind[1] - stamp_ms),
            ];
        }
        // The bounds of anchors that agree never cross.
        let [low, high] = bounds;
        (self.line.max(low).min(high.max(low)), bounds)
    }

    /// The stamps whose UTC differs from that of the timeline before one more anchor; `None` when none
    /// does.
    pub(crate) fn changed_by(&self, before: &Self, anchor: &TimeAnchor) -> Option<[u64; 2]> {
        if self.line != before.line
            || self.source != before.source
            || self.cones.len() != before.cones.len() + 1
        {
            return Some([0, NUMBER_MAX]);
        }
        let differs = |stamp_ms: u64| {
            let stamp_ms = i128::from(stamp_ms);
            self.offset(stamp_ms).0 != before.offset(stamp_ms).0
        };
        let at_ms = anchor.boottime_ms;
        // A bend of the line is at most as steep as the side of a cone: what does not leave the cone at its
        // tip does not leave it anywhere, and what leaves it comes back once.
        differs(at_ms).then(|| {
            let below = furthest(|by_ms| at_ms >= by_ms && differs(at_ms - by_ms));
            let above = furthest(|by_ms| differs(at_ms.saturating_add(by_ms)));
            [at_ms.saturating_sub(below), at_ms.saturating_add(above)]
        })
    }
}

/// The largest distance for which something holds that holds at 0 and, once over, never again.
fn furthest(holds: impl Fn(u64) -> bool) -> u64 {
    let mut step_ms = 1 << 46;
    let mut reached_ms = 0;
    while step_ms > 0 {
        if holds(reached_ms + step_ms) {
            reached_ms += step_ms;
        }
        step_ms >>= 1;
    }
    reached_ms
}

/// Splits anchors into groups that agree, each in order of stamps.
fn groups(cones: Vec<Cone>) -> Vec<Vec<Cone>> {
    let mut groups: Vec<Vec<Cone>> = Vec::new();
    for mut cone in cones {
        let group = groups.iter_mut().find(|group| cone.agrees(group));
        let Some(group) = group else {
            groups.push(vec![cone]);
            continue;
        };
        if let Some(last) = group.last() {
            cone.before = [
                cone.before[0].max(last.before[0]),
                cone.before[1].min(last.before[1]),
            ];
        }
        group.push(cone);
    }
    groups
}

fn choose(groups: Vec<Vec<Cone>>) -> Vec<Cone> {
    let rank = |group: &Vec<Cone>| {
        let best = group.iter().map(|cone| cone.source).max();
        let count = group
            .iter()
            .filter(|cone| Some(cone.source) == best)
            .count();
        (best, count, group.last().map(|cone| cone.stamp_ms))
    };
    groups.into_iter().max_by_key(rank).unwrap_or_default()
}

/// Adds what each anchor and those behind it say together.
fn finish(mut cones: Vec<Cone>) -> Vec<Cone> {
    let mut behind: Option<[i128; 2]> = None;
    for cone in cones.iter_mut().rev() {
        if let Some([low, high]) = behind {
            cone.behind = [cone.behind[0].max(low), cone.behind[1].min(high)];
        }
        behind = Some(cone.behind);
    }
    cones
}

fn reference(cones: &[Cone]) -> Option<&Cone> {
    let error = |cone: &Cone| u64::from(cone.error_ms) + 1;
    let best = cones.iter().map(error).min()?;
    cones
        .iter()
        .find(|cone| error(cone) <= best.saturating_mul(REFERENCE_FACTOR))
}

#[cfg(test)]
mod tests;
