//! A backlog of 1 GB is drained with a durable acknowledgement per thousand records.
use std::path::Path;

use super::engines::{self, PEERS};
use super::{Report, scale, seconds};

const RECORD_LEN: usize = 256;
const PER_ACK: usize = 1_000;

pub(crate) fn measure(work: &Path, report: &mut Report) {
    let count = (scale() * f64::from(1 << 30)) as usize / RECORD_LEN;
    let ours = drain(work, "spool", count, report);
    let mut best: f64 = 0.0;
    for peer in PEERS {
        let theirs = drain(work, peer, count, report);
        // The growing file gives no room back: it is shown and not ranked.
        if peer != "growing" {
            best = best.max(theirs);
        }
    }
    report.insert("drain_vs_best_peer".into(), ours / best);
}

fn drain(work: &Path, name: &str, count: usize, report: &mut Report) -> f64 {
    let dir = work.join(format!("drain-{name}"));
    let mut record = [0_u8; RECORD_LEN];
    {
        let mut engine = engines::open(name, &dir);
        for index in 0..count {
            record[..8].copy_from_slice(&index.to_le_bytes());
            engine.append(&record);
            if index % 2_000 == 1_999 {
                engine.commit();
            }
        }
        engine.append(&record);
        engine.commit();
        // The spool is left as a kill would leave it; the others may close in order.
    }
    let mut engine = engines::open(name, &dir);
    let used = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let (spent_s, taken) = seconds(|| {
        let mut taken = 0;
        loop {
            let (more, bytes) = engine.take(PER_ACK);
            assert_eq!(bytes, (more * RECORD_LEN) as u64);
            taken += more;
            if more == 0 {
                return taken;
            }
        }
    });
    assert_eq!(taken, count + 1, "{name}");
    let rate = taken as f64 / spent_s;
    let suffix = if name == "spool" {
        String::new()
    } else {
        format!("_{name}")
    };
    report.insert(format!("drain_records_per_s{suffix}"), rate);
    let written = written(&used);
    report.insert(
        format!("drain_bytes_written_per_ack{suffix}"),
        written / taken as f64,
    );
    println!("drain {name}: {rate:.0} records/s");
    drop(engine);
    if name == "spool" {
        check_reusable(&dir, count);
    }
    std::fs::remove_dir_all(&dir).unwrap();
    rate
}

/// Bytes that this process wrote to storage since then.
fn written(before: &str) -> f64 {
    let number = |text: &str| -> f64 {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("write_bytes: "));
        line.map_or(0.0, |number| number.trim().parse().unwrap())
    };
    let after = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    number(&after) - number(before)
}

/// What was drained is room again: as much goes in without another file.
fn check_reusable(dir: &Path, count: usize) {
    let files = || std::fs::read_dir(dir.join("log")).unwrap().count();
    let before = files();
    let mut spool = engines::OurSpool::open(dir, engines::limits(1 << 33), 3);
    for index in 0..count / 2 {
        spool.append_batch(1, vec![2; RECORD_LEN]);
        if index % 2_000 == 1_999 {
            assert!(spool.store.commit());
        }
    }
    assert_eq!(files(), before, "the ring did not grow");
}
