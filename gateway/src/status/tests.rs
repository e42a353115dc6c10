use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn a_question_is_answered_through_the_pipelines_channel() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("status.sock");
    let (socket, questions) = StatusSocket::open(&path).unwrap();
    let metadata = std::fs::metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for answer in ["{\"device\":\"a\"}", "not json"] {
                let question: Question = questions.recv().unwrap();
                question.answer.send(answer.into()).unwrap();
            }
        });
        assert_eq!(ask(&path).unwrap(), json!({"device": "a"}));
        assert!(matches!(ask(&path), Err(AskError::Answer { .. })));
    });
    drop(socket);
    assert!(matches!(ask(&path), Err(AskError::Unreachable { .. })));
}

#[test]
fn who_asks_a_busy_gateway_is_told_so_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("status.sock");
    let (_socket, _questions) = StatusSocket::open(&path).unwrap();
    assert!(matches!(ask(&path), Err(AskError::Answer { .. })));
}

#[test]
fn the_socket_of_a_dead_process_is_replaced_and_that_of_a_living_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("status.sock");
    // A listener that is dropped leaves its file behind, as a killed process does.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let first = StatusSocket::open(&path).unwrap();
    assert!(matches!(
        StatusSocket::open(&path),
        Err(SocketError::InUse { .. })
    ));
    drop(first);
    let nowhere = folder.path().join("none").join("status.sock");
    assert!(matches!(
        StatusSocket::open(&nowhere),
        Err(SocketError::Bind { .. })
    ));
}

#[test]
fn a_page_shows_what_matters() {
    let report = json!({
        "device": "truck-001", "uptime_ms": 61_000, "rss_bytes": 6_291_456_u64,
        "clock": {"source": "gnss", "utc": "2027-01-04T08:00:01.000Z"},
        "lanes": {"telemetry": {"next_seq": 42, "unacked": 2, "held_bytes": 90}},
        "link": {"main": true, "alert": false}, "mode": "disk",
        "sensors": [
            {"name": "cargo", "state": "online", "last": {"deg_c": 4.5}, "age_ms": 300, "fault": null},
            {"name": "air", "state": "online", "last": {"value": 85.04, "unit": "%"}, "age_ms": 300,
             "fault": null},
            {"name": "door", "state": "online", "last": {"active": false}, "age_ms": 300, "fault": null},
            {"name": "gnss", "state": "online", "last": {"lat": 52.5, "lon": 13.4}, "age_ms": 70_000,
             "fault": "no_fix"},
        ],
        "alerts_open": [{"severity": "critical", "text": "cargo is too warm"}],
    });
    let page = render(&report);
    for line in [
        "device   truck-001",
        "uptime   61 s",
        "clock    2027-01-04T08:00:01.000Z (gnss)",
        "memory   6.0 MiB (at most -)",
        "link     main up, alert down, spool on disk",
        "lane     telemetry  next 42, 2 not acknowledged, 90 bytes held",
        "sensor   cargo        online    4.50 degC (300 ms ago)",
        "sensor   air          online    85.0 % (300 ms ago)",
        "sensor   door         online    not active (300 ms ago)",
        "sensor   gnss         online    52.500000 13.400000 (70 s ago, no_fix)",
        "ALERT    critical: cargo is too warm",
    ] {
        assert!(
            page.lines().any(|shown| shown == line),
            "{line:?} is not in\n{page}"
        );
    }
}

proptest! {
    #[test]
    fn any_json_makes_a_page(
        keys in prop::collection::vec(
            prop::sample::select(vec!["device", "clock", "lanes", "deliver", "sensors", "alerts_open", "last"]), 0..5,
        ),
        leaf in any::<Option<i64>>(),
    ) {
        let mut value = json!(leaf);
        for key in keys {
            value = json!({ key: [value.clone(), {key: value}] });
        }
        prop_assert!(render(&value).contains("device"));
    }
}
