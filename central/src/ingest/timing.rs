//! From CLOCK_BOOTTIME to UTC.
//!
//! Promises: the best source wins (GNSS, NTP, RTC, a restored clock), among equals the nearest anchor; an
//! anchor of a boot serves every epoch of that boot; what a trusted clock has dated is not dated again.
//! Never: a stamp changed, a UTC without a source.

use firmware_shared::id::DeviceId;
use firmware_shared::time::{BootId, ClockSource, TimeAnchor};

use super::{Core, NUMBER_MAX, Publish, SinkError, UtcBasis, Write};

/// From this source on, a UTC is trusted and never computed again.
pub(crate) const TRUSTED: ClockSource = ClockSource::Rtc;
/// An anchor that says the same as one at most so far away is not kept: a boot of a year stays small.
const ANCHOR_SPACING_MS: u64 = 600_000;
/// Anchors may differ by so much, or by their own error, and still say the same.
const ANCHOR_AGREES_MS: u64 = 50;

/// What an anchor says, if anybody vouches for it and the sum stays in range.
pub(super) fn basis(anchor: &TimeAnchor) -> Option<UtcBasis> {
    let offset = i128::from(anchor.utc_ms) - i128::from(anchor.boottime_ms);
    let offset_ms = i64::try_from(offset).ok()?;
    let fits = offset_ms.unsigned_abs() < NUMBER_MAX;
    (fits && anchor.source > ClockSource::None).then_some(UtcBasis {
        offset_ms,
        source: anchor.source,
    })
}

/// The best of the anchors for a stamp.
pub(super) fn best<'a>(
    anchors: impl Iterator<Item = &'a TimeAnchor>,
    stamp_ms: u64,
) -> Option<UtcBasis> {
    anchors
        .filter_map(|anchor| basis(anchor).map(|basis| (anchor, basis)))
        .max_by_key(|(anchor, basis)| {
            let distance_ms = anchor.boottime_ms.abs_diff(stamp_ms);
            (basis.source, std::cmp::Reverse(distance_ms))
        })
        .map(|(_, basis)| basis)
}

/// Whether an anchor says what a kept one says already.
fn says_the_same(kept: &TimeAnchor, anchor: &TimeAnchor) -> bool {
    let (Some(a), Some(b)) = (basis(kept), basis(anchor)) else {
        return false;
    };
    let tolerance_ms = u64::from(kept.error_ms.max(anchor.error_ms)).max(ANCHOR_AGREES_MS);
    kept.source >= anchor.source
        && kept.error_ms <= anchor.error_ms
        && kept.boottime_ms.abs_diff(anchor.boottime_ms) < ANCHOR_SPACING_MS
        && a.offset_ms.abs_diff(b.offset_ms) <= tolerance_ms
}

impl Core {
    /// The UTC basis for a frame: the anchors of its boot, and its own.
    pub(super) fn utc_basis(
        &mut self,
        publish: &mut Publish<'_>,
        device: &DeviceId,
        boot: Option<BootId>,
        own: Option<TimeAnchor>,
        base_ms: u64,
    ) -> Result<Option<UtcBasis>, SinkError> {
        let Some(boot) = boot else {
            return Ok(best(own.iter(), base_ms));
        };
        if let Some(anchor) = own {
            self.learn_anchor(publish, device, boot, anchor)?;
        }
        let known = self.memory.anchors(publish.sink, device, boot)?;
        Ok(best(known.iter().chain(own.iter()), base_ms))
    }

    /// Keeps an anchor, unless a kept one says the same, and has undated rows of its boot dated.
    pub(super) fn learn_anchor(
        &mut self,
        publish: &mut Publish<'_>,
        device: &DeviceId,
        boot: BootId,
        anchor: TimeAnchor,
    ) -> Result<(), SinkError> {
        let known = self.memory.anchors(publish.sink, device, boot)?;
        let useless = basis(&anchor).is_none()
            || anchor.boottime_ms > NUMBER_MAX
            || known.iter().any(|kept| says_the_same(kept, &anchor));
        if useless {
            return Ok(());
        }
        known.push(anchor);
        self.writes.push(Write::Anchor {
            device: device.clone(),
            boot,
            anchor,
            received_ms: publish.now_ms,
        });
        if anchor.source >= TRUSTED {
            self.upkeep.repair(device, boot);
        }
        Ok(())
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
    fn the_better_source_wins_over_the_nearer_anchor() {
        let anchors = [
            anchor(0, 1_000, ClockSource::Gnss),
            anchor(100, 5_000, ClockSource::Ntp),
            anchor(90, 3_000, ClockSource::Gnss),
        ];
        let best = best(anchors.iter(), 100).unwrap();
        assert_eq!((best.offset_ms, best.source), (2_910, ClockSource::Gnss));
    }

    #[test]
    fn nobody_is_dated_by_a_clock_that_nobody_vouches_for() {
        assert_eq!(best([anchor(0, 1, ClockSource::None)].iter(), 0), None);
        let absurd = anchor(0, i64::MIN, ClockSource::Gnss);
        assert_eq!(best([absurd].iter(), 0), None);
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
}
