use super::*;

fn one_route() -> World {
    World::new(vec![route("desk", all())], vec![takes()])
}

#[test]
fn whoever_is_told_of_a_beginning_is_told_of_the_end_and_each_once() {
    let mut world = one_route();
    for _ in 0..2 {
        world.feed(raised("a", 0));
    }
    world.pass(MIN);
    for _ in 0..2 {
        world.feed(cleared("a", 0));
    }
    world.pass(MIN);
    assert_eq!(world.keys("desk"), ["a-1-0/raised", "a-1-0/cleared"]);
    assert_eq!(world.item("a-1-0").state, AlertState::Cleared);
}

#[test]
fn an_alert_that_began_and_ended_offline_is_told_once_as_a_closed_pair() {
    for reversed in [false, true] {
        let mut world = one_route();
        let mut pair = [raised("a", 0), cleared("a", 0)];
        if reversed {
            // The newest goes first after an outage.
            pair.reverse();
        }
        for alert in pair {
            world.feed_late(alert, 6 * 60 * MIN);
            world.pass(S);
        }
        world.pass(MIN);
        assert_eq!(world.keys("desk"), ["a-1-0/closed"], "{reversed}");
        let item = world.item("a-1-0");
        assert!(item.late);
        assert_eq!(item.state, AlertState::Closed);
        assert!(item.raised_ms.is_some() && item.cleared_ms.is_some());
    }
}

#[test]
fn a_late_alert_that_lasts_is_told_marked_late() {
    let mut world = one_route();
    world.feed_late(raised("a", 0), 6 * 60 * MIN);
    assert!(world.keys("desk").is_empty());
    world.pass(5 * S);
    assert_eq!(world.keys("desk"), ["a-1-0/raised"]);
    assert!(world.item("a-1-0").late);
}

#[test]
fn lateness_is_seen_by_the_gateways_own_clock_where_nobody_knows_the_utc() {
    let mut world = one_route();
    world.hear("a", up(1));
    let what = What::Born {
        epoch: epoch(1),
        software: String::new(),
        stamp_ms: 77_000 + 3_600_000,
    };
    world.hear("a", what);
    let fed = Fed {
        n: 1,
        alert: raised("a", 0),
        utc_ms: None,
        received_ms: START_MS,
    };
    world
        .core
        .fed(world.now(), &fed, false, &world.store)
        .unwrap();
    world.settle();
    assert!(world.item("a-1-0").late);
}

#[test]
fn the_same_again_is_muted_and_told_when_it_lasts() {
    let mut world = one_route();
    world.feed(raised("a", 0));
    world.feed(cleared("a", 0));
    world.pass(MIN);
    world.feed(raised("a", 10));
    world.feed(cleared("a", 10));
    world.pass(MIN);
    world.feed(raised("a", 20));
    assert!(world.item("a-1-20").muted);
    world.pass(MIN);
    assert_eq!(world.keys("desk"), ["a-1-0/raised", "a-1-0/cleared"]);
    // Ten minutes after the first one it is still there.
    world.pass(8 * MIN);
    assert!(!world.item("a-1-20").muted);
    assert_eq!(world.keys("desk").last(), Some(&"a-1-20/raised"));
}

#[test]
fn a_worse_one_is_never_muted() {
    let mut world = one_route();
    let mut mild = raised("a", 0);
    mild.severity = Severity::Warning;
    world.feed(mild);
    world.feed(raised("a", 10));
    assert_eq!(world.keys("desk"), ["a-1-0/raised", "a-1-10/raised"]);
}

#[test]
fn more_than_ten_of_one_kind_in_ten_minutes_become_one_item() {
    let mut world = one_route();
    for number in 0..30 {
        world.feed(raised(&format!("t{number}"), 0));
        world.pass(S);
    }
    let keys = world.keys("desk");
    assert_eq!(keys.len(), 11, "{keys:?}");
    let common: Vec<AlertItem> = world
        .items()
        .into_iter()
        .filter(|item| item.members > 0)
        .collect();
    assert_eq!(common.len(), 1);
    assert_eq!(common[0].members, 30);
    let parts = world.items().into_iter();
    let parts = parts.filter(|item| item.collapsed_into.as_ref() == Some(&common[0].id));
    assert_eq!(parts.count(), 30, "no alert is dropped");
    // Those that were told are told of their end; the others are told by the one item.
    for number in 0..30 {
        world.feed(cleared(&format!("t{number}"), 0));
    }
    world.pass(11 * MIN);
    let keys = world.keys("desk");
    assert_eq!(
        keys.iter().filter(|key| key.ends_with("/cleared")).count(),
        11
    );
    assert_eq!(
        keys.last(),
        Some(&format!("{}/cleared", common[0].id).as_str())
    );
}

#[test]
fn ten_of_one_kind_stay_ten() {
    let mut world = one_route();
    for number in 0..10 {
        world.feed(raised(&format!("t{number}"), 0));
    }
    world.pass(10 * MIN);
    for number in 10..20 {
        world.feed(raised(&format!("t{number}"), 0));
    }
    let raised = world.keys("desk");
    let raised = raised.iter().filter(|key| key.ends_with("/raised"));
    assert_eq!(raised.count(), 20);
    assert!(world.items().iter().all(|item| item.members == 0));
}

#[test]
fn nobody_acknowledges_and_it_is_escalated_once() {
    let mut world = one_route();
    world.feed(raised("a", 0));
    world.pass(14 * MIN);
    assert_eq!(world.keys("desk"), ["a-1-0/raised"]);
    world.pass(60 * MIN);
    assert_eq!(world.keys("desk"), ["a-1-0/raised", "a-1-0/escalated"]);
    assert_eq!(world.item("a-1-0").state, AlertState::Escalated);
}

#[test]
fn an_acknowledged_alert_is_not_escalated_unless_it_gets_worse() {
    let mut world = one_route();
    let mut mild = raised("a", 0);
    mild.severity = Severity::Warning;
    world.feed(mild);
    let order = Command::Acknowledge {
        alert: "a-1-0".to_owned(),
        who: "ann".to_owned(),
    };
    world.core.order(world.now(), &order, &world.store).unwrap();
    world.pass(60 * MIN);
    assert_eq!(world.keys("desk"), ["a-1-0/raised"]);
    world.feed(transition("a", 0, 1, AlertState::Escalated));
    assert_eq!(world.keys("desk"), ["a-1-0/raised", "a-1-0/escalated"]);
    assert_eq!(world.item("a-1-0").acknowledged_by, None);
}

#[test]
fn escalation_survives_a_crash() {
    let mut world = one_route();
    world.feed(raised("a", 0));
    world.pass(10 * MIN);
    world.crash();
    world.pass(10 * MIN);
    assert_eq!(world.keys("desk"), ["a-1-0/raised", "a-1-0/escalated"]);
}

#[test]
fn what_a_gateway_had_open_before_it_began_anew_is_over_unless_it_says_so_again() {
    let mut world = one_route();
    world.hear("a", up(1));
    world.feed(raised("a", 0));
    world.hear("a", up(2));
    world.pass(5 * MIN);
    assert!(world.item("a-1-0").is_open());
    world.pass(6 * MIN);
    assert_eq!(world.keys("desk"), ["a-1-0/raised", "a-1-0/cleared"]);
}

#[test]
fn a_route_takes_what_it_wants_and_nothing_else() {
    let select = |change: fn(&mut Select)| {
        let mut select = all();
        change(&mut select);
        select
    };
    let routes = vec![
        route(
            "severity",
            select(|s| s.severity = crate::config::SeverityName::Critical),
        ),
        route("kind", select(|s| s.kinds = vec!["limit_*".to_owned()])),
        route("device", select(|s| s.devices = vec!["truck-?".to_owned()])),
        route("group", select(|s| s.groups = vec!["cold".to_owned()])),
        route("role", select(|s| s.roles = vec!["load".to_owned()])),
        route("pager", select(|s| s.escalated_only = true)),
    ];
    let receivers = (0..6).map(|_| takes()).collect();
    let groups = vec![Group {
        name: "cold".to_owned(),
        devices: vec!["truck-1".to_owned()],
        silent_after_s: None,
        sensor_silent_after_s: None,
    }];
    let mut world = World::with(routes, receivers, groups, |_| ());
    for device in ["truck-1", "van"] {
        world.hear(device, up(1));
        let what = What::Catalogue {
            epoch: epoch(1),
            sensors: vec![SensorKnown {
                index: 1,
                name: "cargo".to_owned(),
                role: if device == "van" { "engine" } else { "load" }.to_owned(),
                period_ms: 0,
                calibration_until_day: None,
            }],
        };
        world.hear(device, what);
    }
    world.feed(raised("truck-1", 0));
    let mut other = raised("van", 0);
    other.severity = Severity::Diagnostic;
    other.kind = "anomaly".try_into().unwrap();
    world.feed(other);
    for name in ["severity", "kind", "device", "group", "role"] {
        assert_eq!(world.keys(name), ["truck-1-1-0/raised"], "{name}");
    }
    assert!(world.keys("pager").is_empty());
    world.pass(20 * MIN);
    assert_eq!(world.keys("pager"), ["truck-1-1-0/escalated"]);
}
