use super::*;
use crate::gnss::GnssEvent;
use crate::sim::SimBus;
use crate::sim::Window;
use crate::sim::log::RecordedLog;
use crate::sim::route::{Route, RouteSettings};
use crate::ublox::{Ublox, UbloxMode};

const ADDRESS: u8 = 0x42;

fn route(cold_start_s: u64, tunnels: Vec<Window>) -> Source {
    Source::Route(Route::new(RouteSettings {
        start_lat_deg: 52.5,
        start_lon_deg: 13.4,
        cruise_m_s: 22.0,
        cold_start_s,
        tunnels,
        start_utc_ms: 1_799_049_600_000,
        seed: 1,
    }))
}

/// A receiver without UBX: RMC and GGA a second, the void ones without a time.
fn nmea_log(epochs: u32, void: impl Fn(u32) -> bool) -> Vec<u8> {
    let mut log = b"# a comment\n".to_vec();
    for n in 0..epochs {
        let time = format!("10{:02}{:02}", n / 60, n % 60);
        let bodies = if void(n) {
            [
                "GPRMC,,V,,,,,,,,,,N".to_string(),
                "GPGGA,,,,,,0,,,,,,,,".to_string(),
            ]
        } else {
            [
                format!(
                    "GPRMC,{time},A,48{:02}.5,N,00900.25,E,1.0,2.0,310317,,,A",
                    n / 60
                ),
                format!("GPGGA,{time},4800.5,N,00900.25,E,1,09,1.1,7.5,M,,M,,"),
            ]
        };
        for body in bodies {
            let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
            log.extend(format!("${body}*{sum:02X}\r\n").bytes());
        }
    }
    log
}

fn replay(log: &[u8], lossless: bool) -> Source {
    Source::Replay {
        log: RecordedLog::parse(log).unwrap(),
        lossless,
    }
}

struct Bench {
    bus: SimBus,
    driver: Ublox<SimBus>,
    events: Vec<(u64, GnssEvent)>,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(source: Source, generation: Generation, resets_ms: Vec<u64>) -> Self {
        Self::with_filler(source, generation, resets_ms, Vec::new())
    }

    fn with_filler(
        source: Source,
        generation: Generation,
        resets_ms: Vec<u64>,
        filler: Vec<Window>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let truth = TruthFile::open(&folder.path().join("truth.jsonl"))
            .unwrap()
            .0;
        let chip = SimUblox::new(ADDRESS, source, generation, 1000, 1000, None, resets_ms)
            .with_filler(filler, ADDRESS);
        let bus = SimBus::new(1000, truth);
        bus.attach(ADDRESS, Box::new(chip), Vec::new());
        let driver = Ublox::new(bus.clone(), ADDRESS);
        Self {
            bus,
            driver,
            events: Vec::new(),
            folder,
        }
    }

    fn start(&mut self) {
        self.driver.start(1000).unwrap();
    }

    fn poll(&mut self, now_ms: u64) -> crate::ublox::DrainStats {
        self.bus.advance_to(now_ms);
        let Self { driver, events, .. } = self;
        driver
            .poll(now_ms, &mut |event| events.push((now_ms, event)))
            .unwrap()
    }

    fn poll_each_second(&mut self, from_s: u64, to_s: u64) {
        for second in from_s..to_s {
            self.poll(second * 1000);
        }
    }

    /// (t_ms, latitude and longitude if valid) of each epoch that was handed out.
    fn truth(&self) -> Vec<(u64, Option<(i64, i64)>)> {
        let text = std::fs::read_to_string(self.folder.path().join("truth.jsonl")).unwrap();
        let value = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        text.lines()
            .map(value)
            .filter(|line| line["chip"] == "ublox")
            .map(|line| {
                let position = line["lat_1e7"].as_i64().zip(line["lon_1e7"].as_i64());
                assert_eq!(line["valid"].as_bool(), Some(position.is_some()));
                (line["t_ms"].as_u64().unwrap(), position)
            })
            .collect()
    }

    /// The same of what the driver reported.
    fn reported(&self) -> Vec<(u64, Option<(i64, i64)>)> {
        let epoch = |(t_ms, event): &(u64, GnssEvent)| match event {
            GnssEvent::Fix(fix) => {
                let position = (i64::from(fix.lat_1e7_deg), i64::from(fix.lon_1e7_deg));
                Some((*t_ms, Some(position)))
            }
            GnssEvent::NoFix(_) => Some((*t_ms, None)),
            GnssEvent::Time(_) => None,
        };
        self.events.iter().filter_map(epoch).collect()
    }
}

#[test]
fn the_registers_count_stream_and_saturate() {
    let bench = Bench::new(route(0, Vec::new()), Generation::M10, Vec::new());
    let bus = &bench.bus;
    let mut count = [0; 2];
    bus.message_write(ADDRESS, &[0xfd]).unwrap();
    bus.message_read(ADDRESS, &mut count).unwrap();
    bus.advance_to(2000);
    // The pointer has come to rest on the stream; a burst there leaves it there.
    let mut first = [0; 2];
    bus.message_read(ADDRESS, &mut first).unwrap();
    assert_eq!(&first, b"$G");
    bus.message_write(ADDRESS, &[0xfd]).unwrap();
    let mut counted = [0; 3];
    bus.message_read(ADDRESS, &mut counted).unwrap();
    let left = usize::from(u16::from_be_bytes([counted[0], counted[1]]));
    assert_eq!(counted[2], b'N', "the third byte is the stream's");
    let mut rest = vec![0; left + 9];
    bus.message_read(ADDRESS, &mut rest).unwrap();
    assert_eq!(&rest[left - 3..left - 1], b"\r\n");
    assert_eq!(rest[left - 1..], [0xff; 10], "an empty stream is filler");
    bus.message_write(ADDRESS, &[0xfc]).unwrap();
    bus.message_read(ADDRESS, &mut first).unwrap();
    assert_eq!(first, [0, 0]);
}

#[test]
fn without_a_host_for_1500_ms_the_stream_stops() {
    let mut bench = Bench::new(route(0, Vec::new()), Generation::M10, Vec::new());
    bench.start();
    bench.poll_each_second(2, 10);
    assert_eq!(bench.truth().len(), 8, "epochs due in seconds 2 to 9");
    let before = bench.truth().len();
    // Due at 10 s: in time. Due at 11 s and later: nobody was there. Due at 20 s: not yet heard.
    assert!(
        bench.poll(20_000).late,
        "the driver says that epochs are lost"
    );
    assert_eq!(bench.truth().len() - before, 1);
    assert!(!bench.poll(21_000).late);
    assert_eq!(bench.truth().len() - before, 2);
    // 1.5 s are still in time.
    assert!(!bench.poll(22_500).late);
}

#[test]
fn the_buffer_keeps_the_newest_4096_bytes() {
    let log = nmea_log(100, |_| false);
    let mut bench = Bench::new(replay(&log, false), Generation::Mute, Vec::new());
    let bus = bench.bus.clone();
    let mut byte = [0];
    bus.message_read(ADDRESS, &mut byte).unwrap();
    for second in 2..90 {
        // The host shows itself and does not read the stream.
        bus.advance_to(second * 1000);
        bus.message_write(ADDRESS, &[0xfd]).unwrap();
    }
    let mut count = [0; 2];
    bus.message_read(ADDRESS, &mut count).unwrap();
    let available = usize::from(u16::from_be_bytes(count));
    let burst_len = (log.len() - 12) / 100;
    assert!(
        available <= 4096 && available > 4096 - burst_len,
        "{available}"
    );
    let stats = bench.poll(89_000);
    assert!(
        stats.full,
        "the driver says that messages may have been dropped"
    );
    assert!(!bench.poll(89_500).full);
    assert_eq!(bench.truth().len(), available / burst_len);
    assert_eq!(stats.epochs as usize, available / burst_len);
}

#[test]
fn a_lossless_replay_waits_for_a_late_host() {
    let log = nmea_log(300, |n| n % 10 == 3);
    let mut bench = Bench::new(replay(&log, true), Generation::Mute, Vec::new());
    bench.start();
    for now_s in [2, 3, 100, 150, 160, 301, 302, 303, 304, 305, 306, 307, 308] {
        bench.poll(now_s * 1000);
    }
    assert_eq!(bench.truth().len(), 300);
    assert_eq!(bench.reported(), bench.truth());
    assert_eq!(
        bench
            .truth()
            .iter()
            .filter(|(_, position)| position.is_some())
            .count(),
        270
    );
}

#[test]
fn both_generations_are_brought_to_nav_pvt_without_missing_an_epoch() {
    for generation in [Generation::M10, Generation::M9, Generation::M8] {
        let tunnels = vec![Window {
            from_ms: 100_000,
            to_ms: 130_000,
        }];
        let mut bench = Bench::new(route(20, tunnels), generation, Vec::new());
        bench.start();
        bench.poll_each_second(2, 300);
        assert_eq!(bench.driver.mode(), UbloxMode::Ubx, "{generation:?}");
        let truth = bench.truth();
        assert_eq!(truth.len(), 298);
        assert_eq!(
            truth
                .iter()
                .filter(|(_, position)| position.is_none())
                .count(),
            19 + 30
        );
        assert_eq!(bench.reported(), truth, "{generation:?}");
        // NMEA is off: a second is one frame of 100 bytes.
        let stats = bench.poll(300_000);
        assert_eq!((stats.bytes, stats.ubx, stats.nmea), (100, 1, 0));
    }
}

#[test]
fn a_receiver_without_nav_pvt_is_used_through_nmea_from_the_first_epoch() {
    let log = nmea_log(120, |n| (10..20).contains(&n));
    let mut bench = Bench::new(replay(&log, true), Generation::Mute, Vec::new());
    bench.start();
    bench.poll_each_second(1, 122);
    assert!(bench.driver.mode() != UbloxMode::Ubx);
    assert_eq!(bench.truth().len(), 120);
    assert_eq!(bench.reported(), bench.truth());
}

#[test]
fn a_receiver_reset_is_noticed_and_configured_again_without_missing_an_epoch() {
    for generation in [Generation::M10, Generation::M9, Generation::M8] {
        let mut bench = Bench::new(route(0, Vec::new()), generation, vec![60_500]);
        bench.start();
        bench.poll_each_second(2, 61);
        assert_eq!(bench.poll(61_000).ubx, 0, "NMEA is back, NAV-PVT is gone");
        bench.poll_each_second(62, 120);
        assert_eq!(bench.driver.mode(), UbloxMode::Ubx);
        assert_eq!((bench.poll(120_000).ubx, bench.poll(121_000).nmea), (1, 0));
        let positions = |epochs: Vec<(u64, Option<(i64, i64)>)>| -> Vec<_> {
            epochs.into_iter().map(|(_, position)| position).collect()
        };
        assert_eq!(
            positions(bench.reported()),
            positions(bench.truth()),
            "{generation:?}"
        );
        assert_eq!(bench.truth().len(), 120);
    }
}

#[test]
fn a_receiver_tells_about_its_antenna_its_bands_and_its_leap_seconds() {
    use crate::gnss::health::LeapSeconds;
    use crate::ubx::status::{Antenna, Jamming, Spoofing};
    for generation in [Generation::M10, Generation::M9, Generation::M8] {
        let span = |from_s: u64| {
            vec![Window {
                from_ms: from_s * 1000,
                to_ms: (from_s + 20) * 1000,
            }]
        };
        let radio = Radio {
            antenna_open: span(60),
            jammed: span(90),
            spoofed: span(120),
        };
        let chip = SimUblox::new(
            ADDRESS,
            route(40, Vec::new()),
            generation,
            1000,
            1000,
            None,
            vec![],
        );
        let bus = SimBus::new(1000, TruthFile::none());
        bus.attach(ADDRESS, Box::new(chip.with_radio(radio)), Vec::new());
        let mut driver = Ublox::new(bus.clone(), ADDRESS);
        driver.start(1000).unwrap();
        let mut health_at = |second: u64| {
            bus.advance_to(second * 1000);
            driver.poll(second * 1000, &mut |_| {}).unwrap();
            driver.health()
        };
        let healths: Vec<_> = (2..170).map(&mut health_at).collect();
        let at = |second: usize| healths[second - 2];
        assert_eq!(at(2).leap_seconds, LeapSeconds::Unheard);
        assert_eq!(at(35).leap_seconds, LeapSeconds::Unknown, "{generation:?}");
        assert_eq!(
            at(55).leap_seconds,
            LeapSeconds::Known(18),
            "{generation:?}"
        );
        let radio = |second: usize| (at(second).antenna, at(second).jamming);
        assert_eq!(radio(55), (Antenna::Ok, Jamming::Ok), "{generation:?}");
        assert_eq!(radio(75), (Antenna::Open, Jamming::Ok));
        assert_eq!(radio(105), (Antenna::Ok, Jamming::Critical));
        assert_eq!(radio(135), (Antenna::Ok, Jamming::Ok));
        assert_eq!(at(115).spoofing, Spoofing::None);
        assert_eq!(at(135).spoofing, Spoofing::Indicated, "{generation:?}");
        let after = (at(165).spoofing, at(165).spoofing_at_present);
        assert_eq!(after, (Spoofing::Indicated, Spoofing::None));
        driver.clear_spoofing();
        assert_eq!(driver.health().spoofing, Spoofing::None);
    }
}

#[test]
fn bursts_of_filler_cost_no_epoch() {
    let filler = vec![Window {
        from_ms: 50_000,
        to_ms: 150_000,
    }];
    let source = route(0, Vec::new());
    let mut bench = Bench::with_filler(source, Generation::M10, Vec::new(), filler);
    bench.start();
    let mut filler_bytes = [0; 2];
    for second in 2..200 {
        let inside = usize::from((50..150).contains(&second));
        filler_bytes[inside] += bench.poll(second * 1000).filler_bytes;
    }
    assert!(filler_bytes[1] > 5000, "{filler_bytes:?}");
    assert_eq!(filler_bytes[0], 0);
    assert_eq!(bench.truth().len(), 198);
    assert_eq!(bench.reported(), bench.truth());
}

#[test]
fn receiver_time_is_right_within_its_stated_bound() {
    let mut bench = Bench::new(route(10, Vec::new()), Generation::M10, Vec::new());
    bench.start();
    let mut now_ms = 1000;
    for step in 0..200 {
        now_ms += 300 + step * 7 % 800;
        bench.poll(now_ms);
    }
    let mut times = 0;
    for (read_ms, event) in &bench.events {
        if let GnssEvent::Time(time) = event {
            let true_utc_ms = 1_799_049_600_000 + i64::try_from(*read_ms).unwrap() - 1000;
            assert!(true_utc_ms.abs_diff(time.utc_ms) <= u64::from(time.accuracy_ms));
            assert!(time.accuracy_ms <= 4500, "{}", time.accuracy_ms);
            times += 1;
        }
    }
    assert!(times > 100, "{times}");
}
