use firmware_shared::id::Lane;
use firmware_shared::message::{LaneNext, More, Status};
use firmware_shared::time::ClockSource;

use super::*;
use crate::desk::core::watch::SILENT;
use crate::desk::vehicle::Condition;

fn status(stamp_ms: u64) -> Status {
    Status {
        epoch: epoch(1),
        boottime_ms: stamp_ms,
        next: [LaneNext {
            lane: Lane::Telemetry,
            next_seq: 1,
        }]
        .into_iter()
        .collect(),
        spool_bytes: 0,
        oldest_unacked_ms: 0,
        ram_mode: false,
        more: Some(More {
            spool_max_bytes: 1_000,
            evicted: 0,
            card_life_used_permille: 10,
            clock_source: ClockSource::Gnss,
            clock_error_ms: Some(20),
            certificate_until_s: Some(START_MS / 1_000 + 365 * 86_400),
            ack_latency_ms: Some(30),
            plan_used_bytes: 0,
            plan_max_bytes: 0,
        }),
    }
}

fn sensor(index: u8, name: &str) -> SensorKnown {
    SensorKnown {
        index,
        name: name.to_owned(),
        role: "load".to_owned(),
        period_ms: 1_000,
        calibration_until_day: None,
    }
}

fn world() -> World {
    let mut world = World::new(vec![route("desk", all())], vec![takes()]);
    world.pulse(true);
    world
}

fn of_kind(world: &World, kind: &str) -> Vec<AlertItem> {
    let items = world.items().into_iter();
    items.filter(|item| item.kind == kind).collect()
}

/// Every vehicle speaks every 30 s; these fall silent at their own times; each way of being away is in it.
#[test]
fn of_2000_vehicles_exactly_the_37_that_fall_silent_are_alarmed_each_within_its_time() {
    let groups = vec![Group {
        name: "quick".to_owned(),
        devices: vec!["v*7".to_owned()],
        silent_after_s: Some(300),
        sensor_silent_after_s: None,
    }];
    let mut world = World::with(Vec::new(), Vec::new(), groups, |_| ());
    world.pulse(true);
    let name = |number: usize| format!("v{number:04}");
    // 37 spread over the fleet; another 20 park with a goodbye.
    let silent: BTreeMap<usize, i64> = (0..37)
        .map(|k| (k * 53 + 11, 10 * MIN + (k as i64) * 17 * S))
        .collect();
    let parked: BTreeSet<usize> = (0..20)
        .map(|k| k * 97 + 5)
        .filter(|n| !silent.contains_key(n))
        .collect();
    let mut raised_at = BTreeMap::new();
    let mut seen = 0;
    for tick in 0..240_i64 {
        let at = tick * 10 * S;
        world.pass(at - world.at_ms);
        world.pulse(true);
        for number in 0..2_000 {
            if (number as i64 + tick) % 3 != 0 {
                continue;
            }
            let is_gone = silent.get(&number).is_some_and(|from| at >= *from);
            let is_parked = parked.contains(&number) && at >= 12 * MIN;
            if !is_gone && !is_parked {
                world.hear(&name(number), up(1));
            } else if is_parked && at < 13 * MIN {
                let what = What::Link {
                    link: Link::Closed,
                    epoch: Some(epoch(1)),
                };
                world.hear(&name(number), what);
            }
        }
        world.settle();
        for event in world.events.split_off(seen.min(world.events.len())) {
            if let Some(id) = event
                .alert_id
                .filter(|id| id.contains(SILENT) && !id.starts_with("common"))
            {
                raised_at.entry(id).or_insert(event.at_ms - START_MS);
            }
        }
        seen = world.events.len();
    }
    let alarmed: BTreeSet<String> = of_kind(&world, SILENT)
        .into_iter()
        .filter(|item| item.members == 0)
        .map(|item| item.device)
        .collect();
    let expected: BTreeSet<String> = silent.keys().map(|number| name(*number)).collect();
    assert_eq!(alarmed.len(), 37);
    assert_eq!(alarmed, expected);
    for item in of_kind(&world, SILENT)
        .iter()
        .filter(|item| item.members == 0)
    {
        let number: usize = item.device[1..].parse().unwrap();
        let after = if item.device.ends_with('7') {
            300 * S
        } else {
            900 * S
        };
        // The last word came at most 30 s before it fell silent.
        let from = silent[&number];
        let at = raised_at[&item.id];
        assert!(
            (from + after - 30 * S..=from + after).contains(&at),
            "{}: {at} after {from}",
            item.device
        );
    }
}

#[test]
fn ways_of_being_away_are_told_apart() {
    let mut world = world();
    for device in ["parked", "lost", "mute", "fine"] {
        world.hear(device, up(1));
    }
    let closed = What::Link {
        link: Link::Closed,
        epoch: Some(epoch(1)),
    };
    world.hear("parked", closed);
    let lost = What::Link {
        link: Link::Lost,
        epoch: Some(epoch(1)),
    };
    world.hear("lost", lost);
    for _ in 0..20 {
        world.pass(MIN);
        world.hear("fine", What::Word);
    }
    let state = |world: &World, device: &str| world.core.vehicle(device).unwrap().condition;
    assert_eq!(state(&world, "parked"), Condition::Parked);
    assert_eq!(state(&world, "lost"), Condition::LinkLost);
    assert_eq!(state(&world, "mute"), Condition::Silent);
    assert_eq!(state(&world, "fine"), Condition::Heard);
    let items = of_kind(&world, SILENT);
    let about: BTreeSet<(&str, &str)> = items
        .iter()
        .map(|item| (item.device.as_str(), item.sensor.as_str()))
        .collect();
    assert_eq!(
        about,
        BTreeSet::from([("lost", "link"), ("mute", "gateway")])
    );
    world.hear("lost", up(1));
    world.settle();
    assert!(
        !of_kind(&world, SILENT)
            .iter()
            .any(|item| item.device == "lost" && item.is_open())
    );
}

#[test]
fn while_the_centre_is_behind_nobody_is_silent() {
    let mut world = world();
    world.hear("a", up(1));
    world.pass(MIN);
    world.pulse(false);
    world.pass(60 * MIN);
    world.pulse(false);
    world.settle();
    assert!(of_kind(&world, SILENT).is_empty());
    assert_eq!(of_kind(&world, "centre_behind").len(), 1);
    world.pulse(true);
    world.pass(14 * MIN);
    assert!(of_kind(&world, SILENT).is_empty(), "the time begins again");
    assert!(!of_kind(&world, "centre_behind")[0].is_open());
    world.pass(2 * MIN);
    assert_eq!(of_kind(&world, SILENT).len(), 1);
}

#[test]
fn a_silence_is_alarmed_once_whatever_is_restarted() {
    let mut world = world();
    world.hear("a", up(1));
    world.pass(16 * MIN);
    world.crash();
    world.pulse(true);
    world.pass(40 * MIN);
    assert_eq!(of_kind(&world, SILENT).len(), 1);
    assert_eq!(world.keys("desk").len(), 1);
    world.hear("a", up(1));
    world.pass(MIN);
    assert!(world.keys("desk")[1].ends_with("/cleared"));
}

#[test]
fn a_silent_sensor_of_a_gateway_that_speaks_is_told_by_the_gateways_clock() {
    let mut world = world();
    world.hear("a", up(1));
    let what = What::Catalogue {
        epoch: epoch(1),
        sensors: vec![sensor(1, "front"), sensor(2, "rear")],
    };
    world.hear("a", what);
    for minute in 0..10_u64 {
        let stamp = 1_000_000 + minute * 60_000;
        let mut newest = vec![(1, stamp)];
        if minute < 3 {
            newest.push((2, stamp));
        }
        world.hear(
            "a",
            What::Readings {
                epoch: epoch(1),
                newest,
            },
        );
        world.pass(MIN);
    }
    let items = of_kind(&world, "sensor_silent");
    assert_eq!(items.len(), 1);
    assert_eq!(items[0].sensor, "rear");
    assert_eq!(items[0].role, "load");
    let newest = vec![(1, 1_700_000), (2, 1_700_000)];
    world.hear(
        "a",
        What::Readings {
            epoch: epoch(1),
            newest,
        },
    );
    world.settle();
    assert!(!of_kind(&world, "sensor_silent")[0].is_open());
}

#[test]
fn readings_of_a_backlog_make_no_sensor_silent() {
    let mut world = world();
    world.hear("a", up(1));
    let sensors = vec![sensor(1, "front")];
    world.hear(
        "a",
        What::Catalogue {
            epoch: epoch(1),
            sensors,
        },
    );
    world.hear(
        "a",
        What::Readings {
            epoch: epoch(1),
            newest: vec![(1, 1_000)],
        },
    );
    // The gateway speaks, and has an hour of readings to send.
    let mut behind = status(3_600_000);
    behind.oldest_unacked_ms = 3_500_000;
    world.hear("a", What::Status(Box::new(behind)));
    world.settle();
    assert!(of_kind(&world, "sensor_silent").is_empty());
    world.hear("a", What::Status(Box::new(status(3_700_000))));
    world.settle();
    assert_eq!(of_kind(&world, "sensor_silent").len(), 1);
}

#[test]
fn what_a_gateway_says_about_itself_becomes_an_alarm_and_is_called_off() {
    type Change = fn(&mut Status);
    let cases: [(&str, Change, Change); 4] = [
        (
            "spool_near_full",
            |s| s.spool_bytes = 810,
            |s| s.spool_bytes = 700,
        ),
        (
            "card_worn",
            |s| s.more.as_mut().unwrap().card_life_used_permille = 905,
            |s| s.more.as_mut().unwrap().card_life_used_permille = 1,
        ),
        (
            "certificate_ending",
            |s| s.more.as_mut().unwrap().certificate_until_s = Some(START_MS / 1_000 + 29 * 86_400),
            |_| (),
        ),
        (
            "clock_unsure",
            |s| s.more.as_mut().unwrap().clock_source = ClockSource::Rtc,
            |_| (),
        ),
    ];
    for (kind, worse, better) in cases {
        let mut world = world();
        world.hear("a", up(1));
        for minute in 0..=61 {
            let mut bad = status(minute * 60_000);
            worse(&mut bad);
            world.hear("a", What::Status(Box::new(bad)));
            world.settle();
            if minute == 0 {
                let is_told = !of_kind(&world, kind).is_empty();
                assert_eq!(is_told, kind != "clock_unsure", "{kind}");
            }
            world.pass(MIN);
        }
        assert_eq!(of_kind(&world, kind).len(), 1, "{kind}");
        assert_eq!(world.keys("desk").len(), 1, "{kind}");
        let mut good = status(4_000_000);
        better(&mut good);
        world.hear("a", What::Status(Box::new(good)));
        world.settle();
        assert!(!of_kind(&world, kind)[0].is_open(), "{kind}");
    }
}

#[test]
fn a_calibration_that_is_over_is_told() {
    let mut world = world();
    world.hear("a", up(1));
    let today = i32::try_from(START_MS / 86_400_000).unwrap();
    let mut sensors = vec![sensor(1, "front"), sensor(2, "rear")];
    sensors[0].calibration_until_day = Some(today - 1);
    sensors[1].calibration_until_day = Some(today);
    world.hear(
        "a",
        What::Catalogue {
            epoch: epoch(1),
            sensors,
        },
    );
    world.hear("a", What::Status(Box::new(status(1_000))));
    world.settle();
    let items = of_kind(&world, "calibration_expired");
    assert_eq!(items.len(), 1);
    assert_eq!(items[0].sensor, "front");
}

#[test]
fn two_copies_of_one_device_are_an_alarm_that_ends_by_itself() {
    let mut world = world();
    let alarm = || What::Alarm {
        kind: "identity_clash",
        text: "two copies".to_owned(),
    };
    world.hear("a", alarm());
    world.pass(5 * MIN);
    world.hear("a", alarm());
    world.pass(6 * MIN);
    assert!(of_kind(&world, "identity_clash")[0].is_open());
    world.pass(5 * MIN);
    assert_eq!(of_kind(&world, "identity_clash").len(), 1);
    assert!(!of_kind(&world, "identity_clash")[0].is_open());
}
