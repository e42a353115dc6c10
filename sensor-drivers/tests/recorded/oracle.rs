//! An independent reading of a recorded log: whole file, text and floating point where the
//! drivers use streams and integers.

use std::fs;
use std::path::Path;

/// A frame with a good checksum.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OracleFrame {
    Nmea(String),
    Ubx(Vec<u8>),
}

/// A position that the log calls valid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct OracleFix {
    pub(crate) lat_deg: f64,
    pub(crate) lon_deg: f64,
    pub(crate) height_m: Option<f64>,
    pub(crate) speed_m_s: Option<f64>,
    pub(crate) course_deg: Option<f64>,
    pub(crate) satellites: Option<u32>,
}

pub(crate) fn receiver_output(path: &Path) -> Vec<u8> {
    let file = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut start = 0;
    while file.get(start) == Some(&b'#') {
        start += file[start..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(file.len(), |at| at + 1);
    }
    file[start..].to_vec()
}

/// Left to right: at each place a sentence, a binary frame of up to 3072 bytes, or a skipped byte.
pub(crate) fn frames(bytes: &[u8]) -> Vec<OracleFrame> {
    let mut frames = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match sentence(&bytes[at..]).or_else(|| binary(&bytes[at..])) {
            Some((frame, len)) => {
                frames.push(frame);
                at += len;
            }
            None => at += 1,
        }
    }
    frames
}

fn sentence(rest: &[u8]) -> Option<(OracleFrame, usize)> {
    let window = &rest[..rest.len().min(254)];
    let star = window
        .iter()
        .position(|byte| *byte == b'*')
        .filter(|_| rest[0] == b'$')?;
    let body = std::str::from_utf8(&rest[1..star]).ok()?;
    let sum =
        u8::from_str_radix(std::str::from_utf8(rest.get(star + 1..star + 3)?).ok()?, 16).ok()?;
    let plain = body.chars().all(|c| (' '..='~').contains(&c) && c != '$') && body.len() <= 250;
    let right = body.bytes().fold(0, |x, byte| x ^ byte) == sum;
    (plain && right).then(|| (OracleFrame::Nmea(body.into()), star + 3))
}

fn binary(rest: &[u8]) -> Option<(OracleFrame, usize)> {
    if !rest.starts_with(&[0xb5, 0x62]) || rest.len() < 8 {
        return None;
    }
    let end = 8 + usize::from(rest[4]) + 256 * usize::from(rest[5]);
    let summed = rest.get(2..end - 2)?;
    // Fletcher in closed form: the second sum weighs each byte by how many sums it is in.
    let a: u64 = summed.iter().map(|byte| u64::from(*byte)).sum();
    let weights = (1..=summed.len() as u64).rev();
    let b: u64 = summed
        .iter()
        .zip(weights)
        .map(|(byte, weight)| u64::from(*byte) * weight)
        .sum();
    let right = rest.get(end - 2..end)? == [(a % 256) as u8, (b % 256) as u8] && end <= 3072;
    right.then(|| (OracleFrame::Ubx(rest[..end].to_vec()), end))
}

/// The verdict of each epoch: RMC and GGA of one time together, or NAV-PVT alone.
pub(crate) fn epochs(frames: &[OracleFrame]) -> Vec<Option<OracleFix>> {
    let mut epochs = Vec::new();
    let mut open: Vec<Vec<String>> = Vec::new();
    // Epochs that ended since the last GSA that said 2D, and whether it had said so when the open
    // epoch had all its sentences.
    let (mut flat_ago, mut flat): (usize, Option<bool>) = (9, None);
    for frame in frames {
        match frame {
            OracleFrame::Ubx(frame) if frame[2..4] == [1, 7] => epochs.push(nav_pvt(&frame[6..])),
            OracleFrame::Ubx(_) => {}
            OracleFrame::Nmea(body) => {
                let fields: Vec<String> = body.split(',').map(String::from).collect();
                let kind = fields[0].get(2..).unwrap_or_default().to_string();
                if kind == "GSA" && !body.starts_with('P') {
                    match fields[2].as_str() {
                        "2" => flat_ago = 0,
                        "1" | "3" => flat_ago = 9,
                        _ => {}
                    }
                }
                let wanted = !body.starts_with('P') && (kind == "RMC" || kind == "GGA");
                if !wanted {
                    continue;
                }
                let joins = open
                    .iter()
                    .all(|other| other[1] == fields[1] && !other[0].ends_with(kind.as_str()));
                if !joins {
                    epochs.push(nmea(&open, flat.unwrap_or(flat_ago == 0)));
                    open.clear();
                    flat = None;
                    flat_ago += 1;
                }
                open.push(fields);
                if open.len() == 2 {
                    flat = Some(flat_ago == 0);
                }
            }
        }
    }
    if !open.is_empty() {
        epochs.push(nmea(&open, flat.unwrap_or(flat_ago == 0)));
    }
    epochs
}

fn nmea(sentences: &[Vec<String>], flat: bool) -> Option<OracleFix> {
    let of_kind = |kind: &str| sentences.iter().find(|fields| fields[0].ends_with(kind));
    let (rmc, gga) = (of_kind("RMC")?, of_kind("GGA"));
    let quality = gga.map_or("1", |gga| gga[6].as_str());
    let mode = rmc.get(12).map_or("A", String::as_str);
    let valid = rmc[2] == "A"
        && ["1", "2", "3", "4", "5"].contains(&quality)
        && !["N", "E", "M", "S"].contains(&mode);
    let number = |text: &String| text.parse::<f64>().ok();
    valid.then(|| OracleFix {
        lat_deg: degrees(&rmc[3], &rmc[4]),
        lon_deg: degrees(&rmc[5], &rmc[6]),
        height_m: gga.filter(|_| !flat).and_then(|gga| number(&gga[9])),
        speed_m_s: number(&rmc[7]).map(|knots| knots * 1852.0 / 3600.0),
        course_deg: number(&rmc[8]),
        satellites: gga.and_then(|gga| gga[7].parse().ok()),
    })
}

fn degrees(text: &str, side: &str) -> f64 {
    let point = text.find('.').unwrap_or(text.len());
    let degrees: f64 = text[..point - 2].parse().unwrap();
    let minutes: f64 = text[point - 2..].parse().unwrap();
    let value = degrees + minutes / 60.0;
    if side == "S" || side == "W" {
        -value
    } else {
        value
    }
}

fn nav_pvt(payload: &[u8]) -> Option<OracleFix> {
    let number = |at: usize| {
        f64::from(i32::from_le_bytes([
            payload[at],
            payload[at + 1],
            payload[at + 2],
            payload[at + 3],
        ]))
    };
    let fix_type = payload[20];
    let valid = payload[21] & 1 == 1 && (2..=4).contains(&fix_type);
    valid.then(|| OracleFix {
        lat_deg: number(28) / 1e7,
        lon_deg: number(24) / 1e7,
        height_m: (fix_type != 2).then(|| number(36) / 1e3),
        speed_m_s: Some(number(60) / 1e3),
        course_deg: Some(number(64) / 1e5),
        satellites: Some(u32::from(payload[23])),
    })
}
