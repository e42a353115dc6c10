//! One frame or sentence read by us and by the crates `ublox` and `nmea`. Both work in floating
//! point, so equal means equal in our integer units.

use nmea::ParseResult;
use nmea::sentences::{FixType, rmc::RmcStatusOfFix};
use sensor_drivers::nmea::{self as ours, Gga, Rmc, Sentence};
use sensor_drivers::ubx::NavPvt;
use ublox::proto23::{PacketRef, Proto23};
use ublox::{FixedBuffer, Parser, ParserBuilder, UbxPacket};

/// How much of each kind was compared.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Compared {
    pub(crate) nav_pvt: u32,
    pub(crate) rmc: u32,
    pub(crate) gga: u32,
    pub(crate) positions: u32,
    /// Sentences that `nmea` refuses and we read.
    pub(crate) refused: u32,
}

/// The first field that differs.
fn first_difference<const N: usize>(fields: [(&'static str, bool); N]) -> Option<&'static str> {
    fields
        .into_iter()
        .find(|(_, same)| !same)
        .map(|(name, _)| name)
}

fn near(integer: i32, float: f64) -> bool {
    (f64::from(integer) - float).abs() <= 0.500_1
}

/// What differs in a frame, if it is a NAV-PVT and anything does.
pub(crate) fn ubx(bytes: &[u8], compared: &mut Compared) -> Option<&'static str> {
    // The crate knows the 92 bytes of protocol 15 and later, and no shorter ones.
    if bytes[2..4] != [1, 7] || bytes.len() != 100 {
        return None;
    }
    let pvt = NavPvt::decode(&bytes[6..98])?;
    let mut parser: Parser<FixedBuffer<4096>, Proto23> = ParserBuilder::new()
        .with_protocol::<Proto23>()
        .with_buffer(FixedBuffer::new());
    let mut packets = parser.consume_ubx(bytes);
    let Some(Ok(UbxPacket::Proto23(PacketRef::NavPvt(other)))) = packets.next() else {
        return Some("no NAV-PVT");
    };
    compared.nav_pvt += 1;
    compared.positions += u32::from(pvt.fix_ok);
    first_difference([
        ("itow", pvt.itow_ms == other.itow()),
        ("latitude", near(pvt.lat_1e7_deg, other.latitude() * 1e7)),
        ("longitude", near(pvt.lon_1e7_deg, other.longitude() * 1e7)),
        ("height", near(pvt.height_msl_mm, other.height_msl() * 1e3)),
        ("speed", near(pvt.speed_mm_s, other.ground_speed_2d() * 1e3)),
        (
            "course",
            near(pvt.course_1e5_deg, other.heading_motion() * 1e5),
        ),
        (
            "accuracy",
            (f64::from(pvt.h_acc_mm) - other.horizontal_accuracy() * 1e3).abs() < 0.5,
        ),
        ("pdop", near(i32::from(pvt.pdop_x100), other.pdop() * 1e2)),
        ("satellites", pvt.satellites == other.num_satellites()),
        ("fix type", pvt.fix_type == other.fix_type_raw()),
        ("ok", pvt.fix_ok == (other.flags_raw() & 1 == 1)),
        ("time accuracy", pvt.t_acc_ns == other.time_accuracy()),
    ])
}

/// What differs in a sentence, if it is an RMC or GGA and anything does.
pub(crate) fn sentence(body: &str, compared: &mut Compared) -> Option<&'static str> {
    let parsed = ours::parse(body.as_bytes());
    if !matches!(parsed, Sentence::Rmc(_) | Sentence::Gga(_)) {
        return None;
    }
    let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
    let line = format!("${body}*{sum:02X}");
    match (parsed, nmea::parse_str(&line)) {
        (Sentence::Rmc(rmc), Ok(ParseResult::RMC(other))) => {
            compared.rmc += 1;
            compared.positions += u32::from(rmc.position.is_some());
            let speed_m_s = other
                .speed_over_ground
                .map(|knots| f64::from(knots) * 1.852 / 3.6);
            same_rmc(&rmc, &other, speed_m_s)
        }
        (Sentence::Gga(gga), Ok(ParseResult::GGA(other))) => {
            compared.gga += 1;
            compared.positions += u32::from(gga.position.is_some());
            same_gga(&gga, &other)
        }
        (_, Ok(_)) => Some("another kind"),
        (_, Err(_)) => {
            compared.refused += 1;
            None
        }
    }
}

fn same_position(ours: Option<(i32, i32)>, theirs: (Option<f64>, Option<f64>)) -> bool {
    match (ours, theirs) {
        (Some((lat, lon)), (Some(lat_deg), Some(lon_deg))) => {
            near(lat, lat_deg * 1e7) && near(lon, lon_deg * 1e7)
        }
        (None, (None, _) | (_, None)) => true,
        _ => false,
    }
}

/// `nmea` keeps these as 32-bit floats: seven digits.
fn near_f32(ours: Option<i32>, theirs: Option<f64>) -> bool {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => {
            (f64::from(ours) - theirs).abs() <= 0.51 + theirs.abs() * 1e-6
        }
        (None, None) => true,
        _ => false,
    }
}

fn same_rmc(
    rmc: &Rmc,
    other: &nmea::sentences::RmcData,
    speed_m_s: Option<f64>,
) -> Option<&'static str> {
    let active = other.status_of_fix != RmcStatusOfFix::Invalid;
    let date = other.fix_date.map(|date| date.to_string());
    let our_date = rmc
        .date
        .map(|date| format!("{:04}-{:02}-{:02}", date.year, date.month, date.day));
    let course = other.true_course.map(|course| f64::from(course) * 1e5);
    first_difference([
        ("status", rmc.active == active),
        (
            "position",
            same_position(rmc.position, (other.lat, other.lon)),
        ),
        (
            "speed",
            near_f32(rmc.speed_mm_s, speed_m_s.map(|speed| speed * 1e3)),
        ),
        ("course", near_f32(rmc.course_1e5_deg, course)),
        ("time", rmc.tod_ms.is_some() == other.fix_time.is_some()),
        ("date", our_date == date),
    ])
}

fn same_gga(gga: &Gga, other: &nmea::sentences::GgaData) -> Option<&'static str> {
    let height_mm = other.altitude.map(|height| f64::from(height) * 1e3);
    let valid = other.fix_type.is_some_and(|fix| fix != FixType::Invalid);
    first_difference([
        ("quality", (gga.quality != 0) == valid),
        (
            "position",
            same_position(gga.position, (other.latitude, other.longitude)),
        ),
        ("height", near_f32(gga.height_mm, height_mm)),
        (
            "satellites",
            gga.satellites.map(u32::from) == other.fix_satellites,
        ),
    ])
}
