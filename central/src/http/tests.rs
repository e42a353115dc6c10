//! The server over real sockets: what it answers to requests of every kind.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use firmware_shared::id::Lane;
use firmware_shared::topic::Leaf;

use super::*;
use crate::config::{Limits, Page};
use crate::testing::{Desk, *};

const PATIENCE: Duration = Duration::from_secs(20);

fn limits() -> Limits {
    Limits {
        connections_max: 64,
        events_max: 16,
        requests_per_s: 10_000,
        requests_burst: 10_000,
        client_s_max: 1,
        readers: 2,
    }
}

/// A server and the thread of its desk.
struct Server {
    http: Http,
    _desk: crate::desk::Running,
}

impl Server {
    fn stop(self) {
        self.http.stop();
    }
}

impl std::ops::Deref for Server {
    type Target = Http;

    fn deref(&self) -> &Http {
        &self.http
    }
}

fn server(desk: &Desk, limits: Limits) -> Server {
    let config = Page {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        users_file: None,
        proxy: None,
        tiles_url: None,
        limits,
    };
    let place = Place::Sqlite(desk.db());
    let whole = config::Config {
        database: config::Database {
            place: place.clone(),
            retention_days: 0,
            keep_sealed_bytes: false,
        },
        broker: config::Broker::Embedded {
            listen: "127.0.0.1:0".parse().unwrap(),
            allow_remote: false,
        },
        prefix: PREFIX.to_owned(),
        ingest: config::Ingest {
            commit_ms_max: 20,
            ack_period_ms: 100,
            gap_s: 600,
            buckets: config::Buckets::ALL,
            backlog_bytes_per_s: 0,
        },
        desk: config::Desk::with_path(desk.db().with_extension("desk.sqlite")),
        groups: Vec::new(),
        routes: Vec::new(),
        http: None,
    };
    let feed = Box::new(crate::sqlite::SqliteFeed::open(&desk.db()).unwrap());
    let broker = crate::desk::Place {
        reach: whole.broker.reach(),
        prefix: PREFIX.to_owned(),
    };
    let running = crate::desk::start(&whole, &broker, feed, || {}).unwrap();
    let http = Http::start(&config, &place, running.desk.clone(), || {}).unwrap();
    Server {
        http,
        _desk: running,
    }
}

fn fleet() -> Desk {
    let mut desk = Desk::new();
    let telemetry = stream(1, Lane::Telemetry);
    desk.give(
        Leaf::Status,
        &message(&birth(1, 7, 1_000, &[(telemetry, Some(0))])),
    );
    desk.give(Leaf::Telemetry, &frame(telemetry, 0, 30));
    desk
}

/// Sends bytes and hears everything until the server closes.
fn exchange(http: &Http, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(http.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may have closed before it has read everything.
    stream.write_all(bytes).ok();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).ok();
    String::from_utf8_lossy(&heard).into_owned()
}

fn get(http: &Http, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    split(&exchange(http, request.as_bytes()))
}

fn split(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    let body = match head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        true => unchunked(body),
        false => body.to_owned(),
    };
    (status, body)
}

fn unchunked(body: &str) -> String {
    let (mut rest, mut whole) = (body, String::new());
    while let Some((length, behind)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            break;
        }
        whole.push_str(&behind[..length]);
        rest = &behind[length + 2..];
    }
    whole
}

fn problem(answer: &(u16, String)) -> serde_json::Value {
    let problem: serde_json::Value =
        serde_json::from_str(&answer.1).unwrap_or_else(|_| panic!("no problem: {answer:?}"));
    assert_eq!(problem["status"], answer.0, "{answer:?}");
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{answer:?}"
    );
    problem
}

/// Asks until the fleet is there; the board looks once a second.
fn ready(http: &Http) {
    let begin_ms = crate::clock::monotonic_ms();
    while get(http, "/readyz").0 != 200 {
        assert!(
            crate::clock::monotonic_ms() - begin_ms < 20_000,
            "never ready"
        );
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

#[test]
fn what_cannot_be_answered_is_a_problem_that_names_field_and_limit() {
    let desk = fleet();
    let http = server(&desk, limits());
    for (path, status, field) in [
        ("/nowhere", 404, "path"),
        ("/web/../Cargo.toml", 404, "path"),
        ("/web/%2e%2e/Cargo.toml", 404, "path"),
        ("/api/v1/vehicles?x=1", 400, "x"),
        ("/api/v1/vehicles/UPPER", 400, "device"),
        ("/api/v1/vehicles/nobody", 404, "device"),
        (
            "/api/v1/vehicles/truck-001/series?sensor=cargo",
            400,
            "from_ms",
        ),
        (
            "/api/v1/vehicles/truck-001/series?from_ms=0&to_ms=10",
            400,
            "sensor",
        ),
        (
            "/api/v1/vehicles/truck-001/series?sensor=none&from_ms=0&to_ms=10",
            404,
            "sensor",
        ),
        (
            "/api/v1/vehicles/truck-001/series?sensor=cargo&from_ms=10&to_ms=10",
            422,
            "to_ms",
        ),
        (
            "/api/v1/vehicles/truck-001/series?sensor=cargo&from_ms=0&to_ms=4102444800000",
            422,
            "to_ms",
        ),
        (
            "/api/v1/vehicles/truck-001/series?sensor=cargo&from_ms=0&to_ms=86400000&step_ms=1",
            422,
            "step_ms",
        ),
        (
            "/api/v1/vehicles/truck-001/track?from_ms=x&to_ms=1",
            400,
            "from_ms",
        ),
        (
            "/api/v1/vehicles/truck-001/export?format=xlsx",
            400,
            "format",
        ),
        ("/api/v1/vehicles/truck-001/export?from_ms=1", 422, "to_ms"),
    ] {
        let answer = get(&http, path);
        assert_eq!(answer.0, status, "{path}: {answer:?}");
        let problem = problem(&answer);
        assert_eq!(problem["field"], field, "{path}: {problem}");
        assert!(problem["limit"].is_string(), "{path}: {problem}");
    }
    http.stop();
}

#[test]
fn rude_requests_are_refused_in_json_and_the_next_guest_is_served() {
    let desk = fleet();
    let http = server(&desk, limits());
    let long = "x".repeat(70_000);
    let headers: String = (0..100).map(|n| format!("x-{n}: 1\r\n")).collect();
    let post = |length: usize, kind: &str, body: &str| {
        format!(
            "POST /api/v1/login HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{body}"
        )
    };
    for (request, allowed) in [
        ("nonsense\r\n\r\n".to_owned(), &[400][..]),
        ("\u{0}\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), &[400]),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), &[400]),
        (
            "GET /\u{7f} HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
            &[400],
        ),
        (
            format!("GET /{long} HTTP/1.1\r\nhost: localhost\r\n\r\n"),
            &[400, 414, 431],
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {long}\r\n\r\n"),
            &[431],
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n"),
            &[431],
        ),
        (
            "POST /api/v1/login HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n"
                .to_owned(),
            &[400],
        ),
        (
            "BREW /api/v1/vehicles HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
                .to_owned(),
            &[405],
        ),
        (post(2, "text/plain", "{}"), &[415]),
        (post(1, "application/json", "{"), &[400]),
        (post(70_000, "application/json", &long), &[413]),
        (
            post(26, "application/json", "{\"name\":\"a\",\"password\":\"\"}"),
            &[400],
        ),
        (
            "GET /api/v1/vehicles HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n"
                .to_owned(),
            &[403],
        ),
    ] {
        let answer = split(&exchange(&http, request.as_bytes()));
        let start: String = request.chars().take(60).collect();
        assert!(allowed.contains(&answer.0), "{start:?}: {answer:?}");
        let problem = problem(&answer);
        assert!(
            problem["field"].is_string() && problem["limit"].is_string(),
            "{start:?}: {problem}"
        );
    }
    assert_eq!(get(&http, "/healthz").0, 200);
    http.stop();
}

#[test]
fn a_head_that_never_ends_is_told_the_limit_and_closed() {
    let desk = fleet();
    let http = server(&desk, limits());
    let mut slow = TcpStream::connect(http.address).unwrap();
    slow.set_read_timeout(Some(PATIENCE)).unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost: local").unwrap();
    let mut heard = String::new();
    slow.read_to_string(&mut heard).unwrap();
    let answer = split(&heard);
    assert_eq!(answer.0, 408, "{heard}");
    assert_eq!(problem(&answer)["limit"], "1 s");
    http.stop();
}

#[test]
fn slow_guests_take_no_more_than_their_connections() {
    let desk = fleet();
    let limits = Limits {
        connections_max: 16,
        events_max: 8,
        ..limits()
    };
    let http = server(&desk, limits);
    let silent: Vec<TcpStream> = (0..15)
        .map(|_| TcpStream::connect(http.address).unwrap())
        .collect();
    assert_eq!(get(&http, "/healthz").0, 200);
    drop(silent);
    http.stop();
}

#[test]
fn too_many_requests_are_told_when_to_come_again() {
    let desk = fleet();
    let limits = Limits {
        requests_per_s: 1,
        requests_burst: 20,
        ..limits()
    };
    let http = server(&desk, limits);
    let answers: Vec<(u16, String)> = (0..40).map(|_| get(&http, "/api/v1/me")).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.0 == 429).collect();
    assert!(!refused.is_empty() && answers[0].0 == 200, "{answers:?}");
    assert_eq!(problem(refused[0])["field"], "rate");
    http.stop();
}

#[test]
fn every_answer_carries_the_security_headers() {
    let desk = fleet();
    let http = server(&desk, limits());
    for path in ["/", "/web/app.js", "/nowhere", "/api/v1/me", "/healthz"] {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let answer = exchange(&http, request.as_bytes()).to_ascii_lowercase();
        assert!(
            answer.contains("content-security-policy: default-src 'none'"),
            "{path}"
        );
        assert!(answer.contains("x-content-type-options: nosniff"), "{path}");
        assert!(!answer.contains("unsafe-inline"), "{path}");
    }
    http.stop();
}

#[test]
fn the_fleet_and_a_vehicle_are_answered_and_metrics_have_stable_names() {
    let desk = fleet();
    let http = server(&desk, limits());
    ready(&http);
    let list: serde_json::Value = serde_json::from_str(&get(&http, "/api/v1/vehicles").1).unwrap();
    assert_eq!(list["vehicles"][0]["device"], "truck-001");
    let detail: serde_json::Value =
        serde_json::from_str(&get(&http, "/api/v1/vehicles/truck-001").1).unwrap();
    assert_eq!(detail["epoch"]["sensors"][0]["name"], "cargo");
    let csv = get(&http, "/api/v1/vehicles/truck-001/export").1;
    assert_eq!(csv.lines().count(), 31, "{csv}");
    let ndjson = get(&http, "/api/v1/vehicles/truck-001/export?format=ndjson").1;
    let first: serde_json::Value = serde_json::from_str(ndjson.lines().next().unwrap()).unwrap();
    assert_eq!(
        (first["seq"].as_u64(), first["unit"].as_str()),
        (Some(0), Some("degC"))
    );
    let metrics = get(&http, "/metrics").1;
    for name in [
        "fleet_central_vehicles{link=\"up\"} 1",
        "fleet_central_http_requests_total ",
    ] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
    http.stop();
}

#[test]
fn every_file_of_the_page_that_another_one_names_is_there() {
    let files: Vec<&files::File> = files::FILES.iter().collect();
    let has = |name: &str| files.iter().any(|file| file.name == name);
    for file in &files {
        let text = String::from_utf8_lossy(file.bytes);
        if file.name.starts_with("vendor/") {
            continue;
        }
        for piece in text.split(['"', '\'', '`']) {
            let named = piece
                .strip_prefix("/web/")
                .or_else(|| piece.strip_prefix("./"));
            if let Some(named) = named.filter(|named| named.contains('.') && !named.contains("${"))
            {
                assert!(has(named), "{} names {named}", file.name);
            }
        }
    }
}

/// The next event of a stream: id, name, data.
fn next_event(stream: &mut std::io::BufReader<TcpStream>) -> (Option<i64>, String, String) {
    use std::io::BufRead;
    let (mut id, mut name, mut data) = (None, String::new(), String::new());
    loop {
        let mut line = String::new();
        assert!(
            stream.read_line(&mut line).unwrap() > 0,
            "the stream has ended"
        );
        match line.trim_end().split_once(':') {
            Some(("id", value)) => id = value.trim().parse().ok(),
            Some(("event", value)) => value.trim().clone_into(&mut name),
            Some(("data", value)) => data.push_str(value.trim_start()),
            _ if line.trim().is_empty() && !name.is_empty() => return (id, name, data),
            _ => {}
        }
    }
}

fn stream_of(http: &Http, header: &str) -> std::io::BufReader<TcpStream> {
    let mut stream = TcpStream::connect(http.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n{header}\r\n"
    )
    .unwrap();
    std::io::BufReader::new(stream)
}

fn post(http: &Http, path: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    );
    split(&exchange(http, request.as_bytes()))
}

#[test]
fn a_stream_goes_on_behind_the_last_id_without_missing_or_repeating_an_event() {
    let mut desk = fleet();
    let alert = alert(1, 0, firmware_shared::alert::Severity::Critical);
    desk.give(Leaf::Alert, &serde_json::to_vec(&alert).unwrap());
    let http = server(&desk, limits());
    let begin_ms = crate::clock::monotonic_ms();
    let id = loop {
        let list: serde_json::Value =
            serde_json::from_str(&get(&http, "/api/v1/alerts").1).unwrap();
        if let Some(id) = list["alerts"][0]["id"].as_str() {
            break id.to_owned();
        }
        assert!(crate::clock::monotonic_ms() - begin_ms < 20_000, "no alert");
        std::thread::park_timeout(Duration::from_millis(10));
    };
    let say = |number: usize| {
        let body = format!("{{\"text\":\"word {number}\"}}");
        let answer = post(&http, &format!("/api/v1/alerts/{id}/notes"), &body);
        assert_eq!(answer.0, 200, "{answer:?}");
    };
    let mut whole = stream_of(&http, "");
    assert_eq!(next_event(&mut whole).1, "hello");
    for number in 0..20 {
        say(number);
    }
    let until = |stream: &mut std::io::BufReader<TcpStream>, text: &str| {
        let mut ids = Vec::new();
        loop {
            let (id, _, data) = next_event(stream);
            ids.extend(id);
            if id.is_some() && data.contains(text) {
                return ids;
            }
        }
    };
    let all = until(&mut whole, "word 19");
    assert!(all.len() >= 20, "{all:?}");
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
    for at in [0, 7, all.len() - 2] {
        let mut rest = stream_of(&http, &format!("last-event-id: {}\r\n", all[at]));
        assert_eq!(
            until(&mut rest, "word 19"),
            all[at + 1..],
            "behind {}",
            all[at]
        );
    }
    http.stop();
}

#[test]
fn an_acknowledgement_is_in_the_list_and_in_the_audit_log_and_nonsense_is_refused() {
    let mut desk = fleet();
    let alert = alert(1, 0, firmware_shared::alert::Severity::Critical);
    desk.give(Leaf::Alert, &serde_json::to_vec(&alert).unwrap());
    let http = server(&desk, limits());
    let path = format!("/api/v1/alerts/{}", alert.id);
    let begin_ms = crate::clock::monotonic_ms();
    while get(&http, &path).0 != 200 {
        assert!(crate::clock::monotonic_ms() - begin_ms < 20_000, "no alert");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let answer = post(&http, &format!("{path}/acknowledge"), "{}");
    let item: serde_json::Value = serde_json::from_str(&answer.1).unwrap();
    assert_eq!(
        (answer.0, item["acknowledged_by"].as_str()),
        (200, Some("local")),
        "{answer:?}"
    );
    let audit = get(&http, "/api/v1/audit").1;
    assert!(
        audit.contains("acknowledge") && audit.contains(alert.id.as_str()),
        "{audit}"
    );
    let csv = get(&http, "/api/v1/alerts/export?acknowledged=true").1;
    assert_eq!(csv.lines().count(), 2, "{csv}");
    let long = format!("{{\"text\":\"{}\"}}", "x".repeat(1_001));
    for (path, body, status, field) in [
        (format!("{path}/notes"), long.as_str(), 400, "text"),
        (format!("{path}/notes"), "{\"text\":\"\"}", 400, "text"),
        (format!("{path}/notes"), "{\"words\":\"x\"}", 400, "words"),
        (format!("{path}/acknowledge"), "[1]", 400, "body"),
        (
            "/api/v1/alerts/none/acknowledge".to_owned(),
            "{}",
            404,
            "id",
        ),
    ] {
        let answer = post(&http, &path, body);
        assert_eq!(answer.0, status, "{path} {body:.40}: {answer:?}");
        assert_eq!(problem(&answer)["field"], field, "{path}");
    }
    for (query, field) in [
        ("severity=bad", "severity"),
        ("open=maybe", "open"),
        ("after=x", "after"),
        ("limit=0", "limit"),
    ] {
        let answer = get(&http, &format!("/api/v1/alerts?{query}"));
        assert_eq!(
            (answer.0, problem(&answer)["field"].as_str()),
            (400, Some(field)),
            "{answer:?}"
        );
    }
    http.stop();
}
