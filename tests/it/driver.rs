//! The driver is told without any uplink: a display, a command, a buzzer.

use std::path::Path;
use std::time::Duration;

use libtest_mimic::Trial;
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use tests::fleet::{PATIENCE, Setup, Vehicle};
use tests::link::free_port;
use tests::{process, wait};

use crate::needs;
use crate::world::{gateway, runaway, setup};

/// Between two attempts of a display.
const RETRY: Duration = Duration::from_millis(100);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        needs::nothing(
            "driver::a_display_a_command_and_a_buzzer_are_told_while_the_uplink_is_down",
            all_are_told,
        ),
        needs::nothing(
            "driver::a_killed_local_broker_comes_back_with_the_alerts_and_ends_with_a_killed_gateway",
            the_broker_is_kept,
        ),
    ]
}

fn all_are_told() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let hook = folder.path().join("hook");
    let more = format!(
        "{}[hook]\ncommand = [\"/bin/sh\", \"-c\", \"cat >> {hook}; echo >> {hook}\"]\n\
         [buzzer]\nchip = \"sim:buzzer.jsonl\"\nline = 17\n",
        local_broker(port),
        hook = hook.display()
    );
    let mut vehicle = warm_vehicle(folder.path(), more)?;
    let buzzer = vehicle.folder().join("buzzer.jsonl");
    wait::until_true("the buzzer sounds", PATIENCE, || {
        vehicle.process()?.assert_running()?;
        let text = std::fs::read_to_string(&buzzer).unwrap_or_default();
        Ok(text.contains("\"active\":true"))
    })?;
    // A display that comes later hears what is open: it is retained.
    let alert = displayed(port)?;
    let told = wait::until("the command is told", PATIENCE, || {
        let text = std::fs::read_to_string(&hook).unwrap_or_default();
        Ok(text.lines().next().map(str::to_owned))
    })?;
    anyhow::ensure!(
        serde_json::from_str::<serde_json::Value>(&told)? == alert,
        "{told}"
    );
    vehicle.note_memory();
    let mib = vehicle.vm_hwm_bytes() / 1024 / 1024;
    anyhow::ensure!(mib < 16, "{mib} MiB with the local broker");
    vehicle.stop()?;
    let text = std::fs::read_to_string(&buzzer)?;
    anyhow::ensure!(
        text.trim_end().ends_with("\"active\":false}"),
        "it is loud after the end: {text}"
    );
    Ok(())
}

fn the_broker_is_kept() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let mut vehicle = warm_vehicle(folder.path(), local_broker(port))?;
    let alert = displayed(port)?;
    let first = broker_of(&mut vehicle)?;
    process::kill_9(first)?;
    let again = displayed(port)?;
    anyhow::ensure!(again["id"] == alert["id"], "{again} after {alert}");
    let second = broker_of(&mut vehicle)?;
    anyhow::ensure!(first != second, "{first} was not killed");
    vehicle.kill_9()?;
    wait::until_true("the broker ends with the gateway", PATIENCE, || {
        Ok(!process::is_alive(second))
    })
}

fn local_broker(port: u16) -> String {
    let program = env!("CARGO_BIN_EXE_it-broker");
    format!("[local_broker]\nlisten = \"127.0.0.1:{port}\"\nprogram = \"{program}\"\n")
}

/// A running vehicle whose load gets warm, and whose uplink is down from the start.
fn warm_vehicle(folder: &Path, more: String) -> anyhow::Result<Vehicle> {
    let setup = Setup {
        sensors: vec![runaway("load", 0x48, 20)],
        more,
        ..setup(1)
    };
    // Nobody listens at this port.
    let nobody = free_port()?;
    let mut vehicle = Vehicle::new(gateway(), &folder.join("truck"), nobody, &setup)?;
    vehicle.start()?;
    Ok(vehicle)
}

/// The one child of the gateway.
fn broker_of(vehicle: &mut Vehicle) -> anyhow::Result<u32> {
    let children = vehicle.process()?.children()?;
    let [broker] = children.as_slice() else {
        anyhow::bail!("children: {children:?}");
    };
    Ok(*broker)
}

/// The alert that a display hears of that comes now: by itself, and alone in the list of what is open.
fn displayed(port: u16) -> anyhow::Result<serde_json::Value> {
    let mut options = MqttOptions::new("display", "127.0.0.1", port);
    options.set_keep_alive(Duration::from_secs(5));
    let (client, mut connection) = Client::new(options, 10);
    client.subscribe("local/alerts/#", QoS::AtMostOnce)?;
    let (mut one, mut all) = (None, None);
    let start = wait::now();
    while (one.is_none() || all.is_none()) && start.elapsed() < PATIENCE {
        let heard = connection.recv_timeout(Duration::from_secs(1));
        let message = match heard {
            Ok(Ok(Event::Incoming(Packet::Publish(message)))) => message,
            // A broker that is not there yet, or ends: what it is to hold is asked for again.
            Ok(Err(_)) => {
                client.try_subscribe("local/alerts/#", QoS::AtMostOnce).ok();
                std::thread::park_timeout(RETRY);
                continue;
            }
            _ => continue,
        };
        let json: serde_json::Value = serde_json::from_slice(&message.payload)?;
        match message.topic.as_str() {
            "local/alerts/open" => all = json.as_array().filter(|all| !all.is_empty()).cloned(),
            _ => one = Some((message.topic, json)),
        }
    }
    let (topic, alert) = one.ok_or_else(|| anyhow::anyhow!("no display message"))?;
    anyhow::ensure!(
        alert["kind"] == "limit_high" && alert["state"] == "raised",
        "{alert}"
    );
    anyhow::ensure!(topic == format!("local/alerts/{}", alert["id"].as_str().unwrap_or_default()));
    let all = all.ok_or_else(|| anyhow::anyhow!("no list of what is open"))?;
    anyhow::ensure!(all == [alert.clone()], "{all:?}");
    Ok(alert)
}
