use firmware_shared::alert::{ALERT_LEN_MAX, AlertState};
use firmware_shared::detect::{self, AnomalyKind, Head, Readiness, Share};
use firmware_shared::id::SeqRange;
use firmware_shared::reading::{Fault, FaultKind, Score, Value};
use firmware_shared::time::ClockSource;
use firmware_shared::units::Celsius128;
use proptest::prelude::*;

use super::*;
use crate::config::{Driver, LimitRule, Limits};

const SECOND: u64 = 1000;

mod condition_table {
    use super::*;
    use Change::{Cleared, Closed, Escalated, Raised};
    use Level::{Hold, Off, On, Worse};

    /// Steps a condition through (second, level) and compares its transitions.
    fn check(rule: Rule, steps: &[(u64, Level)], expected: &[(u64, Change)]) {
        let mut condition = Condition::default();
        let step = |(at, level): &(u64, Level)| {
            condition
                .step(at * SECOND, *level, &rule)
                .map(|change| (*at, change))
        };
        let changes: Vec<_> = steps.iter().filter_map(step).collect();
        assert_eq!(changes, expected);
    }

    fn rule(on_s: u64, off_s: u64) -> Rule {
        Rule {
            on_delay_ms: on_s * SECOND,
            off_delay_ms: off_s * SECOND,
            escalate_after_ms: Some(1800 * SECOND),
        }
    }

    #[test]
    fn without_a_delay_the_first_step_raises() {
        check(
            rule(0, 0),
            &[(5, On), (6, On), (7, Off)],
            &[(5, Raised), (7, Cleared)],
        );
    }

    #[test]
    fn it_must_hold_for_the_on_delay_without_a_break() {
        check(rule(10, 0), &[(0, On), (9, On), (10, On)], &[(10, Raised)]);
        check(
            rule(10, 0),
            &[(0, On), (5, Off), (6, On), (15, On), (16, On)],
            &[(16, Raised)],
        );
        check(
            rule(10, 0),
            &[(0, On), (5, Hold), (6, On), (15, On), (16, On)],
            &[(16, Raised)],
        );
    }

    #[test]
    fn it_must_be_gone_for_the_off_delay_without_a_break() {
        let steps = [(0, On), (1, Off), (60, Off), (61, Off)];
        check(rule(0, 60), &steps, &[(0, Raised), (61, Cleared)]);
        let steps = [
            (0, On),
            (1, Off),
            (50, On),
            (51, Off),
            (61, Off),
            (111, Off),
        ];
        check(rule(0, 60), &steps, &[(0, Raised), (111, Cleared)]);
        let steps = [
            (0, On),
            (1, Off),
            (50, Hold),
            (51, Off),
            (61, Off),
            (111, Off),
        ];
        check(rule(0, 60), &steps, &[(0, Raised), (111, Cleared)]);
    }

    #[test]
    fn inside_the_margin_it_neither_begins_nor_ends() {
        check(rule(0, 0), &[(0, Hold), (1, Hold)], &[]);
        check(
            rule(0, 0),
            &[(0, On), (1, Hold), (900, Hold)],
            &[(0, Raised)],
        );
    }

    #[test]
    fn it_escalates_once_while_it_lasts() {
        let steps = [
            (0, On),
            (1799, On),
            (1800, On),
            (1801, On),
            (9000, On),
            (9001, Off),
        ];
        check(
            rule(0, 0),
            &steps,
            &[(0, Raised), (1800, Escalated), (9001, Cleared)],
        );
    }

    #[test]
    fn an_hour_of_chatter_is_raised_once_and_a_day_of_it_once_an_hour() {
        let mut condition = Condition::default();
        let mut raised = Vec::new();
        for at in 0..86_400 {
            let level = if at % 10 < 5 { On } else { Off };
            if condition.step(at * SECOND, level, &rule(0, 0)) == Some(Raised) {
                raised.push(at);
            }
        }
        let hourly: Vec<u64> = (0..24).map(|hour| hour * 3600).collect();
        assert_eq!(raised, hourly);
    }

    #[test]
    fn a_condition_that_lasts_is_raised_when_its_hour_is_over() {
        let mut steps = vec![(0, On), (1, Off), (10, On), (11, Off), (20, On)];
        steps.extend((21..3620).map(|at| (at, On)));
        check(
            rule(0, 0),
            &steps,
            &[(0, Raised), (1, Cleared), (3600, Raised)],
        );
    }

    #[test]
    fn what_is_gone_is_closed_when_it_could_be_raised_again_and_has_been_quiet() {
        let steps = [(0, On), (60, Off), (3599, Off), (3600, Off), (3601, Off)];
        check(
            rule(0, 0),
            &steps,
            &[(0, Raised), (60, Cleared), (3600, Closed)],
        );
        // Gone late in its hour: ten minutes of quiet.
        for level in [Off, Hold] {
            check(
                rule(0, 0),
                &[(0, On), (3500, Off), (4099, level), (4100, level)],
                &[(0, Raised), (3500, Cleared), (4100, Closed)],
            );
        }
        // Back in between, and not long enough to be raised: quiet begins anew.
        let steps = [
            (0, On),
            (60, On),
            (70, Off),
            (4000, On),
            (4010, Off),
            (4599, Off),
            (4600, Off),
        ];
        check(
            rule(60, 0),
            &steps,
            &[(60, Raised), (70, Cleared), (4600, Closed)],
        );
    }

    #[test]
    fn what_is_worse_escalates_and_comes_back_within_its_hour() {
        check(
            rule(0, 0),
            &[(0, On), (1, Worse), (2, On), (3, Off), (4, On), (5, Worse)],
            &[(0, Raised), (1, Escalated), (3, Cleared), (5, Raised)],
        );
    }

    #[test]
    fn another_process_goes_on_where_the_last_one_stopped() {
        let mut before = Condition::default();
        before.step(1000 * SECOND, On, &rule(0, 60));
        before.step(1010 * SECOND, Off, &rule(0, 60));
        // The next process began 990 s of stamps earlier.
        let mut after = before.moved(-990 * SECOND as i64);
        assert_eq!(after.step(79 * SECOND, Off, &rule(0, 60)), None);
        assert_eq!(after.step(80 * SECOND, Off, &rule(0, 60)), Some(Cleared));
        assert_eq!(after.step(3609 * SECOND, On, &rule(0, 0)), None);
        assert_eq!(after.step(3610 * SECOND, On, &rule(0, 0)), Some(Raised));
    }

    proptest! {
        #[test]
        fn the_deadline_is_when_a_step_makes_a_transition(
            steps in prop::collection::vec((0_u64..2000, 0..3_usize), 1..60),
        ) {
            let (mut condition, rule) = (Condition::default(), rule(7, 11));
            let mut now = 0;
            for (wait, level) in steps {
                now += wait * SECOND;
                let level = [On, Hold, Off][level];
                condition.step(now, level, &rule);
                let Some(deadline) = condition.deadline_ms(&rule).filter(|at| *at > now) else { continue };
                prop_assert_eq!(condition.clone().step(deadline - 1, level, &rule), None);
                prop_assert!(condition.clone().step(deadline, level, &rule).is_some());
            }
        }
    }
}

fn sensor(duration_s: u64) -> SensorConfig {
    SensorConfig {
        limits: vec![LimitRule::always(Limits {
            high: Some(Celsius128(8 * 128)),
            low: Some(Celsius128(2 * 128)),
            duration_ms: duration_s * SECOND,
            hysteresis: Celsius128(64),
            severity: Severity::Critical,
        })],
        ..SensorConfig::of_part(3, "cargo", Driver::Tmp117, 0x48)
    }
}

fn verdict(deg_c: f64, found: Option<(AnomalyKind, f32)>, level: f32) -> Verdict {
    let head = |head, share| Some(Share { head, share });
    let number = detect::Verdict {
        score: found.map_or(0.0, |(_, score)| score),
        level,
        kind: found.map(|(kind, _)| kind),
        expected: 4.0,
        low: 3.0,
        high: 5.0,
        actual: Some(deg_c),
        lasting_ms: 25 * 60_000,
        heads: match found {
            Some(_) => [head(Head::Ramp, 0.75), head(Head::LevelUp, 0.25)],
            None => [None; 2],
        },
        readiness: Readiness::Ready,
    };
    Verdict {
        number: Some(number),
        ..Verdict::default()
    }
}

/// A desk, and what arrives at it.
struct Scene {
    desk: AlertDesk,
    seq: u64,
    said: Vec<Alert>,
}

fn at(second: u64) -> Now {
    Now {
        real_ms: second * SECOND,
        stamp_ms: second * SECOND,
    }
}

impl Scene {
    fn new(duration_s: u64) -> Self {
        let sensor = sensor(duration_s);
        let (device, epoch) = ("truck-001".parse().unwrap(), Epoch::from_random(0xabc));
        let desk = AlertDesk::new(device, epoch, [&sensor], at(0));
        Self {
            desk,
            seq: 1000,
            said: Vec::new(),
        }
    }

    fn give(&mut self, second: u64, value: Value, verdict: Verdict) {
        let reading = Reading {
            stamp_ms: second * SECOND,
            sensor: 3,
            score: Score(0),
            value,
        };
        self.desk.reading(at(second), self.seq, &reading, &verdict);
        self.seq += 1;
        self.said.extend(self.desk.take());
    }

    /// A value of which the detector says something.
    fn found(&mut self, second: u64, deg_c: f64, found: Option<(AnomalyKind, f32)>, level: f32) {
        let value = Value::Temperature(Celsius128((deg_c * 128.0) as i32));
        self.give(second, value, verdict(deg_c, found, level));
    }

    fn degrees(&mut self, second: u64, deg_c: f64) {
        self.give(
            second,
            Value::Temperature(Celsius128((deg_c * 128.0) as i32)),
            Verdict::default(),
        );
    }

    fn fault(&mut self, second: u64, kind: FaultKind) {
        self.give(
            second,
            Value::Fault(Fault {
                kind,
                register: 0,
                code: 0,
            }),
            Verdict::default(),
        );
    }

    fn tick(&mut self, second: u64) {
        self.desk.tick(at(second));
        self.said.extend(self.desk.take());
    }

    fn story(&self) -> Vec<(u64, &str, &str)> {
        let line = |alert: &'_ Alert| {
            (
                alert.boottime_ms / SECOND,
                alert.state.name(),
                alert.severity.name(),
            )
        };
        self.said.iter().map(line).collect()
    }

    fn kinds(&self) -> Vec<(&str, &str)> {
        self.said
            .iter()
            .map(|alert| (alert.kind.as_str(), alert.state.name()))
            .collect()
    }
}

#[test]
fn a_limit_without_a_duration_is_told_with_the_first_reading_beyond_it() {
    let mut scene = Scene::new(0);
    scene.degrees(10, 8.0);
    assert!(scene.said.is_empty(), "the limit itself is allowed");
    scene.degrees(11, 8.5);
    let alert = &scene.said[0];
    assert_eq!(
        (alert.kind.as_str(), alert.state),
        ("limit_high", AlertState::Raised)
    );
    assert_eq!(
        (alert.severity, alert.sensor.as_str()),
        (Severity::Critical, "cargo")
    );
    assert_eq!(
        (alert.value, alert.high, alert.unit.as_str()),
        (Some(8.5), Some(8.0), "degC")
    );
    assert_eq!(
        alert.text,
        "cargo is too warm: 8.50 degC, the limit is 8 degC"
    );
    assert_eq!(alert.window, SeqRange::new(1001 - 240, 1001 + 60));
    assert_eq!(
        (alert.seq, alert.boottime_ms, alert.utc.as_ref()),
        (0, 11_000, None)
    );
    assert_eq!(alert.id, "truck-001-0000000000000abc-0");
}

#[test]
fn a_limit_with_a_duration_waits_and_a_cold_load_is_told_as_well() {
    let mut scene = Scene::new(60);
    for second in 0..70 {
        scene.degrees(second, if second < 5 { 4.0 } else { 1.0 });
    }
    assert_eq!(scene.story(), [(65, "raised", "critical")]);
    assert_eq!(
        scene.said[0].text,
        "cargo is too cold: 1.00 degC, the limit is 2 degC"
    );
}

#[test]
fn it_clears_after_a_minute_inside_the_margin_and_keeps_its_id() {
    let mut scene = Scene::new(0);
    for second in 0..200 {
        let deg_c = if second < 50 {
            9.0
        } else if second < 100 {
            7.75
        } else {
            7.0
        };
        scene.degrees(second, deg_c);
    }
    assert_eq!(
        scene.story(),
        [(0, "raised", "critical"), (160, "cleared", "critical")]
    );
    assert_eq!(scene.said[0].id, scene.said[1].id);
    assert_eq!(
        (scene.said[0].seq, scene.said[1].seq, scene.desk.next_seq()),
        (0, 1, 2)
    );
    assert_eq!(scene.desk.open().count(), 0);
}

#[test]
fn half_an_hour_outside_is_told_again_as_worse() {
    let mut scene = Scene::new(0);
    for second in 0..3600 {
        scene.degrees(second, 9.0);
    }
    assert_eq!(
        scene.story(),
        [(0, "raised", "critical"), (1800, "escalated", "critical")]
    );
    assert_eq!(
        scene.desk.open().next().unwrap().state,
        AlertState::Escalated
    );
}

#[test]
fn a_fault_is_told_after_ten_seconds_and_heals_quietly_before() {
    let mut scene = Scene::new(0);
    scene.degrees(0, 4.0);
    scene.fault(1, FaultKind::IMPLAUSIBLE);
    scene.tick(9);
    scene.degrees(10, 4.0);
    scene.tick(30);
    assert!(scene.said.is_empty());
    scene.fault(31, FaultKind::IMPLAUSIBLE);
    assert_eq!(scene.desk.deadlines().0, Some(41 * SECOND));
    scene.tick(40);
    assert!(scene.said.is_empty());
    scene.tick(41);
    assert_eq!(scene.kinds(), [("sensor_fault", "raised")]);
    scene.degrees(50, 4.0);
    scene.degrees(55, 4.0);
    assert_eq!(scene.kinds()[1..], [("sensor_fault", "cleared")]);
}

#[test]
fn a_sensor_that_nobody_finds_is_lost_and_not_faulty() {
    let mut scene = Scene::new(0);
    scene.fault(0, FaultKind::NO_ACK);
    scene.tick(10);
    assert_eq!(scene.kinds(), [("sensor_lost", "raised")]);
    let text = "sensor cargo does not answer (no_ack); its value is not known";
    assert_eq!(scene.said[0].text, text);
}

#[test]
fn silence_of_a_hung_bus_is_a_lost_sensor_and_the_deadline_says_when() {
    let mut scene = Scene::new(0);
    scene.degrees(100, 4.0);
    assert_eq!(scene.desk.deadlines(), (None, Some(130 * SECOND)));
    scene.tick(129);
    assert_eq!(scene.desk.deadlines().0, None);
    scene.tick(130);
    scene.tick(140);
    assert_eq!(scene.kinds(), [("sensor_lost", "raised")]);
    scene.degrees(141, 4.0);
    scene.degrees(146, 4.0);
    assert_eq!(scene.kinds()[1..], [("sensor_lost", "cleared")]);
}

#[test]
fn a_tunnel_is_no_alert() {
    let mut scene = Scene::new(0);
    for minute in 0..30 {
        scene.fault(minute * 60, FaultKind::NO_FIX);
        scene.tick(minute * 60 + 29);
    }
    assert!(scene.said.is_empty(), "{:?}", scene.said);
}

#[test]
fn a_faulty_sensor_neither_begins_nor_ends_a_process_alert() {
    let mut scene = Scene::new(30);
    // 29 s too warm, then a fault: the time before it does not count.
    for second in 0..30 {
        scene.degrees(second, 9.0);
    }
    scene.fault(30, FaultKind::STRETCH_OR_LENGTH);
    for second in 31..61 {
        scene.degrees(second, 9.0);
    }
    assert!(scene.said.is_empty());
    scene.degrees(61, 9.0);
    assert_eq!(scene.kinds(), [("limit_high", "raised")]);
    // Inside again, then a fault: the minute inside begins anew.
    for second in 62..100 {
        scene.degrees(second, 4.0);
    }
    scene.fault(100, FaultKind::STRETCH_OR_LENGTH);
    for second in 101..161 {
        scene.degrees(second, 4.0);
    }
    assert_eq!(scene.said.len(), 1);
    scene.degrees(161, 4.0);
    assert_eq!(scene.kinds()[1..], [("limit_high", "cleared")]);
}

use AnomalyKind::{Drift, Runaway, Spike, Step, Stuck};

#[test]
fn a_finding_explains_itself_in_numbers_and_in_a_sentence() {
    let mut scene = Scene::new(0);
    scene.found(5, 7.0, Some((Runaway, 0.625)), 0.625);
    let alert = &scene.said[0];
    assert_eq!(
        (alert.kind.as_str(), alert.severity, alert.state),
        ("runaway", Severity::Critical, AlertState::Raised)
    );
    assert_eq!(
        (alert.value, alert.expected, alert.low, alert.high),
        (Some(7.0), Some(4.0), Some(3.0), Some(5.0))
    );
    assert_eq!(
        (alert.score, alert.duration_ms),
        (Some(0.625), Some(1_500_000))
    );
    let heads: Vec<_> = alert
        .heads
        .iter()
        .map(|h| (h.head.as_str(), h.share))
        .collect();
    assert_eq!(heads, [("ramp", 0.75), ("level_up", 0.25)]);
    assert_eq!(
        alert.text,
        "cargo is 7.0 degC, expected 4.0 (3.0 to 5.0) for 25 minutes: it keeps moving away and no normal \
         pattern lasts that long"
    );
    assert!(alert.window.is_some());
}

#[test]
fn a_score_around_the_threshold_for_an_hour_is_raised_once() {
    let mut scene = Scene::new(0);
    for second in 0..3600 {
        let found = (second % 20 == 0).then_some((Drift, 0.51));
        let level = if second % 20 < 10 { 0.51 } else { 0.2 };
        scene.found(second, 4.5, found, level);
    }
    assert_eq!(scene.story(), [(0, "raised", "warning")]);
}

#[test]
fn a_finding_clears_ten_minutes_after_its_level_has_fallen_and_closes_under_its_id() {
    let mut scene = Scene::new(0);
    scene.found(0, 7.0, Some((Drift, 0.6)), 0.6);
    for second in 1..5000 {
        // Between 70 % and all of what raises nothing ends.
        let level = if second < 300 { 0.36 } else { 0.34 };
        scene.found(second, 6.0, None, level);
    }
    assert_eq!(
        scene.story(),
        [
            (0, "raised", "warning"),
            (900, "cleared", "warning"),
            (3600, "closed", "warning")
        ]
    );
    let kinds: std::collections::BTreeSet<_> = scene.said.iter().map(|a| a.kind.as_str()).collect();
    let ids: std::collections::BTreeSet<_> = scene.said.iter().map(|a| a.id.as_str()).collect();
    assert_eq!((kinds.len(), ids.len()), (1, 1));
    assert_eq!(scene.said[1].text, "cargo is ordinary again: 6.0 degC");
}

#[test]
fn a_worse_finding_escalates_at_once_and_a_milder_one_does_not() {
    let mut scene = Scene::new(0);
    scene.found(0, 6.0, Some((Drift, 0.6)), 0.6);
    scene.found(60, 9.0, Some((Runaway, 0.7)), 0.7);
    scene.found(120, 9.0, Some((Drift, 0.8)), 0.8);
    let anomalies: Vec<_> = scene
        .said
        .iter()
        .filter(|alert| alert.kind != "limit_high")
        .map(|alert| {
            (
                alert.kind.as_str(),
                alert.state.name(),
                alert.severity.name(),
            )
        })
        .collect();
    assert_eq!(
        anomalies,
        [
            ("drift", "raised", "warning"),
            ("runaway", "escalated", "critical")
        ]
    );
}

#[test]
fn an_instrument_at_fault_keeps_what_it_measures_quiet() {
    let mut scene = Scene::new(0);
    scene.found(0, 4.0, Some((Stuck, 0.6)), 0.6);
    // Stuck, then free again with a jump: the jump is the instrument's.
    for second in 1..300 {
        scene.found(second, 4.0, None, 0.8);
    }
    scene.found(300, 6.0, Some((Step, 0.9)), 0.9);
    for second in 301..1500 {
        scene.found(second, 6.0, None, 0.0);
    }
    assert_eq!(scene.kinds(), [("stuck", "raised"), ("stuck", "cleared")]);
    assert_eq!(
        scene.said[0].severity,
        Severity::Warning,
        "blindness at the load"
    );
}

#[test]
fn a_step_that_a_fault_follows_is_the_faults() {
    let mut scene = Scene::new(0);
    scene.found(0, 6.0, Some((Step, 0.9)), 0.9);
    scene.found(1, 6.0, None, 0.0);
    scene.fault(2, FaultKind::WIRE);
    for second in 3..60 {
        scene.tick(second);
    }
    scene.found(60, 6.0, None, 0.0);
    scene.found(70, 6.0, None, 0.0);
    assert_eq!(
        scene.kinds(),
        [("sensor_fault", "raised"), ("sensor_fault", "cleared")]
    );
}

#[test]
fn a_step_is_told_when_it_stays_and_a_spike_at_once() {
    let mut scene = Scene::new(0);
    scene.found(0, 6.0, Some((Step, 0.9)), 0.9);
    scene.found(5, 4.0, None, 0.0);
    scene.found(20, 4.0, None, 0.0);
    assert!(scene.said.is_empty(), "back inside within ten seconds");
    scene.found(30, 6.0, Some((Step, 0.9)), 0.9);
    scene.found(39, 6.0, None, 0.0);
    assert!(scene.said.is_empty());
    scene.found(40, 6.0, None, 0.0);
    scene.found(50, 4.0, Some((Spike, 0.9)), 0.9);
    assert_eq!(
        scene.story(),
        [(40, "raised", "warning"), (50, "raised", "diagnostic")]
    );
}

#[test]
fn a_model_that_is_too_young_tells_nothing_and_limits_hold_all_the_same() {
    let mut scene = Scene::new(0);
    let mut young = verdict(9.0, Some((Runaway, 0.9)), 0.9);
    young.number.as_mut().unwrap().readiness = Readiness::Cold;
    scene.give(0, Value::Temperature(Celsius128(9 * 128)), young);
    assert_eq!(scene.kinds(), [("limit_high", "raised")]);
}

#[test]
fn what_is_told_goes_on_under_its_id_in_the_next_process() {
    let mut first = Scene::new(0);
    first.degrees(1000, 9.0);
    first.found(1000, 7.9, Some((Drift, 0.6)), 0.6);
    first
        .desk
        .alarm(at(1000), alarm("centre_silent", AlarmPhase::Begins));
    first.said.extend(first.desk.take());
    let ids: Vec<_> = first.said.iter().map(|alert| alert.id.clone()).collect();
    let kept = serde_json::to_string(&first.desk.keep(at(1010))).unwrap();

    let mut second = Scene::new(0);
    second
        .desk
        .restore(at(5), serde_json::from_str(&kept).unwrap());
    assert_eq!(second.desk.open().count(), 3);
    for second_of in 6..4000 {
        second.found(second_of, 4.0, None, 0.0);
        second.tick(second_of);
    }
    let story: Vec<_> = second
        .said
        .iter()
        .map(|a| (a.boottime_ms / SECOND, a.kind.as_str(), a.state.name()))
        .collect();
    assert_eq!(
        story,
        [
            (65, "centre_silent", "cleared"),
            (66, "limit_high", "cleared"),
            (606, "drift", "cleared"),
            (3595, "limit_high", "closed"),
            (3595, "drift", "closed"),
            (3595, "centre_silent", "closed"),
        ]
    );
    let mut later: Vec<_> = second.said.iter().map(|alert| alert.id.clone()).collect();
    later.sort();
    later.dedup();
    assert_eq!(later, ids);
}

#[test]
fn an_alert_of_a_sensor_that_is_gone_is_closed_at_the_start() {
    let mut first = Scene::new(0);
    first.degrees(1000, 9.0);
    let kept = first.desk.keep(at(1000));
    let other = SensorConfig::of_part(0, "another", Driver::Tmp117, 0x48);
    let (device, epoch) = ("truck-001".parse().unwrap(), Epoch::from_random(2));
    let mut desk = AlertDesk::new(device, epoch, [&other], at(0));
    desk.restore(at(1), kept);
    let said = desk.take();
    assert_eq!(said.len(), 1);
    assert_eq!(
        (&said[0].id, said[0].state),
        (&first.said[0].id, AlertState::Closed)
    );
    assert_eq!(desk.open().count(), 0);
}

#[test]
fn limits_of_the_trip_take_the_place_of_the_own_ones_and_what_is_open_clears_under_them() {
    let mut scene = Scene::new(0);
    scene.degrees(0, 9.0);
    let frozen = LimitRule::always(Limits {
        high: Some(Celsius128(-15 * 128)),
        severity: Severity::Warning,
        ..Limits::NONE
    });
    let warm = LimitRule::always(Limits {
        high: Some(Celsius128(25 * 128)),
        ..Limits::NONE
    });
    scene.desk.trip(Some("L-1"), Some(3), |_| vec![&warm]);
    for second in 1..100 {
        scene.degrees(second, 9.0);
    }
    assert_eq!(
        scene.story(),
        [(0, "raised", "critical"), (61, "cleared", "critical")]
    );
    assert_eq!(
        (
            scene.said[1].load_id.as_deref(),
            scene.said[1].profile_version
        ),
        (Some("L-1"), Some(3))
    );
    scene.desk.trip(None, Some(4), |_| vec![&frozen, &warm]);
    scene.degrees(3601, 9.0);
    scene.degrees(3602, 30.0);
    assert_eq!(
        scene.story()[2..],
        [(3601, "raised", "warning"), (3602, "raised", "warning")]
    );
    scene.desk.trip(None, None, |_| Vec::new());
    for second in 3603..3700 {
        scene.degrees(second, 5.0);
    }
    assert_eq!(scene.desk.open().count(), 0);
}

#[test]
fn an_event_is_one_transition_that_is_done_with() {
    let mut scene = Scene::new(0);
    scene.desk.event(
        at(1),
        Event {
            kind: "profile",
            severity: Severity::Diagnostic,
            text: "profile 7 is in force".to_owned(),
            profile_version: Some(7),
        },
    );
    let said = scene.desk.take();
    assert_eq!((said.len(), said[0].state), (1, AlertState::Closed));
    assert_eq!(said[0].profile_version, Some(7));
    assert_eq!(scene.desk.open().count(), 0);
}

fn alarm(kind: &'static str, phase: AlarmPhase) -> Alarm {
    Alarm {
        kind,
        phase,
        severity: Severity::Diagnostic,
        text: format!("{kind} {phase:?}"),
    }
}

#[test]
fn alarms_of_the_gateway_are_raised_once_and_called_off() {
    let mut scene = Scene::new(0);
    for second in [1, 2, 3] {
        scene
            .desk
            .alarm(at(second), alarm("centre_silent", AlarmPhase::Begins));
    }
    scene
        .desk
        .alarm(at(9), alarm("centre_silent", AlarmPhase::Ends));
    scene
        .desk
        .alarm(at(10), alarm("centre_silent", AlarmPhase::Ends));
    scene.said.extend(scene.desk.take());
    assert_eq!(
        scene.story(),
        [(1, "raised", "diagnostic"), (9, "cleared", "diagnostic")]
    );
    assert_eq!(
        (scene.said[0].sensor.as_str(), scene.said[0].window),
        ("gateway", None)
    );
}

#[test]
fn an_event_is_over_when_it_does_not_come_back() {
    let mut scene = Scene::new(0);
    scene
        .desk
        .alarm(at(0), alarm("foreign_central", AlarmPhase::Event));
    scene
        .desk
        .alarm(at(300), alarm("foreign_central", AlarmPhase::Event));
    scene.degrees(890, 4.0);
    scene.tick(899);
    assert_eq!(scene.kinds(), [("foreign_central", "raised")]);
    assert_eq!(scene.desk.deadlines().1, Some(900 * SECOND));
    scene.tick(900);
    assert_eq!(scene.kinds()[1..], [("foreign_central", "cleared")]);
}

#[test]
fn utc_is_told_as_soon_as_it_is_known() {
    let mut scene = Scene::new(0);
    scene.desk.anchor(TimeAnchor {
        boottime_ms: 0,
        utc_ms: 1_799_049_600_000,
        error_ms: 100,
        source: ClockSource::Gnss,
    });
    scene.degrees(1, 9.0);
    assert_eq!(
        scene.said[0].utc.as_deref(),
        Some("2027-01-04T08:00:01.000Z")
    );
    assert_eq!(utc_text(i64::MAX), None);
}

proptest! {
    #[test]
    fn every_alert_fits_its_bytes_and_reads_back(name in "\\PC{1,8}", deg_c in -50.0..150.0_f64) {
        let mut sensor = sensor(0);
        sensor.name = name.as_str().try_into().unwrap_or_default();
        let device = "a".repeat(32).parse().unwrap();
        let mut desk = AlertDesk::new(device, Epoch::from_random(u64::MAX), [&sensor], at(0));
        let value = Celsius128((deg_c * 128.0) as i32);
        let reading = Reading {
            stamp_ms: u64::MAX, sensor: 3, score: Score(1000), value: Value::Temperature(value),
        };
        let verdict = verdict(value.as_degrees_f64(), Some((Runaway, 1.0)), 1.0);
        desk.reading(at(1), u64::MAX - 1, &reading, &verdict);
        for alert in desk.take() {
            let bytes = to_json(&alert).unwrap();
            prop_assert!(bytes.len() <= ALERT_LEN_MAX);
            prop_assert_eq!(serde_json::from_slice::<Alert>(&bytes).unwrap(), alert);
        }
    }
}

#[test]
fn a_fault_of_every_part_of_a_bus_is_one_alert_about_the_bus() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let mut text =
        "[device]\nid = \"a\"\n[broker]\nhost = \"b\"\n[[bus]]\nname = \"i2c1\"\npath = \"/d\"\n"
            .to_owned();
    for address in 0x48..0x4b {
        text.push_str(&format!(
            "[[bus.sensor]]\nname = \"s{address}\"\ndriver = \"tmp117\"\naddress = {address}\n"
        ));
    }
    std::fs::write(&file, text).unwrap();
    let config = crate::config::Config::load(&file).unwrap();
    let now = |at_ms: u64| Now {
        real_ms: at_ms,
        stamp_ms: at_ms,
    };
    let mut desk = AlertDesk::new(
        "truck-001".parse().unwrap(),
        firmware_shared::id::Epoch::from_random(1),
        config.sensors(),
        now(0),
    )
    .with_buses(&config.buses);
    let fault = Fault {
        kind: FaultKind::NO_ACK,
        register: 0,
        code: 0,
    };
    let mut said = Vec::new();
    let mut seq = 0;
    let mut tell = |desk: &mut AlertDesk, at_ms: u64, value: Value| {
        for sensor in 0..3 {
            let reading = Reading {
                stamp_ms: at_ms,
                sensor,
                score: Score(0),
                value,
            };
            seq += 1;
            desk.reading(now(at_ms), seq, &reading, &Verdict::default());
        }
    };
    let report = |problem| BusReport { bus: 0, problem };
    tell(&mut desk, 1000, Value::Fault(fault));
    desk.bus(now(1000), report(Some(FaultKind::NO_ACK)));
    for second in 2..90 {
        if second == 61 {
            tell(&mut desk, second * SECOND, Value::Fault(fault));
        }
        desk.tick(now(second * SECOND));
        said.extend(desk.take());
    }
    tell(&mut desk, 90_000, Value::Temperature(Celsius128(512)));
    desk.bus(now(90_000), report(None));
    desk.tick(now(96_000));
    said.extend(desk.take());
    let words: Vec<_> = said
        .iter()
        .map(|alert| (alert.kind.as_str(), alert.sensor.as_str(), alert.state))
        .collect();
    assert_eq!(
        words,
        [
            ("bus_fault", "i2c1", AlertState::Raised),
            ("bus_fault", "i2c1", AlertState::Cleared),
        ]
    );
}

#[test]
fn a_receiver_that_is_spoofed_is_told_as_such_and_stays_so_while_positions_come() {
    let now = |at_ms: u64| Now {
        real_ms: at_ms,
        stamp_ms: at_ms,
    };
    let receiver = SensorConfig::of_part(3, "gnss", Driver::Ublox, 0x42);
    let mut desk = AlertDesk::new(
        "truck-001".parse().unwrap(),
        firmware_shared::id::Epoch::from_random(1),
        [&receiver],
        now(0),
    );
    let mut said = Vec::new();
    for second in 0..60 {
        let fault = |kind, code| {
            Value::Fault(Fault {
                kind,
                register: 0,
                code,
            })
        };
        let mut values = vec![Value::State(1)];
        match second {
            5 => values.push(fault(FaultKind::SPOOFED, 2)),
            7 => values.push(fault(FaultKind::JUMP, 400_000)),
            30 => values.push(fault(FaultKind::SPOOFED, 0)),
            _ => {}
        }
        for value in values {
            let reading = Reading {
                stamp_ms: second * SECOND,
                sensor: 3,
                score: Score(0),
                value,
            };
            desk.reading(now(second * SECOND), second, &reading, &Verdict::default());
        }
        desk.tick(now(second * SECOND));
        said.extend(desk.take());
    }
    let words: Vec<_> = said
        .iter()
        .map(|alert| (alert.boottime_ms / SECOND, alert.kind.as_str(), alert.state))
        .collect();
    assert_eq!(
        words,
        [
            (15, "gnss_spoofing", AlertState::Raised),
            (35, "gnss_spoofing", AlertState::Cleared)
        ]
    );
}
