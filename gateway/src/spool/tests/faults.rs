use firmware_shared::id::Lane;
use firmware_shared::message::LossReason;

use super::world::{append, commit, limits, losses, open, open_with, range, read_all, seqs};
use crate::forward::random::Random;
use crate::spool::SpoolEvent;
use crate::spool::disk::RealDisk;
use crate::spool::sim::{Faults, SimDisk};

#[test]
fn a_failed_sync_moves_its_frames_to_another_segment_and_never_syncs_that_one_again() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    commit(&mut spool, 1, 0..2);
    append(&mut spool, 1, 2..4);
    disk.set_faults(Faults {
        failing_syncs: 1,
        ..Faults::default()
    });
    assert!(spool.commit());
    assert!(!spool.is_in_ram());
    assert_eq!(spool.take_events(), []);
    assert_eq!(seqs(&mut spool), [0, 1, 2, 3]);
    let counts = spool.counts(Lane::Telemetry);
    assert_eq!((counts.fsync_errors, counts.disk_errors), (1, 1));
    // What the failed sync lost is gone from its file; the copy is durable.
    disk.crash(&mut Random::new(7));
    assert_eq!(distinct(&mut open(&disk, 2)), [0, 1, 2, 3]);
}

#[test]
fn a_segment_whose_sync_failed_is_deleted_when_nothing_in_it_is_left_to_send() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    commit(&mut spool, 1, 0..1);
    let before = disk.names();
    append(&mut spool, 1, 1..2);
    disk.set_faults(Faults {
        failing_syncs: 1,
        ..Faults::default()
    });
    assert!(spool.commit());
    assert_eq!(disk.names().len(), before.len() + 1);
    super::world::acknowledge(&mut spool, 1, range(0, 0));
    let after = disk.names();
    assert_eq!(after.len(), before.len());
    assert_ne!(after, before, "the failed one went");
}

#[test]
fn a_second_failure_means_ram_until_the_disk_takes_everything_again() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    commit(&mut spool, 1, 0..3);
    disk.set_faults(Faults {
        failing_syncs: 99,
        ..Faults::default()
    });
    append(&mut spool, 1, 3..5);
    assert!(!spool.commit());
    assert!(spool.is_in_ram());
    assert!(matches!(spool.take_events()[..], [SpoolEvent::Degraded(_)]));
    append(&mut spool, 1, 5..6);
    assert_eq!(seqs(&mut spool), [0, 1, 2, 3, 4, 5], "delivery goes on");
    spool.try_return_to_disk();
    assert!(spool.is_in_ram());
    assert_eq!(spool.take_events(), []);
    disk.set_faults(Faults::default());
    spool.try_return_to_disk();
    assert!(!spool.is_in_ram());
    assert_eq!(spool.take_events(), [SpoolEvent::Recovered]);
    append(&mut spool, 1, 6..8);
    assert!(spool.commit());
    disk.crash(&mut Random::new(8));
    assert_eq!(distinct(&mut open(&disk, 2)), (0..8).collect::<Vec<_>>());
}

/// A frame may be in the segment that failed, too: the centre takes it once.
fn distinct(spool: &mut crate::spool::Spool) -> Vec<u64> {
    let found: std::collections::BTreeSet<u64> = seqs(spool).into_iter().collect();
    found.into_iter().collect()
}

#[test]
fn a_full_disk_is_a_small_quota_and_no_failure() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    commit(&mut spool, 1, 0..8);
    disk.set_faults(Faults {
        room: Some(disk.used()),
        ..Faults::default()
    });
    commit(&mut spool, 1, 8..40);
    assert!(!spool.is_in_ram());
    let evicted = losses(&spool);
    assert_eq!(evicted.len(), 1);
    assert_eq!(evicted[0].1, LossReason::Evicted);
    let held = seqs(&mut spool);
    assert_eq!(held, (evicted[0].0.next_seq()..40).collect::<Vec<_>>());
}

#[test]
fn a_disk_that_becomes_read_only_gives_ram_mode_and_back() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    commit(&mut spool, 1, 0..3);
    disk.set_faults(Faults {
        read_only: true,
        ..Faults::default()
    });
    append(&mut spool, 1, 3..4);
    assert!(!spool.commit());
    assert!(spool.is_in_ram());
    assert_eq!(seqs(&mut spool), [0, 1, 2, 3]);
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
    assert!(spool.bytes(Lane::Telemetry) <= 8 * 1_024);
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
    commit(&mut spool, 1, 0..3);
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
        "the cursor of the unread spool would be lost"
    );
    assert_eq!(read_all(&mut open(&disk, 3)).len(), 3);
}

#[test]
fn frames_on_a_read_only_disk_are_still_delivered() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    commit(&mut spool, 1, 0..3);
    disk.set_faults(Faults {
        read_only: true,
        ..Faults::default()
    });
    let mut spool = open(&disk, 2);
    append(&mut spool, 2, 0..2);
    assert_eq!(seqs(&mut spool), [0, 1, 2, 0, 1]);
}

#[test]
fn a_spool_path_that_is_a_file_gives_ram_mode() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut spool = open_with(RealDisk::new(file.path()), 1, limits(64));
    assert!(spool.is_in_ram());
    append(&mut spool, 1, 0..2);
    assert!(!spool.commit());
    assert_eq!(seqs(&mut spool), [0, 1]);
}
