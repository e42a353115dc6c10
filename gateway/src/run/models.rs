//! The detectors' models in files, so that a restart is not another warm-up.
//!
//! ```text
//! DIR.models/NAME.model: "FGMD", version (1), time of the models (8, little-endian), snapshot, CRC-32C (4)
//! ```
//! Promises: one model at a time is written, by a thread of its own, so that nobody waits for the card; each
//! once an hour and at a clean stop; a file that is damaged or of another version is a fresh start with a line in
//! the log. Never: a start that fails.

use std::fmt::Write as _;

use crossbeam_channel::{Sender, TrySendError, bounded};
use firmware_shared::checksum::crc32c;

use super::file::StateFile;
use crate::clock::Now;
use crate::config::Config;
use crate::score::Scorer;

const MAGIC: &[u8; 4] = b"FGMD";
/// Of the file around the snapshot, which has a version of its own.
const VERSION: u8 = 1;
const HEADER_LEN: usize = 13;
const CRC_LEN: usize = 4;
const STACK_LEN: usize = 128 * 1024;

/// One model and when it is due.
#[derive(Debug)]
struct Kept {
    name: String,
    file: StateFile,
    due_real_ms: u64,
}

/// The files of all models.
#[derive(Debug)]
pub(super) struct Models {
    period_ms: u64,
    kept: Vec<Kept>,
    writer: Option<Writer>,
}

#[derive(Debug)]
struct Writer {
    jobs: Sender<(StateFile, Vec<u8>)>,
    thread: std::thread::JoinHandle<()>,
}

impl Models {
    /// Reads what an earlier process kept, and tells the scorer.
    pub(super) fn open(config: &Config, scorer: &mut Scorer, now: Now) -> Self {
        let folder = StateFile::beside(&config.spool.dir, "models");
        let names: Vec<String> = scorer.kept_names().map(ToString::to_string).collect();
        let (count, period_ms) = (names.len() as u64, config.detector.snapshot_ms);
        let mut kept = Vec::new();
        for (at, name) in (1..).zip(names) {
            let file = folder.inside(&file_name(&name));
            restore(&file, &name, scorer, now);
            // One after the other, so that no hour has a moment of many writes.
            let due_real_ms = now.real_ms.saturating_add(period_ms * at / count.max(1));
            kept.push(Kept {
                name,
                file,
                due_real_ms,
            });
        }
        Self {
            period_ms,
            kept,
            writer: Writer::start(),
        }
    }

    /// Hands the model that is due to the writer, at most one.
    pub(super) fn turn(&mut self, now: Now, scorer: &mut Scorer) {
        let Some(writer) = &self.writer else {
            return;
        };
        let mut kept = self.kept.iter_mut();
        let is_due = |kept: &&mut Kept| kept.due_real_ms <= now.real_ms;
        if writer.jobs.is_full() {
            return;
        }
        let Some(kept) = kept.find(is_due) else {
            return;
        };
        kept.due_real_ms = now.real_ms.saturating_add(self.period_ms);
        let Some(bytes) = image(scorer, &kept.name, now) else {
            return;
        };
        if let Err(TrySendError::Disconnected(_)) = writer.jobs.try_send((kept.file.clone(), bytes))
        {
            self.writer = None;
        }
    }

    /// A clean stop: writes down what is not yet.
    pub(super) fn close(&mut self, now: Now, scorer: &mut Scorer) {
        if let Some(writer) = self.writer.take() {
            drop(writer.jobs);
            // A panic there would have ended the process.
            writer.thread.join().ok();
        }
        for kept in &self.kept {
            if let Some(bytes) = image(scorer, &kept.name, now) {
                write(&kept.file, &bytes);
            }
        }
    }
}

impl Writer {
    fn start() -> Option<Self> {
        let (jobs, todo) = bounded::<(StateFile, Vec<u8>)>(1);
        let thread = std::thread::Builder::new()
            .name("models".to_owned())
            .stack_size(STACK_LEN)
            .spawn(move || {
                for (file, bytes) in todo {
                    write(&file, &bytes);
                }
            });
        match thread {
            Ok(thread) => Some(Self { jobs, thread }),
            Err(error) => {
                tracing::warn!(%error, "no thread for the models; they are kept at a clean stop only");
                None
            }
        }
    }
}

fn write(file: &StateFile, bytes: &[u8]) {
    if let Err(error) = file.replace(bytes) {
        tracing::debug!(file = %file.path().display(), %error, "a model is not kept");
    }
}

/// The whole file of a model that has learned since it was last kept.
fn image(scorer: &mut Scorer, name: &str, now: Now) -> Option<Vec<u8>> {
    let model = scorer.keep(name)?;
    let time_ms = scorer.calendar().at(now.stamp_ms);
    let mut bytes = Vec::with_capacity(HEADER_LEN + model.len() + CRC_LEN);
    bytes.extend_from_slice(MAGIC);
    bytes.push(VERSION);
    bytes.extend_from_slice(&time_ms.to_le_bytes());
    bytes.extend_from_slice(&model);
    let crc = crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    Some(bytes)
}

fn restore(file: &StateFile, name: &str, scorer: &mut Scorer, now: Now) {
    let restored = match file.read() {
        Ok(None) => return,
        Ok(Some(bytes)) => open(&bytes).and_then(|(time_ms, model)| {
            scorer
                .restore(name, now.stamp_ms, time_ms, model)
                .map_err(|error| error.to_string())
        }),
        Err(error) => Err(error.to_string()),
    };
    if let Err(reason) = restored {
        let file = file.path().display();
        tracing::warn!(%file, sensor = name, reason, "the model begins anew");
    }
}

/// The time and the snapshot in a file.
fn open(bytes: &[u8]) -> Result<(u64, &[u8]), String> {
    let damaged = || "it is damaged".to_owned();
    let len = bytes.len().checked_sub(CRC_LEN).ok_or_else(damaged)?;
    let (covered, crc) = bytes.split_at_checked(len).ok_or_else(damaged)?;
    if crc != crc32c(covered).to_le_bytes() {
        return Err(damaged());
    }
    let (header, model) = covered.split_at_checked(HEADER_LEN).ok_or_else(damaged)?;
    let (magic, rest) = header.split_at_checked(4).ok_or_else(damaged)?;
    match (magic == MAGIC, rest) {
        (true, [VERSION, time @ ..]) => {
            let time = time.try_into().map_err(|_| damaged())?;
            Ok((u64::from_le_bytes(time), model))
        }
        (true, [version, ..]) => Err(format!("it has version {version}, known is {VERSION}")),
        _ => Err(damaged()),
    }
}

/// A name that every file system takes and that no two sensors share.
fn file_name(sensor: &str) -> String {
    let mut name = String::new();
    for byte in sensor.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => name.push(char::from(byte)),
            _ => write!(name, "%{byte:02X}").unwrap_or_default(),
        }
    }
    name.push_str(".model");
    name
}

#[cfg(test)]
mod tests {
    use firmware_shared::reading::{Reading, Score, Value};
    use firmware_shared::units::Celsius128;

    use super::*;

    fn at(ms: u64) -> Now {
        Now {
            real_ms: ms,
            stamp_ms: ms,
        }
    }

    fn config(folder: &std::path::Path) -> Config {
        let text = "[device]\nid = \"truck-001\"\n[broker]\nhost = \"b\"\n[detector]\nsnapshot_s = 60\n\
            [[bus]]\nname = \"i2c1\"\npath = \"/dev/i2c-1\"\n\
            [[bus.sensor]]\nname = \"Box 1/a\"\ndriver = \"tmp117\"\naddress = 0x48\n\
            [[bus.sensor]]\nname = \"box 1\"\ndriver = \"tmp117\"\naddress = 0x49\ndetector = \"large\"\n\
            [[bus.sensor]]\nname = \"gnss\"\ndriver = \"ublox\"\n";
        Config::parse(&folder.join("gateway.toml"), text).unwrap()
    }

    fn feed(scorer: &mut Scorer, minutes: std::ops::Range<u64>) -> Vec<crate::score::Verdict> {
        let mut verdicts = Vec::new();
        for minute in minutes {
            for sensor in [0, 1] {
                let counts = (minute * 37 % 256) as i32;
                verdicts.push(scorer.step(&Reading {
                    stamp_ms: minute * 60_000,
                    sensor,
                    score: Score::ORDINARY,
                    value: Value::Temperature(Celsius128(counts)),
                }));
            }
        }
        verdicts
    }

    #[test]
    fn a_model_goes_on_where_the_last_process_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let mut first = Scorer::new(config.sensors());
        let mut models = Models::open(&config, &mut first, at(0));
        feed(&mut first, 0..600);
        models.close(at(600 * 60_000), &mut first);
        let mut second = Scorer::new(config.sensors());
        Models::open(&config, &mut second, at(600 * 60_000));
        assert_eq!(feed(&mut second, 600..700), feed(&mut first, 600..700));
        let names: std::collections::BTreeSet<_> =
            std::fs::read_dir(folder.path().join("spool.models"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
        assert_eq!(
            names.iter().map(String::as_str).collect::<Vec<_>>(),
            ["%42ox%201%2Fa.model", "box%201.model"]
        );
    }

    #[test]
    fn a_damaged_or_foreign_file_is_a_fresh_start() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let mut first = Scorer::new(config.sensors());
        let mut models = Models::open(&config, &mut first, at(0));
        feed(&mut first, 0..100);
        models.close(at(0), &mut first);
        let file = folder.path().join("spool.models/box%201.model");
        let good = std::fs::read(&file).unwrap();
        let fresh = || {
            feed(&mut Scorer::new(config.sensors()), 0..3)
                .last()
                .copied()
        };
        let later_version = {
            let mut bytes = good[..good.len() - CRC_LEN].to_vec();
            bytes[4] = 9;
            let crc = crc32c(&bytes);
            [bytes, crc.to_le_bytes().to_vec()].concat()
        };
        let mut flipped = good.clone();
        flipped[200] ^= 1;
        for bad in [
            &good[..0],
            &good[..12],
            &good[..1000],
            &flipped,
            &later_version,
        ] {
            std::fs::write(&file, bad).unwrap();
            let mut second = Scorer::new(config.sensors());
            Models::open(&config, &mut second, at(0));
            assert_eq!(feed(&mut second, 0..3).last().copied(), fresh());
        }
    }

    #[test]
    fn each_model_is_written_once_in_its_time_and_not_when_nothing_was_learned() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let mut scorer = Scorer::new(config.sensors());
        let mut models = Models::open(&config, &mut scorer, at(0));
        let due: Vec<u64> = models.kept.iter().map(|kept| kept.due_real_ms).collect();
        assert_eq!(due, [30_000, 60_000], "one after the other");
        models.turn(at(30_000), &mut scorer);
        assert_eq!(scorer.keep("Box 1/a"), None, "nothing was learned");
        feed(&mut scorer, 0..2);
        models.turn(at(90_000), &mut scorer);
        assert_eq!(scorer.keep("Box 1/a"), None, "it was taken");
        assert!(scorer.keep("box 1").is_some(), "at most one in a turn");
    }
}
