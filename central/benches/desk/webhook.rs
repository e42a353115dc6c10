//! From an alert to the webhook, at 200 alerts a second.
//!
//! The time begins before the alert is published, so it holds the way through the broker and the wait for the commit
//! group, too: it is an upper bound of the time from the centre's commit.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use firmware_shared::alert::{Alert, AlertState, Severity};
use firmware_shared::id::{DeviceId, Epoch};
use firmware_shared::topic::{self, Leaf};
use rumqttc::{Client, Event, MqttOptions, Outgoing, QoS};

use super::{Report, permille};

const ALERTS_PER_S: u32 = 200;
const LENGTH_S: u32 = 20;
/// The first second is the warming up of caches and connections.
const WARM_UP_S: u32 = 1;
const PATIENCE: Duration = Duration::from_secs(30);

type Times = Arc<Mutex<HashMap<String, Instant>>>;

pub(super) fn alert_to_webhook(report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let taken = Times::default();
    let hook = receive(Arc::clone(&taken))?;
    let broker = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port();
    let mut centre = centre(folder.path(), broker, hook)?;
    let said = say(broker);
    let all = said.as_ref().map_or(0, HashMap::len);
    let begin = Instant::now();
    while said.is_ok() && taken.lock().unwrap().len() < all && begin.elapsed() < PATIENCE {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    centre.kill()?;
    centre.wait()?;
    let said = said?;
    let taken = taken.lock().unwrap();
    let mut latencies = Vec::new();
    for (key, (number, at)) in &said {
        let there = taken
            .get(key)
            .with_context(|| format!("{key} never came; {} of {} did", taken.len(), said.len()))?;
        if *number >= ALERTS_PER_S * WARM_UP_S {
            latencies.push(there.duration_since(*at).as_secs_f64() * 1_000.0);
        }
    }
    report.insert(
        "alert_to_webhook_ms_p50".to_owned(),
        permille(&mut latencies, 500),
    );
    report.insert(
        "alert_to_webhook_ms_p99".to_owned(),
        permille(&mut latencies, 990),
    );
    report.insert(
        "alert_to_webhook_ms_max".to_owned(),
        permille(&mut latencies, 1_000),
    );
    Ok(())
}

/// A centre with this webhook, listening.
fn centre(folder: &Path, broker: u16, hook: u16) -> anyhow::Result<Child> {
    let config = folder.join("central.toml");
    std::fs::write(
        &config,
        format!(
            "[database]\npath = \"fleet.sqlite\"\n[broker]\nlisten = \"127.0.0.1:{broker}\"\n\
             [desk]\ncollapse_count = 10000\n\
             [[route]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{hook}/\"\n"
        ),
    )?;
    let log = folder.join("log");
    let child = Command::new(env!("CARGO_BIN_EXE_fleet-central"))
        .args(["run", "--config"])
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log)?)
        .spawn()?;
    let begin = Instant::now();
    while !std::fs::read_to_string(&log)?.contains("subscribed") {
        anyhow::ensure!(begin.elapsed() < PATIENCE, "the centre does not come up");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(child)
}

/// A receiver that notes when each key came.
fn receive(taken: Times) -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let taken = Arc::clone(&taken);
            std::thread::spawn(move || serve(stream, &taken).ok());
        }
    });
    Ok(port)
}

fn serve(stream: TcpStream, taken: &Times) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut key, mut len) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.split_once(": ") {
                Some(("idempotency-key", value)) => value.trim().clone_into(&mut key),
                Some(("content-length", value)) => len = value.trim().parse().unwrap(),
                Some(_) => {}
                None if line == "\r\n" => break,
                None => {}
            }
        }
        let mut body = vec![0; len];
        reader.read_exact(&mut body)?;
        taken
            .lock()
            .unwrap()
            .entry(key)
            .or_insert_with(Instant::now);
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}

/// Publishes at a steady pace; number and moment by key.
fn say(broker: u16) -> anyhow::Result<HashMap<String, (u32, Instant)>> {
    let mut options = MqttOptions::new("vehicles", "127.0.0.1", broker);
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut connection) = Client::new(options, 64);
    std::thread::spawn(move || {
        while let Ok(Ok(event)) = connection.recv() {
            if event == Event::Outgoing(Outgoing::Disconnect) {
                return;
            }
        }
    });
    let mut said = HashMap::new();
    let begin = Instant::now();
    for number in 0..ALERTS_PER_S * LENGTH_S {
        let due = Duration::from_secs(1) * number / ALERTS_PER_S;
        let early = due.saturating_sub(begin.elapsed());
        if !early.is_zero() {
            std::thread::park_timeout(early);
        }
        let device: DeviceId = format!("truck-{:04}", number % 2_000)
            .parse()
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        let alert = alert(&device, number)?;
        let topic = topic::topic("fleet/v1", &device, Leaf::Alert).context("topic")?;
        let payload = serde_json::to_vec(&alert)?;
        said.insert(format!("{}/raised", alert.id), (number, Instant::now()));
        client.publish(topic.as_str(), QoS::AtLeastOnce, false, payload)?;
    }
    Ok(said)
}

fn alert(device: &DeviceId, number: u32) -> anyhow::Result<Alert> {
    let bad = |_| anyhow::anyhow!("too long");
    Ok(Alert {
        id: format!("{device}-1-{number}")
            .as_str()
            .try_into()
            .map_err(bad)?,
        device: device.clone(),
        epoch: Epoch::from_number(1).context("epoch")?,
        seq: number.into(),
        state: AlertState::Raised,
        severity: Severity::Critical,
        kind: "limit_high".try_into().map_err(bad)?,
        // Another sensor each time, or the second one of a vehicle would be muted.
        sensor: format!("s{number}").as_str().try_into().map_err(bad)?,
        value: Some(9.5),
        unit: "degC".try_into().map_err(bad)?,
        expected: Some(4.0),
        low: None,
        high: Some(8.0),
        boottime_ms: 77_000,
        utc: None,
        late: false,
        window: None,
        text: "The load is too warm.".try_into().map_err(bad)?,
        score: None,
        duration_ms: None,
        heads: heapless::Vec::new(),
        load_id: None,
        profile_version: None,
    })
}
