//! `fleet-gateway gnss decode`: a receiver's log, or its output as it comes, as one JSON object per epoch.
//!
//! Promises: every epoch is printed as soon as it is complete; NMEA, UBX or both, with damage in between; what
//! the receiver did not say is null, and so is every coordinate of an epoch without a valid position. Never:
//! more memory for a longer log.

use std::io::{self, Read, Write};

use sensor_drivers::gnss::decode::GnssDecoder;
use sensor_drivers::gnss::{EpochReport, Fix};
use serde::Serialize;

/// One epoch, as it is printed.
#[derive(Debug, Serialize)]
struct Epoch {
    time: Option<String>,
    lat: Option<f64>,
    lon: Option<f64>,
    alt_m: Option<f64>,
    speed_mps: Option<f64>,
    course_deg: Option<f64>,
    fix: &'static str,
    valid: bool,
    h_acc_m: Option<f64>,
    satellites: Option<u8>,
}

/// An epoch without a position.
const NO_FIX: &str = "none";

/// Reads to the end and prints the epochs. Whoever closes the other end of a pipe has seen enough.
///
/// # Errors
/// What cannot be read, or written for another reason.
pub fn decode(mut input: impl Read, mut out: impl Write) -> io::Result<()> {
    match print_all(&mut input, &mut out) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn print_all(input: &mut impl Read, out: &mut impl Write) -> io::Result<()> {
    let mut decoder = GnssDecoder::new();
    let mut buffer = vec![0; 16 * 1024];
    let mut lines = Vec::new();
    loop {
        let len = match input.read(&mut buffer) {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let bytes = buffer.get(..len).unwrap_or_default();
        let mut take = |report: EpochReport| append(&mut lines, &report);
        match len {
            0 => decoder.finish(&mut take),
            _ => decoder.push(bytes, &mut take),
        }
        out.write_all(&lines)?;
        out.flush()?;
        lines.clear();
        if len == 0 {
            return Ok(());
        }
    }
}

fn append(lines: &mut Vec<u8>, report: &EpochReport) {
    // Numbers and fixed words: they always have a JSON form.
    if serde_json::to_writer(&mut *lines, &Epoch::from(report)).is_ok() {
        lines.push(b'\n');
    }
}

impl From<&EpochReport> for Epoch {
    fn from(report: &EpochReport) -> Self {
        let fix = report.fix();
        let milli = |value: Option<i32>| value.map(|value| f64::from(value) / 1000.0);
        Self {
            time: report.utc_ms().and_then(time),
            lat: fix.map(|fix| f64::from(fix.lat_1e7_deg) / 1e7),
            lon: fix.map(|fix| f64::from(fix.lon_1e7_deg) / 1e7),
            alt_m: milli(fix.and_then(|fix| fix.height_mm)),
            speed_mps: milli(fix.and_then(|fix| fix.speed_mm_s)),
            course_deg: fix
                .and_then(|fix| fix.course_1e5_deg)
                .map(|course| f64::from(course) / 1e5),
            fix: fix.map_or(NO_FIX, |fix: &Fix| fix.kind.name()),
            valid: fix.is_some(),
            h_acc_m: fix
                .and_then(|fix| fix.h_acc_mm)
                .map(|accuracy| f64::from(accuracy) / 1000.0),
            satellites: report.satellites,
        }
    }
}

fn time(utc_ms: i64) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(utc_ms).ok()?;
    Some(format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(body: &str) -> String {
        let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
        format!("${body}*{sum:02X}\r\n")
    }

    fn log() -> Vec<u8> {
        let mut log = b"# a comment with $GPRMC,quoted\n".to_vec();
        for (second, status, quality) in [(1, 'A', 1), (2, 'V', 0), (3, 'A', 1)] {
            let rmc = format!(
                "GPRMC,12000{second}.25,{status},5231.2345,N,01324.6789,E,10.0,84.4,300127,,,A"
            );
            let gga = format!(
                "GPGGA,12000{second}.25,5231.2345,N,01324.6789,E,{quality},07,1.1,34.5,M,,M,,"
            );
            log.extend(sentence(&rmc).bytes());
            log.extend([0xb5, 0x62, 0x01, 0xff, b'$', b'G']);
            log.extend(sentence(&gga).bytes());
        }
        log
    }

    fn decoded(log: &[u8]) -> Vec<serde_json::Value> {
        let mut out = Vec::new();
        decode(log, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn each_epoch_is_one_object_with_every_key() {
        let epochs = decoded(&log());
        assert_eq!(epochs.len(), 3, "{epochs:?}");
        let keys: Vec<_> = epochs[0].as_object().unwrap().keys().cloned().collect();
        let mut expected = vec![
            "time",
            "lat",
            "lon",
            "alt_m",
            "speed_mps",
            "course_deg",
            "fix",
            "valid",
            "h_acc_m",
            "satellites",
        ];
        expected.sort_unstable();
        assert_eq!(keys, expected);
        let first = &epochs[0];
        assert_eq!(first["time"], "2027-01-30T12:00:01.250Z");
        assert_eq!(first["lat"], 52.5205750);
        assert_eq!(first["lon"], 13.4113150);
        assert_eq!(first["alt_m"], 34.5);
        assert_eq!(first["speed_mps"], 5.144);
        assert_eq!(first["course_deg"], 84.4);
        assert_eq!(
            (&first["fix"], &first["valid"]),
            (&"3d".into(), &true.into())
        );
        assert_eq!(
            (&first["h_acc_m"], &first["satellites"]),
            (&().into(), &7.into())
        );
    }

    #[test]
    fn a_void_epoch_has_no_position_although_its_sentences_carry_one() {
        let void = &decoded(&log())[1];
        assert_eq!(void["valid"], false);
        assert_eq!(void["fix"], "none");
        assert_eq!(void["time"], "2027-01-30T12:00:02.250Z");
        for key in ["lat", "lon", "alt_m", "speed_mps", "course_deg", "h_acc_m"] {
            assert!(void[key].is_null(), "{key}");
        }
    }

    /// Hands out one byte at a time, and counts the lines that were there by then.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else {
                return Ok(0);
            };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    #[test]
    fn bytes_that_come_one_by_one_give_the_same_as_a_whole_file() {
        let (mut slow, mut whole) = (Vec::new(), Vec::new());
        decode(Slow(&log()), &mut slow).unwrap();
        decode(log().as_slice(), &mut whole).unwrap();
        assert_eq!(slow, whole);
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_no_failure() {
        assert!(decode(log().as_slice(), Closed).is_ok());
    }
}
