use firmware_shared::id::{Lane, StreamId};
use firmware_shared::message::{AckEntry, LossReason};

use super::world::{
    acknowledge, append, commit, frame, limits, losses, open, open_with, range, segments, seqs,
    stream,
};
use crate::forward::random::Random;
use crate::spool::disk::Site;
use crate::spool::sim::{Faults, SimDisk};
use crate::spool::{Frame, Place, Spool};

#[test]
fn a_frame_that_is_acknowledged_before_its_commit_is_never_written() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    let before = disk.operations();
    for seq in 0..1_000 {
        append(&mut spool, 1, seq..seq + 1);
        acknowledge(&mut spool, 1, range(seq, seq));
    }
    assert_eq!(disk.operations(), before);
    assert_eq!(spool.due_ms(Lane::Telemetry, 5_000), None);
    assert!(!spool.is_dirty(), "nothing that would be sent again");
}

#[test]
fn a_commit_is_one_write_and_one_sync() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    commit(&mut spool, 1, 0..1);
    let (operations, syncs) = (disk.operations(), disk.syncs());
    append(&mut spool, 1, 1..4);
    assert!(spool.commit());
    assert_eq!(
        (disk.operations(), disk.syncs()),
        (operations + 2, syncs + 1)
    );
}

#[test]
fn a_commit_is_due_when_its_oldest_frame_is_and_acknowledged_ones_do_not_count() {
    let mut spool = open(&SimDisk::default(), 1);
    spool.tick(1_000);
    append(&mut spool, 1, 0..1);
    spool.tick(4_000);
    append(&mut spool, 1, 1..2);
    assert_eq!(spool.due_ms(Lane::Telemetry, 5_000), Some(6_000));
    acknowledge(&mut spool, 1, range(0, 0));
    assert_eq!(spool.due_ms(Lane::Telemetry, 5_000), Some(9_000));
}

#[test]
fn what_is_acknowledged_is_used_again_and_the_ring_does_not_grow() {
    let disk = SimDisk::default();
    let mut spool = open_with(disk.clone(), 1, limits(3));
    for seq in 0..200 {
        commit(&mut spool, 1, seq..seq + 1);
        acknowledge(&mut spool, 1, range(seq, seq));
    }
    assert!(segments(&disk) <= 3, "{:?}", disk.names());
    assert_eq!(losses(&spool), []);
    disk.crash(&mut Random::new(5));
    assert_eq!(losses(&open(&disk, 2)), []);
}

#[test]
fn the_first_alert_finds_its_room_made() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    spool.prepare_room().unwrap();
    spool.prepare_room().unwrap();
    assert_eq!(segments(&disk), 1, "once");
    let before = disk.operations();
    spool.append(alert(1, 0)).unwrap();
    assert!(spool.commit_lane(Lane::Alert));
    assert_eq!(disk.operations(), before + 3, "header, frame and sync");
    spool.prepare_room().unwrap();
    assert_eq!(segments(&disk), 1, "there is room for the next");
}

#[test]
fn room_that_another_lane_took_is_made_again_and_survives_a_kill() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    spool.prepare_room().unwrap();
    commit(&mut spool, 1, 0..1);
    assert_eq!(segments(&disk), 1, "telemetry began in it");
    spool.prepare_room().unwrap();
    assert_eq!(segments(&disk), 2);
    let mut spool = open(&disk, 2);
    spool.prepare_room().unwrap();
    assert_eq!(segments(&disk), 2, "it is still there");
    assert_eq!((losses(&spool), seqs(&mut spool)), (vec![], vec![0]));
    let before = disk.operations();
    assert!(spool.commit_lane(Lane::Alert) && disk.operations() == before);
}

#[test]
fn a_cut_while_room_is_made_costs_nothing() {
    for seed in 0..200 {
        let disk = SimDisk::default();
        let mut spool = open(&disk, 1);
        commit(&mut spool, 1, 0..3);
        // The file, or the folder that has its name.
        disk.cut_power_at(Site::Recycle, seed % 2);
        spool.prepare_room().unwrap();
        assert_eq!(disk.died_at(), Some(Some(Site::Recycle)));
        disk.crash(&mut Random::new(seed));
        let mut spool = open(&disk, 2);
        assert_eq!((losses(&spool), seqs(&mut spool)), (vec![], vec![0, 1, 2]));
        spool.prepare_room().unwrap();
        spool.append(alert(2, 0)).unwrap();
        assert!(spool.commit_lane(Lane::Alert));
        assert!(segments(&disk) <= 3, "{:?}", disk.names());
    }
}

#[test]
fn a_full_disk_has_no_room_to_make_and_the_alert_still_gets_some() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    commit(&mut spool, 1, 0..40);
    disk.set_faults(Faults {
        room: Some(disk.used()),
        ..Faults::default()
    });
    assert!(spool.prepare_room().is_err());
    let before = segments(&disk);
    spool.append(alert(1, 0)).unwrap();
    assert!(spool.commit_lane(Lane::Alert));
    assert_eq!(segments(&disk), before, "the oldest telemetry made way");
    assert!(!losses(&spool).is_empty());
}

#[test]
fn a_cut_while_a_segment_is_used_again_leaves_no_claim_about_what_it_held() {
    for seed in 0..200 {
        let disk = SimDisk::default();
        let mut spool = open_with(disk.clone(), 1, limits(3));
        commit(&mut spool, 1, 0..18);
        acknowledge(&mut spool, 1, range(0, 17));
        append(&mut spool, 1, 18..19);
        // The frame is written over what is acknowledged, and the power goes before its sync.
        disk.cut_power_at(Site::Append, 1);
        spool.commit();
        assert_eq!(disk.died_at(), Some(Some(Site::Append)));
        disk.crash(&mut Random::new(seed));
        let mut spool = open_with(disk.clone(), 2, limits(3));
        let (_, released) = rewind_to(&mut spool, 0).unwrap();
        seqs(&mut spool);
        assert_eq!(released, 6, "seed {seed}: what the segment held");
        let gone = [(range(0, 5), LossReason::ReleasedBeforeRestore)];
        assert_eq!(losses(&spool), gone, "seed {seed}");
    }
}

#[test]
fn the_oldest_segment_makes_room_and_its_numbers_stand_in_the_ledger() {
    let disk = SimDisk::default();
    let mut spool = open_with(disk.clone(), 1, limits(4));
    commit(&mut spool, 1, 0..100);
    assert!(spool.bytes(Lane::Telemetry) <= 16 * 1_024);
    let held = seqs(&mut spool);
    let evicted = losses(&spool);
    assert_eq!(evicted, [(range(0, held[0] - 1), LossReason::Evicted)]);
    assert_eq!(*held.last().unwrap(), 99);
    assert_eq!(spool.counts(Lane::Telemetry).evicted, held[0]);
    disk.crash(&mut Random::new(2));
    let reopened = losses(&open(&disk, 2));
    assert_eq!(
        reopened, evicted,
        "the loss was durable before the segment went"
    );
}

fn alert(start: u64, seq: u64) -> Frame {
    Frame {
        stream: StreamId {
            lane: Lane::Alert,
            ..stream(start)
        },
        ..frame(start, seq)
    }
}

#[test]
fn the_total_bound_takes_telemetry_and_never_an_alert() {
    let disk = SimDisk::default();
    let mut limits = limits(64);
    limits.total_bytes = 6 * 4 * 1_024;
    let mut spool = open_with(disk.clone(), 1, limits);
    spool.append(alert(1, 0)).unwrap();
    assert!(spool.commit());
    commit(&mut spool, 1, 0..200);
    assert!(segments(&disk) <= 6);
    assert!(!spool.is_in_ram());
    let alerts = alert(1, 0).stream;
    assert!(spool.find(alerts, range(0, 0)).is_some());
    // Alerts take the room of telemetry when they need it.
    for seq in 1..30 {
        spool.append(alert(1, seq)).unwrap();
        assert!(spool.commit());
    }
    for seq in 0..30 {
        assert!(spool.find(alerts, range(seq, seq)).is_some(), "{seq}");
    }
}

fn rewind_to(spool: &mut Spool, upto: u64) -> Option<(u64, u64)> {
    let entry = AckEntry {
        epoch: stream(1).epoch,
        lane: Lane::Telemetry,
        upto,
        ranges: Default::default(),
        tail_from: None,
    };
    let rewound = spool.rewind(&entry)?;
    Some((rewound.asked, rewound.lost))
}

#[test]
fn history_is_written_by_pages_without_a_sync_and_a_restored_centre_gets_it_again() {
    let disk = SimDisk::default();
    let mut limits = limits(64);
    limits.history_ms = 86_400_000;
    let mut spool = open_with(disk.clone(), 1, limits.clone());
    let syncs = disk.syncs();
    for seq in 0..60 {
        append(&mut spool, 1, seq..seq + 1);
        acknowledge(&mut spool, 1, range(seq, seq));
    }
    let rolls = 60 * 103 / (3 * 1_024) + 1;
    assert!(
        disk.syncs() - syncs <= 2 * rolls,
        "{}",
        disk.syncs() - syncs
    );
    spool.close();
    drop(spool);
    let mut spool = open_with(disk.clone(), 2, limits);
    assert_eq!(
        seqs(&mut spool),
        [] as [u64; 0],
        "nothing is left to be sent"
    );
    assert_eq!(rewind_to(&mut spool, 10), Some((50, 0)));
    assert_eq!(seqs(&mut spool)[..], (0..60).collect::<Vec<_>>()[..]);
    assert_eq!(losses(&spool), []);
}

#[test]
fn without_history_a_restored_centre_hears_what_was_released() {
    let mut spool = open(&SimDisk::default(), 1);
    append(&mut spool, 1, 0..20);
    acknowledge(&mut spool, 1, range(0, 19));
    assert_eq!(rewind_to(&mut spool, 5), Some((15, 15)));
    let released = LossReason::ReleasedBeforeRestore;
    assert_eq!(losses(&spool), [(range(5, 19), released)]);
}

#[test]
fn a_place_in_ram_still_finds_its_frame_after_the_commit() {
    let mut spool = open(&SimDisk::default(), 1);
    let places: Vec<Place> = (0..5)
        .map(|seq| spool.append(frame(1, seq)).unwrap())
        .collect();
    let mut cursor = Place::default();
    for seq in 0..3 {
        let found = spool.next_frame(Lane::Telemetry, &mut cursor).unwrap();
        assert_eq!(found.range, range(seq, seq));
    }
    assert!(spool.commit());
    append(&mut spool, 1, 5..6);
    // Who handed a frame back remembers it where it was: the backlog must find it before what follows.
    let moved = spool.where_is(Lane::Telemetry, places[1]);
    assert!(moved.segment < Place::RAM && moved < Place::in_ram(0));
    let found = spool
        .next_frame(Lane::Telemetry, &mut moved.clone())
        .unwrap();
    assert_eq!(found.range, range(1, 1));
    for (seq, place) in (0..).zip(places.iter().copied()) {
        let bytes = spool.read(place, stream(1), range(seq, seq));
        assert_eq!(bytes, Ok(frame(1, seq).bytes));
    }
    let mut rest = Vec::new();
    while let Some(found) = spool.next_frame(Lane::Telemetry, &mut cursor) {
        rest.push(found.range.first_seq);
    }
    assert_eq!(rest, [3, 4, 5], "the cursor goes on where it was");
}
