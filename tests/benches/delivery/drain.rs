//! What the centre takes when a fleet comes back: sealed batches over loopback, a broker and ingest into the
//! database, until everything is committed.
//!
//! Frames of 60 readings, sealed beforehand by the codec of the gateway and published by several connections, each
//! with a window of 20 as a gateway has.

use std::time::Duration;

use anyhow::Context;
use firmware_shared::batch::{self, SealParams};
use firmware_shared::id::{DeviceId, Epoch, Lane};
use firmware_shared::reading::{Reading, Score, Value};
use firmware_shared::topic::{self, Leaf};
use firmware_shared::units::Celsius128;
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use tests::broker::{Broker, Kind};
use tests::database::Postgres;
use tests::fleet::{Centre, CentreSetup};
use tests::store::Store;
use tests::wait;

use super::{Report, central, find};

const DEVICES: u64 = 8;
const FRAMES: u64 = 4_000;
const READINGS: u64 = 60;
const WINDOW: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(180);

pub(super) fn into_both(report: &mut Report) -> anyhow::Result<()> {
    let rate = once(None)?;
    report.insert("drain_readings_per_s".to_owned(), rate);
    let programs = std::fs::read_dir("/usr/lib/postgresql")?
        .flatten()
        .map(|version| version.path().join("bin"))
        .find(|folder| folder.join("postgres").is_file())
        .context("postgresql is not installed")?;
    let server = Postgres::start(&programs)?;
    let rate = once(Some(server.url()))?;
    report.insert("drain_readings_per_s_pg".to_owned(), rate);
    Ok(())
}

fn frames(device: u64) -> anyhow::Result<Vec<Vec<u8>>> {
    let frame = |number: u64| {
        let first_seq = number * READINGS;
        let readings: Vec<Reading> = (first_seq..first_seq + READINGS)
            .map(|seq| Reading {
                stamp_ms: 1_000_000 + seq * 100,
                sensor: (seq % 3) as u8,
                score: Score(0),
                value: Value::Temperature(Celsius128(512 + (seq * 7 % 23) as i32)),
            })
            .collect();
        let params = SealParams {
            epoch: Epoch::from_random(device + 1),
            lane: Lane::Telemetry,
            first_seq,
            anchor: None,
        };
        let mut out = vec![0; batch::BATCH_LEN_MAX];
        let len =
            batch::seal(&params, &readings, &mut out).map_err(|e| anyhow::anyhow!("{e:?}"))?;
        out.truncate(len);
        out.shrink_to_fit();
        Ok(out)
    };
    (0..FRAMES).map(frame).collect()
}

/// Readings per second from the first publish to the last commit.
fn once(url: Option<String>) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    let program = find("mosquitto")?;
    let more = "max_queued_messages 0\nmax_inflight_messages 200\n";
    let broker = Broker::start(
        Kind::Mosquitto,
        &program,
        &folder.path().join("broker"),
        more,
    )?;
    let port = broker.port();
    let setup = CentreSetup {
        broker: format!("mode = \"external\"\nhost = \"127.0.0.1\"\nport = {port}\n"),
        url,
        ..CentreSetup::default()
    };
    let mut centre = Centre::new(central(), &folder.path().join("centre"), port, &setup)?;
    centre.start()?;
    let fleets: Vec<(u64, Vec<Vec<u8>>)> = (0..DEVICES)
        .map(|device| Ok((device, frames(device)?)))
        .collect::<anyhow::Result<_>>()?;
    let begin = wait::now();
    let threads: Vec<_> = fleets
        .into_iter()
        .map(|(device, frames)| std::thread::spawn(move || publish(port, device, &frames)))
        .collect();
    for thread in threads {
        thread.join().ok().context("a publisher panicked")??;
    }
    let all = i64::try_from(DEVICES * FRAMES * READINGS)?;
    let store = Store::at(centre.place())?;
    wait::until_true("everything is committed", PATIENCE, || {
        Ok(store
            .number("SELECT coalesce(sum(count), 0)::bigint FROM batches")
            .or_else(|_| store.number("SELECT coalesce(sum(count), 0) FROM batches"))?
            >= all)
    })?;
    let rate = all as f64 / begin.elapsed().as_secs_f64();
    let (_, clean) = centre.verify()?;
    anyhow::ensure!(clean, "verify finds something");
    Ok(rate)
}

fn publish(port: u16, device: u64, frames: &[Vec<u8>]) -> anyhow::Result<()> {
    let id: DeviceId = format!("truck-{device:03}").parse()?;
    let topic = topic::topic(topic::PREFIX_DEFAULT, &id, Leaf::Telemetry).context("a topic")?;
    let mut options = MqttOptions::new(id.as_str(), "127.0.0.1", port);
    options.set_keep_alive(Duration::from_secs(60));
    options.set_max_packet_size(256 * 1024, 256 * 1024);
    let (client, mut connection) = Client::new(options, 64);
    let (mut sent, mut acked) = (0, 0);
    while acked < frames.len() as u64 {
        while sent < frames.len() as u64 && sent - acked < WINDOW {
            let frame = frames[sent as usize].clone();
            client.publish(topic.as_str(), QoS::AtLeastOnce, false, frame)?;
            sent += 1;
        }
        let event = connection
            .recv_timeout(PATIENCE)
            .ok()
            .context("nothing comes")??;
        acked += u64::from(matches!(event, Event::Incoming(Packet::PubAck(_))));
    }
    Ok(())
}
