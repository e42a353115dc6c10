//! What it costs to turn a receiver's bytes into events, beside the crates `ublox` and `nmea` in
//! the same run.
//!
//! Promises: all sides read the same epochs of one generated drive and use the same fields; the
//! sides take turns, and the best round of each counts; the numbers are written to
//! `bench/drivers.json` in the target folder. A ratio of 1.0 means as fast as the other crate,
//! 2.0 twice as fast. The other crates get it easier: `nmea` gets whole sentences where ours finds
//! them in the stream, and neither judges validity nor joins the sentences of an epoch.
//!
//! Never: a side that is not checked to have seen every epoch.

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nmea::{Nmea, SentenceType};
use sensor_drivers::gnss::GnssEvent;
use sensor_drivers::gnss::epoch::{EpochRules, EpochTracker};
use sensor_drivers::gnss::stream::StreamSplitter;
use sensor_drivers::sim::route::{Route, RouteSettings};
use sensor_drivers::ublox::Ublox;
use ublox::proto23::{PacketRef, Proto23};
use ublox::{FixedBuffer, Parser, ParserBuilder, UbxPacket};

const EPOCHS: u32 = 2000;
const ROUNDS: usize = 60;
/// As the driver reads them over I2C.
const CHUNK_LEN: usize = 128;
const RULES: EpochRules = EpochRules {
    accept_dead_reckoning: false,
    not_before_utc_ms: 0,
};

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --benches` only wants to know that it runs.
    let rounds = if std::env::args().any(|argument| argument == "--bench") {
        ROUNDS
    } else {
        2
    };
    let (ubx, text) = drive();
    let lines: Vec<&str> = text.lines().collect();
    let sides: [(&str, &dyn Fn() -> u32); 4] = [
        ("nav_pvt_ns", &|| ours(&ubx)),
        ("ublox_crate_nav_pvt_ns", &|| ublox_crate(&ubx)),
        ("nmea_epoch_ns", &|| ours(text.as_bytes())),
        ("nmea_crate_epoch_ns", &|| nmea_crate(&lines)),
    ];
    let mut best = [Duration::MAX; 4];
    for _ in 0..rounds {
        for ((name, side), best) in sides.iter().zip(&mut best) {
            let (epochs, spent) = timed(side);
            if epochs != EPOCHS {
                return Err(format!("{name}: {epochs} epochs of {EPOCHS}").into());
            }
            *best = spent.min(*best);
        }
    }
    report(best.map(|spent| spent.as_nanos() as f64 / f64::from(EPOCHS)))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark is a shell: it reads the clock, and nothing depends on it"
)]
fn timed(side: &dyn Fn() -> u32) -> (u32, Duration) {
    let started = Instant::now();
    let epochs = black_box(side());
    (epochs, started.elapsed())
}

fn report(per_epoch_ns: [f64; 4]) -> Result<(), Box<dyn Error>> {
    let [nav_pvt_ns, ublox_ns, nmea_epoch_ns, nmea_crate_ns] = per_epoch_ns;
    let report = serde_json::json!({
        "nav_pvt_ns": nav_pvt_ns,
        "nav_pvt_vs_ublox": ublox_ns / nav_pvt_ns,
        "nmea_epoch_ns": nmea_epoch_ns,
        "nmea_vs_nmea_crate": nmea_crate_ns / nmea_epoch_ns,
        "gnss_state_bytes": size_of::<Ublox<()>>(),
        "ublox_crate_nav_pvt_ns": ublox_ns,
        "nmea_crate_epoch_ns": nmea_crate_ns,
        "nmea_crate_state_bytes": size_of::<Nmea>(),
    });
    let folder = target_folder().join("bench");
    fs::create_dir_all(&folder)?;
    let text = serde_json::to_string_pretty(&report)?;
    fs::write(folder.join("drivers.json"), format!("{text}\n"))?;
    println!("{text}");
    Ok(())
}

fn target_folder() -> PathBuf {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::env::var_os("CARGO_TARGET_DIR").map_or(beside, PathBuf::from)
}

/// A drive as NAV-PVT frames, and as the RMC and GGA that a receiver sends, with five decimals of
/// a minute.
fn drive() -> (Vec<u8>, String) {
    let mut route = Route::new(RouteSettings {
        start_lat_deg: 52.52,
        start_lon_deg: 13.4,
        cruise_m_s: 22.0,
        cold_start_s: 0,
        tunnels: Vec::new(),
        start_utc_ms: 1_799_049_600_000,
        seed: 1,
    });
    let (mut ubx, mut text) = (Vec::new(), String::new());
    for n in 0..EPOCHS {
        let epoch = route.step();
        ubx.extend(epoch.nav_pvt());
        let time = format!("{:02}{:02}{:02}.00", 8 + n / 3600, n / 60 % 60, n % 60);
        let lat = minutes(epoch.lat_1e7_deg, 2);
        let lon = minutes(epoch.lon_1e7_deg, 3);
        let course = n % 360;
        text += &sentence(&format!(
            "GNRMC,{time},A,{lat},N,{lon},E,42.765,{course}.25,040127,,,A"
        ));
        text += &sentence(&format!(
            "GNGGA,{time},{lat},N,{lon},E,1,11,0.90,120.4,M,46.0,M,,"
        ));
    }
    (ubx, text)
}

fn minutes(degrees_1e7: i32, digits: usize) -> String {
    let (degrees, rest) = (degrees_1e7 / 10_000_000, degrees_1e7 % 10_000_000);
    format!("{degrees:0digits$}{:08.5}", f64::from(rest) * 60.0 / 1e7)
}

fn sentence(body: &str) -> String {
    let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
    format!("${body}*{sum:02X}\r\n")
}

fn ours(stream: &[u8]) -> u32 {
    let mut splitter = StreamSplitter::new();
    let mut tracker = EpochTracker::new(RULES);
    let mut fixes = 0;
    let mut sink = |event| {
        if let GnssEvent::Fix(fix) = event {
            black_box(fix);
            fixes += 1;
        }
    };
    for chunk in stream.chunks(CHUNK_LEN) {
        splitter.push(chunk, &mut |frame| {
            tracker.hear(&frame, Some(200), &mut sink);
        });
    }
    tracker.finish(&mut sink);
    fixes
}

fn ublox_crate(stream: &[u8]) -> u32 {
    let mut parser: Parser<FixedBuffer<4096>, Proto23> = ParserBuilder::new()
        .with_protocol::<Proto23>()
        .with_buffer(FixedBuffer::new());
    let mut fixes = 0;
    for chunk in stream.chunks(CHUNK_LEN) {
        let mut packets = parser.consume_ubx(chunk);
        while let Some(packet) = packets.next() {
            if let Ok(UbxPacket::Proto23(PacketRef::NavPvt(pvt))) = packet {
                black_box((
                    pvt.year(),
                    pvt.month(),
                    pvt.day(),
                    pvt.hour(),
                    pvt.min(),
                    pvt.sec(),
                ));
                black_box((pvt.itow(), pvt.nanosec(), pvt.valid(), pvt.time_accuracy()));
                black_box((
                    pvt.fix_type(),
                    pvt.flags(),
                    pvt.flags3(),
                    pvt.num_satellites(),
                ));
                black_box((
                    pvt.latitude(),
                    pvt.longitude(),
                    pvt.height_msl(),
                    pvt.horizontal_accuracy(),
                ));
                black_box((pvt.ground_speed_2d(), pvt.heading_motion(), pvt.pdop()));
                fixes += 1;
            }
        }
    }
    fixes
}

fn nmea_crate(lines: &[&str]) -> u32 {
    let mut state = Nmea::default();
    let mut fixes = 0;
    for line in lines {
        let parsed = state.parse(line);
        if parsed == Ok(SentenceType::GGA) {
            black_box((state.latitude, state.longitude, state.altitude));
            black_box((state.fix_date, state.fix_time, state.fix_type));
            black_box((state.speed_over_ground, state.true_course, state.hdop));
            fixes += 1;
        }
    }
    fixes
}
