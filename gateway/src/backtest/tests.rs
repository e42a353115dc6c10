use std::path::Path;

use super::*;

const CONFIG: &str = r#"
[device]
id = "truck-001"
[broker]
host = "b"
[[bus]]
name = "i2c1"
path = "/dev/i2c-1"
[[bus.sensor]]
name = "load"
driver = "tmp117"
address = 0x48
role = "load"
limit_high_deg_c = 8.0
[[bus.sensor]]
name = "outside"
driver = "tmp117"
address = 0x49
role = "ambient"
"#;

fn config() -> Config {
    Config::parse(Path::new("/etc/gateway.toml"), CONFIG).unwrap()
}

fn run(csv: &str) -> Result<(Summary, Vec<Alert>), BacktestError> {
    let config = config();
    let backtest = Backtest {
        config: &config,
        sensor: None,
        trip: None,
    };
    let mut told = Vec::new();
    let summary = backtest.run(csv.as_bytes(), |alert| {
        told.push(alert.clone());
        Ok(())
    })?;
    Ok((summary, told))
}

/// A fridge for some days, once a minute, and then a runaway.
fn days(days: u64, runaway: bool) -> String {
    let mut csv = "timestamp,value\n".to_owned();
    for minute in 0..days * 1440 + 240 {
        let phase = (minute % 30) as f64;
        let tooth = if phase < 15.0 { phase } else { 30.0 - phase };
        let sun = (minute as f64 * std::f64::consts::TAU / 1440.0).sin() * 0.4;
        let dice = minute.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let noise = ((dice ^ (dice >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f64;
        let over = match runaway {
            true => minute.saturating_sub(days * 1440) as f64 * 0.1,
            false => 0.0,
        };
        let noise = (noise / f64::from(1 << 24) - 0.5) * 0.3;
        let value = 2.0 + tooth / 5.0 + sun + noise + over;
        csv.push_str(&format!("{},{value:.4}\n", 1_799_020_800 + minute * 60));
    }
    csv
}

#[test]
fn a_runaway_is_told_by_the_detector_and_by_its_limit_with_explanations() {
    let (summary, told) = run(&days(4, true)).unwrap();
    let kinds: Vec<_> = told.iter().map(|alert| alert.kind.as_str()).collect();
    assert!(
        kinds.contains(&"runaway") && kinds.contains(&"limit_high"),
        "{kinds:?}"
    );
    let runaway = told.iter().find(|alert| alert.kind == "runaway").unwrap();
    assert!(
        !runaway.heads.is_empty() && runaway.expected.is_some(),
        "{runaway:?}"
    );
    assert!(line(runaway).contains("by "), "{}", line(runaway));
    assert!(runaway.utc.as_ref().unwrap().starts_with("2027-01-08T"));
    assert_eq!(summary.readings, 4 * 1440 + 240);
    assert_eq!(summary.raised.critical, 2, "{summary:?}");
    assert_eq!(summary.raised_by_kind.get("runaway"), Some(&1));
    assert!(
        (summary.per_day.critical - 2.0 / 4.166).abs() < 0.01,
        "{summary:?}"
    );
}

#[test]
fn ordinary_days_raise_nothing_critical() {
    let (summary, told) = run(&days(6, false)).unwrap();
    assert_eq!(summary.raised.critical, 0, "{told:?}");
    assert_eq!(summary.days, 6.166);
    assert!(summary.alerts_per_day <= 0.5, "{told:?}");
}

#[test]
fn rows_name_their_sensors_and_carry_what_else_is_known() {
    let csv = "timestamp,sensor,value,door,set_point\n\
        2027-01-04 08:00:00,load,9.0,1,4.0\n\
        2027-01-04T08:00:01Z,outside,30.0,,\n\
        1799049602,load,NaN,0,\n\
        1799049603000,load,,,\n\
        1799049601,load,4,,\n";
    let (summary, told) = run(csv).unwrap();
    assert_eq!(
        (summary.readings, summary.invalid, summary.out_of_order),
        (4, 2, 1)
    );
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].utc.as_deref(), Some("2027-01-04T08:00:00.000Z"));
    assert_eq!(summary.open, [told[0].id.to_string()]);
    assert_eq!(
        summary.alerts_per_day, 0.0,
        "three seconds say nothing about a day"
    );
}

#[test]
fn what_is_wrong_is_named_with_line_and_value() {
    let table = [
        ("", "\"timestamp\" is missing"),
        ("time,value\n", "\"time\" is not known"),
        (
            "timestamp,value\nyesterday,4\n",
            "line 2: timestamp = \"yesterday\"",
        ),
        (
            "timestamp,value\n1,4\n\n2,warm\n",
            "line 4: value = \"warm\"",
        ),
        (
            "timestamp,value,sensor\n1,4,roof\n",
            "line 2: sensor = \"roof\"; allowed is one of load, outside",
        ),
        ("timestamp,value,sensor\n1,4,\n", "line 2: sensor = \"\""),
    ];
    for (csv, expected) in table {
        let error = run(csv).unwrap_err().to_string();
        assert!(
            error.contains(expected) && error.contains("allowed"),
            "{error}"
        );
    }
}
