//! A real process writes a spool on a real file system and is killed with SIGKILL, again and again.
//!
//! After every kill the next process opens what is there, and everything that the one before reported durable
//! must be held or acknowledged; nothing may be there that was not written. `SPOOL_KILLS=10000` asks for
//! more than a test run has time for; `SPOOL_KILLS_DIR` names the folder, by default a temporary one.
//!
//! The other test mauls the files of such a folder; `SPOOL_FUZZ_RUNS` asks for more.
//!
//! This program is both: with `--child DIR START` it is the process that is killed.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test program: it stops at the first surprise"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use firmware_shared::id::{Epoch, Lane, SeqRange, StreamId};
use gateway::forward::random::Random;
use gateway::spool::disk::RealDisk;
use gateway::spool::store::Store;
use gateway::spool::{Frame, PerLane, Place, SpoolLimits};
use libtest_mimic::{Arguments, Trial};

const KILLS: u64 = 200;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|arg| arg == "--child") {
        return child(Path::new(&args[2]), args[3].parse().unwrap());
    }
    let kills = std::env::var("SPOOL_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let name = "what_a_killed_process_reported_durable_is_there_when_the_next_one_opens";
    let test = Trial::test(name, move || {
        all(kills);
        Ok(())
    });
    let runs = std::env::var("SPOOL_FUZZ_RUNS").map_or(300, |text| text.parse().unwrap());
    let name = "arbitrary_bytes_in_the_directory_never_stop_a_start_nor_delay_it_by_a_second";
    let fuzz = Trial::test(name, move || {
        (0..runs).for_each(fuzz);
        Ok(())
    });
    let mut arguments = Arguments::from_args();
    // Between fork and exec a child of the one holds the locked directory of the other.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, vec![test, fuzz]).exit();
}

/// A spool whose files were mauled is opened, and takes and hands out what comes after.
#[expect(clippy::disallowed_methods, reason = "the promise is about time")]
fn fuzz(seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::new(seed);
    let mut store = open(dir.path(), 1);
    for seq in 0..random.below(900) {
        let frame = Frame {
            stream: stream(1),
            range: SeqRange::new(seq, seq).unwrap(),
            bytes: bytes(1, seq),
        };
        assert!(store.append(frame));
        if random.below(20) == 0 {
            assert!(store.commit());
        }
    }
    store.commit();
    drop(store);
    for _ in 0..1 + random.below(8) {
        maul(dir.path(), &mut random);
    }
    let start = std::time::Instant::now();
    let mut store = open(dir.path(), 2);
    let spent = start.elapsed();
    assert!(spent.as_millis() < 1_000, "seed {seed}: {spent:?}");
    assert!(!store.is_in_ram(), "seed {seed}");
    let frame = Frame {
        stream: stream(2),
        range: SeqRange::new(0, 0).unwrap(),
        bytes: bytes(2, 0),
    };
    assert!(store.append(frame) && store.commit(), "seed {seed}");
    let mut cursor = Place::default();
    let mut is_found = false;
    while let Some((place, id, range)) = store.next(Lane::Telemetry, &mut cursor) {
        if let Some(read) = store.read(place, id, range) {
            let of = id.epoch.number() - 0x7000_0000;
            assert_eq!(read, bytes(of, range.first_seq), "seed {seed}");
            is_found |= id == stream(2);
        }
    }
    assert!(is_found, "seed {seed}");
}

/// Does to a file of the spool what people, crashes and bad cards do.
fn maul(dir: &Path, random: &mut Random) {
    let log = dir.join("log");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&log)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let Some(file) = files.get(random.below(files.len() as u64) as usize) else {
        return;
    };
    if random.below(4) == 0 {
        return plant(&log, file, random);
    }
    let kind = std::fs::symlink_metadata(file).unwrap();
    if !kind.is_file() || kind.len() > 1 << 20 {
        return;
    }
    let mut content = std::fs::read(file).unwrap();
    let garbage = |random: &mut Random, len: u64| -> Vec<u8> {
        (0..len).map(|_| random.next_u64() as u8).collect()
    };
    let mut target = file.clone();
    match random.below(7) {
        0 => return std::fs::remove_file(file).unwrap(),
        1 => content.clear(),
        2 => content.fill(0),
        3 => content.truncate(random.below(content.len() as u64 + 1) as usize),
        4 => target = log.join(format!("{:08x}.seg", random.below(30))),
        5 => {
            let len = random.below(100_000);
            content = garbage(random, len);
            target = log.join(format!("{:08x}.seg", random.below(30)));
        }
        _ => {
            for _ in 0..1 + random.below(50) {
                let at = random.below(content.len().max(1) as u64) as usize;
                if let Some(byte) = content.get_mut(at) {
                    *byte = random.next_u64() as u8;
                }
            }
        }
    }
    std::fs::write(target, content).unwrap();
}

/// Puts something that is no file, or far too long a one, where the spool looks.
fn plant(log: &Path, file: &Path, random: &mut Random) {
    let mut target = log.join(format!("{:08x}.seg", u64::from(u32::MAX) - random.below(3)));
    if random.below(2) == 0 {
        let kind = std::fs::symlink_metadata(file).unwrap();
        target = file.to_owned();
        if kind.is_dir() {
            std::fs::remove_dir(file).unwrap();
        } else {
            std::fs::remove_file(file).unwrap();
        }
    }
    if std::fs::symlink_metadata(&target).is_ok() {
        return;
    }
    match random.below(4) {
        0 => {
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            let kind = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, &target, kind, mode, 0).unwrap();
        }
        1 => std::fs::create_dir(&target).unwrap(),
        2 => std::os::unix::fs::symlink("/dev/zero", &target).unwrap(),
        _ => {
            let sparse = std::fs::File::create(&target).unwrap();
            sparse.set_len(1 << (20 + random.below(18))).unwrap();
        }
    }
}

fn limits() -> SpoolLimits {
    let segment_bytes = 64 * 1024;
    SpoolLimits {
        max_bytes: PerLane::from_fn(|_| 1 << 30),
        total_bytes: 1 << 30,
        ram_bytes: PerLane::from_fn(|_| 1 << 20),
        segment_bytes,
        align: 4096,
        slot_bytes: 16 * 1024,
        history_ms: 0,
        pending_count_max: 1_000,
    }
}

fn stream(start: u64) -> StreamId {
    StreamId {
        epoch: Epoch::from_random(0x7000_0000 + start),
        lane: Lane::Telemetry,
    }
}

fn bytes(start: u64, seq: u64) -> Vec<u8> {
    let mut random = Random::new(start << 32 ^ seq);
    let len = 40 + random.below(300);
    (0..len).map(|_| random.next_u64() as u8).collect()
}

fn open(dir: &Path, start: u64) -> Store {
    let disk = Box::new(RealDisk::new(dir));
    Store::open(disk, limits(), stream(start).epoch, 0)
}

/// Writes, commits, acknowledges what older processes left, and says each time what is durable.
fn child(dir: &Path, start: u64) {
    let mut store = open(dir, start);
    assert!(!store.is_in_ram());
    let mut random = Random::new(start);
    let mut out = std::io::stdout().lock();
    let mut cursor = Place::default();
    let mut seq = 0;
    writeln!(out, "open").unwrap();
    loop {
        for _ in 0..1 + random.below(4) {
            let frame = Frame {
                stream: stream(start),
                range: SeqRange::new(seq, seq).unwrap(),
                bytes: bytes(start, seq),
            };
            assert!(store.append(frame));
            seq += 1;
        }
        if store.commit() {
            writeln!(out, "durable {seq}").unwrap();
        }
        if random.below(3) == 0 {
            for _ in 0..random.below(8) {
                if let Some((_, id, range)) = store.next(Lane::Telemetry, &mut cursor) {
                    store.acknowledge(id, range);
                }
            }
            store.settle();
            store.checkpoint();
        }
    }
}

struct Killed {
    durable: u64,
}

fn all(kills: u64) {
    let own = tempfile::tempdir().unwrap();
    let dir = std::env::var_os("SPOOL_KILLS_DIR").map_or(own.path().to_owned(), PathBuf::from);
    let dir = dir.join("spool");
    let mut random = Random::new(kills);
    let mut killed: BTreeMap<u64, Killed> = BTreeMap::new();
    let mut records = 0;
    for start in 1..=kills {
        let mut running = spawn(&dir, start);
        let lines = BufReader::new(running.stdout.take().unwrap()).lines();
        let after = random.below(40);
        let mut durable = 0;
        for (count, line) in (0..).zip(lines) {
            // What the pipe still holds was said before the kill.
            let Ok(line) = line else { break };
            if let Some(text) = line.strip_prefix("durable ") {
                durable = text.parse().unwrap();
            }
            if count == after {
                running.kill().unwrap();
            }
        }
        running.wait().unwrap();
        records += durable;
        killed.insert(start, Killed { durable });
        let mut store = open(&dir, kills + start);
        check(&mut store, &killed);
        // Older ones have been looked at often enough: a centre would have them by now.
        let done: Vec<u64> = killed
            .keys()
            .copied()
            .filter(|of| of + 3 <= start)
            .collect();
        for of in done {
            killed.remove(&of);
            for epoch in [of, kills + of] {
                store.acknowledge_epoch(stream(epoch).epoch);
            }
        }
        store.settle();
        assert!(store.checkpoint());
    }
    println!("{kills} kills, {records} records reported durable, 0 violations");
}

fn spawn(dir: &Path, start: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .arg("--child")
        .arg(dir)
        .arg(start.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program starts itself")
}

/// What the last processes reported durable is there, whole, and nothing else.
fn check(store: &mut Store, killed: &BTreeMap<u64, Killed>) {
    assert!(!store.is_in_ram(), "it starts");
    let mut held: BTreeMap<(StreamId, u64), ()> = BTreeMap::new();
    let mut cursor = Place::default();
    while let Some((place, id, range)) = store.next(Lane::Telemetry, &mut cursor) {
        let read = store.read(place, id, range).expect("what is held is whole");
        let of = id.epoch.number() - 0x7000_0000;
        assert_eq!(read, bytes(of, range.first_seq), "start {of}, {range}");
        held.insert((id, range.first_seq), ());
    }
    for (of, Killed { durable }) in killed {
        for seq in 0..*durable {
            let id = stream(*of);
            let there = held.contains_key(&(id, seq)) || store.is_acknowledged(id, seq);
            assert!(there, "start {of}: {seq} was durable");
        }
    }
    let closed = store.losses();
    let told = closed.iter().filter(|loss| loss.last_seq.is_some()).count();
    assert_eq!(told, 0, "nothing durable is on record as lost: {closed:?}");
}
