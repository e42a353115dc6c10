//! A recorded receiver log, cut into navigation epochs.
//!
//! Promises: the bytes stay as recorded (only leading `#` comment lines are not receiver output);
//! each epoch knows where its last byte is, when it is due, and what it says. Reads the frames
//! with code of its own, on whole-file slices and text, so that the truth does not repeat a
//! mistake of the drivers. Never: a changed, added or reordered byte.
//!
//! Epochs follow the times in RMC, GGA and NAV-PVT. An epoch without a time is due one second
//! after the one before; so is one after a jump of more than 30 s or backwards.

use std::str;

use super::truth::EpochTruth;
use crate::gnss::utc::{DAY_MS, Date, Iso};

const STEP_MS: u64 = 1000;
const STEP_MS_MAX: u64 = 30_000;
const SAME_MS: i64 = 20;

/// One epoch of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEpoch {
    /// Offset behind the last byte of its last frame.
    pub end: usize,
    /// When it is due after the first epoch.
    pub due_ms: u64,
    /// What it says.
    pub truth: EpochTruth,
}

/// The log.
#[derive(Debug, Clone)]
pub struct RecordedLog {
    bytes: Vec<u8>,
    epochs: Vec<LogEpoch>,
    knows_ubx: bool,
}

impl RecordedLog {
    /// Cuts a log; `None` when there is no RMC, GGA or NAV-PVT in it to pace it by.
    #[must_use]
    pub fn parse(file: &[u8]) -> Option<Self> {
        let bytes = without_comments(file).to_vec();
        let mut cutter = Cutter::default();
        let mut at = 0;
        let mut knows_ubx = false;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let (said, len) = frame(rest).unwrap_or((None, 1));
            at += len;
            if let Some(said) = said {
                knows_ubx |= matches!(said, Said::Pvt { .. });
                cutter.take(said, at);
            }
        }
        let epochs = cutter.finish();
        (!epochs.is_empty()).then_some(Self {
            bytes,
            epochs,
            knows_ubx,
        })
    }

    /// The epochs in order.
    #[must_use]
    pub fn epochs(&self) -> &[LogEpoch] {
        &self.epochs
    }

    /// Whether NAV-PVT is among the frames.
    #[must_use]
    pub fn knows_ubx(&self) -> bool {
        self.knows_ubx
    }

    /// The bytes that arrive with epoch `n`: from the end of the one before to its own end.
    /// What follows the last epoch arrives with it.
    #[must_use]
    pub fn bytes_of(&self, n: usize) -> &[u8] {
        let start = match n.checked_sub(1) {
            Some(before) => self
                .epochs
                .get(before)
                .map_or(self.bytes.len(), |epoch| epoch.end),
            None => 0,
        };
        let end = if n + 1 < self.epochs.len() {
            self.epochs
                .get(n)
                .map_or(self.bytes.len(), |epoch| epoch.end)
        } else {
            self.bytes.len()
        };
        self.bytes.get(start..end).unwrap_or_default()
    }
}

fn without_comments(file: &[u8]) -> &[u8] {
    let mut rest = file;
    while rest.first() == Some(&b'#') {
        let line_len = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(rest.len(), |at| at + 1);
        rest = rest.get(line_len..).unwrap_or_default();
    }
    rest
}

/// What a frame says about an epoch.
#[derive(Debug, Clone)]
enum Said {
    Rmc {
        tod_ms: Option<i64>,
        date: Option<Date>,
        position: Option<(i64, i64)>,
    },
    Gga {
        tod_ms: Option<i64>,
        measured: bool,
    },
    Pvt {
        tod_ms: Option<i64>,
        label: String,
        position: Option<(i64, i64)>,
    },
}

impl Said {
    fn tod_ms(&self) -> Option<i64> {
        match self {
            Self::Rmc { tod_ms, .. } | Self::Gga { tod_ms, .. } | Self::Pvt { tod_ms, .. } => {
                *tod_ms
            }
        }
    }
}

/// A frame at the start of `rest` with a good checksum: what it says, and how long it is.
fn frame(rest: &[u8]) -> Option<(Option<Said>, usize)> {
    if rest.first() == Some(&b'$') {
        let star = rest.iter().take(252).position(|byte| *byte == b'*')?;
        let body = str::from_utf8(rest.get(1..star)?).ok()?;
        let digits = str::from_utf8(rest.get(star + 1..star + 3)?).ok()?;
        let sum = u8::from_str_radix(digits, 16).ok()?;
        let right = body.bytes().fold(0, |sum, byte| sum ^ byte) == sum;
        let plain = body
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && byte != b'$');
        return (right && plain).then(|| (sentence(body), star + 3));
    }
    let (header, tail) = rest.split_first_chunk::<6>()?;
    let [0xb5, 0x62, class, id, low, high] = *header else {
        return None;
    };
    let len = usize::from(low) + 256 * usize::from(high);
    let sums = tail.get(len..len + 2)?;
    let (mut a, mut b) = (0u32, 0u32);
    for byte in rest.get(2..len + 6)? {
        a += u32::from(*byte);
        b += a;
    }
    let right = sums
        .iter()
        .map(|sum| u32::from(*sum))
        .eq([a % 256, b % 256]);
    let payload = tail.get(..len)?;
    let said = if (class, id) == (1, 7) {
        nav_pvt(payload)
    } else {
        None
    };
    right.then_some((said, len + 8))
}

fn sentence(body: &str) -> Option<Said> {
    let fields: Vec<&str> = body.split(',').collect();
    let field = |index: usize| fields.get(index).copied().unwrap_or_default();
    let kind = field(0).get(2..).filter(|_| !body.starts_with('P'))?;
    let tod_ms = match field(1) {
        "" => None,
        text => Some(tod_ms(text)?),
    };
    match kind {
        "RMC" => {
            let active = match field(2) {
                "A" => true,
                "V" | "" => false,
                _ => return None,
            };
            let measured = !field(12).starts_with(['N', 'E', 'M', 'S']);
            let position = degrees_1e7(field(3), field(4))
                .zip(degrees_1e7(field(5), field(6)))
                .filter(|position| active && measured && *position != (0, 0));
            Some(Said::Rmc {
                tod_ms,
                date: date(field(9)),
                position,
            })
        }
        "GGA" => Some(Said::Gga {
            tod_ms,
            measured: matches!(field(6), "1" | "2" | "3" | "4" | "5"),
        }),
        _ => None,
    }
}

fn tod_ms(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let number: i64 = whole.parse().ok().filter(|_| whole.len() == 6)?;
    let (hour, minute, second) = (number / 10_000, number / 100 % 100, number % 100);
    let ms: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let exists = hour < 24 && minute < 60 && second < 61;
    exists.then_some(hour * 3_600_000 + minute * 60_000 + second * 1000 + ms)
}

fn date(text: &str) -> Option<Date> {
    let number: u32 = text.parse().ok().filter(|_| text.len() == 6)?;
    let year = number % 100;
    let year = if year < 80 { 2000 + year } else { 1900 + year };
    let (month, day) = (number / 100 % 100, number / 10_000);
    Date::new(
        year.try_into().ok()?,
        month.try_into().ok()?,
        day.try_into().ok()?,
    )
}

/// `dddmm.mmmm` by exact fractions, the nearest 1e-7 degree, halves away from zero.
fn degrees_1e7(text: &str, side: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let (degrees, minutes) = whole.split_at_checked(whole.len().checked_sub(2)?)?;
    let places = u32::try_from(fraction.len())
        .ok()
        .filter(|places| *places < 12)?;
    let sixty: i128 = 60 * 10i128.pow(places);
    let degrees: i128 = degrees.parse().ok()?;
    let minutes: i128 = format!("{minutes}{fraction}").parse().ok()?;
    let doubled = 2 * 10_000_000 * (degrees * sixty + minutes);
    let rounded = i64::try_from((doubled + sixty) / (2 * sixty)).ok()?;
    match side {
        "N" | "E" => Some(rounded),
        "S" | "W" => Some(-rounded),
        _ => None,
    }
}

fn nav_pvt(payload: &[u8]) -> Option<Said> {
    let number = |at: usize, len: usize| -> Option<u64> {
        let bytes = payload.get(at..at + len)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |sum, byte| sum * 256 + u64::from(*byte)),
        )
    };
    let signed = |at: usize| Some(i64::from(u32::try_from(number(at, 4)?).ok()?.cast_signed()));
    let known = number(11, 1)? % 4 == 3;
    let date = Date::new(
        number(4, 2)?.try_into().ok()?,
        number(6, 1)?.try_into().ok()?,
        number(7, 1)?.try_into().ok()?,
    );
    let clock_s = (number(8, 1)? * 60 + number(9, 1)?) * 60 + number(10, 1)?;
    let nano_ms = (signed(16)? as f64 / 1e6).round() as i64;
    let utc_ms = date
        .filter(|_| known)
        .map(|date| date.days() * DAY_MS + i64::try_from(clock_s).unwrap_or(0) * 1000 + nano_ms);
    let label = match utc_ms {
        Some(utc_ms) => Iso(utc_ms).to_string(),
        None => format!("itow:{}", number(0, 4)?),
    };
    let trusted = number(21, 1)? % 2 == 1 && matches!(number(20, 1)?, 2..=4);
    let usable = number(78, 1)?.is_multiple_of(2);
    let position = (signed(28)?, signed(24)?);
    let position = (trusted && usable && position != (0, 0)).then_some(position);
    Some(Said::Pvt {
        tod_ms: utc_ms.map(|utc_ms| utc_ms.rem_euclid(DAY_MS)),
        label,
        position,
    })
}

/// Groups what frames say into epochs.
#[derive(Default)]
struct Cutter {
    epochs: Vec<LogEpoch>,
    open: Vec<Said>,
    end: usize,
    last_timed: Option<(i64, u64)>,
    last_tod_ms: Option<i64>,
}

impl Cutter {
    fn take(&mut self, said: Said, end: usize) {
        let kind = std::mem::discriminant(&said);
        let joins = self
            .open
            .first()
            .is_some_and(|first| same(first.tod_ms(), said.tod_ms()))
            && self
                .open
                .iter()
                .all(|other| std::mem::discriminant(other) != kind);
        if !joins {
            self.close();
        }
        self.open.push(said);
        self.end = end;
    }

    fn finish(mut self) -> Vec<LogEpoch> {
        self.close();
        self.epochs
    }

    fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        let Some(tod_ms) = open.first().map(Said::tod_ms) else {
            return;
        };
        // A repeated epoch is the same epoch.
        if tod_ms.is_some()
            && same(tod_ms, self.last_tod_ms)
            && let Some(last) = self.epochs.last_mut()
        {
            last.end = self.end;
            return;
        }
        let due_ms = self.due_ms(tod_ms);
        self.last_tod_ms = tod_ms;
        let n = self.epochs.len() as u64;
        let truth = truth(n, tod_ms, &open);
        self.epochs.push(LogEpoch {
            end: self.end,
            due_ms,
            truth,
        });
    }

    fn due_ms(&mut self, tod_ms: Option<i64>) -> u64 {
        let Some(before_ms) = self.epochs.last().map(|epoch| epoch.due_ms) else {
            self.last_timed = tod_ms.map(|tod_ms| (tod_ms, 0));
            return 0;
        };
        let by_time = tod_ms
            .zip(self.last_timed)
            .and_then(|(tod_ms, (last_tod_ms, last_due))| {
                let passed = u64::try_from((tod_ms - last_tod_ms).rem_euclid(DAY_MS)).ok()?;
                let step = (last_due + passed).checked_sub(before_ms)?;
                (1..=STEP_MS_MAX)
                    .contains(&step)
                    .then_some(last_due + passed)
            });
        let due_ms = by_time.unwrap_or(before_ms + STEP_MS);
        if let Some(tod_ms) = tod_ms {
            self.last_timed = Some((tod_ms, due_ms));
        }
        due_ms
    }
}

fn same(a: Option<i64>, b: Option<i64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => {
            let apart = (a - b).rem_euclid(DAY_MS);
            apart.min(DAY_MS - apart) <= SAME_MS
        }
        (None, None) => true,
        _ => false,
    }
}

fn truth(n: u64, tod_ms: Option<i64>, open: &[Said]) -> EpochTruth {
    let mut label = tod_ms.map(|tod_ms| format!("tod:{tod_ms}"));
    let mut position = None;
    let mut measured = true;
    for said in open {
        match said {
            Said::Rmc {
                date, position: at, ..
            } => {
                position = *at;
                if let (Some(date), Some(tod_ms)) = (date, tod_ms) {
                    label = Some(Iso(date.days() * DAY_MS + tod_ms).to_string());
                }
            }
            Said::Gga {
                measured: quality, ..
            } => measured = *quality,
            Said::Pvt {
                label, position, ..
            } => {
                return EpochTruth {
                    n,
                    label: Some(label.clone()),
                    position: *position,
                };
            }
        }
    }
    EpochTruth {
        n,
        label,
        position: position.filter(|_| measured),
    }
}

#[cfg(test)]
mod tests;
