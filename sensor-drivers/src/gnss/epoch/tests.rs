extern crate std;
use super::*;
use crate::gnss::FixKind;
use std::vec::Vec;

const RULES: EpochRules = EpochRules {
    accept_dead_reckoning: false,
    not_before_utc_ms: 0,
};
/// 2024-01-30T15:31:52Z
const UTC_MS: i64 = 1_706_628_712_000;

#[derive(Clone, Copy)]
struct Pvt {
    itow_ms: u32,
    second: u8,
    valid: u8,
    fix_type: u8,
    flags: u8,
    lat: i32,
}

const GOOD: Pvt = Pvt {
    itow_ms: 1000,
    second: 52,
    valid: 7,
    fix_type: 3,
    flags: 1,
    lat: 480_000_000,
};

impl Pvt {
    fn payload(self) -> Vec<u8> {
        let mut payload = std::vec![0; 92];
        payload[0..4].copy_from_slice(&self.itow_ms.to_le_bytes());
        payload[4..12].copy_from_slice(&[0xe8, 7, 1, 30, 15, 31, self.second, self.valid]);
        payload[12..16].copy_from_slice(&2_500_000u32.to_le_bytes());
        payload[20..24].copy_from_slice(&[self.fix_type, self.flags, 0, 9]);
        payload[24..28].copy_from_slice(&(90_000_000i32).to_le_bytes());
        payload[28..32].copy_from_slice(&self.lat.to_le_bytes());
        payload
    }
}

struct Heard {
    tracker: EpochTracker,
    events: Vec<GnssEvent>,
}

impl Heard {
    fn new(rules: EpochRules) -> Self {
        Self {
            tracker: EpochTracker::new(rules),
            events: Vec::new(),
        }
    }

    fn nmea(&mut self, bodies: &[&str]) -> &mut Self {
        for body in bodies {
            let frame = Frame::Nmea {
                body: body.as_bytes(),
            };
            self.tracker
                .hear(&frame, None, &mut |event| self.events.push(event));
        }
        self
    }

    fn pvt(&mut self, pvt: Pvt) -> &mut Self {
        self.pvt_after(pvt, None)
    }

    fn pvt_after(&mut self, pvt: Pvt, lag_ms: Option<u32>) -> &mut Self {
        let payload = pvt.payload();
        let frame = Frame::Ubx {
            class: 1,
            id: 7,
            payload: &payload,
        };
        self.tracker
            .hear(&frame, lag_ms, &mut |event| self.events.push(event));
        self
    }

    fn finish(&mut self) -> &mut Self {
        self.tracker.finish(&mut |event| self.events.push(event));
        self
    }

    /// Latitude of each fix, or the reason why there is none.
    fn verdicts(&self) -> Vec<Result<i32, NoFixReason>> {
        let verdict = |event: &GnssEvent| match event {
            GnssEvent::Fix(fix) => Some(Ok(fix.lat_1e7_deg)),
            GnssEvent::NoFix(reason) => Some(Err(*reason)),
            GnssEvent::Time(_) => None,
        };
        self.events.iter().filter_map(verdict).collect()
    }
}

fn rmc(second: u32, status: char, mode: char) -> std::string::String {
    std::format!("GPRMC,1531{second:02},{status},4800.0,N,00900.0,E,1.0,2.0,300124,,,{mode}")
}

fn gga(second: u32, quality: u8) -> std::string::String {
    std::format!("GPGGA,1531{second:02},4800.0,N,00900.0,E,{quality},09,1.1,7.5,M,,M,,")
}

fn ubx_verdict(pvt: Pvt, rules: EpochRules) -> Result<i32, NoFixReason> {
    Heard::new(rules).pvt(pvt).verdicts()[0]
}

fn nmea_verdict(
    status: char,
    mode: char,
    quality: u8,
    rules: EpochRules,
) -> Result<i32, NoFixReason> {
    let mut heard = Heard::new(rules);
    let verdicts = heard
        .nmea(&[&rmc(52, status, mode), &gga(52, quality)])
        .verdicts();
    assert_eq!(verdicts.len(), 1);
    verdicts[0]
}

#[test]
fn a_ubx_fix_needs_the_ok_flag_and_the_fix_type_together() {
    for fix_type in 0..=255 {
        for flags in [0, 1, 0xfe, 0xff] {
            let valid = (2..=4).contains(&fix_type) && flags & 1 == 1;
            let verdict = ubx_verdict(
                Pvt {
                    fix_type,
                    flags,
                    ..GOOD
                },
                RULES,
            );
            assert_eq!(verdict.is_ok(), valid, "type {fix_type} flags {flags}");
        }
    }
    let not_ok = Pvt { flags: 0, ..GOOD };
    assert_eq!(ubx_verdict(not_ok, RULES), Err(NoFixReason::NotTrusted));
    assert_eq!(
        ubx_verdict(
            Pvt {
                fix_type: 5,
                ..GOOD
            },
            RULES
        ),
        Err(NoFixReason::TimeOnly)
    );
    assert_eq!(
        ubx_verdict(
            Pvt {
                fix_type: 0,
                ..GOOD
            },
            RULES
        ),
        Err(NoFixReason::Searching)
    );
}

#[test]
fn dead_reckoning_is_a_fix_only_where_it_is_accepted() {
    let accepting = EpochRules {
        accept_dead_reckoning: true,
        ..RULES
    };
    let alone = Pvt {
        fix_type: 1,
        ..GOOD
    };
    assert_eq!(ubx_verdict(alone, RULES), Err(NoFixReason::DeadReckoning));
    assert_eq!(ubx_verdict(alone, accepting), Ok(GOOD.lat));
    for (mode, quality) in [('E', 1), ('A', 6), ('E', 6)] {
        assert_eq!(
            nmea_verdict('A', mode, quality, RULES),
            Err(NoFixReason::DeadReckoning)
        );
        assert_eq!(nmea_verdict('A', mode, quality, accepting), Ok(480_000_000));
    }
}

#[test]
fn an_nmea_fix_needs_status_quality_and_mode_together() {
    for status in ['A', 'V'] {
        for mode in ['A', 'D', 'F', 'R', 'P', 'N', 'M', 'S'] {
            for quality in [0, 1, 2, 3, 4, 5, 7, 8] {
                let valid =
                    status == 'A' && !matches!(mode, 'N' | 'M' | 'S') && (1..=5).contains(&quality);
                let verdict = nmea_verdict(status, mode, quality, RULES);
                assert_eq!(verdict.is_ok(), valid, "{status} {mode} {quality}");
            }
        }
    }
    assert_eq!(
        nmea_verdict('V', 'A', 1, RULES),
        Err(NoFixReason::Searching)
    );
    assert_eq!(
        nmea_verdict('A', 'S', 1, RULES),
        Err(NoFixReason::NotMeasured)
    );
}

#[test]
fn a_void_sentence_that_still_carries_a_position_gives_none() {
    assert_eq!(
        nmea_verdict('V', 'A', 0, RULES),
        Err(NoFixReason::Searching)
    );
}

#[test]
fn the_origin_and_flagged_coordinates_are_never_a_position() {
    let mut payload = Pvt { lat: 0, ..GOOD }.payload();
    payload[24..28].fill(0);
    let mut flagged = GOOD.payload();
    flagged[78] = 1;
    for payload in [&payload, &flagged] {
        let mut heard = Heard::new(RULES);
        let frame = Frame::Ubx {
            class: 1,
            id: 7,
            payload,
        };
        heard
            .tracker
            .hear(&frame, None, &mut |event| heard.events.push(event));
        assert_eq!(heard.verdicts(), [Err(NoFixReason::InvalidPosition)]);
    }
    let mut heard = Heard::new(RULES);
    heard.nmea(&[
        "GPRMC,153152,A,0000.0,N,00000.0,E,,,300124,,,A",
        &gga(52, 1),
    ]);
    assert_eq!(heard.verdicts(), [Err(NoFixReason::InvalidPosition)]);
}

#[test]
fn two_halves_of_different_seconds_are_not_one_fix() {
    let mut heard = Heard::new(RULES);
    heard.nmea(&[
        &gga(51, 1),
        &rmc(52, 'A', 'A'),
        &gga(52, 0),
        &rmc(53, 'A', 'A'),
        &gga(53, 1),
    ]);
    assert_eq!(
        heard.verdicts(),
        [
            Err(NoFixReason::Incomplete),
            Err(NoFixReason::Searching),
            Ok(480_000_000)
        ]
    );
}

#[test]
fn an_active_rmc_without_gga_counts_when_its_epoch_is_over() {
    let mut heard = Heard::new(RULES);
    heard.nmea(&[&rmc(52, 'A', 'A')]);
    assert!(heard.verdicts().is_empty());
    heard.nmea(&[&rmc(53, 'V', 'N')]);
    assert_eq!(heard.verdicts(), [Ok(480_000_000)]);
    assert_eq!(
        heard.finish().verdicts(),
        [Ok(480_000_000), Err(NoFixReason::Searching)]
    );
}

#[test]
fn void_epochs_without_a_time_are_counted_one_by_one() {
    let mut heard = Heard::new(RULES);
    for _ in 0..5 {
        heard.nmea(&["GPRMC,,V,,,,,,,,,,N", "GPGGA,,,,,,0,,,,,,,,"]);
    }
    assert_eq!(heard.verdicts(), [Err(NoFixReason::Searching); 5]);
}

#[test]
fn a_repeated_epoch_is_reported_once() {
    let mut heard = Heard::new(RULES);
    for _ in 0..3 {
        heard.nmea(&[&rmc(52, 'A', 'A'), &gga(52, 1)]).pvt(GOOD);
    }
    heard.finish();
    assert_eq!(heard.verdicts(), [Ok(480_000_000)]);
}

#[test]
fn nav_pvt_goes_before_nmea_of_the_same_epoch() {
    let mut heard = Heard::new(RULES);
    for second in 50..56 {
        let pvt = Pvt {
            itow_ms: u32::from(second) * 1000,
            second,
            lat: 5,
            ..GOOD
        };
        let second = u32::from(second);
        if second % 2 == 0 {
            heard
                .nmea(&[&rmc(second, 'A', 'A'), &gga(second, 1)])
                .pvt(pvt);
        } else {
            heard
                .pvt(pvt)
                .nmea(&[&rmc(second, 'A', 'A'), &gga(second, 1)]);
        }
    }
    heard.finish();
    // Only the very first epoch came before anybody knew that NAV-PVT would follow.
    assert_eq!(
        heard.verdicts(),
        [Ok(480_000_000), Ok(5), Ok(5), Ok(5), Ok(5), Ok(5)]
    );
}

#[test]
fn when_nav_pvt_stops_no_nmea_epoch_is_missed() {
    let mut heard = Heard::new(RULES);
    heard.pvt(Pvt { lat: 5, ..GOOD });
    for second in 53..58 {
        heard.nmea(&[&rmc(second, 'A', 'A'), &gga(second, 1)]);
    }
    assert_eq!(
        heard.verdicts(),
        [
            Ok(5),
            Ok(480_000_000),
            Ok(480_000_000),
            Ok(480_000_000),
            Ok(480_000_000),
            Ok(480_000_000)
        ]
    );
}

#[test]
fn time_is_reported_only_when_resolved_and_believable() {
    let times = |valid: u8, not_before_utc_ms: i64, lag_ms: Option<u32>| {
        let mut heard = Heard::new(EpochRules {
            not_before_utc_ms,
            ..RULES
        });
        heard.pvt_after(Pvt { valid, ..GOOD }, lag_ms);
        heard.events.into_iter().find_map(|event| match event {
            GnssEvent::Time(time) => Some((time.utc_ms, time.accuracy_ms)),
            _ => None,
        })
    };
    // 2.5 ms of the receiver's own count as 3; leap seconds from the factory may be 3 s old.
    assert_eq!(times(7, UTC_MS, Some(1200)), Some((UTC_MS, 4203)));
    for valid in 0..7 {
        assert_eq!(times(valid, 0, Some(1200)), None, "valid flags {valid}");
    }
    assert_eq!(times(7, UTC_MS + 1, Some(1200)), None);
    assert_eq!(times(7, 0, None), None);
}

#[test]
fn time_is_close_once_the_leap_seconds_are_known() {
    let accuracy = |source: u8, valid: u8| {
        let mut heard = Heard::new(RULES);
        let mut payload = [0; 24];
        payload[8..10].copy_from_slice(&[source, 18]);
        payload[23] = valid;
        let frame = Frame::Ubx {
            class: 1,
            id: 0x26,
            payload: &payload,
        };
        heard.tracker.hear(&frame, None, &mut |_| {});
        heard.pvt_after(GOOD, Some(1200));
        match heard.events.first() {
            Some(GnssEvent::Time(time)) => time.accuracy_ms,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(accuracy(2, 1), 1203);
    assert_eq!(accuracy(0, 1), 4203);
    assert_eq!(accuracy(2, 0), 4203);
}

#[test]
fn a_date_that_zda_contradicts_is_no_time_and_the_position_stays() {
    let run = |zda: &str| {
        let mut heard = Heard::new(RULES);
        for body in [zda, &rmc(52, 'A', 'A'), &gga(52, 1)] {
            let frame = Frame::Nmea {
                body: body.as_bytes(),
            };
            heard
                .tracker
                .hear(&frame, Some(700), &mut |event| heard.events.push(event));
        }
        let time = heard
            .events
            .iter()
            .any(|event| matches!(event, GnssEvent::Time(_)));
        (time, heard.verdicts())
    };
    let fix = std::vec![Ok(480_000_000)];
    assert_eq!(run("GPZDA,153151.000,30,01,2024,,"), (true, fix.clone()));
    assert_eq!(run("GPZDA,153151.000,16,06,2004,,"), (false, fix.clone()));
    assert_eq!(run("GPZDA,,,,,,"), (true, fix));
}

#[test]
fn gns_takes_the_place_of_a_missing_gga_and_waits_for_none_where_none_comes() {
    let gns = |second: u32, modes: &str| {
        std::format!("GNGNS,1531{second:02},4800.0,N,00900.0,E,{modes},15,0.7,7.5,40.0,,")
    };
    let mut heard = Heard::new(RULES);
    heard.nmea(&[&rmc(52, 'A', 'A'), &gns(52, "AA")]);
    assert!(heard.verdicts().is_empty(), "a GGA may still come");
    heard.nmea(&[&rmc(53, 'A', 'A'), &gns(53, "NN")]);
    assert_eq!(
        heard.verdicts(),
        [Ok(480_000_000), Err(NoFixReason::Searching)]
    );
    heard.nmea(&[&rmc(54, 'A', 'A'), &gns(54, "AN")]);
    assert_eq!(heard.verdicts().len(), 3, "no GGA is waited for");
    let Some(GnssEvent::Fix(fix)) = heard.events.last() else {
        panic!("no fix")
    };
    let expected = (Some(15), Some(70), Some(7500), FixKind::ThreeD);
    assert_eq!(
        (fix.satellites, fix.hdop_x100, fix.height_mm, fix.kind),
        expected
    );
    heard.nmea(&[&rmc(55, 'A', 'A'), &gga(55, 1), &gns(55, "AA")]);
    heard.nmea(&[&rmc(56, 'A', 'A'), &gns(56, "NN"), &gga(56, 1)]);
    assert_eq!(heard.verdicts()[4], Ok(480_000_000), "GGA goes before GNS");
    assert_eq!(heard.verdicts().len(), 5);
}

#[test]
fn a_height_that_gsa_calls_assumed_is_not_reported() {
    let height = |gsa: &[&str]| {
        let mut heard = Heard::new(RULES);
        heard.nmea(gsa).nmea(&[&rmc(52, 'A', 'A'), &gga(52, 1)]);
        match heard.events.last() {
            Some(GnssEvent::Fix(fix)) => (fix.kind, fix.height_mm),
            other => panic!("{other:?}"),
        }
    };
    let flat = "GPGSA,A,2,20,16,09,,,,,,,,,,1.64,0.98,1.31";
    let deep = "GPGSA,A,3,20,16,09,03,,,,,,,,,1.64,0.98,1.31";
    assert_eq!(height(&[]), (FixKind::ThreeD, Some(7500)));
    assert_eq!(height(&[deep]), (FixKind::ThreeD, Some(7500)));
    assert_eq!(height(&[flat]), (FixKind::TwoD, None));
    assert_eq!(height(&[flat, deep]), (FixKind::ThreeD, Some(7500)));
    let fifty = rmc(50, 'A', 'A');
    assert_eq!(
        height(&[&fifty, flat]),
        (FixKind::ThreeD, Some(7500)),
        "of the epoch before"
    );
}

#[test]
fn a_void_rmc_gives_no_time_and_an_active_one_a_coarse_one() {
    let time = |status| {
        let mut heard = Heard::new(RULES);
        let body = rmc(52, status, 'A');
        let frame = Frame::Nmea {
            body: body.as_bytes(),
        };
        heard
            .tracker
            .hear(&frame, Some(700), &mut |event| heard.events.push(event));
        heard.events.first().copied()
    };
    assert_eq!(time('V'), None);
    let expected = GnssTime {
        utc_ms: UTC_MS,
        accuracy_ms: 3700,
        source: GnssTimeSource::Rmc,
    };
    assert_eq!(time('A'), Some(GnssEvent::Time(expected)));
}

#[test]
fn a_missing_fix_without_a_time_is_reported_once_for_both_languages() {
    let mut heard = Heard::new(RULES);
    let searching = Pvt {
        fix_type: 0,
        flags: 0,
        valid: 0,
        ..GOOD
    };
    for itow_ms in [1000, 2000, 3000] {
        heard.nmea(&["GPRMC,,V,,,,,,,,,,N", "GPGGA,,,,,,0,,,,,,,,"]);
        heard.pvt(Pvt {
            itow_ms,
            ..searching
        });
    }
    assert_eq!(heard.finish().verdicts(), [Err(NoFixReason::Searching); 3]);
}

#[test]
fn a_receiver_that_is_stuck_at_one_second_gives_one_fix_and_then_none() {
    let mut heard = Heard::new(RULES);
    for _ in 0..4 {
        heard.nmea(&[&rmc(52, 'A', 'A'), &gga(52, 1)]);
    }
    heard.nmea(&[&rmc(53, 'A', 'A'), &gga(53, 1)]).finish();
    assert_eq!(heard.verdicts(), [Ok(480_000_000); 2]);
}

#[test]
fn a_jump_no_vehicle_can_make_is_flagged_and_reported_in_both_languages() {
    let at = |second: u8, lat: i32| Pvt {
        itow_ms: u32::from(second) * 1000,
        second,
        lat,
        ..GOOD
    };
    let mut heard = Heard::new(RULES);
    // 1000e-7 degree are 11 m; a degree is 111 km.
    for (second, lat) in [
        (1, 480_000_000),
        (2, 480_001_000),
        (3, 490_001_000),
        (4, 490_002_000),
    ] {
        heard.pvt(at(second, lat));
    }
    let speeds = |heard: &Heard| -> Vec<_> {
        let speed = |event: &GnssEvent| match event {
            GnssEvent::Fix(fix) => Some(fix.implied_speed_mm_s),
            _ => None,
        };
        heard.events.iter().filter_map(speed).collect()
    };
    assert_eq!(speeds(&heard), [None, None, Some(111_320_000), None]);
    let mut heard = Heard::new(RULES);
    let far = rmc(13, 'A', 'A').replace("4800.0", "4700.0");
    heard.nmea(&[&rmc(12, 'A', 'A'), &gga(12, 1), &far, &gga(13, 1)]);
    assert_eq!(speeds(&heard), [None, Some(111_320_000)]);
}

#[test]
fn gsa_has_the_last_word_on_dimensions_and_a_patient_tracker_hears_it_behind_the_others() {
    let gsa = |mode: u8| std::format!("GPGSA,A,{mode},20,16,09,,,,,,,,,,1.64,0.98,1.31");
    let kinds = |mut tracker: EpochTracker| {
        let mut kinds = Vec::new();
        let mut sink = |event| {
            if let GnssEvent::Fix(fix) = event {
                kinds.push(fix.kind);
            }
        };
        for (second, mode) in [(1, 3), (2, 3), (3, 2), (4, 2)] {
            for body in [&rmc(second, 'A', 'A'), &gga(second, 1), &gsa(mode)] {
                let body = body.as_bytes();
                tracker.hear(&Frame::Nmea { body }, None, &mut sink);
            }
        }
        tracker.finish(&mut sink);
        kinds
    };
    let (two, three) = (FixKind::TwoD, FixKind::ThreeD);
    assert_eq!(
        kinds(EpochTracker::patient(RULES)),
        [three, three, two, two]
    );
    // One that does not wait has reported the epoch before its GSA comes.
    assert_eq!(kinds(EpochTracker::new(RULES)), [three; 4]);
    // An RMC alone has no height, but a GSA beside it tells.
    let mut heard = Heard::new(RULES);
    heard.nmea(&[&gsa(3), &rmc(5, 'A', 'A'), &rmc(6, 'A', 'A')]);
    let Some(GnssEvent::Fix(fix)) = heard.events.first() else {
        panic!("no fix")
    };
    assert_eq!((fix.kind, fix.height_mm), (three, None));
}
