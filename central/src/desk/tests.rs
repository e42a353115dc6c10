//! The desk as a whole, over a feed made by hand.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use firmware_shared::alert::{Alert, AlertState, Severity};

use super::*;
use crate::config::{self, Broker, Buckets, Config, Database, Ingest};
use crate::testing::{alert, device, epoch};

/// Longer than any turn takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Default)]
struct Book(Arc<Mutex<Vec<Fed>>>);

impl Book {
    fn add(&self, alert: Alert) {
        let mut alerts = self.0.lock().unwrap();
        let n = alerts.len() as i64 + 1;
        let at_ms = crate::clock::utc_ms();
        alerts.push(Fed {
            n,
            alert,
            utc_ms: Some(at_ms),
            received_ms: at_ms,
        });
    }
}

impl Feed for Book {
    fn name(&self) -> String {
        "all".to_owned()
    }

    fn last(&mut self) -> Result<i64, FeedError> {
        Ok(self.0.lock().unwrap().len() as i64)
    }

    fn alerts_behind(&mut self, n: i64, limit: usize) -> Result<Vec<Fed>, FeedError> {
        let alerts = self.0.lock().unwrap();
        Ok(alerts
            .iter()
            .filter(|fed| fed.n > n)
            .take(limit)
            .cloned()
            .collect())
    }

    fn vehicles(&mut self) -> Result<Vec<Known>, FeedError> {
        Ok(vec![Known {
            device: device(),
            link: crate::ingest::Link::Up,
            seen_ms: 1,
            epoch: Some(epoch(1)),
            software: "1.0.0".to_owned(),
            sensors: Vec::new(),
            status: None,
        }])
    }
}

fn config(folder: &Path) -> Config {
    Config {
        database: Database {
            place: config::Place::Sqlite(folder.join("fleet.sqlite")),
            retention_days: 0,
            keep_sealed_bytes: false,
        },
        broker: Broker::Embedded {
            listen: "127.0.0.1:0".parse().unwrap(),
            allow_remote: false,
        },
        prefix: "fleet/v1".to_owned(),
        ingest: Ingest {
            commit_ms_max: 20,
            ack_period_ms: 1_000,
            gap_s: 0,
            buckets: Buckets::ALL,
            backlog_bytes_per_s: 0,
        },
        desk: config::Desk::with_path(folder.join("desk.sqlite")),
        groups: Vec::new(),
        routes: Vec::new(),
        http: None,
    }
}

fn place() -> Place {
    Place {
        reach: crate::config::External {
            host: "127.0.0.1".to_owned(),
            port: 1,
            login: None,
            tls: None,
        },
        prefix: "fleet/v1".to_owned(),
    }
}

fn raised(seq: u64) -> Alert {
    let mut alert = alert(1, seq, Severity::Critical);
    alert.id = format!("truck-001-1-{seq}").as_str().try_into().unwrap();
    alert.sensor = format!("s{seq}").as_str().try_into().unwrap();
    alert
}

fn wake(running: &Running) {
    let committed = tap::Committed {
        heard: Vec::new(),
        has_alerts: true,
    };
    running.tap.commits.send(committed).unwrap();
}

fn wait_for(desk: &Desk, until: impl Fn(i64) -> bool) {
    let mut wakeups = desk.wakeups();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, wakeups.wait_for(|id| until(*id))).await })
        .unwrap()
        .unwrap();
}

fn stop(running: Running) {
    drop(running.tap);
    drop(running.stop);
    running.thread.join().unwrap();
}

#[test]
fn an_alert_is_listed_acknowledged_and_noted_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let book = Book::default();
    let running = start(&config, &place(), Box::new(book.clone()), || ()).unwrap();
    book.add(raised(0));
    wake(&running);
    wait_for(&running.desk, |id| id >= 1);
    let id = "truck-001-1-0";
    let item = running.desk.acknowledge(id, "ann").unwrap();
    assert_eq!(item.acknowledged_by.as_deref(), Some("ann"));
    // The first one looks after it.
    let again = running.desk.acknowledge(id, "bob").unwrap();
    assert_eq!(again.acknowledged_by.as_deref(), Some("ann"));
    running.desk.note(id, "ann", "on my way").unwrap();
    assert!(running.desk.acknowledge("nothing", "ann").is_err());
    assert!(running.desk.note(id, "ann", "").is_err());
    let last = running.desk.last_event();
    stop(running);

    let running = start(&config, &place(), Box::new(book.clone()), || ()).unwrap();
    let desk = &running.desk;
    let items = desk.alerts(&Filter::default()).unwrap();
    assert_eq!(items.len(), 1);
    assert_eq!(items[0].acknowledged_by.as_deref(), Some("ann"));
    assert_eq!(items[0].notes, 1);
    assert_eq!(desk.notes(id).unwrap()[0].text, "on my way");
    assert_eq!(desk.audit_log(10).unwrap().len(), 2);
    assert_eq!(desk.vehicle("truck-001").unwrap().open_alerts, 1);
    // A reader of before goes on behind its last event.
    assert_eq!(desk.last_event(), last);
    book.add(raised(1));
    wake(&running);
    wait_for(desk, |id| id > last);
    let events = desk.events_after(0, 100).unwrap();
    let ids: Vec<i64> = events.iter().map(|event| event.id).collect();
    assert_eq!(ids, (1..=last + 1).collect::<Vec<_>>());
    assert_eq!(
        desk.events_after(last, 100).unwrap()[0].alert_id.as_deref(),
        Some("truck-001-1-1")
    );
    stop(running);
}

#[test]
fn alerts_of_before_the_desk_are_listed_while_they_are_open() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let book = Book::default();
    for seq in 0..3 {
        book.add(raised(seq));
    }
    let mut cleared = raised(3);
    cleared.id = "truck-001-1-1".try_into().unwrap();
    cleared.state = AlertState::Cleared;
    book.add(cleared);
    let running = start(&config, &place(), Box::new(book.clone()), || ()).unwrap();
    wait_for(&running.desk, |id| id >= 4);
    let open = Filter {
        open: Some(true),
        ..Filter::default()
    };
    let items = running.desk.alerts(&open).unwrap();
    let ids: Vec<&str> = items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["truck-001-1-2", "truck-001-1-0"]);
    assert!(items.iter().all(|item| !item.announced), "nobody is called");
    stop(running);
}

#[test]
fn a_desk_takes_no_file_of_somebody_else() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let foreign = rusqlite::Connection::open(&config.desk.path).unwrap();
    foreign.execute_batch("CREATE TABLE theirs (x)").unwrap();
    let error = start(&config, &place(), Box::new(Book::default()), || ()).unwrap_err();
    assert!(
        error.to_string().contains("not a file of the desk"),
        "{error:#}"
    );
}
