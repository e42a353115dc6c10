//! The peer: a Mosquitto bridge between two Mosquittos, over the outage that every gateway must survive.
//!
//! 5,000 publishes are acknowledged by the broker on the vehicle while its upstream is away; then it comes back, once
//! over loopback and once over the slow link, where an alert is published as soon as the first of them arrives.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use tests::bottleneck::Bottleneck;
use tests::broker::{Broker, Kind};
use tests::link::{Link, free_port};
use tests::wait;

use super::{Report, find};

const MESSAGES: usize = 5_000;
/// The documented settings with which it loses the least.
const BEST: &str =
    "persistence true\nautosave_interval 1\nautosave_on_changes true\nmax_queued_messages 0\n";
const PATIENCE: Duration = Duration::from_secs(60);
/// A bridge that delivers nothing for so long has delivered what it has.
const QUIET: Duration = Duration::from_secs(8);

pub(super) fn outage(report: &mut Report) -> anyhow::Result<()> {
    for (name, settings, kill) in [
        ("defaults", "", false),
        ("best", BEST, false),
        ("defaults_sigkill", "persistence true\n", true),
    ] {
        let lost = MESSAGES - once(settings, kill)?;
        report.insert(format!("mosquitto_bridge_{name}_lost_of_5000"), lost as f64);
    }
    for (name, settings) in [("defaults", ""), ("best", BEST)] {
        let latency_ms = alert_behind(settings)?;
        let key = format!("mosquitto_bridge_{name}_alert_latency_ms_backlog");
        report.insert(key, latency_ms);
    }
    Ok(())
}

/// How long an alert takes that is published while the bridge drains the outage over the slow link.
fn alert_behind(settings: &str) -> anyhow::Result<f64> {
    let program = find("mosquitto")?;
    let folder = tempfile::tempdir()?;
    let place = folder.path().join("up");
    let mut up = Broker::start(Kind::Mosquitto, &program, &place, "max_queued_messages 0\n")?;
    let link = Bottleneck::to(up.port(), super::SLOW)?;
    up.kill_9()?;
    let vehicle = bridge(&program, folder.path(), link.port(), settings)?;
    let mut publisher = fill(vehicle.port())?;
    up.restart()?;
    let (listener, mut heard) = client("listener", up.port())?;
    listener.subscribe("fleet/#", QoS::AtLeastOnce)?;
    let is_on = |topic: &'static str| move |event: &Event| matches!(event, Event::Incoming(Packet::Publish(publish)) if publish.topic == topic);
    wait_for(&mut heard, is_on("fleet/telemetry"))?;
    let begin = wait::now();
    let payload = "0".repeat(400);
    let client = &publisher.0;
    client.publish("fleet/alert", QoS::AtLeastOnce, false, payload)?;
    wait_for(&mut publisher.1, |event| {
        matches!(event, Event::Incoming(Packet::PubAck(_)))
    })?;
    wait_for(&mut heard, is_on("fleet/alert"))?;
    Ok(begin.elapsed().as_secs_f64() * 1_000.0)
}

/// The broker on the vehicle with its bridge.
fn bridge(program: &Path, folder: &Path, up: u16, settings: &str) -> anyhow::Result<Broker> {
    let store = folder.join("store");
    std::fs::create_dir_all(&store)?;
    let port = free_port()?;
    let config = format!(
        "user root\nlistener {port} 127.0.0.1\nallow_anonymous true\npersistence_location {}/\n{settings}\
         connection up\naddress 127.0.0.1:{up}\ntopic # out 1\ncleansession false\nrestart_timeout 1\n",
        store.display()
    );
    Broker::with_config(Kind::Mosquitto, program, &folder.join("v"), port, &config)
}

/// Publishes the outage; each message is acknowledged.
fn fill(port: u16) -> anyhow::Result<(Client, rumqttc::Connection)> {
    let (publisher, mut events) = client("publisher", port)?;
    for number in 0..MESSAGES {
        let payload = format!("{number:0200}");
        publisher.publish("fleet/telemetry", QoS::AtLeastOnce, false, payload)?;
        wait_for(&mut events, |event| {
            matches!(event, Event::Incoming(Packet::PubAck(_)))
        })?;
    }
    Ok((publisher, events))
}

/// How many messages arrive.
fn once(settings: &str, kill: bool) -> anyhow::Result<usize> {
    let program = find("mosquitto")?;
    let folder = tempfile::tempdir()?;
    let up = Broker::start(
        Kind::Mosquitto,
        &program,
        &folder.path().join("up"),
        "max_queued_messages 0\n",
    )?;
    let link = Link::to(up.port())?;
    let mut vehicle = bridge(&program, folder.path(), link.port(), settings)?;
    let (listener, mut heard) = client("listener", up.port())?;
    listener.subscribe("fleet/#", QoS::AtLeastOnce)?;
    wait_for(&mut heard, |event| {
        matches!(event, Event::Incoming(Packet::SubAck(_)))
    })?;
    wait::until_true("the bridge is up", PATIENCE, || Ok(link.connections() > 0))?;
    link.cut();
    // Kept, or its end would disturb the broker.
    let _publisher = fill(vehicle.port())?;
    if kill {
        vehicle.kill_9()?;
        vehicle.restart()?;
    }
    link.restore();
    let mut seen = vec![false; MESSAGES];
    let mut last = wait::now();
    while last.elapsed() < QUIET {
        if let Ok(Ok(Event::Incoming(Packet::Publish(publish)))) =
            heard.recv_timeout(Duration::from_millis(100))
        {
            let number: usize = std::str::from_utf8(&publish.payload)?.parse()?;
            seen[number] = true;
            last = wait::now();
        }
    }
    Ok(seen.iter().filter(|seen| **seen).count())
}

fn client(name: &str, port: u16) -> anyhow::Result<(Client, rumqttc::Connection)> {
    let mut options = MqttOptions::new(name, "127.0.0.1", port);
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut connection) = Client::new(options, 64);
    wait_for(&mut connection, |event| {
        matches!(event, Event::Incoming(Packet::ConnAck(_)))
    })?;
    Ok((client, connection))
}

fn wait_for(
    connection: &mut rumqttc::Connection,
    wanted: impl Fn(&Event) -> bool,
) -> anyhow::Result<()> {
    loop {
        let event = connection
            .recv_timeout(PATIENCE)
            .ok()
            .context("nothing comes")??;
        if wanted(&event) {
            return Ok(());
        }
    }
}
