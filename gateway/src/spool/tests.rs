use std::collections::BTreeSet;
use std::ops::ControlFlow;

use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};
use firmware_shared::message::LossReason;
use firmware_shared::time::BootId;
use proptest::prelude::*;

use super::disk::{Disk, RealDisk};
use super::inspect::inspect;
use super::reading::Unread;
use super::record::{Content, EpochNote};
use super::sim::{Faults, SimDisk};
use super::*;
use crate::forward::random::Random;

fn limits(segment_bytes: u64, max_bytes: u64) -> SpoolLimits {
    SpoolLimits {
        max_bytes: PerLane::from_fn(|_| max_bytes),
        ram_bytes: PerLane::from_fn(|_| 8 * 1024),
        segment_bytes,
    }
}

fn epoch(start: u64) -> Epoch {
    Epoch::from_random(0xE000 + start)
}

fn stream(start: u64) -> StreamId {
    StreamId {
        epoch: epoch(start),
        lane: Lane::Telemetry,
    }
}

fn range(first_seq: u64, last_seq: u64) -> SeqRange {
    SeqRange::new(first_seq, last_seq).unwrap()
}

fn open_with(disk: impl Disk + 'static, start: u64, limits: SpoolLimits) -> Spool {
    let note = EpochNote {
        boot_id: BootId([start as u8; 16]),
        tail_at_most: [10, 20, 30],
    };
    Spool::open(Box::new(disk), limits, epoch(start), note, 4_711)
}

fn open(disk: &SimDisk, start: u64) -> Spool {
    open_with(disk.clone(), start, limits(1_024, 1 << 20))
}

fn frame(start: u64, seq: u64) -> Frame {
    Frame {
        stream: stream(start),
        range: range(seq, seq),
        bytes: (0..100).map(|i| (seq + i) as u8).collect(),
    }
}

fn append(spool: &mut Spool, start: u64, seqs: std::ops::Range<u64>) {
    for seq in seqs {
        spool.append(&frame(start, seq)).unwrap();
    }
}

/// Every telemetry frame that can be read, in order.
fn read_all(spool: &mut Spool) -> Vec<(StreamId, SeqRange)> {
    let mut cursor = Place::default();
    let mut frames = Vec::new();
    while let Some(found) = spool.next_frame(Lane::Telemetry, &mut cursor) {
        if let Ok(bytes) = spool.read(found.place, found.stream, found.range) {
            assert_eq!(bytes.len(), found.len as usize);
            frames.push((found.stream, found.range));
        }
    }
    frames
}

fn seqs(spool: &mut Spool) -> Vec<u64> {
    read_all(spool)
        .iter()
        .map(|(_, range)| range.first_seq)
        .collect()
}

fn losses(spool: &Spool) -> Vec<(SeqRange, LossReason)> {
    let losses = spool.book().losses();
    losses
        .iter()
        .filter_map(|loss| Some((loss.range()?, loss.reason)))
        .collect()
}

fn acknowledge(spool: &mut Spool, start: u64, range: SeqRange) {
    spool
        .book_mut()
        .stream_mut(stream(start))
        .unwrap()
        .take(range);
    spool.release();
}

#[test]
fn what_was_synced_survives_a_cut_and_what_was_not_is_an_open_tail() {
    for seed in 0..200 {
        let disk = SimDisk::default();
        let mut spool = open(&disk, 1);
        append(&mut spool, 1, 0..20);
        spool.sync();
        append(&mut spool, 1, 20..25);
        disk.crash(&mut Random::new(seed));
        let mut spool = open(&disk, 2);
        let found = seqs(&mut spool);
        assert_eq!(found[..20], (0..20).collect::<Vec<_>>());
        let lost: BTreeSet<u64> = losses(&spool)
            .iter()
            .flat_map(|(r, _)| r.first_seq..=r.last_seq)
            .collect();
        let tail = spool.book().stream(stream(1)).unwrap().tail.unwrap();
        for seq in 20..25 {
            assert!(
                found.contains(&seq) || lost.contains(&seq) || tail.first_seq <= seq,
                "{seed} {seq}"
            );
        }
        assert_eq!((tail.at_most, tail.acked), (20, false));
    }
}

#[test]
fn a_spool_that_was_cut_twice_with_writes_between_reads_everything_that_was_synced() {
    for seed in 0..200 {
        let disk = SimDisk::default();
        let mut random = Random::new(seed);
        let mut expected = Vec::new();
        for start in 1..5 {
            let mut spool = open(&disk, start);
            append(&mut spool, start, 0..5);
            spool.sync();
            expected.extend((0..5).map(|seq| (stream(start), range(seq, seq))));
            append(&mut spool, start, 5..8);
            disk.crash(&mut random);
        }
        let mut spool = open(&disk, 9);
        let found = read_all(&mut spool);
        for frame in expected {
            assert!(found.contains(&frame), "seed {seed}: {frame:?}");
        }
    }
}

#[test]
fn a_torn_end_is_cut_off_before_the_file_grows_again() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    append(&mut spool, 1, 0..3);
    spool.sync();
    let tail = spool.logs.telemetry.segments.last().unwrap().clone();
    let file = spool.logs.telemetry.file(tail.id);
    let mut raw = disk.clone();
    raw.write_at(&file, tail.len, &[0xEE; 77]).unwrap();
    raw.sync(&file).unwrap();
    let spool = open(&disk, 2);
    assert_eq!(raw.len(&file).unwrap(), tail.len);
    assert_eq!(losses(&spool), []);
    // The cut itself is durable.
    disk.crash(&mut Random::new(1));
    assert_eq!(raw.len(&file).unwrap(), tail.len);
}

#[test]
fn damage_in_the_middle_loses_that_frame_and_no_other() {
    for byte in [0, 5, 9, 20, 33, 39, 40, 90, 139] {
        let disk = SimDisk::default();
        let mut spool = open(&disk, 1);
        append(&mut spool, 1, 0..5);
        spool.sync();
        let place = spool.find(stream(1), range(2, 2)).unwrap();
        let file = spool.logs.telemetry.file(place.segment);
        disk.damage(&file, place.offset + byte);

        // Met while running.
        assert_eq!(seqs(&mut spool), [0, 1, 3, 4], "byte {byte}");
        assert_eq!(
            losses(&spool),
            [(range(2, 2), LossReason::Corrupt)],
            "byte {byte}"
        );
        assert_eq!(spool.counts(Lane::Telemetry).corrupt, 1);

        // Met when opening.
        let mut spool = open(&disk, 2);
        assert_eq!(seqs(&mut spool), [0, 1, 3, 4], "byte {byte}");
        assert_eq!(
            losses(&spool),
            [(range(2, 2), LossReason::Corrupt)],
            "byte {byte}"
        );
    }
}

#[test]
fn a_frame_is_never_read_under_the_numbers_of_another() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    append(&mut spool, 1, 0..2);
    let place = spool.find(stream(1), range(1, 1)).unwrap();
    assert_eq!(
        spool.read(place, stream(1), range(0, 0)),
        Err(Unread::Moved)
    );
    let other = Place {
        segment: 99,
        offset: 0,
    };
    assert_eq!(
        spool.read(other, stream(1), range(1, 1)),
        Err(Unread::Moved)
    );
    assert_eq!(losses(&spool), []);
}

#[test]
fn a_file_goes_when_every_number_in_it_is_acknowledged_and_not_before() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    append(&mut spool, 1, 0..20);
    spool.sync();
    let hull = spool.logs.telemetry.segments[0].spans[0].hull;
    assert_eq!(hull.first_seq, 0);
    let first = spool
        .logs
        .telemetry
        .file(spool.logs.telemetry.segments[0].id);
    acknowledge(&mut spool, 1, range(0, hull.last_seq - 1));
    assert!(disk.names().contains(&first));
    // Numbers that a later file holds do not matter.
    acknowledge(&mut spool, 1, range(hull.next_seq() + 3, 19));
    assert!(disk.names().contains(&first));
    acknowledge(&mut spool, 1, range(hull.last_seq, hull.last_seq));
    assert!(!disk.names().contains(&first));
    assert_eq!(losses(&spool), []);
    // The state that allows it was durable first: a cut leaves no gap.
    disk.crash(&mut Random::new(5));
    assert_eq!(losses(&open(&disk, 2)), []);
}

#[test]
fn the_oldest_file_makes_room_and_its_numbers_stand_in_the_ledger() {
    let disk = SimDisk::default();
    let mut spool = open_with(disk.clone(), 1, limits(1_024, 4_096));
    append(&mut spool, 1, 0..100);
    spool.sync();
    assert!(spool.bytes(Lane::Telemetry) <= 4_096);
    let held = seqs(&mut spool);
    let evicted = losses(&spool);
    assert_eq!(evicted.len(), 1, "adjacent losses are one: {evicted:?}");
    assert_eq!(evicted[0], (range(0, held[0] - 1), LossReason::Evicted));
    assert_eq!(*held.last().unwrap(), 99);
    assert_eq!(spool.counts(Lane::Telemetry).evicted, held[0]);
    disk.crash(&mut Random::new(2));
    let reopened = losses(&open(&disk, 2));
    assert_eq!(
        reopened, evicted,
        "the loss was durable before the file went"
    );
}

#[test]
fn the_alert_lane_is_never_evicted_for_telemetry() {
    let disk = SimDisk::default();
    let mut spool = open_with(disk.clone(), 1, limits(1_024, 4_096));
    let alerts = StreamId {
        lane: Lane::Alert,
        ..stream(1)
    };
    let alert = Frame {
        stream: alerts,
        range: range(0, 0),
        bytes: b"{}".to_vec(),
    };
    spool.append(&alert).unwrap();
    append(&mut spool, 1, 0..200);
    assert_eq!(spool.frames(Lane::Alert), 1);
    assert!(spool.find(alerts, range(0, 0)).is_some());
}

#[test]
fn a_failed_sync_moves_its_frames_to_another_file_and_never_syncs_that_one_again() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    append(&mut spool, 1, 0..2);
    spool.sync();
    append(&mut spool, 1, 2..4);
    disk.set_faults(Faults {
        failing_syncs: 1,
        ..Faults::default()
    });
    spool.sync();
    assert!(!spool.is_in_ram());
    assert_eq!(spool.take_events(), []);
    assert_eq!(seqs(&mut spool), [0, 1, 2, 3]);
    // What the failed sync lost is gone from its file; the copy is durable.
    disk.crash(&mut Random::new(7));
    let mut spool = open(&disk, 2);
    let found: BTreeSet<u64> = seqs(&mut spool).into_iter().collect();
    assert_eq!(found, (0..4).collect());
    assert_eq!(spool.counts(Lane::Telemetry).disk_errors, 0);
}

#[test]
fn a_second_failure_means_ram_until_the_disk_takes_everything_again() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    append(&mut spool, 1, 0..3);
    disk.set_faults(Faults {
        read_only: true,
        ..Faults::default()
    });
    spool.sync();
    disk.set_faults(Faults {
        failing_syncs: 99,
        ..Faults::default()
    });
    append(&mut spool, 1, 3..5);
    spool.sync();
    assert!(spool.is_in_ram());
    assert!(matches!(spool.take_events()[..], [SpoolEvent::Degraded(_)]));
    append(&mut spool, 1, 5..6);
    assert_eq!(
        seqs(&mut spool),
        [0, 1, 2, 3, 4, 5],
        "delivery goes on from RAM"
    );

    spool.try_return_to_disk();
    assert!(spool.is_in_ram());
    disk.set_faults(Faults::default());
    spool.try_return_to_disk();
    assert!(!spool.is_in_ram());
    assert_eq!(spool.take_events(), [SpoolEvent::Recovered]);
    append(&mut spool, 1, 6..8);
    spool.sync();
    disk.crash(&mut Random::new(8));
    let mut spool = open(&disk, 2);
    let found: BTreeSet<u64> = seqs(&mut spool).into_iter().collect();
    assert_eq!(found, (0..8).collect());
}

#[test]
fn ram_is_bounded_and_what_it_cannot_hold_is_a_loss() {
    let disk = SimDisk::default();
    disk.set_faults(Faults {
        read_only: true,
        ..Faults::default()
    });
    let mut spool = open(&disk, 1);
    assert!(spool.is_in_ram());
    append(&mut spool, 1, 0..500);
    assert!(spool.bytes(Lane::Telemetry) <= 8 * 1024);
    let held = seqs(&mut spool);
    assert_eq!(
        losses(&spool),
        [(range(0, held[0] - 1), LossReason::Evicted)]
    );
    assert_eq!(*held.last().unwrap(), 499);
}

#[test]
fn a_directory_that_cannot_be_read_is_never_written_over_later() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    append(&mut spool, 1, 0..3);
    spool.sync();
    disk.set_faults(Faults {
        gone: true,
        ..Faults::default()
    });
    let mut spool = open(&disk, 2);
    assert!(spool.is_in_ram());
    append(&mut spool, 2, 0..1);
    disk.set_faults(Faults::default());
    spool.try_return_to_disk();
    assert!(
        spool.is_in_ram(),
        "the state of the unread spool would be lost"
    );
    let mut spool = open(&disk, 3);
    assert_eq!(read_all(&mut spool).len(), 3);
}

#[test]
fn frames_on_a_read_only_disk_are_still_delivered() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    append(&mut spool, 1, 0..3);
    spool.sync();
    disk.set_faults(Faults {
        read_only: true,
        ..Faults::default()
    });
    let mut spool = open(&disk, 2);
    append(&mut spool, 2, 0..2);
    assert_eq!(seqs(&mut spool), [0, 1, 2, 0, 1]);
}

#[test]
fn a_lost_state_is_made_again_from_the_records() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    append(&mut spool, 1, 0..10);
    spool.sync();
    disk.lose_file("state");
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
}

#[test]
fn a_damaged_state_is_put_aside_and_told() {
    for seed in 0..50 {
        let disk = SimDisk::default();
        let mut spool = open(&disk, 1);
        append(&mut spool, 1, 0..10);
        spool.sync();
        assert!(disk.flip_bit("state", &mut Random::new(seed)));
        let mut spool = open(&disk, 2);
        assert!(disk.names().contains(&"state.bad".to_owned()));
        assert!(matches!(
            spool.take_events()[..],
            [SpoolEvent::Corrupt { numbers: 0, .. }]
        ));
        assert_eq!(seqs(&mut spool).len(), 10);
    }
}

#[test]
fn a_torn_state_that_was_being_written_leaves_the_one_before() {
    let disk = SimDisk::default();
    let spool = open(&disk, 1);
    let spool_id = spool.book().spool_id;
    disk.plant("state.tmp", b"FGST");
    let spool = open(&disk, 2);
    assert_eq!(
        (spool.book().spool_id, spool.book().incarnation),
        (spool_id, 2)
    );
}

#[test]
fn a_clean_stop_leaves_final_numbers_and_a_crash_an_open_tail() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    append(&mut spool, 1, 0..3);
    spool.close();
    let mut spool = open(&disk, 2);
    append(&mut spool, 2, 0..2);
    spool.sync();
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
fn garbage_files_are_left_alone_or_read_around() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    append(&mut spool, 1, 0..5);
    spool.sync();
    let copy = spool
        .logs
        .telemetry
        .file(spool.logs.telemetry.segments[0].id);
    let mut bytes = vec![0; 4_096];
    let len = disk.clone().read_at(&copy, 0, &mut bytes).unwrap();
    for (name, content) in [
        ("telemetry/0000000000000000.seg", &[0; 5_000][..]),
        ("telemetry/0000000000000077.seg", &bytes[..len]),
        ("telemetry/0000000000000078.seg", &[][..]),
        ("telemetry/ffffffffffffffff.seg", &bytes[..len]),
        ("telemetry/000000000000000A.seg", &bytes[..len]),
        ("telemetry/notes.txt", b"hello"),
        (
            "alert/0000000000000001.seg",
            b"FGS1FGS1FGS1FGS1FGS1FGS1FGS1FGS1FGS1FGS1FGS1",
        ),
        ("health/0000000000000001.seg", &bytes[..len]),
    ] {
        disk.plant(name, content);
    }
    let mut spool = open(&disk, 2);
    append(&mut spool, 2, 0..1);
    spool.sync();
    // The doubled file hands its frames out twice; the centre takes them once.
    let found: BTreeSet<(StreamId, SeqRange)> = read_all(&mut spool).into_iter().collect();
    assert_eq!(found.len(), 6);
    assert_eq!(losses(&spool), []);
    for kept in [
        "telemetry/notes.txt",
        "telemetry/ffffffffffffffff.seg",
        "telemetry/000000000000000A.seg",
    ] {
        assert!(disk.names().contains(&kept.to_owned()), "{kept}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn arbitrary_bytes_in_the_directory_never_stop_an_open(
        files in prop::collection::vec((0usize..8, prop::collection::vec(any::<u8>(), 0..3_000)), 0..6),
        seed in any::<u64>(),
        flips in 0usize..6,
    ) {
        let disk = SimDisk::default();
        let mut spool = open(&disk, 1);
        append(&mut spool, 1, 0..12);
        spool.sync();
        let mut random = Random::new(seed);
        for _ in 0..flips {
            disk.flip_bit("", &mut random);
        }
        let names = [
            "state", "state.tmp", "telemetry/0000000000000001.seg", "telemetry/0000000000000002.seg",
            "telemetry/0000000000000009.seg", "alert/0000000000000001.seg", "health/x", "lock",
        ];
        for (name, content) in files {
            disk.plant(names[name], &content);
        }
        let mut spool = open(&disk, 2);
        append(&mut spool, 2, 0..3);
        spool.sync();
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
    }

    #[test]
    fn every_record_is_found_again_behind_arbitrary_bytes(
        before in prop::collection::vec(any::<u8>(), 0..600),
        payload in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let bytes = record::encode(stream(1), Content::Frame(range(3, 9)), &payload).unwrap();
        let file: Vec<u8> = before.iter().chain(&bytes).copied().collect();
        let mut read = |offset, out: &mut [u8]| Ok(memory::copy_at(&file, offset, out));
        let mut found = Vec::new();
        let scan = record::scan(&mut read, 0, file.len() as u64, &mut |met| {
            found.push((met.offset, met.header.content, met.payload.map(<[u8]>::to_vec)));
            ControlFlow::Continue(())
        }).unwrap();
        prop_assert_eq!(found, [(before.len() as u64, Content::Frame(range(3, 9)), Some(payload))]);
        prop_assert_eq!((scan.end, scan.damaged), (file.len() as u64, before.len() as u64));
    }
}

#[test]
fn a_scan_finds_records_that_straddle_its_window() {
    let payload = vec![7; 100_000];
    let mut file = Vec::new();
    for seq in 0..10 {
        file.extend(record::encode(stream(1), Content::Frame(range(seq, seq)), &payload).unwrap());
        file.extend([0xF0; 13]);
    }
    let mut read = |offset, out: &mut [u8]| Ok(memory::copy_at(&file, offset, out));
    let mut found = 0;
    record::scan(&mut read, 0, file.len() as u64, &mut |met| {
        found += usize::from(met.payload.is_some());
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(found, 10);
}

#[test]
fn the_same_holds_on_a_real_disk_and_only_one_process_has_it_open() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("deep/spool");
    let limits = || limits(1_024, 1 << 20);
    let mut spool = open_with(RealDisk::new(&root), 1, limits());
    assert!(!spool.is_in_ram(), "{:?}", spool.take_events());
    append(&mut spool, 1, 0..30);
    spool.sync();
    let second = open_with(RealDisk::new(&root), 2, limits());
    assert!(second.is_in_ram());

    let seen = inspect(&mut RealDisk::new(&root)).unwrap();
    assert_eq!(seen.segments.iter().map(|s| s.frames).sum::<u64>(), 30);
    assert_eq!((seen.spool_id, seen.incarnation), (Some(4_711), 1));
    assert!(
        seen.segments
            .iter()
            .all(|s| s.damaged_bytes == 0 && s.numbers.len() == 1)
    );

    acknowledge(&mut spool, 1, range(0, 24));
    spool.close();
    drop(spool);
    let mut spool = open_with(RealDisk::new(&root), 3, limits());
    assert!(!spool.is_in_ram());
    let rest = seqs(&mut spool);
    assert_eq!(rest.last(), Some(&29));
    assert!(rest[0] > 0 && rest[0] <= 25);
    assert_eq!(losses(&spool), []);
}

#[test]
fn a_spool_path_that_is_a_file_gives_ram_mode() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut spool = open_with(RealDisk::new(file.path()), 1, limits(1_024, 1 << 20));
    assert!(spool.is_in_ram());
    append(&mut spool, 1, 0..2);
    spool.sync();
    assert_eq!(seqs(&mut spool), [0, 1]);
}

#[test]
fn an_acknowledged_batch_does_not_make_the_spool_write_its_state_each_time() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    append(&mut spool, 1, 0..1);
    spool.sync();
    let before = disk.syncs();
    for seq in 0..50 {
        append(&mut spool, 1, seq + 1..seq + 2);
        acknowledge(&mut spool, 1, range(seq, seq));
    }
    // Seven frames fill a file; only a file that goes needs a state and a sync before it.
    assert!(
        disk.syncs() - before <= 2 * 50 / 7 + 2,
        "{}",
        disk.syncs() - before
    );
}
