//! Recorded receivers through the whole way: every valid fix once, nothing else.

use std::path::Path;

use libtest_mimic::Trial;
use tests::fleet::{PATIENCE, Setup, receiver};
use tests::store::Row;
use tests::wait;

use crate::needs;
use crate::world::World;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        needs::recorded_data("real_input::nmea1_every_valid_fix_once", |data| {
            replay(&data.join("gnss/nmea-crate/nmea1.log"), nmea_fixes, 993)
        }),
        needs::recorded_data("real_input::ublox_glo_every_valid_fix_once", |data| {
            replay(&data.join("gnss/gpsd/ublox-glo.log"), nav_pvt_fixes, 1)
        }),
    ]
}

/// What the log says at one epoch, computed here and nowhere else.
#[derive(Debug, PartialEq, Eq)]
struct Fix {
    lat: i64,
    lon: i64,
}

fn replay(
    log: &Path,
    fixes: fn(&[u8]) -> anyhow::Result<Vec<Fix>>,
    at_least: usize,
) -> anyhow::Result<()> {
    let expected = fixes(&std::fs::read(log)?)?;
    anyhow::ensure!(
        expected.len() >= at_least,
        "the log has {} valid fixes",
        expected.len()
    );
    let setup = Setup {
        device: "truck-001".to_owned(),
        speed_x: 100,
        seed: 1,
        sensors: vec![receiver(&format!("replay = \"{}\"\n", log.display()))],
        broker: String::new(),
        spool: String::new(),
        more: String::new(),
    };
    let mut world = World::new(&[setup])?;
    world.start()?;
    let positions = "SELECT count(*) FROM readings WHERE kind = 'position'";
    wait::until_true("every valid fix is stored", PATIENCE * 3, || {
        world.vehicles[0].process()?.assert_running()?;
        Ok(world.store()?.number(positions)? >= expected.len() as i64)
    })?;
    world.stop_and_verify()?;
    let rows: Vec<Row> = world.store()?.telemetry("truck-001")?;
    let stored: Vec<Fix> = rows
        .iter()
        .filter(|row| row.kind == "position")
        .map(|row| Fix {
            lat: row.lat.unwrap_or(i64::MAX),
            lon: row.lon.unwrap_or(i64::MAX),
        })
        .collect();
    anyhow::ensure!(
        stored.len() == expected.len(),
        "{} stored, {} in the log",
        stored.len(),
        expected.len()
    );
    for (at, (stored, expected)) in stored.iter().zip(&expected).enumerate() {
        anyhow::ensure!(
            stored == expected,
            "fix {at}: stored {stored:?}, in the log {expected:?}"
        );
    }
    let faults = rows.iter().filter(|row| row.kind == "fault").count();
    anyhow::ensure!(
        faults > 0,
        "the log has epochs without a fix, and no fault record says so"
    );
    Ok(())
}

/// Fixes of an NMEA log: RMC status A and GGA quality above 0 of the same time.
fn nmea_fixes(bytes: &[u8]) -> anyhow::Result<Vec<Fix>> {
    let text = String::from_utf8_lossy(bytes);
    let mut fixes = Vec::new();
    let mut rmc: Option<(String, Fix)> = None;
    for line in text.lines().filter(|line| checksum_holds(line)) {
        let body = line
            .trim_start_matches('$')
            .split('*')
            .next()
            .unwrap_or_default();
        let fields: Vec<&str> = body.split(',').collect();
        match (fields[0].get(2..), fields.as_slice()) {
            (Some("RMC"), [_, time, "A", lat, north, lon, east, ..]) => {
                let fix = Fix {
                    lat: degrees(lat, 2, north)?,
                    lon: degrees(lon, 3, east)?,
                };
                rmc = Some(((*time).to_owned(), fix));
            }
            (Some("RMC"), _) => rmc = None,
            (Some("GGA"), [_, time, _, _, _, _, quality, ..]) => {
                if let Some((rmc_time, fix)) = rmc.take()
                    && rmc_time == *time
                    && *quality != "0"
                {
                    fixes.push(fix);
                }
            }
            _ => {}
        }
    }
    Ok(fixes)
}

fn checksum_holds(line: &str) -> bool {
    let Some((body, sum)) = line.strip_prefix('$').and_then(|line| line.split_once('*')) else {
        return false;
    };
    let computed = body.bytes().fold(0, |sum, byte| sum ^ byte);
    u8::from_str_radix(sum.trim_end(), 16) == Ok(computed)
}

/// ddmm.mmmm as 1e-7 degree, rounded half away from zero, in exact integers.
fn degrees(text: &str, degree_digits: usize, hemisphere: &str) -> anyhow::Result<i64> {
    let (degrees, minutes) = text.split_at(degree_digits);
    let (whole, fraction) = minutes.split_once('.').unwrap_or((minutes, ""));
    let scale = 10_i128.pow(u32::try_from(fraction.len())?);
    let minutes = whole.parse::<i128>()? * scale
        + if fraction.is_empty() {
            0
        } else {
            fraction.parse()?
        };
    let numerator = degrees.parse::<i128>()? * 60 * scale + minutes;
    let (numerator, denominator) = (numerator * 10_000_000, 60 * scale);
    let value = i64::try_from((2 * numerator + denominator) / (2 * denominator))?;
    Ok(if matches!(hemisphere, "S" | "W") {
        -value
    } else {
        value
    })
}

/// Fixes of a UBX log: NAV-PVT with gnssFixOK and a fix type of 2D, 3D, or GNSS with dead reckoning.
fn nav_pvt_fixes(bytes: &[u8]) -> anyhow::Result<Vec<Fix>> {
    let mut fixes = Vec::new();
    let mut at = 0;
    while let Some(frame) = bytes.get(at..).filter(|rest| rest.len() >= 8) {
        let len = usize::from(u16::from_le_bytes([frame[4], frame[5]]));
        let whole = frame
            .get(..len + 8)
            .filter(|frame| frame.starts_with(&[0xb5, 0x62]) && fletcher_holds(frame));
        let Some(frame) = whole else {
            at += 1;
            continue;
        };
        at += frame.len();
        let payload = &frame[6..6 + len];
        if frame[2..4] == [0x01, 0x07] && payload.len() >= 92 {
            let (fix_type, flags) = (payload[20], payload[21]);
            if (2..=4).contains(&fix_type) && flags & 1 == 1 {
                let word = |at: usize| -> anyhow::Result<i64> {
                    Ok(i64::from(i32::from_le_bytes(
                        payload[at..at + 4].try_into()?,
                    )))
                };
                fixes.push(Fix {
                    lat: word(28)?,
                    lon: word(24)?,
                });
            }
        }
    }
    Ok(fixes)
}

fn fletcher_holds(frame: &[u8]) -> bool {
    let (covered, sums) = frame[2..].split_at(frame.len() - 4);
    let (a, b) = covered.iter().fold((0u8, 0u8), |(a, b), byte| {
        let a = a.wrapping_add(*byte);
        (a, b.wrapping_add(a))
    });
    sums == [a, b]
}
