//! What the batch codec takes in bytes and time, beside what others take on the same readings.
//!
//! `cargo bench -p firmware-shared --bench codec` prints a table and writes `bench/codec.json` below the
//! target folder: one flat object of numbers. Batches of 60; bytes are whole sealed batches, times the least
//! of many rounds, since others share the machine. Every batch of every codec is read back and compared.
//!
//! The entropy ratio is the payload over the order-0 entropy of the residuals, summed over columns.
//! Positions need the recorded log; without it a made-up drive is shown and the gnss keys are left out.
//! Run as a test it measures nothing.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench stops at the first surprise"
)]

#[path = "../tests/series/mod.rs"]
mod series;

use std::collections::BTreeMap;
use std::path::PathBuf;

use firmware_shared::batch::{BATCH_LEN_MAX, Batch, Column, residuals, seal};
use firmware_shared::reading::{Reading, Score, Value};
use firmware_shared::units::Celsius128;
use pco::ChunkConfig;
use pco::standalone::{simple_compress, simple_decompress};
use series::BATCH;

const ROUNDS: usize = 40;

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("measures nothing unless run by cargo bench");
        return;
    }
    let mut report = BTreeMap::new();
    println!(
        "{:<22} {:>9} {:>9} {:>9}",
        "batches of 60", "B/reading", "ns write", "ns read"
    );
    measure("temp", &series::cold_box(1, 21_600), &mut report);
    if let Some(track) = series::recorded_track() {
        measure("gnss", &track, &mut report);
        if let Some(track) = series::recorded_track_read_within(5) {
            measure_own("gnss_jitter", &track, &mut report);
        }
    } else {
        println!("no recorded log: positions of a made-up drive, and no gnss keys");
        measure(
            "invented",
            &series::invented_track(1, 3_600),
            &mut BTreeMap::new(),
        );
    }
    let path = target_folder().join("bench/codec.json");
    write_report(&path, &report);
    println!("written: {}", path.display());
}

/// One flat JSON object of numbers.
fn write_report(path: &PathBuf, report: &BTreeMap<String, f64>) {
    let rounded = |number: &f64| (number * 1e4).round() / 1e4;
    let report: BTreeMap<_, _> = report.iter().map(|(key, n)| (key, rounded(n))).collect();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, serde_json::to_string_pretty(&report).unwrap() + "\n").unwrap();
}

fn target_folder() -> PathBuf {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"));
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(beside, PathBuf::from)
}

type Report = BTreeMap<String, f64>;

fn measure(name: &str, readings: &[Reading], report: &mut Report) {
    measure_own(name, readings, report);
    let json = |batch: &[Reading]| serde_json::to_vec(batch).unwrap();
    let from_json = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap();
    peer("json", name, readings, report, json, from_json);
    peer(
        "postcard",
        name,
        readings,
        report,
        postcard_rows,
        from_postcard_rows,
    );
    let zstd = |batch: &[Reading]| zstd::bulk::compress(&postcard_rows(batch), 3).unwrap();
    let from_zstd =
        |bytes: &[u8]| from_postcard_rows(&zstd::bulk::decompress(bytes, 1 << 16).unwrap());
    peer("zstd", name, readings, report, zstd, from_zstd);
    peer("pco", name, readings, report, pco_columns, from_pco_columns);
}

fn measure_own(name: &str, readings: &[Reading], report: &mut Report) {
    let sealed: Vec<Vec<u8>> = batches(readings).map(sealed).collect();
    let payload_len = |bytes: &Vec<u8>| Batch::open(bytes).unwrap().payload().len();
    let payload: usize = sealed.iter().map(payload_len).sum();
    let count = (sealed.len() * BATCH) as f64;
    for (bytes, batch) in sealed.iter().zip(batches(readings)) {
        assert_eq!(opened(bytes), batch, "a batch is not what was sealed");
    }
    let all: usize = sealed.iter().map(Vec::len).sum();
    let mut out = vec![0; BATCH_LEN_MAX];
    let write_ns = least_ns(count, || {
        batches(readings)
            .map(|batch| seal(&series::params(0, &batch[0]), batch, &mut out).unwrap())
            .sum()
    });
    let read_ns = least_ns(count, || {
        let read = |bytes: &Vec<u8>| {
            Batch::open(bytes)
                .unwrap()
                .readings()
                .unwrap()
                .flatten()
                .count()
        };
        sealed.iter().map(read).sum()
    });
    let bytes = all as f64 / count;
    row("sealed", name, [bytes, write_ns, read_ns]);
    let bits = entropy_bits(readings);
    report.insert(format!("{name}_bytes_per_reading_60"), bytes);
    report.insert(format!("{name}_ns_per_reading"), write_ns);
    report.insert(format!("{name}_decode_ns_per_reading"), read_ns);
    report.insert(
        format!("{name}_entropy_ratio_60"),
        payload as f64 * 8.0 / count / bits,
    );
    report.insert(
        "header_bytes".into(),
        (all - payload) as f64 / sealed.len() as f64,
    );
}

fn peer(
    peer: &str,
    name: &str,
    readings: &[Reading],
    report: &mut Report,
    write: impl Fn(&[Reading]) -> Vec<u8>,
    read: impl Fn(&[u8]) -> Vec<Reading>,
) {
    let written: Vec<Vec<u8>> = batches(readings).map(&write).collect();
    for (bytes, batch) in written.iter().zip(batches(readings)) {
        assert_eq!(
            read(bytes),
            batch,
            "{peer} does not give back what it was given"
        );
    }
    let count = (written.len() * BATCH) as f64;
    let bytes = written.iter().map(Vec::len).sum::<usize>() as f64 / count;
    let write_ns = least_ns(count, || {
        batches(readings).map(|batch| write(batch).len()).sum()
    });
    let read_ns = least_ns(count, || {
        written.iter().map(|bytes| read(bytes).len()).sum()
    });
    row(peer, name, [bytes, write_ns, read_ns]);
    report.insert(format!("{peer}_{name}_bytes_per_reading_60"), bytes);
    report.insert(format!("{peer}_{name}_ns_per_reading"), write_ns);
    report.insert(format!("{peer}_{name}_decode_ns_per_reading"), read_ns);
}

fn row(codec: &str, name: &str, [bytes, write_ns, read_ns]: [f64; 3]) {
    println!(
        "{:<22} {bytes:>9.3} {write_ns:>9.1} {read_ns:>9.1}",
        format!("{name} {codec}")
    );
}

fn batches(readings: &[Reading]) -> impl Iterator<Item = &[Reading]> {
    readings.chunks_exact(BATCH)
}

fn sealed(batch: &[Reading]) -> Vec<u8> {
    let mut out = vec![0; BATCH_LEN_MAX];
    let len = seal(&series::params(0, &batch[0]), batch, &mut out).unwrap();
    out.truncate(len);
    out
}

fn opened(bytes: &[u8]) -> Vec<Reading> {
    Batch::open(bytes)
        .unwrap()
        .readings()
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

/// Order-0 entropy of the residuals of each column over the whole series, in bits a reading.
fn entropy_bits(readings: &[Reading]) -> f64 {
    let mut counts: BTreeMap<Column, BTreeMap<i64, f64>> = BTreeMap::new();
    let mut count = 0.0;
    for batch in batches(readings) {
        count += batch.len() as f64;
        let mut each = |column, residual| {
            *counts
                .entry(column)
                .or_default()
                .entry(residual)
                .or_default() += 1.0;
        };
        residuals(batch, &mut each).unwrap();
    }
    let bits = |symbols: &BTreeMap<i64, f64>| {
        let all: f64 = symbols.values().sum();
        symbols.values().map(|n| -n * (n / all).log2()).sum::<f64>()
    };
    counts.values().map(bits).sum::<f64>() / count
}

/// The least time of many rounds, ns a reading.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn least_ns(count: f64, mut round: impl FnMut() -> usize) -> f64 {
    let times = (0..ROUNDS).map(|_| {
        let start = std::time::Instant::now();
        std::hint::black_box(round());
        start.elapsed().as_nanos() as f64
    });
    times.fold(f64::INFINITY, f64::min) / count
}

fn postcard_rows(batch: &[Reading]) -> Vec<u8> {
    let mut out = vec![0; batch.len() * 80];
    let mut len = 0;
    for reading in batch {
        len += postcard::to_slice(reading, &mut out[len..]).unwrap().len();
    }
    out.truncate(len);
    out
}

fn from_postcard_rows(mut bytes: &[u8]) -> Vec<Reading> {
    let mut readings = Vec::new();
    while !bytes.is_empty() {
        let (reading, rest) = postcard::take_from_bytes(bytes).unwrap();
        readings.push(reading);
        bytes = rest;
    }
    readings
}

/// The numbers of a reading, one per column; `None` for a position's missing parts is not needed here
/// except in its course, which has a column of presence.
fn numbers(reading: &Reading) -> Vec<i64> {
    let mut numbers = vec![
        reading.stamp_ms as i64,
        i64::from(reading.sensor),
        i64::from(reading.score.0),
    ];
    match reading.value {
        Value::Temperature(counts) => numbers.push(i64::from(counts.0)),
        Value::Position(p) => numbers.extend([
            i64::from(p.lat.0),
            i64::from(p.lon.0),
            p.height.map_or(i64::MIN, |n| i64::from(n.0)),
            p.speed.map_or(i64::MIN, |n| i64::from(n.0)),
            i64::from(p.course.is_some()),
            p.course.map_or(0, |n| i64::from(n.0)),
            p.h_acc.map_or(i64::MIN, |n| i64::from(n.0)),
            p.satellites.map_or(i64::MIN, i64::from),
            i64::from(p.fix.0),
        ]),
        _ => panic!("not in these series"),
    }
    numbers
}

fn reading(numbers: &[i64]) -> Reading {
    use firmware_shared::reading::{FixKind, Position};
    use firmware_shared::units::{
        AccuracyMm, Course1e5, Degrees1e7, Millimetres, MillimetresPerSecond,
    };
    let some = |n: i64| (n != i64::MIN).then_some(n);
    let value = match numbers[3..] {
        [counts] => Value::Temperature(Celsius128(counts as i32)),
        [
            lat,
            lon,
            height,
            speed,
            has_course,
            course,
            h_acc,
            satellites,
            fix,
        ] => Value::Position(Position {
            lat: Degrees1e7(lat as i32),
            lon: Degrees1e7(lon as i32),
            height: some(height).map(|n| Millimetres(n as i32)),
            speed: some(speed).map(|n| MillimetresPerSecond(n as i32)),
            course: (has_course == 1).then_some(Course1e5(course as i32)),
            h_acc: some(h_acc).map(|n| AccuracyMm(n as u32)),
            dop: None,
            satellites: some(satellites).map(|n| n as u8),
            fix: FixKind(fix as u8),
        }),
        _ => panic!("not in these series"),
    };
    let (sensor, score) = (numbers[1] as u8, Score(numbers[2] as u16));
    Reading {
        stamp_ms: numbers[0] as u64,
        sensor,
        score,
        value,
    }
}

/// Each column by itself, with its length in front.
fn pco_columns(batch: &[Reading]) -> Vec<u8> {
    let rows: Vec<Vec<i64>> = batch.iter().map(numbers).collect();
    let mut out = Vec::new();
    for column in 0..rows[0].len() {
        let numbers: Vec<i64> = rows.iter().map(|row| row[column]).collect();
        let bytes = simple_compress(&numbers, &ChunkConfig::default()).unwrap();
        out.extend((bytes.len() as u16).to_le_bytes());
        out.extend(bytes);
    }
    out
}

fn from_pco_columns(mut bytes: &[u8]) -> Vec<Reading> {
    let mut columns: Vec<Vec<i64>> = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<2>() {
        let (column, rest) = rest.split_at(usize::from(u16::from_le_bytes(*len)));
        columns.push(simple_decompress(column).unwrap());
        bytes = rest;
    }
    let row = |index: usize| {
        columns
            .iter()
            .map(|column| column[index])
            .collect::<Vec<_>>()
    };
    (0..columns[0].len())
        .map(|index| reading(&row(index)))
        .collect()
}
