use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn a_question_is_answered_through_the_pipelines_channel() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("status.sock");
    let (asker, questions) = questions();
    let socket = StatusSocket::open(&path, asker).unwrap();
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
    let (asker, _questions) = questions();
    let _socket = StatusSocket::open(&path, asker).unwrap();
    assert!(matches!(ask(&path), Err(AskError::Answer { .. })));
}

#[test]
fn the_socket_of_a_dead_process_is_replaced_and_that_of_a_living_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("status.sock");
    // A listener that is dropped leaves its file behind, as a killed process does.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let open = |path: &std::path::Path| StatusSocket::open(path, questions().0);
    let first = open(&path).unwrap();
    assert!(matches!(open(&path), Err(SocketError::InUse { .. })));
    drop(first);
    let nowhere = folder.path().join("none").join("status.sock");
    assert!(matches!(open(&nowhere), Err(SocketError::Bind { .. })));
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

/// What the figures' port answers to these bytes.
fn figures(address: std::net::SocketAddr, request: &[u8]) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(request).ok();
    stream.shutdown(std::net::Shutdown::Write).ok();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok();
    answer
}

#[test]
fn prometheus_gets_figures_and_everybody_else_a_sentence() {
    let (asker, questions) = questions();
    let address = serve_metrics("127.0.0.1:0".parse().unwrap(), asker).unwrap();
    std::thread::spawn(move || {
        for question in questions {
            let report = json!({"device": "a\"b", "mode": "disk", "rss_bytes": 5_000_000, "deliver": {"ack_latency_ms": 250}});
            question
                .answer
                .send(report.to_string().into_bytes())
                .unwrap();
        }
    });
    let page = figures(address, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    for line in [
        "HTTP/1.0 200 OK",
        "fleet_gateway_info{device=\"a\\\"b\",version=\"\"} 1",
        "fleet_gateway_resident_memory_bytes 5000000",
        "fleet_gateway_ack_latency_seconds 0.25",
        "fleet_gateway_spool_on_disk 1",
        "fleet_gateway_clock_source{source=\"gnss\"} 0",
    ] {
        assert!(
            page.lines().any(|shown| shown == line),
            "{line:?} is not in\n{page}"
        );
    }
    assert!(
        !page.contains("clock_error_seconds"),
        "nobody knows it:\n{page}"
    );
    let long = [b"GET /metrics HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 5_000]].concat();
    for (request, status) in [
        (&b"GET / HTTP/1.0\r\n\r\n"[..], "404"),
        (b"POST /metrics HTTP/1.0\r\n\r\n", "405"),
        (b"GET /metrics HTTP/1.0\r\n", "400"),
        (b"\xff\xfe\r\n\r\n", "400"),
        (b"", "400"),
        (&long, "400"),
    ] {
        let answer = figures(address, request);
        // Who sends more than is read may lose the answer, but not the gateway.
        let is_lost = answer.is_empty() && request.len() > 4_096;
        assert!(
            answer.starts_with(&format!("HTTP/1.0 {status}")) || is_lost,
            "{answer}"
        );
    }
    assert!(figures(address, b"GET /metrics HTTP/1.1\r\n\r\n").contains("200 OK"));
}

#[test]
fn a_silent_reader_of_figures_keeps_the_next_one_waiting_for_a_second_only() {
    let (asker, questions) = questions();
    let address = serve_metrics("127.0.0.1:0".parse().unwrap(), asker).unwrap();
    let silent = std::net::TcpStream::connect(address).unwrap();
    drop(questions);
    let answer = figures(address, b"GET /metrics HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 503"), "{answer}");
    drop(silent);
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
        prop_assert!(expose(&value).ends_with('\n'));
    }
}
