//! The peer: a Mosquitto bridge between two Mosquittos, over the outage that every gateway must survive.
//!
//! 5,000 publishes are acknowledged by the broker on the vehicle while its upstream is away; then it comes back.

use std::time::Duration;

use anyhow::Context;
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use tests::broker::{Broker, Kind};
use tests::link::{Link, free_port};
use tests::wait;

use super::{Report, find};

const MESSAGES: usize = 5_000;
const PATIENCE: Duration = Duration::from_secs(60);
/// A bridge that delivers nothing for so long has delivered what it has.
const QUIET: Duration = Duration::from_secs(8);

pub(super) fn outage(report: &mut Report) -> anyhow::Result<()> {
    for (name, settings, kill) in [
        ("defaults", "", false),
        (
            "best",
            "persistence true\nautosave_interval 1\nautosave_on_changes true\nmax_queued_messages 0\n",
            false,
        ),
        ("defaults_sigkill", "persistence true\n", true),
    ] {
        let lost = MESSAGES - once(settings, kill)?;
        report.insert(format!("mosquitto_bridge_{name}_lost_of_5000"), lost as f64);
    }
    Ok(())
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
    let store = folder.path().join("store");
    std::fs::create_dir_all(&store)?;
    let port = free_port()?;
    let config = format!(
        "user root\nlistener {port} 127.0.0.1\nallow_anonymous true\npersistence_location {}/\n{settings}\
         connection up\naddress 127.0.0.1:{}\ntopic # out 1\ncleansession false\nrestart_timeout 1\n",
        store.display(),
        link.port()
    );
    let mut vehicle = Broker::with_config(
        Kind::Mosquitto,
        &program,
        &folder.path().join("v"),
        port,
        &config,
    )?;
    let (listener, mut heard) = client("listener", up.port())?;
    listener.subscribe("fleet/#", QoS::AtLeastOnce)?;
    wait_for(&mut heard, |event| {
        matches!(event, Event::Incoming(Packet::SubAck(_)))
    })?;
    wait::until_true("the bridge is up", PATIENCE, || Ok(link.connections() > 0))?;
    link.cut();
    let (publisher, mut events) = client("publisher", port)?;
    for number in 0..MESSAGES {
        let payload = format!("{number:0200}");
        publisher.publish("fleet/telemetry", QoS::AtLeastOnce, false, payload)?;
        wait_for(&mut events, |event| {
            matches!(event, Event::Incoming(Packet::PubAck(_)))
        })?;
    }
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
