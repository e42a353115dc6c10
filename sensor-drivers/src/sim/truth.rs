//! The truth file: what the simulated chips handed out, one JSON object a line.
//!
//! Promises: a line is one `write` system call on an unbuffered file, made before the driver gets
//! the bytes, so what a killed process had been given is on record. The first line fixes virtual
//! time for every later process; a last line torn by a kill, whose bytes nobody got, goes when the
//! file is opened again. Never: a line from the code under test, or a rewritten one.
//!
//! ```text
//! {"scenario":1,"t0_virtual_ms":71000,"t0_real_ms":71000,"speed_x":60.0,"seed":7,
//!  "boot_id":"1f0c5d0e-6b2c-4f5e-9d0f-3c8a7b6e5d4c"}
//! {"replay_start_ms":71000,"address":66}
//! {"t_ms":72000,"chip":"tmp117","address":72,"raw":-2303}
//! {"t_ms":72000,"chip":"ublox","address":66,"n":0,"epoch":"2017-03-31T11:01:24.000Z","valid":true,"lat_1e7":550888498,"lon_1e7":389764554}
//! {"t_ms":73000,"chip":"ublox","address":66,"n":1,"epoch":null,"valid":false,"lat_1e7":null,"lon_1e7":null}
//! ```
//! `t_ms` is virtual boot time when the last byte was read, `n` counts the epochs of the source,
//! `epoch` is null where the receiver states no time. `raw` is what a thermometer's code says in
//! 1/128 degC; an `sht4x` adds `humidity_milli_percent`, an `mcp9600` `cold_raw`. What stands in a
//! register before the first conversion is no line.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::Deserialize;

use super::boot::SimBootId;
use super::bus::SimBusError;

/// A navigation epoch as the receiver handed it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochTruth {
    /// Ordinal in the replayed log or on the route.
    pub n: u64,
    /// The epoch's own time, if the receiver states one.
    pub label: Option<String>,
    /// Latitude and longitude in 1e-7 degree when the receiver says that they are valid.
    pub position: Option<(i64, i64)>,
}

/// The first line.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct TruthHeader {
    /// Format of the file: 1.
    pub scenario: u32,
    /// Virtual boot time at the start of the scenario.
    pub t0_virtual_ms: u64,
    /// Real boot time at the start of the scenario.
    pub t0_real_ms: u64,
    /// Virtual seconds per real second.
    pub speed_x: f64,
    /// Seed of the noise.
    pub seed: u64,
    /// The boot that the world is in.
    pub boot_id: Option<SimBootId>,
}

/// Where a receiver stood when the file was written last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverPast {
    /// Virtual time of the first read.
    pub start_ms: u64,
    /// The last epoch handed out whole, and when.
    pub last: Option<(u64, u64)>,
}

/// What an earlier process left.
#[derive(Debug, Clone, PartialEq)]
pub struct TruthPast {
    /// The first line.
    pub header: TruthHeader,
    receivers: Vec<(u8, ReceiverPast)>,
}

impl TruthPast {
    /// Where the receiver at `address` stood.
    #[must_use]
    pub fn receiver(&self, address: u8) -> Option<ReceiverPast> {
        self.receivers
            .iter()
            .find(|(at, _)| *at == address)
            .map(|(_, past)| *past)
    }

    fn note(&mut self, line: &Line) {
        let Some(address) = line.address else { return };
        if let Some(start_ms) = line.replay_start_ms {
            self.receivers.push((
                address,
                ReceiverPast {
                    start_ms,
                    last: None,
                },
            ));
        }
        if let (Some(n), Some(t_ms)) = (line.n, line.t_ms)
            && let Some((_, past)) = self.receivers.iter_mut().find(|(at, _)| *at == address)
        {
            past.last = Some((n, t_ms));
        }
    }
}

/// The fields of later lines that a restart needs.
#[derive(Debug, Deserialize)]
struct Line {
    address: Option<u8>,
    replay_start_ms: Option<u64>,
    n: Option<u64>,
    t_ms: Option<u64>,
}

/// The file, or none.
#[derive(Debug)]
pub struct TruthFile {
    file: Option<File>,
}

impl TruthFile {
    /// Nothing is recorded.
    #[must_use]
    pub fn none() -> Self {
        Self { file: None }
    }

    /// Opens the file for appending; when it exists and has a first line, what it says is the
    /// past.
    ///
    /// # Errors
    /// The file cannot be opened or read, or its first line is not a truth file's
    /// (`InvalidData`).
    pub fn open(path: &Path) -> io::Result<(Self, Option<TruthPast>)> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(path)?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines();
        let Some(first) = lines.next() else {
            return Ok((Self { file: Some(file) }, None));
        };
        let header = serde_json::from_str(first)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        // The driver never got what a line torn by a kill or a power cut would have told.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        match whole {
            Some(end) if end + 1 < bytes.len() => file.set_len(end as u64 + 1)?,
            Some(_) => {}
            None => file.write_all(b"\n")?,
        }
        let mut past = TruthPast {
            header,
            receivers: Vec::new(),
        };
        for line in lines.filter_map(|line| serde_json::from_str(line).ok()) {
            past.note(&line);
        }
        Ok((Self { file: Some(file) }, Some(past)))
    }

    /// Writes the first line.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn begin(&mut self, header: TruthHeader) -> Result<(), SimBusError> {
        let TruthHeader {
            scenario,
            t0_virtual_ms,
            t0_real_ms,
            speed_x,
            seed,
            boot_id,
        } = header;
        let boot_id = boot_id.map_or(String::new(), |id| format!(",\"boot_id\":\"{id}\""));
        self.line(format!(
            "{{\"scenario\":{scenario},\"t0_virtual_ms\":{t0_virtual_ms},\
             \"t0_real_ms\":{t0_real_ms},\"speed_x\":{speed_x:?},\"seed\":{seed}{boot_id}}}\n"
        ))
    }

    pub(super) fn receiver_start(&mut self, t_ms: u64, address: u8) -> Result<(), SimBusError> {
        self.line(format!(
            "{{\"replay_start_ms\":{t_ms},\"address\":{address}}}\n"
        ))
    }

    /// A conversion result in 1/128 degC as a chip handed it out, with more numbers beside it.
    pub(super) fn thermometer(
        &mut self,
        t_ms: u64,
        chip: &str,
        address: u8,
        raw: i32,
        more: &[(&str, i64)],
    ) -> Result<(), SimBusError> {
        let more: String = more
            .iter()
            .map(|(key, value)| format!(",\"{key}\":{value}"))
            .collect();
        self.line(format!(
            "{{\"t_ms\":{t_ms},\"chip\":\"{chip}\",\"address\":{address},\"raw\":{raw}{more}}}\n"
        ))
    }

    pub(super) fn epoch(
        &mut self,
        t_ms: u64,
        chip: &str,
        address: u8,
        epoch: &EpochTruth,
    ) -> Result<(), SimBusError> {
        let n = epoch.n;
        let label = epoch
            .label
            .as_ref()
            .map_or("null".into(), |label| format!("\"{label}\""));
        let valid = epoch.position.is_some();
        let [lat, lon] = match epoch.position {
            Some((lat, lon)) => [lat.to_string(), lon.to_string()],
            None => ["null".into(), "null".into()],
        };
        self.line(format!(
            "{{\"t_ms\":{t_ms},\"chip\":\"{chip}\",\"address\":{address},\"n\":{n},\
             \"epoch\":{label},\"valid\":{valid},\"lat_1e7\":{lat},\"lon_1e7\":{lon}}}\n"
        ))
    }

    fn line(&mut self, line: String) -> Result<(), SimBusError> {
        match &mut self.file {
            Some(file) => file
                .write_all(line.as_bytes())
                .map_err(|error| SimBusError::TruthFile(error.kind())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: TruthHeader = TruthHeader {
        scenario: 1,
        t0_virtual_ms: 5,
        t0_real_ms: 6,
        speed_x: 60.0,
        seed: 7,
        boot_id: Some(SimBootId([0xa5; 16])),
    };

    #[test]
    fn what_was_written_is_the_past_of_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("truth.jsonl");
        let (mut truth, past) = TruthFile::open(&path).unwrap();
        assert_eq!(past, None);
        truth.begin(HEADER).unwrap();
        truth.receiver_start(10, 66).unwrap();
        truth.thermometer(11, "tmp117", 72, -3, &[]).unwrap();
        let position = Some((-1, 2));
        let epoch = EpochTruth {
            n: 4,
            label: Some("tod:5".into()),
            position,
        };
        truth.epoch(12, "ublox", 66, &epoch).unwrap();
        let (_, past) = TruthFile::open(&path).unwrap();
        let past = past.unwrap();
        assert_eq!(past.header, HEADER);
        let receiver = ReceiverPast {
            start_ms: 10,
            last: Some((4, 12)),
        };
        assert_eq!(past.receiver(66), Some(receiver));
        assert_eq!(past.receiver(67), None);
        let text = std::fs::read_to_string(&path).unwrap();
        let third = "{\"t_ms\":11,\"chip\":\"tmp117\",\"address\":72,\"raw\":-3}";
        let fourth = "{\"t_ms\":12,\"chip\":\"ublox\",\"address\":66,\"n\":4,\"epoch\":\"tod:5\",\
                      \"valid\":true,\"lat_1e7\":-1,\"lon_1e7\":2}";
        assert_eq!(text.lines().skip(2).collect::<Vec<_>>(), [third, fourth]);
    }

    #[test]
    fn a_torn_last_line_goes_and_costs_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("truth.jsonl");
        let (mut truth, _) = TruthFile::open(&path).unwrap();
        truth.begin(HEADER).unwrap();
        truth.receiver_start(10, 66).unwrap();
        truth.line("{\"t_ms\":12,\"chip\":\"ubl".into()).unwrap();
        let (mut truth, _) = TruthFile::open(&path).unwrap();
        truth
            .epoch(
                13,
                "ublox",
                66,
                &EpochTruth {
                    n: 5,
                    label: None,
                    position: None,
                },
            )
            .unwrap();
        let (_, past) = TruthFile::open(&path).unwrap();
        assert_eq!(past.unwrap().receiver(66).unwrap().last, Some((5, 13)));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text.lines().count(),
            3,
            "the torn line is still there: {text}"
        );
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }

    #[test]
    fn another_file_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "not a truth file\n").unwrap();
        let error = TruthFile::open(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "not a truth file\n"
        );
    }
}
