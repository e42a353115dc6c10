use std::path::Path;

use firmware_shared::id::{Lane, StreamId};
use firmware_shared::message::LossReason;

use super::world::{
    commit, epoch, limits, losses, note, open, open_with, range, read_all, seqs, stream,
};
use crate::forward::random::Random;
use crate::spool::disk::RealDisk;
use crate::spool::format::VERSION;
use crate::spool::sim::SimDisk;
use crate::spool::{Ending, Spool, SpoolEvent};

/// A spool that the program wrote before segments were recycled: two starts, the first one killed.
fn plant_first_layout(disk: &SimDisk) {
    let files: [(&str, &[u8]); 4] = [
        ("state", include_bytes!("../golden/v1/state")),
        (
            "alert/0000000000000001.seg",
            include_bytes!("../golden/v1/alert/0000000000000001.seg"),
        ),
        (
            "telemetry/0000000000000002.seg",
            include_bytes!("../golden/v1/telemetry/0000000000000002.seg"),
        ),
        (
            "telemetry/0000000000000003.seg",
            include_bytes!("../golden/v1/telemetry/0000000000000003.seg"),
        ),
    ];
    for (name, content) in files {
        disk.plant(name, content);
    }
}

fn check_drained(spool: &mut Spool) {
    let first: Vec<u64> = read_all(spool)
        .iter()
        .filter(|(id, _)| *id == stream(1))
        .map(|(_, range)| range.first_seq)
        .collect();
    assert_eq!(first, [8, 9, 10, 11, 14, 15]);
    let second: Vec<u64> = read_all(spool)
        .iter()
        .filter(|(id, _)| *id == stream(2))
        .map(|(_, range)| range.first_seq)
        .collect();
    assert_eq!(second, [0, 1, 2]);
    let alerts = StreamId {
        lane: Lane::Alert,
        ..stream(1)
    };
    let place = spool.find(alerts, range(0, 0)).unwrap();
    let bytes = spool.read(place, alerts, range(0, 0));
    assert_eq!(bytes, Ok(b"{\"id\":\"a\"}".to_vec()));
    assert_eq!(losses(spool), [(range(12, 13), LossReason::Evicted)]);
    let book = spool.book();
    let ended = |start| book.epoch(epoch(start)).unwrap().ending;
    assert_eq!((ended(1), ended(2)), (Ending::Crashed, Ending::Clean));
    assert_eq!(book.stream(stream(1)).unwrap().acked.upto(), 8);
    let tail = book.stream(stream(1)).unwrap().tail.unwrap();
    assert_eq!((tail.first_seq, tail.at_most), (16, 20));
}

#[test]
fn a_spool_of_the_first_layout_is_drained_and_goes() {
    let disk = SimDisk::default();
    plant_first_layout(&disk);
    let mut spool = open(&disk, 3);
    assert_eq!(
        (spool.book().spool_id, spool.book().incarnation),
        (4_711, 3)
    );
    check_drained(&mut spool);
    let names = disk.names();
    assert!(
        names.iter().all(|name| name.starts_with("log/")),
        "{names:?}"
    );
    disk.crash(&mut Random::new(3));
    let mut spool = open(&disk, 4);
    check_drained(&mut spool);
}

#[test]
fn a_cut_while_the_first_layout_is_drained_loses_nothing() {
    for operations in 0..60 {
        let disk = SimDisk::default();
        plant_first_layout(&disk);
        disk.cut_power_after(operations);
        drop(open(&disk, 3));
        disk.crash(&mut Random::new(operations));
        let mut spool = open(&disk, 4);
        check_drained(&mut spool);
    }
}

#[test]
fn the_first_layout_is_drained_from_a_real_disk_too() {
    let dir = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/spool/golden/v1");
    for folder in ["", "alert", "telemetry"] {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        for entry in std::fs::read_dir(golden.join(folder)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let to = dir.path().join(folder).join(entry.file_name());
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let mut spool = open_with(RealDisk::new(dir.path()), 3, limits(64));
    check_drained(&mut spool);
    assert!(!dir.path().join("state").exists());
    assert!(!dir.path().join("telemetry").exists());
}

fn open_as(disk: &SimDisk, start: u64, version: u16) -> Spool {
    let disk = Box::new(disk.clone());
    Spool::open_as(
        disk,
        limits(64),
        epoch(start),
        note(start),
        4_711,
        0,
        version,
    )
}

#[test]
fn a_newer_spool_stays_untouched_and_the_newer_program_later_drains_both() {
    let disk = SimDisk::default();
    let mut newer = open_as(&disk, 1, VERSION + 1);
    commit(&mut newer, 1, 0..20);
    drop(newer);
    let before: Vec<(String, Vec<u8>)> = disk
        .names()
        .into_iter()
        .map(|name| (name.clone(), disk.content(&name)))
        .collect();

    let mut ours = open_as(&disk, 2, VERSION);
    assert_eq!(
        ours.take_events(),
        [SpoolEvent::Newer {
            folder: "log".to_owned(),
            version: VERSION + 1,
        }]
    );
    assert!(!ours.is_in_ram());
    commit(&mut ours, 2, 0..7);
    drop(ours);
    assert_eq!(
        seqs(&mut open_as(&disk, 3, VERSION)).len(),
        7,
        "it goes on beside"
    );
    for (name, content) in before {
        assert_eq!(disk.content(&name), content, "{name}");
    }

    let mut newer = open_as(&disk, 4, VERSION + 1);
    let both = read_all(&mut newer);
    assert_eq!(both.len(), 27);
    assert_eq!(
        newer.book().epoch(epoch(2)).unwrap().ending,
        Ending::Crashed
    );
    assert_eq!(losses(&newer), []);
    let names = disk.names();
    assert!(
        names.iter().all(|name| name.starts_with("log/")),
        "{names:?}"
    );
    drop(newer);
    assert_eq!(read_all(&mut open_as(&disk, 5, VERSION + 1)).len(), 27);
}
