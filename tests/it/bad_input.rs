//! Bad input: a clear error, a quarantine, an alert; never a panic, never a silent default.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use firmware_shared::batch::{self, SealParams};
use firmware_shared::id::{DeviceId, Epoch, Lane};
use firmware_shared::message::{Message, Nack, NackReason};
use firmware_shared::reading::{Reading, Score, Value};
use firmware_shared::topic::{self, Leaf};
use firmware_shared::units::Celsius128;
use libtest_mimic::Trial;
use rumqttc::{Client, Connection, Event, MqttOptions, Packet, QoS};
use tests::fleet::PATIENCE;
use tests::process::Program;
use tests::wait;

use crate::needs;
use crate::world::{World, central, gateway, setup};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        needs::nothing(
            "bad_input::a_bad_configuration_stops_the_start_with_one_sentence",
            configuration,
        ),
        needs::nothing(
            "bad_input::a_spool_that_cannot_be_written_means_ram_mode_with_an_alert",
            ram_mode,
        ),
        needs::nothing(
            "bad_input::a_corrupt_batch_is_quarantined_and_nacked",
            corrupt_batch,
        ),
        needs::nothing(
            "bad_input::arbitrary_bytes_never_stop_ingest",
            arbitrary_bytes,
        ),
    ]
}

/// A client that publishes as any device, and sees what is answered.
pub(crate) struct Publisher {
    client: Client,
    connection: Connection,
    /// What has come, also while something else was waited for.
    received: Vec<Vec<u8>>,
}

impl Publisher {
    pub(crate) fn connect(port: u16) -> anyhow::Result<Self> {
        let mut options = MqttOptions::new("publisher", "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(30));
        options.set_max_packet_size(256 * 1024, 256 * 1024);
        let (client, connection) = Client::new(options, 16);
        let mut publisher = Self {
            client,
            connection,
            received: Vec::new(),
        };
        publisher
            .next(|event| matches!(event, Event::Incoming(Packet::ConnAck(_))).then_some(()))?;
        Ok(publisher)
    }

    /// Publishes and waits for the PUBACK.
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8]) -> anyhow::Result<()> {
        self.client
            .publish(topic, QoS::AtLeastOnce, false, payload)?;
        self.next(|event| matches!(event, Event::Incoming(Packet::PubAck(_))).then_some(()))
    }

    fn subscribe(&mut self, topic: &str) -> anyhow::Result<()> {
        self.client.subscribe(topic, QoS::AtLeastOnce)?;
        self.next(|event| matches!(event, Event::Incoming(Packet::SubAck(_))).then_some(()))
    }

    fn next<T>(&mut self, mut wanted: impl FnMut(&Event) -> Option<T>) -> anyhow::Result<T> {
        let begin = wait::now();
        while begin.elapsed() < PATIENCE {
            let Ok(event) = self.connection.recv_timeout(Duration::from_millis(200)) else {
                continue;
            };
            let event = event?;
            if let Event::Incoming(Packet::Publish(publish)) = &event {
                self.received.push(publish.payload.to_vec());
            }
            if let Some(found) = wanted(&event) {
                return Ok(found);
            }
        }
        anyhow::bail!("the broker did not answer in time")
    }

    fn nack(&mut self) -> anyhow::Result<Nack> {
        if let Some(nack) = self
            .received
            .iter()
            .find_map(|payload| Nack::decode(payload).ok())
        {
            return Ok(nack);
        }
        self.next(|event| match event {
            Event::Incoming(Packet::Publish(publish)) => Nack::decode(&publish.payload).ok(),
            _ => None,
        })
    }
}

/// Runs a program that must refuse its configuration, and gives what it says.
fn refusal(program: &Program, args: &[&str], config: &Path) -> anyhow::Result<String> {
    let args = args
        .iter()
        .map(OsString::from)
        .chain([config.as_os_str().to_owned()]);
    let output = program.command(args).output()?;
    anyhow::ensure!(
        output.status.code() == Some(2),
        "{:?} exits with {}",
        config,
        output.status
    );
    anyhow::ensure!(output.stdout.is_empty(), "a refusal is not an answer");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn configuration() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let world = setup(1);
    let vehicle = tests::fleet::Vehicle::new(gateway(), folder.path(), 1, &world)?;
    let good = std::fs::read_to_string(vehicle.config())?;
    let check = |from: &str, to: &str, words: &[&str]| -> anyhow::Result<()> {
        anyhow::ensure!(good.contains(from), "{from:?} is not in the configuration");
        let file = folder.path().join("bad.toml");
        std::fs::write(&file, good.replacen(from, to, 1))?;
        for command in [["run", "--config"], ["check-config", "--config"]] {
            let said = refusal(&gateway(), &command, &file)?;
            anyhow::ensure!(said.trim().lines().count() == 1, "not one sentence: {said}");
            for word in words {
                anyhow::ensure!(said.contains(word), "{to:?}: {word:?} is not in {said:?}");
            }
        }
        Ok(())
    };
    check("port = 1", "port = \"many\"", &["port", "many"])?;
    check("port = 1", "prot = 1", &["prot", "port"])?;
    check(
        "id = \"truck-001\"",
        "id = \"Truck 1\"",
        &["id", "Truck 1", "a-z"],
    )?;
    check(
        "driver = \"tmp117\"",
        "driver = \"tmp999\"",
        &["driver", "tmp999", "tmp117"],
    )?;
    check("period_ms = 1000", "period_ms = 0", &["period_ms", "0"])?;
    check("name = \"return\"", "name = \"load\"", &["name", "load"])?;
    check(
        "sim:scenario.toml",
        "sim:missing.toml",
        &["path", "missing.toml"],
    )?;
    let said = refusal(
        &gateway(),
        &["run", "--config"],
        &folder.path().join("none.toml"),
    )?;
    anyhow::ensure!(said.contains("none.toml"), "{said}");

    let file = folder.path().join("central.toml");
    for (text, words) in [
        ("[database]\npath = 5\n", ["path", "5"]),
        (
            "[database]\npath = \"a\"\n[broker]\nmode = \"magic\"\n",
            ["mode", "magic"],
        ),
        (
            "[database]\npath = \"a\"\n[broker]\nlisten = \"0.0.0.0:1883\"\n",
            ["listen", "0.0.0.0:1883"],
        ),
        (
            "[database]\npath = \"a\"\nretention_dais = 3\n",
            ["retention_dais", "retention_days"],
        ),
    ] {
        std::fs::write(&file, text)?;
        let said = refusal(&central(), &["run", "--config"], &file)?;
        anyhow::ensure!(said.trim().lines().count() == 1, "not one sentence: {said}");
        for word in words {
            anyhow::ensure!(said.contains(word), "{text:?}: {word:?} is not in {said:?}");
        }
    }
    Ok(())
}

fn ram_mode() -> anyhow::Result<()> {
    let mut world = World::new(&[setup(1)])?;
    // A file where the folder should be: not even root can write below it.
    std::fs::write(world.vehicles[0].folder().join("spool"), "not a folder")?;
    world.start()?;
    world.wait_for_rows("truck-001", 200)?;
    let alerts = "SELECT count(*) FROM alerts WHERE kind = 'spool_degraded' AND state = 'raised'";
    wait::until_true("the alert is at the centre", PATIENCE, || {
        Ok(world.store()?.number(alerts)? == 1)
    })?;
    let status = world.vehicles[0].status()?.unwrap_or_default();
    anyhow::ensure!(
        status.to_string().contains("ram"),
        "status does not say it: {status:#}"
    );
    world.stop_and_verify()?;
    let account = world.judge()?;
    anyhow::ensure!(account.is_exactly_once(), "{account:?}");
    Ok(())
}

fn corrupt_batch() -> anyhow::Result<()> {
    let world = World::new(&[])?;
    let device: DeviceId = "truck-001".parse()?;
    let epoch = Epoch::from_random(0x1234);
    let reading = |stamp_ms| Reading {
        stamp_ms,
        sensor: 0,
        score: Score(0),
        value: Value::Temperature(Celsius128(640)),
    };
    let params = SealParams {
        epoch,
        lane: Lane::Telemetry,
        first_seq: 10,
        anchor: None,
    };
    let mut bytes = vec![0; batch::BATCH_LEN_MAX];
    let len = batch::seal(&params, &[reading(1000), reading(2000)], &mut bytes)
        .map_err(|e| anyhow::anyhow!("{e:?}"))?;
    bytes.truncate(len);
    let mut publisher = Publisher::connect(world.centre.port())?;
    let topic = |leaf| topic::topic(topic::PREFIX_DEFAULT, &device, leaf).unwrap();
    publisher.subscribe(&topic(Leaf::Ack))?;

    let mut damaged = bytes.clone();
    let middle = len - 5;
    damaged[middle] ^= 0x10;
    publisher.publish(&topic(Leaf::Telemetry), &damaged)?;
    let nack = publisher.nack()?;
    anyhow::ensure!(nack.reason == NackReason::Corrupt, "{nack:?}");
    let (stream, range) = nack
        .frame
        .ok_or_else(|| anyhow::anyhow!("no range: {nack:?}"))?;
    anyhow::ensure!(
        stream.epoch == epoch && (range.first_seq, range.last_seq) == (10, 11),
        "{nack:?}"
    );
    let store = world.store()?;
    let kept: String = damaged.iter().map(|byte| format!("{byte:02x}")).collect();
    let same =
        format!("SELECT count(*) FROM quarantine WHERE reason = 'corrupt' AND bytes = x'{kept}'");
    anyhow::ensure!(store.number(&same)? == 1, "the bytes are not in quarantine");
    anyhow::ensure!(world.stored("truck-001")? == 0);
    // The intact copy is taken afterwards.
    publisher.publish(&topic(Leaf::Telemetry), &bytes)?;
    wait::until_true("the intact copy is stored", PATIENCE, || {
        Ok(world.stored("truck-001")? == 2)
    })
}

fn arbitrary_bytes() -> anyhow::Result<()> {
    let mut world = World::new(&[setup(1)])?;
    world.start()?;
    world.wait_for_rows("truck-001", 20)?;
    let device: DeviceId = "truck-002".parse()?;
    let mut publisher = Publisher::connect(world.centre.port())?;
    let mut state = 0x1234_5678_9abc_def0_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..400 {
        let leaf = match random() % 5 {
            0 => Leaf::Telemetry,
            1 => Leaf::Alert,
            2 => Leaf::Health,
            3 => Leaf::Status,
            _ => Leaf::Cmd("any"),
        };
        let len = 1 + (random() % 300) as usize;
        let mut payload: Vec<u8> = (0..len).map(|_| random() as u8).collect();
        // Half of them begin like something of ours.
        match random() % 4 {
            0 => payload[0] = batch::VERSION,
            1 => payload[0] = firmware_shared::message::MAGIC,
            _ => {}
        }
        publisher.publish(
            &topic::topic(topic::PREFIX_DEFAULT, &device, leaf).unwrap(),
            &payload,
        )?;
    }
    for topic in [
        "fleet/v1/zz/truck-002/telemetry",
        "fleet/v1/00/TRUCK/telemetry",
        "fleet/v1/00/x/status",
    ] {
        publisher.publish(topic, b"nobody")?;
    }
    world.centre.process()?.assert_running()?;
    world.wait_for_rows("truck-001", 100)?;
    world.stop_and_verify()?;
    let account = world.judge()?;
    anyhow::ensure!(account.is_exactly_once(), "{account:?}");
    Ok(())
}
