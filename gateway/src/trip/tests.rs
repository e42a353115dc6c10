use firmware_shared::units::Celsius128;

use super::*;
use crate::config::Driver;

fn sensors() -> Vec<SensorConfig> {
    let at = |index, name: &str, compartment: &str| SensorConfig {
        compartment: compartment.try_into().unwrap(),
        ..SensorConfig::of_part(index, name, Driver::Tmp117, 0x48)
    };
    vec![at(0, "a", "front"), at(1, "b", "rear"), at(2, "c", "")]
}

fn desk() -> TripDesk {
    TripDesk::new(&sensors())
}

const FROZEN: &str = r#"
version = 7
load_id = "L-4711"
[[compartment]]
name = "front"
set_point_deg_c = -18.0
[[limit]]
role = "load"
compartment = "front"
high_deg_c = -15.0
duration_s = 600
severity = "warning"
"#;

fn accepted(answer: &Answer) -> u64 {
    match answer {
        Answer::Accepted { version, .. } => *version,
        other => panic!("{other:?}"),
    }
}

fn refused(answer: Answer) -> String {
    match answer {
        Answer::Refused { text, .. } => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_profile_is_in_force_at_once_and_says_what_it_allows_each_sensor() {
    let mut desk = desk();
    let answer = desk.offer(None, Origin::Centre, FROZEN.as_bytes());
    assert_eq!(
        answer,
        Answer::Accepted {
            version: 7,
            in_force: true,
            text: "profile 7 for load L-4711 is accepted; it is in force".to_owned(),
        }
    );
    let current = desk.current().unwrap();
    assert_eq!(
        (current.set_points.len(), current.set_points[0].deg_c),
        (1, -18.0)
    );
    let front = desk.limits_of(0);
    assert_eq!(front[0].limits.high, Some(Celsius128(-15 * 128)));
    assert_eq!(front[0].limits.duration_ms, 600_000);
    assert!(desk.limits_of(1).is_empty() && desk.limits_of(2).is_empty());
}

#[test]
fn json_and_toml_are_one_profile() {
    let json = r#"{"version": 7, "load_id": "L-4711",
        "compartment": [{"name": "front", "set_point_deg_c": -18}],
        "limit": [{"role": "load", "compartment": "front", "high_deg_c": -15, "duration_s": 600,
                   "severity": "warning"}]}"#;
    let mut desk = desk();
    accepted(&desk.offer(None, Origin::Centre, FROZEN.as_bytes()));
    let again = desk.offer(None, Origin::Centre, json.as_bytes());
    assert_eq!(again, Answer::Known { version: Some(7) });
}

#[test]
fn only_a_higher_version_is_taken_whoever_sends_it() {
    let mut desk = desk();
    accepted(&desk.offer(None, Origin::Centre, FROZEN.as_bytes()));
    let other = FROZEN.replace("-18.0", "-20.0");
    let text = refused(desk.offer(None, Origin::Centre, other.as_bytes()));
    assert_eq!(text, "version 7 is known with other contents");
    let old = FROZEN.replace("version = 7", "version = 6");
    let text = refused(desk.offer(None, Origin::Vehicle, old.as_bytes()));
    assert_eq!(text, "version 6 is older than 7");
    assert_eq!(desk.current().unwrap().set_points[0].deg_c, -18.0);
    let unnumbered = other.replace("version = 7", "");
    assert_eq!(
        accepted(&desk.offer(None, Origin::Vehicle, unnumbered.as_bytes())),
        8
    );
    assert_eq!(desk.current().unwrap().set_points[0].deg_c, -20.0);
    let text = refused(desk.offer(None, Origin::Centre, unnumbered.as_bytes()));
    assert!(text.contains("version is missing"), "{text}");
}

#[test]
fn a_profile_waits_for_its_time_and_for_a_clock() {
    let mut desk = desk();
    accepted(&desk.offer(None, Origin::Centre, FROZEN.as_bytes()));
    let later = FROZEN
        .replace(
            "version = 7",
            "version = 8\neffective_utc = \"2027-01-04T08:00:00Z\"",
        )
        .replace("-18.0", "4.0");
    let at_ms = 1_799_049_600_000;
    let answer = desk.offer(None, Origin::Centre, later.as_bytes());
    assert!(
        matches!(&answer, Answer::Accepted { in_force: false, text, .. }
            if text.ends_with("it will be in force from 2027-01-04T08:00:00.000Z, once the time is known")),
        "{answer:?}"
    );
    assert!(!desk.turn(None) && !desk.turn(Some(at_ms - 1)));
    assert_eq!(desk.current().unwrap().version, 7);
    // The next process waits on.
    let mut after = TripDesk::new(&sensors());
    after.restore(&desk.keep()).unwrap();
    assert_eq!(
        (after.current(), after.next()),
        (desk.current(), desk.next())
    );
    assert!(after.turn(Some(at_ms)));
    assert_eq!((after.current().unwrap().version, after.next()), (8, None));
    let again = after.offer(Some(at_ms), Origin::Centre, later.as_bytes());
    assert_eq!(again, Answer::Known { version: Some(8) });
}

#[test]
fn what_is_wrong_is_refused_with_key_value_and_what_is_allowed() {
    let table = [
        ("version = 0", "version = 0 is not allowed"),
        ("version = 7\nspeed = 3", "speed = 3 is not a known key"),
        ("version = 7\nload_id = 4", "load_id = 4 is not allowed"),
        (
            "version = 7\neffective_utc = \"tomorrow\"",
            "effective_utc = \"tomorrow\" is not allowed",
        ),
        (
            "version = 7\n[[compartment]]\nname = \"roof\"\nset_point_deg_c = 1",
            "compartment[0].name = \"roof\"",
        ),
        (
            "version = 7\n[[compartment]]\nname = \"rear\"",
            "set_point_deg_c is missing",
        ),
        (
            "version = 7\n[[limit]]\nrole = \"load\"",
            "high_deg_c is missing",
        ),
        (
            "version = 7\n[[limit]]\nrole = \"engine\"\nhigh_deg_c = 90",
            "limit[0] = nobody's",
        ),
        (
            "version = 7\n[[limit]]\nhigh_deg_c = 1\nlow_deg_c = 2",
            "limit[0].low_deg_c = 2 is not allowed",
        ),
        (
            "version = 7\n[[limit]]\nhigh_deg_c = 1\nfrom = \"25:00\"",
            "limit[0].from = \"25:00\"",
        ),
        ("{\"version\": 7, \"limit\": 3}", "limit = 3 is not allowed"),
        ("{\"version\": 7,", "line 1 is not"),
        ("version == 7", "line 1 is not TOML"),
    ];
    for (text, expected) in table {
        let mut desk = desk();
        let reason = refused(desk.offer(None, Origin::Centre, text.as_bytes()));
        assert!(
            reason.contains(expected) && reason.contains("allowed"),
            "{reason}"
        );
        assert!(reason.starts_with("cmd/profile: "), "{reason}");
        assert_eq!(reason.lines().count(), 1, "{reason:?}");
        assert_eq!((desk.current(), desk.version), (None, 0));
    }
    let long = format!("version = 7\nload_id = \"{}\"", "x".repeat(17_000));
    assert!(refused(desk().offer(None, Origin::Centre, long.as_bytes())).contains("16384"));
    assert!(refused(desk().offer(None, Origin::Centre, &[0xff])).contains("UTF-8"));
}

#[test]
fn what_the_broker_repeats_is_refused_once_and_somebody_on_the_vehicle_always_hears_why() {
    let mut desk = desk();
    let bad = b"version = 3\nspeed = 1";
    refused(desk.offer(None, Origin::Centre, bad));
    let again = desk.offer(None, Origin::Centre, bad);
    assert_eq!(again, Answer::Known { version: Some(3) });
    refused(desk.offer(None, Origin::Vehicle, bad));
    refused(desk.offer(None, Origin::Vehicle, bad));
}

#[test]
fn a_profile_that_no_longer_fits_this_device_is_dropped_and_its_version_remembered() {
    let mut before = desk();
    accepted(&before.offer(None, Origin::Centre, FROZEN.as_bytes()));
    let mut after = TripDesk::new(&sensors()[1..]);
    let error = after.restore(&before.keep()).unwrap_err();
    assert!(error.contains("front"), "{error}");
    assert_eq!((after.current(), after.version), (None, 7));
    assert!(desk().restore(b"{").is_err());
}
