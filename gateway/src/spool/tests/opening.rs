use std::collections::BTreeSet;

use firmware_shared::id::{Lane, SeqRange, StreamId};
use firmware_shared::message::LossReason;
use firmware_shared::time::BootId;
use proptest::prelude::*;

use super::world::{
    acknowledge, append, commit, epoch, limits, losses, open, open_with, range, read_all, seqs,
    stream,
};
use crate::forward::random::Random;
use crate::spool::disk::{Disk, RealDisk};
use crate::spool::inspect;
use crate::spool::sim::SimDisk;
use crate::spool::{Ending, SpoolEvent};

#[test]
fn what_was_committed_survives_a_cut_and_what_was_not_is_an_open_tail() {
    for seed in 0..100 {
        let disk = SimDisk::default();
        let mut spool = open(&disk, 1);
        commit(&mut spool, 1, 0..20);
        append(&mut spool, 1, 20..25);
        disk.crash(&mut Random::new(seed));
        let mut spool = open(&disk, 2);
        assert_eq!(seqs(&mut spool), (0..20).collect::<Vec<_>>());
        assert_eq!(losses(&spool), []);
        let tail = spool.book().stream(stream(1)).unwrap().tail.unwrap();
        assert_eq!((tail.first_seq, tail.at_most, tail.acked), (20, 20, false));
    }
}

#[test]
fn a_lost_cursor_is_made_again_from_the_frames() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    commit(&mut spool, 1, 0..10);
    for slot in 0..3 {
        disk.lose_file(&format!("log/cursor-{slot}"));
    }
    let mut spool = open(&disk, 2);
    assert_eq!(seqs(&mut spool).len(), 10);
    let entry = spool.book().epoch(epoch(1)).unwrap();
    assert_eq!(entry.note.boot_id, BootId([1; 16]));
    let tails = Lane::ALL.map(|lane| {
        let tail = entry.lanes.get(lane).tail.unwrap();
        (tail.first_seq, tail.at_most)
    });
    assert_eq!(tails, [(0, 10), (10, 20), (0, 30)]);
    assert_eq!(losses(&spool), []);
    // The frames go on under the identity that their checksums are seeded with.
    append(&mut spool, 2, 0..3);
    assert!(spool.commit());
    assert_eq!(seqs(&mut open(&disk, 3)).len(), 13);
}

#[test]
fn one_damaged_slot_costs_nothing_and_all_of_them_are_told() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    commit(&mut spool, 1, 0..10);
    acknowledge(&mut spool, 1, range(0, 4));
    assert!(spool.write_book());
    // The newest of the three.
    let newest = (0..3).max_by_key(|slot| disk.content(&format!("log/cursor-{slot}"))[16]);
    disk.damage(&format!("log/cursor-{}", newest.unwrap()), 40);
    let mut spool = open(&disk, 2);
    assert_eq!(spool.take_events(), []);
    assert_eq!(spool.book().incarnation, 2);
    for slot in 0..3 {
        disk.damage(&format!("log/cursor-{slot}"), 50);
    }
    let mut spool = open(&disk, 3);
    assert!(matches!(
        spool.take_events()[..],
        [SpoolEvent::Corrupt { numbers: 0, .. }]
    ));
    assert_eq!(seqs(&mut spool).len(), 10);
}

#[test]
fn a_clean_stop_leaves_final_numbers_and_a_crash_an_open_tail() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    append(&mut spool, 1, 0..3);
    spool.close();
    let mut spool = open(&disk, 2);
    commit(&mut spool, 2, 0..2);
    drop(spool);
    let spool = open(&disk, 3);
    let entry = |start| spool.book().epoch(epoch(start)).unwrap().clone();
    assert_eq!(entry(1).ending, Ending::Clean);
    assert_eq!(entry(1).lanes.telemetry.known_next_seq, 3);
    assert_eq!(entry(1).lanes.telemetry.tail, None);
    assert_eq!(entry(2).ending, Ending::Crashed);
    assert_eq!(entry(2).lanes.telemetry.tail.unwrap().first_seq, 2);
}

#[test]
fn a_hole_in_the_middle_is_damage_and_a_torn_end_is_not() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    commit(&mut spool, 1, 0..5);
    let middle = spool.find(stream(1), range(2, 2)).unwrap();
    let last = spool.find(stream(1), range(4, 4)).unwrap();
    let file = spool.file_at(Lane::Telemetry, middle).unwrap();
    let torn = disk.image();
    torn.damage(&file, last.offset + 70);
    let mut spool = open(&torn, 2);
    assert_eq!(seqs(&mut spool), [0, 1, 2, 3]);
    assert_eq!(
        losses(&spool),
        [(range(4, 4), LossReason::NotAcceptedBeforeCrash)]
    );
    assert_eq!(spool.take_events(), []);
    disk.damage(&file, middle.offset + 70);
    let mut spool = open(&disk, 2);
    assert_eq!(seqs(&mut spool), [0, 1, 3, 4]);
    assert_eq!(losses(&spool), [(range(2, 2), LossReason::Corrupt)]);
    assert!(matches!(
        spool.take_events()[..],
        [SpoolEvent::Corrupt { numbers: 1, .. }]
    ));
}

#[test]
fn a_damaged_segment_header_costs_no_frame() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    commit(&mut spool, 1, 0..9);
    disk.damage("log/00000001.seg", 20);
    let mut spool = open(&disk, 2);
    assert_eq!(seqs(&mut spool), (0..9).collect::<Vec<_>>());
    assert_eq!(losses(&spool), []);
}

#[test]
fn damage_that_comes_later_is_a_loss_of_that_commit_alone() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    commit(&mut spool, 1, 0..20);
    let place = spool.find(stream(1), range(3, 3)).unwrap();
    let file = spool.file_at(Lane::Telemetry, place).unwrap();
    disk.damage(&file, place.offset + 90);
    let mut expected: Vec<u64> = (0..20).collect();
    expected.remove(3);
    assert_eq!(seqs(&mut spool), expected);
    assert_eq!(losses(&spool), [(range(3, 3), LossReason::Corrupt)]);
    assert_eq!(seqs(&mut spool), expected, "a hole is passed by");
}

#[test]
fn copies_and_strangers_are_left_alone_or_used_as_room() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    commit(&mut spool, 1, 0..5);
    let copy = disk.content("log/00000001.seg");
    for (name, content) in [
        ("log/00000077.seg", &copy[..]),
        ("log/00000078.seg", &[][..]),
        ("log/00000079.seg", &[0; 5_000][..]),
        ("log/0000007A.seg", &copy[..]),
        ("log/notes.txt", b"hello"),
        ("log/cursor-7", b"hello"),
    ] {
        disk.plant(name, content);
    }
    let mut spool = open(&disk, 2);
    commit(&mut spool, 2, 0..40);
    assert_eq!(read_all(&mut spool).len(), 45);
    assert_eq!(losses(&spool), []);
    for kept in [
        "log/notes.txt",
        "log/00000077.seg",
        "log/0000007A.seg",
        "log/cursor-7",
    ] {
        assert!(disk.names().contains(&kept.to_owned()), "{kept}");
    }
    assert_eq!(disk.content("log/00000077.seg"), copy);
    assert_eq!(seqs(&mut open(&disk, 3)).len(), 45);
}

#[test]
fn a_segment_that_is_missing_is_a_loss_of_what_it_held() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    commit(&mut spool, 1, 0..30);
    let held = spool.lanes.telemetry.segments[1].spans.clone();
    let file = spool.lanes.telemetry.segments[1].file();
    disk.lose_file(&format!("log/{file:08x}.seg"));
    let mut spool = open(&disk, 2);
    assert_eq!(losses(&spool), [(held[0].range, LossReason::Corrupt)]);
    assert_eq!(
        read_all(&mut spool).len() as u64,
        30 - held[0].range.count()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn arbitrary_bytes_in_the_directory_never_stop_an_open(
        files in prop::collection::vec((0usize..8, prop::collection::vec(any::<u8>(), 0..6_000)), 0..6),
        seed in any::<u64>(),
        flips in 0usize..6,
    ) {
        let disk = SimDisk::default();
        let mut spool = open(&disk, 1);
        commit(&mut spool, 1, 0..12);
        let mut random = Random::new(seed);
        for _ in 0..flips {
            disk.flip_bit("", &mut random);
        }
        let names = [
            "log/cursor-0", "log/cursor-1", "log/00000001.seg", "log/00000002.seg",
            "log/00000009.seg", "state", "telemetry/0000000000000001.seg", "lock",
        ];
        for (name, content) in files {
            disk.plant(names[name], &content);
        }
        let mut spool = open(&disk, 2);
        prop_assert!(!spool.is_in_ram());
        append(&mut spool, 2, 0..3);
        prop_assert!(spool.commit());
        let found: BTreeSet<(StreamId, SeqRange)> = read_all(&mut spool).into_iter().collect();
        for seq in 0..3 {
            prop_assert!(found.contains(&(stream(2), range(seq, seq))));
        }
        // What is known to have been there is held or lost on record.
        if let Some(old) = spool.book().stream(stream(1)) {
            for seq in 0..old.known_next_seq {
                let one = range(seq, seq);
                prop_assert!(found.contains(&(stream(1), one)) || old.losses.covers(one), "{seq}");
            }
        }
        let mut looked = disk.clone();
        inspect::verify(&mut looked, &mut |_| ()).unwrap();
    }
}

#[test]
fn the_same_holds_on_a_real_disk_and_only_one_process_has_it_open() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("deep/spool");
    let mut spool = open_with(RealDisk::new(&root), 1, limits(64));
    assert!(!spool.is_in_ram(), "{:?}", spool.take_events());
    commit(&mut spool, 1, 0..30);
    let second = open_with(RealDisk::new(&root), 2, limits(64));
    assert!(second.is_in_ram());

    // Also while it is open.
    let seen = inspect::inspect(&mut RealDisk::new(&root), &mut |_| ()).unwrap();
    assert_eq!(seen.segments.iter().map(|s| s.frames).sum::<u64>(), 30);
    assert_eq!(seen.segments.iter().map(|s| s.unacked).sum::<u64>(), 30);
    assert_eq!((seen.spool_id, seen.incarnation), (Some(4_711), 1));
    let verified = inspect::verify(&mut RealDisk::new(&root), &mut |_| ()).unwrap();
    assert!(verified.is_whole(), "{verified:?}");
    assert_eq!((verified.frames, verified.batches), (30, 30));

    acknowledge(&mut spool, 1, range(0, 24));
    spool.close();
    drop(spool);
    let mut exported = Vec::new();
    let mut take = |frame: &crate::spool::Frame| {
        exported.push(frame.range.first_seq);
        Ok(())
    };
    inspect::export(&mut RealDisk::new(&root), false, &mut |_| (), &mut take).unwrap();
    assert_eq!(exported, (25..30).collect::<Vec<_>>());
    let mut spool = open_with(RealDisk::new(&root), 3, limits(64));
    assert!(!spool.is_in_ram());
    assert_eq!(seqs(&mut spool).last(), Some(&29));
    assert_eq!(losses(&spool), []);
}

#[test]
fn inspecting_writes_nothing() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    commit(&mut spool, 1, 0..30);
    let (before, operations) = (disk.fingerprint(), disk.operations());
    let mut looked = disk.clone();
    let mut steps = 0;
    inspect::inspect(&mut looked, &mut |_| steps += 1).unwrap();
    inspect::verify(&mut looked, &mut |_| ()).unwrap();
    inspect::export(&mut looked, true, &mut |_| (), &mut |_| Ok(())).unwrap();
    assert_eq!(
        (disk.fingerprint(), disk.operations()),
        (before, operations)
    );
    assert!(steps > 4);
    looked.list("log").unwrap();
}
