//! A generated drive: the source of a simulated receiver without a recorded log.
//!
//! Promises: epoch `n` is a function of the settings and the seed, one epoch a second; without
//! reception the coordinate fields keep the last position beside flags that say "not valid", as
//! receivers do. Never: a jump that a vehicle could not make.

use super::{Window, random};
use crate::gnss::utc::DAY_MS;
use crate::ubx::checksum;

const METRES_PER_DEGREE: f64 = 111_320.0;
/// 1980-01-06, the start of GPS time.
const GPS_EPOCH_UTC_MS: i64 = 315_964_800_000;
const LEAP_MS: i64 = 18_000;
const WEEK_MS: i64 = 7 * DAY_MS;

/// Settings of a drive.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteSettings {
    /// Where it begins.
    pub start_lat_deg: f64,
    /// Where it begins.
    pub start_lon_deg: f64,
    /// Speed on the open road.
    pub cruise_m_s: f64,
    /// Seconds without a fix, and without UTC, at the beginning.
    pub cold_start_s: u64,
    /// Spans of scenario time without a fix.
    pub tunnels: Vec<Window>,
    /// UTC of the scenario's start.
    pub start_utc_ms: i64,
    /// Seed of the scenario.
    pub seed: u64,
}

/// One epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RouteEpoch {
    /// UTC, known to the receiver after the cold start.
    pub utc_ms: i64,
    /// Whether the receiver knows UTC.
    pub time_known: bool,
    /// Whether the receiver has a fix.
    pub fix: bool,
    /// Latitude in 1e-7 degree.
    pub lat_1e7_deg: i32,
    /// Longitude in 1e-7 degree.
    pub lon_1e7_deg: i32,
    height_mm: i32,
    speed_mm_s: i32,
    course_1e5_deg: i32,
}

/// The drive. Steps forward only.
#[derive(Debug, Clone)]
pub struct Route {
    settings: RouteSettings,
    next_n: u64,
    lat_deg: f64,
    lon_deg: f64,
    speed_m_s: f64,
    course_deg: f64,
    shown: (i32, i32),
}

impl Route {
    /// A drive at its first epoch.
    #[must_use]
    pub fn new(settings: RouteSettings) -> Self {
        let (lat_deg, lon_deg) = (settings.start_lat_deg, settings.start_lon_deg);
        let course_deg = 360.0 * random::uniform(settings.seed, 0, 0);
        let shown = (0, 0);
        Self {
            settings,
            next_n: 0,
            lat_deg,
            lon_deg,
            speed_m_s: 0.0,
            course_deg,
            shown,
        }
    }

    /// Number of the epoch that comes next.
    #[must_use]
    pub fn next_n(&self) -> u64 {
        self.next_n
    }

    /// Drives on for a second and returns the epoch at its end.
    pub fn step(&mut self) -> RouteEpoch {
        let n = self.next_n;
        self.next_n += 1;
        self.drive(n);
        let at_ms = n * 1000;
        let time_known = n >= self.settings.cold_start_s;
        let in_tunnel = self
            .settings
            .tunnels
            .iter()
            .any(|tunnel| tunnel.contains(at_ms));
        let fix = time_known && !in_tunnel;
        if fix {
            self.shown = (degrees_1e7(self.lat_deg), degrees_1e7(self.lon_deg));
        }
        RouteEpoch {
            utc_ms: self.settings.start_utc_ms + n as i64 * 1000,
            time_known,
            fix,
            lat_1e7_deg: self.shown.0,
            lon_1e7_deg: self.shown.1,
            height_mm: 120_000 + (3000.0 * (n as f64 / 90.0).sin()).round() as i32,
            speed_mm_s: (self.speed_m_s * 1000.0).round() as i32,
            course_1e5_deg: (self.course_deg * 1e5).round() as i32 % 36_000_000,
        }
    }

    fn drive(&mut self, n: u64) {
        let Self { settings, .. } = self;
        // One minute in eight the vehicle stands, at a light or at a customer's ramp.
        let stands = random::hash(settings.seed, 1, n / 60).is_multiple_of(8);
        let wish_m_s = if stands { 0.0 } else { settings.cruise_m_s };
        self.speed_m_s += (wish_m_s - self.speed_m_s).clamp(-2.0, 1.2);
        let turn_deg = 4.0 * random::normal(settings.seed, 2, n) * (self.speed_m_s / 10.0).min(1.0);
        self.course_deg = (self.course_deg + turn_deg).rem_euclid(360.0);
        let (sin, cos) = self.course_deg.to_radians().sin_cos();
        self.lat_deg += self.speed_m_s * cos / METRES_PER_DEGREE;
        let shrink = self.lat_deg.to_radians().cos().max(0.01);
        self.lon_deg += self.speed_m_s * sin / (METRES_PER_DEGREE * shrink);
        // The drive turns round before a pole or the date line.
        if self.lat_deg.abs() > 80.0 || self.lon_deg.abs() > 179.9 {
            self.course_deg = (self.course_deg + 180.0).rem_euclid(360.0);
        }
    }
}

fn degrees_1e7(deg: f64) -> i32 {
    (deg * 1e7).round() as i32
}

impl RouteEpoch {
    /// GPS time of week.
    #[must_use]
    pub fn itow_ms(&self) -> u32 {
        u32::try_from((self.utc_ms - GPS_EPOCH_UTC_MS + LEAP_MS).rem_euclid(WEEK_MS)).unwrap_or(0)
    }

    /// The epoch as a NAV-PVT frame.
    #[must_use]
    pub fn nav_pvt(&self) -> Vec<u8> {
        let (year, month, day, tod_s) = self.civil();
        let mut frame = vec![0xb5, 0x62, 0x01, 0x07, 92, 0];
        frame.extend(self.itow_ms().to_le_bytes());
        frame.extend(year.to_le_bytes());
        frame.extend([month, day]);
        frame.extend([tod_s / 3600, tod_s / 60 % 60, tod_s % 60].map(|part| part as u8));
        frame.push(if self.time_known { 0x07 } else { 0x00 });
        let t_acc_ns: u32 = if self.time_known { 40 } else { u32::MAX };
        frame.extend(t_acc_ns.to_le_bytes());
        frame.extend([0; 4]);
        frame.extend(if self.fix {
            [3, 1, 0, 11]
        } else {
            [0, 0, 0, 0]
        });
        for value in [
            self.lon_1e7_deg,
            self.lat_1e7_deg,
            self.height_mm + 46_000,
            self.height_mm,
        ] {
            frame.extend(value.to_le_bytes());
        }
        let h_acc_mm: u32 = if self.fix { 2500 } else { u32::MAX };
        frame.extend(h_acc_mm.to_le_bytes());
        frame.extend([0; 16]);
        frame.extend(self.speed_mm_s.to_le_bytes());
        frame.extend(self.course_1e5_deg.to_le_bytes());
        frame.extend([0; 8]);
        frame.extend(if self.fix { 150u16 } else { 9999 }.to_le_bytes());
        frame.extend([0; 14]);
        let sums = checksum(frame.get(2..).unwrap_or_default());
        frame.extend(sums);
        frame
    }

    /// The epoch as RMC and GGA, with seven decimals of a minute, which is exact.
    #[must_use]
    pub fn sentences(&self) -> Vec<u8> {
        let (year, month, day, tod_s) = self.civil();
        let time = match self.time_known {
            true => format!(
                "{:02}{:02}{:02}.00",
                tod_s / 3600,
                tod_s / 60 % 60,
                tod_s % 60
            ),
            false => String::new(),
        };
        let (rmc, gga) = if self.fix {
            let place = format!(
                "{},{}",
                minutes(self.lat_1e7_deg, 2, ['N', 'S']),
                minutes(self.lon_1e7_deg, 3, ['E', 'W'])
            );
            let knots = f64::from(self.speed_mm_s) * 0.0036 / 1.852;
            let course = f64::from(self.course_1e5_deg) / 1e5;
            let height = f64::from(self.height_mm) / 1000.0;
            let date = format!("{day:02}{month:02}{:02}", year % 100);
            (
                format!("GNRMC,{time},A,{place},{knots:.3},{course:.2},{date},,,A"),
                format!("GNGGA,{time},{place},1,11,0.90,{height:.1},M,46.0,M,,"),
            )
        } else {
            (
                format!("GNRMC,{time},V,,,,,,,,,,N"),
                format!("GNGGA,{time},,,,,0,00,99.99,,,,,,"),
            )
        };
        let mut bytes = sentence(&rmc);
        bytes.extend(sentence(&gga));
        bytes
    }

    fn civil(&self) -> (u16, u8, u8, u32) {
        let text = crate::gnss::utc::Iso(self.utc_ms).to_string();
        let part = |from: usize, to: usize| text.get(from..to).and_then(|t| t.parse().ok());
        let [year, month, day] = [part(0, 4), part(5, 7), part(8, 10)];
        let tod_s = u32::try_from(self.utc_ms.rem_euclid(DAY_MS) / 1000).unwrap_or(0);
        (
            year.unwrap_or(2000),
            month.unwrap_or(1) as u8,
            day.unwrap_or(1) as u8,
            tod_s,
        )
    }
}

fn minutes(value_1e7: i32, degree_digits: usize, sides: [char; 2]) -> String {
    let [positive, negative] = sides;
    let side = if value_1e7 < 0 { negative } else { positive };
    let magnitude = u64::from(value_1e7.unsigned_abs());
    let (degrees, minutes_1e7) = (magnitude / 10_000_000, magnitude % 10_000_000 * 60);
    let (whole, fraction) = (minutes_1e7 / 10_000_000, minutes_1e7 % 10_000_000);
    format!("{degrees:0degree_digits$}{whole:02}.{fraction:07},{side}")
}

fn sentence(body: &str) -> Vec<u8> {
    let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
    format!("${body}*{sum:02X}\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nmea::{self, Sentence};
    use crate::ubx::NavPvt;

    fn settings() -> RouteSettings {
        RouteSettings {
            start_lat_deg: -33.9,
            start_lon_deg: 151.2,
            cruise_m_s: 22.0,
            cold_start_s: 30,
            tunnels: vec![Window {
                from_ms: 100_000,
                to_ms: 140_000,
            }],
            start_utc_ms: 1_799_049_600_000,
            seed: 5,
        }
    }

    #[test]
    fn both_languages_say_the_same_epoch() {
        let mut route = Route::new(settings());
        for n in 0..600u64 {
            let epoch = route.step();
            let frame = epoch.nav_pvt();
            assert_eq!(frame.len(), 100);
            let pvt = NavPvt::decode(&frame[6..98]).unwrap();
            let fix = n >= 30 && !(100..140).contains(&n);
            assert_eq!((pvt.fix_ok, pvt.fix_type == 3), (fix, fix), "epoch {n}");
            assert_eq!(pvt.utc_ms.is_some(), n >= 30);
            let text = epoch.sentences();
            let line = text.split(|byte| *byte == b'*').next().unwrap();
            let Sentence::Rmc(rmc) = nmea::parse(&line[1..]) else {
                panic!("no RMC")
            };
            assert_eq!(rmc.active, fix);
            if fix {
                assert_eq!(rmc.position, Some((pvt.lat_1e7_deg, pvt.lon_1e7_deg)));
                assert_eq!(rmc.utc_ms(), pvt.utc_ms);
                assert_eq!(pvt.utc_ms, Some(1_799_049_600_000 + n as i64 * 1000));
                assert!((rmc.speed_mm_s.unwrap() - pvt.speed_mm_s).abs() <= 1);
            }
        }
    }

    #[test]
    fn a_drive_moves_like_a_vehicle_and_repeats_with_its_seed() {
        let (mut route, mut again) = (Route::new(settings()), Route::new(settings()));
        let mut last: Option<RouteEpoch> = None;
        let mut moved = 0;
        for _ in 0..1000 {
            let epoch = route.step();
            assert_eq!(epoch, again.step());
            if let Some(last) = last.filter(|last| last.fix && epoch.fix) {
                let step = (epoch.lat_1e7_deg - last.lat_1e7_deg).abs();
                assert!(
                    step <= 2000,
                    "22 m/s is 1976e-7 degree a second, not {step}"
                );
                moved += i32::from(step > 0);
            }
            last = Some(epoch);
        }
        assert!(moved > 500);
        let other = Route::new(RouteSettings {
            seed: 6,
            ..settings()
        });
        assert_ne!(other.course_deg, Route::new(settings()).course_deg);
    }
}
