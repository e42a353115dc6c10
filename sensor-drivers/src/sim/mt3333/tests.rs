use super::*;
use crate::gnss::GnssEvent;
use crate::mt3333::Mt3333;
use crate::sim::SimBus;
use crate::sim::route::{Route, RouteSettings};

const ADDRESS: u8 = 0x10;

fn drive(tunnel: Window) -> Source {
    Source::Route(Route::new(RouteSettings {
        start_lat_deg: 48.1,
        start_lon_deg: 11.5,
        cruise_m_s: 22.0,
        cold_start_s: 5,
        tunnels: vec![tunnel],
        start_utc_ms: 1_799_049_600_000,
        seed: 3,
    }))
}

type Epochs = Vec<(u64, Option<(i64, i64)>)>;

/// Reads packets for 100 s until the receiver is dry, twice a second: what the driver reported,
/// and what the truth file says.
fn run(casic: bool, filler: Vec<Window>) -> (Epochs, Epochs) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("truth.jsonl");
    let tunnel = Window {
        from_ms: 40_000,
        to_ms: 50_000,
    };
    let chip = SimMt3333::new(ADDRESS, drive(tunnel), casic, [0, 0], None, vec![70_200]);
    let bus = SimBus::new(0, TruthFile::open(&path).unwrap().0);
    let chip = chip.with_filler(filler, ADDRESS);
    bus.attach(ADDRESS, Box::new(chip), Vec::new());
    let mut driver = Mt3333::new(bus.clone(), ADDRESS);
    driver.start(0);
    let mut reported = Vec::new();
    for half_second in 0..200 {
        let mut now_ms = half_second * 500;
        loop {
            bus.advance_to(now_ms);
            let stats = driver
                .poll(now_ms, &mut |event| match event {
                    GnssEvent::Fix(fix) => {
                        let place = (i64::from(fix.lat_1e7_deg), i64::from(fix.lon_1e7_deg));
                        reported.push((now_ms, Some(place)));
                    }
                    GnssEvent::NoFix(_) => reported.push((now_ms, None)),
                    GnssEvent::Time(_) => {}
                })
                .unwrap();
            if stats.emptied {
                break;
            }
            now_ms += PAUSE_MS;
        }
    }
    let text = std::fs::read_to_string(path).unwrap();
    let truth = text.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let position = line["lat_1e7"].as_i64().zip(line["lon_1e7"].as_i64());
        line["n"].as_u64()?;
        assert_eq!(line["chip"], if casic { "l76k" } else { "mt3333" });
        Some((line["t_ms"].as_u64().unwrap(), position))
    });
    (reported, truth.collect())
}

#[test]
fn each_epoch_is_reported_once_as_the_receiver_said_it_whatever_stands_between() {
    let filler = vec![Window {
        from_ms: 20_000,
        to_ms: 60_000,
    }];
    for casic in [false, true] {
        for filler in [Vec::new(), filler.clone()] {
            let (reported, truth) = run(casic, filler);
            // 0 to 99 s; the reset at 70.2 s falls between two epochs that were read.
            assert_eq!(truth.len(), 100, "casic {casic}");
            assert_eq!(
                truth.iter().filter(|(_, place)| place.is_none()).count(),
                15
            );
            assert_eq!(reported.len(), truth.len(), "casic {casic}");
            for (reported, truth) in reported.iter().zip(&truth) {
                assert_eq!(reported.1, truth.1, "casic {casic}");
                // A sentence is whole before its line end, which may stand in the next packet.
                assert!((0..=PAUSE_MS).contains(&(truth.0 - reported.0)));
            }
        }
    }
}

#[test]
fn packets_are_padded_and_a_receiver_that_is_asked_too_soon_gives_only_padding() {
    let nowhere = Window {
        from_ms: 0,
        to_ms: 0,
    };
    let mut chip = SimMt3333::new(ADDRESS, drive(nowhere), false, [0, 0], None, Vec::new());
    let mut read = |now_ms: u64, len: usize| {
        let mut packet = vec![0; len];
        chip.read(now_ms, &mut packet, &mut TruthFile::none())
            .unwrap();
        packet
    };
    let first = read(10_000, 255);
    assert_eq!(first[..3], *b"$GN");
    assert_eq!(first[254], PADDING);
    assert!(first[..254].iter().any(|byte| *byte != PADDING));
    assert_eq!(read(10_001, 255), [PADDING; 255]);
    assert_ne!(
        read(10_003, 32),
        [PADDING; 32],
        "short pieces go on in the stream"
    );
}
