//! What a reading and a commit cost the card.
use std::path::Path;

use firmware_shared::batch::{BATCH_LEN_MAX, seal};
use firmware_shared::reading::Reading;

use super::Report;
use super::device::{LoopDisk, Traffic};
use super::engines::{self, OurSpool, PEERS};
use super::series;

/// One-record commits that are measured.
const COMMITS: u64 = 400;
const RECORD: [u8; 32] = [0x5A; 32];

pub(crate) fn measure(work: &Path, report: &mut Report) {
    let Some(disk) = LoopDisk::new(work) else {
        println!(
            "no loop-mounted ext4 (that needs root): bytes and flushes of a device are left out"
        );
        return;
    };
    let mut insert = |key: String, value: f64| {
        report.insert(key, value);
    };
    let ours = spool_commits(&disk);
    insert("device_bytes_per_commit".into(), per(ours.bytes, COMMITS));
    insert("flushes_per_commit".into(), per(ours.flushes, COMMITS));
    for peer in PEERS {
        let mut engine = engines::open(peer, &disk.folder.join(peer));
        for _ in 0..100 {
            engine.append(&RECORD);
            engine.commit();
        }
        let theirs = disk.during(|| {
            for _ in 0..COMMITS {
                engine.append(&RECORD);
                engine.commit();
            }
        });
        let key = |what| format!("{what}_{peer}");
        insert(key("device_bytes_per_commit"), per(theirs.bytes, COMMITS));
        insert(key("flushes_per_commit"), per(theirs.flushes, COMMITS));
    }
    insert(
        "device_bytes_per_reading_offline".into(),
        offline(&disk, "spool"),
    );
    for peer in PEERS {
        insert(
            format!("device_bytes_per_reading_offline_{peer}"),
            offline(&disk, peer),
        );
    }
    insert(
        "device_bytes_per_reading_online".into(),
        online(&disk, 0, 60),
    );
    insert(
        "device_bytes_per_reading_online_history".into(),
        online(&disk, 86_400_000, 60),
    );
    insert(
        "device_bytes_per_reading_online_history_batch_of_4".into(),
        online(&disk, 86_400_000, 4),
    );
}

fn per(total: u64, count: u64) -> f64 {
    total as f64 / count as f64
}

/// A ring that has been round once: its two segments are there.
fn ring(disk: &LoopDisk, name: &str) -> OurSpool {
    let limits = engines::limits(8 << 20);
    let mut spool = OurSpool::open(&disk.folder.join(name), limits, 1);
    for _ in 0..3 {
        // 64 KiB a commit fill a segment with 64 of them.
        for _ in 0..64 {
            spool.append_batch(1, vec![1; 60 * 1024]);
            assert!(spool.store.commit());
        }
        spool.acknowledge_all();
        assert!(spool.store.checkpoint());
    }
    spool
}

fn spool_commits(disk: &LoopDisk) -> Traffic {
    let mut spool = ring(disk, "commits");
    disk.during(|| {
        for _ in 0..COMMITS {
            spool.append_batch(1, RECORD.to_vec());
            assert!(spool.store.commit());
        }
    })
}

/// Two readings a second, a commit every 5 s: 20 B of reading in a record of 32.
fn offline(disk: &LoopDisk, name: &str) -> f64 {
    const SECONDS: u64 = 1_500;
    let readings = 2 * SECONDS;
    if name == "spool" {
        let mut spool = ring(disk, "offline");
        let sealed = batches(4, SECONDS as usize / 2);
        let used = disk.during(|| {
            for (second, bytes) in (0..).step_by(2).zip(&sealed) {
                spool.append_batch(4, bytes.clone());
                if second % 5 >= 3 {
                    assert!(spool.store.commit());
                }
            }
            assert!(spool.store.commit());
        });
        return per(used.bytes, readings);
    }
    let mut engine = engines::open(name, &disk.folder.join(format!("offline-{name}")));
    engine.append(&RECORD);
    engine.commit();
    let used = disk.during(|| {
        for second in 1..=SECONDS {
            engine.append(&RECORD);
            engine.append(&RECORD);
            if second % 5 == 0 {
                engine.commit();
            }
        }
    });
    per(used.bytes, readings)
}

/// Everything is acknowledged within a second; without the cursor's own pages.
fn online(disk: &LoopDisk, history_ms: u64, batch: usize) -> f64 {
    let mut limits = engines::limits(8 << 20);
    limits.history_ms = history_ms;
    let name = format!("online-{history_ms}-{batch}");
    let mut spool = OurSpool::open(&disk.folder.join(name), limits, 1);
    let sealed = batches(batch, 120_000 / batch);
    let readings = (sealed.len() * batch) as u64;
    let made = spool.store.device_bytes();
    let used = disk.during(|| {
        for (step, bytes) in (0..).zip(&sealed) {
            spool.store.tick(step * 2_000);
            spool.append_batch(batch as u64, bytes.clone());
            spool.acknowledge_all();
        }
    });
    let counted = spool.store.device_bytes();
    // The kernel writes history back when it likes: what was written counts, wherever it is.
    let own = counted.append + counted.history - made.append - made.history;
    // A ring that is being made writes its segments once; that is not a cost per reading.
    let bytes = if history_ms == 0 { used.bytes } else { own };
    per(bytes, readings)
}

/// Sealed batches of a cold box and a drive, the sensors in turn.
fn batches(count: usize, wanted: usize) -> Vec<Vec<u8>> {
    let temperatures = series::cold_box(1, count * wanted / 2 + count);
    let positions = series::invented_track(1, count * wanted / 2 + count);
    let mut mixed: Vec<Reading> = Vec::new();
    for (temperature, position) in temperatures.iter().zip(&positions) {
        mixed.extend([
            *temperature,
            Reading {
                sensor: 1,
                ..*position
            },
        ]);
    }
    let mut out = vec![0; BATCH_LEN_MAX];
    let batches = mixed.chunks_exact(count).take(wanted).zip(0_u64..);
    let sealed = batches.map(|(batch, index)| {
        let params = series::params(index * count as u64, &batch[0]);
        let len = seal(&params, batch, &mut out).unwrap();
        out[..len].to_vec()
    });
    sealed.collect()
}
