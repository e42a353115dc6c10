//! Which anchors a boot keeps, and what has to be dated because of them.
//!
//! Promises: an anchor of a boot serves every epoch of that boot; a row is dated again only where a further
//! anchor contradicts what it says; what is still to be dated outlives the process. Never: a stamp changed,
//! a UTC without a source.

use std::sync::Arc;

use firmware_shared::id::DeviceId;
use firmware_shared::time::{BootId, ClockSource, TimeAnchor};

use super::timeline::Timeline;
use super::{Core, NUMBER_MAX, Publish, SinkError, Write};

/// An anchor that says the same as one at most so far away is not kept: a boot of a year stays small.
const ANCHOR_SPACING_MS: u64 = 600_000;
/// Anchors may differ by so much, or by their own error, and still say the same.
const ANCHOR_AGREES_MS: u64 = 50;

/// What is known about the time of one boot.
#[derive(Debug, Clone, Default)]
pub(crate) struct BootClock {
    anchors: Vec<TimeAnchor>,
    timeline: Option<Arc<Timeline>>,
}

impl BootClock {
    pub(super) fn new(anchors: Vec<TimeAnchor>) -> Self {
        let timeline = Timeline::new(&anchors).map(Arc::new);
        Self { anchors, timeline }
    }

    pub(super) fn timeline(&self) -> Option<Arc<Timeline>> {
        self.timeline.clone()
    }

    /// Keeps an anchor unless a kept one says the same; the stamps that are dated otherwise from here on.
    fn learn(&mut self, anchor: TimeAnchor) -> Option<Learnt> {
        let is_known = self.anchors.iter().any(|kept| says_the_same(kept, &anchor));
        if is_known || !is_usable(&anchor) {
            return None;
        }
        self.anchors.push(anchor);
        let before = self.timeline.take();
        self.timeline = Timeline::new(&self.anchors).map(Arc::new);
        let changed = match (&before, &self.timeline) {
            (Some(before), Some(after)) => after.changed_by(before, &anchor),
            (None, Some(_)) => Some([0, NUMBER_MAX]),
            (_, None) => None,
        };
        Some(Learnt { changed })
    }
}

#[cfg(test)]
impl BootClock {
    /// Keeps an anchor as [`Core::learn_anchor`] does; the stamps to date again.
    pub(super) fn learn_alone(&mut self, anchor: TimeAnchor) -> Option<[u64; 2]> {
        self.learn(anchor)?.changed
    }
}

/// What a kept anchor means for what is stored.
struct Learnt {
    changed: Option<[u64; 2]>,
}

fn is_usable(anchor: &TimeAnchor) -> bool {
    anchor.source > ClockSource::None
        && anchor.boottime_ms <= NUMBER_MAX
        && anchor.utc_ms.unsigned_abs() <= NUMBER_MAX
}

/// Whether an anchor says what a kept one says already.
fn says_the_same(kept: &TimeAnchor, anchor: &TimeAnchor) -> bool {
    let offset = |anchor: &TimeAnchor| i128::from(anchor.utc_ms) - i128::from(anchor.boottime_ms);
    let apart_ms = offset(kept).abs_diff(offset(anchor));
    let tolerance_ms = u64::from(kept.error_ms.max(anchor.error_ms)).max(ANCHOR_AGREES_MS);
    kept.source >= anchor.source
        && kept.error_ms <= anchor.error_ms
        && kept.boottime_ms.abs_diff(anchor.boottime_ms) < ANCHOR_SPACING_MS
        && apart_ms <= u128::from(tolerance_ms)
}

impl Core {
    /// The timeline for a frame: that of its boot, or what its own anchor says.
    pub(super) fn timeline(
        &mut self,
        publish: &mut Publish<'_>,
        device: &DeviceId,
        boot: Option<BootId>,
        own: Option<TimeAnchor>,
    ) -> Result<Option<Arc<Timeline>>, SinkError> {
        let Some(boot) = boot else {
            let own = own.as_slice();
            return Ok(Timeline::new(own).map(Arc::new));
        };
        if let Some(anchor) = own {
            self.learn_anchor(publish, device, boot, anchor)?;
        }
        let clock = self.memory.clock(publish.sink, device, boot)?;
        Ok(clock.timeline())
    }

    /// Keeps an anchor, unless a kept one says the same, and has rows of its boot dated.
    pub(super) fn learn_anchor(
        &mut self,
        publish: &mut Publish<'_>,
        device: &DeviceId,
        boot: BootId,
        anchor: TimeAnchor,
    ) -> Result<(), SinkError> {
        let clock = self.memory.clock(publish.sink, device, boot)?;
        let Some(learnt) = clock.learn(anchor) else {
            return Ok(());
        };
        self.writes.push(Write::Anchor {
            device: device.clone(),
            boot,
            anchor,
            received_ms: publish.now_ms,
        });
        if let Some([from_ms, to_ms]) = learnt.changed {
            self.date_again(device, boot, from_ms, to_ms);
        }
        Ok(())
    }

    /// Has the rows of a boot within some stamps dated in a quiet moment.
    pub(super) fn date_again(&mut self, device: &DeviceId, boot: BootId, from_ms: u64, to_ms: u64) {
        let task = super::DateTask {
            device: device.clone(),
            boot,
            from_ms,
            to_ms,
        };
        self.writes.push(Write::DateLater(task.clone()));
        self.upkeep.add(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor(boottime_ms: u64, utc_ms: i64, source: ClockSource) -> TimeAnchor {
        TimeAnchor {
            boottime_ms,
            utc_ms,
            error_ms: 10,
            source,
        }
    }

    #[test]
    fn a_step_of_the_same_clock_is_kept_and_a_repetition_is_not() {
        let kept = anchor(0, 1_000_000, ClockSource::Ntp);
        assert!(says_the_same(
            &kept,
            &anchor(5_000, 1_005_020, ClockSource::Ntp)
        ));
        assert!(!says_the_same(
            &kept,
            &anchor(5_000, 1_007_000, ClockSource::Ntp)
        ));
        assert!(!says_the_same(
            &kept,
            &anchor(5_000, 1_005_000, ClockSource::Gnss)
        ));
        assert!(!says_the_same(
            &kept,
            &anchor(700_000, 1_700_000, ClockSource::Ntp)
        ));
    }

    #[test]
    fn the_first_anchor_dates_everything_and_one_that_agrees_nothing_again() {
        let mut clock = BootClock::default();
        let learnt = clock.learn(anchor(0, 1_000_000, ClockSource::Ntp)).unwrap();
        assert_eq!(learnt.changed, Some([0, NUMBER_MAX]));
        let agrees = anchor(700_000, 1_700_005, ClockSource::Ntp);
        assert_eq!(clock.learn(agrees).unwrap().changed, None);
        // The crystal has drifted by more than both errors since: the rows near it bend towards it.
        let bends = anchor(1_400_000, 2_400_080, ClockSource::Ntp);
        let [from_ms, to_ms] = clock.learn(bends).unwrap().changed.unwrap();
        assert!(from_ms > 700_000 && from_ms < 1_400_000, "{from_ms}");
        assert!(to_ms > 1_400_000, "{to_ms}");
        let better = anchor(1_500_000, 9_000_000, ClockSource::Gnss);
        assert_eq!(clock.learn(better).unwrap().changed, Some([0, NUMBER_MAX]));
    }
}
