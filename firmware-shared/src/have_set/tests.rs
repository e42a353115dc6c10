use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn range(first_seq: u64, last_seq: u64) -> SeqRange {
    SeqRange::new(first_seq, last_seq).unwrap()
}

type Small = BoundedHaveSet<4>;
type Large = HaveSet<heapless::Vec<SeqRange, 600>>;

fn assert_well_formed<L: RangeList>(set: &HaveSet<L>) {
    for pair in set.ranges().windows(2) {
        assert!(
            pair[0].next_seq() < pair[1].first_seq,
            "not disjoint and apart: {pair:?}"
        );
    }
    for range in set.ranges() {
        assert!(range.first_seq <= range.last_seq);
    }
}

fn assert_equals_model<L: RangeList>(set: &HaveSet<L>, model: &BTreeSet<u64>, top: u64) {
    assert_well_formed(set);
    assert_eq!(set.count(), model.len() as u64);
    let upto = (0..).find(|seq| !model.contains(seq)).unwrap();
    assert_eq!(set.upto(), upto);
    assert_eq!(set.next_seq(), model.last().map_or(0, |seq| seq + 1));
    let missing: Vec<u64> = set
        .missing_in(range(0, top))
        .flat_map(|r| r.first_seq..=r.last_seq)
        .collect();
    let expected: Vec<u64> = (0..=top).filter(|seq| !model.contains(seq)).collect();
    assert_eq!(missing, expected);
    for seq in 0..=top {
        assert_eq!(set.contains(seq), model.contains(&seq), "number {seq}");
    }
}

proptest! {
    #[test]
    fn any_order_and_repetition_gives_the_union(
        inserts in prop::collection::vec((0u64..120, 0u64..12), 0..60),
        probe in (0u64..120, 0u64..30),
    ) {
        let mut set = Large::default();
        let mut model = BTreeSet::new();
        for (first_seq, extra) in inserts {
            let added = set.insert(range(first_seq, first_seq + extra)).unwrap();
            let before = model.len();
            model.extend(first_seq..=first_seq + extra);
            prop_assert_eq!(added, (model.len() - before) as u64);
        }
        assert_equals_model(&set, &model, 140);
        let probe = range(probe.0, probe.0 + probe.1);
        prop_assert_eq!(
            set.count_in(probe),
            model.range(probe.first_seq..=probe.last_seq).count() as u64
        );
    }

    #[test]
    fn a_restart_from_the_stored_ranges_gives_the_same_set(
        inserts in prop::collection::vec((0u64..300, 0u64..5), 0..80),
        cut in 0usize..80,
    ) {
        let mut whole = Large::default();
        let mut restarted = Large::default();
        for (at, (first_seq, extra)) in inserts.iter().enumerate() {
            let inserted = range(*first_seq, first_seq + extra);
            whole.insert(inserted).unwrap();
            restarted.insert(inserted).unwrap();
            if at == cut {
                let stored: Vec<SeqRange> = restarted.ranges().to_vec();
                restarted = Large::default();
                for range in stored {
                    restarted.insert(range).unwrap();
                }
            }
        }
        prop_assert_eq!(whole, restarted);
    }

    #[test]
    fn a_backwards_move_then_catching_up_gives_the_union_again(
        kept in 0u64..200, reached in 0u64..200, ranges in prop::collection::vec((0u64..300, 0u64..9), 0..40),
    ) {
        // The centre is restored from a backup: its set shrinks to a prefix, and the device sends again.
        let mut after = Large::default();
        after.insert_below(kept.min(reached)).unwrap();
        let mut model: BTreeSet<u64> = (0..kept.min(reached)).collect();
        for (first_seq, extra) in &ranges {
            after.insert(range(*first_seq, first_seq + extra)).unwrap();
            model.extend(*first_seq..=first_seq + extra);
        }
        after.insert_below(reached).unwrap();
        model.extend(0..reached);
        assert_equals_model(&after, &model, 320);
    }

    #[test]
    fn a_full_set_refuses_and_stays_as_it_was(
        inserts in prop::collection::vec((0u64..60, 0u64..3), 0..60),
    ) {
        let mut small = Small::default();
        let mut model = BTreeSet::new();
        for (first_seq, extra) in inserts {
            let before = small.clone();
            match small.insert(range(first_seq, first_seq + extra)) {
                Ok(_) => model.extend(first_seq..=first_seq + extra),
                Err(Full) => {
                    prop_assert_eq!(&small, &before);
                    prop_assert_eq!(small.ranges().len(), 4);
                }
            }
        }
        assert_equals_model(&small, &model, 70);
    }
}

#[test]
fn five_hundred_holes_are_kept_and_filled_in_any_order() {
    let mut set = Large::default();
    for hole in (0..500u64).rev() {
        assert_eq!(set.insert(range(hole * 3 + 1, hole * 3 + 2)), Ok(2));
    }
    assert_eq!(set.ranges().len(), 500);
    assert_eq!(set.upto(), 0);
    assert_eq!(set.ranges_above_upto().len(), 500);
    let holes: Vec<SeqRange> = set.missing_in(range(0, 1499)).collect();
    assert_eq!(holes.len(), 500);
    // Fill from the middle outwards.
    for (at, _) in holes.iter().enumerate() {
        let pick = if at % 2 == 0 {
            250 + at / 2
        } else {
            249 - at / 2
        };
        assert_eq!(set.insert(holes[pick]), Ok(1));
        assert_well_formed(&set);
    }
    assert_eq!(set.ranges(), &[range(0, 1499)]);
    assert_eq!(set.upto(), 1500);
    assert!(set.ranges_above_upto().is_empty());
}

#[test]
fn the_highest_numbers_do_not_overflow() {
    let mut set = Large::default();
    let top = range(u64::MAX - 2, u64::MAX - 1);
    assert_eq!(set.insert(top), Ok(2));
    assert_eq!(set.insert(top), Ok(0));
    assert_eq!(set.next_seq(), u64::MAX);
    assert_eq!(set.missing_in(range(u64::MAX - 4, u64::MAX - 1)).count(), 1);
    assert_eq!(SeqRange::new(0, u64::MAX), None);
}

#[cfg(feature = "alloc")]
#[test]
fn the_unbounded_set_takes_what_the_bounded_one_refuses() {
    let mut set = UnboundedHaveSet::default();
    for at in 0..10_000u64 {
        set.insert(range(at * 2, at * 2)).unwrap();
    }
    assert_eq!(set.ranges().len(), 10_000);
    set.insert(range(0, 19_999)).unwrap();
    assert_eq!(set.ranges(), &[range(0, 19_999)]);
}
