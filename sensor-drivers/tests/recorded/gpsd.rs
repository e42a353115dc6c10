//! gpsd's own decoding of the same logs, as an oracle that shares nothing with this crate.
//!
//! Of gpsd's TPV objects the last one with each `time` counts: gpsd reports several for an epoch,
//! as its sentences come in. `ublox-neo-m8l` is compared at its NAV-PVT epochs only, because gpsd
//! reports its faster messages, too. Compared are time (1 ms), latitude and longitude (1e-7
//! degree), speed (0.01 m/s), course (0.01 degree) and mode (1 no fix, 2 2D, 3 3D).
//!
//! Every difference that remains is in [`EXPLAINED`], with its count and its reason; another one
//! fails the test. `ORACLE.md` is written from what the test finds, and the test compares it with
//! the file; `FLEET_UPDATE_ORACLE=1` writes it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use libtest_mimic::Failed;
use sensor_drivers::gnss::decode::GnssDecoder;
use sensor_drivers::gnss::utc::Iso;
use sensor_drivers::gnss::{EpochReport, Fix, FixKind};

use super::promises::{Outcome, ensure};

/// What gpsd says of one time.
#[derive(Debug, Clone, Copy)]
struct Tpv {
    mode: i64,
    lat_deg: Option<f64>,
    lon_deg: Option<f64>,
    speed_m_s: Option<f64>,
    course_deg: Option<f64>,
}

/// In what an epoch differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// gpsd has a fix and we have none.
    FixMissing,
    /// We have a fix, and gpsd says that there is none.
    FixToo,
    /// We have a fix at a time that gpsd does not report.
    TimeUnknown,
    Mode,
    Position,
    Speed,
    Course,
    /// gpsd has no speed, or no course, where we have one.
    SpeedToo,
    CourseToo,
    SpeedMissing,
    CourseMissing,
}

impl Difference {
    fn words(self) -> &'static str {
        match self {
            Self::FixMissing => "fix missing here",
            Self::FixToo => "fix that gpsd does not have",
            Self::TimeUnknown => "fix at a time that gpsd does not report",
            Self::Mode => "mode",
            Self::Position => "position",
            Self::Speed => "speed",
            Self::Course => "course",
            Self::SpeedToo => "speed that gpsd does not have",
            Self::CourseToo => "course that gpsd does not have",
            Self::SpeedMissing => "speed missing here",
            Self::CourseMissing => "course missing here",
        }
    }
}

/// Log, difference, how often, why.
const EXPLAINED: [(&str, Difference, usize, &str); 8] = [
    (
        "gp-320fw-2019-04-07-coldboot",
        Difference::FixToo,
        1,
        "gpsd says mode 3 of this epoch at first, as we do; then void RMCs with impossible dates \
         come, and gpsd repeats the old time with mode 1, which is its last word on it",
    ),
    (
        "haicom-305N",
        Difference::TimeUnknown,
        1,
        "gpsd reports this epoch, but without a time, because it is the first after void ones",
    ),
    (
        "haicom-305N",
        Difference::Mode,
        1,
        "the GSA of this epoch says 2D and we follow it; gpsd stays with the 3D that it took from \
         a GGA with four satellites",
    ),
    (
        "neo-m8n",
        Difference::TimeUnknown,
        1,
        "the log ends before gpsd reports its last epoch",
    ),
    (
        "ublox-neo-m8l",
        Difference::TimeUnknown,
        1,
        "gpsd reports its first TPV after the first NAV-PVT, with a later time",
    ),
    ("ublox-neo-m8l", Difference::Position, 1, FASTER),
    ("ublox-neo-m8l", Difference::Speed, 1, FASTER),
    ("ublox-neo-m8l", Difference::Course, 1, FASTER),
];
const FASTER: &str = "gpsd's last TPV with the time of this NAV-PVT carries a faster (HNR) solution \
                      that came after it";
/// In this log gpsd adds 1024 weeks to every date.
const ROLLED_OVER: &str = "neo-m8n";
const WEEKS_1024_MS: i64 = 1024 * 7 * 86_400_000;

/// Epochs with a fix on both sides, for each log.
const COMPARED: [(&str, usize); 8] = [
    ("gp-320fw-2019-04-07-coldboot", 1),
    ("hab-gpspi", 3),
    ("haicom-305N", 67),
    ("mt3339", 30),
    ("navisys-gr8013", 35),
    ("neo-m8n", 22),
    ("ublox-8", 72),
    ("ublox-neo-m8l", 18),
];

pub(crate) fn agrees(data: &Path) -> Outcome {
    let mut found = BTreeMap::new();
    let mut said = Vec::new();
    let mut compared = Vec::new();
    for (log, _) in COMPARED {
        let ours = fixes(&data.join(format!("gpsd/{log}.log")));
        let mut theirs = tpvs(&data.join(format!("gpsd-oracle/{log}.log.chk")))?;
        if log == ROLLED_OVER {
            let back = |(utc_ms, tpv)| (utc_ms - WEEKS_1024_MS, tpv);
            theirs = theirs.into_iter().map(back).collect();
        }
        let mut both = 0;
        for (utc_ms, differences) in compare(&ours, &theirs, log == "ublox-neo-m8l") {
            both += usize::from(ours.contains_key(&utc_ms) && theirs.contains_key(&utc_ms));
            for difference in differences {
                *found.entry((log, difference)).or_insert(0) += 1;
                said.push(format!(
                    "{log} {} {difference:?}: {:?} / {:?}",
                    Iso(utc_ms),
                    ours.get(&utc_ms),
                    theirs.get(&utc_ms)
                ));
            }
        }
        compared.push((log, both));
    }
    let expected: BTreeMap<_, _> = EXPLAINED
        .iter()
        .map(|(log, difference, count, _)| ((*log, *difference), *count))
        .collect();
    ensure!(
        found == expected,
        "differences {found:#?}, explained {expected:#?}\n{}",
        said.join("\n")
    );
    ensure!(compared == COMPARED, "compared {compared:?}");
    check_table(&table())
}

/// `ORACLE.md`, from figures that have just been found to be so.
fn table() -> String {
    let mut text = String::from(
        "# Differences from gpsd\n\n\
         Written by `cargo test -p sensor-drivers --test recorded` with `FLEET_UPDATE_ORACLE=1`, and \
         compared by it\notherwise. gpsd's decoded JSON of the same logs is the oracle: the last timed TPV of \
         each time; of\n`ublox-neo-m8l` only the epochs of its NAV-PVT, because gpsd reports its faster \
         messages, too. Equal are\ntime (1 ms), latitude and longitude (1e-7 degree), speed (0.01 m/s), course \
         (0.01 degree) and mode\n(2 or 3 dimensions), except for what is listed.\n\n\
         | log | epochs with a fix on both sides |\n| --- | --- |\n",
    );
    for (log, both) in COMPARED {
        text += &format!("| {log} | {both} |\n");
    }
    text += &format!(
        "\nIn {ROLLED_OVER} gpsd takes the 2015 of the log for a week-number rollover and adds 1024 weeks; \
         they are\ntaken off again before the comparison.\n\n\
         | log | difference | epochs | why |\n| --- | --- | --- | --- |\n"
    );
    for (log, difference, count, why) in EXPLAINED {
        text += &format!("| {log} | {} | {count} | {why} |\n", difference.words());
    }
    text
}

fn check_table(expected: &str) -> Outcome {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ORACLE.md");
    if std::env::var("FLEET_UPDATE_ORACLE").is_ok_and(|update| update == "1") {
        fs::write(&path, expected)?;
    }
    let found = fs::read_to_string(&path)?;
    ensure!(
        found == expected,
        "ORACLE.md does not say what was found: run with FLEET_UPDATE_ORACLE=1 and look at the change"
    );
    Ok(())
}

fn compare(
    ours: &BTreeMap<i64, Fix>,
    theirs: &BTreeMap<i64, Tpv>,
    only_our_times: bool,
) -> Vec<(i64, Vec<Difference>)> {
    let mut times: Vec<i64> = ours.keys().copied().collect();
    if !only_our_times {
        times.extend(theirs.keys().filter(|utc_ms| !ours.contains_key(utc_ms)));
    }
    let verdict = |utc_ms: i64| {
        let differences = match (ours.get(&utc_ms), theirs.get(&utc_ms)) {
            (Some(fix), Some(tpv)) if tpv.mode >= 2 => fields(fix, tpv),
            (Some(_), Some(_)) => vec![Difference::FixToo],
            (Some(_), None) => vec![Difference::TimeUnknown],
            (None, Some(tpv)) if tpv.mode >= 2 => vec![Difference::FixMissing],
            (None, _) => Vec::new(),
        };
        (utc_ms, differences)
    };
    times.into_iter().map(verdict).collect()
}

fn fields(fix: &Fix, tpv: &Tpv) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mode = if fix.kind == FixKind::TwoD { 2 } else { 3 };
    if mode != tpv.mode {
        differences.push(Difference::Mode);
    }
    // Ours are whole 1e-7 degrees; gpsd's have nine decimals, or what the log had.
    let near = |ours: i32, theirs: Option<f64>| {
        theirs.is_some_and(|theirs| (f64::from(ours) - theirs * 1e7).abs() <= 1.0)
    };
    if !near(fix.lat_1e7_deg, tpv.lat_deg) || !near(fix.lon_1e7_deg, tpv.lon_deg) {
        differences.push(Difference::Position);
    }
    match (fix.speed_mm_s, tpv.speed_m_s) {
        (Some(ours), Some(theirs)) if (f64::from(ours) / 1e3 - theirs).abs() <= 0.01 => {}
        (Some(_), Some(_)) => differences.push(Difference::Speed),
        (Some(_), None) => differences.push(Difference::SpeedToo),
        (None, Some(_)) => differences.push(Difference::SpeedMissing),
        (None, None) => {}
    }
    match (fix.course_1e5_deg, tpv.course_deg) {
        (Some(ours), Some(theirs)) => {
            let apart = (f64::from(ours) / 1e5 - theirs).rem_euclid(360.0);
            if apart.min(360.0 - apart) > 0.01 {
                differences.push(Difference::Course);
            }
        }
        (Some(_), None) => differences.push(Difference::CourseToo),
        (None, Some(_)) => differences.push(Difference::CourseMissing),
        (None, None) => {}
    }
    differences
}

fn fixes(log: &Path) -> BTreeMap<i64, Fix> {
    let mut decoder = GnssDecoder::new();
    let mut fixes = BTreeMap::new();
    let mut sink = |report: EpochReport| {
        if let (Some(utc_ms), Some(fix)) = (report.utc_ms(), report.fix()) {
            fixes.insert(utc_ms, *fix);
        }
    };
    // With its comments, as a person hands the file over.
    let file = fs::read(log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
    for piece in file.chunks(61) {
        decoder.push(piece, &mut sink);
    }
    decoder.finish(&mut sink);
    fixes
}

fn tpvs(chk: &Path) -> Result<BTreeMap<i64, Tpv>, Failed> {
    let mut tpvs = BTreeMap::new();
    let text = String::from_utf8_lossy(&fs::read(chk)?).into_owned();
    for line in text
        .lines()
        .filter(|line| line.starts_with("{\"class\":\"TPV\""))
    {
        let tpv: serde_json::Value = serde_json::from_str(line)?;
        let number = |key: &str| tpv[key].as_f64();
        if let Some(time) = tpv["time"].as_str() {
            let said = Tpv {
                mode: tpv["mode"].as_i64().unwrap_or(0),
                lat_deg: number("lat"),
                lon_deg: number("lon"),
                speed_m_s: number("speed"),
                course_deg: number("track"),
            };
            tpvs.insert(utc_ms(time)?, said);
        }
    }
    ensure!(!tpvs.is_empty(), "{}: no TPV", chk.display());
    Ok(tpvs)
}

/// `2015-04-13T20:26:40.000Z`
fn utc_ms(time: &str) -> Result<i64, Failed> {
    let part = |from: usize, to: usize| -> Result<i64, Failed> { Ok(time[from..to].parse()?) };
    let (year, month) = (part(0, 4)?, part(5, 7)?);
    let long = [31, 0, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let months = (1..month).map(
        |month| match long[usize::try_from(month - 1).unwrap_or(0)] {
            0 if leap(year) => 29,
            0 => 28,
            days => days,
        },
    );
    let years = (1970..year).map(|year| if leap(year) { 366 } else { 365 });
    let days = years.sum::<i64>() + months.sum::<i64>() + part(8, 10)? - 1;
    let seconds = (part(11, 13)? * 60 + part(14, 16)?) * 60 + part(17, 19)?;
    Ok((days * 86_400 + seconds) * 1000 + part(20, 23)?)
}
