//! How long an open takes after a kill, and how much memory a backlog needs.
use std::path::Path;
use std::process::Command;

use super::engines::{Engine, OurSpool, limits};
use super::{Report, scale, seconds};

const OPENS: usize = 7;

pub(crate) fn measure(work: &Path, report: &mut Report) {
    let large = (scale() * 4096.0) as u64;
    let empty_mb = child_of(work, "empty", 0).1;
    for (name, mib) in [("1mb", 1), ("4gb", large)] {
        let dir = work.join(name);
        let filled = Command::new(std::env::current_exe().unwrap())
            .args(["--child", "fill", dir.to_str().unwrap(), &mib.to_string()])
            .status()
            .unwrap();
        assert!(!filled.success(), "it kills itself");
        let mut opens: Vec<(f64, f64)> = (1..=OPENS as u64)
            .map(|start| child_of(work, name, start))
            .collect();
        opens.sort_by(|a, b| a.0.total_cmp(&b.0));
        report.insert(format!("open_ms_{name}"), opens[OPENS / 2].0);
        let rss_mb = opens.iter().map(|open| open.1).fold(0.0, f64::max);
        report.insert(format!("rss_mb_{name}_backlog"), rss_mb - empty_mb);
        std::fs::remove_dir_all(&dir).unwrap();
    }
    let ratio = report["open_ms_4gb"] / report["open_ms_1mb"];
    report.insert("open_ms_4gb_vs_1mb".into(), ratio);
    if large != 4096 {
        println!("the large backlog has {large} MiB only");
    }
}

/// Opens a spool in a process of its own: ms, and MB of resident memory after some of it is read.
fn child_of(work: &Path, name: &str, start: u64) -> (f64, f64) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--child",
            "open",
            work.join(name).to_str().unwrap(),
            &start.to_string(),
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut numbers = text.split_whitespace().map(|n| n.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

pub(crate) fn child(args: &[String]) {
    let [what, dir, number] = args else {
        panic!("what, folder, number")
    };
    let (dir, number) = (Path::new(dir), number.parse::<u64>().unwrap());
    match what.as_str() {
        "fill" => fill(dir, number),
        "open" => open(dir, number),
        other => panic!("{other}"),
    }
}

/// Writes a backlog and dies without closing it.
fn fill(dir: &Path, mib: u64) {
    let mut spool = OurSpool::open(dir, limits(1 << 33), 1);
    for _ in 0..mib {
        for _ in 0..4_096 - 64 {
            spool.append_batch(4, vec![3; 256]);
        }
        spool.commit();
    }
    std::process::abort();
}

fn open(dir: &Path, start: u64) {
    let (spent_s, mut spool) = seconds(|| OurSpool::open(dir, limits(1 << 33), 100 + start));
    for _ in 0..20 {
        let mut read = 0;
        while read < 1_000 {
            let more = spool.read_only(1_000);
            read += more;
            if more == 0 {
                break;
            }
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    println!("{} {}", spent_s * 1e3, kib / 1024.0);
}
