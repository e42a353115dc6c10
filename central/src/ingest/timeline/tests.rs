use proptest::prelude::*;

use super::*;

fn anchor(boottime_ms: u64, utc_ms: i64, error_ms: u32, source: ClockSource) -> TimeAnchor {
    TimeAnchor {
        boottime_ms,
        utc_ms,
        error_ms,
        source,
    }
}

fn date(anchors: &[TimeAnchor], stamp_ms: u64) -> Dated {
    Timeline::new(anchors).unwrap().date(stamp_ms).unwrap()
}

const YEAR_MS: i64 = 31_557_600_000;
const UTC_MS: i64 = 1_800_000_000_000;

#[test]
fn a_reading_before_the_first_anchor_is_dated_with_a_bound_that_grows_with_the_distance() {
    let anchors = [anchor(3_600_000, UTC_MS, 400, ClockSource::Gnss)];
    let dated = date(&anchors, 0);
    assert_eq!(dated.utc_ms, UTC_MS - 3_600_000);
    // An hour at 100 ppm, the anchor's own error, and the roundings.
    assert_eq!(dated.error_ms, Some(360 + 400 + 3));
    assert_eq!(date(&anchors, 3_600_000).error_ms, Some(403));
}

#[test]
fn drift_between_two_anchors_is_followed_and_bounded_by_both() {
    // 100 ppm fast for ten hours: the second anchor is 3.6 s off the first one's line.
    let anchors = [
        anchor(0, UTC_MS, 100, ClockSource::Gnss),
        anchor(
            36_000_000,
            UTC_MS + 36_000_000 - 3_600,
            100,
            ClockSource::Gnss,
        ),
    ];
    let middle = date(&anchors, 18_000_000);
    let truth = UTC_MS + 18_000_000 - 1_800;
    assert!(middle.utc_ms.abs_diff(truth) <= 103, "{middle:?}");
    assert!(middle.error_ms.unwrap() <= 210, "{middle:?}");
    let end = date(&anchors, 36_000_000);
    assert!(end.utc_ms.abs_diff(UTC_MS + 36_000_000 - 3_600) <= 103);
}

#[test]
fn the_better_source_wins_over_the_nearer_anchor() {
    let anchors = [
        anchor(0, UTC_MS, 400, ClockSource::Gnss),
        anchor(90_000, UTC_MS + 20 * YEAR_MS, 5, ClockSource::Ntp),
        anchor(95_000, UTC_MS - 20 * YEAR_MS, 5, ClockSource::Ntp),
        anchor(100_000, 0, 1, ClockSource::Rtc),
    ];
    let dated = date(&anchors, 100_000);
    assert_eq!(
        (dated.utc_ms, dated.source),
        (UTC_MS + 100_000, ClockSource::Gnss)
    );
}

#[test]
fn a_lone_anchor_does_not_outvote_two_and_of_two_the_later_wins() {
    let right = |at: u64| anchor(at, UTC_MS + at as i64, 50, ClockSource::Ntp);
    let wrong = |at: u64| anchor(at, UTC_MS - 20 * YEAR_MS + at as i64, 50, ClockSource::Ntp);
    assert_eq!(
        date(&[right(0), right(5_000), wrong(9_000)], 100).utc_ms,
        UTC_MS + 100
    );
    // The clock was stepped: what came before the step was wrong.
    assert_eq!(date(&[wrong(0), right(5_000)], 100).utc_ms, UTC_MS + 100);
}

#[test]
fn a_clock_that_nobody_vouches_for_dates_without_a_bound() {
    let anchors = [anchor(10_000, UTC_MS, 1, ClockSource::Rtc)];
    let dated = date(&anchors, 0);
    assert_eq!((dated.error_ms, dated.source), (None, ClockSource::Rtc));
    assert_eq!(
        Timeline::new(&[anchor(0, UTC_MS, 1, ClockSource::None)]),
        None
    );
    assert_eq!(
        Timeline::new(&[anchor(0, i64::MIN, 1, ClockSource::Gnss)]),
        None
    );
}

#[derive(Debug, Clone)]
struct Drive {
    anchors: Vec<TimeAnchor>,
    truths: Vec<(u64, i64)>,
}

/// A boot with a drift that changes, and anchors whose errors are within what they say.
fn drive() -> impl Strategy<Value = Drive> {
    let leg = (
        1_000_u64..20_000_000,
        -100_i64..=100,
        -100_i64..=100,
        1_u32..2_000,
    );
    proptest::collection::vec(leg, 1..30).prop_map(|legs| {
        let (mut stamp_ms, mut utc_us) = (0_u64, i128::from(UTC_MS) * 1000);
        let mut drive = Drive {
            anchors: Vec::new(),
            truths: Vec::new(),
        };
        for (ms, ppm, error_percent, error_ms) in legs {
            stamp_ms += ms;
            utc_us += i128::from(ms) * 1000 + i128::from(ms) * i128::from(ppm) / 1000;
            let utc_ms = i64::try_from(utc_us / 1000).unwrap();
            drive.truths.push((stamp_ms, utc_ms));
            if error_ms % 3 != 0 {
                let off_ms = i64::from(error_ms) * error_percent / 100;
                drive.anchors.push(anchor(
                    stamp_ms,
                    utc_ms + off_ms,
                    error_ms,
                    ClockSource::Gnss,
                ));
            }
        }
        drive
    })
}

proptest! {
    #[test]
    fn the_truth_is_within_the_bound_and_order_is_kept(drive in drive()) {
        let Some(timeline) = Timeline::new(&drive.anchors) else {
            prop_assert!(drive.anchors.is_empty());
            return Ok(());
        };
        prop_assert_eq!(timeline.cones.len(), drive.anchors.len(), "truthful anchors agree");
        let mut last_ms = i64::MIN;
        for (stamp_ms, utc_ms) in drive.truths {
            let dated = timeline.date(stamp_ms).unwrap();
            let error_ms = u64::from(dated.error_ms.unwrap());
            prop_assert!(dated.utc_ms.abs_diff(utc_ms) <= error_ms, "{:?} {}", dated, utc_ms);
            for stamp_ms in [stamp_ms - 1, stamp_ms, stamp_ms + 1] {
                let dated = timeline.date(stamp_ms).unwrap();
                prop_assert!(dated.utc_ms >= last_ms);
                last_ms = dated.utc_ms;
            }
        }
    }

    #[test]
    fn one_more_anchor_changes_nothing_outside_of_what_it_is_said_to_change(
        drive in drive(), pick in any::<prop::sample::Index>()
    ) {
        prop_assume!(drive.anchors.len() >= 2);
        let all = Timeline::new(&drive.anchors).unwrap();
        let mut rest = drive.anchors.clone();
        let taken = rest.remove(pick.index(rest.len()));
        let before = Timeline::new(&rest).unwrap();
        let changed = all.changed_by(&before, &taken);
        let stamps = drive.truths.iter().flat_map(|(s, _)| [s - 1, *s, s + 700, s + 90_000]);
        for stamp_ms in stamps {
            let differs = all.offset(stamp_ms.into()).0 != before.offset(stamp_ms.into()).0;
            let is_inside = changed.is_some_and(|[from, to]| (from..=to).contains(&stamp_ms));
            prop_assert!(!differs || is_inside, "{} {:?}", stamp_ms, changed);
        }
    }
}
