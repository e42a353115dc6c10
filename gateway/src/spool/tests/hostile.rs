//! What people, other programs and bad cards put where the spool looks.
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use firmware_shared::checksum::crc32c;
use firmware_shared::id::Lane;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::world::{append, commit, limits, losses, open, open_with, read_all, seqs};
use crate::forward::random::Random;
use crate::spool::SpoolEvent;
use crate::spool::disk::RealDisk;
use crate::spool::format::{FRAME_HEADER_LEN, SEGMENT_HEADER_LEN, SegmentHeader};
use crate::spool::inspect;
use crate::spool::sim::SimDisk;

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// Opens what is there, and sees to it that it takes and keeps frames.
fn works(root: &Path, start: u64) {
    let mut spool = open_with(RealDisk::new(root), start, limits(64));
    assert!(!spool.is_in_ram(), "{:?}", spool.take_events());
    commit(&mut spool, start, 0..30);
    let held = read_all(&mut spool);
    drop(spool);
    let mut again = open_with(RealDisk::new(root), start + 1, limits(64));
    assert_eq!(read_all(&mut again), held);
    let mine = |(id, _): &&_| *id == super::world::stream(start);
    assert_eq!(held.iter().filter(mine).count(), 30);
    inspect::verify(&mut RealDisk::new(root), &mut |_| ()).unwrap();
}

#[test]
fn a_start_never_waits_at_a_pipe_that_has_the_name_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    fs::create_dir(&log).unwrap();
    for name in [
        "cursor-0",
        "cursor-1",
        "cursor-2",
        "00000001.seg",
        "00000002.seg",
    ] {
        pipe(&log.join(name));
    }
    pipe(&dir.path().join("lock"));
    pipe(&dir.path().join("state"));
    works(dir.path(), 1);
}

#[test]
fn what_has_the_name_of_a_file_of_ours_and_is_none_is_kept_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (log, elsewhere) = (dir.path().join("log"), dir.path().join("elsewhere"));
    fs::create_dir(&log).unwrap();
    fs::write(&elsewhere, "of somebody").unwrap();
    for name in ["cursor-0", "cursor-1", "00000001.seg"] {
        fs::create_dir(log.join(name)).unwrap();
        fs::write(log.join(name).join("theirs"), "kept").unwrap();
    }
    symlink(&elsewhere, log.join("cursor-2")).unwrap();
    symlink(&elsewhere, log.join("00000002.seg")).unwrap();
    fs::create_dir(dir.path().join("lock")).unwrap();
    works(dir.path(), 1);
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "of somebody");
    let kept = fs::read_dir(&log).unwrap().filter(|entry| {
        let entry = entry.as_ref().unwrap().path();
        fs::read_to_string(entry.join("theirs")).is_ok_and(|text| text == "kept")
    });
    assert_eq!(kept.count(), 3);
}

#[test]
fn a_file_in_place_of_the_folder_is_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("log"), "a log of somebody").unwrap();
    works(dir.path(), 1);
    let aside = dir.path().join("log.aside-0");
    assert_eq!(fs::read_to_string(aside).unwrap(), "a log of somebody");
    let other = tempfile::tempdir().unwrap();
    symlink("nowhere", other.path().join("log")).unwrap();
    works(other.path(), 1);
}

#[test]
fn a_folder_may_be_a_link_to_another_disk() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    symlink(other.path(), dir.path().join("log")).unwrap();
    works(dir.path(), 1);
    assert!(other.path().join("cursor-0").exists());
}

#[test]
fn the_highest_number_in_a_file_name_leaves_room_for_more_files() {
    let disk = SimDisk::default();
    for name in ["fffffffe", "fffffffd", "00000002", "80000000"] {
        disk.plant(&format!("log/{name}.seg"), b"nothing of ours");
    }
    let mut spool = open(&disk, 1);
    commit(&mut spool, 1, 0..60);
    assert_eq!(seqs(&mut open(&disk, 2)), (0..60).collect::<Vec<_>>());
}

#[test]
fn segments_of_another_spool_do_not_take_the_place_of_ours_when_the_cursor_is_lost() {
    let (disk, other) = (SimDisk::default(), SimDisk::default());
    let mut spool = open(&disk, 1);
    commit(&mut spool, 1, 0..30);
    let theirs = crate::spool::Spool::open(
        Box::new(other.clone()),
        limits(64),
        super::world::epoch(9),
        super::world::note(9),
        5,
        0,
    );
    let mut theirs = theirs;
    commit(&mut theirs, 9, 0..3);
    disk.plant("log/00000000.seg", &other.content("log/00000001.seg"));
    disk.plant("log/00000001.seg.bak", &other.content("log/00000001.seg"));
    // Theirs comes first, under its own number.
    let ours = disk.content("log/00000001.seg");
    disk.plant("log/00000001.seg", &other.content("log/00000001.seg"));
    for slot in 0..3 {
        disk.damage(&format!("log/cursor-{slot}"), 40);
    }
    let mut found = open(&disk, 2);
    let held = seqs(&mut found);
    assert!(held.len() > 15 && held.last() == Some(&29), "{held:?}");
    assert!(!ours.is_empty());
}

#[test]
fn a_look_finds_what_an_open_finds_and_shows_no_copy_twice() {
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    commit(&mut spool, 1, 0..20);
    let copy = disk.content("log/00000001.seg");
    disk.plant("log/00000077.seg", &copy);
    // Its header is gone, its frames are not.
    disk.damage("log/00000002.seg", 20);
    let mut looked = disk.clone();
    let found = inspect::inspect(&mut looked, &mut |_| ()).unwrap();
    assert_eq!(found.foreign_files, ["log/00000077.seg"]);
    assert_eq!(found.segments.iter().map(|s| s.frames).sum::<u64>(), 20);
    let mut exported = 0;
    let mut take = |_: &crate::spool::Frame| {
        exported += 1;
        Ok(())
    };
    inspect::export(&mut looked, true, &mut |_| (), &mut take).unwrap();
    assert_eq!(exported, 20);
    assert_eq!(seqs(&mut open(&disk, 2)).len(), 20);
}

/// Changes some bytes and makes the checksum right again: what a foreign or broken program could leave.
fn forge(disk: &SimDisk, random: &mut Random) {
    let names = disk.names();
    let name = &names[random.below(names.len() as u64) as usize];
    let mut content = disk.content(name);
    let change = |bytes: &mut [u8], random: &mut Random| {
        for _ in 0..1 + random.below(4) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = match random.below(3) {
                0 => 0,
                1 => 0xff,
                _ => random.next_u64() as u8,
            };
        }
    };
    if name.starts_with("log/cursor") {
        let len = 28 + u32::from_le_bytes(content[24..28].try_into().unwrap()) as usize;
        let Some(covered) = content.get_mut(16..len) else {
            return;
        };
        change(&mut covered[12..], random);
        let crc = crc32c(covered);
        content[len..len + 4].copy_from_slice(&crc.to_le_bytes());
    } else if random.below(3) == 0 {
        change(&mut content[16..SEGMENT_HEADER_LEN - 4], random);
        let crc = crc32c(&content[..SEGMENT_HEADER_LEN - 4]);
        content[SEGMENT_HEADER_LEN - 4..SEGMENT_HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
    } else if let Some(header) = SegmentHeader::decode(&content) {
        let align = header.align as usize;
        let at = align * (1 + random.below(5) as usize);
        // A summary ends where its length says, a frame's header after 64 bytes.
        let spans = content.get(at + 4..at + 8).map_or(0, |n| n[0] as usize);
        let len = if at == align {
            36 + 24 * spans
        } else {
            FRAME_HEADER_LEN
        };
        let Some(part) = content.get_mut(at..at + len) else {
            return;
        };
        change(&mut part[4..len - 4], random);
        let crc = header.seed().crc(&part[..len - 4]);
        part[len - 4..].copy_from_slice(&crc.to_le_bytes());
    }
    disk.plant(name, &content);
}

#[test]
fn what_is_wrong_under_a_right_checksum_never_stops_an_open() {
    for seed in 0..1_500 {
        let mut random = Random::new(seed);
        let disk = SimDisk::default();
        let mut spool = open(&disk, 1);
        commit(&mut spool, 1, 0..25);
        super::world::acknowledge(&mut spool, 1, super::world::range(0, random.below(25)));
        assert!(spool.write_book());
        drop(spool);
        for _ in 0..1 + random.below(4) {
            forge(&disk, &mut random);
        }
        let before = disk.operations();
        let mut spool = open(&disk, 2);
        assert!(!spool.is_in_ram(), "seed {seed}: {:?}", spool.take_events());
        assert!(disk.operations() - before < 300, "seed {seed}");
        append(&mut spool, 2, 0..3);
        assert!(spool.commit(), "seed {seed}");
        let mine = super::world::stream(2);
        let count = |spool: &mut _| read_all(spool).iter().filter(|(id, _)| *id == mine).count();
        assert_eq!(count(&mut spool), 3, "seed {seed}");
        for lane in Lane::ALL {
            spool
                .book()
                .stream(firmware_shared::id::StreamId { lane, ..mine });
        }
        let told = losses(&spool).len() + spool.take_events().len();
        assert!(told < 1_000, "seed {seed}");
        inspect::verify(&mut disk.clone(), &mut |_| ()).unwrap();
        assert_eq!(count(&mut open(&disk, 3)), 3, "seed {seed}");
    }
}

#[test]
fn a_folder_that_can_be_read_and_not_written_is_delivered_from() {
    // What a read-only mount does to the real disk: nothing can be made, everything can be read.
    let disk = SimDisk::default();
    let mut spool = open(&disk, 1);
    commit(&mut spool, 1, 0..3);
    disk.set_faults(crate::spool::sim::Faults {
        read_only: true,
        ..Default::default()
    });
    let mut spool = open(&disk, 2);
    assert!(spool.is_in_ram());
    assert!(matches!(spool.take_events()[..], [SpoolEvent::Degraded(_)]));
    assert_eq!(seqs(&mut spool), [0, 1, 2]);
}

#[test]
fn a_disk_that_was_full_at_the_very_first_start_is_used_when_there_is_room() {
    let disk = SimDisk::default();
    let gone = crate::spool::sim::Faults {
        gone: true,
        ..Default::default()
    };
    disk.set_faults(gone);
    let mut spool = open(&disk, 1);
    append(&mut spool, 1, 0..3);
    assert!(spool.is_in_ram());
    spool.try_return_to_disk();
    assert!(spool.is_in_ram());
    disk.set_faults(Default::default());
    spool.try_return_to_disk();
    assert!(!spool.is_in_ram());
    commit(&mut spool, 1, 3..30);
    assert_eq!(seqs(&mut open(&disk, 2)), (0..30).collect::<Vec<_>>());
}
